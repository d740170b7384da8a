//! Deadlines of streams: a binary heap whose entries outlive what they stand for.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::time::Instant;

/// A deadline and the slot that it was set for, as one number that sorts by the former: half the
/// comparisons of a pair.
type Entry = Reverse<u128>;

#[inline]
fn entry(at: Instant, slot: u32) -> Entry {
    Reverse(u128::from(at.as_nanos()) << 32 | u128::from(slot))
}

#[inline]
fn parts(Reverse(entry): Entry) -> (Instant, u32) {
    (Instant::from_nanos((entry >> 32) as u64), entry as u32)
}

/// Entries that may be stale however few deadlines there are.
const STALE: usize = 32;

/// At most one deadline a slot, the earliest of them at hand.
///
/// Nearly every call ends long before its deadline, so taking an entry out of the middle of a heap
/// would be most of the work. An entry stays instead until it comes to the front, or until the stale
/// ones outnumber the others and all of them are swept out at once: constant work for a deadline that
/// is set and never reached, and memory for at most twice the deadlines there are.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// An entry is stale unless `due` says the same of its slot, and the front one never is. Two may say
    /// the same, when a slot was given a deadline again that it had before; that does no harm.
    heap: BinaryHeap<Entry>,
    /// The deadline of each slot, or `NEVER`.
    due: Vec<Instant>,
    /// Slots that have a deadline.
    live: usize,
}

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Deadlines { heap: BinaryHeap::new(), due: Vec::new(), live: 0 }
    }

    /// The earliest deadline and its slot.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.peek().map(|&entry| parts(entry))
    }

    /// Sets the deadline of a slot, in the place of the one that it has.
    pub(crate) fn set(&mut self, slot: u32, at: Instant) {
        let index = slot as usize;
        if self.due.len() <= index {
            self.due.resize(index + 1, Instant::NEVER);
        } else {
            self.remove(slot);
        }
        if at != Instant::NEVER {
            self.due[index] = at;
            self.live += 1;
            self.heap.push(entry(at, slot));
        }
    }

    /// Forgets the deadline of a slot, if it has one.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(due) = self.due.get_mut(slot as usize) else { return };
        if *due == Instant::NEVER {
            return;
        }
        *due = Instant::NEVER;
        self.live -= 1;
        self.sweep();
    }

    /// Keeps the stale entries few, and away from the front.
    fn sweep(&mut self) {
        let due = &self.due;
        let is_live = |entry: &Entry| {
            let (at, slot) = parts(*entry);
            due[slot as usize] == at
        };
        if self.heap.len() > 2 * self.live + STALE {
            self.heap.retain(is_live);
        }
        while let Some(front) = self.heap.peek()
            && !is_live(front)
        {
            self.heap.pop();
        }
    }

    pub(crate) fn shrink(&mut self) {
        if self.live == 0 {
            *self = Deadlines::new();
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Entry>() + self.due.capacity() * size_of::<Instant>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
            #[test]
        fn the_first_is_always_the_earliest(steps in proptest::collection::vec((0u32..20, 0u64..100), 1..300)) {
            let mut heap = Deadlines::new();
            let mut model = BTreeMap::new();
            for (slot, at) in steps {
                if at % 3 > 0 && model.remove(&slot).is_some() {
                    heap.remove(slot);
                } else {
                    model.insert(slot, at);
                    heap.set(slot, Instant::from_nanos(at));
                }
                let earliest = model.iter().map(|(&slot, &at)| (Instant::from_nanos(at), slot)).min();
                prop_assert_eq!(heap.first(), earliest);
                prop_assert!(heap.heap.len() <= 2 * 20 + STALE + 1);
            }
        }
    }
}
