//! What time does to a connection: timers that fire, and waits that begin and end.

use super::timers::Timer;
use super::{ConnectionError, Session, TimedOut, ending};
use crate::http2::error_code::ErrorCode;
use crate::http2::stream::Turn;
use crate::http2::violation::Violation;
use crate::time::Instant;

/// Bytes that make progress, within one timeout: a peer that opens its window, or sends a message, byte by byte does not
/// keep what it occupies for ever. A window of five octets at a round trip of two seconds is still faster than that.
pub(super) const LEAST_PROGRESS: u32 = 128;

/// What ends the connection when its timer fires, in the order in which they are looked at.
const TIMEOUTS: [(Timer, TimedOut, ErrorCode); 7] = [
    (Timer::Preface, TimedOut::Preface, ErrorCode::PROTOCOL_ERROR),
    (Timer::Settings, TimedOut::Settings, ErrorCode::SETTINGS_TIMEOUT),
    (Timer::SettingsAck, TimedOut::SettingsAck, ErrorCode::SETTINGS_TIMEOUT),
    (Timer::PingAck, TimedOut::Keepalive, ErrorCode::NO_ERROR),
    (Timer::Window, TimedOut::Window, ErrorCode::ENHANCE_YOUR_CALM),
    (Timer::Backlog, TimedOut::Backlog, ErrorCode::ENHANCE_YOUR_CALM),
    (Timer::Drain, TimedOut::Drain, ErrorCode::NO_ERROR),
];

impl Session {
    /// When [`Session::poll`] should be called without input, if nothing comes before. That may be early,
    /// when a call has ended before its deadline: the poll then finds nothing, and this moves on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ending.is_over() {
            return None;
        }
        let at = self.deadlines.earliest().min(self.timers.next());
        (at != Instant::NEVER).then_some(at)
    }

    /// Runs whatever timers are due.
    #[inline]
    pub(super) fn run_timers(&mut self, read: bool, now: Instant) {
        self.timers.set_now(now);
        if read {
            self.timers.on_read(now);
        }
        if self.timers.became_idle() {
            self.start_idling(now);
        }
        if self.timers.take_refused_writer() {
            self.time_refused(now);
        }
        // Where output must be pulled before anything is read, there is nothing to be hoped for.
        if now >= self.timers.next() && (self.is_backlogged() || !self.timers.read_first(now)) {
            self.fire(now);
        }
    }

    /// Writers that were refused because their streams have no window wait for the peer from now on.
    #[cold]
    fn time_refused(&mut self, now: Instant) {
        for (_, stream) in self.streams.iter_mut() {
            let waits = stream.wants_room && stream.queue.is_empty();
            if waits && !stream.has_window() && stream.stalled_since == Instant::NEVER {
                stream.stalled_since = now;
            }
        }
        self.timers.set_by(Timer::Stall, now + self.limits.send_stall_timeout);
    }

    /// Output waits to be pulled, or input for that, and a transport whose peer takes nothing does not let it happen. The
    /// windows of HTTP/2 do not tell: the peer may have opened them all and closed that of TCP (CVE-2019-9517), and two
    /// ends that both write before they read would wait for each other.
    #[inline]
    pub(super) fn note_backlog(&mut self, now: Instant) {
        self.timers.set(Timer::Backlog, now + self.limits.send_stall_timeout);
    }

    /// The peer's system has acknowledged output that was pulled before and is still being written: the peer takes what
    /// we send, however long the write lasts. The wait for the next pull begins anew.
    pub fn note_delivery(&mut self, now: Instant) {
        if self.timers.is_set(Timer::Backlog) {
            self.timers.on_pull();
            self.note_backlog(now);
        }
    }

    /// The connection's window is closed: DATA that waits for it does not wait for ever.
    #[cold]
    pub(super) fn note_closed_window(&mut self, now: Instant) {
        if self.schedule.with_data() == 0 {
            self.timers.clear(Timer::Window);
        } else if !self.timers.is_set(Timer::Window) {
            let due = now + self.limits.send_stall_timeout;
            self.timers.await_window(due, self.stats.data_sent);
        }
    }

    /// The connection's window has grown: it is waited for no more, unless it grows byte by byte.
    pub(super) fn note_opened_window(&mut self) {
        let sent = self.stats.data_sent - self.timers.sent_before_window();
        if sent + u64::from(self.send_window.available()) >= u64::from(LEAST_PROGRESS) {
            self.timers.clear(Timer::Window);
        }
    }

    pub(super) fn start_idling(&mut self, now: Instant) {
        // A stream that is opened in between takes the mark back.
        debug_assert_eq!(self.streams.occupied(), 0);
        let trim = now + self.limits.trim_after;
        self.timers.start_idling(trim, self.limits.max_idle.map(|span| now + span));
    }

    /// Something came for a stream that is gone: on an idle connection its memory goes again too.
    #[cold]
    pub(super) fn trim_again(&mut self, now: Instant) {
        if self.streams.occupied() == 0 {
            self.timers.set(Timer::Trim, now + self.limits.trim_after);
        }
    }

    #[cold]
    fn fire(&mut self, now: Instant) {
        if self.ending.is_over() {
            self.timers.stop();
            return;
        }
        self.timers.begin_firing(now);
        for (timer, what, code) in TIMEOUTS {
            if self.timers.is_due(timer, now) {
                self.fail_with(ConnectionError::TimedOut(what), code, what.as_str());
                return;
            }
        }
        if self.timers.is_due(Timer::SettingsHold, now) {
            self.end_hold(now);
        }
        if self.timers.is_due(Timer::Trim, now) {
            self.timers.clear(Timer::Trim);
            self.trim();
        }
        if self.timers.is_due(Timer::DrainPing, now) {
            // A peer that answers no PING has had a round trip's time all the same.
            self.send_last_goaway();
        }
        if self.timers.is_due(Timer::Idle, now) || self.timers.is_due(Timer::Age, now) {
            let reason = if self.timers.is_due(Timer::Age, now) {
                ending::MAX_AGE
            } else {
                ending::MAX_IDLE
            };
            self.timers.clear(Timer::Idle);
            self.timers.clear(Timer::Age);
            self.drain(reason, now);
        }
        if self.timers.is_due(Timer::Keepalive, now) {
            self.keep_alive(now);
        }
        if self.timers.is_due(Timer::Stall, now) {
            self.end_stalled(now);
        }
        self.timers.settle();
    }

    /// Ends the streams that have made no progress for too long, and finds the next that may.
    fn end_stalled(&mut self, now: Instant) {
        self.timers.clear(Timer::Stall);
        // The connection serves one stream after the other: what is progress of one, of it is that times those that wait.
        let (sent, round) =
            (self.stats.data_sent as u32, self.schedule.with_data().saturating_mul(LEAST_PROGRESS));
        for slot in 0..self.streams.slots() {
            let stream = &mut self.streams[slot];
            if !stream.occupied || stream.state().is_closed() {
                continue;
            }
            if stream.stalled_since != Instant::NEVER
                && stream.turn == Turn::RoundRobin
                && stream.send.available() > 0
                && sent.wrapping_sub(stream.sent_before) >= round
            {
                // Its own window is open, and the connection's has only to come round to it.
                (stream.stalled_since, stream.sent_since, stream.sent_before) = (now, 0, sent);
            }
            let send_due = stream.stalled_since + self.limits.send_stall_timeout;
            // Behind a closed window the peer cannot go on; the time begins anew when we open it.
            let receive_due = match stream.recv.window() {
                ..=0 => Instant::NEVER,
                _ => stream.receiving_since + self.limits.progress_timeout,
            };
            if stream.stalled_since != Instant::NEVER && send_due <= now {
                self.violate(slot, Violation::SendStalled);
            } else if receive_due != Instant::NEVER && receive_due <= now {
                self.violate(slot, Violation::ReceiveStalled);
            } else {
                self.timers.set_by(Timer::Stall, send_due.min(receive_due));
            }
        }
    }
}
