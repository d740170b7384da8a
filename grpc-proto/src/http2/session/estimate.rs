//! Receive windows that follow what the path carries: DATA is counted over the round trip of a PING (rule 35).
//!
//! ```text
//!              DATA, rested            pulled               acknowledged
//!   Resting ───────────────> Due ────────────────> Out ──────────────────┐
//!      ^                      WINDOW_UPDATE, PING                        │ a window was the limit?
//!      ├──────────────────────────────────────────────────────── no, or the connection's alone
//!      │                                                                 │
//!      └── SETTINGS acknowledged ── Settling <──────────────────── yes, a stream's
//!                                       ^                                │
//!   start (our first SETTINGS) ─────────┘       Off <────────── and it is as large as it may be
//! ```
//!
//! A window was the limit if most of it came within one round trip, and faster than ever before: a queue that grows
//! with its window carries nothing more. Then it doubles, up to the cap. Windows never shrink: what was announced
//! could not be taken back from a peer that has used it.

use core::time::Duration;

use super::Session;
use crate::config::Limits;
use crate::http2::flow::{DEFAULT_WINDOW, MAX_WINDOW};
use crate::http2::frame;
use crate::time::Instant;
use crate::transmit::Transmit;

/// Rest after the first sample that changed nothing; it doubles with each further one.
const LEAST_REST: Duration = Duration::from_millis(100);
/// A path that does not change is looked at this often.
const MOST_REST: Duration = Duration::from_secs(10);

/// The receive windows that a connection aims at, and the sample that may widen them.
#[derive(Debug)]
pub(super) struct Estimate {
    stream: Window,
    connection: Window,
    phase: Phase,
    /// Between two samples.
    rest: Duration,
    /// Of the last sample; the first is 1.
    number: u32,
    /// DATA of the sample, over all streams.
    total: u64,
    /// DATA of the sample on the stream that had most of it.
    heaviest: u32,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The windows are what they will ever be.
    Off,
    /// The acknowledgement of our last SETTINGS.
    Settling,
    /// DATA, after this moment.
    Resting(Instant),
    /// A pull of output: DATA is counted from here on.
    Due,
    /// The acknowledgement of the PING that left at this moment.
    Out(Instant),
}

/// One window and what it has carried.
#[derive(Clone, Copy, Debug)]
struct Window {
    size: u32,
    cap: u32,
    /// Bytes a second when it was last found to be the limit.
    rate: u64,
}

impl Window {
    /// Doubles if `bytes` within `round_trip` show that it is what holds the peer up.
    fn follow(&mut self, bytes: u64, round_trip: Duration) -> bool {
        let nanos = round_trip.as_nanos().max(1) as u64;
        let rate = bytes.saturating_mul(1_000_000_000) / nanos;
        let is_most = 3 * bytes >= 2 * u64::from(self.size);
        // By a quarter: less is noise, and a round trip that a longer queue has made longer.
        let is_faster = rate > self.rate + self.rate / 4;
        if self.size >= self.cap || !is_most || !is_faster {
            return false;
        }
        self.rate = rate;
        self.size = self.size.max(1).saturating_mul(2).min(self.cap);
        true
    }
}

impl Estimate {
    pub(super) fn new(limits: &Limits) -> Self {
        let connection = limits.connection_window.max(DEFAULT_WINDOW);
        let cap = limits.max_window;
        let window = |size: u32| Window { size, cap: cap.max(size), rate: 0 };
        Estimate {
            stream: window(limits.stream_window),
            connection: window(connection),
            phase: if cap > limits.stream_window { Phase::Settling } else { Phase::Off },
            rest: Duration::ZERO,
            number: 0,
            total: 0,
            heaviest: 0,
        }
    }

    /// The window that streams are to have.
    #[inline]
    pub(super) fn stream_window(&self) -> u32 {
        self.stream.size
    }

    /// The window that the connection is to have.
    #[inline]
    pub(super) fn connection_window(&self) -> u32 {
        self.connection.size
    }

    /// Whether DATA may matter.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.phase != Phase::Off
    }

    /// Whether a PING is to leave behind the connection's next WINDOW_UPDATE.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.phase == Phase::Due
    }

    /// The sample that DATA counts for.
    pub(super) fn sample(&self) -> Option<u32> {
        matches!(self.phase, Phase::Due | Phase::Out(_)).then_some(self.number)
    }

    /// Whether the acknowledgement of a PING is waited for.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Out(_))
    }

    /// DATA has come; the first after a rest begins a sample.
    pub(super) fn on_data(&mut self, bytes: u32, now: Instant) {
        match self.phase {
            Phase::Resting(until) if bytes > 0 && now >= until => {
                self.phase = Phase::Due;
                self.number = self.number.wrapping_add(1);
                self.total = u64::from(bytes);
                self.heaviest = 0;
            }
            Phase::Due | Phase::Out(_) => self.total = self.total.saturating_add(bytes.into()),
            Phase::Off | Phase::Settling | Phase::Resting(_) => {}
        }
    }

    /// A stream has received `bytes` in all since the sample began.
    pub(super) fn on_stream(&mut self, bytes: u32) {
        self.heaviest = self.heaviest.max(bytes);
    }

    /// The PING has been written.
    pub(super) fn on_sent(&mut self, now: Instant) {
        debug_assert_eq!(self.phase, Phase::Due);
        self.phase = Phase::Out(now);
    }

    /// The PING was acknowledged: the new window of streams, if it has grown, by `room` at most.
    pub(super) fn on_ack(&mut self, room: u32, now: Instant) -> Option<u32> {
        let Phase::Out(since) = self.phase else { return None };
        let round_trip = now - since;
        // What grows doubles at most.
        let fits = self.stream.size <= room;
        let streams = fits && self.stream.follow(self.heaviest.into(), round_trip);
        let connection = self.connection.follow(self.total, round_trip);
        // One stream alone must be able to use what it is let.
        self.connection.size = self.connection.size.max(self.stream.size);
        self.rest = match streams || connection {
            true => Duration::ZERO,
            false => (2 * self.rest).clamp(LEAST_REST, MOST_REST),
        };
        self.phase = match streams {
            _ if self.stream.size >= self.stream.cap => Phase::Off,
            // What comes before the acknowledgement was sent under the smaller window.
            true => Phase::Settling,
            false => Phase::Resting(now + self.rest),
        };
        streams.then_some(self.stream.size)
    }

    /// Our SETTINGS were acknowledged: what comes now was sent under them.
    pub(super) fn on_settled(&mut self) {
        if self.phase == Phase::Settling {
            self.phase = Phase::Resting(Instant::ZERO);
        }
    }
}

impl Session {
    /// Whether [`Session::put_sample`] would write something. Without credit to give there is no PING either: the
    /// WINDOW_UPDATE before it shows a peer that counts PINGs that DATA is being read.
    pub(super) fn may_sample(&self) -> bool {
        self.estimate.is_due() && self.recv_window.has_any_credit(self.estimate.connection_window())
    }

    /// Writes the connection's credit, however small, and the PING of a sample.
    #[cold]
    pub(super) fn put_sample(&mut self, out: &mut Transmit, now: Instant) {
        let target = self.estimate.connection_window();
        let Some(credit) = self.recv_window.take_all_credit(target) else { return };
        frame::put_window_update(out.head(), 0, credit);
        frame::put_ping(out.head(), false, self.sample_payload());
        self.estimate.on_sent(now);
    }

    /// Payload of the PING of a sample: another one each time, and never that of a keepalive or of a drain.
    pub(super) fn sample_payload(&self) -> [u8; 8] {
        // Neither zero nor all ones, which would make it one of theirs.
        let number = 1 << 32 | u64::from(self.estimate.number);
        (u64::from_be_bytes(self.keepalive_payload()) ^ number).to_be_bytes()
    }

    /// Counts DATA of a stream.
    pub(super) fn sample_stream(&mut self, slot: u32, bytes: u32) {
        let Some(number) = self.estimate.sample() else { return };
        let stream = &mut self.streams[slot];
        if stream.sample != number {
            (stream.sample, stream.sampled) = (number, 0);
        }
        stream.sampled = stream.sampled.saturating_add(bytes);
        self.estimate.on_stream(stream.sampled);
    }

    /// The PING of a sample was acknowledged. A larger window for streams is announced, and holds from here on: the
    /// peer may use it as soon as it has read so, before its acknowledgement is here.
    #[cold]
    pub(super) fn end_sample(&mut self, now: Instant) {
        // A window that was opened for a large message widens like the others, and may not pass 2³¹ − 1 (RFC 9113 §6.9.2).
        let windows = self.streams.iter().map(|(_, stream)| stream.recv.open_to());
        let widest = windows.max().unwrap_or(0);
        let Some(size) = self.estimate.on_ack(MAX_WINDOW.saturating_sub(widest), now) else {
            return;
        };
        self.control.initial_window(size);
        self.guard.on_settings_sent();
        let before = self.receive_budget.set_initial_window(size);
        self.shift_windows(before, size);
        let base = self.base_window();
        self.receive_budget.on_base_grown(&mut self.streams, base);
    }
}

#[cfg(test)]
mod tests;
