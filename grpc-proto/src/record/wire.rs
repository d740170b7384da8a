//! What the format is made of: numbers, lengths and bytes, and the tags of its records.

use alloc::vec::Vec;

use crate::http2::StreamKey;
use crate::metadata::Metadata;

/// `GRPCREC` and the version of the format.
pub(super) const MAGIC: &[u8; 7] = b"GRPCREC";
pub(super) const VERSION: u8 = 1;

/// First bytes of records; those of outcomes have the top bit set.
pub(super) mod tag {
    pub(crate) const END: u8 = 0x00;
    pub(crate) const CUT: u8 = 0x01;

    pub(crate) const POLL_EVENT: u8 = 0x10;
    pub(crate) const POLL_TRANSMIT: u8 = 0x11;
    pub(crate) const CLOSE_READ: u8 = 0x12;
    pub(crate) const SHUTDOWN: u8 = 0x13;
    pub(crate) const CLOSE: u8 = 0x14;
    pub(crate) const NOTE_DELIVERY: u8 = 0x15;

    pub(crate) const SEND: u8 = 0x20;
    pub(crate) const SEND_ENCODED: u8 = 0x21;
    pub(crate) const SEND_COMPRESSED: u8 = 0x22;
    pub(crate) const GRANT: u8 = 0x23;
    pub(crate) const RECYCLE: u8 = 0x24;
    pub(crate) const RECYCLE_METADATA: u8 = 0x25;
    pub(crate) const ASK_ROOM: u8 = 0x26;
    pub(crate) const ALLOT: u8 = 0x27;

    pub(crate) const CALL: u8 = 0x30;
    pub(crate) const CALL_END: u8 = 0x31;
    pub(crate) const CANCEL: u8 = 0x32;

    pub(crate) const RESPOND: u8 = 0x40;
    pub(crate) const FINISH: u8 = 0x41;
    pub(crate) const RELEASE: u8 = 0x42;

    pub(crate) const NOTHING: u8 = 0x80;
    pub(crate) const EVENT: u8 = 0x81;
    pub(crate) const FAILED: u8 = 0x82;
    pub(crate) const OUTPUT_HASH: u8 = 0x83;
    pub(crate) const OUTPUT_BYTES: u8 = 0x84;
    pub(crate) const RESULT: u8 = 0x85;
    pub(crate) const CALLED: u8 = 0x86;
    pub(crate) const TIMEOUT: u8 = 0x87;
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A difference in either direction, small ones in few bytes: 0, −1, 1, −2 … are 0, 1, 2, 3 …
pub(super) const fn zigzag(difference: i64) -> u64 {
    (difference << 1 ^ difference >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(super) const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// One more than the length, or zero for none.
pub(super) fn put_maybe_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => put_number(out, 0),
        Some(text) => {
            put_number(out, text.len() as u64 + 1);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

pub(super) fn put_key(out: &mut Vec<u8>, key: StreamKey) {
    put_number(out, key.slot().into());
    put_number(out, key.generation().into());
}

/// Bit 0 of a list's flags: it came from a peer, with the fields of HTTP/2 and gRPC.
pub(super) const WHOLE: u8 = 1;
/// Bit 0 of a field's flags: no compression table may hold it.
pub(super) const SENSITIVE: u8 = 1;

pub(super) fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.push(if metadata.is_whole() { WHOLE } else { 0 });
    put_number(out, metadata.fields().len() as u64);
    for field in metadata.fields().iter() {
        out.push(if field.flags.is_sensitive() { SENSITIVE } else { 0 });
        put_bytes(out, field.name);
        put_bytes(out, field.value);
    }
}

/// A hash that says whether two outputs are the same: FNV-1a of 64 bits, which takes bytes in any pieces.
///
/// It withstands accidents, not malice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fnv(pub(super) u64);

impl Fnv {
    pub(super) const fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_in_both_directions_come_back() {
        for difference in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(difference)), difference);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn the_hash_is_the_published_one_however_its_input_is_cut() {
        // The vector of draft-eastlake-fnv, appendix C.
        for cut in 0..=6 {
            let mut sum = Fnv::new();
            sum.add(&b"foobar"[..cut]);
            sum.add(&b"foobar"[cut..]);
            assert_eq!(sum.0, 0x8594_4171_f739_67e8);
        }
    }
}
