//! Services and factories whose types are forgotten.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use super::{AsyncMakeService, MakeService, Service};

type BoxFuture<'s, T> = Pin<Box<dyn Future<Output = T> + 's>>;

trait DynService<Request, Response, E> {
    fn call_dyn<'s>(&'s self, request: Request) -> BoxFuture<'s, Result<Response, E>>
    where
        Request: 's;

    fn as_any(&self) -> &dyn Any;
}

impl<Request, S> DynService<Request, S::Response, S::Error> for S
where
    S: Service<Request> + 'static,
{
    fn call_dyn<'s>(&'s self, request: Request) -> BoxFuture<'s, Result<S::Response, S::Error>>
    where
        Request: 's,
    {
        Box::pin(self.call(request))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A service of `Request` whose type is forgotten.
///
/// It costs one allocation when it is made, and one for the future of each call. The service is `'static`; the request
/// may borrow, for one lifetime that the type of the boxed service then names.
///
/// ```
/// use std::convert::Infallible;
/// use grpc_service::model::{BoxedService, Service};
///
/// struct Length;
/// impl Service<&str> for Length {
///     type Response = usize;
///     type Error = Infallible;
///     async fn call(&self, request: &str) -> Result<usize, Infallible> {
///         Ok(request.len())
///     }
/// }
///
/// async fn lengths(words: &str) -> Result<Vec<usize>, Infallible> {
///     let service: BoxedService<&str, usize, Infallible> = BoxedService::new(Length);
///     let mut lengths = Vec::new();
///     for word in words.split(' ') {
///         lengths.push(service.call(word).await?);
///     }
///     Ok(lengths)
/// }
/// ```
pub struct BoxedService<Request, Response, E>(Box<dyn DynService<Request, Response, E>>);

impl<Request, Response, E> BoxedService<Request, Response, E> {
    /// Moves a service into a box.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response, Error = E> + 'static,
    {
        Self(Box::new(service))
    }

    /// The service, if its type is `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }
}

impl<Request, Response, E> Service<Request> for BoxedService<Request, Response, E> {
    type Response = Response;
    type Error = E;

    #[inline]
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, E>> {
        self.0.call_dyn(request)
    }
}

impl<Request, Response, E> fmt::Debug for BoxedService<Request, Response, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedService").finish_non_exhaustive()
    }
}

/// Moves a service into a [`BoxedService`], as a method.
pub trait BoxService<Request, Response, E> {
    /// As [`BoxedService::new`].
    fn into_boxed(self) -> BoxedService<Request, Response, E>;
}

impl<Request, S> BoxService<Request, S::Response, S::Error> for S
where
    S: Service<Request> + 'static,
{
    fn into_boxed(self) -> BoxedService<Request, S::Response, S::Error> {
        BoxedService::new(self)
    }
}

/// A factory of [`BoxedService`]s from a factory of services.
///
/// It hands `old` on to the inner factory only if `old` holds a service of the inner factory's type; otherwise the
/// inner factory makes one without. So stacks of different layers can replace each other, and state is carried over
/// where the types are the same.
pub struct BoxServiceFactory<F, Request> {
    /// The factory of the services that are boxed.
    pub inner: F,
    request: PhantomData<fn(Request)>,
}

impl<F, Request> BoxServiceFactory<F, Request> {
    /// Boxes what `inner` makes, as services of `Request`.
    pub const fn new(inner: F) -> Self {
        Self { inner, request: PhantomData }
    }
}

impl<F: Clone, Request> Clone for BoxServiceFactory<F, Request> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<F: fmt::Debug, Request> fmt::Debug for BoxServiceFactory<F, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxServiceFactory").field(&self.inner).finish()
    }
}

type Boxed<S, Request> =
    BoxedService<Request, <S as Service<Request>>::Response, <S as Service<Request>>::Error>;

impl<F, Request> MakeService for BoxServiceFactory<F, Request>
where
    F: MakeService,
    F::Service: Service<Request> + 'static,
{
    type Service = Boxed<F::Service, Request>;
    type Error = F::Error;

    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        let old = old.and_then(|old| old.downcast_ref());
        Ok(BoxedService::new(self.inner.make_via_ref(old)?))
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        if let (Some(new), Some(old)) = (new.downcast_ref(), old.downcast_ref()) {
            self.inner.take_over(new, old);
        }
    }
}

impl<F, Request> AsyncMakeService for BoxServiceFactory<F, Request>
where
    F: AsyncMakeService,
    F::Service: Service<Request> + 'static,
{
    type Service = Boxed<F::Service, Request>;
    type Error = F::Error;

    async fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        let old = old.and_then(|old| old.downcast_ref());
        Ok(BoxedService::new(self.inner.make_via_ref(old).await?))
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        if let (Some(new), Some(old)) = (new.downcast_ref(), old.downcast_ref()) {
            self.inner.take_over(new, old);
        }
    }
}

trait DynAsyncMakeService<S, E>: Send + Sync {
    fn make_dyn<'s>(&'s self, old: Option<&'s S>) -> BoxFuture<'s, Result<S, E>>;
    fn take_over_dyn(&self, new: &S, old: &S);
    fn as_any(&self) -> &dyn Any;
}

impl<F> DynAsyncMakeService<F::Service, F::Error> for F
where
    F: AsyncMakeService + Send + Sync + 'static,
{
    fn make_dyn<'s>(
        &'s self,
        old: Option<&'s F::Service>,
    ) -> BoxFuture<'s, Result<F::Service, F::Error>> {
        Box::pin(self.make_via_ref(old))
    }

    fn take_over_dyn(&self, new: &F::Service, old: &F::Service) {
        self.take_over(new, old);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A factory of services of type `S` that waits, whose own type is forgotten; it may be sent to other threads.
///
/// For factories that do not wait, [`BoxedMakeService`](super::BoxedMakeService) is a plain `Box<dyn MakeService>`.
pub struct BoxedAsyncMakeService<S, E>(Box<dyn DynAsyncMakeService<S, E>>);

impl<S, E> BoxedAsyncMakeService<S, E> {
    /// Moves a factory into a box.
    pub fn new<F>(factory: F) -> Self
    where
        F: AsyncMakeService<Service = S, Error = E> + Send + Sync + 'static,
    {
        Self(Box::new(factory))
    }

    /// The factory, if its type is `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }
}

impl<S, E> AsyncMakeService for BoxedAsyncMakeService<S, E> {
    type Service = S;
    type Error = E;

    async fn make_via_ref(&self, old: Option<&S>) -> Result<S, E> {
        self.0.make_dyn(old).await
    }

    fn take_over(&self, new: &S, old: &S) {
        self.0.take_over_dyn(new, old);
    }
}

impl<S, E> fmt::Debug for BoxedAsyncMakeService<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedAsyncMakeService").finish_non_exhaustive()
    }
}
