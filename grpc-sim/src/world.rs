//! A world: clients, servers, the network between them, and a scenario that happens to them.

pub(crate) mod app;
mod attack;
mod check;
mod client;
mod end;
mod faults;
mod server;

use grpc_proto::http2::Side;
use grpc_proto::{CallKey, Client, Code, Config, Instant, Server};

use crate::adversary::Attacker;
use crate::entropy::mix;
use crate::kernel::Queue;
use crate::marks::{Mark, Marks};
use crate::monitor::Monitor;
use crate::oracle::{Failure, Oracle};
use crate::pipe::Pipe;
use crate::record::{self, Tapes};
use crate::scenario::{Knob, Layer, Scenario, config_of};
use crate::trace::Trace;
use end::{Actor, End};

const US: u64 = 1000;
/// Virtual time after the last fault by which every call must have ended.
const SETTLED_BY: u64 = 3_000_000_000 * US;
/// Events after which a world is taken to spin.
const MOST_EVENTS: u64 = 3_000_000;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The first rule that was broken, if one was.
    pub failure: Option<Failure>,
    /// What happened.
    pub trace: Trace,
    /// Branches that were reached.
    pub marks: Marks,
    /// Events that the kernel handled.
    pub events: u64,
    /// Calls that ended with OK.
    pub calls_ok: u64,
}

/// Runs a scenario; `keep` keeps the trace's entries.
///
/// # Panics
/// When its limits are impossible: [`Scenario::check`] tells.
pub fn run(scenario: &Scenario, keep: bool) -> Report {
    run_on(scenario, keep, None)
}

/// Runs a scenario, every connection of which is recorded on `tapes`.
pub(crate) fn run_on(scenario: &Scenario, keep: bool, tapes: Option<&Tapes>) -> Report {
    if scenario.layer != Layer::Core {
        return crate::services::run(scenario, keep, tapes);
    }
    let mut world = World::new(scenario, keep, tapes);
    world.run();
    let calls_ok = world.calls.iter().filter(|call| call.outcome == Some(Code::Ok)).count() as u64;
    Report {
        failure: world.failure,
        trace: world.trace,
        marks: world.marks,
        events: world.events,
        calls_ok,
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A call begins.
    Start(usize),
    /// The client may send the call's next message.
    Pace(usize),
    /// The client gives up.
    Cancel(usize),
    /// Bytes arrive at an end.
    Deliver(usize, Side),
    /// An end has something to do.
    Turn(usize, Side),
    /// An end's timer.
    Timer(usize, Side, u64),
    /// A message is done with.
    Grant(usize, Side, CallKey, u32),
    /// A handler's end, after its call was cancelled or because it never ends by itself.
    Release(usize),
    GiveUp(usize),
    Fault(usize),
    Attack(usize),
    /// The hostile peer's next step.
    Strike(usize),
}

struct World<'s> {
    scenario: &'s Scenario,
    tapes: Option<&'s Tapes>,
    queue: Queue<Event>,
    conns: Vec<Conn>,
    links: Vec<Link>,
    servers: Vec<ServerState>,
    client_configs: Vec<Config>,
    server_configs: Vec<Config>,
    calls: Vec<CallState>,
    trace: Trace,
    marks: Marks,
    failure: Option<Failure>,
    events: u64,
    phase: Phase,
    /// The idle phase lasts until then.
    idle_until: u64,
}

/// The parts of a world's life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Calls and faults.
    Calls,
    /// No call is left, and connections give their memory back.
    Idle,
    /// They drain.
    Leaving,
}

#[derive(Debug, Default)]
struct Link {
    current: Option<usize>,
    refused_until: u64,
    connected: bool,
}

#[derive(Debug, Default)]
struct ServerState {
    down_until: u64,
}

/// A connection, from its opening to the end of the world.
struct Conn {
    link: usize,
    client: Option<End<Client>>,
    server: Option<End<Server>>,
    attacker: Option<Box<Attacker>>,
    up: Pipe,
    down: Pipe,
    monitor: Monitor,
    /// A fault or an operator has touched it: its calls may end with UNAVAILABLE.
    blamed: bool,
    /// One end has announced that it goes away.
    leaving: bool,
    /// Until when an end was frozen: what is due meanwhile comes then.
    thaws: u64,
    /// Calls that were cancelled after their headers, and that have ended by their deadline.
    cancelled: u32,
    late: u32,
    /// Streams by their slot at the server that waited for the assembly budget when it was last looked at.
    waited: Vec<usize>,
}

impl Conn {
    fn pipe_from(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        }
    }
}

/// One call as the model of both applications sees it.
#[derive(Debug, Default)]
struct CallState {
    started_ns: u64,
    deadline: Option<Instant>,
    conn: Option<usize>,

    client_key: Option<CallKey>,
    sent: usize,
    half_closed: bool,
    send_blocked: bool,
    paced: bool,
    received: usize,
    got_headers: bool,
    outcome: Option<Code>,
    cancelled: bool,
    waiting: bool,

    server_key: Option<CallKey>,
    seen: bool,
    served: usize,
    served_sent: usize,
    served_end: bool,
    served_blocked: bool,
    headers_sent: bool,
    finished: bool,
    server_cancelled: bool,
    abandoned: bool,
}

impl CallState {
    /// Whether the client is done with it.
    fn is_over(&self) -> bool {
        self.outcome.is_some() || self.cancelled
    }
}

impl<'s> World<'s> {
    fn new(scenario: &'s Scenario, keep: bool, tapes: Option<&'s Tapes>) -> Self {
        let trace = if keep { Trace::kept() } else { Trace::default() };
        World {
            scenario,
            tapes,
            queue: Queue::starting(scenario.seed, scenario.start_ns),
            conns: Vec::new(),
            links: scenario.links.iter().map(|_| Link::default()).collect(),
            servers: scenario.servers.iter().map(|_| ServerState::default()).collect(),
            client_configs: scenario.clients.iter().map(config_of).collect(),
            server_configs: scenario.servers.iter().map(config_of).collect(),
            calls: scenario.calls.iter().map(|_| CallState::default()).collect(),
            trace,
            marks: Marks::default(),
            failure: None,
            events: 0,
            phase: Phase::Calls,
            idle_until: 0,
        }
    }

    fn run(&mut self) {
        let start = self.scenario.start_ns;
        let at = |us: u32| start.saturating_add(u64::from(us) * US);
        let settled_by = start.saturating_add(SETTLED_BY);
        for (n, call) in self.scenario.calls.iter().enumerate() {
            let after = call.after.filter(|&before| usize::from(before) < n);
            if after.is_none() && usize::from(call.link) < self.links.len() {
                self.queue.at(at(call.at_us), Event::Start(n));
            }
        }
        for (n, fault) in self.scenario.faults.iter().enumerate() {
            self.queue.at(at(fault.at_us), Event::Fault(n));
        }
        for (n, attack) in self.scenario.attacks.iter().enumerate() {
            self.queue.at(at(attack.at_us), Event::Attack(n));
        }
        while self.failure.is_none() {
            let next = self.queue.next_at().unwrap_or(u64::MAX);
            let waits = self.phase == Phase::Idle && next <= self.idle_until;
            if !waits && self.is_settled() && self.is_quiet() {
                if !self.next_phase() {
                    break;
                }
                // Longer than it takes an idle connection to give its memory back.
                self.idle_until = self.now_ns() + 1_500_000 * US;
                continue;
            }
            if next > settled_by {
                break;
            }
            let Some(event) = self.queue.pop() else { break };
            self.events += 1;
            if self.events > MOST_EVENTS {
                self.fail(Oracle::Work, format!("{MOST_EVENTS} events and no end: {event:?}"));
            }
            self.handle(event);
        }
        if self.failure.is_none() {
            self.check_at_end();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start(call) => self.start_call(call),
            Event::Pace(call) => {
                self.calls[call].paced = false;
                self.with_client(call, |world, end| world.pump_client(end, call));
            }
            Event::Cancel(call) => {
                self.with_client(call, |world, end| world.cancel_call(end, call));
                if self.calls[call].waiting && !self.calls[call].is_over() {
                    // It waits for a connection: nobody else has heard of it.
                    self.calls[call].cancelled = true;
                    self.after_call(call);
                }
            }
            Event::Deliver(conn, side) => {
                let now = self.now_ns();
                match side {
                    Side::Client => self.conns[conn].down.disarm(now),
                    Side::Server => self.conns[conn].up.disarm(now),
                }
                self.deliver(conn, side);
            }
            Event::Turn(conn, Side::Client) => self.turn::<Client>(conn),
            Event::Turn(conn, Side::Server) => self.turn::<Server>(conn),
            Event::Timer(conn, side, at) => self.on_timer(conn, side, at),
            Event::Grant(conn, side, key, bytes) => {
                match side {
                    Side::Client => {
                        if let Some(end) = &mut self.conns[conn].client {
                            end.conn.grant(key, bytes);
                        }
                    }
                    Side::Server => {
                        if let Some(end) = &mut self.conns[conn].server {
                            end.conn.grant(key, bytes);
                        }
                    }
                }
                self.schedule_turn(conn, side);
            }
            Event::Release(call) => self.release_call(call),
            Event::GiveUp(call) => self.give_up(call),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Attack(attack) => self.begin_attack(attack),
            Event::Strike(conn) => self.strike(conn),
        }
    }

    fn now_ns(&self) -> u64 {
        self.queue.now_ns()
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.queue.now_ns())
    }

    fn fail(&mut self, oracle: Oracle, text: String) {
        if self.failure.is_none() {
            let at_ns = self.now_ns();
            self.trace.note(at_ns, None, &[oracle as u64], || format!("FAILED [{oracle}] {text}"));
            self.failure = Some(Failure { oracle, text, at_ns });
        }
    }

    /// The connection for a new call of a link, opened if there is none; `None` while it is refused.
    fn connect(&mut self, link: usize) -> Option<usize> {
        if let Some(conn) = self.links[link].current {
            let end = self.conns[conn].client.as_ref()?;
            if end.is_open() {
                return Some(conn);
            }
            self.links[link].current = None;
        }
        let plan = &self.scenario.links[link];
        let now = self.now_ns();
        let server = usize::from(plan.server);
        if now < self.links[link].refused_until || now < self.servers[server].down_until {
            self.marks.reach(Mark::ConnectRefused);
            return None;
        }
        if std::mem::replace(&mut self.links[link].connected, true) {
            self.marks.reach(Mark::Reconnected);
        }
        let index = self.conns.len();
        let seed = mix(self.scenario.seed, index as u64 + 1);
        let client = usize::from(plan.client);
        let knobs = (&self.scenario.clients[client], &self.scenario.servers[server]);
        let at = self.now();
        self.conns.push(Conn {
            link,
            client: Some(End::new(
                record::connect(
                    self.tapes,
                    Side::Client,
                    &self.client_configs[client],
                    mix(seed, 1),
                    at,
                ),
                knobs.0.contains_key(&Knob::PullEachEvent),
            )),
            server: Some(End::new(
                record::connect(
                    self.tapes,
                    Side::Server,
                    &self.server_configs[server],
                    mix(seed, 2),
                    at,
                ),
                knobs.1.contains_key(&Knob::PullEachEvent),
            )),
            attacker: None,
            up: Pipe::new(plan.up.clone(), mix(seed, 3)),
            down: Pipe::new(plan.down.clone(), mix(seed, 4)),
            monitor: Monitor::new(),
            blamed: false,
            leaving: false,
            thaws: 0,
            cancelled: 0,
            late: 0,
            waited: Vec::new(),
        });
        self.trace.note(now, Some((index, Side::Client)), &[0], || "connected".into());
        self.links[link].current = Some(index);
        self.schedule_turn(index, Side::Client);
        self.schedule_turn(index, Side::Server);
        Some(index)
    }

    fn schedule_turn(&mut self, conn: usize, side: Side) {
        let pending = match side {
            Side::Client => self.conns[conn].client.as_mut().map(|end| &mut end.turn_pending),
            Side::Server => self.conns[conn].server.as_mut().map(|end| &mut end.turn_pending),
        };
        if let Some(pending) = pending
            && !std::mem::replace(pending, true)
        {
            self.queue.after(0, Event::Turn(conn, side));
        }
    }

    /// Lets the application at the client's end of a call act, if the call is still there.
    fn with_client(&mut self, call: usize, act: impl FnOnce(&mut Self, &mut End<Client>)) {
        let (Some(conn), Some(_)) = (self.calls[call].conn, self.calls[call].client_key) else {
            return;
        };
        let Some(mut end) = Client::slot(&mut self.conns[conn]).take() else { return };
        act(self, &mut end);
        *Client::slot(&mut self.conns[conn]) = Some(end);
        self.schedule_turn(conn, Side::Client);
    }

    /// Lets the application at the server's end of a call act, if the call is still there.
    fn with_server(&mut self, call: usize, act: impl FnOnce(&mut Self, &mut End<Server>)) {
        let (Some(conn), Some(_)) = (self.calls[call].conn, self.calls[call].server_key) else {
            return;
        };
        let Some(mut end) = Server::slot(&mut self.conns[conn]).take() else { return };
        act(self, &mut end);
        *Server::slot(&mut self.conns[conn]) = Some(end);
        self.schedule_turn(conn, Side::Server);
    }

    /// Whether every call and attack is over, at both ends.
    fn is_settled(&self) -> bool {
        let fought = self.conns.iter().all(|conn| {
            let closed = conn.server.as_ref().is_some_and(|end| end.closed)
                || conn.client.as_ref().is_some_and(|end| end.closed);
            conn.attacker.as_ref().is_none_or(|attacker| attacker.is_over() || closed)
        });
        fought && self.calls_are_settled()
    }

    fn calls_are_settled(&self) -> bool {
        self.calls.iter().enumerate().all(|(n, call)| {
            let started = call.waiting || call.conn.is_some();
            let over = call.is_over() || (!started && !self.will_start(n));
            over && call.server_key.is_none()
        })
    }

    fn will_start(&self, call: usize) -> bool {
        usize::from(self.scenario.calls[call].link) < self.links.len()
    }

    /// Whether nothing is under way on any connection that is still up.
    fn is_quiet(&self) -> bool {
        self.conns.iter().all(|conn| {
            let idle = |turn_pending: bool| !turn_pending;
            conn.up.is_empty()
                && conn.down.is_empty()
                && conn.client.as_ref().is_none_or(|end| idle(end.turn_pending))
                && conn.server.as_ref().is_none_or(|end| idle(end.turn_pending))
        })
    }
}
