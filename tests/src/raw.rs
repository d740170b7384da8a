//! Clients of the core over a blocking socket, for tests that are rude to a server.

use std::io::Write;
use std::net::TcpStream;

use grpc_proto::{CallHead, Client, Config, Connection, Instant, Limits, Transmit};

/// A PRIORITY frame: it shows that the peer lives, and asks for no answer.
pub const PRIORITY: [u8; 14] = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
/// A SETTINGS frame that acknowledges the server's.
pub const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
/// The type of a HEADERS frame.
pub const HEADERS: u8 = 1;
/// The type of a GOAWAY frame.
pub const GOAWAY: u8 = 7;

/// A client whose windows are as large as they can be.
///
/// # Panics
/// Never: the limits are consistent.
pub fn open_wide() -> Connection<Client> {
    let mut limits = Limits::default();
    (limits.stream_window, limits.connection_window) = (0x7fff_ffff, 0x7fff_ffff);
    let config = Config::new(limits).expect("limits");
    Connection::new(&config, 0, Instant::ZERO)
}

/// Writes the output of a client.
///
/// # Panics
/// When the server does not read.
pub fn say(peer: &mut Connection<Client>, socket: &mut TcpStream) {
    while peer.has_output() {
        let mut out = Transmit::new();
        peer.poll_transmit(&mut out, Instant::ZERO);
        for chunk in out.chunks() {
            socket.write_all(chunk).expect("the server reads");
        }
    }
}

/// Calls `Repeat` for so many messages of 500 bytes, at most 2²¹ − 1.
///
/// # Panics
/// When the client has no room for the call.
pub fn ask(peer: &mut Connection<Client>, count: u32) {
    let now = Instant::ZERO;
    let mut blob = vec![0x0a, 0xf4, 0x03];
    blob.extend([7; 500]);
    blob.push(0x10);
    let septet = |shift: u32| (count >> shift & 0x7f) as u8;
    blob.extend([septet(0) | 0x80, septet(7) | 0x80, septet(14)]);
    let call = peer.call(&CallHead::new("/bytes.Bytes/Repeat", "localhost"), None, now);
    let call = call.expect("room for a call");
    peer.send_encoded(call, blob.into(), false).expect("room for a message");
    peer.end(call).expect("the end");
}

/// The types of the frames that were received.
///
/// # Panics
/// When the last one is cut.
pub fn kinds(heard: &[u8]) -> Vec<u8> {
    let (mut rest, mut kinds) = (heard, Vec::new());
    while let [a, b, c, kind, ..] = *rest {
        rest = &rest[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
        kinds.push(kind);
    }
    assert!(rest.is_empty(), "{rest:?}");
    kinds
}
