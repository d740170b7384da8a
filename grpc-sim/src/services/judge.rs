//! What must hold of a call's end, and of what is left when all have ended.

use grpc_proto::{Code, Metadata, Status};

use super::Stage;
use super::caller::Outcome;
use super::part::BESIDE;
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{Ending, Knob, Method, PipePlan};
use crate::world::app;

impl Stage {
    pub(super) fn judge(&self, n: usize, outcome: &Outcome) {
        self.sim.note(&[62, n as u64], || format!("call {n} ends: {outcome:?}"));
        match outcome {
            Outcome::GaveUp => {
                self.reach(Mark::StreamDropped);
                self.calls.borrow_mut()[n].gave_up = true;
            }
            Outcome::Status(status, trailers) => {
                let judged = self.judge_status(n, status, trailers.as_ref());
                if let Err((oracle, text)) = judged {
                    self.sim.fail(oracle, format!("call {n} ended with {status:?}: {text}"));
                }
            }
        }
    }

    fn judge_status(
        &self,
        n: usize,
        status: &Status,
        trailers: Option<&Metadata>,
    ) -> Result<(), (Oracle, String)> {
        let plan = &self.scenario.calls[n];
        let now = self.now();
        // Connecting may take longer than the call has time for.
        let late = {
            let call = &self.calls.borrow()[n];
            call.deadline.is_some_and(|deadline| now > deadline.max(call.opened))
        };
        // A client that takes its time may find an end that came before.
        if late && plan.client_think_us == 0 && plan.pace_us == 0 {
            return Err((Oracle::Deadline, format!("it was settled at {now}")));
        }
        let call = &mut self.calls.borrow_mut()[n];
        let said = call.verdict.as_ref().is_some_and(|verdict| verdict == status);
        if !said {
            if status.is_ok() {
                let text = format!("its handler ended with {:?}", call.verdict);
                return Err((Oracle::OneEnd, text));
            }
            let explained = self.explains(n, status, call.deadline.is_some());
            return explained.map_err(|text| (Oracle::OneEnd, text));
        }
        let streams = plan.method.streams().1;
        let expected = match (streams, status.is_ok()) {
            (true, true) => plan.responses.len(),
            (true, false) => call.answered,
            (false, is_ok) => usize::from(is_ok),
        };
        if call.received != expected {
            let text = format!("{} of {expected} responses came", call.received);
            return Err((Oracle::Prefix, text));
        }
        let sent = app::metadata(plan.trailers, n);
        if trailers.is_some_and(|trailers| !app::same_metadata(&sent, trailers)) {
            return Err((Oracle::Prefix, format!("its trailers are {trailers:?}")));
        }
        call.ok = status.is_ok();
        self.reach(match (status.is_ok(), plan.method) {
            (false, _) => Mark::HandlerFailed,
            (true, Method::One) => Mark::OneAnswered,
            (true, Method::Gather) => Mark::Gathered,
            (true, Method::Spread) => Mark::Spread,
            (true, Method::Talk) => Mark::Talked,
        });
        Ok(())
    }

    /// A status that the handler did not give: something must explain it.
    fn explains(&self, n: usize, status: &Status, has_deadline: bool) -> Result<(), String> {
        let plan = &self.scenario.calls[n];
        let links = self.links.borrow();
        let link = &links[usize::from(plan.link)];
        let disturbed = link.blamed || self.is_restless(n);
        let explained = match status.code() {
            Code::DeadlineExceeded => {
                self.reach(Mark::ServiceDeadline);
                has_deadline
            }
            Code::Unavailable => {
                self.reach(Mark::ServiceUnavailable);
                disturbed
                    || link.leaving
                    || self.has_knob(n, &[Knob::MaxConcurrentStreams])
                    || self.scenario.calls.len() > 45
            }
            Code::ResourceExhausted => {
                self.reach(Mark::ServiceTooLarge);
                self.has_large_message(n) || self.has_small_lists(n) || disturbed || self.is_slow(n)
            }
            // The server's deadline is rounded down to what `grpc-timeout` can say.
            Code::Cancelled => has_deadline || disturbed,
            Code::Internal => plan.ending == Ending::Abandon,
            _ => false,
        };
        match explained {
            true => Ok(()),
            false => Err("nothing explains it".into()),
        }
    }

    fn has_knob(&self, n: usize, knobs: &[Knob]) -> bool {
        let link = &self.scenario.links[usize::from(self.scenario.calls[n].link)];
        let client = &self.scenario.clients[usize::from(link.client)];
        let server = &self.scenario.servers[usize::from(link.server)];
        knobs.iter().any(|knob| client.contains_key(knob) || server.contains_key(knob))
    }

    fn is_slow(&self, n: usize) -> bool {
        self.has_knob(n, &[Knob::SendStallTimeoutMs, Knob::ProgressTimeoutMs])
    }

    /// Whether an end of the call's connection may end it by itself.
    fn is_restless(&self, n: usize) -> bool {
        let link = &self.scenario.links[usize::from(self.scenario.calls[n].link)];
        let slow = |pipe: &PipePlan| pipe.buffer > 0 && pipe.buffer < 1000 && pipe.delay_us >= 1000;
        slow(&link.up)
            || slow(&link.down)
            || self.has_knob(
                n,
                &[
                    Knob::MaxIdleMs,
                    Knob::MaxAgeMs,
                    Knob::SettingsTimeoutMs,
                    Knob::SettingsAckTimeoutMs,
                    Knob::KeepaliveMs,
                    Knob::ResetBurst,
                ],
            )
    }

    fn has_small_lists(&self, n: usize) -> bool {
        let plan = &self.scenario.calls[n];
        plan.metadata == 8
            || plan.trailers == 8
            || self.has_knob(n, &[Knob::MaxHeaderListSize])
                && (plan.metadata > 3 || plan.trailers > 3)
    }

    fn has_large_message(&self, n: usize) -> bool {
        let knobs = |knobs: &crate::scenario::Knobs| {
            knobs.get(&Knob::MaxReceiveMessage).copied().unwrap_or(4 << 20)
        };
        let plan = &self.scenario.calls[n];
        let link = &self.scenario.links[usize::from(plan.link)];
        let client = knobs(&self.scenario.clients[usize::from(link.client)]);
        let server = knobs(&self.scenario.servers[usize::from(link.server)]);
        let largest = |lens: &[u32]| u64::from(lens.iter().copied().max().unwrap_or(0) + BESIDE);
        largest(&plan.requests_sent()) > server || largest(&plan.responses) > client
    }

    /// No call is left at either end: nothing may be held for one.
    pub(super) fn check_at_rest(&self) {
        if let Some(n) = self.calls.borrow().iter().position(|call| call.running) {
            self.sim.fail(Oracle::OneEnd, format!("the handler of call {n} outlives it"));
        }
        for server in self.servers.borrow().iter() {
            let pool = server.pool_use();
            if pool.leased > 0 || pool.arena_used > 0 {
                let text = format!("a server without calls keeps {pool:?}");
                self.sim.fail(Oracle::Memory, text);
            }
        }
    }
}
