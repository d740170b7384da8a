//! What layers ask of a config or of a request, by type.

/// Gives a parameter of type `T`: what a layer asks of a config, so that it works with every config that has one.
///
/// A newtype per parameter keeps two of the same type apart. Each type that is `Clone` is a parameter of itself.
///
/// ```
/// use std::time::Duration;
/// use grpc_service::model::Param;
///
/// struct ConnectTimeout(Duration);
/// struct Config {
///     connect_timeout_ms: u64,
/// }
///
/// impl Param<ConnectTimeout> for Config {
///     fn param(&self) -> ConnectTimeout {
///         ConnectTimeout(Duration::from_millis(self.connect_timeout_ms))
///     }
/// }
///
/// let ConnectTimeout(timeout) = Config { connect_timeout_ms: 50 }.param();
/// assert_eq!(timeout, Duration::from_millis(50));
/// ```
///
/// A config that lacks a parameter of a layer does not compile, and the error names the config and the parameter:
///
/// ```compile_fail,E0277
/// use grpc_service::model::{FactoryLayer, FactoryStack, Param, layer_fn};
///
/// struct Limit(usize);
/// struct Limited<F>(F, Limit);
///
/// impl<F> Limited<F> {
///     fn layer<C: Param<Limit>>() -> impl FactoryLayer<C, F, Factory = Self> {
///         layer_fn(|config: &C, inner| Limited(inner, config.param()))
///     }
/// }
///
/// struct Config;
/// FactoryStack::new(Config).push(Limited::layer()); // error: the config `Config` has no parameter `Limit`
/// ```
#[diagnostic::on_unimplemented(
    message = "the config `{Self}` has no parameter `{T}`",
    label = "a layer needs the parameter `{T}`",
    note = "write `impl Param<{T}> for {Self}`"
)]
pub trait Param<T> {
    /// The parameter.
    fn param(&self) -> T;
}

impl<T: Clone> Param<T> for T {
    fn param(&self) -> T {
        self.clone()
    }
}

/// Gives a reference to a part of type `T`.
///
/// With [`ParamMut`] and [`ParamSet`], what a layer asks of a *request*: parts that it reads, changes, or adds for the
/// layers within it.
///
/// ```
/// use grpc_service::model::{ParamRef, ParamSet, Service};
///
/// struct Token(String);
/// struct User(String);
///
/// /// Adds the `User` of a `Token`.
/// struct Authenticate<T>(T);
///
/// impl<R, T> Service<R> for Authenticate<T>
/// where
///     R: ParamRef<Token> + ParamSet<User>,
///     T: Service<R::Transformed>,
/// {
///     type Response = T::Response;
///     type Error = T::Error;
///     async fn call(&self, request: R) -> Result<T::Response, T::Error> {
///         let user = User(request.param_ref().0.to_uppercase());
///         self.0.call(request.param_set(user)).await
///     }
/// }
/// ```
pub trait ParamRef<T> {
    /// The part.
    fn param_ref(&self) -> &T;
}

/// Gives a reference to a part of type `T` that may be absent.
pub trait ParamMaybeRef<T> {
    /// The part, if it is there.
    fn param_maybe_ref(&self) -> Option<&T>;
}

/// Gives a part of type `T` to change.
pub trait ParamMut<T> {
    /// The part.
    fn param_mut(&mut self) -> &mut T;
}

/// Gives a part of type `T` to change that may be absent.
pub trait ParamMaybeMut<T> {
    /// The part, if it is there.
    fn param_maybe_mut(&mut self) -> Option<&mut T>;
}

/// Takes a part of type `T`, which may change the type of the whole.
pub trait ParamSet<T> {
    /// The type of the whole with the part.
    type Transformed;

    /// The whole with `item` as its part.
    fn param_set(self, item: T) -> Self::Transformed;
}

/// Drops its part of type `T`, which may change the type of the whole.
pub trait ParamRemove<T> {
    /// The type of the whole without the part.
    type Transformed;

    /// The whole without the part.
    fn param_remove(self) -> Self::Transformed;
}

/// Hands out its part of type `T`, which may change the type of the whole.
pub trait ParamTake<T> {
    /// The type of the whole without the part.
    type Transformed;

    /// The whole without the part, and the part.
    fn param_take(self) -> (Self::Transformed, T);
}
