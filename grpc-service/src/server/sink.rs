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
pub struct Sink<'s, T> {
    scope: &'s Scope,
    sender: Sender,
    item: PhantomData<fn(T)>,
}

impl<'s, T: Schema> Sink<'s, T> {
    pub(crate) fn new(scope: &'s Scope, sender: Sender) -> Self {
        Self { scope, sender, item: PhantomData }
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
        let mut packed = Packed::Not;
        let sent = poll_fn(|cx| self.scope.poll_send(item, self.sender, &mut packed, cx)).await;
        self.scope.call.sent_last.set(self.sender);
        sent
    }

    /// Sends the response headers now, rather than with the first message; does nothing where they are on their way.
    ///
    /// # Errors
    /// CANCELLED once the call is over.
    pub fn send_headers(&mut self) -> Result<(), Status> {
        self.scope.flush_headers()
    }
}
