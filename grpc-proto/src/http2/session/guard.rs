//! Counts of what a peer may do too often: requests between two pulls, empty DATA, resets, PING, WINDOW_UPDATE,
//! acknowledgements of SETTINGS.

use core::time::Duration;

use super::Stats;
use crate::config::Limits;
use crate::http2::bucket::TokenBucket;
use crate::http2::violation::Violation;
use crate::time::Instant;

/// PINGs that may come too soon before the connection ends (gRFC A8).
const PING_STRIKES: u32 = 2;
/// Least time between PINGs without any call (gRFC A8).
const IDLE_PING_INTERVAL: Duration = Duration::from_secs(7200);

/// What is counted of a peer, against its limits.
#[derive(Debug)]
pub(super) struct Guard {
    /// Requests accepted since output was last pulled.
    opens: u32,
    /// How often output was pulled while no input waited for that, modulo 2³²: a call that was opened before the last such
    /// pull has had its turn to run.
    pulls: u32,
    /// The last poll has left input, which waits for a pull.
    held_up: bool,
    /// DATA frames without payload since the last one with some.
    empty_data: u32,
    /// Resets that are still allowed.
    resets: TokenBucket,
    /// Resets that the peer provoked and that are still to be counted.
    violation_resets: u32,
    /// Since HEADERS or DATA were last sent: the first PING, and each that came too soon behind it.
    pings: u32,
    last_ping: Option<Instant>,
    /// SETTINGS of ours that the peer is still to acknowledge.
    unacked_settings: u32,
}

impl Guard {
    /// Of a new connection, whose first SETTINGS wait to be sent.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Guard {
            opens: 0,
            pulls: 0,
            held_up: false,
            empty_data: 0,
            resets: TokenBucket::new(limits.reset_burst, limits.reset_rate, now),
            violation_resets: 0,
            pings: 0,
            last_ping: None,
            unacked_settings: 1,
        }
    }

    /// A request was accepted; returns the count of pulls for [`has_run`](Self::has_run).
    #[inline]
    pub(super) fn on_request(&mut self) -> u32 {
        self.opens += 1;
        self.pulls
    }

    /// Whether output must be pulled before more requests are read.
    #[inline]
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.opens >= limits.opens_per_transmit
    }

    /// Input was read as far as it could be, and some is left or not.
    #[inline]
    pub(super) fn on_poll(&mut self, leaves_input: bool) {
        self.held_up = leaves_input;
    }

    /// Output is pulled.
    #[inline]
    pub(super) fn on_pull(&mut self) {
        // A pull that input waited for comes at the wish of the peer, in the middle of what it has sent: no turn to run.
        self.pulls = self.pulls.wrapping_add(u32::from(!self.held_up));
        self.opens = 0;
    }

    /// Whether the application has had its turn since a request was accepted, at this count of pulls: output was pulled
    /// since, and not while input of the peer (the reset, perhaps) waited for that.
    ///
    /// A reset after that is an ordinary cancellation (a deadline, a user who goes away) and takes no token. The work
    /// that it wastes is bounded otherwise: at most `opens_per_transmit` requests are received between two pulls, and
    /// each keeps its slot until its handler is gone.
    #[inline]
    pub(super) fn has_run(&self, opened_at_pull: u32) -> bool {
        opened_at_pull != self.pulls
    }

    /// Takes a token for a reset, the peer's or one that it has provoked; false if none is left.
    pub(super) fn take_reset(&mut self, now: Instant) -> bool {
        self.resets.take(now)
    }

    /// The peer has provoked a reset.
    pub(super) fn on_violation(&mut self) {
        self.violation_resets += 1;
    }

    /// Takes tokens for the resets that the peer provoked; false if there are too few.
    ///
    /// Resets that the peer provoked count like its own (CVE-2025-8671).
    #[inline]
    pub(super) fn count_violations(&mut self, now: Instant) -> bool {
        while self.violation_resets > 0 {
            self.violation_resets -= 1;
            if !self.take_reset(now) {
                return false;
            }
        }
        true
    }

    /// DATA has come, with `len` bytes of payload.
    #[inline]
    pub(super) fn on_data(
        &mut self,
        len: u32,
        end_stream: bool,
        limits: &Limits,
    ) -> Result<(), Violation> {
        if len > 0 {
            self.empty_data = 0;
        } else if !end_stream {
            self.empty_data += 1;
            if self.empty_data > limits.max_empty_data {
                return Err(Violation::TooManyEmptyData);
            }
        }
        Ok(())
    }

    /// A client's PING has come, which asks for an acknowledgement (gRFC A8).
    pub(super) fn on_ping(
        &mut self,
        has_calls: bool,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Violation> {
        let interval = match has_calls {
            true => limits.min_ping_interval,
            false => limits.min_ping_interval.max(IDLE_PING_INTERVAL),
        };
        if limits.min_ping_interval.is_zero() {
            // Enforcement is switched off.
        } else if self.pings == 0 {
            // A client that estimates its window asks as soon as something comes.
            self.pings = 1;
        } else if self.last_ping.is_some_and(|last| now < last + interval) {
            self.pings += 1;
            if self.pings > 1 + PING_STRIKES {
                return Err(Violation::TooManyPings);
            }
        }
        self.last_ping = Some(now);
        Ok(())
    }

    /// HEADERS or DATA are sent: PINGs are counted anew.
    #[inline]
    pub(super) fn on_sent(&mut self) {
        self.pings = 0;
    }

    /// WINDOW_UPDATE has come, and is in `stats`.
    #[inline]
    pub(super) fn on_window_update(&self, stats: &Stats) -> Result<(), Violation> {
        // A peer only owes WINDOW_UPDATE for bytes that we sent: 20 for each DATA frame, 2 for each stream, and 100.
        let allowed = 100 + 2 * (stats.streams_opened + 10 * stats.data_frames_sent);
        match stats.window_updates_received > allowed {
            true => Err(Violation::TooManyWindowUpdates),
            false => Ok(()),
        }
    }

    /// SETTINGS of ours are sent, after the first.
    pub(super) fn on_settings_sent(&mut self) {
        self.unacked_settings += 1;
    }

    /// The peer has acknowledged SETTINGS.
    pub(super) fn on_settings_ack(&mut self) -> Result<(), Violation> {
        match self.unacked_settings.checked_sub(1) {
            Some(left) => {
                self.unacked_settings = left;
                Ok(())
            }
            None => Err(Violation::UnexpectedSettingsAck),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limits: &Limits) -> Guard {
        Guard::new(limits, Instant::ZERO)
    }

    #[test]
    fn a_request_has_run_after_a_pull_that_no_input_waited_for() {
        let mut guard = guard(&Limits::default());
        let opened = guard.on_request();
        assert!(!guard.has_run(opened));
        guard.on_poll(true);
        guard.on_pull();
        assert!(!guard.has_run(opened), "the peer has more to say first");
        guard.on_poll(false);
        guard.on_pull();
        assert!(guard.has_run(opened));
    }

    #[test]
    fn requests_are_counted_from_pull_to_pull() {
        let limits = Limits { opens_per_transmit: 2, ..Limits::default() };
        let mut guard = guard(&limits);
        for _ in 0..3 {
            guard.on_request();
            assert!(!guard.is_full(&limits));
            guard.on_request();
            assert!(guard.is_full(&limits));
            guard.on_pull();
        }
    }

    #[test]
    fn provoked_resets_take_tokens_like_received_ones() {
        let limits = Limits { reset_burst: 3, reset_rate: 1, ..Limits::default() };
        let mut guard = guard(&limits);
        guard.on_violation();
        guard.on_violation();
        assert!(guard.count_violations(Instant::ZERO));
        assert!(guard.take_reset(Instant::ZERO));
        guard.on_violation();
        assert!(!guard.count_violations(Instant::ZERO));
        assert!(guard.count_violations(Instant::ZERO), "what was counted is not counted again");
    }

    #[test]
    fn the_first_settings_are_acknowledged_once() {
        let mut guard = guard(&Limits::default());
        assert_eq!(guard.on_settings_ack(), Ok(()));
        assert_eq!(guard.on_settings_ack(), Err(Violation::UnexpectedSettingsAck));
        guard.on_settings_sent();
        assert_eq!(guard.on_settings_ack(), Ok(()));
    }
}
