//! The simple case of a layer: one function that looks at the call before it goes on.

use std::fmt;

use grpc_proto::Status;

use super::{CallView, Incoming, Layer, Next, Outgoing};
use crate::client::CallError;

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

/// A layer of one function at the client; made by [`call_interceptor`].
pub struct CallInterceptor<F>(F);

/// A layer at the client that runs `prepare` before the call goes on; an error of it ends the call, unseen by the server.
///
/// ```
/// use grpc_service::layers::{Outgoing, call_interceptor};
/// use grpc_service::Status;
///
/// let named = call_interceptor(async |call: Outgoing<'_>| Ok(call.append("x-name", "inventory")?));
/// # let _ = named;
/// ```
pub const fn call_interceptor<F>(prepare: F) -> CallInterceptor<F>
where
    F: for<'a> AsyncFn(Outgoing<'a>) -> Result<(), Status>,
{
    CallInterceptor(prepare)
}

impl<'a, F> Layer<Outgoing<'a>> for CallInterceptor<F>
where
    F: AsyncFn(Outgoing<'a>) -> Result<(), Status>,
{
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        (self.0)(call).await.map_err(CallError::local)?;
        next.call(call).await
    }
}

impl<F> fmt::Debug for CallInterceptor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallInterceptor").finish_non_exhaustive()
    }
}
