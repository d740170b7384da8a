//! When the connections of a server send their SETTINGS.

use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use grpc_proto::{Instant, Limits, Transmit};
use grpc_service::testing::MemoryHost;
use grpc_service::{Endpoint, Peer, Router, Server, ServerConnection, ServerOptions, TlsPeer};

fn accept(options: ServerOptions, peer: Peer) -> ServerConnection {
    Server::new(Router::new(), options, Rc::new(MemoryHost::new(1))).accept(peer)
}

/// What the connection says to `input` at a time in milliseconds.
fn drive(connection: &mut ServerConnection, mut input: &[u8], millis: u64) -> Vec<u8> {
    let mut out = Transmit::new();
    let mut cx = Context::from_waker(Waker::noop());
    let now = Instant::from_millis(millis);
    // An error is what these clients deserve; its output is what counts.
    let _ = connection.drive(&mut input, &mut out, &mut cx, now);
    out.chunks().flatten().copied().collect()
}

fn begins_with_settings(said: &[u8]) -> bool {
    said.get(3) == Some(&4)
}

#[test]
fn a_connection_holds_its_settings_until_its_timeout_or_its_clients_bytes() {
    let mut connection = accept(ServerOptions::default(), Peer::memory());
    assert_eq!(drive(&mut connection, b"", 0), b"");
    assert_eq!(connection.poll_timeout(), Some(Instant::from_millis(50)));
    assert!(begins_with_settings(&drive(&mut connection, b"", 50)));
    let mut connection = accept(ServerOptions::default(), Peer::memory());
    assert_eq!(drive(&mut connection, b"PR", 0), b"");
    assert!(begins_with_settings(&drive(&mut connection, b"I", 1)));
    let mut connection = accept(ServerOptions::default(), Peer::memory());
    let said = drive(&mut connection, b"GET / HTTP/1.1\r\n\r\n", 0);
    assert!(said.starts_with(b"HTTP/1.1 505 "), "{}", said.escape_ascii());
}

#[test]
fn a_connection_that_alpn_made_http2_sends_settings_at_once() {
    let mut limits = Limits::default();
    limits.settings_hold = Duration::from_secs(5);
    for http2 in [true, false] {
        let options = ServerOptions::new(limits.clone()).expect("consistent limits");
        let mut tls = TlsPeer::default();
        tls.http2 = http2;
        let mut connection = accept(options, Peer::memory().with_tls(Rc::new(tls)));
        assert_eq!(begins_with_settings(&drive(&mut connection, b"", 0)), http2);
    }
}
