//! The call whose handler runs on this thread, and what calls that are made inside the handler inherit from it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use grpc_proto::{Code, Instant, Metadata, Reason, RequestHead, Status};
use pin_project_lite::pin_project;

use crate::client::CallError;
use crate::extensions::Extensions;
use crate::queue::{Ticket, WaitQueue};
use crate::report::run_hook;
use crate::{Host, MethodDescriptor, ServerHooks};

/// What a call at the server consists of beside its messages; the handler's future and its children share it.
///
/// The place of a call in its connection keeps it from call to call, unless a task of an earlier call still has a share.
pub(crate) struct CallInfo {
    /// Set before the handler starts.
    pub(crate) head: Option<RequestHead>,
    /// The method, where there is one for the path.
    pub(crate) method: Option<MethodDescriptor>,
    /// What layers have found out.
    pub(crate) extensions: Extensions,
    /// When the call must be over: what the client has asked for, or earlier.
    pub(crate) deadline: Cell<Option<Instant>>,
    /// Why the call is over, seen by destructors in the handler's future.
    pub(crate) cancelled: RefCell<Option<Reason>>,
    /// Calls that were made in tasks of this one, and end with it.
    children: WaitQueue,
    host: Rc<dyn Host>,
    hooks: Option<Arc<dyn ServerHooks>>,
}

impl CallInfo {
    pub(crate) fn new(host: &Rc<dyn Host>, hooks: Option<&Arc<dyn ServerHooks>>) -> Self {
        Self {
            head: None,
            method: None,
            extensions: Extensions::default(),
            deadline: Cell::new(None),
            cancelled: RefCell::default(),
            children: WaitQueue::default(),
            host: Rc::clone(host),
            hooks: hooks.cloned(),
        }
    }

    /// An empty one for the same host.
    pub(crate) fn successor(&self) -> Self {
        Self::new(&self.host, self.hooks.as_ref())
    }

    /// The request's head, while its handler runs.
    #[inline]
    pub(crate) fn head(&self) -> &RequestHead {
        self.head.as_ref().expect("a handler runs after its request has come")
    }

    /// The call is over before its handler has returned.
    pub(crate) fn cancel(&self, reason: Reason) {
        self.cancelled.replace(Some(reason));
        self.children.wake_all();
    }

    /// The time until the deadline, zero where that has passed.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline.get().map(|deadline| deadline - self.host.now())
    }

    /// The metadata that the request came with, where there is a trace context in it. Calls inherit nothing else of it,
    /// because metadata holds credentials.
    pub(crate) fn trace(&self) -> Option<&Metadata> {
        let metadata = &self.head.as_ref()?.metadata;
        if metadata.has_trace() { Some(metadata) } else { None }
    }

    /// Reports an error of a call that this one made and that `?` maps.
    #[cold]
    fn report(&self, error: &CallError) {
        if let (Some(hooks), Some(head)) = (&self.hooks, &self.head) {
            run_hook(|| hooks.call_failed(head.path(), error));
        }
    }
}

/// The call that code runs for.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) info: Rc<CallInfo>,
    /// The code is a task beside the handler: it is not dropped when the call is cancelled.
    pub(crate) is_task: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Lets calls inherit from `current`, or from nothing, until what comes back is dropped.
pub(crate) fn enter(current: Option<Current>) -> Entered {
    // At the end of a thread there is nothing to inherit from.
    Entered { before: CURRENT.try_with(|place| place.replace(current)).ok().flatten() }
}

/// Puts back what was there before.
pub(crate) struct Entered {
    before: Option<Current>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let ours = CURRENT.try_with(|place| place.replace(before));
        drop(ours);
    }
}

/// What a call that is made now inherits from.
pub(crate) fn current() -> Option<Current> {
    CURRENT
        .try_with(|place| {
            let current = place.take();
            let copy = current.clone();
            place.set(current);
            copy
        })
        .ok()
        .flatten()
}

/// Reports to the server that a handler of it maps `error`.
pub(crate) fn report_mapped(error: &CallError) {
    if let Some(current) = current() {
        current.info.report(error);
    }
}

/// A call at the server that a call ends with, and its place among those that do.
pub(crate) struct Parent {
    info: Rc<CallInfo>,
    ticket: Ticket,
}

impl Parent {
    pub(crate) fn new(info: Rc<CallInfo>) -> Self {
        Self { info, ticket: Ticket::default() }
    }

    /// Completes when the call at the server was cancelled, with the status of the call that ends with it.
    pub(crate) fn poll_cancelled(&mut self, cx: &Context<'_>) -> Poll<Status> {
        let status = self.info.cancelled.borrow().as_ref().map(|reason| match reason {
            Reason::Deadline => reason.to_status(),
            _ => Status::new(Code::Cancelled, "the call that made this one was cancelled"),
        });
        if let Some(status) = status {
            return Poll::Ready(status);
        }
        if self.info.children.may_try(&self.ticket, cx) {
            self.info.children.join(&mut self.ticket, cx);
        }
        Poll::Pending
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // All are woken at once, so no turn is passed on.
        self.info.children.leave(&mut self.ticket, true);
    }
}

pin_project! {
    /// Runs a future as part of a call; made by [`Cx::inherit`](crate::Cx::inherit).
    #[must_use = "a future does nothing until it is polled"]
    pub struct Inherited<F> {
        current: Current,
        #[pin]
        future: F,
    }
}

impl<F> Inherited<F> {
    pub(crate) fn new(info: Rc<CallInfo>, future: F) -> Self {
        Self { current: Current { info, is_task: true }, future }
    }
}

impl<F: Future> Future for Inherited<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = enter(Some(this.current.clone()));
        this.future.poll(cx)
    }
}

impl<F> std::fmt::Debug for Inherited<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inherited").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::testing::MemoryHost;
    use crate::wake::wake;

    /// A task that runs within its wake.
    #[derive(Default)]
    struct Inline {
        inside: AtomicUsize,
        outside: AtomicUsize,
    }

    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let count = if current().is_some() { &self.inside } else { &self.outside };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_runs_within_its_wake_is_no_part_of_the_call_that_wakes() {
        let host: Rc<dyn Host> = Rc::new(MemoryHost::new(1));
        let info = Rc::new(CallInfo::new(&host, None));
        let (task, entered) =
            (Arc::new(Inline::default()), enter(Some(Current { info, is_task: false })));
        wake(Waker::from(Arc::clone(&task)));
        assert!(current().is_some());
        Waker::from(Arc::clone(&task)).wake();
        drop(entered);
        assert!(current().is_none());
        let counts = (task.inside.load(Ordering::Relaxed), task.outside.load(Ordering::Relaxed));
        assert_eq!(counts, (1, 1));
    }
}
