//! Heads of calls: what a client says first, and how a server reads it.

use alloc::boxed::Box;

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
    /// Absent where it names no subtype.
    content_type: u16,
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

    /// The format of the messages that `content-type` names: `proto` of `application/grpc+proto`, as it came, without the
    /// parameters; `None` for `application/grpc` alone, which stands for `proto` (PROTOCOL-HTTP2, "Content-Type").
    ///
    /// It has at most 64 bytes and only characters of a token (RFC 9110 §5.6.2). The response's `content-type` names it
    /// again; a server that does not serve the format ends the call with UNIMPLEMENTED.
    #[inline]
    pub fn content_subtype(&self) -> Option<&str> {
        if self.content_type == ABSENT { None } else { self.subtype_text() }
    }

    #[cold]
    fn subtype_text(&self) -> Option<&str> {
        let field = self.metadata.fields().get(usize::from(self.content_type))?;
        core::str::from_utf8(subtype_of(field.value)?).ok()
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

    /// The content type of the response, where it is not [`GRPC`] alone.
    #[inline]
    pub(super) fn response_type(&self) -> Option<Box<[u8]>> {
        if self.content_type == ABSENT { None } else { response_type(self.metadata.fields()) }
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
            content_type: ABSENT,
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
                Token::ContentType => {
                    let content_type = value();
                    typed = is_grpc(content_type);
                    head.content_type = ABSENT;
                    if typed && content_type.len() > GRPC.len() {
                        match subtype_of(content_type) {
                            None => {}
                            Some(subtype) if is_subtype(subtype) => head.content_type = index,
                            Some(_) => refusal = Some(Refusal::Subtype),
                        }
                    }
                }
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
    Subtype,
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
            Refusal::Subtype => (
                415,
                Code::Internal,
                "the subtype in a content-type of application/grpc+subtype is a token of 1 to 64 bytes",
            ),
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

/// The media type of gRPC, without a subtype.
pub(super) const GRPC: &[u8] = b"application/grpc";

/// Whether a content type is `application/grpc`, alone or with a subtype (`+proto`) or parameters (`; charset=utf-8`).
///
/// A media type has no case, and white space may stand before its parameters (RFC 9110 §8.3.1).
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
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

/// The longest subtype that a request may name: a call remembers it until its response headers leave.
const MAX_SUBTYPE: usize = 64;

/// What stands between `+` and the parameters of a content type that [is gRPC's](is_grpc).
fn subtype_of(content_type: &[u8]) -> Option<&[u8]> {
    let rest = content_type.get(GRPC.len()..)?.strip_prefix(b"+")?;
    let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
    Some(rest[..end].trim_ascii_end())
}

/// Whether a subtype can be remembered and answered: a token (RFC 9110 §5.6.2) of [`MAX_SUBTYPE`] bytes at most.
fn is_subtype(subtype: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (1..=MAX_SUBTYPE).contains(&subtype.len()) && subtype.iter().all(is_token)
}

/// The content type of the response to a request with this list, where it is not [`GRPC`] alone.
pub(super) fn response_type(request: &FieldList) -> Option<Box<[u8]>> {
    // Of several fields the last counts, as in `RequestHead::read`.
    let mut fields = request.iter().filter(|field| field.token == Token::ContentType);
    let content_type = fields.next_back()?.value;
    let subtype = subtype_of(content_type).filter(|subtype| is_subtype(subtype))?;
    is_grpc(content_type).then(|| [GRPC, b"+", subtype].concat().into_boxed_slice())
}

/// Whether every part of a `-bin` value is base64; several values may be joined with `,`.
pub(super) fn is_binary_value(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').all(|part| base64::is_valid(part.trim_ascii()))
}
