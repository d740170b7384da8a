//! Your own services in the simulator: the handlers, stubs and channels that run on sockets, over a
//! virtual clock and a faulty network.
//!
//! A [`Sim`] is the [`Host`] of servers and channels and the [`Connector`] between them. Faults are
//! planned beforehand; [`Sim::block_on`] runs a client's future while virtual time jumps, and
//! [`Sim::check`] says which rule of the wire was broken, if one was. Two runs of the same seed are the
//! same, byte for byte: compare [`Sim::trace_hash`].

mod link;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use grpc_proto::Instant;
use grpc_proto::http2::Side;
use grpc_service::{ClientConnection, ConnectError, Connector, Host, LocalFuture, Peer, Server};

use crate::entropy::mix;
use crate::kernel::Queue;
use crate::oracle::{Failure, Oracle};
use crate::scenario::PipePlan;
use crate::trace::Trace;
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
    /// New connections to the address are refused for this long.
    Refuse(String, Duration),
    /// The servers at the address drain their connections.
    Drain(String),
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

/// What the kernel does.
enum Event {
    Wake(Waker),
    Deliver(usize, Side),
    Turn(usize, Side),
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
    network: PipePlan,
    trace: Trace,
    failure: Option<Failure>,
}

impl State {
    fn waker(&self, place: Place) -> Waker {
        Waker::from(Arc::new(Alarm { place, woken: Arc::clone(&self.woken) }))
    }

    fn next_woken(&self) -> Option<Place> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.is_empty() { None } else { Some(woken.remove(0)) }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.queue.now_ns())
    }
}

impl Sim {
    /// A world at time zero in which everything follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim(Rc::new(RefCell::new(State {
            seed,
            draws: 0,
            queue: Queue::new(seed),
            woken: Arc::default(),
            tasks: Vec::new(),
            links: Vec::new(),
            servers: BTreeMap::new(),
            refused: BTreeMap::new(),
            network: PipePlan { delay_us: 100, ..PipePlan::default() },
            trace: Trace::kept(),
            failure: None,
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

    /// Has `server` accept the connections to `address`.
    pub fn listen(&self, address: &str, server: Server) {
        self.0.borrow_mut().servers.insert(address.to_owned(), Rc::new(server));
    }

    /// Plans a fault, `after` now.
    pub fn plan(&self, after: Duration, fault: NetworkFault) {
        self.0.borrow_mut().queue.after(after.as_nanos() as u64, Event::Fault(fault));
    }

    /// Runs `future` and everything that it leads to until it completes; time jumps whenever nothing
    /// can go on.
    ///
    /// # Errors
    /// [`Stuck`] when nothing ever will: liveness is broken.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let mut future = pin!(future);
        let waker = self.0.borrow().waker(Place::Main);
        waker.wake_by_ref();
        loop {
            let place = self.0.borrow().next_woken();
            match place {
                Some(Place::Main) => {
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(output) = polled {
                        return Ok(output);
                    }
                }
                Some(place) => self.go_on(place),
                None if self.step() => {}
                None => return Err(Stuck { at: self.0.borrow().now() }),
            }
        }
    }

    /// Lets `span` pass, and everything happen that falls in it.
    pub fn advance(&self, span: Duration) {
        let done = Host::timer(self, Host::now(self) + span);
        let passed = self.block_on(done);
        debug_assert!(passed.is_ok(), "a timer always comes");
    }

    /// What has been broken on the wire so far, or is left behind: every call that has ended must have
    /// let go of its slot at both ends.
    ///
    /// # Errors
    /// The first rule, and what broke it.
    pub fn check(&self) -> Result<(), Failure> {
        let state = self.0.borrow();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let left = state.links.iter().map(Link::open_calls).sum::<usize>();
        match left {
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

    fn go_on(&self, place: Place) {
        match place {
            Place::Main => {}
            Place::Task(index) => {
                let task = self.0.borrow_mut().tasks[index].take();
                let Some(mut task) = task else { return };
                let waker = self.0.borrow().waker(place);
                if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                    self.0.borrow_mut().tasks[index] = Some(task);
                }
            }
            Place::End(link, side) => self.turn(link, side),
        }
    }

    /// Jumps to the next event; `false` if there is none.
    fn step(&self) -> bool {
        let event = self.0.borrow_mut().queue.pop();
        match event {
            None => return false,
            Some(Event::Wake(waker)) => waker.wake(),
            Some(Event::Turn(link, side)) => self.turn(link, side),
            Some(Event::Deliver(link, side)) => {
                let mut state = self.0.borrow_mut();
                let now = state.queue.now_ns();
                let (arrived, next) = state.links[link].deliver(side, now);
                if let Some(next) = next {
                    state.queue.at(next, Event::Deliver(link, side));
                }
                if arrived {
                    state.queue.after(0, Event::Turn(link, side));
                }
            }
            Some(Event::Fault(fault)) => self.happen(&fault),
        }
        true
    }

    /// Drives one end of a link and sends what it says.
    fn turn(&self, index: usize, side: Side) {
        let (now, waker) = {
            let state = self.0.borrow();
            (state.now(), state.waker(Place::End(index, side)))
        };
        // The end is out of the world while it runs: its handlers call back into it.
        let Some(mut end) = self.0.borrow_mut().links[index].take(side) else { return };
        end.drive(&mut Context::from_waker(&waker), now);
        let state = &mut *self.0.borrow_mut();
        let link = &mut state.links[index];
        match link.send(side, &mut end, now.as_nanos()) {
            Ok(sent) => {
                for (part, due) in sent {
                    state.trace.wrote(now.as_nanos(), (index, side), &part);
                    state.queue.at(due, Event::Deliver(index, link::other(side)));
                }
            }
            Err(text) => {
                state.failure.get_or_insert(Failure {
                    oracle: Oracle::Wire,
                    text,
                    at_ns: now.as_nanos(),
                });
            }
        }
        if let Some(due) = link.close_if_over(side, &end, now.as_nanos()) {
            state.queue.at(due, Event::Deliver(index, link::other(side)));
        }
        if let Some(at) = end.next_timer() {
            state.queue.at(at, Event::Turn(index, side));
        }
        link.put(side, end);
    }

    fn happen(&self, fault: &NetworkFault) {
        let state = &mut *self.0.borrow_mut();
        let now = state.queue.now_ns();
        state.trace.note(now, None, &[1], || format!("{fault:?}"));
        let (NetworkFault::Reset(address)
        | NetworkFault::Stall(address, _)
        | NetworkFault::Refuse(address, _)
        | NetworkFault::Drain(address)) = fault;
        for (index, link) in state.links.iter_mut().enumerate() {
            if link.address != *address {
                continue;
            }
            match fault {
                NetworkFault::Reset(_) => link.reset(),
                NetworkFault::Stall(_, span) => link.stall(now + span.as_nanos() as u64),
                NetworkFault::Drain(_) => link.drain(Instant::from_nanos(now)),
                NetworkFault::Refuse(..) => {}
            }
            for side in [Side::Client, Side::Server] {
                state.queue.after(0, Event::Turn(index, side));
                let due = link.stalled_until().max(now);
                state.queue.at(due, Event::Deliver(index, side));
            }
        }
        if let NetworkFault::Refuse(_, span) = fault {
            state.refused.insert(address.clone(), now + span.as_nanos() as u64);
        }
    }
}

impl Host for Sim {
    fn now(&self) -> Instant {
        self.0.borrow().now()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let sim = self.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let state = &mut *sim.0.borrow_mut();
            if state.now() >= at {
                return Poll::Ready(());
            }
            state.queue.at(at.as_nanos(), Event::Wake(cx.waker().clone()));
            Poll::Pending
        }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        let state = &mut *self.0.borrow_mut();
        let index = state.tasks.len();
        state.tasks.push(Some(task));
        state.waker(Place::Task(index)).wake();
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
            let (delay, server) = {
                let state = sim.0.borrow();
                let until = state.refused.get(&address).copied().unwrap_or(0);
                let open = until <= state.queue.now_ns();
                let server = state.servers.get(&address).filter(|_| open).cloned();
                (Duration::from_micros(state.network.delay_us.into()), server)
            };
            // A round trip, whether there is anybody or not.
            Host::timer(&sim, Host::now(&sim) + 2 * delay).await;
            let Some(server) = server else {
                return Err(ConnectError::new("the connection was refused"));
            };
            let accepted = server.accept(Peer::Memory);
            let state = &mut *sim.0.borrow_mut();
            let index = state.links.len();
            let seed = mix(state.seed, 1 << 32 | index as u64);
            let now = state.queue.now_ns();
            state.trace.note(now, Some((index, Side::Client)), &[2], || "connected".into());
            state.links.push(Link::new(address, connection, accepted, &state.network, seed));
            for side in [Side::Client, Side::Server] {
                state.queue.after(0, Event::Turn(index, side));
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
