//! A service of one type of request as a service of another.

use std::future::Future;

use super::{AsyncMakeService, MakeService, Service};

/// A service of `R` from a function `Fn(R) -> U` and a service of `U`; also the factory of such services.
///
/// [`FactoryStack::push_map_target`](super::FactoryStack::push_map_target) puts it into a stack.
#[derive(Debug, Clone, Copy)]
pub struct MapTargetService<T, F> {
    /// The function, called once a request.
    pub f: F,
    /// The service or the factory.
    pub inner: T,
}

impl<R, U, T, F> Service<R> for MapTargetService<T, F>
where
    F: Fn(R) -> U,
    T: Service<U>,
{
    type Response = T::Response;
    type Error = T::Error;

    #[inline]
    fn call(&self, request: R) -> impl Future<Output = Result<T::Response, T::Error>> {
        self.inner.call((self.f)(request))
    }
}

impl<T: MakeService, F: Clone> MakeService for MapTargetService<T, F> {
    type Service = MapTargetService<T::Service, F>;
    type Error = T::Error;

    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, T::Error> {
        let inner = self.inner.make_via_ref(old.map(|old| &old.inner))?;
        Ok(MapTargetService { f: self.f.clone(), inner })
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        self.inner.take_over(&new.inner, &old.inner);
    }
}

impl<T: AsyncMakeService, F: Clone> AsyncMakeService for MapTargetService<T, F> {
    type Service = MapTargetService<T::Service, F>;
    type Error = T::Error;

    async fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, T::Error> {
        let inner = self.inner.make_via_ref(old.map(|old| &old.inner)).await?;
        Ok(MapTargetService { f: self.f.clone(), inner })
    }

    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        self.inner.take_over(&new.inner, &old.inner);
    }
}
