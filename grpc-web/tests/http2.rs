//! gRPC-Web, CORS, plain HTTP and gRPC over one connection of HTTP/2.

mod common;

use std::time::Duration;

use common::{Line, Response, encode_base64, frame};
use grpc_proto::http2::{Event, Session, Side, StreamKey};
use grpc_proto::{Config, ErrorCode, Instant, Limits, Transmit};
use grpc_web::{Cors, Web};

/// A client of plain HTTP/2 before a gateway.
struct Client {
    line: Line,
    session: Session,
    now: Instant,
}

/// What came on a stream.
#[derive(Default)]
struct Seen {
    head: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    ended: bool,
    reset: Option<String>,
}

impl Seen {
    fn response(&self) -> Response {
        assert!(self.ended && self.reset.is_none(), "{:?} {:?}", self.head, self.reset);
        let status = self.head[0].1.parse().expect("a status");
        let fields = self.head[1..].to_vec();
        Response { status, fields, body: self.body.clone(), is_chunked: false }
    }
}

impl Client {
    fn new(web: Web) -> Self {
        let line = Line::accepted(&web.http2_without_tls(true));
        let session = Session::new(Side::Client, &Config::default(), 0, Instant::ZERO);
        Client { line, session, now: Instant::ZERO }
    }

    fn open(&mut self, fields: &[(&str, &str)]) -> StreamKey {
        let list = fields.iter().copied().collect();
        self.session.open(list, self.now).expect("a stream")
    }

    /// A request, with its whole body.
    fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> StreamKey {
        let mut all =
            vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "h")];
        all.extend_from_slice(fields);
        let key = self.open(&all);
        if !body.is_empty() {
            self.session.write(key, body).expect("room");
        }
        self.session.finish(key, None).expect("an end");
        key
    }

    fn post(&mut self, path: &str, kind: &str, fields: &[(&str, &str)], body: &[u8]) -> StreamKey {
        let mut all = vec![("content-type", kind)];
        all.extend_from_slice(fields);
        self.send("POST", path, &all, body)
    }

    /// Lets both ends go on, in pieces; what came on each of `keys`.
    fn run(&mut self, keys: &[StreamKey], piece: usize) -> Vec<Seen> {
        let mut seen: Vec<Seen> = keys.iter().map(|_| Seen::default()).collect();
        let mut out = Transmit::new();
        for _ in 0..1000 {
            self.session.poll_transmit(&mut out, self.now);
            let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
            out.clear();
            self.line.feed_in(&bytes, piece);
            self.line.drive();
            let answer = std::mem::take(&mut self.line.output);
            if bytes.is_empty() && answer.is_empty() {
                break;
            }
            for mut input in answer.chunks(piece) {
                while let Some(event) =
                    self.session.poll(&mut input, self.now).expect("a connection")
                {
                    self.on_event(event, &mut input, keys, &mut seen);
                }
            }
        }
        seen
    }

    fn on_event(&mut self, event: Event, input: &mut &[u8], keys: &[StreamKey], seen: &mut [Seen]) {
        let place = |key| keys.iter().position(|known| *known == key);
        match event {
            Event::Headers { stream, fields, end_stream, .. } => {
                let Some(at) = place(stream) else { return };
                let list = fields.iter().map(|field| {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    (text(field.name), text(field.value))
                });
                if seen[at].head.is_empty() {
                    seen[at].head = list.collect()
                } else {
                    seen[at].trailers = list.collect()
                }
                seen[at].ended |= end_stream;
            }
            Event::Data(stream) => {
                let data = self.session.take_data(input, usize::MAX);
                self.session.consume(stream, data.len() as u32);
                if let Some(at) = place(stream) {
                    seen[at].body.extend_from_slice(data);
                }
            }
            Event::End(stream) => {
                if let Some(at) = place(stream) {
                    seen[at].ended = true;
                }
            }
            Event::Reset(stream, reason) => {
                if let Some(at) = place(stream) {
                    seen[at].reset = Some(format!("{reason}"));
                }
            }
            _ => {}
        }
    }

    fn one(&mut self, key: StreamKey) -> Response {
        self.run(&[key], usize::MAX)[0].response()
    }

    fn pass(&mut self, span: Duration) {
        self.line.pass(span);
        self.now = self.now + span;
    }
}

const WEB: &str = "application/grpc-web+proto";

#[test]
fn rule_44_web_over_http2_is_answered_in_its_body() {
    for piece in [1, 7, usize::MAX] {
        let mut client = Client::new(Web::new());
        let unary = client.post(
            "/test.Bytes/Echo",
            WEB,
            &[("x-ask", "1"), ("x-grpc-web", "1")],
            &frame(b"hello"),
        );
        let text = encode_base64(&frame(b"some text"));
        let stream = client.post("/test.Bytes/Split", "application/grpc-web-text", &[], &text);
        let fails = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"fail"));
        let join =
            client.post("/test.Bytes/Join", WEB, &[], &[frame(b"ab"), frame(b"cde")].concat());
        let seen = client.run(&[unary, stream, fails, join], piece);
        let response = seen[0].response();
        assert_eq!((response.status, response.field("content-type")), (200, Some(WEB)));
        assert_eq!(response.field("x-answer"), Some("head"));
        assert_eq!(
            response.frames(),
            (
                vec![b"hello".to_vec()],
                vec!["grpc-status: 0".to_owned(), "x-end: trailer".to_owned()]
            )
        );
        assert!(seen[0].trailers.is_empty());
        let response = seen[1].response();
        assert_eq!(response.field("content-type"), Some("application/grpc-web-text+proto"));
        assert_eq!(response.frames().0.concat(), b"some text");
        assert_eq!(seen[2].response().frames().1[0], "grpc-status: 5");
        assert_eq!(seen[3].response().frames().0, [b"5"]);
    }
}

#[test]
fn rule_44_grpc_passes_beside_it_as_it_is() {
    let mut client = Client::new(Web::new());
    let fields = [("te", "trailers"), ("x-ask", "1")];
    let unary = client.post("/test.Bytes/Echo", "application/grpc", &fields, &frame(b"hello"));
    let fails = client.post("/test.Bytes/None", "application/grpc+proto", &fields, &frame(b""));
    let web = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"web"));
    let seen = client.run(&[unary, fails, web], usize::MAX);
    assert_eq!(seen[0].body, frame(b"hello"));
    assert_eq!(seen[0].head[1], ("content-type".to_owned(), "application/grpc".to_owned()));
    assert!(seen[0].trailers.contains(&("grpc-status".to_owned(), "0".to_owned())));
    assert!(seen[0].trailers.contains(&("x-end".to_owned(), "trailer".to_owned())));
    assert!(seen[1].head.contains(&("grpc-status".to_owned(), "12".to_owned())) && seen[1].ended);
    assert_eq!(seen[2].response().frames().0, [b"web"]);
}

#[test]
fn rule_44_cors_and_plain_http_are_answered_over_http2() {
    let web = Web::new().healthz(|| true).cors(Cors::origins(["https://a"]).credentials(true));
    let mut client = Client::new(web);
    let preflight = [
        ("origin", "https://a"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-b"),
    ];
    let allowed = client.send("OPTIONS", "/x", &preflight, b"");
    let allowed = client.one(allowed);
    assert_eq!((allowed.status, allowed.field("access-control-allow-headers")), (204, Some("x-b")));
    assert_eq!(allowed.field("access-control-allow-credentials"), Some("true"));
    let refused = client.send(
        "OPTIONS",
        "/x",
        &[("origin", "https://b"), ("access-control-request-method", "POST")],
        b"",
    );
    assert_eq!(client.one(refused).status, 403);
    let foreign = client.post("/test.Bytes/Echo", WEB, &[("origin", "https://b")], &frame(b"x"));
    assert_eq!(client.one(foreign).status, 403);
    assert_eq!(client.line.service.started.get(), 0);
    let own = client.post("/test.Bytes/Echo", WEB, &[("origin", "https://a")], &frame(b"x"));
    assert_eq!(client.one(own).field("access-control-allow-origin"), Some("https://a"));
    let health = client.send("GET", "/healthz", &[], b"");
    assert_eq!(client.one(health).body, b"SERVING\n");
    let head = client.send("HEAD", "/healthz", &[], b"");
    let head = client.one(head);
    assert_eq!((head.field("content-length"), head.body.len()), (Some("8"), 0));
    let none = client.send("GET", "/none", &[], b"");
    assert_eq!(client.one(none).status, 404);
}

#[test]
fn rule_44_a_deadline_over_http2_has_its_status() {
    let mut client = Client::new(Web::new());
    let key = client.post("/test.Bytes/Echo", WEB, &[("grpc-timeout", "50m")], &frame(b"forever"));
    assert!(!client.run(&[key], usize::MAX)[0].ended);
    client.pass(Duration::from_millis(50));
    let response = client.one(key);
    assert_eq!(response.frames().1[0], "grpc-status: 4");
    assert_eq!(client.line.service.running.get(), 0);
}

#[test]
fn rule_44_a_page_that_leaves_cancels_its_call_and_no_other() {
    let mut client = Client::new(Web::new());
    let leaves = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"forever"));
    let stays = client.post(
        "/test.Bytes/Echo",
        "application/grpc",
        &[("te", "trailers")],
        &frame(b"sleep"),
    );
    client.run(&[leaves, stays], usize::MAX);
    assert_eq!(client.line.service.running.get(), 2);
    client.session.reset(leaves, ErrorCode::CANCEL);
    client.run(&[], usize::MAX);
    assert_eq!(client.line.service.running.get(), 1);
    client.pass(Duration::from_secs(30));
    assert_eq!(client.run(&[stays], usize::MAX)[0].body, frame(b"sleep"));
}

#[test]
fn rule_44_text_over_http2_that_is_no_base64_resets_its_stream() {
    for body in [&b"AAAA!AAA"[..], b"AAAAA"] {
        let mut client = Client::new(Web::new());
        let bad = client.post("/test.Bytes/Join", "application/grpc-web-text", &[], body);
        let good = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"x"));
        let seen = client.run(&[bad, good], usize::MAX);
        assert!(seen[0].reset.as_ref().is_some_and(|reason| reason.contains("PROTOCOL_ERROR")));
        assert_eq!(seen[1].response().frames().0, [b"x"]);
        assert_eq!(client.line.service.running.get(), 0);
    }
}

#[test]
fn rule_44_large_bodies_pass_a_gateway_within_its_windows() {
    let mut client = Client::new(Web::new());
    let web = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"large"));
    let grpc = client.post(
        "/test.Bytes/Echo",
        "application/grpc",
        &[("te", "trailers")],
        &frame(b"large"),
    );
    let seen = client.run(&[web, grpc], usize::MAX);
    assert_eq!(seen[0].response().frames().0[0].len(), 1 << 20);
    assert_eq!(seen[1].body.len(), (1 << 20) + 5);
    // A request that its handler does not take yet, from a client that sends all that its windows allow.
    let body = [frame(b"S"), frame(&[b'x'; 4091]).repeat(256)].concat();
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Bytes/Join"),
        (":authority", "h"),
    ];
    fields.push(("content-type", WEB));
    let key = client.open(&fields);
    client.session.write(key, &body).expect("an empty queue takes any size");
    client.session.finish(key, None).expect("an end");
    client.run(&[key], usize::MAX);
    assert!(client.line.end.heap_bytes() < 512 << 10, "{} bytes", client.line.end.heap_bytes());
    client.pass(Duration::from_secs(50));
    client.run(&[key], usize::MAX);
    client.pass(Duration::from_secs(50));
    assert_eq!(client.run(&[key], usize::MAX)[0].response().frames().0, [b"1047297"]);
}

#[test]
fn rule_44_a_gateway_drains_with_its_calls() {
    let mut client = Client::new(Web::new());
    let key = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"sleep"));
    client.run(&[key], usize::MAX);
    client.line.end.shutdown(Instant::ZERO);
    client.run(&[key], usize::MAX);
    assert_eq!(client.line.ended, None);
    client.pass(Duration::from_secs(30));
    assert_eq!(client.one(key).frames().0, [b"sleep"]);
    assert_eq!(client.line.ended, Some(Ok(())));
    // The age of the server's connection ends that of the client.
    let mut limits = Limits::default();
    limits.max_age = Some(Duration::from_secs(10));
    let options = grpc_service::ServerOptions::new(limits).expect("limits");
    let mut client = Client::new(Web::new());
    client.line = Line::accepted_with(&Web::new().http2_without_tls(true), options);
    let key = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"x"));
    assert_eq!(client.one(key).frames().0, [b"x"]);
    client.pass(Duration::from_secs(12));
    client.run(&[], usize::MAX);
    assert_eq!(client.line.ended, Some(Ok(())));
}

#[test]
fn without_the_option_http2_is_the_servers_alone() {
    let mut client = Client::new(Web::new());
    client.line = Line::accepted(&Web::new());
    let key = client.post("/test.Bytes/Echo", WEB, &[], &frame(b"x"));
    assert_eq!(client.run(&[key], usize::MAX)[0].head[0].1, "415");
    let key =
        client.post("/test.Bytes/Echo", "application/grpc", &[("te", "trailers")], &frame(b"x"));
    assert_eq!(client.run(&[key], usize::MAX)[0].body, frame(b"x"));
}
