//! The stream states of RFC 9113 §5.1: every transition, in one place, for both roles.
//!
//! ```text
//!                          +--------+
//!                  +------ |  idle  | ------+
//!                  |       +--------+       |   HEADERS, sent or received
//!                  v                        v
//!             +----------+   END_STREAM  +----------+
//!             |   open   | ------------> |   half   |
//!             +----------+  sent: local  |  closed  |
//!                  |        recv: remote +----------+
//!                  |   RST_STREAM             |  END_STREAM the other way, or RST_STREAM
//!                  v                          v
//!             +--------------------------------------+
//!             |                closed                |
//!             +--------------------------------------+
//! ```
//!
//! Server push is disabled, so the two reserved states cannot be entered.

use super::error_code::ErrorCode;

/// State of a stream as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No frame has been sent or received.
    Idle,
    /// Both sides may send.
    Open,
    /// We have sent END_STREAM.
    HalfClosedLocal,
    /// The peer has sent END_STREAM.
    HalfClosedRemote,
    /// Over.
    Closed(Cause),
}

/// How a stream came to be closed; decides what a late frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// END_STREAM both ways.
    Ended,
    /// The peer sent RST_STREAM.
    ResetByPeer,
    /// We sent RST_STREAM: frames that were under way are ignored.
    ResetByUs,
    /// Too long ago to know: late frames are ignored.
    Forgotten,
    /// It was never used, and a higher identifier was.
    Skipped,
}

/// What moves a stream: a frame that is received or sent, or the end without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// HEADERS with its CONTINUATIONs was received.
    RecvHeaders {
        /// Whether END_STREAM was set.
        end_stream: bool,
    },
    /// DATA was received.
    RecvData {
        /// Whether END_STREAM was set.
        end_stream: bool,
    },
    /// RST_STREAM was received.
    RecvReset,
    /// WINDOW_UPDATE was received.
    RecvWindowUpdate,
    /// PRIORITY was received.
    RecvPriority,
    /// HEADERS is sent.
    SendHeaders {
        /// Whether END_STREAM is set.
        end_stream: bool,
    },
    /// DATA is sent.
    SendData {
        /// Whether END_STREAM is set.
        end_stream: bool,
    },
    /// RST_STREAM is sent.
    SendReset,
    /// No frame: the stream was never sent, its peer will not serve it, or its connection is over.
    Discard,
}

/// What a frame that does not fit its stream's state leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The frame has no effect.
    Ignore,
    /// The stream is reset with this code.
    Stream(ErrorCode),
    /// The connection ends with this code.
    Connection(ErrorCode),
    /// We were about to send what the state forbids.
    Misuse,
}

impl State {
    /// The state after `input`, or what happens instead.
    ///
    /// Inlined, because the input is known where it is called, which leaves little of the table.
    #[inline]
    pub const fn next(self, input: Input) -> Result<State, Rejection> {
        use ErrorCode as E;
        use Input::*;
        use Rejection::*;
        use State::*;

        Ok(match (self, input) {
            // Idle: HEADERS opens. Anything else from the peer but PRIORITY is a connection error (§5.1).
            (Idle, RecvHeaders { end_stream: false } | SendHeaders { end_stream: false }) => Open,
            (Idle, RecvHeaders { end_stream: true }) => HalfClosedRemote,
            (Idle, SendHeaders { end_stream: true }) => HalfClosedLocal,
            (Idle, RecvPriority) => Idle,
            (Idle, RecvData { .. } | RecvReset | RecvWindowUpdate) => {
                return Err(Connection(E::PROTOCOL_ERROR));
            }
            (Idle, SendData { .. } | SendReset) => return Err(Misuse),

            (Open, RecvHeaders { end_stream: true } | RecvData { end_stream: true }) => {
                HalfClosedRemote
            }
            (Open, SendHeaders { end_stream: true } | SendData { end_stream: true }) => {
                HalfClosedLocal
            }
            (Open, RecvHeaders { .. } | RecvData { .. } | SendHeaders { .. } | SendData { .. }) => {
                Open
            }
            (Open, RecvWindowUpdate | RecvPriority) => Open,

            (HalfClosedLocal, RecvHeaders { end_stream: true } | RecvData { end_stream: true }) => {
                Closed(Cause::Ended)
            }
            (
                HalfClosedLocal,
                RecvHeaders { .. } | RecvData { .. } | RecvWindowUpdate | RecvPriority,
            ) => HalfClosedLocal,
            (HalfClosedLocal, SendHeaders { .. } | SendData { .. }) => return Err(Misuse),

            (
                HalfClosedRemote,
                SendHeaders { end_stream: true } | SendData { end_stream: true },
            ) => Closed(Cause::Ended),
            (
                HalfClosedRemote,
                SendHeaders { .. } | SendData { .. } | RecvWindowUpdate | RecvPriority,
            ) => HalfClosedRemote,
            // "An endpoint that receives any frames other than WINDOW_UPDATE, PRIORITY, or RST_STREAM
            // for a stream in this state MUST respond with a stream error of type STREAM_CLOSED."
            (HalfClosedRemote, RecvHeaders { .. } | RecvData { .. }) => {
                return Err(Stream(E::STREAM_CLOSED));
            }

            (Open | HalfClosedLocal | HalfClosedRemote, RecvReset) => Closed(Cause::ResetByPeer),
            (Open | HalfClosedLocal | HalfClosedRemote, SendReset) => Closed(Cause::ResetByUs),
            (Idle | Open | HalfClosedLocal | HalfClosedRemote, Discard) => Closed(Cause::ResetByUs),

            // Closed: PRIORITY, WINDOW_UPDATE and RST_STREAM may still be under way.
            (Closed(_), RecvPriority | RecvWindowUpdate | RecvReset | Discard) => {
                return Err(Ignore);
            }
            (Closed(Cause::ResetByUs | Cause::Forgotten), RecvHeaders { .. } | RecvData { .. }) => {
                return Err(Ignore);
            }
            (Closed(Cause::Ended), RecvHeaders { .. } | RecvData { .. }) => {
                return Err(Connection(E::STREAM_CLOSED));
            }
            // "The identifier of a newly established stream MUST be numerically greater than all
            // streams that the initiating endpoint has opened" (§5.1.1).
            (Closed(Cause::Skipped), RecvHeaders { .. } | RecvData { .. }) => {
                return Err(Connection(E::PROTOCOL_ERROR));
            }
            (Closed(Cause::ResetByPeer), RecvHeaders { .. } | RecvData { .. }) => {
                return Err(Stream(E::STREAM_CLOSED));
            }
            (Closed(_), SendHeaders { .. } | SendData { .. } | SendReset) => return Err(Misuse),
        })
    }

    /// Whether we may still send DATA or HEADERS.
    pub const fn can_send(self) -> bool {
        matches!(self, State::Idle | State::Open | State::HalfClosedRemote)
    }

    /// Whether the peer may still send DATA or HEADERS.
    pub const fn can_receive(self) -> bool {
        matches!(self, State::Open | State::HalfClosedLocal)
    }

    /// Whether the stream is over.
    pub const fn is_closed(self) -> bool {
        matches!(self, State::Closed(_))
    }
}
