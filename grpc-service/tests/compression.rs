//! Compression between a stub and a handler in memory, and against peers that speak raw frames to either end.
#![cfg(all(feature = "gzip", feature = "deflate", feature = "zstd"))]

mod common;
#[path = "../../tests/src/counting.rs"]
#[allow(dead_code, unreachable_pub)] // as much as is of use here
mod counting;

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use common::{BytesClient, Echoing, Raw, register_echoing};
use grpc_arena::Arena;
use grpc_proto::hpack::FieldList;
use grpc_proto::http2::{Event, Session, Side};
use grpc_proto::server::ResponseHead;
use grpc_proto::{CallKey, Code, Config, Connection, Instant, Limits, Metadata, Status, Transmit};
use grpc_service::client::{Call, CallError};
use grpc_service::server::UnaryHandler;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, Compression, Cx, Encoding, Endpoint, Host, Method, Peer,
    ResponseMetadata, Router, Server, ServerOptions,
};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn connect(client: Compression, server: Compression, limits: &Limits) -> (BytesClient, Pair) {
    let host = MemoryHost::new(3);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing::default());
    router.unary::<Silent, _>(Plainly);
    router.unary::<Seen, _>(Plainly);
    let options = ServerOptions::new(limits.clone()).expect("consistent limits");
    let options = options.compression(server);
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let options = ChannelOptions::new(Limits::default()).expect("consistent limits");
    let (channel, pair) = Pair::new(&host, &server, &options.compression(client));
    (BytesClient::new(channel), pair)
}

/// Answers with its request, and leaves compression as it is.
#[derive(Clone)]
enum Silent {}

impl Method for Silent {
    const PATH: &'static str = "/test.Bytes/Silent";
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

/// Answers whether its request came compressed, in enough bytes to be compressed itself.
#[derive(Clone)]
enum Seen {}

impl Method for Seen {
    const PATH: &'static str = "/test.Bytes/Seen";
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

#[derive(Clone)]
struct Plainly;

impl UnaryHandler<Silent> for Plainly {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(request)
    }
}

impl UnaryHandler<Seen> for Plainly {
    async fn call<'a>(&self, cx: &Cx<'a>, _: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(if cx.is_compressed() { &[1; 2000] } else { &[0; 2000] }))
    }
}

fn both(encoding: Encoding) -> Compression {
    Compression::none().send(encoding).accept_all()
}

/// Bytes on the wire in both directions, without the bytes of heads.
fn bytes(pair: &mut Pair) -> (u64, u64) {
    let (client, server) = (pair.client().stats(), pair.server().stats());
    (server.data_received, client.data_received)
}

static LARGE: [u8; 100_000] = [b'x'; 100_000];

fn echo(stub: &BytesClient, pair: &mut Pair, body: &[u8]) -> Result<Vec<u8>, Status> {
    let arena = Arena::new();
    pair.block_on(async {
        let raw = stub.echo(&Raw(body), &arena).await.map_err(CallError::into_status)?;
        Ok(raw.0.to_vec())
    })
}

#[test]
fn messages_travel_compressed_both_ways_in_every_encoding() {
    for &encoding in Encoding::ALL {
        let (stub, mut pair) = connect(both(encoding), both(encoding), &Limits::default());
        for _ in 0..3 {
            assert_eq!(echo(&stub, &mut pair, &LARGE), Ok(LARGE.to_vec()));
        }
        let (sent, received) = bytes(&mut pair);
        assert!(sent < 3000 && received < 3000, "{encoding}: {sent} and {received}");
    }
}

#[test]
fn each_end_may_use_another_encoding() {
    let (stub, mut pair) = connect(both(Encoding::Gzip), both(Encoding::Zstd), &Limits::default());
    let arena = Arena::new();
    let mut response = ResponseMetadata::default();
    let reply =
        pair.block_on(async { stub.echo(&Raw(&LARGE), &arena).response(&mut response).await });
    assert_eq!(reply, Ok(Raw(&LARGE)));
    assert_eq!(response.headers.encoding(), Some("zstd"));
    let offered = response.headers.fields().iter().find(|f| f.name == b"grpc-accept-encoding");
    assert_eq!(offered.map(|field| field.value), Some(&b"identity,gzip,deflate,zstd"[..]));
}

#[test]
fn a_call_may_choose_its_own_encoding_or_none() {
    let (stub, mut pair) = connect(Compression::none(), both(Encoding::Gzip), &Limits::default());
    for (encoding, most) in
        [(Some(Encoding::Deflate), 2000), (None, 200_000), (Some(Encoding::Zstd), 2000)]
    {
        let before = bytes(&mut pair).0;
        let arena = Arena::new();
        let reply =
            pair.block_on(async { stub.echo(&Raw(&LARGE), &arena).compress(encoding).await });
        assert_eq!(reply, Ok(Raw(&LARGE)));
        let took = bytes(&mut pair).0 - before;
        assert!(
            took < most && (took >= LARGE.len() as u64) == encoding.is_none(),
            "{encoding:?}: {took}"
        );
    }
}

// Rule 30: never what the peer did not offer, and nothing by default.
#[test]
fn rule_30_a_reply_is_compressed_only_for_a_client_that_accepts_it() {
    for accept in [Compression::none(), Compression::none().accept(Encoding::Deflate)] {
        let (stub, mut pair) = connect(accept, both(Encoding::Gzip), &Limits::default());
        assert_eq!(echo(&stub, &mut pair, &LARGE), Ok(LARGE.to_vec()));
        assert!(bytes(&mut pair).1 > LARGE.len() as u64);
    }
}

#[test]
fn rule_30_small_messages_and_those_that_opt_out_are_sent_as_they_are() {
    let (stub, mut pair) = connect(both(Encoding::Gzip), both(Encoding::Gzip), &Limits::default());
    assert_eq!(echo(&stub, &mut pair, &[b'x'; 1023]), Ok(vec![b'x'; 1023]));
    assert_eq!(bytes(&mut pair), (1028, 1028));
    assert_eq!(echo(&stub, &mut pair, &[b'x'; 1024]), Ok(vec![b'x'; 1024]));
    let (sent, received) = bytes(&mut pair);
    assert!(sent < 1100 && received < 1100);
    let plain = [b"plain".as_slice(), &LARGE].concat();
    assert_eq!(echo(&stub, &mut pair, &plain), Ok(plain));
    let (sent, received) = bytes(&mut pair);
    assert!(sent < 2000 && received > 100_000);
}

#[test]
fn a_call_that_opts_out_leaves_the_next_one_of_its_slot_compressed() {
    let (stub, mut pair) = connect(both(Encoding::Gzip), both(Encoding::Gzip), &Limits::default());
    let plain = [b"plain".as_slice(), &LARGE].concat();
    for _ in 0..3 {
        assert_eq!(echo(&stub, &mut pair, &plain), Ok(plain.clone()));
        let (_, before) = bytes(&mut pair);
        let (arena, request) = (Arena::new(), Raw(&LARGE));
        // The handler of this method says nothing about compression.
        let silent = Call::<Silent, _>::unary(stub.channel(), &request, &arena);
        assert_eq!(pair.block_on(silent), Ok(Raw(&LARGE)));
        let (_, after) = bytes(&mut pair);
        assert!(after - before < 1000, "{}", after - before);
    }
}

#[test]
fn both_ends_see_which_messages_came_compressed() {
    for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
        let of = |compresses| match compresses {
            true => both(Encoding::Gzip),
            false => Compression::none().accept_all(),
        };
        let (stub, mut pair) = connect(of(client), of(server), &Limits::default());
        let (arena, request) = (Arena::new(), Raw(&LARGE));
        let mut beside = ResponseMetadata::default();
        let call = Call::<Seen, _>::unary(stub.channel(), &request, &arena);
        let seen = pair.block_on(call.response(&mut beside)).expect("an answer").0;
        assert_eq!(seen, if client { &[1; 2000] } else { &[0; 2000] });
        assert_eq!(beside.compressed, server);
        pair.block_on(async {
            let mut arena = Arena::new();
            let mut stream = stub.chat().await.unwrap();
            for body in [&LARGE[..], b"small", &LARGE] {
                stream.send(&Raw(body)).await.unwrap();
                assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(body))));
                assert_eq!(stream.is_compressed(), server && body.len() > 1000);
            }
        });
    }
}

#[test]
fn a_client_stream_switches_compression_off_message_by_message() {
    let (stub, mut pair) = connect(both(Encoding::Zstd), both(Encoding::Zstd), &Limits::default());
    let mut expected = 0;
    for on in [true, false, true, false] {
        pair.block_on(async {
            let mut arena = Arena::new();
            let mut stream = stub.chat().await.unwrap();
            stream.set_compression(on);
            stream.send(&Raw(&LARGE)).await.unwrap();
            assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(&LARGE))));
            // The next message decides anew.
            stream.set_compression(true);
            stream.send(&Raw(&LARGE)).await.unwrap();
            assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(&LARGE))));
        });
        expected += if on { 0 } else { 100_005 };
        let (sent, _) = bytes(&mut pair);
        assert!((expected..expected + 4000).contains(&sent), "{sent}, {expected} expected");
    }
}

#[test]
fn a_higher_level_makes_less_of_the_same_message() {
    let mut text = Vec::new();
    let mut seed = 1u64;
    while text.len() < 60_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(format!("{:x} is word {} ", seed >> 54, seed % 97).as_bytes());
    }
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
        let sent = |level| {
            let compression = both(encoding).level(encoding, level);
            let (stub, mut pair) = connect(compression, both(encoding), &Limits::default());
            assert_eq!(echo(&stub, &mut pair, &text), Ok(text.clone()));
            bytes(&mut pair).0
        };
        let (fast, small) = (sent(1), sent(9));
        assert!(small < fast, "{encoding}: {small} at level 9, {fast} at level 1");
        assert_eq!(sent(i32::MIN), fast);
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    let (stub, mut pair) =
        connect(both(Encoding::Zstd), both(Encoding::Deflate), &Limits::default());
    let mut seed = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(5000)
    .collect();
    assert_eq!(echo(&stub, &mut pair, &noise), Ok(noise));
    assert_eq!(bytes(&mut pair), (5005, 5005));
}

#[test]
fn messages_of_a_stream_choose_one_by_one() {
    let (stub, mut pair) = connect(both(Encoding::Gzip), both(Encoding::Gzip), &Limits::default());
    let plain = [b"plain".as_slice(), &LARGE].concat();
    pair.block_on(async {
        let mut arena = Arena::new();
        let mut stream = stub.chat().await.unwrap();
        for _ in 0..3 {
            for body in [&LARGE[..], &plain, b"small", b""] {
                stream.send(&Raw(body)).await.unwrap();
                assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(body))));
            }
        }
        stream.end();
        assert_eq!(stream.next(&mut arena).await, Ok(None));
    });
    let (sent, received) = bytes(&mut pair);
    assert!(sent < 10_000 && (300_000..310_000).contains(&received), "{sent} {received}");
}

/// What a peer sees of its call: the fields of the answer's heads, and its DATA.
#[derive(Debug, Default)]
struct Answer {
    fields: Vec<(String, String)>,
    data: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Calls a server as a peer that says what it likes: `encoding` in its head, and a body of `flag` and `message`.
fn call_raw(
    server: Compression,
    limits: &Limits,
    encoding: &str,
    flag: u8,
    message: &[u8],
) -> Answer {
    let host = MemoryHost::new(3);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing::default());
    let options = ServerOptions::new(limits.clone()).expect("consistent limits");
    let server = Server::new(router, options.compression(server), Rc::new(Rc::clone(&host)));
    let mut server = server.accept(Peer::memory());
    let now = Instant::ZERO;
    let config = Config::new(Limits::default()).expect("the defaults");
    let mut client = Session::new(Side::Client, &config, 1, now);
    let mut head = FieldList::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Bytes/Echo"),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-encoding", encoding),
    ] {
        head.push(name.as_bytes(), value.as_bytes());
    }
    let stream = client.open(head, now).expect("a new connection");
    let mut body = vec![flag];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    client.write(stream, &body).expect("an empty queue takes any length");
    client.finish(stream, None).expect("nothing was ended before");
    let (mut answer, mut out, mut pipe) = (Answer::default(), Transmit::new(), Vec::new());
    for _ in 0..100 {
        client.poll_transmit(&mut out, now);
        let sent: Vec<u8> = out.chunks().flatten().copied().collect();
        out.clear();
        let mut input = &sent[..];
        let mut cx = Context::from_waker(Waker::noop());
        server.drive(&mut input, &mut out, &mut cx, now).expect("a lawful client");
        assert!(input.is_empty());
        pipe.extend(out.chunks().flatten().copied());
        out.clear();
        let mut input = &pipe[..];
        while let Some(event) = client.poll(&mut input, now).expect("a lawful server") {
            match event {
                Event::Headers { fields, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let fields = fields.iter().map(|field| (text(field.name), text(field.value)));
                    answer.fields.extend(fields);
                }
                Event::Data(stream) => {
                    let data = client.take_data(&mut input, usize::MAX);
                    answer.data.extend(data);
                    let len = data.len() as u32;
                    client.consume(stream, len);
                }
                _ => {}
            }
        }
        pipe.clear();
    }
    answer
}

// Rule 29 at the server.
#[test]
fn rule_29_an_unknown_encoding_is_unimplemented_and_what_is_known_is_told() {
    let some = || Compression::none().accept(Encoding::Zstd).accept(Encoding::Deflate);
    for (accept, reported) in [(Compression::none(), "identity"), (some(), "identity,zstd,deflate")]
    {
        for unknown in ["gzip", "snappy", "Zstd", "zstd, deflate"] {
            let answer = call_raw(accept.clone(), &Limits::default(), unknown, 0, b"x");
            assert_eq!(answer.field("grpc-status"), Some("12"), "{unknown}");
            assert_eq!(answer.field("grpc-accept-encoding"), Some(reported));
            assert!(answer.data.is_empty());
        }
        let answer = call_raw(accept, &Limits::default(), "identity", 0, b"x");
        assert_eq!(answer.field("grpc-status"), Some("0"));
        assert_eq!(answer.data, b"\0\0\0\0\x01x");
    }
    // The same through a stub; the connection stays, for calls that can be read.
    let (stub, mut pair) = connect(both(Encoding::Gzip), some(), &Limits::default());
    let failed = echo(&stub, &mut pair, b"x").unwrap_err();
    assert_eq!(failed, Status::new(Code::Unimplemented, "grpc-encoding gzip is not supported"));
    let arena = Arena::new();
    let reply = pair.block_on(async { stub.echo(&Raw(b"x"), &arena).compress(None).await });
    assert_eq!(reply, Ok(Raw(b"x")));
}

// Rules 28 and 29.
#[test]
fn rule_29_corrupt_and_unannounced_compression_is_internal() {
    let accept = || Compression::none().accept_all();
    for (encoding, message) in [
        ("gzip", &b"no gzip"[..]),
        ("deflate", b"no zlib"),
        ("zstd", b"no frame"),
        ("identity", b"x"),
    ] {
        let answer = call_raw(accept(), &Limits::default(), encoding, 1, message);
        assert_eq!(answer.field("grpc-status"), Some("13"), "{encoding}");
    }
}

/// A server that answers every request in gzip.
struct Stubborn {
    connection: Connection<grpc_proto::Server>,
}

impl Stubborn {
    fn answer(&mut self, key: CallKey, message: &[u8]) {
        let head = ResponseHead { encoding: Some("gzip"), ..ResponseHead::default() };
        self.connection.respond(key, &head).unwrap();
        self.connection.send_compressed(key, message).unwrap();
        self.connection.finish(key, &Status::OK, &Metadata::new()).unwrap();
    }
}

/// The outcome of a call at a server that answers with `message` in gzip.
fn answered(client: Compression, limits: &Limits, message: &[u8]) -> Result<Vec<u8>, Code> {
    let host: Rc<dyn Host> = Rc::new(MemoryHost::new(1));
    let options = ChannelOptions::new(limits.clone()).expect("consistent limits");
    let (channel, mut client) = Channel::new("test", &options.compression(client), host);
    let now = Instant::ZERO;
    let config = Config::new(Limits::default()).expect("the defaults");
    let mut server = Stubborn { connection: Connection::new(&config, 1, now) };
    let stub = BytesClient::new(channel);
    let (arena, request) = (Arena::new(), Raw(b""));
    let mut call = pin!(async { stub.echo(&request, &arena).await.map(|raw| raw.0.to_vec()) });
    let (mut out, mut cx) = (Transmit::new(), Context::from_waker(Waker::noop()));
    let mut pipe = Vec::new();
    for _ in 0..100 {
        if let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) {
            return outcome.map_err(|status| status.code());
        }
        let mut input = &pipe[..];
        client.drive(&mut input, &mut out, &mut cx, now).expect("a lawful server");
        let sent: Vec<u8> = out.chunks().flatten().copied().collect();
        out.clear();
        let mut input = &sent[..];
        while let Some(event) = server.connection.poll_event(&mut input, now).expect("lawful") {
            if let grpc_proto::server::Event::End(key) = event {
                server.answer(key, message);
            }
        }
        server.connection.poll_transmit(&mut out, now);
        pipe = out.chunks().flatten().copied().collect();
        out.clear();
    }
    panic!("no outcome");
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::GzBuilder::new().filename("foreign").write(Vec::new(), Default::default());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

// Rule 29 at the client.
#[test]
fn rule_29_a_reply_in_an_encoding_that_was_not_offered_is_internal() {
    let reply = gzip(&LARGE);
    let limits = Limits::default();
    assert_eq!(answered(Compression::none(), &limits, &reply), Err(Code::Internal));
    let other = Compression::none().accept(Encoding::Zstd);
    assert_eq!(answered(other, &limits, &reply), Err(Code::Internal));
    let gzip = Compression::none().accept(Encoding::Gzip);
    assert_eq!(answered(gzip.clone(), &limits, &reply), Ok(LARGE.to_vec()));
    assert_eq!(answered(gzip, &limits, b"garbage"), Err(Code::Internal));
}

// A million bytes become a thousand: the limit holds while they are made, at either end.
#[test]
fn a_decompression_bomb_stops_at_the_receive_limit_and_a_neighbour_is_served() {
    const LIMIT: usize = 64 << 10;
    let bomb = gzip(&vec![0; 60 << 20]);
    assert!((50_000..LIMIT).contains(&bomb.len()), "{}", bomb.len());
    let fits = gzip(&vec![b'x'; LIMIT]);
    let exceeds = gzip(&vec![b'x'; LIMIT + 1]);
    let mut limits = Limits::default();
    limits.max_receive_message = LIMIT as u32;
    let accept = || Compression::none().accept(Encoding::Gzip);

    assert_eq!(call_raw(accept(), &limits, "gzip", 1, &fits).field("grpc-status"), Some("0"));
    let peak = |run: &mut dyn FnMut()| {
        counting::reset_peak();
        let before = counting::live();
        run();
        usize::try_from(counting::peak() - before).expect("a peak is no less than where it began")
    };
    let small = peak(&mut || {
        let answer = call_raw(accept(), &limits, "gzip", 1, b"no gzip");
        assert_eq!(answer.field("grpc-status"), Some("13"));
    });
    for message in [&bomb, &exceeds] {
        let peak = peak(&mut || {
            let answer = call_raw(accept(), &limits, "gzip", 1, message);
            assert_eq!(answer.field("grpc-status"), Some("8"));
        });
        // The message itself passes through some buffers of the test's; what it inflates to through one, which may
        // hold its old memory while it takes its last.
        let most = small + 8 * message.len() + 2 * LIMIT;
        assert!(peak <= most, "{peak} bytes for {} on the wire, {most} at most", message.len());
    }
    assert_eq!(answered(accept(), &limits, &fits), Ok(vec![b'x'; LIMIT]));
    assert_eq!(answered(accept(), &limits, &exceeds), Err(Code::ResourceExhausted));
    assert_eq!(answered(accept(), &limits, &bomb), Err(Code::ResourceExhausted));

    // Beside it on the same connection another call succeeds: every byte of it counts, so one is too many.
    let (stub, mut pair) = connect(both(Encoding::Gzip), both(Encoding::Gzip), &limits);
    let exceeding = vec![b'x'; LIMIT + 1];
    let outcomes = pair.block_on(async {
        let (one, two) = (Arena::new(), Arena::new());
        let failed = stub.echo(&Raw(&exceeding), &one).await.map(|_| ());
        (
            failed.map_err(|status| status.code()),
            stub.echo(&Raw(b"ok"), &two).await.map(|raw| raw.0.to_vec()),
        )
    });
    assert_eq!(outcomes, (Err(Code::ResourceExhausted), Ok(b"ok".to_vec())));
}

#[test]
fn a_compressed_call_takes_nothing_from_the_heap_at_steady_state() {
    for &encoding in Encoding::ALL {
        let (stub, mut pair) = connect(both(encoding), both(encoding), &Limits::default());
        let mut arena = Arena::new().with_retained(64 << 10);
        let body = [b'y'; 20_000];
        let mut last = u64::MAX;
        for _ in 0..200 {
            arena.reset();
            let before = counting::taken();
            let reply = pair.block_on(async { stub.echo(&Raw(&body), &arena).await });
            last = counting::taken() - before;
            assert_eq!(reply, Ok(Raw(&body)));
        }
        // The codecs written in C take theirs where this allocator does not see it; they keep their contexts too.
        assert_eq!(last, 0, "{encoding}");
    }
}

#[test]
fn a_message_that_lies_about_its_length_is_not_compressed_either() {
    let settings = both(Encoding::Gzip);
    let (stub, mut pair) = connect(settings.clone(), settings, &Limits::default());
    let lie = [&b"?lies"[..], &LARGE].concat();
    assert_eq!(echo(&stub, &mut pair, &lie).unwrap_err().code(), Code::Internal);
    assert_eq!(echo(&stub, &mut pair, &LARGE), Ok(LARGE.to_vec()));
}
