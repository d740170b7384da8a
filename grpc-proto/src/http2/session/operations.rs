//! What the application does to streams: open, answer, end, let go.

use super::lifecycle::Closing;
use super::{OpenError, Session, Side, StreamError};
use crate::hpack::FieldList;
use crate::http2::error_code::ErrorCode;
use crate::http2::state::State;
use crate::http2::stream::{Pending, Prepared};
use crate::http2::stream_key::StreamKey;
use crate::time::Instant;

impl Session {
    /// Opens a stream with a request's head; it is sent as soon as the peer's limit allows.
    ///
    /// # Errors
    /// [`OpenError`]; the list is gone.
    pub fn open(&mut self, fields: FieldList, now: Instant) -> Result<StreamKey, OpenError> {
        let is_head = fields.iter().any(|field| field.name == b":method" && field.value == b"HEAD");
        let stream = self.open_with(Pending::Fields(fields, Prepared::OWN_REQUEST), now)?;
        self.streams[stream.slot()].expects_no_body = is_head;
        Ok(stream)
    }

    #[inline(always)]
    pub(crate) fn open_with(
        &mut self,
        head: Pending,
        now: Instant,
    ) -> Result<StreamKey, OpenError> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let key = self.occupy(0, now);
        let stream = &mut self.streams[key.slot()];
        (stream.head, stream.has_head) = (head, true);
        self.schedule.push_unopened(key.slot());
        Ok(key)
    }

    /// Why [`open`](Self::open) would fail now, if it would: who waits for room looks here before it tries.
    #[inline(always)]
    pub fn refusal(&self) -> Option<OpenError> {
        if self.side != Side::Client {
            return Some(OpenError::NotAClient);
        }
        if self.ending.is_over()
            || self.ending.is_draining()
            || self.ending.received().is_some()
            || self.schedule.unopened() as u32 >= self.streams.ids_left()
        {
            return Some(OpenError::Closing);
        }
        let is_full = self.schedule.unopened() >= self.limits.max_queued_calls as usize;
        is_full.then_some(OpenError::TooMany)
    }

    /// Sends the head of a response.
    ///
    /// # Errors
    /// [`StreamError::OutOfOrder`] after the first, [`StreamError::Ended`] when the stream is over, and
    /// [`StreamError::AfterEnd`] once its end has left.
    pub fn respond(&mut self, stream: StreamKey, fields: FieldList) -> Result<(), StreamError> {
        self.set_head(stream, Pending::Fields(fields, Prepared::OWN_RESPONSE))
    }

    #[inline(always)]
    pub(crate) fn set_head(&mut self, key: StreamKey, head: Pending) -> Result<(), StreamError> {
        let stream = self.sendable(key)?;
        if stream.has_head || stream.ending {
            return Err(StreamError::OutOfOrder);
        }
        (stream.head, stream.has_head) = (head, true);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Ends our side of the stream after what is queued, with trailers if there are any. At a server's stream that has sent
    /// no head they are head and end in one.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream is over, [`StreamError::AfterEnd`] the second time,
    /// [`StreamError::OutOfOrder`] without head and trailers.
    pub fn finish(
        &mut self,
        key: StreamKey,
        trailers: Option<FieldList>,
    ) -> Result<(), StreamError> {
        let trailers = match trailers {
            Some(fields) => Pending::Fields(fields, Prepared::TRAILERS),
            None => Pending::None,
        };
        self.finish_with(key, trailers)
    }

    #[inline(always)]
    pub(crate) fn finish_with(
        &mut self,
        key: StreamKey,
        trailers: Pending,
    ) -> Result<(), StreamError> {
        let stream = self.sendable(key)?;
        if stream.ending {
            return Err(StreamError::AfterEnd);
        }
        if !stream.has_head && !trailers.is_some() {
            return Err(StreamError::OutOfOrder);
        }
        if stream.queue.is_lost() {
            return Err(self.end_lost(key));
        }
        let stream = &mut self.streams[key.slot()];
        stream.trailers = trailers;
        stream.ending = true;
        self.make_ready(key.slot());
        Ok(())
    }

    /// Ends the stream at once, in both directions; no event follows.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        self.events.forget_end(key);
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.released = true;
        stream.reported = true;
        if stream.state().is_closed() {
            self.vacate_if_done(key.slot());
        } else {
            self.close_on_wire(key.slot(), Closing::Reset(code));
        }
    }

    /// Ends the stream at once like [`reset`](Self::reset), but keeps its slot until [`release`](Self::release).
    pub(crate) fn abort(&mut self, key: StreamKey, code: ErrorCode) {
        self.events.forget_end(key);
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.reported = true;
        if !stream.state().is_closed() {
            self.close_on_wire(key.slot(), Closing::Reset(code));
        }
    }

    /// No event concerns the stream any more, but its slot stays until [`release`](Self::release).
    pub(crate) fn mute(&mut self, key: StreamKey) {
        self.events.forget_end(key);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.reported = true;
        }
    }

    /// Lets go of a stream: no event follows, its slot is free once the wire is done with it.
    ///
    /// A server's stream whose own side was not ended, and a client's that is not over, is reset with CANCEL: nobody
    /// waits for the rest of it.
    pub fn release(&mut self, key: StreamKey) {
        self.events.forget_end(key);
        let is_client = self.side == Side::Client;
        let Some(stream) = self.streams.get_mut(key) else { return };
        let unfinished = is_client || (!stream.ending && stream.state().can_send());
        if unfinished && !stream.state().is_closed() {
            return self.reset(key, ErrorCode::CANCEL);
        }
        stream.released = true;
        stream.reported = true;
        if stream.state() == State::HalfClosedLocal {
            // Nobody listens any more: the peer may stop sending (RFC 9113 §8.1).
            return self.close_on_wire(key.slot(), Closing::Reset(ErrorCode::NO_ERROR));
        }
        self.drop_reservation(key.slot());
        self.vacate_if_done(key.slot());
    }

    /// Calls `deadline` an event at `at`; replaces an earlier setting. A stream that is over has none.
    ///
    /// A server's stream that was released and is not over by then is reset with CANCEL, without an event.
    pub fn set_deadline(&mut self, key: StreamKey, at: Instant) {
        // The end of a stream takes its deadline out, and comes once.
        if self.streams.get(key).is_some_and(|stream| !stream.state().is_closed()) {
            self.deadlines.set(key.slot(), at);
        }
    }

    /// Has the late field of the stream's head tell what remains until `deadline` when it is sent.
    pub(crate) fn set_late_field(&mut self, key: StreamKey, deadline: Instant) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.late_until = deadline;
        }
    }

    /// Whether all memory of streams was given back.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.streams.is_trimmed()
    }
}
