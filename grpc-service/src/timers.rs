//! Timers of one connection: an indexed binary heap that allocates nothing at steady state.

use std::task::Waker;

use grpc_proto::Instant;

/// Names a timer until it fires or is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    place: u32,
    /// Told apart from earlier timers of the same place, which may have fired unnoticed.
    generation: u32,
}

/// Timers by deadline; each wakes one waker.
///
/// Removal takes O(log n), so that a future that is dropped early leaves nothing behind.
#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<Node>,
    /// By [`TimerId`]: generation, and where in the heap the timer stands or the next free entry.
    places: Vec<(u32, Place)>,
    free: Option<u32>,
}

struct Node {
    at: Instant,
    id: u32,
    waker: Waker,
}

#[derive(Clone, Copy)]
enum Place {
    Heap(u32),
    Free(Option<u32>),
}

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.at)
    }

    pub(crate) fn insert(&mut self, at: Instant, waker: Waker) -> TimerId {
        let place = Place::Heap(self.heap.len() as u32);
        let id = match self.free {
            Some(id) => {
                let entry = &mut self.places[id as usize];
                let Place::Free(next) = entry.1 else {
                    unreachable!("the free list names free entries only")
                };
                self.free = next;
                *entry = (entry.0.wrapping_add(1), place);
                id
            }
            None => {
                self.places.push((0, place));
                self.places.len() as u32 - 1
            }
        };
        self.heap.push(Node { at, id, waker });
        self.up(self.heap.len() - 1);
        TimerId { place: id, generation: self.places[id as usize].0 }
    }

    fn place(&self, id: TimerId) -> Option<usize> {
        match self.places[id.place as usize] {
            (generation, Place::Heap(place)) if generation == id.generation => Some(place as usize),
            _ => None,
        }
    }

    /// Whether the timer has neither fired nor been removed.
    pub(crate) fn holds(&self, id: TimerId) -> bool {
        self.place(id).is_some()
    }

    /// Exchanges the waker of a timer that has not fired; the old one is returned, to be dropped outside of borrows.
    pub(crate) fn set_waker(&mut self, id: TimerId, waker: &Waker) -> Option<Waker> {
        let place = self.place(id)?;
        let node = &mut self.heap[place];
        if node.waker.will_wake(waker) {
            return None;
        }
        Some(std::mem::replace(&mut node.waker, waker.clone()))
    }

    /// Removes a timer that has not fired.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<Waker> {
        self.place(id).map(|place| self.take(place))
    }

    /// Gives all memory back, where no timer is left.
    pub(crate) fn shrink(&mut self) {
        if self.heap.is_empty() {
            *self = Timers::default();
        }
    }

    /// Takes one timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        if self.next()? > now { None } else { Some(self.take(0)) }
    }

    fn take(&mut self, place: usize) -> Waker {
        let node = self.heap.swap_remove(place);
        self.places[node.id as usize].1 = Place::Free(self.free);
        self.free = Some(node.id);
        if place < self.heap.len() {
            self.note(place);
            self.down(place);
            self.up(place);
        }
        node.waker
    }

    fn note(&mut self, place: usize) {
        self.places[self.heap[place].id as usize].1 = Place::Heap(place as u32);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].at < self.heap[(place - 1) / 2].at {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.heap[child].at < self.heap[least].at {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_their_deadlines_whatever_is_removed_between() {
        let mut timers = Timers::default();
        let mut alive: Vec<(u64, TimerId)> = Vec::new();
        let mut seed = 7u64;
        for step in 0..2000u64 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match seed >> 61 {
                0..=4 => {
                    let at = (seed >> 20) % 1000 + step;
                    alive.push((at, timers.insert(Instant::from_nanos(at), Waker::noop().clone())));
                }
                5 if !alive.is_empty() => {
                    let (_, id) = alive.swap_remove((seed >> 30) as usize % alive.len());
                    assert!(timers.remove(id).is_some());
                }
                _ => {
                    while timers.pop_due(Instant::from_nanos(step)).is_some() {}
                    alive.retain(|&(at, _)| at > step);
                }
            }
            let least = alive.iter().map(|&(at, _)| Instant::from_nanos(at)).min();
            assert_eq!(timers.next(), least);
        }
    }

    #[test]
    fn a_timer_that_fired_cannot_be_removed_again() {
        let mut timers = Timers::default();
        let id = timers.insert(Instant::ZERO, Waker::noop().clone());
        assert!(timers.pop_due(Instant::ZERO).is_some());
        let other = timers.insert(Instant::ZERO, Waker::noop().clone());
        assert_ne!(id, other);
        assert!(timers.remove(id).is_none());
        assert!(timers.remove(other).is_some());
        assert_eq!(timers.next(), None);
    }
}
