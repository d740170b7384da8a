//! Between gRPC-Web and gRPC: requests one way, responses the other (PROTOCOL-WEB).

use grpc_proto::hpack::{Field, FieldList, Token};
use grpc_proto::http2::ResetReason;
use grpc_proto::{Code, Instant};

use crate::cors::{Allowed, Cors, is_token};

/// What a content type of gRPC-Web says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebType<'a> {
    /// `application/grpc-web-text`: the body is base64.
    pub(crate) is_text: bool,
    /// The format of the messages, `proto` where it is not named.
    pub(crate) subtype: &'a [u8],
}

const WEB: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"-text";
/// The longest subtype; the core allows no longer one.
const MAX_SUBTYPE: usize = 64;

/// Reads a content type; `None` if it is not gRPC-Web's.
pub(crate) fn web_type(content_type: &[u8]) -> Option<WebType<'_>> {
    let kind = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let (web, rest) = kind.split_at_checked(WEB.len())?;
    if !web.eq_ignore_ascii_case(WEB) {
        return None;
    }
    let (is_text, rest) = match rest.split_at_checked(TEXT.len()) {
        Some((text, rest)) if text.eq_ignore_ascii_case(TEXT) => (true, rest),
        _ => (false, rest),
    };
    let subtype = match rest {
        [] => b"proto",
        [b'+', subtype @ ..] if subtype.len() <= MAX_SUBTYPE && is_token(subtype) => subtype,
        _ => return None,
    };
    Some(WebType { is_text, subtype })
}

/// The content type of gRPC that stands for a subtype.
fn push_grpc_type(subtype: &[u8], list: &mut FieldList) {
    match subtype {
        b"proto" => list.push_known(Token::ContentType, b"application/grpc+proto"),
        other => list.push_known(Token::ContentType, &[b"application/grpc+", other].concat()),
    }
}

/// Begins the request of a call: what every one has.
pub(crate) fn begin_request(
    path: &[u8],
    authority: &[u8],
    is_secure: bool,
    subtype: &[u8],
    list: &mut FieldList,
) {
    list.push_known(Token::Method, b"POST");
    list.push_known(Token::Scheme, if is_secure { b"https" } else { b"http" });
    list.push_known(Token::Path, path);
    list.push_known(Token::Authority, authority);
    list.push_known(Token::Te, b"trailers");
    push_grpc_type(subtype, list);
}

/// Whether a field of a request is for this layer or the connection, and not for the call: those of RFC 9110 §7.6.1, what
/// [`begin_request`] has written, and what says how the body came.
pub(crate) fn is_hop(name: &[u8]) -> bool {
    match name.len() {
        2 => name == b"te",
        4 => name == b"host",
        6 => name == b"expect",
        7 => matches!(name, b"trailer" | b"upgrade"),
        10 => matches!(name, b"connection" | b"keep-alive" | b"x-grpc-web"),
        12 => name == b"content-type",
        14 => name == b"content-length",
        16 => name == b"proxy-connection" || name == b"content-encoding",
        17 => name == b"transfer-encoding",
        _ => false,
    }
}

/// Whether a field of a response is for the connection behind this layer alone.
fn is_inner(field: &Field<'_>) -> bool {
    matches!(
        field.token,
        Token::Status
            | Token::ContentType
            | Token::ContentLength
            | Token::Connection
            | Token::TransferEncoding
    ) || !field.flags.is_valid()
}

/// Names the content type of a response.
pub(crate) fn response_type(is_text: bool, subtype: &[u8], mut push: impl FnMut(&[u8])) {
    push(WEB);
    if is_text {
        push(TEXT);
    }
    push(b"+");
    push(subtype);
}

/// The fields of a response's head that are the call's.
pub(crate) fn response_fields(list: &FieldList) -> impl Iterator<Item = Field<'_>> {
    list.iter().filter(|field| !is_inner(field))
}

/// Fields by which a browser lets a page see the response (Fetch standard, "HTTP responses").
pub(crate) fn push_cors<'f>(
    allowed: Allowed<'_>,
    cors: Option<&Cors>,
    shown: impl Iterator<Item = Field<'f>>,
    mut push: impl FnMut(&[u8], &[u8]),
) {
    let (origin, credentials) = match allowed {
        Allowed::Same => (None, false),
        Allowed::Origin(origin, credentials) => (Some(origin), credentials),
        Allowed::Any => (Some(&b"*"[..]), false),
    };
    if let Some(origin) = origin {
        push(b"access-control-allow-origin", origin);
        if credentials {
            push(b"access-control-allow-credentials", b"true");
        }
        let mut names = b"grpc-status,grpc-message".to_vec();
        let shown = shown.map(|field| field.name);
        let extra = cors.into_iter().flat_map(Cors::exposed).map(str::as_bytes);
        for name in shown.chain(extra) {
            names.push(b',');
            names.extend_from_slice(name);
        }
        push(b"access-control-expose-headers", &names);
    }
    if cors.is_some_and(Cors::varies) {
        push(b"vary", b"origin");
    }
}

/// Fields of the answer to a preflight from an allowed origin.
pub(crate) fn push_preflight(
    allowed: Allowed<'_>,
    cors: Option<&Cors>,
    requested: &[u8],
    mut push: impl FnMut(&[u8], &[u8]),
) {
    match allowed {
        Allowed::Same => {}
        Allowed::Origin(origin, credentials) => {
            push(b"access-control-allow-origin", origin);
            if credentials {
                push(b"access-control-allow-credentials", b"true");
            }
        }
        Allowed::Any => push(b"access-control-allow-origin", b"*"),
    }
    if let Some(cors) = cors {
        push(b"access-control-allow-methods", b"POST");
        let mut names = Vec::new();
        for name in crate::http1::head::tokens(requested).filter(|name| cors.allows_header(name)) {
            if !names.is_empty() {
                names.push(b',');
            }
            names.extend_from_slice(name);
        }
        if !names.is_empty() {
            push(b"access-control-allow-headers", &names);
        }
        push(b"access-control-max-age", cors.max_age_secs().to_string().as_bytes());
        if cors.varies() {
            push(b"vary", b"origin, access-control-request-headers");
        } else {
            push(b"vary", b"access-control-request-headers");
        }
    }
}

/// The flag of the frame that carries trailers (PROTOCOL-WEB, "Message framing").
const TRAILERS: u8 = 0x80;

/// Appends the frame that ends a response: trailers as a block of HTTP/1 with names in lower case.
pub(crate) fn write_trailers(list: &FieldList, out: &mut Vec<u8>) {
    write_frame(response_fields(list).map(|field| (field.name, field.value)), out);
}

/// As [`write_trailers`], with a status of this layer's.
pub(crate) fn write_status(code: Code, text: &str, out: &mut Vec<u8>) {
    let mut message = Vec::new();
    grpc_proto::encode_message(text, &mut message);
    let status = (&b"grpc-status"[..], code.as_str().as_bytes());
    write_frame([status, (b"grpc-message", &message[..])].into_iter(), out);
}

fn write_frame<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[TRAILERS, 0, 0, 0, 0]);
    for (name, value) in fields {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let len = (out.len() - start - 5) as u32;
    out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
}

/// What the reset of a call's stream means to its client, and why.
pub(crate) fn status_of(reason: &ResetReason, deadline: Instant, now: Instant) -> (Code, String) {
    match reason {
        _ if now >= deadline => (Code::DeadlineExceeded, "the deadline has passed".to_owned()),
        ResetReason::Peer(code) => {
            (Code::from_reset(*code), format!("the server has reset the call with {code}"))
        }
        ResetReason::Violation(rule) => {
            (Code::Internal, format!("the response breaks a rule of HTTP/2: {rule}"))
        }
        _ => (Code::Unavailable, "the server ends its connections; call again".to_owned()),
    }
}

/// Where the messages of a body end: trailers may stand there only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Boundary {
    prefix: [u8; 5],
    /// Bytes of the prefix that have passed.
    known: u8,
    /// Bytes of the message that have not.
    left: u32,
}

impl Boundary {
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.known < 5 {
                let known = usize::from(self.known);
                let part = bytes.len().min(5 - known);
                self.prefix[known..known + part].copy_from_slice(&bytes[..part]);
                self.known += part as u8;
                bytes = &bytes[part..];
                if self.known < 5 {
                    return;
                }
                let [_, len @ ..] = self.prefix;
                self.left = u32::from_be_bytes(len);
            } else {
                let part = bytes.len().min(self.left as usize);
                self.left -= part as u32;
                bytes = &bytes[part..];
            }
            if self.left == 0 {
                self.known = 0;
            }
        }
    }

    pub(crate) fn is_between(&self) -> bool {
        self.known == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_44_content_types_of_grpc_web_are_known() {
        for (text, is_text, subtype) in [
            ("application/grpc-web", false, "proto"),
            ("application/grpc-web+proto", false, "proto"),
            ("Application/GRPC-Web-Text", true, "proto"),
            ("application/grpc-web-text+proto", true, "proto"),
            ("application/grpc-web+json; charset=utf-8", false, "json"),
            ("application/grpc-web ;x", false, "proto"),
        ] {
            let known = web_type(text.as_bytes());
            assert_eq!(known, Some(WebType { is_text, subtype: subtype.as_bytes() }), "{text}");
        }
        for text in [
            "",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-webx",
            "application/grpc-web+",
            "application/grpc-web-textx",
            "application/grpc-web+a b",
            "text/plain",
            "xapplication/grpc-web",
        ] {
            assert_eq!(web_type(text.as_bytes()), None, "{text}");
        }
        assert_eq!(web_type(format!("application/grpc-web+{}", "x".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn rule_44_a_trailer_frame_is_a_block_of_lower_case_lines() {
        let list: FieldList = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("x-bin", "AQ"),
        ]
        .into_iter()
        .collect();
        let mut out = b"before".to_vec();
        write_trailers(&list, &mut out);
        assert_eq!(&out[6..], b"\x80\0\0\0\x1bgrpc-status: 5\r\nx-bin: AQ\r\n");
        out.clear();
        write_status(Code::Internal, "50% \u{e9}", &mut out);
        assert_eq!(&out[5..], b"grpc-status: 13\r\ngrpc-message: 50%25 %C3%A9\r\n");
    }

    #[test]
    fn rule_44_a_value_that_would_split_the_block_is_left_out() {
        let list: FieldList = [("grpc-status", "0"), ("x-a", "b\r\ngrpc-status: 1"), ("x\n", "y")]
            .into_iter()
            .collect();
        let mut out = Vec::new();
        write_trailers(&list, &mut out);
        assert_eq!(&out[5..], b"grpc-status: 0\r\n");
    }

    #[test]
    fn the_ends_of_messages_are_found_in_any_pieces() {
        let body = b"\0\0\0\0\x03abc\0\0\0\0\0\x01\0\0\0\x01x";
        let ends = [0, 8, 13, 19];
        for piece in 1..body.len() {
            let mut boundary = Boundary::default();
            let mut passed = 0;
            for bytes in body.chunks(piece) {
                boundary.pass(bytes);
                passed += bytes.len();
                assert_eq!(boundary.is_between(), ends.contains(&passed), "{passed} in {piece}");
            }
        }
    }
}
