//! Error codes of RST_STREAM and GOAWAY (RFC 9113 §7).

use core::fmt;

/// A 32-bit error code; unknown ones are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($number);)*

            /// The name that RFC 9113 gives the code, if it gives one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

error_codes! {
    /// Not an error.
    NO_ERROR = 0x00;
    /// A protocol error that no other code describes.
    PROTOCOL_ERROR = 0x01;
    /// The endpoint failed internally.
    INTERNAL_ERROR = 0x02;
    /// The peer overran a flow-control window or overflowed it.
    FLOW_CONTROL_ERROR = 0x03;
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 0x04;
    /// A frame came for a stream that the peer had closed.
    STREAM_CLOSED = 0x05;
    /// A frame had an invalid size.
    FRAME_SIZE_ERROR = 0x06;
    /// The stream was refused before any processing: safe to retry.
    REFUSED_STREAM = 0x07;
    /// The stream is no longer wanted.
    CANCEL = 0x08;
    /// The field section compression context is lost.
    COMPRESSION_ERROR = 0x09;
    /// The connection of a CONNECT request failed.
    CONNECT_ERROR = 0x0a;
    /// The peer causes excessive load.
    ENHANCE_YOUR_CALM = 0x0b;
    /// The transport does not meet the minimum security requirements.
    INADEQUATE_SECURITY = 0x0c;
    /// HTTP/1.1 is required instead.
    HTTP_1_1_REQUIRED = 0x0d;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
