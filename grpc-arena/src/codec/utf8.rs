//! Whether bytes are UTF-8, fast for the short ASCII strings that messages are full of.

/// Whether `bytes` are UTF-8.
#[inline]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    let ascii = if bytes.len() >= 128 { is_long_ascii(bytes) } else { is_short_ascii(bytes) };
    ascii || is_utf8_slow(bytes)
}

#[cold]
#[inline(never)]
fn is_utf8_slow(bytes: &[u8]) -> bool {
    core::str::from_utf8(bytes).is_ok()
}

/// Sixteen bytes.
type Lane = [u8; 16];

/// Whether one of the bytes is not ASCII.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_high<const N: usize>(lanes: [Lane; N]) -> bool {
    use core::arch::x86_64::{_mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_setzero_si128};
    // SAFETY: SSE2 is part of x86-64; sixteen bytes each are readable, and the loads ask for no alignment.
    unsafe {
        let all = lanes.iter().fold(_mm_setzero_si128(), |all, lane| {
            _mm_or_si128(all, _mm_loadu_si128(lane.as_ptr().cast()))
        });
        _mm_movemask_epi8(all) != 0
    }
}

/// Whether one of the bytes is not ASCII.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn has_high<const N: usize>(lanes: [Lane; N]) -> bool {
    let all = lanes.iter().fold(0, |all, lane| all | u128::from_ne_bytes(*lane));
    all & 0x8080_8080_8080_8080_8080_8080_8080_8080 != 0
}

/// How many bytes [`ascii_block`] looks at, whatever the length of the string.
pub(super) const BLOCK: usize = 32;

/// Whether the first `len` of the bytes are ASCII; of more than 32 it says no.
///
/// Without a branch on the length, as the lengths of a message's strings cannot be foreseen.
#[inline(always)]
pub(super) fn ascii_block(block: &[u8; BLOCK], len: usize) -> bool {
    // Where the first other byte is, or would be.
    let ascii = (u64::from(high_mask(block)) | 1 << BLOCK).trailing_zeros();
    ascii as usize >= len
}

/// One bit for each byte that is not ASCII, the lowest for the first.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn high_mask(block: &[u8; BLOCK]) -> u32 {
    use core::arch::x86_64::{_mm_loadu_si128, _mm_movemask_epi8};
    let (lanes, _) = block.as_chunks::<16>();
    // SAFETY: SSE2 is part of x86-64; sixteen bytes are readable, and the load asks for no alignment.
    let mask = |lane: &Lane| unsafe { _mm_movemask_epi8(_mm_loadu_si128(lane.as_ptr().cast())) };
    mask(&lanes[0]) as u32 | (mask(&lanes[1]) as u32) << 16
}

#[cfg(not(target_arch = "x86_64"))]
use portable_high_mask as high_mask;

/// One bit for each byte that is not ASCII, the lowest for the first.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn portable_high_mask(block: &[u8; BLOCK]) -> u32 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        // Multiplying moves the highest bits of the eight bytes side by side, the first byte's lowest, to the top.
        let high = (u64::from_le_bytes(*word) & 0x8080_8080_8080_8080) >> 7;
        mask << 8 | (high.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    })
}

/// Whether fewer than 128 bytes, as many as a length of one byte counts, are ASCII; of more it says no.
#[inline(always)]
pub(super) fn is_short_ascii(bytes: &[u8]) -> bool {
    if bytes.len() > BLOCK { is_medium_ascii(bytes) } else { is_tiny_ascii(bytes) }
}

/// The sixteen bytes from `at` on.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn lane(start: *const u8, at: usize) -> Lane {
    // SAFETY: the caller's word; byte arrays have no alignment.
    unsafe { start.add(at).cast::<Lane>().read() }
}

/// Whether up to 32 bytes are ASCII; of more it says no.
///
/// By words and vectors that overlap within the string, so that no length needs a loop.
#[inline(always)]
pub(super) fn is_tiny_ascii(bytes: &[u8]) -> bool {
    let (len, start) = (bytes.len(), bytes.as_ptr());
    // SAFETY: each arm reads what lies within the lengths that it is for; byte arrays have no alignment.
    unsafe {
        match len {
            8..=16 => {
                let word = |at: usize| u64::from_ne_bytes(start.add(at).cast::<[u8; 8]>().read());
                (word(0) | word(len - 8)) & 0x8080_8080_8080_8080 == 0
            }
            17..=32 => !has_high([lane(start, 0), lane(start, len - 16)]),
            4..8 => {
                let half = |at: usize| u32::from_ne_bytes(start.add(at).cast::<[u8; 4]>().read());
                (half(0) | half(len - 4)) & 0x8080_8080 == 0
            }
            1..4 => (*start | *start.add(len / 2) | *start.add(len - 1)) < 0x80,
            0 => true,
            _ => false,
        }
    }
}

/// Whether 33 to 127 bytes are ASCII; of other lengths it says no. By vectors that overlap, as above.
#[inline(always)]
pub(super) fn is_medium_ascii(bytes: &[u8]) -> bool {
    let (len, start) = (bytes.len(), bytes.as_ptr());
    // SAFETY: as above.
    unsafe {
        let lane = |at: usize| lane(start, at);
        match len {
            33..=64 => !has_high([lane(0), lane(16), lane(len - 32), lane(len - 16)]),
            65..128 => !has_high([
                lane(0),
                lane(16),
                lane(32),
                lane(48),
                lane(len - 64),
                lane(len - 48),
                lane(len - 32),
                lane(len - 16),
            ]),
            _ => false,
        }
    }
}

/// Whether 64 bytes and more are ASCII; of fewer it says no.
#[inline]
fn is_long_ascii(bytes: &[u8]) -> bool {
    let high = |block: &[u8; 64]| {
        let (lanes, _) = block.as_chunks::<16>();
        has_high([lanes[0], lanes[1], lanes[2], lanes[3]])
    };
    // The last block overlaps the one before it.
    let Some(last) = bytes.last_chunk() else { return false };
    let (blocks, _) = bytes.as_chunks();
    !blocks.iter().any(high) && !high(last)
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

    #[test]
    fn what_lies_behind_a_string_in_its_block_does_not_count() {
        for len in 0..=BLOCK {
            for i in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[i] = 0x80;
                assert_eq!(ascii_block(&block, len), i >= len, "{i} of {len}");
            }
        }
        assert!(!ascii_block(&[b'a'; BLOCK], BLOCK + 1));
    }

    proptest! {
        #[test]
        fn the_mask_has_a_bit_for_each_high_byte(block: [u8; BLOCK]) {
            let expected = (0..BLOCK).fold(0, |mask, i| mask | u32::from(block[i] >> 7) << i);
            prop_assert_eq!((high_mask(&block), portable_high_mask(&block)), (expected, expected));
        }

        #[test]
        fn the_verdict_is_that_of_the_standard_library(bytes: Vec<u8>, text: String, cut: usize) {
            prop_assert_eq!(is_utf8(&bytes), core::str::from_utf8(&bytes).is_ok());
            let cut = &text.as_bytes()[..cut % (text.len() + 1)];
            prop_assert_eq!(is_utf8(cut), core::str::from_utf8(cut).is_ok());
        }
    }
}
