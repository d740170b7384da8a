//! The timers of a connection, and what happens when they fire.

use core::time::Duration;

use super::{ConnectionError, Session, Side, TimedOut, ending};
use crate::config::Limits;
use crate::http2::error_code::ErrorCode;
use crate::http2::stream::Turn;
use crate::http2::violation::Violation;
use crate::planted::{self, Bug};
use crate::time::{Instant, saturating_nanos};

/// Least keepalive time of a client (gRFC A8).
const LEAST_KEEPALIVE: Duration = Duration::from_secs(10);

/// Whoever wakes late has this long to read what came meanwhile before anybody is given up for it. Not longer, or a peer
/// that sends without a pause would never be timed out.
const READ_FIRST: Duration = Duration::from_secs(1);

/// A tick of the usual timers: whoever keeps input that it cannot take yet is not woken all the time.
const A_LITTLE: Duration = Duration::from_millis(1);

/// Bytes that make progress, within one timeout: a peer that opens its window, or sends a message, byte by byte does not
/// keep what it occupies for ever. A window of five octets at a round trip of two seconds is still faster than that.
pub(super) const LEAST_PROGRESS: u32 = 128;

/// When each timer fires; [`Instant::NEVER`] is off.
#[derive(Debug)]
pub(super) struct Timers {
    /// End of the wait of a server's SETTINGS for the client's first bytes.
    pub(super) hold: Instant,
    pub(super) preface: Instant,
    pub(super) settings: Instant,
    pub(super) settings_ack: Instant,
    pub(super) idle: Instant,
    pub(super) age: Instant,
    pub(super) keepalive: Instant,
    pub(super) ping_ack: Instant,
    pub(super) drain: Instant,
    /// End of the wait for the answer to the drain's PING.
    pub(super) drain_ping: Instant,
    /// End of the wait for the connection's window, while output waits for it.
    pub(super) window: Instant,
    /// What had been sent when that wait began.
    pub(super) window_since: u64,
    /// End of the wait for a pull, while there is output or input is left for want of one.
    pub(super) backlog: Instant,
    /// That wait was over when we woke late, and goes on for a moment.
    backlog_put_off: bool,
    pub(super) trim: Instant,
    /// When the first stalled stream may be due.
    pub(super) stall: Instant,
    /// The last byte read.
    pub(super) last_read: Instant,
    /// Timers have been due since, and input was read first.
    late_since: Instant,
    /// The last moment that we were told of.
    pub(super) seen: Instant,
    /// A write was refused for want of a window since then: its time is to be taken.
    pub(super) refused: bool,
    /// The connection has become idle and `idle` and `trim` are to be set at the next `now`.
    pub(super) just_idle: bool,
    pub(super) keepalive_span: Option<Duration>,
    /// No timer fires before this.
    next: Instant,
}

/// What a connection begins with as its time between input and PING.
pub(super) fn first_keepalive(side: Side, limits: &Limits) -> Option<Duration> {
    match side {
        Side::Client => limits.keepalive.map(|span| span.max(LEAST_KEEPALIVE)),
        Side::Server => Some(limits.keepalive.unwrap_or(Duration::from_secs(7200))),
    }
}

impl Timers {
    pub(super) fn new(side: Side, limits: &Limits, entropy: u64, now: Instant) -> Self {
        let after = |span: Option<Duration>| span.map_or(Instant::NEVER, |span| now + span);
        // ±10 % keeps connections that were opened together from closing together.
        let jittered = |span: Duration| {
            let nanos = saturating_nanos(span);
            let tenth = nanos / 10;
            Duration::from_nanos((nanos - tenth).saturating_add(mix(entropy) % (2 * tenth).max(1)))
        };
        let keepalive_span = first_keepalive(side, limits);
        let held = side == Side::Server && !limits.settings_hold.is_zero();
        let mut timers = Timers {
            hold: after(held.then_some(limits.settings_hold)),
            preface: if side == Side::Server {
                now + limits.preface_timeout
            } else {
                Instant::NEVER
            },
            settings: match side {
                // Counted from the preface on.
                Side::Server => Instant::NEVER,
                Side::Client => now + limits.settings_timeout,
            },
            // Counted from when they are sent.
            settings_ack: after((!held).then_some(limits.settings_ack_timeout)),
            idle: after(limits.max_idle),
            age: after(limits.max_age.map(jittered)),
            keepalive: after(keepalive_span),
            ping_ack: Instant::NEVER,
            drain: Instant::NEVER,
            drain_ping: Instant::NEVER,
            window: Instant::NEVER,
            window_since: 0,
            backlog: Instant::NEVER,
            backlog_put_off: false,
            trim: Instant::NEVER,
            stall: Instant::NEVER,
            last_read: now,
            late_since: Instant::NEVER,
            seen: now,
            refused: false,
            just_idle: false,
            keepalive_span,
            next: now,
        };
        timers.settle();
        timers
    }

    fn settle(&mut self) {
        self.next = [
            self.hold,
            self.preface,
            self.settings,
            self.settings_ack,
            self.idle,
            self.age,
            self.keepalive,
            self.ping_ack,
            self.drain,
            self.drain_ping,
            self.window,
            self.backlog,
            self.trim,
            self.stall,
        ]
        .into_iter()
        .fold(Instant::NEVER, Ord::min);
    }

    /// Puts timers that are due off a little if something has come at this moment: the rest of it may be what they wait
    /// for. Returns whether they are.
    #[cold]
    fn read_first(&mut self, now: Instant) -> bool {
        if self.late_since == Instant::NEVER {
            self.late_since = now;
        }
        let put_off = self.last_read == now && now - self.late_since < READ_FIRST;
        if put_off {
            self.next = now + A_LITTLE;
        }
        put_off
    }

    /// Output was pulled: whoever has some to write is not held up by the peer.
    #[inline]
    pub(super) fn pulled(&mut self) {
        (self.backlog, self.backlog_put_off) = (Instant::NEVER, false);
    }

    /// Whoever wakes late could not pull meanwhile, and has a moment to do so.
    fn pull_first(&mut self, now: Instant) {
        let woken = now.min(self.late_since);
        if self.backlog + A_LITTLE < woken && !self.backlog_put_off {
            (self.backlog, self.backlog_put_off) = (now + READ_FIRST, true);
        }
    }

    /// Notes that a timer was set to `at`, or earlier than it was.
    fn no_later_than(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    /// A stalled stream may be due at `at`.
    pub(super) fn sweep_by(&mut self, at: Instant) {
        self.stall = self.stall.min(at);
        self.no_later_than(at);
    }

    /// Our SETTINGS are held back no more; their acknowledgement is waited for from now on.
    #[cold]
    pub(super) fn settings_released(&mut self, limits: &Limits, now: Instant) {
        self.hold = Instant::NEVER;
        self.settings_ack = now + limits.settings_ack_timeout;
        self.settle();
    }

    /// The client's preface is there; its SETTINGS are waited for from now on.
    #[cold]
    pub(super) fn preface_came(&mut self, limits: &Limits, now: Instant) {
        self.preface = Instant::NEVER;
        self.settings = now + limits.settings_timeout;
        self.settle();
    }

    /// The first stream of an idle connection has been opened.
    pub(super) fn busy(&mut self, now: Instant) {
        self.just_idle = false;
        (self.idle, self.trim) = (Instant::NEVER, Instant::NEVER);
        if self.keepalive == Instant::NEVER
            && let Some(span) = self.keepalive_span
        {
            // Keepalive of a client rests while there are no calls.
            self.keepalive = now + span;
            self.no_later_than(self.keepalive);
        }
    }

    /// The last stream is gone.
    pub(super) fn idle(&mut self) {
        self.just_idle = true;
    }

    pub(super) fn drain_ping_by(&mut self, at: Instant) {
        self.drain_ping = at;
        self.no_later_than(at);
    }

    pub(super) fn drain_by(&mut self, at: Instant) {
        self.drain = at;
        self.no_later_than(at);
    }
}

/// Spreads what little entropy the caller gave over all bits (splitmix64).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Session {
    /// When [`Session::poll`] should be called without input, if nothing comes before. That may be early,
    /// when a call has ended before its deadline: the poll then finds nothing, and this moves on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ending.is_over() {
            return None;
        }
        let at = self.deadlines.earliest().min(self.timers.next);
        (at != Instant::NEVER).then_some(at)
    }

    /// Runs whatever timers are due.
    #[inline]
    pub(super) fn run_timers(&mut self, read: bool, now: Instant) {
        self.timers.seen = now;
        if read {
            self.timers.last_read = now;
        }
        if self.timers.just_idle {
            self.start_idling(now);
        }
        if self.timers.refused {
            self.time_refused(now);
        }
        // Where output must be pulled before anything is read, there is nothing to be hoped for.
        if now >= self.timers.next && (self.is_backlogged() || !self.timers.read_first(now)) {
            self.fire(now);
        }
    }

    /// Writers that were refused because their streams have no window wait for the peer from now on.
    #[cold]
    fn time_refused(&mut self, now: Instant) {
        self.timers.refused = false;
        for (_, stream) in self.streams.iter_mut() {
            let waits = stream.wants_room && stream.queue.is_empty();
            if waits && !stream.has_window() && stream.stalled_since == Instant::NEVER {
                stream.stalled_since = now;
            }
        }
        self.timers.sweep_by(now + self.limits.send_stall_timeout);
    }

    /// Output waits to be pulled, or input for that, and a transport whose peer takes nothing does not let it happen. The
    /// windows of HTTP/2 do not tell: the peer may have opened them all and closed that of TCP (CVE-2019-9517), and two
    /// ends that both write before they read would wait for each other.
    #[inline]
    pub(super) fn note_backlog(&mut self, now: Instant) {
        self.timers.backlog = now + self.limits.send_stall_timeout;
        self.timers.no_later_than(self.timers.backlog);
    }

    /// The peer's system has acknowledged output that was pulled before and is still being written: the peer takes what
    /// we send, however long the write lasts. The wait for the next pull begins anew.
    pub fn note_delivery(&mut self, now: Instant) {
        if self.timers.backlog != Instant::NEVER {
            self.timers.pulled();
            self.note_backlog(now);
        }
    }

    /// The connection's window is closed: DATA that waits for it does not wait for ever.
    #[cold]
    pub(super) fn note_closed_window(&mut self, now: Instant) {
        if self.schedule.with_data() == 0 {
            self.timers.window = Instant::NEVER;
        } else if self.timers.window == Instant::NEVER {
            self.timers.window = now + self.limits.send_stall_timeout;
            self.timers.window_since = self.stats.data_sent;
            self.timers.no_later_than(self.timers.window);
        }
    }

    /// The connection's window has grown: it is waited for no more, unless it grows byte by byte.
    pub(super) fn note_opened_window(&mut self) {
        let sent = self.stats.data_sent - self.timers.window_since;
        if sent + u64::from(self.send_window.available()) >= u64::from(LEAST_PROGRESS) {
            self.timers.window = Instant::NEVER;
        }
    }

    pub(super) fn start_idling(&mut self, now: Instant) {
        // A stream that is opened in between takes the mark back.
        debug_assert_eq!(self.streams.occupied(), 0);
        self.timers.just_idle = false;
        self.timers.trim = now + self.limits.trim_after;
        self.timers.no_later_than(self.timers.trim);
        let short = self.side == Side::Server && planted::is(Bug::IdleLeaves);
        if let Some(span) = self.limits.max_idle.or(short.then(|| Duration::from_millis(3))) {
            self.timers.idle = now + span;
            self.timers.no_later_than(self.timers.idle);
        }
    }

    /// Something came for a stream that is gone: on an idle connection its memory goes again too.
    #[cold]
    pub(super) fn trim_again(&mut self, now: Instant) {
        if self.streams.occupied() == 0 {
            self.timers.trim = now + self.limits.trim_after;
            self.timers.no_later_than(self.timers.trim);
        }
    }

    #[cold]
    fn fire(&mut self, now: Instant) {
        if self.ending.is_over() {
            self.timers.next = Instant::NEVER;
            return;
        }
        self.timers.pull_first(now);
        self.timers.late_since = Instant::NEVER;
        let timed_out = [
            (self.timers.preface, TimedOut::Preface, ErrorCode::PROTOCOL_ERROR),
            (self.timers.settings, TimedOut::Settings, ErrorCode::SETTINGS_TIMEOUT),
            (self.timers.settings_ack, TimedOut::SettingsAck, ErrorCode::SETTINGS_TIMEOUT),
            (self.timers.ping_ack, TimedOut::Keepalive, ErrorCode::NO_ERROR),
            (self.timers.window, TimedOut::Window, ErrorCode::ENHANCE_YOUR_CALM),
            (self.timers.backlog, TimedOut::Backlog, ErrorCode::ENHANCE_YOUR_CALM),
            (self.timers.drain, TimedOut::Drain, ErrorCode::NO_ERROR),
        ];
        for (at, what, code) in timed_out {
            if at <= now {
                self.fail_with(ConnectionError::TimedOut(what), code, what.as_str());
                return;
            }
        }
        if self.timers.hold <= now {
            self.end_hold(now);
        }
        if self.timers.trim <= now {
            self.timers.trim = Instant::NEVER;
            self.trim();
        }
        if self.timers.drain_ping <= now {
            // A peer that answers no PING has had a round trip's time all the same.
            self.send_last_goaway();
        }
        if self.timers.idle <= now || self.timers.age <= now {
            let reason = if self.timers.age <= now { ending::MAX_AGE } else { ending::MAX_IDLE };
            self.timers.idle = Instant::NEVER;
            self.timers.age = Instant::NEVER;
            self.drain(reason, now);
        }
        if self.timers.keepalive <= now {
            self.keep_alive(now);
        }
        if self.timers.stall <= now {
            self.end_stalled(now);
        }
        self.timers.settle();
    }

    /// The time without input after which a PING goes out: that of the limits, 10 s at least, and twice as long for a
    /// client that was told `too_many_pings`.
    ///
    /// What was told holds for the next connection to that server as well (gRFC A8): begin it with this.
    pub fn keepalive(&self) -> Option<Duration> {
        self.timers.keepalive_span
    }

    fn keep_alive(&mut self, now: Instant) {
        let Some(span) = self.timers.keepalive_span else { return };
        if self.side == Side::Client
            && self.streams.occupied() == 0
            && !self.limits.keepalive_without_calls
        {
            self.timers.keepalive = Instant::NEVER;
            return;
        }
        if self.timers.ping_ack != Instant::NEVER {
            // One PING at a time: another one must not put off the end of the wait for the first. Its answer sets this.
            self.timers.keepalive = Instant::NEVER;
            return;
        }
        let due = self.timers.last_read + span;
        if due > now {
            self.timers.keepalive = due;
            return;
        }
        self.release_settings(now);
        let payload = self.keepalive_payload();
        self.control.ping(payload);
        self.timers.ping_ack = now + self.limits.keepalive_timeout;
        self.timers.keepalive = Instant::NEVER;
    }

    /// The PING of keepalive was answered: the next one is timed from here on, however long that took.
    pub(super) fn kept_alive(&mut self, now: Instant) {
        self.timers.ping_ack = Instant::NEVER;
        if let Some(span) = self.timers.keepalive_span {
            self.timers.keepalive = now + span;
            self.timers.no_later_than(self.timers.keepalive);
        }
    }

    /// Payload of keepalive PINGs, different from that of a drain.
    pub(super) fn keepalive_payload(&self) -> [u8; 8] {
        mix(self.entropy).to_be_bytes()
    }

    /// Payload of the PING that measures the round trip of a drain.
    pub(super) fn drain_payload(&self) -> [u8; 8] {
        (!mix(self.entropy)).to_be_bytes()
    }

    /// Ends the streams that have made no progress for too long, and finds the next that may.
    fn end_stalled(&mut self, now: Instant) {
        self.timers.stall = Instant::NEVER;
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
                self.timers.stall = self.timers.stall.min(send_due).min(receive_due);
            }
        }
    }

    /// Gives pooled memory back: an idle connection is small.
    fn trim(&mut self) {
        // The first stream that is opened switches the timer off.
        debug_assert_eq!(self.streams.occupied(), 0);
        self.streams.trim();
        self.deadlines.shrink();
        self.pool.shrink();
        self.schedule.trim();
        (self.credit, self.hungry) = Default::default();
        self.reader.trim();
        self.blocks.trim();
        self.control.trim();
        self.events.trim();
    }
}
