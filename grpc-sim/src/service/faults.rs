//! What can happen to the network between channels and servers, and what of it has.

use std::time::Duration;

use grpc_proto::Instant;

/// A fault of the network between channels and servers.
///
/// It meets the connections that are open when it happens; [`Sim::faults`](super::Sim::faults) tells how many there
/// were.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkFault {
    /// Every open connection to the address is reset.
    Reset(String),
    /// No open connection to the address delivers anything for this long.
    Stall(String, Duration),
    /// What clients say to the address arrives no sooner than after this long; answers go on.
    StallUp(String, Duration),
    /// What the address answers arrives no sooner than after this long; requests go on.
    StallDown(String, Duration),
    /// Open connections carry so many bytes a millisecond for this long.
    Clog(String, u32, Duration),
    /// New connections to the address are refused for this long, or longer if another fault has it so.
    Refuse(String, Duration),
    /// The servers at the address drain their connections.
    Drain(String),
    /// The clients of the address drain theirs.
    Leave(String),
    /// The servers at the address end their connections at once, with GOAWAY.
    Abort(String),
    /// The clients of the address do.
    AbortClients(String),
    /// The servers' direction of every open connection ends in the midst of things.
    HalfClose(String),
    /// The clients' direction does.
    HalfCloseClients(String),
    /// The servers at the address are gone with their handlers, and refuse connections for this long.
    ///
    /// What comes back is the same [`Server`](grpc_service::Server) with the same services, as if only its connections
    /// had been lost, unless [`Sim::listen_with`](super::Sim::listen_with) makes another one.
    Crash(String, Duration),
}

impl NetworkFault {
    pub(super) fn address(&self) -> &str {
        match self {
            NetworkFault::Reset(address)
            | NetworkFault::Stall(address, _)
            | NetworkFault::StallUp(address, _)
            | NetworkFault::StallDown(address, _)
            | NetworkFault::Clog(address, ..)
            | NetworkFault::Refuse(address, _)
            | NetworkFault::Drain(address)
            | NetworkFault::Leave(address)
            | NetworkFault::Abort(address)
            | NetworkFault::AbortClients(address)
            | NetworkFault::HalfClose(address)
            | NetworkFault::HalfCloseClients(address)
            | NetworkFault::Crash(address, _) => address,
        }
    }
}

/// A planned fault that has happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Happened {
    /// What.
    pub fault: NetworkFault,
    /// When.
    pub at: Instant,
    /// Connections that it has met: those that were open, and those that it had refused.
    pub met: usize,
}
