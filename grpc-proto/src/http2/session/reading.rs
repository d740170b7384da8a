//! Payload that the application reads: windows that open for it, credit that it gives back, and progress.

use super::Session;
use super::timeouts::LEAST_PROGRESS;
use super::timers::Timer;
use crate::http2::flow::PADDING_ROOM;
use crate::http2::stream_key::StreamKey;
use crate::time::Instant;

/// Bytes that the prefix of a part of a body may have: with less of a window than this, no part could ever say how long it is.
const LEAST_WINDOW: u32 = 5;

impl Session {
    /// Gives credit back for `bytes` of DATA that are done with; the window opens when it is worth a frame.
    #[inline]
    pub fn consume(&mut self, key: StreamKey, bytes: u32) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let released = bytes.min(stream.recv.held());
        stream.recv.release(released);
        self.receive_budget.on_released(released);
        self.settle_credit(key.slot());
    }

    /// A part of the body has begun that is to be received as a whole, of `len` bytes: its window opens so far, as soon as
    /// the assembly budget has room for it.
    pub(crate) fn reserve_read(&mut self, key: StreamKey, len: u32) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.expected = len.saturating_add(PADDING_ROOM);
        let base = self.base_window();
        self.receive_budget.reserve(key.slot(), &mut self.streams, base);
    }

    /// A stream has received `bytes` of such a part and must receive more; it is progress once there are enough.
    pub(crate) fn on_read_progress(&mut self, key: StreamKey, bytes: usize, now: Instant) {
        let due = now + self.limits.progress_timeout;
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.received_since = stream.received_since.saturating_add(bytes as u32);
        if stream.receiving_since == Instant::NEVER || stream.received_since >= LEAST_PROGRESS {
            stream.receiving_since = now;
            stream.received_since = 0;
            self.timers.set_by(Timer::Stall, due);
        }
        // The window may have shrunk to where the rest of a reservation is worth a frame.
        self.queue_credit(key.slot());
    }

    /// Our window for a stream was closed and is open again: a message in progress has its whole time to go on.
    pub(super) fn note_reopened(&mut self, slot: u32, now: Instant) {
        let stream = &mut self.streams[slot];
        if stream.receiving_since != Instant::NEVER && stream.recv.window() > 0 {
            stream.receiving_since = now;
            stream.received_since = 0;
            self.timers.set_by(Timer::Stall, now + self.limits.progress_timeout);
        }
    }

    /// The part of the body that was to be received as a whole is complete.
    pub(crate) fn end_read(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.receiving_since = Instant::NEVER;
        stream.expected = 0;
        if stream.awaits_budget {
            // It has come without the window that it was to have.
            let base = self.base_window();
            self.receive_budget.stop_waiting(key.slot(), &mut self.streams, base);
        }
    }

    // --- Windows ---

    /// What a stream may receive without a reservation.
    #[inline]
    pub(super) fn base_window(&self) -> u32 {
        self.estimate.stream_window().max(LEAST_WINDOW)
    }

    /// Opens the window of a new stream as far as a prefix needs, where SETTINGS have not.
    #[inline]
    pub(super) fn open_for_prefix(&mut self, slot: u32) {
        if self.estimate.stream_window() < LEAST_WINDOW {
            self.queue_credit(slot);
        }
    }

    /// How many bytes a stream may hold of a part that is received as a whole.
    pub(crate) fn message_window(&self, key: StreamKey) -> usize {
        let base = self.receive_budget.initial_window().max(self.estimate.stream_window());
        self.streams.get(key).map_or(0, |stream| base.saturating_add(stream.reserved) as usize)
    }

    /// Queues a stream for WINDOW_UPDATE if it has earned one.
    #[inline]
    pub(super) fn queue_credit(&mut self, slot: u32) {
        let base = self.base_window();
        self.receive_budget.queue_credit(slot, &mut self.streams[slot], base);
    }

    /// Gives back what a stream no longer needs of its reservation, and queues its credit.
    #[inline]
    pub(super) fn settle_credit(&mut self, slot: u32) {
        let base = self.base_window();
        self.receive_budget.settle(slot, &mut self.streams, base);
    }

    /// A stream is over for the application or the wire: gives its reservation back.
    #[inline]
    pub(super) fn drop_reservation(&mut self, slot: u32) {
        let base = self.base_window();
        self.receive_budget.release(slot, &mut self.streams, base);
    }
}
