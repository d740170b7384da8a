//! A server under attack, and the handlers behind it: as little of its own memory as possible, so that what
//! the allocator counts is the connection's.

use bytes::Bytes;
use grpc_proto::{
    CallKey, Config, Connection, ConnectionError, ErrorCode, Instant, Limits, Metadata, Reason,
    Server, Status, Transmit, Violation, server,
};

use crate::counting;
use crate::wire::{self, *};

/// What the handlers do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Handlers {
    /// Let go of a call that is over; answer a finished request with nothing.
    Prompt,
    /// Never finish and never let go.
    Stuck,
}

pub struct Victim {
    pub conn: Connection<Server>,
    pub now: Instant,
    pub error: Option<ConnectionError>,
    pub handlers: Handlers,
    /// Calls that handlers were given and have not let go of, and the most at once.
    pub running: usize,
    pub most_running: usize,
    pub cancelled: Vec<Reason>,
    pub messages: usize,
    pub ended: usize,
    pub last_call: Option<CallKey>,
    /// The connection allocates from here on.
    base: isize,
    out: Transmit,
    /// RST_STREAM frames and their last code.
    pub resets_sent: u64,
    /// All places are taken by handlers that are stuck: a neighbour needs another connection.
    pub is_crowded: bool,
    reader: Reader,
    bound: u64,
}

impl Victim {
    pub fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let bound = limits.memory_bound();
        let config = Config::new(limits).expect("limits");
        let base = counting::live();
        counting::reset_peak();
        let mut victim = Victim {
            conn: Connection::new(&config, 7, Instant::ZERO),
            now: Instant::ZERO,
            error: None,
            handlers: Handlers::Prompt,
            running: 0,
            most_running: 0,
            cancelled: Vec::new(),
            messages: 0,
            ended: 0,
            last_call: None,
            base,
            out: Transmit::new(),
            resets_sent: 0,
            is_crowded: false,
            reader: Reader::new(),
            bound,
        };
        victim.feed(&[PREFACE, &settings(&[]), &settings_ack()].concat());
        victim.pull();
        victim
    }

    /// Feeds bytes, pulling output only where the connection asks for it.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while self.step(&mut input) {}
        self.check();
    }

    /// Feeds bytes as a peer sees it that reads nothing: returns what is left unread.
    pub fn feed_without_reading(&mut self, bytes: &[u8]) -> usize {
        let mut input = bytes;
        while let Ok(Some(event)) = self.conn.poll_event(&mut input, self.now) {
            Self::handle(&mut self.running, event);
        }
        input.len()
    }

    fn handle(running: &mut usize, event: server::Event<'_>) {
        if let server::Event::Request(..) = event {
            *running += 1;
        }
    }

    fn step(&mut self, input: &mut &[u8]) -> bool {
        match self.conn.poll_event(input, self.now) {
            Ok(Some(event)) => match event {
                server::Event::Request(call, head) => {
                    self.running += 1;
                    self.most_running = self.most_running.max(self.running);
                    self.last_call = Some(call);
                    self.conn.recycle_metadata(head.metadata);
                }
                server::Event::Message(_, message) => {
                    self.messages += 1;
                    if let grpc_proto::Payload::Assembled(buf) = message.payload {
                        self.conn.recycle(buf);
                    }
                }
                server::Event::End(call) => {
                    self.ended += 1;
                    if self.handlers == Handlers::Prompt {
                        self.finish(call);
                    }
                }
                server::Event::Cancelled(call, reason) => {
                    self.cancelled.push(reason);
                    if self.handlers == Handlers::Prompt {
                        self.conn.release(call);
                        self.running -= 1;
                    }
                }
                _ => {}
            },
            Ok(None) if input.is_empty() => return false,
            Ok(None) => self.pull(),
            Err(error) => {
                self.error = Some(error);
                return false;
            }
        }
        true
    }

    pub fn finish(&mut self, call: CallKey) {
        let _ = self.conn.finish(call, &Status::OK, &Metadata::new());
        self.running -= 1;
    }

    /// Takes all output away.
    pub fn pull(&mut self) {
        loop {
            self.conn.poll_transmit(&mut self.out, self.now);
            if self.out.is_empty() {
                self.resets_sent = self.conn.stats().resets_sent;
                return;
            }
            self.out.clear();
        }
    }

    /// Takes the output of one write away, and tells how much that was.
    pub fn pull_once(&mut self) -> usize {
        self.conn.poll_transmit(&mut self.out, self.now);
        let len = self.out.len();
        self.out.clear();
        len
    }

    /// Takes all output and reads it.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            self.conn.poll_transmit(&mut self.out, self.now);
            if self.out.is_empty() {
                return sent;
            }
            let bytes: Vec<u8> = self.out.chunks().flatten().copied().collect();
            self.out.clear();
            sent.extend(self.reader.read(&bytes));
        }
    }

    /// Gives up what is not the connection's own.
    pub fn drop_buffers(&mut self) {
        self.out = Transmit::new();
        self.reader = Reader::new();
        self.cancelled = Vec::new();
    }

    /// Bytes that the connection holds by the allocator's count.
    pub fn memory(&self) -> isize {
        counting::live() - self.base
    }

    /// Memory is within the documented bound, at this moment and at the worst one before.
    #[track_caller]
    pub fn check(&self) {
        let peak = counting::peak() - self.base;
        assert!(peak <= self.bound as isize, "{peak} bytes of {}", self.bound);
        let reported = self.conn.heap_bytes() as u64;
        assert!(reported <= self.bound, "{reported} bytes of {}", self.bound);
    }

    #[track_caller]
    pub fn expect_open(&self) {
        assert_eq!(self.error, None);
        assert_eq!(self.conn.session().error(), None);
    }

    #[track_caller]
    pub fn expect_violation(&mut self, violation: Violation) {
        self.feed(b"");
        assert_eq!(self.error, Some(ConnectionError::PeerMisbehaved(violation)));
    }

    #[track_caller]
    pub fn expect_calm(&mut self, violation: Violation) {
        assert_eq!(violation.code(), ErrorCode::ENHANCE_YOUR_CALM);
        self.expect_violation(violation);
    }

    /// A well-behaved call on the same connection is answered.
    #[track_caller]
    pub fn expect_service(&mut self, stream: u32) {
        let handlers = std::mem::replace(&mut self.handlers, Handlers::Stuck);
        self.expect_open();
        self.pull();
        let (messages, sent) = (self.messages, self.conn.stats().data_sent);
        self.last_call = None;
        self.feed(&headers(stream, 0, &wire::call()));
        let call = self.last_call.take().expect("a request");
        self.feed(&data(stream, END_STREAM, &message(b"hello")));
        assert_eq!(self.messages, messages + 1);
        self.conn.send_encoded(call, Bytes::from_static(b"hello"), false).expect("room");
        self.finish(call);
        self.pull();
        assert!(self.conn.stats().data_sent >= sent + 10, "the answer has left");
        self.handlers = handlers;
        self.check();
    }
}

/// Whatever a test did, a neighbour is served in the end: a call on the same connection if that lives, and else one
/// on another connection.
impl Drop for Victim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.pull();
        self.feed(b"");
        if self.error.is_some() || self.is_crowded {
            Victim::new(|_| {}).expect_service(1);
        } else {
            self.expect_service(LAST_STREAM);
        }
    }
}

/// The identifier that every test leaves free.
const LAST_STREAM: u32 = 0x7fff_ffff;
