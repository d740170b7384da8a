//! Memory that the connections of one thread share: who waits, who ends, and who does not notice.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{Raw, methods};
use grpc_proto::client::Event;
use grpc_proto::{CallHead, Client, Config, Connection, ErrorCode, Instant, Limits, Transmit};
use grpc_service::server::UnaryHandler;
use grpc_service::testing::MemoryHost;
use grpc_service::{
    CloseReason, Code, ConnectionError, Cx, Endpoint, Host, MemoryBudget, Method, Peer, Router,
    Server, ServerConnection, ServerHooks, ServerOptions, ServingLimits, SharedLimits, Status,
};

/// Set when woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client of the core, and its server's end.
struct Line {
    client: Connection<Client>,
    server: Option<ServerConnection>,
    error: Option<ConnectionError>,
    up: Vec<u8>,
    down: Vec<u8>,
    out: Transmit,
    /// The client takes no output.
    deaf: bool,
    /// Bytes that went either way.
    moved: u64,
    flag: Arc<Flag>,
    /// Lengths of answers, and how calls ended.
    answers: Vec<usize>,
    ends: Vec<Code>,
    goaway: Option<ErrorCode>,
}

impl Line {
    fn new(server: &Server, open: bool) -> Self {
        let mut limits = Limits::default();
        (limits.max_send_message, limits.send_mark) = (64 << 20, 64 << 20);
        if open {
            (limits.stream_window, limits.connection_window) = (1 << 30, 1 << 30);
        }
        Line {
            client: Connection::new(&Config::new(limits).expect("limits"), 1, Instant::ZERO),
            server: Some(server.accept(Peer::memory())),
            error: None,
            up: Vec::new(),
            down: Vec::new(),
            moved: 0,
            out: Transmit::new(),
            deaf: false,
            flag: Arc::new(Flag(AtomicBool::new(true))),
            answers: Vec::new(),
            ends: Vec::new(),
            goaway: None,
        }
    }

    fn call<M: Method>(&mut self, message: &[u8]) {
        let call = self.client.call(&CallHead::new(M::PATH, "test"), None, Instant::ZERO);
        let call = call.expect("room for a call");
        self.client.send_encoded(call, message.to_vec().into(), false).expect("room");
        self.client.end(call).expect("the end");
    }

    /// One turn of both ends; false if nothing happened.
    fn turn(&mut self, now: Instant) -> bool {
        let before = self.moved;
        let mut out = Transmit::new();
        self.client.poll_transmit(&mut out, now);
        self.moved += out.len() as u64;
        self.up.extend(out.chunks().flatten());
        let Some(server) = &mut self.server else { return false };
        let due = server.poll_timeout().is_some_and(|at| at <= now);
        let woken = self.flag.0.swap(false, Ordering::Relaxed);
        if self.up.is_empty() && !due && !woken {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut input = &self.up[..];
        let driven = server.drive(&mut input, &mut self.out, &mut Context::from_waker(&waker), now);
        let left = input.len();
        self.moved += (self.up.len() - left) as u64;
        self.up.drain(..self.up.len() - left);
        if let Err(error) = driven {
            (self.error, self.server) = (Some(error), None);
        }
        if !self.deaf {
            let came = self.out.len() as u64;
            self.down.extend(self.out.chunks().flatten());
            self.out.clear();
            let mut bytes = &self.down[..];
            while let Ok(Some(event)) = self.client.poll_event(&mut bytes, now) {
                match event {
                    Event::Message(_, message) => self.answers.push(message.len()),
                    Event::Status(_, outcome) => self.ends.push(outcome.status.code()),
                    Event::GoAway { code, .. } => self.goaway = Some(code),
                    _ => {}
                }
            }
            let unread = bytes.len();
            self.down.drain(..self.down.len() - unread);
            self.flag.0.store(true, Ordering::Relaxed);
            self.moved += came;
            return self.moved > before;
        }
        true
    }
}

/// Lets everything go on that can without time passing; a turn each, in order.
fn settle<'l>(lines: impl IntoIterator<Item = &'l mut Line>, now: Instant) {
    let mut lines: Vec<_> = lines.into_iter().collect();
    for _ in 0..10_000 {
        let went_on = lines.iter_mut().fold(false, |went_on, line| line.turn(now) | went_on);
        if !went_on {
            return;
        }
    }
    panic!("turns without end");
}

#[derive(Default)]
struct Ended(Mutex<Vec<MemoryBudget>>);

impl ServerHooks for Ended {
    fn connection_ended_for_memory(&self, _: &Peer, budget: MemoryBudget) {
        self.0.lock().expect("no panic").push(budget);
    }
}

/// Never answers a message that begins with a zero.
#[derive(Clone)]
struct Holding(Rc<dyn Host>);

impl UnaryHandler<methods::Echo> for Holding {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        if request.0.starts_with(&[0]) {
            self.0.timer(Instant::NEVER).await;
        }
        Ok(request)
    }
}

struct World {
    now: Cell<Instant>,
    server: Server,
    limits: SharedLimits,
    ended: Arc<Ended>,
}

fn world(change: impl FnOnce(&mut ServingLimits)) -> World {
    let mut limits = ServingLimits::default();
    change(&mut limits);
    let (limits, ended) = (SharedLimits::new(limits), Arc::new(Ended::default()));
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Holding(Rc::new(Rc::clone(&host))));
    router.unary::<Wide, _>(Growing);
    let options = ServerOptions::default()
        .limits(limits.clone())
        .hooks(Arc::clone(&ended) as Arc<dyn ServerHooks>);
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    World { now: Cell::new(Instant::from_millis(1)), server, limits, ended }
}

fn closed(world: &World, reason: CloseReason) -> u64 {
    world.server.stats().connections_closed.get(reason)
}

impl World {
    fn lines(&self, count: usize) -> Vec<Line> {
        (0..count).map(|_| Line::new(&self.server, true)).collect()
    }

    fn now(&self) -> Instant {
        self.now.get()
    }
}

#[test]
fn above_the_receive_budget_the_connection_that_holds_most_ends() {
    let world = world(|limits| limits.receive_budget = 2 << 20);
    let mut lines = world.lines(4);
    // Held by handlers that never answer, within the windows of their streams.
    for (line, calls) in lines.iter_mut().zip([1, 20, 10, 12]) {
        for _ in 0..calls {
            line.call::<methods::Echo>(&[0; 60_000]);
        }
    }
    settle(&mut lines, world.now());
    let ended: Vec<_> = lines.iter().map(|line| line.error.clone()).collect();
    let calm = Some(ConnectionError::ClosedByUs(ErrorCode::ENHANCE_YOUR_CALM));
    assert_eq!(ended, [None, calm, None, None]);
    assert_eq!(lines[1].goaway, Some(ErrorCode::ENHANCE_YOUR_CALM));
    assert_eq!(closed(&world, CloseReason::ReceiveBudget), 1);
    assert_eq!(*world.ended.0.lock().unwrap(), [MemoryBudget::Receive]);
    let held = world.server.memory_held().0;
    assert!((22 * 60_000..2 << 20).contains(&held), "{held}");
    // The others are served, the one that holds as much as it did too.
    lines[3].call::<methods::Echo>(b"served");
    settle(&mut lines, world.now());
    assert_eq!(lines[3].answers, [6]);
    drop(lines);
    assert_eq!(world.server.memory_held(), (0, 0));
}

#[test]
fn above_the_send_budget_the_connection_that_has_queued_most_ends() {
    let world = world(|limits| limits.send_budget = 1 << 20);
    let mut lines: Vec<_> = (0..4).map(|_| Line::new(&world.server, false)).collect();
    settle(&mut lines, world.now());
    for (line, calls) in lines.iter_mut().zip([2, 11, 6, 6]) {
        line.deaf = true;
        for _ in 0..calls {
            line.call::<methods::Echo>(&[7; 60_000]);
        }
    }
    // The connection's window of 65,535 takes one answer each; the rest is queued.
    for _ in 0..1000 {
        // The one with most comes first.
        for line in [1, 0, 2, 3] {
            lines[line].turn(world.now());
        }
    }
    let ended: Vec<_> = lines.iter().map(|line| line.error.is_some()).collect();
    assert_eq!(ended, [false, true, false, false]);
    assert_eq!(*world.ended.0.lock().unwrap(), [MemoryBudget::Send]);
    assert_eq!(closed(&world, CloseReason::SendBudget), 1);
    assert!(world.server.memory_held().1 <= 1 << 20);
}

#[test]
fn large_messages_of_many_connections_take_turns_and_all_arrive() {
    // Half of it is granted: two of these messages at a time.
    let world = world(|limits| limits.receive_budget = 5 << 20);
    let mut lines = world.lines(20);
    for line in &mut lines {
        line.call::<methods::Echo>(&[7; 1 << 20]);
    }
    settle(&mut lines, world.now());
    assert!(lines.iter().all(|line| line.answers == [1 << 20]), "{:?}", world.server.stats());
    assert_eq!(closed(&world, CloseReason::ReceiveBudget), 0);
}

#[test]
fn large_answers_of_many_connections_take_turns_and_all_leave() {
    let world = world(|limits| limits.send_budget = 5 << 20);
    let mut lines = world.lines(20);
    for line in &mut lines {
        line.call::<methods::Echo>(&[7; 1 << 20]);
    }
    settle(&mut lines, world.now());
    assert!(lines.iter().all(|line| line.answers == [1 << 20]));
    assert_eq!(closed(&world, CloseReason::SendBudget), 0);
}

#[test]
fn who_keeps_what_it_reserved_ends_when_others_have_waited_long() {
    let world = world(|limits| {
        (limits.receive_budget, limits.budget_patience) = (4 << 20, Duration::from_secs(3));
    });
    let mut lines = world.lines(4);
    // Three begin a message of a MiB and do not go on; half of the budget is for two of them.
    for line in &mut lines[..3] {
        line.call::<methods::Echo>(&[7; 1 << 20]);
        line.turn(world.now());
    }
    for line in &mut lines[..3] {
        // What the client goes on to send never arrives.
        line.turn(world.now());
        line.up.truncate(0);
        line.deaf = true;
    }
    assert!(world.server.memory_held().0 > 0);
    lines[3].call::<methods::Echo>(&[7; 1 << 20]);
    settle(&mut lines[3..], world.now());
    assert_eq!(lines[3].answers, [], "it waits");
    lines[3].call::<methods::Echo>(b"small");
    settle(&mut lines[3..], world.now());
    assert_eq!(lines[3].answers, [5], "who is small does not");
    for _ in 0..50 {
        world.now.set(world.now() + Duration::from_millis(100));
        for line in &mut lines {
            line.up.truncate(if line.deaf { 0 } else { usize::MAX });
            line.turn(world.now());
        }
        settle(&mut lines[3..], world.now());
    }
    assert_eq!(lines[3].answers, [5, 1 << 20]);
    assert!(closed(&world, CloseReason::ReceiveBudget) >= 1);
}

#[test]
fn a_limit_that_is_lowered_counts_for_connections_that_are_open() {
    let world = world(|_| {});
    let mut lines = world.lines(3);
    for line in &mut lines {
        for _ in 0..10 {
            line.call::<methods::Echo>(&[0; 60_000]);
        }
    }
    settle(&mut lines, world.now());
    assert!(lines.iter().all(|line| line.error.is_none()));
    world.limits.change(|limits| limits.receive_budget = 1 << 20);
    world.server.obey_limits();
    settle(&mut lines, world.now());
    assert_eq!(lines.iter().filter(|line| line.error.is_some()).count(), 2);
    assert!(world.server.memory_held().0 <= 1 << 20);
}

/// Takes sixteen bytes of the arena for each byte of a message, and waits for ever where it begins with a zero.
#[derive(Clone)]
struct Growing;

struct Wide;

impl Method for Wide {
    const PATH: &'static str = "/test.Bytes/Wide";
    type Request = WideBytes;
    type Response = Raw<'static>;
}

struct WideBytes;

impl grpc_service::Schema for WideBytes {
    type View<'a> = Raw<'a>;

    fn decode<'a>(
        bytes: &'a [u8],
        arena: &'a grpc_service::Arena,
        limits: &grpc_service::DecodeLimits,
    ) -> Result<Raw<'a>, grpc_service::DecodeError> {
        if 16 * bytes.len() > limits.arena_bytes {
            return Err(grpc_service::DecodeError::new(grpc_service::DecodeRule::ArenaBudget, 0));
        }
        Ok(Raw(arena.alloc_slice(&vec![bytes[0]; 16 * bytes.len()])))
    }
}

impl UnaryHandler<Wide> for Growing {
    async fn call<'a>(&self, cx: &Cx<'a>, wide: Raw<'a>) -> Result<Raw<'a>, Status> {
        if wide.0[0] == 0 {
            cx.sleep_until(Instant::NEVER).await;
        }
        Ok(Raw(b"wide"))
    }
}

#[test]
fn the_arenas_of_a_connection_are_bounded_together() {
    let world = world(|limits| limits.arena_budget = 1 << 20);
    let mut lines = world.lines(2);
    // Sixteen times as much in memory, which stays with the handler.
    lines[0].call::<Wide>(&[0; 40_000]);
    settle(&mut lines, world.now());
    assert!(world.server.memory_held().0 >= 16 * 40_000, "its arena counts");
    lines[0].call::<Wide>(&[1; 40_000]);
    settle(&mut lines, world.now());
    lines[0].call::<Wide>(&[1; 1000]);
    lines[1].call::<Wide>(&[1; 40_000]);
    settle(&mut lines, world.now());
    assert_eq!(lines[0].ends, [Code::ResourceExhausted, Code::Ok]);
    assert_eq!(lines[1].ends, [Code::Ok], "another connection has its own");
    // All of it comes back with its connection.
    drop(lines.remove(0));
    assert_eq!(world.server.memory_held().0, 0);
}
