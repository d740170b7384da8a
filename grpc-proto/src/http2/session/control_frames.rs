//! Control frames that came in (RFC 9113 §6.4–§6.9).

use super::keepalive::first_keepalive;
use super::lifecycle::Closing;
use super::poll::Step;
use super::receive::Handled;
use super::timeouts::LEAST_PROGRESS;
use super::timers::Timer;
use super::{ResetReason, Session, Side};
use crate::http2::error_code::ErrorCode;
use crate::http2::state::Input;
use crate::http2::violation::Violation;
use crate::time::Instant;

impl Session {
    pub(super) fn on_reset(&mut self, id: u32, code: ErrorCode, now: Instant) -> Handled {
        self.stats.resets_received += 1;
        let Some(slot) = self.streams.find(id) else {
            self.reject(id, self.state_without_slot(id).next(Input::RecvReset), now)?;
            self.drop_reset(id);
            return Ok(None);
        };
        let opened_at = self.streams[slot].opened_at_pull;
        let is_counted = self.side == Side::Server && !self.guard.has_run(opened_at);
        if is_counted && !self.guard.take_reset(now) {
            return Err(Violation::TooManyResets);
        }
        let key = self.streams.key_of(slot);
        let needs_event = self.close_stream(slot, Closing::Received);
        Ok(needs_event.then(|| self.report_reset(key, ResetReason::Peer(code))))
    }

    /// A stream of which our own reset has not left yet was reset by its peer: after that nothing may be sent on it
    /// (RFC 9113 §6.4).
    fn drop_reset(&mut self, id: u32) {
        let Some(slot) = self.schedule.drop_reset(id, &mut self.streams) else { return };
        self.streams.on_left_wire();
        self.vacate_if_done(slot);
    }

    pub(super) fn on_window_update(&mut self, id: u32, increment: u32, now: Instant) -> Handled {
        self.stats.window_updates_received += 1;
        self.guard.on_window_update(&self.stats)?;
        if id == 0 {
            if increment == 0 {
                return Err(Violation::WindowUpdateOfZero);
            }
            if !self.send_window.open(increment) {
                return Err(Violation::WindowOverflow);
            }
            if self.timers.is_set(Timer::Window) {
                self.note_opened_window();
            }
            return Ok(None);
        }
        let Some(slot) = self.streams.find(id) else {
            let next = self.state_without_slot(id).next(Input::RecvWindowUpdate);
            self.reject(id, next, now)?;
            return Ok(None);
        };
        self.step(slot, Input::RecvWindowUpdate);
        let stream = &mut self.streams[slot];
        if increment == 0 {
            self.violate(slot, Violation::WindowUpdateOfZero);
        } else if !stream.send.open(increment) {
            self.violate(slot, Violation::WindowOverflow);
        } else {
            self.window_opened(slot);
        }
        Ok(None)
    }

    /// A stream's send window has grown: what waits goes on.
    fn window_opened(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        if stream.send.available() == 0 {
            return;
        }
        // Less than that is progress only once enough of it has been used.
        if stream.send.available() as usize >= stream.queue.len().min(LEAST_PROGRESS as usize) {
            stream.stalled_since = Instant::NEVER;
        }
        if stream.queue.is_empty() {
            // A message beyond the mark was refused because there was no window.
            self.wake_writer(slot);
        } else {
            self.make_ready(slot);
        }
    }

    pub(super) fn on_ping(&mut self, ack: bool, payload: &[u8], now: Instant) -> Handled {
        let payload: [u8; 8] = payload.first_chunk().copied().unwrap_or_default();
        if ack {
            if payload == self.drain_payload() && self.ending.is_draining() {
                self.send_last_goaway();
            } else if payload == self.keepalive_payload() {
                self.kept_alive(now);
            } else if self.estimate.is_out() && payload == self.sample_payload() {
                self.end_sample(now);
            }
            return Ok(None);
        }
        self.stats.pings_received += 1;
        if self.side == Side::Server {
            self.guard.on_ping(self.streams.occupied() > 0, &self.limits, now)?;
        }
        self.control.ack_ping(payload);
        Ok(None)
    }

    pub(super) fn on_settings_ack(&mut self) -> Handled {
        self.guard.on_settings_ack()?;
        self.timers.clear(Timer::SettingsAck);
        self.settings_bind();
        Ok(None)
    }

    /// Our SETTINGS hold for the peer from here on: what they made smaller than the default of RFC 9113
    /// could not be insisted on before (§6.5.3).
    fn settings_bind(&mut self) {
        self.blocks.set_max_table_size(self.limits.header_table_size);
        self.estimate.on_settled();
        let new = self.estimate.stream_window();
        let old = self.receive_budget.set_initial_window(new);
        if old != new {
            self.shift_windows(old, new);
        }
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE of ours has changed for all streams.
    pub(super) fn shift_windows(&mut self, old: u32, new: u32) {
        for slot in 0..self.streams.slots() {
            let stream = &mut self.streams[slot];
            // Streams that wait for an identifier too: they were given the window of before.
            if stream.occupied && !stream.state().is_closed() {
                let was_closed = stream.recv.window() <= 0;
                stream.recv.shift(old, new);
                // A message that was begun under the larger window may need credit to go on.
                self.queue_credit(slot);
                if was_closed {
                    self.note_reopened(slot, self.timers.now());
                }
            }
        }
    }

    pub(super) fn on_settings(&mut self, payload: &[u8]) -> Handled {
        let mut new = self.peer;
        if !self.reader.settings_received() {
            new.max_concurrent_streams = u32::MAX;
        }
        for entry in payload.chunks_exact(6) {
            let &[id0, id1, v0, v1, v2, v3] = entry else { continue };
            let id = u16::from_be_bytes([id0, id1]);
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            new.apply(id, value)?;
            if id == crate::http2::settings::id::ENABLE_PUSH
                && value == 1
                && self.side == Side::Client
            {
                return Err(Violation::EnablePushByServer);
            }
            if id == crate::http2::settings::id::HEADER_TABLE_SIZE {
                // Each value counts: a table that was made small and large again is empty (RFC 7541 §4.2).
                self.blocks.set_peer_max_table_size(value);
            }
        }
        let old = self.peer.initial_window_size;
        self.peer = new;
        self.reader.on_settings();
        self.timers.clear(Timer::Settings);
        self.control.ack_settings();
        if old != new.initial_window_size {
            for slot in 0..self.streams.slots() {
                let stream = &mut self.streams[slot];
                if !stream.occupied || stream.state().is_closed() {
                    continue;
                }
                if !stream.send.shift(old, new.initial_window_size) {
                    return Err(Violation::InitialWindowOverflow);
                }
                if self.streams[slot].id != 0 {
                    self.window_opened(slot);
                }
            }
        }
        Ok(None)
    }

    pub(super) fn on_goaway(&mut self, last: u32, code: ErrorCode, debug: &[u8]) -> Handled {
        let is_client = self.side == Side::Client;
        self.ending.on_goaway(last, code, debug, is_client)?;
        if is_client {
            self.events.want();
        }
        if code == ErrorCode::ENHANCE_YOUR_CALM && debug == b"too_many_pings" && is_client {
            // A client doubles its keepalive time after that (gRFC A8): once, however often the server says so.
            let span = first_keepalive(self.side, &self.limits);
            self.timers.set_keepalive(span.map(|span| span.saturating_mul(2)));
        }
        Ok(Some(Step::GoAway))
    }
}
