//! Statuses for what went wrong: for panics, and other ones for errors.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use grpc_proto::Status;

use super::{CallView, Incoming, Layer, Next};

/// Makes INTERNAL of a panic of what it wraps, and reports it, so that the layers around it see a status.
///
/// The handler's panics become INTERNAL where any layer is around it; this one is for layers that may panic.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchPanics;

impl<'a> Layer<Incoming<'a>> for CatchPanics {
    fn call(
        &self,
        call: Incoming<'a>,
        next: &impl Next<Incoming<'a>>,
    ) -> impl Future<Output = Result<(), Status>> {
        catching(call.view(), next, call)
    }
}

/// Lets the call go on, and reports a panic.
pub(crate) async fn catching<'a>(
    view: CallView<'a>,
    next: &impl Next<Incoming<'a>>,
    call: Incoming<'a>,
) -> Result<(), Status> {
    let mut running = pin!(next.call(call));
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Err(view.panicked(payload))),
    })
    .await
}

/// Lets a function make another status of each error, such as one that hides what clients must not see.
///
/// ```
/// use grpc_service::{Code, Status, layers::{CallView, MapErrors}};
///
/// let discreet = MapErrors(|_: CallView<'_>, status: Status| match status.code() {
///     Code::Internal => Status::internal("an error of this service; its log has the details"),
///     _ => status,
/// });
/// # let _ = discreet;
/// ```
pub struct MapErrors<F>(pub F);

impl<'a, F: Fn(CallView<'a>, Status) -> Status> Layer<Incoming<'a>> for MapErrors<F> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let view = call.view();
        next.call(call).await.map_err(|status| (self.0)(view, status))
    }
}

impl<F> fmt::Debug for MapErrors<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapErrors").finish_non_exhaustive()
    }
}
