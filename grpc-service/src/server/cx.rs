//! The context of a call: all that a handler may ask of its surroundings.

use std::cell::RefMut;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Instant, Metadata, MetadataError, Reason, Status};

use super::call::Scope;
use crate::current::{self, Inherited};
use crate::layers::CallView;
use crate::queue::Ticket;
use crate::timers::TimerId;
use crate::{LocalFuture, Peer};

/// What a handler knows of its call, and what it may ask of its host.
///
/// Time, timers, tasks and entropy come from here and nowhere else, so that the same handler runs over sockets and
/// in a simulator. `'a` is the lifetime of the message at hand: it, and a reply built in [`Cx::arena`], live until
/// the handler is done with it.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    scope: &'a Scope,
    arena: &'a Arena,
    compressed: bool,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(scope: &'a Scope, arena: &'a Arena) -> Self {
        Self { scope, arena, compressed: false }
    }

    /// The same for a message that came compressed, or did not.
    pub(crate) fn with_compressed(mut self, compressed: bool) -> Self {
        self.compressed = compressed;
        self
    }

    /// The call as layers see it.
    pub fn call(&self) -> CallView<'a> {
        CallView::new(self.scope)
    }

    /// What a layer has found out about the call, by its type, such as who calls
    /// ([`layers::Auth`](crate::layers::Auth)).
    pub fn extension<T: 'static>(&self) -> Option<&'a T> {
        self.scope.info.extensions.get()
    }

    /// The arena of the message at hand, for replies that borrow; reset once the handler is done with that.
    ///
    /// In a stream of responses, and in [`BidiCall::run`](super::BidiCall::run), that is the end of the call: whatever
    /// is built in it for each item piles up until then. Build items in an arena of your own there, and reset it
    /// between them.
    pub fn arena(&self) -> &'a Arena {
        self.arena
    }

    /// The request's metadata.
    pub fn metadata(&self) -> &'a Metadata {
        &self.scope.info.head().metadata
    }

    /// Whether the message at hand came compressed; false where there is none, as in `open`, `finish` and `run`.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Whether a drain of the connection has begun: it takes no new calls, and waits for those that run.
    ///
    /// The drain begins with a graceful stop of the server, or when the connection reaches
    /// [`Limits::max_age`](crate::Limits::max_age). [`Limits::drain_grace`](crate::Limits::drain_grace) bounds it.
    pub fn is_draining(&self) -> bool {
        self.scope.shared.is_draining()
    }

    /// Whether the drain is that of a stop ([`Endpoint::shutdown`](crate::Endpoint::shutdown)), and not of this
    /// connection alone, as when it reaches its maximum age.
    pub fn is_stopping(&self) -> bool {
        self.scope.shared.stopping.get()
    }

    /// Completes when a drain of the connection begins, at once if it has begun.
    ///
    /// At a stop, what a handler that waits for this sends in the same poll leaves before the GOAWAY.
    ///
    /// For streams without an end of their own: one that watches this ends itself in time, with a status of its choice,
    /// instead of being cut off when the grace of the drain is over. Dropping it forgets the wait.
    pub fn draining(&self) -> Draining<'a> {
        self.scope.draining()
    }

    /// The path that was called, `/package.Service/Method`.
    pub fn path(&self) -> &'a str {
        self.scope.info.head().path()
    }

    /// The host that the client meant to reach.
    pub fn authority(&self) -> &'a str {
        self.scope.info.head().authority()
    }

    /// Who called.
    pub fn peer(&self) -> &'a Peer {
        &self.scope.shared.peer
    }

    /// When the call ends by itself; the handler is dropped then.
    pub fn deadline(&self) -> Option<Instant> {
        self.scope.info.deadline.get()
    }

    /// The time left until the deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline - self.now())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.scope.now()
    }

    /// Waits for `span`.
    ///
    /// The timer is the connection's, not the runtime's: it costs a place in a heap, and nothing when dropped.
    pub fn sleep(&self, span: Duration) -> Sleep<'a> {
        self.sleep_until(self.now() + span)
    }

    /// Waits until `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep<'a> {
        self.scope.sleep_until(at)
    }

    /// Runs `task` on this thread, beside the call and beyond its end.
    ///
    /// Calls that it makes inherit nothing; see [`inherit`](Self::inherit).
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.scope.spawn(Box::pin(task));
    }

    /// Makes `future` a part of the call wherever it is polled, such as in a task of [`spawn`](Self::spawn).
    ///
    /// Calls that are made in it inherit the deadline and the trace context, as those of the handler do. They end with
    /// CANCELLED when this call is cancelled, because the future is not dropped with the handler.
    pub fn inherit<F: Future>(&self, future: F) -> Inherited<F> {
        Inherited::new(Rc::clone(&self.scope.info), future)
    }

    /// Sixty-four bits that a peer cannot guess.
    pub fn entropy(&self) -> u64 {
        self.scope.shared.host.entropy()
    }

    /// Appends an ASCII entry to the response headers, which leave with the first message.
    ///
    /// An error status that comes before any message is answered with one field list, Trailers-Only: it holds these
    /// entries and then the trailers, and the client finds them all among its trailers.
    ///
    /// # Errors
    /// The rule that name or value break; [`MetadataError::HeadersSent`] once the headers are on their way.
    pub fn append_header(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.scope.headers()?.append(name, value)
    }

    /// Appends a binary entry to the response headers; `name` ends in `-bin`.
    ///
    /// # Errors
    /// The rule that the name breaks; [`MetadataError::HeadersSent`] once the headers are on their way.
    pub fn append_header_bin(&self, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        self.scope.headers()?.append_bin(name, value)
    }

    /// Says whether the replies that are sent from now on may be compressed, where compression was agreed upon.
    ///
    /// They may from the start; turn it off for what is compressed already, and for what mixes a secret with what the
    /// client chooses.
    pub fn set_compression(&self, on: bool) {
        self.scope.call.compresses.set(on);
    }

    /// Sends the response headers now, rather than with the first message; does nothing where they are on their way.
    ///
    /// # Errors
    /// CANCELLED once the call is over.
    pub fn send_headers(&self) -> Result<(), Status> {
        self.scope.flush_headers()
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

    /// Why the call is over, for destructors: a call that is cancelled drops its handler at the point where it
    /// waits, and what lived there can ask.
    pub fn cancellation(&self) -> Option<Reason> {
        self.scope.info.cancelled.borrow().clone()
    }
}

impl Scope {
    pub(crate) fn draining(&self) -> Draining<'_> {
        Draining { scope: self, ticket: Ticket::default() }
    }

    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep<'_> {
        Sleep { scope: self, at, id: None }
    }

    pub(crate) fn spawn(&self, task: LocalFuture<()>) {
        // A host may run it at once.
        let _outside = current::enter(None);
        self.shared.host.spawn(task);
    }

    /// The response headers, while they can still be added to.
    pub(crate) fn headers(&self) -> Result<RefMut<'_, Metadata>, MetadataError> {
        match self.call.headers_sent.get() {
            true => Err(MetadataError::HeadersSent),
            false => Ok(self.call.headers.borrow_mut()),
        }
    }
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("path", &self.path()).field("peer", self.peer()).finish()
    }
}

/// Completes when the connection drains; made by [`Cx::draining`].
pub struct Draining<'a> {
    scope: &'a Scope,
    ticket: Ticket,
}

impl Future for Draining<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let shared = &this.scope.shared;
        if shared.is_draining() {
            return Poll::Ready(());
        }
        if shared.drain.may_try(&this.ticket, cx) {
            shared.drain.join(&mut this.ticket, cx);
        }
        Poll::Pending
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        // All are woken when the drain begins, so no turn is passed on.
        self.scope.shared.drain.leave(&mut self.ticket, true);
    }
}

/// Completes at its time; made by [`Cx::sleep`].
pub struct Sleep<'a> {
    scope: &'a Scope,
    at: Instant,
    id: Option<TimerId>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.scope.now() >= self.at {
            return Poll::Ready(());
        }
        let timers = &self.scope.shared.timers;
        let old = match self.id.filter(|&id| timers.borrow().holds(id)) {
            Some(id) => timers.borrow_mut().set_waker(id, cx.waker()),
            None => {
                let waker = cx.waker().clone();
                let id = timers.borrow_mut().insert(self.at, waker);
                self.id = Some(id);
                None
            }
        };
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.scope.shared.timers.borrow_mut().remove(id);
            drop(waker);
        }
    }
}
