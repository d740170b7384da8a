//! The order in which streams are served.
//!
//! ```text
//!   unopened ──(the peer's stream limit)──┐
//!                                         v
//!   ready: what is new to send, once each ──> HEADERS, a quantum of DATA ──(more DATA)──> round robin
//!                                                 ^                                           │
//!                                                 └───────── a turn, at the latest after a burst
//! ```

use alloc::collections::VecDeque;

use super::streams::StreamTable;
use crate::http2::stream::{Stream, Turn};

/// What one stream may send in a turn: beside a stream of gigabytes, a small reply leaves soon.
pub(super) const QUANTUM: usize = 16 << 10;
/// What streams that are ready may send before one in the round robin gets a turn: a small reply leaves soon, and a long
/// body goes on.
const BURST: usize = 3 * QUANTUM;

/// Streams that have something to send, by slot.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Streams without an identifier yet, under the peer's limit.
    unopened: VecDeque<u32>,
    /// Streams that have something new to send: a field block, a reset, the first DATA.
    ready: VecDeque<u32>,
    /// Streams that have more DATA, each slot once at most; one whose stream is over is skipped.
    round_robin: VecDeque<u32>,
    /// Streams in the round robin that are not over.
    with_data: u32,
    /// Bytes sent of ready streams since the round robin had its last turn.
    burst: usize,
}

impl Schedule {
    // --- Streams without an identifier ---

    /// Queues a stream for an identifier.
    #[inline]
    pub(super) fn push_unopened(&mut self, slot: u32) {
        self.unopened.push_back(slot);
    }

    /// The stream that gets the next identifier.
    #[inline]
    pub(super) fn pop_unopened(&mut self) -> Option<u32> {
        self.unopened.pop_front()
    }

    /// How many streams wait for an identifier.
    #[inline]
    pub(super) fn unopened(&self) -> usize {
        self.unopened.len()
    }

    /// A stream needs no identifier any more.
    pub(super) fn forget_unopened(&mut self, slot: u32) {
        self.unopened.retain(|&unopened| unopened != slot);
    }

    /// No stream gets an identifier any more.
    pub(super) fn clear_unopened(&mut self) {
        self.unopened.clear();
    }

    // --- Streams that are ready ---

    /// Queues a stream that has something new to send: its first turn comes before the round robin, its further ones in it.
    #[inline]
    pub(super) fn make_ready(&mut self, slot: u32, stream: &mut Stream) {
        // A stream that still waits for an identifier is served when it gets one.
        if stream.id != 0 && stream.turn == Turn::None {
            stream.turn = Turn::Ready;
            self.ready.push_back(slot);
        }
    }

    /// The next slot that was made ready; its stream may be over.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the reset of a stream that is closed out again, if it has not left; returns the slot.
    pub(super) fn drop_reset(&mut self, id: u32, streams: &mut StreamTable) -> Option<u32> {
        // Queued resets are here; it is empty where output was pulled.
        let is_reset = |&slot: &u32| streams[slot].id == id && streams[slot].reset.is_some();
        let at = self.ready.iter().position(is_reset)?;
        let slot = self.ready.remove(at)?;
        let stream = &mut streams[slot];
        (stream.reset, stream.turn) = (None, Turn::None);
        Some(slot)
    }

    // --- The round robin ---

    /// A stream has more DATA than it could send in its turn.
    #[inline]
    pub(super) fn join_round_robin(&mut self, slot: u32, stream: &mut Stream) {
        stream.turn = Turn::RoundRobin;
        self.with_data += 1;
        if !stream.in_round_robin {
            stream.in_round_robin = true;
            self.round_robin.push_back(slot);
        }
    }

    /// A stream is closed; returns whether it was the last one in the round robin.
    #[inline]
    pub(super) fn leave_round_robin(&mut self, stream: &mut Stream) -> bool {
        if stream.turn != Turn::RoundRobin {
            return false;
        }
        // Its place stays, or a mass of ends would search the queue each time.
        stream.turn = Turn::None;
        self.with_data -= 1;
        self.with_data == 0
    }

    /// The slot whose turn it is, and whether its stream still has DATA.
    #[inline]
    pub(super) fn pop_round_robin(&mut self, streams: &mut StreamTable) -> Option<(u32, bool)> {
        let slot = self.round_robin.pop_front()?;
        let stream = &mut streams[slot];
        stream.in_round_robin = false;
        let has_data = stream.turn == Turn::RoundRobin;
        self.with_data -= u32::from(has_data);
        Some((slot, has_data))
    }

    #[inline]
    pub(super) fn has_round_robin(&self) -> bool {
        !self.round_robin.is_empty()
    }

    /// Streams in the round robin that are not over.
    #[inline]
    pub(super) fn with_data(&self) -> u32 {
        self.with_data
    }

    /// Bytes of ready streams have been sent.
    #[inline]
    pub(super) fn add_to_burst(&mut self, bytes: usize) {
        self.burst += bytes;
    }

    /// Whether the round robin is due, however many streams are ready.
    #[inline]
    pub(super) fn is_burst_over(&self) -> bool {
        self.burst >= BURST
    }

    /// The round robin has its turn.
    #[inline]
    pub(super) fn end_burst(&mut self) {
        self.burst = 0;
    }

    // --- Memory ---

    pub(super) fn heap_bytes(&self) -> usize {
        let queues = [&self.unopened, &self.ready, &self.round_robin];
        queues.iter().map(|queue| queue.capacity() * size_of::<u32>()).sum()
    }

    /// Places of the round robin, those of streams that have left included.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.round_robin.len()
    }

    /// Gives all memory back; no stream is left.
    pub(super) fn trim(&mut self) {
        (self.unopened, self.ready, self.round_robin) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::session::Side;

    /// A table with open streams, and a schedule with their slots in the round robin.
    fn with_data(streams: u32) -> (StreamTable, Schedule) {
        let (mut table, mut schedule) = (StreamTable::new(Side::Server), Schedule::default());
        for id in 0..streams {
            let slot = table.occupy(2 * id + 1, 0, 0).slot();
            schedule.join_round_robin(slot, &mut table[slot]);
        }
        (table, schedule)
    }

    #[test]
    fn a_stream_that_left_keeps_its_place_and_is_skipped() {
        let (mut table, mut schedule) = with_data(2);
        assert!(!schedule.leave_round_robin(&mut table[0]));
        // The slot's next stream takes the place that is there.
        schedule.join_round_robin(0, &mut table[0]);
        assert_eq!(schedule.round_robin.len(), 2);
        assert!(!schedule.leave_round_robin(&mut table[0]));
        assert!(!schedule.leave_round_robin(&mut table[0]), "it has left");
        assert_eq!(schedule.pop_round_robin(&mut table), Some((0, false)));
        assert_eq!(
            (schedule.pop_round_robin(&mut table), schedule.with_data()),
            (Some((1, true)), 0)
        );
    }

    #[test]
    fn a_slot_is_made_ready_once_and_not_before_it_has_an_identifier() {
        let (mut table, mut schedule) = (StreamTable::new(Side::Client), Schedule::default());
        let slot = table.occupy(0, 0, 0).slot();
        schedule.make_ready(slot, &mut table[slot]);
        assert!(!schedule.has_ready());
        table.assign_id(slot);
        for _ in 0..2 {
            schedule.make_ready(slot, &mut table[slot]);
        }
        assert_eq!([schedule.pop_ready(), schedule.pop_ready()], [Some(slot), None]);
    }
}
