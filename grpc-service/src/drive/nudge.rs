//! Waking a connection's task, fairly.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};

use crate::Host;

/// The waker that an endpoint gets in place of its task's own.
///
/// Where a task that wakes itself while it runs goes to the front of the queue (monoio does so), it starves all others. A
/// wake that comes from within the task's own turn is therefore noted, and done by another task, from the back of the
/// queue.
pub(super) struct Nudge {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    task: Option<Waker>,
    running: bool,
    again: bool,
}

impl Nudge {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task's turn begins.
    pub(super) fn enter(&self, task: &Waker) {
        let mut state = self.lock();
        state.running = true;
        state.again = false;
        let known = state.task.as_ref().is_some_and(|known| known.will_wake(task));
        let old = if known { None } else { state.task.replace(task.clone()) };
        drop(state);
        drop(old);
    }

    /// The task wants another turn.
    pub(super) fn again(&self) {
        self.lock().again = true;
    }

    /// The task's turn ends, and another one is arranged if it was asked for.
    pub(super) fn leave(&self, task: &Waker, host: &dyn Host) -> Poll<()> {
        let mut state = self.lock();
        state.running = false;
        let again = state.again;
        drop(state);
        if again {
            let task = task.clone();
            host.spawn(Box::pin(async move { task.wake() }));
        }
        Poll::Pending
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.running {
            state.again = true;
            return;
        }
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}
