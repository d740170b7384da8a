//! Declared defaults of fields, from the text that descriptors hold.

use super::FileResolver;
use super::registry::Entry;
use crate::Error;
use crate::descriptor::FieldDescriptorProto;
use crate::model::{Kind, Literal, Scalar};

impl FileResolver<'_> {
    /// The default that `text` says for a field of this kind.
    pub(super) fn default(
        &self,
        text: &str,
        kind: &Kind,
        field: &FieldDescriptorProto<'_>,
        at: &[i32],
    ) -> Result<Literal, Error> {
        let bad = || {
            self.error(
                at,
                format!("`{text}` is no value for the default of `{}`", field.name.unwrap_or("")),
            )
        };
        Ok(match kind {
            Kind::Scalar(Scalar::Text) => Literal::Text(text.to_owned()),
            Kind::Scalar(Scalar::Blob) => Literal::Blob(unescape(text).ok_or_else(bad)?),
            Kind::Scalar(Scalar::Float | Scalar::Double) => {
                let single = matches!(kind, Kind::Scalar(Scalar::Float));
                // Rust reads what descriptors call infinite or no number, too, but for the sign of the latter.
                let value = text.trim_start_matches('-').parse::<f64>().map_err(|_| bad())?;
                let value = if text.starts_with('-') { -value } else { value };
                // What is beyond a `float` is infinite.
                let digits =
                    if single { format!("{:?}", value as f32) } else { format!("{value:?}") };
                let name = if single { "f32" } else { "f64" };
                Literal::Plain(match digits.as_str() {
                    "inf" => format!("{name}::INFINITY"),
                    "-inf" => format!("{name}::NEG_INFINITY"),
                    "NaN" => format!("{name}::NAN"),
                    digits => format!("{digits}{name}"),
                })
            }
            Kind::Scalar(Scalar::Bool) => {
                Literal::Plain(text.parse::<bool>().map_err(|_| bad())?.to_string())
            }
            Kind::Scalar(_) => Literal::Plain(text.parse::<i128>().map_err(|_| bad())?.to_string()),
            Kind::Enum { .. } => {
                let name = field.type_name.unwrap_or_default();
                let Entry::Enum { values, .. } = self.entry(name, at)? else { return Err(bad()) };
                let (_, ident) = values.iter().find(|(name, _)| name == text).ok_or_else(bad)?;
                Literal::Enum(ident.clone())
            }
            Kind::Message { .. } => return Err(bad()),
        })
    }
}

/// Undoes the escapes of C, in which descriptors write the defaults of bytes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits = |bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>,
                      radix: u32,
                      first: u32,
                      most: usize| {
            let mut value = first;
            for _ in 0..most {
                let Some(digit) = bytes.peek().and_then(|&b| char::from(b).to_digit(radix)) else {
                    break;
                };
                value = value * radix + digit;
                bytes.next();
            }
            u8::try_from(value).ok()
        };
        out.push(match bytes.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'x' | b'X' => digits(&mut bytes, 16, 0, 2)?,
            first @ b'0'..=b'7' => digits(&mut bytes, 8, u32::from(first - b'0'), 2)?,
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A byte as descriptors may write it: by which form, and what follows where digits might go on.
    fn escaped(byte: u8, form: usize) -> String {
        match form {
            0 => format!("\\{byte:03o}"),
            1 => format!("\\x{byte:02x}"),
            2 => format!("\\X{byte:02X}"),
            _ => match byte {
                b'\n' => "\\n".into(),
                b'\r' => "\\r".into(),
                b'\t' => "\\t".into(),
                7 => "\\a".into(),
                8 => "\\b".into(),
                12 => "\\f".into(),
                11 => "\\v".into(),
                b'\\' | b'\'' | b'"' | b'?' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).into(),
                _ => format!("\\{byte:03o}"),
            },
        }
    }

    proptest! {
        #[test]
        fn every_byte_comes_back_from_each_of_its_escapes(
            bytes in proptest::collection::vec((any::<u8>(), 0usize..4), 0..20),
        ) {
            let text = bytes.iter().map(|&(byte, form)| escaped(byte, form)).collect::<String>();
            let bytes = bytes.into_iter().map(|(byte, _)| byte).collect::<Vec<_>>();
            prop_assert_eq!(unescape(&text), Some(bytes), "{}", text);
        }
    }

    #[test]
    fn an_octal_escape_has_one_to_three_digits_and_a_hexadecimal_one_up_to_two() {
        for byte in 0..=u8::MAX {
            // Fewer digits than three end where another character follows.
            assert_eq!(unescape(&format!("\\{byte:o}8")), Some(vec![byte, b'8']));
            assert_eq!(unescape(&format!("\\{byte:o}x")), Some(vec![byte, b'x']));
            assert_eq!(unescape(&format!("\\{byte:03o}7")), Some(vec![byte, b'7']));
            assert_eq!(unescape(&format!("\\x{byte:x}g")), Some(vec![byte, b'g']));
            assert_eq!(unescape(&format!("\\x{byte:02x}0")), Some(vec![byte, b'0']));
        }
        for too_large in ["\\400", "\\777", "\\401a", "\\"] {
            assert_eq!(unescape(too_large), None, "{too_large}");
        }
        assert_eq!(unescape("\u{e9}"), Some(vec![0xc3, 0xa9]), "what is no escape stays");
    }
}
