//! Any bytes for the door of `grpc-web`: HTTP/1.1, gRPC-Web, HTTP/2 with a gateway or without one.
//!
//! What is written is a sequence of responses that another parser understands, memory stays within its bound, no handler
//! outlives its connection, and requests that are no calls have the same answers however they are cut: a call may be answered
//! before its body has come, which then decides what becomes of the connection.

#[path = "../../grpc-web/tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Line, responses};
use grpc_web::{Cors, Web};

/// The bound of docs/limits.md for HTTP/1.1, without the server's own connection.
const BOUND: usize = 432 << 10;

/// The first byte chooses what is served, the second how the rest is cut.
pub fn check(data: &[u8]) {
    let [choice, how, rest @ ..] = data else { return };
    let (whole, calls) = hold(*choice, rest, usize::MAX);
    let (cut, more) = hold(*choice, rest, usize::from(how % 64) + 1);
    // Where time passes between the pieces, a request may come too late.
    let is_timed = choice & 16 != 0;
    if !calls && !more && !is_timed {
        let text = |output: &[u8]| output.escape_ascii().to_string();
        assert!(whole == cut, "whole: {}\ncut: {}", text(&whole), text(&cut));
    }
}

/// All output of a connection, and whether it has made one of gRPC.
fn hold(choice: u8, wire: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut web = Web::new().http2_without_tls(choice & 1 != 0);
    if choice & 2 != 0 {
        web = web.healthz(|| true);
    }
    if choice & 4 != 0 {
        web = web.cors(Cors::origins(["https://a"]).credentials(choice & 8 != 0));
    }
    let mut line = Line::accepted(&web);
    let is_http1 =
        !wire.starts_with(b"P") && wire.first().is_some_and(|byte| byte.is_ascii_alphabetic());
    for part in wire.chunks(piece.min(wire.len().max(1))) {
        line.feed(part);
        assert!(!is_http1 || line.end.heap_bytes() < BOUND, "{} bytes", line.end.heap_bytes());
        if choice & 16 != 0 {
            line.pass(Duration::from_secs(1));
        }
    }
    line.pass(Duration::from_secs(200));
    line.close_read();
    let output = std::mem::take(&mut line.output);
    // A response to HEAD has a length and no body, and one of HTTP/1.0 may have no length.
    let is_told = |text: &[u8]| wire.windows(text.len()).any(|part| part == text);
    if is_http1 && !is_told(b"HEAD") {
        let (all, _) = responses(&output);
        for (at, response) in all.iter().enumerate() {
            let known = matches!(
                response.status,
                100 | 200 | 204 | 403..=405 | 408 | 413 | 417 | 431 | 400 | 501 | 503 | 505
            );
            assert!(known, "{}", response.status);
            let closes = response.field("connection") == Some("close");
            assert!(!closes || at + 1 == all.len(), "nothing follows a response that closes");
            let is_web = response
                .field("content-type")
                .is_some_and(|kind| kind.starts_with("application/grpc-web"));
            if is_web
                && response.status == 200
                && line.ended == Some(Ok(()))
                && response.field("content-length").is_some()
            {
                let (_, trailers) = response.frames();
                assert!(
                    trailers.iter().any(|line| line.starts_with("grpc-status: ")),
                    "{trailers:?}"
                );
            }
        }
    }
    let calls = line.end.inner().is_some();
    let running = std::rc::Rc::clone(&line.service.running);
    drop(line);
    assert_eq!(running.get(), 0, "a handler outlives its connection");
    (output, calls)
}
