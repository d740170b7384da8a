//! Memory that calls lease from their thread: arenas, and buffers for messages.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use grpc_arena::Arena;

use crate::compression::Codecs;
use crate::queue::{Ticket, WaitQueue};

/// What a pool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Arenas that may be leased at once. Default 1024.
    ///
    /// A call holds one from its message's decoding until its handler is done with the message. While none is
    /// free, messages wait undecoded: so this times the largest message bounds what handlers can hold.
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
    /// Arenas that calls hold.
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
    free: RefCell<Vec<Arena>>,
    leased: Cell<usize>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Calls that wait for a lease, first come first served.
    waiting: WaitQueue,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits, codecs: Codecs) -> Self {
        Self {
            limits,
            codecs,
            free: RefCell::default(),
            leased: Cell::new(0),
            buffers: RefCell::default(),
            waiting: WaitQueue::default(),
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
            arena_bytes: free.iter().map(Arena::heap_bytes).sum(),
            arena_used: free.iter().map(Arena::used_bytes).sum(),
            buffer_bytes: buffers.iter().map(Vec::capacity).sum(),
        }
    }

    /// Gives back all memory that nobody leases.
    pub(crate) fn trim(&self) {
        let (free, buffers) = (self.free.take(), self.buffers.take());
        drop((free, buffers));
    }

    /// Leases an arena as soon as one is free.
    pub(crate) fn lease(self: &Rc<Self>) -> Leasing<'_> {
        Leasing { pool: self, ticket: Ticket::default() }
    }

    fn try_lease(self: &Rc<Self>) -> Option<Lease> {
        if self.leased.get() >= self.limits.leases {
            return None;
        }
        let arena = self.free.borrow_mut().pop();
        let arena = arena.unwrap_or_else(|| Arena::new().with_retained(self.limits.arena_retained));
        self.leased.set(self.leased.get() + 1);
        Some(Lease { arena, pool: Rc::clone(self) })
    }
}

/// An arena that goes back to its pool, reset, when dropped.
pub(crate) struct Lease {
    arena: Arena,
    pool: Rc<Pool>,
}

impl Lease {
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut arena = std::mem::take(&mut self.arena);
        if !planted!(ArenaKept) {
            arena.reset();
        }
        self.pool.free.borrow_mut().push(arena);
        self.pool.leased.set(self.pool.leased.get() - 1);
        self.pool.waiting.wake_next();
    }
}

/// Waits for a [`Lease`].
pub(crate) struct Leasing<'p> {
    pool: &'p Rc<Pool>,
    ticket: Ticket,
}

impl Future for Leasing<'_> {
    type Output = Lease;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lease> {
        let this = &mut *self;
        if !this.pool.waiting.may_try(&this.ticket, cx) {
            return Poll::Pending;
        }
        match this.pool.try_lease() {
            Some(lease) => {
                this.pool.waiting.leave(&mut this.ticket, true);
                Poll::Ready(lease)
            }
            None => {
                this.pool.waiting.join(&mut this.ticket, cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for Leasing<'_> {
    fn drop(&mut self) {
        self.pool.waiting.leave(&mut self.ticket, planted!(TurnLost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;
    use std::pin::pin;
    use std::task::Waker;

    fn pool(leases: usize) -> Rc<Pool> {
        let limits = PoolLimits { leases, ..PoolLimits::default() };
        Rc::new(Pool::new(limits, Codecs::new(Compression::none())))
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_lease_that_is_given_back_serves_the_next_in_line() {
        let pool = pool(1);
        let Poll::Ready(first) = poll(pin!(pool.lease())) else { panic!("one is free") };
        let mut second = pin!(pool.lease());
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn a_waiter_that_is_dropped_in_its_turn_passes_the_turn_on() {
        let pool = pool(1);
        let Poll::Ready(first) = poll(pin!(pool.lease())) else { panic!("one is free") };
        let mut second = Box::pin(pool.lease());
        let mut third = pin!(pool.lease());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        drop(first);
        drop(second);
        assert!(pool.waiting.is_empty(), "the third was woken");
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let pool = pool(1);
        let Poll::Ready(_first) = poll(pin!(pool.lease())) else { panic!("one is free") };
        let mut second = Box::pin(pool.lease());
        assert!(poll(second.as_mut()).is_pending());
        drop(second);
        assert!(pool.waiting.is_empty());
    }
}
