//! Layers around calls at the client.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{BytesClient, Raw, methods};
use grpc_service::client::{CallError, Origin};
use grpc_service::layers::{
    ConcurrencyLimit, Layer, Next, Outgoing, Propagate, RateLimit, Retry, Timeout, TokenSource,
    WithToken, call_interceptor, observe_calls,
};
use grpc_service::server::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, ServerStreamingHandler,
    UnaryHandler,
};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, Backoff, Channel, ChannelOptions, Code, Cx, Idempotency, Kind, Metadata, Method,
    MethodDescriptor, Processed, ResponseMetadata, Router, Server, ServerOptions, Sink, Status,
};

const MS: Duration = Duration::from_millis(1);

/// Says what it has seen, and fails as often as it is told.
#[derive(Clone, Default)]
struct Echo {
    seen: Rc<RefCell<Vec<String>>>,
    failures: Rc<Cell<u32>>,
    dropped: Rc<Cell<u32>>,
    /// Calls another one of itself for a `relay`.
    back: Rc<RefCell<Option<BytesClient>>>,
}

struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Echo {
    async fn obey(&self, cx: &Cx<'_>, message: &[u8]) -> Result<(), Status> {
        let entries = cx.metadata().iter().filter(|field| field.name != b"user-agent");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries: Vec<_> =
            entries.map(|field| format!("{}={}", text(field.name), text(field.value))).collect();
        let left = cx.time_left().map_or(String::new(), |left| format!(" {}ms", left.as_millis()));
        self.seen.borrow_mut().push(format!("{}{left} {}", text(message), entries.join(",")));
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            cx.append_trailer("x-why", "tired")?;
            return Err(Status::unavailable("not now; call again"));
        }
        match message {
            b"hang" => {
                let _dropped = Dropped(Rc::clone(&self.dropped));
                pending::<()>().await;
            }
            b"slow" => cx.sleep(10 * MS).await,
            b"fail" => return Err(Status::not_found("nothing here; look elsewhere")),
            b"relay" => {
                let (back, arena) = (self.back.borrow().clone().expect("set"), Arena::new());
                back.echo(&Raw(b"relayed"), &arena).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl UnaryHandler<methods::Echo> for Echo {
    async fn call<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        self.obey(cx, request.0).await?;
        Ok(request)
    }
}

impl ServerStreamingHandler<methods::Split> for Echo {
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        for part in request.0.split(|&byte| byte == b' ') {
            self.obey(cx, part).await?;
            out.send(&Raw(part)).await?;
        }
        Ok(())
    }
}

impl ClientStreamingHandler<methods::Join> for Echo {
    type Call<'s> = (&'s Echo, Vec<u8>);

    async fn open<'s>(&'s self, _: &Cx<'_>) -> Result<Self::Call<'s>, Status> {
        Ok((self, Vec::new()))
    }
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for (&Echo, Vec<u8>) {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Raw<'a>) -> Result<(), Status> {
        self.0.obey(cx, message.0).await?;
        self.1.extend_from_slice(message.0);
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(cx.arena().alloc_slice(&self.1)))
    }
}

impl BidiHandler<methods::Chat> for Echo {
    type Call<'s> = &'s Echo;

    async fn open<'s>(&'s self, _: &Cx<'_>) -> Result<&'s Echo, Status> {
        Ok(self)
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for &Echo {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        self.obey(cx, message.0).await?;
        out.send(&message).await
    }
}

struct World {
    pair: Pair,
    channel: Channel,
    echo: Echo,
}

fn world() -> World {
    let (host, echo, mut router) = (MemoryHost::new(7), Echo::default(), Router::new());
    router.unary::<methods::Echo, _>(echo.clone());
    router.server_streaming::<methods::Split, _>(echo.clone());
    router.client_streaming::<methods::Join, _>(echo.clone());
    router.bidi::<methods::Chat, _>(echo.clone());
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, pair) = Pair::new(&host, &server, &ChannelOptions::default());
    World { pair, channel, echo }
}

impl World {
    fn around<L: for<'a> Layer<Outgoing<'a>> + 'static>(&self, layer: L) -> BytesClient {
        BytesClient::new(self.channel.around(layer))
    }

    fn echo(&mut self, stub: &BytesClient, text: &str) -> Result<String, CallError> {
        let (arena, request) = (Arena::new(), Raw(text.as_bytes()));
        let reply = self.pair.block_on(stub.echo(&request, &arena))?;
        Ok(String::from_utf8_lossy(reply.0).into_owned())
    }

    fn seen(&self) -> Vec<String> {
        self.echo.seen.take()
    }

    fn is_served(&mut self) {
        let plain = BytesClient::new(self.channel.clone());
        assert_eq!(self.echo(&plain, "still here").as_deref(), Ok("still here"));
        assert_eq!((self.pair.server().open_calls(), self.pair.client().open_calls()), (0, 0));
        self.seen();
    }
}

type Ends = Rc<RefCell<Vec<(Code, u32, [u64; 4])>>>;

fn observed(ends: &Ends) -> impl for<'a> Layer<Outgoing<'a>> + 'static {
    let ends = Rc::clone(ends);
    observe_calls(move |call: Outgoing<'_>, status: &Status| {
        let counts = call.counts();
        let counts = [counts.sent, counts.sent_bytes, counts.received, counts.received_bytes];
        ends.borrow_mut().push((status.code(), call.attempts(), counts));
    })
}

#[test]
fn a_token_and_a_timeout_go_with_each_call_and_its_own_metadata() {
    let mut world = world();
    struct Counted(Cell<u32>);
    impl TokenSource for Counted {
        type Token = String;
        async fn token(&self, call: Outgoing<'_>) -> Result<String, Status> {
            call.sleep(MS).await;
            self.0.set(self.0.get() + 1);
            Ok(format!("t{}", self.0.get()))
        }
    }
    let stub = world.around((Timeout(50 * MS), WithToken(Counted(Cell::new(0)))));
    assert_eq!(world.echo(&stub, "x").as_deref(), Ok("x"));
    assert_eq!(world.seen(), ["x 49ms authorization=Bearer t1"]);
    let (arena, mut metadata) = (Arena::new(), Metadata::new());
    metadata.append("x-own", "1").unwrap();
    world
        .pair
        .block_on(stub.echo(&Raw(b"x"), &arena).metadata(&metadata).timeout(20 * MS))
        .unwrap();
    assert_eq!(world.seen(), ["x 19ms x-own=1,authorization=Bearer t2"]);
    metadata.append("authorization", "own").unwrap();
    world.pair.block_on(stub.echo(&Raw(b"x"), &arena).metadata(&metadata)).unwrap();
    assert_eq!(world.seen(), ["x 50ms x-own=1,authorization=own"]);
    let late = world.echo(&stub, "hang").unwrap_err();
    assert_eq!((late.code(), late.origin()), (Code::DeadlineExceeded, Origin::Local));
    world.pair.settle();
    assert_eq!(world.echo.dropped.get(), 1);
    world.is_served();
}

enum Again {}

impl Method for Again {
    const PATH: &'static str = methods::Echo::PATH;
    const DESCRIPTOR: MethodDescriptor =
        MethodDescriptor::new(Self::PATH, Kind::Unary).with_idempotency(Idempotency::Idempotent);
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

#[test]
fn a_retry_makes_a_call_again_where_that_is_safe() {
    let (mut world, ends) = (world(), Ends::default());
    let mut backoff = Backoff::default();
    backoff.initial = 100 * MS;
    let layers = (observed(&ends), Retry::new(3, backoff), WithToken("secret"));
    let channel = world.channel.around(layers);
    let arena = Arena::new();
    let again = |world: &mut World, failures, timeout: Option<Duration>| {
        world.echo.failures.set(failures);
        let request = Raw(b"x");
        let call = grpc_service::client::Call::<Again, _>::unary(&channel, &request, &arena);
        let call = if let Some(timeout) = timeout { call.timeout(timeout) } else { call };
        world.pair.block_on(call).map(drop).map_err(|error| error.code())
    };
    assert_eq!(again(&mut world, 2, None), Ok(()));
    assert_eq!(world.seen(), ["x authorization=Bearer secret"; 3]);
    assert_eq!(again(&mut world, 5, None), Err(Code::Unavailable));
    assert_eq!(
        (world.seen().len(), ends.take()),
        (3, vec![(Code::Ok, 3, [1, 1, 1, 1]), (Code::Unavailable, 3, [1, 1, 0, 0])])
    );
    // There is no time for the pause.
    assert_eq!(again(&mut world, 5, Some(50 * MS)), Err(Code::Unavailable));
    assert_eq!(world.seen().len(), 1);
    // The schema does not say that the other one may be repeated, and the server has processed it.
    let stub = BytesClient::new(channel.clone());
    assert_eq!(world.echo(&stub, "x").unwrap_err().code(), Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
    world.echo.failures.set(0);
    world.is_served();
}

#[test]
fn a_layer_that_refuses_keeps_the_call_from_the_server() {
    let mut world = world();
    let refuse = async |call: Outgoing<'_>| match call.method().name() {
        "Chat" => Ok(call.append("x-seen", "1")?),
        _ => Err(Status::permission_denied("not from here; ask elsewhere")),
    };
    let stub = world.around(call_interceptor(refuse));
    let (mut response, arena) = (ResponseMetadata::default(), Arena::new());
    let call = stub.echo(&Raw(b"x"), &arena).response(&mut response);
    let refused = world.pair.block_on(call).unwrap_err();
    assert_eq!((refused.code(), refused.origin()), (Code::PermissionDenied, Origin::Local));
    assert_eq!(response.processed, Some(Processed::No));
    let refused = world.pair.block_on(stub.split(&Raw(b"x"))).err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        world.pair.block_on(stub.join()).err().map(|e| e.code()),
        Some(Code::PermissionDenied)
    );
    let mut arena = Arena::new();
    world.pair.block_on(async {
        let mut chat = stub.chat().await.unwrap();
        chat.send(&Raw(b"hi")).await.unwrap();
        assert_eq!(chat.next(&mut arena).await, Ok(Some(Raw(b"hi"))));
    });
    assert_eq!(world.seen(), ["hi x-seen=1"]);
    world.pair.settle();
    world.is_served();
}

#[test]
fn layers_see_the_end_and_the_messages_of_calls_of_all_kinds() {
    let (mut world, ends) = (world(), Ends::default());
    let stub = world.around(observed(&ends));
    let mut arena = Arena::new();
    assert_eq!(world.echo(&stub, "hello").as_deref(), Ok("hello"));
    assert_eq!(world.echo(&stub, "fail").unwrap_err().origin(), Origin::Peer);
    world.pair.block_on(async {
        let mut stream = stub.split(&Raw(b"a bc def")).await.unwrap();
        let mut messages = 0;
        while stream.next(&mut arena).await.unwrap().is_some() {
            messages += 1;
            assert!(ends.borrow().len() == 2, "the call is not over while messages are left");
        }
        assert_eq!((messages, ends.borrow().len()), (3, 3));
        assert_eq!(stream.next(&mut arena).await, Ok(None));
        assert!(stream.trailers().is_some());
        let mut stream = stub.join().await.unwrap();
        stream.send(&Raw(b"one")).await.unwrap();
        stream.send(&Raw(b"two")).await.unwrap();
        assert_eq!(stream.finish(&arena).await, Ok(Raw(b"onetwo")));
        let mut stream = stub.chat().await.unwrap();
        stream.send(&Raw(b"12")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"12"))));
        stream.end();
        assert_eq!(stream.next(&mut arena).await, Ok(None));
        let (mut sending, mut receiving) = stub.chat().await.unwrap().split();
        sending.send(&Raw(b"fail")).await.unwrap();
        assert_eq!(receiving.next(&mut arena).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(sending.send(&Raw(b"x")).await.unwrap_err().code(), Code::NotFound);
    });
    // Two that are given up: before the answer, and between two messages.
    let mut cx = Context::from_waker(Waker::noop());
    let slow = Raw(b"hang");
    let mut call = Box::pin(stub.echo(&slow, &arena).into_future());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    world.pair.settle();
    drop(call);
    let mut stream = world.pair.block_on(stub.split(&Raw(b"a hang"))).unwrap();
    assert_eq!(world.pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"a"))));
    drop(stream);
    let expected = [
        (Code::Ok, 1, [1, 5, 1, 5]),
        (Code::NotFound, 1, [1, 4, 0, 0]),
        (Code::Ok, 1, [1, 8, 3, 6]),
        (Code::Ok, 1, [2, 6, 1, 6]),
        (Code::Ok, 1, [1, 2, 1, 2]),
        (Code::NotFound, 1, [1, 4, 0, 0]),
        (Code::Cancelled, 1, [1, 4, 0, 0]),
        (Code::Cancelled, 1, [1, 6, 1, 1]),
    ];
    assert_eq!(ends.take(), expected);
    world.pair.settle();
    assert_eq!(world.echo.dropped.get(), 2);
    world.is_served();
}

/// Misbehaves as it is told.
struct Rogue(Rc<Cell<&'static str>>);

impl<'a> Layer<Outgoing<'a>> for Rogue {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        match self.0.get() {
            "panics before" => panic!("a layer before"),
            "panics after" => {
                next.call(call).await?;
                panic!("a layer after")
            }
            "drops" => {
                {
                    let mut running = pin!(next.call(call));
                    let mut polls = 0;
                    poll_fn(|cx| {
                        polls += 1;
                        assert!(running.as_mut().poll(cx).is_pending());
                        if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
                Err(CallError::new(Status::aborted("it has changed its mind"), Origin::Local))
            }
            "says ok" => Ok(()),
            "maps" => next.call(call).await.map_err(|error| {
                let text =
                    call.with_trailers(|trailers| trailers.value_str("x-why").map(str::to_owned));
                let text = text.flatten().unwrap_or_default();
                CallError::new(Status::data_loss(text), error.origin())
            }),
            "repeats" => {
                next.call(call).await?;
                next.call(call).await
            }
            _ => next.call(call).await,
        }
    }
}

#[test]
fn a_layer_that_misbehaves_fails_its_call_and_no_other() {
    let (mut world, how) = (world(), Rc::new(Cell::new("")));
    let stub = world.around(Rogue(Rc::clone(&how)));
    for (reported, text, code, words) in [
        ("panics before", "x", Code::Internal, "panicked"),
        ("panics after", "x", Code::Internal, "panicked"),
        ("says ok", "x", Code::Internal, "before it was made"),
        ("maps", "x", Code::DataLoss, "tired"),
    ] {
        how.set(reported);
        world.echo.failures.set(u32::from(reported == "maps"));
        let failed = world.echo(&stub, text).unwrap_err();
        assert_eq!(failed.code(), code, "{reported}");
        assert!(failed.message().contains(words), "{reported}: {failed}");
        world.is_served();
    }
    how.set("drops");
    let (mut arena, request) = (Arena::new(), Raw(b"hang"));
    let mut call = Box::pin(stub.echo(&request, &arena).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    world.pair.settle();
    let Poll::Ready(Err(failed)) = call.as_mut().poll(&mut cx) else { panic!("it is over") };
    assert_eq!((failed.code(), failed.message()), (Code::Aborted, "it has changed its mind"));
    drop(call);
    world.pair.settle();
    assert_eq!(world.echo.dropped.get(), 1, "the call was cancelled");
    // Of a stream both halves learn it.
    let (mut sending, mut receiving) = world.pair.block_on(stub.chat()).unwrap().split();
    world.pair.block_on(sending.send(&Raw(b"hang"))).unwrap();
    world.pair.settle();
    let failed = world.pair.block_on(receiving.next(&mut arena)).unwrap_err();
    assert_eq!(failed.code(), Code::Aborted);
    world.pair.settle();
    assert_eq!(world.pair.block_on(sending.send(&Raw(b"x"))).unwrap_err().code(), Code::Aborted);
    drop((sending, receiving));
    world.pair.settle();
    assert_eq!(world.echo.dropped.get(), 2);
    world.is_served();
    // Once a stream is in use it cannot be made again; a unary call can.
    how.set("repeats");
    assert_eq!(world.echo(&stub, "x").as_deref(), Ok("x"));
    assert_eq!(world.seen().len(), 2);
    let mut stream = world.pair.block_on(stub.split(&Raw(b"a"))).unwrap();
    assert_eq!(world.pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"a"))));
    let failed = world.pair.block_on(stream.next(&mut arena)).unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(failed.message().contains("can be made again"), "{failed}");
    drop(stream);
    world.pair.settle();
    world.is_served();
}

#[test]
fn a_limit_queues_calls_until_their_deadline() {
    let (mut world, limit) = (world(), Rc::new(ConcurrencyLimit::new(1, 4)));
    let stub = world.around(Rc::clone(&limit));
    let (arena, slow, quick) = (Arena::new(), Raw(b"slow"), Raw(b"x"));
    let mut first = Box::pin(stub.echo(&slow, &arena).into_future());
    let mut second = Box::pin(stub.echo(&quick, &arena).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(
        first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending()
    );
    assert_eq!((limit.running(), limit.queued()), (1, 1));
    let late = world.pair.block_on(stub.echo(&quick, &arena).timeout(5 * MS)).unwrap_err();
    assert_eq!((late.code(), late.origin()), (Code::DeadlineExceeded, Origin::Local));
    world.pair.advance(11 * MS);
    assert!(matches!(first.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    drop(first);
    assert!(second.as_mut().poll(&mut cx).is_pending());
    world.pair.settle();
    assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    drop(second);
    assert_eq!((limit.running(), limit.queued(), world.seen().len()), (0, 0, 2));
    let stub = world.around(RateLimit::new(1, Duration::from_secs(1), 1));
    assert!(world.echo(&stub, "x").is_ok());
    assert_eq!(world.echo(&stub, "x").unwrap_err().code(), Code::ResourceExhausted);
    world.seen();
    world.is_served();
}

#[test]
fn metadata_is_passed_on_by_name_from_a_handlers_call() {
    let mut world = world();
    let back = world.around(Propagate(&["x-request-id", "x-raw-bin"]));
    world.echo.back.replace(Some(back));
    let (arena, mut metadata) = (Arena::new(), Metadata::new());
    metadata.append("x-request-id", "7").unwrap();
    metadata.append("authorization", "secret").unwrap();
    metadata.append_bin("x-raw-bin", &[0, 255]).unwrap();
    let stub = BytesClient::new(world.channel.clone());
    world.pair.block_on(stub.echo(&Raw(b"relay"), &arena).metadata(&metadata)).unwrap();
    assert_eq!(world.seen()[1], "relayed x-request-id=7,x-raw-bin=AP8");
    world.echo.back.replace(None);
    world.is_served();
}
