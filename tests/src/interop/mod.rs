//! The puppet service of `proto/interop.proto`, and a client that drives it: our side of the tests with foreign peers.

pub mod checks;
pub mod puppet;
pub mod setup;

use std::sync::OnceLock;

/// The most that a reply may be asked to hold.
pub const MAX_REPLY: usize = 4 << 20;

/// Metadata in names with these prefixes comes back, in the response headers or in the trailers.
pub const INITIAL: &str = "x-initial-";
/// See [`INITIAL`].
pub const TRAILING: &str = "x-trailing-";

/// The payload of a reply whose size was asked for: byte `i` is `31 i + 7 + index`, modulo 256.
///
/// # Panics
/// If `size` exceeds [`MAX_REPLY`].
pub fn pattern(size: usize, index: u32) -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let pattern =
        PATTERN.get_or_init(|| (0..MAX_REPLY + 256).map(|i| (i * 31 + 7) as u8).collect());
    // 223 is the inverse of 31 modulo 256: starting that much later adds one to every byte.
    let start = index as usize % 256 * 223 % 256;
    &pattern[start..][..size]
}

/// CRC-32 as in zlib (IEEE 802.3, reflected), continued from `checksum`, which starts at 0.
pub fn crc32(checksum: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    !bytes.iter().fold(!checksum, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_one_that_the_proto_file_describes() {
        for index in [0, 1, 2, 255, 256, 1000] {
            let expected: Vec<u8> = (0..600).map(|i| (31 * i + 7 + index as usize) as u8).collect();
            assert_eq!(pattern(600, index), expected);
        }
    }

    #[test]
    fn the_checksum_is_that_of_zlib_and_may_be_taken_in_pieces() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }
}
