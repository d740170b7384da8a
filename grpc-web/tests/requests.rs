//! Requests of HTTP/1.1: plain ones, connections that are kept, expectations, limits and times.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Line, echo, frame, only, post, responses};
use grpc_proto::Instant;
use grpc_web::{HttpResponse, Web, WebLimits};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn limited(change: impl FnOnce(&mut WebLimits)) -> Web {
    let mut limits = WebLimits::default();
    change(&mut limits);
    Web::new().limits(limits)
}

#[test]
fn rule_44_without_a_hook_plain_http_is_told_what_is_spoken() {
    for request in [GET, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"] {
        let mut line = Line::new(&Web::new());
        line.feed(request);
        let response = only(&mut line);
        assert_eq!(response.status, 505);
        assert!(response.body.starts_with(b"this port speaks gRPC over HTTP/2"));
        assert_eq!(line.ended, None);
        assert!(line.end.inner().is_none(), "no connection of gRPC was made for it");
    }
}

#[test]
fn rule_44_healthz_tells_the_state_as_it_is() {
    let state = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&state);
    let web = Web::new().healthz(move || seen.load(Ordering::Relaxed));
    let mut line = Line::new(&web);
    for (serving, status, body) in [(true, 200, "SERVING\n"), (false, 503, "NOT_SERVING\n")] {
        state.store(serving, Ordering::Relaxed);
        line.feed(b"GET /healthz?verbose HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = only(&mut line);
        assert_eq!((response.status, response.body), (status, body.as_bytes().to_vec()));
    }
    line.feed(b"POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = only(&mut line);
    assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")));
    line.feed(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(only(&mut line).status, 404);
    line.feed(b"HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        line.text(),
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 12\r\n\r\n"
    );
}

#[test]
fn rule_44_a_handler_answers_other_paths() {
    let web = Web::new().handler(|request| match (request.method(), request.path()) {
        ("GET", "/metrics") => {
            let name = request.header("x-name").map(<[u8]>::to_vec).unwrap_or_default();
            let body = [request.query().unwrap_or("none").as_bytes(), b" ", &name].concat();
            HttpResponse::new(200, "text/plain", body).header("x-more", "1").ok()
        }
        _ => None,
    });
    let mut line = Line::new(&web);
    line.feed(b"GET /metrics?all HTTP/1.1\r\nHost: h\r\nX-Name: me\r\n\r\n");
    let response = only(&mut line);
    assert_eq!(
        (response.body, response.fields[1].clone()),
        (b"all me".to_vec(), ("x-more".to_owned(), "1".to_owned()))
    );
    line.feed(GET);
    assert_eq!(only(&mut line).status, 404);
}

#[test]
fn requests_that_are_pipelined_are_answered_one_after_the_other() {
    let web = Web::new().healthz(|| true);
    let mut line = Line::new(&web);
    let requests = [
        echo(b"first"),
        post("/test.Bytes/Split", "", &frame(b"aB")),
        b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        echo(b"last"),
    ];
    line.feed(&requests.concat());
    assert_eq!(line.service.started.get(), 2, "the third request waits for the second");
    assert!(line.held() > 0);
    line.pass(Duration::from_secs(1));
    let (all, left) = responses(&line.output);
    assert_eq!((all.len(), left), (4, 0));
    assert_eq!(all[0].frames().0, [b"first"]);
    assert_eq!(all[1].frames().0, [b"a", b"B"]);
    assert_eq!(all[2].body, b"SERVING\n");
    assert_eq!(all[3].frames().0, [b"last"]);
    assert_eq!(line.held(), 0);
}

#[test]
fn an_expectation_is_answered_before_the_body_is_awaited() {
    let request = post("/test.Bytes/Echo", "Expect: 100-Continue\r\n", &frame(b"x"));
    let head = request.len() - 6;
    let mut line = Line::new(&Web::new());
    line.feed(&request[..head]);
    assert_eq!(line.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    line.feed(&request[head..]);
    assert_eq!(only(&mut line).frames().0, [b"x"]);
    // A request that is refused is not asked to go on.
    line.feed(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let response = only(&mut line);
    assert_eq!((response.status, response.field("connection")), (505, Some("close")));
    let mut line = Line::new(&Web::new());
    line.feed(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n");
    assert_eq!(only(&mut line).status, 417);
}

#[test]
fn a_connection_ends_where_it_is_told_to_and_where_it_is_old() {
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"]
    {
        let mut line = Line::new(&Web::new());
        line.feed(request.as_bytes());
        assert_eq!(only(&mut line).field("connection"), Some("close"), "{request}");
        assert_eq!(line.ended, Some(Ok(())));
    }
    let mut line = Line::new(&Web::new());
    line.feed(&post("/test.Bytes/Echo", "Connection: close\r\n", &frame(b"x")));
    assert_eq!(only(&mut line).field("connection"), Some("close"));
    assert_eq!(line.ended, Some(Ok(())));
}

#[test]
fn empty_lines_may_stand_before_a_request_and_are_no_progress() {
    for piece in [1, 2, 3, 100] {
        let mut line = Line::new(&Web::new());
        line.feed_in(b"\r\n\r\n", piece);
        line.feed_in(GET, piece);
        assert_eq!(only(&mut line).status, 505, "{piece}");
    }
    let mut line = Line::new(&Web::new());
    for _ in 0..9 {
        line.feed(b"\r\n");
        line.pass(Duration::from_secs(1));
        assert_eq!(line.ended, None);
    }
    line.pass(Duration::from_secs(1));
    assert_eq!(line.ended, Some(Ok(())));
}

#[test]
fn a_head_up_to_the_limit_passes_and_one_byte_more_does_not() {
    let request = |len: usize| {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n", "y".repeat(len - 32));
        assert_eq!(head.len(), len);
        head
    };
    for piece in [1, 100, 1 << 20] {
        let web = limited(|limits| limits.max_head = 200);
        let mut line = Line::new(&web);
        line.feed_in(request(200).as_bytes(), piece);
        assert_eq!(only(&mut line).status, 505);
        line.feed_in(request(201).as_bytes(), piece);
        assert_eq!(only(&mut line).status, 431);
        assert_eq!(line.ended, Some(Ok(())));
    }
}

#[test]
fn fields_up_to_the_limit_pass_and_one_more_does_not() {
    let request = |fields: usize| {
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "x: y\r\n".repeat(fields - 1))
    };
    let mut line = Line::new(&limited(|limits| limits.max_fields = 10));
    line.feed(request(10).as_bytes());
    assert_eq!(only(&mut line).status, 505);
    line.feed(request(11).as_bytes());
    assert_eq!(only(&mut line).status, 431);
}

#[test]
fn a_body_up_to_the_limit_passes_and_one_byte_more_does_not() {
    let web = limited(|limits| limits.max_body = 100);
    let mut line = Line::new(&web);
    line.feed(&echo(&[b'x'; 95]));
    assert_eq!(only(&mut line).frames().0[0].len(), 95);
    line.feed(&echo(&[b'x'; 96]));
    let response = only(&mut line);
    assert_eq!((response.status, response.field("connection")), (413, Some("close")));
    let mut line = Line::new(&web);
    line.feed(b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\nTransfer-Encoding: chunked\r\n\r\n");
    line.feed(b"64\r\n");
    line.feed(&[b'\0'; 100]);
    line.feed(b"\r\n1\r\n");
    assert_eq!(only(&mut line).status, 413);
    assert_eq!(line.service.running.get(), 0);
}

#[test]
fn a_head_that_comes_slowly_is_given_up() {
    let mut line = Line::new(&Web::new());
    line.feed(b"G");
    // Byte by byte, the time runs from the first one.
    for byte in b"ET / HTT" {
        line.pass(Duration::from_secs(1));
        line.feed(&[*byte]);
    }
    line.pass(Duration::from_millis(1999));
    assert_eq!(line.ended, None);
    line.pass(Duration::from_millis(1));
    assert_eq!(only(&mut line).status, 408);
    assert_eq!(line.ended, Some(Ok(())));
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_an_answer() {
    for begun in [&b""[..], b"P", b"PR"] {
        let mut line = Line::new(&Web::new());
        line.feed(begun);
        line.pass(Duration::from_millis(9999));
        assert_eq!(line.ended, None);
        line.pass(Duration::from_millis(1));
        assert_eq!((line.ended.clone(), line.text()), (Some(Ok(())), String::new()));
    }
}

#[test]
fn a_kept_connection_is_closed_after_its_idle_time() {
    let mut line = Line::new(&Web::new());
    for _ in 0..3 {
        line.feed(&echo(b"x"));
        only(&mut line);
        line.pass(Duration::from_millis(59_999));
        assert_eq!(line.ended, None);
    }
    line.pass(Duration::from_millis(1));
    assert_eq!((line.ended.clone(), line.text()), (Some(Ok(())), String::new()));
}

#[test]
fn a_body_that_comes_slowly_is_given_up_and_its_call_ends() {
    let request = post("/test.Bytes/Join", "", &frame(&[b'x'; 100_000]));
    let mut line = Line::new(&Web::new());
    line.feed(&request[..500]);
    for at in 0..9 {
        line.pass(Duration::from_secs(1));
        line.feed(&request[500 + at..][..1]);
    }
    assert_eq!((line.ended.clone(), line.service.running.get()), (None, 1));
    line.pass(Duration::from_secs(1));
    assert_eq!(only(&mut line).status, 408);
    assert_eq!((line.ended.clone(), line.service.running.get()), (Some(Ok(())), 0));
    // A kilobyte every nine seconds is slow, and goes on.
    let mut line = Line::new(&Web::new());
    for part in request.chunks(1100) {
        line.feed(part);
        line.pass(Duration::from_secs(9));
    }
    assert_eq!(only(&mut line).frames().0, [b"100000"]);
}

#[test]
fn a_handler_that_takes_nothing_holds_its_client_and_no_timer() {
    let body = [frame(b"S"), frame(&[b'x'; 4091]).repeat(256)].concat();
    let mut line = Line::new(&Web::new());
    line.feed(&post("/test.Bytes/Join", "", &body));
    assert!(line.held() > 512 << 10, "{} bytes are left", line.held());
    assert!(line.end.holds_input());
    line.pass(Duration::from_secs(99));
    assert_eq!(line.ended, None);
    line.pass(Duration::from_secs(1));
    assert_eq!(only(&mut line).frames().0, [b"1047297"]);
}

#[test]
fn a_peer_that_takes_no_output_is_given_up() {
    let mut line = Line::new(&Web::new());
    line.is_stuck = true;
    // Just within a window, and with its head just a full output; then the handler waits.
    let request = [&b"9".repeat(7)[..], &b"a".repeat(164), b"~"].concat();
    line.feed(&post("/test.Bytes/Split", "", &frame(&request)));
    line.pass(Duration::from_secs(59));
    line.end.note_delivery(Instant::ZERO);
    line.drive();
    line.pass(Duration::from_secs(59));
    assert_eq!(line.ended, None, "it takes what there is, slowly");
    line.pass(Duration::from_secs(1));
    assert!(matches!(line.ended, Some(Err(_))));
    // A stream that cannot go on is given up by the server too.
    let mut line = Line::new(&Web::new());
    line.is_stuck = true;
    line.feed(&post("/test.Bytes/Split", "", &frame(&[b'9'; 200])));
    assert_eq!(line.service.running.get(), 1);
    line.pass(Duration::from_secs(60));
    assert!(line.ended.is_some());
    assert_eq!(line.service.running.get(), 0);
}

#[test]
fn a_stop_ends_idle_connections_and_waits_for_calls() {
    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"x"));
    only(&mut line);
    line.end.shutdown(Instant::ZERO);
    line.drive();
    assert_eq!(line.ended, Some(Ok(())));

    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"sleep"));
    line.end.shutdown(Instant::ZERO);
    line.pass(Duration::from_secs(29));
    assert_eq!(line.ended, None);
    line.pass(Duration::from_secs(1));
    let response = only(&mut line);
    assert_eq!(
        (response.frames().0, response.field("connection")),
        (vec![b"sleep".to_vec()], Some("close"))
    );
    assert_eq!(line.ended, Some(Ok(())));

    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"sleep"));
    line.end.abort(Instant::ZERO);
    line.drive();
    assert!(matches!(line.ended, Some(Err(_))));
    assert_eq!(line.service.running.get(), 0);

    // Before anything has come.
    let mut line = Line::new(&Web::new());
    line.end.shutdown(Instant::ZERO);
    line.drive();
    assert_eq!(line.ended, Some(Ok(())));
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    let mut line = Line::new(&Web::new());
    line.feed_in(&echo(&[b'x'; 60_000]), 100);
    only(&mut line);
    line.pass(Duration::from_secs(2));
    assert!(line.end.is_trimmed());
    assert!(line.end.heap_bytes() < 8 << 10, "{} bytes", line.end.heap_bytes());
    line.feed(&echo(b"x"));
    assert_eq!(only(&mut line).frames().0, [b"x"]);
}
