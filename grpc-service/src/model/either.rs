//! One of two: services, factories, layers, futures and errors.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{AsyncMakeService, MakeService, Service};

/// One of two types, which is what both of them are: a service, a factory, a layer, a future or an error.
///
/// It stands wherever the choice is made at run time, as for an optional layer:
///
/// ```
/// use std::convert::Infallible;
/// use grpc_service::model::{Either, FactoryStack, MakeService, layer_fn};
/// # struct Plain;
/// # struct Logged<T>(T);
/// # struct PlainFactory;
/// # impl MakeService for PlainFactory {
/// #     type Service = Plain;
/// #     type Error = Infallible;
/// #     fn make_via_ref(&self, _: Option<&Plain>) -> Result<Plain, Infallible> { Ok(Plain) }
/// # }
/// # struct LoggedFactory<F>(F);
/// # impl<F: MakeService> MakeService for LoggedFactory<F> {
/// #     type Service = Logged<F::Service>;
/// #     type Error = F::Error;
/// #     fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
/// #         Ok(Logged(self.0.make_via_ref(old.map(|old| &old.0))?))
/// #     }
/// # }
/// let log = std::env::args().count() > 1;
/// let stack = FactoryStack::new(())
///     .replace(PlainFactory)
///     .push(log.then(|| layer_fn(|_: &(), inner| LoggedFactory(inner))));
/// let service = stack.make();
/// assert!(matches!(service, Ok(Either::Right(Plain))));
/// ```
///
/// As a factory it hands `old` on only where `old` is on the same side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<T> Either<T, T> {
    /// The value, where both types are the same.
    pub fn into_inner(self) -> T {
        match self {
            Self::Left(inner) | Self::Right(inner) => inner,
        }
    }
}

impl<A, B> Either<A, B> {
    fn as_left(&self) -> Option<&A> {
        match self {
            Self::Left(left) => Some(left),
            Self::Right(_) => None,
        }
    }

    fn as_right(&self) -> Option<&B> {
        match self {
            Self::Left(_) => None,
            Self::Right(right) => Some(right),
        }
    }
}

impl<Request, A, B> Service<Request> for Either<A, B>
where
    A: Service<Request>,
    B: Service<Request, Response = A::Response, Error = A::Error>,
{
    type Response = A::Response;
    type Error = A::Error;

    async fn call(&self, request: Request) -> Result<A::Response, A::Error> {
        match self {
            Self::Left(service) => service.call(request).await,
            Self::Right(service) => service.call(request).await,
        }
    }
}

impl<A: MakeService, B: MakeService> MakeService for Either<A, B> {
    type Service = Either<A::Service, B::Service>;
    type Error = Either<A::Error, B::Error>;

    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, Self::Error> {
        match self {
            Self::Left(factory) => factory
                .make_via_ref(old.and_then(Either::as_left))
                .map(Either::Left)
                .map_err(Either::Left),
            Self::Right(factory) => factory
                .make_via_ref(old.and_then(Either::as_right))
                .map(Either::Right)
                .map_err(Either::Right),
        }
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        match (self, new, old) {
            (Self::Left(factory), Either::Left(new), Either::Left(old)) => {
                factory.take_over(new, old);
            }
            (Self::Right(factory), Either::Right(new), Either::Right(old)) => {
                factory.take_over(new, old);
            }
            _ => {}
        }
    }
}

impl<A: AsyncMakeService, B: AsyncMakeService> AsyncMakeService for Either<A, B> {
    type Service = Either<A::Service, B::Service>;
    type Error = Either<A::Error, B::Error>;

    async fn make_via_ref(
        &self,
        old: Option<&Self::Service>,
    ) -> Result<Self::Service, Self::Error> {
        match self {
            Self::Left(factory) => factory
                .make_via_ref(old.and_then(Either::as_left))
                .await
                .map(Either::Left)
                .map_err(Either::Left),
            Self::Right(factory) => factory
                .make_via_ref(old.and_then(Either::as_right))
                .await
                .map(Either::Right)
                .map_err(Either::Right),
        }
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        match (self, new, old) {
            (Self::Left(factory), Either::Left(new), Either::Left(old)) => {
                factory.take_over(new, old);
            }
            (Self::Right(factory), Either::Right(new), Either::Right(old)) => {
                factory.take_over(new, old);
            }
            _ => {}
        }
    }
}

/// For futures that are `Unpin`, such as `Pin<Box<F>>`: a projection of a pin into an enum of other futures needs
/// `unsafe` code.
impl<A, B> Future for Either<A, B>
where
    A: Future + Unpin,
    B: Future<Output = A::Output> + Unpin,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.get_mut() {
            Self::Left(future) => Pin::new(future).poll(cx),
            Self::Right(future) => Pin::new(future).poll(cx),
        }
    }
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for Either<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(left) => left.fmt(f),
            Self::Right(right) => right.fmt(f),
        }
    }
}

impl<A: Error, B: Error> Error for Either<A, B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Left(left) => left.source(),
            Self::Right(right) => right.source(),
        }
    }
}
