//! A queue of futures that wait for their turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

use crate::wake;

/// Futures that wait for the same thing, first come first served.
///
/// A turn is never lost: a future that is dropped in its turn passes it on.
#[derive(Default)]
pub(crate) struct WaitQueue {
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    tickets: Cell<u64>,
}

/// A future's place in the queue, kept from poll to poll.
#[derive(Default)]
pub(crate) struct Ticket(Option<u64>);

impl WaitQueue {
    /// Whether the holder of `ticket` may try: it does not stand in line, or its turn has come.
    pub(crate) fn may_try(&self, ticket: &Ticket, cx: &Context<'_>) -> bool {
        let Some(number) = ticket.0 else { return true };
        // The task that polls may be another one than before. Its waker is copied, and the old one dropped, outside of the
        // borrow: both may run the program's code.
        let waker = cx.waker().clone();
        let mut waiting = self.waiting.borrow_mut();
        let Some(place) = place_of(&waiting, number) else { return true };
        let old = std::mem::replace(&mut waiting[place].1, waker);
        drop(waiting);
        drop(old);
        false
    }

    /// The holder tried in vain, and goes to the end of the line; to its old place if it was its turn, which it lost to
    /// somebody who did not stand in line.
    pub(crate) fn join(&self, ticket: &mut Ticket, cx: &Context<'_>) {
        let number = *ticket.0.get_or_insert_with(|| {
            let number = self.tickets.get();
            self.tickets.set(number + 1);
            number
        });
        let waker = cx.waker().clone();
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.partition_point(|(other, _)| *other < number);
        waiting.insert(place, (number, waker));
    }

    /// The holder is done, or gives up.
    ///
    /// `served` says that it took what it waited for; otherwise a turn it had goes to the next.
    pub(crate) fn leave(&self, ticket: &mut Ticket, served: bool) {
        let Some(number) = ticket.0.take() else { return };
        let mut waiting = self.waiting.borrow_mut();
        let removed = place_of(&waiting, number).and_then(|place| waiting.remove(place));
        drop(waiting);
        if removed.is_none() && !served {
            self.wake_next();
        }
        wake::discard(removed.map(|(_, waker)| waker));
    }

    /// Something became free: the first in line may try.
    pub(crate) fn wake_next(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        if let Some((_, waker)) = next {
            wake::wake(waker);
        }
    }

    /// Lets everybody in line try, each once.
    pub(crate) fn wake_all(&self) {
        // Out of the line first: who stands in it again within its wake is not among them.
        for (_, waker) in self.waiting.take() {
            wake::wake(waker);
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

/// Where a ticket stands; their numbers grow from the first in line to the last.
fn place_of(waiting: &VecDeque<(u64, Waker)>, number: u64) -> Option<usize> {
    waiting.binary_search_by_key(&number, |(other, _)| *other).ok()
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    thread_local! {
        static LINE: WaitQueue = WaitQueue::default();
    }

    /// A task that runs within its wake, and stands in line again at once.
    struct Inline {
        ticket: u64,
        runs: AtomicUsize,
    }

    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            self.runs.fetch_add(1, Ordering::Relaxed);
            let (mut ticket, waker) = (Ticket(Some(self.ticket)), Waker::from(self));
            LINE.with(|line| line.join(&mut ticket, &Context::from_waker(&waker)));
        }
    }

    #[test]
    fn who_stands_in_line_again_at_once_keeps_nobody_from_being_woken() {
        let tasks: [_; 3] =
            from_fn(|ticket| Arc::new(Inline { ticket: ticket as u64, runs: AtomicUsize::new(0) }));
        LINE.with(|line| {
            for task in &tasks {
                let waker = Waker::from(Arc::clone(task));
                line.join(&mut Ticket(Some(task.ticket)), &Context::from_waker(&waker));
            }
            line.wake_all();
        });
        assert_eq!(tasks.map(|task| task.runs.load(Ordering::Relaxed)), [1, 1, 1]);
    }

    /// A task whose waker panics, when it wakes or when it is dropped.
    struct Panicking(AtomicUsize);

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::panic::resume_unwind(Box::new("its waker"));
        }
    }

    impl Drop for Panicking {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("its destructor"));
            }
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_from_being_woken() {
        for all in [false, true] {
            let line = WaitQueue::default();
            let tasks: [_; 3] = from_fn(|_| Arc::new(Panicking(AtomicUsize::new(0))));
            for (number, task) in tasks.iter().enumerate() {
                let waker = Waker::from(Arc::clone(task));
                line.join(&mut Ticket(Some(number as u64)), &Context::from_waker(&waker));
                std::mem::forget(waker);
            }
            if all {
                line.wake_all()
            } else {
                (0..3).for_each(|_| line.wake_next())
            }
            assert!(line.is_empty());
            for task in tasks {
                assert_eq!(task.0.load(Ordering::Relaxed), 1);
                std::mem::forget(task);
            }
        }
    }

    #[test]
    fn who_was_woken_in_vain_is_the_next_to_be_woken() {
        let (line, cx) = (WaitQueue::default(), Context::from_waker(Waker::noop()));
        let mut tickets: [Ticket; 3] = Default::default();
        for ticket in &mut tickets {
            line.join(ticket, &cx);
        }
        let [first, second, third] = &mut tickets;
        line.wake_next();
        assert!(line.may_try(first, &cx) && !line.may_try(second, &cx));
        line.join(first, &cx);
        line.wake_next();
        assert!(line.may_try(first, &cx) && !line.may_try(second, &cx));
        line.leave(first, false);
        assert!(line.may_try(second, &cx) && !line.may_try(third, &cx), "the turn was passed on");
        line.leave(third, false);
        assert!(line.is_empty());
    }
}
