//! Your own services in the simulator: the handlers, stubs and channels that run on sockets, over a
//! virtual clock and a faulty network.
//!
//! A [`Sim`] is the [`Host`] of servers and channels and the [`Connector`] between them. Faults are
//! planned beforehand; [`Sim::block_on`] runs a client's future while virtual time jumps, and
//! [`Sim::settle`] says at the end which rule was broken, if one was. Two runs of the same seed are the
//! same, byte for byte: compare [`Sim::trace_hash`].
//!
//! Faults that nobody has thought of come from a loop over seeds:
//!
//! ```
//! use std::rc::Rc;
//! use std::time::Duration;
//!
//! use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
//! use grpc_service::{Arena, Channel, ChannelOptions, Cx, Router, Server, ServerOptions, Status};
//! use grpc_sim::service::for_each_seed;
//!
//! struct Polite;
//!
//! impl Greeter for Polite {
//!     async fn say_hello<'a>(&self, _: &Cx<'a>, request: HelloRequest<'a>) -> Result<HelloReply<'a>, Status> {
//!         Ok(HelloReply { message: request.name, ..HelloReply::default() })
//!     }
//! }
//!
//! for_each_seed(0..20, |sim| {
//!     let mut router = Router::new();
//!     register_greeter(&mut router, Rc::new(Polite));
//!     sim.listen("greeter", Server::new(router, ServerOptions::default(), sim.host()));
//!     let faults = sim.draw("greeter", Duration::from_millis(100));
//!
//!     let connector = Rc::new(sim.clone());
//!     let channel = Channel::to("greeter", &ChannelOptions::default(), sim.host(), connector);
//!     let (greeter, arena) = (GreeterClient::new(channel), Arena::new());
//!     let request = HelloRequest { name: "you", ..HelloRequest::default() };
//!     let call = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(60)).wait_for_ready();
//!     match sim.block_on(async { call.await }) {
//!         Ok(Ok(reply)) => assert_eq!(reply.message, "you"),
//!         Ok(Err(status)) if faults.is_empty() => return Err(status.to_string()),
//!         Ok(Err(_)) => {}
//!         Err(stuck) => return Err(stuck.to_string()),
//!     }
//!     Ok(())
//! });
//! ```

mod adapter;
mod engine;
mod faults;
mod hostile;
mod link;
mod seeds;

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use grpc_proto::Instant;
use grpc_proto::http2::Side;
use grpc_service::{ClientConnection, ConnectError, Connector, Host, LocalFuture, Peer, Server};

use crate::entropy::mix;
use crate::kernel::Queue;
use crate::marks::Marks;
use crate::oracle::{Failure, Oracle};
use crate::scenario::PipePlan;
use crate::trace::Trace;
use adapter::Direction;
pub use faults::{Happened, NetworkFault};
use link::Link;
pub use seeds::for_each_seed;

/// A simulated world for services.
///
/// What [`new`](Self::new) returns is the world: when it is dropped, connections, tasks and servers go, with all that
/// they hold. Clones are handles of it, for connectors, and for services that make calls of their own.
pub struct Sim {
    state: Rc<RefCell<State>>,
    /// What is the world and no handle.
    owner: Option<Owner>,
}

/// Nothing can go on any more: the future waits for what will never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// When that was.
    pub at: Instant,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing can go on after {}", self.at)
    }
}

impl std::error::Error for Stuck {}

/// Events after which a world is taken to spin, unless [`Sim::event_limit`] says otherwise.
const MOST_EVENTS: u64 = 3_000_000;
/// Virtual time in which calls that are over at one end must be over at the other, and how often that is looked at.
const SETTLED_BY: Duration = Duration::from_secs(400);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the kernel does.
enum Event {
    /// A timer fires, if anybody still waits for it.
    Wake(Weak<RefCell<Waker>>),
    Deliver(usize, Side),
    /// An end, or the attacker in its place, goes on.
    Turn(usize, Side),
    Timer(usize, Side, u64),
    /// An operation of an adapter's loop completes.
    Complete(usize, Side, Direction),
    Fault(NetworkFault),
    /// The servers at an address are made anew.
    Restart(String),
}

/// Who was woken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Main,
    Task(usize),
    End(usize, Side),
}

struct Alarm {
    place: Place,
    woken: Arc<Mutex<Vec<Place>>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !woken.contains(&self.place) {
            woken.push(self.place);
        }
    }
}

/// Who accepts the connections to an address.
#[derive(Default)]
struct Listener {
    /// None between a crash and the restart.
    server: Option<Rc<Server>>,
    /// Makes another one after a crash, where the state of the old one is to be lost.
    make: Option<Rc<dyn Fn() -> Server>>,
}

/// Until when an address refuses connections, and which of the faults has it so.
#[derive(Clone, Copy)]
struct Refusal {
    until: u64,
    fault: usize,
}

struct State {
    seed: u64,
    draws: u64,
    /// Networks that were drawn.
    drawn: u64,
    queue: Queue<Event>,
    woken: Arc<Mutex<Vec<Place>>>,
    tasks: Vec<Option<LocalFuture<()>>>,
    links: Vec<Link>,
    servers: BTreeMap<String, Listener>,
    faults: Vec<Happened>,
    refused: BTreeMap<String, Refusal>,
    /// The network of addresses that have one of their own, from client to server and back.
    routes: BTreeMap<String, (PipePlan, PipePlan)>,
    network: PipePlan,
    /// Connections are driven by the loop of the adapters from now on.
    adapters: bool,
    /// Tasks are polled although nobody has woken them.
    probing: bool,
    trace: Trace,
    failure: Option<Failure>,
    events: u64,
    most_events: u64,
    /// The world was taken apart: nothing begins any more.
    ended: bool,
    /// Tasks that wait for room: one that asks again may find some before there is enough to be woken for.
    patient: usize,
}

impl State {
    fn waker(&self, place: Place) -> Waker {
        Waker::from(Arc::new(Alarm { place, woken: Arc::clone(&self.woken) }))
    }

    fn next_woken(&self) -> Option<Place> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.is_empty() {
            return None;
        }
        // Who was woken first need not run first.
        let index = mix(self.seed, self.events << 8) % woken.len() as u64;
        Some(woken.remove(index as usize))
    }

    /// Whether nothing goes on any more.
    fn is_over(&self) -> bool {
        self.failure.is_some() || self.ended
    }

    fn wake(&self, place: Place) {
        self.waker(place).wake();
    }

    fn fail(&mut self, oracle: Oracle, text: String) {
        if self.failure.is_none() {
            let at_ns = self.queue.now_ns();
            self.trace.note(at_ns, None, &[oracle as u64], || format!("FAILED [{oracle}] {text}"));
            self.failure = Some(Failure { oracle, text, at_ns });
        }
    }

    /// Has an end take what comes through the network at `at`.
    fn deliver_at(&mut self, index: usize, side: Side, at: u64) {
        let now = self.queue.now_ns();
        if let Some(at) = self.links[index].arm(side, at, now) {
            self.queue.at(at, Event::Deliver(index, side));
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.queue.now_ns())
    }
}

impl Sim {
    /// A world at time zero in which everything follows from `seed`. It keeps every byte that was written, for
    /// [`timeline`](Self::timeline) and [`trace`](Self::trace), as long as it lives.
    pub fn new(seed: u64) -> Self {
        Sim::traced(seed, 0, Trace::kept())
    }

    pub(crate) fn traced(seed: u64, start_ns: u64, trace: Trace) -> Self {
        let state = Rc::new(RefCell::new(State {
            seed,
            draws: 0,
            drawn: 0,
            queue: Queue::starting(seed, start_ns),
            woken: Arc::default(),
            tasks: Vec::new(),
            links: Vec::new(),
            servers: BTreeMap::new(),
            faults: Vec::new(),
            refused: BTreeMap::new(),
            routes: BTreeMap::new(),
            network: PipePlan { delay_us: 100, ..PipePlan::default() },
            adapters: false,
            probing: false,
            trace,
            failure: None,
            events: 0,
            most_events: MOST_EVENTS,
            ended: false,
            patient: 0,
        }));
        Sim { owner: Some(Owner(Rc::clone(&state))), state }
    }

    /// This world as what servers and channels run on.
    pub fn host(&self) -> Rc<dyn Host> {
        Rc::new(self.clone())
    }

    /// How both directions of connections that are opened from now on behave.
    pub fn network(&self, plan: PipePlan) {
        self.state.borrow_mut().network = plan;
    }

    /// Has the loop that runs on sockets ([`grpc_service::drive`]) drive both ends of connections that are opened from
    /// now on, over operations that complete in any order, late, in part, or with an error.
    pub fn completions(&self, on: bool) {
        self.state.borrow_mut().adapters = on;
    }

    /// How connections to one address behave that are opened from now on: from client to server, and back.
    pub fn route(&self, address: &str, up: PipePlan, down: PipePlan) {
        self.state.borrow_mut().routes.insert(address.to_owned(), (up, down));
    }

    /// Has `server` accept the connections to `address`: one that may serve several of them.
    pub fn listen(&self, address: &str, server: impl Into<Rc<Server>>) {
        self.put_listener(address, Listener { server: Some(server.into()), make: None });
    }

    /// Has a server that `make` makes accept the connections to `address`, and another one after each
    /// [`Crash`](NetworkFault::Crash), so that what was kept in the old one's services is lost.
    pub fn listen_with(&self, address: &str, make: impl Fn() -> Server + 'static) {
        let server = Some(Rc::new(make()));
        self.put_listener(address, Listener { server, make: Some(Rc::new(make)) });
    }

    fn put_listener(&self, address: &str, listener: Listener) {
        let old = self.state.borrow_mut().servers.insert(address.to_owned(), listener);
        // Services may do anything when they are dropped.
        drop(old);
    }

    /// Plans a fault, `after` now.
    ///
    /// It happens while [`block_on`](Self::block_on) or [`advance`](Self::advance) runs, to whatever is open then.
    pub fn plan(&self, after: Duration, fault: NetworkFault) {
        self.state.borrow_mut().queue.after(after.as_nanos() as u64, Event::Fault(fault));
    }

    /// The faults that have happened so far: a test may want to know that they have met something.
    pub fn faults(&self) -> Vec<Happened> {
        self.state.borrow().faults.clone()
    }

    /// Takes the world to spin, and breaks a rule ([`Oracle::Work`]), after so many events and polls in all; 3,000,000
    /// unless it is told otherwise.
    pub fn event_limit(&self, events: u64) {
        self.state.borrow_mut().most_events = events;
    }

    /// Runs `future` and everything that it leads to until it completes; time jumps whenever nothing
    /// can go on.
    ///
    /// # Errors
    /// [`Stuck`] when nothing ever will, a rule was broken ([`check`](Self::check) tells which), or the world of this
    /// handle is gone.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let mut future = pin!(future);
        let waker = self.state.borrow().waker(Place::Main);
        waker.wake_by_ref();
        let stuck = || Err(Stuck { at: self.state.borrow().now() });
        loop {
            let place = {
                let state = &mut *self.state.borrow_mut();
                state.events += 1;
                if state.events > state.most_events {
                    let text = format!("{} events and no end", state.most_events);
                    state.fail(Oracle::Work, text);
                }
                if state.is_over() { None } else { state.next_woken() }
            };
            match place {
                _ if self.state.borrow().is_over() => return stuck(),
                Some(Place::Main) => {
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(output) = polled {
                        return Ok(output);
                    }
                }
                Some(place) => self.go_on(place),
                None => {
                    self.probe();
                    if !self.step() {
                        return stuck();
                    }
                }
            }
        }
    }

    /// Lets `span` pass, and everything happen that falls in it.
    pub fn advance(&self, span: Duration) {
        let done = Host::timer(self, Host::now(self) + span);
        // It is stuck only if a rule was broken, which `check` tells.
        let _ = self.block_on(done);
    }

    /// What has been broken so far, or is left behind: every call that has ended must have let go of its slot at both
    /// ends, and planned faults have happened at addresses that somebody listens to.
    ///
    /// For the end of a test. A call that has ended at one end is open at the other until the network has brought the
    /// news: let time pass before, or [`settle`](Self::settle).
    ///
    /// # Errors
    /// The first rule, and what broke it.
    pub fn check(&self) -> Result<(), Failure> {
        let state = self.state.borrow();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let fails = |oracle, text, at_ns| Err(Failure { oracle, text, at_ns });
        let astray = |fault: &&Happened| !state.servers.contains_key(fault.fault.address());
        if let Some(Happened { fault, at, .. }) = state.faults.iter().find(astray) {
            let text = format!("{fault:?} was planned, and nobody listens to that address");
            return fails(Oracle::Plan, text, at.as_nanos());
        }
        match self.open_calls() {
            0 => Ok(()),
            left => {
                let text = format!("{left} calls are still open at one end or the other");
                fails(Oracle::Liveness, text, state.queue.now_ns())
            }
        }
    }

    /// Lets time pass until every call has let go of its slots, for 400 s at most, and [checks](Self::check).
    ///
    /// # Errors
    /// As there.
    pub fn settle(&self) -> Result<(), Failure> {
        for _ in 0..SETTLED_BY.as_millis() / LOOK_EVERY.as_millis() {
            if self.open_calls() == 0 {
                break;
            }
            self.advance(LOOK_EVERY);
        }
        self.check()
    }

    /// Hash of all bytes and times so far.
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace.hash()
    }

    /// What happened so far, as text; see [`crate::show`].
    pub fn timeline(&self) -> String {
        crate::show::timeline(&self.state.borrow().trace)
    }

    /// What happened so far, for [`show::pcap`](crate::show::pcap) and [`show::chrome`](crate::show::chrome); to be let
    /// go of before the world goes on.
    pub fn trace(&self) -> Ref<'_, Trace> {
        Ref::map(self.state.borrow(), |state| &state.trace)
    }

    /// Breaks a rule in the name of an oracle; the first one counts.
    pub(crate) fn fail(&self, oracle: Oracle, text: String) {
        self.state.borrow_mut().fail(oracle, text);
    }

    pub(crate) fn note(&self, numbers: &[u64], text: impl FnOnce() -> String) {
        let state = &mut *self.state.borrow_mut();
        let now = state.queue.now_ns();
        state.trace.note(now, None, numbers, text);
    }

    /// Says that a task waits for room as long as what is returned lives.
    pub(crate) fn patience(&self) -> Patience {
        self.state.borrow_mut().patient += 1;
        Patience(self.clone())
    }

    /// Calls that hold a slot at any end.
    pub(crate) fn open_calls(&self) -> usize {
        self.state.borrow().links.iter().map(Link::open_calls).sum()
    }

    /// Connections of which an end is still up.
    pub(crate) fn connections_up(&self) -> usize {
        self.state.borrow().links.iter().filter(|link| !link.is_over()).count()
    }

    /// Takes the world apart and says what came of it.
    pub(crate) fn finish(&self, marks: &mut Marks) -> (Option<Failure>, Trace, u64) {
        self.state.borrow().links.iter().for_each(|link| marks.merge(link.marks()));
        take_apart(&self.state);
        let state = &mut *self.state.borrow_mut();
        (state.failure.take(), std::mem::take(&mut state.trace), state.events)
    }
}

impl Clone for Sim {
    fn clone(&self) -> Self {
        Sim { state: Rc::clone(&self.state), owner: None }
    }
}

/// Takes its world apart when it is dropped.
struct Owner(Rc<RefCell<State>>);

impl Drop for Owner {
    fn drop(&mut self) {
        take_apart(&self.0);
    }
}

/// Takes a world apart, which is a circle of references: what connections, tasks and servers hold holds the world.
fn take_apart(state: &RefCell<State>) {
    let (links, servers, tasks) = {
        let state = &mut *state.borrow_mut();
        state.ended = true;
        let tasks = std::mem::take(&mut state.tasks);
        (std::mem::take(&mut state.links), std::mem::take(&mut state.servers), tasks)
    };
    // Outside of all borrows, for services and handlers may do anything when they are dropped.
    drop(tasks);
    drop(links);
    drop(servers);
    state.borrow_mut().queue.clear();
}

/// A task that waits for room.
pub(crate) struct Patience(Sim);

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.state.borrow_mut().patient -= 1;
    }
}

impl Host for Sim {
    /// Planned panics would fill the terminal; the world's rules see what they lead to.
    fn report(&self, _: &str) {}

    fn now(&self) -> Instant {
        self.state.borrow().now()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let sim = self.clone();
        // One event a timer, however often it is polled, and none that wakes anybody once it is dropped.
        let mut waiting: Option<Rc<RefCell<Waker>>> = None;
        Box::pin(std::future::poll_fn(move |cx| {
            let state = &mut *sim.state.borrow_mut();
            if state.now() >= at {
                return Poll::Ready(());
            }
            match &waiting {
                Some(waker) => waker.borrow_mut().clone_from(cx.waker()),
                None => {
                    let waker = Rc::new(RefCell::new(cx.waker().clone()));
                    state.queue.at(at.as_nanos(), Event::Wake(Rc::downgrade(&waker)));
                    waiting = Some(waker);
                }
            }
            Poll::Pending
        }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        let state = &mut *self.state.borrow_mut();
        if state.ended {
            return;
        }
        let index = state.tasks.len();
        state.tasks.push(Some(task));
        state.wake(Place::Task(index));
    }

    fn entropy(&self) -> u64 {
        let state = &mut *self.state.borrow_mut();
        state.draws += 1;
        mix(state.seed, state.draws)
    }
}

impl Connector for Sim {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let (sim, address) = (self.clone(), address.to_owned());
        Box::pin(async move {
            let (up, down) = {
                let state = sim.state.borrow();
                let both = || (state.network.clone(), state.network.clone());
                state.routes.get(&address).cloned().unwrap_or_else(both)
            };
            // A round trip, whether there is anybody or not.
            let delay = Duration::from_micros(u64::from(up.delay_us) + u64::from(down.delay_us));
            Host::timer(&sim, Host::now(&sim) + delay).await;
            let server = {
                let state = &mut *sim.state.borrow_mut();
                let now = state.queue.now_ns();
                match state.refused.get(&address).filter(|refusal| refusal.until > now) {
                    Some(refusal) => {
                        state.faults[refusal.fault].met += 1;
                        None
                    }
                    None => {
                        state.servers.get(&address).and_then(|listener| listener.server.clone())
                    }
                }
            };
            let Some(server) = server else {
                return Err(ConnectError::new("the connection was refused"));
            };
            let accepted = server.accept(Peer::memory());
            let adopted = {
                let state = &mut *sim.state.borrow_mut();
                let index = state.links.len();
                let seed = mix(state.seed, 1 << 32 | index as u64);
                let now = state.queue.now_ns();
                state.trace.note(now, Some((index, Side::Client)), &[2], || "connected".into());
                state.links.push(Link::new(address, connection, accepted, (up, down), seed));
                for side in [Side::Client, Side::Server] {
                    state.wake(Place::End(index, side));
                }
                state.adapters.then_some(index)
            };
            if let Some(index) = adopted {
                sim.adopt(index);
            }
            Ok(())
        })
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.owner.is_some();
        f.debug_struct("Sim").field("owner", &owner).finish_non_exhaustive()
    }
}
