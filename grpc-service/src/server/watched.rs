//! Handlers whose messages are shown to a [`Watch`].

use std::marker::PhantomData;
use std::rc::Rc;

use grpc_arena::Schema;
use grpc_proto::Status;

use super::sink::Tap;
use super::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, Cx, Routes,
    ServerStreamingHandler, Sink, UnaryHandler,
};
use crate::layers::{CallService, CallView, Watch};
use crate::{Kind, Method, Request, Response};

/// Routes whose methods show each message; made by [`Routes::watched`].
pub struct Watched<'r, R, W> {
    routes: &'r mut R,
    watch: Rc<W>,
}

impl<'r, R, W> Watched<'r, R, W> {
    pub(super) fn new(routes: &'r mut R, watch: W) -> Self {
        Self { routes, watch: Rc::new(watch) }
    }

    fn seen<H>(&self, handler: H) -> Seen<H, W> {
        Seen { handler, watch: Rc::clone(&self.watch) }
    }
}

impl<R: Routes, W: Watch + 'static> Routes for Watched<'_, R, W> {
    fn route<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        self.routes.route::<M, S>(kind, service);
    }

    fn leaf<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        self.routes.leaf::<M, S>(kind, service);
    }

    fn unary<M: Method, H: UnaryHandler<M> + 'static>(&mut self, handler: H) {
        let seen = self.seen(handler);
        self.routes.unary::<M, _>(seen);
    }

    fn server_streaming<M: Method, H: ServerStreamingHandler<M> + 'static>(&mut self, handler: H) {
        let seen = self.seen(handler);
        self.routes.server_streaming::<M, _>(seen);
    }

    fn client_streaming<M: Method, H: ClientStreamingHandler<M> + 'static>(&mut self, handler: H) {
        let seen = self.seen(handler);
        self.routes.client_streaming::<M, _>(seen);
    }

    fn bidi<M: Method, H: BidiHandler<M> + 'static>(&mut self, handler: H) {
        let seen = self.seen(handler);
        self.routes.bidi::<M, _>(seen);
    }
}

/// A handler, and who sees its messages.
struct Seen<H, W> {
    handler: H,
    watch: Rc<W>,
}

impl<M: Method, H: UnaryHandler<M>, W: Watch> UnaryHandler<M> for Seen<H, W> {
    async fn call<'a>(
        &'a self,
        cx: &Cx<'a>,
        request: Request<'a, M>,
    ) -> Result<Response<'a, M>, Status> {
        self.watch.on_request::<M>(cx.call(), &request)?;
        let response = self.handler.call(cx, request).await?;
        self.watch.on_response::<M>(cx.call(), &response)?;
        Ok(response)
    }
}

/// Shows what is written to a sink.
struct Shown<'t, M: Method, W> {
    watch: &'t W,
    call: CallView<'t>,
    outer: Option<&'t dyn Tap<M::Response>>,
}

impl<M: Method, W: Watch> Tap<M::Response> for Shown<'_, M, W> {
    fn see(&self, item: &Response<'_, M>) -> Result<(), Status> {
        self.watch.on_response::<M>(self.call, item)?;
        self.outer.map_or(Ok(()), |outer| outer.see(item))
    }
}

impl<M: Method, H: ServerStreamingHandler<M>, W: Watch> ServerStreamingHandler<M> for Seen<H, W> {
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Request<'a, M>,
        out: &mut Sink<'_, M::Response>,
    ) -> Result<(), Status> {
        self.watch.on_request::<M>(cx.call(), &request)?;
        let shown = Shown::<M, W> { watch: &self.watch, call: cx.call(), outer: out.tap() };
        self.handler.call(cx, request, &mut out.tapped(&shown)).await
    }
}

/// A call of a handler, and who sees its messages.
pub(super) struct SeenCall<'s, M, C, W> {
    call: C,
    watch: &'s W,
    method: PhantomData<fn(M)>,
}

impl<M: Method, H: ClientStreamingHandler<M>, W: Watch> ClientStreamingHandler<M> for Seen<H, W> {
    type Call<'s>
        = SeenCall<'s, M, H::Call<'s>, W>
    where
        Self: 's;

    async fn open<'s>(&'s self, cx: &Cx<'_>) -> Result<Self::Call<'s>, Status> {
        let call = self.handler.open(cx).await?;
        Ok(SeenCall { call, watch: &self.watch, method: PhantomData })
    }
}

impl<M, C, W> ClientStreamingCall<M::Request, M::Response> for SeenCall<'_, M, C, W>
where
    M: Method,
    C: ClientStreamingCall<M::Request, M::Response>,
    W: Watch,
{
    async fn on_message<'a>(
        &mut self,
        cx: &Cx<'a>,
        message: <M::Request as Schema>::View<'a>,
    ) -> Result<(), Status> {
        self.watch.on_request::<M>(cx.call(), &message)?;
        self.call.on_message(cx, message).await
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<<M::Response as Schema>::View<'a>, Status> {
        let response = self.call.finish(cx).await?;
        self.watch.on_response::<M>(cx.call(), &response)?;
        Ok(response)
    }
}

impl<M: Method, H: BidiHandler<M>, W: Watch> BidiHandler<M> for Seen<H, W> {
    type Call<'s>
        = SeenCall<'s, M, H::Call<'s>, W>
    where
        Self: 's;

    async fn open<'s>(&'s self, cx: &Cx<'_>) -> Result<Self::Call<'s>, Status> {
        let call = self.handler.open(cx).await?;
        Ok(SeenCall { call, watch: &self.watch, method: PhantomData })
    }
}

impl<M, C, W> BidiCall<M::Request, M::Response> for SeenCall<'_, M, C, W>
where
    M: Method,
    C: BidiCall<M::Request, M::Response>,
    W: Watch,
{
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: <M::Request as Schema>::View<'a>,
        out: &mut Sink<'_, M::Response>,
    ) -> Result<(), Status> {
        self.watch.on_request::<M>(cx.call(), &message)?;
        let shown = Shown::<M, W> { watch: self.watch, call: cx.call(), outer: out.tap() };
        self.call.on_message(cx, message, &mut out.tapped(&shown)).await
    }

    async fn finish(&self, cx: &Cx<'_>, out: &mut Sink<'_, M::Response>) -> Result<(), Status> {
        let shown = Shown::<M, W> { watch: self.watch, call: cx.call(), outer: out.tap() };
        self.call.finish(cx, &mut out.tapped(&shown)).await
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, M::Response>) -> Result<(), Status> {
        let shown = Shown::<M, W> { watch: self.watch, call: cx.call(), outer: out.tap() };
        self.call.run(cx, &mut out.tapped(&shown)).await
    }
}
