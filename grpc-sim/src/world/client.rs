//! The client's application: starts calls, sends, reads, gives up, and checks what it is told.

use std::collections::BTreeSet;

use grpc_proto::http2::ErrorCode;
use grpc_proto::{
    CallHead, CallKey, Client, Code, Message, Payload, Processed, Reason, SendError, Violation,
    client,
};

use super::app::is_near;
use super::end::End;
use super::{Event, Side, US, World, app};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::CancelPlan;

/// Heads of requests that a client remembers.
const HEADS: usize = 8;
/// Calls of one connection that make a storm.
const STORM: u32 = 100;
/// Time after which a call that found no connection tries again.
const RETRY: u64 = 20_000 * US;

impl World<'_> {
    pub(super) fn start_call(&mut self, n: usize) {
        let plan = &self.scenario.calls[n];
        let now = self.now();
        let call = &mut self.calls[n];
        if call.is_over() {
            return;
        }
        if !call.waiting {
            call.waiting = true;
            call.started_ns = now.as_nanos();
            let span = plan.deadline_us.map(|us| std::time::Duration::from_micros(us.into()));
            call.deadline = span.map(|span| now + span);
            if let Some(CancelPlan::AfterUs(us)) = plan.cancel {
                self.queue.after(u64::from(us) * US, Event::Cancel(n));
            }
        }
        if let Some(deadline) = self.calls[n].deadline
            && deadline <= now
        {
            // The application's own check: nobody has heard of the call yet.
            self.marks.reach(Mark::DeadlineWhileWaiting);
            self.calls[n].outcome = Some(Code::DeadlineExceeded);
            return self.after_call(n);
        }
        let Some(ci) = self.connect(plan.link.into()) else {
            let retry = now.as_nanos() + RETRY;
            let deadline = self.calls[n].deadline.map_or(u64::MAX, |at| at.as_nanos());
            return self.queue.at(retry.min(deadline), Event::Start(n));
        };
        let Some(mut end) = self.conns[ci].client.take() else { return };
        let mut metadata = app::metadata(plan.metadata, n);
        metadata.append(app::CALL, &n.to_string()).expect("a valid entry");
        let path = app::path(plan);
        let mut head = CallHead::new(&path, "sim");
        head.metadata = Some(&metadata);
        head.encoding = plan.send.encoding();
        head.accept_encoding = plan.send.encoding();
        let awaited = self.heads_are_awaited(&end, n);
        match end.conn.call(&head, self.calls[n].deadline, now) {
            Ok(key) => {
                if awaited {
                    self.marks.reach(Mark::HeadsAwaited);
                }
                let call = &mut self.calls[n];
                (call.conn, call.client_key, call.waiting) = (Some(ci), Some(key), false);
                self.trace.call(now.as_nanos(), ci, n, true);
                if !end.enter(key, n) {
                    self.fail(Oracle::OneEnd, format!("call {n} was given a slot in use"));
                }
                self.pump_client(&mut end, n);
            }
            Err(SendError::TooManyCalls) => {
                self.marks.reach(Mark::TooManyCalls);
                self.queue.after(RETRY / 10, Event::Start(n));
            }
            Err(SendError::Closing) => {
                self.links[usize::from(plan.link)].current = None;
                self.queue.after(US, Event::Start(n));
            }
            Err(error) => self.fail(Oracle::OneEnd, format!("call {n} was not taken: {error}")),
        }
        self.conns[ci].client = Some(end);
        self.schedule_turn(ci, Side::Client);
    }

    /// Whether as many different heads wait to be sent as a client remembers, and that of call `n` is none of them.
    fn heads_are_awaited(&self, end: &End<Client>, n: usize) -> bool {
        let head_of =
            |n: usize| (self.scenario.calls[n].path, self.scenario.calls[n].send.encoding());
        if self.scenario.calls[n].path == 0 {
            return false;
        }
        let mut heads = BTreeSet::new();
        let waiting = end.conn.session().streams().filter(|stream| stream.id == 0);
        heads.extend(waiting.filter_map(|stream| end.at(stream.index)).map(head_of));
        heads.len() >= HEADS && !heads.contains(&head_of(n))
    }

    /// Sends as much as there is room for.
    pub(super) fn pump_client(&mut self, end: &mut End<Client>, n: usize) {
        let plan = &self.scenario.calls[n];
        let Some(key) = self.calls[n].client_key else { return };
        let most = end.conn.session().limits().max_send_message;
        while !self.calls[n].paced && self.calls[n].sent < plan.requests.len() {
            let sent = self.calls[n].sent;
            if plan.cancel == Some(CancelPlan::AfterSent(sent as u8)) {
                return self.cancel_call(end, n);
            }
            let message = app::message(n, true, sent, plan.requests[sent]);
            match app::send(&mut end.conn, key, plan.send, message) {
                Ok(()) if plan.requests[sent] > most => {
                    return self.fail(Oracle::OneEnd, format!("call {n} sends more than {most}"));
                }
                Ok(()) => {
                    self.calls[n].sent += 1;
                    self.calls[n].send_blocked = false;
                    if plan.pace_us > 0 {
                        self.calls[n].paced = true;
                        self.queue.after(u64::from(plan.pace_us) * US, Event::Pace(n));
                    }
                }
                Err(SendError::Full) => {
                    self.calls[n].send_blocked = true;
                    return self.marks.reach(Mark::SendFull);
                }
                Err(SendError::Ended) => return,
                Err(SendError::TooLarge) if plan.requests[sent] > most => {
                    self.marks.reach(Mark::SendTooLarge);
                    return self.cancel_call(end, n);
                }
                Err(error) => {
                    return self.fail(Oracle::OneEnd, format!("call {n} cannot send: {error}"));
                }
            }
        }
        if !self.calls[n].paced && !self.calls[n].half_closed {
            if plan.cancel == Some(CancelPlan::AfterSent(self.calls[n].sent as u8)) {
                return self.cancel_call(end, n);
            }
            self.calls[n].half_closed = true;
            match end.conn.end(key) {
                Ok(()) | Err(SendError::Ended) => {}
                Err(error) => self.fail(Oracle::OneEnd, format!("call {n} cannot end: {error}")),
            }
        }
    }

    pub(super) fn cancel_call(&mut self, end: &mut End<Client>, n: usize) {
        let Some(key) = self.calls[n].client_key else { return };
        if self.calls[n].is_over() {
            return;
        }
        self.marks.reach(Mark::Cancelled);
        if end.conn.session().streams().any(|stream| stream.index == key.index() && stream.id == 0)
        {
            self.marks.reach(Mark::QueuedCancelled);
        }
        if self.calls[n].got_headers
            && let Some(ci) = self.calls[n].conn
        {
            self.conns[ci].cancelled += 1;
            if self.conns[ci].cancelled >= STORM {
                self.marks.reach(Mark::CancelStorm);
            }
        }
        end.conn.cancel(key);
        end.leave(key);
        self.calls[n].cancelled = true;
        let (now, conn) = (self.now_ns(), self.calls[n].conn.unwrap_or_default());
        self.trace.call(now, conn, n, false);
        self.after_call(n);
        if end.conn.send_encoded(key, bytes::Bytes::new(), false) != Err(SendError::Ended) {
            self.fail(Oracle::OneEnd, format!("call {n} still sends after its cancellation"));
        }
    }

    /// A call is over at the client: those that waited for it begin.
    pub(super) fn after_call(&mut self, n: usize) {
        self.calls[n].client_key = None;
        for (next, plan) in self.scenario.calls.iter().enumerate().skip(n + 1) {
            if plan.after == Some(n as u16) {
                self.queue.after(u64::from(plan.at_us) * US, Event::Start(next));
            }
        }
    }

    /// The call behind a key that an event names; an event for a call that is over is a failure.
    fn client_call(&mut self, end: &End<Client>, key: CallKey, what: &str) -> Option<usize> {
        let found = end.find(key);
        if found.is_none() {
            self.fail(Oracle::OneEnd, format!("{what} for a call that is over: {key:?}"));
        }
        found
    }

    pub(super) fn on_client_event(
        &mut self,
        ci: usize,
        end: &mut End<Client>,
        event: client::Event<'_>,
    ) {
        if self.conns[ci].attacker.is_some() {
            return self.hear_attacker(ci, end, event);
        }
        match event {
            client::Event::Headers(key, metadata) => {
                let Some(n) = self.client_call(end, key, "headers") else { return };
                self.note_client(ci, n, 1, || "headers".into());
                if std::mem::replace(&mut self.calls[n].got_headers, true) {
                    self.fail(Oracle::OneEnd, format!("call {n} has two heads"));
                }
                let sent = app::head_metadata(&self.scenario.calls[n], n);
                if !app::same_metadata(&sent, &metadata) {
                    let text = format!("the head of call {n} has {metadata:?}");
                    self.fail(Oracle::Prefix, text);
                }
                end.conn.recycle_metadata(metadata);
                if self.scenario.calls[n].cancel == Some(CancelPlan::AfterMessages(0)) {
                    self.cancel_call(end, n);
                }
            }
            client::Event::Message(key, message) => {
                let Some(n) = self.client_call(end, key, "a message") else { return };
                self.on_client_message(ci, end, key, n, message);
            }
            client::Event::Status(key, outcome) => {
                let Some(n) = self.client_call(end, key, "a status") else { return };
                end.leave(key);
                self.on_status(ci, n, &outcome);
                end.conn.recycle_metadata(outcome.trailers);
            }
            client::Event::Writable(key) => {
                let Some(n) = self.client_call(end, key, "room") else { return };
                self.marks.reach(Mark::Writable);
                self.note_client(ci, n, 2, || "writable".into());
                self.pump_client(end, n);
            }
            client::Event::GoAway { last_stream, code } => {
                self.marks.reach(Mark::GoAway);
                let now = self.now_ns();
                self.trace.note(now, Some((ci, Side::Client)), &[3, last_stream.into()], || {
                    format!("GOAWAY {last_stream} {code}")
                });
                let conn = &self.conns[ci];
                if !conn.leaving && !conn.blamed && !self.is_restless(ci) {
                    let text = format!("connection {ci}: GOAWAY {code} without a cause");
                    self.fail(Oracle::OneEnd, text);
                }
                self.conns[ci].leaving = true;
            }
            other => self.fail(Oracle::OneEnd, format!("an event of no known kind: {other:?}")),
        }
    }

    fn on_client_message(
        &mut self,
        ci: usize,
        end: &mut End<Client>,
        key: CallKey,
        n: usize,
        message: Message<'_>,
    ) {
        let plan = &self.scenario.calls[n];
        let index = self.calls[n].received;
        let len = message.len();
        self.note_client(ci, n, 4, || format!("message {index} of {len} bytes"));
        let expected = plan.responses.get(index).map(|&len| app::message(n, false, index, len));
        if expected != Some(message.as_bytes())
            || index >= self.calls[n].served_sent
            || message.compressed != plan.send.encoding().is_some()
        {
            let text = format!("response {index} of call {n} has {len} bytes that were not sent");
            return self.fail(Oracle::Prefix, text);
        }
        self.mark_message(&message, self.client_configs_of(ci).stream_window);
        self.calls[n].received += 1;
        let wire = message.wire_len();
        match plan.client_think_us {
            0 => end.conn.grant(key, wire),
            think => {
                let grant = Event::Grant(ci, Side::Client, key, wire);
                self.queue.after(u64::from(think) * US, grant);
            }
        }
        if let Payload::Assembled(buf) = message.payload {
            end.conn.recycle(buf);
        }
        if plan.cancel == Some(CancelPlan::AfterMessages(index as u8 + 1)) {
            self.cancel_call(end, n);
        }
    }

    pub(super) fn mark_message(&mut self, message: &Message<'_>, window: u32) {
        self.marks.reach(match message.payload {
            Payload::Borrowed(_) => Mark::Borrowed,
            Payload::Assembled(_) => Mark::Assembled,
        });
        if message.is_empty() {
            self.marks.reach(Mark::EmptyMessage);
        }
        if message.wire_len() > window {
            self.marks.reach(Mark::LargeMessage);
        }
    }

    fn on_status(&mut self, ci: usize, n: usize, outcome: &client::Outcome) {
        let code = outcome.status.code();
        let reason = outcome.reason.clone();
        self.note_client(ci, n, 5 + code.number() as u64, || {
            format!("status {code:?} {:?} {reason:?}", outcome.status.message())
        });
        let now = self.now_ns();
        self.trace.call(now, ci, n, false);
        self.calls[n].outcome = Some(code);
        self.after_call(n);
        if code == Code::Unavailable {
            self.marks.reach(Mark::Unavailable);
        }
        if let Some(deadline) = self.calls[n].deadline
            && now > deadline.as_nanos().max(self.conns[ci].thaws)
        {
            let text = format!("call {n} was settled at {now} ns, after its deadline {deadline}");
            return self.fail(Oracle::Deadline, text);
        }
        match outcome.processed {
            Processed::No => self.marks.reach(Mark::NeverSent),
            Processed::Refused => self.marks.reach(Mark::Refused),
            Processed::Maybe => {}
        }
        if outcome.processed != Processed::Maybe && self.calls[n].seen {
            let text = format!("call {n} is said to be unseen, but its handler ran: {outcome:?}");
            return self.fail(Oracle::OneEnd, text);
        }
        match &outcome.reason {
            None => self.judge_status(n, outcome),
            Some(reason) => self.judge_reason(ci, n, reason, outcome.processed),
        }
    }

    /// A status that the server gave: its handler must have, with the same text and trailers.
    fn judge_status(&mut self, n: usize, outcome: &client::Outcome) {
        let plan = &self.scenario.calls[n];
        let call = &self.calls[n];
        let code = outcome.status.code();
        if call.finished {
            let expected = app::status(plan, n);
            let small_lists = self.scenario.has_small_lists(n);
            if !app::same_status(&expected, &outcome.status, small_lists) {
                let text = format!("call {n} ended with {:?}, sent {expected:?}", outcome.status);
                return self.fail(Oracle::OneEnd, text);
            }
            let trailers = app::metadata(plan.trailers, n);
            if !app::same_metadata(&trailers, &outcome.trailers) {
                let text = format!("call {n} has trailers {:?}", outcome.trailers);
                return self.fail(Oracle::Prefix, text);
            }
            if plan.headers && !call.got_headers {
                let text = format!("call {n} ended with a status, its head never came");
                return self.fail(Oracle::Prefix, text);
            }
            if call.received != call.served_sent || call.received != plan.responses.len() {
                let text = format!(
                    "call {n} ended with a status after {} of {} messages",
                    call.received, call.served_sent
                );
                return self.fail(Oracle::Prefix, text);
            }
            self.marks.reach(if code == Code::Ok { Mark::CallOk } else { Mark::CallFailed });
            if !call.got_headers {
                self.marks.reach(Mark::TrailersOnly);
            }
            return;
        }
        // The core's own answer to a request that it does not take.
        let is_near = call.deadline.is_some_and(|deadline| is_near(deadline, self.now()));
        let late = is_near && code == Code::DeadlineExceeded;
        let large = code == Code::ResourceExhausted && self.has_large_request(n);
        if !late && !large {
            let text = format!("call {n} ended with {:?}, no handler said so", outcome.status);
            self.fail(Oracle::OneEnd, text);
        }
        self.marks.reach(if late { Mark::DeadlineAtServer } else { Mark::TooLarge });
    }

    /// An end that is not the server's word: something must explain it.
    fn judge_reason(&mut self, ci: usize, n: usize, reason: &Reason, processed: Processed) {
        let plan = &self.scenario.calls[n];
        let call = &self.calls[n];
        let now = self.now();
        let gone = self.conns[ci].blamed || self.conns[ci].leaving;
        let slow = self.is_slow(ci);
        let explained = match reason {
            Reason::Deadline => {
                self.marks.reach(Mark::DeadlineAtClient);
                if processed == Processed::No {
                    self.marks.reach(Mark::QueuedDeadline);
                }
                self.conns[ci].late += 1;
                if self.conns[ci].late >= STORM {
                    self.marks.reach(Mark::DeadlineStorm);
                }
                call.deadline.is_some_and(|deadline| deadline <= now)
            }
            Reason::Reset(ErrorCode::CANCEL) => {
                // The server's deadline is rounded down to what `grpc-timeout` can say.
                call.abandoned || (call.deadline.is_some() && call.server_cancelled)
            }
            Reason::Reset(ErrorCode::NO_ERROR) => false,
            Reason::Reset(ErrorCode::REFUSED_STREAM) => self.may_refuse(ci),
            Reason::Reset(ErrorCode::ENHANCE_YOUR_CALM) => slow || self.scenario.has_small_lists(n),
            Reason::PeerMisbehaved(Violation::SendStalled | Violation::ReceiveStalled) => slow,
            Reason::PeerMisbehaved(Violation::FieldListTooLarge) => {
                self.scenario.has_small_lists(n)
            }
            Reason::Connection(_) | Reason::NeverSent(_) | Reason::GoAway(_) => {
                gone || slow || self.is_restless(ci)
            }
            Reason::MessageTooLarge => {
                self.marks.reach(Mark::TooLarge);
                let most = self.client_configs_of(ci).max_receive_message;
                plan.responses.iter().any(|&len| len > most)
            }
            _ => false,
        };
        if !explained {
            let text = format!("call {n} ended by {reason:?}, which nothing explains");
            self.fail(Oracle::OneEnd, text);
        }
    }

    fn note_client(&mut self, ci: usize, n: usize, what: u64, text: impl FnOnce() -> String) {
        let now = self.now_ns();
        self.trace.note(now, Some((ci, Side::Client)), &[what, n as u64], || {
            format!("call {n}: {}", text())
        });
    }
}
