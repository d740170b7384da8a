//! Where methods are registered: a router, or a router behind layers.

use std::rc::Rc;

use super::leaf::{BidiLeaf, ClientStreamingLeaf, ServerStreamingLeaf, UnaryLeaf};
use super::watched::Watched;
use super::{BidiHandler, ClientStreamingHandler, ServerStreamingHandler, UnaryHandler};
use crate::layers::{CallService, Incoming, Layer, Watch, Wrapped};
use crate::model::Service;
use crate::{Kind, Method, MethodDescriptor, Status};

/// What generated `register_*` functions fill: a [`Router`](crate::Router), or one behind layers.
///
/// ```
/// # use grpc_service::layers::{Timeout, CallView, interceptor};
/// # use grpc_service::{Router, Routes, Status};
/// # use std::time::Duration;
/// # fn register_orders(_: &mut impl Routes) {}
/// # fn register_reports(_: &mut impl Routes) {}
/// # async fn check(_: CallView<'_>) -> Result<(), Status> { Ok(()) }
/// let mut router = Router::new();
/// let mut all = router.around_all(interceptor(async |call: CallView<'_>| check(call).await));
/// register_orders(&mut all);
/// register_reports(&mut all.around(Timeout(Duration::from_secs(60))));
/// ```
pub trait Routes {
    /// Registers a method that `service` serves.
    fn route<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S);

    /// Registers a method that a handler serves, around which no layer is yet.
    #[doc(hidden)]
    fn leaf<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        self.route::<M, S>(kind, service);
    }

    /// Registers a method with one request and one response.
    fn unary<M: Method, H: UnaryHandler<M> + 'static>(&mut self, handler: H) {
        self.leaf::<M, _>(Kind::Unary, UnaryLeaf::<M, H>::new(handler));
    }

    /// Registers a method with one request and a stream of responses.
    fn server_streaming<M: Method, H: ServerStreamingHandler<M> + 'static>(&mut self, handler: H) {
        self.leaf::<M, _>(Kind::ServerStreaming, ServerStreamingLeaf::<M, H>::new(handler));
    }

    /// Registers a method with a stream of requests and one response.
    fn client_streaming<M: Method, H: ClientStreamingHandler<M> + 'static>(&mut self, handler: H) {
        self.leaf::<M, _>(Kind::ClientStreaming, ClientStreamingLeaf::<M, H>::new(handler));
    }

    /// Registers a method with streams in both directions.
    fn bidi<M: Method, H: BidiHandler<M> + 'static>(&mut self, handler: H) {
        self.leaf::<M, _>(Kind::Bidi, BidiLeaf::<M, H>::new(handler));
    }

    /// Routes with a layer, or a tuple of layers, around each method that is registered through them.
    ///
    /// The layer is one value for all of them. Layers nest: those of these routes are outside.
    fn around<L>(&mut self, layer: L) -> Around<'_, Self, L>
    where
        Self: Sized,
        L: for<'a> Layer<Incoming<'a>> + 'static,
    {
        Around { routes: self, layer: Rc::new(layer), which: None }
    }

    /// As [`around`](Self::around), for the methods of which `which` says so.
    ///
    /// ```
    /// # use grpc_service::layers::CatchPanics;
    /// # use grpc_service::{Router, Routes};
    /// # let mut router = Router::new();
    /// let mut routes = router.around_where(|method| method.name() == "Upload", CatchPanics);
    /// # let _ = &mut routes;
    /// ```
    fn around_where<L>(
        &mut self,
        which: impl Fn(&MethodDescriptor) -> bool + 'static,
        layer: L,
    ) -> Around<'_, Self, L>
    where
        Self: Sized,
        L: for<'a> Layer<Incoming<'a>> + 'static,
    {
        Around { routes: self, layer: Rc::new(layer), which: Some(Box::new(which)) }
    }

    /// Routes whose methods show each message to `watch`, within all layers.
    fn watched<W: Watch + 'static>(&mut self, watch: W) -> Watched<'_, Self, W>
    where
        Self: Sized,
    {
        Watched::new(self, watch)
    }
}

/// Says of a method whether a layer is around it.
type Which = dyn Fn(&MethodDescriptor) -> bool;

/// Routes with a layer around each method; made by [`Routes::around`].
pub struct Around<'r, R, L> {
    routes: &'r mut R,
    layer: Rc<L>,
    which: Option<Box<Which>>,
}

impl<'r, R, L> Around<'r, R, L> {
    pub(super) fn new(routes: &'r mut R, layer: Rc<L>) -> Self {
        Self { routes, layer, which: None }
    }

    fn takes<M: Method>(&self, kind: Kind) -> bool {
        let method = M::DESCRIPTOR.with_kind(kind);
        self.which.as_ref().is_none_or(|which| which(&method))
    }

    fn wrap<S>(&self, inner: S) -> Wrapped<Rc<L>, S> {
        Wrapped { layer: Rc::clone(&self.layer), inner }
    }
}

impl<R: Routes, L: for<'a> Layer<Incoming<'a>> + 'static> Routes for Around<'_, R, L> {
    fn route<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        if self.takes::<M>(kind) {
            let wrapped = self.wrap(service);
            self.routes.route::<M, _>(kind, wrapped);
        } else {
            self.routes.route::<M, _>(kind, service);
        }
    }

    fn leaf<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        if self.takes::<M>(kind) {
            // Layers see a panic of the handler as a status.
            let wrapped = self.wrap(Catching(service));
            self.routes.route::<M, _>(kind, wrapped);
        } else {
            self.routes.leaf::<M, _>(kind, service);
        }
    }
}

/// A handler whose panics are statuses.
struct Catching<S>(S);

impl<'a, S: CallService> Service<Incoming<'a>> for Catching<S> {
    type Response = ();
    type Error = Status;

    fn call(&self, call: Incoming<'a>) -> impl Future<Output = Result<(), Status>> {
        crate::layers::catching(call.view(), &self.0, call)
    }
}
