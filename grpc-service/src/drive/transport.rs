//! What the loop needs of a transport, and who may tell it to go.

use std::future::Future;
use std::io;
use std::task::Context;

use grpc_proto::Transmit;

/// A byte stream whose two directions can be under way at the same time.
///
/// An operation owns its half and its buffer from start to completion, as completion-based I/O (io_uring) demands.
/// Over readiness (epoll) the same operations wait until they can be done at once.
pub trait Transport {
    /// The half that is read from.
    type Reader: ReadHalf;
    /// The half that is written to.
    type Writer: WriteHalf;
    /// Ends the transport from beside the halves.
    type Closer: Close;

    /// Takes the transport apart.
    fn split(self) -> (Self::Reader, Self::Writer, Self::Closer);
}

/// The half of a [`Transport`] that is read from.
pub trait ReadHalf: Sized {
    /// Reads at least a byte into `buffer`, which comes empty and has room. Zero bytes are the end of input.
    ///
    /// The future is polled until it completes and never dropped before, but with the whole loop.
    fn read(self, buffer: Vec<u8>) -> impl Future<Output = (Self, io::Result<usize>, Vec<u8>)>;
}

/// The half of a [`Transport`] that is written to.
pub trait WriteHalf: Sized {
    /// Writes at least a byte of `out`, which is not empty and comes back as it went: the loop advances it by what
    /// was written. Zero bytes, or an error, mean that nobody reads any more.
    ///
    /// The future is polled until it completes and never dropped before, but with the whole loop.
    fn write(self, out: Transmit) -> impl Future<Output = (Self, io::Result<usize>, Transmit)>;
}

/// Ends a [`Transport`] while its halves may be under way.
pub trait Close {
    /// Nothing more is written: the peer reads the end behind what was.
    fn close_write(&mut self);
    /// Nothing is read or written any more, and what is under way completes.
    fn close(&mut self);
}

/// What a connection is told to do from beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serve.
    Run,
    /// Finish the calls in flight and go (GOAWAY).
    Drain,
    /// Go now.
    Abort,
}

/// Who may tell a connection to go; `()` never does.
pub trait Orders {
    /// What to do. The waker of `cx` is woken when that changes.
    fn poll_phase(&self, cx: &Context<'_>) -> Phase;
}

impl Orders for () {
    fn poll_phase(&self, _: &Context<'_>) -> Phase {
        Phase::Run
    }
}
