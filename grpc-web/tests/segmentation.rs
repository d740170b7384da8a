//! The same bytes in any pieces have the same output and the same end.

mod common;

use std::time::Duration;

use common::{Line, encode_base64, frame, post};
use grpc_proto::ConnectionError;
use grpc_web::{Cors, Web};
use proptest::prelude::*;

type Outcome = (Vec<u8>, Option<Result<(), ConnectionError>>, Vec<String>);

fn web() -> Web {
    Web::new().healthz(|| true).cors(Cors::origins(["https://a"]))
}

fn run(pieces: &[&[u8]]) -> Outcome {
    let mut line = Line::new(&web());
    for piece in pieces {
        line.feed(piece);
    }
    line.pass(Duration::from_secs(40));
    let seen = line.service.seen.take();
    (std::mem::take(&mut line.output), line.ended.clone(), seen)
}

/// Conversations of several requests, most of them good.
fn conversations() -> Vec<Vec<u8>> {
    let chunked = |body: &[u8], sizes: &[usize]| {
        let mut request = b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web+proto\r\n\
            transfer-encoding: chunked\r\nExpect: 100-continue\r\n\r\n".to_vec();
        let mut rest = body;
        for size in sizes.iter().cycle() {
            let (chunk, next) = rest.split_at((*size).min(rest.len()));
            request.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
            rest = next;
            if rest.is_empty() {
                break;
            }
        }
        request.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
        request
    };
    let text = encode_base64(&frame(b"text"));
    let text_call = format!(
        "POST /test.Bytes/Echo HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web-text\r\nContent-Length: {}\r\n\r\n{}",
        text.len(),
        String::from_utf8_lossy(&text)
    );
    let join = [frame(b"ab"), frame(b""), frame(b"cde")].concat();
    let get = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    vec![
        [post("/test.Bytes/Echo", "x-ask: 1\r\nOrigin: https://a\r\n", &frame(b"x")), get.clone()].concat(),
        [chunked(&join, &[1, 3, 7]), text_call.into_bytes(), get.clone()].concat(),
        [post("/test.Bytes/Echo", "", &frame(b"fail")), post("/test.Bytes/Echo", "Connection: close\r\n", &frame(b"x")), get.clone()].concat(),
        [post("/test.Bytes/Echo", "grpc-timeout: 1S\r\n", &frame(b"sleep")), get.clone()].concat(),
        [b"\r\nOPTIONS /x HTTP/1.1\r\nHost: h\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n\r\n".to_vec(), b"BAD\r\n\r\n".to_vec(), get.clone()].concat(),
        [get, post("/test.Bytes/Echo", "", b"\x02\0\0\0\0")].concat(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0abcdefgh".to_vec(),
        b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\nP".to_vec(),
    ]
}

#[test]
fn rule_44_each_conversation_is_the_same_cut_in_two_anywhere() {
    for conversation in conversations() {
        let whole = run(&[&conversation]);
        for cut in 0..conversation.len() {
            let (first, second) = conversation.split_at(cut);
            assert_eq!(
                run(&[first, second]),
                whole,
                "cut at {cut} of {}",
                conversation.escape_ascii()
            );
        }
    }
}

#[test]
fn rule_44_each_conversation_is_the_same_in_pieces_of_any_size() {
    for conversation in conversations() {
        let whole = run(&[&conversation]);
        for piece in 1..40 {
            let pieces: Vec<&[u8]> = conversation.chunks(piece).collect();
            assert_eq!(run(&pieces), whole, "in {piece} of {}", conversation.escape_ascii());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rule_44_random_pieces_change_nothing(which in 0usize..8, cuts in proptest::collection::vec(0usize..400, 0..12)) {
        let conversation = &conversations()[which];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (conversation.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&conversation[from..cut]);
            from = cut;
        }
        pieces.push(&conversation[from..]);
        prop_assert_eq!(run(&pieces), run(&[conversation]));
    }
}
