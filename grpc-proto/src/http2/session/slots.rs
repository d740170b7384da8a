//! Stream records: from the first frame of a stream to the moment when wire and application are done with it.

use super::{Session, Side, StreamError};
use crate::http2::error_code::ErrorCode;
use crate::http2::state::{Cause, Input, State};
use crate::http2::stream::{Ready, Stream};
use crate::http2::streams::StreamKey;
use crate::planted::{self, Bug};
use crate::time::Instant;

impl Session {
    #[inline]
    pub(super) fn stream(&self, key: StreamKey) -> Option<&Stream> {
        let stream = self.streams.get(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    #[inline]
    pub(super) fn stream_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    /// The stream if it may still be sent on.
    pub(super) fn sendable(&mut self, key: StreamKey) -> Result<&mut Stream, StreamError> {
        match self.stream_mut(key) {
            Some(stream) if stream.terminal || stream.state.is_closed() => Err(StreamError::Ended),
            Some(stream) if !stream.state.can_send() => Err(StreamError::AfterEnd),
            Some(stream) => Ok(stream),
            None => Err(StreamError::Ended),
        }
    }

    pub(super) fn key_of(&self, slot: u32) -> StreamKey {
        StreamKey::new(slot, self.streams[slot as usize].generation)
    }

    pub(super) fn occupy(&mut self, id: u32, now: Instant) -> StreamKey {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.streams.push(Stream::vacant());
            self.streams.len() as u32 - 1
        });
        let (recv, send) = (self.recv_base, self.peer.initial_window_size);
        self.streams[slot as usize].occupy(self.next_generation, id, recv, send);
        self.next_generation = self.next_generation.wrapping_add(1);
        if self.occupied == 0 {
            self.timers.busy(now);
        }
        self.occupied += 1;
        self.stats.streams_opened += 1;
        self.key_of(slot)
    }

    /// Frees a slot that both the wire and the application are done with.
    pub(super) fn vacate_if_done(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        // Of what could wait to be sent, the end of a stream leaves a reset alone.
        let is_done = stream.released && stream.state.is_closed() && stream.reset.is_none();
        if !stream.occupied || !is_done {
            return;
        }
        stream.occupied = false;
        self.held -= stream.recv.held() as usize;
        self.vacant.push(slot);
        self.occupied -= 1;
        if self.occupied == 0 {
            self.timers.idle();
        }
    }

    /// Moves a stream's state; what the table forbids is our own mistake and leaves the state alone.
    pub(super) fn step(&mut self, slot: u32, input: Input) {
        let stream = &mut self.streams[slot as usize];
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
        let stream = &mut self.streams[slot as usize];
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
        if id == 0 {
            return;
        }
        self.ids.remove(id);
        // Until its RST_STREAM is sent, a stream takes its place under the peer's limit.
        if self.side == Side::Client && self.streams[slot as usize].reset.is_none() {
            self.open_on_wire -= 1;
        }
        self.remember(id, cause);
    }

    /// Remembers for a while how a stream ended.
    pub(super) fn remember(&mut self, id: u32, cause: Cause) {
        const GRAVES: usize = 64;
        if self.graves.len() < GRAVES {
            self.graves.push((id, cause));
        } else {
            let oldest = self.graves[self.next_grave].0;
            let lowered = planted::is(Bug::ForgottenLowered);
            self.forgotten = if lowered { oldest } else { self.forgotten.max(oldest) };
            self.graves[self.next_grave] = (id, cause);
            self.next_grave = (self.next_grave + 1) % GRAVES;
        }
    }

    /// How a stream that is gone came to its end.
    pub(super) fn cause_of(&self, id: u32) -> Cause {
        let grave = self.graves.iter().find(|&&(grave, _)| grave == id);
        match grave {
            Some(&(_, cause)) => cause,
            // Above what was forgotten, every stream that was ever used is known.
            None if id > self.forgotten && id <= self.newest_peer_id => Cause::Skipped,
            None => Cause::Forgotten,
        }
    }

    /// Queues a stream that has something new to send: its first turn comes before the round of those
    /// that have been served already, its further ones in that round.
    #[inline]
    pub(super) fn make_ready(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        // A stream that still waits for an identifier is served when it gets one.
        if stream.id != 0 && stream.ready == Ready::No {
            stream.ready = Ready::Urgent;
            self.urgent.push_back(slot);
        }
    }

    /// Starts the reset of a stream whose state is not closed.
    pub(super) fn reset_slot(&mut self, slot: u32, code: ErrorCode) {
        let stream = &mut self.streams[slot as usize];
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
