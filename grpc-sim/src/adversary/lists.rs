//! Malformed field lists (RFC 9113 §8): each breaks one rule, and its stream alone.

use grpc_proto::{Limits, Violation};

use super::writer::*;
use super::{ATTACKED, Expected};

/// A list that breaks a rule, in three variants.
pub(super) struct Bad {
    name: &'static str,
    rule: Violation,
    fields: [&'static [Field<'static>]; 3],
    /// Whether the fields stand behind a well-formed list, or are all of it.
    behind: bool,
}

type Fields = [&'static [Field<'static>]; 3];

const fn behind(name: &'static str, rule: Violation, fields: Fields) -> Bad {
    Bad { name, rule, fields, behind: true }
}

const fn whole(name: &'static str, rule: Violation, fields: Fields) -> Bad {
    Bad { name, rule, fields, behind: false }
}

/// Requests that a server resets unseen.
pub(super) const REQUESTS: &[Bad] = &[
    behind(
        "request-field-name",
        Violation::FieldName,
        [&[(b"a b", b"")], &[(b"X-Up", b"")], &[(b"caf\xc3\xa9", b"")]],
    ),
    behind(
        "request-field-value",
        Violation::FieldValue,
        [&[(b"a", b"1\n2")], &[(b"a", b" 1")], &[(b"a", b"1\t")]],
    ),
    behind(
        "request-connection",
        Violation::ConnectionSpecificField,
        [
            &[(b"connection", b"close")],
            &[(b"transfer-encoding", b"chunked")],
            &[(b"keep-alive", b"timeout=5")],
        ],
    ),
    behind(
        "request-te",
        Violation::TeOtherThanTrailers,
        [&[(b"te", b"gzip")], &[(b"te", b"")], &[(b"te", b"trailers, deflate")]],
    ),
    whole(
        "request-unknown-pseudo",
        Violation::UnknownPseudoField,
        [
            &[(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":status", b"200")],
            &[(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":grpc", b"1")],
            &[(b":", b"1")],
        ],
    ),
    behind(
        "request-late-pseudo",
        Violation::LatePseudoField,
        [&[(b":method", b"POST")], &[(b":path", b"/")], &[(b":scheme", b"http")]],
    ),
    whole(
        "request-repeated-pseudo",
        Violation::RepeatedPseudoField,
        [
            &[(b":method", b"POST"), (b":method", b"POST")],
            &[(b":path", b"/"), (b":method", b"POST"), (b":path", b"/")],
            &[(b":authority", b"a"), (b":authority", b"b")],
        ],
    ),
    whole(
        "request-missing-pseudo",
        Violation::MissingPseudoField,
        [
            &[(b":method", b"POST"), (b":scheme", b"http")],
            &[(b":path", b"/"), (b"te", b"trailers")],
            &[(b":method", b"CONNECT"), (b":path", b"/")],
        ],
    ),
    whole(
        "request-pseudo-value",
        Violation::BadPseudoValue,
        [
            &[(b":method", b"POST"), (b":path", b"")],
            &[(b":scheme", b"")],
            &[(b":path", b""), (b":method", b"POST")],
        ],
    ),
    behind(
        "request-authorities",
        Violation::SeveralAuthorities,
        [
            &[(b"host", b"a"), (b"host", b"b")],
            &[(b"host", b"sim"), (b"host", b"other")],
            &[(b"host", b"a"), (b"host", b"b"), (b"host", b"c")],
        ],
    ),
    behind(
        "request-content-length",
        Violation::ContentLength,
        [
            &[(b"content-length", b"1")],
            &[(b"content-length", b"-1")],
            &[(b"content-length", b"0"), (b"content-length", b"5")],
        ],
    ),
];

/// Heads of responses that a client refuses.
pub(super) const RESPONSES: &[Bad] = &[
    behind(
        "response-field-name",
        Violation::FieldName,
        [&[(b"a b", b"")], &[(b"X-Up", b"")], &[(b"", b"x")]],
    ),
    behind(
        "response-field-value",
        Violation::FieldValue,
        [&[(b"a", b"1\r")], &[(b"a", b" 1")], &[(b"a", b"\x001")]],
    ),
    behind(
        "response-connection",
        Violation::ConnectionSpecificField,
        [
            &[(b"connection", b"close")],
            &[(b"upgrade", b"h2c")],
            &[(b"proxy-connection", b"keep-alive")],
        ],
    ),
    whole(
        "response-unknown-pseudo",
        Violation::UnknownPseudoField,
        [
            &[(b":status", b"200"), (b":path", b"/")],
            &[(b":grpc", b"1")],
            &[(b":status", b"200"), (b":method", b"POST")],
        ],
    ),
    behind(
        "response-late-pseudo",
        Violation::LatePseudoField,
        [&[(b":status", b"200")], &[(b":status", b"404")], &[(b":path", b"/")]],
    ),
    whole(
        "response-repeated-pseudo",
        Violation::RepeatedPseudoField,
        [
            &[(b":status", b"200"), (b":status", b"200")],
            &[(b":status", b"200"), (b":status", b"503")],
            &[(b":status", b"200"), (b":status", b"200"), (b"a", b"1")],
        ],
    ),
    whole(
        "response-missing-pseudo",
        Violation::MissingPseudoField,
        [&[], &[(b"content-type", b"application/grpc")], &[(b"grpc-status", b"0")]],
    ),
    whole(
        "response-pseudo-value",
        Violation::BadPseudoValue,
        [&[(b":status", b"20")], &[(b":status", b"abc")], &[(b":status", b"2000")]],
    ),
    behind(
        "response-content-length",
        Violation::ContentLength,
        [
            &[(b"content-length", b"5")],
            &[(b"content-length", b"")],
            &[(b"content-length", b"1"), (b"content-length", b"2")],
        ],
    ),
];

/// Trailers that a client refuses.
pub(super) const TRAILERS: &[Bad] = &[
    behind(
        "trailers-pseudo",
        Violation::PseudoFieldInTrailers,
        [&[(b":status", b"200")], &[(b":path", b"/")], &[(b":authority", b"sim")]],
    ),
    behind(
        "trailers-field-value",
        Violation::FieldValue,
        [&[(b"grpc-message", b"\r\n")], &[(b"a", b"1 ")], &[(b"a", b"\x7f\n")]],
    ),
];

/// The names of the scripts of a table.
pub(super) fn names(table: &'static [Bad]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|bad| bad.name)
}

/// Writes a request that breaks its rule.
pub(super) fn request(name: &str, over: i8, out: &mut Writer) -> Option<Expected> {
    let bad = REQUESTS.iter().find(|bad| bad.name == name)?;
    let stream = out.next_stream();
    let block = bad.block(REQUEST, over);
    // A length that the DATA exceed is found when they come; a request without any is found at once.
    out.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
    Some(Expected::Breaks(bad.rule))
}

/// Writes an answer whose head or trailers break their rule.
pub(super) fn answer(name: &str, over: i8, limits: &Limits, out: &mut Writer) -> Option<Expected> {
    if let Some(bad) = RESPONSES.iter().find(|bad| bad.name == name) {
        out.frame(HEADERS, END_HEADERS, ATTACKED, &bad.block(RESPONSE, over));
        if bad.rule == Violation::ContentLength && over < 0 {
            if limits.stream_window < 6 || limits.max_receive_message < 2 {
                // The window is overrun before the length is.
                return Some(Expected::Serves);
            }
            // One more than was said.
            out.frame(DATA, 0, ATTACKED, &[0, 0, 0, 0, 2, 7]);
        }
        return Some(Expected::Breaks(bad.rule));
    }
    let bad = TRAILERS.iter().find(|bad| bad.name == name)?;
    out.response(ATTACKED, false);
    let block = bad.block(&[(b"grpc-status", b"0")], over);
    // A pseudo-header field comes first even where none may come.
    out.frame(HEADERS, END_HEADERS | END_STREAM, ATTACKED, &block);
    Some(Expected::Breaks(bad.rule))
}

impl Bad {
    fn block(&self, well_formed: &[Field<'_>], over: i8) -> Vec<u8> {
        let fields = self.fields[usize::from((over + 1).clamp(0, 2) as u8)];
        Writer::list(&[if self.behind { well_formed } else { &[] }, fields])
    }
}
