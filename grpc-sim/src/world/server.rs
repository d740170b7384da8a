//! The server's application: handlers that read, answer, end, or outlive their call.

use grpc_proto::http2::StreamView;
use grpc_proto::{
    CallKey, Instant, Message, Metadata, Payload, Reason, SendError, Server, Status, server,
};

use super::end::End;
use super::{Event, Side, US, World, app};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{Ending, Respond};

/// How long a handler that never ends by itself lives.
const NEVER: u64 = 40_000_000 * US;

impl World<'_> {
    pub(super) fn on_server_event(
        &mut self,
        ci: usize,
        end: &mut End<Server>,
        event: server::Event<'_>,
    ) {
        if self.conns[ci].attacker.is_some() {
            return self.serve_attacker(ci, end, event);
        }
        match event {
            server::Event::Request(key, head) => {
                let n = head.metadata.value(app::CALL);
                let n = n.and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
                let Some(n) = n.filter(|&n| n < self.calls.len()) else {
                    return self
                        .fail(Oracle::Prefix, format!("a request without a call: {head:?}"));
                };
                self.note_server(ci, n, 20, || format!("request {}", head.path()));
                let plan = &self.scenario.calls[n];
                if self.calls[n].seen || !end.enter(key, n) {
                    return self
                        .fail(Oracle::OneEnd, format!("the request of call {n} came twice"));
                }
                let sent = app::metadata(plan.metadata, n);
                let intact = head.path() == app::path(plan)
                    && head.authority() == "sim"
                    && self.has_deadline(n, head.deadline())
                    && head.encoding() == plan.send.encoding()
                    && app::same_metadata(&sent, &head.metadata);
                if !intact {
                    return self.fail(Oracle::Prefix, format!("call {n} came as {head:?}"));
                }
                let call = &mut self.calls[n];
                (call.seen, call.server_key) = (true, Some(key));
                end.conn.recycle_metadata(head.metadata);
                // What is to be compressed has its encoding in the head.
                if plan.headers || plan.send.encoding().is_some() {
                    self.calls[n].headers_sent = true;
                    let head = server::ResponseHead {
                        metadata: Some(&app::head_metadata(plan, n)),
                        encoding: plan.send.encoding(),
                        ..server::ResponseHead::default()
                    };
                    if let Err(error) = end.conn.respond(key, &head) {
                        self.fail(Oracle::OneEnd, format!("call {n} has no headers: {error}"));
                    }
                }
                if plan.ending == Ending::Never {
                    self.queue.after(NEVER, Event::GiveUp(n));
                }
                self.pump_server(end, n);
            }
            server::Event::Message(key, message) => {
                let Some(n) = self.server_call(end, key, "a message") else { return };
                self.on_server_message(ci, end, key, n, message);
            }
            server::Event::End(key) => {
                let Some(n) = self.server_call(end, key, "an end") else { return };
                self.note_server(ci, n, 21, || "end".into());
                if std::mem::replace(&mut self.calls[n].served_end, true) {
                    return self.fail(Oracle::OneEnd, format!("call {n} has two ends"));
                }
                let whole = self.calls[n].served == self.scenario.calls[n].requests.len();
                if !whole || !self.calls[n].half_closed {
                    let served = self.calls[n].served;
                    self.fail(Oracle::Prefix, format!("call {n} ended after {served} requests"));
                }
                self.pump_server(end, n);
            }
            server::Event::Cancelled(key, reason) => {
                let Some(n) = self.server_call(end, key, "a cancellation") else { return };
                self.on_cancelled(ci, end, key, n, &reason);
            }
            server::Event::Writable(key) => {
                let Some(n) = self.server_call(end, key, "room") else { return };
                self.note_server(ci, n, 22, || "writable".into());
                self.marks.reach(Mark::Writable);
                self.pump_server(end, n);
            }
            other => self.fail(Oracle::OneEnd, format!("an event of no known kind: {other:?}")),
        }
    }

    fn has_deadline(&self, n: usize, reported: Option<Instant>) -> bool {
        let call = &self.calls[n];
        app::same_deadline(
            Instant::from_nanos(call.started_ns),
            call.deadline,
            reported,
            self.now(),
        )
    }

    fn on_cancelled(
        &mut self,
        ci: usize,
        end: &mut End<Server>,
        key: CallKey,
        n: usize,
        reason: &Reason,
    ) {
        self.note_server(ci, n, 23, || format!("cancelled: {reason}"));
        self.marks.reach(Mark::HandlerCancelled);
        if let Reason::PeerMisbehaved(rule) = reason {
            self.marks.reach_rule(*rule);
        }
        if *reason == Reason::Deadline {
            self.marks.reach(Mark::DeadlineAtServer);
        }
        if std::mem::replace(&mut self.calls[n].server_cancelled, true) {
            self.fail(Oracle::OneEnd, format!("the handler of call {n} was cancelled twice"));
        }
        self.judge_cancelled(ci, n, reason);
        let sent = end.conn.send_encoded(key, bytes::Bytes::new(), false);
        if sent != Err(SendError::Ended) {
            let text = format!("the handler of call {n} sends after its end: {sent:?}");
            self.fail(Oracle::OneEnd, text);
        }
        match self.scenario.calls[n].hold_us {
            0 => self.let_go(end, n),
            hold => {
                self.marks.reach(Mark::HeldAfterCancel);
                self.queue.after(u64::from(hold) * US, Event::Release(n));
            }
        }
    }

    fn server_call(&mut self, end: &End<Server>, key: CallKey, what: &str) -> Option<usize> {
        let found = end.find(key).filter(|&n| !self.calls[n].server_cancelled);
        if found.is_none() {
            self.fail(Oracle::OneEnd, format!("{what} for a handler that is gone: {key:?}"));
        }
        found
    }

    fn on_server_message(
        &mut self,
        ci: usize,
        end: &mut End<Server>,
        key: CallKey,
        n: usize,
        message: Message<'_>,
    ) {
        let plan = &self.scenario.calls[n];
        let index = self.calls[n].served;
        let len = message.len();
        self.note_server(ci, n, 24, || format!("message {index} of {len} bytes"));
        let expected = plan.requests.get(index).map(|&len| app::message(n, true, index, len));
        if expected != Some(message.as_bytes())
            || index >= self.calls[n].sent
            || message.compressed != plan.send.encoding().is_some()
        {
            let text = format!("request {index} of call {n} has {len} bytes that were not sent");
            return self.fail(Oracle::Prefix, text);
        }
        self.mark_message(&message, self.server_configs_of(ci).stream_window);
        self.mark_padding_room(ci, end, key, message.wire_len());
        self.calls[n].served += 1;
        let wire = message.wire_len();
        match plan.server_think_us {
            0 => end.conn.grant(key, wire),
            think => {
                let grant = Event::Grant(ci, Side::Server, key, wire);
                self.queue.after(u64::from(think) * US, grant);
            }
        }
        if let Payload::Assembled(buf) = message.payload {
            end.conn.recycle(buf);
        }
        self.pump_server(end, n);
    }

    /// Marks a message that its window did not hold, and that has come before its reservation.
    fn mark_padding_room(&mut self, ci: usize, end: &End<Server>, key: CallKey, wire: u32) {
        if !self.conns[ci].waited.contains(&key.index()) {
            return;
        }
        let session = end.conn.session();
        let unbudgeted = |stream: StreamView| stream.index == key.index() && stream.budgeted == 0;
        if wire > session.stream_window() && session.streams().any(unbudgeted) {
            self.marks.reach(Mark::PaddingRoom);
        }
    }

    /// Sends what is due and there is room for, and ends the call when it is time.
    pub(super) fn pump_server(&mut self, end: &mut End<Server>, n: usize) {
        let plan = &self.scenario.calls[n];
        let Some(key) = self.calls[n].server_key else { return };
        if self.calls[n].server_cancelled {
            return;
        }
        let all = plan.responses.len();
        let most = end.conn.session().limits().max_send_message;
        let due = match plan.respond {
            Respond::AtOnce => all,
            _ if self.calls[n].served_end => all,
            Respond::AfterEnd => 0,
            Respond::PerRequest => self.calls[n].served.min(all),
        };
        while self.calls[n].served_sent < due {
            let sent = self.calls[n].served_sent;
            let message = app::message(n, false, sent, plan.responses[sent]);
            match app::send(&mut end.conn, key, plan.send, message) {
                Ok(()) if plan.responses[sent] > most => {
                    let text = format!("the handler of call {n} sends more than {most}");
                    return self.fail(Oracle::OneEnd, text);
                }
                Ok(()) => {
                    self.calls[n].served_sent += 1;
                    self.calls[n].served_blocked = false;
                }
                Err(SendError::Full) => {
                    self.calls[n].served_blocked = true;
                    return self.marks.reach(Mark::SendFull);
                }
                Err(SendError::TooLarge) if plan.responses[sent] > most => {
                    self.marks.reach(Mark::SendTooLarge);
                    self.calls[n].abandoned = true;
                    return self.let_go(end, n);
                }
                Err(error) => {
                    let text = format!("the handler of call {n} cannot send: {error}");
                    return self.fail(Oracle::OneEnd, text);
                }
            }
        }
        let ended = self.calls[n].served_end;
        let done = self.calls[n].served_sent == all;
        match plan.ending {
            Ending::AfterEnd if done && ended => self.finish(end, n),
            Ending::Early if done => self.finish(end, n),
            Ending::Abandon if done => {
                self.calls[n].abandoned = true;
                self.let_go(end, n);
            }
            _ => {}
        }
    }

    fn finish(&mut self, end: &mut End<Server>, n: usize) {
        let Some(key) = self.calls[n].server_key.take() else { return };
        let plan = &self.scenario.calls[n];
        end.leave(key);
        self.calls[n].finished = true;
        let trailers = app::metadata(plan.trailers, n);
        if let Err(error) = end.conn.finish(key, &app::status(plan, n), &trailers) {
            self.fail(Oracle::OneEnd, format!("the handler of call {n} cannot finish: {error}"));
        }
    }

    fn let_go(&mut self, end: &mut End<Server>, n: usize) {
        let Some(key) = self.calls[n].server_key.take() else { return };
        end.leave(key);
        end.conn.release(key);
    }

    pub(super) fn release_call(&mut self, n: usize) {
        self.with_server(n, |world, end| world.let_go(end, n));
    }

    /// A handler that never ends by itself has waited long enough.
    pub(super) fn give_up(&mut self, n: usize) {
        self.with_server(n, |world, end| {
            if !world.calls[n].server_cancelled {
                world.calls[n].abandoned = true;
            }
            world.let_go(end, n);
        });
    }

    /// Answers an attacker's well-formed requests with OK, and a call of `Stall` with a message that
    /// it does not let through.
    fn serve_attacker(&mut self, ci: usize, end: &mut End<Server>, event: server::Event<'_>) {
        let Some(attacker) = &mut self.conns[ci].attacker else { return };
        match event {
            server::Event::Request(key, head) if head.path() == "/sim.World/Stall" => {
                let hello = bytes::Bytes::from_static(b"hello");
                match end.conn.send_encoded(key, hello, false) {
                    Ok(()) => attacker.stalled = Some(key),
                    // With a tiny mark nothing is queued for a closed window, so nothing stalls.
                    Err(_) => attacker.expect_service(),
                }
            }
            server::Event::End(key) if attacker.stalled == Some(key) => {}
            server::Event::End(key) => {
                // What the attacker has reset meanwhile is released all the same.
                let _ = end.conn.finish(key, &Status::OK, &Metadata::new());
            }
            server::Event::Cancelled(key, reason) => {
                if let Reason::PeerMisbehaved(rule) = reason {
                    self.marks.reach_rule(rule);
                }
                end.conn.release(key);
            }
            _ => {}
        }
    }

    fn note_server(&mut self, ci: usize, n: usize, what: u64, text: impl FnOnce() -> String) {
        let now = self.now_ns();
        self.trace.note(now, Some((ci, Side::Server)), &[what, n as u64], || {
            format!("handler of call {n}: {}", text())
        });
    }
}
