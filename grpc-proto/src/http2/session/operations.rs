//! The application's verbs on streams.

use alloc::vec::Vec;

use bytes::Bytes;

use super::lifecycle::Closing;
use super::timeouts::LEAST_PROGRESS;
use super::timers::Timer;
use super::{OpenError, Session, Side, StreamError};
use crate::hpack::FieldList;
use crate::http2::error_code::ErrorCode;
use crate::http2::flow::PADDING_ROOM;
use crate::http2::queue::BadWrite;
use crate::http2::state::State;
use crate::http2::stream::{Pending, Prepared, Stream};
use crate::http2::stream_key::StreamKey;
use crate::planted::{self, Bug};
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

    /// Whether the stream's queue is below [`crate::Limits::send_mark`], so that [`Session::write`] of what is left
    /// to the mark would be accepted; more may be refused with [`StreamError::Full`] all the same.
    pub fn has_room(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|s| {
            s.state().can_send() && !s.ending && s.queue.len() < self.limits.send_mark as usize
        })
    }

    /// Queues payload by copying it, behind the head.
    ///
    /// # Errors
    /// [`StreamError`]; with [`StreamError::Full`], [`crate::http2::Event::Writable`] tells when to try again.
    pub fn write(&mut self, stream: StreamKey, payload: &[u8]) -> Result<(), StreamError> {
        self.write_with(stream, payload.len(), |out| out.extend_from_slice(payload))
    }

    /// Queues `len` bytes that `encode` appends to a buffer.
    ///
    /// Where `encode` panics, or appends another number of bytes, nothing is queued. Where it has removed what was queued
    /// before, the stream is reset with INTERNAL_ERROR; after a panic, as soon as more is to be sent on it.
    pub(crate) fn write_with(
        &mut self,
        key: StreamKey,
        len: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StreamError> {
        let excess = self.room_for(key, len)?;
        // Foreign code: up to its good end nothing has changed.
        let stream = &mut self.streams[key.slot()];
        if let Err(bad) = stream.queue.append(len, &mut self.pool, encode) {
            return Err(self.not_appended(key, bad));
        }
        self.reserve(key, excess);
        self.recount(key.slot());
        self.make_ready(key.slot());
        Ok(())
    }

    /// Queues payload by handle; large ones are never copied.
    ///
    /// # Errors
    /// As [`Session::write`].
    pub fn write_bytes(&mut self, key: StreamKey, payload: Bytes) -> Result<(), StreamError> {
        self.reserve_room(key, payload.len())?;
        self.streams[key.slot()].queue.append_shared(payload);
        self.recount(key.slot());
        self.make_ready(key.slot());
        Ok(())
    }

    /// Queues payload by handle behind a short prefix, as one frame of the protocol above.
    pub(crate) fn write_framed(
        &mut self,
        key: StreamKey,
        prefix: [u8; 5],
        payload: Bytes,
    ) -> Result<(), StreamError> {
        self.reserve_room(key, prefix.len() + payload.len())?;
        self.streams[key.slot()].queue.append_framed(prefix, payload, &mut self.pool);
        self.recount(key.slot());
        self.make_ready(key.slot());
        Ok(())
    }

    /// Checks that `len` more bytes may be queued, and takes them from the send budget where they
    /// exceed the mark.
    ///
    /// An empty queue takes one message of any size, or one larger than the mark could never leave.
    /// What exceeds the mark comes out of the budget, for streams with a window only; the first
    /// such message is always let through, of streams that are open and of those that are not yet.
    fn reserve_room(&mut self, key: StreamKey, len: usize) -> Result<(), StreamError> {
        let excess = self.room_for(key, len)?;
        self.reserve(key, excess);
        Ok(())
    }

    /// The first half of [`reserve_room`](Self::reserve_room): what the budget has to give.
    fn room_for(&mut self, key: StreamKey, len: usize) -> Result<u32, StreamError> {
        let mark = self.limits.send_mark as usize;
        let stream = self.writable(key)?;
        if stream.queue.len() + len <= mark {
            return Ok(0);
        }
        if self.lacks_room(key, len) {
            return Err(self.want_room(key, len));
        }
        Ok(self.excess_of(len))
    }

    /// The second half of [`reserve_room`](Self::reserve_room): takes it from the budget.
    #[inline]
    fn reserve(&mut self, key: StreamKey, excess: u32) {
        if excess == 0 {
            return;
        }
        let stream = &mut self.streams[key.slot()];
        stream.send_reserved += excess;
        if stream.id == 0 {
            self.send_waiting += excess;
        }
        self.send_left = self.send_left.saturating_sub(excess);
        self.send_outstanding += excess;
    }

    #[cold]
    #[inline(never)]
    fn not_appended(&mut self, key: StreamKey, bad: BadWrite) -> StreamError {
        if bad == BadWrite::Lost {
            self.abort(key, ErrorCode::INTERNAL_ERROR);
        }
        StreamError::WrongLength
    }

    /// Foreign code has removed what was queued, and panicked: the stream cannot go on.
    #[cold]
    #[inline(never)]
    fn end_lost(&mut self, key: StreamKey) -> StreamError {
        self.abort(key, ErrorCode::INTERNAL_ERROR);
        StreamError::Ended
    }

    /// The stream if payload may follow on it.
    fn writable(&mut self, key: StreamKey) -> Result<&mut Stream, StreamError> {
        let stream = self.sendable(key)?;
        if stream.ending {
            return Err(StreamError::AfterEnd);
        }
        if !stream.has_head {
            return Err(StreamError::OutOfOrder);
        }
        if stream.queue.is_lost() {
            return Err(self.end_lost(key));
        }
        Ok(&mut self.streams[key.slot()])
    }

    /// What a message of `len` bytes takes of the send budget.
    #[inline]
    fn excess_of(&self, len: usize) -> u32 {
        u32::try_from(len.saturating_sub(self.limits.send_mark as usize)).unwrap_or(u32::MAX)
    }

    /// Whether a stream that takes payload has no room for `len` more bytes.
    pub(crate) fn lacks_room(&self, key: StreamKey, len: usize) -> bool {
        let mark = self.limits.send_mark as usize;
        let Some(stream) = self.streams.get(key) else { return false };
        let queued = stream.queue.len();
        if queued + len <= mark {
            return false;
        }
        let excess = self.excess_of(len);
        // A stream that waits to be opened may wait for this very one to end: it must not hold it up.
        let waiting = if stream.id == 0 { 0 } else { self.send_waiting };
        let rivals = self.send_outstanding - waiting;
        queued > 0
            || !stream.has_window()
            || (excess > self.send_left && rivals > 0)
            || self.exceeds_allotment(excess)
    }

    /// Whether the allotment is too small for so much more of the send budget.
    #[inline]
    fn exceeds_allotment(&self, excess: u32) -> bool {
        self.send_outstanding.saturating_add(excess) > self.allotted.send
    }

    /// Has the writer of a stream that lacks room told when there is some.
    fn want_room(&mut self, key: StreamKey, len: usize) -> StreamError {
        let excess = self.excess_of(len);
        let lacks_allotment = self.exceeds_allotment(excess);
        let stream = &mut self.streams[key.slot()];
        stream.wants_room = true;
        if lacks_allotment && stream.queue.is_empty() && stream.has_window() {
            self.send_refused = self.send_refused.max(excess);
        }
        let stream = &mut self.streams[key.slot()];
        let is_still = stream.queue.is_empty() && !stream.has_window();
        if is_still && stream.stalled_since == Instant::NEVER {
            // Nothing is queued that could be found to stall, and the writer must not wait for ever.
            self.timers.on_refused_writer(self.timers.now() + self.limits.send_stall_timeout);
        }
        StreamError::Full
    }

    /// Tells of `len` bytes what [`Session::write`] would, without them.
    pub(crate) fn ask_room(&mut self, key: StreamKey, len: usize) -> Result<(), StreamError> {
        self.writable(key)?;
        if self.lacks_room(key, len) { Err(self.want_room(key, len)) } else { Ok(()) }
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

    /// Gives credit back for `bytes` of DATA that are done with; the window opens when it is worth a frame.
    #[inline]
    pub fn consume(&mut self, key: StreamKey, bytes: u32) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let released = bytes.min(stream.recv.held());
        stream.recv.release(released);
        self.held -= released as usize;
        self.settle_credit(key.slot());
    }

    /// A part of the body has begun that is to be received as a whole, of `len` bytes: its window opens so far, as soon as
    /// the assembly budget has room for it.
    pub(crate) fn reserve_read(&mut self, key: StreamKey, len: u32) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.expected = len.saturating_add(PADDING_ROOM);
        self.claim(key.slot());
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
        if stream.in_line && planted::is(Bug::LineKept) {
            return;
        }
        stream.expected = 0;
        if stream.in_line {
            // It has come without the window that it was to have.
            self.leave_line(key.slot());
        }
    }
}
