//! Layers around calls at the server.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Bytes, BytesClient, Raw, methods, register};
use grpc_service::client::{Call, CallError, Unary};
use grpc_service::layers::{
    Auth, CallView, CatchPanics, CheckToken, ConcurrencyLimit, Counts, Incoming, Layer, LoadShed,
    MapErrors, Next, RateLimit, RequestLog, Timeout, Validate, Watch, interceptor, observe,
};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, ChannelOptions, Code, Cx, Kind, Metadata, Method, Request, Response, ResponseMetadata,
    Router, Routes, Server, ServerHooks, ServerOptions, Sink, Status,
};

const MS: Duration = Duration::from_millis(1);

type Log = Rc<RefCell<Vec<String>>>;

/// Does what it is told, and says what a layer has told it.
#[derive(Clone, Default)]
struct Puppet {
    log: Log,
}

struct Noted(Log);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.borrow_mut().push("dropped".to_owned());
    }
}

#[derive(Debug, PartialEq)]
struct User(String);

impl Puppet {
    async fn obey(&self, cx: &Cx<'_>, message: &[u8]) -> Result<(), Status> {
        match message {
            b"hang" => {
                let _noted = Noted(Rc::clone(&self.log));
                pending::<()>().await;
            }
            b"slow" => cx.sleep(10 * MS).await,
            b"fail" => return Err(Status::not_found("nothing here")),
            b"panic" => panic!("as it was told"),
            _ => {}
        }
        Ok(())
    }
}

impl Bytes for Puppet {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        self.obey(cx, request.0).await?;
        Ok(match request.0 {
            b"who" => Raw(cx.extension::<User>().map_or(b"nobody", |user| user.0.as_bytes())),
            b"left" => {
                let left = cx.time_left().map_or(0, |left| left.as_millis());
                Raw(cx.arena().alloc_str(&left.to_string()).as_bytes())
            }
            _ => request,
        })
    }

    async fn split<'a>(
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

    type Join<'s> = Joining<'s>;

    async fn join(&self, _: &Cx<'_>) -> Result<Joining<'_>, Status> {
        Ok(Joining { puppet: self, all: Vec::new() })
    }

    type Chat<'s> = &'s Puppet;

    async fn chat(&self, _: &Cx<'_>) -> Result<&Puppet, Status> {
        Ok(self)
    }
}

struct Joining<'s> {
    puppet: &'s Puppet,
    all: Vec<u8>,
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for Joining<'_> {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Raw<'a>) -> Result<(), Status> {
        self.puppet.obey(cx, message.0).await?;
        self.all.extend_from_slice(message.0);
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(cx.arena().alloc_slice(&self.all)))
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for &Puppet {
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

/// Writes down when a call comes and when it goes.
struct Traced(&'static str, Log);

impl<'a> Layer<Incoming<'a>> for Traced {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let method = call.method().map_or("none", |method| method.name());
        self.1.borrow_mut().push(format!("{} > {method}", self.0));
        let outcome = next.call(call).await;
        let code = outcome.as_ref().map_or_else(Status::code, |()| Code::Ok);
        self.1.borrow_mut().push(format!("{} < {code}", self.0));
        outcome
    }
}

struct Hooks(Mutex<Vec<String>>);

impl ServerHooks for Hooks {
    fn handler_panicked(&self, path: &str, message: &str) {
        self.0.lock().unwrap().push(format!("{path}: {message}"));
    }
}

struct World {
    stub: BytesClient,
    pair: Pair,
    log: Log,
    hooks: Arc<Hooks>,
}

/// A server whose routes `register` fills.
fn world(register: impl FnOnce(&mut Router, Rc<Puppet>)) -> World {
    let (host, puppet) = (MemoryHost::new(7), Puppet::default());
    let (log, mut router) = (Rc::clone(&puppet.log), Router::new());
    register(&mut router, Rc::new(puppet));
    let hooks = Arc::new(Hooks(Mutex::default()));
    let options = ServerOptions::default().hooks(Arc::clone(&hooks) as _);
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let (channel, pair) = Pair::new(&host, &server, &ChannelOptions::default());
    World { stub: BytesClient::new(channel), pair, log, hooks }
}

/// A server with a layer around the methods of the service.
fn around<L: for<'a> Layer<Incoming<'a>> + 'static>(layer: L) -> World {
    world(|router, puppet| register(&mut router.around_all(layer), puppet))
}

impl World {
    fn echo(&mut self, text: &str) -> Result<String, CallError> {
        self.echo_with(text, &Metadata::new(), &mut ResponseMetadata::default())
    }

    fn echo_with(
        &mut self,
        text: &str,
        metadata: &Metadata,
        response: &mut ResponseMetadata,
    ) -> Result<String, CallError> {
        let (arena, request) = (Arena::new(), Raw(text.as_bytes()));
        let call = self.stub.echo(&request, &arena).metadata(metadata).response(response);
        let reply = self.pair.block_on(call)?;
        Ok(String::from_utf8_lossy(reply.0).into_owned())
    }

    fn code(&mut self, text: &str) -> Code {
        self.echo(text).map_or_else(|error| error.code(), |_| Code::Ok)
    }

    fn take_log(&self) -> Vec<String> {
        self.log.take()
    }

    /// A call that is begun, and given up after some time.
    fn give_up(&mut self, text: &str, after: Duration) {
        let (arena, request) = (Arena::new(), Raw(text.as_bytes()));
        let mut call = Box::pin(self.stub.echo(&request, &arena).into_future());
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        self.pair.advance(after);
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(call);
        self.pair.settle();
    }

    fn is_served(&mut self) {
        assert_eq!(self.echo("still here").as_deref(), Ok("still here"));
        assert_eq!(self.pair.server().open_calls(), 0);
    }
}

#[test]
fn layers_nest_around_the_server_a_service_and_a_method() {
    let mut world = world(|router, puppet| {
        let log = || Rc::clone(&puppet.log);
        let mut all = router.around_all((Traced("outer", log()), Traced("inner", log())));
        let mut service = all.around(Traced("service", log()));
        let only = |method: &grpc_service::MethodDescriptor| method.kind() == Kind::Unary;
        let mut some = service.around_where(only, Traced("method", log()));
        register(&mut some, Rc::clone(&puppet));
    });
    assert_eq!(world.echo("x").as_deref(), Ok("x"));
    let all = ["outer", "inner", "service", "method"];
    let came = all.map(|name| format!("{name} > Echo"));
    let went = all.map(|name| format!("{name} < OK"));
    let expected: Vec<_> = came.into_iter().chain(went.into_iter().rev()).collect();
    assert_eq!(world.take_log(), expected);
    let mut arena = Arena::new();
    let mut stream = world.pair.block_on(world.stub.split(&Raw(b"fail"))).unwrap();
    assert!(world.pair.block_on(stream.next(&mut arena)).is_err());
    assert_eq!(world.take_log().len(), 6, "three layers around the other methods");
}

enum Nowhere {}

impl Method for Nowhere {
    const PATH: &'static str = "/test.Nothing/Nowhere";
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

#[test]
fn layers_around_the_server_see_paths_that_nothing_is_registered_for() {
    let mut world = world(|router, puppet| {
        let log = Rc::clone(&puppet.log);
        register(&mut router.around_all(Traced("all", log)), puppet);
    });
    let (arena, request) = (Arena::new(), Raw(b"x"));
    let call: Call<'_, Nowhere, Unary<'_, '_, Nowhere>> =
        Call::unary(world.stub.channel(), &request, &arena);
    let failed = world.pair.block_on(call).unwrap_err();
    assert_eq!(failed.code(), Code::Unimplemented);
    assert!(failed.message().contains("/test.Nothing/Nowhere"), "{failed:?}");
    assert_eq!(world.take_log(), ["all > none", "all < UNIMPLEMENTED"]);
    world.is_served();
}

#[test]
fn an_interceptor_refuses_and_annotates_in_one_function() {
    let check = async |call: CallView<'_>| {
        let name = call.metadata().value_str("x-name");
        let name = name.ok_or_else(|| Status::unauthenticated("x-name is missing; add it"))?;
        call.sleep(MS).await;
        call.append_header("x-seen", name)?;
        call.append_trailer("x-left", name)?;
        assert_eq!(call.set_extension(User(name.to_owned())), Ok(&User(name.to_owned())));
        assert_eq!(call.set_extension(User("another".into())), Err(User("another".into())));
        Ok(())
    };
    let mut world = around(interceptor(check));
    assert_eq!(world.code("who"), Code::Unauthenticated);
    for name in ["ann", "bob"] {
        let (mut metadata, mut response) = (Metadata::new(), ResponseMetadata::default());
        metadata.append("x-name", name).unwrap();
        assert_eq!(world.echo_with("who", &metadata, &mut response).as_deref(), Ok(name));
        assert_eq!(response.headers.value_str("x-seen"), Some(name));
        assert_eq!(response.trailers.value_str("x-left"), Some(name));
    }
    assert_eq!(world.code("who"), Code::Unauthenticated, "nothing is left of the call before");
}

#[test]
fn a_layer_adds_trailers_after_the_handler_and_headers_no_more() {
    let after = Rc::new(Cell::new(false));
    struct After(Rc<Cell<bool>>);
    impl<'a> Layer<Incoming<'a>> for After {
        async fn call(
            &self,
            call: Incoming<'a>,
            next: &impl Next<Incoming<'a>>,
        ) -> Result<(), Status> {
            let view = call.view();
            let outcome = next.call(call).await;
            self.0.set(view.append_header("x-late", "no").is_err());
            view.append_trailer("x-took", "1").unwrap();
            outcome
        }
    }
    let mut world = around(After(Rc::clone(&after)));
    let mut response = ResponseMetadata::default();
    world.echo_with("x", &Metadata::new(), &mut response).unwrap();
    assert_eq!(response.trailers.value_str("x-took"), Some("1"));
    assert!(after.get() && response.headers.is_empty());
    // A handler that fails has sent nothing yet.
    let failed = world.echo_with("fail", &Metadata::new(), &mut response).unwrap_err();
    assert_eq!(failed.code(), Code::NotFound);
    assert!(!after.get() && response.trailers.value_str("x-took") == Some("1"));
}

type Ends = Rc<RefCell<Vec<(Code, Counts)>>>;

fn ends() -> (Ends, World) {
    let ends = Ends::default();
    let seen = Rc::clone(&ends);
    let watch = observe(move |call: CallView<'_>, status: &Status| {
        seen.borrow_mut().push((status.code(), call.counts()));
    });
    (ends, around(watch))
}

#[test]
fn an_observer_sees_each_end_once_dropped_calls_among_them() {
    let (ends, mut world) = ends();
    for (text, code) in [
        ("x", Code::Ok),
        ("fail", Code::NotFound),
        ("panic", Code::Internal),
        ("!", Code::Internal),
    ] {
        assert_eq!(world.code(text), code);
    }
    world.give_up("hang", MS);
    let (arena, request) = (Arena::new(), Raw(b"hang"));
    let late = world.pair.block_on(world.stub.echo(&request, &arena).timeout(5 * MS));
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    world.pair.settle();
    let codes: Vec<_> = ends.take().into_iter().map(|(code, _)| code).collect();
    use Code::{Cancelled, DeadlineExceeded, Internal, NotFound, Ok};
    assert_eq!(codes, [Ok, NotFound, Internal, Internal, Cancelled, DeadlineExceeded]);
    assert_eq!(*world.hooks.0.lock().unwrap(), ["/test.Bytes/Echo: as it was told"]);
    world.is_served();
}

#[test]
fn a_layer_sees_the_number_of_messages_and_bytes_of_all_kinds() {
    let (ends, mut world) = ends();
    let mut arena = Arena::new();
    world.echo("hello").unwrap();
    let stub = world.stub.clone();
    world.pair.block_on(async {
        let mut stream = stub.split(&Raw(b"a bc def")).await.unwrap();
        while stream.next(&mut arena).await.unwrap().is_some() {}
        let mut stream = stub.join().await.unwrap();
        for text in ["one", "two", "three"] {
            stream.send(&Raw(text.as_bytes())).await.unwrap();
        }
        stream.finish(&arena).await.unwrap();
        let mut stream = stub.chat().await.unwrap();
        stream.send(&Raw(b"12")).await.unwrap();
        stream.send(&Raw(b"fail")).await.unwrap();
        while let Ok(Some(_)) = stream.next(&mut arena).await {}
    });
    let counts = |received, received_bytes, sent, sent_bytes| {
        let mut counts = Counts::default();
        counts.received = received;
        counts.received_bytes = received_bytes;
        (counts.sent, counts.sent_bytes) = (sent, sent_bytes);
        counts
    };
    let expected = [
        (Code::Ok, counts(1, 5, 1, 5)),
        (Code::Ok, counts(1, 8, 3, 6)),
        (Code::Ok, counts(3, 11, 1, 11)),
        (Code::NotFound, counts(2, 6, 1, 2)),
    ];
    assert_eq!(ends.take(), expected);
}

#[test]
fn a_timeout_drops_the_handler_and_shows_it_the_deadline() {
    let mut world = around(Timeout(50 * MS));
    assert_eq!(world.echo("left").as_deref(), Ok("50"));
    let failed = world.echo("hang").unwrap_err();
    assert_eq!((failed.code(), world.take_log()), (Code::DeadlineExceeded, vec!["dropped".into()]));
    assert_eq!(world.code("slow"), Code::Ok);
    // The client's own deadline, where that is earlier.
    let (arena, request) = (Arena::new(), Raw(b"left"));
    let reply = world.pair.block_on(world.stub.echo(&request, &arena).timeout(20 * MS));
    assert_eq!(reply, Ok(Raw(b"20")));
    // A stream that has begun to answer.
    let mut arena = Arena::new();
    let mut stream = world.pair.block_on(world.stub.split(&Raw(b"a hang"))).unwrap();
    assert_eq!(world.pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"a"))));
    let failed = world.pair.block_on(stream.next(&mut arena)).unwrap_err();
    assert_eq!(failed.code(), Code::DeadlineExceeded);
    world.is_served();
}

#[test]
fn a_limit_lets_so_many_run_queues_some_in_order_and_refuses_the_rest() {
    let limit = Rc::new(ConcurrencyLimit::new(1, 2));
    let mut world = around(Rc::clone(&limit));
    let (arena, slow) = (Arena::new(), Raw(b"slow"));
    let mut calls: Vec<_> =
        (0..4).map(|_| Box::pin(world.stub.echo(&slow, &arena).into_future())).collect();
    let mut poll = |n: usize| match calls[n].as_mut().poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(outcome) => Some(outcome.map(drop).map_err(|error| error.code())),
        Poll::Pending => None,
    };
    for n in 0..4 {
        assert_eq!(poll(n), None);
        world.pair.settle();
    }
    assert_eq!((limit.running(), limit.queued()), (1, 2));
    assert_eq!(poll(3), Some(Err(Code::ResourceExhausted)));
    world.pair.advance(11 * MS);
    assert_eq!((poll(0), poll(1), limit.queued()), (Some(Ok(())), None, 1));
    // The one that runs is given up, and the next takes its place.
    drop(calls.remove(1));
    world.pair.settle();
    assert_eq!((limit.running(), limit.queued()), (1, 0));
    world.pair.advance(11 * MS);
    let outcome = calls[1].as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(_))));
    assert_eq!((limit.running(), limit.queued()), (0, 0));
    drop(calls);
    world.is_served();
}

#[test]
fn a_call_that_is_given_up_in_the_queue_leaves_it() {
    let limit = Rc::new(ConcurrencyLimit::new(1, 8));
    let mut world = around(Rc::clone(&limit));
    let (arena, hang) = (Arena::new(), Raw(b"hang"));
    let stub = world.stub.clone();
    let mut first = Box::pin(stub.echo(&hang, &arena).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    world.pair.settle();
    world.give_up("x", MS);
    assert_eq!((limit.running(), limit.queued()), (1, 0));
    let late = world.pair.block_on(world.stub.echo(&Raw(b"x"), &arena).timeout(5 * MS));
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    world.pair.settle();
    assert_eq!((limit.running(), limit.queued()), (1, 0));
    drop(first);
    world.pair.settle();
    world.is_served();
}

#[test]
fn a_rate_limit_refuses_what_comes_too_fast_and_says_when() {
    let mut world = around(RateLimit::new(10, Duration::from_secs(1), 2));
    let codes: Vec<_> = (0..3).map(|_| world.code("x")).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::ResourceExhausted]);
    let refused = world.echo("x").unwrap_err();
    assert!(refused.message().contains("next one in 10"), "{refused}");
    world.pair.advance(100 * MS);
    assert_eq!((world.code("x"), world.code("x")), (Code::Ok, Code::ResourceExhausted));
}

#[test]
fn a_server_under_load_refuses_what_the_function_says() {
    let load = Rc::new(Cell::new(false));
    let overloaded = Rc::clone(&load);
    let spare =
        move |call: CallView<'_>| overloaded.get() && call.metadata().value("x-vip").is_none();
    let mut world = around(LoadShed(spare));
    assert_eq!(world.code("x"), Code::Ok);
    load.set(true);
    assert_eq!(world.code("x"), Code::Unavailable);
    let (mut metadata, mut response) = (Metadata::new(), ResponseMetadata::default());
    metadata.append("x-vip", "1").unwrap();
    assert!(world.echo_with("x", &metadata, &mut response).is_ok());
}

struct Staff;

impl CheckToken for Staff {
    type Identity = User;

    async fn check(&self, call: CallView<'_>, token: &str) -> Result<User, Status> {
        call.sleep(MS).await;
        match token.split_once('-') {
            Some(("good", name)) => Ok(User(name.to_owned())),
            Some(("banned", _)) => Err(Status::permission_denied("not this one; ask for access")),
            _ => Err(Status::unauthenticated("the token is not known; get a new one")),
        }
    }
}

#[test]
fn a_token_says_who_calls_and_what_has_none_is_refused() {
    let mut world = around(Auth(Staff));
    assert_eq!(world.code("who"), Code::Unauthenticated);
    for (value, expected) in [
        ("Bearer good-ann", Ok("ann")),
        ("bearer  good-bob", Ok("bob")),
        ("Bearer bad", Err(Code::Unauthenticated)),
        ("Bearer banned-eve", Err(Code::PermissionDenied)),
        ("Bearer", Err(Code::Unauthenticated)),
        ("Basic good-ann", Err(Code::Unauthenticated)),
    ] {
        let (mut metadata, mut response) = (Metadata::new(), ResponseMetadata::default());
        metadata.append("authorization", value).unwrap();
        let answer = world.echo_with("who", &metadata, &mut response);
        assert_eq!(answer.as_deref().map_err(|error| error.code()), expected, "{value}");
        metadata.append("authorization", "Bearer good-eve").unwrap();
        let answer = world.echo_with("who", &metadata, &mut response);
        assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated, "two tokens are none");
    }
}

#[test]
fn a_log_has_a_line_for_each_call() {
    let lines: Log = Rc::default();
    let written = Rc::clone(&lines);
    let mut world = around(RequestLog::new(move |line| written.borrow_mut().push(line.to_owned())));
    world.echo("slow").unwrap();
    world.echo("fail").unwrap_err();
    world.give_up("hang", 3 * MS);
    let lines = lines.take();
    assert_eq!(lines.len(), 3);
    let front = |n: usize, text: &str| assert!(lines[n].starts_with(text), "{}", lines[n]);
    front(0, "/test.Bytes/Echo OK 10ms, received 1 (4 B), sent 1 (4 B), ");
    front(1, "/test.Bytes/Echo NOT_FOUND 0ns, received 1 (4 B), sent 0 (0 B), ");
    front(2, "/test.Bytes/Echo CANCELLED 3ms, received 1 (4 B), sent 0 (0 B), ");
}

/// Misbehaves as the message `x-how` tells it.
struct Rogue;

impl<'a> Layer<Incoming<'a>> for Rogue {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let view = call.view();
        match view.metadata().value_str("x-how").unwrap_or_default() {
            "panics before" => panic!("a layer before"),
            "panics after" => {
                next.call(call).await?;
                panic!("a layer after")
            }
            "panics beside" => {
                let mut running = pin!(next.call(call));
                poll_fn(|cx| {
                    let polled = running.as_mut().poll(cx);
                    assert!(polled.is_ready(), "a layer beside");
                    polled
                })
                .await
            }
            "drops" => {
                {
                    let mut running = pin!(next.call(call));
                    let mut polled = 0;
                    poll_fn(|cx| {
                        polled += 1;
                        let _ = running.as_mut().poll(cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                view.sleep(5 * MS).await;
                Err(Status::aborted("the layer has changed its mind; call again"))
            }
            "says ok" => Ok(()),
            "says err of ok" => Err(Status::OK),
            "fails late" => {
                next.call(call).await?;
                Err(Status::data_loss("after the reply; call again"))
            }
            _ => next.call(call).await,
        }
    }
}

#[test]
fn a_layer_that_misbehaves_fails_its_call_and_no_other() {
    let mut world = around((CatchPanics, Rogue));
    let mut plain = around(Rogue);
    for (how, text, code, words) in [
        ("panics before", "x", Code::Internal, "panicked"),
        ("panics after", "x", Code::Internal, "panicked"),
        ("panics beside", "hang", Code::Internal, "panicked"),
        ("drops", "hang", Code::Aborted, "changed its mind"),
        ("says ok", "x", Code::Internal, "let the call go on"),
        ("says err of ok", "x", Code::Internal, "status of OK"),
        ("fails late", "x", Code::DataLoss, "after the reply"),
    ] {
        for world in [&mut world, &mut plain] {
            let (mut metadata, mut response) = (Metadata::new(), ResponseMetadata::default());
            metadata.append("x-how", how).unwrap();
            // Another call, which runs meanwhile.
            let (arena, slow) = (Arena::new(), Raw(b"slow"));
            let stub = world.stub.clone();
            let mut other = Box::pin(stub.echo(&slow, &arena).into_future());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(other.as_mut().poll(&mut cx).is_pending());
            let failed = world.echo_with(text, &metadata, &mut response).unwrap_err();
            assert_eq!(failed.code(), code, "{how}");
            assert!(failed.message().contains(words), "{how}: {failed}");
            world.pair.advance(20 * MS);
            assert!(matches!(other.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
            assert_eq!(world.take_log().len(), usize::from(text == "hang"), "{how}");
            drop(other);
            world.is_served();
            assert_eq!(world.pair.server().waiting_bytes() >> 16, 0);
        }
    }
    let said = plain.hooks.0.lock().unwrap().clone();
    assert_eq!(said[0], "/test.Bytes/Echo: a layer before");
    assert_eq!(said.len(), 3);
    assert_eq!(*world.hooks.0.lock().unwrap(), said);
}

#[test]
fn a_handlers_panic_is_a_status_for_the_layers_around_it() {
    let mut world = world(|router, puppet| {
        let log = Rc::clone(&puppet.log);
        register(&mut router.around(Traced("l", log)), puppet);
    });
    let failed = world.echo("panic").unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Internal, "the handler panicked"));
    assert_eq!(world.take_log(), ["l > Echo", "l < INTERNAL"]);
    world.is_served();
}

#[test]
fn errors_can_be_made_other_ones() {
    let mut world = around(MapErrors(|_: CallView<'_>, status: Status| match status.code() {
        Code::NotFound => Status::permission_denied("nothing for you here"),
        _ => status,
    }));
    assert_eq!(world.code("fail"), Code::PermissionDenied);
    assert_eq!(world.code("panic"), Code::Internal);
    world.is_served();
}

/// Writes down each message, and refuses some.
struct Watching(Log);

impl Watch for Watching {
    fn on_request<M: Method>(
        &self,
        call: CallView<'_>,
        request: &Request<'_, M>,
    ) -> Result<(), Status> {
        self.note("<", call, request)
    }

    fn on_response<M: Method>(
        &self,
        call: CallView<'_>,
        response: &Response<'_, M>,
    ) -> Result<(), Status> {
        self.note(">", call, response)
    }
}

impl Watching {
    fn note(
        &self,
        way: &str,
        call: CallView<'_>,
        message: &impl grpc_service::Encode,
    ) -> Result<(), Status> {
        let text = String::from_utf8(message.encode_to_vec()).unwrap();
        let name = call.method().map_or("", |method| method.name());
        self.0.borrow_mut().push(format!("{name} {way} {text}"));
        if text == "secret" { Err(Status::out_of_range("a secret; keep it")) } else { Ok(()) }
    }
}

#[test]
fn a_watch_sees_each_message_of_all_kinds_and_may_refuse_it() {
    let mut world = world(|router, puppet| {
        let log = Rc::clone(&puppet.log);
        let mut routes = router.around(CatchPanics);
        register(&mut routes.watched(Watching(Rc::clone(&log))).watched(Watching(log)), puppet);
    });
    let twice = |lines: &[&str]| -> Vec<String> {
        lines.iter().flat_map(|line| [line.to_string(), line.to_string()]).collect()
    };
    world.echo("x").unwrap();
    assert_eq!(world.take_log(), twice(&["Echo < x", "Echo > x"]));
    assert_eq!(world.code("secret"), Code::OutOfRange);
    assert_eq!(world.take_log(), ["Echo < secret"], "the first one refuses it");
    let (mut arena, stub) = (Arena::new(), world.stub.clone());
    world.pair.block_on(async {
        let mut stream = stub.split(&Raw(b"a secret")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"a"))));
        assert_eq!(stream.next(&mut arena).await.unwrap_err().code(), Code::OutOfRange);
        let mut stream = stub.join().await.unwrap();
        stream.send(&Raw(b"1")).await.unwrap();
        stream.send(&Raw(b"2")).await.unwrap();
        assert_eq!(stream.finish(&arena).await, Ok(Raw(b"12")));
        let mut stream = stub.chat().await.unwrap();
        stream.send(&Raw(b"hi")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b"hi"))));
        stream.end();
        assert_eq!(stream.next(&mut arena).await, Ok(None));
    });
    let mut expected = twice(&["Split < a secret", "Split > a"]);
    expected.push("Split > secret".into());
    expected.extend(twice(&["Join < 1", "Join < 2", "Join > 12", "Chat < hi", "Chat > hi"]));
    assert_eq!(world.take_log(), expected);
}

#[test]
fn a_rule_sees_the_requests_of_its_method_and_no_others() {
    let mut world = world(|router, puppet| {
        let rules = Validate::new()
            .rule::<methods::Chat>(|_, _| Err(Status::unimplemented("no chat; write letters")))
            .rule::<methods::Echo>(|call, request| match request.0 {
                b"" => Err(Status::invalid_argument(format!("{} needs a text", call.path()))),
                _ => Ok(()),
            });
        register(&mut router.watched(rules), puppet);
    });
    let refused = world.echo("").unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "/test.Bytes/Echo needs a text")
    );
    let (mut arena, stub) = (Arena::new(), world.stub.clone());
    world.pair.block_on(async {
        let mut stream = stub.split(&Raw(b"")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(b""))));
        let mut stream = stub.chat().await.unwrap();
        stream.send(&Raw(b"hi")).await.unwrap();
        assert_eq!(stream.next(&mut arena).await.unwrap_err().code(), Code::Unimplemented);
    });
    world.is_served();
}
