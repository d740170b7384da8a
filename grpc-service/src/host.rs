//! What this crate needs of the program it runs in: a clock, timers, tasks, entropy and transports.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use grpc_proto::Instant;

use crate::ClientConnection;

/// A future that stays on its thread and owns all it needs.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The runtime, seen from below: everything that is not a pure function of bytes and time.
///
/// An adapter implements it once; a simulator implements it over a virtual clock and a seed. Handlers reach it
/// through [`Cx`](crate::Cx), so the same handler runs in both. No method may call back into a connection.
pub trait Host {
    /// The time on a monotonic clock, with one origin for all hosts of a program: deadlines pass from one to another.
    fn now(&self) -> Instant;

    /// Completes at `at` or soon after; at once if that is past, and not at all for [`Instant::NEVER`].
    fn timer(&self, at: Instant) -> LocalFuture<()>;

    /// Runs `task` on this thread, beside whatever runs now.
    fn spawn(&self, task: LocalFuture<()>);

    /// Sixty-four bits that a peer cannot guess.
    fn entropy(&self) -> u64;

    /// Reports a line to the operators of the program, such as that accepting fails; by default on the standard error.
    ///
    /// It is called rarely: what can happen often is throttled before.
    fn report(&self, line: &str) {
        eprintln!("grpc: {line}");
    }
}

/// Opens transports for clients.
pub trait Connector {
    /// Connects to `address` and drives `connection` over the transport until it is drained or lost.
    ///
    /// The future completes when the transport is up, or cannot be; the driving goes on in a task of the host. To a
    /// [`Channel::to`](crate::Channel::to) a panic of it is an attempt that has failed.
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>>;
}

/// A transport could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    message: String,
}

impl ConnectError {
    /// An error in the words of the transport.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect: {}", self.message)
    }
}

impl std::error::Error for ConnectError {}
