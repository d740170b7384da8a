//! Layers: what wraps a factory in another one.

use std::fmt;
use std::marker::PhantomData;

use super::{AsyncMakeServiceWrapper, Either};

/// Wraps the factory `F` in another one, with what it needs of the config `C`.
///
/// A layer wraps factories rather than services, because a stack makes its services again and again. It is mostly
/// written as a function that returns [`layer_fn`] of a closure.
///
/// `Option<L>` is a layer that may be left out, and [`Either`] chooses between two, both at run time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer for the config `{C}` over the factory `{F}`",
    label = "cannot wrap this factory",
    note = "a layer may ask the config for parameters (`C: Param<T>`) and the inner factory for a service of a type"
)]
pub trait FactoryLayer<C, F> {
    /// The factory around `F`.
    type Factory;

    /// Wraps `inner`.
    fn layer(&self, config: &C, inner: F) -> Self::Factory;
}

/// A layer of a closure from the config and the inner factory to the outer factory.
///
/// The closure names the type of its first argument, or the compiler does not see that it takes references of any
/// lifetime.
///
/// ```
/// use grpc_service::model::{FactoryLayer, layer_fn};
///
/// struct Traced<F>(F);
///
/// impl<F> Traced<F> {
///     fn layer<C>() -> impl FactoryLayer<C, F, Factory = Self> {
///         layer_fn(|_: &C, inner| Traced(inner))
///     }
/// }
/// ```
pub const fn layer_fn<C, FN>(f: FN) -> LayerFn<C, FN> {
    LayerFn { f, config: PhantomData }
}

/// See [`layer_fn`].
pub struct LayerFn<C, FN> {
    f: FN,
    config: PhantomData<fn(&C)>,
}

impl<C, FN: Clone> Clone for LayerFn<C, FN> {
    fn clone(&self) -> Self {
        layer_fn(self.f.clone())
    }
}

impl<C, FN> fmt::Debug for LayerFn<C, FN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerFn").finish_non_exhaustive()
    }
}

impl<C, F, FN, O> FactoryLayer<C, F> for LayerFn<C, FN>
where
    FN: Fn(&C, F) -> O,
{
    type Factory = O;

    #[inline]
    fn layer(&self, config: &C, inner: F) -> O {
        (self.f)(config, inner)
    }
}

/// The layer if there is one, or else the inner factory as it is.
impl<C, F, L: FactoryLayer<C, F>> FactoryLayer<C, F> for Option<L> {
    type Factory = Either<L::Factory, F>;

    fn layer(&self, config: &C, inner: F) -> Self::Factory {
        match self {
            Some(layer) => Either::Left(layer.layer(config, inner)),
            None => Either::Right(inner),
        }
    }
}

impl<C, F, A, B> FactoryLayer<C, F> for Either<A, B>
where
    A: FactoryLayer<C, F>,
    B: FactoryLayer<C, F>,
{
    type Factory = Either<A::Factory, B::Factory>;

    fn layer(&self, config: &C, inner: F) -> Self::Factory {
        match self {
            Either::Left(layer) => Either::Left(layer.layer(config, inner)),
            Either::Right(layer) => Either::Right(layer.layer(config, inner)),
        }
    }
}

/// The layer that turns a [`MakeService`](super::MakeService) into an
/// [`AsyncMakeService`](super::AsyncMakeService), as [`FactoryStack::into_async`](super::FactoryStack::into_async)
/// does.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerAsync;

impl<C, F> FactoryLayer<C, F> for LayerAsync {
    type Factory = AsyncMakeServiceWrapper<F>;

    fn layer(&self, _config: &C, inner: F) -> Self::Factory {
        AsyncMakeServiceWrapper(inner)
    }
}
