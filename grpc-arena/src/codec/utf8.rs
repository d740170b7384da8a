//! Whether bytes are UTF-8, fast for the short ASCII strings that messages are full of.

const HIGH: u64 = 0x8080_8080_8080_8080;

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

/// Up to 32 bytes by words that overlap, so without a loop; more in blocks that the compiler turns into vectors.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let len = bytes.len();
    let word =
        |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes at least"));
    let half =
        |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes at least"));
    match len {
        0 => true,
        1..4 => (bytes[0] | bytes[len / 2] | bytes[len - 1]) < 0x80,
        4..8 => u64::from(half(0) | half(len - 4)) & HIGH == 0,
        8..=16 => (word(0) | word(len - 8)) & HIGH == 0,
        17..=32 => (word(0) | word(8) | word(len - 16) | word(len - 8)) & HIGH == 0,
        _ => is_ascii_long(bytes),
    }
}

#[inline(never)]
fn is_ascii_long(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut high = 0;
    // A block of the input's last bytes overlaps the one before, and takes the place of a loop over the rest.
    for block in blocks.iter().chain(bytes.last_chunk::<32>()) {
        high |= block.iter().fold(0, |high, byte| high | byte);
    }
    debug_assert!(rest.len() < 32);
    high < 0x80
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
