//! A second reader of an end's output, with a foreign HPACK decoder.

use std::collections::BTreeSet;

use grpc_proto::http2::frame::{FrameHeader, HEADER_LEN, PREFACE, flag, kind};
use grpc_proto::{ConnectionError, ErrorCode, Violation};

/// The response to an HTTP/1 client.
const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 505 ";

/// Checks that RFC 9113 allows the output `said`, after any input.
pub fn check(said: &[u8], error: Option<&ConnectionError>, by_server: bool) {
    let http1 = error == Some(&ConnectionError::PeerMisbehaved(Violation::Http1Request));
    let mut rest = match by_server {
        true if http1 => {
            let answer = said.windows(HTTP1_ANSWER.len()).position(|text| text == HTTP1_ANSWER);
            &said[..answer.expect("an answer in its own words")]
        }
        true => said,
        false => said.strip_prefix(PREFACE).expect("a client begins with the preface"),
    };
    let mut decoder = httlib_hpack::Decoder::with_dynamic_size(4096);
    // The peer's SETTINGS may have allowed any table.
    decoder.set_max_dynamic_size(u32::MAX);
    let (mut opened, mut ended, mut reset) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut block: Option<(FrameHeader, Vec<u8>)> = None;
    let mut frames = 0u32;
    let mut goaway = u32::MAX;
    while !rest.is_empty() {
        let (head, tail) = rest.split_first_chunk::<HEADER_LEN>().expect("frames are whole");
        let header = FrameHeader::parse(head);
        let (payload, tail) = tail.split_at_checked(header.len as usize).expect("and payloads");
        rest = tail;
        assert!(frames > 0 || header.kind == kind::SETTINGS, "SETTINGS come first: {header:?}");
        frames += 1;
        if let Some((first, _)) = &block {
            let goes_on = header.kind == kind::CONTINUATION && header.stream == first.stream;
            assert!(goes_on, "a field block is interrupted by {header:?}");
        }
        let stream = header.stream;
        match header.kind {
            kind::DATA => {
                assert!(opened.contains(&stream), "DATA before HEADERS: {header:?}");
                assert!(!ended.contains(&stream) && !reset.contains(&stream), "late: {header:?}");
            }
            kind::HEADERS => {
                assert!(!ended.contains(&stream) && !reset.contains(&stream), "late: {header:?}");
                assert!(stream % 2 == 1, "streams are the client's: {header:?}");
                let fresh = opened.insert(stream);
                let last = fresh && opened.last() == Some(&stream);
                assert!(by_server || last, "a stream goes back: {header:?}");
                block = Some((header, payload.to_vec()));
            }
            kind::CONTINUATION => {
                block.as_mut().expect("a block goes on").1.extend_from_slice(payload);
            }
            kind::RST_STREAM => {
                assert!(payload.len() == 4 && stream != 0, "{header:?}");
                // Each frame that follows the peer's own reset is a stream error of its own (RFC 9113 §5.1).
                let again = number(payload) == ErrorCode::STREAM_CLOSED.0;
                assert!(reset.insert(stream) || again, "reset twice: {header:?}");
                // An early answer is whole before the request is given up (RFC 9113 §8.1).
                let early = number(payload) == ErrorCode::NO_ERROR.0;
                assert!(!(by_server && early) || ended.contains(&stream), "cut off: {header:?}");
            }
            kind::SETTINGS => {
                let acks = header.has(flag::ACK);
                assert!(
                    stream == 0 && if acks { payload.is_empty() } else { payload.len() % 6 == 0 }
                );
            }
            kind::PING => assert!(payload.len() == 8 && stream == 0, "{header:?}"),
            kind::GOAWAY => {
                let last = number(payload);
                assert!(stream == 0 && last <= goaway, "GOAWAY goes up to {last}");
                goaway = last;
            }
            kind::WINDOW_UPDATE => {
                let increment = number(payload);
                assert!(payload.len() == 4 && increment > 0 && increment < 1 << 31, "{increment}");
            }
            other => panic!("a frame of type {other}"),
        }
        if matches!(header.kind, kind::DATA | kind::HEADERS) && header.has(flag::END_STREAM) {
            ended.insert(stream);
        }
        if matches!(header.kind, kind::HEADERS | kind::CONTINUATION)
            && header.has(flag::END_HEADERS)
        {
            let (_, mut bytes) = block.take().expect("a block under way");
            let mut fields = Vec::new();
            decoder.decode(&mut bytes, &mut fields).expect("what we encode decodes elsewhere");
            let lower = |name: &[u8]| !name.is_empty() && !name.iter().any(u8::is_ascii_uppercase);
            assert!(fields.iter().all(|(name, ..)| lower(name)), "{fields:?}");
        }
    }
    assert!(block.is_none(), "a field block has no end");
}

/// The acknowledgement of the last PING in `said`.
pub fn pong(said: &[u8], by_server: bool) -> Option<Vec<u8>> {
    let mut rest = if by_server { said } else { said.strip_prefix(PREFACE)? };
    let mut pong = None;
    while let Some((head, tail)) = rest.split_first_chunk::<HEADER_LEN>() {
        let header = FrameHeader::parse(head);
        let (payload, tail) = tail.split_at_checked(header.len as usize)?;
        rest = tail;
        if header.kind == kind::PING && !header.has(flag::ACK) {
            let ack = FrameHeader { flags: flag::ACK, ..header };
            pong = Some([&ack.to_bytes(), payload].concat());
        }
    }
    pong
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(*payload.first_chunk().expect("four bytes at the least"))
}
