//! A client's attempt to connect: it lasts until the server has taken the handshake.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::drive::Orders;
use grpc_service::{ClientConnection, ConnectError, Endpoint, TlsPeer};

use crate::client::ClientTls;
use crate::endpoint::TlsEndpoint;
use crate::error::TlsError;
use crate::gate::{Gate, Gated};

/// Completes when the server has taken the handshake and sent its first data, or with the reason why it has not.
///
/// The connection must be driven meanwhile. To drop the attempt before its end ends the connection.
#[must_use = "a dropped attempt ends its connection"]
pub struct Attempt {
    shared: Rc<Shared>,
    gate: Rc<Gate>,
}

#[derive(Default)]
struct Shared {
    settled: Cell<bool>,
    outcome: Cell<Option<Result<(), ConnectError>>>,
    waiting: RefCell<Option<Waker>>,
}

impl ClientTls {
    /// What to drive for `connection` to the server at `address` (a host, with or without a port), the orders to drive it
    /// with, and what tells when it is ready; for adapters.
    ///
    /// # Errors
    /// The host in `address` is neither a DNS name nor an IP address, or the configuration cannot be used.
    pub fn attempt<O: Orders>(
        &self,
        address: &str,
        connection: ClientConnection,
        now: Instant,
        orders: O,
    ) -> Result<(impl Endpoint + use<O>, impl Orders + use<O>, Attempt), ConnectError> {
        let (shared, gate) = (Rc::new(Shared::default()), Rc::new(Gate::default()));
        let endpoint = self
            .connect(host_of(address), now, move |peer| peer.is_ok().then_some(connection))
            .map_err(|error| ConnectError::new(format!("{address}: {error}")))?;
        let reporter = Reporter {
            shared: Rc::clone(&shared),
            gate: Rc::clone(&gate),
            address: address.to_owned(),
        };
        let endpoint = Watched { tls: endpoint, reporter: Some(reporter) };
        let attempt = Attempt { shared, gate: Rc::clone(&gate) };
        Ok((endpoint, Gated::new(gate, orders), attempt))
    }
}

impl Shared {
    /// Sets the outcome, once.
    fn settle(&self, outcome: Result<(), ConnectError>) {
        self.settled.set(true);
        self.outcome.set(Some(outcome));
        let waiting = self.waiting.take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// Reports an outcome at the latest when it is dropped, as by a panic of the task that drives the connection.
struct Reporter {
    shared: Rc<Shared>,
    gate: Rc<Gate>,
    address: String,
}

impl Reporter {
    fn settle(self, outcome: Result<(), &TlsError>) {
        let outcome =
            outcome.map_err(|error| ConnectError::new(format!("{}: {error}", self.address)));
        self.shared.settle(outcome);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.gate.open();
        if !self.shared.settled.get() {
            let text =
                format!("{}: the connection ended before the server said anything", self.address);
            self.shared.settle(Err(ConnectError::new(text)));
        }
    }
}

/// A connection behind TLS that reports when the server has taken it: with its first data, since a server that refuses a
/// client's certificate says so after the client's part of the handshake.
struct Watched<S> {
    tls: TlsEndpoint<ClientConnection, S>,
    reporter: Option<Reporter>,
}

impl<S> Watched<S>
where
    S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<ClientConnection>,
{
    fn watch(&mut self, driven: Result<(), ConnectionError>) -> Result<(), ConnectionError> {
        if self.reporter.is_some() {
            let outcome = match self.tls.error() {
                Some(error) => Some(Err(error)),
                None if self.tls.has_received() => Some(Ok(())),
                None => None,
            };
            if let Some(outcome) = outcome
                && let Some(reporter) = self.reporter.take()
            {
                reporter.settle(outcome);
            } else if driven.is_err() {
                self.reporter = None;
            }
        }
        driven
    }
}

impl<S> Endpoint for Watched<S>
where
    S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<ClientConnection>,
{
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let driven = self.tls.drive(input, out, cx, now);
        self.watch(driven)
    }

    fn drive_in_place(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let driven = self.tls.drive_in_place(input, out, cx, now);
        self.watch(driven)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.tls.poll_timeout()
    }

    fn note_delivery(&mut self, now: Instant) {
        self.tls.note_delivery(now);
    }

    fn close_read(&mut self, now: Instant) {
        self.tls.close_read(now);
    }

    fn shutdown(&mut self, now: Instant) {
        self.tls.shutdown(now);
    }

    fn abort(&mut self, now: Instant) {
        self.tls.abort(now);
    }

    fn is_drained(&self) -> bool {
        self.tls.is_drained()
    }

    fn is_trimmed(&self) -> bool {
        self.tls.is_trimmed()
    }
}

impl Future for Attempt {
    type Output = Result<(), ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.shared.outcome.take() {
            return Poll::Ready(outcome);
        }
        let old = self.shared.waiting.replace(Some(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.gate.close();
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").finish_non_exhaustive()
    }
}

/// The host of an address, without its port.
fn host_of(address: &str) -> &str {
    if address.starts_with("unix:") {
        // A socket's path names no host, and such an address has the authority `localhost`.
        return "localhost";
    }
    match address.rsplit_once(':') {
        // An IPv6 address without brackets has no port.
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_of_an_address_is_what_stands_before_its_port() {
        for (address, host) in [
            ("example.org:443", "example.org"),
            ("example.org", "example.org"),
            ("192.0.2.1:1", "192.0.2.1"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("2001:db8::1", "2001:db8::1"),
            ("unix:/run/a:b", "localhost"),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }
}
