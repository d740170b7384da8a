//! HEADERS and CONTINUATION that came in: their blocks are decoded whatever becomes of their stream.

use super::receive::Handled;
use super::{Session, Side};
use crate::http2::ErrorCode;
use crate::http2::fields::Part;
use crate::http2::frame::{FrameHeader, flag};
use crate::http2::state::{Cause, Input, Rejection, State};
use crate::http2::violation::Violation;
use crate::time::Instant;

impl Session {
    pub(super) fn on_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
        let mut fragment = payload;
        if header.has(flag::PADDED) {
            let Some((&padding, rest)) = fragment.split_first() else {
                return Err(Violation::FrameLength);
            };
            let priority = if header.has(flag::PRIORITY) { 5 } else { 0 };
            if usize::from(padding) + priority > rest.len() {
                return Err(Violation::PaddingTooLong);
            }
            fragment = &rest[..rest.len() - usize::from(padding)];
        }
        if header.has(flag::PRIORITY) {
            fragment = fragment.get(5..).ok_or(Violation::FrameLength)?;
        }
        let end_stream = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.on_block(header.stream, end_stream, fragment, now);
        }
        self.blocks.begin(header.stream, end_stream, fragment, &self.limits)?;
        Ok(None)
    }

    pub(super) fn on_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
        let is_last = header.has(flag::END_HEADERS);
        let Some(block) = self.blocks.proceed(payload, is_last, &self.limits)? else {
            return Ok(None);
        };
        let handled = self.on_block(block.stream, block.end_stream, &block.bytes, now);
        self.blocks.recycle_block(block);
        handled
    }

    /// Handles a whole field block. It is decoded whatever its stream is, or the table would be out of step.
    fn on_block(&mut self, id: u32, end_stream: bool, block: &[u8], now: Instant) -> Handled {
        match self.streams.find(id) {
            Some(slot) => self.on_later_block(slot, end_stream, block),
            None => self.on_first_block(id, end_stream, block, now),
        }
    }

    /// A block on a stream that is not open: a new request, or one that comes too late.
    fn on_first_block(&mut self, id: u32, end_stream: bool, block: &[u8], now: Instant) -> Handled {
        if self.side == Side::Client && self.is_idle(id) {
            return Err(match id.is_multiple_of(2) {
                true => Violation::StreamFromServer,
                false => Violation::FrameOnIdleStream,
            });
        }
        if id.is_multiple_of(2) {
            return Err(Violation::EvenStreamFromClient);
        }
        let part = if self.side == Side::Server { Part::Request } else { Part::Trailers };
        if !self.streams.is_new(id) {
            let next = self.state_without_slot(id).next(Input::RecvHeaders { end_stream });
            // Whether it is valid does not matter, that the table stays in step does.
            let _ = self.blocks.decode(block, part, &self.limits)?;
            self.trim_again(now);
            self.reject(id, next, now)?;
            return Ok(None);
        }
        let refused_by_goaway = self.ending.sent().is_some_and(|last| id > last);
        self.streams.on_new_id(id, refused_by_goaway);
        let malformed = self.blocks.decode(block, part, &self.limits)?;
        let refused = refused_by_goaway || self.ending.is_over();
        if refused || self.streams.occupied() >= self.limits.max_concurrent_streams {
            self.stats.streams_refused += 1;
            return self.refuse(id, ErrorCode::REFUSED_STREAM, Cause::ResetByUs, now);
        }
        if let Some(violation) = malformed {
            return self.refuse(id, violation.code(), Cause::ResetByUs, now);
        }
        let checked = self.blocks.checked();
        if end_stream && checked.content_length.is_some_and(|length| length > 0) {
            return self.refuse(id, Violation::ContentLength.code(), Cause::ResetByUs, now);
        }
        let key = self.occupy(id, now);
        let stream = &mut self.streams[key.slot()];
        stream.head_received = true;
        stream.opened_at_pull = self.guard.on_request();
        stream.content_left = checked.content_length.map_or(-1, announced);
        self.step(key.slot(), Input::RecvHeaders { end_stream });
        self.open_for_prefix(key.slot());
        Ok(Some(self.report_headers(key, Part::Request, end_stream)))
    }

    /// A block on an open stream: the head of a response, or trailers.
    fn on_later_block(&mut self, slot: u32, end_stream: bool, block: &[u8]) -> Handled {
        let stream = &self.streams[slot];
        let part = if stream.head_received { Part::Trailers } else { Part::Response };
        let next = stream.state().next(Input::RecvHeaders { end_stream });
        let malformed = self.blocks.decode(block, part, &self.limits)?;
        if let Err(rejection) = next {
            self.reject_on(slot, rejection)?;
            return Ok(None);
        }
        if let Some(violation) = malformed {
            self.violate(slot, violation);
            return Ok(None);
        }
        let checked = self.blocks.checked();
        let informational = part == Part::Response && (100..200).contains(&checked.status);
        let stream = &mut self.streams[slot];
        let violation = if informational && end_stream {
            Some(Violation::InformationalWithEnd)
        } else if part == Part::Trailers && !end_stream {
            Some(Violation::HeadersWithoutEnd)
        } else if part == Part::Trailers && stream.content_left > 0 {
            Some(Violation::ContentLength)
        } else {
            None
        };
        if let Some(violation) = violation {
            self.violate(slot, violation);
            return Ok(None);
        }
        if part == Part::Response && !informational {
            stream.head_received = true;
            if end_stream {
                // A head that is the end may tell of any length (RFC 9113 §8.1.1).
            } else if stream.expects_no_body || checked.status == 304 {
                stream.content_left = 0;
            } else if let Some(length) = checked.content_length {
                stream.content_left = announced(length);
            }
        }
        let needs_event = !stream.reported;
        self.step(slot, Input::RecvHeaders { end_stream });
        let key = self.streams.key_of(slot);
        self.vacate_if_done(slot);
        if !needs_event {
            return Ok(None);
        }
        Ok(Some(self.report_headers(key, part, end_stream)))
    }

    /// Whether no frame has been seen on a stream yet (RFC 9113 §5.1.1).
    pub(super) fn is_idle(&self, id: u32) -> bool {
        self.streams.is_idle(id, self.ending.sent().is_some())
    }

    /// The state of a stream that has no slot.
    pub(super) fn state_without_slot(&self, id: u32) -> State {
        self.streams.state_without_slot(id, self.ending.sent().is_some())
    }

    /// Acts on what the table says of a frame for a stream that has no slot.
    pub(super) fn reject(
        &mut self,
        id: u32,
        next: Result<State, Rejection>,
        now: Instant,
    ) -> Result<(), Violation> {
        match next {
            Ok(_) | Err(Rejection::Ignore | Rejection::Misuse) => Ok(()),
            Err(Rejection::Stream(code)) => {
                self.refuse(id, code, Cause::ResetByUs, now).map(|_| ())
            }
            Err(Rejection::Connection(ErrorCode::STREAM_CLOSED)) => {
                Err(Violation::FrameOnClosedStream)
            }
            Err(Rejection::Connection(_)) if self.is_idle(id) => Err(Violation::FrameOnIdleStream),
            Err(Rejection::Connection(_)) => Err(Violation::IdentifierNotRising),
        }
    }

    /// Acts on what the table says of a frame for a stream that has a slot and takes no such frame.
    pub(super) fn reject_on(&mut self, slot: u32, rejection: Rejection) -> Result<(), Violation> {
        match rejection {
            Rejection::Connection(_) => return Err(Violation::FrameOnClosedStream),
            Rejection::Stream(_) => self.violate(slot, Violation::FrameOnClosedStream),
            Rejection::Ignore | Rejection::Misuse => {}
        }
        Ok(())
    }

    /// Resets a stream that never got a slot.
    fn refuse(&mut self, id: u32, code: ErrorCode, cause: Cause, now: Instant) -> Handled {
        if !self.guard.take_reset(now) {
            return Err(Violation::TooManyResets);
        }
        // A stream that the peer has reset, and goes on with, is answered once (RFC 9113 §5.4.2).
        self.streams.note_closed(id, cause);
        if self.streams.occupied() == 0 {
            // What its block took is given back like that of a call.
            self.timers.on_idle();
        }
        self.stats.resets_sent += 1;
        self.control.reset(id, code);
        Ok(None)
    }
}

/// DATA that a `content-length` announces; more than anybody could send is never reached either way.
fn announced(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
