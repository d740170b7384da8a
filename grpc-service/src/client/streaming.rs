//! Streams of calls that were opened.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;

use grpc_arena::Arena;
use grpc_proto::client::Outcome;
use grpc_proto::{Code, Metadata, Processed, Status};

use super::CallError;
use super::call::ResponseMetadata;
use super::link::OpenCall;
use crate::compression::Packed;
use crate::{Method, Request, Response};

/// The responses of one call.
///
/// Dropping it before the end cancels the call, unless a [`Sending`] half is still there.
pub struct Receiving<M> {
    call: OpenCall,
    headers: Option<Metadata>,
    outcome: Option<Outcome>,
    compressed: bool,
    method: PhantomData<fn(M)>,
}

impl<M: Method> Receiving<M> {
    pub(super) fn new(call: OpenCall) -> Self {
        Self { call, headers: None, outcome: None, compressed: false, method: PhantomData }
    }

    /// The next response, decoded into `arena`, which is reset first; `None` after the last.
    ///
    /// The server's credit for messages returns when they are taken, in portions of 4 KiB while more wait: a client that
    /// does not ask slows the server down.
    ///
    /// # Errors
    /// The status of the call if it is not OK, and INTERNAL for a message that does not decode, which cancels it.
    pub async fn next<'a>(
        &mut self,
        arena: &'a mut Arena,
    ) -> Result<Option<Response<'a, M>>, CallError> {
        arena.reset();
        match poll_fn(|cx| self.call.poll_message(cx)).await {
            Ok(Some(message)) => {
                self.compressed = message.is_compressed();
                let decoded = self.call.decode::<M::Response>(message, arena);
                if let Err(error) = &decoded {
                    self.call.reject(error.clone());
                }
                decoded.map(Some)
            }
            ended => {
                if self.outcome.is_none() {
                    self.take_end();
                }
                ended.map(|_| None)
            }
        }
    }

    /// Calls `take` with each response, until the last.
    ///
    /// # Errors
    /// Those of [`next`](Self::next), and what `take` returns, which cancels the call.
    pub async fn for_each(
        mut self,
        arena: &mut Arena,
        mut take: impl FnMut(Response<'_, M>) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        while let Some(response) = self.next(arena).await? {
            take(response)?;
        }
        Ok(())
    }

    /// The response headers, as soon as they are there; empty if the response is trailers only.
    pub async fn headers(&mut self) -> &Metadata {
        if self.headers.is_none() {
            poll_fn(|cx| self.call.poll_headers(cx)).await;
            self.headers = self.call.call.headers.take();
        }
        self.headers.get_or_insert_default()
    }

    /// The trailers, once [`next`](Self::next) has met the end.
    pub fn trailers(&self) -> Option<&Metadata> {
        self.outcome.as_ref().map(|outcome| &outcome.trailers)
    }

    /// Whether the server can have seen the call, once [`next`](Self::next) has met the end.
    pub fn processed(&self) -> Option<Processed> {
        self.outcome.as_ref().map(|outcome| outcome.processed)
    }

    /// Whether the last response that [`next`](Self::next) gave came compressed.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Cancels the call and says how it ended: CANCELLED, or the server's status if that has come already.
    ///
    /// Messages that have come and were not asked for are dropped, and a [`Sending`] half has CANCELLED once the connection
    /// has been driven. [`ResponseMetadata::processed`] is [`Processed::No`] where none of the call had left: then none of it
    /// will. To cancel without asking for the outcome, drop the streams.
    pub fn cancel(mut self) -> (Status, ResponseMetadata) {
        let (status, mut metadata) = self.call.cancel();
        if let Some(outcome) = self.outcome.take() {
            metadata.trailers = outcome.trailers;
            metadata.processed = Some(outcome.processed);
        }
        if let Some(headers) = self.headers.take() {
            metadata.headers = headers;
        }
        (status, metadata)
    }

    fn take_end(&mut self) {
        if self.headers.is_none() {
            self.headers = self.call.call.headers.take();
        }
        self.outcome = self.call.call.outcome.take();
        if let Some(outcome) = &self.outcome {
            // A later call of `next` or `send` still returns it.
            let mut local_status = self.call.call.local_status.borrow_mut();
            local_status.get_or_insert_with(|| self.call.call.error_of(&self.call.link, outcome));
        }
    }
}

/// The requests of one call.
///
/// Dropping it without [`end`](Self::end) cancels the call: a sender that failed half-way must not look like one
/// that was done.
pub struct Sending<M> {
    call: OpenCall,
    ended: bool,
    compresses: bool,
    method: PhantomData<fn(M)>,
}

impl<M: Method> Sending<M> {
    fn new(call: OpenCall) -> Self {
        Self { call, ended: false, compresses: true, method: PhantomData }
    }

    /// Sends one message.
    ///
    /// It is encoded at once, so it may borrow from the stack, and this waits only while the call has more queued
    /// than the server's windows let through.
    ///
    /// # Errors
    /// The status of the call once it is over, CANCELLED if that is OK; RESOURCE_EXHAUSTED for a message above the
    /// limit.
    pub async fn send(&mut self, message: &Request<'_, M>) -> Result<(), CallError> {
        let mut packed = Packed::Not;
        poll_fn(|cx| self.call.poll_send(message, &mut packed, self.compresses, cx)).await
    }

    /// Says whether the messages that are sent from now on may be compressed, where the call has an encoding.
    ///
    /// They may from the start. Turn it off for a message that is compressed already, or that mixes a secret with what
    /// others choose.
    pub fn set_compression(&mut self, on: bool) {
        self.compresses = on;
    }

    /// Half-closes: no more messages will come.
    pub fn end(mut self) {
        self.half_close();
    }

    fn half_close(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.call.end();
        }
    }
}

impl<M> Drop for Sending<M> {
    fn drop(&mut self) {
        if !self.ended {
            let text = "the sending half was dropped before its end";
            self.call.abandon(CallError::local(Status::new(Code::Cancelled, text)));
        }
    }
}

/// A call with a stream of requests and one response.
///
/// Dropping it cancels the call.
pub struct ClientStream<M> {
    call: OpenCall,
    compresses: bool,
    method: PhantomData<fn(M)>,
}

impl<M: Method> ClientStream<M> {
    pub(super) fn new(call: OpenCall) -> Self {
        Self { call, compresses: true, method: PhantomData }
    }

    /// Sends one message; as [`Sending::send`].
    ///
    /// # Errors
    /// As [`Sending::send`]. If the call is over, [`finish`](Self::finish) has its outcome.
    pub async fn send(&mut self, message: &Request<'_, M>) -> Result<(), CallError> {
        let mut packed = Packed::Not;
        poll_fn(|cx| self.call.poll_send(message, &mut packed, self.compresses, cx)).await
    }

    /// Says whether the messages that are sent from now on may be compressed; as [`Sending::set_compression`].
    pub fn set_compression(&mut self, on: bool) {
        self.compresses = on;
    }

    /// Cancels the call and says how it ended: CANCELLED, or the server's status if that has come already; as
    /// [`Receiving::cancel`].
    pub fn cancel(self) -> (Status, ResponseMetadata) {
        self.call.cancel()
    }

    /// Half-closes and waits for the response, which will live in `arena`.
    ///
    /// # Errors
    /// The status of the call if it is not OK.
    pub async fn finish(self, arena: &Arena) -> Result<Response<'_, M>, CallError> {
        self.complete(arena, None).await
    }

    /// As [`finish`](Self::finish), and puts what comes beside the message into `response`.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn finish_with<'a>(
        self,
        arena: &'a Arena,
        response: &mut ResponseMetadata,
    ) -> Result<Response<'a, M>, CallError> {
        self.complete(arena, Some(response)).await
    }

    async fn complete<'a>(
        self,
        arena: &'a Arena,
        response: Option<&mut ResponseMetadata>,
    ) -> Result<Response<'a, M>, CallError> {
        self.call.end();
        poll_fn(|cx| self.call.poll_end(cx)).await;
        self.call.only_response::<M::Response>(arena, response)
    }
}

/// A call with streams in both directions.
///
/// Dropping it cancels the call, unless it was [`split`](Self::split).
pub struct BidiStream<M> {
    sending: Sending<M>,
    receiving: Receiving<M>,
}

impl<M: Method> BidiStream<M> {
    pub(super) fn new(call: OpenCall) -> Self {
        let sending = Sending::new(call.share());
        Self { sending, receiving: Receiving::new(call) }
    }

    /// Sends one message; as [`Sending::send`].
    ///
    /// # Errors
    /// As [`Sending::send`].
    pub async fn send(&mut self, message: &Request<'_, M>) -> Result<(), CallError> {
        self.sending.send(message).await
    }

    /// Half-closes: no more messages will be sent.
    pub fn end(&mut self) {
        self.sending.half_close();
    }

    /// The next response; as [`Receiving::next`].
    ///
    /// # Errors
    /// As [`Receiving::next`].
    pub async fn next<'a>(
        &mut self,
        arena: &'a mut Arena,
    ) -> Result<Option<Response<'a, M>>, CallError> {
        self.receiving.next(arena).await
    }

    /// Says whether the messages that are sent from now on may be compressed; as [`Sending::set_compression`].
    pub fn set_compression(&mut self, on: bool) {
        self.sending.set_compression(on);
    }

    /// Whether the last response came compressed; as [`Receiving::is_compressed`].
    pub fn is_compressed(&self) -> bool {
        self.receiving.is_compressed()
    }

    /// Cancels the call and says how it ended; as [`Receiving::cancel`].
    pub fn cancel(self) -> (Status, ResponseMetadata) {
        self.receiving.cancel()
    }

    /// Takes the two directions apart, so that they can be used side by side.
    pub fn split(self) -> (Sending<M>, Receiving<M>) {
        (self.sending, self.receiving)
    }
}

impl<M: Method> fmt::Debug for Receiving<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("path", &M::PATH).finish_non_exhaustive()
    }
}

impl<M: Method> fmt::Debug for Sending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("path", &M::PATH).field("ended", &self.ended).finish()
    }
}

impl<M: Method> fmt::Debug for ClientStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("path", &M::PATH).finish_non_exhaustive()
    }
}

impl<M: Method> fmt::Debug for BidiStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BidiStream").field("path", &M::PATH).finish_non_exhaustive()
    }
}
