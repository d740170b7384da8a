//! The place where the encoded message goes.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::UnknownFields;

/// The longest tag and varint together.
const VARINT_FIELD: usize = 5 + 10;

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
    tag_len + varint_len(len as u64) + len
}

/// Writes a varint of more than one byte; returns where it ends. Out of line, as most are shorter.
///
/// # Safety
/// There must be room for it.
#[inline(never)]
unsafe fn put_long(mut ptr: *mut u8, mut value: u64) -> *mut u8 {
    // SAFETY: the caller's word.
    unsafe {
        while value >= 0x80 {
            ptr.write(value as u8 | 0x80);
            ptr = ptr.add(1);
            value >>= 7;
        }
        ptr.write(value as u8);
        ptr.add(1)
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

    /// A varint that is known when the code is compiled, so that its loop comes to nothing.
    ///
    /// # Safety
    /// There must be room for five bytes, or for the tag.
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

    /// # Safety
    /// There must be room for ten bytes, or for the varint.
    #[inline(always)]
    unsafe fn put_varint(&mut self, value: u64) {
        // SAFETY: the caller's word.
        unsafe {
            match value {
                0..0x80 => self.put_byte(value as u8),
                _ => self.ptr = put_long(self.ptr, value),
            }
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
                17..=32 => {
                    let (head, tail) = (
                        from.cast::<[u8; 16]>().read(),
                        from.add(len - 16).cast::<[u8; 16]>().read(),
                    );
                    to.cast::<[u8; 16]>().write(head);
                    to.add(len - 16).cast::<[u8; 16]>().write(tail);
                }
                _ => to.copy_from_nonoverlapping(from, len),
            }
            self.ptr = to.add(len);
        }
    }

    /// A field that is a varint.
    #[inline(always)]
    pub fn varint_field(mut self, tag: u32, value: u64) -> Self {
        if self.room() < VARINT_FIELD {
            return self.slow_varints(&[u64::from(tag), value], &[]);
        }
        // SAFETY: room for the longest of both.
        unsafe {
            self.put_tag(tag);
            self.put_varint(value);
        }
        self
    }

    /// A field of fixed size.
    #[inline(always)]
    pub fn fixed_field<const N: usize>(mut self, tag: u32, value: [u8; N]) -> Self {
        if self.room() < VARINT_FIELD {
            return self.slow_varints(&[u64::from(tag)], &value);
        }
        const { assert!(N <= 8) };
        // SAFETY: room for the longest tag and eight bytes.
        unsafe {
            self.put_tag(tag);
            self.ptr.cast::<[u8; N]>().write(value);
            self.ptr = self.ptr.add(N);
        }
        self
    }

    /// A field that is a string or bytes.
    #[inline(never)]
    pub fn bytes_field(mut self, tag: u32, bytes: &[u8]) -> Self {
        if self.room() < bytes.len() + VARINT_FIELD {
            return self.slow_varints(&[u64::from(tag), bytes.len() as u64], bytes);
        }
        // SAFETY: room for the longest tag, the longest length and the bytes.
        unsafe {
            self.put_tag(tag);
            self.put_varint(bytes.len() as u64);
            self.put(bytes);
        }
        self
    }

    /// A varint without a tag, as in packed lists.
    #[inline(always)]
    pub fn varint(mut self, value: u64) -> Self {
        if self.room() < 10 {
            return self.slow_varints(&[value], &[]);
        }
        // SAFETY: room for the longest.
        unsafe { self.put_varint(value) };
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
        if self.room() < 5 {
            return self.slow_varints(&[u64::from(tag)], &[]);
        }
        // SAFETY: room for the longest.
        unsafe { self.put_tag(tag) };
        self
    }

    /// All of it or nothing, near the end of the memory.
    #[cold]
    #[inline(never)]
    fn slow_varints(mut self, varints: &[u64], bytes: &[u8]) -> Self {
        let len = varints.iter().map(|&value| varint_len(value)).sum::<usize>() + bytes.len();
        if len <= self.room() {
            // SAFETY: room for all of it.
            unsafe {
                varints.iter().for_each(|&value| self.put_varint(value));
                self.put(bytes);
            }
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
