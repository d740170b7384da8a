//! The oracles over connections: at every turn, at rest, and at the end of the world.

use grpc_proto::http2::{Session, Side, StreamView};
use grpc_proto::{ConnectionError, Limits, Reason, TimedOut, Transmit, Violation};

use super::app::is_near;
use super::end::{Actor, End};
use super::{Phase, World};
use crate::invariants::{holds_too_much, is_looked_at, tables_differ, windows_differ};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::Knob;

/// Heap of a connection without calls, tables not counted: design goal of the core.
const IDLE_HEAP: usize = 16 << 10;

impl World<'_> {
    pub(super) fn client_configs_of(&self, ci: usize) -> &Limits {
        let link = &self.scenario.links[self.conns[ci].link];
        self.client_configs[usize::from(link.client)].limits()
    }

    pub(super) fn server_configs_of(&self, ci: usize) -> &Limits {
        let link = &self.scenario.links[self.conns[ci].link];
        self.server_configs[usize::from(link.server)].limits()
    }

    fn has_knob(&self, ci: usize, knobs: &[Knob]) -> bool {
        self.scenario.has_knob(self.conns[ci].link, knobs)
    }

    /// Whether a timer of either end may end calls.
    pub(super) fn is_slow(&self, ci: usize) -> bool {
        self.conns[ci].blamed || self.scenario.is_slow(self.conns[ci].link)
    }

    /// Whether either end may end the connection by itself.
    pub(super) fn is_restless(&self, ci: usize) -> bool {
        self.scenario.is_restless(self.conns[ci].link)
    }

    pub(super) fn may_refuse(&self, ci: usize) -> bool {
        let most = self.server_configs_of(ci).max_concurrent_streams as usize;
        self.conns[ci].leaving || self.is_restless(ci) || self.scenario.calls.len() > most
    }

    pub(super) fn has_large_request(&self, n: usize) -> bool {
        let Some(ci) = self.calls[n].conn else { return false };
        let most = self.server_configs_of(ci).max_receive_message;
        self.scenario.calls[n].requests.iter().any(|&len| len > most)
    }

    /// Whether an honest connection may end so.
    pub(super) fn judge_error(&mut self, ci: usize, side: Side, error: &ConnectionError) {
        let now = self.now();
        if let Some(attacker) = &mut self.conns[ci].attacker {
            attacker.on_error(error, now);
            return;
        }
        let fine = match error {
            ConnectionError::PeerMisbehaved(Violation::TooManyResets) => {
                let link = self.conns[ci].link;
                self.has_knob(ci, &[Knob::ResetBurst]) && self.scenario.takes_reset_tokens(link)
            }
            ConnectionError::PeerMisbehaved(Violation::TooManyPings) => {
                self.scenario.pings_too_often(self.conns[ci].link)
            }
            ConnectionError::PeerMisbehaved(_) | ConnectionError::Compression(_) => false,
            // Nothing is pulled while a slow pipe is full.
            ConnectionError::TimedOut(TimedOut::Backlog) if self.is_slow(ci) => true,
            ConnectionError::TimedOut(_) => {
                self.conns[ci].blamed
                    || self.is_restless(ci)
                    || self.has_knob(ci, &[Knob::DrainGraceMs])
            }
            _ => true,
        };
        if !fine {
            let oracle = match error {
                ConnectionError::Compression(_) => Oracle::Tables,
                _ => Oracle::Wire,
            };
            self.fail(oracle, format!("connection {ci}, {side:?} blames an honest peer: {error}"));
        }
    }

    pub(super) fn judge_cancelled(&mut self, ci: usize, n: usize, reason: &Reason) {
        let call = &self.calls[n];
        let now = self.now();
        let fine = match reason {
            Reason::Deadline => call.deadline.is_some_and(|deadline| is_near(deadline, now)),
            Reason::Reset(_) => call.is_over(),
            Reason::MessageTooLarge => self.has_large_request(n),
            Reason::Connection(ConnectionError::TimedOut(TimedOut::Backlog))
                if self.is_slow(ci) =>
            {
                true
            }
            Reason::Connection(_) => {
                self.conns[ci].blamed || self.conns[ci].leaving || self.is_restless(ci)
            }
            Reason::PeerMisbehaved(Violation::SendStalled | Violation::ReceiveStalled) => {
                self.is_slow(ci)
            }
            _ => false,
        };
        if !fine {
            let text = format!("the handler of call {n} was cancelled without cause: {reason:?}");
            self.fail(Oracle::OneEnd, text);
        }
    }

    /// What holds at every turn.
    pub(super) fn check_conn(&mut self, ci: usize) {
        if self.failure.is_some() {
            return;
        }
        let conn = &self.conns[ci];
        if conn.attacker.is_some() {
            if let Some(text) = self.victim_over_bound(ci) {
                self.fail(Oracle::Memory, text);
            }
            return;
        }
        let (Some(client), Some(server)) = (&conn.client, &conn.server) else { return };
        if client.closed || server.closed || client.failed.is_some() || server.failed.is_some() {
            return;
        }
        let (c, s) = (client.conn.session(), server.conn.session());
        if c.error().is_some() || s.error().is_some() {
            return;
        }
        if !is_looked_at(c.occupied().max(s.occupied()), self.events) {
            return;
        }
        let mut broken = windows_differ(&conn.monitor, Side::Client, c, s);
        broken = broken.or_else(|| windows_differ(&conn.monitor, Side::Server, s, c));
        if let Some(text) = broken {
            return self.fail(Oracle::Windows, format!("connection {ci}: {text}"));
        }
        let most = self.server_configs_of(ci).max_concurrent_streams as usize;
        if s.occupied() > most {
            let text = format!("connection {ci} has {} handlers of {most}", s.occupied());
            return self.fail(Oracle::Memory, text);
        }
        // Counting walks over every buffer: now and then is often enough for what only grows and stays.
        if self.events.is_multiple_of(16)
            && let Some(text) = self.heap_over_bound(ci)
        {
            return self.fail(Oracle::Memory, text);
        }
        self.mark_windows(ci);
        self.check_at_rest(ci);
    }

    /// A stream that stands in line for the assembly budget, though all that was sent on it has been read and granted.
    fn waits_for_nothing(from: &Session, to: &Session) -> Option<String> {
        let waits = |stream: &StreamView| stream.held == 0 && stream.wanted > 0;
        let sent = |id| from.streams().any(|stream| stream.id == id && stream.queued == 0);
        let idle = to.streams().find(|stream| waits(stream) && sent(stream.id))?;
        let (side, id, wanted) = (to.side(), idle.id, idle.wanted);
        Some(format!("{side:?} wants {wanted} bytes for stream {id}, which has brought all"))
    }

    /// An attacked end that holds more than the formula allows.
    fn victim_over_bound(&self, ci: usize) -> Option<String> {
        let conn = &self.conns[ci];
        let (turns, heap, session) = match (&conn.client, &conn.server) {
            (Some(end), _) => (end.work.turns, end.conn.heap_bytes(), end.conn.session()),
            (_, Some(end)) => (end.work.turns, end.conn.heap_bytes(), end.conn.session()),
            (None, None) => return None,
        };
        let looked = turns < 16 || turns.is_multiple_of(16);
        let broken = if looked { holds_too_much(heap, session) } else { None };
        broken.map(|text| format!("connection {ci} under attack: {text}"))
    }

    /// An end that holds more than the formula allows.
    fn heap_over_bound(&self, ci: usize) -> Option<String> {
        let conn = &self.conns[ci];
        let (client, server) = (conn.client.as_ref()?, conn.server.as_ref()?);
        let ends = [
            (client.conn.heap_bytes(), client.conn.session()),
            (server.conn.heap_bytes(), server.conn.session()),
        ];
        let broken = ends.into_iter().find_map(|(heap, session)| holds_too_much(heap, session));
        broken.map(|text| format!("connection {ci}: {text}"))
    }

    fn mark_windows(&mut self, ci: usize) {
        let conn = &mut self.conns[ci];
        let mut reached = Vec::new();
        conn.waited.clear();
        if let Some(end) = &conn.server {
            let waits = end.conn.session().streams().filter(|stream| stream.wanted > 0);
            conn.waited.extend(waits.map(|stream| stream.index));
        }
        for session in [
            conn.client.as_ref().map(|end| end.conn.session()),
            conn.server.as_ref().map(|end| end.conn.session()),
        ]
        .into_iter()
        .flatten()
        {
            let limits = session.limits();
            if session.stream_window() > limits.stream_window
                || session.connection_window() > limits.connection_window
            {
                reached.push(Mark::WindowGrew);
            }
            if session.send_window() == 0 {
                reached.push(Mark::ConnectionFull);
            }
            for stream in session.streams() {
                if stream.wanted > 0 {
                    reached.push(Mark::BudgetWaited);
                }
                if stream.id == 0 {
                    reached.push(Mark::QueuedCall);
                } else if stream.send_window < 0 {
                    reached.push(Mark::NegativeWindow);
                } else if stream.send_window == 0 && stream.queued > 0 {
                    reached.push(Mark::StreamFull);
                }
            }
        }
        for mark in reached {
            self.marks.reach(mark);
        }
    }

    /// What holds when nothing is under way between two honest ends.
    fn check_at_rest(&mut self, ci: usize) {
        let conn = &mut self.conns[ci];
        let (Some(client), Some(server)) = (&mut conn.client, &mut conn.server) else { return };
        let busy = |turn: bool, rx: &[u8], blocked: bool, eof: bool| {
            turn || !rx.is_empty() || blocked || eof
        };
        if busy(client.turn_pending, &client.rx, client.is_blocked(), client.eof)
            || busy(server.turn_pending, &server.rx, server.is_blocked(), server.eof)
            || !conn.up.is_empty()
            || !conn.down.is_empty()
            || conn.up.is_finished()
            || conn.down.is_finished()
        {
            return;
        }
        let now = grpc_proto::Instant::from_nanos(self.queue.now_ns());
        let due = |at: Option<grpc_proto::Instant>| at.is_some_and(|at| at <= now);
        if due(client.conn.poll_timeout()) || due(server.conn.poll_timeout()) {
            return;
        }
        let mut broken = tables_differ(client.conn.session(), server.conn.session());
        broken = broken.or_else(|| tables_differ(server.conn.session(), client.conn.session()));
        if let Some(text) = broken {
            return self.fail(Oracle::Tables, format!("connection {ci}: {text}"));
        }
        if let Some(text) = conn.monitor.unanswered() {
            return self.fail(Oracle::Wire, format!("connection {ci} at rest: {text}"));
        }
        let held = client.conn.session().recv_held() + server.conn.session().recv_held();
        if held > 0 {
            return self
                .fail(Oracle::Windows, format!("connection {ci} holds {held} bytes at rest"));
        }
        let (c, s) = (client.conn.session(), server.conn.session());
        let idle = Self::waits_for_nothing(c, s).or_else(|| Self::waits_for_nothing(s, c));
        if let Some(text) = idle {
            return self.fail(Oracle::Memory, format!("connection {ci} at rest: the {text}"));
        }
        let moved = stirs(client, now).or_else(|| stirs(server, now));
        if let Some(text) = moved {
            self.fail(Oracle::MissedWakeup, format!("connection {ci} at rest: {text}"));
        }
    }

    /// Goes to the next part of the world's end; `false` when there is none.
    pub(super) fn next_phase(&mut self) -> bool {
        self.phase = match self.phase {
            Phase::Calls => {
                self.check_idle();
                Phase::Idle
            }
            Phase::Idle => {
                self.check_trimmed();
                self.leave_all();
                Phase::Leaving
            }
            Phase::Leaving => return false,
        };
        true
    }

    /// No call is left: nothing may be held for one.
    fn check_idle(&mut self) {
        for ci in 0..self.conns.len() {
            let conn = &self.conns[ci];
            let ends = [
                conn.client.as_ref().filter(|end| !end.closed).map(|end| end.conn.session()),
                conn.server.as_ref().filter(|end| !end.closed).map(|end| end.conn.session()),
            ];
            if let Some(attacker) = &conn.attacker {
                let held = attacker.held();
                let taken: usize = ends.into_iter().flatten().map(Session::occupied).sum();
                // A client is attacked by what it called itself: both of its calls are over.
                if taken > held && !attacker.excused {
                    let text = format!(
                        "{}: {taken} calls are left of an attack that holds {held} open",
                        attacker.name()
                    );
                    self.fail(Oracle::Memory, text);
                }
                continue;
            }
            let broken = ends.into_iter().flatten().find_map(|session| {
                let limits = session.limits();
                if session.occupied() > 0 {
                    let left: Vec<_> = session.streams().collect();
                    return Some(format!("{:?} keeps slots: {left:?}", session.side()));
                }
                let taken =
                    (limits.assembly_budget - session.assembly_left()) + session.send_outstanding();
                (taken > 0).then(|| format!("{:?} keeps {taken} bytes of budget", session.side()))
            });
            if let Some(text) = broken {
                self.fail(Oracle::Memory, format!("connection {ci} without calls: {text}"));
            }
        }
    }

    fn check_trimmed(&mut self) {
        for ci in 0..self.conns.len() {
            let conn = &self.conns[ci];
            let ends = [
                conn.client
                    .as_ref()
                    .filter(|end| !end.closed)
                    .map(|e| (e.conn.heap_bytes(), e.conn.session())),
                conn.server
                    .as_ref()
                    .filter(|end| !end.closed)
                    .map(|e| (e.conn.heap_bytes(), e.conn.session())),
            ];
            let trimmed = [
                conn.client.as_ref().filter(|end| !end.closed).map(|end| end.conn.is_trimmed()),
                conn.server.as_ref().filter(|end| !end.closed).map(|end| end.conn.is_trimmed()),
            ];
            let broken = ends.into_iter().flatten().find_map(|(heap, session)| {
                let limits = session.limits();
                let tables = limits.header_table_size + limits.encoder_table_size;
                let bound = IDLE_HEAP + 3 * tables.min(128 << 10) as usize;
                (heap > bound).then(|| format!("{:?} keeps {heap} bytes", session.side()))
            });
            if trimmed.contains(&Some(true)) {
                self.marks.reach(Mark::Trimmed);
            }
            if let Some(text) = broken {
                self.fail(Oracle::Memory, format!("connection {ci} when idle: {text}"));
            }
        }
    }

    /// Drains every connection that is left, from either end.
    fn leave_all(&mut self) {
        let at = self.now();
        for ci in 0..self.conns.len() {
            self.conns[ci].leaving = true;
            if (self.scenario.seed + ci as u64).is_multiple_of(2) {
                if let Some(end) = &mut self.conns[ci].client {
                    end.conn.shutdown(at);
                }
                self.schedule_turn(ci, Side::Client);
            }
            if let Some(end) = &mut self.conns[ci].server {
                end.conn.shutdown(at);
            }
            self.schedule_turn(ci, Side::Server);
        }
    }

    pub(super) fn check_at_end(&mut self) {
        for n in 0..self.calls.len() {
            let call = &self.calls[n];
            let started = call.waiting || call.conn.is_some();
            if (started && !call.is_over()) || call.server_key.is_some() {
                let text = format!("call {n} has no end: {call:?}");
                return self.fail(Oracle::Liveness, text);
            }
        }
        for ci in 0..self.conns.len() {
            if let Some(attacker) = &self.conns[ci].attacker {
                match attacker.judge() {
                    Ok((mark, rule)) => {
                        self.marks.reach(mark);
                        rule.into_iter().for_each(|rule| self.marks.reach_rule(rule));
                    }
                    Err(text) => self.fail(Oracle::Isolation, text),
                }
                continue;
            }
            let conn = &self.conns[ci];
            // PINGs also measure windows that may grow: without those, a client has no other reason for one.
            let limits = self.client_configs_of(ci);
            let asked = conn.server.as_ref().is_some_and(|end| end.conn.stats().pings_received > 0);
            if asked && limits.max_window <= limits.stream_window {
                self.marks.reach(Mark::Keepalive);
            }
            let conn = &self.conns[ci];
            let work = [
                conn.client.as_ref().map(|end| end.work),
                conn.server.as_ref().map(|end| end.work),
            ];
            for work in work.into_iter().flatten() {
                if work.polls > 64 + 4 * work.turns + 2 * work.bytes {
                    return self.fail(Oracle::Work, format!("connection {ci}: {work:?}"));
                }
            }
            let open = |closed: Option<bool>| closed == Some(false);
            if self.phase == Phase::Leaving
                && open(conn.client.as_ref().map(|end| end.closed))
                && open(conn.server.as_ref().map(|end| end.closed))
            {
                return self.fail(Oracle::Liveness, format!("connection {ci} does not drain"));
            }
        }
    }
}

/// Polls an end that has no reason to do anything; says what it does all the same.
fn stirs<R: Actor>(end: &mut End<R>, now: grpc_proto::Instant) -> Option<String> {
    let timeout = end.conn.poll_timeout();
    match end.conn.poll_event(&mut &[][..], now) {
        Ok(None) if end.conn.poll_timeout() != timeout => {
            return Some(format!("a timer had nobody to set it: {timeout:?}"));
        }
        Ok(None) => {}
        Ok(Some(_)) => return Some("an event had nobody to poll for it".into()),
        Err(error) => return Some(format!("it has ended: {error}")),
    }
    let mut out = Transmit::new();
    end.conn.poll_transmit(&mut out, now);
    (!out.is_empty()).then(|| format!("{} bytes of output had nobody to pull them", out.len()))
}
