//! Serving calls: routes, handlers and the connections that run them.

mod call;
mod connection;
mod cx;
mod handler;
mod kinds;
mod leaf;
mod ledger;
mod mailbox;
mod router;
mod routes;
mod share;
mod sink;
mod watched;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use grpc_arena::DecodeLimits;
use grpc_proto::{Config, ConfigError, Limits};

pub use crate::current::Inherited;
use call::Call;
pub(crate) use call::Scope;
pub use connection::ServerConnection;
pub use cx::{Cx, Draining, Sleep};
pub use handler::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, ServerStreamingHandler,
    UnaryHandler,
};
use ledger::Ledger;
pub use ledger::ServerStats;
pub use mailbox::Mailbox;
use router::Entry;
pub use router::Router;
pub use routes::{Around, Routes};
pub use sink::Sink;
pub use watched::Watched;

use crate::compression::{Codecs, Compression};
use crate::endpoint::OUT_MARK;
use crate::limits::Door;
use crate::memory::{LIGHT, ThreadMemory};
use crate::pool::{Pool, PoolLimits, PoolUse};
use crate::{ConnectionLimit, Host, Peer, Recordings, Seat, ServerHooks, SharedLimits};

/// How the connections of a server behave.
#[derive(Clone)]
pub struct ServerOptions {
    pub(crate) config: Config,
    pub(crate) decode: DecodeLimits,
    pub(crate) pool: PoolLimits,
    pub(crate) compression: Compression,
    pub(crate) recordings: Option<Recordings>,
    pub(crate) hooks: Option<Arc<dyn ServerHooks>>,
    pub(crate) limits: SharedLimits,
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, decode, pool, compression, recordings, hooks, limits } = self;
        f.debug_struct("ServerOptions")
            .field("config", config)
            .field("decode", decode)
            .field("pool", pool)
            .field("compression", compression)
            .field("recordings", recordings)
            .field("hooks", &hooks.is_some())
            .field("limits", limits)
            .finish()
    }
}

impl ServerOptions {
    /// Options with these limits of the protocol, and defaults for the rest.
    ///
    /// Stream credit is always granted by hand here, when a handler is done with a message.
    ///
    /// # Errors
    /// The rule that the limits break.
    pub fn new(mut limits: Limits) -> Result<Self, ConfigError> {
        limits.manual_credit = true;
        let config = Config::new(limits)?;
        Ok(Self {
            config,
            decode: DecodeLimits::DEFAULT,
            pool: PoolLimits::default(),
            compression: Compression::none(),
            recordings: None,
            hooks: None,
            limits: SharedLimits::default(),
        })
    }

    /// Sets what decoding one message may cost.
    #[must_use]
    pub fn decode_limits(mut self, limits: DecodeLimits) -> Self {
        self.decode = limits;
        self
    }

    /// Sets what the thread's pool of arenas and buffers may hold.
    #[must_use]
    pub fn pool_limits(mut self, limits: PoolLimits) -> Self {
        self.pool = limits;
        self
    }

    /// Sets which encodings requests may come in, and replies go out in.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets which connections are recorded, and where to; by default none is.
    #[must_use]
    pub fn record(mut self, recordings: Recordings) -> Self {
        self.recordings = Some(recordings);
        self
    }

    /// Sets hooks into what happens on the server; by default there are none.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn ServerHooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Sets the limits that servers of these options share, with all others that have a clone of them; by default those of one
    /// `ServerOptions` and its clones do. Keep a clone to change them while the servers run.
    #[must_use]
    pub fn limits(mut self, limits: SharedLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The most heap memory in bytes that peers can make so many threads of servers hold, with the limits in force now; the sum
    /// is explained in `docs/limits.md`, and tests hold the allocator's count against it.
    ///
    /// What handlers hold beside their messages, and the buffers of TLS and of the system, are not in it.
    pub fn memory_bound(&self, threads: usize) -> u64 {
        let (limits, serving) = (self.config.limits(), self.limits.get());
        let threads = threads as u64;
        let of_workers = threads.saturating_mul(serving.connections_per_worker.into());
        let connections = of_workers.min(serving.connections.into());
        let streams = u64::from(limits.max_concurrent_streams);
        let message = u64::from(limits.max_receive_message.min(limits.max_send_message));
        // A read buffer, and output that is filled and written.
        let transport = 2 * (64 << 10) + 4 * (OUT_MARK as u64 + u64::from(limits.transmit_budget));
        let connection =
            limits.fixed_bound() + 4 * LIGHT as u64 + streams * Call::PLACE + transport;
        // What one turn of one connection can take before it is counted.
        let turn = limits.memory_bound()
            + streams * u64::from(limits.send_mark)
            + u64::from(limits.send_budget)
            + 2 * message
            + 2 * serving.arena_budget as u64;
        let pool = self.pool.leases as u64 * self.pool.arena_retained as u64
            + self.pool.buffers as u64 * self.pool.buffer_retained as u64;
        // Vectors double their capacity.
        let shared = 2 * serving.receive_budget.saturating_add(serving.send_budget);
        let thread = shared.saturating_add(pool + turn);
        connections.saturating_mul(connection).saturating_add(threads.saturating_mul(thread))
    }

    /// The limits that the servers share.
    pub fn shared_limits(&self) -> &SharedLimits {
        &self.limits
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new(Limits::default()).expect("the default limits are consistent")
    }
}

/// The server of one thread: its routes, and the memory that its connections share. A clone is the same server.
#[derive(Clone)]
pub struct Server {
    options: ServerOptions,
    routes: Rc<Deployed>,
    pool: Rc<Pool>,
    host: Rc<dyn Host>,
    ledger: Rc<Ledger>,
    door: Rc<Door>,
    memory: Rc<ThreadMemory>,
}

/// The routes in force; calls that run keep those that they started with.
pub(crate) struct Deployed {
    current: RefCell<Rc<Router>>,
}

impl Deployed {
    /// The method of a path.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Rc<Entry>> {
        let router = self.current.borrow();
        router.find(path).or(router.unknown()).cloned()
    }
}

impl Server {
    /// A server for `router`.
    pub fn new(router: Router, options: ServerOptions, host: Rc<dyn Host>) -> Self {
        let pool = Rc::new(Pool::new(options.pool, Codecs::new(options.compression.clone())));
        let routes = Rc::new(Deployed { current: RefCell::new(Rc::new(router)) });
        let ledger = Ledger::new(options.hooks.clone());
        let door = Door::new(options.limits.clone());
        let memory = ThreadMemory::new(options.limits.clone());
        Self { options, routes, pool, host, ledger, door, memory }
    }

    /// Asks whether one more connection may be served: `None` if a limit of [`ServingLimits`](crate::ServingLimits) is
    /// reached, which is counted and reported. Close the transport then.
    ///
    /// Keep the seat as long as the connection. `accept` serves without one, and the limits do not know of it.
    pub fn admit(&self, peer: &Peer) -> Option<Seat> {
        match self.door.admit(peer) {
            Ok(seat) => Some(seat),
            Err(limit) => {
                self.ledger.refused(limit, peer, &*self.host);
                None
            }
        }
    }

    /// Obeys limits of memory that have changed; each connection that is accepted has the server do so too.
    pub fn obey_limits(&self) {
        if self.memory.refresh() {
            self.ledger.tell_news(&self.memory, None);
        }
    }

    /// Bytes that the connections hold of what they received, and of what they have queued, as the budgets of
    /// [`ServingLimits`](crate::ServingLimits) count it.
    pub fn memory_held(&self) -> (u64, u64) {
        self.memory.held()
    }

    /// The limits that the server shares with others.
    pub fn limits(&self) -> &SharedLimits {
        self.door.limits()
    }

    /// Counts connections that were told to go because a limit was lowered.
    pub(crate) fn count_drained(&self, limit: ConnectionLimit) {
        self.ledger.drained(limit, &*self.host);
    }

    /// A connection that was accepted from `peer`.
    pub fn accept(&self, peer: Peer) -> ServerConnection {
        let (routes, pool) = (Rc::clone(&self.routes), Rc::clone(&self.pool));
        let (host, ledger) = (Rc::clone(&self.host), Rc::clone(&self.ledger));
        self.obey_limits();
        let memory = Rc::clone(&self.memory);
        ServerConnection::new(&self.options, routes, pool, host, ledger, memory, peer)
    }

    /// Counters of all connections that were accepted here, closed and open. It looks at each open connection.
    pub fn stats(&self) -> ServerStats {
        self.ledger.stats()
    }

    /// Counts and reports that a connection could not be accepted and is tried again after `wait`; for adapters.
    ///
    /// Hooks hear of each time, operators ([`Host::report`]) at most once in ten seconds.
    pub fn accept_failed(&self, error: &std::io::Error, wait: Duration) {
        self.ledger.accept_failed(error, wait, &*self.host);
    }

    /// Puts `router` in force for new calls, on old connections too; running calls end on the old routes.
    pub fn deploy(&self, router: Router) {
        let old = self.routes.current.replace(Rc::new(router));
        // A service may do anything when it is dropped.
        drop(old);
    }

    /// What the memory that the connections share is used for: nothing is leased while no call runs.
    pub fn pool_use(&self) -> PoolUse {
        self.pool.in_use()
    }

    /// The host that the server's handlers see.
    pub fn host(&self) -> &Rc<dyn Host> {
        &self.host
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}
