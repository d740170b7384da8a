//! Keepalive, and the payloads that distinguish our PINGs.

use core::time::Duration;

use super::timers::{Timer, mix};
use super::{Session, Side};
use crate::config::Limits;
use crate::time::Instant;

/// Least keepalive time of a client (gRFC A8).
const LEAST_KEEPALIVE: Duration = Duration::from_secs(10);

/// What a connection begins with as its time between input and PING.
pub(super) fn first_keepalive(side: Side, limits: &Limits) -> Option<Duration> {
    match side {
        Side::Client => limits.keepalive.map(|span| span.max(LEAST_KEEPALIVE)),
        Side::Server => Some(limits.keepalive.unwrap_or(Duration::from_secs(7200))),
    }
}

impl Session {
    /// The time without input after which a PING goes out: that of the limits, 10 s at least, and twice as long for a
    /// client whose server has answered `too_many_pings`.
    ///
    /// That answer holds for the next connection to that server as well (gRFC A8): begin it with this.
    pub fn keepalive(&self) -> Option<Duration> {
        self.timers.keepalive()
    }

    pub(super) fn keep_alive(&mut self, now: Instant) {
        let Some(span) = self.timers.keepalive() else { return };
        if self.side == Side::Client
            && self.streams.occupied() == 0
            && !self.limits.keepalive_without_calls
        {
            self.timers.clear(Timer::Keepalive);
            return;
        }
        if self.timers.is_set(Timer::PingAck) {
            // One PING at a time: another one must not put off the end of the wait for the first. Its answer sets this.
            self.timers.clear(Timer::Keepalive);
            return;
        }
        let due = self.timers.last_read() + span;
        if due > now {
            self.timers.set(Timer::Keepalive, due);
            return;
        }
        self.release_settings(now);
        let payload = self.keepalive_payload();
        self.control.ping(payload);
        self.timers.set(Timer::PingAck, now + self.limits.keepalive_timeout);
        self.timers.clear(Timer::Keepalive);
    }

    /// The PING of keepalive was answered: the next one is timed from here on, however long that took.
    pub(super) fn kept_alive(&mut self, now: Instant) {
        self.timers.clear(Timer::PingAck);
        if let Some(span) = self.timers.keepalive() {
            self.timers.set(Timer::Keepalive, now + span);
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
}
