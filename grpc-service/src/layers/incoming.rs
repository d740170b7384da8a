//! A call at the server, as layers see it.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use grpc_proto::{Instant, Metadata, MetadataError, Reason, Status};

use super::LayeredCall;
use crate::model::Service;
use crate::server::{Draining, Scope, Sleep};
use crate::{MethodDescriptor, Peer};

/// A call on its way to its handler: a layer passes it on once, or drops it to end the call.
pub struct Incoming<'a> {
    view: CallView<'a>,
}

impl LayeredCall for Incoming<'_> {
    type Error = Status;
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(scope: &'a Scope) -> Self {
        Self { view: CallView { scope } }
    }

    pub(crate) fn scope(&self) -> &'a Scope {
        self.view.scope
    }

    /// What of the call stays with the layer after it has passed it on.
    pub fn view(&self) -> CallView<'a> {
        self.view
    }
}

impl<'a> Deref for Incoming<'a> {
    type Target = CallView<'a>;

    fn deref(&self) -> &CallView<'a> {
        &self.view
    }
}

/// What is at the end of all layers, and what layers around it make of it.
pub trait CallService: for<'a> Service<Incoming<'a>, Response = (), Error = Status> {}

impl<S> CallService for S where S: for<'a> Service<Incoming<'a>, Response = (), Error = Status> {}

/// Messages of a call so far, and their bytes as they travel, without the five that stand before each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages that were taken from the peer.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages that were queued for the peer.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// What a layer knows of a call, and what it may do to it.
///
/// Time, timers, tasks and entropy come from here, so that the same layer runs over sockets and in a simulator.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    scope: &'a Scope,
}

impl<'a> CallView<'a> {
    pub(crate) fn new(scope: &'a Scope) -> Self {
        Self { scope }
    }

    /// The path that was called, `/package.Service/Method`.
    pub fn path(&self) -> &'a str {
        self.scope.info.head().path()
    }

    /// The method; `None` where nothing is registered for the path.
    pub fn method(&self) -> Option<MethodDescriptor> {
        self.scope.info.method
    }

    /// The request's metadata.
    pub fn metadata(&self) -> &'a Metadata {
        &self.scope.info.head().metadata
    }

    /// The host that the client meant to reach.
    pub fn authority(&self) -> &'a str {
        self.scope.info.head().authority()
    }

    /// Who called: the address, and what TLS or the socket says.
    pub fn peer(&self) -> &'a Peer {
        &self.scope.shared.peer
    }

    /// When the call must be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.scope.info.deadline.get()
    }

    /// The time left until the deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline - self.now())
    }

    /// Lets the handler, and the calls that it makes, see a deadline that is no later than `at`.
    ///
    /// It ends nothing by itself: [`Timeout`](super::Timeout) does.
    pub fn shorten_deadline(&self, at: Instant) {
        let deadline = &self.scope.info.deadline;
        deadline.set(Some(deadline.get().map_or(at, |deadline| deadline.min(at))));
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.scope.now()
    }

    /// Waits for `span`, on a timer of the connection.
    pub fn sleep(&self, span: Duration) -> Sleep<'a> {
        self.sleep_until(self.now() + span)
    }

    /// Waits until `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep<'a> {
        self.scope.sleep_until(at)
    }

    /// Runs `task` on this thread, beside the call and beyond its end; its calls inherit nothing.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.scope.spawn(Box::pin(task));
    }

    /// Sixty-four bits that a peer cannot guess.
    pub fn entropy(&self) -> u64 {
        self.scope.shared.host.entropy()
    }

    /// Reports a line to the operators of the program ([`Host::report`](crate::Host::report)).
    pub fn report(&self, line: &str) {
        self.scope.shared.host.report(line);
    }

    /// Whether a drain of the connection has begun.
    pub fn is_draining(&self) -> bool {
        self.scope.shared.is_draining()
    }

    /// Completes when a drain of the connection begins, at once if it has begun.
    pub fn draining(&self) -> Draining<'a> {
        self.scope.draining()
    }

    /// What a layer has found out and set with [`set_extension`](Self::set_extension), by its type.
    ///
    /// Handlers read it by [`Cx::extension`](crate::Cx::extension).
    pub fn extension<T: 'static>(&self) -> Option<&'a T> {
        self.scope.info.extensions.get()
    }

    /// Lets inner layers and the handler have `value`, one of each type.
    ///
    /// The memory stays with the call's place in the connection, so the next call that sets one of the type allocates
    /// nothing.
    ///
    /// # Errors
    /// `value`, where another one of the type is there already.
    pub fn set_extension<T: 'static>(&self, value: T) -> Result<&'a T, T> {
        self.scope.info.extensions.set(value)
    }

    /// Appends an ASCII entry to the response headers, which leave with the first message.
    ///
    /// # Errors
    /// The rule that name or value break; [`MetadataError::HeadersSent`] once the headers are on their way.
    pub fn append_header(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.scope.headers()?.append(name, value)
    }

    /// Appends a binary entry to the response headers; `name` ends in `-bin`.
    ///
    /// # Errors
    /// As [`append_header`](Self::append_header).
    pub fn append_header_bin(&self, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        self.scope.headers()?.append_bin(name, value)
    }

    /// Appends an ASCII entry to the trailers, which leave with the status.
    ///
    /// # Errors
    /// The rule that name or value break.
    pub fn append_trailer(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.scope.call.trailers.borrow_mut().append(name, value)
    }

    /// Appends a binary entry to the trailers; `name` ends in `-bin`.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn append_trailer_bin(&self, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        self.scope.call.trailers.borrow_mut().append_bin(name, value)
    }

    /// The messages so far: those that the handler was given, and those that it has sent.
    pub fn counts(&self) -> Counts {
        self.scope.call.counts.get()
    }

    /// Why the call is over, for code that runs when it is dropped.
    pub fn cancellation(&self) -> Option<Reason> {
        self.scope.info.cancelled.borrow().clone()
    }

    /// Reports a panic below this layer, and makes a status of it.
    pub(crate) fn panicked(&self, payload: Box<dyn std::any::Any + Send>) -> Status {
        self.scope.shared.panicked("the handler", self.path(), payload)
    }

    /// The status of a call that is dropped now.
    pub(crate) fn status_of_drop(&self) -> Status {
        if std::thread::panicking() {
            return Status::internal("a layer panicked");
        }
        let reason = self.cancellation();
        reason.map_or_else(
            || Status::cancelled("the call was dropped"),
            |reason| match reason {
                Reason::Deadline => reason.to_status(),
                _ => Status::cancelled("the call was cancelled"),
            },
        )
    }
}

impl fmt::Debug for CallView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallView").field("path", &self.path()).field("peer", self.peer()).finish()
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("path", &self.path()).finish_non_exhaustive()
    }
}
