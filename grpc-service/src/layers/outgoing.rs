//! A call at the client, as layers see it.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use grpc_proto::{Instant, Metadata, MetadataError, Processed, Reason, Status};

use super::{Counts, LayeredCall};
use crate::client::{CallError, Layered, Origin};
use crate::{LocalFuture, MethodDescriptor};

/// A call on its way to the connection, and what a layer knows of it.
///
/// It is `Copy`, because a layer may make the call again: a unary call until its layers have ended it, a call of another kind
/// until it was opened.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    call: &'a Rc<Layered>,
}

impl LayeredCall for Outgoing<'_> {
    type Error = CallError;
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(call: &'a Rc<Layered>) -> Self {
        Self { call }
    }

    pub(crate) fn layered(self) -> &'a Layered {
        self.call
    }

    /// The method that is called.
    pub fn method(self) -> MethodDescriptor {
        self.call.method.get().expect("a call has its method while its layers run")
    }

    /// `/package.Service/Method`.
    pub fn path(self) -> &'static str {
        self.method().path()
    }

    /// Whether the call's own metadata, or what layers have added, has an entry of this name.
    pub fn has_metadata(self, name: &str) -> bool {
        let (own, added) = (self.call.metadata.borrow(), self.call.added.borrow());
        own.value(name).is_some() || added.value(name).is_some()
    }

    /// Appends an ASCII entry to what the call is opened with.
    ///
    /// # Errors
    /// The rule that name or value break.
    pub fn append(self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.call.added.borrow_mut().append(name, value)
    }

    /// Appends an ASCII entry of two parts.
    pub(super) fn append_pair(self, name: &str, a: &str, b: &str) -> Result<(), MetadataError> {
        let mut text = self.call.text.take();
        text.clear();
        text.push_str(a);
        text.push_str(b);
        let appended = self.append(name, &text);
        self.call.text.set(text);
        appended
    }

    /// Appends a binary entry to what the call is opened with; `name` ends in `-bin`.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn append_bin(self, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        self.call.added.borrow_mut().append_bin(name, value)
    }

    /// What layers have added so far, for a layer that makes the call again.
    pub(super) fn added(self) -> Metadata {
        self.call.added.borrow().clone()
    }

    pub(super) fn set_added(self, added: &Metadata) {
        let mut place = self.call.added.borrow_mut();
        place.clear();
        place.extend(added);
    }

    /// When the call ends by itself, which the server learns from `grpc-timeout`.
    pub fn deadline(self) -> Option<Instant> {
        self.call.deadline.get()
    }

    /// Lets the call end with DEADLINE_EXCEEDED at `at`, unless it ends before.
    pub fn shorten_deadline(self, at: Instant) {
        if self.deadline().is_none_or(|deadline| at < deadline) {
            self.call.deadline.set(Some(at));
            self.call.inherited.set(false);
        }
    }

    /// The error of a call whose deadline has passed.
    pub(super) fn late(self) -> CallError {
        let origin = if self.call.inherited.get() { Origin::Inherited } else { Origin::Local };
        CallError::new(Reason::Deadline.to_status(), origin)
    }

    /// The time.
    pub fn now(self) -> Instant {
        self.call.channel().host().now()
    }

    /// Waits for `span`, on a timer of the host, which allocates.
    pub fn sleep(self, span: Duration) -> LocalFuture<()> {
        let channel = self.call.channel();
        channel.host().timer(channel.host().now() + span)
    }

    /// Waits until `at`.
    pub fn sleep_until(self, at: Instant) -> LocalFuture<()> {
        self.call.channel().host().timer(at)
    }

    /// Sixty-four bits that a peer cannot guess.
    pub fn entropy(self) -> u64 {
        self.call.channel().host().entropy()
    }

    /// How often the call was opened.
    pub fn attempts(self) -> u32 {
        self.call.attempts.get()
    }

    /// Whether the call can be made again: it is unary, or was not opened yet.
    pub fn may_repeat(self) -> bool {
        !self.call.committed.get()
    }

    /// Whether the server can have seen the last attempt; `None` where the call was not opened or is not over.
    pub fn processed(self) -> Option<Processed> {
        let opened = self.call.opened.borrow();
        let outcome = opened.as_ref()?.call.outcome.borrow();
        outcome.as_ref().map(|outcome| outcome.processed)
    }

    /// Lets `look` see the trailers of the last attempt, once that is over.
    pub fn with_trailers<T>(self, look: impl FnOnce(&Metadata) -> T) -> Option<T> {
        let opened = self.call.opened.borrow();
        let outcome = opened.as_ref()?.call.outcome.borrow();
        outcome.as_ref().map(|outcome| look(&outcome.trailers))
    }

    /// The messages of the last attempt so far: those that have come, and those that were queued.
    pub fn counts(self) -> Counts {
        let opened = self.call.opened.borrow();
        opened.as_ref().map_or_else(Counts::default, |open| open.call.counts.get())
    }

    /// The status of a call that is dropped now.
    pub(super) fn status_of_drop(self) -> Status {
        match std::thread::panicking() {
            true => Status::internal("a layer panicked"),
            false => Status::cancelled("the call was dropped"),
        }
    }
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("path", &self.path()).finish_non_exhaustive()
    }
}
