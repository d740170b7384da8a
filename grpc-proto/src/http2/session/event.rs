//! What a session tells, and what it refuses.

use core::fmt;

use crate::hpack::{self, FieldList};
use crate::http2::error_code::ErrorCode;
use crate::http2::fields::Part;
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Opens the connection and its streams.
    Client,
    /// Accepts them.
    Server,
}

/// What happened on a connection.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A valid field list: a request's head opens a new stream.
    Headers {
        /// The stream.
        stream: StreamKey,
        /// Which part of the message it is.
        part: Part,
        /// `:status` of a response's head; 1xx is informational and followed by another head.
        status: u16,
        /// The fields; give the list back with [`Session::recycle_fields`](crate::http2::Session::recycle_fields).
        fields: FieldList,
        /// The peer sends no more on this stream.
        end_stream: bool,
    },
    /// DATA can be taken with [`Session::take_data`](crate::http2::Session::take_data); comes again until all of it has been.
    Data(StreamKey),
    /// The peer has ended the stream with its last DATA frame.
    End(StreamKey),
    /// The stream is over before its time. Nothing follows; a server's slot is held until [`Session::release`](crate::http2::Session::release).
    Reset(StreamKey, ResetReason),
    /// The deadline set with [`Session::set_deadline`](crate::http2::Session::set_deadline) has come.
    Deadline(StreamKey),
    /// There is room again on a stream that refused a write.
    Writable(StreamKey),
    /// The peer will accept no stream above this identifier.
    GoAway {
        /// The last identifier that the peer did or might process.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
    },
}

/// Why a stream ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// The peer sent RST_STREAM.
    Peer(ErrorCode),
    /// The peer broke a rule on this stream, which was answered with RST_STREAM.
    Violation(Violation),
    /// The stream was above the last one of the peer's GOAWAY: it was not processed, a retry is safe.
    GoAway(ErrorCode),
    /// The stream was never sent: a retry is safe.
    NeverSent(ConnectionError),
    /// The connection ended.
    Connection(ConnectionError),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke a rule, which was answered with GOAWAY.
    PeerMisbehaved(Violation),
    /// The peer does not speak HTTP/2; nothing was sent to it in answer.
    NotHttp2(Foreign),
    /// A field block did not decode, which was answered with COMPRESSION_ERROR.
    Compression(hpack::DecodeError),
    /// The transport ended; with the code of the peer's GOAWAY if it sent one.
    Closed(Option<ErrorCode>),
    /// The peer did not do something in time.
    TimedOut(TimedOut),
    /// The application closed the connection with this code.
    ClosedByUs(ErrorCode),
    /// The drain is complete; one that outlives its grace period is [`TimedOut::Drain`].
    Drained,
}

/// What a peer speaks in place of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Foreign {
    /// HTTP/1: the server answered with this status, if it named one.
    Http1(Option<u16>),
    /// TLS: the peer sent a TLS record on a connection without TLS.
    Tls,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::Http1(status) => {
                f.write_str("the server answered in HTTP/1")?;
                if let Some(status) = status {
                    write!(f, " with status {status}")?;
                }
                f.write_str(
                    ": it does not speak HTTP/2 with prior knowledge on this port (RFC 9113 3.3)",
                )
            }
            Foreign::Tls => f.write_str(
                "the peer speaks TLS on a connection without TLS: use TLS at both ends, or at none",
            ),
        }
    }
}

/// What was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimedOut {
    /// The client's preface.
    Preface,
    /// The first SETTINGS.
    Settings,
    /// The acknowledgement of our SETTINGS.
    SettingsAck,
    /// The acknowledgement of a keepalive PING.
    Keepalive,
    /// Room in the connection's window, for which output waited.
    Window,
    /// A pull of output that was there to be sent, or for which input waited: the peer takes nothing.
    Backlog,
    /// The calls that were open when a drain began.
    Drain,
}

impl TimedOut {
    /// Everything that is waited for, in the order of the variants.
    pub const ALL: &'static [TimedOut] = &[
        TimedOut::Preface,
        TimedOut::Settings,
        TimedOut::SettingsAck,
        TimedOut::Keepalive,
        TimedOut::Window,
        TimedOut::Backlog,
        TimedOut::Drain,
    ];

    /// What was waited for, in a sentence; sent as debug data of GOAWAY.
    pub const fn as_str(self) -> &'static str {
        match self {
            TimedOut::Preface => "no connection preface came in time",
            TimedOut::Settings => "no SETTINGS came in time",
            TimedOut::SettingsAck => "SETTINGS were not acknowledged in time",
            TimedOut::Keepalive => "a keepalive PING was not acknowledged in time",
            TimedOut::Window => "the connection's window stayed closed while output waited",
            TimedOut::Backlog => "what there was to send was not taken in time",
            TimedOut::Drain => "calls outlived the grace period of the drain",
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::PeerMisbehaved(rule) => {
                write!(f, "the peer broke a rule: {rule} ({})", rule.code())
            }
            ConnectionError::NotHttp2(foreign) => write!(f, "{foreign}"),
            ConnectionError::Compression(error) => {
                write!(f, "a field block did not decode: {error}")
            }
            ConnectionError::Closed(None) => f.write_str("the connection was closed by the peer"),
            ConnectionError::Closed(Some(code)) => {
                write!(f, "the connection was closed by the peer after GOAWAY {code}")
            }
            ConnectionError::TimedOut(what) => write!(f, "{what}"),
            ConnectionError::ClosedByUs(code) => {
                write!(f, "the connection was closed here: {code}")
            }
            ConnectionError::Drained => f.write_str("the connection was drained"),
        }
    }
}

impl core::error::Error for ConnectionError {}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection is closing or closed; a new one is needed.
    Closing,
    /// As many streams wait as [`crate::Limits::max_queued_calls`] allows.
    TooMany,
    /// Servers do not open streams.
    NotAClient,
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The queue is full: wait for [`Event::Writable`].
    Full,
    /// The stream is over.
    Ended,
    /// Our side of the stream has been ended already.
    AfterEnd,
    /// A head is sent once, and before anything else.
    OutOfOrder,
    /// A message wrote another number of bytes than it had announced; nothing of it is queued.
    WrongLength,
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResetReason::Peer(code) => write!(f, "the peer reset the stream with {code}"),
            ResetReason::Violation(rule) => {
                write!(f, "the peer broke a rule: {rule} ({})", rule.code())
            }
            ResetReason::GoAway(code) => write!(f, "the peer is going away ({code}), unprocessed"),
            ResetReason::NeverSent(error) => write!(f, "the stream was never sent: {error}"),
            ResetReason::Connection(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ResetReason {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Closing => "the connection takes no more streams",
            OpenError::TooMany => "max_queued_calls streams wait already",
            OpenError::NotAClient => "servers do not open streams",
        })
    }
}

impl core::error::Error for OpenError {}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StreamError::Full => "the stream's queue is full",
            StreamError::Ended => "the stream is over",
            StreamError::AfterEnd => "this side of the stream has ended",
            StreamError::OutOfOrder => "a head is sent once, and before anything else",
            StreamError::WrongLength => "a message writes as many bytes as it announces",
        })
    }
}

impl core::error::Error for StreamError {}

/// Plain counters of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Streams opened, by either side.
    pub streams_opened: u64,
    /// Streams refused at the limit.
    pub streams_refused: u64,
    /// RST_STREAM frames received.
    pub resets_received: u64,
    /// RST_STREAM frames sent.
    pub resets_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Payload bytes of DATA received, padding not counted.
    pub data_received: u64,
    /// Payload bytes of DATA sent.
    pub data_sent: u64,
    /// DATA frames sent.
    pub data_frames_sent: u64,
    /// WINDOW_UPDATE frames received.
    pub window_updates_received: u64,
    /// PING frames received that asked for an acknowledgement.
    pub pings_received: u64,
}

impl core::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        // Named one by one, so that a counter that is added above is added up here.
        let Self {
            streams_opened,
            streams_refused,
            resets_received,
            resets_sent,
            frames_received,
            data_received,
            data_sent,
            data_frames_sent,
            window_updates_received,
            pings_received,
        } = other;
        self.streams_opened += streams_opened;
        self.streams_refused += streams_refused;
        self.resets_received += resets_received;
        self.resets_sent += resets_sent;
        self.frames_received += frames_received;
        self.data_received += data_received;
        self.data_sent += data_sent;
        self.data_frames_sent += data_frames_sent;
        self.window_updates_received += window_updates_received;
        self.pings_received += pings_received;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::hpack::DecodeError;
    use alloc::string::ToString;

    #[test]
    fn what_ended_a_connection_is_said_in_a_sentence() {
        let rule = Violation::TooManyPings;
        for (error, text) in [
            (
                ConnectionError::PeerMisbehaved(rule),
                "the peer broke a rule: too_many_pings (ENHANCE_YOUR_CALM)",
            ),
            (ConnectionError::Closed(None), "the connection was closed by the peer"),
            (
                ConnectionError::Closed(Some(ErrorCode::NO_ERROR)),
                "the connection was closed by the peer after GOAWAY NO_ERROR",
            ),
            (
                ConnectionError::TimedOut(TimedOut::Drain),
                "calls outlived the grace period of the drain",
            ),
            (
                ConnectionError::ClosedByUs(ErrorCode::CANCEL),
                "the connection was closed here: CANCEL",
            ),
            (ConnectionError::Drained, "the connection was drained"),
        ] {
            assert_eq!(error.to_string(), text);
        }
        let error = DecodeError::IntegerOverflow;
        let text = ConnectionError::Compression(error).to_string();
        assert_eq!(text, alloc::format!("a field block did not decode: {error}"));
    }

    #[test]
    fn what_ended_a_stream_and_what_was_refused_is_said_in_a_sentence() {
        let closed = ConnectionError::Closed(None);
        for (reason, text) in [
            (ResetReason::Peer(ErrorCode::CANCEL), "the peer reset the stream with CANCEL"),
            (
                ResetReason::Violation(Violation::TooManyPings),
                "the peer broke a rule: too_many_pings (ENHANCE_YOUR_CALM)",
            ),
            (
                ResetReason::GoAway(ErrorCode::NO_ERROR),
                "the peer is going away (NO_ERROR), unprocessed",
            ),
            (
                ResetReason::NeverSent(closed.clone()),
                "the stream was never sent: the connection was closed by the peer",
            ),
            (ResetReason::Connection(closed), "the connection was closed by the peer"),
        ] {
            assert_eq!(reason.to_string(), text);
        }
        assert_eq!(OpenError::NotAClient.to_string(), "servers do not open streams");
        assert_eq!(StreamError::Ended.to_string(), "the stream is over");
    }
}
