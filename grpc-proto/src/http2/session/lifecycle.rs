//! Stream records: from the first frame of a stream to the moment when wire and application are done with it.

use super::{Session, StreamError};
use crate::http2::error_code::ErrorCode;
use crate::http2::state::{Cause, Input, State};
use crate::http2::stream::{Ready, Stream};
use crate::http2::stream_key::StreamKey;
use crate::planted::{self, Bug};
use crate::time::Instant;

impl Session {
    /// The stream if it may still be sent on.
    pub(super) fn sendable(&mut self, key: StreamKey) -> Result<&mut Stream, StreamError> {
        match self.streams.get_mut(key) {
            Some(stream) if stream.terminal || stream.state.is_closed() => Err(StreamError::Ended),
            Some(stream) if !stream.state.can_send() => Err(StreamError::AfterEnd),
            Some(stream) => Ok(stream),
            None => Err(StreamError::Ended),
        }
    }

    pub(super) fn occupy(&mut self, id: u32, now: Instant) -> StreamKey {
        if self.streams.occupied() == 0 {
            self.timers.busy(now);
        }
        self.stats.streams_opened += 1;
        self.streams.occupy(id, self.recv_base, self.peer.initial_window_size)
    }

    /// Frees a slot that both the wire and the application are done with.
    pub(super) fn vacate_if_done(&mut self, slot: u32) {
        if !self.streams.vacate_if_done(slot) {
            return;
        }
        self.held -= self.streams[slot].recv.held() as usize;
        if self.streams.occupied() == 0 {
            self.timers.idle();
        }
    }

    /// Moves a stream's state; what the table forbids is our own mistake and leaves the state alone.
    pub(super) fn step(&mut self, slot: u32, input: Input) {
        let stream = &mut self.streams[slot];
        let next = stream.state.next(input);
        debug_assert!(next.is_ok(), "{:?} after {:?}", input, stream.state);
        let Ok(next) = next else { return };
        stream.state = next;
        if let State::Closed(cause) = next {
            self.bury(slot, cause);
        }
    }

    /// The wire is done with a stream: its identifier is forgotten but for a grave.
    pub(super) fn bury(&mut self, slot: u32, cause: Cause) {
        let stream = &mut self.streams[slot];
        stream.queue.clear(&mut self.pool);
        stream.wants_room = false;
        stream.stalled_since = Instant::NEVER;
        stream.receiving_since = Instant::NEVER;
        if stream.ready == Ready::Bulk {
            // Its place in the round stays, or a mass of ends would search the round each time.
            stream.ready = Ready::No;
            self.bulk_live -= 1;
            if self.bulk_live == 0 {
                self.timers.window = Instant::NEVER;
            }
        }
        let id = stream.id;
        if stream.head.is_some() || stream.trailers.is_some() {
            let heads = [core::mem::take(&mut stream.head), core::mem::take(&mut stream.trailers)];
            for head in heads {
                self.blocks.recycle_pending(head);
            }
        }
        self.recount(slot);
        self.settle_send_budget(slot);
        self.drop_reservation(slot);
        self.deadlines.remove(slot);
        if id != 0 {
            self.streams.close_id(slot, cause);
        }
    }

    /// Queues a stream that has something new to send: its first turn comes before the round of those
    /// that have been served already, its further ones in that round.
    #[inline]
    pub(super) fn make_ready(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        // A stream that still waits for an identifier is served when it gets one.
        if stream.id != 0 && stream.ready == Ready::No {
            stream.ready = Ready::Urgent;
            self.urgent.push_back(slot);
        }
    }

    /// Starts the reset of a stream whose state is not closed.
    pub(super) fn reset_slot(&mut self, slot: u32, code: ErrorCode) {
        let stream = &mut self.streams[slot];
        if stream.id == 0 {
            // Nothing of it has been sent, so there is nothing to reset.
            stream.state = State::Closed(Cause::ResetByUs);
            if !planted::is(Bug::CancelLeavesQueue) {
                self.waiting.retain(|&waiting| waiting != slot);
            }
            self.bury(slot, Cause::ResetByUs);
            self.vacate_if_done(slot);
            return;
        }
        stream.reset = Some(code);
        self.step(slot, Input::SendReset);
        self.make_ready(slot);
    }
}
