//! A world of services: generated handlers and stubs play a scenario through the dispatch layer, over the same
//! network, with the same oracles as connections of the core.

mod attack;
mod caller;
mod coding;
mod dialed;
mod faults;
mod handler;
mod judge;
mod part;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use grpc_proto::{Instant, Limits};
use grpc_service::{
    Channel, ChannelOptions, ConnectError, Host, PoolLimits, Router, Server, ServerOptions, Status,
};

use crate::marks::{Mark, Marks};
use crate::oracle::Oracle;
use crate::record::Tapes;
use crate::scenario::{Knob, Knobs, Layer, Scenario, limits_of};
use crate::service::Sim;
use crate::trace::Trace;
use crate::world::Report;

/// Virtual time by which every call must have ended.
const SETTLED_BY: Duration = Duration::from_secs(1000);
/// Virtual time in which calls that are over at one end must be over at the other.
const REST: Duration = Duration::from_secs(400);
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) use part::BESIDE;

/// Runs a scenario; `keep` keeps the trace's entries.
pub(crate) fn run(scenario: &Scenario, keep: bool, tapes: Option<&Tapes>) -> Report {
    let trace = if keep { Trace::kept() } else { Trace::default() };
    let sim = Sim::traced(scenario.seed, scenario.start_ns, trace);
    // Lists of 20 KB, a byte at a time, over connections that a call makes anew: slow is not without end.
    sim.event_limit(3_000_000 + 150_000 * scenario.calls.len() as u64);
    let stage = Stage::new(scenario, sim, tapes);
    stage.play();
    stage.take_apart()
}

/// What everybody in the world shares.
struct Stage {
    scenario: Scenario,
    sim: Sim,
    tapes: Option<Tapes>,
    calls: RefCell<Vec<CallState>>,
    links: RefCell<Vec<LinkState>>,
    /// Every server that there was: those that crashed too.
    servers: RefCell<Vec<Rc<Server>>>,
    marks: RefCell<Marks>,
    /// Handlers that wait for another one, and how many have come.
    meeting: RefCell<Vec<Waker>>,
    arrivals: Cell<u64>,
    /// Calls that wait for another one's end, and tasks that wait for all of them.
    waiting: RefCell<Vec<Waker>>,
    /// Calls and attacks that are over.
    over: Cell<usize>,
    /// Calls that were dropped when their headers had come.
    dropped: Cell<u32>,
}

/// One call, as both its ends have seen it.
#[derive(Debug, Default)]
struct CallState {
    started: Instant,
    deadline: Option<Instant>,
    /// Which of its link's connections it is made on.
    connection: u64,
    /// When there was a channel for it, and how many attempts to connect had failed by then.
    opened: Instant,
    failed_before: u64,
    over: bool,
    ok: bool,
    gave_up: bool,
    sent: usize,
    received: usize,

    seen: bool,
    running: bool,
    served: usize,
    answered: usize,
    /// How the handler ended.
    ended_with: Option<Status>,
}

/// Which of a link's connections something has happened to.
#[derive(Debug, Default)]
struct Through {
    last: u64,
    at: Option<Instant>,
}

impl Through {
    /// It happens at `now`, behind whatever else does; `last` is the last connection that was begun.
    fn happen(&mut self, last: u64, now: Instant) {
        *self = Self { last, at: Some(now) };
    }

    /// A connection begins; in the instant of what happens it may be there when that does.
    fn begin(&mut self, number: u64, now: Instant) {
        if self.at == Some(now) {
            self.last = number;
        }
    }

    fn covers(&self, number: u64) -> bool {
        number <= self.last
    }
}

#[derive(Debug, Default)]
struct LinkState {
    channel: Option<(u64, Channel)>,
    /// Connections that were begun; they are numbered from 1.
    connections: u64,
    /// Those that a fault has touched: their calls may end with UNAVAILABLE.
    blamed: Through,
    /// Those of which an end has announced that it goes away.
    leaving: Through,
    /// Its server has crashed since it was connected.
    restarted: bool,
    /// The last connection that was refused.
    refused: u64,
    /// Attempts of a channel that connects by itself that have failed, in all and in a row, and when the last one began.
    failed: u64,
    failures: u32,
    knocked: Option<Instant>,
}

impl Stage {
    fn new(scenario: &Scenario, sim: Sim, tapes: Option<&Tapes>) -> Rc<Self> {
        let stage = Rc::new(Stage {
            scenario: scenario.clone(),
            sim,
            tapes: tapes.cloned(),
            calls: RefCell::new(scenario.calls.iter().map(|_| CallState::default()).collect()),
            links: RefCell::new(scenario.links.iter().map(|_| LinkState::default()).collect()),
            servers: RefCell::default(),
            marks: RefCell::default(),
            meeting: RefCell::default(),
            arrivals: Cell::new(0),
            waiting: RefCell::default(),
            over: Cell::new(0),
            dropped: Cell::new(0),
        });
        stage.sim.completions(scenario.layer == Layer::Adapter);
        for (n, link) in scenario.links.iter().enumerate() {
            stage.sim.route(&address(n), link.up.clone(), link.down.clone());
        }
        for server in 0..scenario.servers.len() {
            stage.start_server(server);
        }
        stage
    }

    /// A server of this index, with an identity of its own, takes the connections of its links.
    fn start_server(self: &Rc<Self>, index: usize) {
        let knobs = &self.scenario.servers[index];
        let mut options = options(knobs, ServerOptions::new)
            .pool_limits(pool_limits(knobs))
            .compression(coding::compression(knobs));
        if let Some(tapes) = &self.tapes {
            options = options.record(tapes.recordings());
        }
        let mut router = Router::new();
        let player = Rc::new(handler::Player::new(self));
        part::generated::register_world(&mut router, player);
        let server = Rc::new(Server::new(router, options, self.sim.host()));
        self.servers.borrow_mut().push(Rc::clone(&server));
        for link in self.links_to(index) {
            self.sim.listen(&address(link), Rc::clone(&server));
        }
    }

    fn links_to(&self, server: usize) -> Vec<usize> {
        let links = self.scenario.links.iter().enumerate();
        links.filter(|(_, link)| usize::from(link.server) == server).map(|(n, _)| n).collect()
    }

    /// The channel of a link, connected if it is not, and which of its connections that is.
    async fn channel(self: &Rc<Self>, link: usize) -> Result<(u64, Channel), ConnectError> {
        if self.scenario.links[link].dialed {
            return Ok(self.dialed(link));
        }
        if let Some((number, channel)) = &self.links.borrow()[link].channel {
            return Ok((*number, channel.clone()));
        }
        let options = self.channel_options(link);
        let address = address(link);
        let number = {
            let state = &mut self.links.borrow_mut()[link];
            state.connections += 1;
            let (number, now) = (state.connections, self.now());
            state.blamed.begin(number, now);
            state.leaving.begin(number, now);
            number
        };
        let connected = Channel::connect(&address, &options, self.sim.host(), &self.sim);
        let channel = connected.await.inspect_err(|_| self.reach(Mark::ConnectRefused))?;
        let state = &mut self.links.borrow_mut()[link];
        if number > 1 {
            self.reach(Mark::Reconnected);
        }
        if std::mem::take(&mut state.restarted) {
            self.reach(Mark::Restarted);
        }
        state.channel = Some((number, channel.clone()));
        Ok((number, channel))
    }

    /// How the connections of a link's client behave.
    fn channel_options(&self, link: usize) -> ChannelOptions {
        let knobs = &self.scenario.clients[usize::from(self.scenario.links[link].client)];
        let mut options = options(knobs, ChannelOptions::new).pool_limits(pool_limits(knobs));
        if self.compresses(link) {
            options = options.compression(coding::compression(knobs));
        }
        match &self.tapes {
            Some(tapes) => options.record(tapes.recordings()),
            None => options,
        }
    }

    /// A connection takes no calls any more: the next one needs another.
    fn forget(&self, link: usize, connection: u64) {
        if self.scenario.links[link].dialed {
            return;
        }
        let state = &mut self.links.borrow_mut()[link];
        let old = state.channel.take_if(|(number, _)| *number == connection);
        // Its last channel's end may shut the connection down, which asks nothing of the links.
        drop(old);
    }

    fn play(self: &Rc<Self>) {
        for n in 0..self.scenario.calls.len() {
            self.sim.spawn(Box::pin(Rc::clone(self).make(n)));
        }
        for n in 0..self.scenario.faults.len() {
            self.sim.spawn(Box::pin(Rc::clone(self).suffer(n)));
        }
        for n in 0..self.scenario.attacks.len() {
            self.sim.spawn(Box::pin(Rc::clone(self).attack(n)));
        }
        let most = self.scenario.calls.len() + self.scenario.attacks.len();
        let latest = Host::timer(&self.sim, self.now() + SETTLED_BY);
        let all = caller::race(self.until(|stage| stage.over.get() == most), latest);
        let played = self.sim.block_on(all);
        if played != Ok(Some(())) {
            let calls = self.calls.borrow();
            let left = calls.iter().enumerate().find(|(_, call)| !call.over);
            return self.sim.fail(Oracle::Liveness, format!("a call has no end: {left:?}"));
        }
        if !self.rests(|stage| stage.sim.open_calls() == 0) {
            let left = self.sim.open_calls();
            return self.sim.fail(Oracle::Liveness, format!("{left} calls are still open"));
        }
        let drained = self.rests(|stage| {
            // A handler whose client is gone may have connected meanwhile.
            let channels: Vec<_> =
                stage.links.borrow_mut().iter_mut().map(|link| link.channel.take()).collect();
            drop(channels);
            stage.sim.connections_up() == 0
        });
        if !drained {
            let left = self.sim.connections_up();
            self.sim.fail(Oracle::Liveness, format!("{left} connections do not drain"));
        }
        self.check_at_rest();
    }

    /// Lets time pass until something holds; `false` if it never does.
    fn rests(&self, holds: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..REST.as_millis() / LOOK_EVERY.as_millis() {
            if holds(self) {
                return true;
            }
            self.sim.advance(LOOK_EVERY);
        }
        holds(self)
    }

    fn take_apart(&self) -> Report {
        // The servers' handlers and the stage refer to each other.
        let channels = std::mem::take(&mut *self.links.borrow_mut());
        drop(channels);
        let mut marks = *self.marks.borrow();
        let (failure, trace, events) = self.sim.finish(&mut marks);
        let servers = std::mem::take(&mut *self.servers.borrow_mut());
        drop(servers);
        let calls_ok = self.calls.borrow().iter().filter(|call| call.ok).count() as u64;
        Report { failure, trace, marks, events, calls_ok }
    }

    fn reach(&self, mark: Mark) {
        self.marks.borrow_mut().reach(mark);
    }

    fn now(&self) -> Instant {
        Host::now(&self.sim)
    }

    async fn sleep_us(&self, us: u32) {
        if us > 0 {
            let at = self.now() + Duration::from_micros(us.into());
            Host::timer(&self.sim, at).await;
        }
    }

    /// Waits until something holds that the end of a call can change.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        std::future::poll_fn(|cx| {
            if holds(self) {
                return std::task::Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

fn address(link: usize) -> String {
    format!("link-{link}")
}

/// Options with the limits of some knobs; see [`Scenario::check`].
fn options<O>(knobs: &Knobs, new: fn(Limits) -> Result<O, grpc_proto::ConfigError>) -> O {
    new(limits_of(knobs)).unwrap_or_else(|error| panic!("a scenario's limits: {error}"))
}

fn pool_limits(knobs: &Knobs) -> PoolLimits {
    let mut limits = PoolLimits::default();
    if let Some(&leases) = knobs.get(&Knob::Leases) {
        limits.leases = leases as usize;
        // A server with few leases keeps little memory.
        limits.arena_retained = 1 << 10;
        limits.buffer_retained = 1 << 10;
    }
    limits
}
