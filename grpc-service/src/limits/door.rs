//! Counting connections in and out.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use super::SharedLimits;
use crate::Peer;

/// A limit of [`ServingLimits`](super::ServingLimits) that a connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionLimit {
    /// [`ServingLimits::connections`](super::ServingLimits::connections).
    Process,
    /// [`ServingLimits::connections_per_worker`](super::ServingLimits::connections_per_worker).
    Worker,
    /// [`ServingLimits::connections_per_address`](super::ServingLimits::connections_per_address).
    Address,
}

impl ConnectionLimit {
    /// The name of the limit.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConnectionLimit::Process => "connections",
            ConnectionLimit::Worker => "connections_per_worker",
            ConnectionLimit::Address => "connections_per_address",
        }
    }
}

impl fmt::Display for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            ConnectionLimit::Process => "the process has as many connections as it may",
            ConnectionLimit::Worker => "the worker has as many connections as it may",
            ConnectionLimit::Address => "the address has as many connections as it may",
        };
        write!(f, "{what}; raise ServingLimits::{} if they are honest", self.as_str())
    }
}

/// Connections of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Those that serve.
    staying: u32,
    /// Those that were told to go, because a limit was lowered.
    leaving: u32,
}

impl Count {
    pub(super) const fn all(self) -> u32 {
        self.staying + self.leaving
    }

    fn leave(&mut self) {
        self.staying -= 1;
        self.leaving += 1;
    }

    fn end(&mut self, was_leaving: bool) {
        *(if was_leaving { &mut self.leaving } else { &mut self.staying }) -= 1;
    }
}

/// What one subscriber has of the Internet's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(u32),
    /// The first 64 bits.
    V6(u64),
}

impl Network {
    pub(super) fn of(peer: &Peer) -> Option<Self> {
        Some(match peer.socket_address()?.ip().to_canonical() {
            IpAddr::V4(address) => Network::V4(address.to_bits()),
            IpAddr::V6(address) => Network::V6((address.to_bits() >> 64) as u64),
        })
    }
}

/// The connections of one server, as its limits see them.
pub(crate) struct Door {
    limits: SharedLimits,
    here: Cell<Count>,
}

impl Door {
    pub(crate) fn new(limits: SharedLimits) -> Rc<Self> {
        Rc::new(Door { limits, here: Cell::default() })
    }

    pub(crate) fn limits(&self) -> &SharedLimits {
        &self.limits
    }

    /// Counts a connection in, if no limit is reached.
    pub(crate) fn admit(self: &Rc<Self>, peer: &Peer) -> Result<Seat, ConnectionLimit> {
        let (network, mut here) = (Network::of(peer), self.here.get());
        let mut state = self.limits.lock();
        if state.open.all() >= state.limits.connections {
            return Err(ConnectionLimit::Process);
        }
        if here.all() >= state.limits.connections_per_worker {
            return Err(ConnectionLimit::Worker);
        }
        if let Some(network) = network {
            let known = state.addresses.get(&network).copied().unwrap_or_default();
            if known.all() >= state.limits.connections_per_address {
                return Err(ConnectionLimit::Address);
            }
            state.addresses.entry(network).or_default().staying += 1;
        }
        state.open.staying += 1;
        here.staying += 1;
        self.here.set(here);
        Ok(Seat { door: Rc::clone(self), network, leaving: Cell::new(false) })
    }
}

/// A connection's place among those that the limits allow; free again when it is dropped.
pub struct Seat {
    door: Rc<Door>,
    network: Option<Network>,
    leaving: Cell<bool>,
}

impl Seat {
    #[cfg(test)]
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// The limit because of which the connection has to go, since it was lowered: once, for as many connections as exceed it.
    ///
    /// The connection is to be drained then; it counts until the seat is dropped.
    pub fn must_leave(&self) -> Option<ConnectionLimit> {
        if self.leaving.get() {
            return None;
        }
        let mut here = self.door.here.get();
        let mut guard = self.door.limits.lock();
        let state = &mut *guard;
        let mut of_address = self.network.and_then(|network| state.addresses.get_mut(&network));
        let limit = if state.open.staying > state.limits.connections {
            ConnectionLimit::Process
        } else if here.staying > state.limits.connections_per_worker {
            ConnectionLimit::Worker
        } else if of_address
            .as_ref()
            .is_some_and(|count| count.staying > state.limits.connections_per_address)
        {
            ConnectionLimit::Address
        } else {
            return None;
        };
        self.leaving.set(true);
        state.open.leave();
        here.leave();
        if let Some(count) = &mut of_address {
            count.leave();
        }
        self.door.here.set(here);
        Some(limit)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let leaving = self.leaving.get();
        let mut here = self.door.here.get();
        here.end(leaving);
        self.door.here.set(here);
        let mut guard = self.door.limits.lock();
        let state = &mut *guard;
        state.open.end(leaving);
        if let Some(network) = self.network
            && let Some(count) = state.addresses.get_mut(&network)
        {
            count.end(leaving);
            if count.all() == 0 {
                state.addresses.remove(&network);
            }
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("leaving", &self.leaving.get()).finish_non_exhaustive()
    }
}
