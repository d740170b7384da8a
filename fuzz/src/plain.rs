//! Plain HTTP/2 without gRPC: a session at either end against any bytes. Its events and output do not depend on the cuts, and
//! bodies have the length that `content-length` gives.

use std::collections::BTreeMap;
use std::fmt::Write;

use grpc_proto::hpack::{FieldList, Token};
use grpc_proto::http2::fields::Part;
use grpc_proto::http2::{ConnectionError, Event, Session, Side, StreamKey};
use grpc_proto::{Config, ErrorCode, Instant, Transmit};

use crate::conversation::{PREFIX, SETTINGS, check_wire, limits};

/// The first byte chooses the limits, the second the end and how the rest is cut.
pub fn check(data: &[u8]) {
    let [choice, how, rest @ ..] = data else { return };
    let side = if how & 1 == 0 { Side::Server } else { Side::Client };
    let segment = usize::from(how >> 1) + 1;
    let whole = hold(side, *choice, rest, usize::MAX);
    let cut = hold(side, *choice, rest, segment);
    assert!(whole == cut, "whole: {whole:#?}\nin segments of {segment}: {cut:#?}");
}

/// What the events of a stream have reported.
#[derive(Debug, Default, PartialEq)]
struct Reported {
    events: String,
    body: Vec<u8>,
    content_length: Option<u64>,
    over: bool,
}

/// All streams, how the session ended, and its output.
type Heard = (BTreeMap<StreamKey, Reported>, Option<ConnectionError>, Vec<u8>);

fn hold(side: Side, choice: u8, wire: &[u8], segment: usize) -> Heard {
    let now = Instant::ZERO;
    let mut limits = limits(choice);
    // Pulls come at the end, however the input is cut.
    limits.max_pending_replies = u32::MAX;
    limits.opens_per_transmit = u32::MAX;
    let config = Config::new(limits).expect("limits in their ranges");
    let mut session = Session::new(side, &config, 1, now);
    let mut reported: BTreeMap<StreamKey, Reported> = BTreeMap::new();
    let mut said = Vec::new();
    if side == Side::Client {
        for method in [&b"GET"[..], b"HEAD", b"CONNECT"] {
            if let Ok(key) = session.open(request(method), now) {
                let _ = session.finish(key, None);
                reported.insert(key, Reported::default());
            }
        }
        pull(&mut session, &mut said);
    }
    let prefix = if side == Side::Server { PREFIX } else { SETTINGS };
    let wire = [prefix, wire].concat();
    let mut error = None;
    'wire: for part in wire.chunks(segment.min(wire.len())).chain([&[][..]]) {
        let mut input = part;
        loop {
            match session.poll(&mut input, now) {
                Ok(Some(event)) => hear(&mut session, &mut reported, &mut input, event),
                Ok(None) => break,
                Err(ended) => {
                    error = Some(ended);
                    break 'wire;
                }
            }
        }
        assert!(input.is_empty(), "input is left although nothing limits it");
    }
    assert_eq!(grpc_sim::holds_too_much(session.heap_bytes(), &session), None);
    pull(&mut session, &mut said);
    check_wire(&said, error.as_ref(), side == Side::Server);
    assert!(
        error.is_none() || reported.values().all(|reported| reported.over || side == Side::Server)
    );
    (reported, error, said)
}

fn request(method: &[u8]) -> FieldList {
    let mut list = FieldList::new();
    list.push_known(Token::Method, method);
    if method != b"CONNECT" {
        list.push_known(Token::Scheme, b"http");
        list.push_known(Token::Path, b"/");
    }
    list.push_known(Token::Authority, b"fuzz");
    list
}

fn pull(session: &mut Session, said: &mut Vec<u8>) {
    while session.has_output() {
        let mut out = Transmit::new();
        session.poll_transmit(&mut out, Instant::ZERO);
        said.extend(out.chunks().flatten());
    }
}

fn hear(
    session: &mut Session,
    reported: &mut BTreeMap<StreamKey, Reported>,
    input: &mut &[u8],
    event: Event,
) {
    let serves = session.side() == Side::Server;
    match event {
        Event::Headers { stream, part, status, fields, end_stream } => {
            let fresh = part == Part::Request;
            assert!(!fresh || !reported.contains_key(&stream), "{stream:?} is given out twice");
            let stream_told = reported.entry(stream).or_default();
            assert!(!stream_told.over, "{stream:?} goes on after its end");
            let _ = writeln!(stream_told.events, "{part:?} {status} {fields:?} {end_stream}");
            if part != Part::Trailers {
                let length = fields.find(Token::ContentLength);
                let length = length.and_then(|field| std::str::from_utf8(field.value).ok());
                stream_told.content_length = length.and_then(|text| text.parse().ok());
            }
            let head = fields.find(Token::Method).is_some_and(|field| field.value == b"HEAD");
            session.recycle_fields(fields);
            if fresh {
                let mut head_fields = FieldList::new();
                head_fields.push_known(Token::Status, if head { b"204" } else { b"200" });
                let _ = session.respond(stream, head_fields);
            }
            if end_stream {
                end(session, stream_told, stream);
            }
        }
        Event::Data(key) => {
            let stream_told = reported.get_mut(&key).expect("HEADERS come first");
            assert!(!stream_told.over, "{key:?} goes on after its end");
            let data = session.take_data(input, usize::MAX);
            stream_told.body.extend_from_slice(data);
            session.consume(key, data.len() as u32);
        }
        Event::End(key) => {
            let stream_told = reported.get_mut(&key).expect("HEADERS come first");
            let _ = writeln!(stream_told.events, "end");
            end(session, stream_told, key);
        }
        Event::Reset(key, reason) => {
            let stream_told = reported.entry(key).or_default();
            assert!(!stream_told.over || serves, "{key:?} ends twice");
            let _ = writeln!(stream_told.events, "{reason}");
            stream_told.over = true;
            session.release(key);
        }
        Event::Deadline(key) | Event::Writable(key) => session.reset(key, ErrorCode::CANCEL),
        Event::GoAway { .. } => {
            let _ = session.goaway_debug_data();
        }
        other => panic!("{other:?}"),
    }
}

/// The peer has ended a stream: a server sends the body back, with trailers.
fn end(session: &mut Session, reported: &mut Reported, key: StreamKey) {
    assert!(!reported.over, "{key:?} ends twice");
    reported.over = true;
    // A response to HEAD, or without a body by its status, says how long its body would be (RFC 9110 §8.6).
    if session.side() == Side::Server
        && let Some(length) = reported.content_length
    {
        assert_eq!(reported.body.len() as u64, length, "{reported:?}");
    }
    if session.side() == Side::Server {
        let _ = session.write_bytes(key, reported.body.clone().into());
        let mut trailers = FieldList::new();
        trailers.push(b"fuzz-trailer", b"value");
        let _ = session.finish(key, Some(trailers));
    }
    session.release(key);
}
