//! Frames as bytes, written and read without the crate under test (but for HPACK on the way back).

use grpc_proto::hpack::{Decoder, FieldList, ListLimits};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITIZED: u8 = 0x20;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const SETTINGS_TIMEOUT: u32 = 4;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;
pub const HTTP_1_1_REQUIRED: u32 = 13;

/// One frame whose header tells the truth about its payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_with_len(payload.len(), kind, flags, stream, payload)
}

/// One frame whose header may lie.
pub fn frame_with_len(len: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (len as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in entries {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

/// DATA with `padding` octets after the payload.
pub fn padded_data(stream: u32, flags: u8, payload: &[u8], padding: u8) -> Vec<u8> {
    let mut bytes = vec![padding];
    bytes.extend(payload);
    bytes.extend(std::iter::repeat_n(0, usize::from(padding)));
    frame(DATA, flags | PADDED, stream, &bytes)
}

/// HEADERS with the whole block.
pub fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, block)
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, &payload)
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A length-prefixed message.
pub fn message(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An integer with an `n`-bit prefix (RFC 7541 §5.1).
pub fn integer(first: u8, n: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1usize << n) - 1;
    if value < most {
        return out.push(first | value as u8);
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A literal field with a new name (RFC 7541 §6.2): `first` is 0x00, 0x10 or 0x40.
pub fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    for text in [name, value] {
        integer(0, 7, text.len(), &mut out);
        out.extend(text);
    }
    out
}

/// A field block of literals that leave the dynamic table alone.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name.as_ref(), value.as_ref())).collect()
}

/// The fields of an ordinary call.
pub const CALL: [(&str, &str); 6] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/test.Echo/Unary"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
];

/// The block of an ordinary call, with more fields at its end.
pub fn call_with(more: &[(&str, &str)]) -> Vec<u8> {
    block(&[&CALL[..], more].concat())
}

/// The block of an ordinary call.
pub fn call() -> Vec<u8> {
    call_with(&[])
}

/// The block of an ordinary call in which the value of `name` is another.
pub fn call_but(name: &str, value: &str) -> Vec<u8> {
    let mut fields = CALL.to_vec();
    fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
    block(&fields)
}

/// The block of an ordinary call that lacks `name`.
pub fn call_without(name: &str) -> Vec<u8> {
    let fields: Vec<_> = CALL.into_iter().filter(|field| field.0 != name).collect();
    block(&fields)
}

/// The block of an ordinary response's head.
pub fn response() -> Vec<u8> {
    block(&[(":status", "200"), ("content-type", "application/grpc")])
}

/// The block of trailers.
pub fn trailers(status: &str) -> Vec<u8> {
    block(&[("grpc-status", status)])
}

/// The block of a Trailers-Only response.
pub fn trailers_only(status: &str) -> Vec<u8> {
    block(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", status)])
}

/// A frame that the connection under test has sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    Preface,
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Headers { stream: u32, fields: Vec<(String, String)>, end_stream: bool },
    Data { stream: u32, payload: Vec<u8>, end_stream: bool },
    Reset { stream: u32, code: u32 },
    Ping([u8; 8]),
    PingAck([u8; 8]),
    GoAway { last: u32, code: u32, debug: String },
    WindowUpdate { stream: u32, increment: u32 },
    Unknown(u8),
}

impl Sent {
    pub fn stream(&self) -> u32 {
        match *self {
            Sent::Headers { stream, .. }
            | Sent::Data { stream, .. }
            | Sent::Reset { stream, .. }
            | Sent::WindowUpdate { stream, .. } => stream,
            _ => 0,
        }
    }

    /// The value of a field of HEADERS.
    pub fn field(&self, name: &str) -> Option<&str> {
        match self {
            Sent::Headers { fields, .. } => {
                fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
            }
            _ => None,
        }
    }
}

/// Reads what a connection sends, over its whole life: the field blocks depend on each other.
pub struct Reader {
    decoder: Decoder,
    pending: Vec<u8>,
}

impl Reader {
    pub fn new() -> Self {
        Reader { decoder: Decoder::new(4096), pending: Vec::new() }
    }

    pub fn read(&mut self, bytes: &[u8]) -> Vec<Sent> {
        self.pending.extend(bytes);
        let bytes = std::mem::take(&mut self.pending);
        let mut rest = &bytes[..];
        let mut sent = Vec::new();
        let mut open: Option<(u32, bool, Vec<u8>)> = None;
        if let Some(after) = rest.strip_prefix(PREFACE) {
            sent.push(Sent::Preface);
            rest = after;
        }
        while !rest.is_empty() {
            let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let (kind, flags) = (rest[3], rest[4]);
            let stream = u32_at(&rest[5..]);
            // No case allows the connection more than the default of RFC 9113 §4.2.
            assert!(len <= 1 << 14, "a frame of {len} bytes");
            let payload = &rest[9..9 + len];
            rest = &rest[9 + len..];
            match kind {
                HEADERS => open = Some((stream, flags & END_STREAM != 0, payload.to_vec())),
                CONTINUATION => open.as_mut().expect("HEADERS").2.extend(payload),
                _ => {
                    assert!(open.is_none(), "a block is contiguous");
                    sent.push(other(kind, flags, stream, payload));
                }
            }
            if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
                let (stream, end_stream, block) = open.take().expect("a block");
                sent.push(Sent::Headers { stream, fields: self.fields(&block), end_stream });
            }
        }
        sent
    }

    fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut list = FieldList::new();
        let limits = ListLimits { max_size: 1 << 20, max_fields: 10_000 };
        self.decoder.decode(block, &limits, &mut list).expect("a block that decodes");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        list.iter().map(|field| (text(field.name), text(field.value))).collect()
    }
}

fn other(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Sent {
    let ack = flags & ACK != 0;
    match kind {
        DATA => {
            Sent::Data { stream, payload: payload.to_vec(), end_stream: flags & END_STREAM != 0 }
        }
        RST_STREAM => Sent::Reset { stream, code: u32_at(payload) },
        SETTINGS if ack => Sent::SettingsAck,
        SETTINGS => Sent::Settings(
            payload
                .chunks(6)
                .map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), u32_at(&entry[2..])))
                .collect(),
        ),
        PING if ack => Sent::PingAck(payload.try_into().expect("8 bytes")),
        PING => Sent::Ping(payload.try_into().expect("8 bytes")),
        GOAWAY => Sent::GoAway {
            last: u32_at(payload),
            code: u32_at(&payload[4..]),
            debug: String::from_utf8(payload[8..].to_vec()).expect("text that a person can read"),
        },
        WINDOW_UPDATE => Sent::WindowUpdate { stream, increment: u32_at(payload) },
        kind => Sent::Unknown(kind),
    }
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().expect("four bytes"))
}
