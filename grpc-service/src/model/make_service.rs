//! Factories of services, with and without waiting.

use std::future::{Future, ready};
use std::rc::Rc;
use std::sync::Arc;

use super::BoxedService;

/// Makes services, and makes the next one from the one that it replaces.
///
/// A service that is replaced while it runs meets two hooks:
/// 1. [`make_via_ref`](Self::make_via_ref) makes its successor while it still serves. This may fail, and then the old
///    service stays.
/// 2. [`take_over`](Self::take_over) is called when the successor is put in its place, for what the old service has
///    learnt in between. It cannot fail.
///
/// Calls that run on the old service end there, after both hooks. So what must stay exact across both, such as a
/// total or permits, is shared (an `Rc` in both services) rather than copied.
///
/// ```
/// use std::cell::Cell;
/// use std::convert::Infallible;
/// use grpc_service::model::MakeService;
///
/// struct Cache {
///     capacity: usize,
///     hits: Cell<u64>,
/// }
///
/// struct CacheFactory {
///     capacity: usize,
/// }
///
/// impl MakeService for CacheFactory {
///     type Service = Cache;
///     type Error = Infallible;
///     fn make_via_ref(&self, old: Option<&Cache>) -> Result<Cache, Infallible> {
///         let hits = old.map_or(0, |old| old.hits.get());
///         Ok(Cache { capacity: self.capacity, hits: Cell::new(hits) })
///     }
///     fn take_over(&self, new: &Cache, old: &Cache) {
///         new.hits.set(old.hits.get());
///     }
/// }
///
/// let first = CacheFactory { capacity: 100 }.make()?;
/// first.hits.set(1);
/// let larger = CacheFactory { capacity: 200 };
/// let second = larger.make_via_ref(Some(&first))?;
/// first.hits.set(2); // after the second was made
/// larger.take_over(&second, &first);
/// assert_eq!((second.capacity, second.hits.get()), (200, 2));
/// # Ok::<(), Infallible>(())
/// ```
///
/// References, `Rc`, `Arc` and `Box` of a factory are factories, also those of a `dyn MakeService`.
pub trait MakeService {
    /// The type of the services.
    type Service;

    /// Why making may fail.
    type Error;

    /// Makes a service; `old` is the one that it will replace, if there is one.
    ///
    /// A factory that wraps another one passes the inner part of `old` on: `old.map(|old| &old.inner)`.
    ///
    /// # Errors
    /// Those of the factory. `old` must be as it was.
    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, Self::Error>;

    /// Makes a service that replaces none.
    ///
    /// # Errors
    /// Those of [`make_via_ref`](Self::make_via_ref).
    fn make(&self) -> Result<Self::Service, Self::Error> {
        self.make_via_ref(None)
    }

    /// Called when `new`, which this factory made, takes the place of `old`. Does nothing unless it is provided.
    ///
    /// `old` is the service in force at that moment, which may be another one than `make_via_ref` was given. A
    /// factory that wraps another one passes the call on with the inner parts of both.
    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        let _ = (new, old);
    }

    /// [`make`](Self::make) as a future, which is ready at its first poll: so `make_async` makes a service from a stack
    /// of either kind of factory.
    ///
    /// # Errors
    /// Those of [`make_via_ref`](Self::make_via_ref).
    fn make_async(&self) -> impl Future<Output = Result<Self::Service, Self::Error>>
    where
        Self: Sized,
    {
        ready(self.make())
    }
}

/// [`MakeService`] for factories that wait, for example to connect.
///
/// A type may implement both traits. [`AsyncMakeServiceWrapper`] turns a factory that does not wait into one of this
/// trait, and so does [`FactoryStack::into_async`](super::FactoryStack::into_async) within a stack.
///
/// ```
/// use std::io;
/// use grpc_service::model::AsyncMakeService;
///
/// # struct Connection;
/// # impl Clone for Connection { fn clone(&self) -> Self { Connection } }
/// # async fn connect() -> io::Result<Connection> { Ok(Connection) }
/// struct Store {
///     connection: Connection,
/// }
///
/// struct StoreFactory;
///
/// impl AsyncMakeService for StoreFactory {
///     type Service = Store;
///     type Error = io::Error;
///     async fn make_via_ref(&self, old: Option<&Store>) -> io::Result<Store> {
///         let connection = match old {
///             Some(old) => old.connection.clone(),
///             None => connect().await?,
///         };
///         Ok(Store { connection })
///     }
/// }
/// ```
pub trait AsyncMakeService {
    /// The type of the services.
    type Service;

    /// Why making may fail.
    type Error;

    /// Makes a service; `old` is the one that it will replace, if there is one.
    ///
    /// The future may be dropped before its end, and then nothing was made.
    ///
    /// # Errors
    /// Those of the factory. `old` must be as it was.
    fn make_via_ref(
        &self,
        old: Option<&Self::Service>,
    ) -> impl Future<Output = Result<Self::Service, Self::Error>>;

    /// Makes a service that replaces none.
    ///
    /// # Errors
    /// Those of [`make_via_ref`](Self::make_via_ref).
    fn make(&self) -> impl Future<Output = Result<Self::Service, Self::Error>> {
        self.make_via_ref(None)
    }

    /// As [`MakeService::take_over`]; it does not wait.
    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        let _ = (new, old);
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: MakeService + ?Sized> MakeService for $pointer {
            type Service = T::Service;
            type Error = T::Error;

            fn make_via_ref(&self, old: Option<&T::Service>) -> Result<T::Service, T::Error> {
                (**self).make_via_ref(old)
            }

            fn make(&self) -> Result<T::Service, T::Error> {
                (**self).make()
            }

            fn take_over(&self, new: &T::Service, old: &T::Service) {
                (**self).take_over(new, old);
            }
        }

        impl<T: AsyncMakeService + ?Sized> AsyncMakeService for $pointer {
            type Service = T::Service;
            type Error = T::Error;

            fn make_via_ref(
                &self,
                old: Option<&T::Service>,
            ) -> impl Future<Output = Result<T::Service, T::Error>> {
                (**self).make_via_ref(old)
            }

            fn make(&self) -> impl Future<Output = Result<T::Service, T::Error>> {
                (**self).make()
            }

            fn take_over(&self, new: &T::Service, old: &T::Service) {
                (**self).take_over(new, old);
            }
        }
    )*};
}

forward!(&T, Rc<T>, Arc<T>, Box<T>);

/// Makes an [`AsyncMakeService`] of a [`MakeService`]; its futures are ready at their first poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct AsyncMakeServiceWrapper<T>(pub T);

impl<T: MakeService> AsyncMakeService for AsyncMakeServiceWrapper<T> {
    type Service = T::Service;
    type Error = T::Error;

    async fn make_via_ref(&self, old: Option<&T::Service>) -> Result<T::Service, T::Error> {
        self.0.make_via_ref(old)
    }

    async fn make(&self) -> Result<T::Service, T::Error> {
        self.0.make()
    }

    fn take_over(&self, new: &T::Service, old: &T::Service) {
        self.0.take_over(new, old);
    }
}

/// A factory of services of type `S`, whose own type is forgotten; it may be sent to other threads.
pub type BoxedMakeService<S, E> = Box<dyn MakeService<Service = S, Error = E> + Send + Sync>;

/// As [`BoxedMakeService`], shared.
pub type ArcMakeService<S, E> = Arc<dyn MakeService<Service = S, Error = E> + Send + Sync>;

/// A factory whose type is forgotten, as is the type of its services. `SE` is the services' error and `ME` the
/// factory's.
pub type BoxedMakeBoxedService<Request, Response, SE, ME> =
    BoxedMakeService<BoxedService<Request, Response, SE>, ME>;

/// As [`BoxedMakeBoxedService`], shared.
pub type ArcMakeBoxedService<Request, Response, SE, ME> =
    ArcMakeService<BoxedService<Request, Response, SE>, ME>;
