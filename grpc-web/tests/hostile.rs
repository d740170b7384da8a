//! Attacks on connections of HTTP/1.1: each has its answer, its bound of memory, and a neighbour that is served.

mod common;

use std::time::Duration;

use common::{Line, counting, echo, encode_base64, frame, only, post, responses};
use grpc_web::{Cors, Web};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// The bound of docs/limits.md for this layer at the defaults: a head twice (as bytes, as it is parsed), windows and marks of
/// the call, a full output.
const BOUND: isize = 512 << 10;

/// Runs an attack; what it makes live stays under the bound, and a neighbour is served before and after.
fn attack<T>(web: &Web, run: impl FnOnce(&mut Line) -> T) -> T {
    let mut neighbour = Line::new(web);
    neighbour.feed(&echo(b"before"));
    assert_eq!(only(&mut neighbour).frames().0, [b"before"]);
    let mut line = Line::new(web);
    let result = run(&mut line);
    assert!(line.peak < BOUND, "{} bytes", line.peak);
    neighbour.feed(&echo(b"after"));
    assert_eq!(only(&mut neighbour).frames().0, [b"after"]);
    result
}

/// What a request gets, whole, cut in two everywhere, and byte by byte: the same each time. Behind it a request that was smuggled
/// would be answered too.
fn refused(request: &[u8]) -> u16 {
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let whole = [request, smuggled].concat();
    let mut outcomes = Vec::new();
    for cut in 0..=request.len() {
        let mut line = Line::new(&Web::new());
        line.feed(&whole[..cut]);
        line.feed(&whole[cut..]);
        outcomes.push((
            std::mem::take(&mut line.output),
            line.ended.clone(),
            line.service.running.get(),
        ));
    }
    let mut line = Line::new(&Web::new());
    line.feed_in(&whole, 1);
    outcomes.push((
        std::mem::take(&mut line.output),
        line.ended.clone(),
        line.service.running.get(),
    ));
    let (output, ended, running) = outcomes.remove(0);
    for outcome in outcomes {
        assert_eq!(outcome, (output.clone(), ended.clone(), running), "{}", request.escape_ascii());
    }
    let (all, left) = responses(&output);
    assert_eq!((all.len(), left, running), (1, 0, 0), "{}", output.escape_ascii());
    assert_eq!(ended, Some(Ok(())), "{}", request.escape_ascii());
    all[0].status
}

#[test]
fn smuggling_by_two_lengths_is_refused() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4 4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(
            refused(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()),
            400,
            "{fields}"
        );
    }
}

#[test]
fn smuggling_by_odd_transfer_encodings_is_refused() {
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "chunked, chunked",
        "chunked;x",
        "\"chunked\"",
        "gzip, chunked",
        "",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {value}\r\n\r\n");
        assert_eq!(refused(request.as_bytes()), 501, "{value}");
    }
    let twice = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n";
    assert_eq!(refused(twice.as_bytes()), 501);
    for line in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer Encoding: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\x0b",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
        assert_eq!(refused(request.as_bytes()), 400, "{line:?}");
    }
}

#[test]
fn smuggling_by_line_ends_and_spaces_is_refused() {
    for request in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx: y\rz: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx: y\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx: y\r\n folded\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\tHTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\r\n\r\n",
    ] {
        assert_eq!(refused(request.as_bytes()), 400, "{request:?}");
    }
}

#[test]
fn smuggling_by_chunks_is_refused() {
    for body in [
        "1\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\r\nab\r\n",
        "+1\r\n",
        "0x1\r\n",
        "1;\n\r\n",
        "10000000000000000\r\n",
        "\r\n",
        "1\r\na\n",
        "0\r\nx: y\n\r\n",
        "0\r\n x: y\r\n\r\n",
    ] {
        let request = format!(
            "POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        assert_eq!(refused(request.as_bytes()), 400, "{body:?}");
    }
}

#[test]
fn a_flood_of_headers_is_refused_within_the_bound() {
    attack(&Web::new(), |line| {
        line.feed(b"GET / HTTP/1.1\r\nHost: h\r\n");
        for at in 0.. {
            line.feed(format!("x{at}: y\r\n").as_bytes());
            if line.ended.is_some() {
                assert!(at < 2000);
                break;
            }
        }
        assert_eq!(only(line).status, 431);
    });
    attack(&Web::new(), |line| {
        for at in 0..10_000 {
            line.feed(&[b'x'; 100]);
            if line.ended.is_some() {
                assert!(at <= 164, "{at}");
                break;
            }
        }
        assert_eq!(only(line).status, 431);
    });
}

#[test]
fn a_huge_body_is_refused_before_it_is_stored() {
    attack(&Web::new(), |line| {
        line.feed(b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\nContent-Length: 10000000000\r\n\r\n");
        assert_eq!(only(line).status, 413);
    });
    // A prefix that claims four gigabytes is refused by the limit of messages.
    attack(&Web::new(), |line| {
        line.feed(&post("/test.Bytes/Echo", "", b"\0\xff\xff\xff\xff"));
        assert_eq!(only(line).frames().1[0], "grpc-status: 8");
    });
    attack(&Web::new(), |line| {
        let request = post(
            "/test.Bytes/Join",
            "",
            &[frame(b"S"), frame(&[b'x'; 2000]).repeat(10_000)].concat(),
        );
        // What is fed is the test's own memory: a loop would not have read it.
        let mut fed = 0;
        while !line.end_holds() && fed < request.len() {
            line.feed(&request[fed..][..4000]);
            fed += 4000;
        }
        assert!(fed < 400 << 10, "{fed} bytes were taken");
    });
}

#[test]
fn chunks_with_more_framing_than_data_are_refused() {
    attack(&Web::new(), |line| {
        line.feed(b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\nTransfer-Encoding: chunked\r\n\r\n");
        line.feed(b"1;");
        for _ in 0..20_000 {
            line.feed(b"x");
        }
        assert_eq!(only(line).status, 400);
    });
    // Small chunks are slow and allowed: a byte held costs a byte.
    attack(&Web::new(), |line| {
        line.feed(b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\nTransfer-Encoding: chunked\r\n\r\n");
        for byte in frame(&[b'x'; 20_000]) {
            line.feed(&[b"1\r\n", &[byte][..], b"\r\n"].concat());
        }
        line.feed(b"0\r\n\r\n");
        assert_eq!(only(line).frames().0, [b"20000"]);
    });
}

#[test]
fn invalid_base64_ends_its_call_within_the_bound() {
    attack(&Web::new(), |line| {
        line.feed(b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web-text\r\nContent-Length: 1000000\r\n\r\n");
        line.feed(&encode_base64(&frame(&[0; 100_000]))[..90_000]);
        assert_eq!(line.service.running.get(), 1);
        line.feed(b"-");
        assert_eq!((only(line).status, line.service.running.get()), (400, 0));
    });
}

#[test]
fn slow_heads_and_bodies_hold_a_connection_for_their_time_only() {
    attack(&Web::new(), |line| {
        let request = post(
            "/test.Bytes/Join",
            &format!("x: {}\r\n", "y".repeat(5000)),
            &frame(&[b'x'; 5000]),
        );
        let mut seconds = 0;
        for byte in &request {
            line.feed(&[*byte]);
            line.pass(Duration::from_secs(1));
            seconds += 1;
            if line.ended.is_some() {
                break;
            }
        }
        assert_eq!(
            seconds, 11,
            "ten seconds for the head, which begins where the door knows its protocol"
        );
        assert_eq!(only(line).status, 408);
    });
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_as_its_answers_are_read() {
    let web = Web::new().healthz(|| true);
    attack(&web, |line| {
        line.is_stuck = true;
        let requests = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
        for _ in 0..3 {
            line.feed(&requests);
        }
        assert!(line.held() > 0, "a full output stops the reading");
        assert!(!line.end_holds(), "a write makes room");
        line.is_stuck = false;
        line.drive();
        assert_eq!(responses(&line.text().into_bytes()).0.len(), 3000);
    });
}

#[test]
fn origins_that_almost_match_reach_no_handler() {
    let web = Web::new().cors(Cors::origins(["https://app.example.org"]));
    attack(&web, |line| {
        for origin in [
            "https://app.example.org.evil.com",
            "https://app.example.org:444",
            "null",
            "https://app.example.org\t,x",
        ] {
            line.feed(&post("/test.Bytes/Echo", &format!("Origin: {origin}\r\n"), &frame(b"x")));
            // The body was not read.
            assert_eq!(only(line).status, 403);
            assert_eq!(line.service.started.get(), 0);
            *line = Line::new(&web);
        }
    });
}

#[test]
fn metadata_cannot_split_a_response() {
    // A message with CR LF comes back escaped, a value that came obs-text goes back as it came, and a value with CR LF never
    // gets in.
    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"fail"));
    let text = line.text();
    assert!(text.contains("%0D%0Ax: y\r\n") && !text.contains("\r\nx: y"), "{text:?}");
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: h\r\nx: a\rb\r\n\r\n"), 400);
}

#[test]
fn what_no_protocol_begins_with_goes_to_the_server_of_http2() {
    for begun in [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0\x04", b"{}"] {
        let mut line = Line::new(&Web::new());
        line.feed(begun);
        line.pass(Duration::from_secs(11));
        let output = line.text();
        assert!(line.ended.is_some() && !output.starts_with("HTTP/1.1 4"), "{output:?}");
    }
}
