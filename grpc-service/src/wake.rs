//! Waking one call among the many of a connection, without an allocation per wake.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use crate::current;

/// Remembers in `place` whom to wake, without a copy where that is known already.
pub(crate) fn remember(place: &Cell<Option<Waker>>, cx: &Context<'_>) {
    // Out of its place: to drop an old one may run whatever its task holds.
    let known = place.take().filter(|old| old.will_wake(cx.waker()));
    place.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
}

/// Wakes a task of the program's.
///
/// A panic of its waker ends here: it must neither keep other tasks from being woken nor end the connection, and there is
/// nobody else to report it to than the panic hook, which has run.
pub(crate) fn wake(waker: Waker) {
    // A task that runs within its wake is not part of the call that wakes it.
    let _outside = current::enter(None);
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Drops a waker of the program's, whose destructor may panic as [`wake`] may.
pub(crate) fn discard(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
    }
}

/// The calls of one connection that were woken, and the task that drives the connection.
///
/// A wake of a call may come from any thread, hence the lock: it is held for a push or a swap, never while a waker
/// runs, and touched only when a call really waits.
#[derive(Default)]
pub(crate) struct ReadySet {
    /// Whether the queue holds something: read without the lock on the path of calls that do not wait.
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Indices of calls, those whose [`CallWaker::woken`] is set among them. A call that was polled since, because a
    /// message came, may stand here in vain, and once more if it woke itself in that poll: at most once for each event
    /// of a turn.
    queue: Vec<u32>,
    /// The driving task's waker; absent while that task runs, because it will look at the queue by itself.
    root: Option<Waker>,
}

impl ReadySet {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics under the lock, and a queue of indices cannot be left half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the woken calls to `into`, which is empty.
    pub(crate) fn drain(&self, into: &mut Vec<u32>) {
        debug_assert!(into.is_empty());
        if self.any.swap(false, Ordering::Acquire) {
            std::mem::swap(&mut self.lock().queue, into);
        }
    }

    /// The driving task goes to sleep: the next wake shall wake it. False if a call is ready already.
    pub(crate) fn park(&self, root: &Waker) -> bool {
        let mut inner = self.lock();
        if !inner.queue.is_empty() {
            return false;
        }
        let known = inner.root.as_ref().is_some_and(|known| known.will_wake(root));
        let old = if known { None } else { inner.root.replace(root.clone()) };
        drop(inner);
        // Dropping a waker can run the runtime's code.
        drop(old);
        true
    }

    /// The driving task runs, and needs no waking until it parks.
    pub(crate) fn unpark(&self) -> Option<Waker> {
        self.lock().root.take()
    }

    /// Gives the queue's memory back, where nothing is in it.
    pub(crate) fn shrink(&self) {
        self.lock().queue.shrink_to_fit();
    }

    fn push(&self, index: u32) {
        let mut inner = self.lock();
        inner.queue.push(index);
        self.any.store(true, Ordering::Release);
        let root = inner.root.take();
        drop(inner);
        if let Some(root) = root {
            root.wake();
        }
    }
}

/// The waker of one place in the connection's table of calls; reused by every call that takes the place.
///
/// A wake that comes after its call ended polls the next call of that place once for nothing.
pub(crate) struct CallWaker {
    set: Arc<ReadySet>,
    index: u32,
    woken: AtomicBool,
}

impl CallWaker {
    pub(crate) fn new(set: Arc<ReadySet>, index: u32) -> Arc<Self> {
        Arc::new(Self { set, index, woken: AtomicBool::new(false) })
    }

    /// Takes the wake; false if somebody polled the call since.
    pub(crate) fn take(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.set.push(self.index);
        }
    }
}
