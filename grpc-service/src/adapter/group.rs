//! The connections of one server on one thread, which are stopped together.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::drive::{Orders, Phase};

/// The tasks of a group's connections; for adapters.
pub struct Group {
    phase: Cell<Phase>,
    /// By place; a place is free when `None`, and named in `free`.
    tasks: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    members: Cell<usize>,
    /// The task that waits for the last member to leave.
    empty: RefCell<Option<Waker>>,
}

impl Group {
    /// A group without members.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Run),
            tasks: RefCell::default(),
            free: RefCell::default(),
            members: Cell::new(0),
            empty: RefCell::default(),
        })
    }

    /// Adds a connection.
    pub fn join(self: &Rc<Self>) -> Member {
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut tasks = self.tasks.borrow_mut();
            tasks.push(None);
            tasks.len() - 1
        });
        self.members.set(self.members.get() + 1);
        Member { group: Rc::clone(self), place }
    }

    /// Sets the phase of all members.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        let mut place = 0;
        // One waker at a time: waking may run anything.
        loop {
            let waker = match self.tasks.borrow_mut().get_mut(place) {
                Some(task) => task.take(),
                None => return,
            };
            if let Some(waker) = waker {
                waker.wake();
            }
            place += 1;
        }
    }

    /// Waits until no member is left.
    pub async fn emptied(&self) {
        poll_fn(|cx| if self.is_empty(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether no member is left; otherwise `cx` is woken when the last one leaves.
    pub fn is_empty(&self, cx: &Context<'_>) -> bool {
        if self.members.get() == 0 {
            return true;
        }
        let old = self.empty.borrow_mut().replace(cx.waker().clone());
        drop(old);
        false
    }
}

/// One connection's membership.
pub struct Member {
    group: Rc<Group>,
    place: usize,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("members", &self.members.get()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Orders for Member {
    fn poll_phase(&self, cx: &Context<'_>) -> Phase {
        let mut tasks = self.group.tasks.borrow_mut();
        let task = &mut tasks[self.place];
        let old = match task {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => task.replace(cx.waker().clone()),
        };
        drop(tasks);
        drop(old);
        self.group.phase.get()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let waker = self.group.tasks.borrow_mut()[self.place].take();
        drop(waker);
        self.group.free.borrow_mut().push(self.place);
        let members = self.group.members.get() - 1;
        self.group.members.set(members);
        if members == 0 {
            let waker = self.group.empty.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
