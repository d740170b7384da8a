//! Deadlines of streams: a list of those that nobody will ever look at, and a heap of the others.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::time::Instant;

/// A deadline and the slot that it was set for.
type Entry = (Instant, u32);

/// Entries that may be stale however few deadlines there are.
const STALE: usize = 64;

/// At most one deadline a slot.
///
/// Nearly every call ends long before its deadline, so an order among deadlines is kept only from the
/// moment at which the first of them has come.
///
/// ```text
///   set ──> young, in no order ──(the earliest of them has come)──> heap ──> expired
///             │  remove: stays where it is, stale
///             └─ swept when most of it is stale
/// ```
///
/// A deadline that is set and never reached costs constant work. Memory is that of twice the deadlines
/// there are, and a few.
#[derive(Debug)]
pub(crate) struct Deadlines {
    young: Vec<Entry>,
    /// No young entry is earlier.
    young_from: Instant,
    heap: BinaryHeap<Reverse<Entry>>,
    /// The deadline of each slot, or `NEVER`. An entry that says otherwise is stale; that two say the
    /// same, after a slot was given the deadline again that it had before, does no harm.
    due: Vec<Instant>,
    /// Slots that have a deadline.
    live: usize,
}

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Deadlines {
            young: Vec::new(),
            young_from: Instant::NEVER,
            heap: BinaryHeap::new(),
            due: Vec::new(),
            live: 0,
        }
    }

    /// No deadline is earlier than this; `NEVER` if there is none. When it has come,
    /// [`pop_expired`](Self::pop_expired) may find that none has yet, and what it then is is later.
    #[inline]
    pub(crate) fn earliest(&self) -> Instant {
        let heap = self.heap.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at);
        self.young_from.min(heap)
    }

    /// Sets the deadline of a slot, in the place of the one that it has.
    #[inline]
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
            self.young.push((at, slot));
            self.young_from = self.young_from.min(at);
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
        if self.live == 0 {
            self.young.clear();
            self.young_from = Instant::NEVER;
            self.heap.clear();
        } else if self.young.len() + self.heap.len() > 2 * self.live + STALE {
            self.sweep_young();
            self.sweep_heap();
        }
    }

    /// Takes out the earliest deadline that has come, and gives its slot.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        if self.young_from <= now {
            // Each entry is put in order once at most.
            self.sweep_young();
            self.heap.extend(self.young.drain(..).map(Reverse));
            self.young_from = Instant::NEVER;
        }
        while let Some(&Reverse((at, slot))) = self.heap.peek() {
            let live = self.due[slot as usize] == at;
            if live && at > now {
                return None;
            }
            self.heap.pop();
            if live {
                self.remove(slot);
                return Some(slot);
            }
        }
        None
    }

    /// Drops the young entries that are stale.
    #[cold]
    fn sweep_young(&mut self) {
        // Whether an entry is stale is anybody's guess, so nothing here branches on it.
        let (mut kept, mut from) = (0, Instant::NEVER);
        for place in 0..self.young.len() {
            let (at, slot) = self.young[place];
            let live = self.due[slot as usize] == at;
            self.young[kept] = (at, slot);
            kept += usize::from(live);
            from = from.min(if live { at } else { Instant::NEVER });
        }
        self.young.truncate(kept);
        self.young_from = from;
    }

    #[cold]
    fn sweep_heap(&mut self) {
        let due = &self.due;
        self.heap.retain(|Reverse((at, slot))| due[*slot as usize] == *at);
    }

    pub(crate) fn shrink(&mut self) {
        if self.live == 0 {
            *self = Deadlines::new();
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        (self.young.capacity() + self.heap.capacity()) * size_of::<Entry>()
            + self.due.capacity() * size_of::<Instant>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn deadlines_expire_in_order_and_none_before_its_time(
            steps in proptest::collection::vec((0u32..20, 0u64..100, 0u8..4), 1..300),
        ) {
            let mut deadlines = Deadlines::new();
            let mut model = BTreeMap::new();
            let mut now = 0;
            for (slot, span, step) in steps {
                match step {
                    0 => {
                        model.remove(&slot);
                        deadlines.remove(slot);
                    }
                    1 | 2 => {
                        model.insert(slot, now + span);
                        deadlines.set(slot, Instant::from_nanos(now + span));
                    }
                    _ => {
                        now += span / 4;
                        loop {
                            let first = model.iter().map(|(&slot, &at)| (at, slot)).min();
                            let due = first.filter(|&(at, _)| at <= now);
                            let found = deadlines.pop_expired(Instant::from_nanos(now));
                            prop_assert_eq!(found.is_some(), due.is_some());
                            let Some(slot) = found else { break };
                            prop_assert_eq!(model.remove(&slot), due.map(|(at, _)| at));
                        }
                    }
                }
                let first = model.values().min().map_or(Instant::NEVER, |&at| Instant::from_nanos(at));
                prop_assert!(deadlines.earliest() <= first);
                prop_assert!(deadlines.live == model.len());
                prop_assert!(deadlines.young.len() + deadlines.heap.len() <= 2 * 20 + STALE + 1);
                prop_assert!(!model.is_empty() || deadlines.earliest() == Instant::NEVER);
            }
        }
    }

    #[test]
    fn an_early_look_is_early_once() {
        let mut deadlines = Deadlines::new();
        deadlines.set(0, Instant::from_nanos(10));
        deadlines.set(1, Instant::from_nanos(30));
        deadlines.remove(0);
        assert_eq!(deadlines.earliest(), Instant::from_nanos(10));
        assert_eq!(deadlines.pop_expired(Instant::from_nanos(10)), None);
        assert_eq!(deadlines.earliest(), Instant::from_nanos(30));
        assert_eq!(deadlines.pop_expired(Instant::from_nanos(30)), Some(1));
    }

    #[test]
    fn the_memory_that_is_told_covers_every_deadline_and_is_given_back() {
        let mut deadlines = Deadlines::new();
        assert_eq!(deadlines.heap_bytes(), 0);
        for slot in 0..100 {
            deadlines.set(slot, Instant::from_nanos(1));
        }
        let reported = deadlines.heap_bytes();
        assert!((100 * 24..=128 * 24).contains(&reported), "{reported}");
        (0..100).for_each(|slot| deadlines.remove(slot));
        deadlines.shrink();
        assert_eq!(deadlines.heap_bytes(), 0);
    }

    /// Stale entries go when they are more than twice the live ones and 64, and not before.
    #[test]
    fn stale_deadlines_are_swept_when_most_are_stale() {
        for live in [1, 10, 40] {
            for old in [false, true] {
                let mut deadlines = Deadlines::new();
                deadlines.set(0, Instant::from_nanos(1));
                let later = |n: u32| Instant::from_nanos(1000 + u64::from(n));
                let entries = 3 * live + 200;
                (1..=entries).for_each(|slot| deadlines.set(slot, later(slot)));
                if old {
                    // From here on all are in order.
                    assert_eq!(deadlines.pop_expired(Instant::from_nanos(1)), Some(0));
                } else {
                    deadlines.remove(0);
                }
                let held =
                    |deadlines: &Deadlines| (deadlines.young.len() + deadlines.heap.len()) as u32;
                let all = held(&deadlines);
                for slot in (live + 1..=entries).rev() {
                    let before = held(&deadlines);
                    deadlines.remove(slot);
                    let left = slot - 1;
                    let swept = before > 2 * left + STALE as u32;
                    assert_eq!(held(&deadlines), if swept { left } else { before }, "{slot}");
                }
                assert!(held(&deadlines) < all);
                assert!(deadlines.earliest() <= later(1));
                let expired: Vec<_> =
                    core::iter::from_fn(|| deadlines.pop_expired(later(entries))).collect();
                assert_eq!(expired, (1..=live).collect::<Vec<_>>());
                assert_eq!(deadlines.earliest(), Instant::NEVER);
            }
        }
    }

    #[test]
    fn a_deadline_that_is_set_again_is_the_last_one() {
        let mut deadlines = Deadlines::new();
        deadlines.set(3, Instant::from_nanos(10));
        deadlines.set(3, Instant::from_nanos(20));
        assert_eq!(deadlines.pop_expired(Instant::from_nanos(19)), None);
        assert_eq!(deadlines.live, 1);
        deadlines.set(3, Instant::NEVER);
        assert_eq!((deadlines.live, deadlines.earliest()), (0, Instant::NEVER));
        assert_eq!(deadlines.pop_expired(Instant::from_nanos(30)), None);
        deadlines.shrink();
        assert_eq!(deadlines.heap_bytes(), 0);
        deadlines.set(3, Instant::from_nanos(10));
        let reported = deadlines.heap_bytes();
        deadlines.shrink();
        assert_eq!(deadlines.heap_bytes(), reported, "what has a deadline stays");
    }

    #[test]
    fn deadlines_that_were_put_in_order_count_as_well() {
        let mut deadlines = Deadlines::new();
        for slot in 0..100 {
            deadlines.set(slot, Instant::from_nanos(u64::from(slot)));
        }
        let unordered = deadlines.heap_bytes();
        assert_eq!(deadlines.pop_expired(Instant::from_nanos(0)), Some(0));
        let entries = 100 * size_of::<Entry>();
        assert!(unordered >= entries && deadlines.heap_bytes() >= unordered + entries);
    }
}
