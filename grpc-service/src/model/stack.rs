//! A factory that is built from a config and layers.

use std::sync::Arc;

use super::{
    ArcMakeService, AsyncMakeService, AsyncMakeServiceWrapper, BoxServiceFactory,
    BoxedAsyncMakeService, BoxedMakeService, FactoryLayer, MakeService, MapTargetService, Service,
};

/// A factory of services, built layer by layer over a config.
///
/// The first layer wraps `()`, or a factory that [`replace`](Self::replace) puts in; each further one wraps all before
/// it. So the layer that is pushed last is the outermost and sees a request first. A layer reads the config when it is
/// pushed; the services are made later, as often as they are needed.
///
/// A stack is itself a factory: of [`MakeService`] if its layers are, and of [`AsyncMakeService`] if they are.
/// [`make_async`](Self::make_async) works for both.
#[derive(Debug, Clone)]
pub struct FactoryStack<C, F> {
    config: C,
    inner: F,
}

impl<C> FactoryStack<C, ()> {
    /// A stack without layers.
    pub const fn new(config: C) -> Self {
        Self { config, inner: () }
    }
}

impl<C, F> FactoryStack<C, F> {
    fn map<N>(self, wrap: impl FnOnce(F) -> N) -> FactoryStack<C, N> {
        FactoryStack { config: self.config, inner: wrap(self.inner) }
    }

    /// Puts a factory in the place of all layers so far, which are dropped.
    pub fn replace<N>(self, factory: N) -> FactoryStack<C, N> {
        self.map(|_| factory)
    }

    /// Wraps all layers so far in another one.
    pub fn push<L: FactoryLayer<C, F>>(self, layer: L) -> FactoryStack<C, L::Factory> {
        let inner = layer.layer(&self.config, self.inner);
        FactoryStack { config: self.config, inner }
    }

    /// Pushes a function from the requests that the stack takes from here on to those that it took so far.
    pub fn push_map_target<M: Clone>(self, f: M) -> FactoryStack<C, MapTargetService<F, M>> {
        self.map(|inner| MapTargetService { f, inner })
    }

    /// From a factory that does not wait to one that may, so that layers over an [`AsyncMakeService`] can follow.
    pub fn into_async(self) -> FactoryStack<C, AsyncMakeServiceWrapper<F>> {
        self.map(AsyncMakeServiceWrapper)
    }

    /// From here on the services are [`BoxedService`](super::BoxedService)s, whatever their layers are. For both kinds
    /// of factory.
    pub fn into_boxed_service<Request>(self) -> FactoryStack<C, BoxServiceFactory<F, Request>> {
        self.map(BoxServiceFactory::new)
    }

    /// Forgets the type of the factory, which keeps the type of its services.
    pub fn into_boxed_factory(self) -> FactoryStack<C, BoxedMakeService<F::Service, F::Error>>
    where
        F: MakeService + Send + Sync + 'static,
    {
        self.map(|inner| Box::new(inner) as BoxedMakeService<_, _>)
    }

    /// As [`into_boxed_factory`](Self::into_boxed_factory), for a factory that waits.
    pub fn into_async_boxed_factory(
        self,
    ) -> FactoryStack<C, BoxedAsyncMakeService<F::Service, F::Error>>
    where
        F: AsyncMakeService + Send + Sync + 'static,
    {
        self.map(BoxedAsyncMakeService::new)
    }

    /// As [`into_boxed_factory`](Self::into_boxed_factory), shared: for a factory of several threads.
    pub fn into_arc_factory(self) -> FactoryStack<C, ArcMakeService<F::Service, F::Error>>
    where
        F: MakeService + Send + Sync + 'static,
    {
        self.map(|inner| Arc::new(inner) as ArcMakeService<_, _>)
    }

    /// As [`into_arc_factory`](Self::into_arc_factory), for a factory that waits.
    #[allow(clippy::type_complexity)]
    pub fn into_async_arc_factory(
        self,
    ) -> FactoryStack<C, Arc<BoxedAsyncMakeService<F::Service, F::Error>>>
    where
        F: AsyncMakeService + Send + Sync + 'static,
    {
        self.map(|inner| Arc::new(BoxedAsyncMakeService::new(inner)))
    }

    /// Compiles only if the stack makes services of `Request`: put it between layers to find the one that does not fit.
    pub fn check_make_svc<Request>(self) -> Self
    where
        F: MakeService,
        F::Service: Service<Request>,
    {
        self
    }

    /// As [`check_make_svc`](Self::check_make_svc), for a factory that waits.
    pub fn check_async_make_svc<Request>(self) -> Self
    where
        F: AsyncMakeService,
        F::Service: Service<Request>,
    {
        self
    }

    /// The factory alone.
    pub fn into_inner(self) -> F {
        self.inner
    }

    /// The config and the factory.
    pub fn into_parts(self) -> (C, F) {
        (self.config, self.inner)
    }
}

impl<C, F: MakeService> FactoryStack<C, F> {
    /// Makes a service that replaces none. [`MakeService::make_via_ref`] makes one that does.
    ///
    /// # Errors
    /// Those of the layers' factories.
    pub fn make(&self) -> Result<F::Service, F::Error> {
        self.inner.make()
    }
}

impl<C, F: AsyncMakeService> FactoryStack<C, F> {
    /// Makes a service that replaces none. [`AsyncMakeService::make_via_ref`] makes one that does.
    ///
    /// For a stack whose factories do not wait, the same call finds [`MakeService::make_async`].
    ///
    /// # Errors
    /// Those of the layers' factories.
    pub async fn make_async(&self) -> Result<F::Service, F::Error> {
        self.inner.make().await
    }
}

impl<C, F: MakeService> MakeService for FactoryStack<C, F> {
    type Service = F::Service;
    type Error = F::Error;

    fn make_via_ref(&self, old: Option<&F::Service>) -> Result<F::Service, F::Error> {
        self.inner.make_via_ref(old)
    }

    fn take_over(&self, new: &F::Service, old: &F::Service) {
        self.inner.take_over(new, old);
    }
}

impl<C, F: AsyncMakeService> AsyncMakeService for FactoryStack<C, F> {
    type Service = F::Service;
    type Error = F::Error;

    async fn make_via_ref(&self, old: Option<&F::Service>) -> Result<F::Service, F::Error> {
        self.inner.make_via_ref(old).await
    }

    fn take_over(&self, new: &F::Service, old: &F::Service) {
        self.inner.take_over(new, old);
    }
}
