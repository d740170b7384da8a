//! Serving calls: routes, handlers and the connections that run them.

mod call;
mod connection;
mod cx;
mod handler;
mod kinds;
mod router;
mod sink;
mod slot;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use grpc_arena::DecodeLimits;
use grpc_proto::{Config, ConfigError, Limits};

pub use connection::ServerConnection;
pub use cx::{Cx, Sleep};
pub use handler::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, ServerStreamingHandler,
    UnaryHandler,
};
use router::Entry;
pub use router::Router;
pub use sink::Sink;

use crate::compression::{Codecs, Compression};
use crate::pool::{Pool, PoolLimits, PoolUse};
use crate::{Host, Peer, Recordings};

/// How the connections of a server behave.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(crate) config: Config,
    pub(crate) decode: DecodeLimits,
    pub(crate) pool: PoolLimits,
    pub(crate) compression: Compression,
    pub(crate) recordings: Option<Recordings>,
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
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new(Limits::default()).expect("the default limits are consistent")
    }
}

/// The server of one thread: its routes, and the memory that its connections share.
pub struct Server {
    options: ServerOptions,
    routes: Rc<Deployed>,
    pool: Rc<Pool>,
    host: Rc<dyn Host>,
}

/// The routes in force; calls that run keep those that they started with.
pub(crate) struct Deployed {
    current: RefCell<Rc<Router>>,
}

impl Deployed {
    /// The method of a path.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Rc<Entry>> {
        self.current.borrow().find(path).cloned()
    }
}

impl Server {
    /// A server for `router`.
    pub fn new(router: Router, options: ServerOptions, host: Rc<dyn Host>) -> Self {
        let pool = Rc::new(Pool::new(options.pool, Codecs::new(options.compression.clone())));
        let routes = Rc::new(Deployed { current: RefCell::new(Rc::new(router)) });
        Self { options, routes, pool, host }
    }

    /// A connection that was accepted from `peer`.
    pub fn accept(&self, peer: Peer) -> ServerConnection {
        let (routes, pool) = (Rc::clone(&self.routes), Rc::clone(&self.pool));
        ServerConnection::new(&self.options, routes, pool, Rc::clone(&self.host), peer)
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
