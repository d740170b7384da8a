//! Where we are in the peer's bytes: frames are cut out of the input, without copying what lies whole in it.

use alloc::vec::Vec;

use super::{Foreign, Side};
use crate::http2::frame::{FrameHeader, HEADER_LEN, PREFACE};
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;

/// Cuts the peer's bytes into parts of frames.
#[derive(Debug)]
pub(super) struct Reader {
    reading: Reading,
    /// The first bytes of a frame header that is not all there, or of what is no preface.
    partial: [u8; HEADER_LEN],
    partial_len: u8,
    /// The payload of a control frame, or a part of a field block, that came in pieces.
    payload: Vec<u8>,
    /// The first frame, SETTINGS, has come.
    settings_received: bool,
}

/// Where in the peer's bytes we are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
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
    pub(super) key: Option<StreamKey>,
    /// Payload that is still to come.
    pub(super) remaining: u32,
    /// Padding that is still to come.
    pub(super) padding: u32,
    pub(super) end_stream: bool,
}

/// Where in the peer's bytes we are, as far as that decides how to go on.
pub(super) enum Place {
    /// Before or within the header of a frame: [`Reader::take_header`].
    Header,
    /// Within DATA: [`Reader::next_of_data`].
    Data,
    /// Elsewhere: [`Reader::next`].
    Other,
}

/// What comes next of a DATA frame.
pub(super) enum NextOfData {
    /// More input is needed.
    Nothing,
    /// Payload, which lies in the input.
    Payload(Option<StreamKey>),
    /// So much padding, which was skipped.
    Padding(Option<StreamKey>, u32),
    /// The end of the frame.
    End(Data),
}

/// What comes next in the input, beside headers of frames and DATA.
pub(super) enum Next {
    /// More input is needed.
    Nothing,
    /// What was to be skipped is over.
    Skipped,
    /// So much of the client's connection preface has come that it speaks HTTP/2.
    PrefaceBegun,
    /// The client's connection preface is complete.
    Preface,
    /// The payload of a frame that [`Reader::take_payload`] has found incomplete, gathered.
    Payload(FrameHeader, Gathered),
    /// The octet that tells the padding of a DATA frame.
    PadLength(FrameHeader, u8),
    /// The peer speaks another protocol.
    Foreign(Foreign),
    /// The client's bytes are no preface.
    Violation(Violation),
}

/// A payload that came in pieces; it goes back by [`Reader::recycle`].
pub(super) struct Gathered(pub(super) Vec<u8>);

impl Reader {
    pub(super) fn new(side: Side) -> Self {
        Reader {
            reading: match side {
                Side::Client => Reading::Header,
                Side::Server => Reading::Preface { matched: 0 },
            },
            partial: [0; HEADER_LEN],
            partial_len: 0,
            payload: Vec::new(),
            settings_received: false,
        }
    }

    /// Whether the peer's SETTINGS have come, the first sign that it speaks HTTP/2.
    #[inline]
    pub(super) fn settings_received(&self) -> bool {
        self.settings_received
    }

    pub(super) fn on_settings(&mut self) {
        self.settings_received = true;
    }

    /// Whether what the client has sent so far may be the beginning of the preface.
    pub(super) fn may_be_http2(&self) -> bool {
        !matches!(self.reading, Reading::NotPreface)
    }

    /// Where in the peer's bytes we are.
    #[inline]
    pub(super) fn place(&self) -> Place {
        match self.reading {
            Reading::Header => Place::Header,
            Reading::Data(_) => Place::Data,
            _ => Place::Other,
        }
    }

    /// Takes the next part out of the input.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Next {
        match &mut self.reading {
            Reading::Payload(header) => {
                let missing = header.len as usize - self.payload.len();
                let part = missing.min(input.len());
                self.payload.extend_from_slice(&input[..part]);
                *input = &input[part..];
                if part < missing {
                    return Next::Nothing;
                }
                let header = *header;
                self.reading = Reading::Header;
                Next::Payload(header, Gathered(core::mem::take(&mut self.payload)))
            }
            Reading::DataPadding(header) => {
                let Some((&padding, rest)) = input.split_first() else { return Next::Nothing };
                *input = rest;
                Next::PadLength(*header, padding)
            }
            Reading::Skip { remaining } => {
                let part = (*remaining as usize).min(input.len());
                *input = &input[part..];
                *remaining -= part as u32;
                if *remaining > 0 {
                    return Next::Nothing;
                }
                self.reading = Reading::Header;
                Next::Skipped
            }
            Reading::Preface { .. } | Reading::Http1Status { .. } | Reading::NotPreface => {
                self.next_of_preface(input)
            }
            Reading::Header | Reading::Data(_) => Next::Nothing,
        }
    }

    /// Goes on with a DATA frame.
    #[inline(always)]
    pub(super) fn next_of_data(&mut self, input: &mut &[u8]) -> NextOfData {
        let Reading::Data(data) = &mut self.reading else { return NextOfData::Nothing };
        if data.remaining > 0 {
            return match input.is_empty() {
                true => NextOfData::Nothing,
                false => NextOfData::Payload(data.key),
            };
        }
        if data.padding > 0 {
            let part = (data.padding as usize).min(input.len()) as u32;
            if part == 0 {
                return NextOfData::Nothing;
            }
            *input = &input[part as usize..];
            data.padding -= part;
            return NextOfData::Padding(data.key, part);
        }
        let ended = *data;
        self.reading = Reading::Header;
        NextOfData::End(ended)
    }

    /// The header of the next frame, if it is all there.
    #[inline]
    pub(super) fn take_header(&mut self, input: &mut &[u8]) -> Option<FrameHeader> {
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

    /// The payload of a frame: where it lies if it is all there. Otherwise it is gathered, and comes by
    /// [`next`](Self::next).
    #[inline]
    pub(super) fn take_payload<'i>(
        &mut self,
        header: FrameHeader,
        input: &mut &'i [u8],
    ) -> Option<&'i [u8]> {
        match input.split_at_checked(header.len as usize) {
            Some((payload, rest)) => {
                *input = rest;
                Some(payload)
            }
            None => {
                self.reading = Reading::Payload(header);
                None
            }
        }
    }

    /// Keeps the memory of a payload that was handled.
    pub(super) fn recycle(&mut self, Gathered(mut payload): Gathered) {
        payload.clear();
        self.payload = payload;
    }

    /// The payload of a frame is to be discarded.
    pub(super) fn skip(&mut self, len: u32) {
        self.reading = Reading::Skip { remaining: len };
    }

    /// The octet that tells the padding of a DATA frame comes next.
    pub(super) fn await_pad_length(&mut self, header: FrameHeader) {
        self.reading = Reading::DataPadding(header);
    }

    /// DATA comes next.
    #[inline]
    pub(super) fn begin_data(&mut self, data: Data) {
        self.reading = Reading::Data(data);
    }

    /// Takes up to `max` bytes of the DATA frame that is being read.
    #[inline]
    pub(super) fn take_data<'i>(&mut self, input: &mut &'i [u8], max: usize) -> &'i [u8] {
        let Reading::Data(data) = &mut self.reading else { return &[] };
        let part = (data.remaining as usize).min(max).min(input.len());
        data.remaining -= part as u32;
        let (taken, rest) = input.split_at(part);
        *input = rest;
        taken
    }

    /// The bytes of the current DATA frame that lie in `input`.
    #[inline]
    pub(super) fn peek_data<'i>(&self, input: &&'i [u8]) -> &'i [u8] {
        &input[..(self.data_remaining() as usize).min(input.len())]
    }

    /// The stream of the current DATA frame.
    #[inline]
    pub(super) fn data_key(&self) -> Option<StreamKey> {
        match &self.reading {
            Reading::Data(data) => data.key,
            _ => None,
        }
    }

    /// Payload that the current DATA frame is still to bring, whether it lies in the input or not.
    #[inline]
    pub(super) fn data_remaining(&self) -> u32 {
        match &self.reading {
            Reading::Data(data) => data.remaining,
            _ => 0,
        }
    }

    // --- The first bytes ---

    /// Goes on with the client's preface, or with what came in its place.
    fn next_of_preface(&mut self, input: &mut &[u8]) -> Next {
        loop {
            match self.reading {
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
                    if part < expected.len() {
                        let (before, matched) = (matched, matched + part as u8);
                        self.reading = Reading::Preface { matched };
                        return match before < TELLING && matched >= TELLING {
                            true => Next::PrefaceBegun,
                            false => Next::Nothing,
                        };
                    }
                    self.reading = Reading::Header;
                    return Next::Preface;
                }
                Reading::NotPreface => {
                    let have = usize::from(self.partial_len);
                    let part = input.len().min(START - have);
                    self.partial[have..have + part].copy_from_slice(&input[..part]);
                    *input = &input[part..];
                    self.partial_len += part as u8;
                    let start = &self.partial[..have + part];
                    if let [22, 3, ..] = start {
                        // A TLS ClientHello (RFC 8446 §5.1).
                        return Next::Foreign(Foreign::Tls);
                    }
                    return match is_http1(start) {
                        Some(true) => Next::Violation(Violation::Http1Request),
                        Some(false) => Next::Violation(Violation::BadPreface),
                        None => Next::Nothing,
                    };
                }
                Reading::Http1Status { digits, status } => {
                    let Some((&digit, rest)) = input.split_first() else { return Next::Nothing };
                    *input = rest;
                    let status = status * 10 + u16::from(digit.wrapping_sub(b'0'));
                    let is_status = digit.is_ascii_digit() && (digits > 0 || digit != b'0');
                    if digits == 2 || !is_status {
                        return Next::Foreign(Foreign::Http1(is_status.then_some(status)));
                    }
                    self.reading = Reading::Http1Status { digits: digits + 1, status };
                }
                _ => return Next::Nothing,
            }
        }
    }

    /// What a first frame that is not SETTINGS is in truth, if it is another protocol's: a status of HTTP/1 is still to
    /// be read, TLS is known at once.
    #[cold]
    pub(super) fn foreign_start(&mut self, header: FrameHeader, side: Side) -> Option<Next> {
        // The bytes of "HTTP/1.0 " or "HTTP/1.1 ", as the header of a frame.
        let http1 = header.len == u32::from_be_bytes(*b"\0HTT")
            && header.kind == b'P'
            && header.flags == b'/'
            && matches!(&header.stream.to_be_bytes(), b"1.0 " | b"1.1 ");
        // A TLS record: its type, alert or handshake, and the version 3.x (RFC 8446 §5.1).
        let tls = matches!(header.len >> 8, 0x1503 | 0x1603);
        if side == Side::Client && http1 {
            self.reading = Reading::Http1Status { digits: 0, status: 0 };
            Some(Next::Nothing)
        } else if tls {
            Some(Next::Foreign(Foreign::Tls))
        } else {
            None
        }
    }

    /// Whether the few bytes with which the peer's input ended are another protocol's: a TLS alert is seven bytes long,
    /// two less than the header of a frame.
    #[cold]
    pub(super) fn foreign_rest(&self, side: Side) -> Option<Foreign> {
        if self.settings_received {
            return None;
        }
        let rest = &self.partial[..usize::from(self.partial_len)];
        match self.reading {
            Reading::Http1Status { .. } => Some(Foreign::Http1(None)),
            Reading::Header | Reading::NotPreface if matches!(rest, [21 | 22, 3, ..]) => {
                Some(Foreign::Tls)
            }
            Reading::Header if side == Side::Client && rest.starts_with(b"HTTP/1") => {
                Some(Foreign::Http1(None))
            }
            _ => None,
        }
    }

    // --- Memory ---

    pub(super) fn heap_bytes(&self) -> usize {
        self.payload.capacity()
    }

    /// Gives memory back; what a frame in progress has gathered stays.
    pub(super) fn trim(&mut self) {
        self.payload.shrink_to(0);
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
