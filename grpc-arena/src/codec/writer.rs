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

/// Up to how many bytes are copied without calling a function: as many as a length of one byte counts.
const SHORT: usize = 127;

/// The size of a varint in bytes.
#[inline(always)]
pub const fn varint_len(value: u64) -> usize {
    varint_field_len(0, value)
}

/// The size of a varint behind a tag of `tag_len` bytes.
///
/// In one sum, as the sizes of a message's fields are added up one after the other.
#[inline(always)]
pub const fn varint_field_len(tag_len: usize, value: u64) -> usize {
    // One byte for each begun group of seven bits: 9/64 is a little less than 1/7, enough up to 64 bits.
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64 + 64 * tag_len) / 64
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
    let prefix = if len < 0x80 { tag_len + 1 } else { varint_field_len(tag_len, len as u64) };
    prefix + len
}

/// `size` if the field is present, else 0: a product, which nothing waits for, where a choice between two sums would be
/// another step in the chain of sums.
#[inline(always)]
pub const fn fixed_len(size: usize, present: bool) -> usize {
    size * present as usize
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

/// A varint of `len` bytes, its exact size and four at most, from the lowest byte on: [`head_of`] in fewer steps, as most
/// numbers are small.
#[inline(always)]
const fn up_to_four_bytes(value: u32, len: usize) -> u32 {
    let value = (value & 0x3fff) | (value & 0x0fff_c000) << 2;
    let value = (value & 0x007f_007f) | (value & 0x3f80_3f80) << 1;
    value | 0x0080_8080 >> (8 * (4 - len))
}

/// The first eight bytes of a varint of `len` bytes, its exact size: all of it, if it has no more.
#[inline(always)]
const fn head_of(value: u64, len: usize) -> u64 {
    // Each byte but the last says that another follows; of eight or more the first eight all do, or all but the eighth.
    let marks = 0x8080_8080_8080_8080_u64;
    let marks = if len <= 8 { marks & ((1 << (8 * (len - 1))) - 1) } else { marks };
    open_gaps(value) | marks
}

/// Writes a varint of `len` bytes, its exact size, by overlapping words; returns where it ends.
///
/// # Safety
/// There must be room for ten bytes.
#[inline(always)]
unsafe fn put_long(ptr: *mut u8, value: u64, len: usize) -> *mut u8 {
    let head = head_of(value, len);
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

    /// A later state of this writer; says that its end is the same, which is not seen when a function returns it.
    #[inline(always)]
    pub(super) fn on(self, later: Self) -> Self {
        debug_assert_eq!(self.end, later.end);
        Self { ptr: later.ptr, ..self }
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

    /// Up to [`SHORT`] bytes.
    ///
    /// Words that overlap replace the call of a function, and as few branches as can be, as lengths cannot be foreseen:
    /// a word at either end, and two that lie between them when the bytes are more than two words.
    ///
    /// # Safety
    /// There must be room for the bytes, and no more than [`SHORT`] of them.
    #[inline(always)]
    unsafe fn put_short(&mut self, bytes: &[u8]) {
        let (len, from, to) = (bytes.len(), bytes.as_ptr(), self.ptr);
        debug_assert!(len <= SHORT);
        // SAFETY: `len` bytes are readable at `from` and, by the caller's word, writable at `to`, which nothing else
        // refers to. Each word ends within `len`: of words of `N` bytes, `inner` is none below two, one below four, and
        // two at four; above 64 bytes, which are four words of sixteen, four from either end overlap up to 128.
        unsafe {
            let copy_16 = |at: usize| {
                to.add(at).cast::<[u8; 16]>().write(from.add(at).cast::<[u8; 16]>().read());
            };
            let copy_4 = |at: usize| {
                to.add(at).cast::<[u8; 4]>().write(from.add(at).cast::<[u8; 4]>().read());
            };
            if len > 64 {
                [0, 16, 32, 48, len - 64, len - 48, len - 32, len - 16]
                    .into_iter()
                    .for_each(copy_16);
            } else if len >= 16 {
                let inner = len / 32 * 16;
                [0, inner, len - 16 - inner, len - 16].into_iter().for_each(copy_16);
            } else if len >= 4 {
                let inner = len / 8 * 4;
                [0, inner, len - 4 - inner, len - 4].into_iter().for_each(copy_4);
            } else if len > 0 {
                for at in [0, len / 2, len - 1] {
                    to.add(at).write(from.add(at).read());
                }
            }
            self.ptr = to.add(len);
        }
    }

    /// # Safety
    /// There must be room for the bytes.
    #[inline(always)]
    unsafe fn put(&mut self, bytes: &[u8]) {
        // SAFETY: readable, and writable by the caller's word; nothing else refers to what is written.
        unsafe {
            self.ptr.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.ptr = self.ptr.add(bytes.len());
        }
    }

    /// A field that is a varint.
    #[inline(always)]
    pub fn varint_field(mut self, tag: u32, value: u64) -> Self {
        if value >= 0x80 || self.room() <= tag_len(tag) {
            return self.on(self.long_varint_field(encoded_tag(tag), tag_len(tag), value));
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
        // A tag has five bytes at most, a varint ten.
        if self.room() < 16 {
            return self.last_varint_field(tag, tag_len, value);
        }
        // SAFETY: room for both; what is written beyond the tag is written over.
        unsafe {
            self.put_head(tag, tag_len);
            let len = varint_len(value);
            if len <= 4 {
                self.put_head(up_to_four_bytes(value as u32, len).into(), len);
            } else {
                self.ptr = put_long(self.ptr, value, len);
            }
        }
        self
    }

    /// Where the room is scarce.
    #[inline(never)]
    fn last_varint_field(mut self, tag: u64, tag_len: usize, mut value: u64) -> Self {
        let len = varint_len(value);
        if self.room() < tag_len + len {
            return self;
        }
        // SAFETY: room for the tag and the varint.
        unsafe {
            if tag_len + len <= 8 {
                self.put_last(tag | head_of(value, len) << (8 * tag_len), tag_len + len);
                return self;
            }
            tag.to_le_bytes().iter().take(tag_len).for_each(|&byte| self.put_byte(byte));
            while value >= 0x80 {
                self.put_byte(value as u8 | 0x80);
                value >>= 7;
            }
            self.put_byte(value as u8);
        }
        self
    }

    /// The lowest `len` bytes of a word, where there is room for no more.
    ///
    /// From a register, as loads that are put together from several stores have to wait for them.
    ///
    /// # Safety
    /// There must be room for them; `len` must be one to eight.
    #[inline(always)]
    unsafe fn put_last(&mut self, word: u64, len: usize) {
        // SAFETY: each part ends within `len`, for which there is room by the caller's word.
        unsafe {
            if len >= 4 {
                let tail = (word >> (8 * (len - 4))) as u32;
                self.ptr.cast::<[u8; 4]>().write((word as u32).to_le_bytes());
                self.ptr.add(len - 4).cast::<[u8; 4]>().write(tail.to_le_bytes());
            } else {
                for at in [0, len / 2, len - 1] {
                    self.ptr.add(at).write((word >> (8 * at)) as u8);
                }
            }
            self.ptr = self.ptr.add(len);
        }
    }

    /// The lowest `len` bytes of a word.
    ///
    /// # Safety
    /// There must be room for eight bytes; `len` must be eight at most.
    #[inline(always)]
    unsafe fn put_head(&mut self, head: u64, len: usize) {
        // SAFETY: the caller's word; what is written beyond `len` is written over, or beyond all that is claimed.
        unsafe {
            self.ptr.cast::<[u8; 8]>().write(head.to_le_bytes());
            self.ptr = self.ptr.add(len);
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
        let (tag, tag_len) = (encoded_tag(tag), tag_len(tag));
        // The head of one whose length takes a byte.
        self.on(self.headed_bytes(tag | (bytes.len() as u64) << (8 * tag_len), tag_len + 1, bytes))
    }

    /// Calls nothing but what ends it, so that it saves no registers.
    #[inline(never)]
    fn headed_bytes(mut self, head: u64, head_len: usize, bytes: &[u8]) -> Self {
        let (len, room) = (bytes.len(), self.room());
        if len > SHORT || room < head_len + len || room < 8 {
            return self.headed_long_bytes(head, head_len, bytes);
        }
        // SAFETY: room for the head, of six bytes at most, and the bytes; and for eight bytes.
        unsafe {
            self.put_head(head, head_len);
            self.put_short(bytes);
        }
        self
    }

    /// Where the bytes are many, or the room is scarce.
    #[inline(never)]
    fn headed_long_bytes(mut self, head: u64, head_len: usize, bytes: &[u8]) -> Self {
        let (len, tag_len) = (bytes.len(), head_len - 1);
        if self.room() < tag_len + varint_len(len as u64) + len {
            return self;
        }
        // The tag, without what was put behind it.
        let tag = head ^ (len as u64) << (8 * tag_len);
        // SAFETY: room for all of it. The tag and a length of two bytes have seven at most, and the bytes follow.
        unsafe {
            if len <= SHORT {
                self.put_last(head, head_len);
            } else if len < 1 << 14 {
                let len = (len & 0x7f | 0x80 | len >> 7 << 8) as u64;
                self.put_head(tag | len << (8 * tag_len), tag_len + 2);
            } else {
                self.put_head(tag, tag_len);
                self.ptr = put_long(self.ptr, len as u64, varint_len(len as u64));
            }
            self.put(bytes);
        }
        self
    }

    /// A varint without a tag, as in packed lists.
    #[inline(always)]
    pub fn varint(mut self, value: u64) -> Self {
        if value >= 0x80 || self.room() == 0 {
            return self.on(self.long_varint_field(0, 0, value));
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
    #[inline(always)]
    pub fn unknown(self, fields: UnknownFields<'_>) -> Self {
        if fields.is_empty() { self } else { self.on(self.spans(fields)) }
    }

    #[cold]
    #[inline(never)]
    fn spans(self, fields: UnknownFields<'_>) -> Self {
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
