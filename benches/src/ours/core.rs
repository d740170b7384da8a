//! The core alone: two connections that hand each other bytes, and no async layer.

use bytes::Bytes;
use grpc_proto::{
    CallHead, Client, Code, Config, Connection, Instant, Limits, Message, Metadata, Payload,
    Server, Status, Transmit, client, server,
};

use crate::exchange::{self, Varying};

/// A connected pair.
pub struct Pair {
    client: Side<Client>,
    server: Side<Server>,
    wire: Vec<u8>,
    now: Instant,
    message: Bytes,
    metadata: Metadata,
    varying: Option<Varying>,
    finished: u64,
    waiting: u64,
}

/// One connection and the output that it has not handed over yet.
struct Side<R: grpc_proto::Role> {
    connection: Connection<R>,
    out: Transmit,
}

impl Pair {
    /// Connects client and server, whose messages both have `body` bytes; `varying` calls carry a timeout and a trace id.
    pub fn new(body: usize, varying: bool) -> Self {
        let config = Config::new(limits()).expect("consistent limits");
        let now = Instant::from_nanos(0);
        Self {
            client: Side { connection: Connection::new(&config, 1, now), out: Transmit::new() },
            server: Side { connection: Connection::new(&config, 2, now), out: Transmit::new() },
            wire: Vec::new(),
            now,
            message: exchange::for_good(exchange::body(body).collect()),
            metadata: Metadata::new(),
            varying: varying.then(Varying::new),
            finished: 0,
            waiting: 0,
        }
    }

    /// Makes `calls` calls, with as many in flight as the benchmark has, and checks each reply's size and status.
    pub fn run(&mut self, calls: u64) {
        let started = calls.min(exchange::IN_FLIGHT as u64);
        (self.finished, self.waiting) = (0, calls - started);
        for _ in 0..started {
            self.call();
        }
        while self.finished < calls {
            // A turn of an event loop takes time, and reads the clock once.
            self.now = self.now + std::time::Duration::from_micros(10);
            let moved = self.client_to_server() | self.server_to_client();
            assert!(moved, "both sides wait for each other");
        }
    }

    fn call(&mut self) {
        let mut deadline = None;
        if let Some(varying) = &mut self.varying {
            self.metadata.clear();
            let trace = varying.trace_id();
            let trace = std::str::from_utf8(&trace).expect("digits");
            self.metadata.append(exchange::TRACE_FIELD, trace).expect("a valid entry");
            deadline = Some(self.now + std::time::Duration::from_micros(varying.remaining_us()));
        }
        let mut head = CallHead::new(exchange::PATH, exchange::AUTHORITY);
        head.user_agent = exchange::REQUEST_FIELDS[2].1;
        head.metadata = Some(&self.metadata);
        let connection = &mut self.client.connection;
        let call = connection.call(&head, deadline, self.now).expect("room for a call");
        connection.send_encoded(call, self.message.clone(), false).expect("room for a message");
        connection.end(call).expect("the call is open");
    }

    /// Carries what the client has to say; the server answers each request when it is complete.
    fn client_to_server(&mut self) -> bool {
        let mut moved = false;
        while self.client.pull(&mut self.wire, self.now) {
            moved = true;
            self.serve();
        }
        moved
    }

    /// The server takes what is on the wire.
    fn serve(&mut self) {
        let mut input = &self.wire[..];
        let Side { connection, out } = &mut self.server;
        loop {
            match connection.poll_event(&mut input, self.now).expect("the connection stays") {
                Some(server::Event::Request(_, head)) => {
                    assert_eq!(head.path(), exchange::PATH);
                    connection.recycle_metadata(head.metadata);
                }
                Some(server::Event::Message(_, message)) => {
                    assert_eq!(message.len(), self.message.len());
                    give_back(connection, message);
                }
                Some(server::Event::End(call)) => {
                    connection
                        .send_encoded(call, self.message.clone(), false)
                        .expect("room for a message");
                    connection
                        .finish(call, &Status::OK, &Metadata::new())
                        .expect("the call is open");
                }
                Some(event) => panic!("unexpected: {event:?}"),
                None if input.is_empty() => return,
                None => connection.poll_transmit(out, self.now),
            }
        }
    }

    /// Carries what the server has to say; for each call that ends, the client starts another while any waits.
    fn server_to_client(&mut self) -> bool {
        let mut moved = false;
        while self.server.pull(&mut self.wire, self.now) {
            moved = true;
            self.receive();
        }
        moved
    }

    /// The client takes what is on the wire.
    fn receive(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        let mut input = &wire[..];
        loop {
            let Side { connection, out } = &mut self.client;
            match connection.poll_event(&mut input, self.now).expect("the connection stays") {
                Some(client::Event::Headers(_, metadata)) => connection.recycle_metadata(metadata),
                Some(client::Event::Message(_, message)) => {
                    assert_eq!(message.len(), self.message.len());
                    give_back(connection, message);
                }
                Some(client::Event::Status(_, outcome)) => {
                    assert_eq!(outcome.status.code(), Code::Ok);
                    connection.recycle_metadata(outcome.trailers);
                    self.finished += 1;
                    if self.waiting > 0 {
                        self.waiting -= 1;
                        self.call();
                    }
                }
                Some(event) => panic!("unexpected: {event:?}"),
                None if input.is_empty() => break,
                None => connection.poll_transmit(out, self.now),
            }
        }
        self.wire = wire;
    }
}

impl<R: grpc_proto::Role> Side<R> {
    /// Moves one batch of output into `wire`, as a write to a socket copies it; returns whether there was any.
    fn pull(&mut self, wire: &mut Vec<u8>, now: Instant) -> bool {
        wire.clear();
        self.connection.poll_transmit(&mut self.out, now);
        for chunk in self.out.chunks() {
            wire.extend_from_slice(chunk);
        }
        self.out.clear();
        !wire.is_empty()
    }
}

fn give_back<R: grpc_proto::Role>(connection: &mut Connection<R>, message: Message<'_>) {
    if let Payload::Assembled(buffer) = message.payload {
        connection.recycle(buffer);
    }
}

/// The windows of the comparison, and room for its calls.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stream_window = exchange::STREAM_WINDOW;
    limits.connection_window = exchange::CONNECTION_WINDOW;
    limits.max_concurrent_streams = 2 * exchange::IN_FLIGHT as u32;
    limits
}
