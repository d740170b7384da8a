//! What one unary exchange looks like, the same for every contender of the `core` benchmark.
//!
//! ```text
//! client                                        server
//!   HEADERS  request fields (END_HEADERS)  ──►
//!   DATA     prefix, body   (END_STREAM)   ──►
//!                                          ◄──  HEADERS  :status, content-type
//!                                          ◄──  DATA     prefix, body
//!                                          ◄──  HEADERS  grpc-status (END_STREAM)
//! ```

/// Sizes of the message in bytes, without its five-byte prefix; request and response are alike.
pub const BODY_SIZES: [usize; 4] = [0, 100, 1024, 10240];

/// Calls that are open at any moment on the one connection.
pub const IN_FLIGHT: usize = 64;

/// The flow-control window of each stream, both ways: more than one message, so that no single call waits for credit.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// The connection's window, both ways: more than [`IN_FLIGHT`] messages of the largest size, for the same reason.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// `:path` of every call.
pub const PATH: &str = "/bench.Echo/Unary";

/// `:authority` of every call.
pub const AUTHORITY: &str = "test";

/// The regular fields of every request, in wire order, after the pseudo-header fields.
pub const REQUEST_FIELDS: [(&str, &str); 3] =
    [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "grpc-proto/0.1.0")];

/// The regular field of every response's head.
pub const RESPONSE_FIELD: (&str, &str) = ("content-type", "application/grpc");

/// The one trailer.
pub const TRAILER: (&str, &str) = ("grpc-status", "0");

/// The name of the field that carries a random trace id, where calls are to differ.
pub const TRACE_FIELD: &str = "x-trace-id";

/// The deadline of such calls, in microseconds from their start.
pub const TIMEOUT_US: u64 = 5_000_000;

/// A length-prefixed message with a body of `len` bytes that are not all alike.
pub fn framed(len: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(len).expect("bodies are small").to_be_bytes());
    message.extend(body(len));
    message
}

/// The same around a protobuf message whose field 1 is a body of `len` bytes.
pub fn framed_payload(len: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    if len > 0 {
        payload.push(1 << 3 | 2);
        let mut rest = len;
        while rest >= 0x80 {
            payload.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        payload.push(rest as u8);
        payload.extend(body(len));
    }
    let mut message = vec![0];
    message
        .extend_from_slice(&u32::try_from(payload.len()).expect("bodies are small").to_be_bytes());
    message.append(&mut payload);
    message
}

/// Bytes that every call of a benchmark sends: kept in memory for ever, so that sharing them needs no reference count.
pub fn for_good(bytes: Vec<u8>) -> bytes::Bytes {
    bytes::Bytes::from_static(bytes.leak())
}

/// A body of `len` bytes that are not all alike.
pub fn body(len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(|i| (i * 31 + 7) as u8)
}

/// The fields that differ from call to call: the remaining timeout and a random trace id.
#[derive(Clone, Debug)]
pub struct Varying {
    state: u64,
}

impl Varying {
    /// A sequence that is the same in every run.
    pub fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// What remains of a call's timeout when it is sent: a little less than [`TIMEOUT_US`], and never quite the same.
    pub fn remaining_us(&mut self) -> u64 {
        TIMEOUT_US - 1 - self.random() % 4096
    }

    /// The value of a `grpc-timeout` field with what remains, written into `to`.
    pub fn timeout<'a>(&mut self, to: &'a mut [u8; 8]) -> &'a [u8] {
        let mut rest = self.remaining_us();
        for digit in to[..7].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        to[7] = b'u';
        to
    }

    /// A trace id of 32 hexadecimal digits.
    pub fn trace_id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        for half in id.chunks_mut(16) {
            let mut random = self.random();
            for digit in half {
                *digit = b"0123456789abcdef"[(random & 15) as usize];
                random >>= 4;
            }
        }
        id
    }

    /// SplitMix64: cheap, and good enough that the dynamic table never helps.
    pub(crate) fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for Varying {
    fn default() -> Self {
        Self::new()
    }
}
