//! The four kinds of handler, as the dispatch sees them.
//!
//! Generated code implements the `*Handler` traits for small adapters over the service; programs implement the
//! service's own trait, and [`ClientStreamingCall`] and [`BidiCall`] for the objects that live as long as a call.

use std::future::{Future, ready};

use grpc_arena::Schema;
use grpc_proto::Status;

use super::{Cx, Sink};
use crate::{Method, Request, Response};

/// Serves a method with one request and one response.
pub trait UnaryHandler<M: Method> {
    /// Answers one request; the response may borrow from the request, from the call's arena and from the handler.
    fn call<'a>(
        &'a self,
        cx: &Cx<'a>,
        request: Request<'a, M>,
    ) -> impl Future<Output = Result<Response<'a, M>, Status>>;
}

/// Serves a method with one request and a stream of responses.
pub trait ServerStreamingHandler<M: Method> {
    /// Answers one request by writing to `out`.
    fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Request<'a, M>,
        out: &mut Sink<'_, M::Response>,
    ) -> impl Future<Output = Result<(), Status>>;
}

/// Serves a method with a stream of requests and one response.
pub trait ClientStreamingHandler<M: Method> {
    /// What lives as long as one call; it may borrow the service.
    type Call<'s>: ClientStreamingCall<M::Request, M::Response>
    where
        Self: 's;

    /// Begins a call, before its first message.
    fn open<'s>(&'s self, cx: &Cx<'_>) -> impl Future<Output = Result<Self::Call<'s>, Status>>;
}

/// Serves a method with streams in both directions.
pub trait BidiHandler<M: Method> {
    /// What lives as long as one call; it may borrow the service.
    type Call<'s>: BidiCall<M::Request, M::Response>
    where
        Self: 's;

    /// Begins a call, before its first message.
    fn open<'s>(&'s self, cx: &Cx<'_>) -> impl Future<Output = Result<Self::Call<'s>, Status>>;
}

/// One call with a stream of requests and one response.
///
/// The loop over the messages is the framework's, so that each message may borrow from an arena that is reset right
/// after it. The client's credit for a message returns when `on_message` is done with it: a slow handler slows its
/// client, and nobody else.
pub trait ClientStreamingCall<Req: Schema, Resp: Schema> {
    /// Takes one message. An error ends the call.
    fn on_message<'a>(
        &mut self,
        cx: &Cx<'a>,
        message: Req::View<'a>,
    ) -> impl Future<Output = Result<(), Status>>;

    /// Answers, after the last message.
    fn finish<'a>(self, cx: &Cx<'a>) -> impl Future<Output = Result<Resp::View<'a>, Status>>;
}

/// One call with streams in both directions.
///
/// `run` is polled beside the others, so they share `&self`; what changes sits in a `Cell` or a `RefCell`, which
/// must not be borrowed across an `await`.
pub trait BidiCall<Req: Schema, Resp: Schema> {
    /// Takes one message, and may answer it. An error ends the call.
    fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Req::View<'a>,
        out: &mut Sink<'_, Resp>,
    ) -> impl Future<Output = Result<(), Status>>;

    /// The client has half-closed and all its messages were taken: the call ends when this returns.
    fn finish(
        &self,
        cx: &Cx<'_>,
        out: &mut Sink<'_, Resp>,
    ) -> impl Future<Output = Result<(), Status>> {
        let _ = (cx, out);
        ready(Ok(()))
    }

    /// Sends without being asked, from the start of the call; dropped when `finish` returns.
    ///
    /// An error ends the call; `Ok` means that there is nothing more to push.
    ///
    /// The arena of `cx` is reset only when the call ends, and has a budget, that of
    /// [`DecodeLimits::arena_bytes`](grpc_arena::DecodeLimits::arena_bytes): beyond it, it panics, which ends the call
    /// with INTERNAL. What pushes for long builds its messages elsewhere:
    ///
    /// ```
    /// # use grpc_service::{Arena, Sink, Status};
    /// # async fn run(out: &mut Sink<'_, grpc_arena::wkt::StringValue<'static>>) -> Result<(), Status> {
    /// let mut arena = Arena::new();
    /// for tick in 0.. {
    ///     let text = arena.alloc_str(&format!("tick {tick}"));
    ///     out.send(&grpc_arena::wkt::StringValue { value: text, ..Default::default() }).await?;
    ///     arena.reset();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn run(
        &self,
        cx: &Cx<'_>,
        out: &mut Sink<'_, Resp>,
    ) -> impl Future<Output = Result<(), Status>> {
        let _ = (cx, out);
        ready(Ok(()))
    }
}
