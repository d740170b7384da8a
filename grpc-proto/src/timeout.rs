//! `grpc-timeout`: one to eight digits and a unit (PROTOCOL-HTTP2, "Timeout").

use core::time::Duration;

/// Reads a `grpc-timeout`; `None` if it is malformed.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let mut amount = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        amount = amount * 10 + u64::from(digit);
    }
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// A `grpc-timeout` as text, held in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutText {
    text: [u8; 9],
    start: u8,
}

impl TimeoutText {
    /// Writes `timeout` in the finest unit in which it has at most eight digits.
    ///
    /// Rounded down, so that the peer never waits longer than we do; beyond 584 years it is that.
    pub fn new(timeout: Duration) -> Self {
        // 584 years and more are as good as each other.
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        const UNITS: [(u64, u8); 6] = [
            (1, b'n'),
            (1_000, b'u'),
            (1_000_000, b'm'),
            (1_000_000_000, b'S'),
            (60_000_000_000, b'M'),
            (3_600_000_000_000, b'H'),
        ];
        let (amount, unit) = UNITS
            .iter()
            .map(|&(size, unit)| (nanos / size, unit))
            .find(|&(amount, _)| amount <= 99_999_999)
            .unwrap_or((99_999_999, b'H'));
        let mut amount = amount as u32;
        let mut text = [0; 9];
        text[8] = unit;
        let mut start = 8;
        loop {
            start -= 1;
            text[start] = b'0' + (amount % 10) as u8;
            amount /= 10;
            if amount == 0 {
                return TimeoutText { text, start: start as u8 };
            }
        }
    }

    /// The text, such as `1500m`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[usize::from(self.start)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_timeouts_are_refused() {
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "１S"] {
            assert_eq!(parse_timeout(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn every_unit_is_read() {
        for (text, nanos) in
            [("1n", 1), ("1u", 1_000), ("1m", 1_000_000), ("00000001S", 1_000_000_000)]
        {
            assert_eq!(parse_timeout(text.as_bytes()), Some(Duration::from_nanos(nanos)));
        }
        assert_eq!(parse_timeout(b"2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    proptest! {
        #[test]
        fn a_written_timeout_is_never_longer_and_nearly_as_long(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos);
            let back = parse_timeout(TimeoutText::new(timeout).as_bytes()).unwrap();
            prop_assert!(back <= timeout);
            prop_assert!(timeout - back <= timeout / 1_000_000 + Duration::from_nanos(1));
        }
    }
}
