//! Frames of every kind, right or nearly right, at either end, while time passes and the application acts: a script
//! in which any bytes are valid, because each step is one byte and its arguments.

use std::time::Duration;

use grpc_proto::http2::frame::{FrameHeader, flag, kind};
use grpc_proto::{Client, Server};

use crate::conversation::{Act, Manner, PREFIX, SETTINGS, Step, limits, same_however_cut};
use crate::tape::Tape;

/// The first byte chooses the limits, the second the end and how its input is cut; the rest are steps.
pub fn check(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<9>() {
        let header = FrameHeader::parse(bytes);
        assert_eq!(FrameHeader::parse(&header.to_bytes()), header);
    }
    let mut tape = Tape::new(data);
    let limits = limits(tape.byte());
    let how = tape.byte();
    let serves = how & 1 == 0;
    let manner = Manner { limits, echo: how & 2 != 0 };
    let prefix = if serves { PREFIX } else { SETTINGS };
    let steps = Script::read(&mut tape, serves, prefix, &["/fuzz.Fuzz/Call"]);
    let segment = usize::from(how >> 2) + 1;
    match serves {
        true => same_however_cut::<Server>(&manner, &steps, segment),
        false => same_however_cut::<Client>(&manner, &steps, segment),
    }
}

/// Steps under way.
pub struct Script<'d> {
    serves: bool,
    /// The path of requests.
    paths: &'static [&'static str],
    steps: Vec<Step<'d>>,
    /// Bytes that the peer sends in total.
    wire: usize,
    /// The next stream that a request opens.
    stream: u32,
}

const REQUEST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "fuzz")];
/// What follows the path.
const HEAD: &[(&str, &str)] = &[("te", "trailers"), ("content-type", "application/grpc")];
const RESPONSE: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

impl<'d> Script<'d> {
    /// Reads steps out of what is left of a tape.
    pub fn read(
        tape: &mut Tape<'d>,
        serves: bool,
        prefix: &[u8],
        paths: &'static [&'static str],
    ) -> Vec<Step<'d>> {
        let steps = vec![Step::Bytes(prefix.to_vec())];
        let mut script = Script { serves, paths, steps, wire: 0, stream: 1 };
        while !tape.is_at_end() && script.steps.len() < 200 && script.wire < 1 << 17 {
            script.step(tape);
        }
        script.steps
    }

    /// The low half of the step's byte selects the kind of step, the high half its variant.
    fn step(&mut self, tape: &mut Tape<'d>) {
        let what = tape.byte();
        let how = what >> 4;
        let end_stream = if how & 1 != 0 { flag::END_STREAM } else { 0 };
        match what & 15 {
            0 => {
                let (kind, flags, stream) = (tape.byte(), tape.byte(), tape.number());
                self.frame(kind, flags, stream, tape.bytes());
            }
            1 => self.head(how, tape),
            2 => self.messages(how, end_stream, tape),
            3 => {
                let stream = self.pick(tape);
                self.frame(kind::RST_STREAM, 0, stream, &tape.number().to_be_bytes());
            }
            4 => {
                let mut entries = Vec::new();
                for _ in 0..how % 4 {
                    entries.extend_from_slice(&[0, tape.byte() % 8]);
                    entries.extend_from_slice(&tape.number().to_be_bytes());
                }
                self.frame(kind::SETTINGS, 0, 0, &entries);
            }
            5 => {
                let stream = if how & 1 != 0 { 0 } else { self.pick(tape) };
                self.frame(kind::WINDOW_UPDATE, 0, stream, &tape.number().to_be_bytes());
            }
            6 if how & 1 != 0 => {
                let words = [tape.number(), tape.number()];
                let mut payload: Vec<u8> =
                    words.iter().flat_map(|word| word.to_be_bytes()).collect();
                payload.extend_from_slice(tape.bytes());
                self.frame(kind::GOAWAY, 0, 0, &payload);
            }
            6 => self.frame(kind::PING, how >> 1 & 1, 0, &[tape.byte(); 8]),
            7 if how & 1 != 0 => self.steps.push(Step::Pong),
            7 => self.frame(kind::SETTINGS, flag::ACK, 0, &[]),
            8 => {
                let bytes = tape.bytes();
                self.say(bytes.to_vec());
            }
            // From a microsecond to an hour and more.
            9 => {
                let span = Duration::from_micros(1 << (tape.byte() % 33));
                self.steps.push(Step::Pass(span));
            }
            10 => self.steps.push(Step::Pull),
            11 => self.repeat(tape.byte()),
            12 => {
                // A field block of any bytes, cut into frames.
                let (stream, block) = (self.pick(tape), tape.bytes());
                self.block(stream, end_stream, usize::from(how >> 1), block);
            }
            _ => self.act(how, tape),
        }
    }

    /// A request's head at a server, a response's at a client; valid but for what the bytes add.
    fn head(&mut self, how: u8, tape: &mut Tape<'d>) {
        let mut block = vec![0x20];
        let trailers = how & 2 != 0;
        let stream = match self.serves && !trailers {
            true => {
                self.stream += 2;
                self.stream - 2
            }
            false => self.pick(tape),
        };
        let fields = match (trailers, self.serves) {
            (true, true) => &[],
            (true, false) => &[("grpc-status", "0")][..],
            (false, true) => REQUEST,
            (false, false) => RESPONSE,
        };
        for (name, value) in fields {
            literal(&mut block, name.as_bytes(), value.as_bytes());
        }
        if self.serves && !trailers {
            let path = self.paths[usize::from(tape.byte()) % self.paths.len()];
            literal(&mut block, b":path", path.as_bytes());
            for (name, value) in HEAD {
                literal(&mut block, name.as_bytes(), value.as_bytes());
            }
        }
        if how & 4 != 0 {
            literal(&mut block, b"grpc-encoding", b"gzip");
        }
        if how & 8 != 0 {
            const NAMES: [&[u8]; 12] = [
                b"grpc-timeout",
                b"fuzz-bin",
                b"grpc-message",
                b"content-length",
                b"grpc-status",
                b"grpc-status-details-bin",
                b":path",
                b":status",
                b"te",
                b"connection",
                b"cookie",
                b"grpc-accept-encoding",
            ];
            let choice = usize::from(tape.byte());
            match NAMES.get(choice % 14) {
                Some(name) => literal(&mut block, name, tape.bytes()),
                None => literal(&mut block, tape.bytes(), tape.bytes()),
            }
        }
        self.block(stream, how & 1, 0, &block);
    }

    /// DATA with whole messages, or a part of one; the frame ends where the fuzzer wants.
    fn messages(&mut self, how: u8, end_stream: u8, tape: &mut Tape<'d>) {
        let stream = self.pick(tape);
        let mut data = Vec::new();
        for _ in 0..=how >> 1 & 1 {
            let message = tape.bytes();
            // A length that is not its own, sometimes.
            let len = if how & 4 != 0 { tape.number() } else { message.len() as u32 };
            data.push(how >> 3);
            data.extend_from_slice(&len.to_be_bytes());
            data.extend_from_slice(message);
        }
        self.frame(kind::DATA, end_stream, stream, &data);
    }

    fn act(&mut self, how: u8, tape: &mut Tape<'d>) {
        let act = match how {
            0..=2 => Act::Begin(tape.byte(), tape.number(), tape.bytes()),
            3..=5 => Act::Send(tape.byte(), how == 5, tape.number()),
            6..=8 => Act::Finish(tape.byte(), tape.byte(), tape.bytes()),
            9..=10 => Act::LetGo(tape.byte()),
            11 => Act::Grant(tape.byte()),
            12 => Act::Allot(tape.byte(), tape.byte()),
            13 => Act::Shutdown,
            14 => Act::Close(tape.byte()),
            _ => Act::CloseRead,
        };
        self.steps.push(Step::Act(act));
    }

    /// A stream of those that there can be: mostly odd and low.
    fn pick(&self, tape: &mut Tape<'_>) -> u32 {
        match tape.byte() {
            odd @ 0..=15 => u32::from(odd) * 2 + 1,
            // The request that came last.
            16..=127 => self.stream.saturating_sub(2).max(1),
            other => u32::from(other) - 128,
        }
    }

    /// A field block in as many frames.
    fn block(&mut self, stream: u32, flags: u8, cuts: usize, block: &[u8]) {
        let mut kind = kind::HEADERS;
        let mut flags = flags;
        let mut parts = block.chunks(block.len() / (cuts + 1) + 1).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            if parts.peek().is_none() {
                return self.frame(kind, flags | flag::END_HEADERS, stream, part);
            }
            self.frame(kind, flags, stream, part);
            (kind, flags) = (kind::CONTINUATION, 0);
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let header = FrameHeader { len: payload.len() as u32, kind, flags, stream };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.say(bytes);
    }

    /// What follows what the peer has just said is cut together with it.
    fn say(&mut self, bytes: Vec<u8>) {
        self.wire += bytes.len();
        match self.steps.last_mut() {
            Some(Step::Bytes(said)) => said.extend_from_slice(&bytes),
            _ => self.steps.push(Step::Bytes(bytes)),
        }
    }

    /// Floods are one step many times over.
    fn repeat(&mut self, times: u8) {
        if let Some(Step::Bytes(said)) = self.steps.last_mut() {
            let once = said.len().min(64);
            let from = said.len() - once;
            let again = said[from..].repeat(times.into());
            self.wire += again.len();
            said.extend_from_slice(&again);
        }
    }
}

/// A literal field without indexing, whose name is spelt out.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        match text.len() {
            short @ 0..=126 => block.push(short as u8),
            long => block.extend_from_slice(&[
                127,
                ((long - 127) & 127) as u8 | 128,
                ((long - 127) >> 7) as u8,
            ]),
        }
        block.extend_from_slice(text);
    }
}
