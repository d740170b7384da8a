//! Opening a call: in line for a connection, and then for a stream.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use grpc_proto::{Instant, Metadata, Processed, Reason, SendError};

use super::channel::Route;
use super::dialer::Waiting;
use super::link::{Link, OpenCall, Opening};
use super::{CallError, Channel, Origin};
use crate::current::{Current, Parent};
use crate::queue::Ticket;
use crate::{Encoding, LocalFuture};

/// What a call is to be opened with.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) metadata: Option<&'a Metadata>,
    /// Metadata whose trace context the call takes over.
    pub(super) trace: Option<&'a Metadata>,
    pub(super) deadline: Option<Instant>,
    /// Whether the deadline is inherited.
    pub(super) inherited: bool,
    /// The call that this one ends with, where it is not dropped with that one's handler.
    pub(super) task: Option<&'a Current>,
    pub(super) encoding: Option<Encoding>,
    pub(super) wait_for_ready: bool,
}

/// A call's places in the queues; call [`leave`](Self::leave) before it is dropped.
#[derive(Default)]
pub(super) struct Opener {
    /// The connection on which the call stands in line, if it does.
    line: Option<Rc<Link>>,
    /// In line for a stream.
    ticket: Ticket,
    /// In line for a connection.
    waiting: Waiting,
    /// Ends a call that stands in line: no connection knows of it yet.
    limit: Option<LocalFuture<()>>,
    /// In line to end with the call that this one is part of.
    parent: Option<Parent>,
}

impl Opener {
    /// Opens the call; pending while there is no connection, or too many stand in line for a stream.
    pub(super) fn poll(
        &mut self,
        channel: &Channel,
        path: &str,
        wanted: &Wanted<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<OpenCall, CallError>> {
        let opened = self.poll_lines(channel, path, wanted, cx);
        if opened.is_ready() {
            self.limit = None;
            return opened;
        }
        if let Some(task) = wanted.task {
            let parent = self.parent.get_or_insert_with(|| Parent::new(Rc::clone(&task.info)));
            if let Poll::Ready(status) = parent.poll_cancelled(cx) {
                self.leave(channel, false);
                return Poll::Ready(Err(CallError::inherited(status)));
            }
        }
        let Some(deadline) = wanted.deadline else { return Poll::Pending };
        let limit = self.limit.get_or_insert_with(|| channel.host().timer(deadline));
        ready!(limit.as_mut().poll(cx));
        self.limit = None;
        self.leave(channel, false);
        let origin = if wanted.inherited { Origin::Inherited } else { Origin::Local };
        Poll::Ready(Err(CallError::new(Reason::Deadline.to_status(), origin)))
    }

    /// Stands in line for a connection, and then for a stream.
    fn poll_lines(
        &mut self,
        channel: &Channel,
        path: &str,
        wanted: &Wanted<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<OpenCall, CallError>> {
        let now = channel.host().now();
        let opening = Opening {
            metadata: wanted.metadata,
            trace: wanted.trace,
            deadline: wanted.deadline,
            inherited: wanted.inherited,
            encoding: wanted.encoding,
        };
        loop {
            let link = match &self.line {
                Some(link) => Rc::clone(link),
                None => match channel.route() {
                    Route::One(held) => Rc::clone(held.link()),
                    Route::Dialed(dialer) => {
                        ready!(dialer.poll_link(wanted.wait_for_ready, &mut self.waiting, cx))?
                    }
                },
            };
            if !link.surplus.may_try(&self.ticket, cx) {
                return Poll::Pending;
            }
            match link.open(path, &opening, now) {
                Ok(open) => {
                    if let Some(task) = wanted.task {
                        open.end_with(Parent::new(Rc::clone(&task.info)));
                    }
                    // Its head waits to be sent, whatever becomes of its first message.
                    link.notify();
                    let waited = self.line.is_some();
                    self.leave(channel, true);
                    if waited {
                        link.let_in();
                    }
                    return Poll::Ready(Ok(open));
                }
                Err(SendError::TooManyCalls) => {
                    link.surplus.join(&mut self.ticket, cx);
                    self.line = Some(link);
                    return Poll::Pending;
                }
                Err(error) => {
                    self.leave(channel, false);
                    match channel.route() {
                        // Another connection takes it.
                        Route::Dialed(dialer) if error == SendError::Closing => {
                            dialer.retire(&link);
                        }
                        _ => return Poll::Ready(Err(CallError::local(error))),
                    }
                }
            }
        }
    }

    /// Leaves the line that the call stands in, if any.
    pub(super) fn leave(&mut self, channel: &Channel, served: bool) {
        match (self.line.take(), channel.route()) {
            (Some(link), _) => link.surplus.leave(&mut self.ticket, served),
            (None, Route::Dialed(dialer)) => dialer.leave(&mut self.waiting),
            (None, Route::One(_)) => {}
        }
    }
}

/// Whether an attempt that is over provably was not processed, so that another one is made without a word (gRFC A6).
pub(super) fn may_try_again(open: &OpenCall, refused: &mut bool, channel: &Channel) -> bool {
    let (processed, is_late) = match open.call.outcome.borrow().as_ref() {
        Some(outcome) => {
            (Some(outcome.processed), matches!(outcome.reason, Some(Reason::Deadline)))
        }
        None => (None, false),
    };
    if is_late {
        return false;
    }
    let is_again = match processed {
        Some(Processed::No) => false,
        Some(Processed::Refused) if !*refused => true,
        _ => return false,
    };
    // Response headers or a message commit the call (gRFC A6), even if REFUSED_STREAM follows.
    if open.has_answer() {
        return false;
    }
    if !open.link.is_open() {
        match channel.route() {
            Route::Dialed(dialer) => dialer.retire(&open.link),
            // There is no other connection to try.
            Route::One(_) => return false,
        }
    }
    *refused |= is_again;
    true
}
