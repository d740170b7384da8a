//! A host whose clock moves only by a call, and whose tasks are polled only when they were woken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use grpc_proto::Instant;
use grpc_service::{Host, LocalFuture};

/// A handle to the clock, its timers and the tasks.
#[derive(Clone, Default)]
pub struct StillHost(Rc<Inner>);

#[derive(Default)]
struct Inner {
    now: Cell<Instant>,
    timers: RefCell<Vec<(Instant, Waker)>>,
    spawned: RefCell<Vec<LocalFuture<()>>>,
    tasks: RefCell<Vec<(LocalFuture<()>, Arc<Flag>)>>,
}

impl StillHost {
    /// Moves the clock and fires what is due.
    pub fn advance_to(&self, to: Instant) {
        self.0.now.set(to);
        let mut timers = self.0.timers.borrow_mut();
        let due = timers.extract_if(.., |(at, _)| *at <= to).collect::<Vec<_>>();
        drop(timers);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Polls the tasks that were woken, until none is; says whether there was one.
    pub fn run(&self) -> bool {
        let mut ran = false;
        loop {
            let fresh = std::mem::take(&mut *self.0.spawned.borrow_mut());
            self.0.tasks.borrow_mut().extend(fresh.into_iter().map(|task| (task, Flag::woken())));
            let mut tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            let mut polled = false;
            tasks.retain_mut(|(task, flag)| {
                if !flag.take() {
                    return true;
                }
                polled = true;
                let waker = Waker::from(Arc::clone(flag));
                task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            self.0.tasks.borrow_mut().append(&mut tasks);
            ran |= polled;
            if !polled && self.0.spawned.borrow().is_empty() {
                return ran;
            }
        }
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.tasks.borrow().len() + self.0.spawned.borrow().len()
    }
}

impl Host for StillHost {
    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let host = Rc::clone(&self.0);
        Box::pin(std::future::poll_fn(move |cx| {
            if host.now.get() >= at {
                return Poll::Ready(());
            }
            host.timers.borrow_mut().push((at, cx.waker().clone()));
            Poll::Pending
        }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.0.spawned.borrow_mut().push(task);
    }

    fn entropy(&self) -> u64 {
        4
    }
}

/// A waker that leaves a mark.
pub struct Flag(AtomicBool);

impl Flag {
    /// One that was woken already.
    pub fn woken() -> Arc<Self> {
        Arc::new(Flag(AtomicBool::new(true)))
    }

    /// Whether it was woken since it was last asked.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
