//! Rules of HTTP/2 that a peer can break, each with the code that answers it.

use core::fmt;

use super::error_code::ErrorCode;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident => $code:ident, $rule:literal;)*) => {
        /// A rule that the peer broke, by name.
        ///
        /// Each has one error code and one sentence; the scope (stream or connection) is where it
        /// is reported: in a call's end, or in [`crate::ConnectionError::PeerMisbehaved`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Violation { $($(#[$doc])* #[doc = $rule] $name,)* }

        impl Violation {
            /// Every rule.
            pub const ALL: &'static [Violation] = &[$(Violation::$name),*];

            /// The error code that the peer is told.
            pub const fn code(self) -> ErrorCode {
                match self { $(Violation::$name => ErrorCode::$code),* }
            }

            /// Its name, which stays.
            pub const fn name(self) -> &'static str {
                match self { $(Violation::$name => stringify!($name)),* }
            }

            /// The rule, with the section that states it; sent as debug data of GOAWAY.
            pub const fn rule(self) -> &'static str {
                match self { $(Violation::$name => $rule),* }
            }
        }
    };
}

violations! {
    BadPreface => PROTOCOL_ERROR, "a client starts with the connection preface (RFC 9113 3.4)";
    Http1Request => HTTP_1_1_REQUIRED, "HTTP/2 with prior knowledge is spoken here, not HTTP/1 (RFC 9113 3.3)";
    FirstFrameNotSettings => PROTOCOL_ERROR, "the first frame is SETTINGS (RFC 9113 3.4)";
    FrameTooLarge => FRAME_SIZE_ERROR, "no frame exceeds SETTINGS_MAX_FRAME_SIZE (RFC 9113 4.2)";
    FrameOnStreamZero => PROTOCOL_ERROR, "DATA, HEADERS, PRIORITY, RST_STREAM and CONTINUATION belong to a stream (RFC 9113 6)";
    FrameOnStream => PROTOCOL_ERROR, "SETTINGS, PING and GOAWAY belong to the connection (RFC 9113 6)";
    FrameLength => FRAME_SIZE_ERROR, "a frame of fixed size has that size (RFC 9113 6)";
    SettingsAckWithPayload => FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty (RFC 9113 6.5)";
    UnexpectedSettingsAck => PROTOCOL_ERROR, "only SETTINGS that were sent are acknowledged (RFC 9113 6.5.3)";
    TooManySettings => ENHANCE_YOUR_CALM, "a SETTINGS frame holds a bounded number of entries (limit of this endpoint)";
    EnablePushOutOfRange => PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is 0 or 1 (RFC 9113 6.5.2)";
    EnablePushByServer => PROTOCOL_ERROR, "a server does not enable push (RFC 9113 6.5.2)";
    InitialWindowOutOfRange => FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is at most 2147483647 (RFC 9113 6.5.2)";
    MaxFrameSizeOutOfRange => PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is within 16384 and 16777215 (RFC 9113 6.5.2)";
    InitialWindowOverflow => FLOW_CONTROL_ERROR, "a changed initial window takes no stream past 2147483647 (RFC 9113 6.9.2)";
    WindowUpdateOfZero => PROTOCOL_ERROR, "a WINDOW_UPDATE increments by at least 1 (RFC 9113 6.9)";
    WindowOverflow => FLOW_CONTROL_ERROR, "no window exceeds 2147483647 (RFC 9113 6.9.1)";
    StreamWindowOverrun => FLOW_CONTROL_ERROR, "DATA stays within the stream's window (RFC 9113 6.9.1)";
    ConnectionWindowOverrun => FLOW_CONTROL_ERROR, "DATA stays within the connection's window (RFC 9113 6.9.1)";
    PaddingTooLong => PROTOCOL_ERROR, "padding is shorter than the frame (RFC 9113 6.1)";
    EvenStreamFromClient => PROTOCOL_ERROR, "a client's streams have odd identifiers (RFC 9113 5.1.1)";
    IdentifierNotRising => PROTOCOL_ERROR, "the identifiers of new streams rise (RFC 9113 5.1.1)";
    StreamFromServer => PROTOCOL_ERROR, "a server opens no stream while push is disabled (RFC 9113 8.4)";
    FrameOnIdleStream => PROTOCOL_ERROR, "an idle stream is opened by HEADERS (RFC 9113 5.1)";
    FrameOnClosedStream => STREAM_CLOSED, "nothing follows END_STREAM (RFC 9113 5.1)";
    PushPromise => PROTOCOL_ERROR, "PUSH_PROMISE is disabled, and never sent by clients (RFC 9113 8.4)";
    ContinuationExpected => PROTOCOL_ERROR, "a field block is contiguous (RFC 9113 6.10)";
    ContinuationUnexpected => PROTOCOL_ERROR, "CONTINUATION follows a HEADERS without END_HEADERS (RFC 9113 6.10)";
    TooManyContinuations => ENHANCE_YOUR_CALM, "a field block has a bounded number of CONTINUATION frames (limit of this endpoint)";
    FieldBlockTooLong => ENHANCE_YOUR_CALM, "a field block has a bounded length (limit of this endpoint)";
    Compression => COMPRESSION_ERROR, "field blocks decode (RFC 7541, RFC 9113 4.3)";
    GoAwayRaised => PROTOCOL_ERROR, "a later GOAWAY does not raise the last stream (RFC 9113 6.8)";
    TooManyPings => ENHANCE_YOUR_CALM, "too_many_pings";
    TooManyEmptyData => ENHANCE_YOUR_CALM, "empty DATA frames are bounded (limit of this endpoint)";
    TooManyResets => ENHANCE_YOUR_CALM, "streams that end in RST_STREAM are bounded (limit of this endpoint)";
    TooManyWindowUpdates => ENHANCE_YOUR_CALM, "WINDOW_UPDATE frames are bounded by what was sent (limit of this endpoint)";
    FieldName => PROTOCOL_ERROR, "field names are lower-case tokens (RFC 9113 8.2.1)";
    FieldValue => PROTOCOL_ERROR, "field values hold no control characters and no outer white space (RFC 9113 8.2.1)";
    ConnectionSpecificField => PROTOCOL_ERROR, "connection-specific fields are forbidden (RFC 9113 8.2.2)";
    TeOtherThanTrailers => PROTOCOL_ERROR, "te is absent or trailers (RFC 9113 8.2.2)";
    UnknownPseudoField => PROTOCOL_ERROR, "only the pseudo-header fields of RFC 9113 8.3 exist";
    LatePseudoField => PROTOCOL_ERROR, "pseudo-header fields come first (RFC 9113 8.3)";
    RepeatedPseudoField => PROTOCOL_ERROR, "a pseudo-header field comes once (RFC 9113 8.3)";
    MissingPseudoField => PROTOCOL_ERROR, "requests have :method, :scheme and :path, responses :status (RFC 9113 8.3)";
    BadPseudoValue => PROTOCOL_ERROR, "a pseudo-header field has a valid value (RFC 9113 8.3)";
    PseudoFieldInTrailers => PROTOCOL_ERROR, "trailers have no pseudo-header fields (RFC 9113 8.1)";
    SeveralAuthorities => PROTOCOL_ERROR, "a request names one authority (RFC 9113 8.3.1)";
    ContentLength => PROTOCOL_ERROR, "content-length agrees with the DATA (RFC 9113 8.1.1)";
    DataBeforeHeaders => PROTOCOL_ERROR, "a response starts with HEADERS (RFC 9113 8.1)";
    HeadersWithoutEnd => PROTOCOL_ERROR, "trailers carry END_STREAM (RFC 9113 8.1)";
    InformationalWithEnd => PROTOCOL_ERROR, "an informational response does not end the stream (RFC 9113 8.1)";
    FieldListTooLarge => ENHANCE_YOUR_CALM, "a field list stays within SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 10.5.1)";
    SendStalled => ENHANCE_YOUR_CALM, "the peer opens its window in time (limit of this endpoint)";
    ReceiveStalled => ENHANCE_YOUR_CALM, "a message that was begun makes progress (limit of this endpoint)";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl core::error::Error for Violation {}
