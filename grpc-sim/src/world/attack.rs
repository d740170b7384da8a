//! Hostile clients and servers in the world.

use grpc_proto::{CallHead, Client, Limits, SendError, client};

use super::end::{Actor, End};
use super::{Conn, Event, Server, Side, World};
use crate::adversary::{self, Attacker};
use crate::entropy::mix;
use crate::monitor::Monitor;
use crate::pipe::Pipe;
use crate::record;
use crate::scenario::PipePlan;

impl World<'_> {
    pub(super) fn begin_attack(&mut self, index: usize) {
        let plan = &self.scenario.attacks[index];
        let victim = adversary::victim(&plan.script);
        let links = &self.scenario.links;
        let at = |link: &crate::scenario::LinkPlan| match victim {
            Side::Server => link.server,
            Side::Client => link.client,
        };
        let link = links.iter().position(|link| at(link) == plan.target).unwrap_or(0);
        let Some(target) = links.get(link).map(|link| usize::from(at(link))) else { return };
        let Some(attacker) =
            Attacker::new(&plan.script, plan.over, self.limits_of(victim, target), self.now())
        else {
            return;
        };
        let ci = self.conns.len();
        let seed = mix(self.scenario.seed, ci as u64 + 1);
        let now = self.now();
        let pipe = PipePlan { cut: plan.cut, delay_us: 10, ..PipePlan::default() };
        let (client, server) = match victim {
            Side::Client => {
                let config = &self.client_configs[target];
                let conn = record::connect(self.tapes, victim, config, mix(seed, 1), now);
                (Some(End::new(conn, false)), None)
            }
            Side::Server => {
                let config = &self.server_configs[target];
                let conn = record::connect(self.tapes, victim, config, mix(seed, 2), now);
                (None, Some(End::new(conn, false)))
            }
        };
        self.conns.push(Conn {
            link,
            client,
            server,
            attacker: Some(Box::new(attacker)),
            up: Pipe::new(pipe.clone(), mix(seed, 3)),
            down: Pipe::new(pipe, mix(seed, 4)),
            monitor: Monitor::new(),
            blamed: true,
            leaving: false,
            thaws: 0,
            cancelled: 0,
            late: 0,
            waited: Vec::new(),
        });
        let text = || format!("attack {} {:+}", plan.script, plan.over);
        self.trace.note(now.as_nanos(), Some((ci, victim)), &[40, index as u64], text);
        self.queue.after(0, Event::Strike(ci));
        self.schedule_turn(ci, victim);
    }

    fn limits_of(&self, side: Side, index: usize) -> &Limits {
        match side {
            Side::Client => self.client_configs[index].limits(),
            Side::Server => self.server_configs[index].limits(),
        }
    }

    /// The attacker reads and writes.
    pub(super) fn strike(&mut self, ci: usize) {
        let (now, instant) = (self.now_ns(), self.now());
        let Some(victim) = self.conns[ci].attacker.as_ref().map(|attacker| attacker.victim())
        else {
            return;
        };
        let open = match victim {
            Side::Client => Client::slot(&mut self.conns[ci]).as_ref().is_some_and(End::is_up),
            Side::Server => Server::slot(&mut self.conns[ci]).as_ref().is_some_and(End::is_up),
        };
        if !open {
            return;
        }
        if victim == Side::Client {
            self.call_attacker(ci);
        }
        let conn = &mut self.conns[ci];
        let Some(attacker) = &mut conn.attacker else { return };
        attacker.act(instant);
        let (from, pipe) = match victim {
            Side::Server => (Side::Client, &mut conn.up),
            Side::Client => (Side::Server, &mut conn.down),
        };
        let part = attacker.pending().len().min(pipe.space());
        if part == 0 {
            return;
        }
        let due = pipe.write(&attacker.pending()[..part], now);
        self.trace.wrote(now, (ci, from), &attacker.pending()[..part]);
        attacker.wrote(part);
        self.schedule_delivery(ci, victim, due);
        self.queue.after(1, Event::Strike(ci));
    }

    /// The attacked client makes its two calls: one message each, and nothing after it.
    fn call_attacker(&mut self, ci: usize) {
        let now = self.now();
        let conn = &mut self.conns[ci];
        let (Some(attacker), Some(end)) = (&mut conn.attacker, &mut conn.client) else { return };
        while attacker.calls.len() < 2 && !attacker.excused {
            match end.conn.call(&CallHead::new("/sim.World/Attack", "sim"), None, now) {
                Ok(key) => {
                    attacker.calls.push(key);
                    // A limit of sending that is in the way changes nothing about the attack.
                    let _ = end.conn.send_encoded(key, bytes::Bytes::from_static(b"hello"), false);
                }
                Err(SendError::TooManyCalls) => {
                    self.queue.after(super::US, Event::Strike(ci));
                    break;
                }
                // It goes away by itself.
                Err(_) => attacker.excused = true,
            }
        }
        self.schedule_turn(ci, Side::Client);
    }

    /// The attacked client hears what becomes of its calls.
    pub(super) fn hear_attacker(
        &mut self,
        ci: usize,
        end: &mut End<Client>,
        event: client::Event<'_>,
    ) {
        let Some(attacker) = &mut self.conns[ci].attacker else { return };
        match event {
            client::Event::Status(key, outcome) => {
                attacker.on_outcome(key, outcome.status.code(), outcome.reason);
            }
            client::Event::Message(key, message) => end.conn.grant(key, message.wire_len()),
            _ => {}
        }
        self.queue.after(0, Event::Strike(ci));
    }
}
