//! Calls of gRPC-Web over HTTP/1.1.

mod common;

use std::time::Duration;

use common::{Line, decode_base64, echo, encode_base64, frame, only, post, responses};
use grpc_web::Web;

#[test]
fn rule_44_a_unary_call_is_answered_with_its_message_and_trailers() {
    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"hello"));
    let response = only(&mut line);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/grpc-web+proto"));
    let (messages, trailers) = response.frames();
    assert_eq!(messages, [b"hello"]);
    assert_eq!(trailers, ["grpc-status: 0"]);
    assert!(!response.is_chunked, "a response that is complete tells its length");
    // The connection is kept.
    line.feed(&echo(b"again"));
    assert_eq!(only(&mut line).frames().0, [b"again"]);
    assert_eq!(line.ended, None);
}

#[test]
fn rule_44_a_stream_of_responses_comes_as_its_messages_are_made() {
    let mut line = Line::new(&Web::new());
    line.feed(&post("/test.Bytes/Split", "", &frame(b"aBc")));
    let text = line.text();
    assert!(
        text.contains("transfer-encoding: chunked\r\n") && text.ends_with("\x01a\r\n"),
        "{text:?}"
    );
    let mut output = text.into_bytes();
    line.pass(Duration::from_millis(999));
    assert_eq!(line.output, b"");
    line.pass(Duration::from_millis(1));
    output.append(&mut line.output);
    let (all, left) = responses(&output);
    assert_eq!((all.len(), left), (1, 0));
    let (messages, trailers) = all[0].frames();
    assert_eq!(messages, [b"a", b"B", b"c"]);
    assert_eq!(trailers, ["grpc-status: 0"]);
}

#[test]
fn rule_44_a_stream_of_requests_is_one_body() {
    let body = [frame(b"ab"), frame(b""), frame(b"cde")].concat();
    let mut line = Line::new(&Web::new());
    line.feed(&post("/test.Bytes/Join", "", &body));
    assert_eq!(only(&mut line).frames().0, [b"5"]);
    // In chunks too, wherever they are cut.
    for piece in 1..body.len() {
        let mut request =
            b"POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
                .to_vec();
        for chunk in body.chunks(piece) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        line.feed(&request);
        assert_eq!(only(&mut line).frames().0, [b"5"], "{piece}");
    }
}

#[test]
fn rule_44_text_is_base64_in_pieces_with_padding_inside() {
    for piece in 1..20 {
        let body: Vec<u8> = frame(b"some text").chunks(piece).flat_map(encode_base64).collect();
        let head = format!(
            "POST /test.Bytes/Split HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web-text\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut line = Line::new(&Web::new());
        line.feed(&[head.as_bytes(), &body].concat());
        let response = only(&mut line);
        assert_eq!(response.field("content-type"), Some("application/grpc-web-text+proto"));
        let (messages, trailers) = response.frames();
        assert_eq!(messages.concat(), b"some text");
        assert_eq!(trailers, ["grpc-status: 0"]);
    }
}

#[test]
fn rule_44_each_piece_of_a_text_response_can_be_decoded_by_itself() {
    let mut line = Line::new(&Web::new());
    let body = encode_base64(&frame(b"aB"));
    let fields = format!(
        "POST /test.Bytes/Split HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web-text+proto\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    line.feed(&[fields.as_bytes(), &body].concat());
    let text = line.text();
    let chunk =
        text.split("\r\n\r\n").nth(1).and_then(|body| body.split("\r\n").nth(1)).expect("a chunk");
    assert_eq!(decode_base64(chunk.as_bytes()), frame(b"a"));
}

#[test]
fn rule_44_text_that_is_no_base64_is_refused_and_its_call_ends() {
    for body in ["AAAA!AAA", "AAAAA", "AAAA=AAA", "AAAAAAAA\n"] {
        let request = format!(
            "POST /test.Bytes/Join HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web-text\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut line = Line::new(&Web::new());
        line.feed(request.as_bytes());
        let response = only(&mut line);
        assert_eq!(response.status, 400, "{body:?}");
        assert!(response.body.starts_with(b"the body is no base64"));
        assert_eq!(line.ended, Some(Ok(())));
        assert_eq!(line.service.running.get(), 0);
    }
}

#[test]
fn rule_44_an_error_is_trailers_only_in_the_body() {
    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"fail"));
    let response = only(&mut line);
    assert_eq!((response.status, response.field("grpc-status")), (200, None));
    let (messages, trailers) = response.frames();
    assert!(messages.is_empty());
    // What would split a response is escaped by the core.
    assert_eq!(trailers, ["grpc-status: 5", "grpc-message: nicht da: %E2%88%85%0D%0Ax: y"]);
    line.feed(&post("/test.Bytes/Split", "", &frame(b"ab!")));
    let (messages, trailers) = only(&mut line).frames();
    assert_eq!(messages, [b"a", b"b"]);
    assert_eq!(trailers, ["grpc-status: 10", "grpc-message: as asked"]);
    line.feed(&post("/test.Bytes/None", "", &frame(b"")));
    assert_eq!(
        only(&mut line).frames().1,
        ["grpc-status: 12", "grpc-message: no method /test.Bytes/None here"]
    );
    assert_eq!(line.ended, None);
}

#[test]
fn rule_44_metadata_goes_in_with_the_head_and_out_with_head_and_trailers() {
    let mut line = Line::new(&Web::new());
    let fields = "X-ASK: 1\r\nX-User-Agent: grpc-web-javascript/0.1\r\nX-Raw-bin: AAEC\r\nConnection: x-hop\r\n\
        X-Hop: gone\r\nCookie: a=b\r\nTE: trailers\r\n";
    line.feed(&post("/test.Bytes/Echo", fields, &frame(b"x")));
    let response = only(&mut line);
    assert_eq!(response.field("x-answer"), Some("head"));
    assert_eq!(response.frames().1, ["grpc-status: 0", "x-end: trailer"]);
    let seen = line.service.seen.borrow();
    for entry in
        ["x-ask: 1", "x-user-agent: grpc-web-javascript/0.1", "x-raw-bin: AAEC", "cookie: a=b"]
    {
        assert!(seen.iter().any(|seen| seen == entry), "{entry} in {seen:?}");
    }
    for name in ["x-hop", "connection", "x-grpc-web", "content-length", "host"] {
        assert!(!seen.iter().any(|seen| seen.starts_with(name)), "{name} in {seen:?}");
    }
}

#[test]
fn rule_44_a_deadline_ends_the_call_with_its_status() {
    let mut line = Line::new(&Web::new());
    line.feed(&post("/test.Bytes/Echo", "grpc-timeout: 50m\r\n", &frame(b"forever")));
    assert_eq!(line.output, b"");
    line.pass(Duration::from_millis(49));
    assert_eq!(line.output, b"");
    line.pass(Duration::from_millis(1));
    let (messages, trailers) = only(&mut line).frames();
    assert!(messages.is_empty());
    assert_eq!(trailers[0], "grpc-status: 4");
    assert_eq!(line.service.running.get(), 0);
    assert_eq!(line.ended, None, "the connection is kept");
    line.feed(&post("/test.Bytes/Echo", "grpc-timeout: never\r\n", &frame(b"x")));
    assert_eq!(only(&mut line).frames().1[0], "grpc-status: 13");
}

#[test]
fn rule_44_other_formats_than_proto_are_unimplemented() {
    let request =
        b"POST /test.Bytes/Echo HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc-web+json\r\n\
        content-length: 0\r\n\r\n";
    let mut line = Line::new(&Web::new());
    line.feed(request);
    let response = only(&mut line);
    assert_eq!(response.field("content-type"), Some("application/grpc-web+json"));
    assert_eq!(response.frames().1[0], "grpc-status: 12");
}

#[test]
fn rule_44_a_large_response_waits_for_the_peer_and_arrives_whole() {
    let mut line = Line::new(&Web::new());
    line.is_stuck = true;
    line.feed(&post("/test.Bytes/Split", "", &frame(&[b'9'; 100])));
    assert!(line.end.heap_bytes() < 256 << 10, "{} bytes", line.end.heap_bytes());
    line.is_stuck = false;
    line.drive();
    let (messages, trailers) = only(&mut line).frames();
    assert_eq!(messages.len(), 100);
    assert!(messages.iter().all(|message| message.len() == 9 << 10));
    assert_eq!(trailers, ["grpc-status: 0"]);
    line.feed(&echo(b"large"));
    assert_eq!(only(&mut line).frames().0[0].len(), 1 << 20);
}

#[test]
fn rule_44_a_client_that_is_gone_ends_its_call() {
    let mut line = Line::new(&Web::new());
    line.feed(&echo(b"forever"));
    assert_eq!(line.service.running.get(), 1);
    line.close_read();
    assert!(matches!(line.ended, Some(Err(_))), "{:?}", line.ended);
    assert_eq!(line.service.running.get(), 0);
}

#[test]
fn rule_44_a_call_that_ends_before_its_request_closes_the_connection() {
    let body = [frame(b"!"), frame(&[b'x'; 1000])].concat();
    let request = post("/test.Bytes/Join", "", &body);
    let mut line = Line::new(&Web::new());
    line.feed(&request[..request.len() - 500]);
    let response = only(&mut line);
    assert_eq!(response.frames().1[0], "grpc-status: 10");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(line.ended, Some(Ok(())));
}

#[test]
fn rule_44_an_old_client_gets_a_body_that_ends_with_the_connection() {
    let mut line = Line::new(&Web::new());
    let body = frame(b"aB");
    let head = format!(
        "POST /test.Bytes/Split HTTP/1.0\r\nHost: h\r\ncontent-type: application/grpc-web\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    line.feed(&[head.as_bytes(), &body].concat());
    line.pass(Duration::from_secs(1));
    assert_eq!(line.ended, Some(Ok(())));
    let response = only(&mut line);
    assert!(!response.is_chunked);
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.frames().0, [b"a", b"B"]);
}
