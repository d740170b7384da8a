//! Heads of calls: what a client says first, and how a server reads it.

use crate::hpack::{FieldList, Token};
use crate::metadata::Metadata;
use crate::time::Instant;
use crate::timeout::parse_timeout;
use crate::{ApiMisuse, Code, Reason, SendError, base64};

/// What begins a call at the client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallHead<'a> {
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// The server's name, as the client knows it.
    pub authority: &'a str,
    /// `https` instead of `http`.
    pub secure: bool,
    /// Custom metadata.
    pub metadata: Option<&'a Metadata>,
    /// `user-agent`; empty sends none.
    pub user_agent: &'a str,
    /// `grpc-encoding` of the messages that are sent compressed.
    pub encoding: Option<&'a str>,
    /// `grpc-accept-encoding`: what the client can decompress.
    pub accept_encoding: Option<&'a str>,
}

const USER_AGENT: &str = concat!("grpc-proto/", env!("CARGO_PKG_VERSION"));

impl<'a> CallHead<'a> {
    /// A call of `path` at `authority`, without metadata.
    pub const fn new(path: &'a str, authority: &'a str) -> Self {
        CallHead {
            path,
            authority,
            secure: false,
            metadata: None,
            user_agent: USER_AGENT,
            encoding: None,
            accept_encoding: None,
        }
    }

    /// Whether fields can carry the head's own texts (RFC 9113 §8.3.1); metadata was checked when it was made.
    pub(super) fn check(&self) -> Result<(), SendError> {
        if !self.path.starts_with('/') || self.authority.is_empty() {
            return Err(SendError::Misuse(ApiMisuse::HeadText));
        }
        let optional = [self.encoding, self.accept_encoding];
        let texts = [self.path, self.authority, self.user_agent].into_iter();
        check_texts(texts.chain(optional.into_iter().flatten()))
    }
}

/// Whether fields can carry texts of the application: they have no control characters, and neither begin nor end with
/// white space (RFC 9113 §8.2.1).
pub(super) fn check_texts<'a>(mut texts: impl Iterator<Item = &'a str>) -> Result<(), SendError> {
    let valid = |text: &str| {
        text.trim_ascii().len() == text.len() && !text.bytes().any(|byte| byte.is_ascii_control())
    };
    if texts.all(valid) { Ok(()) } else { Err(SendError::Misuse(ApiMisuse::HeadText)) }
}

/// The head of a request, as a server received and checked it.
#[derive(Debug)]
pub struct RequestHead {
    /// The call's metadata; [`Metadata::fields`] has the whole list.
    pub metadata: Metadata,
    path: u16,
    authority: u16,
    encoding: u16,
    /// The first of its fields.
    accept_encoding: u16,
    deadline: Instant,
}

/// The same fields in the same order, and the same deadline; the rest follows from the fields.
impl PartialEq for RequestHead {
    fn eq(&self, other: &Self) -> bool {
        self.metadata.fields() == other.metadata.fields() && self.deadline == other.deadline
    }
}

const ABSENT: u16 = u16::MAX;

impl RequestHead {
    /// `/package.Service/Method`; empty if it is not UTF-8, which no method is.
    #[inline]
    pub fn path(&self) -> &str {
        self.text(self.path).unwrap_or("")
    }

    /// [`path`](Self::path) as it came: what looks a method up need not know that it is UTF-8.
    #[inline]
    pub fn path_bytes(&self) -> &[u8] {
        self.metadata.fields().get(usize::from(self.path)).map_or(b"", |field| field.value)
    }

    /// `:authority`, or `host` where that is missing.
    pub fn authority(&self) -> &str {
        self.text(self.authority).unwrap_or("")
    }

    /// When the call must be over, by `grpc-timeout`.
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline != Instant::NEVER).then_some(self.deadline)
    }

    /// `grpc-encoding`, unless it is `identity`.
    #[inline]
    pub fn encoding(&self) -> Option<&str> {
        if self.encoding == ABSENT { None } else { self.text(self.encoding) }
    }

    /// `grpc-accept-encoding`: what the client can decompress, in its order.
    pub fn accept_encodings(&self) -> impl Iterator<Item = &str> {
        // A list may come in several fields (RFC 9110 §5.3).
        let fields = self.metadata.fields().iter().skip(usize::from(self.accept_encoding));
        fields
            .filter(|field| field.token == Token::GrpcAcceptEncoding)
            .filter_map(|field| core::str::from_utf8(field.value).ok())
            .flat_map(|list| list.split(',').map(str::trim_ascii))
    }

    /// Whether the client can decompress `encoding`; `identity` is always accepted.
    pub fn accepts(&self, encoding: &str) -> bool {
        encoding == "identity" || self.accept_encodings().any(|offered| offered == encoding)
    }

    fn text(&self, index: u16) -> Option<&str> {
        let field = self.metadata.fields().get(usize::from(index))?;
        core::str::from_utf8(field.value).ok()
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.encoding != ABSENT
    }

    /// Reads the head out of a field list that is valid HTTP/2.
    ///
    /// What gRPC refuses comes back with the list, so that its memory is kept.
    pub(super) fn read(list: FieldList, now: Instant) -> Result<Self, (Refusal, FieldList)> {
        let mut head = RequestHead {
            metadata: Metadata::new(),
            path: ABSENT,
            authority: ABSENT,
            encoding: ABSENT,
            accept_encoding: ABSENT,
            deadline: Instant::NEVER,
        };
        let mut refusal = None;
        let mut host = ABSENT;
        let mut typed = false;
        let mut post = false;
        // Most fields concern nobody here: their text is not looked at.
        for (index, (token, flags)) in list.kinds().enumerate() {
            let value = || list.get(index).map_or(&b""[..], |field| field.value);
            let index = index as u16;
            match token {
                Token::Method => post = value() == b"POST",
                Token::Path => head.path = index,
                Token::Authority => head.authority = index,
                Token::Host => host = index,
                Token::ContentType => typed = is_grpc(value()),
                Token::GrpcTimeout => match parse_timeout(value()) {
                    Some(timeout) => head.deadline = now + timeout,
                    None => refusal = Some(Refusal::Timeout),
                },
                Token::GrpcEncoding if value() != b"identity" => head.encoding = index,
                Token::GrpcAcceptEncoding if head.accept_encoding == ABSENT => {
                    head.accept_encoding = index;
                }
                _ if flags.is_binary() && !is_binary_value(value()) => {
                    refusal = refusal.or(Some(Refusal::Binary));
                }
                _ => {}
            }
        }
        if head.authority == ABSENT {
            head.authority = host;
        }
        let path = list.get(usize::from(head.path)).map_or(&b""[..], |field| field.value);
        if !post {
            refusal = Some(Refusal::Method);
        } else if !typed {
            refusal = Some(Refusal::ContentType);
        } else if path.first() != Some(&b'/') {
            refusal = Some(Refusal::Path);
        } else if refusal.is_none() && head.deadline <= now {
            refusal = Some(Refusal::Expired);
        }
        match refusal {
            Some(refusal) => Err((refusal, list)),
            None => {
                head.metadata = Metadata::from_fields(list);
                Ok(head)
            }
        }
    }
}

/// Why a request is answered without the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Method,
    ContentType,
    Timeout,
    Path,
    Expired,
    Binary,
}

impl Refusal {
    /// HTTP status, gRPC code and text of the answer.
    pub(super) const fn answer(self) -> (u16, Code, &'static str) {
        match self {
            Refusal::Method => (405, Code::Internal, "gRPC calls use the method POST"),
            Refusal::ContentType => {
                (415, Code::Internal, "the content-type of a gRPC call is application/grpc")
            }
            Refusal::Timeout => {
                (400, Code::Internal, "grpc-timeout is 1 to 8 digits and one of H M S m u n")
            }
            Refusal::Path => (200, Code::Unimplemented, "a path is /package.Service/Method"),
            Refusal::Expired => (200, Code::DeadlineExceeded, Reason::Deadline.text()),
            Refusal::Binary => (200, Code::Internal, Reason::BinaryMetadata.text()),
        }
    }
}

/// Whether an encoding changes the messages.
pub(super) fn is_compression(encoding: Option<&str>) -> bool {
    encoding.is_some_and(|encoding| encoding != "identity")
}

/// Whether a content type is `application/grpc`, alone or with a subtype (`+proto`) or parameters (`; charset=utf-8`).
///
/// A media type has no case, and white space may stand before its parameters (RFC 9110 §8.3.1).
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    match content_type.split_at_checked(GRPC.len()) {
        Some((kind, rest)) if kind == GRPC || kind.eq_ignore_ascii_case(GRPC) => {
            match rest.first() {
                None | Some(b'+' | b';') => true,
                Some(_) => rest.trim_ascii_start().starts_with(b";"),
            }
        }
        _ => false,
    }
}

/// Whether every part of a `-bin` value is base64; several values may be joined with `,`.
pub(super) fn is_binary_value(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').all(|part| base64::is_valid(part.trim_ascii()))
}
