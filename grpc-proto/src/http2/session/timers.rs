//! The timers of a connection.

use core::time::Duration;

use super::Side;
use super::keepalive::first_keepalive;
use crate::config::Limits;
use crate::time::{Instant, saturating_nanos};

/// Grace after a late wake-up: pending input is read for up to this long before overdue timers fire. Not longer, or a peer
/// that sends without a pause would never be timed out.
const READ_FIRST: Duration = Duration::from_secs(1);

/// Overdue timers that were put off are tried again after this, not immediately: an application that keeps input that it
/// cannot take yet is not woken all the time.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The client's first bytes, while a server's SETTINGS are held back.
    SettingsHold,
    /// The client's preface.
    Preface,
    /// The peer's SETTINGS.
    Settings,
    /// The acknowledgement of ours.
    SettingsAck,
    /// A call, on a connection without any ([`Limits::max_idle`]).
    Idle,
    /// The end of [`Limits::max_age`].
    Age,
    /// The next PING of keepalive.
    Keepalive,
    /// The answer to it.
    PingAck,
    /// The calls that a drain has left.
    Drain,
    /// The answer to the drain's PING.
    DrainPing,
    /// The connection's window, while output waits for it.
    Window,
    /// A pull, while there is output, or input is left for want of one.
    Backlog,
    /// The moment to give memory back.
    Trim,
    /// The first stalled stream.
    Stall,
}

impl Timer {
    const COUNT: usize = Timer::Stall as usize + 1;
}

/// When each timer fires, and what else the passage of time decides.
#[derive(Debug)]
pub(super) struct Timers {
    /// By [`Timer`]; [`Instant::NEVER`] is off.
    due: [Instant; Timer::COUNT],
    /// No timer fires before this.
    next: Instant,
    /// The last moment that the caller has given.
    now: Instant,
    /// The last byte read.
    last_read: Instant,
    /// Timers have been due since, and input was read first.
    late_since: Instant,
    /// The wait for a pull was over when we woke late, and goes on for a moment.
    backlog_put_off: bool,
    /// The connection has become idle; `Idle` and `Trim` are to be set when the time is known.
    became_idle: bool,
    /// A write was refused because its stream has no window; its wait begins when the time is known.
    refused_writer: bool,
    /// What had been sent when the wait for the connection's window began.
    sent_before_window: u64,
    /// Time between input and PING.
    keepalive: Option<Duration>,
}

impl Timers {
    pub(super) fn new(side: Side, limits: &Limits, entropy: u64, now: Instant) -> Self {
        // ±10 % keeps connections that were opened together from closing together.
        let jittered = |span: Duration| {
            let nanos = saturating_nanos(span);
            let tenth = nanos / 10;
            Duration::from_nanos((nanos - tenth).saturating_add(mix(entropy) % (2 * tenth).max(1)))
        };
        let keepalive = first_keepalive(side, limits);
        let mut timers = Timers {
            due: [Instant::NEVER; Timer::COUNT],
            next: Instant::NEVER,
            now,
            last_read: now,
            late_since: Instant::NEVER,
            backlog_put_off: false,
            became_idle: false,
            refused_writer: false,
            sent_before_window: 0,
            keepalive,
        };
        let mut after = |timer, span: Option<Duration>| {
            if let Some(span) = span {
                timers.set(timer, now + span);
            }
        };
        let is_server = side == Side::Server;
        let is_held = is_server && !limits.settings_hold.is_zero();
        after(Timer::SettingsHold, is_held.then_some(limits.settings_hold));
        after(Timer::Preface, is_server.then_some(limits.preface_timeout));
        // A server counts the first from the preface on, and the other from when its SETTINGS are sent.
        after(Timer::Settings, (!is_server).then_some(limits.settings_timeout));
        after(Timer::SettingsAck, (!is_held).then_some(limits.settings_ack_timeout));
        after(Timer::Idle, limits.max_idle);
        after(Timer::Age, limits.max_age.map(jittered));
        after(Timer::Keepalive, keepalive);
        timers
    }

    /// Sets a timer, in the place of what it was set to.
    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.due[timer as usize] = at;
        self.next = self.next.min(at);
    }

    /// Sets a timer, unless it is set to an earlier time.
    #[inline]
    pub(super) fn set_by(&mut self, timer: Timer, at: Instant) {
        self.set(timer, at.min(self.due[timer as usize]));
    }

    /// Switches a timer off. [`next`](Self::next) may be early after that, until it is looked at.
    #[inline]
    pub(super) fn clear(&mut self, timer: Timer) {
        self.due[timer as usize] = Instant::NEVER;
    }

    #[inline]
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize] != Instant::NEVER
    }

    #[inline]
    pub(super) fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.due[timer as usize] <= now
    }

    /// No timer fires before this.
    #[inline]
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Finds the earliest timer.
    pub(super) fn settle(&mut self) {
        self.next = self.due.into_iter().fold(Instant::NEVER, Ord::min);
    }

    /// Switches all timers off: the connection is over.
    pub(super) fn stop(&mut self) {
        self.next = Instant::NEVER;
    }

    // --- The time ---

    /// The last moment that the caller has given.
    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    #[inline]
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Input has come.
    #[inline]
    pub(super) fn on_read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// When input came last.
    pub(super) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// Puts timers that are due off a little if something has come at this moment: the rest of it may be what they wait
    /// for. Returns whether they are.
    #[cold]
    pub(super) fn read_first(&mut self, now: Instant) -> bool {
        if self.late_since == Instant::NEVER {
            self.late_since = now;
        }
        let put_off = self.last_read == now && now - self.late_since < READ_FIRST;
        if put_off {
            self.next = now + RETRY_AFTER;
        }
        put_off
    }

    /// Overdue timers fire now, but for the wait for a pull, if we woke late: nothing could be pulled meanwhile, and there
    /// is a moment to do so.
    pub(super) fn begin_firing(&mut self, now: Instant) {
        let woken = now.min(self.late_since);
        let backlog = self.due[Timer::Backlog as usize];
        if backlog + RETRY_AFTER < woken && !self.backlog_put_off {
            self.set(Timer::Backlog, now + READ_FIRST);
            self.backlog_put_off = true;
        }
        self.late_since = Instant::NEVER;
    }

    // --- Single timers ---

    /// Output was pulled: the peer does not hold it up.
    #[inline]
    pub(super) fn on_pull(&mut self) {
        self.clear(Timer::Backlog);
        self.backlog_put_off = false;
    }

    /// DATA waits for the connection's window from now on; `sent` bytes have been sent.
    pub(super) fn await_window(&mut self, at: Instant, sent: u64) {
        self.set(Timer::Window, at);
        self.sent_before_window = sent;
    }

    /// What had been sent when the wait for the connection's window began.
    pub(super) fn sent_before_window(&self) -> u64 {
        self.sent_before_window
    }

    /// Our SETTINGS are held back no more; their acknowledgement is waited for from now on.
    #[cold]
    pub(super) fn on_settings_released(&mut self, limits: &Limits, now: Instant) {
        self.clear(Timer::SettingsHold);
        self.set(Timer::SettingsAck, now + limits.settings_ack_timeout);
        self.settle();
    }

    /// The client's preface is there; its SETTINGS are waited for from now on.
    #[cold]
    pub(super) fn on_preface(&mut self, limits: &Limits, now: Instant) {
        self.clear(Timer::Preface);
        self.set(Timer::Settings, now + limits.settings_timeout);
        self.settle();
    }

    /// The first stream of an idle connection has been opened.
    pub(super) fn on_busy(&mut self, now: Instant) {
        self.became_idle = false;
        self.clear(Timer::Idle);
        self.clear(Timer::Trim);
        if !self.is_set(Timer::Keepalive)
            && let Some(span) = self.keepalive
        {
            // Keepalive of a client rests while there are no calls.
            self.set(Timer::Keepalive, now + span);
        }
    }

    /// The last stream is gone.
    #[inline]
    pub(super) fn on_idle(&mut self) {
        self.became_idle = true;
    }

    /// Whether the connection has become idle since the time was last known.
    #[inline]
    pub(super) fn became_idle(&self) -> bool {
        self.became_idle
    }

    /// The connection is idle from now on: it gives its memory back at `trim`, and drains at `idle`.
    pub(super) fn start_idling(&mut self, trim: Instant, idle: Option<Instant>) {
        self.became_idle = false;
        self.set(Timer::Trim, trim);
        if let Some(at) = idle {
            self.set(Timer::Idle, at);
        }
    }

    /// A write was refused because its stream has no window. The time is unknown here, and the last known one may be long
    /// ago: the next poll records when the wait began.
    pub(super) fn on_refused_writer(&mut self, at: Instant) {
        self.refused_writer = true;
        self.set_by(Timer::Stall, at);
    }

    /// Whether a write was refused since this was asked last.
    #[inline]
    pub(super) fn take_refused_writer(&mut self) -> bool {
        core::mem::take(&mut self.refused_writer)
    }

    /// Time between input and PING.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    pub(super) fn set_keepalive(&mut self, span: Option<Duration>) {
        self.keepalive = span;
    }
}

/// Spreads what little entropy the caller gave over all bits (splitmix64).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jitter and payloads of PINGs come from it: the published first output of splitmix64 for the seed 0.
    #[test]
    fn entropy_is_spread_as_splitmix64_does() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_next_timer_is_early_at_most_until_it_is_looked_at() {
        let limits = Limits { keepalive: None, ..Limits::default() };
        let mut timers = Timers::new(Side::Client, &limits, 0, Instant::ZERO);
        assert_eq!(timers.next(), Instant::ZERO + limits.settings_timeout);
        timers.set(Timer::Drain, Instant::from_millis(5));
        timers.set_by(Timer::Drain, Instant::from_millis(7));
        assert!(timers.is_due(Timer::Drain, Instant::from_millis(5)));
        timers.clear(Timer::Drain);
        assert_eq!(timers.next(), Instant::from_millis(5));
        timers.settle();
        assert_eq!(timers.next(), Instant::ZERO + limits.settings_timeout);
    }
}
