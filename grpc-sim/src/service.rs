//! Your own services in the simulator: the handlers, stubs and channels that run on sockets, over a
//! virtual clock and a faulty network.
//!
//! A [`Sim`] is the [`Host`] of servers and channels and the [`Connector`] between them. Faults are
//! planned beforehand; [`Sim::block_on`] runs a client's future while virtual time jumps, and
//! [`Sim::check`] says which rule of the wire was broken, if one was. Two runs of the same seed are the
//! same, byte for byte: compare [`Sim::trace_hash`].

mod adapter;
mod engine;
mod hostile;
mod link;

use std::cell::RefCell;
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
use link::Link;

/// A simulated world for services; clones are handles of the same one.
#[derive(Clone)]
pub struct Sim(Rc<RefCell<State>>);

/// A fault of the network between channels and servers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkFault {
    /// Every open connection to the address is reset.
    Reset(String),
    /// No open connection to the address delivers anything for this long.
    Stall(String, Duration),
    /// What clients say to the address arrives no sooner than after this long; answers go on.
    StallUp(String, Duration),
    /// What the address answers arrives no sooner than after this long; requests go on.
    StallDown(String, Duration),
    /// Open connections carry so many bytes a millisecond for this long.
    Clog(String, u32, Duration),
    /// New connections to the address are refused for this long.
    Refuse(String, Duration),
    /// The servers at the address drain their connections.
    Drain(String),
    /// The clients of the address drain theirs.
    Leave(String),
    /// The servers at the address end their connections at once, with GOAWAY.
    Abort(String),
    /// The clients of the address do.
    AbortClients(String),
    /// The servers' direction of every open connection ends in the midst of things.
    HalfClose(String),
    /// The clients' direction does.
    HalfCloseClients(String),
    /// The servers at the address are gone with their handlers, and refuse connections for this long.
    Crash(String, Duration),
}

impl NetworkFault {
    fn address(&self) -> &str {
        match self {
            NetworkFault::Reset(address)
            | NetworkFault::Stall(address, _)
            | NetworkFault::StallUp(address, _)
            | NetworkFault::StallDown(address, _)
            | NetworkFault::Clog(address, ..)
            | NetworkFault::Refuse(address, _)
            | NetworkFault::Drain(address)
            | NetworkFault::Leave(address)
            | NetworkFault::Abort(address)
            | NetworkFault::AbortClients(address)
            | NetworkFault::HalfClose(address)
            | NetworkFault::HalfCloseClients(address)
            | NetworkFault::Crash(address, _) => address,
        }
    }
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

/// Events after which a world is taken to spin.
const MOST_EVENTS: u64 = 3_000_000;

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

struct State {
    seed: u64,
    draws: u64,
    queue: Queue<Event>,
    woken: Arc<Mutex<Vec<Place>>>,
    tasks: Vec<Option<LocalFuture<()>>>,
    links: Vec<Link>,
    servers: BTreeMap<String, Rc<Server>>,
    refused: BTreeMap<String, u64>,
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
    /// A world at time zero in which everything follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim::traced(seed, Trace::kept())
    }

    pub(crate) fn traced(seed: u64, trace: Trace) -> Self {
        Sim(Rc::new(RefCell::new(State {
            seed,
            draws: 0,
            queue: Queue::new(seed),
            woken: Arc::default(),
            tasks: Vec::new(),
            links: Vec::new(),
            servers: BTreeMap::new(),
            refused: BTreeMap::new(),
            routes: BTreeMap::new(),
            network: PipePlan { delay_us: 100, ..PipePlan::default() },
            adapters: false,
            probing: false,
            trace,
            failure: None,
            events: 0,
            patient: 0,
        })))
    }

    /// This world as what servers and channels run on.
    pub fn host(&self) -> Rc<dyn Host> {
        Rc::new(self.clone())
    }

    /// How both directions of connections that are opened from now on behave.
    pub fn network(&self, plan: PipePlan) {
        self.0.borrow_mut().network = plan;
    }

    /// Has the loop that runs on sockets ([`grpc_service::drive`]) drive both ends of connections that are opened from
    /// now on, over operations that complete in any order, late, in part, or with an error.
    pub fn completions(&self, on: bool) {
        self.0.borrow_mut().adapters = on;
    }

    /// How connections to one address behave that are opened from now on: from client to server, and back.
    pub fn route(&self, address: &str, up: PipePlan, down: PipePlan) {
        self.0.borrow_mut().routes.insert(address.to_owned(), (up, down));
    }

    /// Has `server` accept the connections to `address`: one that may serve several of them.
    pub fn listen(&self, address: &str, server: impl Into<Rc<Server>>) {
        let old = self.0.borrow_mut().servers.insert(address.to_owned(), server.into());
        // Services may do anything when they are dropped.
        drop(old);
    }

    /// Plans a fault, `after` now.
    pub fn plan(&self, after: Duration, fault: NetworkFault) {
        self.0.borrow_mut().queue.after(after.as_nanos() as u64, Event::Fault(fault));
    }

    /// Runs `future` and everything that it leads to until it completes; time jumps whenever nothing
    /// can go on.
    ///
    /// # Errors
    /// [`Stuck`] when nothing ever will, or a rule was broken: [`check`](Self::check) tells which.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let mut future = pin!(future);
        let waker = self.0.borrow().waker(Place::Main);
        waker.wake_by_ref();
        let stuck = || Err(Stuck { at: self.0.borrow().now() });
        loop {
            let place = {
                let state = &mut *self.0.borrow_mut();
                state.events += 1;
                if state.events > MOST_EVENTS {
                    state.fail(Oracle::Work, format!("{MOST_EVENTS} events and no end"));
                }
                if state.failure.is_some() { None } else { state.next_woken() }
            };
            match place {
                _ if self.0.borrow().failure.is_some() => return stuck(),
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

    /// What has been broken so far, or is left behind: every call that has ended must have let go of its
    /// slot at both ends.
    ///
    /// # Errors
    /// The first rule, and what broke it.
    pub fn check(&self) -> Result<(), Failure> {
        let state = self.0.borrow();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        match state.links.iter().map(Link::open_calls).sum::<usize>() {
            0 => Ok(()),
            left => Err(Failure {
                oracle: Oracle::Liveness,
                text: format!("{left} calls are still open at one end or the other"),
                at_ns: state.queue.now_ns(),
            }),
        }
    }

    /// Hash of all bytes and times so far.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace.hash()
    }

    /// What happened so far, as text; see [`crate::show`].
    pub fn timeline(&self) -> String {
        crate::show::timeline(&self.0.borrow().trace)
    }

    /// Breaks a rule in the name of an oracle; the first one counts.
    pub(crate) fn fail(&self, oracle: Oracle, text: String) {
        self.0.borrow_mut().fail(oracle, text);
    }

    pub(crate) fn note(&self, numbers: &[u64], text: impl FnOnce() -> String) {
        let state = &mut *self.0.borrow_mut();
        let now = state.queue.now_ns();
        state.trace.note(now, None, numbers, text);
    }

    /// Says that a task waits for room as long as what is returned lives.
    pub(crate) fn patience(&self) -> Patience {
        self.0.borrow_mut().patient += 1;
        Patience(self.clone())
    }

    /// Calls that hold a slot at any end.
    pub(crate) fn open_calls(&self) -> usize {
        self.0.borrow().links.iter().map(Link::open_calls).sum()
    }

    /// Connections of which an end is still up.
    pub(crate) fn connections_up(&self) -> usize {
        self.0.borrow().links.iter().filter(|link| !link.is_over()).count()
    }

    /// Takes the world apart, which is a circle of references, and says what came of it.
    pub(crate) fn finish(&self, marks: &mut Marks) -> (Option<Failure>, Trace, u64) {
        let (links, servers, tasks) = {
            let state = &mut *self.0.borrow_mut();
            let tasks = std::mem::take(&mut state.tasks);
            (std::mem::take(&mut state.links), std::mem::take(&mut state.servers), tasks)
        };
        links.iter().for_each(|link| marks.merge(link.marks()));
        drop(tasks);
        drop(links);
        drop(servers);
        let state = &mut *self.0.borrow_mut();
        state.queue.clear();
        (state.failure.take(), std::mem::take(&mut state.trace), state.events)
    }
}

/// A task that waits for room.
pub(crate) struct Patience(Sim);

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.0.borrow_mut().patient -= 1;
    }
}

impl Host for Sim {
    fn now(&self) -> Instant {
        self.0.borrow().now()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let sim = self.clone();
        // One event a timer, however often it is polled, and none that wakes anybody once it is dropped.
        let mut waiting: Option<Rc<RefCell<Waker>>> = None;
        Box::pin(std::future::poll_fn(move |cx| {
            let state = &mut *sim.0.borrow_mut();
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
        let state = &mut *self.0.borrow_mut();
        let index = state.tasks.len();
        state.tasks.push(Some(task));
        state.wake(Place::Task(index));
    }

    fn entropy(&self) -> u64 {
        let state = &mut *self.0.borrow_mut();
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
                let state = sim.0.borrow();
                let both = || (state.network.clone(), state.network.clone());
                state.routes.get(&address).cloned().unwrap_or_else(both)
            };
            // A round trip, whether there is anybody or not.
            let delay = Duration::from_micros(u64::from(up.delay_us) + u64::from(down.delay_us));
            Host::timer(&sim, Host::now(&sim) + delay).await;
            let server = {
                let state = sim.0.borrow();
                let until = state.refused.get(&address).copied().unwrap_or(0);
                let open = until <= state.queue.now_ns();
                state.servers.get(&address).filter(|_| open).cloned()
            };
            let Some(server) = server else {
                return Err(ConnectError::new("the connection was refused"));
            };
            let accepted = server.accept(Peer::Memory);
            let adopted = {
                let state = &mut *sim.0.borrow_mut();
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
        f.debug_struct("Sim").finish_non_exhaustive()
    }
}
