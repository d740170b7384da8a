//! Factories that panic: their panics as errors.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::{AsyncMakeService, MakeService};
use crate::report::{drop_payload, panic_message};

/// Why no service was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MakeError<E> {
    /// The factory returned an error.
    Failed(E),
    /// The factory panicked.
    Panicked(Panicked),
}

impl<E: fmt::Display> fmt::Display for MakeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the factory failed: {error}"),
            Self::Panicked(panicked) => write!(f, "the factory {panicked}"),
        }
    }
}

impl<E: Error + 'static> Error for MakeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Panicked(_) => None,
        }
    }
}

/// A panic that was caught, with its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// The message of `panic!`, `expect` and the like; a placeholder if what was thrown is no text.
    pub message: String,
}

impl Panicked {
    fn of(payload: Box<dyn Any + Send>) -> Self {
        let message = panic_message(&*payload).to_owned();
        drop_payload(payload);
        Self { message }
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)
    }
}

impl Error for Panicked {}

/// [`MakeService::make_via_ref`], with a panic of the factory as an error.
///
/// For hosts that go on when a factory panics, such as a server whose service is replaced while it runs. With
/// `panic = "abort"` nothing is caught.
///
/// ```
/// use std::convert::Infallible;
/// use grpc_service::model::{MakeService, try_make};
///
/// struct Broken;
/// impl MakeService for Broken {
///     type Service = ();
///     type Error = Infallible;
///     fn make_via_ref(&self, _: Option<&()>) -> Result<(), Infallible> {
///         panic!("no route to the database")
///     }
/// }
///
/// let error = try_make(&Broken, None).unwrap_err();
/// assert_eq!(error.to_string(), "the factory panicked: no route to the database");
/// ```
///
/// # Errors
/// What the factory returned, or its panic. The factory is used again as the panic left it.
pub fn try_make<F: MakeService + ?Sized>(
    factory: &F,
    old: Option<&F::Service>,
) -> Result<F::Service, MakeError<F::Error>> {
    match catch_unwind(AssertUnwindSafe(|| factory.make_via_ref(old))) {
        Ok(made) => made.map_err(MakeError::Failed),
        Err(payload) => Err(MakeError::Panicked(Panicked::of(payload))),
    }
}

/// [`AsyncMakeService::make_via_ref`], with a panic of the factory as an error, also one after it has waited.
///
/// # Errors
/// As [`try_make`].
pub async fn try_make_async<F: AsyncMakeService + ?Sized>(
    factory: &F,
    old: Option<&F::Service>,
) -> Result<F::Service, MakeError<F::Error>> {
    let panicked = |payload| MakeError::Panicked(Panicked::of(payload));
    let making = catch_unwind(AssertUnwindSafe(|| factory.make_via_ref(old))).map_err(panicked)?;
    let mut making = pin!(making);
    let made = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| making.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(payload)),
    });
    made.await.map_err(panicked)?.map_err(MakeError::Failed)
}

/// [`MakeService::take_over`], with a panic as an error. The new service is in force all the same.
///
/// # Errors
/// The panic.
pub fn try_take_over<F: MakeService + ?Sized>(
    factory: &F,
    new: &F::Service,
    old: &F::Service,
) -> Result<(), Panicked> {
    catch_unwind(AssertUnwindSafe(|| factory.take_over(new, old))).map_err(Panicked::of)
}
