//! The outcome of a call: a code, a message and optional details.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use grpc_arena::{ArenaFull, DecodeError, DecodeRule};

use crate::call::SendError;
use crate::http2::ErrorCode;
use crate::metadata::MetadataError;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A gRPC status code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code's name as the gRPC documents write it, such as `NOT_FOUND`.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }
        }
    };
}

codes! {
    /// The call succeeded.
    Ok = 0, "OK";
    /// The call was cancelled, typically by its caller.
    Cancelled = 1, "CANCELLED";
    /// An error that nothing more is known about.
    Unknown = 2, "UNKNOWN";
    /// The caller gave an invalid argument, whatever the state of the system.
    InvalidArgument = 3, "INVALID_ARGUMENT";
    /// The deadline expired before the call was complete.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
    /// Something that was asked for was not found.
    NotFound = 5, "NOT_FOUND";
    /// What should be created exists already.
    AlreadyExists = 6, "ALREADY_EXISTS";
    /// The caller is known but may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED";
    /// A resource or limit is exhausted.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    /// The call was aborted, typically by a conflict of transactions.
    Aborted = 10, "ABORTED";
    /// The call went past a valid range.
    OutOfRange = 11, "OUT_OF_RANGE";
    /// The method is not implemented.
    Unimplemented = 12, "UNIMPLEMENTED";
    /// An invariant of the system is broken.
    Internal = 13, "INTERNAL";
    /// The service cannot be reached at the moment; a retry may succeed.
    Unavailable = 14, "UNAVAILABLE";
    /// Data was lost or corrupted beyond repair.
    DataLoss = 15, "DATA_LOSS";
    /// The caller has no valid credentials.
    Unauthenticated = 16, "UNAUTHENTICATED";
}

impl Code {
    /// The code of a number; `None` above 16.
    pub const fn from_number(number: u32) -> Option<Code> {
        if number < Code::ALL.len() as u32 { Some(Code::ALL[number as usize]) } else { None }
    }

    /// The code of a number; what is no number within 0 to 16 is `UNKNOWN`, as in [`Code::parse`].
    ///
    /// For numbers from elsewhere, such as `google.rpc.Status.code`. [`Code::from_number`] tells an unknown number from
    /// `UNKNOWN`.
    pub const fn from_i32(number: i32) -> Code {
        match number {
            0..=16 => Code::ALL[number as usize],
            _ => Code::Unknown,
        }
    }

    /// The code's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The value of `grpc-status`, a decimal without leading zeros.
    pub const fn as_str(self) -> &'static str {
        const TEXT: [&str; 17] = [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
            "16",
        ];
        TEXT[self as usize]
    }

    /// Reads a `grpc-status`; what is no number within 0 to 16 is `UNKNOWN`.
    pub fn parse(value: &[u8]) -> Code {
        match value {
            [d @ b'0'..=b'9'] => Code::ALL[usize::from(d - b'0')],
            [b'1', d @ b'0'..=b'6'] => Code::ALL[usize::from(10 + d - b'0')],
            _ => Code::Unknown,
        }
    }

    /// What an HTTP status means when no `grpc-status` came with it (http-grpc-status-mapping).
    pub const fn from_http(status: u16) -> Code {
        match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// What a RST_STREAM from the server means to the client (PROTOCOL-HTTP2, "Errors").
    pub const fn from_reset(code: ErrorCode) -> Code {
        match code {
            ErrorCode::NO_ERROR
            | ErrorCode::PROTOCOL_ERROR
            | ErrorCode::INTERNAL_ERROR
            | ErrorCode::FLOW_CONTROL_ERROR
            | ErrorCode::SETTINGS_TIMEOUT
            | ErrorCode::FRAME_SIZE_ERROR
            | ErrorCode::COMPRESSION_ERROR
            | ErrorCode::CONNECT_ERROR => Code::Internal,
            ErrorCode::REFUSED_STREAM => Code::Unavailable,
            ErrorCode::CANCEL => Code::Cancelled,
            ErrorCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            ErrorCode::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call ended.
///
/// An outcome, not an error of this crate. Without message and details it owns no memory, and it is
/// two words in either case: it travels through every `Result` of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    code: Code,
    /// `None` if there is neither message nor details.
    text: Option<Box<Text>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    message: Cow<'static, str>,
    details: Vec<u8>,
}

impl Status {
    /// Success.
    pub const OK: Status = Status::of(Code::Ok);

    /// A status of `code` that says `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        match message.is_empty() {
            true => Status::of(code),
            false => Status { code, text: Some(Box::new(Text { message, details: Vec::new() })) },
        }
    }

    /// A status of `code` alone.
    pub const fn of(code: Code) -> Self {
        Status { code, text: None }
    }

    /// The same status with `details`, sent as `grpc-status-details-bin` (an encoded `google.rpc.Status`).
    pub fn with_details(mut self, details: Vec<u8>) -> Self {
        if self.text.is_some() || !details.is_empty() {
            self.text.get_or_insert_default().details = details;
        }
        self
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The message for a developer, empty if there is none.
    pub fn message(&self) -> &str {
        self.text.as_ref().map_or("", |text| &text.message)
    }

    /// The bytes of `grpc-status-details-bin`, empty if there are none.
    pub fn details(&self) -> &[u8] {
        self.text.as_ref().map_or(&[], |text| &text.details)
    }

    /// Whether there is neither message nor details.
    pub(crate) const fn is_bare(&self) -> bool {
        self.text.is_none()
    }

    /// Whether the code is [`Code::Ok`].
    pub const fn is_ok(&self) -> bool {
        matches!(self.code, Code::Ok)
    }
}

macro_rules! constructors {
    ($($name:ident = $code:ident, $text:literal;)*) => {
        /// One constructor for each code but OK.
        impl Status {
            $(
                #[doc = concat!("A status of the code ", $text, " that says `message`.")]
                pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                    Status::new(Code::$code, message)
                }
            )*
        }
    };
}

constructors! {
    cancelled = Cancelled, "CANCELLED";
    unknown = Unknown, "UNKNOWN";
    invalid_argument = InvalidArgument, "INVALID_ARGUMENT";
    deadline_exceeded = DeadlineExceeded, "DEADLINE_EXCEEDED";
    not_found = NotFound, "NOT_FOUND";
    already_exists = AlreadyExists, "ALREADY_EXISTS";
    permission_denied = PermissionDenied, "PERMISSION_DENIED";
    resource_exhausted = ResourceExhausted, "RESOURCE_EXHAUSTED";
    failed_precondition = FailedPrecondition, "FAILED_PRECONDITION";
    aborted = Aborted, "ABORTED";
    out_of_range = OutOfRange, "OUT_OF_RANGE";
    unimplemented = Unimplemented, "UNIMPLEMENTED";
    internal = Internal, "INTERNAL";
    unavailable = Unavailable, "UNAVAILABLE";
    data_loss = DataLoss, "DATA_LOSS";
    unauthenticated = Unauthenticated, "UNAUTHENTICATED";
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            "" => write!(f, "{}", self.code),
            message => write!(f, "{}: {message}", self.code),
        }
    }
}

impl core::error::Error for Status {}

impl From<Code> for Status {
    fn from(code: Code) -> Self {
        Status::of(code)
    }
}

/// INTERNAL: the program chose a name or a value that no metadata can carry, or was too late.
impl From<MetadataError> for Status {
    fn from(error: MetadataError) -> Self {
        Status::internal(error.to_string())
    }
}

/// CANCELLED for a call that is over, RESOURCE_EXHAUSTED for a message that is too large, UNAVAILABLE for a connection
/// that closes, and INTERNAL for the rest.
impl From<SendError> for Status {
    fn from(error: SendError) -> Self {
        let code = match error {
            SendError::Ended => Code::Cancelled,
            SendError::TooLarge => Code::ResourceExhausted,
            SendError::Closing => Code::Unavailable,
            _ => Code::Internal,
        };
        Status::new(code, error.to_string())
    }
}

/// INTERNAL for bytes that are no such message, RESOURCE_EXHAUSTED where decoding would exceed a limit.
impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        let code = match error.rule() {
            DecodeRule::ArenaBudget | DecodeRule::Depth | DecodeRule::UnknownFields => {
                Code::ResourceExhausted
            }
            _ => Code::Internal,
        };
        Status::new(code, alloc::format!("a message does not decode: {error}"))
    }
}

/// RESOURCE_EXHAUSTED: what was to be built does not fit into the arena's budget.
impl From<ArenaFull> for Status {
    fn from(error: ArenaFull) -> Self {
        Status::resource_exhausted(error.to_string())
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `message` percent-encoded as `grpc-message` wants it: all but 0x20–0x24 and 0x26–0x7E.
pub fn encode_message(message: &str, out: &mut Vec<u8>) {
    for &byte in message.as_bytes() {
        if matches!(byte, 0x20..=0x24 | 0x26..=0x7e) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Reads a `grpc-message`; never fails: a bad escape stands for itself, bad UTF-8 becomes U+FFFD.
pub fn decode_message(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn every_code_reads_back_from_its_text_and_number() {
        for &code in Code::ALL {
            assert_eq!(Code::parse(code.as_str().as_bytes()), code);
            assert_eq!(Code::from_number(u32::from(code.number())), Some(code));
        }
        assert_eq!(Code::from_number(17), None);
    }

    #[test]
    fn a_number_that_is_no_code_is_unknown() {
        for &code in Code::ALL {
            assert_eq!(Code::from_i32(i32::from(code.number())), code);
        }
        for number in [i32::MIN, -1, 17, i32::MAX] {
            assert_eq!(Code::from_i32(number), Code::Unknown, "{number}");
        }
    }

    #[test]
    fn each_code_but_ok_has_a_constructor_of_its_name() {
        let all = [
            Status::cancelled("m"),
            Status::unknown("m"),
            Status::invalid_argument("m"),
            Status::deadline_exceeded("m"),
            Status::not_found("m"),
            Status::already_exists("m"),
            Status::permission_denied("m"),
            Status::resource_exhausted("m"),
            Status::failed_precondition("m"),
            Status::aborted("m"),
            Status::out_of_range("m"),
            Status::unimplemented("m"),
            Status::internal("m"),
            Status::unavailable("m"),
            Status::data_loss("m"),
            Status::unauthenticated("m"),
        ];
        let expected = Code::ALL[1..].iter().map(|&code| Status::new(code, "m"));
        assert!(all.into_iter().eq(expected));
    }

    #[test]
    fn common_errors_become_a_status_that_says_what_they_say() {
        let late = Status::from(MetadataError::HeadersSent);
        assert_eq!(late, Status::internal(MetadataError::HeadersSent.to_string()));
        for (error, code) in [
            (SendError::Ended, Code::Cancelled),
            (SendError::TooLarge, Code::ResourceExhausted),
            (SendError::Closing, Code::Unavailable),
            (SendError::Full, Code::Internal),
        ] {
            let text = error.to_string();
            assert_eq!(Status::from(error), Status::new(code, text));
        }
        for (rule, code) in [
            (DecodeRule::WireType, Code::Internal),
            (DecodeRule::ArenaBudget, Code::ResourceExhausted),
            (DecodeRule::Depth, Code::ResourceExhausted),
            (DecodeRule::UnknownFields, Code::ResourceExhausted),
        ] {
            let status = Status::from(DecodeError::new(rule, 3).within("a.Message"));
            assert_eq!(status.code(), code);
            assert!(status.message().contains("a.Message"), "{status}");
        }
        assert_eq!(Status::from(ArenaFull).code(), Code::ResourceExhausted);
    }

    #[test]
    fn an_unparsable_status_is_unknown() {
        for bad in ["", "00", "01", "17", "-1", "1 ", "x", "100", "٣"] {
            assert_eq!(Code::parse(bad.as_bytes()), Code::Unknown, "{bad:?}");
        }
    }

    #[test]
    fn a_bad_escape_stands_for_itself() {
        assert_eq!(decode_message(b"100% %4 %zz %41"), "100% %4 %zz A");
        assert_eq!(decode_message(b"%ff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_message_survives_the_wire(message in "\\PC*") {
            let mut wire = Vec::new();
            encode_message(&message, &mut wire);
            prop_assert!(wire.iter().all(|b| (0x20..=0x7e).contains(b)));
            prop_assert_eq!(decode_message(&wire), message);
        }

        #[test]
        fn decoding_never_panics(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_message(&value);
        }
    }

    #[test]
    fn every_octet_comes_back_from_either_case_of_its_digits() {
        for octet in 0..=0x7f {
            for text in [format!("%{octet:02x}"), format!("%{octet:02X}")] {
                assert_eq!(decode_message(text.as_bytes()).as_bytes(), [octet], "{text}");
            }
        }
        for text in ["%", "%4", "%4g", "%g4", "%/0", "%:0", "%@0", "%G0", "%`0", "%0`"] {
            assert_eq!(decode_message(text.as_bytes()), text);
        }
    }
}
