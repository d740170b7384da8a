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
