//! RFC 9113 §5.1: every pair of stream state and frame, against tables written out by hand: once for the
//! transition function alone, once through a session in either role.

use grpc_proto::hpack::FieldList;
use grpc_proto::http2::state::{Cause, Input, Rejection, State};
use grpc_proto::http2::{Event, Session, Side, StreamKey};
use grpc_proto::{Config, ErrorCode, Instant, Transmit};

use crate::harness::Random;
use crate::wire::{self, *};

/// What is received or sent, in the order of the columns below; `+` is END_STREAM.
const INPUTS: [Input; 13] = [
    Input::RecvHeaders { end_stream: false },
    Input::RecvHeaders { end_stream: true },
    Input::RecvData { end_stream: false },
    Input::RecvData { end_stream: true },
    Input::RecvReset,
    Input::RecvWindowUpdate,
    Input::RecvPriority,
    Input::SendHeaders { end_stream: false },
    Input::SendHeaders { end_stream: true },
    Input::SendData { end_stream: false },
    Input::SendData { end_stream: true },
    Input::SendReset,
    Input::Discard,
];

/// `C1` is a connection error of PROTOCOL_ERROR, `S5` a stream error of STREAM_CLOSED, `-` no effect, `x` what
/// we must not send.
#[rustfmt::skip]
const TRANSITIONS: [(&str, [&str; 13]); 9] = [
    //            recv                                             send                                      neither
    //            H       H+      D       D+      RST    WU      PRIO    H       H+      D       D+      RST   discard
    ("idle",    ["open", "hcr",  "C1",   "C1",   "C1",  "C1",   "idle", "open", "hcl",  "x",    "x",    "x", "us"]),
    ("open",    ["open", "hcr",  "open", "hcr",  "peer", "open", "open", "open", "hcl",  "open", "hcl",  "us", "us"]),
    ("hcl",     ["hcl",  "done", "hcl",  "done", "peer", "hcl",  "hcl",  "x",    "x",    "x",    "x",    "us", "us"]),
    ("hcr",     ["S5",   "S5",   "S5",   "S5",   "peer", "hcr",  "hcr",  "hcr",  "done", "hcr",  "done", "us", "us"]),
    ("done",    ["C5",   "C5",   "C5",   "C5",   "-",   "-",    "-",    "x",    "x",    "x",    "x",    "x", "-"]),
    ("peer",    ["S5",   "S5",   "S5",   "S5",   "-",   "-",    "-",    "x",    "x",    "x",    "x",    "x", "-"]),
    ("us",      ["-",    "-",    "-",    "-",    "-",   "-",    "-",    "x",    "x",    "x",    "x",    "x", "-"]),
    ("skipped", ["C1",   "C1",   "C1",   "C1",   "-",   "-",    "-",    "x",    "x",    "x",    "x",    "x", "-"]),
    ("long ago", ["-",   "-",    "-",    "-",    "-",   "-",    "-",    "x",    "x",    "x",    "x",    "x", "-"]),
];

fn state(name: &str) -> State {
    match name {
        "idle" => State::Idle,
        "open" => State::Open,
        "hcl" => State::HalfClosedLocal,
        "hcr" => State::HalfClosedRemote,
        "done" => State::Closed(Cause::Ended),
        "peer" => State::Closed(Cause::ResetByPeer),
        "us" => State::Closed(Cause::ResetByUs),
        "skipped" => State::Closed(Cause::Skipped),
        "long ago" => State::Closed(Cause::Forgotten),
        other => panic!("no state {other}"),
    }
}

#[test]
fn every_pair_of_state_and_frame_has_the_outcome_of_the_table() {
    for (name, outcomes) in TRANSITIONS {
        for (input, expected) in INPUTS.into_iter().zip(outcomes) {
            let expected = match expected {
                "-" => Err(Rejection::Ignore),
                "x" => Err(Rejection::Misuse),
                "C1" => Err(Rejection::Connection(ErrorCode::PROTOCOL_ERROR)),
                "C5" => Err(Rejection::Connection(ErrorCode::STREAM_CLOSED)),
                "S5" => Err(Rejection::Stream(ErrorCode::STREAM_CLOSED)),
                next => Ok(state(next)),
            };
            assert_eq!(state(name).next(input), expected, "{name} and {input:?}");
        }
    }
}

#[test]
fn what_can_be_sent_and_received_agrees_with_the_table() {
    for (name, outcomes) in TRANSITIONS {
        let refused = |outcome: &str| matches!(outcome, "x" | "-" | "C1" | "C5" | "S5");
        assert_eq!(state(name).can_send(), !refused(outcomes[7]), "{name}");
        // Idle streams are opened by HEADERS, but hold nothing that could be received yet.
        assert_eq!(state(name).can_receive(), !refused(outcomes[2]), "{name}");
        let closed = matches!(name, "done" | "peer" | "us" | "skipped" | "long ago");
        assert_eq!(state(name).is_closed(), closed, "{name}");
    }
}

/// Frames as they arrive, in the order of the columns below.
const FRAMES: [&str; 10] = ["H", "H+", "D", "D+", "RST", "WU", "WU 0", "PRIO", "PUSH", "CONT"];

/// `ev` is an event, the rest as above. Once a head has been seen, HEADERS without END_STREAM is malformed.
#[rustfmt::skip]
const AT_SERVER: [(&str, [&str; 10]); 8] = [
    //            H     H+    D     D+    RST   WU    WU 0  PRIO  PUSH  CONT
    ("idle",    ["ev", "ev", "C1", "C1", "C1", "C1", "C1", "-",  "C1", "C1"]),
    ("open",    ["S1", "ev", "ev", "ev", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("hcl",     ["S1", "ev", "ev", "ev", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("hcr",     ["S5", "S5", "S5", "S5", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("done",    ["C5", "C5", "C5", "C5", "-",  "-",  "-",  "-",  "C1", "C1"]),
    ("peer",    ["S5", "S5", "S5", "S5", "-",  "-",  "-",  "-",  "C1", "C1"]),
    ("us",      ["-",  "-",  "-",  "-",  "-",  "-",  "-",  "-",  "C1", "C1"]),
    ("skipped", ["C1", "C1", "C1", "C1", "-",  "-",  "-",  "-",  "C1", "C1"]),
];

#[rustfmt::skip]
const AT_CLIENT: [(&str, [&str; 10]); 8] = [
    //            H     H+    D     D+    RST   WU    WU 0  PRIO  PUSH  CONT
    ("idle",    ["C1", "C1", "C1", "C1", "C1", "C1", "C1", "-",  "C1", "C1"]),
    ("headless", ["ev", "ev", "S1", "S1", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("open",    ["S1", "ev", "ev", "ev", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("hcl",     ["S1", "ev", "ev", "ev", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("hcr",     ["S5", "S5", "S5", "S5", "ev", "-",  "S1", "-",  "C1", "C1"]),
    ("done",    ["C5", "C5", "C5", "C5", "-",  "-",  "-",  "-",  "C1", "C1"]),
    ("peer",    ["S5", "S5", "S5", "S5", "-",  "-",  "-",  "-",  "C1", "C1"]),
    ("us",      ["-",  "-",  "-",  "-",  "-",  "-",  "-",  "-",  "C1", "C1"]),
];

#[test]
fn every_pair_of_state_and_frame_has_the_outcome_of_the_table_at_a_server() {
    check(Side::Server, &AT_SERVER);
}

#[test]
fn every_pair_of_state_and_frame_has_the_outcome_of_the_table_at_a_client() {
    check(Side::Client, &AT_CLIENT);
}

fn check(side: Side, table: &[(&str, [&str; 10])]) {
    for (name, outcomes) in table {
        for (kind, expected) in FRAMES.into_iter().zip(outcomes) {
            for seed in 0..17 {
                let mut end = End::new(side, seed);
                end.enter(name);
                let head = *name == "idle" || *name == "headless";
                assert_eq!(
                    end.outcome(&raw(side, kind, head)),
                    *expected,
                    "{name} and {kind}, {side:?}"
                );
            }
        }
    }
}

/// The frame, on stream 1.
fn raw(side: Side, kind: &str, head: bool) -> Vec<u8> {
    let block = match (side, head) {
        (Side::Server, true) => wire::call(),
        (Side::Client, true) => response(),
        (_, false) => block(&[("x-trailer", "1")]),
    };
    match kind {
        "H" => headers(1, 0, &block),
        "H+" => headers(1, END_STREAM, &block),
        "D" => data(1, 0, b"x"),
        "D+" => data(1, END_STREAM, b"x"),
        "RST" => reset(1, CANCEL),
        "WU" => window_update(1, 1),
        "WU 0" => window_update(1, 0),
        "PRIO" => frame(PRIORITY, 0, 1, &[0; 5]),
        "PUSH" => frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        "CONT" => frame(CONTINUATION, END_HEADERS, 1, &[]),
        other => panic!("no frame {other}"),
    }
}

/// A session whose stream 1 is brought into any state.
struct End {
    session: Session,
    cuts: Option<Random>,
}

impl End {
    fn new(side: Side, seed: u64) -> Self {
        let session = Session::new(side, &Config::default(), 0, Instant::ZERO);
        let mut end = End { session, cuts: (seed > 0).then_some(Random(seed)) };
        if side == Side::Server {
            end.feed(PREFACE);
        }
        end.feed(&[settings(&[]), settings_ack()].concat());
        end
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self
                .cuts
                .as_mut()
                .map_or(rest.len(), |random| 1 + random.next() as usize % rest.len());
            let (mut piece, after) = rest.split_at(len);
            rest = after;
            while let Ok(Some(event)) = self.session.poll(&mut piece, Instant::ZERO) {
                if let Event::Data(_) = event {
                    self.session.take_data(&mut piece, usize::MAX);
                }
                events.push(event);
            }
        }
        self.pull();
        events
    }

    fn pull(&mut self) -> Vec<u8> {
        let mut out = Transmit::new();
        self.session.poll_transmit(&mut out, Instant::ZERO);
        out.chunks().flatten().copied().collect()
    }

    fn enter(&mut self, name: &str) {
        match self.session.side() {
            Side::Server => self.enter_at_server(name),
            Side::Client => self.enter_at_client(name),
        }
    }

    fn enter_at_server(&mut self, name: &str) {
        if name == "idle" {
            return;
        }
        if name == "skipped" {
            self.feed(&headers(3, 0, &wire::call()));
            return;
        }
        let flags = if matches!(name, "hcr" | "done") { END_STREAM } else { 0 };
        let events = self.feed(&headers(1, flags, &wire::call()));
        let Event::Headers { stream, .. } = &events[0] else { panic!("{events:?}") };
        let stream = *stream;
        if matches!(name, "hcl" | "done") {
            self.session.respond(stream, list(&[(":status", "200")])).expect("a live stream");
            self.session.finish(stream, None).expect("a live stream");
        }
        self.close(name, stream);
    }

    fn enter_at_client(&mut self, name: &str) {
        if name == "idle" {
            return;
        }
        let request = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        let stream = self.session.open(list(&request), Instant::ZERO).expect("a stream");
        if matches!(name, "hcl" | "done") {
            self.session.finish(stream, None).expect("a live stream");
        }
        self.pull();
        if name != "headless" {
            self.feed(&headers(1, 0, &response()));
        }
        if matches!(name, "hcr" | "done") {
            self.feed(&data(1, END_STREAM, b""));
        }
        self.close(name, stream);
    }

    fn close(&mut self, name: &str, stream: StreamKey) {
        self.pull();
        match name {
            "done" => self.session.release(stream),
            "us" => self.session.reset(stream, ErrorCode::CANCEL),
            "peer" => {
                self.feed(&reset(1, CANCEL));
                self.session.release(stream);
            }
            _ => {}
        }
        self.pull();
    }

    /// Feeds the frame and says what came of it in the table's terms.
    fn outcome(&mut self, frame: &[u8]) -> String {
        let mut events = Vec::new();
        for (n, _) in frame.iter().enumerate() {
            let mut piece = &frame[n..n + 1];
            while let Ok(Some(event)) = self.session.poll(&mut piece, Instant::ZERO) {
                if let Event::Data(_) = event {
                    self.session.take_data(&mut piece, usize::MAX);
                }
                events.push(event);
            }
        }
        for sent in Reader::new().read(&self.pull()) {
            match sent {
                Sent::GoAway { code, .. } => return format!("C{code}"),
                Sent::Reset { code, .. } => return format!("S{code}"),
                _ => {}
            }
        }
        if events.is_empty() { "-".into() } else { "ev".into() }
    }
}

fn list(fields: &[(&str, &str)]) -> FieldList {
    fields.iter().collect::<Vec<_>>().into_iter().map(|(name, value)| (name, value)).collect()
}
