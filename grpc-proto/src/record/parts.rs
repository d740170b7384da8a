//! What a recording is made of, as the reader hands it out.

use alloc::string::String;

use crate::config::Limits;
use crate::http2::{Allotment, Side};
use crate::metadata::Metadata;
use crate::server::ResponseHead;
use crate::{CallHead, CallKey, ErrorCode, Instant, Status};

/// How a recorded connection began.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Which end it was.
    pub side: Side,
    /// Whether output was written down whole.
    pub output_bytes: bool,
    /// The version of this crate that recorded it.
    pub version: String,
    /// Its limits, not checked yet.
    pub limits: Limits,
    /// Its entropy.
    pub entropy: u64,
    /// Its first moment.
    pub now: Instant,
}

/// One record: something that the connection was asked to do, or something that came of it.
#[derive(Debug, PartialEq)]
pub enum Record<'r> {
    /// What it was asked, and when. A verb that takes no time came between its neighbours.
    Verb(Verb<'r>),
    /// What came of the last verb.
    Outcome(Outcome<'r>),
}

/// A verb of [`Connection`](crate::Connection) with its arguments.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the arguments are those of the connection's verbs")]
pub enum Verb<'r> {
    /// `visible` bytes of input, the last of which, `fresh`, it had not been shown before.
    PollEvent {
        visible: usize,
        fresh: &'r [u8],
        now: Instant,
    },
    PollTransmit {
        now: Instant,
    },
    CloseRead {
        now: Instant,
    },
    NoteDelivery {
        now: Instant,
    },
    Shutdown {
        now: Instant,
    },
    Close {
        code: ErrorCode,
        now: Instant,
    },
    /// A message as it was encoded.
    Send {
        call: CallKey,
        message: &'r [u8],
    },
    SendEncoded {
        call: CallKey,
        message: &'r [u8],
        compressed: bool,
    },
    SendCompressed {
        call: CallKey,
        message: &'r [u8],
    },
    /// Also a message of so many bytes that was refused for want of room.
    AskRoom {
        call: CallKey,
        len: usize,
    },
    Grant {
        call: CallKey,
        bytes: u32,
    },
    Allot {
        allotment: Allotment,
    },
    /// A buffer of so many bytes.
    Recycle {
        bytes: usize,
    },
    RecycleMetadata,
    Call {
        head: OwnedCallHead<'r>,
        deadline: Option<Instant>,
        now: Instant,
    },
    End {
        call: CallKey,
    },
    Cancel {
        call: CallKey,
    },
    Respond {
        call: CallKey,
        head: OwnedResponseHead<'r>,
    },
    Finish {
        call: CallKey,
        status: Status,
        trailers: Metadata,
    },
    Release {
        call: CallKey,
    },
}

/// What came of a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'r> {
    /// `poll_event` consumed so many bytes, and had no event.
    Nothing {
        /// Bytes of the input.
        consumed: usize,
    },
    /// `poll_event` consumed so many bytes, and had one.
    Event {
        /// Bytes of the input.
        consumed: usize,
        /// Which.
        kind: EventKind,
        /// The call that it is of.
        call: Option<CallKey>,
        /// Length of a message; number of a status or a code.
        size: u64,
        /// A hash of all that it holds.
        digest: u64,
    },
    /// `poll_event` said that the connection is over.
    Failed {
        /// Bytes of the input.
        consumed: usize,
        /// A hash of the error.
        digest: u64,
    },
    /// `poll_transmit` appended so many bytes with this hash (FNV-1a of 64 bits).
    OutputHash {
        /// How many.
        len: u64,
        /// Of all of them.
        hash: u64,
    },
    /// `poll_transmit` appended these bytes.
    OutputBytes(&'r [u8]),
    /// A verb succeeded (0) or did not: the number of its error.
    Result(u8),
    /// `call` opened a call, or did not: the number of its error.
    Called(Result<CallKey, u8>),
    /// `poll_timeout` says something else since the last `poll_event` or `poll_transmit`.
    Timeout(Option<Instant>),
}

/// The events of both roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "named as the events are")]
pub enum EventKind {
    Headers = 1,
    Message,
    Status,
    Writable,
    GoAway,
    Request,
    End,
    Cancelled,
}

impl EventKind {
    pub(super) const ALL: [EventKind; 8] = [
        EventKind::Headers,
        EventKind::Message,
        EventKind::Status,
        EventKind::Writable,
        EventKind::GoAway,
        EventKind::Request,
        EventKind::End,
        EventKind::Cancelled,
    ];
}

/// A [`CallHead`] that holds its metadata.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "those of the head")]
pub struct OwnedCallHead<'r> {
    pub path: &'r str,
    pub authority: &'r str,
    pub secure: bool,
    pub user_agent: &'r str,
    pub encoding: Option<&'r str>,
    pub accept_encoding: Option<&'r str>,
    pub metadata: Option<Metadata>,
}

impl OwnedCallHead<'_> {
    /// It as an argument of [`Connection::call`](crate::Connection::call).
    pub fn to_head(&self) -> CallHead<'_> {
        let mut head = CallHead::new(self.path, self.authority);
        head.secure = self.secure;
        head.user_agent = self.user_agent;
        head.encoding = self.encoding;
        head.accept_encoding = self.accept_encoding;
        head.metadata = self.metadata.as_ref();
        head
    }
}

/// A [`ResponseHead`] that holds its metadata.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "those of the head")]
pub struct OwnedResponseHead<'r> {
    pub encoding: Option<&'r str>,
    pub accept_encoding: Option<&'r str>,
    pub metadata: Option<Metadata>,
}

impl OwnedResponseHead<'_> {
    /// It as an argument of [`Connection::respond`](crate::Connection::respond).
    pub fn to_head(&self) -> ResponseHead<'_> {
        ResponseHead {
            metadata: self.metadata.as_ref(),
            encoding: self.encoding,
            accept_encoding: self.accept_encoding,
        }
    }
}
