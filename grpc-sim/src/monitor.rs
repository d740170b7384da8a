//! A reader of both directions of a connection that shares no code with either end.
//!
//! It sees frames when they are written, and how far the other end has read. What it allows is what
//! RFC 9113 allows an honest endpoint; codes that blame the peer are failures between two honest ends.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use grpc_proto::http2::Side;
use httlib_hpack::Decoder;

use crate::marks::{Mark, Marks};

/// Both directions of one connection.
#[derive(Debug)]
pub(crate) struct Monitor {
    ways: [Way; 2],
    streams: BTreeMap<u32, Stream>,
    last_stream: u32,
    /// How many streams the client has open as far as frames that were written tell.
    open: u32,
    /// Streams that the server has reset.
    resets: u64,
}

/// What one side has written.
struct Way {
    written: u64,
    read: u64,
    /// What had been read before it was read on: what the reader has said since knows of that for sure.
    known: u64,
    preface_left: usize,
    header: Vec<u8>,
    payload: Vec<u8>,
    remaining: usize,
    frames: u64,
    block: Option<Block>,
    decoder: Decoder<'static>,
    /// SETTINGS of this side, by identifier.
    settings: BTreeMap<u16, u32>,
    settings_sent: u32,
    settings_acked: u32,
    /// Payloads of PINGs that the other end has not acknowledged yet.
    pings: VecDeque<Vec<u8>>,
    goaway: Option<u32>,
    /// Connection credit given to the other side, and DATA sent on it by this one.
    granted: i64,
    sent: i64,
    /// Flow-controlled things that the other side has not read yet.
    under_way: VecDeque<UnderWay>,
    /// The sums over these: DATA, and credit of the connection.
    data: i64,
    credit: i64,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("written", &self.written).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Block {
    stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// It counts for the reader once this much was read.
    at: u64,
    stream: u32,
    data: i64,
    credit: i64,
}

/// One stream; index 0 is the client's direction.
#[derive(Debug, Default)]
struct Stream {
    ended: [bool; 2],
    reset: [bool; 2],
    /// Where RST_STREAM ends in what the side has written.
    reset_at: [u64; 2],
    heads: [u32; 2],
    sent: [i64; 2],
    granted: [i64; 2],
    /// What is under way of these.
    data: [i64; 2],
    credit: [i64; 2],
    /// How many streams the server had reset before, and this one.
    reset_after: u64,
}

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

const DEFAULT_WINDOW: i64 = 65_535;
const MAX_WINDOW: i64 = (1 << 31) - 1;

/// Codes that say that the peer is wrong, which no honest one is.
fn blames(code: u32) -> bool {
    // PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR.
    matches!(code, 1 | 2 | 3 | 5 | 6 | 9)
}

impl Monitor {
    pub(crate) fn new() -> Self {
        let way = |preface_left| Way {
            written: 0,
            read: 0,
            known: 0,
            preface_left,
            header: Vec::new(),
            payload: Vec::new(),
            remaining: 0,
            frames: 0,
            block: None,
            decoder: Decoder::with_dynamic_size(4096),
            settings: BTreeMap::new(),
            settings_sent: 0,
            settings_acked: 0,
            pings: VecDeque::new(),
            goaway: None,
            granted: DEFAULT_WINDOW,
            sent: 0,
            under_way: VecDeque::new(),
            data: 0,
            credit: 0,
        };
        Monitor {
            ways: [way(24), way(0)],
            streams: BTreeMap::new(),
            last_stream: 0,
            open: 0,
            resets: 0,
        }
    }

    /// Bytes that `side` has written; `boundary` hears where frames end.
    pub(crate) fn wrote(
        &mut self,
        side: Side,
        mut bytes: &[u8],
        marks: &mut Marks,
        mut boundary: impl FnMut(u64),
    ) -> Result<(), String> {
        let at = side as usize;
        while !bytes.is_empty() {
            let way = &mut self.ways[at];
            if way.preface_left > 0 {
                let part = way.preface_left.min(bytes.len());
                way.preface_left -= part;
                way.written += part as u64;
                bytes = &bytes[part..];
                if way.preface_left == 0 {
                    boundary(way.written);
                }
                continue;
            }
            if way.header.len() < 9 {
                let part = (9 - way.header.len()).min(bytes.len());
                way.header.extend_from_slice(&bytes[..part]);
                way.written += part as u64;
                bytes = &bytes[part..];
                if way.header.len() < 9 {
                    continue;
                }
                let header = Header::of(&way.header);
                way.remaining = header.len;
                way.payload.clear();
                self.begin(at, header)?;
            } else {
                let part = way.remaining.min(bytes.len());
                if Header::of(&way.header).kind != kind::DATA {
                    way.payload.extend_from_slice(&bytes[..part]);
                }
                way.remaining -= part;
                way.written += part as u64;
                bytes = &bytes[part..];
            }
            let way = &mut self.ways[at];
            if way.header.len() == 9 && way.remaining == 0 {
                let header = Header::of(&way.header);
                way.header.clear();
                way.frames += 1;
                boundary(way.written);
                let payload = std::mem::take(&mut way.payload);
                self.complete(at, header, &payload, marks)?;
                self.ways[at].payload = payload;
            }
        }
        Ok(())
    }

    /// The other end has read `bytes` more of what `side` has written.
    pub(crate) fn read(&mut self, side: Side, bytes: usize) {
        let way = &mut self.ways[side as usize];
        way.known = way.read;
        way.read += bytes as u64;
        while let Some(front) = way.under_way.pop_front_if(|front| front.at <= way.read) {
            if front.data > 0 || front.stream == 0 {
                way.data -= front.data;
                way.credit -= front.credit;
            }
            if let Some(stream) = self.streams.get_mut(&front.stream) {
                stream.data[side as usize] -= front.data;
                stream.credit[side as usize] -= front.credit;
            }
        }
    }

    /// DATA of `side` on a stream (0 is the connection) that the other end has not counted yet.
    pub(crate) fn data_under_way(&self, side: Side, stream: u32) -> i64 {
        match stream {
            0 => self.ways[side as usize].data,
            _ => self.streams.get(&stream).map_or(0, |stream| stream.data[side as usize]),
        }
    }

    /// Credit that `side` has given on a stream and the other end has not read yet.
    pub(crate) fn credit_under_way(&self, side: Side, stream: u32) -> i64 {
        match stream {
            0 => self.ways[side as usize].credit,
            _ => self.streams.get(&stream).map_or(0, |stream| stream.credit[side as usize]),
        }
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE as `side` has announced it.
    fn initial_window(&self, side: Side) -> i64 {
        self.ways[side as usize].settings.get(&4).map_or(DEFAULT_WINDOW, |&v| i64::from(v))
    }

    /// Whether `side` has written its SETTINGS, and with them the window of its connection.
    pub(crate) fn has_spoken(&self, side: Side) -> bool {
        self.ways[side as usize].settings_sent > 0
    }

    /// What has been asked on a connection at rest, and was not answered.
    pub(crate) fn unanswered(&self) -> Option<String> {
        [Side::Client, Side::Server].into_iter().find_map(|side| {
            let (asks, answers) = (&self.ways[side as usize], &self.ways[1 - side as usize]);
            if let Some(ping) = asks.pings.front() {
                return Some(format!("PING {ping:?} of the {side:?} was not answered"));
            }
            let (sent, acked) = (asks.settings_sent, answers.settings_acked);
            let text = || format!("{acked} of {sent} SETTINGS of the {side:?} were acknowledged");
            (sent != acked).then(text)
        })
    }

    fn begin(&mut self, at: usize, header: Header) -> Result<(), String> {
        let other = &self.ways[1 - at];
        let max = other.settings.get(&5).copied().unwrap_or(16_384).max(16_384);
        if header.len > max as usize {
            return Err(format!("a frame of {} bytes exceeds {max}", header.len));
        }
        let way = &mut self.ways[at];
        if way.frames == 0 && (header.kind != kind::SETTINGS || header.flags & 1 != 0) {
            return Err("the first frame is not SETTINGS".into());
        }
        if let Some(block) = &way.block
            && (header.kind != kind::CONTINUATION || header.stream != block.stream)
        {
            return Err("a field block is interrupted".into());
        }
        let of_connection = matches!(header.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        if of_connection && header.stream != 0 {
            return Err(format!("a frame of the connection on stream {}", header.stream));
        }
        let fits = match header.kind {
            kind::RST_STREAM | kind::WINDOW_UPDATE => header.len == 4,
            kind::SETTINGS if header.flags & 1 != 0 => header.len == 0,
            kind::SETTINGS => header.len.is_multiple_of(6),
            kind::PING => header.len == 8,
            kind::GOAWAY => header.len >= 8,
            _ => true,
        };
        if !fits {
            return Err(format!("a frame of type {} has {} bytes", header.kind, header.len));
        }
        // A block goes on whatever has come meanwhile; of RST_STREAM, the code is looked at too.
        let goes_on = matches!(header.kind, kind::CONTINUATION | kind::RST_STREAM);
        if !goes_on && self.is_given_up(1 - at, header.stream) {
            let text = "after the peer's RST_STREAM was read";
            return Err(format!("type {} on stream {} {text}", header.kind, header.stream));
        }
        if header.kind == kind::DATA {
            let len = header.len as i64;
            let initial = self.window_for(1 - at);
            let way = &mut self.ways[at];
            let stream =
                self.streams.get_mut(&header.stream).ok_or("DATA on a stream that is idle")?;
            if stream.ended[at] || stream.reset[at] {
                return Err(format!("DATA on stream {} after its end", header.stream));
            }
            if stream.heads[at] == 0 {
                return Err(format!("DATA on stream {} before HEADERS", header.stream));
            }
            stream.sent[at] += len;
            if len > 0 && stream.sent[at] > initial + stream.granted[1 - at] {
                return Err(format!("DATA on stream {} exceeds its window", header.stream));
            }
            stream.data[at] += len;
            way.data += len;
            way.sent += len;
            way.under_way.push_back(UnderWay {
                at: way.written,
                stream: header.stream,
                data: len,
                credit: 0,
            });
            let sent = way.sent;
            if sent > self.ways[1 - at].granted {
                return Err("DATA exceeds the connection's window".into());
            }
        }
        Ok(())
    }

    /// Whether a side has reset a stream, and the other one has known of it when it said what it says now.
    fn is_given_up(&self, by: usize, stream: u32) -> bool {
        let stream = self.streams.get(&stream);
        stream.is_some_and(|s| s.reset[by] && s.reset_at[by] <= self.ways[by].known)
    }

    /// The largest initial window that the sender of DATA may believe in; `receiver` announced it.
    fn window_for(&self, receiver: usize) -> i64 {
        let announced = self.ways[receiver].settings.get(&4).map_or(DEFAULT_WINDOW, |&v| v.into());
        match self.ways[1 - receiver].settings_acked > 0 {
            true => announced,
            false => announced.max(DEFAULT_WINDOW),
        }
    }

    fn complete(
        &mut self,
        at: usize,
        header: Header,
        payload: &[u8],
        marks: &mut Marks,
    ) -> Result<(), String> {
        let end = header.flags & 1 != 0;
        match header.kind {
            kind::DATA => {
                let late = self.streams.get(&header.stream).filter(|stream| stream.reset[1]);
                // As many as an end remembers have ended since, and the DATA comes behind all of them.
                if late.is_some_and(|stream| self.resets - stream.reset_after >= 64) {
                    marks.reach(Mark::ForgottenData);
                }
                if end {
                    self.end(at, header.stream)?;
                }
                Ok(())
            }
            kind::HEADERS | kind::CONTINUATION => {
                if header.kind == kind::HEADERS && header.stream == 0 {
                    return Err("HEADERS on stream 0".into());
                }
                let way = &mut self.ways[at];
                if header.kind == kind::CONTINUATION {
                    marks.reach(Mark::Continuation);
                }
                let block = way.block.get_or_insert_with(|| Block {
                    stream: header.stream,
                    end_stream: end,
                    bytes: Vec::new(),
                });
                block.bytes.extend_from_slice(payload);
                if header.flags & 4 == 0 {
                    return Ok(());
                }
                let Some(block) = way.block.take() else { return Ok(()) };
                self.block(at, block)
            }
            kind::RST_STREAM => self.reset(at, header.stream, number(payload)),
            kind::SETTINGS if end => {
                self.ways[at].settings_acked += 1;
                if self.ways[at].settings_acked > self.ways[1 - at].settings_sent {
                    return Err("SETTINGS were acknowledged that were not sent".into());
                }
                Ok(())
            }
            kind::SETTINGS => {
                let way = &mut self.ways[at];
                way.settings_sent += 1;
                for entry in payload.chunks_exact(6) {
                    let id = u16::from_be_bytes([entry[0], entry[1]]);
                    way.settings.insert(id, number(&entry[2..]));
                }
                let table = way.settings.get(&1).copied().unwrap_or(4096).max(4096);
                self.ways[1 - at].decoder.set_max_dynamic_size(table);
                Ok(())
            }
            kind::PING if end => {
                let pings = &mut self.ways[1 - at].pings;
                let Some(asked) = pings.iter().position(|asked| asked == payload) else {
                    return Err("a PING was acknowledged that was not sent".into());
                };
                pings.remove(asked);
                Ok(())
            }
            kind::PING => {
                self.ways[at].pings.push_back(payload.to_vec());
                Ok(())
            }
            kind::GOAWAY => {
                let (last, code) = (number(payload) & 0x7fff_ffff, number(&payload[4..]));
                // A server that has waited for the preface in vain blames nobody else's frames.
                let waited = at == 1 && self.ways[0].read < 24;
                if blames(code) && !waited {
                    let debug = String::from_utf8_lossy(&payload[8..]);
                    return Err(format!("GOAWAY {code} between honest ends: {debug}"));
                }
                if self.ways[at].goaway.is_some_and(|before| last > before) {
                    return Err("a later GOAWAY raises the last stream".into());
                }
                self.ways[at].goaway = Some(last);
                Ok(())
            }
            kind::WINDOW_UPDATE => self.window_update(at, header.stream, number(payload).into()),
            kind => Err(format!("a frame of type {kind} that we never send")),
        }
    }

    fn block(&mut self, at: usize, block: Block) -> Result<(), String> {
        let mut bytes = block.bytes;
        let mut fields = Vec::new();
        self.ways[at]
            .decoder
            .decode(&mut bytes, &mut fields)
            .map_err(|error| format!("a field block does not decode: {error:?}"))?;
        let first = fields.first().map_or(&b""[..], |(name, _, _)| name);
        let id = block.stream;
        if at == 0 {
            if id <= self.last_stream || id.is_multiple_of(2) {
                return Err(format!("stream {id} after stream {}", self.last_stream));
            }
            if first != b":method" {
                return Err("a request without :method".into());
            }
            if self.ways[1].goaway.is_some_and(|last| id > last && last != 0x7fff_ffff)
                && self.ways[1].under_way.is_empty()
                && self.ways[1].read == self.ways[1].written
            {
                return Err(format!("stream {id} was opened after GOAWAY was read"));
            }
            self.last_stream = id;
            self.streams.insert(id, Stream::default());
            self.open += 1;
            let limit = self.ways[1].settings.get(&3).copied().unwrap_or(u32::MAX);
            if self.ways[0].settings_acked > 0 && self.open > limit {
                return Err(format!("{} streams are open, {limit} are allowed", self.open));
            }
        }
        let stream = self.streams.get_mut(&id).ok_or("a response on an idle stream")?;
        if stream.ended[at] || stream.reset[at] {
            return Err(format!("HEADERS on stream {id} after its end"));
        }
        stream.heads[at] += 1;
        if at == 1 {
            match stream.heads[1] {
                1 if first != b":status" => return Err("a response without :status".into()),
                2 if !block.end_stream => return Err("trailers without END_STREAM".into()),
                3.. => return Err("HEADERS after trailers".into()),
                _ => {}
            }
            if block.end_stream && !fields.iter().any(|(name, _, _)| name == b"grpc-status") {
                return Err("trailers without grpc-status".into());
            }
        }
        if block.end_stream { self.end(at, id) } else { Ok(()) }
    }

    fn end(&mut self, at: usize, id: u32) -> Result<(), String> {
        let stream = self.streams.get_mut(&id).ok_or("END_STREAM on an idle stream")?;
        if std::mem::replace(&mut stream.ended[at], true) {
            return Err(format!("stream {id} ends twice"));
        }
        if stream.ended == [true, true] && stream.reset == [false, false] {
            self.open -= 1;
        }
        Ok(())
    }

    fn reset(&mut self, at: usize, id: u32, code: u32) -> Result<(), String> {
        // A request that a server refuses, REFUSED_STREAM or ENHANCE_YOUR_CALM for its fields, is replied to at once: that
        // leaves with the other replies, whatever follows the request.
        let refuses = at == 1 && matches!(code, 7 | 11);
        if !refuses && self.is_given_up(1 - at, id) {
            return Err(format!("RST_STREAM {code} on stream {id} after the peer's was read"));
        }
        let stream = self.streams.get_mut(&id).ok_or("RST_STREAM on an idle stream")?;
        if blames(code) {
            return Err(format!("RST_STREAM {code} on stream {id} between honest ends"));
        }
        if stream.reset[at] {
            return Err(format!("stream {id} is reset twice by the same end"));
        }
        if stream.ended != [true, true] && stream.reset == [false, false] {
            self.open -= 1;
        }
        if at == 1 {
            self.resets += 1;
            stream.reset_after = self.resets;
        }
        stream.reset[at] = true;
        stream.reset_at[at] = self.ways[at].written;
        Ok(())
    }

    fn window_update(&mut self, at: usize, id: u32, increment: i64) -> Result<(), String> {
        if increment == 0 {
            return Err("a WINDOW_UPDATE of zero".into());
        }
        let initial = self.initial_window(if at == 0 { Side::Client } else { Side::Server });
        let way = &mut self.ways[at];
        way.under_way.push_back(UnderWay {
            at: way.written,
            stream: id,
            data: 0,
            credit: increment,
        });
        if id == 0 {
            way.credit += increment;
            way.granted += increment;
            let granted = way.granted;
            if granted - self.ways[1 - at].sent > MAX_WINDOW {
                return Err("the connection's window overflows".into());
            }
            return Ok(());
        }
        let stream = self.streams.get_mut(&id).ok_or("WINDOW_UPDATE on an idle stream")?;
        if stream.reset[at] {
            return Err(format!("WINDOW_UPDATE on stream {id} after RST_STREAM"));
        }
        stream.credit[at] += increment;
        stream.granted[at] += increment;
        if initial + stream.granted[at] - stream.sent[1 - at] > MAX_WINDOW {
            return Err(format!("the window of stream {id} overflows"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Header {
    fn of(bytes: &[u8]) -> Self {
        Header {
            len: usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]),
            kind: bytes[3],
            flags: bytes[4],
            stream: number(&bytes[5..]) & 0x7fff_ffff,
        }
    }
}

/// The big-endian number at the start of `bytes`; 0 if they are too few.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
