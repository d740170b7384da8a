//! Code of the program's that panics where no handler runs: it costs what it belongs to, and no connection.

mod common;

use std::cell::Cell;
use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{BytesClient, Echoing, Raw, Ticking, methods};
use grpc_arena::Arena;
use grpc_proto::{Code, Instant};
use grpc_service::CallError;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, ConnectError, Connectivity, Connector, Host,
    LocalFuture, Recordings, Router, Server, ServerOptions,
};

fn connect(recordings: &Recordings) -> (BytesClient, Pair) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Echoing::default());
    let options = ServerOptions::default().record(recordings.clone());
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let options = ChannelOptions::default().record(recordings.clone());
    let (channel, pair) = Pair::new(&host, &server, &options);
    (BytesClient::new(channel), pair)
}

fn is_served(client: &BytesClient, pair: &mut Pair) {
    let arena = Arena::new();
    assert_eq!(pair.block_on(client.echo(&Raw(b"hello"), &arena)), Ok(Raw(b"hello")));
}

#[test]
fn a_recording_that_panics_when_it_is_asked_for_is_none() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| panic!("no place for it")));
    is_served(&client, &mut pair);
}

#[test]
fn a_recording_that_panics_ends_there_and_nothing_else_does() {
    let (called, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counter, file) = (Arc::clone(&called), Arc::clone(&bytes));
    let (client, mut pair) = connect(&Recordings::new(move |_, _| {
        let (counter, file) = (Arc::clone(&counter), Arc::clone(&file));
        Some(Box::new(move |said: &[u8]| {
            let calls = counter.fetch_add(1, Ordering::Relaxed);
            assert!(calls < 10, "the disk is full");
            file.lock().unwrap().extend_from_slice(said);
        }))
    }));
    is_served(&client, &mut pair);
    is_served(&client, &mut pair);
    drop((client, pair));
    // Each end's was called once in vain, and not for its end either.
    assert_eq!(called.load(Ordering::Relaxed), 12);
}

/// Panics in each way that it can, one after the other.
#[derive(Default)]
struct Unplugged {
    attempts: Cell<usize>,
}

impl Connector for Unplugged {
    fn connect(&self, _: &str, client: ClientConnection) -> LocalFuture<Result<(), ConnectError>> {
        let attempt = self.attempts.replace(self.attempts.get() + 1);
        assert!(attempt > 0, "there is no network");
        Box::pin(Unplugging { attempt, _client: client })
    }
}

struct Unplugging {
    attempt: usize,
    _client: ClientConnection,
}

impl Future for Unplugging {
    type Output = Result<(), ConnectError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.attempt {
            1 => panic!("there is no cable"),
            2 => Poll::Ready(Err(ConnectError::new("there is no plug"))),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Unplugging {
    fn drop(&mut self) {
        assert!(self.attempt < 2, "it is stuck");
    }
}

#[test]
fn a_connector_that_panics_has_failed_to_connect_and_is_asked_again_at_the_pace_of_attempts() {
    let (host, connector) = (Rc::new(Ticking::default()), Rc::new(Unplugged::default()));
    let options = ChannelOptions::default();
    let channel = Channel::to("test", &options, Rc::clone(&host) as _, Rc::clone(&connector) as _);
    let stub = BytesClient::new(channel);
    let (mut cx, arena) = (cx_of_nobody(), Arena::new());
    let mut waiting = pin!(stub.echo(&Raw(b"request"), &arena).wait_for_ready());
    let mut pass_until = |end: u64| {
        while host.now() <= Instant::from_millis(end) {
            assert!(waiting.as_mut().poll(&mut cx).is_pending(), "it waits for better times");
            host.pass(Duration::from_millis(10), &mut cx);
        }
    };
    let fails = |status: CallError, why: &str| {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains(why), "{status:?}");
    };
    for due in [0, 1_000, 2_600] {
        pass_until(due);
        let failed = pin!(stub.echo(&Raw(b"request"), &arena)).poll(&mut cx_of_nobody());
        let Poll::Ready(Err(status)) = failed else { panic!("fails fast") };
        fails(status, "the connector panicked");
        assert_eq!(stub.channel().state(), Connectivity::TransientFailure);
    }
    pass_until(5_160);
    let mut hopeful = pin!(stub.echo(&Raw(b"request"), &arena));
    assert!(hopeful.as_mut().poll(&mut cx_of_nobody()).is_pending(), "an attempt is under way");
    pass_until(25_160);
    let Poll::Ready(Err(status)) = hopeful.poll(&mut cx_of_nobody()) else { panic!("it is over") };
    fails(status, "took too long");
    assert_eq!(connector.attempts.get(), 4);
}

fn cx_of_nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A waker that panics when it wakes, and when the last of it is dropped.
struct Grumpy {
    woken: Arc<AtomicUsize>,
    on_drop: bool,
}

impl Wake for Grumpy {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new("its waker"));
    }
}

impl Drop for Grumpy {
    fn drop(&mut self) {
        if self.on_drop && !std::thread::panicking() {
            resume_unwind(Box::new("the destructor of its waker"));
        }
    }
}

#[test]
fn a_task_whose_waker_panics_costs_neither_the_connection_nor_other_calls() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| None));
    let (arena, woken) = (Arena::new(), Arc::new(AtomicUsize::new(0)));
    let mut calls: Vec<_> =
        (0..3).map(|_| Box::pin(client.echo(&Raw(b"hello"), &arena).into_future())).collect();
    for call in &mut calls {
        let waker = Waker::from(Arc::new(Grumpy { woken: Arc::clone(&woken), on_drop: false }));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    is_served(&client, &mut pair);
    assert_eq!(woken.load(Ordering::Relaxed), 3);
    for call in calls {
        assert_eq!(pair.block_on(call), Ok(Raw(b"hello")));
    }
    assert_eq!(pair.server().open_calls(), 0);
}

#[test]
fn a_waker_whose_destructor_panics_costs_neither_the_connection_nor_other_calls() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| None));
    let (arena, woken) = (Arena::new(), Arc::new(AtomicUsize::new(0)));
    let mut call = Box::pin(client.echo(&Raw(b"hello"), &arena).into_future());
    // The call keeps the last copy of it, which goes with the call.
    let grumpy = Arc::new(Grumpy { woken, on_drop: true });
    let waker = ManuallyDrop::new(Waker::from(Arc::clone(&grumpy)));
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(ManuallyDrop::into_inner(waker));
    drop(grumpy);
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(call)));
    is_served(&client, &mut pair);
    is_served(&client, &mut pair);
    assert!(dropped.is_ok(), "the call was dropped whole");
    assert_eq!(pair.server().open_calls(), 0);
}

#[test]
fn a_message_that_panics_or_lies_as_it_is_encoded_fails_its_call_alone() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| None));
    let arena = Arena::new();
    for (begin, len) in [("?lies", 9), ("?panics", 9), ("?lies", 5000), ("?panics", 5000)] {
        let mut bytes = begin.as_bytes().to_vec();
        bytes.resize(len, b'.');
        let message = Raw(&bytes);
        let mut call = Box::pin(client.echo(&message, &arena).into_future());
        match catch_unwind(AssertUnwindSafe(|| pair.block_on(call.as_mut()))) {
            Ok(outcome) => {
                let status = outcome.unwrap_err();
                assert_eq!((status.code(), begin), (Code::Internal, "?lies"), "{status:?}");
            }
            Err(_) => assert_eq!(begin, "?panics"),
        }
        drop(call);
        is_served(&client, &mut pair);
        assert_eq!(pair.server().open_calls(), 0);
    }
}

/// A host that panics in the nth of all calls of one of its functions.
struct Shaky {
    inner: Ticking,
    what: &'static str,
    nth: usize,
    calls: Cell<usize>,
}

impl Shaky {
    fn count(&self, what: &str) {
        if what == self.what {
            self.calls.set(self.calls.get() + 1);
            if self.calls.get() == self.nth {
                resume_unwind(Box::new("the host"));
            }
        }
    }
}

impl Host for Shaky {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        self.count("timer");
        self.inner.timer(at)
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.count("spawn");
        self.inner.spawn(task);
    }

    fn entropy(&self) -> u64 {
        self.count("entropy");
        self.inner.entropy()
    }
}

/// Never connects.
struct Nowhere;

impl Connector for Nowhere {
    fn connect(&self, _: &str, _: ClientConnection) -> LocalFuture<Result<(), ConnectError>> {
        Box::pin(async { Err(ConnectError::new("there is no network")) })
    }
}

#[test]
fn a_host_that_panics_in_an_attempt_leaves_no_call_waiting_for_it() {
    for (what, nth) in [("spawn", 1), ("timer", 1), ("timer", 2), ("entropy", 1)] {
        let host = Rc::new(Shaky { inner: Ticking::default(), what, nth, calls: Cell::new(0) });
        let options = ChannelOptions::default();
        let channel = Channel::to("test", &options, Rc::clone(&host) as _, Rc::new(Nowhere));
        let (stub, arena) = (BytesClient::new(channel), Arena::new());
        let (mut cx, mut panics, mut failed) = (cx_of_nobody(), 0, Vec::new());
        for _ in 0..4 {
            let mut call = Box::pin(stub.echo(&Raw(b"request"), &arena).into_future());
            for _ in 0..300 {
                let step = AssertUnwindSafe(|| {
                    if let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) {
                        return Some(outcome.unwrap_err());
                    }
                    host.inner.pass(Duration::from_millis(100), &mut cx);
                    None
                });
                match catch_unwind(step) {
                    Ok(None) => {}
                    Ok(Some(status)) => {
                        failed.push(status.message().to_owned());
                        break;
                    }
                    // A call that has panicked is not polled again.
                    Err(_) => {
                        panics += 1;
                        if what == "spawn" {
                            failed.push("panicked".to_owned());
                            break;
                        }
                    }
                }
            }
        }
        assert_eq!((panics, failed.len()), (1, 4), "{what} {nth}: {failed:?}");
        assert!(failed[3].contains("there is no network"), "{what} {nth}: {failed:?}");
    }
}
