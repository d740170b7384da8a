//! Smaller scenarios that fail the same way: delete, then make plain, holding on to the oracle.

use grpc_proto::http2::Side;

use crate::adversary;
use crate::campaign::catch;
use crate::oracle::{Failure, Oracle};
use crate::scenario::{
    AttackPlan, CallPlan, CancelPlan, Coding, Ending, Knobs, Layer, LinkPlan, PipePlan, Respond,
    Scenario, SendMode,
};

/// Runs that a shrink may take.
const MOST_RUNS: u32 = 4000;

/// Shrinks a scenario that fails; returns the smallest found, and how it fails.
///
/// Whole connections go first, then calls, faults, messages, limits, and what is out of the ordinary
/// about a call or a network; sizes and times are halved last. Every candidate must break the same
/// oracle.
pub fn shrink(scenario: &Scenario, failure: &Failure) -> (Scenario, Failure) {
    let mut search = Search {
        best: scenario.clone(),
        failure: failure.clone(),
        oracle: failure.oracle,
        runs: 0,
    };
    loop {
        let before = search.best.clone();
        search.drop_links();
        search.drop_ends();
        search.drop_each(|s| s.attacks.len(), |s, n| drop(s.attacks.remove(n)));
        search.drop_calls();
        search.drop_each(
            |s| s.faults.len(),
            |s, n| {
                s.faults.remove(n);
            },
        );
        search.drop_messages();
        search.drop_knobs();
        search.plain();
        search.halve();
        if search.best == before || search.runs >= MOST_RUNS {
            return (search.best, search.failure);
        }
    }
}

struct Search {
    best: Scenario,
    failure: Failure,
    oracle: Oracle,
    runs: u32,
}

impl Search {
    /// Takes a candidate if it still fails the same way.
    fn attempt(&mut self, candidate: Scenario) -> bool {
        // Limits depend on each other: one that goes can make the rest impossible.
        if candidate == self.best || candidate.check().is_err() || self.runs >= MOST_RUNS {
            return false;
        }
        self.runs += 1;
        match catch(&candidate, false).failure {
            Some(failure) if failure.oracle == self.oracle => {
                self.best = candidate;
                self.failure = failure;
                true
            }
            _ => false,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.attempt(candidate)
    }

    fn drop_each(
        &mut self,
        count: impl Fn(&Scenario) -> usize,
        remove: impl Fn(&mut Scenario, usize),
    ) {
        let mut at = count(&self.best);
        while at > 0 {
            at -= 1;
            if at < count(&self.best) {
                self.change(|scenario| remove(scenario, at));
            }
        }
    }

    /// One connection after the other, with what happens on it.
    fn drop_links(&mut self) {
        for link in (0..self.best.links.len() as u16).rev() {
            if self.best.links.len() < 2 {
                return;
            }
            self.change(|scenario| remove_link(scenario, link));
        }
    }

    /// Clients and servers that no link has any more.
    fn drop_ends(&mut self) {
        for side in [Side::Client, Side::Server] {
            for index in (0..ends(&mut self.best, side).len() as u8).rev() {
                if self.best.links.iter().all(|link| *end_of(&mut link.clone(), side) != index) {
                    self.change(|scenario| remove_end(scenario, side, index));
                }
            }
        }
    }

    /// Halves first: most calls have nothing to do with it.
    fn drop_calls(&mut self) {
        let mut span = self.best.calls.len().div_ceil(2);
        while span > 0 {
            let mut at = 0;
            while at < self.best.calls.len() {
                let end = (at + span).min(self.best.calls.len());
                let gone = self.change(|scenario| {
                    for n in (at..end).rev() {
                        remove_call(scenario, n);
                    }
                });
                at += if gone { 0 } else { span };
            }
            span /= 2;
        }
    }

    fn drop_messages(&mut self) {
        for n in 0..self.best.calls.len() {
            for up in [true, false] {
                let mut at = messages(&mut self.best.calls[n], up).len();
                while at > 0 {
                    at -= 1;
                    self.change(|s| {
                        messages(&mut s.calls[n], up).remove(at);
                    });
                }
            }
        }
    }

    fn drop_knobs(&mut self) {
        for client in [true, false] {
            let of = |scenario: &Scenario| match client {
                true => scenario.clients.clone(),
                false => scenario.servers.clone(),
            };
            for (n, knobs) in of(&self.best).into_iter().enumerate() {
                for knob in knobs.into_keys() {
                    self.change(|scenario| {
                        let ends = match client {
                            true => &mut scenario.clients,
                            false => &mut scenario.servers,
                        };
                        ends[n].remove(&knob);
                    });
                }
            }
        }
    }

    /// Whatever is out of the ordinary goes, one property at a time.
    fn plain(&mut self) {
        let plain: [fn(&mut CallPlan); 23] = [
            |call| call.path = 0,
            |call| call.coding = Coding::Channel,
            |call| call.plain_requests = false,
            |call| call.plain_responses = false,
            |call| call.timeout = false,
            |call| call.wait_for_ready = false,
            |call| call.send = SendMode::Handles,
            |call| call.details = 0,
            |call| call.meets = false,
            |call| call.calls_back = false,
            |call| call.after = None,
            |call| call.deadline_us = None,
            |call| call.cancel = None,
            |call| call.metadata = 0,
            |call| call.trailers = 0,
            |call| call.status = 0,
            |call| call.headers = false,
            |call| call.pace_us = 0,
            |call| call.client_think_us = 0,
            |call| call.server_think_us = 0,
            |call| call.hold_us = 0,
            |call| call.respond = Respond::AfterEnd,
            |call| call.ending = Ending::AfterEnd,
        ];
        for n in 0..self.best.calls.len() {
            for make in plain {
                self.change(|scenario| make(&mut scenario.calls[n]));
            }
        }
        for n in 0..self.best.links.len() {
            self.change(|scenario| scenario.links[n].dialed = false);
            let plain: [fn(&mut PipePlan); 6] = [
                |pipe| pipe.cut = Default::default(),
                |pipe| pipe.delay_us = 0,
                |pipe| pipe.bandwidth = 0,
                |pipe| pipe.buffer = 0,
                |pipe| pipe.receive_max = 0,
                |pipe| pipe.write_max = 0,
            ];
            for make in plain {
                self.change(|scenario| make(&mut scenario.links[n].up));
                self.change(|scenario| make(&mut scenario.links[n].down));
            }
        }
        for n in 0..self.best.attacks.len() {
            self.change(|scenario| scenario.attacks[n].cut = Default::default());
        }
        for layer in [Layer::Services, Layer::Core] {
            self.change(|scenario| scenario.layer = layer);
        }
        self.change(|scenario| scenario.start_ns = 0);
        self.change(|scenario| scenario.seed = 0);
    }

    fn halve(&mut self) {
        for n in 0..self.best.calls.len() {
            while self.change(|s| s.calls[n].at_us /= 2) {}
            while self.change(|s| s.calls[n].deadline_us.iter_mut().for_each(|us| *us /= 2)) {}
            while self.change(|s| {
                if let Some(CancelPlan::AfterUs(us)) = &mut s.calls[n].cancel {
                    *us /= 2;
                }
            }) {}
            for up in [true, false] {
                for at in 0..messages(&mut self.best.calls[n], up).len() {
                    while self.change(|s| messages(&mut s.calls[n], up)[at] /= 2) {}
                }
            }
        }
        for n in 0..self.best.faults.len() {
            while self.change(|s| s.faults[n].at_us /= 2) {}
            while self.change(|s| s.faults[n].fault.span().into_iter().for_each(|us| *us /= 2)) {}
        }
        for n in 0..self.best.attacks.len() {
            while self.change(|s| s.attacks[n].at_us /= 2) {}
        }
    }
}

fn messages(call: &mut CallPlan, up: bool) -> &mut Vec<u32> {
    if up { &mut call.requests } else { &mut call.responses }
}

/// Calls and faults of a link go with it; the others' indexes move down.
fn remove_link(scenario: &mut Scenario, link: u16) {
    scenario.links.remove(link.into());
    while let Some(n) = scenario.calls.iter().position(|call| call.link == link) {
        remove_call(scenario, n);
    }
    for call in &mut scenario.calls {
        call.link -= u16::from(call.link > link);
    }
    scenario.faults.retain_mut(|plan| plan.fault.link() != Some(&mut link.clone()));
    for at in scenario.faults.iter_mut().filter_map(|plan| plan.fault.link()) {
        *at -= u16::from(*at > link);
    }
}

fn ends(scenario: &mut Scenario, side: Side) -> &mut Vec<Knobs> {
    match side {
        Side::Client => &mut scenario.clients,
        Side::Server => &mut scenario.servers,
    }
}

fn end_of(link: &mut LinkPlan, side: Side) -> &mut u8 {
    match side {
        Side::Client => &mut link.client,
        Side::Server => &mut link.server,
    }
}

/// Faults of a server go with it, attacks on an end too; the others' indexes move down.
fn remove_end(scenario: &mut Scenario, side: Side, index: u8) {
    ends(scenario, side).remove(index.into());
    for link in &mut scenario.links {
        let at = end_of(link, side);
        *at -= u8::from(*at > index);
    }
    if side == Side::Server {
        scenario.faults.retain_mut(|plan| plan.fault.server() != Some(&mut index.clone()));
        for at in scenario.faults.iter_mut().filter_map(|plan| plan.fault.server()) {
            *at -= u8::from(*at > index);
        }
    }
    let of_side = |attack: &AttackPlan| adversary::victim(&attack.script) == side;
    scenario.attacks.retain(|attack| !of_side(attack) || attack.target != index);
    for attack in scenario.attacks.iter_mut().filter(|attack| of_side(attack)) {
        attack.target -= u8::from(attack.target > index);
    }
}

/// Calls that waited for the one that goes begin by themselves.
fn remove_call(scenario: &mut Scenario, n: usize) {
    scenario.calls.remove(n);
    for call in &mut scenario.calls {
        call.after = match call.after {
            Some(before) if usize::from(before) == n => None,
            Some(before) if usize::from(before) > n => Some(before - 1),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Cut, Fault, FaultPlan};

    fn scenario() -> Scenario {
        let link = |client, server| LinkPlan { client, server, ..LinkPlan::default() };
        let fault = |fault| FaultPlan { at_us: 0, fault };
        let attack = |target, script: &str| {
            let script = script.to_owned();
            AttackPlan { at_us: 0, target, script, over: 0, cut: Cut::Whole }
        };
        Scenario {
            clients: vec![Knobs::new(); 2],
            servers: vec![Knobs::new(); 3],
            links: vec![link(0, 0), link(1, 1), link(1, 2)],
            faults: vec![
                fault(Fault::Reset { link: 0 }),
                fault(Fault::Stall { link: 1, up: true, for_us: 8 }),
                fault(Fault::Leave { link: 2 }),
                fault(Fault::Drain { server: 2 }),
            ],
            attacks: vec![attack(2, "silence"), attack(1, "server-silence")],
            ..Scenario::default()
        }
    }

    #[test]
    fn a_link_goes_with_its_faults_and_those_of_others_keep_theirs() {
        let mut scenario = scenario();
        remove_link(&mut scenario, 1);
        let faults: Vec<_> = scenario.faults.iter().map(|plan| plan.fault).collect();
        let kept = [Fault::Reset { link: 0 }, Fault::Leave { link: 1 }, Fault::Drain { server: 2 }];
        assert_eq!(faults, kept);
        assert_eq!((scenario.links[1].client, scenario.links[1].server), (1, 2));
    }

    #[test]
    fn an_end_goes_and_whatever_names_those_behind_it_still_does() {
        let mut scenario = scenario();
        remove_link(&mut scenario, 1);
        remove_end(&mut scenario, Side::Server, 1);
        assert_eq!(scenario.servers.len(), 2);
        assert_eq!((scenario.links[1].client, scenario.links[1].server), (1, 1));
        assert_eq!(scenario.faults[2].fault, Fault::Drain { server: 1 });
        let targets: Vec<_> = scenario.attacks.iter().map(|attack| attack.target).collect();
        assert_eq!(targets, [1, 1], "of a server and of a client");
    }
}
