//! A factory of clones.

use std::convert::Infallible;

use super::MakeService;

/// Makes clones of a service: for services whose state, if they have one, is shared by their clones.
#[derive(Debug, Clone)]
pub struct CloneFactory<T> {
    service: T,
}

impl<T> CloneFactory<T> {
    /// A factory of clones of `service`.
    pub const fn new(service: T) -> Self {
        Self { service }
    }

    /// The service that is cloned.
    pub fn into_inner(self) -> T {
        self.service
    }
}

impl<T> From<T> for CloneFactory<T> {
    fn from(service: T) -> Self {
        Self::new(service)
    }
}

impl<T: Clone> MakeService for CloneFactory<T> {
    type Service = T;
    type Error = Infallible;

    fn make_via_ref(&self, _old: Option<&T>) -> Result<T, Infallible> {
        Ok(self.service.clone())
    }
}
