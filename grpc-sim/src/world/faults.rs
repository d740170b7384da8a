//! Faults as they happen.

use grpc_proto::Server;
use grpc_proto::http2::ErrorCode;

use super::end::Actor;
use super::{Side, US, World};
use crate::invariants::other;
use crate::marks::Mark;
use crate::scenario::Fault;

impl World<'_> {
    pub(super) fn on_fault(&mut self, index: usize) {
        let fault = self.scenario.faults[index].fault;
        let now = self.now_ns();
        self.trace.note(now, None, &[30, index as u64], || format!("{fault:?}"));
        match fault {
            Fault::Stall { link, up, for_us } => {
                let side = if up { Side::Client } else { Side::Server };
                self.stall(link.into(), &[side], for_us);
            }
            Fault::Partition { link, for_us } => {
                self.stall(link.into(), &[Side::Client, Side::Server], for_us);
            }
            Fault::Clog { link, bandwidth, for_us } => {
                let Some(ci) = self.conn_of(link.into()) else { return };
                let until = now + u64::from(for_us) * US;
                self.conns[ci].up.clog(bandwidth, until);
                self.conns[ci].down.clog(bandwidth, until);
                // What is written meanwhile is under way for long.
                self.conns[ci].blamed |= bandwidth < 100;
            }
            Fault::Reset { link } => {
                if let Some(ci) = self.conn_of(link.into()) {
                    self.reset_conn(ci);
                }
            }
            Fault::HalfClose { link, up } => {
                let Some(ci) = self.conn_of(link.into()) else { return };
                self.marks.reach(Mark::HalfClosed);
                self.conns[ci].blamed = true;
                let from = if up { Side::Client } else { Side::Server };
                let due = self.conns[ci].pipe_from(from).finish(now);
                self.schedule_delivery(ci, other(from), due);
            }
            Fault::Refuse { link, for_us } => {
                if let Some(link) = self.links.get_mut(usize::from(link)) {
                    link.refused_until = link.refused_until.max(now + u64::from(for_us) * US);
                }
            }
            Fault::Crash { server, for_us } => self.crash(server.into(), for_us),
            Fault::Drain { server } => {
                for ci in self.conns_to(server.into()) {
                    self.conns[ci].leaving = true;
                    let at = self.now();
                    if let Some(end) = &mut self.conns[ci].server {
                        end.conn.shutdown(at);
                    }
                    self.schedule_turn(ci, Side::Server);
                }
            }
            Fault::Leave { link } => {
                let Some(ci) = self.conn_of(link.into()) else { return };
                self.conns[ci].leaving = true;
                let at = self.now();
                if let Some(end) = &mut self.conns[ci].client {
                    end.conn.shutdown(at);
                }
                self.schedule_turn(ci, Side::Client);
            }
            Fault::Freeze { link, client, for_us } => {
                let Some(ci) = self.conn_of(link.into()) else { return };
                let until = now + u64::from(for_us) * US;
                self.marks.reach(Mark::Frozen);
                let conn = &mut self.conns[ci];
                // Long enough for a timer of either end to fire.
                conn.blamed |= for_us > 40_000;
                conn.thaws = conn.thaws.max(until);
                let frozen = match client {
                    true => conn.client.as_mut().map(|end| &mut end.frozen_until),
                    false => conn.server.as_mut().map(|end| &mut end.frozen_until),
                };
                frozen.into_iter().for_each(|frozen| *frozen = until.max(*frozen));
            }
            Fault::Close { link, client } => {
                let Some(ci) = self.conn_of(link.into()) else { return };
                self.conns[ci].blamed = true;
                let at = self.now();
                if client && let Some(end) = &mut self.conns[ci].client {
                    end.conn.close(ErrorCode::NO_ERROR, at);
                } else if let Some(end) = &mut self.conns[ci].server {
                    end.conn.close(ErrorCode::NO_ERROR, at);
                }
                self.schedule_turn(ci, if client { Side::Client } else { Side::Server });
            }
        }
    }

    fn conn_of(&self, link: usize) -> Option<usize> {
        self.links.get(link)?.current
    }

    fn conns_to(&self, server: usize) -> Vec<usize> {
        let links = &self.scenario.links;
        let to = |ci: &usize| {
            let conn = &self.conns[*ci];
            let open = conn.server.as_ref().is_some_and(|end| !end.closed);
            conn.attacker.is_none() && usize::from(links[conn.link].server) == server && open
        };
        (0..self.conns.len()).filter(to).collect()
    }

    fn stall(&mut self, link: usize, from: &[Side], for_us: u32) {
        let Some(ci) = self.conn_of(link) else { return };
        let until = self.now_ns() + u64::from(for_us) * US;
        // Long enough for a timer of either end to fire, if its limits are short.
        self.conns[ci].blamed |= for_us > 40_000;
        for &side in from {
            self.conns[ci].pipe_from(side).stall(until);
            self.schedule_delivery(ci, other(side), until);
        }
    }

    fn reset_conn(&mut self, ci: usize) {
        let conn = &mut self.conns[ci];
        conn.blamed = true;
        conn.up.reset();
        conn.down.reset();
        if let Some(end) = &mut conn.client {
            end.eof = true;
        }
        if let Some(end) = &mut conn.server {
            end.eof = true;
        }
        self.schedule_turn(ci, Side::Client);
        self.schedule_turn(ci, Side::Server);
    }

    /// The server is gone with all it knew: its handlers too.
    fn crash(&mut self, server: usize, for_us: u32) {
        let Some(state) = self.servers.get_mut(server) else { return };
        state.down_until = state.down_until.max(self.queue.now_ns() + u64::from(for_us) * US);
        for ci in self.conns_to(server) {
            let Some(end) = Server::slot(&mut self.conns[ci]) else { continue };
            end.closed = true;
            end.rx.clear();
            let calls: Vec<_> = end.calls().collect();
            for (key, n) in calls {
                end.leave(key);
                self.calls[n].server_key = None;
                self.calls[n].server_cancelled = true;
                self.marks.reach(Mark::Crashed);
            }
            self.reset_conn(ci);
        }
    }
}
