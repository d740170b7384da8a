//! The four kinds of call, between a stub and a handler in memory.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Bytes, BytesClient, Raw, connect, connect_with};
use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Limits, Metadata, Processed, Status};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::testing::{MemoryHost, Pair, join_all};
use grpc_service::{
    CallError, ChannelOptions, Cx, Endpoint, Host, ResponseMetadata, Router, Server, ServerOptions,
    Sink,
};

/// Does what its requests say.
#[derive(Default, Clone)]
struct Puppet {
    log: Rc<RefCell<Vec<String>>>,
    alive: Rc<Cell<usize>>,
}

/// Counts itself.
struct Alive(Rc<Cell<usize>>);

impl Puppet {
    fn alive(&self) -> Alive {
        self.alive.set(self.alive.get() + 1);
        Alive(Rc::clone(&self.alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Bytes for Puppet {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        let _alive = self.alive();
        for entry in cx.metadata().iter() {
            let name = String::from_utf8_lossy(entry.name).into_owned();
            let value = String::from_utf8_lossy(entry.value).into_owned();
            cx.append_header(&name, &value).expect("what came may go");
            cx.append_trailer(&format!("{name}-again"), &value).expect("what came may go");
        }
        match request.0 {
            b"fail" => Err(Status::new(Code::NotFound, "nicht da: ∅")),
            b"fail with ok" => Err(Status::OK),
            b"panic" => panic!("as asked"),
            b"sleep" => {
                cx.sleep(Duration::from_secs(3)).await;
                Ok(request)
            }
            b"forever" => std::future::pending().await,
            _ => {
                let reply = cx.arena().alloc_slice(request.0);
                reply.reverse();
                Ok(Raw(reply))
            }
        }
    }

    async fn split<'a>(
        &self,
        _cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        if request.0 == b"fail with ok" {
            return Err(Status::OK);
        }
        for byte in request.0 {
            let on_stack = [*byte; 3];
            out.send(&Raw(&on_stack)).await?;
        }
        Ok(())
    }

    type Join<'s> = Joining<'s>;
    async fn join(&self, _cx: &Cx<'_>) -> Result<Joining<'_>, Status> {
        Ok(Joining { puppet: self, all: Vec::new() })
    }

    type Chat<'s> = Chatting<'s>;
    async fn chat(&self, _cx: &Cx<'_>) -> Result<Chatting<'_>, Status> {
        Ok(Chatting { puppet: self, _alive: self.alive() })
    }
}

struct Joining<'s> {
    puppet: &'s Puppet,
    all: Vec<u8>,
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for Joining<'_> {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Raw<'a>) -> Result<(), Status> {
        if message.0 == b"stop" {
            return Err(Status::new(Code::Aborted, "stopped"));
        }
        if message.0 == b"fail with ok" {
            return Err(Status::OK);
        }
        if message.0 == b"wait" {
            cx.sleep(Duration::from_millis(5)).await;
        }
        self.puppet.log.borrow_mut().push(format!("took {}", message.0.len()));
        self.all.extend_from_slice(message.0);
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Raw<'a>, Status> {
        if self.all == b"fail at the end" {
            return Err(Status::OK);
        }
        Ok(Raw(cx.arena().alloc_slice(&self.all)))
    }
}

struct Chatting<'s> {
    puppet: &'s Puppet,
    _alive: Alive,
}

impl BidiCall<Raw<'static>, Raw<'static>> for Chatting<'_> {
    async fn on_message<'a>(
        &self,
        _cx: &Cx<'a>,
        message: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        if message.0 == b"fail with ok" {
            return Err(Status::OK);
        }
        out.send(&message).await
    }

    async fn finish(&self, _cx: &Cx<'_>, out: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        self.puppet.log.borrow_mut().push("chat ends".to_owned());
        out.send(&Raw(b"bye")).await
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        loop {
            cx.sleep(Duration::from_secs(1)).await;
            out.send(&Raw(b"tick")).await?;
        }
    }
}

#[test]
fn a_unary_call_is_answered_from_the_calls_arena() {
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let reply = pair.block_on(async { stub.echo(&Raw(b"abc"), &arena).await });
    assert_eq!(reply, Ok(Raw(b"cba")));
    assert_eq!(pair.server().open_calls(), 0);
    assert_eq!(pair.client().open_calls(), 0);
}

#[test]
fn metadata_travels_both_ways() {
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let mut metadata = Metadata::new();
    metadata.append("k", "v").unwrap();
    let mut response = ResponseMetadata::default();
    let call = stub.echo(&Raw(b"x"), &arena).metadata(&metadata).response(&mut response);
    assert_eq!(pair.block_on(call), Ok(Raw(b"x")));
    assert_eq!(response.headers.value("k"), Some(&b"v"[..]));
    assert_eq!(response.trailers.value("k-again"), Some(&b"v"[..]));
}

#[test]
fn an_error_status_keeps_its_message() {
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let reply = pair.block_on(stub.echo(&Raw(b"fail"), &arena));
    assert_eq!(reply.unwrap_err().into_status(), Status::new(Code::NotFound, "nicht da: ∅"));
}

#[test]
fn a_handler_that_fails_with_ok_is_internal_for_its_client() {
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let failed = pair.block_on(stub.echo(&Raw(b"fail with ok"), &arena)).unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(failed.message().contains("Err with a status of OK"), "{failed:?}");
    let failed = pair.block_on(async {
        let mut stream = stub.split(&Raw(b"fail with ok")).await.unwrap();
        let mut arena = Arena::new();
        stream.next(&mut arena).await.unwrap_err()
    });
    assert_eq!(failed.code(), Code::Internal);
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
}

#[test]
fn a_stream_whose_handler_fails_with_ok_is_internal_for_its_client() {
    let (stub, mut pair) = connect(Puppet::default());
    let is_internal = |failed: CallError| {
        assert_eq!(failed.code(), Code::Internal);
        assert!(failed.message().contains("Err with a status of OK"), "{failed:?}");
    };
    let arena = Arena::new();
    // In the midst of the requests, and in place of the response.
    for message in [&b"fail with ok"[..], b"fail at the end"] {
        is_internal(pair.block_on(async {
            let mut stream = stub.join().await.unwrap();
            stream.send(&Raw(message)).await.unwrap();
            stream.finish(&arena).await.unwrap_err()
        }));
    }
    is_internal(pair.block_on(async {
        let mut stream = stub.chat().await.unwrap();
        let mut arena = Arena::new();
        stream.send(&Raw(b"a")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"a"))));
        stream.send(&Raw(b"fail with ok")).await.unwrap();
        stream.next(&mut arena).await.unwrap_err()
    }));
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
}

#[test]
fn a_handler_that_panics_fails_its_own_call_alone() {
    let puppet = Puppet::default();
    let (stub, mut pair) = connect(puppet.clone());
    let arena = Arena::new();
    let sleeper = stub.clone();
    pair.block_on(async {
        let mut slow = std::pin::pin!(sleeper.echo(&Raw(b"sleep"), &arena));
        std::future::poll_fn(|cx| {
            assert!(slow.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let failed = stub.echo(&Raw(b"panic"), &arena).await.unwrap_err();
        assert_eq!(failed.code(), Code::Internal);
        assert_eq!(slow.await, Ok(Raw(b"sleep")));
    });
    assert_eq!(puppet.alive.get(), 0);
}

#[test]
fn a_deadline_drops_the_handler() {
    let puppet = Puppet::default();
    let (stub, mut pair) = connect(puppet.clone());
    let arena = Arena::new();
    let call = stub.echo(&Raw(b"forever"), &arena).timeout(Duration::from_secs(2));
    let failed = pair.block_on(call).unwrap_err();
    assert_eq!(failed.code(), Code::DeadlineExceeded);
    pair.settle();
    assert_eq!(puppet.alive.get(), 0);
    assert_eq!(pair.server().open_calls(), 0);
}

#[test]
fn dropping_a_call_drops_its_handler() {
    let puppet = Puppet::default();
    let (stub, mut pair) = connect(puppet.clone());
    let arena = Arena::new();
    {
        let mut call = Box::pin(stub.echo(&Raw(b"forever"), &arena));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        pair.settle();
        assert_eq!(puppet.alive.get(), 1);
    }
    pair.settle();
    assert_eq!(puppet.alive.get(), 0);
    assert_eq!((pair.client().open_calls(), pair.server().open_calls()), (0, 0));
}

#[test]
fn a_message_that_does_not_decode_is_internal() {
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let failed = pair.block_on(stub.echo(&Raw(b"!"), &arena)).unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(failed.message().contains("Raw: the wire type"), "{failed:?}");
}

#[test]
fn nothing_follows_a_response_that_does_not_decode() {
    // One call is over when it is read, the other one goes on for longer than the windows let through.
    for rest in [2, 100_000] {
        let (stub, mut pair) = connect(Puppet::default());
        let mut arena = Arena::new();
        let request = [&b"a!"[..], &vec![b'b'; rest]].concat();
        let mut stream = pair.block_on(stub.split(&Raw(&request))).unwrap();
        pair.settle();
        assert_eq!(pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"aaa"))));
        for _ in 0..3 {
            let failed = pair.block_on(stream.next(&mut arena)).unwrap_err();
            assert_eq!(failed.code(), Code::Internal, "{failed:?}");
            pair.settle();
        }
        assert_eq!(pair.server().open_calls(), 0);
    }
}

#[test]
fn response_metadata_holds_nothing_of_the_call_before() {
    let mut client = Limits::default();
    client.max_send_message = 100;
    let (stub, mut pair) = connect_with(Puppet::default(), Limits::default(), client);
    let (arena, mut response, mut metadata) =
        (Arena::new(), ResponseMetadata::default(), Metadata::new());
    metadata.append("trace", "7").unwrap();
    let answered = |response: &ResponseMetadata| {
        let is_there = response.headers.iter().next().is_some();
        assert_eq!(is_there, response.trailers.iter().next().is_some());
        (is_there, response.processed)
    };
    let good = stub.echo(&Raw(b"ab"), &arena).metadata(&metadata).response(&mut response);
    assert_eq!(pair.block_on(good), Ok(Raw(b"ba")));
    assert_eq!(answered(&response), (true, Some(Processed::Maybe)));
    let large = [7; 101];
    let large = pair.block_on(stub.echo(&Raw(&large), &arena).response(&mut response));
    assert_eq!(large.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(answered(&response), (false, None));

    let good = stub.echo(&Raw(b"ab"), &arena).metadata(&metadata).response(&mut response);
    assert_eq!(pair.block_on(good), Ok(Raw(b"ba")));
    pair.cut();
    let unsent = pair.block_on(stub.echo(&Raw(b"ab"), &arena).response(&mut response));
    assert_eq!(unsent.unwrap_err().code(), Code::Unavailable);
    assert_eq!(answered(&response), (false, Some(Processed::No)));
}

#[test]
fn a_call_names_the_channels_authority_and_its_user_agent() {
    let host = MemoryHost::new(7);
    let mut router = Router::new();
    common::register(&mut router, Rc::new(Puppet::default()));
    let server =
        Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)) as Rc<dyn Host>);
    let options = ChannelOptions::default();
    let options = options.authority("shop.example").unwrap().user_agent("shop/1.2").unwrap();
    let (channel, mut pair) = Pair::new(&host, &server, &options);
    assert_eq!(channel.authority(), "shop.example");
    let stub = BytesClient::new(channel);
    let (arena, mut response) = (Arena::new(), ResponseMetadata::default());
    let call = stub.echo(&Raw(b"ab"), &arena).response(&mut response);
    assert_eq!(pair.block_on(call), Ok(Raw(b"ba")));
    // The handler sends back what it was told.
    let agents: Vec<_> =
        response.headers.iter().filter(|entry| entry.name == b"user-agent").collect();
    assert_eq!(agents.len(), 1);
    assert!(agents[0].value.starts_with(b"shop/1.2 grpc-proto/"));
}

#[test]
fn responses_stream_from_the_stack() {
    let (stub, mut pair) = connect(Puppet::default());
    pair.block_on(async {
        let mut arena = Arena::new();
        let mut stream = stub.split(&Raw(b"xyz")).await.unwrap();
        let mut seen = Vec::new();
        while let Some(item) = stream.next(&mut arena).await.unwrap() {
            seen.push(item.0.to_vec());
        }
        assert_eq!(seen, [b"xxx", b"yyy", b"zzz"]);
        assert!(stream.trailers().is_some());
    });
}

#[test]
fn requests_stream_into_one_answer() {
    let (stub, mut pair) = connect(Puppet::default());
    pair.block_on(async {
        let arena = Arena::new();
        let mut stream = stub.join().await.unwrap();
        for part in [&b"a"[..], b"wait", b"", b"c"] {
            stream.send(&Raw(part)).await.unwrap();
        }
        assert_eq!(stream.finish(&arena).await, Ok(Raw(b"awaitc")));
    });
}

#[test]
fn a_handler_may_end_a_request_stream_early() {
    let (stub, mut pair) = connect(Puppet::default());
    pair.block_on(async {
        let arena = Arena::new();
        let mut stream = stub.join().await.unwrap();
        stream.send(&Raw(b"stop")).await.unwrap();
        let failed = stream.finish(&arena).await.unwrap_err();
        assert_eq!(failed.into_status(), Status::new(Code::Aborted, "stopped"));
    });
}

#[test]
fn a_bidirectional_call_answers_and_pushes() {
    let puppet = Puppet::default();
    let (stub, mut pair) = connect(puppet.clone());
    pair.block_on(async {
        let mut arena = Arena::new();
        let mut stream = stub.chat().await.unwrap();
        stream.send(&Raw(b"hello")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"hello"))));
        // Nobody sends: time jumps, and the handler pushes.
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"tick"))));
        stream.end();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"bye"))));
        assert_eq!(stream.next(&mut arena).await, Ok(None));
        assert_eq!(stream.next(&mut arena).await, Ok(None));
    });
    assert_eq!(puppet.alive.get(), 0);
}

#[test]
fn the_halves_of_a_call_live_on_their_own() {
    let (stub, mut pair) = connect(Puppet::default());
    pair.block_on(async {
        let mut arena = Arena::new();
        let (mut sending, mut receiving) = stub.chat().await.unwrap().split();
        sending.send(&Raw(b"one")).await.unwrap();
        sending.end();
        assert_eq!(receiving.next(&mut arena).await, Ok(Some(Raw(b"one"))));
        assert_eq!(receiving.next(&mut arena).await, Ok(Some(Raw(b"bye"))));
        assert_eq!(receiving.next(&mut arena).await, Ok(None));

        let (sending, mut receiving) = stub.chat().await.unwrap().split();
        drop(sending);
        let failed = receiving.next(&mut arena).await.unwrap_err();
        assert_eq!(failed.code(), Code::Cancelled);
    });
    pair.settle();
    assert_eq!(pair.server().open_calls(), 0);
}

#[test]
fn a_sink_waits_for_room_and_nobody_else_does() {
    let (stub, mut pair) = connect(Puppet::default());
    let big = vec![1u8; 100_000];
    pair.block_on(async {
        let mut arena = Arena::new();
        // 300,000 bytes of responses in 100,000 messages, of which nothing is read at first.
        let mut stream = stub.split(&Raw(&big)).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(&[1, 1, 1]))));
        assert_eq!(stub.echo(&Raw(b"ab"), &Arena::new()).await, Ok(Raw(b"ba")));
        let mut rest = 0;
        while let Some(item) = stream.next(&mut arena).await.unwrap() {
            assert_eq!(item, Raw(&[1, 1, 1]));
            rest += 1;
        }
        assert_eq!(rest, 99_999);
    });
}

#[test]
fn many_calls_interleave_whatever_the_segments() {
    for segment in [1, 7, 100, usize::MAX] {
        let (stub, mut pair) = connect(Puppet::default());
        pair.segment(segment);
        let bodies: Vec<Vec<u8>> = (0..64).map(|i| vec![i as u8 + 40; i * 37]).collect();
        let calls = bodies.iter().map(|body| {
            let stub = stub.clone();
            async move {
                let arena = Arena::new();
                assert_eq!(stub.echo(&Raw(body), &arena).await, Ok(Raw(body)));
            }
        });
        pair.block_on(join_all(calls));
        assert_eq!((pair.client().open_calls(), pair.server().open_calls()), (0, 0));
    }
}

#[test]
fn calls_beyond_the_servers_streams_and_the_clients_queue_wait_their_turn() {
    let (mut server, mut client) = (Limits::default(), Limits::default());
    server.max_concurrent_streams = 3;
    client.max_queued_calls = 4;
    let (stub, mut pair) = connect_with(Puppet::default(), server, client);
    // A client learns the server's limit from its SETTINGS.
    let arena = Arena::new();
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
    let calls = (0..50).map(|_| {
        let stub = stub.clone();
        async move {
            let arena = Arena::new();
            assert_eq!(stub.echo(&Raw(b"ok"), &arena).await, Ok(Raw(b"ko")));
        }
    });
    pair.block_on(join_all(calls));
}

#[test]
fn calls_that_wait_for_the_clients_queue_open_though_no_call_ends() {
    let mut client = Limits::default();
    client.max_queued_calls = 2;
    let (stub, mut pair) = connect_with(Puppet::default(), Limits::default(), client);
    let arena = Arena::new();
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
    // All are kept open: what lets the next one in is that those before it have got a stream.
    let open = RefCell::new(Vec::new());
    let calls = (0..10).map(|_| async {
        let call = stub.chat().await.unwrap();
        open.borrow_mut().push(call);
    });
    pair.block_on(join_all(calls));
    assert_eq!(open.borrow().len(), 10);
    pair.settle();
    assert_eq!(pair.server().open_calls(), 10);
}

#[test]
fn a_burst_above_the_clients_queue_opens_whole_where_the_server_allows_it() {
    let mut server = Limits::default();
    server.max_concurrent_streams = 3000;
    let (stub, mut pair) = connect_with(Puppet::default(), server, Limits::default());
    let arena = Arena::new();
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
    let open = RefCell::new(Vec::new());
    let calls = (0..2000).map(|_| async {
        let call = stub.chat().await.unwrap();
        open.borrow_mut().push(call);
    });
    pair.block_on(join_all(calls));
    assert_eq!(open.borrow().len(), 2000);
}

#[test]
fn calls_that_wait_for_the_clients_queue_learn_at_once_that_the_server_goes_away() {
    let (mut server, mut client) = (Limits::default(), Limits::default());
    server.max_concurrent_streams = 1;
    client.max_queued_calls = 1;
    let (stub, mut pair) = connect_with(Puppet::default(), server, client);
    let arena = Arena::new();
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
    let kept = pair.block_on(stub.chat()).unwrap();
    pair.settle();
    // One waits in the core and two beside it, none of which the server will ever take.
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(stub.echo(&Raw(b"ok"), &arena))).collect();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(calls.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
    pair.server().shutdown(Instant::ZERO);
    pair.settle();
    for call in calls {
        assert_eq!(pair.block_on(call).unwrap_err().code(), Code::Unavailable);
    }
    drop(kept);
}

#[test]
fn a_call_in_line_for_a_stream_ends_at_its_deadline() {
    let (mut server, mut client) = (Limits::default(), Limits::default());
    server.max_concurrent_streams = 1;
    client.max_queued_calls = 1;
    let (stub, mut pair) = connect_with(Puppet::default(), server, client);
    let arena = Arena::new();
    assert_eq!(pair.block_on(stub.echo(&Raw(b"ab"), &arena)), Ok(Raw(b"ba")));
    // One has the stream, one waits for it in the core, and one is not even there yet: it ends first.
    let ended = pair.block_on(async {
        let (ended, arena) = (RefCell::new(Vec::new()), Arena::new());
        let (log, arena, stub) = (&ended, &arena, &stub);
        let call = move |request: &'static [u8], millis| async move {
            let timeout = Duration::from_millis(millis);
            let result = stub.echo(&Raw(request), arena).timeout(timeout).await;
            let outcome = result.map(|_| ()).map_err(|status| status.code());
            log.borrow_mut().push((millis, outcome));
        };
        let calls = [call(b"forever", 100), call(b"ok", 50), call(b"ok", 7)];
        join_all(calls).await;
        ended.into_inner()
    });
    let late = |millis| (millis, Err(Code::DeadlineExceeded));
    assert_eq!(ended, [late(7), late(50), late(100)]);
}

#[test]
fn a_cut_connection_fails_calls_and_drops_handlers() {
    let puppet = Puppet::default();
    let (stub, mut pair) = connect(puppet.clone());
    let arena = Arena::new();
    let mut call = Box::pin(stub.echo(&Raw(b"forever"), &arena));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    pair.settle();
    assert_eq!(puppet.alive.get(), 1);
    pair.cut();
    let failed = pair.block_on(call).unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    pair.settle();
    assert_eq!(puppet.alive.get(), 0);
    let again = pair.block_on(stub.echo(&Raw(b"x"), &arena)).unwrap_err();
    assert_eq!(again.code(), Code::Unavailable);
}

#[test]
fn a_client_that_pings_too_often_is_told_so_in_the_status_of_its_calls() {
    let mut eager = Limits::default();
    eager.keepalive = Some(Duration::from_secs(10));
    let (client, mut pair) = connect_with(Puppet::default(), Limits::default(), eager);
    let arena = Arena::new();
    let status = pair.block_on(client.echo(&Raw(b"forever"), &arena)).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let message = status.message();
    assert!(
        message.contains("ENHANCE_YOUR_CALM") && message.contains("too_many_pings"),
        "{message}"
    );
}

#[test]
fn a_connection_is_drained_when_its_last_channel_is_gone() {
    use grpc_service::Endpoint;
    let (stub, mut pair) = connect(Puppet::default());
    let arena = Arena::new();
    let other: BytesClient = stub.clone();
    pair.block_on(stub.echo(&Raw(b"x"), &arena)).unwrap();
    drop(stub);
    pair.settle();
    assert!(!pair.client().is_drained());
    drop(other);
    pair.settle();
    assert!(pair.client().is_drained());
}
