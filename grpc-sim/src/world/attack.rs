//! Hostile clients in the world.

use grpc_proto::{Connection, Server};

use super::end::{Actor, End};
use super::{Conn, Event, Side, World};
use crate::adversary::Attacker;
use crate::entropy::mix;
use crate::monitor::Monitor;
use crate::pipe::Pipe;
use crate::scenario::PipePlan;

impl World<'_> {
    pub(super) fn begin_attack(&mut self, index: usize) {
        let plan = &self.scenario.attacks[index];
        let links = &self.scenario.links;
        let link = links.iter().position(|link| link.server == plan.target).unwrap_or(0);
        let Some(server) = links.get(link).map(|link| usize::from(link.server)) else { return };
        let limits = self.server_configs[server].limits();
        let Some(attacker) = Attacker::new(&plan.script, plan.over, limits) else { return };
        let ci = self.conns.len();
        let seed = mix(self.scenario.seed, ci as u64 + 1);
        let now = self.now();
        let pipe = PipePlan { cut: plan.cut, delay_us: 10, ..PipePlan::default() };
        self.conns.push(Conn {
            link,
            client: None,
            server: Some(End::new(
                Connection::new(&self.server_configs[server], mix(seed, 2), now),
                false,
            )),
            attacker: Some(Box::new(attacker)),
            up: Pipe::new(pipe.clone(), mix(seed, 3)),
            down: Pipe::new(pipe, mix(seed, 4)),
            monitor: Monitor::new(),
            blamed: true,
            leaving: false,
        });
        let text = || format!("attack {} {:+}", plan.script, plan.over);
        self.trace.note(now.as_nanos(), Some((ci, Side::Client)), &[40, index as u64], text);
        self.queue.after(0, Event::Strike(ci));
        self.schedule_turn(ci, Side::Server);
    }

    /// The attacker reads and writes.
    pub(super) fn strike(&mut self, ci: usize) {
        let now = self.now_ns();
        let open = Server::slot(&mut self.conns[ci]).as_ref().is_some_and(|end| !end.closed);
        let conn = &mut self.conns[ci];
        let Some(attacker) = &mut conn.attacker else { return };
        if !open {
            return;
        }
        attacker.act();
        let part = attacker.pending().len().min(conn.up.space());
        if part == 0 {
            return;
        }
        let due = conn.up.write(&attacker.pending()[..part], now);
        self.trace.wrote(now, (ci, Side::Client), &attacker.pending()[..part]);
        attacker.wrote(part);
        self.schedule_delivery(ci, Side::Server, due);
        if part > 0 {
            self.queue.after(1, Event::Strike(ci));
        }
    }
}
