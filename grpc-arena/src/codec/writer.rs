//! The place where the encoded message goes.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::UnknownFields;

/// The memory that is left for a message being written.
///
/// Like [`Cursor`](super::Cursor) it is taken and returned by value. A field for which there is no room, because the
/// sizes were wrong, is left out.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'w> {
    // Invariant: `ptr..end` is writable memory of one allocation, nobody else's for 'w; `ptr <= end`. All bytes
    // between the writer's first `ptr` and this one are initialised.
    ptr: *mut u8,
    end: *mut u8,
    // Invariant in 'w, and made by this crate alone: a writer that comes back from a function that is generic over 'w
    // is one for the same memory.
    lives: PhantomData<Invariant<'w>>,
}

type Invariant<'w> = fn(&'w ()) -> &'w ();

/// The size of a varint in bytes.
#[inline(always)]
pub const fn varint_len(value: u64) -> usize {
    // One byte for each begun group of seven bits: 9/64 is a little less than 1/7, enough up to 64 bits.
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// The size of a tag in bytes.
#[inline(always)]
pub const fn tag_len(tag: u32) -> usize {
    varint_len(tag as u64)
}

/// The size of a field of `len` bytes behind a length and a tag of `tag_len` bytes.
#[inline(always)]
pub const fn delimited_len(tag_len: usize, len: usize) -> usize {
    // Nearly all lengths take one byte.
    let prefix = if len < 0x80 { 1 } else { varint_len(len as u64) };
    tag_len + prefix + len
}

/// A tag as it is written, from the lowest byte on.
#[inline(always)]
const fn encoded_tag(mut tag: u32) -> u64 {
    let (mut encoded, mut shift) = (0, 0);
    while tag >= 0x80 {
        encoded |= ((tag & 0x7f | 0x80) as u64) << shift;
        tag >>= 7;
        shift += 8;
    }
    encoded | (tag as u64) << shift
}

/// The low 56 bits, seven to a byte.
#[inline(always)]
const fn open_gaps(value: u64) -> u64 {
    let value = (value & 0x0fff_ffff) | (value & 0x00ff_ffff_f000_0000) << 4;
    let value = (value & 0x0000_3fff_0000_3fff) | (value & 0x0fff_c000_0fff_c000) << 2;
    (value & 0x007f_007f_007f_007f) | (value & 0x3f80_3f80_3f80_3f80) << 1
}

/// Writes a varint of `len` bytes, its exact size, by overlapping words; returns where it ends.
///
/// # Safety
/// There must be room for ten bytes.
#[inline(always)]
unsafe fn put_long(ptr: *mut u8, value: u64, len: usize) -> *mut u8 {
    let low = open_gaps(value).to_le();
    // Each byte but the last says that another follows; of eight or more the first eight all do, or all but the eighth.
    let marks = 0x8080_8080_8080_8080_u64;
    let head = if len <= 8 { low | marks & ((1 << (8 * (len - 1))) - 1) } else { low | marks };
    // The rest is one bit of a tenth byte, and eight bits of which the ninth holds seven.
    let rest = value >> 56;
    let tail = [rest as u8 | if len == 10 { 0x80 } else { 0 }, (rest >> 7) as u8];
    // SAFETY: ten bytes are writable, by the caller's word; `len` is ten at most.
    unsafe {
        ptr.cast::<[u8; 8]>().write(head.to_le_bytes());
        if len > 8 {
            ptr.add(8).cast::<[u8; 2]>().write(tail);
        }
        ptr.add(len)
    }
}

impl<'w> Writer<'w> {
    #[inline]
    pub(crate) fn new(memory: &'w mut [MaybeUninit<u8>]) -> Self {
        let range = memory.as_mut_ptr_range();
        Self { ptr: range.start.cast(), end: range.end.cast(), lives: PhantomData }
    }

    /// How many bytes were written since `start`, an earlier state of this writer.
    #[inline]
    pub(crate) fn written_since(self, start: Writer<'w>) -> usize {
        self.ptr as usize - start.ptr as usize
    }

    /// How many bytes there is room for.
    #[inline(always)]
    pub fn room(self) -> usize {
        self.end as usize - self.ptr as usize
    }

    /// # Safety
    /// There must be room for the byte.
    #[inline(always)]
    unsafe fn put_byte(&mut self, byte: u8) {
        // SAFETY: the caller's word.
        unsafe {
            self.ptr.write(byte);
            self.ptr = self.ptr.add(1);
        }
    }

    /// A tag that is known when the code is compiled, so that its loop comes to nothing.
    ///
    /// # Safety
    /// There must be room for it.
    #[inline(always)]
    unsafe fn put_tag(&mut self, mut tag: u32) {
        // SAFETY: the caller's word.
        unsafe {
            while tag >= 0x80 {
                self.put_byte(tag as u8 | 0x80);
                tag >>= 7;
            }
            self.put_byte(tag as u8);
        }
    }

    /// A varint of `len` bytes, its exact size.
    ///
    /// # Safety
    /// There must be room for it.
    #[inline(always)]
    unsafe fn put_varint(&mut self, mut value: u64, len: usize) {
        // SAFETY: the caller's word; words where there is room for them, else bytes.
        unsafe {
            if self.room() >= 10 {
                self.ptr = put_long(self.ptr, value, len);
                return;
            }
            while value >= 0x80 {
                self.put_byte(value as u8 | 0x80);
                value >>= 7;
            }
            self.put_byte(value as u8);
        }
    }

    /// # Safety
    /// There must be room for the bytes.
    #[inline(always)]
    unsafe fn put(&mut self, bytes: &[u8]) {
        let (len, from, to) = (bytes.len(), bytes.as_ptr(), self.ptr);
        // SAFETY: `len` bytes are readable at `from` and, by the caller's word, writable at `to`, which nothing else
        // refers to. Words that overlap replace the call of a function for lengths that are short and differ.
        unsafe {
            match len {
                8..=16 => {
                    let (head, tail) =
                        (from.cast::<[u8; 8]>().read(), from.add(len - 8).cast::<[u8; 8]>().read());
                    to.cast::<[u8; 8]>().write(head);
                    to.add(len - 8).cast::<[u8; 8]>().write(tail);
                }
                4..8 => {
                    let (head, tail) =
                        (from.cast::<[u8; 4]>().read(), from.add(len - 4).cast::<[u8; 4]>().read());
                    to.cast::<[u8; 4]>().write(head);
                    to.add(len - 4).cast::<[u8; 4]>().write(tail);
                }
                33..=64 => {
                    let lane = |at: usize| from.add(at).cast::<[u8; 16]>().read();
                    let (a, b, c, d) = (lane(0), lane(16), lane(len - 32), lane(len - 16));
                    let to = |at: usize| to.add(at).cast::<[u8; 16]>();
                    to(0).write(a);
                    to(16).write(b);
                    to(len - 32).write(c);
                    to(len - 16).write(d);
                }
                17..=32 => {
                    let (head, tail) = (
                        from.cast::<[u8; 16]>().read(),
                        from.add(len - 16).cast::<[u8; 16]>().read(),
                    );
                    to.cast::<[u8; 16]>().write(head);
                    to.add(len - 16).cast::<[u8; 16]>().write(tail);
                }
                1..4 => {
                    let (head, middle, tail) =
                        (from.read(), from.add(len / 2).read(), from.add(len - 1).read());
                    to.write(head);
                    to.add(len / 2).write(middle);
                    to.add(len - 1).write(tail);
                }
                _ => to.copy_from_nonoverlapping(from, len),
            }
            self.ptr = to.add(len);
        }
    }

    /// A field that is a varint.
    #[inline(always)]
    pub fn varint_field(mut self, tag: u32, value: u64) -> Self {
        if value >= 0x80 || self.room() <= tag_len(tag) {
            return self.long_varint_field(encoded_tag(tag), tag_len(tag), value);
        }
        // SAFETY: room for the tag and a byte.
        unsafe {
            self.put_tag(tag);
            self.put_byte(value as u8);
        }
        self
    }

    /// Out of line, so that only the case of one byte is repeated in every message.
    #[inline(never)]
    fn long_varint_field(mut self, tag: u64, tag_len: usize, value: u64) -> Self {
        let len = varint_len(value);
        if self.room() >= tag_len + len {
            // SAFETY: room for the tag and the varint.
            unsafe {
                self.put_head(tag, tag_len);
                self.put_varint(value, len);
            }
        }
        self
    }

    /// The lowest `len` bytes of a word.
    ///
    /// # Safety
    /// There must be room for them; `len` must be eight at most.
    #[inline(always)]
    unsafe fn put_head(&mut self, head: u64, len: usize) {
        // SAFETY: the caller's word; what is written beyond `len` is written over, or beyond all that is claimed.
        unsafe {
            if self.room() >= 8 {
                self.ptr.cast::<[u8; 8]>().write(head.to_le_bytes());
                self.ptr = self.ptr.add(len);
            } else {
                head.to_le_bytes().iter().take(len).for_each(|&byte| self.put_byte(byte));
            }
        }
    }

    /// A field of fixed size.
    #[inline(always)]
    pub fn fixed_field<const N: usize>(mut self, tag: u32, value: [u8; N]) -> Self {
        if self.room() >= tag_len(tag) + N {
            // SAFETY: room for both.
            unsafe {
                self.put_tag(tag);
                self.ptr.cast::<[u8; N]>().write(value);
                self.ptr = self.ptr.add(N);
            }
        }
        self
    }

    /// A field that is a string or bytes.
    #[inline(always)]
    pub fn bytes_field(self, tag: u32, bytes: &[u8]) -> Self {
        self.headed_bytes(encoded_tag(tag), tag_len(tag), bytes)
    }

    #[inline(never)]
    fn headed_bytes(mut self, tag: u64, tag_len: usize, bytes: &[u8]) -> Self {
        let len = bytes.len();
        if len >= 0x80 {
            return self.headed_long_bytes(tag, tag_len, bytes);
        }
        if self.room() > tag_len + len {
            // SAFETY: room for the tag, of five bytes at most, a byte of length, and the bytes.
            unsafe {
                self.put_head(tag | (len as u64) << (8 * tag_len), tag_len + 1);
                self.put(bytes);
            }
        }
        self
    }

    #[inline(never)]
    fn headed_long_bytes(mut self, tag: u64, tag_len: usize, bytes: &[u8]) -> Self {
        let len = varint_len(bytes.len() as u64);
        if self.room() >= tag_len + len + bytes.len() {
            // SAFETY: room for all of it.
            unsafe {
                self.put_head(tag, tag_len);
                self.put_varint(bytes.len() as u64, len);
                self.ptr.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                self.ptr = self.ptr.add(bytes.len());
            }
        }
        self
    }

    /// A varint without a tag, as in packed lists.
    #[inline(always)]
    pub fn varint(mut self, value: u64) -> Self {
        if value >= 0x80 || self.room() == 0 {
            return self.long_varint_field(0, 0, value);
        }
        // SAFETY: room for a byte.
        unsafe { self.put_byte(value as u8) };
        self
    }

    /// Bytes as they are.
    #[inline(always)]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        if self.room() >= bytes.len() {
            // SAFETY: room for the bytes.
            unsafe { self.put(bytes) };
        }
        self
    }

    /// Fields that the schema does not know, as they came.
    #[inline]
    pub fn unknown(self, fields: UnknownFields<'_>) -> Self {
        fields.spans().iter().fold(self, |writer, span| writer.bytes(span))
    }

    /// A tag.
    #[inline(always)]
    pub fn tag(mut self, tag: u32) -> Self {
        if self.room() >= tag_len(tag) {
            // SAFETY: room for it.
            unsafe { self.put_tag(tag) };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_size_of_a_varint_counts_begun_groups_of_seven_bits() {
        assert_eq!((varint_len(0), varint_len(u64::MAX)), (1, 10));
        for bits in 1..=64usize {
            assert_eq!(varint_len(1 << (bits - 1)), bits.div_ceil(7), "{bits} bits");
            assert_eq!(varint_len(u64::MAX >> (64 - bits)), bits.div_ceil(7), "{bits} bits");
        }
    }

    #[test]
    fn varints_and_tags_of_every_length_are_written_alike_with_room_behind_them_and_without() {
        let values = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, u64::MAX >> bit]);
        for value in values.chain([0, u64::MAX]) {
            for tag in [8, 0x7f8, 0x3_fff8, 0x1ff_fff8, !7] {
                let mut expected = Vec::new();
                for mut left in [u64::from(tag), value] {
                    while left >= 0x80 {
                        expected.push(left as u8 | 0x80);
                        left >>= 7;
                    }
                    expected.push(left as u8);
                }
                for slack in 0..12 {
                    let mut out = Vec::<u8>::with_capacity(expected.len() + slack);
                    let start =
                        Writer::new(&mut out.spare_capacity_mut()[..expected.len() + slack]);
                    let end = start.varint_field(tag, value);
                    let written = end.written_since(start);
                    // SAFETY: the writer has initialised as many bytes as it says.
                    unsafe { out.set_len(written) };
                    assert_eq!(out, expected, "{tag:x} {value:x} and {slack} more");
                }
                let mut out = Vec::<u8>::with_capacity(expected.len());
                let start = Writer::new(&mut out.spare_capacity_mut()[..expected.len() - 1]);
                assert_eq!(start.varint_field(tag, value).written_since(start), 0);
            }
        }
    }

    #[test]
    fn what_fits_exactly_is_written_and_what_does_not_is_left_out() {
        let text = "a string of more than thirty-two bytes, so that it is copied in one piece";
        for len in 0..text.len() {
            let bytes = &text.as_bytes()[..len];
            for slack in [0, 20] {
                let mut out = Vec::with_capacity(2 + len + slack);
                let start = Writer::new(&mut out.spare_capacity_mut()[..2 + len + slack]);
                let end = start.bytes_field(10, bytes);
                assert_eq!(end.written_since(start), 2 + len);
                // SAFETY: the writer has initialised as many bytes as it says.
                unsafe { out.set_len(2 + len) };
                assert_eq!((out[0], out[1], &out[2..]), (10, len as u8, bytes));
            }
            let mut out = Vec::<u8>::with_capacity(1 + len);
            let start = Writer::new(&mut out.spare_capacity_mut()[..1 + len]);
            assert_eq!(start.bytes_field(10, bytes).written_since(start), 0);
        }
    }
}
