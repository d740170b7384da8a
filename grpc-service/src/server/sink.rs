//! Where a handler writes a stream of responses.

use std::future::poll_fn;
use std::marker::PhantomData;

use grpc_arena::Schema;
use grpc_proto::Status;

use super::call::{Scope, Sender};
use crate::compression::Packed;

/// The responses of one call, in order.
///
/// `T` stands for its family of messages: a `Sink<'_, Feature<'static>>` takes a `Feature<'a>` of any lifetime.
pub struct Sink<'s, T: Schema> {
    scope: &'s Scope,
    sender: Sender,
    tap: Option<&'s dyn Tap<T>>,
    item: PhantomData<fn(T)>,
}

/// Sees items before they are sent, and may refuse them.
pub(super) trait Tap<T: Schema> {
    fn see(&self, item: &T::View<'_>) -> Result<(), Status>;
}

impl<'s, T: Schema> Sink<'s, T> {
    pub(crate) fn new(scope: &'s Scope, sender: Sender) -> Self {
        Self { scope, sender, tap: None, item: PhantomData }
    }

    /// Sends one message.
    ///
    /// It is encoded at once, so it may borrow from the stack, and this waits only while the call has more queued
    /// than the client's windows let through ([`Limits::send_mark`](grpc_proto::Limits::send_mark)).
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED for a message above the limit, CANCELLED once the call is over. Return it: nothing more
    /// can be sent.
    pub async fn send(&mut self, item: &T::View<'_>) -> Result<(), Status> {
        if let Some(tap) = self.tap {
            tap.see(item)?;
        }
        let mut packed = Packed::Not;
        let sent = poll_fn(|cx| self.scope.poll_send(item, self.sender, &mut packed, cx)).await;
        self.scope.call.sent_last.set(self.sender);
        sent
    }

    /// Who sees its items.
    pub(super) fn tap(&self) -> Option<&'s dyn Tap<T>> {
        self.tap
    }

    /// The same sink, whose items are seen by `tap` and by nobody else.
    pub(super) fn tapped<'t>(&self, tap: &'t dyn Tap<T>) -> Sink<'t, T>
    where
        's: 't,
    {
        Sink { scope: self.scope, sender: self.sender, tap: Some(tap), item: PhantomData }
    }

    /// Sends the response headers now, rather than with the first message; does nothing where they are on their way.
    ///
    /// # Errors
    /// CANCELLED once the call is over.
    pub fn send_headers(&mut self) -> Result<(), Status> {
        self.scope.flush_headers()
    }
}
