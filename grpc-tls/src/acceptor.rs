//! The handshakes of one thread that serves: how many may be under way, and what they end in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use grpc_service::drive::Orders;
use grpc_service::{Endpoint, Peer, Server, Throttle, TlsPeer};
use rustls::ServerConfig;

use crate::endpoint::TlsEndpoint;
use crate::error::TlsError;
use crate::gate::{Gate, Gated};
use crate::server::ServerTls;
use crate::session::{H2, HTTP1, Session};

/// Handshakes that may be under way at a time on one thread, by default.
pub const HANDSHAKES: usize = 1024;
/// Between two reports of handshakes that failed.
const REPORTS: Duration = Duration::from_secs(10);

/// Puts TLS in front of the connections that one thread accepts; for adapters.
///
/// At most [`ServerTls::handshakes`] handshakes are under way at a time. One more ends the oldest of them: peers that
/// open connections and stall keep nobody out whose handshake takes less time than it takes them to open so many more.
/// Handshakes that failed are reported ([`Host::report`](grpc_service::Host::report)), one in ten seconds.
pub struct Acceptor {
    tls: ServerTls,
    shared: Rc<Shared>,
    /// The configuration in force and what was made of it to serve HTTP/1.1 too; made again where that is replaced.
    with_http1: RefCell<Option<(Arc<ServerConfig>, Arc<ServerConfig>)>>,
}

struct Shared {
    /// The handshakes under way, the oldest first.
    under_way: RefCell<VecDeque<Rc<Gate>>>,
    reports: Throttle,
}

impl Acceptor {
    pub(crate) fn new(tls: ServerTls) -> Self {
        let shared = Shared { under_way: RefCell::default(), reports: Throttle::new(REPORTS) };
        Acceptor { tls, shared: Rc::new(shared), with_http1: RefCell::default() }
    }

    /// What to drive for a connection from `peer`, and the orders to drive it with: `orders`, and a stop of its handshake.
    ///
    /// The connection of `server` is made once the handshake is complete, with what it proved in `cx.peer().tls()`.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn accept<O: Orders>(
        &self,
        server: &Rc<Server>,
        peer: Peer,
        orders: O,
    ) -> Result<(impl Endpoint + use<O>, impl Orders + use<O>), TlsError> {
        let session = Session::server(self.tls.config())?;
        Ok(self.enter(session, server, peer, orders, |server, peer| server.accept(peer)))
    }

    /// As [`accept`](Self::accept), for clients that speak HTTP/1.1 too: `make` makes what is driven behind the handshake,
    /// and [`TlsPeer::http2`](grpc_service::TlsPeer::http2) of its peer says what ALPN has chosen.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn accept_with_http1<O: Orders, E: Endpoint, M: FnOnce(&Rc<Server>, Peer) -> E>(
        &self,
        server: &Rc<Server>,
        peer: Peer,
        orders: O,
        make: M,
    ) -> Result<(impl Endpoint + use<O, E, M>, impl Orders + use<O, E, M>), TlsError> {
        let session = Session::server_with_http1(self.config_with_http1())?;
        Ok(self.enter(session, server, peer, orders, make))
    }

    fn enter<O: Orders, E: Endpoint, M: FnOnce(&Rc<Server>, Peer) -> E>(
        &self,
        session: Session,
        server: &Rc<Server>,
        peer: Peer,
        orders: O,
        make: M,
    ) -> (impl Endpoint + use<O, E, M>, impl Orders + use<O, E, M>) {
        let gate = Rc::new(Gate::default());
        let place = Place { gate: Rc::clone(&gate), shared: Rc::clone(&self.shared) };
        let owner = Rc::clone(server);
        let deadline = server.host().now() + self.tls.timeout();
        let start = move |seen: Result<&TlsPeer, &TlsError>| match seen {
            Ok(tls) => {
                drop(place);
                Some(make(&owner, peer.with_tls(Rc::new(tls.clone()))))
            }
            Err(error) => {
                place.shared.report(&owner, &peer, error);
                None
            }
        };
        let endpoint = TlsEndpoint::new(session, deadline, start);
        self.shared.enter(Rc::clone(&gate), self.tls.handshake_limit());
        (endpoint, Gated::new(gate, orders))
    }

    /// The configuration in force, with `http/1.1` behind `h2` in ALPN.
    fn config_with_http1(&self) -> Arc<ServerConfig> {
        let base = self.tls.config();
        let mut made = self.with_http1.borrow_mut();
        if let Some((of, config)) = &*made
            && Arc::ptr_eq(of, &base)
        {
            return Arc::clone(config);
        }
        let mut config = ServerConfig::clone(&base);
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        let config = Arc::new(config);
        *made = Some((base, Arc::clone(&config)));
        config
    }

    /// Handshakes that are under way.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.borrow().len()
    }
}

impl Shared {
    /// Adds a handshake, in the place of the oldest one if there are `limit` already.
    fn enter(&self, gate: Rc<Gate>, limit: usize) {
        let mut under_way = self.under_way.borrow_mut();
        let oldest = if under_way.len() >= limit { under_way.pop_front() } else { None };
        under_way.push_back(gate);
        drop(under_way);
        if let Some(oldest) = oldest {
            oldest.close();
        }
    }

    fn report(&self, server: &Server, peer: &Peer, error: &TlsError) {
        let host = server.host();
        if let Some(skipped) = self.reports.pass(host.now()) {
            host.report(&format!(
                "the TLS handshake with {peer} failed ({skipped} more since the last report): {error}"
            ));
        }
    }
}

/// A handshake's place among those under way; it is free when the handshake is over or the connection is dropped.
struct Place {
    gate: Rc<Gate>,
    shared: Rc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open();
        self.shared.under_way.borrow_mut().retain(|gate| !Rc::ptr_eq(gate, &self.gate));
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("under_way", &self.under_way()).finish_non_exhaustive()
    }
}
