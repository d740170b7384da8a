//! Streams by identifier and by slot.
//!
//! Streams live in a slab; an open-addressing table finds the slot of an identifier. Identifiers
//! rise by two, but one long-lived stream would spoil a plain ring, so they are hashed (one
//! multiplication) and deleted by shifting back, which leaves no tombstones.

use alloc::vec::Vec;
use core::fmt;

/// Names a stream or call of one connection for as long as it lives, before it has an identifier too.
///
/// A key is never given out twice by one connection (a slot's generation has 32 bits), so a stale
/// one is recognised and refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(
    /// The slot above, its generation below: one word, which is stored and loaded at once.
    u64,
);

impl StreamKey {
    #[inline]
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        StreamKey((index as u64) << 32 | generation as u64)
    }

    /// The slot: dense, below the largest number of streams at once; reused by later streams.
    #[inline]
    pub const fn index(self) -> usize {
        self.slot() as usize
    }

    #[inline]
    pub(crate) const fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamKey")
            .field("index", &self.slot())
            .field("generation", &self.generation())
            .finish()
    }
}

/// From stream identifier to slot.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    /// `(identifier, slot)`; identifier 0 marks a free place.
    places: Vec<(u32, u32)>,
    len: usize,
}

impl IdTable {
    pub(crate) const fn new() -> Self {
        IdTable { places: Vec::new(), len: 0 }
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        // Fibonacci hashing: the top bits of the product are the well-mixed ones.
        let hash = (id >> 1).wrapping_mul(0x9e37_79b1);
        (hash >> (32 - self.places.len().trailing_zeros())) as usize
    }

    #[inline]
    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        loop {
            let (found, slot) = self.places[at];
            if found == id {
                return Some(slot);
            }
            if found == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    pub(crate) fn insert(&mut self, id: u32, slot: u32) {
        debug_assert!(id != 0 && self.find(id).is_none());
        if (self.len + 1) * 2 > self.places.len() {
            self.grow();
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        while self.places[at].0 != 0 {
            at = (at + 1) & mask;
        }
        self.places[at] = (id, slot);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if self.len == 0 {
            return;
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        while self.places[at].0 != id {
            if self.places[at].0 == 0 {
                return;
            }
            at = (at + 1) & mask;
        }
        self.len -= 1;
        // Shift back whatever would no longer be found across the hole.
        let mut hole = at;
        loop {
            at = (at + 1) & mask;
            let (id, slot) = self.places[at];
            if id == 0 {
                break;
            }
            let home = self.home(id);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.places[hole] = (id, slot);
                hole = at;
            }
        }
        self.places[hole] = (0, 0);
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(16);
        let old = core::mem::replace(&mut self.places, alloc::vec![(0, 0); size]);
        self.len = 0;
        for (id, slot) in old {
            if id != 0 {
                self.insert(id, slot);
            }
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            self.places = Vec::new();
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 1u32..200), 1..400)) {
            let mut table = IdTable::new();
            let mut map = BTreeMap::new();
            for (n, (insert, id)) in steps.into_iter().enumerate() {
                if insert && !map.contains_key(&id) {
                    table.insert(id, n as u32);
                    map.insert(id, n as u32);
                } else {
                    table.remove(id);
                    map.remove(&id);
                }
                for id in 1..200 {
                    prop_assert_eq!(table.find(id), map.get(&id).copied());
                }
            }
        }
    }

    #[test]
    fn a_million_streams_beside_one_that_stays_keep_the_table_small() {
        let mut table = IdTable::new();
        table.insert(1, 0);
        for id in (3..2_000_003).step_by(2) {
            table.insert(id, 1);
            assert_eq!(table.find(1), Some(0));
            table.remove(id);
        }
        assert!(table.places.len() <= 16);
    }

    #[test]
    fn identifiers_are_looked_for_from_places_of_their_own() {
        let mut table = IdTable::new();
        let ids = (1..512).step_by(2);
        ids.clone().for_each(|id| table.insert(id, 0));
        let mut homes: Vec<_> = ids.clone().map(|id| table.home(id)).collect();
        homes.sort_unstable();
        homes.dedup();
        assert!(homes.len() * 2 > ids.count(), "{} homes", homes.len());
    }
}
