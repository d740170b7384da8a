//! A layer that sees how each call ends, also one that is dropped.

use std::fmt;

use grpc_proto::Status;

use super::{CallView, Incoming, Layer, Next, Outgoing};
use crate::client::CallError;
use crate::report::run_hook;

/// A layer of one function that sees each end; made by [`observe`].
pub struct Observed<F>(F);

/// A layer that calls `ended` once for each call, with the status that it ends with here: OK, an error, or CANCELLED or
/// DEADLINE_EXCEEDED where the call was dropped.
///
/// A panic of `ended` is caught and has no effect. It may read [`CallView::counts`], and append trailers unless the call was
/// dropped.
///
/// ```
/// use grpc_service::{Status, layers::{CallView, observe}};
///
/// let metrics = observe(|call: CallView<'_>, status: &Status| {
///     println!("{} ended with {} after {} messages", call.path(), status.code(), call.counts().sent);
/// });
/// # let _ = metrics;
/// ```
pub const fn observe<F: for<'a> Fn(CallView<'a>, &Status)>(ended: F) -> Observed<F> {
    Observed(ended)
}

/// Calls the function when it is dropped, if it has not before.
pub(super) struct Ending<'l, 'a, F: Fn(CallView<'a>, &Status)> {
    ended: &'l F,
    call: CallView<'a>,
    armed: bool,
}

impl<'l, 'a, F: Fn(CallView<'a>, &Status)> Ending<'l, 'a, F> {
    pub(super) fn new(ended: &'l F, call: CallView<'a>) -> Self {
        Self { ended, call, armed: true }
    }

    pub(super) fn end(mut self, outcome: &Result<(), Status>) {
        self.armed = false;
        run_hook(|| (self.ended)(self.call, outcome.as_ref().err().unwrap_or(&Status::OK)));
    }
}

impl<'a, F: Fn(CallView<'a>, &Status)> Drop for Ending<'_, 'a, F> {
    fn drop(&mut self) {
        if self.armed {
            let status = self.call.status_of_drop();
            run_hook(|| (self.ended)(self.call, &status));
        }
    }
}

impl<'a, F: Fn(CallView<'a>, &Status)> Layer<Incoming<'a>> for Observed<F> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let ending = Ending::new(&self.0, call.view());
        let outcome = next.call(call).await;
        ending.end(&outcome);
        outcome
    }
}

impl<F> fmt::Debug for Observed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

/// A layer of one function at the client that sees each end; made by [`observe_calls`].
pub struct CallsObserved<F>(F);

/// As [`observe`], for the calls of a channel: CANCELLED where the call was dropped.
pub const fn observe_calls<F: for<'a> Fn(Outgoing<'a>, &Status)>(ended: F) -> CallsObserved<F> {
    CallsObserved(ended)
}

struct CallEnding<'l, 'a, F: Fn(Outgoing<'a>, &Status)> {
    ended: &'l F,
    call: Outgoing<'a>,
    armed: bool,
}

impl<'a, F: Fn(Outgoing<'a>, &Status)> Drop for CallEnding<'_, 'a, F> {
    fn drop(&mut self) {
        if self.armed {
            let status = self.call.status_of_drop();
            run_hook(|| (self.ended)(self.call, &status));
        }
    }
}

impl<'a, F: Fn(Outgoing<'a>, &Status)> Layer<Outgoing<'a>> for CallsObserved<F> {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        let mut ending = CallEnding { ended: &self.0, call, armed: true };
        let outcome = next.call(call).await;
        ending.armed = false;
        run_hook(|| (self.0)(call, outcome.as_ref().err().map_or(&Status::OK, CallError::status)));
        outcome
    }
}

impl<F> fmt::Debug for CallsObserved<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallsObserved").finish_non_exhaustive()
    }
}
