//! One connection that does what a recording says.

use bytes::Bytes;
use grpc_arena::{Encode, SizeCache};
use grpc_proto::http2::Side;
use grpc_proto::record::{Recorder, Verb};
use grpc_proto::{Client, Instant, MessageBuf, Metadata, Role, Server, Transmit, client};

use super::{Difference, words};
use crate::trace::Trace;

/// A connection and the input that it has not consumed.
pub(super) struct Player<R: Role> {
    conn: Recorder<R>,
    input: Vec<u8>,
    read: usize,
    out: Transmit,
    now: Instant,
    /// What was done last.
    last: String,
    verbs: u64,
    events: u64,
    bytes: (u64, u64),
    trace: Trace,
}

/// Consumed input that is kept before the rest is moved to the front.
const KEPT: usize = 64 << 10;

/// A role as it is played.
pub(super) trait Played: Role + Sized {
    const END: Side;
    /// The verbs that only this role has; `Err` for those of the other one.
    fn play(conn: &mut Recorder<Self>, verb: &Verb<'_>) -> Result<(), ()>;
    fn describe(event: &Self::Event<'_>) -> String;
}

impl Played for Client {
    const END: Side = Side::Client;

    fn play(conn: &mut Recorder<Self>, verb: &Verb<'_>) -> Result<(), ()> {
        // How a verb ends is in the recordings, which are compared.
        match verb {
            Verb::Call { head, deadline, now } => {
                let _ = conn.call(&head.to_head(), *deadline, *now);
            }
            Verb::End { call } => {
                let _ = conn.end(*call);
            }
            Verb::Cancel { call } => conn.cancel(*call),
            _ => return Err(()),
        }
        Ok(())
    }

    fn describe(event: &client::Event<'_>) -> String {
        match event {
            client::Event::Headers(call, metadata) => {
                format!("headers of {}, {} entries", words::name(*call), metadata.iter().count())
            }
            client::Event::Message(call, message) => {
                format!("message of {}, {} bytes", words::name(*call), message.len())
            }
            client::Event::Status(call, outcome) => {
                let (status, call) = (&outcome.status, words::name(*call));
                let reason = outcome.reason.as_ref().map(|reason| format!(" ({reason})"));
                format!(
                    "status of {call}: {} {:?}{}",
                    status.code(),
                    status.message(),
                    reason.unwrap_or_default()
                )
            }
            client::Event::Writable(call) => format!("{} is writable", words::name(*call)),
            client::Event::GoAway { last_stream, code } => {
                format!("the server goes away: {code}, last stream {last_stream}")
            }
            other => format!("{other:?}"),
        }
    }
}

impl Played for Server {
    const END: Side = Side::Server;

    fn play(conn: &mut Recorder<Self>, verb: &Verb<'_>) -> Result<(), ()> {
        match verb {
            Verb::Respond { call, head } => {
                let _ = conn.respond(*call, &head.to_head());
            }
            Verb::Finish { call, status, trailers } => {
                let _ = conn.finish(*call, status, trailers);
            }
            Verb::Release { call } => conn.release(*call),
            _ => return Err(()),
        }
        Ok(())
    }

    fn describe(event: &grpc_proto::server::Event<'_>) -> String {
        event.to_string()
    }
}

/// A message as it was encoded.
struct Encoded<'m>(&'m [u8]);

impl Encode for Encoded<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

impl<R: Played> Player<R> {
    pub(super) fn new(conn: Recorder<R>, now: Instant, trace: Trace) -> Self {
        Player {
            conn,
            input: Vec::new(),
            read: 0,
            out: Transmit::new(),
            now,
            last: String::new(),
            verbs: 0,
            events: 0,
            bytes: (0, 0),
            trace,
        }
    }

    /// Does what a verb says; `Err` if the role has no such verb.
    pub(super) fn play(&mut self, verb: &Verb<'_>) -> Result<(), ()> {
        self.verbs += 1;
        self.last = words::verb(verb);
        if let Verb::PollEvent { now, .. }
        | Verb::PollTransmit { now }
        | Verb::CloseRead { now }
        | Verb::NoteDelivery { now }
        | Verb::Shutdown { now }
        | Verb::Close { now, .. }
        | Verb::Call { now, .. } = verb
        {
            self.now = *now;
        }
        let now = self.now;
        match verb {
            Verb::PollEvent { visible, fresh, .. } => self.poll_event(*visible, fresh),
            Verb::PollTransmit { .. } => self.poll_transmit(),
            other => {
                self.note(&words::verb(other));
                match other {
                    Verb::CloseRead { .. } => self.conn.close_read(now),
                    Verb::NoteDelivery { .. } => self.conn.note_delivery(now),
                    Verb::Shutdown { .. } => self.conn.shutdown(now),
                    Verb::Close { code, .. } => self.conn.close(*code, now),
                    Verb::Send { call, message } => {
                        let _ = self.conn.send(*call, &Encoded(message));
                    }
                    Verb::SendEncoded { call, message, compressed } => {
                        let message = Bytes::copy_from_slice(message);
                        let _ = self.conn.send_encoded(*call, message, *compressed);
                    }
                    Verb::SendCompressed { call, message } => {
                        let _ = self.conn.send_compressed(*call, message);
                    }
                    Verb::AskRoom { call, len } => {
                        let _ = self.conn.ask_room(*call, *len);
                    }
                    Verb::Grant { call, bytes } => self.conn.grant(*call, *bytes),
                    Verb::Allot { allotment } => self.conn.allot(*allotment),
                    Verb::Recycle { bytes } => {
                        // No message was longer than all that came, whatever the recording says.
                        let most = usize::try_from(self.bytes.0).unwrap_or(usize::MAX);
                        self.conn.recycle(MessageBuf::from(vec![0; (*bytes).min(most)]));
                    }
                    Verb::RecycleMetadata => self.conn.recycle_metadata(Metadata::new()),
                    other => return R::play(&mut self.conn, other),
                }
            }
        }
        Ok(())
    }

    fn poll_event(&mut self, visible: usize, fresh: &[u8]) {
        // As much as is moved has been consumed, so that each byte is moved about once.
        if self.read > KEPT.max(self.input.len() / 2) || self.read == self.input.len() {
            self.input.drain(..self.read);
            self.read = 0;
        }
        self.input.extend_from_slice(fresh);
        self.bytes.0 += fresh.len() as u64;
        let place = (0, R::END);
        let at_ns = self.now.as_nanos();
        if !fresh.is_empty() {
            let peer = match R::END {
                Side::Client => Side::Server,
                Side::Server => Side::Client,
            };
            self.trace.wrote(at_ns, (0, peer), fresh);
        }
        // What is shown beyond the input that is there was refused by the reader.
        let end = (self.read + visible).min(self.input.len());
        let mut input = &self.input[self.read..end];
        let polled = self.conn.poll_event(&mut input, self.now);
        self.read = end - input.len();
        let text = match &polled {
            Ok(None) => return,
            Ok(Some(event)) => R::describe(event),
            Err(error) => format!("the connection is over: {error}"),
        };
        self.events += u64::from(polled.is_ok());
        self.trace.note(at_ns, Some(place), &[1], || text);
    }

    fn poll_transmit(&mut self) {
        self.conn.poll_transmit(&mut self.out, self.now);
        self.bytes.1 += self.out.len() as u64;
        if !self.out.is_empty() {
            let bytes = self.out.chunks().collect::<Vec<_>>().concat();
            self.trace.wrote(self.now.as_nanos(), (0, R::END), &bytes);
            self.out.clear();
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let place = Some((0, R::END));
        self.trace.note(self.now.as_nanos(), place, &[2], || text.to_owned());
    }

    pub(super) fn difference(&self, at_byte: usize, text: String) -> Difference {
        let (verb, at, after) = (self.verbs, self.now, self.last.clone());
        Difference { verb, at_byte, at, after, text }
    }

    pub(super) fn finish(self) -> (u64, u64, (u64, u64), Trace) {
        (self.verbs, self.events, self.bytes, self.trace)
    }
}
