//! Frames in: what the header of each decides, and DATA.

use super::Session;
use super::poll::Step;
use super::reader::{Data, Next, NextOfData, Place};
use crate::http2::ErrorCode;
use crate::http2::frame::{FrameHeader, flag, kind};
use crate::http2::state::Input;
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;
use crate::time::Instant;

/// A frame that was handled may lead to an event.
pub(super) type Handled = Result<Option<Step>, Violation>;

impl Session {
    /// Reads on until there is an event, something that led to one, or no more input.
    pub(super) fn read(&mut self, input: &mut &[u8], now: Instant) -> Handled {
        loop {
            if self.events.are_wanted() {
                return Ok(None);
            }
            let step = match self.reader.place() {
                Place::Header => {
                    if self.is_backlogged() {
                        return Ok(None);
                    }
                    let Some(header) = self.reader.take_header(input) else { return Ok(None) };
                    self.begin_frame(header, input, now)?
                }
                Place::Data => match self.reader.next_of_data(input) {
                    NextOfData::Nothing => return Ok(None),
                    NextOfData::Payload(Some(key)) if self.is_live(key) => {
                        return Ok(Some(self.report(Step::Data, key)));
                    }
                    NextOfData::Payload(key) => {
                        let skipped = self.take_data(input, usize::MAX).len() as u32;
                        if let Some(key) = key {
                            self.consume(key, skipped);
                        }
                        None
                    }
                    NextOfData::Padding(key, len) => {
                        self.recv_window.release(len);
                        if let Some(key) = key {
                            self.consume(key, len);
                        }
                        None
                    }
                    NextOfData::End(data) => self.end_data(data),
                },
                Place::Other => match self.reader.next(input) {
                    Next::Nothing => return Ok(None),
                    other => self.go_on(other, input, now)?,
                },
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// Acts on what came next in the input, if it was neither the header of a frame nor DATA.
    fn go_on(&mut self, next: Next, input: &mut &[u8], now: Instant) -> Handled {
        match next {
            Next::Nothing | Next::Skipped => {}
            Next::Payload(header, payload) => {
                let handled = self.on_payload(header, &payload.0, now);
                self.reader.recycle(payload);
                return handled;
            }
            Next::PadLength(header, padding) => self.begin_data(header, Some(padding), now)?,
            Next::PrefaceBegun => self.release_settings(now),
            Next::Preface => {
                self.release_settings(now);
                self.timers.on_preface(&self.limits, now);
            }
            Next::Foreign(foreign) => {
                *input = &[];
                self.fail_foreign(foreign);
            }
            Next::Violation(violation) => return Err(violation),
        }
        Ok(None)
    }

    /// Whether output must be pulled before more input is understood.
    #[inline]
    pub(super) fn is_backlogged(&self) -> bool {
        self.control.replies() >= self.limits.max_pending_replies
            || self.guard.is_full(&self.limits)
    }

    /// Everything that a header alone decides.
    fn begin_frame(&mut self, header: FrameHeader, input: &mut &[u8], now: Instant) -> Handled {
        self.stats.frames_received += 1;
        if header.len > self.limits.max_frame_size {
            return self.first_frame_or(header, Violation::FrameTooLarge, input);
        }
        if !self.reader.settings_received()
            && (header.kind != kind::SETTINGS || header.has(flag::ACK))
        {
            return self.first_frame_or(header, Violation::FirstFrameNotSettings, input);
        }
        if self.blocks.unfinished() != 0
            && (header.kind != kind::CONTINUATION || header.stream != self.blocks.unfinished())
        {
            return Err(Violation::ContinuationExpected);
        }
        match header.kind {
            kind::DATA => {
                if header.has(flag::PADDED) {
                    if header.len == 0 {
                        return Err(Violation::FrameLength);
                    }
                    self.reader.await_pad_length(header);
                    return Ok(None);
                }
                self.begin_data(header, None, now)?;
                return Ok(None);
            }
            kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
                if header.stream == 0 =>
            {
                return Err(Violation::FrameOnStreamZero);
            }
            kind::SETTINGS | kind::PING | kind::GOAWAY if header.stream != 0 => {
                return Err(Violation::FrameOnStream);
            }
            kind::PUSH_PROMISE => return Err(Violation::PushPromise),
            kind::CONTINUATION if self.blocks.unfinished() == 0 => {
                return Err(Violation::ContinuationUnexpected);
            }
            kind::HEADERS | kind::CONTINUATION => {}
            kind::PRIORITY if header.len != 5 => return self.bad_priority(header),
            kind::PRIORITY => {
                // Priorities are advisory and deprecated (RFC 9113 §5.3): no tree, and no state is changed by it.
                self.reader.skip(header.len);
                return Ok(None);
            }
            kind::RST_STREAM | kind::WINDOW_UPDATE if header.len != 4 => {
                return Err(Violation::FrameLength);
            }
            kind::PING if header.len != 8 => return Err(Violation::FrameLength),
            kind::GOAWAY if header.len < 8 => return Err(Violation::FrameLength),
            kind::SETTINGS if header.has(flag::ACK) && header.len != 0 => {
                return Err(Violation::SettingsAckWithPayload);
            }
            kind::SETTINGS if !header.len.is_multiple_of(6) => return Err(Violation::FrameLength),
            kind::SETTINGS if header.len / 6 > self.limits.max_settings_entries => {
                return Err(Violation::TooManySettings);
            }
            kind::RST_STREAM | kind::WINDOW_UPDATE | kind::PING | kind::GOAWAY | kind::SETTINGS => {
            }
            _ => {
                self.reader.skip(header.len);
                return Ok(None);
            }
        }
        // The payload is needed whole.
        match self.reader.take_payload(header, input) {
            Some(payload) => self.on_payload(header, payload, now),
            None => Ok(None),
        }
    }

    /// `violation`, unless the peer's first bytes are another protocol's.
    #[cold]
    fn first_frame_or(
        &mut self,
        header: FrameHeader,
        violation: Violation,
        input: &mut &[u8],
    ) -> Handled {
        if self.reader.settings_received() {
            return Err(violation);
        }
        match self.reader.foreign_start(header, self.side) {
            Some(Next::Foreign(foreign)) => {
                *input = &[];
                self.fail_foreign(foreign);
                Ok(None)
            }
            Some(_) => Ok(None),
            None => Err(violation),
        }
    }

    /// A PRIORITY of the wrong size is an error of its stream (RFC 9113 §6.3). One that is idle or closed cannot be
    /// reset: there it is an error of the connection, as for other frames of a wrong size (§5.4.1).
    fn bad_priority(&mut self, header: FrameHeader) -> Handled {
        match self.streams.find(header.stream) {
            Some(slot) if !self.streams[slot].state().is_closed() => {
                self.reader.skip(header.len);
                self.violate(slot, Violation::FrameLength);
                Ok(None)
            }
            _ => Err(Violation::FrameLength),
        }
    }

    fn on_payload(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        match header.kind {
            kind::HEADERS => self.on_headers(header, payload, now),
            kind::CONTINUATION => self.on_continuation(header, payload, now),
            kind::RST_STREAM => self.on_reset(header.stream, code_in(payload), now),
            kind::WINDOW_UPDATE => self.on_window_update(header.stream, u31_in(payload), now),
            kind::PING => self.on_ping(header.has(flag::ACK), payload, now),
            kind::SETTINGS if header.has(flag::ACK) => self.on_settings_ack(),
            kind::SETTINGS => self.on_settings(payload),
            kind::GOAWAY => self.on_goaway(u31_in(payload), code_in(&payload[4..]), &payload[8..]),
            _ => Ok(None),
        }
    }

    // --- DATA ---

    /// Accounts for a DATA frame and decides whether its stream takes it (RFC 9113 §6.1, §6.9.1).
    fn begin_data(
        &mut self,
        header: FrameHeader,
        padding: Option<u8>,
        now: Instant,
    ) -> Result<(), Violation> {
        if header.stream == 0 {
            return Err(Violation::FrameOnStreamZero);
        }
        // The octet that tells the padding counts too, and is consumed by now.
        let pad_octet = u32::from(padding.is_some());
        let padding = u32::from(padding.unwrap_or(0));
        if padding + pad_octet > header.len {
            return Err(Violation::PaddingTooLong);
        }
        let len = header.len - padding - pad_octet;
        let end_stream = header.has(flag::END_STREAM);
        if !self.recv_window.receive(header.len) {
            return Err(Violation::ConnectionWindowOverrun);
        }
        self.recv_window.release(pad_octet);
        if self.estimate.is_on() {
            self.estimate.on_data(header.len, now);
        }
        self.stats.data_received += u64::from(len);
        self.guard.on_data(len, end_stream, &self.limits)?;
        let key = self.accept_data(header, pad_octet, len, end_stream, now)?;
        self.reader.begin_data(Data { key, remaining: len, padding, end_stream });
        Ok(())
    }

    /// The stream that takes a DATA frame; `None` if it is discarded.
    fn accept_data(
        &mut self,
        header: FrameHeader,
        pad_octet: u32,
        len: u32,
        end_stream: bool,
        now: Instant,
    ) -> Result<Option<StreamKey>, Violation> {
        let input = Input::RecvData { end_stream };
        let Some(slot) = self.streams.find(header.stream) else {
            let state = self.state_without_slot(header.stream);
            self.reject(header.stream, state.next(input), now)?;
            return Ok(None);
        };
        let stream = &mut self.streams[slot];
        if let Err(rejection) = stream.state().next(input) {
            self.reject_on(slot, rejection)?;
            return Ok(None);
        }
        // An empty frame needs no window, not even one that SETTINGS took below zero (§6.9.1).
        let before = stream.recv.held();
        let violation = if !stream.head_received {
            Some(Violation::DataBeforeHeaders)
        } else if !stream.recv.receive(header.len) && header.len > 0 {
            Some(Violation::StreamWindowOverrun)
        } else if stream.content_left >= 0 && i64::from(len) > stream.content_left {
            Some(Violation::ContentLength)
        } else {
            None
        };
        self.receive_budget.on_received(stream.recv.held() - before);
        if let Some(violation) = violation {
            self.violate(slot, violation);
            return Ok(None);
        }
        if stream.content_left >= 0 {
            stream.content_left -= i64::from(len);
        }
        if self.estimate.is_on() {
            self.sample_stream(slot, header.len);
        }
        let key = self.streams.key_of(slot);
        if pad_octet > 0 {
            self.consume(key, pad_octet);
        }
        // Credit that was not worth a frame may be now.
        self.queue_credit(slot);
        Ok(Some(key))
    }

    /// Takes up to `max` bytes of the DATA frame that [`Event::Data`](super::Event::Data) announced.
    ///
    /// Their connection credit returns at once; their stream credit with [`Session::consume`].
    #[inline]
    pub fn take_data<'i>(&mut self, input: &mut &'i [u8], max: usize) -> &'i [u8] {
        let taken = self.reader.take_data(input, max);
        self.recv_window.release(taken.len() as u32);
        taken
    }

    /// The bytes of the current DATA frame that lie in `input`.
    #[inline]
    pub(crate) fn peek_data<'i>(&self, input: &&'i [u8]) -> &'i [u8] {
        self.reader.peek_data(input)
    }

    /// As [`Session::peek_data`], where the next step would tell of DATA of this stream; nothing otherwise.
    #[inline]
    pub(crate) fn peek_data_of<'i>(
        &self,
        key: StreamKey,
        input: &&'i [u8],
        now: Instant,
    ) -> &'i [u8] {
        let is_next = self.reader.data_key() == Some(key);
        match is_next && !self.needs_attention(now) && self.is_live(key) {
            true => self.reader.peek_data(input),
            false => &[],
        }
    }

    /// What the current DATA frame is still to bring, in bytes, whether it lies in the input or not.
    #[inline]
    pub(crate) fn data_remaining(&self) -> u32 {
        self.reader.data_remaining()
    }

    /// A DATA frame has been read to its end.
    #[inline]
    fn end_data(&mut self, data: Data) -> Option<Step> {
        let key = data.key?;
        if !data.end_stream {
            return None;
        }
        let stream = self.streams.get_mut(key)?;
        if !stream.state().can_receive() {
            return None;
        }
        if stream.content_left > 0 {
            self.violate(key.slot(), Violation::ContentLength);
            return None;
        }
        let needs_event = !stream.reported;
        self.step(key.slot(), Input::RecvData { end_stream: true });
        self.vacate_if_done(key.slot());
        needs_event.then(|| self.report(Step::End, key))
    }
}

/// A 31-bit number at the start of a payload whose length was checked.
fn u31_in(payload: &[u8]) -> u32 {
    code_in(payload).0 & 0x7fff_ffff
}

/// A 32-bit code at the start of a payload whose length was checked.
fn code_in(payload: &[u8]) -> ErrorCode {
    ErrorCode(payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}
