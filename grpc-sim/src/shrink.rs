//! Smaller scenarios that fail the same way: delete, then make plain, holding on to the oracle.

use crate::campaign::catch;
use crate::oracle::{Failure, Oracle};
use crate::scenario::{CallPlan, Ending, PipePlan, Respond, Scenario};

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

    /// Calls of a link go with it; the others' indexes move down.
    fn drop_links(&mut self) {
        for link in (0..self.best.links.len() as u16).rev() {
            if self.best.links.len() < 2 {
                return;
            }
            self.change(|scenario| {
                scenario.links.remove(link.into());
                while let Some(n) = scenario.calls.iter().position(|call| call.link == link) {
                    remove_call(scenario, n);
                }
                for call in &mut scenario.calls {
                    call.link -= u16::from(call.link > link);
                }
            });
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
        let plain: [fn(&mut CallPlan); 15] = [
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
        self.change(|scenario| scenario.seed = 0);
    }

    fn halve(&mut self) {
        for n in 0..self.best.calls.len() {
            while self.best.calls[n].at_us > 0 && self.change(|s| s.calls[n].at_us /= 2) {}
            for up in [true, false] {
                for at in 0..messages(&mut self.best.calls[n], up).len() {
                    while self.change(|s| messages(&mut s.calls[n], up)[at] /= 2) {}
                }
            }
        }
        for n in 0..self.best.faults.len() {
            while self.best.faults[n].at_us > 0 && self.change(|s| s.faults[n].at_us /= 2) {}
        }
    }
}

fn messages(call: &mut CallPlan, up: bool) -> &mut Vec<u32> {
    if up { &mut call.requests } else { &mut call.responses }
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
