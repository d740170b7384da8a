//! Hostile peers of channels and servers: an attacker stands where the other end would.

use super::link::Either;
use super::*;
use crate::adversary::Attacker;
use crate::invariants::other;

impl Sim {
    /// The server that takes the connections to `address`.
    pub(crate) fn server(&self, address: &str) -> Option<Rc<Server>> {
        self.state.borrow().servers.get(address)?.server.clone()
    }

    /// A hostile client connects to a server; returns the index of the connection.
    pub(crate) fn attack_server(
        &self,
        attacker: Attacker,
        server: &Server,
        plan: PipePlan,
    ) -> usize {
        let victim = server.accept(Peer::memory());
        self.attack(attacker, Either::Server(Box::new(victim)), plan)
    }

    /// A channel's connection finds a hostile server; returns its index.
    pub(crate) fn attack_client(
        &self,
        attacker: Attacker,
        victim: ClientConnection,
        plan: PipePlan,
    ) -> usize {
        self.attack(attacker, Either::Client(Box::new(victim)), plan)
    }

    fn attack(&self, attacker: Attacker, victim: Either, plan: PipePlan) -> usize {
        let (index, adopted) = {
            let state = &mut *self.state.borrow_mut();
            let index = state.links.len();
            let (now, side) = (state.queue.now_ns(), attacker.victim());
            let text = || format!("attacked by {}", attacker.name());
            state.trace.note(now, Some((index, side)), &[40], text);
            let seed = mix(state.seed, 1 << 32 | index as u64);
            state.links.push(Link::hostile(Box::new(attacker), victim, plan, seed));
            for side in [Side::Client, Side::Server] {
                state.wake(Place::End(index, side));
            }
            (index, state.adapters)
        };
        if adopted {
            self.adopt(index);
        }
        index
    }

    /// Looks at the attacker of a connection.
    pub(crate) fn with_attacker<T>(
        &self,
        index: usize,
        look: impl FnOnce(&mut Attacker) -> T,
    ) -> Option<T> {
        self.state.borrow_mut().links[index].attacker.as_deref_mut().map(look)
    }

    /// More calls at the attacked end than the attacker holds open.
    pub(crate) fn victim_keeps_calls(&self, index: usize) -> Option<String> {
        let state = self.state.borrow();
        let link = &state.links[index];
        let attacker = link.attacker.as_ref().filter(|attacker| !attacker.excused)?;
        let (open, held) = (link.open_calls(), attacker.held());
        let text =
            || format!("{}: {open} calls are left of an attack that holds {held}", attacker.name());
        (open > held && !link.is_over()).then(text)
    }

    /// The attacker reads and writes.
    pub(super) fn strike(&self, index: usize) {
        let state = &mut *self.state.borrow_mut();
        let now = state.queue.now_ns();
        let link = &mut state.links[index];
        if link.is_over() {
            return;
        }
        let Some(attacker) = &mut link.attacker else { return };
        attacker.act(Instant::from_nanos(now));
        let (victim, bytes) = (attacker.victim(), attacker.pending().to_vec());
        attacker.wrote(bytes.len());
        let from = other(victim);
        let pipe = link.pipe_from(from);
        if bytes.is_empty() || pipe.is_finished() {
            return;
        }
        let due = pipe.write(&bytes, now);
        state.trace.wrote(now, (index, from), &bytes);
        state.deliver_at(index, victim, due);
        // What comes behind it is written apart from it.
        state.queue.at(now + 1, Event::Turn(index, from));
    }

    /// The attacker closes its direction.
    pub(crate) fn end_attack(&self, index: usize) {
        let state = &mut *self.state.borrow_mut();
        let now = state.queue.now_ns();
        let link = &mut state.links[index];
        let Some(victim) = link.attacker.as_ref().map(|attacker| attacker.victim()) else { return };
        let due = link.pipe_from(other(victim)).finish(now);
        state.deliver_at(index, victim, due);
    }
}
