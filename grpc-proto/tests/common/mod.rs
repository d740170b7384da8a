//! A client and a server in memory, with virtual time.
#![allow(dead_code, unreachable_pub)]

use bytes::Bytes;
use grpc_proto::{
    CallHead, CallKey, Client, Config, Connection, ConnectionError, Instant, Limits, Metadata,
    Role, Server, Status, Transmit, client, server,
};

/// Two ends and the bytes between them.
pub struct Pair {
    pub client: Connection<Client>,
    pub server: Connection<Server>,
    pub now: Instant,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    pub fn new() -> Self {
        Pair::with(|_| {}, |_| {})
    }

    pub fn with(client: impl FnOnce(&mut Limits), server: impl FnOnce(&mut Limits)) -> Self {
        Pair {
            client: Connection::new(&config(client), 1, Instant::ZERO),
            server: Connection::new(&config(server), 2, Instant::ZERO),
            now: Instant::ZERO,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Moves bytes both ways until nothing moves any more; `serve` sees the server's events.
    pub fn run(
        &mut self,
        mut serve: impl FnMut(&mut Connection<Server>, server::Event<'_>, Instant),
    ) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let mut moved = pull(&mut self.client, &mut self.to_server, self.now);
            moved |= feed(&mut self.server, &mut self.to_server, self.now, |conn, event, now| {
                serve(conn, event, now)
            });
            moved |= pull(&mut self.server, &mut self.to_client, self.now);
            moved |= feed(&mut self.client, &mut self.to_client, self.now, |_, event, _| {
                seen.push(Seen::from(event));
            });
            if !moved {
                return seen;
            }
        }
    }

    pub fn call(&mut self, path: &str) -> CallKey {
        self.client.call(&CallHead::new(path, "localhost"), None, self.now).expect("a call")
    }
}

/// A client's event, owned.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Headers(CallKey, Metadata),
    Message(CallKey, Vec<u8>),
    Status(CallKey, client::Outcome),
    Writable(CallKey),
    GoAway(u32),
}

impl From<client::Event<'_>> for Seen {
    fn from(event: client::Event<'_>) -> Self {
        match event {
            client::Event::Headers(call, metadata) => Seen::Headers(call, metadata),
            client::Event::Message(call, message) => {
                Seen::Message(call, message.as_bytes().to_vec())
            }
            client::Event::Status(call, outcome) => Seen::Status(call, outcome),
            client::Event::Writable(call) => Seen::Writable(call),
            client::Event::GoAway { last_stream, .. } => Seen::GoAway(last_stream),
            other => panic!("unknown event {other:?}"),
        }
    }
}

pub fn config(change: impl FnOnce(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    Config::new(limits).expect("limits")
}

/// Pulls all output into `wire`.
pub fn pull<R: Role>(conn: &mut Connection<R>, wire: &mut Vec<u8>, now: Instant) -> bool {
    let mut out = Transmit::new();
    let mut moved = false;
    loop {
        conn.poll_transmit(&mut out, now);
        if out.is_empty() {
            return moved;
        }
        moved = true;
        let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
        out.advance(bytes.len());
        wire.extend(bytes);
    }
}

/// Feeds all of `wire`, pulling nothing; what the connection leaves stays.
pub fn feed<R: Role>(
    conn: &mut Connection<R>,
    wire: &mut Vec<u8>,
    now: Instant,
    mut on_event: impl FnMut(&mut Connection<R>, R::Event<'_>, Instant),
) -> bool {
    let bytes = std::mem::take(wire);
    let mut input = &bytes[..];
    let mut moved = !input.is_empty();
    loop {
        match conn.poll_event(&mut input, now) {
            Ok(Some(event)) => {
                moved = true;
                on_event(conn, event, now);
            }
            Ok(None) => break,
            Err(_) => {
                input = &[];
                break;
            }
        }
    }
    *wire = input.to_vec();
    moved
}

/// Runs a connection that should have failed to its error.
pub fn error_of<R: Role>(conn: &mut Connection<R>, now: Instant) -> ConnectionError {
    loop {
        match conn.poll_event(&mut &[][..], now) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the connection goes on"),
            Err(error) => return error,
        }
    }
}

/// Echoes every message and finishes with OK at the client's end.
pub fn echo(conn: &mut Connection<Server>, event: server::Event<'_>, _now: Instant) {
    match event {
        server::Event::Message(call, message) => {
            conn.send_encoded(call, Bytes::copy_from_slice(message.as_bytes()), false)
                .expect("room");
        }
        server::Event::End(call) => {
            conn.finish(call, &Status::OK, &Metadata::new()).expect("a live call")
        }
        server::Event::Cancelled(call, _) => conn.release(call),
        _ => {}
    }
}
