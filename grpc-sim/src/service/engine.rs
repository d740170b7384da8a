//! What happens in a world of services: turns, deliveries, faults, and looks at what should be at rest.

use super::adapter::Line;
use super::*;
use crate::invariants::other;
use crate::marks::Mark;

impl Sim {
    pub(super) fn go_on(&self, place: Place) {
        match place {
            Place::Main => {}
            Place::Task(index) => {
                let task = self.state.borrow_mut().tasks[index].take();
                let Some(mut task) = task else { return };
                let waker = self.state.borrow().waker(place);
                if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                    self.state.borrow_mut().tasks[index] = Some(task);
                }
            }
            Place::End(link, side) => self.turn(link, side),
        }
    }

    /// Jumps to the next event; `false` if there is none.
    pub(super) fn step(&self) -> bool {
        let event = self.state.borrow_mut().queue.pop();
        match event {
            None => return false,
            Some(Event::Wake(waker)) => {
                if let Some(waker) = waker.upgrade() {
                    waker.borrow().wake_by_ref();
                }
            }
            Some(Event::Timer(link, side, at)) => {
                let state = &mut *self.state.borrow_mut();
                if state.links[link].timer_fires(side, at) {
                    state.wake(Place::End(link, side));
                }
            }
            Some(Event::Deliver(link, side)) => {
                let state = &mut *self.state.borrow_mut();
                let now = state.queue.now_ns();
                state.fetch(link, side, now);
            }
            Some(Event::Turn(link, side)) => self.state.borrow().wake(Place::End(link, side)),
            Some(Event::Complete(link, side, direction)) => {
                self.state.borrow_mut().complete(link, side, direction);
            }
            Some(Event::Fault(fault)) => self.happen(fault),
            Some(Event::Restart(address)) => self.restart(&address),
        }
        true
    }

    /// Drives one end of a link and sends what it says.
    fn turn(&self, index: usize, side: Side) {
        let (now, waker) = {
            let state = &mut *self.state.borrow_mut();
            let now = state.now();
            if state.links[index].socket(side).is_some() {
                // A task drives it: the kernel looks at what that has under way.
                state.look_at_operations(index, side);
                return state.fetch(index, side, now.as_nanos());
            }
            (now, state.waker(Place::End(index, side)))
        };
        // The end is out of the world while it runs: its handlers call back into it.
        let Some(mut end) = self.state.borrow_mut().links[index].take(side) else {
            // Nobody is there, or an attacker.
            return self.strike(index);
        };
        end.drive(&mut Context::from_waker(&waker), now);
        let state = &mut *self.state.borrow_mut();
        let (link, trace) = (&mut state.links[index], &mut state.trace);
        let ns = now.as_nanos();
        let sent = link.send(side, &mut end, ns, |part| trace.wrote(ns, (index, side), part));
        let closed = link.close_if_over(side, &end, ns);
        let timer = end.arm(ns);
        let spins = end.spins();
        let again = end.has_room_again();
        link.put(side, end);
        match sent {
            Ok(sent) => {
                for due in sent.into_iter().chain(closed) {
                    state.deliver_at(index, other(side), due);
                }
            }
            Err(text) => state.fail(Oracle::Wire, format!("connection {index}, {text}")),
        }
        if let Some(at) = timer {
            state.queue.at(at, Event::Timer(index, side, at));
        }
        if spins {
            state.fail(Oracle::Work, format!("connection {index}, {side:?}: a timer stays due"));
        }
        if again {
            state.wake(Place::End(index, side));
        }
        // What was read makes room for what waits in the network.
        state.fetch(index, side, ns);
        if let Err((oracle, text)) = state.links[index].check() {
            state.fail(oracle, format!("connection {index}: {text}"));
        }
    }

    /// Before time jumps, now and then: nothing that nobody woke may have anything to do.
    pub(super) fn probe(&self) {
        let (now, links, tasks) = {
            let state = self.state.borrow();
            let due = state.queue.next_at().is_some_and(|at| at <= state.queue.now_ns());
            // Two of all seeds' jumps in nine, so that worlds differ in where they are looked at.
            // Of many tasks all are looked at less often.
            let of = 9 * (1 + state.tasks.len() as u64 / 64);
            let looked = mix(state.seed, state.events) % of < 2;
            if due || !looked {
                return;
            }
            let tasks = if state.patient == 0 { state.tasks.len() } else { 0 };
            (state.now(), state.links.len(), tasks)
        };
        let mut busy = Vec::new();
        for (index, side) in (0..links).flat_map(|n| [(n, Side::Client), (n, Side::Server)]) {
            let waker = self.state.borrow().waker(Place::End(index, side));
            if let Some(socket) = self.state.borrow_mut().links[index].socket(side) {
                // Its task is looked at with the others, unless it waits for room itself.
                busy.extend(socket.is_full().then_some(socket.task));
                continue;
            }
            let Some(mut end) = self.state.borrow_mut().links[index].take(side) else { continue };
            let stirred = end.stirs(&mut Context::from_waker(&waker), now);
            let state = &mut *self.state.borrow_mut();
            state.links[index].put(side, end);
            if let Some(text) = stirred {
                let text = format!("connection {index}, {side:?} at rest: {text}");
                state.fail(Oracle::MissedWakeup, text);
            }
        }
        self.state.borrow_mut().probing = true;
        for index in (0..tasks).filter(|task| !busy.contains(task)) {
            let is_there = |sim: &Sim| sim.state.borrow().tasks[index].is_some();
            let waited = is_there(self);
            self.go_on(Place::Task(index));
            if waited && !is_there(self) {
                let text = format!("task {index} completed although nobody had woken it");
                self.fail(Oracle::MissedWakeup, text);
            }
        }
        let state = &mut *self.state.borrow_mut();
        state.probing = false;
        let woken = state.woken.lock().map_or_else(|_| Vec::new(), |woken| woken.clone());
        if !woken.is_empty() {
            let text = format!("{woken:?} went on although nobody had woken them");
            state.fail(Oracle::MissedWakeup, text);
        }
    }

    /// Has an adapter's loop drive both ends of a link.
    pub(super) fn adopt(&self, index: usize) {
        for side in [Side::Client, Side::Server] {
            let state = &mut *self.state.borrow_mut();
            let task = state.tasks.len();
            let Some(end) = state.links[index].adopt(side, task) else { continue };
            state.links[index].reach(Mark::Adapter);
            state.tasks.push(Some(Box::pin(Line::new(self, index, side).run(end))));
            state.wake(Place::Task(task));
        }
    }

    fn happen(&self, fault: NetworkFault) {
        let (mut dropped, mut servers) = (Vec::new(), Vec::new());
        {
            let state = &mut *self.state.borrow_mut();
            let now = state.queue.now_ns();
            state.trace.note(now, None, &[1], || format!("{fault:?}"));
            let mut met = 0;
            for index in 0..state.links.len() {
                let link = &mut state.links[index];
                if link.address != *fault.address() || link.is_over() {
                    continue;
                }
                let at = Instant::from_nanos(now);
                let until = |span: &Duration| now + span.as_nanos() as u64;
                let mut closed = None;
                met += usize::from(!matches!(fault, NetworkFault::Refuse(..)));
                match &fault {
                    NetworkFault::Reset(_) => link.reset(),
                    NetworkFault::Stall(_, span) => link.stall(until(span), true, true),
                    NetworkFault::StallUp(_, span) => link.stall(until(span), true, false),
                    NetworkFault::StallDown(_, span) => link.stall(until(span), false, true),
                    NetworkFault::Clog(_, bandwidth, span) => link.clog(*bandwidth, until(span)),
                    NetworkFault::Drain(_) => link.leave(Side::Server, true, at),
                    NetworkFault::Leave(_) => link.leave(Side::Client, true, at),
                    NetworkFault::Abort(_) => link.leave(Side::Server, false, at),
                    NetworkFault::AbortClients(_) => link.leave(Side::Client, false, at),
                    NetworkFault::HalfClose(_) => {
                        closed = Some((Side::Client, link.half_close(Side::Server, now)));
                    }
                    NetworkFault::HalfCloseClients(_) => {
                        closed = Some((Side::Server, link.half_close(Side::Client, now)));
                    }
                    NetworkFault::Crash(..) => {
                        let task = link.socket(Side::Server).map(|socket| socket.task);
                        let task = task.and_then(|task| state.tasks[task].take());
                        dropped.push((link.crash(), task));
                    }
                    NetworkFault::Refuse(..) => {}
                }
                let due = link.stalled_until();
                for side in [Side::Client, Side::Server] {
                    state.wake(Place::End(index, side));
                    state.deliver_at(index, side, due);
                }
                if let Some((side, due)) = closed {
                    state.deliver_at(index, side, due);
                }
            }
            if let NetworkFault::Refuse(address, span) | NetworkFault::Crash(address, span) = &fault
            {
                let refusal =
                    Refusal { until: now + span.as_nanos() as u64, fault: state.faults.len() };
                let known = state.refused.entry(address.clone()).or_insert(refusal);
                // What is refused for longer stays so.
                if refusal.until > known.until {
                    *known = refusal;
                }
                if let NetworkFault::Crash(..) = fault
                    && let Some(listener) = state.servers.get_mut(address)
                    && listener.make.is_some()
                {
                    servers.extend(listener.server.take());
                    state.queue.at(refusal.until, Event::Restart(address.clone()));
                }
            }
            state.faults.push(Happened { fault, at: Instant::from_nanos(now), met });
        }
        // Handlers are dropped outside of all borrows: what lives in them may do anything.
        drop(dropped);
        drop(servers);
    }

    /// A server that has crashed is made anew.
    fn restart(&self, address: &str) {
        let make = {
            let state = &mut *self.state.borrow_mut();
            let Some(listener) = state.servers.get(address) else { return };
            let Some(make) = listener.make.clone().filter(|_| listener.server.is_none()) else {
                return;
            };
            let now = state.queue.now_ns();
            state.trace.note(now, None, &[3], || format!("{address} is started again"));
            make
        };
        let server = Rc::new(make());
        let mut state = self.state.borrow_mut();
        let old = state.servers.get_mut(address).and_then(|here| here.server.replace(server));
        drop(state);
        drop(old);
    }
}

impl State {
    /// Moves what is due to an end, and wakes whom that concerns.
    fn fetch(&mut self, index: usize, side: Side, now: u64) {
        let (arrived, room, next) = self.links[index].deliver(side, now);
        if let Some(next) = next {
            self.deliver_at(index, side, next);
        }
        if arrived {
            self.wake(Place::End(index, side));
        }
        if room {
            self.wake(Place::End(index, other(side)));
        }
    }
}
