//! Integers (RFC 7541 §5.1).

use alloc::vec::Vec;

/// The most octets that may follow the prefix. Five hold every 32-bit number; more could only pad,
/// and padding without end is how a peer makes a decoder work for nothing.
const MAX_CONTINUATION: usize = 5;

/// Why an integer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntegerError {
    Truncated,
    Overflow,
}

/// Reads the integer whose prefix is the low `prefix_bits` of `first` and whose further octets, if
/// any, lead `input`; returns it with the input after it.
#[inline]
pub(super) fn decode(
    first: u8,
    prefix_bits: u32,
    input: &[u8],
) -> Result<(u32, &[u8]), IntegerError> {
    let mask = (1u8 << prefix_bits) - 1;
    let prefix = first & mask;
    if prefix < mask {
        return Ok((u32::from(prefix), input));
    }
    // Most that go beyond the prefix need one octet more: an index or a length below 158.
    if let Some((&octet, rest)) = input.split_first()
        && octet < 0x80
    {
        return Ok((u32::from(mask) + u32::from(octet), rest));
    }
    decode_long(mask, input)
}

#[cold]
fn decode_long(mask: u8, mut input: &[u8]) -> Result<(u32, &[u8]), IntegerError> {
    let mut value = u64::from(mask);
    for i in 0..MAX_CONTINUATION {
        let (&octet, rest) = input.split_first().ok_or(IntegerError::Truncated)?;
        input = rest;
        value += u64::from(octet & 0x7f) << (7 * i);
        if octet < 0x80 {
            let value = u32::try_from(value).map_err(|_| IntegerError::Overflow)?;
            return Ok((value, input));
        }
    }
    Err(IntegerError::Overflow)
}

/// Appends `value` with a prefix of `prefix_bits`, below which the octet is `pattern`.
#[inline]
pub(super) fn encode(value: u32, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1u8 << prefix_bits) - 1;
    if value < u32::from(mask) {
        out.push(pattern | value as u8);
    } else {
        encode_long(value - u32::from(mask), pattern | mask, out);
    }
}

fn encode_long(mut rest: u32, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The procedure of RFC 7541 §5.1 word for word, in wide arithmetic.
    fn model(bytes: &[u8], prefix_bits: u32) -> Result<(u64, usize), IntegerError> {
        let mask = (1u64 << prefix_bits) - 1;
        let Some((&first, rest)) = bytes.split_first() else { return Err(IntegerError::Truncated) };
        let mut value = u64::from(first) & mask;
        if value < mask {
            return Ok((value, 1));
        }
        for (i, &octet) in rest.iter().enumerate().take(5) {
            value += u64::from(octet & 127) * (1 << (7 * i));
            if octet & 128 == 0 {
                return match value <= u64::from(u32::MAX) {
                    true => Ok((value, i + 2)),
                    false => Err(IntegerError::Overflow),
                };
            }
        }
        Err(if rest.len() < 5 { IntegerError::Truncated } else { IntegerError::Overflow })
    }

    fn check(bytes: &[u8], prefix_bits: u32) {
        let found = decode(bytes[0], prefix_bits, &bytes[1..])
            .map(|(value, rest)| (u64::from(value), bytes.len() - rest.len()));
        assert_eq!(found, model(bytes, prefix_bits), "{bytes:02x?} with {prefix_bits} bits");
    }

    #[test]
    fn all_strings_up_to_three_bytes_decode_as_the_rfc_says_under_all_prefixes() {
        for prefix_bits in 1..=7 {
            let mask = (1u8 << prefix_bits) - 1;
            for first in 0..=255u8 {
                check(&[first], prefix_bits);
                for second in 0..=255u8 {
                    check(&[first, second], prefix_bits);
                    // The third byte matters to full prefixes alone, and bits above the prefix do
                    // not: all of them clear or set stand for the rest.
                    if first == mask || first == 0xff || second % 64 == 0 {
                        for third in 0..=255u8 {
                            check(&[first, second, third], prefix_bits);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn long_integers_stop_at_five_continuations_and_at_32_bits() {
        for prefix_bits in 1..=7 {
            for tail in [
                &[0x80, 0x80, 0x80, 0x80, 0x00][..],
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0xff, 0xff, 0xff, 0xff, 0x10],
                &[0xff, 0xff, 0xff, 0xff, 0x7f],
                &[0x00, 0x80],
                &[0xff, 0xff, 0xff, 0xff],
            ] {
                check(&[&[0xff], tail].concat(), prefix_bits);
            }
            let mask = (1u32 << prefix_bits) - 1;
            let mut largest = Vec::new();
            encode(u32::MAX, prefix_bits, 0, &mut largest);
            check(&largest, prefix_bits);
            let largest = decode(largest[0], prefix_bits, &largest[1..]);
            assert_eq!(largest, Ok((u32::MAX, &[][..])));
            // One more than the largest.
            let mut beyond = Vec::new();
            encode_long(u32::MAX - mask, mask as u8, &mut beyond);
            let at = beyond.iter().skip(1).position(|&octet| octet & 0x7f != 0x7f).unwrap() + 1;
            beyond[1..at].fill(0x80);
            beyond[at] += 1;
            let beyond = decode(beyond[0], prefix_bits, &beyond[1..]);
            assert_eq!(beyond, Err(IntegerError::Overflow));
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself_in_the_fewest_octets() {
        let interesting = (0..40_000)
            .chain((7..32).flat_map(|shift| [(1 << shift) - 1, 1 << shift, (1 << shift) + 1]))
            .chain(u32::MAX - 300..=u32::MAX);
        for value in interesting {
            for prefix_bits in 1..=7 {
                let mut bytes = Vec::new();
                encode(value, prefix_bits, 0, &mut bytes);
                let found = decode(bytes[0], prefix_bits, &bytes[1..]);
                assert_eq!(found, Ok((value, &[][..])));
                if bytes.len() > 2 {
                    assert_ne!(bytes.last(), Some(&0));
                }
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        let mut bytes = Vec::new();
        encode(10, 5, 0, &mut bytes);
        encode(1337, 5, 0, &mut bytes);
        assert_eq!(bytes, [0x0a, 0x1f, 0x9a, 0x0a]);
    }
}
