//! The trace that a request belongs to: `traceparent` of W3C Trace Context.

use grpc_service::Metadata;

/// A valid `traceparent`: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The id of the trace, not zero.
    pub trace_id: u128,
    /// The id of the caller's span, not zero.
    pub span_id: u64,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

impl TraceParent {
    /// That of a request; `None` if it has none, several, or one that is not valid.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let mut values = metadata.values("traceparent");
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value),
            _ => None,
        }
    }

    /// Reads a value (W3C Trace Context §3.2). Of later versions the parts that version 00 has are read.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(55)?;
        let [version, trace_id, span_id, flags] = {
            let mut parts = head.split(|byte| *byte == b'-');
            let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
            if parts.map(<[u8]>::len) != [2, 32, 16, 2] {
                return None;
            }
            parts
        };
        let version = hex(version)?;
        let is_extended = version > 0 && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || is_extended) {
            return None;
        }
        let (trace_id, span_id) = (hex(trace_id)?, hex(span_id)? as u64);
        let sampled = hex(flags)? & 1 == 1;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }
}

/// A number in lower-case hexadecimal digits, of which there are 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_traceparent_is_read_and_others_are_not() {
        let parsed = TraceParent {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            sampled: true,
        };
        assert_eq!(TraceParent::parse(VALID.as_bytes()), Some(parsed));
        let not_sampled = VALID.replace("-01", "-02");
        let expected = Some(TraceParent { sampled: false, ..parsed });
        assert_eq!(TraceParent::parse(not_sampled.as_bytes()), expected);
        let later = format!("{}-more", VALID.replacen("00", "cc", 1));
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parsed));
        let wrong = [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-more"),
            format!("{VALID}0"),
            VALID.replacen("00", "ff", 1),
            VALID.to_uppercase(),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace('-', "_"),
            VALID.replacen("319c-b7", "319-cb7", 1),
        ];
        for wrong in wrong {
            assert_eq!(TraceParent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let mut metadata = Metadata::new();
        assert_eq!(TraceParent::of(&metadata), None);
        metadata.append("traceparent", VALID).unwrap();
        assert!(TraceParent::of(&metadata).is_some());
        metadata.append("traceparent", VALID).unwrap();
        assert_eq!(TraceParent::of(&metadata), None);
    }
}
