//! A ledger of flow control and limits, kept from the bytes that pass in both directions and from nothing else.

use std::collections::BTreeMap;

use grpc_proto::http2::Session;
use grpc_proto::http2::frame::{FrameHeader, HEADER_LEN, PREFACE, flag, kind};

/// What either end has sent and allowed; stream 0 is the connection.
#[derive(Default)]
pub struct Ledger {
    heard: Frames,
    said: Frames,
    /// SETTINGS_INITIAL_WINDOW_SIZE of the peer, if it has sent one.
    peer_initial: Option<u32>,
    /// SETTINGS_MAX_FRAME_SIZE of the peer, likewise.
    peer_frame: Option<u32>,
    peer_credit: BTreeMap<u32, i64>,
    sent: BTreeMap<u32, i64>,
    credit: BTreeMap<u32, i64>,
    received: BTreeMap<u32, i64>,
    /// CONTINUATION frames of the block under way, and empty DATA frames in a row.
    continuations: u32,
    empty_data: u32,
    /// A limit that the peer has exceeded, which must have ended the connection.
    exceeded: Option<&'static str>,
}

/// The window of a connection, and of streams until SETTINGS say otherwise.
const DEFAULT_WINDOW: i64 = 65_535;
/// What every peer takes, and what it takes until SETTINGS say otherwise.
const LEAST_FRAME_SIZE: u32 = 16_384;

impl Ledger {
    /// Input that the peer has sent and the end has consumed.
    pub fn hear(&mut self, bytes: &[u8], session: &Session) {
        let limits = session.limits();
        self.heard.push(bytes);
        while let Some((header, payload)) = self.heard.next() {
            let is_empty = header.kind == kind::DATA && header.len == 0;
            self.empty_data = match is_empty && !header.has(flag::END_STREAM) {
                true => self.empty_data + 1,
                false => 0,
            };
            self.continuations = match header.kind {
                kind::CONTINUATION => self.continuations + 1,
                _ => 0,
            };
            match header.kind {
                kind::DATA => {
                    for id in [0, header.stream] {
                        *self.received.entry(id).or_default() += i64::from(header.len);
                    }
                }
                kind::WINDOW_UPDATE => {
                    let credit = number(&payload) & 0x7fff_ffff;
                    *self.peer_credit.entry(header.stream).or_default() += i64::from(credit);
                }
                kind::SETTINGS if !header.has(flag::ACK) => {
                    for entry in payload.chunks_exact(6) {
                        match entry[..2] {
                            [0, 4] => self.peer_initial = Some(number(&entry[2..])),
                            [0, 5] => self.peer_frame = Some(number(&entry[2..])),
                            _ => {}
                        }
                    }
                    if payload.len() / 6 > limits.max_settings_entries as usize {
                        self.exceeded = Some("max_settings_entries");
                    }
                }
                _ => {}
            }
            if header.len > limits.max_frame_size {
                self.exceeded = Some("max_frame_size");
            }
            if self.empty_data > limits.max_empty_data {
                self.exceeded = Some("max_empty_data");
            }
            if self.continuations > limits.max_continuations {
                self.exceeded = Some("max_continuations");
            }
        }
    }

    /// Output of the end: no longer frames, and no more DATA, than the peer allows at this time.
    pub fn say(&mut self, bytes: &[u8]) {
        self.said.push(bytes);
        while let Some((header, payload)) = self.said.next() {
            // What the peer says is smaller than every peer has to take ends the connection.
            let longest = self.peer_frame.unwrap_or(0).max(LEAST_FRAME_SIZE);
            assert!(header.len <= longest, "{header:?} is longer than {longest}");
            match header.kind {
                kind::DATA if header.len > 0 => {
                    let initial = self.peer_initial.map_or(DEFAULT_WINDOW, i64::from);
                    for (id, window) in [(0, DEFAULT_WINDOW), (header.stream, initial)] {
                        let sent = self.sent.entry(id).or_default();
                        *sent += i64::from(header.len);
                        let most = window + self.peer_credit.get(&id).copied().unwrap_or(0);
                        assert!(*sent <= most, "{sent} of {most} bytes are sent on stream {id}");
                    }
                }
                kind::WINDOW_UPDATE => {
                    *self.credit.entry(header.stream).or_default() += i64::from(number(&payload));
                }
                _ => {}
            }
        }
    }

    /// Whether a part of a frame was consumed.
    pub fn hears_a_frame(&self) -> bool {
        self.heard.is_within_frame()
    }

    /// Holds the windows of a session that goes on against the ledger.
    pub fn check(&self, session: &Session) {
        assert_eq!(self.exceeded, None, "a limit was exceeded, and the connection goes on");
        // Before the first pull the peer does not know the connection's window.
        if self.said.count == 0 || self.hears_a_frame() {
            return;
        }
        let balance = |id: &u32| {
            let credit = self.credit.get(id).copied().unwrap_or(0);
            credit - self.received.get(id).copied().unwrap_or(0)
        };
        assert_eq!(session.recv_window(), DEFAULT_WINDOW + balance(&0), "the connection's window");
        for stream in session.streams() {
            if stream.id != 0 && !stream.is_reported && stream.state.can_receive() {
                let window = i64::from(session.recv_base()) + balance(&stream.id);
                assert_eq!(stream.recv_window, window, "{stream:?}");
            }
        }
    }
}

/// Frames out of bytes that come in pieces.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    at: usize,
    count: u64,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        let mut rest = &self.bytes[self.at..];
        let mut taken = 0;
        if self.count == 0 && rest.starts_with(b"P") {
            rest = rest.strip_prefix(PREFACE)?;
            taken = PREFACE.len();
        }
        let (head, tail) = rest.split_first_chunk::<HEADER_LEN>()?;
        let header = FrameHeader::parse(head);
        let payload = tail.get(..header.len as usize)?.to_vec();
        self.at += taken + HEADER_LEN + payload.len();
        self.count += 1;
        Some((header, payload))
    }

    fn is_within_frame(&self) -> bool {
        self.at < self.bytes.len()
    }
}

fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use grpc_proto::{Client, Config, Connection, Instant};

    use super::*;

    /// A frame of zeros, of a kind that the ledger does not look into.
    fn frame(len: u32) -> Vec<u8> {
        let [_, a, b, c] = len.to_be_bytes();
        let mut bytes = vec![a, b, c, kind::PING, 0, 0, 0, 0, 0];
        bytes.resize(bytes.len() + len as usize, 0);
        bytes
    }

    /// A ledger whose peer has announced this frame size.
    fn reported(size: u32) -> Ledger {
        let conn = Connection::<Client>::new(&Config::default(), 0, Instant::ZERO);
        let mut settings = vec![0, 0, 6, kind::SETTINGS, 0, 0, 0, 0, 0, 0, 5];
        settings.extend(size.to_be_bytes());
        let mut ledger = Ledger::default();
        ledger.hear(&settings, conn.session());
        ledger
    }

    #[test]
    fn frames_are_as_long_as_the_peer_has_said() {
        Ledger::default().say(&frame(16_384));
        reported(20_000).say(&frame(20_000));
    }

    #[test]
    #[should_panic(expected = "longer than 16384")]
    fn a_frame_longer_than_every_peer_takes_is_found() {
        Ledger::default().say(&frame(16_385));
    }

    #[test]
    #[should_panic(expected = "longer than 20000")]
    fn a_frame_longer_than_the_peer_has_said_is_found() {
        reported(20_000).say(&frame(20_001));
    }
}
