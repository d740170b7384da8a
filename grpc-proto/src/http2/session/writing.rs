//! Payload that the application writes: what is queued, what is refused, and when writers are woken.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Session, StreamError};
use crate::http2::error_code::ErrorCode;
use crate::http2::queue::BadWrite;
use crate::http2::stream_key::StreamKey;
use crate::time::Instant;

impl Session {
    /// Whether the stream's queue is below [`crate::Limits::send_mark`], so that [`Session::write`] of what is left
    /// to the mark would be accepted; more may be refused with [`StreamError::Full`] all the same.
    pub fn has_room(&self, key: StreamKey) -> bool {
        self.streams
            .get(key)
            .is_some_and(|s| s.state().can_send() && !s.ending && self.send_budget.is_below_mark(s))
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
        let stream = &mut self.streams[key.slot()];
        self.send_budget.reserve(stream, excess);
        self.send_budget.recount(stream);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Queues payload by handle; large ones are never copied.
    ///
    /// # Errors
    /// As [`Session::write`].
    pub fn write_bytes(&mut self, key: StreamKey, payload: Bytes) -> Result<(), StreamError> {
        self.reserve_room(key, payload.len())?;
        let stream = &mut self.streams[key.slot()];
        stream.queue.append_shared(payload);
        self.send_budget.recount(stream);
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
        let stream = &mut self.streams[key.slot()];
        stream.queue.append_framed(prefix, payload, &mut self.pool);
        self.send_budget.recount(stream);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Checks that `len` more bytes may be queued, and takes them from the send budget where they
    /// exceed the mark.
    fn reserve_room(&mut self, key: StreamKey, len: usize) -> Result<(), StreamError> {
        let excess = self.room_for(key, len)?;
        self.send_budget.reserve(&mut self.streams[key.slot()], excess);
        Ok(())
    }

    /// The first half of [`reserve_room`](Self::reserve_room): what the budget has to give.
    fn room_for(&mut self, key: StreamKey, len: usize) -> Result<u32, StreamError> {
        self.writable(key)?;
        let stream = &self.streams[key.slot()];
        if self.send_budget.is_within_mark(stream, len) {
            return Ok(0);
        }
        if self.send_budget.lacks_room(stream, len) {
            return Err(self.want_room(key, len));
        }
        Ok(self.send_budget.excess_of(len))
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
    pub(super) fn end_lost(&mut self, key: StreamKey) -> StreamError {
        self.abort(key, ErrorCode::INTERNAL_ERROR);
        StreamError::Ended
    }

    /// Checks that payload may follow on a stream.
    fn writable(&mut self, key: StreamKey) -> Result<(), StreamError> {
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
        Ok(())
    }

    /// Whether a stream that takes payload has no room for `len` more bytes.
    pub(crate) fn lacks_room(&self, key: StreamKey, len: usize) -> bool {
        self.streams.get(key).is_some_and(|stream| self.send_budget.lacks_room(stream, len))
    }

    /// The writer of a stream that lacks room gets an event when there is some.
    fn want_room(&mut self, key: StreamKey, len: usize) -> StreamError {
        let stream = &mut self.streams[key.slot()];
        stream.wants_room = true;
        self.send_budget.on_refused(stream, len);
        let is_still = stream.queue.is_empty() && !stream.has_window();
        if is_still && stream.stalled_since == Instant::NEVER {
            // Nothing is queued that could be found to stall, and the writer must not wait for ever.
            self.timers.on_refused_writer(self.timers.now() + self.limits.send_stall_timeout);
        }
        StreamError::Full
    }

    /// Reports whether [`Session::write`] of `len` bytes would succeed, without writing. On [`StreamError::Full`],
    /// [`crate::http2::Event::Writable`] follows, as after a refused `write`.
    pub(crate) fn ask_room(&mut self, key: StreamKey, len: usize) -> Result<(), StreamError> {
        self.writable(key)?;
        if self.lacks_room(key, len) { Err(self.want_room(key, len)) } else { Ok(()) }
    }

    // --- Room again ---

    /// Gives back what a send queue no longer takes of the budget.
    #[inline]
    pub(super) fn settle_send_budget(&mut self, slot: u32) {
        if self.send_budget.settle(&mut self.streams[slot]) {
            self.wake_refused_writers();
        }
    }

    /// The send budget has room again: lets the writers try whose large messages were refused.
    pub(super) fn wake_refused_writers(&mut self) {
        for slot in 0..self.streams.slots() {
            self.wake_if_empty(slot);
        }
    }

    /// Wakes the writer of a stream that was refused with an empty queue. That is also due when the stream gets its
    /// identifier: unopened streams no longer count against its send budget, and if its own window is closed, its stall timer
    /// must start.
    #[inline]
    pub(super) fn wake_if_empty(&mut self, slot: u32) {
        let stream = &self.streams[slot];
        if stream.wants_room && stream.queue.is_empty() {
            self.wake_writer(slot);
        }
    }

    /// Queues [`Event::Writable`](crate::http2::Event::Writable) if the application waits for it.
    pub(super) fn wake_writer(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        if stream.wants_room && !stream.reported {
            stream.wants_room = false;
            if !stream.in_writable {
                stream.in_writable = true;
                self.events.push_writable(slot);
            }
        }
    }
}
