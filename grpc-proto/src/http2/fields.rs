//! What makes a field list a valid HTTP/2 message part (RFC 9113 §8.1–§8.3).

use super::violation::Violation;
use crate::hpack::{Field, FieldList, Token};

/// Which part of a message a field list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A request's head.
    Request,
    /// A response's head; 1xx is informational.
    Response,
    /// Trailers of either.
    Trailers,
}

/// What a valid list says about the message as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// `:status` of a response.
    pub status: u16,
    /// `content-length`, if it was given.
    pub content_length: Option<u64>,
}

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const PATH: u8 = 4;
const AUTHORITY: u8 = 8;
const STATUS: u8 = 16;
const PROTOCOL: u8 = 32;

/// Checks `list` as `part` of a message.
///
/// # Errors
/// The first rule of RFC 9113 §8 that it breaks; the message is then malformed (§8.1.1).
pub fn check(list: &FieldList, part: Part) -> Result<Checked, Violation> {
    let mut checked = Checked::default();
    let mut seen = 0u8;
    let mut regular = false;
    let mut hosts = 0;
    let mut connect = false;
    for field in list.iter() {
        if !field.flags.is_valid() && !is_padded_text(&field) {
            return Err(match (field.flags.is_name_valid(), field.token) {
                (false, Token::UnknownPseudo) => Violation::UnknownPseudoField,
                (false, _) => Violation::FieldName,
                (true, _) => Violation::FieldValue,
            });
        }
        let bit = match field.token {
            Token::Method => METHOD,
            Token::Scheme => SCHEME,
            Token::Path => PATH,
            Token::Authority => AUTHORITY,
            Token::Status => STATUS,
            Token::Protocol => PROTOCOL,
            Token::UnknownPseudo => return Err(Violation::UnknownPseudoField),
            token => {
                regular = true;
                match token {
                    Token::Te if field.value != b"trailers" => {
                        return Err(Violation::TeOtherThanTrailers);
                    }
                    Token::Te => {}
                    Token::ContentLength => {
                        let length = parse_length(field.value).ok_or(Violation::ContentLength)?;
                        if checked.content_length.is_some_and(|before| before != length) {
                            return Err(Violation::ContentLength);
                        }
                        checked.content_length = Some(length);
                    }
                    Token::Host => hosts += 1,
                    token if token.is_connection_specific() => {
                        return Err(Violation::ConnectionSpecificField);
                    }
                    _ => {}
                }
                continue;
            }
        };
        if part == Part::Trailers {
            return Err(Violation::PseudoFieldInTrailers);
        }
        if regular {
            return Err(Violation::LatePseudoField);
        }
        if seen & bit != 0 {
            return Err(Violation::RepeatedPseudoField);
        }
        seen |= bit;
        match field.token {
            Token::Status => {
                checked.status = parse_status(field.value).ok_or(Violation::BadPseudoValue)?
            }
            Token::Method => connect = field.value == b"CONNECT",
            Token::Path | Token::Scheme if field.value.is_empty() => {
                return Err(Violation::BadPseudoValue);
            }
            _ => {}
        }
    }
    match part {
        Part::Trailers => {}
        Part::Response if seen & STATUS == 0 => return Err(Violation::MissingPseudoField),
        Part::Response if seen != STATUS => return Err(Violation::UnknownPseudoField),
        Part::Response => {}
        Part::Request if seen & (STATUS | PROTOCOL) != 0 => {
            return Err(Violation::UnknownPseudoField);
        }
        Part::Request if connect => {
            // RFC 9113 §8.5: CONNECT has :method and :authority alone.
            if seen != METHOD | AUTHORITY {
                return Err(Violation::MissingPseudoField);
            }
        }
        Part::Request => {
            if seen & (METHOD | SCHEME | PATH) != METHOD | SCHEME | PATH {
                return Err(Violation::MissingPseudoField);
            }
            if hosts > 1 {
                return Err(Violation::SeveralAuthorities);
            }
        }
    }
    Ok(checked)
}

/// Whether [`check`] looks at the value of a field with this name, beyond its bytes being allowed.
pub(crate) fn decides(token: Token) -> bool {
    use Token::{Authority, ContentLength, Method, Path, Protocol, Scheme, Status, Te};
    matches!(token, Method | Scheme | Path | Authority | Protocol | Status | Te | ContentLength)
}

/// Whether the one thing wrong with the field is that its value begins or ends with a space, and that is its right.
fn is_padded_text(field: &Field<'_>) -> bool {
    let line_or_nul = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    field.token.may_be_padded()
        && field.flags.is_name_valid()
        && !field.value.iter().any(line_or_nul)
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

fn parse_status(value: &[u8]) -> Option<u16> {
    match value {
        &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_status_message_may_be_padded_with_spaces_and_no_other_field_may() {
        let trailers = |name: &[u8], value: &[u8]| {
            let mut list = FieldList::new();
            list.push(name, value);
            check(&list, Part::Trailers)
        };
        for value in [&b" padded"[..], b"padded ", b" "] {
            assert_eq!(trailers(b"grpc-message", value), Ok(Checked::default()));
            assert_eq!(trailers(b"x-other", value), Err(Violation::FieldValue));
        }
        for value in [&b"a\0b"[..], b" a\n", b"\r"] {
            assert_eq!(trailers(b"grpc-message", value), Err(Violation::FieldValue));
        }
    }

    const REQUEST: [(&str, &str); 3] = [(":method", "POST"), (":scheme", "http"), (":path", "/")];

    fn checked(fields: &[(&str, &str)], part: Part) -> Result<Checked, Violation> {
        let mut list = FieldList::new();
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        check(&list, part)
    }

    /// The first broken rule is the one that is told, in every part of a message.
    #[test]
    fn each_rule_of_pseudo_header_fields_has_its_violation() {
        use Part::{Request, Response, Trailers};
        use Violation::*;
        let with = |more: &[(&'static str, &'static str)]| [&REQUEST[..], more].concat();
        let ok = Ok(Checked::default());
        let status = |status| Ok(Checked { status, content_length: None });
        for (part, fields, outcome) in [
            (Request, REQUEST.to_vec(), ok),
            (Request, with(&[(":authority", "a")]), ok),
            (Request, with(&[("host", "a")]), ok),
            (Request, with(&[("host", "a"), ("host", "a")]), Err(SeveralAuthorities)),
            (Request, REQUEST[1..].to_vec(), Err(MissingPseudoField)),
            (Request, REQUEST[..2].to_vec(), Err(MissingPseudoField)),
            (Request, vec![REQUEST[0], REQUEST[2]], Err(MissingPseudoField)),
            (Request, vec![], Err(MissingPseudoField)),
            (Request, with(&[(":status", "200")]), Err(UnknownPseudoField)),
            (Request, with(&[(":protocol", "x")]), Err(UnknownPseudoField)),
            (Request, with(&[(":other", "x")]), Err(UnknownPseudoField)),
            (Request, with(&[(":path", "/")]), Err(RepeatedPseudoField)),
            (Request, with(&[("te", "trailers"), (":authority", "a")]), Err(LatePseudoField)),
            (Request, with(&[("te", "gzip")]), Err(TeOtherThanTrailers)),
            (Request, with(&[("connection", "x")]), Err(ConnectionSpecificField)),
            (Request, vec![(":method", "POST"), (":scheme", "")], Err(BadPseudoValue)),
            (Request, vec![(":method", "CONNECT"), (":authority", "a")], ok),
            (Request, vec![(":method", "CONNECT")], Err(MissingPseudoField)),
            (Request, vec![(":method", "CONNECT"), (":path", "/")], Err(MissingPseudoField)),
            (Response, vec![(":status", "200")], status(200)),
            (Response, vec![(":status", "103"), ("x", "y")], status(103)),
            (Response, vec![], Err(MissingPseudoField)),
            (Response, vec![(":path", "/")], Err(MissingPseudoField)),
            (Response, vec![(":status", "200"), (":path", "/")], Err(UnknownPseudoField)),
            (Response, vec![(":status", "200"), (":status", "200")], Err(RepeatedPseudoField)),
            (Trailers, vec![("grpc-status", "0")], ok),
            (Trailers, vec![], ok),
            (Trailers, vec![(":status", "200")], Err(PseudoFieldInTrailers)),
        ] {
            assert_eq!(checked(&fields, part), outcome, "{part:?} {fields:?}");
        }
    }

    #[test]
    fn a_status_is_three_digits_of_which_the_first_is_not_zero() {
        for (text, status) in [("100", 100), ("200", 200), ("987", 987), ("109", 109), ("190", 190)]
        {
            let reported = checked(&[(":status", text)], Part::Response).unwrap();
            assert_eq!(reported.status, status);
        }
        for text in ["099", "", "20", "2000", "2x0", "20x", "x00", "20 "] {
            assert!(checked(&[(":status", text)], Part::Response).is_err(), "{text}");
        }
    }

    #[test]
    fn a_content_length_is_up_to_nineteen_digits_and_repeats_itself_only() {
        let reported = |values: &[&'static str]| {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            checked(&fields, Part::Trailers).map(|checked| checked.content_length)
        };
        for (text, length) in [
            ("0", 0),
            ("7", 7),
            ("1029", 1029),
            ("0000000000000000012", 12),
            ("9999999999999999999", 9_999_999_999_999_999_999),
        ] {
            assert_eq!(reported(&[text]), Ok(Some(length)));
            assert_eq!(reported(&[text, text]), Ok(Some(length)));
        }
        assert_eq!(reported(&[]), Ok(None));
        for values in [&[""][..], &["+1"], &["1x"], &["-1"], &["00000000000000000001"], &["1", "2"]]
        {
            assert_eq!(reported(values), Err(Violation::ContentLength), "{values:?}");
        }
    }
}
