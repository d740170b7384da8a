//! The head of a gzip member (RFC 1952 §2.3), which stands around the DEFLATE stream.

use super::Broken;

/// Magic, method 8, no flags, no time, no extra flags, unknown system (RFC 1952 §2.3).
pub(super) const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Flags of a gzip member (RFC 1952 §2.3.1).
const HEAD_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// What follows the head of a gzip member.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], Broken> {
    let (head, mut rest) = bytes.split_first_chunk::<10>().ok_or(Broken::Corrupt)?;
    let flags = head[3];
    if head[..3] != HEAD[..3] || flags & RESERVED != 0 {
        return Err(Broken::Corrupt);
    }
    if flags & EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or(Broken::Corrupt)?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..).ok_or(Broken::Corrupt)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(Broken::Corrupt)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEAD_CRC != 0 {
        let head_len = bytes.len() - rest.len();
        let (crc, after) = rest.split_first_chunk::<2>().ok_or(Broken::Corrupt)?;
        if *crc != (crc32(&bytes[..head_len]) as u16).to_le_bytes() {
            return Err(Broken::Corrupt);
        }
        rest = after;
    }
    Ok(rest)
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
