//! An end that is fed bytes in segments of one size, while time passes and its application acts. Its events and its
//! output must not depend on how the bytes were cut.
//!
//! Beside that, at every step: a call has one last event, memory stays within the limits, timers do not stay due,
//! `has_output` is correct, an error is final, and the output is valid HTTP/2.

mod ends;
mod ledger;
mod limits;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use grpc_proto::{
    Allotment, CallKey, Connection, ConnectionError, Instant, Limits, Role, Transmit,
};

pub use ends::{Act, Party};
use ledger::Ledger;
pub use limits::limits;
pub use wire::check as check_wire;

/// The preface and empty SETTINGS.
pub const PREFIX: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// Empty SETTINGS: a server's first frame.
pub const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// An input of an end.
#[derive(Debug)]
pub enum Step<'d> {
    /// The peer sends these bytes.
    Bytes(Vec<u8>),
    /// This much time passes.
    Pass(Duration),
    /// The peer acknowledges the last PING that it was sent.
    Pong,
    /// Output is pulled until there is none.
    Pull,
    /// The application does something.
    Act(Act<'d>),
}

/// The result of a conversation.
#[derive(Debug, PartialEq)]
pub struct Heard {
    /// The events, as text.
    pub reported: String,
    /// How the connection ended.
    pub error: Option<ConnectionError>,
    /// All that was written.
    pub said: Vec<u8>,
}

/// How a conversation is held.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The end's limits.
    pub limits: Limits,
    /// Whether a server echoes each message and ends each call with OK.
    pub echo: bool,
}

/// A connection, its application, and what the test knows about both.
pub struct End<R: Role> {
    conn: Connection<R>,
    manner: Manner,
    now: Instant,
    reported: String,
    said: Vec<u8>,
    ledger: Ledger,
    /// The last stream that a server serves after its GOAWAY.
    served: u32,
    error: Option<ConnectionError>,
    /// Calls in the order of their first events, and those that have not had their last event.
    calls: Vec<CallKey>,
    open: BTreeMap<CallKey, Open>,
}

/// A call that has not had its last event.
#[derive(Debug, Default)]
struct Open {
    /// Credit that the application has not given back.
    owed: u32,
    /// Its stream, once it is known.
    stream: u32,
}

/// After this many polls without input or passing time an end counts as spinning.
const MOST_POLLS: u32 = 10_000;
/// Most bytes written in total, so that no script echoes for ever.
const MOST_SAID: usize = 4 << 20;

impl<R: Party> End<R> {
    fn new(manner: &Manner) -> Self {
        let config =
            grpc_proto::Config::new(manner.limits.clone()).expect("limits in their ranges");
        End {
            conn: Connection::new(&config, 1, Instant::ZERO),
            manner: manner.clone(),
            now: Instant::ZERO,
            reported: String::new(),
            said: Vec::new(),
            ledger: Ledger::default(),
            served: 0,
            error: None,
            calls: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step<'_>, segment: usize) {
        match step {
            Step::Bytes(bytes) => {
                for part in bytes.chunks(segment.max(1)) {
                    self.feed(part);
                }
            }
            Step::Pass(span) => {
                self.now = self.now + *span;
                self.feed(&[]);
                self.let_timers_run();
            }
            Step::Pong => {
                if let Some(pong) = wire::pong(&self.said, R::SERVES) {
                    pong.chunks(segment.max(1)).for_each(|part| self.feed(part));
                }
            }
            Step::Pull => self.pull_all(),
            Step::Act(act) => {
                R::act(self, act);
                self.feed(&[]);
            }
        }
        self.check();
    }

    /// Events until there are none; output is pulled where replies or new calls are at their limit.
    fn feed(&mut self, part: &[u8]) {
        let mut input = part;
        let mut polls = 0;
        while self.error.is_none() {
            polls += 1;
            assert!(polls < MOST_POLLS, "events without end: {}", self.reported);
            match self.poll(&mut input) {
                Ok(true) => {}
                Ok(false) if input.is_empty() => return,
                Ok(false) => {
                    let left = input.len();
                    self.pull();
                    let went_on = self.poll(&mut input).unwrap_or(true);
                    assert!(went_on || input.len() < left, "input is left for ever");
                }
                Err(error) => {
                    let _ = writeln!(self.reported, "{error}");
                    assert!(self.open.is_empty(), "{:?} have no end before {error}", self.open);
                    self.error = Some(error);
                }
            }
        }
    }

    /// One event, passed to the application; false if there is none.
    fn poll(&mut self, input: &mut &[u8]) -> Result<bool, ConnectionError> {
        let before = *input;
        let event = self.conn.poll_event(input, self.now)?;
        let taken = &before[..before.len() - input.len()];
        self.ledger.hear(taken, self.conn.session());
        match event {
            Some(event) => {
                R::hear(self, event);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A timer may be early, and moves on when it is; none stays due.
    fn let_timers_run(&mut self) {
        let mut polls = 0;
        while self.error.is_none() && self.conn.poll_timeout().is_some_and(|at| at <= self.now) {
            polls += 1;
            assert!(polls < 100, "a timer stays due at {}", self.now);
            self.feed(&[]);
        }
    }

    /// One pull; returns whether it gave any bytes.
    fn pull(&mut self) -> bool {
        let promised = self.conn.has_output();
        let on_wire = self.streams_on_wire();
        let mut out = Transmit::new();
        self.conn.poll_transmit(&mut out, self.now);
        match out.is_empty() {
            true => assert!(!self.conn.has_output(), "output is promised, and none comes"),
            false => assert!(promised, "output is pulled that was denied"),
        }
        let start = self.said.len();
        self.said.extend(out.chunks().flatten());
        self.ledger.say(&self.said[start..]);
        let now_on_wire = self.streams_on_wire();
        let most = self.conn.session().peer_settings().max_concurrent_streams;
        let opened = now_on_wire.saturating_sub(on_wire);
        assert!(
            R::SERVES || opened == 0 || now_on_wire <= most as usize,
            "{now_on_wire} of {most}"
        );
        !out.is_empty()
    }

    /// Streams that have an identifier and are not closed; notes which calls have them.
    fn streams_on_wire(&mut self) -> usize {
        let mut count = 0;
        for stream in self.conn.session().streams() {
            if stream.id != 0 && !stream.state.is_closed() {
                count += 1;
                let newest =
                    self.open.iter_mut().rev().find(|(key, _)| key.index() == stream.index);
                if let Some((_, open)) = newest {
                    open.stream = stream.id;
                }
            }
        }
        count
    }

    /// Pulls output until there is none; what remains queued has a reason to wait.
    fn pull_all(&mut self) {
        while self.said.len() < MOST_SAID && self.pull() {}
        self.feed(&[]);
        if self.conn.has_output() || self.error.is_some() {
            return;
        }
        let session = self.conn.session();
        for stream in session.streams() {
            let has_window = stream.send_window > 0 && session.send_window() > 0;
            let is_open = stream.id != 0 && !stream.state.is_closed();
            let stuck = stream.queued > 0 && has_window && is_open;
            assert!(!stuck, "nothing stops what is queued: {stream:?}");
            let budget_is_free =
                session.send_outstanding() == 0 && session.allotted() == Allotment::UNLIMITED;
            let asleep = stream.wants_room && stream.queued == 0 && has_window && budget_is_free;
            assert!(!(asleep && is_open && !stream.is_reported), "nobody wakes {stream:?}");
        }
    }

    /// Notes an event as text; `last` if nothing may follow it.
    fn note(&mut self, key: CallKey, last: bool, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.reported, "{key:?} {text}");
        let known = self.open.contains_key(&key);
        assert!(known, "an event of a call that is over or unknown: {}", self.reported);
        if last {
            self.open.remove(&key);
        }
    }

    /// A call has begun.
    fn begin(&mut self, key: CallKey) {
        assert!(!self.calls.contains(&key), "{key:?} is given out twice");
        self.calls.push(key);
        self.open.insert(key, Open::default());
    }

    /// One of all calls so far.
    fn choose(&self, which: u8) -> Option<CallKey> {
        // The newest are the most interesting.
        let back = usize::from(which) % self.calls.len().max(1);
        self.calls.iter().rev().nth(back).copied()
    }

    /// The transport ends, and with it every call and what calls have reserved.
    fn leave(&mut self) {
        if self.error.is_none() {
            self.conn.close_read(self.now);
            self.feed(&[]);
            assert!(self.error.is_some(), "the transport has ended");
        }
        self.check();
        let session = self.conn.session();
        let budgets = (session.assembly_left(), session.send_outstanding());
        assert_eq!(budgets, (session.limits().assembly_budget, 0), "budgets outlive their calls");
    }

    fn check(&mut self) {
        let session = self.conn.session();
        if self.error.is_none() {
            self.ledger.check(session);
        }
        let held = grpc_sim::holds_too_much(self.conn.heap_bytes(), session);
        assert_eq!(held, None);
        let limits = session.limits();
        let mut budgeted = 0u64;
        for stream in session.streams() {
            // What exceeds the largest window ends the stream (RFC 9113 §6.9.1).
            let within = stream.send_window < 1 << 31 && stream.recv_window < 1 << 31;
            assert!(within || stream.state.is_closed(), "{stream:?}");
            let base = session.stream_window().max(5).max(session.recv_base());
            let most = i64::from(base) + i64::from(stream.reserved);
            let (window, held) = (stream.recv_window, i64::from(stream.held));
            assert!(window + held <= most || stream.is_reported, "{most}: {stream:?}");
            budgeted += u64::from(stream.budgeted);
        }
        let (window, held) = (session.recv_window(), session.recv_held());
        let target = session.connection_window().max(65_535);
        assert!(window + i64::from(held) <= target.into(), "{window} and {held} of {target}");
        let (left, budget) = (session.assembly_left(), limits.assembly_budget);
        assert_eq!(u64::from(left) + budgeted, u64::from(budget), "assembly budget");
        if R::SERVES {
            let most = limits.max_concurrent_streams as usize;
            assert!(self.open.len() <= most, "{} handlers of {most}", self.open.len());
        }
        if session.streams().next().is_none() {
            assert_eq!(session.send_outstanding(), 0, "send budget");
            // A frame under way counts whole, and comes back as it is read.
            let excused = self.error.is_some() || self.ledger.hears_a_frame();
            assert!(excused || session.recv_held() == 0, "credit is kept");
        }
        if let Some(error) = &self.error {
            let again = self.conn.poll_event(&mut &b"more"[..], self.now);
            assert_eq!(again.err().as_ref(), Some(error), "an error is final");
        }
    }
}

/// Holds a conversation.
pub fn hold<R: Party>(manner: &Manner, steps: &[Step<'_>], segment: usize) -> Heard {
    let mut end = End::<R>::new(manner);
    R::start(&mut end);
    for step in steps {
        end.step(step, segment);
        if end.error.is_some() || end.said.len() >= MOST_SAID {
            break;
        }
    }
    end.pull_all();
    end.leave();
    wire::check(&end.said, end.error.as_ref(), R::SERVES);
    Heard { reported: end.reported, error: end.error, said: end.said }
}

/// Holds it whole and in segments: the results must be equal.
pub fn same_however_cut<R: Party>(manner: &Manner, steps: &[Step<'_>], segment: usize) {
    let whole = hold::<R>(manner, steps, usize::MAX);
    let cut = hold::<R>(manner, steps, segment);
    assert!(whole == cut, "whole: {whole:#?}\nin segments of {segment}: {cut:#?}");
}
