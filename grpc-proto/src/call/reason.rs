//! Why a call ended before its time, and why something could not be sent.

use alloc::string::ToString;
use core::fmt;

use crate::http2::{ConnectionError, ErrorCode, OpenError, ResetReason, StreamError, Violation};
use crate::status::{Code, Status};

/// Why a call ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The peer sent RST_STREAM.
    Reset(ErrorCode),
    /// The deadline has passed.
    Deadline,
    /// The peer broke a rule of HTTP/2 on the call's stream.
    PeerMisbehaved(Violation),
    /// The connection ended.
    Connection(ConnectionError),
    /// The peer refused the call by GOAWAY, unseen.
    GoAway(ErrorCode),
    /// The call never left this end.
    NeverSent(ConnectionError),
    /// A message's flags are 0 or 1 (PROTOCOL-HTTP2, "Compressed-Flag").
    MessageFlags,
    /// A message is flagged as compressed, but the call has no `grpc-encoding` (compression.md).
    CompressedWithoutEncoding,
    /// A message exceeds [`crate::Limits::max_receive_message`].
    MessageTooLarge,
    /// The stream ended within a message.
    MessageTruncated,
    /// A value in `-bin` is no base64 (PROTOCOL-HTTP2, "Binary-Header").
    BinaryMetadata,
}

impl Reason {
    /// The status that says this to the application at the client, and to the peer where it is told by one.
    pub const fn code(&self) -> Code {
        match self {
            Reason::Reset(code) => Code::from_reset(*code),
            Reason::Deadline => Code::DeadlineExceeded,
            Reason::PeerMisbehaved(violation) => match violation.code() {
                ErrorCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
                _ => Code::Internal,
            },
            Reason::Connection(_) | Reason::GoAway(_) | Reason::NeverSent(_) => Code::Unavailable,
            Reason::MessageTooLarge => Code::ResourceExhausted,
            Reason::MessageFlags
            | Reason::CompressedWithoutEncoding
            | Reason::MessageTruncated
            | Reason::BinaryMetadata => Code::Internal,
        }
    }

    /// The rule, or what happened, in a few words.
    pub(super) const fn text(&self) -> &'static str {
        match self {
            Reason::Reset(_) => "the peer reset the stream",
            Reason::Deadline => "the deadline has passed",
            Reason::PeerMisbehaved(violation) => violation.rule(),
            Reason::Connection(ConnectionError::PeerMisbehaved(violation)) => violation.rule(),
            Reason::Connection(ConnectionError::TimedOut(_)) => "the connection timed out",
            Reason::Connection(_) => "the connection was lost",
            Reason::GoAway(_) => "the peer is going away and has not seen the call",
            Reason::NeverSent(_) => "the connection ended before the call was sent",
            Reason::MessageFlags => "the flags of a message are 0 or 1",
            Reason::CompressedWithoutEncoding => "a compressed message needs a grpc-encoding",
            Reason::MessageTooLarge => "a message exceeds the receiver's limit",
            Reason::MessageTruncated => "the stream ended within a message",
            Reason::BinaryMetadata => "the value of a name in -bin is base64",
        }
    }

    /// The status for the application; owns no memory.
    pub fn to_status(&self) -> Status {
        match self {
            // What the peer is matters more than that the connection ended.
            Reason::Connection(error @ ConnectionError::NotHttp2(_))
            | Reason::NeverSent(error @ ConnectionError::NotHttp2(_)) => {
                Status::new(self.code(), error.to_string())
            }
            _ => Status::new(self.code(), self.text()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Reset(code) => write!(f, "the peer reset the stream with {code}"),
            Reason::Connection(error) => write!(f, "{error}"),
            Reason::NeverSent(error) => write!(f, "the call was not sent: {error}"),
            reason => f.write_str(reason.text()),
        }
    }
}

impl core::error::Error for Reason {}

impl From<ResetReason> for Reason {
    fn from(reason: ResetReason) -> Self {
        match reason {
            ResetReason::Peer(code) => Reason::Reset(code),
            ResetReason::Violation(violation) => Reason::PeerMisbehaved(violation),
            ResetReason::GoAway(code) => Reason::GoAway(code),
            ResetReason::NeverSent(error) => Reason::NeverSent(error),
            ResetReason::Connection(error) => Reason::Connection(error),
        }
    }
}

/// Whether the peer can have seen a call that failed: without this nobody can retry safely (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processed {
    /// It was never sent: a retry is always safe.
    No,
    /// The peer says that it did not process it (REFUSED_STREAM, or above GOAWAY's last stream).
    Refused,
    /// It may have been.
    Maybe,
}

impl Processed {
    pub(super) const fn of(reason: &Reason) -> Self {
        match reason {
            Reason::NeverSent(_) => Processed::No,
            Reason::GoAway(_) | Reason::Reset(ErrorCode::REFUSED_STREAM) => Processed::Refused,
            _ => Processed::Maybe,
        }
    }
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Backpressure: wait for the call's `Writable` event.
    Full,
    /// The call is over; its terminal event has come or is about to.
    Ended,
    /// The message exceeds [`crate::Limits::max_send_message`].
    TooLarge,
    /// As many calls wait as [`crate::Limits::max_queued_calls`] allows.
    TooManyCalls,
    /// The connection takes no new call: open another one.
    Closing,
    /// The application did what the protocol has no place for.
    Misuse(ApiMisuse),
}

/// What the application did that the protocol has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// A message after `end` or `finish`.
    AfterEnd,
    /// Response headers after the first message, or twice.
    HeadersSent,
    /// A compressed message on a call whose head names no `grpc-encoding`.
    CompressedWithoutEncoding,
    /// A path, an authority, a user agent or an encoding with control characters or outer white space, a path that does not
    /// begin with a slash, or no authority.
    HeadText,
    /// A message whose [`Encode::encode`](grpc_arena::Encode::encode) appends another number of bytes than its
    /// `encoded_len` returned. Nothing of it is sent. If it has removed what was queued before, the call is over.
    EncodedLength,
}

impl From<StreamError> for SendError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Full => SendError::Full,
            StreamError::Ended => SendError::Ended,
            StreamError::AfterEnd => SendError::Misuse(ApiMisuse::AfterEnd),
            StreamError::OutOfOrder => SendError::Misuse(ApiMisuse::HeadersSent),
            StreamError::WrongLength => SendError::Misuse(ApiMisuse::EncodedLength),
        }
    }
}

impl From<OpenError> for SendError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TooMany => SendError::TooManyCalls,
            OpenError::Closing | OpenError::NotAClient => SendError::Closing,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full => "the send queue is full: wait for Writable",
            SendError::Ended => "the call is over",
            SendError::TooLarge => "the message exceeds max_send_message",
            SendError::TooManyCalls => "max_queued_calls calls wait already",
            SendError::Closing => "the connection is closing: open another one",
            SendError::Misuse(ApiMisuse::AfterEnd) => {
                "nothing can be sent after the end of the call"
            }
            SendError::Misuse(ApiMisuse::HeadersSent) => {
                "headers go out once, before the first message"
            }
            SendError::Misuse(ApiMisuse::CompressedWithoutEncoding) => {
                "a compressed message needs a grpc-encoding in the head of the call"
            }
            SendError::Misuse(ApiMisuse::EncodedLength) => {
                "a message appends as many bytes as its encoded_len says"
            }
            SendError::Misuse(ApiMisuse::HeadText) => {
                "texts of a head hold no control characters and no outer white space, \
                 a path begins with a slash, and an authority is not empty"
            }
        })
    }
}

impl core::error::Error for SendError {}
