//! Memory that calls lease from their thread: arenas, and buffers for messages.

use std::cell::{Cell, RefCell};

use grpc_arena::Arena;

use crate::compression::Codecs;

/// What a pool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Arenas that are kept. Default 1024.
    ///
    /// A call holds one from its message's decoding until its handler is done with the message. While so many are
    /// held, a further call gets an arena of its own, which goes back to the heap: it must not wait, because handlers
    /// may hold theirs for as long as they, or their clients, like. This times `arena_retained` is what the pool keeps.
    pub leases: usize,
    /// Bytes that an arena keeps between two leases. Default 64 KiB.
    pub arena_retained: usize,
    /// Buffers kept for messages that arrive. Default 256.
    pub buffers: usize,
    /// Capacity above which a buffer is given back to the heap instead. Default 64 KiB.
    pub buffer_retained: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { leases: 1024, arena_retained: 64 << 10, buffers: 256, buffer_retained: 64 << 10 }
    }
}

/// What a pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolUse {
    /// Arenas that calls hold, those beyond [`PoolLimits::leases`] included.
    pub leased: usize,
    /// Bytes of heap that arenas keep which wait for a call.
    pub arena_bytes: usize,
    /// Bytes that are in use in arenas which wait for a call: always 0.
    pub arena_used: usize,
    /// Bytes of heap that buffers keep which wait for a message.
    pub buffer_bytes: usize,
}

/// The arenas, buffers and codecs of one thread, shared by all its connections.
pub(crate) struct Pool {
    limits: PoolLimits,
    pub(crate) codecs: Codecs,
    // In boxes, so that a lease moves one word into a call and out of it.
    #[allow(clippy::vec_box)]
    free: RefCell<Vec<Box<Arena>>>,
    leased: Cell<usize>,
    buffers: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits, codecs: Codecs) -> Self {
        Self {
            limits,
            codecs,
            free: RefCell::default(),
            leased: Cell::new(0),
            buffers: RefCell::default(),
        }
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        let worth = 1..=self.limits.buffer_retained;
        if worth.contains(&buffer.capacity()) && buffers.len() < self.limits.buffers {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    pub(crate) fn in_use(&self) -> PoolUse {
        let (free, buffers) = (self.free.borrow(), self.buffers.borrow());
        PoolUse {
            leased: self.leased.get(),
            arena_bytes: free.iter().map(|arena| arena.heap_bytes()).sum(),
            arena_used: free.iter().map(|arena| arena.used_bytes()).sum(),
            buffer_bytes: buffers.iter().map(Vec::capacity).sum(),
        }
    }

    /// Gives back all memory that nobody leases.
    pub(crate) fn trim(&self) {
        let (free, buffers) = (self.free.take(), self.buffers.take());
        drop((free, buffers));
    }

    /// Leases an arena.
    pub(crate) fn lease<'p>(&'p self, account: &'p Cell<usize>) -> Lease<'p> {
        let arena = self.free.borrow_mut().pop();
        let arena = arena
            .unwrap_or_else(|| Box::new(Arena::new().with_retained(self.limits.arena_retained)));
        self.leased.set(self.leased.get() + 1);
        Lease { arena: Some(arena), pool: self, account, counted: Cell::new(0) }
    }
}

/// An arena that goes back to its pool, reset, when dropped, if there is a place for it.
pub(crate) struct Lease<'p> {
    /// Absent only while this is dropped.
    arena: Option<Box<Arena>>,
    pool: &'p Pool,
    /// What a connection counts for all its arenas, and for this one.
    account: &'p Cell<usize>,
    counted: Cell<usize>,
}

impl Lease<'_> {
    pub(crate) fn arena(&self) -> &Arena {
        self.arena.as_ref().expect("a lease that lives has its arena")
    }

    /// Counts what the arena holds.
    fn count(&self, bytes: usize) {
        let others = self.account.get() - self.counted.replace(bytes);
        self.account.set(others + bytes);
    }

    /// Counts what the arena holds once the guard is dropped, by a panic too.
    pub(crate) fn count_after(&self) -> impl Drop {
        Counted(self)
    }

    /// What the arena may hold where all of an account may hold so much.
    pub(crate) fn left(&self, all: usize) -> usize {
        all.saturating_sub(self.account.get() - self.counted.get())
    }

    /// Takes back what was allocated, for the next message of the same call.
    pub(crate) fn reset(&mut self) {
        if let Some(arena) = &mut self.arena {
            arena.reset();
            let kept = arena.heap_bytes();
            self.count(kept);
        }
    }
}

struct Counted<'l, 'p>(&'l Lease<'p>);

impl Drop for Counted<'_, '_> {
    fn drop(&mut self) {
        self.0.count(self.0.arena().heap_bytes());
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.count(0);
        let left = self.pool.leased.get() - 1;
        self.pool.leased.set(left);
        if left >= self.pool.limits.leases {
            return;
        }
        self.reset();
        self.count(0);
        if let Some(arena) = self.arena.take() {
            self.pool.free.borrow_mut().push(arena);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;

    #[test]
    fn a_call_beyond_the_leases_gets_an_arena_of_its_own_that_is_not_kept() {
        let limits = PoolLimits { leases: 2, ..PoolLimits::default() };
        let pool = Pool::new(limits, Codecs::new(Compression::none()));
        for _ in 0..3 {
            let account = Cell::new(0);
            let leases: Vec<_> = (0..5).map(|_| pool.lease(&account)).collect();
            for lease in &leases {
                lease.arena().alloc_slice(&[7; 1000]);
            }
            assert_eq!((pool.in_use().leased, pool.free.borrow().len()), (5, 0));
            drop(leases);
            assert_eq!((pool.in_use().leased, pool.free.borrow().len()), (0, 2));
        }
    }
}
