//! Whether bytes are UTF-8, fast for the short ASCII strings that messages are full of.

/// Whether `bytes` are UTF-8.
#[inline]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || is_utf8_slow(bytes)
}

#[cold]
#[inline(never)]
fn is_utf8_slow(bytes: &[u8]) -> bool {
    core::str::from_utf8(bytes).is_ok()
}

/// The highest bits of sixteen bytes; the compiler makes vectors of it.
#[inline(always)]
fn high_bits(bytes: &[u8; 16]) -> u128 {
    u128::from_ne_bytes(*bytes) & 0x8080_8080_8080_8080_8080_8080_8080_8080
}

/// By words and vectors that overlap, so without a loop up to 64 bytes; the last block of more overlaps too.
#[inline(always)]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    let len = bytes.len();
    if len >= 16 {
        return is_ascii_long(bytes);
    }
    let word =
        |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes at least"));
    let half =
        |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes at least"));
    match len {
        8.. => (word(0) | word(len - 8)) & 0x8080_8080_8080_8080 == 0,
        4.. => (half(0) | half(len - 4)) & 0x8080_8080 == 0,
        1.. => (bytes[0] | bytes[len / 2] | bytes[len - 1]) < 0x80,
        0 => true,
    }
}

/// For 16 bytes and more.
#[inline(always)]
fn is_ascii_long(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else { return false };
    let mut high = high_bits(last);
    let mut rest = bytes;
    while let Some((block, more)) = rest.split_first_chunk::<64>() {
        let (lanes, _) = block.as_chunks::<16>();
        high |= lanes.iter().fold(0, |high, lane| high | high_bits(lane));
        if high != 0 {
            return false;
        }
        rest = more;
    }
    let (lanes, _) = rest.as_chunks::<16>();
    lanes.iter().fold(high, |high, lane| high | high_bits(lane)) == 0
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_high_byte_is_found_at_every_place_of_every_length() {
        for len in 0..200 {
            let mut bytes = std::vec![b'a'; len];
            assert!(is_utf8(&bytes));
            for i in 0..len {
                bytes[i] = 0xff;
                assert!(!is_utf8(&bytes), "{i} of {len}");
                bytes[i] = b'a';
            }
        }
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_standard_library(bytes: Vec<u8>, text: String, cut: usize) {
            prop_assert_eq!(is_utf8(&bytes), core::str::from_utf8(&bytes).is_ok());
            let cut = &text.as_bytes()[..cut % (text.len() + 1)];
            prop_assert_eq!(is_utf8(cut), core::str::from_utf8(cut).is_ok());
        }
    }
}
