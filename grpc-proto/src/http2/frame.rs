//! Frames on the wire (RFC 9113 §4, §6): the nine-byte header, and writers for the small frames.
//!
//! ```text
//! +-----------------------------------------------+
//! |                 Length (24)                   |
//! +---------------+---------------+---------------+
//! |   Type (8)    |   Flags (8)   |
//! +-+-------------+---------------+-------------------------------+
//! |R|                 Stream Identifier (31)                      |
//! +=+=============================================================+
//! |                   Frame Payload (0...)                      ...
//! ```

use alloc::vec::Vec;

use super::error_code::ErrorCode;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 9;
/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types of RFC 9113 §6; others are numbers too, and ignored.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of RFC 9113 §6.
pub mod flag {
    #![allow(missing_docs)]
    pub const ACK: u8 = 0x01;
    pub const END_STREAM: u8 = 0x01;
    pub const END_HEADERS: u8 = 0x04;
    pub const PADDED: u8 = 0x08;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the payload, 24 bits.
    pub len: u32,
    /// Type, see [`kind`].
    pub kind: u8,
    /// Flags, see [`flag`].
    pub flags: u8,
    /// Stream identifier, 31 bits; 0 is the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads a header; the reserved bit is ignored.
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        // Two loads of a word instead of eight of a byte.
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        let len_and_kind = u32::from_be_bytes([a, b, c, kind]);
        FrameHeader {
            len: len_and_kind >> 8,
            kind: len_and_kind as u8,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    /// The header's bytes.
    #[inline]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = self.len.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Whether all bits of `flag` are set.
    #[inline]
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// Appends a frame header.
#[inline]
pub(crate) fn put_header(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&FrameHeader { len: len as u32, kind, flags, stream }.to_bytes());
}

/// Appends a RST_STREAM (§6.4).
pub(crate) fn put_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    put_header(out, 4, kind::RST_STREAM, 0, stream);
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends a PING (§6.7).
pub(crate) fn put_ping(out: &mut Vec<u8>, ack: bool, payload: [u8; 8]) {
    put_header(out, 8, kind::PING, if ack { flag::ACK } else { 0 }, 0);
    out.extend_from_slice(&payload);
}

/// Appends a GOAWAY with debug data that a person can read (§6.8).
pub(crate) fn put_goaway(out: &mut Vec<u8>, last: u32, code: ErrorCode, debug: &str) {
    put_header(out, 8 + debug.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug.as_bytes());
}

/// Appends a WINDOW_UPDATE (§6.9).
pub(crate) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put_header(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}

/// Completes a HEADERS frame whose block begins [`HEADER_LEN`] bytes behind `start` and ends the output.
pub(crate) fn finish_block(
    out: &mut Vec<u8>,
    start: usize,
    stream: u32,
    end_stream: bool,
    max_frame_size: usize,
) {
    let len = out.len() - start - HEADER_LEN;
    if len > max_frame_size {
        let block = out.split_off(start + HEADER_LEN);
        out.truncate(start);
        return put_block(out, stream, end_stream, &block, max_frame_size);
    }
    let end_stream = if end_stream { flag::END_STREAM } else { 0 };
    let flags = end_stream | flag::END_HEADERS;
    let header = FrameHeader { len: len as u32, kind: kind::HEADERS, flags, stream };
    out[start..start + HEADER_LEN].copy_from_slice(&header.to_bytes());
}

/// Appends a field block as HEADERS and as many CONTINUATION frames as `max_frame_size` asks for (§6.2, §6.10).
pub(crate) fn put_block(
    out: &mut Vec<u8>,
    stream: u32,
    end_stream: bool,
    block: &[u8],
    max_frame_size: usize,
) {
    let end_stream = if end_stream { flag::END_STREAM } else { 0 };
    if block.len() <= max_frame_size {
        put_header(out, block.len(), kind::HEADERS, end_stream | flag::END_HEADERS, stream);
        out.extend_from_slice(block);
        return;
    }
    let mut fragments = block.chunks(max_frame_size).peekable();
    let mut kind_and_flags = (kind::HEADERS, end_stream);
    while let Some(fragment) = fragments.next() {
        let (kind, flags) = kind_and_flags;
        let last = if fragments.peek().is_none() { flag::END_HEADERS } else { 0 };
        put_header(out, fragment.len(), kind, flags | last, stream);
        out.extend_from_slice(fragment);
        kind_and_flags = (kind::CONTINUATION, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_reads_back(len in 0u32..1 << 24, kind: u8, flags: u8, stream in 0u32..1 << 31) {
            let header = FrameHeader { len, kind, flags, stream };
            prop_assert_eq!(FrameHeader::parse(&header.to_bytes()), header);
        }
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let header = FrameHeader::parse(&[0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(header.stream, 0x7fff_ffff);
    }

    #[test]
    fn a_long_block_is_cut_into_continuations() {
        let mut out = Vec::new();
        put_block(&mut out, 1, true, &[7; 25], 10);
        let headers: Vec<_> = [0, 19, 38]
            .map(|at| FrameHeader::parse(out[at..at + 9].try_into().unwrap()))
            .into_iter()
            .map(|h| (h.len, h.kind, h.flags))
            .collect();
        assert_eq!(headers, [(10, 1, flag::END_STREAM), (10, 9, 0), (5, 9, flag::END_HEADERS)]);
    }

    /// The octets of RFC 9113 §6, one by one.
    #[test]
    fn every_frame_is_written_as_the_rfc_draws_it() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = b"before".to_vec();
            write(&mut out);
            out.split_off(6)
        };
        assert_eq!(
            written(&|out| put_header(out, 0x01_02_03, 4, 5, 0x06_07_08_09)),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(
            written(&|out| put_reset(out, 3, ErrorCode::CANCEL)),
            [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]
        );
        assert_eq!(
            written(&|out| put_ping(out, false, *b"12345678")),
            *b"\0\0\x08\x06\0\0\0\0\x0012345678"
        );
        assert_eq!(
            written(&|out| put_ping(out, true, *b"12345678")),
            *b"\0\0\x08\x06\x01\0\0\0\x0012345678"
        );
        assert_eq!(
            written(&|out| put_goaway(out, 5, ErrorCode::INTERNAL_ERROR, "why")),
            *b"\0\0\x0b\x07\0\0\0\0\0\0\0\0\x05\0\0\0\x02why"
        );
        assert_eq!(
            written(&|out| put_window_update(out, 7, 0x10203)),
            [0, 0, 4, 8, 0, 0, 0, 0, 7, 0, 1, 2, 3]
        );
    }

    /// For blocks around one frame and two, with and without END_STREAM, by either writer.
    #[test]
    fn a_block_is_headers_and_as_many_continuations_as_it_needs() {
        const MOST: usize = 10;
        for len in 0..=31usize {
            for end_stream in [false, true] {
                let block: Vec<u8> = (0..len as u8).collect();
                let mut put = b"before".to_vec();
                put_block(&mut put, 9, end_stream, &block, MOST);
                let mut finished = b"before".to_vec();
                finished.extend([0; HEADER_LEN]);
                finished.extend(&block);
                finish_block(&mut finished, 6, 9, end_stream, MOST);
                assert_eq!(put, finished, "{len}");
                let (mut rest, mut gathered, mut frames) = (&put[6..], Vec::new(), 0);
                while let Some((bytes, after)) = rest.split_first_chunk() {
                    let header = FrameHeader::parse(bytes);
                    let (payload, after) = after.split_at(header.len as usize);
                    let ends = if after.is_empty() { flag::END_HEADERS } else { 0 };
                    let (kind, more) = match frames {
                        0 => (kind::HEADERS, if end_stream { flag::END_STREAM } else { 0 }),
                        _ => (kind::CONTINUATION, 0),
                    };
                    assert_eq!((header.kind, header.flags, header.stream), (kind, ends | more, 9));
                    assert!(after.is_empty() || payload.len() == MOST);
                    gathered.extend(payload);
                    frames += 1;
                    rest = after;
                }
                assert_eq!((gathered, frames), (block, len.div_ceil(MOST).max(1)));
            }
        }
    }

    #[test]
    fn a_flag_is_set_if_all_its_bits_are() {
        let header = FrameHeader { len: 0, kind: 0, flags: 0b0101, stream: 0 };
        for (flag, set) in [(1, true), (4, true), (5, true), (2, false), (3, false), (0, true)] {
            assert_eq!(header.has(flag), set);
        }
    }
}
