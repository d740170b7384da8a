//! What the connection says of its own memory, held against the allocator's count byte for byte.

use std::time::Duration;

use bytes::Bytes;
use grpc_proto::{
    CallHead, CallKey, Client, Config, Connection, Instant, Limits, Metadata, Payload, Role,
    Server, Status, Transmit, server,
};

use crate::counting::live;
use crate::wire::{self, *};

/// A connection and its output, and what lived before them. Frames are built before one is made, so that they are
/// on nobody's account.
struct Measured<R: Role> {
    conn: Connection<R>,
    out: Transmit,
    base: isize,
    now: Instant,
    call: Option<CallKey>,
}

impl<R: Role> Measured<R> {
    fn new(config: &Config) -> Self {
        let base = live();
        let conn = Connection::new(config, 1, Instant::ZERO);
        Measured { conn, out: Transmit::new(), base, now: Instant::ZERO, call: None }
    }

    /// What connection and output say of themselves is what the allocator counts.
    #[track_caller]
    fn compare(&self) {
        let counted = live() - self.base;
        let reported = (self.conn.heap_bytes() + self.out.heap_bytes()) as isize;
        assert_eq!(reported, counted);
    }

    /// Takes output away, a part of it first.
    #[track_caller]
    fn pull(&mut self) {
        self.conn.poll_transmit(&mut self.out, self.now);
        self.compare();
        self.out.advance(self.out.len() / 2);
        self.compare();
        self.out.advance(self.out.len());
        self.compare();
    }
}

impl Measured<Server> {
    /// Feeds bytes and takes the events, giving back what they hold.
    #[track_caller]
    fn feed(&mut self, mut input: &[u8]) {
        while let Some(event) = self.conn.poll_event(&mut input, self.now).expect("no error") {
            match event {
                server::Event::Request(call, head) => {
                    self.call = Some(call);
                    self.conn.recycle_metadata(head.metadata);
                }
                server::Event::Message(_, message) => {
                    if let Payload::Assembled(buf) = message.payload {
                        self.conn.recycle(buf);
                    }
                }
                _ => {}
            }
        }
        self.compare();
    }
}

impl Measured<Client> {
    /// Feeds bytes and drops the events.
    #[track_caller]
    fn feed(&mut self, mut input: &[u8]) {
        while self.conn.poll_event(&mut input, self.now).expect("no error").is_some() {}
        self.compare();
    }

    #[track_caller]
    fn call(&mut self, head: &CallHead<'_>, deadline: Option<Instant>) -> CallKey {
        let call = self.conn.call(head, deadline, self.now).expect("a call");
        self.compare();
        call
    }
}

/// Odd identifiers from 1 on.
fn id(n: usize) -> u32 {
    2 * n as u32 + 1
}

const SMALL: Bytes = Bytes::from_static(&[7; 300]);
const LARGE: Bytes = Bytes::from_static(&[7; 20_000]);

#[test]
fn subtypes_are_counted_until_the_response_headers_are_queued() {
    let hello = [PREFACE, &settings(&[]), &settings_ack()].concat();
    let heads = |subtype: &str| -> Vec<_> {
        let block = wire::call_but("content-type", &format!("application/grpc{subtype}"));
        (0..40).map(|n| headers(id(n), 0, &block)).collect()
    };
    let (plain, typed) = (heads(""), heads(&format!("+{}", "a".repeat(64))));
    let status = Status::new(grpc_proto::Code::Aborted, "no");
    let held = |heads: &[Vec<u8>]| {
        let mut calls = Vec::with_capacity(heads.len());
        let mut server = Measured::<Server>::new(&Config::default());
        server.feed(&hello);
        for head in heads {
            server.feed(head);
            server.pull();
            calls.push(server.call.expect("a request"));
        }
        let held = server.conn.heap_bytes();
        for call in calls.iter().take(20) {
            server.conn.send_encoded(*call, SMALL, false).expect("room");
            server.compare();
        }
        for call in calls.iter().skip(20) {
            server.conn.finish(*call, &status, &Metadata::new()).expect("an open call");
            server.compare();
        }
        held
    };
    let remembered = held(&typed) - held(&plain);
    // "application/grpc+" and 64 bytes a call; lists that are kept for reuse and memos may be larger by as much.
    assert!((40 * 81..60 * 81).contains(&remembered), "{remembered} bytes");
}

#[test]
fn a_server_tells_of_every_byte_that_it_holds() {
    let config = Config::default();
    let hello = [PREFACE, &settings(&[(4, 1 << 20)]), &settings_ack()].concat();
    // Lists of all lengths, with deadlines, and with entries for the table.
    let heads: Vec<_> = (0..50)
        .map(|n| {
            let long = "v".repeat(7 * n);
            let mut block = wire::call_with(&[("grpc-timeout", "100S"), ("x-long", &long)]);
            block.extend(literal(0x40, b"x-kept", n.to_string().as_bytes()));
            headers(id(n), 0, &block)
        })
        .collect();
    let whole = message(&[7; 90_000]);
    let part = |n, bytes| data(id(n), 0, bytes);
    let parts: Vec<Vec<_>> =
        whole.chunks(10_000).map(|bytes| (0..4).map(|n| part(n, bytes)).collect()).collect();
    let half_closes: Vec<_> = (0..50).map(|n| data(id(n), END_STREAM, b"")).collect();
    let block = [
        frame(HEADERS, END_STREAM, id(50), &wire::call()),
        frame(CONTINUATION, END_HEADERS, id(50), b""),
    ]
    .concat();
    let malformed = headers(id(51), 0, b"\x82");
    let credit = [window_update(0, 1 << 24), window_update(id(0), 1 << 24)].concat();
    let farewell = frame(GOAWAY, 0, 0, &[&[0; 8][..], &[b'x'; 100]].concat());
    let status = Status::new(grpc_proto::Code::Internal, "why it failed");
    let mut trailers = Metadata::new();
    trailers.append("x-trailer", "value").unwrap();

    let mut calls = Vec::with_capacity(50);
    let mut side: Measured<Server> = Measured::new(&config);
    side.compare();
    side.feed(&hello);
    side.pull();
    for head in &heads {
        // In pieces, so that it is gathered.
        side.feed(&head[..20]);
        side.feed(&head[20..]);
        calls.push(side.call.take().expect("a request"));
        side.pull();
    }
    // Messages that are gathered, within the window and beyond.
    for piece in parts.iter().flatten() {
        side.feed(piece);
        side.pull();
    }
    // Output by copy and by handle that waits for the connection's window.
    let compressed = server::ResponseHead { encoding: Some("gzip"), ..Default::default() };
    for call in &calls[..8] {
        side.conn.respond(*call, &compressed).unwrap();
        side.conn.send_encoded(*call, SMALL, false).unwrap();
        side.compare();
        side.conn.send_compressed(*call, &LARGE).unwrap();
        side.compare();
        side.conn.send_encoded(*call, SMALL.slice(..100), false).unwrap();
        side.compare();
        side.pull();
        side.conn.send_encoded(*call, LARGE, false).unwrap();
        side.compare();
        side.pull();
    }
    // Heads and trailers that wait.
    for (n, call) in calls.iter().enumerate() {
        if n >= 40 {
            side.conn.headers(*call, &trailers).unwrap();
            side.compare();
        }
        match n % 3 {
            0 => side.conn.finish(*call, &status, &trailers).unwrap(),
            1 => side.conn.finish(*call, &Status::OK, &Metadata::new()).unwrap(),
            _ => side.conn.release(*call),
        }
        side.compare();
    }
    side.feed(&block[..30]);
    side.feed(&block[30..]);
    side.conn.release(side.call.take().expect("a request"));
    side.feed(&malformed);
    side.feed(&farewell);
    side.feed(&credit);
    for half_close in &half_closes {
        side.feed(half_close);
    }
    while side.conn.has_output() {
        side.pull();
    }
    assert_eq!(side.conn.open_calls(), 0);
    side.now = Instant::from_millis(5_000);
    side.feed(b"");
    side.pull();
    side.out.shrink(0);
    side.compare();
    assert!(side.out.heap_bytes() == 0);
}

#[test]
fn a_client_tells_of_every_byte_that_it_holds() {
    let config = Config::default();
    let hello = [settings(&[(3, 12)]), settings_ack()].concat();
    let paths: Vec<_> = (0..12).map(|n| format!("/test.Service/{}", "m".repeat(n))).collect();
    let mut metadata = Metadata::new();
    metadata.append("x-id", "4711").unwrap();
    let answers: Vec<_> = (0..24)
        .map(|n| {
            let mut block = wire::response();
            block.extend(literal(0x40, b"x-kept", n.to_string().as_bytes()));
            [
                headers(id(n), 0, &block),
                data(id(n), 0, &message(&[7; 12_000])),
                headers(id(n), END_STREAM, &wire::trailers("0")),
            ]
            .concat()
        })
        .collect();

    let mut calls = Vec::with_capacity(24);
    let mut side: Measured<Client> = Measured::new(&config);
    side.compare();
    for path in paths.iter().chain(&paths) {
        let mut head = CallHead::new(path, "localhost");
        head.user_agent = "measured";
        head.metadata = Some(&metadata);
        (head.encoding, head.accept_encoding) = (Some("gzip"), Some("gzip,identity"));
        let deadline = Instant::ZERO + Duration::from_secs(calls.len() as u64 + 100);
        calls.push(side.call(&head, Some(deadline)));
        side.conn.send_encoded(calls[calls.len() - 1], SMALL.slice(..100), false).unwrap();
        side.compare();
    }
    side.feed(&hello);
    side.pull();
    for answer in &answers {
        for piece in answer.chunks(5_000) {
            side.feed(piece);
        }
        side.pull();
    }
    assert_eq!(side.conn.open_calls(), 0);
    side.now = Instant::from_millis(5_000);
    side.feed(b"");
    side.compare();
}

/// The terms of `docs/limits.md`, one by one: what a step of each limit adds to the bound.
#[test]
fn the_bound_grows_with_each_limit_as_its_documentation_says() {
    let by = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits.memory_bound() as i64 - Limits::default().memory_bound() as i64
    };
    assert_eq!(by(|limits| limits.header_table_size += 1000), 2 * 1000);
    assert_eq!(by(|limits| limits.header_table_size = 0), 0, "4096 hold until SETTINGS are seen");
    assert_eq!(by(|limits| limits.encoder_table_size += 1000), 3 * 1000);
    assert_eq!(by(|limits| limits.max_frame_size += 1000), 2 * 2 * 1000);
    // A list that is gathered, twice over, one that is decoded, and one for each stream.
    assert_eq!(by(|limits| limits.max_header_list_size += 1000), (2 * 2 + 2 + 100) * 1000);
    assert_eq!(by(|limits| limits.max_pending_replies += 1000), 34 * 1000);
    assert_eq!(by(|limits| limits.assembly_budget += 1000), 1000);
    assert_eq!(by(|limits| limits.pool_bytes += 1000), 1000);
    assert_eq!(by(|limits| limits.stream_window += 1000), 100 * 1000);
    assert_eq!(by(|limits| limits.stream_window = 0), 0, "65,535 hold until SETTINGS are seen");
    let stream = by(|limits| limits.max_concurrent_streams += 1);
    let records = stream - (16_384 + 65_535 + 1);
    assert!((256..2048).contains(&records), "{records} bytes of records");
    let mut least = Limits::default();
    least.max_concurrent_streams = 0;
    least.max_header_list_size = 0;
    (least.max_frame_size, least.encoder_table_size, least.max_pending_replies) = (0, 0, 0);
    (least.assembly_budget, least.pool_bytes) = (0, 0);
    assert_eq!(least.memory_bound(), (128 << 10) + 2 * 4096);
}
