//! Limits of a whole process, which can be changed while it serves.

mod door;

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

pub(crate) use door::Door;
pub use door::{ConnectionLimit, Seat};
use door::{Count, Network};

/// How many connections a process serves at once, and how much memory those of a thread share.
///
/// A connection beyond a limit is closed as soon as it is accepted. Where a limit is lowered below what is open, as many
/// connections as exceed it get GOAWAY, and calls in flight finish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServingLimits {
    /// Connections of all servers that share these limits. Default 16,384.
    pub connections: u32,
    /// Connections of one server, which is one thread of a group of workers. Default: no limit beside the others.
    pub connections_per_worker: u32,
    /// Connections from one address: all of an IPv4 address, or of an IPv6 network of 64 bits, which one subscriber has whole
    /// (RFC 6177). Default: no limit beside the others, because the connections of a proxy all come from its address.
    ///
    /// An IPv4 address that is written as one of IPv6 (`::ffff:0:0/96`) counts as the former. Sockets without such an address
    /// do not count here. The table of addresses has an entry for each that has a connection open, so `connections` bounds it.
    pub connections_per_address: u32,
    /// Bytes of what they receive that the connections of one thread hold together: messages that arrive or wait for handlers,
    /// their arenas, and request metadata. Default 256 MiB. What of it a connection holds up to 64 KiB is
    /// not counted.
    ///
    /// Above it the connection that holds most ends with ENHANCE_YOUR_CALM. Half of it may be reserved for messages beyond the
    /// windows of their streams, in the order of asking; a single one may have more.
    pub receive_budget: u64,
    /// The same for what is queued for sending. Half of it may be reserved for messages beyond
    /// [`Limits::send_mark`](crate::Limits::send_mark). Default 256 MiB.
    pub send_budget: u64,
    /// Time for which a connection may keep a reservation while others wait for theirs; so long the others wait. Then those end
    /// that have reserved most for that long. Default 10 s.
    pub budget_patience: Duration,
    /// Bytes that the arenas of one connection may hold when a message is decoded. Default 64 MiB. A message beyond it ends
    /// its call with RESOURCE_EXHAUSTED. What handlers build in [`Cx::arena`](crate::Cx::arena) counts for the next message.
    pub arena_budget: usize,
}

impl Default for ServingLimits {
    fn default() -> Self {
        ServingLimits {
            connections: 16_384,
            connections_per_worker: u32::MAX,
            connections_per_address: u32::MAX,
            receive_budget: 256 << 20,
            send_budget: 256 << 20,
            budget_patience: Duration::from_secs(10),
            arena_budget: 64 << 20,
        }
    }
}

/// [`ServingLimits`] that any number of servers obey, on any threads. A clone is the same limits.
///
/// [`ServerOptions::limits`](crate::ServerOptions::limits) has servers share them, as the workers of one group do.
#[derive(Clone, Default)]
pub struct SharedLimits {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Counts the changes, so that a reader sees without a lock whether its copy is current.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    limits: ServingLimits,
    open: Count,
    /// Of each address that has connections.
    addresses: HashMap<Network, Count>,
    ids: u64,
    waiting: Vec<(u64, Waker)>,
}

impl SharedLimits {
    /// Limits of their own.
    pub fn new(limits: ServingLimits) -> Self {
        let shared = Self::default();
        shared.lock().limits = limits;
        shared
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits in force.
    pub fn get(&self) -> ServingLimits {
        self.lock().limits.clone()
    }

    /// Puts other limits in force, at once for new connections, and soon for those that are open.
    pub fn set(&self, limits: ServingLimits) {
        let mut state = self.lock();
        state.limits = limits;
        self.shared.version.fetch_add(1, Ordering::Release);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            // The program's code, which must not keep the others from being woken.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    /// Changes some of the limits.
    ///
    /// ```
    /// let limits = grpc_service::SharedLimits::default();
    /// limits.change(|limits| limits.connections_per_address = 100);
    /// assert_eq!(limits.get().connections_per_address, 100);
    /// ```
    pub fn change(&self, change: impl FnOnce(&mut ServingLimits)) {
        let mut limits = self.get();
        change(&mut limits);
        self.set(limits);
    }

    /// Connections that are open, over all servers that share the limits.
    pub fn open(&self) -> u32 {
        self.lock().open.all()
    }

    /// The number of changes so far.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Watches for changes from now on.
    pub(crate) fn watch(&self) -> Watch {
        let mut state = self.lock();
        state.ids += 1;
        Watch { limits: self.clone(), id: state.ids, seen: self.version() }
    }
}

/// One who is woken by changes of the limits.
pub(crate) struct Watch {
    limits: SharedLimits,
    id: u64,
    seen: u64,
}

impl Watch {
    /// Whether the limits have changed since the last time that this was asked; the waker of `cx` is woken when they do.
    pub(crate) fn poll_changed(&mut self, cx: &Context<'_>) -> bool {
        let mut state = self.limits.lock();
        let known = state.waiting.iter_mut().find(|(id, _)| *id == self.id);
        match known {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((self.id, cx.waker().clone())),
        }
        let version = self.limits.version();
        std::mem::replace(&mut self.seen, version) != version
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        let mut gone = None;
        if let Some(at) = state.waiting.iter().position(|(id, _)| *id == self.id) {
            gone = Some(state.waiting.swap_remove(at));
        }
        drop(state);
        // Dropping a waker can run the runtime's code.
        drop(gone);
    }
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SharedLimits")
            .field("limits", &state.limits)
            .field("open", &state.open.all())
            .finish()
    }
}

#[cfg(test)]
mod tests;
