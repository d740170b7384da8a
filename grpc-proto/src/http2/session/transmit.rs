//! Frames out, made as late as possible: control frames, field blocks, then DATA in turns.

use super::lifecycle::Closing;
use super::schedule::QUANTUM;
use super::timeouts::LEAST_PROGRESS;
use super::timers::Timer;
use super::{Session, Side};
use crate::http2::error_code::ErrorCode;
use crate::http2::frame::{self, flag, kind};
use crate::http2::state::{Input, State};
use crate::http2::stream::{Pending, Turn};
use crate::time::Instant;
use crate::transmit::Transmit;

impl Session {
    /// Appends what is to be sent, about [`crate::Limits::transmit_budget`] bytes at most.
    ///
    /// Nothing appended means that nothing waits, or that it waits for the peer. Frames are made here
    /// and not before, so that a call that is cancelled in time costs no bytes.
    pub fn poll_transmit(&mut self, out: &mut Transmit, now: Instant) {
        self.timers.set_now(now);
        for buffer in out.take_spent() {
            // What was written late comes back to a connection that keeps nothing any more.
            if !self.is_trimmed() {
                self.pool.give(buffer);
            }
        }
        self.write_frames(out, now);
        if self.send_window.available() == 0 {
            self.note_closed_window(now);
        } else if self.timers.is_set(Timer::Window) {
            // A small increment was all that the output waited for.
            self.timers.clear(Timer::Window);
        }
        // The timers of an idle connection run from here, even if nothing is read for hours.
        if self.timers.became_idle() {
            self.start_idling(now);
        }
    }

    fn write_frames(&mut self, out: &mut Transmit, now: Instant) {
        let budget = out.len() + self.limits.transmit_budget as usize;
        self.guard.on_pull();
        self.timers.on_pull();
        if !self.control.is_empty() {
            self.control.pull(out.head());
        }
        if self.ending.is_over() {
            return;
        }
        self.put_credit(out, now);
        loop {
            if out.len() >= budget {
                if self.has_output() {
                    self.note_backlog(now);
                }
                break;
            }
            if self.schedule.is_burst_over() && self.serve_round_robin(out, now) {
                continue;
            }
            let before = out.len();
            // New streams and streams that have something new take turns, so that neither starves the other.
            let opened = self.open_next(now);
            if let Some(slot) = opened {
                self.serve(slot, out, now);
            }
            if let Some(slot) = self.schedule.pop_ready() {
                if self.streams[slot].turn == Turn::Ready {
                    self.serve(slot, out, now);
                }
            } else if opened.is_none() {
                if self.serve_round_robin(out, now) {
                    continue;
                }
                break;
            }
            self.schedule.add_to_burst(out.len() - before);
        }
        if self.owes_goaway() {
            self.ending.on_sent(0);
            frame::put_goaway(out.head(), 0, ErrorCode::NO_ERROR, self.ending.drain_reason());
        }
    }

    /// A turn of the next stream in the round robin; `false` if there is none, or no window for it.
    #[inline]
    fn serve_round_robin(&mut self, out: &mut Transmit, now: Instant) -> bool {
        self.schedule.end_burst();
        if self.send_window.available() == 0 {
            return false;
        }
        let Some((slot, has_data)) = self.schedule.pop_round_robin(&mut self.streams) else {
            return false;
        };
        if has_data {
            self.serve(slot, out, now);
        }
        true
    }

    /// Whether [`Session::poll_transmit`] is worth a call: `false` says that it would append nothing, and it is
    /// `false` after a call that has appended nothing.
    pub fn has_output(&self) -> bool {
        !self.control.is_empty()
            || !self.ending.is_over()
                && (self.schedule.has_ready()
                    || self.receive_budget.has_credit()
                    || (self.schedule.has_round_robin() && self.send_window.available() > 0)
                    || self.recv_window.has_credit(self.estimate.connection_window())
                    || self.may_sample()
                    || self.owes_goaway()
                    || (self.schedule.unopened() > 0 && self.may_open()))
    }

    /// WINDOW_UPDATE for the connection and for streams that have earned one.
    #[inline]
    fn put_credit(&mut self, out: &mut Transmit, now: Instant) {
        if self.estimate.is_due() {
            self.put_sample(out, now);
        }
        if let Some(credit) = self.recv_window.take_credit(self.estimate.connection_window()) {
            frame::put_window_update(out.head(), 0, credit);
        }
        while let Some(slot) = self.receive_budget.pop_credit() {
            let base = self.base_window();
            let Some(stream) = self.streams.slot_mut(slot) else { continue };
            stream.in_credit = false;
            // What is over for the application invites no more DATA.
            let was_closed = stream.recv.window() <= 0;
            if stream.occupied
                && !stream.reported
                && stream.state().can_receive()
                && let Some(credit) = stream.recv.take_credit(base.saturating_add(stream.reserved))
            {
                frame::put_window_update(out.head(), stream.id, credit);
                if was_closed {
                    self.note_reopened(slot, now);
                }
            }
        }
    }

    fn may_open(&self) -> bool {
        self.streams.may_open(self.peer.max_concurrent_streams) && self.ending.received().is_none()
    }

    /// Gives an identifier to the next stream that waits for the peer's limit, in the order of the calls.
    ///
    /// Its HEADERS must follow at once: a stream that has an identifier and is idle could not be reset.
    #[inline]
    fn open_next(&mut self, now: Instant) -> Option<u32> {
        if self.schedule.unopened() == 0 || !self.may_open() {
            return None;
        }
        let slot = self.schedule.pop_unopened()?;
        self.streams.assign_id(slot);
        if self.streams.ids_left() == 0 {
            self.shutdown(now);
        }
        self.send_budget.on_opened(&self.streams[slot]);
        Some(slot)
    }

    /// One turn of one stream: its reset, or its head, a quantum of DATA, and its end.
    fn serve(&mut self, slot: u32, out: &mut Transmit, now: Instant) {
        let stream = &mut self.streams[slot];
        stream.turn = Turn::None;
        let id = stream.id;
        if id == 0 {
            // Queued for the stream that had this slot before; this one waits for the peer's limit.
            return;
        }
        if let Some(code) = stream.reset.take() {
            self.stats.resets_sent += 1;
            frame::put_reset(out.head(), id, code);
            self.streams.on_left_wire();
            return self.vacate_if_done(slot);
        }
        if stream.state().is_closed() {
            return self.vacate_if_done(slot);
        }
        if stream.head.is_some() {
            let head = core::mem::take(&mut stream.head);
            // A request from a template half-closes with DATA.
            let from_template = matches!(head, Pending::Template { .. });
            let is_last = stream.ending && stream.queue.is_empty() && !stream.trailers.is_some();
            let end_stream = is_last && !from_template;
            // The stream may have waited long: the late field states what remains when the head leaves.
            let has_late_field = stream.late_until != Instant::NEVER;
            let time_left = has_late_field.then(|| stream.late_until - now);
            let max = self.peer.max_frame_size;
            self.blocks.put_head(out, id, head, time_left, end_stream, max);
            self.guard.on_sent();
            self.step(slot, Input::SendHeaders { end_stream });
            self.open_for_prefix(slot);
            self.wake_if_empty(slot);
        }
        self.put_data(slot, out, now);
        let stream = &mut self.streams[slot];
        if stream.ending && stream.queue.is_empty() && stream.state().can_send() {
            let trailers = core::mem::take(&mut stream.trailers);
            if trailers.is_some() {
                let max = self.peer.max_frame_size;
                self.blocks.put_head(out, id, trailers, None, true, max);
                self.step(slot, Input::SendHeaders { end_stream: true });
            } else {
                frame::put_header(out.head(), 0, kind::DATA, flag::END_STREAM, id);
                self.step(slot, Input::SendData { end_stream: true });
            }
        }
        let stream = &mut self.streams[slot];
        let is_over = stream.state() == State::HalfClosedLocal;
        if stream.released && self.side == Side::Server && is_over {
            // The answer is complete before the request is: the client may stop sending (RFC 9113 §8.1).
            return self.close_on_wire(slot, Closing::Reset(ErrorCode::NO_ERROR));
        }
        self.vacate_if_done(slot);
    }

    /// DATA of one stream, as far as both windows and the quantum go.
    fn put_data(&mut self, slot: u32, out: &mut Transmit, now: Instant) {
        let stream = &mut self.streams[slot];
        if stream.queue.is_empty() {
            return;
        }
        let mut quantum = QUANTUM;
        let mut sent_end = false;
        while quantum > 0 {
            let len = (stream.queue.len())
                .min(stream.send.available() as usize)
                .min(self.send_window.available() as usize)
                .min(self.peer.max_frame_size as usize)
                .min(quantum);
            if len == 0 {
                break;
            }
            sent_end = stream.ending && !stream.trailers.is_some() && len == stream.queue.len();
            let flags = if sent_end { flag::END_STREAM } else { 0 };
            frame::put_header(out.head(), len, kind::DATA, flags, stream.id);
            stream.queue.pull(len, out, &mut self.pool);
            stream.send.consume(len as u32);
            self.send_window.consume(len as u32);
            self.stats.data_sent += len as u64;
            self.stats.data_frames_sent += 1;
            quantum -= len;
        }
        if quantum < QUANTUM {
            self.guard.on_sent();
            stream.sent_since = stream.sent_since.saturating_add((QUANTUM - quantum) as u32);
        }
        self.send_budget.recount(stream);
        if stream.queue.is_empty() || stream.sent_since >= LEAST_PROGRESS {
            stream.stalled_since = Instant::NEVER;
        }
        if !stream.queue.is_empty() {
            if stream.send.available() > 0 {
                self.schedule.join_round_robin(slot, stream);
            }
            if (stream.send.available() == 0 || self.send_window.available() == 0)
                && stream.stalled_since == Instant::NEVER
            {
                stream.stalled_since = now;
                stream.sent_since = 0;
                stream.sent_before = self.stats.data_sent as u32;
                self.timers.set_by(Timer::Stall, now + self.limits.send_stall_timeout);
            }
        }
        // A turn in which nothing left has made no room: to say so would wake a writer in vain, and behind the last
        // look at the events of this turn.
        let left = quantum < QUANTUM;
        let room = left && stream.wants_room && self.send_budget.is_below_mark(stream);
        let has_reserve = stream.send_reserved > 0;
        if has_reserve {
            self.settle_send_budget(slot);
        }
        if room {
            let stream = &self.streams[slot];
            if stream.queue.is_empty() || self.send_budget.has_half_free(stream) {
                self.wake_writer(slot);
            }
        }
        if sent_end {
            self.step(slot, Input::SendData { end_stream: true });
        }
    }
}
