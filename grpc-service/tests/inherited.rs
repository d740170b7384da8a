//! Calls that a handler makes: what they inherit, and what `?` makes of their errors.

mod common;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{BytesClient, Raw, methods};
use grpc_service::client::{CallError, Origin};
use grpc_service::server::UnaryHandler;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, ChannelOptions, Code, Cx, Endpoint, Instant, Metadata, Router, Server, ServerHooks,
    ServerOptions, Status, Transmit,
};

const MS: Duration = Duration::from_millis(1);

/// What the service behind has seen of one call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    /// Rounded up.
    left_ms: Option<u128>,
    entries: Vec<(String, Vec<u8>)>,
}

/// The service behind: writes down what it sees, and does what it is told.
#[derive(Clone, Default)]
struct Back {
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl UnaryHandler<methods::Echo> for Back {
    async fn call<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        let left_ms = cx.time_left().map(|left| left.as_micros().div_ceil(1000));
        let names = ["traceparent", "tracestate", "authorization", "grpc-trace-bin"];
        let entries = cx.metadata().fields().iter();
        let entries = entries
            .filter(|field| names.iter().any(|name| name.as_bytes() == field.name))
            .map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec()));
        let seen = Seen { left_ms, entries: entries.collect() };
        self.seen.borrow_mut().push(seen);
        match request.0 {
            b"hang" => cx.sleep(Duration::from_secs(3600)).await,
            b"missing" => return Err(Status::not_found("row 7 at 10.0.0.1").with_details(vec![7])),
            b"late" => return Err(Status::deadline_exceeded("of another call")),
            _ => {}
        }
        Ok(request)
    }
}

type Ends = Rc<RefCell<Vec<Result<(), CallError>>>>;

/// The service in front, which calls the one behind as it is told.
#[derive(Clone)]
struct Front {
    back: BytesClient,
    ends: Ends,
}

impl Front {
    /// A call with the arguments after the word for it: `a own trace`.
    async fn ask(&self, how: &str, what: &[u8]) -> Result<(), CallError> {
        let (arena, mut metadata) = (Arena::new(), Metadata::new());
        if how.contains("trace") {
            metadata.append("traceparent", "00-own").unwrap();
        }
        let request = Raw(what);
        let mut call = self.back.echo(&request, &arena).metadata(&metadata);
        if how.contains("short") {
            call = call.timeout(20 * MS);
        }
        if how.contains("long") {
            call = call.timeout(500 * MS);
        }
        if how.contains("detached") {
            call = call.detached();
        }
        let ended = call.await.map(drop);
        self.ends.borrow_mut().push(ended.clone());
        ended
    }
}

impl UnaryHandler<methods::Echo> for Front {
    async fn call<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        let text = std::str::from_utf8(request.0).unwrap();
        let (how, what) = text.split_once(": ").unwrap_or(("", text));
        let front = self.clone();
        let (asked, words) = (what.as_bytes().to_vec(), how.to_owned());
        if how.contains("task") {
            let task = async move { drop(front.ask(&words, &asked).await) };
            match how.contains("part") {
                true => cx.spawn(cx.inherit(task)),
                false => cx.spawn(task),
            }
            cx.sleep(if how.contains("stays") { 3_600_000 * MS } else { MS }).await;
            return Ok(request);
        }
        if how.contains("waits") {
            cx.sleep(10 * MS).await;
        }
        if how.contains("passes") {
            self.ask(how, what.as_bytes()).await.map_err(CallError::into_status)?;
        } else {
            self.ask(how, what.as_bytes()).await?;
        }
        assert!(!how.contains("panics"), "between two polls");
        Ok(request)
    }
}

/// Two services one behind the other, on hosts whose clocks have different origins.
struct World {
    front: Pair,
    back: Pair,
    stub: BytesClient,
    seen: Rc<RefCell<Vec<Seen>>>,
    ends: Ends,
    hooks: Arc<Hooks>,
}

#[derive(Default)]
struct Hooks {
    failed: Mutex<Vec<(String, CallError)>>,
}

impl ServerHooks for Hooks {
    fn call_failed(&self, path: &str, error: &CallError) {
        self.failed.lock().unwrap().push((path.to_owned(), error.clone()));
    }
}

fn world() -> World {
    let (near, far) = (MemoryHost::new(1), MemoryHost::new(2));
    let (service, ends) = (Back::default(), Ends::default());
    let seen = Rc::clone(&service.seen);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(service);
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&far)));
    let (channel, mut back) = Pair::new(&far, &server, &ChannelOptions::default());
    back.advance(Duration::from_secs(1_000));
    let hooks = Arc::new(Hooks::default());
    let mut router = Router::new();
    let service = Front { back: BytesClient::new(channel), ends: Rc::clone(&ends) };
    router.unary::<methods::Echo, _>(service);
    let options = ServerOptions::default().hooks(Arc::clone(&hooks) as _);
    let server = Server::new(router, options, Rc::new(Rc::clone(&near)));
    let (channel, front) = Pair::new(&near, &server, &ChannelOptions::default());
    World { front, back, stub: BytesClient::new(channel), seen, ends, hooks }
}

impl World {
    fn settle(&mut self) {
        while self.front.step() | self.back.step() {}
    }

    fn pass(&mut self, ms: u32) {
        for _ in 0..ms {
            self.front.advance(MS);
            self.back.advance(MS);
            self.settle();
        }
    }

    /// Runs `future` while time passes.
    fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        for _ in 0..10_000 {
            self.settle();
            if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return output;
            }
            self.settle();
            self.pass(1);
        }
        panic!("nothing comes of it");
    }

    /// The call `text` with so much time and this metadata, and what the service behind has seen last.
    fn call(&mut self, text: &str, ms: u32, metadata: &Metadata) -> (Result<(), CallError>, Seen) {
        let (stub, arena, request) = (self.stub.clone(), Arena::new(), Raw(text.as_bytes()));
        let mut call = stub.echo(&request, &arena).metadata(metadata);
        if ms > 0 {
            call = call.timeout(ms * MS);
        }
        let ended = self.run(async { call.await.map(drop) });
        self.pass(1);
        (ended, self.seen.borrow().last().cloned().unwrap_or_default())
    }

    fn ended(&self) -> Result<(), CallError> {
        self.ends.borrow().last().cloned().expect("the front has called")
    }
}

fn code(ended: &Result<(), CallError>) -> Code {
    ended.as_ref().map_or_else(CallError::code, |()| Code::Ok)
}

const NONE: Metadata = Metadata::new();

#[test]
fn the_question_mark_maps_what_another_service_says_and_hides_it() {
    let mut world = world();
    // Of the peer.
    let (ended, _) = world.call("missing", 0, &NONE);
    let ended = ended.unwrap_err();
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::Unknown, "a call to another service failed")
    );
    assert!(ended.details().is_empty());
    let inner = world.ended().unwrap_err();
    assert_eq!((inner.code(), inner.origin()), (Code::NotFound, Origin::Peer));
    assert_eq!((inner.message(), inner.details()), ("row 7 at 10.0.0.1", &[7][..]));
    let failed = world.hooks.failed.lock().unwrap().clone();
    assert_eq!(failed, [("/test.Bytes/Echo".to_owned(), inner.clone())]);
    // A deadline that is not ours is any status.
    let (ended, _) = world.call("late", 900, &NONE);
    assert_eq!((code(&ended), world.ended().unwrap_err().origin()), (Code::Unknown, Origin::Peer));
    // Of this side.
    let (ended, _) = world.call("short: hang", 900, &NONE);
    let inner = world.ended().unwrap_err();
    assert_eq!((inner.code(), inner.origin()), (Code::DeadlineExceeded, Origin::Local));
    assert_eq!(code(&ended), Code::Internal);
    // On purpose.
    let (ended, _) = world.call("passes: missing", 0, &NONE);
    assert_eq!(
        ended.unwrap_err().into_status(),
        Status::not_found("row 7 at 10.0.0.1").with_details(vec![7])
    );
    world.back.cut();
    let (ended, _) = world.call("hello", 0, &NONE);
    let inner = world.ended().unwrap_err();
    assert_eq!((inner.code(), inner.origin()), (Code::Unavailable, Origin::Local));
    assert_eq!(code(&ended), Code::Internal);
}

#[test]
fn a_call_inherits_the_time_left_where_that_is_less_than_its_own() {
    let mut world = world();
    assert_eq!(world.call("hello", 0, &NONE).1.left_ms, None);
    assert_eq!(world.call("hello", 100, &NONE).1.left_ms, Some(100));
    assert_eq!(world.call("short: hello", 100, &NONE).1.left_ms, Some(20));
    assert_eq!(world.call("long: hello", 100, &NONE).1.left_ms, Some(100));
    // Of two handlers on one connection none sees the other's; time that has passed is gone.
    assert_eq!(world.call("waits: hello", 100, &NONE).1.left_ms, Some(90));
    assert_eq!(world.call("long: hello", 0, &NONE).1.left_ms, Some(500));
    assert_eq!(world.call("detached: hello", 100, &NONE).1.left_ms, None);
    assert_eq!(world.call("short detached: hello", 10, &NONE).1.left_ms, Some(20));
    assert!(world.ends.borrow().iter().all(Result::is_ok));
}

#[test]
fn two_handlers_that_take_turns_on_a_connection_keep_their_own_deadlines() {
    let mut world = world();
    let (stub, arena) = (world.stub.clone(), Arena::new());
    let (slow, quick) = (Raw(b"waits: hello"), Raw(b"hello"));
    let mut first = pin!(async { stub.echo(&slow, &arena).timeout(100 * MS).await.map(drop) });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    world.pass(5);
    let second = world.run(async { stub.echo(&quick, &arena).timeout(1_000 * MS).await.map(drop) });
    assert_eq!((second, world.run(first)), (Ok(()), Ok(())));
    let left: Vec<_> = world.seen.borrow().iter().map(|seen| seen.left_ms).collect();
    assert_eq!(left, [Some(1_000), Some(90)]);
}

#[test]
fn an_inherited_deadline_that_passes_keeps_its_code() {
    let mut world = world();
    // The front's client hears of its own deadline; the front's handler is dropped, and its call with it.
    let (ended, _) = world.call("hang", 30, &NONE);
    assert_eq!(code(&ended), Code::DeadlineExceeded);
    assert!(world.ends.borrow().is_empty(), "the handler was dropped");
    assert_eq!((world.back.client().open_calls(), world.back.server().open_calls()), (0, 0));
    // A part of the call that is not dropped.
    let (ended, seen) = world.call("task part stays: hang", 30, &NONE);
    assert_eq!((code(&ended), seen.left_ms), (Code::DeadlineExceeded, Some(30)));
    world.pass(5);
    let inner = world.ended().unwrap_err();
    assert_eq!((inner.code(), inner.origin()), (Code::DeadlineExceeded, Origin::Inherited));
    assert_eq!(Status::from(inner).code(), Code::DeadlineExceeded);
}

#[test]
fn a_task_of_the_call_is_cancelled_with_it_and_another_task_is_not() {
    let mut world = world();
    for (how, cancelled) in [("task part stays: hang", true), ("task stays: hang", false)] {
        let (stub, arena, request) = (world.stub.clone(), Arena::new(), Raw(how.as_bytes()));
        let mut call = Box::pin(async { stub.echo(&request, &arena).await.map(drop) });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        world.pass(5);
        assert_eq!(world.back.server().open_calls(), 1);
        drop(call);
        world.pass(5);
        assert_eq!(world.back.server().open_calls(), usize::from(!cancelled), "{how}");
    }
    let inner = world.ended().unwrap_err();
    assert_eq!((inner.code(), inner.origin()), (Code::Cancelled, Origin::Inherited));
    assert_eq!(world.ends.borrow().len(), 1);
}

#[test]
fn a_task_inherits_only_where_it_is_made_part_of_the_call() {
    let mut world = world();
    assert_eq!(world.call("task: hello", 100, &trace()).1, Seen::default());
    let (ended, seen) = world.call("task part: hello", 100, &trace());
    assert_eq!((code(&ended), seen.left_ms, seen.entries.len()), (Code::Ok, Some(100), 3));
    // The next call in the same place, while nothing of the one before is left in it.
    assert_eq!(world.call("hello", 0, &NONE).1, Seen::default());
}

fn trace() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.append("traceparent", "00-abc").unwrap();
    metadata.append("authorization", "secret").unwrap();
    metadata.append("tracestate", "a=1").unwrap();
    metadata.append("tracestate", "b=2").unwrap();
    metadata
}

#[test]
fn a_call_takes_the_trace_context_along_and_no_other_metadata() {
    let mut world = world();
    let entry = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let (_, seen) = world.call("hello", 0, &trace());
    let names: Vec<_> = seen.entries.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["traceparent", "tracestate", "tracestate"]);
    assert!(seen.entries.contains(&entry("traceparent", b"00-abc")));
    assert!(seen.entries.contains(&entry("tracestate", b"b=2")));
    let (_, seen) = world.call("own trace: hello", 0, &trace());
    let parents: Vec<_> = seen.entries.iter().filter(|(name, _)| name == "traceparent").collect();
    assert_eq!(parents, [&entry("traceparent", b"00-own")]);
    assert_eq!(world.call("detached: hello", 0, &trace()).1.entries, []);
}

/// A request as other clients send it, with the trace context of older gRPC, which no application can name here.
fn request_with_trace_bin() -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Bytes/Echo"),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-trace-bin", "AP8H"),
    ];
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|&(name, value)| [vec![0x10], text(name), text(value)].concat())
        .collect();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let settings = frame(4, 0, 0, b"");
    let (head, message) = (frame(1, 4, 1, &block), frame(0, 1, 1, b"\0\0\0\0\x05hello"));
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &head, &message].concat()
}

#[test]
fn a_call_takes_the_trace_context_of_older_grpc_along() {
    let mut world = world();
    let (request, mut out) = (request_with_trace_bin(), Transmit::new());
    let mut cx = Context::from_waker(Waker::noop());
    let server = world.front.server();
    server.drive(&mut &request[..], &mut out, &mut cx, Instant::ZERO).unwrap();
    // The client's end of this connection would speak in between.
    while world.back.step() {}
    let expected = [("grpc-trace-bin".to_owned(), b"AP8H".to_vec())];
    assert_eq!(world.seen.borrow()[0].entries, expected);
}

#[test]
fn a_handler_that_panics_leaves_nothing_to_the_next_one() {
    let mut world = world();
    let (ended, _) = world.call("panics: hello", 100, &trace());
    assert_eq!(code(&ended), Code::Internal);
    let (ended, seen) = world.call("hello", 0, &NONE);
    assert_eq!((ended, seen), (Ok(()), Seen::default()));
    // Nor to the code beside it.
    let (stub, arena) = (world.stub.clone(), Arena::new());
    assert_eq!(world.run(async { stub.echo(&Raw(b"hello"), &arena).await.map(drop) }), Ok(()));
}

/// Drives a connection of its own, whose handler makes a call as well, within its poll.
struct Nesting {
    inner: RefCell<World>,
    outer: BytesClient,
}

#[derive(Clone)]
struct Nested(Rc<Nesting>);

impl UnaryHandler<methods::Echo> for Nested {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        let (_, seen) = self.0.inner.borrow_mut().call("hello", 77, &NONE);
        assert_eq!(seen.left_ms, Some(77));
        let arena = Arena::new();
        self.0.outer.echo(&request, &arena).await?;
        Ok(request)
    }
}

#[test]
fn a_handler_that_drives_another_connection_keeps_its_own_context() {
    let (host, mut behind) = (MemoryHost::new(5), world());
    let nesting = Nesting { inner: RefCell::new(world()), outer: behind.stub.clone() };
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Nested(Rc::new(nesting)));
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let (stub, arena) = (BytesClient::new(channel), Arena::new());
    let request = Raw(b"hello");
    let mut call = pin!(async { stub.echo(&request, &arena).timeout(300 * MS).await.map(drop) });
    let ended = poll_fn(|cx| {
        while pair.step() | behind.front.step() | behind.back.step() {}
        call.as_mut().poll(cx)
    });
    let mut ended = pin!(ended);
    let polled =
        (0..10).find_map(|_| match ended.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        });
    assert_eq!(polled, Some(Ok(())));
    assert_eq!(behind.seen.borrow()[0].left_ms, Some(300), "of the outer call, two hops on");
}
