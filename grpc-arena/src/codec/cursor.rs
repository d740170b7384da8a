//! The input that is left.

use core::marker::PhantomData;

use super::{Context, utf8};
use crate::DecodeRule;

/// The input that is left of a message: a slice as two pointers.
///
/// Its methods read a value and move past it. When the input breaks a rule they note it in the [`Context`], leave the
/// cursor empty and return the type's zero.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    // Invariant: `ptr..end` is initialised memory of one allocation, shared and unchanging for 'a; `ptr <= end`.
    ptr: *const u8,
    end: *const u8,
    lives: PhantomData<&'a [u8]>,
}

/// The low seven bits of each byte, moved together.
#[inline(always)]
const fn close_gaps(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

/// The first varint of `ptr..end` and where it ends; null when it is broken.
///
/// Out of line, so that only the one-byte case is repeated in every message.
///
/// # Safety
/// `ptr..end` must be readable.
#[inline(never)]
unsafe fn varint_slow(ptr: *const u8, end: *const u8) -> (u64, *const u8) {
    let len = end as usize - ptr as usize;
    if len >= 10 {
        let (word, ninth, tenth) =
            // SAFETY: ten bytes are readable.
            unsafe { (ptr.cast::<[u8; 8]>().read(), *ptr.add(8), *ptr.add(9)) };
        let word = u64::from_le_bytes(word);
        if word & 0x8000 == 0 {
            // SAFETY: two bytes are readable.
            return (word & 0x7f | word >> 1 & 0x3f80, unsafe { ptr.add(2) });
        }
        let stops = !word & 0x8080_8080_8080_8080;
        // Keeps the bytes up to the first without a continuation bit, all if there is none.
        let value = close_gaps(word & (stops ^ stops.wrapping_sub(1)));
        if stops != 0 {
            // SAFETY: a stop lies in the first eight bytes.
            return (value, unsafe { ptr.add(stops.trailing_zeros() as usize / 8 + 1) });
        }
        let value = value | u64::from(ninth & 0x7f) << 56;
        return match (ninth, tenth) {
            // SAFETY: nine and ten bytes are readable.
            (..0x80, _) => (value, unsafe { ptr.add(9) }),
            // The tenth byte holds one bit of 64.
            // SAFETY: ten bytes are readable.
            (_, 0 | 1) => (value | u64::from(tenth) << 63, unsafe { ptr.add(10) }),
            _ => (0, core::ptr::null()),
        };
    }
    let mut value = 0;
    // Fewer than ten bytes, so fewer than 64 bits.
    for i in 0..len {
        // SAFETY: `i < len`.
        let byte = unsafe { *ptr.add(i) };
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            // SAFETY: `i + 1 <= len`.
            return (value, unsafe { ptr.add(i + 1) });
        }
    }
    (0, core::ptr::null())
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    #[inline(always)]
    pub const fn new(bytes: &'a [u8]) -> Self {
        let range = bytes.as_ptr_range();
        Self { ptr: range.start, end: range.end, lives: PhantomData }
    }

    /// With nothing left.
    #[inline(always)]
    pub const fn empty() -> Self {
        Self::new(&[])
    }

    /// With nothing left, at this cursor's end.
    #[inline(always)]
    pub(crate) fn ended(self) -> Self {
        Self { ptr: self.end, ..self }
    }

    /// A later state of this cursor; says that its end is the same, which is not seen when a function returns it.
    ///
    /// # Safety
    /// `later` must be what became of this cursor: left where a value ends, or [`ended`](Self::ended).
    #[inline(always)]
    pub(crate) unsafe fn on(self, later: Self) -> Self {
        debug_assert!(self.end == later.end && self.ptr <= later.ptr && later.ptr <= later.end);
        Self { ptr: later.ptr, ..self }
    }

    /// [`on`](Self::on) for what others have returned: ended when it is no state of this cursor.
    #[inline(always)]
    pub(crate) fn checked(self, later: Self) -> Self {
        // What ends where this ends and is not empty is the end of the same memory.
        if self.end == later.end { Self { ptr: later.ptr, ..self } } else { self.ended() }
    }

    /// Whether nothing is left.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.ptr == self.end
    }

    /// How many bytes are left.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end as usize - self.ptr as usize
    }

    /// What is left.
    #[inline(always)]
    pub fn rest(self) -> &'a [u8] {
        // SAFETY: the invariant.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len()) }
    }

    /// The address of the next byte, to tell offsets by.
    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        self.ptr as usize
    }

    /// The bytes from here to `later`, a cursor that came from this one; when it did not, none.
    pub(crate) fn until(self, later: Self) -> &'a [u8] {
        let len = self.len().saturating_sub(later.len());
        if self.end == later.end { &self.rest()[..len] } else { &[] }
    }

    /// Moves on by `len` bytes.
    ///
    /// # Safety
    /// `len` bytes must be left.
    #[inline(always)]
    pub(crate) unsafe fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.len());
        // SAFETY: stays within the range by the caller's word.
        self.ptr = unsafe { self.ptr.add(len) };
    }

    /// The next tag, or 0: at the end, after a failure, or because the input says so (which is then a failure; see
    /// [`Context::end`]).
    #[inline(always)]
    pub fn tag(&mut self, cx: &mut Context<'a>) -> u32 {
        if self.is_empty() {
            return 0;
        }
        // SAFETY: a byte is left.
        let first = unsafe { *self.ptr };
        if first < 0x80 {
            // SAFETY: a byte is left.
            unsafe { self.advance(1) };
            return u32::from(first);
        }
        if self.len() >= 2 {
            // SAFETY: two bytes are left.
            let second = unsafe { *self.ptr.add(1) };
            if second < 0x80 {
                // SAFETY: two bytes are left.
                unsafe { self.advance(2) };
                return u32::from(first & 0x7f) | u32::from(second) << 7;
            }
        }
        let (tag, rest) = self.long_tag(cx);
        *self = rest;
        tag
    }

    #[cold]
    #[inline(never)]
    fn long_tag(mut self, cx: &mut Context<'a>) -> (u32, Self) {
        let start = self;
        let tag = self.varint(cx);
        match u32::try_from(tag) {
            Ok(tag) => (tag, self),
            Err(_) => (0, cx.fail(DecodeRule::VarintTooLong, start)),
        }
    }

    /// Whether the next bytes are `tag`, of the field that is expected next; if so, moves past it. For tags that are
    /// known when the code is compiled; of those with more than two bytes it says no.
    #[inline(always)]
    pub fn expect(&mut self, tag: u32) -> bool {
        let len = super::tag_len(tag);
        if len > 2 || self.len() < len {
            return false;
        }
        // SAFETY: reads what is left.
        let found = unsafe {
            match len {
                1 => u32::from(*self.ptr),
                _ => u32::from(u16::from_le_bytes(self.ptr.cast::<[u8; 2]>().read())),
            }
        };
        let expected = if len == 1 { tag } else { tag & 0x7f | 0x80 | tag >> 7 << 8 };
        if found != expected {
            return false;
        }
        // SAFETY: so many bytes are left.
        unsafe { self.advance(len) };
        true
    }

    /// Whether the next bytes are `tag` in its shortest form; if so, moves past it.
    #[inline(always)]
    pub(crate) fn skip_tag(&mut self, tag: u32) -> bool {
        if tag < 0x80 {
            // SAFETY: reads a byte that is left.
            if self.is_empty() || u32::from(unsafe { *self.ptr }) != tag {
                // Foreseen by a branch; adding the outcome would make all that follows wait for the byte.
                core::hint::cold_path();
                return false;
            }
            // SAFETY: a byte is left.
            unsafe { self.advance(1) };
            return true;
        }
        self.skip_long_tag(tag)
    }

    #[inline]
    fn skip_long_tag(&mut self, tag: u32) -> bool {
        let mut probe = *self;
        let mut left = tag;
        loop {
            let byte = if left < 0x80 { left as u8 } else { left as u8 | 0x80 };
            // SAFETY: reads a byte that is left.
            if probe.is_empty() || unsafe { *probe.ptr } != byte {
                return false;
            }
            // SAFETY: a byte is left.
            unsafe { probe.advance(1) };
            left >>= 7;
            if left == 0 {
                *self = probe;
                return true;
            }
        }
    }

    /// A varint.
    #[inline(always)]
    pub fn varint(&mut self, cx: &mut Context<'a>) -> u64 {
        if !self.is_empty() {
            // SAFETY: a byte is left.
            let first = unsafe { *self.ptr };
            if first < 0x80 {
                // SAFETY: a byte is left.
                unsafe { self.advance(1) };
                return u64::from(first);
            }
        }
        // SAFETY: the invariant.
        let (value, next) = unsafe { varint_slow(self.ptr, self.end) };
        if next.is_null() {
            cx.broken_varint(*self);
            *self = self.ended();
            return 0;
        }
        self.ptr = next;
        value
    }

    /// A varint, or `None` when it is broken; notes nothing.
    #[inline(always)]
    pub(crate) fn peek_varint(&mut self) -> Option<u64> {
        if let Some(value) = self.peek_short() {
            return Some(value);
        }
        // SAFETY: the invariant.
        let (value, next) = unsafe { varint_slow(self.ptr, self.end) };
        if next.is_null() {
            return None;
        }
        self.ptr = next;
        Some(value)
    }

    /// A varint of one byte or two, unless it is the last byte of all.
    #[inline(always)]
    fn peek_short(&mut self) -> Option<u64> {
        if self.len() >= 2 {
            // SAFETY: two bytes are left.
            let (first, second) = unsafe { (*self.ptr, *self.ptr.add(1)) };
            if first < 0x80 {
                // SAFETY: two bytes are left.
                unsafe { self.advance(1) };
                return Some(u64::from(first));
            }
            if second < 0x80 {
                // SAFETY: two bytes are left.
                unsafe { self.advance(2) };
                return Some(u64::from(first & 0x7f) | u64::from(second) << 7);
            }
        }
        None
    }

    /// A string behind a length of one byte, if it is ASCII and short; else, without moving, none.
    #[inline(always)]
    pub(crate) fn short_ascii(&mut self, cx: &Context<'a>) -> Option<&'a str> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: a byte is left.
        let len = usize::from(unsafe { *self.ptr });
        // A length of more than one byte looks like one of 128 and more, of which the check says no.
        if len >= self.len() {
            return None;
        }
        // SAFETY: `1 + len` bytes are left.
        let bytes = unsafe { core::slice::from_raw_parts(self.ptr.add(1), len) };
        let ascii = if len > utf8::BLOCK {
            utf8::is_medium_ascii(bytes)
        } else {
            match cx.block(self.address() + 1) {
                Some(block) => utf8::ascii_block(block, len),
                None => utf8::is_tiny_ascii(bytes),
            }
        };
        if !ascii {
            return None;
        }
        // SAFETY: `1 + len` bytes are left; ASCII is UTF-8.
        unsafe {
            self.advance(1 + len);
            Some(core::str::from_utf8_unchecked(bytes))
        }
    }

    /// `N` bytes.
    #[inline(always)]
    pub fn fixed<const N: usize>(&mut self, cx: &mut Context<'a>) -> [u8; N] {
        if self.len() < N {
            cx.fail(DecodeRule::Truncated, *self);
            *self = self.ended();
            return [0; N];
        }
        // SAFETY: `N` bytes are left, and byte arrays have no alignment.
        unsafe {
            let value = self.ptr.cast::<[u8; N]>().read();
            self.advance(N);
            value
        }
    }

    /// What a length in front delimits, as a cursor of its own.
    #[inline(always)]
    pub fn delimited(&mut self, cx: &mut Context<'a>) -> Self {
        let start = *self;
        // Lengths of two bytes are common, unlike other varints of two bytes.
        let len = match self.peek_short() {
            Some(len) => len,
            None => self.varint(cx),
        };
        if len > self.len() as u64 {
            cx.fail(DecodeRule::Truncated, start);
            *self = self.ended();
            return *self;
        }
        let ptr = self.ptr;
        // SAFETY: `len` bytes are left.
        unsafe { self.advance(len as usize) };
        Self { ptr, end: self.ptr, lives: PhantomData }
    }

    /// The next `len` bytes as they are, or as many as there are.
    #[inline(always)]
    pub(crate) fn skip(&mut self, len: usize) {
        // SAFETY: no more than what is left.
        unsafe { self.advance(len.min(self.len())) };
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{Arena, DecodeLimits};

    fn read(bytes: &[u8]) -> Result<(u64, usize), DecodeRule> {
        let arena = Arena::new();
        let mut cx = Context::new(bytes, &arena, &DecodeLimits::DEFAULT);
        let mut cursor = Cursor::new(bytes);
        let value = cursor.varint(&mut cx);
        match cx.finish() {
            Ok(()) => Ok((value, bytes.len() - cursor.len())),
            Err(error) => Err(error.rule().clone()),
        }
    }

    #[test]
    fn a_varint_has_at_most_ten_bytes_and_64_bits() {
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&longest), Ok((u64::MAX, 10)));
        let mut eleven = longest.to_vec();
        eleven[9] = 0x81;
        eleven.push(0);
        assert_eq!(read(&eleven), Err(DecodeRule::VarintTooLong));
        eleven[9] = 0x02;
        assert_eq!(read(&eleven), Err(DecodeRule::VarintTooLong));
        assert_eq!(
            read(&eleven[..10]),
            Err(DecodeRule::VarintTooLong),
            "also where nothing follows"
        );
        assert_eq!(read(&longest[..9]), Err(DecodeRule::Truncated));
        assert_eq!(read(&[]), Err(DecodeRule::Truncated));
        assert_eq!(read(&[0x80, 0x80, 0x00]), Ok((0, 3)), "longer than need be is no error");
    }

    #[test]
    fn a_length_may_have_more_bytes_than_it_needs() {
        let arena = Arena::new();
        for bytes in [&b"\x02ab"[..], b"\x82\x00ab", b"\x82\x80\x00ab", b"\x82\x80\x80\x00ab"] {
            let mut cx = Context::new(bytes, &arena, &DecodeLimits::DEFAULT);
            let mut cursor = Cursor::new(bytes);
            assert_eq!((cursor.delimited(&mut cx).rest(), cx.failed()), (&b"ab"[..], false));
        }
    }

    proptest! {
        #[test]
        fn varints_of_every_length_read_back(value: u64, shift in 0u32..64, pad in 0usize..12) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            let mut left = value;
            while left >= 0x80 {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            let len = bytes.len();
            bytes.resize(len + pad, 0xff);
            prop_assert_eq!(read(&bytes), Ok((value, len)));
        }

        #[test]
        fn the_expected_tag_is_found_where_it_is_and_moved_past(
            tag in prop_oneof![8u32..0x80, 0x80u32..0x4000], other: [u8; 2], cut in 0usize..4,
        ) {
            let mut bytes = Vec::new();
            if tag >= 0x80 {
                bytes.push(tag as u8 | 0x80);
                bytes.push((tag >> 7) as u8);
            } else {
                bytes.push(tag as u8);
            }
            let len = bytes.len();
            bytes.push(0xff);
            bytes.truncate(cut);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.expect(tag), cut >= len);
            prop_assert_eq!(bytes.len() - cursor.len(), if cut >= len { len } else { 0 });
            let (arena, mut cursor) = (Arena::new(), Cursor::new(&other));
            let mut cx = Context::new(&other, &arena, &DecodeLimits::DEFAULT);
            let found = Cursor::new(&other).tag(&mut cx);
            prop_assert!(!cursor.expect(tag) || found == tag);
        }

        #[test]
        fn a_tag_is_skipped_only_when_it_is_there(tag in 1u32.., bytes: [u8; 6], cut in 0usize..7) {
            let mut encoded = Vec::new();
            let mut left = tag;
            while left >= 0x80 {
                encoded.push(left as u8 | 0x80);
                left >>= 7;
            }
            encoded.push(left as u8);
            encoded.extend(bytes);
            prop_assert!(Cursor::new(&encoded).skip_tag(tag));
            let mut cursor = Cursor::new(&bytes[..cut.min(6)]);
            let arena = Arena::new();
            let mut cx = Context::new(&bytes, &arena, &DecodeLimits::DEFAULT);
            let same = Cursor::new(&bytes[..cut.min(6)]).tag(&mut cx) == tag;
            let skipped = cursor.skip_tag(tag);
            prop_assert!(!skipped || same);
        }
    }
}
