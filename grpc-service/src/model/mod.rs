//! Services, the factories that make them, and the layers that wrap factories: for any type of request.
//!
//! Nothing in this module depends on gRPC or on a runtime. A *service* turns a request into the future of a response.
//! A *factory* makes services, and makes the next one from the service that it replaces, so that state is carried
//! over. A *layer* wraps a factory in another one, and a [`FactoryStack`] applies layers to a config.
//!
//! ```
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use grpc_service::model::{FactoryLayer, FactoryStack, MakeService, Param, Service, layer_fn};
//!
//! /// Counts its requests.
//! struct Count {
//!     step: u32,
//!     counted: Cell<u32>,
//! }
//!
//! impl Service<()> for Count {
//!     type Response = u32;
//!     type Error = Infallible;
//!     async fn call(&self, (): ()) -> Result<u32, Infallible> {
//!         self.counted.set(self.counted.get() + self.step);
//!         Ok(self.counted.get())
//!     }
//! }
//!
//! /// Makes a `Count`, which goes on from the count of the one before.
//! struct CountFactory(Step);
//!
//! impl MakeService for CountFactory {
//!     type Service = Count;
//!     type Error = Infallible;
//!     fn make_via_ref(&self, old: Option<&Count>) -> Result<Count, Infallible> {
//!         let counted = old.map_or(0, |old| old.counted.get());
//!         Ok(Count { step: self.0.0, counted: Cell::new(counted) })
//!     }
//! }
//!
//! impl CountFactory {
//!     /// For every config that knows a `Step`.
//!     fn layer<C: Param<Step>>() -> impl FactoryLayer<C, (), Factory = Self> {
//!         layer_fn(|config: &C, ()| CountFactory(config.param()))
//!     }
//! }
//!
//! struct Step(u32);
//! struct Config {
//!     step: u32,
//! }
//! impl Param<Step> for Config {
//!     fn param(&self) -> Step {
//!         Step(self.step)
//!     }
//! }
//!
//! # fn block_on<T>(future: impl Future<Output = T>) -> T {
//! #     let mut future = std::pin::pin!(future);
//! #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! #     loop {
//! #         if let std::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) {
//! #             return out;
//! #         }
//! #     }
//! # }
//! # fn main() -> Result<(), Infallible> {
//! # block_on(async {
//! let service = FactoryStack::new(Config { step: 1 }).push(CountFactory::layer()).make()?;
//! assert_eq!(service.call(()).await?, 1);
//! assert_eq!(service.call(()).await?, 2);
//!
//! // Another config, and the count of before.
//! let stack = FactoryStack::new(Config { step: 10 }).push(CountFactory::layer());
//! let service = stack.make_via_ref(Some(&service))?;
//! assert_eq!(service.call(()).await?, 12);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! | need | item |
//! |---|---|
//! | answer requests | [`Service`] |
//! | make services, and carry state over to the next one | [`MakeService`], [`AsyncMakeService`] |
//! | wrap a service in another one | [`FactoryLayer`], [`layer_fn`] |
//! | build a factory from layers and a config | [`FactoryStack`], [`Param`] |
//! | leave a layer out, or choose between two | `Option<L>`, [`Either`] |
//! | one type for different services or factories | [`BoxedService`], [`BoxedMakeService`], [`BoxedAsyncMakeService`] |
//! | survive a factory that panics | [`try_make`], [`try_make_async`], [`try_take_over`] |
//!
//! The names and signatures are those of the crate `service-async` 0.2.4, modules included: a program moves over when
//! its `use service_async::…` becomes `use grpc_service::model::…`. `docs/service-model.md` lists what differs.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

mod boxed;
pub mod either;
pub mod layer;
mod make_service;
mod map;
mod param;
pub mod stack;
mod try_make;
pub mod utils;

pub use boxed::{BoxService, BoxServiceFactory, BoxedAsyncMakeService, BoxedService};
pub use either::Either;
pub use layer::{FactoryLayer, LayerAsync, LayerFn, layer_fn};
pub use make_service::{
    ArcMakeBoxedService, ArcMakeService, AsyncMakeService, AsyncMakeServiceWrapper,
    BoxedMakeBoxedService, BoxedMakeService, MakeService,
};
pub use map::MapTargetService;
pub use param::{
    Param, ParamMaybeMut, ParamMaybeRef, ParamMut, ParamRef, ParamRemove, ParamSet, ParamTake,
};
pub use stack::FactoryStack;
pub use try_make::{MakeError, Panicked, try_make, try_make_async, try_take_over};
pub use utils::CloneFactory;

/// Answers requests of one type; a type may be a service of several.
///
/// `call` takes `&self`, so calls may run at the same time; what they share sits in cells. The future may be dropped
/// before its end: that cancels the call, and must leave the service ready for the next one. Futures need not be
/// `Send`, because a service stays on the thread that made it.
///
/// A layer is a service that is generic over the inner one. It is written as an `async fn` that awaits the inner call
/// in place; a future that is bound to a name and then moved into an `async` block is kept twice.
///
/// ```
/// use grpc_service::model::Service;
///
/// /// Answers with the response's length.
/// struct Length<T> {
///     inner: T,
/// }
///
/// impl<R, T: Service<R, Response = String>> Service<R> for Length<T> {
///     type Response = usize;
///     type Error = T::Error;
///     async fn call(&self, request: R) -> Result<usize, T::Error> {
///         Ok(self.inner.call(request).await?.len())
///     }
/// }
/// ```
///
/// References, `Rc`, `Arc` and `Box` of a service are services.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service of requests of type `{Request}`",
    label = "does not implement `Service<{Request}>`",
    note = "a layer is a service only if its inner service has the `Response` and `Error` that the layer asks for"
)]
pub trait Service<Request> {
    /// What a call that succeeds gives.
    type Response;

    /// What a call that fails gives.
    type Error;

    /// Begins a call. Nothing happens before the future is polled, unless the service says otherwise.
    ///
    /// # Errors
    /// Those of the service.
    fn call(&self, request: Request) -> impl Future<Output = Result<Self::Response, Self::Error>>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<Request, T: Service<Request> + ?Sized> Service<Request> for $pointer {
            type Response = T::Response;
            type Error = T::Error;

            #[inline]
            fn call(
                &self,
                request: Request,
            ) -> impl Future<Output = Result<T::Response, T::Error>> {
                (**self).call(request)
            }
        }
    )*};
}

forward!(&T, Rc<T>, Arc<T>, Box<T>);
