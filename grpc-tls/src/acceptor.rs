//! The handshakes of one thread that serves: how many may be under way, and what they end in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use grpc_service::drive::Orders;
use grpc_service::{Endpoint, Peer, Server, Throttle};

use crate::error::TlsError;
use crate::gate::{Gate, Gated};
use crate::server::ServerTls;

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
}

struct Shared {
    /// The handshakes under way, the oldest first.
    under_way: RefCell<VecDeque<Rc<Gate>>>,
    reports: Throttle,
}

impl Acceptor {
    pub(crate) fn new(tls: ServerTls) -> Self {
        let shared = Shared { under_way: RefCell::default(), reports: Throttle::new(REPORTS) };
        Acceptor { tls, shared: Rc::new(shared) }
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
        let gate = Rc::new(Gate::default());
        let place = Place { gate: Rc::clone(&gate), shared: Rc::clone(&self.shared) };
        let owner = Rc::clone(server);
        let endpoint = self.tls.accept(server.host().now(), move |seen| match seen {
            Ok(tls) => {
                drop(place);
                Some(owner.accept(peer.with_tls(Rc::new(tls.clone()))))
            }
            Err(error) => {
                place.shared.report(&owner, &peer, error);
                None
            }
        })?;
        self.shared.enter(Rc::clone(&gate), self.tls.handshake_limit());
        Ok((endpoint, Gated::new(gate, orders)))
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
