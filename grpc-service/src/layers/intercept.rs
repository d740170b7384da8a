//! The simple case of a layer: one function that looks at the call before it goes on.

use std::fmt;

use grpc_proto::Status;

use super::{CallView, Incoming, Layer, Next};

/// A layer of one function; made by [`interceptor`].
pub struct Interceptor<F>(F);

/// A layer at the server that runs `check` before the call goes on; an error of it ends the call.
///
/// ```
/// use grpc_service::layers::{CallView, interceptor};
/// use grpc_service::{Code, Status};
///
/// let named = interceptor(async |call: CallView<'_>| match call.metadata().value_str("x-name") {
///     Some(_) => Ok(()),
///     None => Err(Status::new(Code::InvalidArgument, "x-name is missing; name the caller in it")),
/// });
/// # let _ = named;
/// ```
pub const fn interceptor<F>(check: F) -> Interceptor<F>
where
    F: for<'a> AsyncFn(CallView<'a>) -> Result<(), Status>,
{
    Interceptor(check)
}

impl<'a, F: AsyncFn(CallView<'a>) -> Result<(), Status>> Layer<Incoming<'a>> for Interceptor<F> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        (self.0)(call.view()).await?;
        next.call(call).await
    }
}

impl<F> fmt::Debug for Interceptor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptor").finish_non_exhaustive()
    }
}
