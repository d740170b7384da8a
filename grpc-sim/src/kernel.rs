//! Virtual time: a heap of (time, tie-break, event), and nothing moves unless an event says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::entropy::mix;

/// Events in the order of their time; those of the same time in an order that the seed decides.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    seed: u64,
    count: u64,
    now_ns: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    tie: u64,
    count: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (u64, u64, u64) {
        (self.at, self.tie, self.count)
    }
}

impl<E> Queue<E> {
    /// No events, and a clock that shows `now_ns`.
    pub(crate) fn starting(seed: u64, now_ns: u64) -> Self {
        Queue { heap: BinaryHeap::new(), seed, count: 0, now_ns }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Schedules an event at `at`, or now if that has passed.
    pub(crate) fn at(&mut self, at: u64, event: E) {
        self.count += 1;
        let tie = mix(self.seed, self.count) >> 60;
        self.heap.push(Reverse(Entry { at: at.max(self.now_ns), tie, count: self.count, event }));
    }

    /// Schedules an event `after` nanoseconds from now.
    pub(crate) fn after(&mut self, after: u64, event: E) {
        self.at(self.now_ns.saturating_add(after), event);
    }

    /// Jumps to the next event.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let Reverse(entry) = self.heap.pop()?;
        self.now_ns = entry.at;
        Some(entry.event)
    }

    /// Forgets all events.
    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_and_the_seed_decides_ties() {
        let order = |seed| {
            let mut queue = Queue::starting(seed, 0);
            for n in 0..20 {
                queue.at(5, n);
            }
            queue.at(3, 100);
            let first = queue.pop();
            assert_eq!((first, queue.now_ns()), (Some(100), 3));
            std::iter::from_fn(move || queue.pop()).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
