//! Deadlines of streams: a binary heap that knows where each slot sits, so none is left behind.

use alloc::vec::Vec;

use crate::time::Instant;

const ABSENT: u32 = u32::MAX;

/// A min-heap of (deadline, slot) with at most one entry a slot.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where each slot sits in `heap`, or `ABSENT`.
    places: Vec<u32>,
}

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Deadlines { heap: Vec::new(), places: Vec::new() }
    }

    /// The earliest deadline and its slot.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Sets the deadline of a slot that has none.
    pub(crate) fn insert(&mut self, slot: u32, at: Instant) {
        let index = slot as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, ABSENT);
        }
        debug_assert_eq!(self.places[index], ABSENT);
        self.heap.push((at, slot));
        self.sift_up(self.heap.len() - 1);
    }

    /// Forgets the deadline of a slot, if it has one.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(&place) = self.places.get(slot as usize) else { return };
        if place == ABSENT {
            return;
        }
        let place = place as usize;
        self.places[slot as usize] = ABSENT;
        let last = self.heap.pop().expect("a slot that has a place is in the heap");
        if place < self.heap.len() {
            self.heap[place] = last;
            self.sift_up(place);
            self.sift_down(self.places[last.1 as usize] as usize);
        }
    }

    pub(crate) fn shrink(&mut self) {
        if self.heap.is_empty() {
            *self = Deadlines::new();
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(Instant, u32)>() + self.places.capacity() * 4
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] <= entry {
                break;
            }
            self.place(at, self.heap[parent]);
            at = parent;
        }
        self.place(at, entry);
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1] < self.heap[child] {
                child += 1;
            }
            if entry <= self.heap[child] {
                break;
            }
            self.place(at, self.heap[child]);
            at = child;
        }
        self.place(at, entry);
    }

    #[inline]
    fn place(&mut self, at: usize, entry: (Instant, u32)) {
        self.heap[at] = entry;
        self.places[entry.1 as usize] = at as u32;
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
                if model.remove(&slot).is_some() {
                    heap.remove(slot);
                } else {
                    model.insert(slot, at);
                    heap.insert(slot, Instant::from_nanos(at));
                }
                let earliest = model.iter().map(|(&slot, &at)| (Instant::from_nanos(at), slot)).min();
                prop_assert_eq!(heap.first(), earliest);
            }
        }
    }
}
