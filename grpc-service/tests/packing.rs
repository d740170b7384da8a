//! Compressed messages that wait for room: what it took to compress them is spent once.
#![cfg(feature = "gzip")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};

use common::Raw;
use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
use grpc_proto::hpack::FieldList;
use grpc_proto::http2::{Session, Side};
use grpc_proto::{Config, Instant, Limits, Status, Transmit};
use grpc_service::client::Call;
use grpc_service::server::{ServerStreamingHandler, UnaryHandler};
use grpc_service::testing::{MemoryHost, Pair, join_all};
use grpc_service::{
    ChannelOptions, Compression, Cx, Encoding, Endpoint, Method, Peer, Router, Server,
    ServerOptions, Sink,
};

thread_local! {
    /// How often a message was written out.
    static ENCODED: Cell<usize> = const { Cell::new(0) };
}

/// A message that is its bytes, and counts how often it is written out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted<'a>(&'a [u8]);

impl Encode for Counted<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        ENCODED.set(ENCODED.get() + 1);
        out.extend_from_slice(self.0);
    }
}

impl Schema for Counted<'static> {
    type View<'a> = Counted<'a>;

    fn decode<'a>(
        bytes: &'a [u8],
        _: &'a Arena,
        _: &DecodeLimits,
    ) -> Result<Counted<'a>, DecodeError> {
        Ok(Counted(bytes))
    }
}

/// Asks in a byte, and is answered at length.
struct Ask;
/// Tells at length, and is answered in a byte.
struct Tell;

impl Method for Ask {
    const PATH: &'static str = "/test.Bytes/Ask";
    type Request = Raw<'static>;
    type Response = Counted<'static>;
}

impl Method for Tell {
    const PATH: &'static str = "/test.Bytes/Tell";
    type Request = Counted<'static>;
    type Response = Raw<'static>;
}

/// Answers each question with these bytes, once or twice in a stream.
#[derive(Clone)]
struct Handler(Rc<Vec<u8>>);

impl UnaryHandler<Ask> for Handler {
    async fn call<'a>(&self, cx: &Cx<'a>, _: Raw<'a>) -> Result<Counted<'a>, Status> {
        Ok(Counted(cx.arena().alloc_slice(&self.0)))
    }
}

impl ServerStreamingHandler<Ask> for Handler {
    async fn call<'a>(
        &self,
        _: &Cx<'a>,
        _: Raw<'a>,
        out: &mut Sink<'_, Counted<'static>>,
    ) -> Result<(), Status> {
        for _ in 0..2 {
            out.send(&Counted(&self.0)).await?;
        }
        Ok(())
    }
}

impl UnaryHandler<Tell> for Handler {
    async fn call<'a>(&self, _: &Cx<'a>, _: Counted<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(b""))
    }
}

fn gzip() -> Compression {
    Compression::none().send(Encoding::Gzip).accept(Encoding::Gzip)
}

/// Bytes of which so many low bits are of chance: gzip makes about an eighth of that of each.
fn noise(len: usize, bits: u32) -> Vec<u8> {
    let mut seed = 1u64;
    let byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> (64 - bits)) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// Limits under which a few messages at once may exceed what their calls may queue.
fn narrow() -> Limits {
    let mut limits = Limits::default();
    limits.send_budget = 1 << 20;
    limits
}

/// Both kinds of message that wait for room: one that gzip shortens, and one that it does not.
fn bodies(len: usize) -> [Vec<u8>; 2] {
    [noise(len, 7), noise(len, 8)]
}

fn server(body: &[u8], streams: bool, host: &Rc<MemoryHost>) -> Server {
    let handler = Handler(Rc::new(body.to_vec()));
    let mut router = Router::new();
    match streams {
        true => router.server_streaming::<Ask, _>(handler.clone()),
        false => router.unary::<Ask, _>(handler.clone()),
    };
    router.unary::<Tell, _>(handler);
    let options = ServerOptions::new(narrow()).unwrap().compression(gzip());
    Server::new(router, options, Rc::new(Rc::clone(host)))
}

/// What a client says that asks for an answer in gzip and lets `window` bytes of it through.
fn question(window: u32) -> Vec<u8> {
    let mut limits = Limits::default();
    limits.stream_window = window;
    let config = Config::new(limits).expect("consistent limits");
    let mut client = Session::new(Side::Client, &config, 1, Instant::ZERO);
    let mut head = FieldList::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", Ask::PATH),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-accept-encoding", "gzip"),
    ] {
        head.push(name.as_bytes(), value.as_bytes());
    }
    let stream = client.open(head, Instant::ZERO).expect("a new connection");
    client.write(stream, &[0; 5]).expect("an empty queue");
    client.finish(stream, None).expect("nothing was ended before");
    let mut out = Transmit::new();
    client.poll_transmit(&mut out, Instant::ZERO);
    out.chunks().flatten().copied().collect()
}

// A frame of 13 bytes must not buy a message's worth of compression.
#[test]
fn a_client_that_opens_its_window_by_the_byte_has_each_message_compressed_once() {
    for body in bodies(60_000) {
        ENCODED.set(0);
        let host = MemoryHost::new(1);
        let mut server = server(&body, true, &host).accept(Peer::memory());
        let mut sent = 0;
        let mut hear = |said: &[u8]| {
            let (mut input, mut out) = (said, Transmit::new());
            let mut cx = Context::from_waker(Waker::noop());
            server.drive(&mut input, &mut out, &mut cx, Instant::ZERO).expect("a lawful client");
            assert!(input.is_empty());
            sent += out.len();
        };
        hear(&question(40_000));
        for _ in 0..50 {
            // WINDOW_UPDATE of one byte for stream 1 (RFC 9113 §6.9).
            hear(&[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        }
        assert!(sent > 40_050, "{sent}");
        assert_eq!(server.open_calls(), 1);
        // One that does not get shorter is written out once more, when it is sent as it is.
        let encoded = ENCODED.get();
        assert!(encoded <= 3, "two messages were written out {encoded} times");
    }
}

#[test]
fn answers_that_wait_for_the_send_budget_are_compressed_once() {
    for body in bodies(200_000) {
        ENCODED.set(0);
        let host = MemoryHost::new(1);
        let server = server(&body, false, &host);
        let options = ChannelOptions::default().compression(gzip());
        let (channel, mut pair) = Pair::new(&host, &server, &options);
        let question = Raw(b"");
        pair.block_on(join_all((0..40).map(|_| async {
            let arena = Arena::new();
            let answer = Call::<Ask, _>::unary(&channel, &question, &arena).await;
            assert_eq!(answer, Ok(Counted(&body)));
        })));
        let encoded = ENCODED.get();
        assert!(encoded <= 80, "40 messages were written out {encoded} times");
    }
}

#[test]
fn requests_that_wait_for_the_send_budget_are_compressed_once() {
    for body in bodies(200_000) {
        ENCODED.set(0);
        let host = MemoryHost::new(1);
        let server = server(b"", false, &host);
        let options = ChannelOptions::new(narrow()).unwrap().compression(gzip());
        let (channel, mut pair) = Pair::new(&host, &server, &options);
        pair.block_on(join_all((0..40).map(|_| async {
            let arena = Arena::new();
            let reported = Counted(&body);
            assert_eq!(Call::<Tell, _>::unary(&channel, &reported, &arena).await, Ok(Raw(b"")));
        })));
        let encoded = ENCODED.get();
        assert!(encoded <= 80, "40 messages were written out {encoded} times");
    }
}
