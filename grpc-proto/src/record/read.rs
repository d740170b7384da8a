//! The reader: takes the bytes of a recording apart, and trusts none of them.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::limits::{Slot, each};
use super::parts::{EventKind, Outcome, OwnedCallHead, OwnedResponseHead, Record, Start, Verb};
use super::wire::{MAGIC, SENSITIVE, VERSION, WHOLE, tag, unzigzag};
use crate::config::Limits;
use crate::http2::{Allotment, Side};
use crate::metadata::Metadata;
use crate::{CallKey, Code, ErrorCode, Instant, Status};

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the connection.
    Complete,
    /// At [`Options::max_bytes`](super::Options::max_bytes).
    Cut,
    /// Anywhere: the writer stopped before the end, or the file was cut.
    Torn,
}

/// A recording that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Where in the bytes the record begins that is wrong.
    pub at: usize,
    /// What is wrong with it.
    pub broken: Broken,
}

/// A rule of the format that bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// It does not begin with `GRPCREC`.
    Magic,
    /// It is of a version of the format that this reader does not know.
    Version(u8),
    /// It ends within its head.
    Head,
    /// A number has more than 64 bits, more than its place has, or more bytes than it needs.
    Number,
    /// A byte that says one of a few things says something else.
    Choice(u8),
    /// A text is not UTF-8.
    Text,
    /// A limit that this version of the crate does not have.
    Limit(u8),
    /// A record of a kind that the format does not have.
    Record(u8),
    /// A record says that fresh input lies within what was shown before.
    Input,
    /// More bytes were consumed than were shown.
    Consumed,
    /// Bytes follow the end.
    AfterEnd,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Magic => f.write_str("this is no recording: it does not begin with GRPCREC"),
            Broken::Version(version) => {
                write!(f, "the format has version {version}, and {VERSION} is read here")
            }
            Broken::Head => f.write_str("the recording ends within its head"),
            Broken::Number => {
                f.write_str("a number does not fit its place, or is longer than it need be")
            }
            Broken::Choice(byte) => write!(f, "{byte} is none of the values of its place"),
            Broken::Text => f.write_str("a text is not UTF-8"),
            Broken::Limit(number) => write!(f, "there is no limit with the number {number}"),
            Broken::Record(tag) => write!(f, "there is no record with the tag {tag:#04x}"),
            Broken::Input => f.write_str("fresh input must be the end of what is shown"),
            Broken::Consumed => f.write_str("more input was consumed than was shown"),
            Broken::AfterEnd => f.write_str("bytes follow the end"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.broken)
    }
}

impl core::error::Error for ReadError {}

/// Reads a recording, record by record.
///
/// Any bytes are safe to read: what breaks a rule of the format is refused by its name, and no record
/// makes the reader take more memory than the record has bytes, but for a small factor.
#[derive(Clone, Debug)]
pub struct Reader<'r> {
    rest: Bytes<'r>,
    start: Arc<Start>,
    clock: Instant,
    /// Input that was shown and not consumed, and how much of it the last poll was shown.
    unread: usize,
    visible: usize,
    ending: Option<Ending>,
}

impl<'r> Reader<'r> {
    /// Reads the head.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(recording: &'r [u8]) -> Result<Self, ReadError> {
        let mut rest = Bytes { whole: recording, at: 0 };
        let wrong = |stop| match stop {
            Stop::Short => ReadError { at: 0, broken: Broken::Head },
            Stop::Broken(broken) => ReadError { at: 0, broken },
        };
        let start = read_start(&mut rest).map_err(wrong)?;
        let clock = start.now;
        Ok(Reader { rest, start: Arc::new(start), clock, unread: 0, visible: 0, ending: None })
    }

    /// A reader of records that follow the same ones as the next, but are elsewhere: what another recorder
    /// makes of what was read so far.
    pub fn elsewhere<'o>(&self, records: &'o [u8]) -> Reader<'o> {
        Reader {
            rest: Bytes { whole: records, at: 0 },
            start: Arc::clone(&self.start),
            clock: self.clock,
            unread: self.unread,
            visible: self.visible,
            ending: None,
        }
    }

    /// How the connection began.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Where the next record begins.
    pub fn offset(&self) -> usize {
        self.rest.at
    }

    /// The next record; `None` after the last one, of which [`ending`](Self::ending) tells.
    ///
    /// # Errors
    /// The rule that the record breaks; nothing can be read behind it.
    pub fn next_record(&mut self) -> Result<Option<Record<'r>>, ReadError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let at = self.rest.at;
        match self.record() {
            Ok(Some(record)) => Ok(Some(record)),
            Ok(None) if self.rest.at < self.rest.whole.len() => {
                Err(ReadError { at: self.rest.at, broken: Broken::AfterEnd })
            }
            Ok(None) => Ok(None),
            Err(Stop::Short) => {
                self.rest.at = at;
                self.ending = Some(Ending::Torn);
                Ok(None)
            }
            Err(Stop::Broken(broken)) => {
                self.ending = Some(Ending::Torn);
                Err(ReadError { at, broken })
            }
        }
    }

    /// How the recording ends, once it was read to its end.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    fn record(&mut self) -> Result<Option<Record<'r>>, Stop> {
        let tag = self.rest.byte()?;
        let verb = match tag {
            tag::END | tag::CUT => {
                let cut = tag == tag::CUT;
                self.ending = Some(if cut { Ending::Cut } else { Ending::Complete });
                return Ok(None);
            }
            0x80.. => return self.outcome(tag).map(|outcome| Some(Record::Outcome(outcome))),
            tag::POLL_EVENT => self.poll_event()?,
            tag::POLL_TRANSMIT => Verb::PollTransmit { now: self.now()? },
            tag::CLOSE_READ => Verb::CloseRead { now: self.now()? },
            tag::NOTE_DELIVERY => Verb::NoteDelivery { now: self.now()? },
            tag::SHUTDOWN => Verb::Shutdown { now: self.now()? },
            tag::CLOSE => {
                let now = self.now()?;
                Verb::Close { code: ErrorCode(self.rest.small()?), now }
            }
            tag::SEND => Verb::Send { call: self.rest.key()?, message: self.rest.bytes()? },
            tag::SEND_ENCODED => {
                let (call, compressed) = (self.rest.key()?, self.rest.flag()?);
                Verb::SendEncoded { call, message: self.rest.bytes()?, compressed }
            }
            tag::SEND_COMPRESSED => {
                Verb::SendCompressed { call: self.rest.key()?, message: self.rest.bytes()? }
            }
            tag::ASK_ROOM => Verb::AskRoom { call: self.rest.key()?, len: self.rest.size()? },
            tag::GRANT => Verb::Grant { call: self.rest.key()?, bytes: self.rest.small()? },
            tag::ALLOT => {
                let (assembly, send) = (self.rest.small()?, self.rest.small()?);
                Verb::Allot { allotment: Allotment { assembly, send } }
            }
            tag::RECYCLE => Verb::Recycle { bytes: self.rest.size()? },
            tag::RECYCLE_METADATA => Verb::RecycleMetadata,
            tag::CALL => self.call()?,
            tag::CALL_END => Verb::End { call: self.rest.key()? },
            tag::CANCEL => Verb::Cancel { call: self.rest.key()? },
            tag::RESPOND => {
                let call = self.rest.key()?;
                let (encoding, accept_encoding) =
                    (self.rest.maybe_text()?, self.rest.maybe_text()?);
                let metadata = self.rest.maybe_metadata()?;
                let head = OwnedResponseHead { encoding, accept_encoding, metadata };
                Verb::Respond { call, head }
            }
            tag::FINISH => {
                let (call, code) = (self.rest.key()?, self.rest.byte()?);
                let code = Code::from_number(code.into()).ok_or(Broken::Choice(code))?;
                let message = String::from(self.rest.text()?);
                let status = Status::new(code, message).with_details(self.rest.bytes()?.into());
                Verb::Finish { call, status, trailers: self.rest.metadata()? }
            }
            tag::RELEASE => Verb::Release { call: self.rest.key()? },
            tag => return Err(Broken::Record(tag).into()),
        };
        Ok(Some(Record::Verb(verb)))
    }

    fn poll_event(&mut self) -> Result<Verb<'r>, Stop> {
        let now = self.now()?;
        let visible = self.rest.size()?;
        let fresh = self.rest.bytes()?;
        let known = self.unread + fresh.len();
        if visible > known || (!fresh.is_empty() && visible != known) {
            return Err(Broken::Input.into());
        }
        (self.unread, self.visible) = (known, visible);
        Ok(Verb::PollEvent { visible, fresh, now })
    }

    fn call(&mut self) -> Result<Verb<'r>, Stop> {
        let now = self.now()?;
        let deadline = self.maybe_instant()?;
        let rest = &mut self.rest;
        // A caller can call any path: it is sent as it is, and was.
        let head = OwnedCallHead {
            path: rest.text()?,
            authority: rest.text()?,
            secure: rest.flag()?,
            user_agent: rest.text()?,
            encoding: rest.maybe_text()?,
            accept_encoding: rest.maybe_text()?,
            metadata: rest.maybe_metadata()?,
        };
        Ok(Verb::Call { head, deadline, now })
    }

    fn outcome(&mut self, tag: u8) -> Result<Outcome<'r>, Stop> {
        Ok(match tag {
            tag::NOTHING => Outcome::Nothing { consumed: self.consumed()? },
            tag::EVENT => {
                let consumed = self.consumed()?;
                let kind = self.rest.byte()?;
                let kind = EventKind::ALL.into_iter().find(|&known| known as u8 == kind);
                let kind = kind.ok_or(Broken::Choice(self.rest.whole[self.rest.at - 1]))?;
                let call = if self.rest.flag()? { Some(self.rest.key()?) } else { None };
                let (size, digest) = (self.rest.number()?, self.rest.word()?);
                Outcome::Event { consumed, kind, call, size, digest }
            }
            tag::FAILED => {
                Outcome::Failed { consumed: self.consumed()?, digest: self.rest.word()? }
            }
            tag::OUTPUT_HASH => {
                Outcome::OutputHash { len: self.rest.number()?, hash: self.rest.word()? }
            }
            tag::OUTPUT_BYTES => Outcome::OutputBytes(self.rest.bytes()?),
            tag::RESULT => Outcome::Result(self.rest.byte()?),
            tag::CALLED => Outcome::Called(match self.rest.byte()? {
                0 => Ok(self.rest.key()?),
                error => Err(error),
            }),
            tag::TIMEOUT => Outcome::Timeout(self.maybe_instant()?),
            tag => return Err(Broken::Record(tag).into()),
        })
    }

    /// The bytes that a poll consumed.
    fn consumed(&mut self) -> Result<usize, Stop> {
        let consumed = self.rest.size()?;
        if consumed > self.visible {
            return Err(Broken::Consumed.into());
        }
        self.visible -= consumed;
        self.unread -= consumed;
        Ok(consumed)
    }

    fn now(&mut self) -> Result<Instant, Stop> {
        self.clock = self.instant()?;
        Ok(self.clock)
    }

    fn instant(&mut self) -> Result<Instant, Stop> {
        let difference = unzigzag(self.rest.number()?);
        Ok(Instant::from_nanos(self.clock.as_nanos().wrapping_add_signed(difference)))
    }

    fn maybe_instant(&mut self) -> Result<Option<Instant>, Stop> {
        Ok(if self.rest.flag()? { Some(self.instant()?) } else { None })
    }
}

fn read_start(rest: &mut Bytes<'_>) -> Result<Start, Stop> {
    for &byte in MAGIC {
        if rest.byte()? != byte {
            return Err(Broken::Magic.into());
        }
    }
    let version = rest.byte()?;
    if version != VERSION {
        return Err(Broken::Version(version).into());
    }
    let side = match rest.byte()? {
        1 => Side::Client,
        2 => Side::Server,
        other => return Err(Broken::Choice(other).into()),
    };
    let output_bytes = rest.flag()?;
    let version = String::from(rest.text()?);
    let entropy = rest.word()?;
    let now = Instant::from_nanos(rest.number()?);
    let limits = read_limits(rest)?;
    Ok(Start { side, output_bytes, version, limits, entropy, now })
}

/// What is not written down keeps its default, or what there was before it: the recorder did not know of it yet.
fn read_limits(rest: &mut Bytes<'_>) -> Result<Limits, Stop> {
    // A server whose recorder did not know of the hold sent its SETTINGS at once.
    let mut limits = Limits { settings_hold: Duration::ZERO, ..Limits::default() };
    for _ in 0..rest.number()? {
        let number = rest.byte()?;
        let mut read = Err(Stop::Broken(Broken::Limit(number)));
        each(&mut limits, |known, slot| {
            if known == number {
                read = rest.limit(slot);
            }
        });
        read?;
    }
    Ok(limits)
}

/// Why reading stops.
#[derive(Debug)]
enum Stop {
    /// The bytes have ended.
    Short,
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Stop::Broken(broken)
    }
}

/// The bytes, and how far they were read.
#[derive(Clone, Debug)]
struct Bytes<'r> {
    whole: &'r [u8],
    at: usize,
}

impl<'r> Bytes<'r> {
    fn take(&mut self, len: usize) -> Result<&'r [u8], Stop> {
        let end = self.at.checked_add(len).ok_or(Stop::Short)?;
        let taken = self.whole.get(self.at..end).ok_or(Stop::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    fn flag(&mut self) -> Result<bool, Stop> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Broken::Choice(other).into()),
        }
    }

    fn word(&mut self) -> Result<u64, Stop> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    fn number(&mut self) -> Result<u64, Stop> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte == 0 && shift > 0 {
                // Nothing but zeros: what was read would not be written again to the same bytes.
                break;
            }
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken::Number.into())
    }

    fn small(&mut self) -> Result<u32, Stop> {
        u32::try_from(self.number()?).map_err(|_| Broken::Number.into())
    }

    fn size(&mut self) -> Result<usize, Stop> {
        usize::try_from(self.number()?).map_err(|_| Broken::Number.into())
    }

    fn bytes(&mut self) -> Result<&'r [u8], Stop> {
        let len = self.size()?;
        self.take(len)
    }

    fn text(&mut self) -> Result<&'r str, Stop> {
        core::str::from_utf8(self.bytes()?).map_err(|_| Broken::Text.into())
    }

    fn maybe_text(&mut self) -> Result<Option<&'r str>, Stop> {
        match self.size()?.checked_sub(1) {
            None => Ok(None),
            Some(len) => match core::str::from_utf8(self.take(len)?) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(Broken::Text.into()),
            },
        }
    }

    fn key(&mut self) -> Result<CallKey, Stop> {
        Ok(CallKey::new(self.small()?, self.small()?))
    }

    fn metadata(&mut self) -> Result<Metadata, Stop> {
        let flags = self.byte()?;
        if flags & !WHOLE != 0 {
            return Err(Broken::Choice(flags).into());
        }
        let mut list = crate::hpack::FieldList::new();
        for _ in 0..self.number()? {
            let sensitive = self.byte()?;
            if sensitive & !SENSITIVE != 0 {
                return Err(Broken::Choice(sensitive).into());
            }
            let (name, value) = (self.bytes()?, self.bytes()?);
            match sensitive {
                SENSITIVE => list.push_sensitive(name, value),
                _ => list.push(name, value),
            }
        }
        Ok(Metadata::from_recorded(list, flags == WHOLE))
    }

    fn maybe_metadata(&mut self) -> Result<Option<Metadata>, Stop> {
        Ok(if self.flag()? { Some(self.metadata()?) } else { None })
    }

    fn span(&mut self) -> Result<Duration, Stop> {
        let (seconds, nanos) = (self.number()?, self.small()?);
        if nanos >= 1_000_000_000 {
            return Err(Broken::Number.into());
        }
        Ok(Duration::new(seconds, nanos))
    }

    fn limit(&mut self, slot: Slot<'_>) -> Result<(), Stop> {
        match slot {
            Slot::Number(value) => *value = self.small()?,
            Slot::Flag(value) => *value = self.flag()?,
            Slot::Span(value) => *value = self.span()?,
            Slot::MaybeSpan(value) => {
                *value = if self.flag()? { Some(self.span()?) } else { None };
            }
        }
        Ok(())
    }
}
