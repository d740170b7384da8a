//! Runs a case against one connection, once with its input whole and many times with it cut at random, in
//! memory and, at a server, over a socket: events and output must be the same (rule 48 of the protocol rules).

use std::fmt::Debug;

use grpc_proto::{
    CallHead, CallKey, Client, CloseReason, Code, Config, Connection, ConnectionError, Instant,
    Limits, Metadata, Outcome, Reason, Role, Server, Status, Transmit, Violation, client, server,
};

use crate::link::{Link, Socket};
use crate::wire::{self, Reader, Sent};

/// Random segmentations of every case, of each kind of link.
const CUTS: u64 = 16;

/// One connection under test, and what came of it.
pub struct Bench<R: Role> {
    pub conn: Connection<R>,
    pub now: Instant,
    pub error: Option<ConnectionError>,
    cuts: Option<Random>,
    link: Link,
    reader: Reader,
    sent: Vec<Sent>,
    /// Everything that could be observed, in order.
    transcript: Vec<String>,
}

/// Runs a case at a server that has shaken hands.
pub fn server(case: impl Fn(&mut Bench<Server>)) {
    server_with(|_| {}, case);
}

/// The same with other limits.
pub fn server_with(change: impl Fn(&mut Limits), case: impl Fn(&mut Bench<Server>)) {
    raw_server(&change, |bench| {
        bench.feed([wire::PREFACE, &wire::settings(&[]), &wire::settings_ack()].concat());
        bench.sent();
        case(bench);
    });
}

/// Runs a case at a server that has not heard anything.
pub fn raw_server(change: impl Fn(&mut Limits), case: impl Fn(&mut Bench<Server>)) {
    run(change, &[memory, socket], case);
}

/// Runs a case at a client that has shaken hands.
pub fn client(case: impl Fn(&mut Bench<Client>)) {
    client_with(|_| {}, case);
}

/// The same with other limits.
pub fn client_with(change: impl Fn(&mut Limits), case: impl Fn(&mut Bench<Client>)) {
    raw_client(&change, |bench| {
        bench.feed([wire::settings(&[]), wire::settings_ack()].concat());
        bench.sent();
        case(bench);
    });
}

/// Runs a case at a client that has not heard anything.
pub fn raw_client(change: impl Fn(&mut Limits), case: impl Fn(&mut Bench<Client>)) {
    run(change, &[memory], case);
}

fn memory(_: u64) -> Link {
    Link::Memory
}

fn socket(seed: u64) -> Link {
    Link::Socket(Socket::connect(seed))
}

fn run<R: Role>(
    change: impl Fn(&mut Limits),
    links: &[fn(u64) -> Link],
    case: impl Fn(&mut Bench<R>),
) {
    let mut limits = Limits::default();
    change(&mut limits);
    let config = Config::new(limits).expect("limits");
    let mut whole: Option<Vec<String>> = None;
    let runs = links.iter().flat_map(|link| (0..=CUTS).map(move |seed| (link, seed)));
    for (link, seed) in runs {
        let mut bench = Bench {
            conn: Connection::new(&config, 7, Instant::ZERO),
            now: Instant::ZERO,
            error: None,
            cuts: (seed > 0).then_some(Random(seed)),
            link: link(seed),
            reader: Reader::new(),
            sent: Vec::new(),
            transcript: Vec::new(),
        };
        case(&mut bench);
        bench.sent();
        bench.check_reason();
        let over = match bench.link {
            Link::Memory => "memory",
            Link::Socket(socket) => {
                socket.close();
                "a socket"
            }
        };
        match &whole {
            None => whole = Some(bench.transcript),
            Some(whole) => {
                assert_eq!(&bench.transcript, whole, "over {over}, cut with seed {seed}");
            }
        }
    }
}

/// An event that owns what it tells.
pub trait Owned: Debug + PartialEq + Sized {
    type Role: Role;
    fn from_event(event: <Self::Role as Role>::Event<'_>) -> Self;
}

/// What a server saw.
#[derive(Debug, PartialEq)]
pub enum AtServer {
    Request {
        call: CallKey,
        path: String,
        authority: String,
        subtype: Option<String>,
        metadata: Metadata,
    },
    Message(CallKey, Vec<u8>),
    End(CallKey),
    Cancelled(CallKey, Reason),
    Writable(CallKey),
}

impl Owned for AtServer {
    type Role = Server;

    fn from_event(event: server::Event<'_>) -> Self {
        match event {
            server::Event::Request(call, head) => AtServer::Request {
                call,
                path: head.path().into(),
                authority: head.authority().into(),
                subtype: head.content_subtype().map(Into::into),
                metadata: head.metadata,
            },
            server::Event::Message(call, message) => {
                AtServer::Message(call, message.as_bytes().to_vec())
            }
            server::Event::End(call) => AtServer::End(call),
            server::Event::Cancelled(call, reason) => AtServer::Cancelled(call, reason),
            server::Event::Writable(call) => AtServer::Writable(call),
            other => panic!("unknown event {other:?}"),
        }
    }
}

/// What a client saw.
#[derive(Debug, PartialEq)]
pub enum AtClient {
    Headers(CallKey, Metadata),
    Message(CallKey, Vec<u8>),
    Status(CallKey, Outcome),
    Writable(CallKey),
    GoAway { last: u32, code: u32 },
}

impl Owned for AtClient {
    type Role = Client;

    fn from_event(event: client::Event<'_>) -> Self {
        match event {
            client::Event::Headers(call, metadata) => AtClient::Headers(call, metadata),
            client::Event::Message(call, message) => {
                AtClient::Message(call, message.as_bytes().to_vec())
            }
            client::Event::Status(call, outcome) => AtClient::Status(call, outcome),
            client::Event::Writable(call) => AtClient::Writable(call),
            client::Event::GoAway { last_stream, code } => {
                AtClient::GoAway { last: last_stream, code: code.0 }
            }
            other => panic!("unknown event {other:?}"),
        }
    }
}

impl<R: Role> Bench<R> {
    /// Feeds bytes, cut as this run wants it, and returns the events; output is pulled only where the
    /// connection asks for that before it reads on.
    fn feed_events<E: Owned<Role = R>>(&mut self, bytes: &[u8]) -> Vec<E> {
        let mut events = Vec::new();
        let mut rest = bytes;
        loop {
            let len = match &mut self.cuts {
                Some(random) => random.up_to(rest.len()),
                None => rest.len(),
            };
            let (piece, after) = rest.split_at(len);
            rest = after;
            match &self.link {
                Link::Memory => self.feed_piece(piece, &mut events),
                Link::Socket(socket) => socket.write(piece),
            }
            if rest.is_empty() {
                break;
            }
        }
        let mut left = bytes.len();
        while let Link::Socket(socket) = &mut self.link {
            // A read of nothing, where the case feeds nothing, lets the timers run.
            let piece = if left > 0 { socket.arrived(left) } else { Vec::new() };
            left -= piece.len();
            self.feed_piece(&piece, &mut events);
            if left == 0 {
                break;
            }
        }
        events
    }

    fn feed_piece<E: Owned<Role = R>>(&mut self, piece: &[u8], events: &mut Vec<E>) {
        let mut input = piece;
        loop {
            match self.conn.poll_event(&mut input, self.now) {
                Ok(Some(event)) => {
                    let event = E::from_event(event);
                    self.transcript.push(format!("{event:?}"));
                    events.push(event);
                }
                Ok(None) if input.is_empty() => return,
                Ok(None) => {
                    let before = self.sent.len();
                    self.pull();
                    assert!(self.sent.len() > before, "input is left, so output must be too");
                }
                Err(error) => {
                    if self.error.is_none() {
                        self.transcript.push(format!("{error:?}"));
                    }
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    /// Pulls all output.
    fn pull(&mut self) {
        let mut out = Transmit::new();
        loop {
            let reported = self.conn.has_output();
            self.conn.poll_transmit(&mut out, self.now);
            assert_eq!(reported, !out.is_empty(), "whether there is output");
            if out.is_empty() {
                return;
            }
            let bytes = match &mut self.link {
                Link::Memory => {
                    let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
                    out.advance(bytes.len());
                    bytes
                }
                Link::Socket(socket) => socket.carry(&mut out),
            };
            let sent = self.reader.read(&bytes);
            self.transcript.extend(sent.iter().map(|frame| format!("{frame:?}")));
            self.sent.extend(sent);
        }
    }

    /// Pulls all output and returns what was sent since the last look.
    pub fn sent(&mut self) -> Vec<Sent> {
        self.pull();
        std::mem::take(&mut self.sent)
    }

    /// What was sent on one stream since the last look; the rest is forgotten.
    pub fn sent_on(&mut self, stream: u32) -> Vec<Sent> {
        let mut sent = self.sent();
        sent.retain(|frame| frame.stream() == stream && stream != 0);
        sent
    }

    /// What has ended the connection is counted under its own name, and nothing is before an end.
    fn check_reason(&self) {
        let reason = self.conn.session().close_reason();
        match self.conn.session().error() {
            None => assert!(reason.is_none() || self.conn.is_drained(), "{reason:?}"),
            Some(ConnectionError::PeerMisbehaved(rule)) => {
                assert_eq!(reason.map(CloseReason::name), Some(&*format!("{rule:?}")));
            }
            Some(ConnectionError::TimedOut(what)) => {
                assert_eq!(reason.map(CloseReason::name), Some(&*format!("TimedOut{what:?}")));
            }
            Some(ConnectionError::Drained) => {
                use CloseReason::{Drained, MaxAge, MaxIdle, PeerGoAway};
                assert!(matches!(reason, Some(Drained | MaxAge | MaxIdle | PeerGoAway)));
            }
            Some(error) => assert_eq!(reason, Some(CloseReason::from(error))),
        }
    }

    /// The connection has ended for `violation`, and has said so in words.
    #[track_caller]
    pub fn expect_violation(&mut self, violation: Violation) {
        assert_eq!(self.error, Some(ConnectionError::PeerMisbehaved(violation)));
        assert_eq!(self.conn.session().error(), self.error.as_ref());
        self.expect_goaway(violation.code().0);
    }

    /// The last that was sent is a GOAWAY with `code` and a readable reason.
    #[track_caller]
    pub fn expect_goaway(&mut self, code: u32) {
        let sent = self.sent();
        let Some(Sent::GoAway { code: reported, debug, .. }) = sent.last() else {
            panic!("no GOAWAY at the end of {sent:?}");
        };
        assert_eq!((*reported, debug.len() > 8), (code, true), "{debug:?}");
    }

    /// The connection goes on: a PING is answered.
    #[track_caller]
    pub fn expect_open(&mut self) {
        assert_eq!(self.error, None);
        assert!(self.conn.session().error().is_none());
    }

    /// The given stream was reset with `code`, and nothing worse happened.
    #[track_caller]
    pub fn expect_reset(&mut self, stream: u32, code: u32) {
        let sent = self.sent();
        assert_eq!(self.error, None, "{sent:?}");
        let resets: Vec<_> =
            sent.iter().filter(|frame| matches!(frame, Sent::Reset { .. })).collect();
        assert_eq!(resets, [&Sent::Reset { stream, code }], "{sent:?}");
    }

    pub fn set_millis(&mut self, millis: u64) {
        self.now = Instant::from_millis(millis);
    }
}

impl Bench<Server> {
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<AtServer> {
        self.feed_events(bytes.as_ref())
    }

    /// Feeds a request's head and returns its key.
    #[track_caller]
    pub fn open(&mut self, stream: u32, flags: u8) -> CallKey {
        let events = self.feed(wire::headers(stream, flags, &wire::call()));
        match events.first() {
            Some(AtServer::Request { call, .. }) => *call,
            _ => panic!("no request: {events:?} {:?}", self.error),
        }
    }

    /// Answers with OK and no message.
    #[track_caller]
    pub fn finish(&mut self, call: CallKey) {
        self.conn.finish(call, &Status::OK, &Metadata::new()).expect("a live call");
    }

    /// A well-behaved call on `stream` succeeds.
    #[track_caller]
    pub fn expect_service(&mut self, stream: u32) {
        self.expect_open();
        self.sent();
        let request = [
            wire::headers(stream, 0, &wire::call()),
            wire::data(stream, wire::END_STREAM, &wire::message(b"hello")),
        ];
        let events = self.feed(request.concat());
        let [AtServer::Request { call, .. }, AtServer::Message(_, body), AtServer::End(_)] =
            &events[..]
        else {
            panic!("not served: {events:?} {:?}", self.error);
        };
        self.conn.send_encoded(*call, body.clone().into(), false).expect("room");
        self.finish(*call);
        let sent = self.sent_on(stream);
        let body: Vec<u8> = sent
            .iter()
            .filter_map(|frame| match frame {
                Sent::Data { payload, .. } => Some(&payload[..]),
                _ => None,
            })
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(body, wire::message(b"hello"));
        assert_eq!(sent.last().and_then(|frame| frame.field("grpc-status")), Some("0"), "{sent:?}");
    }
}

impl Bench<Client> {
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<AtClient> {
        self.feed_events(bytes.as_ref())
    }

    /// Begins a call whose head is sent, and which is not half-closed.
    #[track_caller]
    pub fn open(&mut self) -> CallKey {
        let call = self.start();
        self.sent();
        call
    }

    /// Begins a call and pulls nothing.
    #[track_caller]
    pub fn start(&mut self) -> CallKey {
        let head = CallHead::new("/test.Echo/Unary", "localhost");
        self.conn.call(&head, None, self.now).expect("a call")
    }

    /// Begins a call that is half-closed after one message.
    #[track_caller]
    pub fn ask(&mut self) -> CallKey {
        let call = self.start();
        self.conn.send_encoded(call, (&b"hello"[..]).into(), false).expect("room");
        self.conn.end(call).expect("an open call");
        self.sent();
        call
    }

    /// A well-behaved call that will get `stream` succeeds.
    #[track_caller]
    pub fn expect_service(&mut self, stream: u32) {
        self.expect_open();
        let call = self.start();
        self.conn.end(call).expect("an open call");
        let sent = self.sent_on(stream);
        assert!(!sent.is_empty(), "the call was not sent on {stream}");
        let answer = [
            wire::headers(stream, 0, &wire::response()),
            wire::data(stream, 0, &wire::message(b"hello")),
            wire::headers(stream, wire::END_STREAM, &wire::trailers("0")),
        ];
        let events = self.feed(answer.concat());
        assert_eq!(events[1], AtClient::Message(call, b"hello".to_vec()));
        assert_eq!(outcome(&events).status.code(), Code::Ok);
    }
}

/// The one outcome among a client's events.
#[track_caller]
pub fn outcome(events: &[AtClient]) -> &Outcome {
    let mut found = events.iter().filter_map(|event| match event {
        AtClient::Status(_, outcome) => Some(outcome),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(outcome), None) => outcome,
        _ => panic!("not one outcome: {events:?}"),
    }
}

/// The code of the one outcome among a client's events.
#[track_caller]
pub fn code(events: &[AtClient]) -> Code {
    outcome(events).status.code()
}

/// The one cancellation among a server's events.
#[track_caller]
pub fn cancelled(events: &[AtServer]) -> &Reason {
    let mut found = events.iter().filter_map(|event| match event {
        AtServer::Cancelled(_, reason) => Some(reason),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(reason), None) => reason,
        _ => panic!("not one cancellation: {events:?}"),
    }
}

/// Small numbers from a seed (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    /// A length of the next piece: often small, at most `len`, at least 1 unless that is 0.
    pub fn up_to(&mut self, len: usize) -> usize {
        let shape = self.next();
        let most = match shape % 4 {
            0 => 1,
            1 => 4,
            2 => 20,
            _ => len,
        };
        match most.min(len) {
            0 => 0,
            most => 1 + (self.next() % most as u64) as usize,
        }
    }
}
