//! What must hold of a call's end, and of what is left when all have ended.

use grpc_proto::{Code, ErrorCode, Limits, Metadata, Reason, Status};

use super::caller::{Beside, Outcome};
use super::part::BESIDE;
use super::{CallState, Stage};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{CancelPlan, Ending, Knob, Method, limits_of};
use crate::world::app;

/// Calls that make a storm.
const STORM: u32 = 100;

impl Stage {
    pub(super) fn judge(&self, n: usize, outcome: &Outcome) {
        self.sim.note(&[62, n as u64], || format!("call {n} ends: {outcome:?}"));
        match outcome {
            Outcome::GaveUp => {
                self.reach(Mark::StreamDropped);
                self.calls.borrow_mut()[n].gave_up = true;
                if self.scenario.calls[n].cancel == Some(CancelPlan::AfterMessages(0)) {
                    self.dropped.set(self.dropped.get() + 1);
                    if self.dropped.get() == STORM {
                        self.reach(Mark::ServiceStorm);
                    }
                }
            }
            Outcome::Status(status, beside) => {
                let judged = self.judge_status(n, status, beside.as_ref());
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
        beside: Option<&Beside>,
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
        if let Some(beside) = beside {
            self.judge_head(n, &beside.head, false)?;
        }
        self.mark_dialed(n, status)?;
        let call = &mut self.calls.borrow_mut()[n];
        let small_lists = self.scenario.has_small_lists(n);
        let same = |ended_with| app::same_status(ended_with, status, small_lists);
        let said = call.ended_with.as_ref().is_some_and(same);
        if !said {
            if status.is_ok() {
                let text = format!("its handler ended with {:?}", call.ended_with);
                return Err((Oracle::OneEnd, text));
            }
            let explained = self.explains(n, status, call);
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
        if let Some(Beside { head, trailers }) = beside {
            if !app::same_metadata(&sent, trailers) {
                return Err((Oracle::Prefix, format!("its trailers are {trailers:?}")));
            }
            self.judge_head(n, head, true)?;
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

    /// The head of an answer: as it was sent, or empty if it need not have `come`.
    pub(super) fn judge_head(
        &self,
        n: usize,
        head: &Metadata,
        came: bool,
    ) -> Result<(), (Oracle, String)> {
        let sent = app::head_metadata(&self.scenario.calls[n], n);
        match app::same_metadata(&sent, head) || (head.is_empty() && !came) {
            true => Ok(()),
            false => Err((Oracle::Prefix, format!("the head of call {n} has {head:?}"))),
        }
    }

    /// A status that the handler did not give: something must explain it.
    fn explains(&self, n: usize, status: &Status, call: &CallState) -> Result<(), String> {
        let plan = &self.scenario.calls[n];
        let link = usize::from(plan.link);
        let state = &self.links.borrow()[link];
        let disturbed = state.blamed.covers(call.connection) || self.scenario.is_restless(link);
        let is_late = call.deadline.is_some_and(|deadline| app::is_near(deadline, self.now()));
        let explained = match status.code() {
            Code::DeadlineExceeded => {
                self.reach(Mark::ServiceDeadline);
                is_late
            }
            Code::Unavailable => {
                self.reach(Mark::ServiceUnavailable);
                disturbed
                    || state.refused >= call.connection
                    || state.leaving.covers(call.connection)
                    || self.was_refused(link, status, call)
            }
            Code::ResourceExhausted => {
                self.reach(Mark::ServiceTooLarge);
                if status.message().ends_with("limit when decompressed") {
                    self.reach(Mark::Bomb);
                }
                self.sends_too_much(n)
                    || self.has_large_message(n)
                    || self.scenario.has_small_lists(n)
                    || disturbed
                    || self.scenario.is_slow(link)
            }
            // A client that may not send one of its messages drops its sending half.
            Code::Cancelled => is_late || disturbed || self.sends_too_much(n),
            Code::Internal => plan.ending == Ending::Abandon,
            _ => false,
        };
        match explained {
            true => Ok(()),
            false => Err("nothing explains it".into()),
        }
    }

    /// Whether the server may have refused a call unseen: one beyond its limit of streams, before the client knew of that.
    fn was_refused(&self, link: usize, status: &Status, call: &CallState) -> bool {
        let server = usize::from(self.scenario.links[link].server);
        let limited = self.scenario.servers[server].contains_key(&Knob::MaxConcurrentStreams);
        // Each call may have its handler make another one.
        let many = self.scenario.calls.len() > 45;
        let refused = Reason::Reset(ErrorCode::REFUSED_STREAM).to_status();
        *status == refused && !call.seen && (limited || many)
    }

    /// The largest request and response, and the limits of the client and the server.
    fn largest(&self, n: usize) -> ([u32; 2], [Limits; 2]) {
        let plan = &self.scenario.calls[n];
        let link = &self.scenario.links[usize::from(plan.link)];
        let client = limits_of(&self.scenario.clients[usize::from(link.client)]);
        let server = limits_of(&self.scenario.servers[usize::from(link.server)]);
        let largest = |lens: &[u32]| lens.iter().copied().max().unwrap_or(0) + BESIDE;
        ([largest(&plan.requests_sent()), largest(&plan.responses)], [client, server])
    }

    fn has_large_message(&self, n: usize) -> bool {
        let ([request, response], [client, server]) = self.largest(n);
        request > server.max_receive_message || response > client.max_receive_message
    }

    fn sends_too_much(&self, n: usize) -> bool {
        let ([request, response], [client, server]) = self.largest(n);
        let too_much = request > client.max_send_message || response > server.max_send_message;
        if too_much {
            self.reach(Mark::ServiceSendTooLarge);
        }
        too_much
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
