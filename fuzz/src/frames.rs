//! The frame reader: a session survives any frames behind a valid beginning, whatever it makes of them.

use arbitrary::{Arbitrary, Unstructured};
use grpc_proto::http2::frame::FrameHeader;

use crate::conversation::{PREFIX, serve};

/// A frame of any type with any flags, and a payload that may have the wrong length.
#[derive(Arbitrary, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
}

/// Reads frames out of `data`; a header must also survive being written and read.
pub fn check(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<9>() {
        let header = FrameHeader::parse(bytes);
        assert_eq!(FrameHeader::parse(&header.to_bytes()), header);
    }
    let mut source = Unstructured::new(data);
    let mut wire = PREFIX.to_vec();
    while !source.is_empty() && wire.len() < 1 << 16 {
        let Ok(frame) = Frame::arbitrary(&mut source) else { break };
        let header = FrameHeader {
            len: frame.payload.len() as u32,
            kind: frame.kind % 12,
            flags: frame.flags,
            stream: frame.stream.into(),
        };
        wire.extend_from_slice(&header.to_bytes());
        wire.extend_from_slice(&frame.payload);
    }
    let whole = serve(&wire, usize::MAX);
    assert_eq!(whole, serve(&wire, 1), "one byte at a time is not the same");
}
