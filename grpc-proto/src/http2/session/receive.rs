//! Bytes in: from the receive buffer to frames, without copying what lies whole in it.

use super::{Event, Foreign, ResetReason, Session, Side};
use crate::http2::fields::Part;
use crate::http2::frame::{FrameHeader, HEADER_LEN, PREFACE, flag, kind};
use crate::http2::state::Input;
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;
use crate::http2::{ConnectionError, ErrorCode};
use crate::planted::{self, Bug};
use crate::time::Instant;

/// Where in the peer's bytes we are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// Within the client's preface.
    Preface { matched: u8 },
    /// Within what is no preface, until enough is there to tell HTTP/1 from garbage.
    NotPreface,
    /// Within the status of a response of HTTP/1, behind `HTTP/1.1 `.
    Http1Status { digits: u8, status: u16 },
    /// Before or within a frame header.
    Header,
    /// Within the payload of a control frame or a part of a field block; the whole of it is gathered.
    Payload(FrameHeader),
    /// Before the octet that tells the padding of a DATA frame.
    DataPadding(FrameHeader),
    /// Within DATA.
    Data(Data),
    /// Within what is discarded.
    Skip { remaining: u32 },
}

/// The DATA frame that is being read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Data {
    /// `None`: the stream is gone, its bytes are discarded, but their credit returns.
    key: Option<StreamKey>,
    remaining: u32,
    padding: u32,
    end_stream: bool,
}

/// What there is to tell: an [`Event`] without what belongs to it, which waits in [`Session::told`] and
/// [`Session::received`]. A byte is passed up in a register, through as many `Result`s as there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Headers,
    Data,
    End,
    Reset,
    Deadline,
    Writable,
    GoAway,
}

/// What belongs to the last [`Step`].
#[derive(Debug)]
pub(crate) struct Told {
    /// Of any but [`Step::GoAway`].
    pub(crate) key: StreamKey,
    /// Of [`Step::Headers`].
    pub(crate) part: Part,
    /// Likewise.
    pub(crate) end_stream: bool,
    /// Of [`Step::Reset`].
    pub(crate) reset: ResetReason,
}

impl Told {
    pub(super) const fn nothing() -> Self {
        Told {
            key: StreamKey::new(0, 0),
            part: Part::Request,
            end_stream: false,
            reset: ResetReason::Peer(ErrorCode::NO_ERROR),
        }
    }
}

/// A frame that was handled may have something to tell.
pub(super) type Handled = Result<Option<Step>, Violation>;

impl Session {
    /// Takes the next event out of `input`, which is advanced past what was understood.
    ///
    /// `None` with empty input: more input is needed. `None` with input left: output must be pulled
    /// first, because replies or new streams have reached their limit. Empty input is how time alone
    /// passes.
    ///
    /// # Errors
    /// What ended the connection, again and again, after every open stream has had its last event.
    pub fn poll(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Event>, ConnectionError> {
        let Some(step) = self.poll_step(input, now)? else { return Ok(None) };
        let key = self.told.key;
        Ok(Some(match step {
            Step::Headers => Event::Headers {
                stream: key,
                part: self.told.part,
                status: self.received_status(),
                fields: self.take_received(),
                end_stream: self.told.end_stream,
            },
            Step::Data => Event::Data(key),
            Step::End => Event::End(key),
            Step::Reset => Event::Reset(key, self.told.reset.clone()),
            Step::Deadline => Event::Deadline(key),
            Step::Writable => Event::Writable(key),
            Step::GoAway => {
                let (last_stream, code) = self.last_goaway();
                Event::GoAway { last_stream, code }
            }
        }))
    }

    /// Something of a stream is to be told.
    #[inline]
    pub(super) fn tell(&mut self, step: Step, key: StreamKey) -> Step {
        self.told.key = key;
        step
    }

    /// A stream is over before its time, and that is to be told.
    pub(super) fn tell_reset(&mut self, key: StreamKey, reason: ResetReason) -> Step {
        self.told.reset = reason;
        self.tell(Step::Reset, key)
    }

    /// A field block is to be told of.
    #[inline]
    pub(super) fn tell_head(&mut self, key: StreamKey, part: Part, end_stream: bool) -> Step {
        (self.told.part, self.told.end_stream) = (part, end_stream);
        self.tell(Step::Headers, key)
    }

    /// As [`Session::poll`], but leaves the fields of a head in [`Session::received`].
    pub(crate) fn poll_step(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Step>, ConnectionError> {
        self.run_timers(!input.is_empty(), now);
        loop {
            // What a frame led to comes before what the next one does, however the bytes were cut.
            if self.needs_attention(now)
                && let Some(step) = self.poll_pending(now)?
            {
                return Ok(Some(step));
            }
            match self.read(input, now) {
                Ok(None) if self.attention => {}
                Ok(None) => {
                    // The last stream may have gone with what was just read: its time is now, however the bytes were
                    // cut, and whether or not there is output to be pulled.
                    if self.timers.just_idle {
                        self.start_idling(now);
                    }
                    self.guard.on_poll(!input.is_empty());
                    // Input that is left waits for a pull too.
                    if self.timers.backlog == Instant::NEVER
                        && (!input.is_empty() || self.has_output())
                    {
                        self.note_backlog(now);
                    }
                    return Ok(None);
                }
                Ok(step) => return Ok(step),
                Err(violation) => self.misbehaved(violation, input),
            }
        }
    }

    /// Reads on until there is an event, something that led to one, or no more input.
    fn read(&mut self, input: &mut &[u8], now: Instant) -> Handled {
        loop {
            if self.attention {
                return Ok(None);
            }
            match self.reading {
                Reading::Header => {
                    if self.is_backlogged() {
                        return Ok(None);
                    }
                    let Some(header) = self.take_header(input) else { return Ok(None) };
                    if let Some(event) = self.begin_frame(header, input, now)? {
                        return Ok(Some(event));
                    }
                }
                Reading::Payload(header) => {
                    let missing = header.len as usize - self.scratch.len();
                    let part = missing.min(input.len());
                    self.scratch.extend_from_slice(&input[..part]);
                    *input = &input[part..];
                    if part < missing {
                        return Ok(None);
                    }
                    self.reading = Reading::Header;
                    let payload = core::mem::take(&mut self.scratch);
                    let handled = self.on_payload(header, &payload, now);
                    self.scratch = payload;
                    self.scratch.clear();
                    if let Some(event) = handled? {
                        return Ok(Some(event));
                    }
                }
                Reading::DataPadding(header) => {
                    let Some((&padding, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    self.begin_data(header, Some(padding), now)?;
                }
                Reading::Data(data) => {
                    if data.remaining > 0 {
                        if input.is_empty() {
                            return Ok(None);
                        }
                        match data.key {
                            Some(key) if self.is_live(key) => {
                                return Ok(Some(self.tell(Step::Data, key)));
                            }
                            _ => {
                                let skipped = self.take_data(input, usize::MAX).len() as u32;
                                if let Some(key) = data.key {
                                    self.consume(key, skipped);
                                }
                            }
                        }
                    } else if data.padding > 0 {
                        let part = (data.padding as usize).min(input.len());
                        if part == 0 {
                            return Ok(None);
                        }
                        *input = &input[part..];
                        self.conn_recv.release(part as u32);
                        if let Some(key) = data.key {
                            self.consume(key, part as u32);
                        }
                        self.reading =
                            Reading::Data(Data { padding: data.padding - part as u32, ..data });
                    } else {
                        self.reading = Reading::Header;
                        if let Some(event) = self.end_data(data) {
                            return Ok(Some(event));
                        }
                    }
                }
                Reading::Skip { remaining } => {
                    let part = (remaining as usize).min(input.len());
                    *input = &input[part..];
                    let remaining = remaining - part as u32;
                    if remaining > 0 {
                        self.reading = Reading::Skip { remaining };
                        return Ok(None);
                    }
                    self.reading = Reading::Header;
                }
                Reading::Preface { matched } => {
                    let expected = &PREFACE[usize::from(matched)..];
                    let part = expected.len().min(input.len());
                    if input[..part] != expected[..part] {
                        let known = usize::from(matched).min(START);
                        self.partial[..known].copy_from_slice(&PREFACE[..known]);
                        self.partial_len = known as u8;
                        self.reading = Reading::NotPreface;
                        continue;
                    }
                    *input = &input[part..];
                    let matched = matched + part as u8;
                    if self.settings_held && matched >= TELLING {
                        self.release_settings(now);
                    }
                    if part < expected.len() {
                        self.reading = Reading::Preface { matched };
                        return Ok(None);
                    }
                    self.timers.preface_came(&self.limits, now);
                    self.reading = Reading::Header;
                }
                Reading::Http1Status { digits, status } => {
                    let Some((&digit, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    let status = status * 10 + u16::from(digit.wrapping_sub(b'0'));
                    let is_status = digit.is_ascii_digit() && (digits > 0 || digit != b'0');
                    if digits == 2 || !is_status {
                        *input = &[];
                        self.fail_foreign(Foreign::Http1(is_status.then_some(status)));
                    } else {
                        self.reading = Reading::Http1Status { digits: digits + 1, status };
                    }
                }
                Reading::NotPreface => {
                    let have = usize::from(self.partial_len);
                    let part = input.len().min(START - have);
                    self.partial[have..have + part].copy_from_slice(&input[..part]);
                    *input = &input[part..];
                    self.partial_len += part as u8;
                    if let [22, 3, ..] = self.partial[..have + part] {
                        // A TLS ClientHello (RFC 8446 §5.1).
                        *input = &[];
                        self.fail_foreign(Foreign::Tls);
                        continue;
                    }
                    match is_http1(&self.partial[..have + part]) {
                        Some(true) => return Err(Violation::Http1Request),
                        Some(false) => return Err(Violation::BadPreface),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Whether output must be pulled before more input is understood.
    #[inline]
    pub(super) fn is_backlogged(&self) -> bool {
        self.pending_replies >= self.limits.max_pending_replies || self.guard.is_full(&self.limits)
    }

    #[inline]
    fn take_header(&mut self, input: &mut &[u8]) -> Option<FrameHeader> {
        if self.partial_len == 0
            && let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>()
        {
            *input = rest;
            return Some(FrameHeader::parse(bytes));
        }
        let have = usize::from(self.partial_len);
        let part = (HEADER_LEN - have).min(input.len());
        self.partial[have..have + part].copy_from_slice(&input[..part]);
        *input = &input[part..];
        if have + part < HEADER_LEN {
            self.partial_len = (have + part) as u8;
            return None;
        }
        self.partial_len = 0;
        Some(FrameHeader::parse(&self.partial))
    }

    /// Everything that a header alone decides.
    fn begin_frame(&mut self, header: FrameHeader, input: &mut &[u8], now: Instant) -> Handled {
        self.stats.frames_received += 1;
        if header.len > self.limits.max_frame_size {
            return self.first_frame_or(header, Violation::FrameTooLarge, input);
        }
        if !self.settings_received && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
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
                    self.reading = Reading::DataPadding(header);
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
                self.reading = Reading::Skip { remaining: header.len };
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
                self.reading = Reading::Skip { remaining: header.len };
                return Ok(None);
            }
        }
        // The payload is needed whole: where it lies if it is all there, gathered otherwise.
        let len = header.len as usize;
        if input.len() >= len {
            let (payload, rest) = input.split_at(len);
            *input = rest;
            return self.on_payload(header, payload, now);
        }
        self.reading = Reading::Payload(header);
        Ok(None)
    }

    /// Whether the few bytes with which the peer's input ended are another protocol's: a TLS alert is seven bytes long,
    /// two less than the header of a frame.
    #[cold]
    pub(super) fn foreign_rest(&self) -> Option<Foreign> {
        if self.settings_received {
            return None;
        }
        let rest = &self.partial[..usize::from(self.partial_len)];
        match self.reading {
            Reading::Http1Status { .. } => Some(Foreign::Http1(None)),
            Reading::Header | Reading::NotPreface if matches!(rest, [21 | 22, 3, ..]) => {
                Some(Foreign::Tls)
            }
            Reading::Header if self.side == Side::Client && rest.starts_with(b"HTTP/1") => {
                Some(Foreign::Http1(None))
            }
            _ => None,
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
        if self.settings_received {
            return Err(violation);
        }
        // The bytes of "HTTP/1.0 " or "HTTP/1.1 ", as the header of a frame.
        let http1 = header.len == u32::from_be_bytes(*b"\0HTT")
            && header.kind == b'P'
            && header.flags == b'/'
            && matches!(&header.stream.to_be_bytes(), b"1.0 " | b"1.1 ");
        // A TLS record: its type, alert or handshake, and the version 3.x (RFC 8446 §5.1).
        let tls = matches!(header.len >> 8, 0x1503 | 0x1603);
        if self.side == Side::Client && http1 {
            self.reading = Reading::Http1Status { digits: 0, status: 0 };
            Ok(None)
        } else if tls {
            *input = &[];
            self.fail_foreign(Foreign::Tls);
            Ok(None)
        } else {
            Err(violation)
        }
    }

    /// A PRIORITY of the wrong size is an error of its stream (RFC 9113 §6.3). One that is idle or closed cannot be
    /// reset: there it is an error of the connection, as for other frames of a wrong size (§5.4.1).
    fn bad_priority(&mut self, header: FrameHeader) -> Handled {
        match self.streams.find(header.stream) {
            Some(slot) if !self.streams[slot].state().is_closed() => {
                self.reading = Reading::Skip { remaining: header.len };
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
        let told = u32::from(padding.is_some());
        let padding = u32::from(padding.unwrap_or(0));
        if padding + told > header.len {
            return Err(Violation::PaddingTooLong);
        }
        let len = header.len - padding - told;
        let end_stream = header.has(flag::END_STREAM);
        if !self.conn_recv.receive(header.len) {
            return Err(Violation::ConnectionWindowOverrun);
        }
        self.conn_recv.release(told);
        if self.estimate.is_on() {
            self.estimate.on_data(header.len, now);
        }
        self.stats.data_received += u64::from(len);
        self.guard.on_data(len, end_stream, &self.limits)?;
        let key = self.accept_data(header, told, len, end_stream, now)?;
        self.reading = Reading::Data(Data { key, remaining: len, padding, end_stream });
        Ok(())
    }

    /// The stream that takes a DATA frame; `None` if it is discarded.
    fn accept_data(
        &mut self,
        header: FrameHeader,
        told: u32,
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
        self.held += (stream.recv.held() - before) as usize;
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
        if told > 0 {
            self.consume(key, told);
        }
        // Credit that was not worth a frame may be now.
        self.queue_credit(slot);
        Ok(Some(key))
    }

    /// Takes up to `max` bytes of the DATA frame that [`Event::Data`] announced.
    ///
    /// Their connection credit returns at once; their stream credit with [`Session::consume`].
    #[inline]
    pub fn take_data<'i>(&mut self, input: &mut &'i [u8], max: usize) -> &'i [u8] {
        let Reading::Data(data) = &mut self.reading else { return &[] };
        let part = (data.remaining as usize).min(max).min(input.len());
        data.remaining -= part as u32;
        if max < usize::MAX || !planted::is(Bug::SkippedNotReleased) {
            self.conn_recv.release(part as u32);
        }
        let (taken, rest) = input.split_at(part);
        *input = rest;
        taken
    }

    /// The bytes of the current DATA frame that lie in `input`.
    #[inline]
    pub(crate) fn peek_data<'i>(&self, input: &&'i [u8]) -> &'i [u8] {
        match &self.reading {
            Reading::Data(data) => &input[..(data.remaining as usize).min(input.len())],
            _ => &[],
        }
    }

    /// As [`Session::peek_data`], where the next step would tell of DATA of this stream; nothing otherwise.
    #[inline]
    pub(crate) fn peek_data_of<'i>(
        &self,
        key: StreamKey,
        input: &&'i [u8],
        now: Instant,
    ) -> &'i [u8] {
        match &self.reading {
            Reading::Data(data)
                if data.key == Some(key) && !self.needs_attention(now) && self.is_live(key) =>
            {
                &input[..(data.remaining as usize).min(input.len())]
            }
            _ => &[],
        }
    }

    /// What the current DATA frame is still to bring, in bytes, whether it lies in the input or not.
    #[inline]
    pub(crate) fn data_remaining(&self) -> u32 {
        match &self.reading {
            Reading::Data(data) => data.remaining,
            _ => 0,
        }
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
        needs_event.then(|| self.tell(Step::End, key))
    }
}

/// Bytes that tell an HTTP/1 method.
const START: usize = 4;

/// Bytes of the preface that no method of HTTP/1 begins with: they tell that the client speaks HTTP/2.
const TELLING: u8 = 3;

/// Tells an HTTP/1 request from garbage, because "GET / HTTP/1.1" deserves a readable answer; `None`
/// while that is open, so that it does not depend on how the bytes were cut.
fn is_http1(start: &[u8]) -> Option<bool> {
    if start == [22] {
        return None;
    }
    const METHODS: [&[u8; START]; 9] =
        [b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC"];
    match METHODS.iter().any(|method| method.starts_with(start)) {
        true if start.len() < START => None,
        known => Some(known),
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
