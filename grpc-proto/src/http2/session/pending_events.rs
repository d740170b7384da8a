//! Events that do not come from input: ends of streams, deadlines, room to write.

use alloc::collections::VecDeque;

use super::lifecycle::Closing;
use super::poll::Step;
use super::{ConnectionError, ResetReason, Session, Side};
use crate::http2::error_code::ErrorCode;
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;
use crate::time::Instant;

/// Events that wait for the next poll.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    /// The poll has something to do that waits for neither input nor time.
    wanted: bool,
    /// Streams that ended by a violation: as many as had a slot at most, because those that stall are found together, and
    /// nothing is read before they are taken.
    ended: VecDeque<(StreamKey, ResetReason)>,
    /// Slots whose writers get an event, because there is room.
    writable: VecDeque<u32>,
}

impl PendingEvents {
    /// Something is to be done that is found elsewhere.
    #[inline]
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    #[inline]
    pub(super) fn are_wanted(&self) -> bool {
        self.wanted
    }

    /// A stream has ended, and the application is to know.
    pub(super) fn push_end(&mut self, key: StreamKey, reason: ResetReason) {
        self.ended.push_back((key, reason));
        self.wanted = true;
    }

    /// The application has no interest in the end of a stream any more.
    #[inline]
    pub(super) fn forget_end(&mut self, key: StreamKey) {
        if !self.ended.is_empty() {
            self.ended.retain(|(ended, _)| *ended != key);
        }
    }

    /// A writer gets an event, because there is room; its slot stands in the queue once.
    pub(super) fn push_writable(&mut self, slot: u32) {
        self.writable.push_back(slot);
        self.wanted = true;
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.ended.capacity() * size_of::<(StreamKey, ResetReason)>()
            + self.writable.capacity() * size_of::<u32>()
    }

    /// Gives memory back when no stream is left; ends that were not reported yet stay.
    pub(super) fn trim(&mut self) {
        self.ended.shrink_to(0);
        self.writable = VecDeque::new();
    }
}

impl Session {
    /// Whether [`Session::poll_pending`] has something to do.
    #[inline]
    pub(super) fn needs_attention(&self, now: Instant) -> bool {
        self.events.are_wanted() || self.deadlines.earliest() <= now
    }

    /// The next event that does not come from input.
    pub(super) fn poll_pending(&mut self, now: Instant) -> Result<Option<Step>, ConnectionError> {
        if let Some((key, reason)) = self.events.ended.pop_front() {
            return Ok(Some(self.report_reset(key, reason)));
        }
        if self.ending.is_over() {
            return self.poll_failed();
        }
        if self.side == Side::Server && !self.guard.count_violations(now) {
            self.misbehaved(Violation::TooManyResets, &mut &[][..]);
            return self.poll_failed();
        }
        if self.ending.sweeps_refused()
            && let Some(step) = self.poll_refused()
        {
            return Ok(Some(step));
        }
        while let Some(slot) = self.deadlines.pop_expired(now) {
            let stream = &self.streams[slot];
            if !stream.reported {
                return Ok(Some(self.report(Step::Deadline, self.streams.key_of(slot))));
            }
            // The application is done with it, and the peer has not taken all: it wanted it by now.
            if self.side == Side::Server && !stream.state().is_closed() {
                self.close_on_wire(slot, Closing::Reset(ErrorCode::CANCEL));
            }
        }
        while let Some(slot) = self.events.writable.pop_front() {
            let Some(stream) = self.streams.slot_mut(slot) else { continue };
            stream.in_writable = false;
            if stream.occupied && !stream.reported {
                return Ok(Some(self.report(Step::Writable, self.streams.key_of(slot))));
            }
        }
        self.events.wanted = false;
        Ok(None)
    }
}
