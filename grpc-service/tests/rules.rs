//! What the dispatch answers to requests that no handler should see.

mod common;

use std::rc::Rc;
use std::task::{Context, Waker};

use common::{Echoing, Raw, methods};
use grpc_arena::Arena;
use grpc_proto::client::Event;
use grpc_proto::{CallHead, Client, Code, Config, Connection, Instant, Status, Transmit};
use grpc_service::client::Call;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, Cx, Endpoint, Method, Peer, Router, Server, ServerOptions,
};

fn pair() -> (Channel, Pair) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Echoing::default());
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    Pair::new(&host, &server, &ChannelOptions::default())
}

/// The method `Echo`, called by a client that takes it for a stream.
struct Streamed;

impl Method for Streamed {
    const PATH: &'static str = methods::Echo::PATH;
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

#[test]
fn an_unknown_method_is_unimplemented_and_the_connection_stays() {
    let (channel, mut pair) = pair();
    let arena = Arena::new();
    let unknown = Call::<methods::Split, _>::unary(&channel, &Raw(b""), &arena);
    assert_eq!(pair.block_on(unknown).unwrap_err().code(), Code::Unimplemented);
    let known = Call::<methods::Echo, _>::unary(&channel, &Raw(b"a"), &arena);
    assert_eq!(pair.block_on(known), Ok(Raw(b"a")));
}

// Zero or two messages where exactly one belongs: UNIMPLEMENTED at the server that sees it (statuscodes).
#[test]
fn zero_or_two_requests_where_one_belongs_are_unimplemented() {
    for count in [0, 2, 5] {
        let (channel, mut pair) = pair();
        let failed = pair.block_on(async {
            let mut arena = Arena::new();
            let mut stream = Call::<Streamed, _>::bidi(&channel).await.unwrap();
            for _ in 0..count {
                // The server may have answered already.
                let _ = stream.send(&Raw(b"x")).await;
            }
            stream.end();
            stream.next(&mut arena).await.unwrap_err()
        });
        assert_eq!(failed.code(), Code::Unimplemented, "{count} messages: {failed:?}");
        pair.settle();
        assert_eq!(pair.server().open_calls(), 0);
    }
}

// The same at the client: a stream of responses read by one who expects a single one.
#[test]
fn zero_or_two_responses_where_one_belongs_are_unimplemented() {
    use common::{Bytes, connect};
    struct Stream;
    impl Bytes for Stream {
        async fn echo<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
            Ok(request)
        }
        async fn split<'a>(
            &self,
            _: &Cx<'a>,
            request: Raw<'a>,
            out: &mut grpc_service::Sink<'_, Raw<'static>>,
        ) -> Result<(), Status> {
            for _ in request.0 {
                out.send(&request).await?;
            }
            Ok(())
        }
        type Join<'s> = Never;
        async fn join(&self, _: &Cx<'_>) -> Result<Never, Status> {
            Err(Status::new(Code::Unknown, ""))
        }
        type Chat<'s> = Never;
        async fn chat(&self, _: &Cx<'_>) -> Result<Never, Status> {
            Err(Status::new(Code::Unknown, ""))
        }
    }
    enum Never {}
    impl grpc_service::server::ClientStreamingCall<Raw<'static>, Raw<'static>> for Never {
        async fn on_message<'a>(&mut self, _: &Cx<'a>, _: Raw<'a>) -> Result<(), Status> {
            match *self {}
        }
        async fn finish<'a>(self, _: &Cx<'a>) -> Result<Raw<'a>, Status> {
            match self {}
        }
    }
    impl grpc_service::server::BidiCall<Raw<'static>, Raw<'static>> for Never {
        async fn on_message<'a>(
            &self,
            _: &Cx<'a>,
            _: Raw<'a>,
            _: &mut grpc_service::Sink<'_, Raw<'static>>,
        ) -> Result<(), Status> {
            match *self {}
        }
    }

    for (request, expected) in
        [(&b""[..], Code::Unimplemented), (b"1", Code::Ok), (b"22", Code::Unimplemented)]
    {
        let (stub, mut pair) = connect(Stream);
        let arena = Arena::new();
        let request = Raw(request);
        let call = Call::<methods::Split, _>::unary(stub.channel(), &request, &arena);
        let code = pair.block_on(call).map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected);
        pair.settle();
        assert_eq!((pair.client().open_calls(), pair.server().open_calls()), (0, 0));
    }
}

#[test]
fn a_path_or_encoding_that_nobody_knows_is_told_in_part() {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Echoing::default());
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let path = format!("/{}", "ä".repeat(4000));
    let encoding = "x".repeat(4000);
    let by_path = CallHead::new(&path, "test");
    let mut by_encoding = CallHead::new(methods::Echo::PATH, "test");
    by_encoding.encoding = Some(&encoding);
    for (head, whole) in [(by_path, &path), (by_encoding, &encoding)] {
        let now = Instant::ZERO;
        let mut client = Connection::<Client>::new(&Config::default(), 1, now);
        client.call(&head, None, now).expect("room for a call");
        let (mut asked, mut answer) = (Transmit::new(), Transmit::new());
        client.poll_transmit(&mut asked, now);
        let asked: Vec<u8> = asked.chunks().flatten().copied().collect();
        let mut connection = server.accept(Peer::memory());
        let mut cx = Context::from_waker(Waker::noop());
        connection.drive(&mut &asked[..], &mut answer, &mut cx, now).expect("it stays");
        let answer: Vec<u8> = answer.chunks().flatten().copied().collect();
        let mut input = &answer[..];
        // The encodings that the server takes may come ahead of the status.
        let reported = loop {
            match client.poll_event(&mut input, now).expect("it stays") {
                Some(Event::Headers(..)) => {}
                Some(Event::Status(_, outcome)) => break outcome.status,
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(reported.code(), Code::Unimplemented);
        let reported = reported.message();
        assert!(reported.len() < 300 && reported.contains(&whole[..199]), "{reported}");
    }
}

/// A call of `path` as another client would send it, with one message and its half-close.
fn foreign_call(path: &str, content_type: &str, message: &[u8]) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        [&head[..], payload].concat()
    };
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", content_type),
    ] {
        // Literals that are never indexed (RFC 7541 §6.2.3).
        for (first, text) in [(Some(0x10), name), (None, value)] {
            block.extend(first);
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    let data = [&[0, 0, 0, 0, message.len() as u8][..], message].concat();
    let frames = [frame(4, 0, 0, &[]), frame(1, 4, 1, &block), frame(0, 1, 1, &data)].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frames[..]].concat()
}

// Handlers read protocol buffers: a message in another format must not reach them (PROTOCOL-HTTP2, "Content-Type").
#[test]
fn a_subtype_other_than_proto_is_unimplemented_before_the_handler() {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    common::register_echoing(&mut router, &Echoing::default());
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    for path in [methods::Echo::PATH, methods::Chat::PATH] {
        for (content_type, served) in [
            ("application/grpc", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc+proto", true),
            ("application/grpc+PROTO;a", true),
            ("application/grpc+json", false),
            ("application/grpc+protobuf", false),
            ("application/grpc+foo;charset=utf-8", false),
        ] {
            let now = Instant::ZERO;
            // It reads the answer to what was sent in its place.
            let mut client = Connection::<Client>::new(&Config::default(), 1, now);
            client.call(&CallHead::new(path, "test"), None, now).expect("room for a call");
            let mut answer = Transmit::new();
            client.poll_transmit(&mut Transmit::new(), now);
            let mut connection = server.accept(Peer::memory());
            let mut cx = Context::from_waker(Waker::noop());
            let asked = foreign_call(path, content_type, b"{}");
            let mut input = &asked[..];
            for _ in 0..4 {
                connection.drive(&mut input, &mut answer, &mut cx, now).expect("it stays");
            }
            let answer: Vec<u8> = answer.chunks().flatten().copied().collect();
            let mut input = &answer[..];
            let mut messages = 0;
            let status = loop {
                match client.poll_event(&mut input, now).expect("it stays") {
                    Some(Event::Headers(..)) => {}
                    Some(Event::Message(_, message)) => {
                        assert_eq!(message.as_bytes(), b"{}");
                        messages += 1;
                    }
                    Some(Event::Status(_, outcome)) => break outcome.status,
                    event => panic!("{path} {content_type}: {event:?}"),
                }
            };
            let expected = if served { (Code::Ok, 1) } else { (Code::Unimplemented, 0) };
            assert_eq!((status.code(), messages), expected, "{path} {content_type}");
            if !served {
                let named = content_type.split(';').next().unwrap_or_default();
                let text = status.message();
                assert!(text.contains(named), "{text}");
                assert!(text.ends_with("application/grpc or application/grpc+proto"), "{text}");
            }
            assert_eq!(connection.open_calls(), 0);
        }
    }
}
