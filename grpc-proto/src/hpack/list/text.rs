//! The memory of names and values.

use alloc::vec::Vec;
use core::fmt;

/// How many bytes are copied as a few words of the processor, where a copy of fewer would be a call that
/// branches on their number. Most fields have no more.
pub(in crate::hpack) const CHUNK: usize = 64;

/// Copies the first `len` bytes of `source` to the start of `space`, both of which may have more and be
/// copied with them.
#[inline(always)]
pub(in crate::hpack) fn copy_part(source: &[u8], len: usize, space: &mut [u8]) {
    match (source.first_chunk::<CHUNK>(), space.first_chunk_mut::<CHUNK>()) {
        (Some(from), Some(to)) if len <= CHUNK => *to = *from,
        _ => space[..len].copy_from_slice(&source[..len]),
    }
}

/// Copies all of `source` to the start of `space`.
#[inline(always)]
pub(in crate::hpack) fn copy_array<const N: usize>(source: &[u8; N], space: &mut [u8]) {
    match space.first_chunk_mut() {
        Some(to) => *to = *source,
        None => unreachable!("the room is a chunk larger than what it is for"),
    }
}

/// Copies `source`, which is usually short, to the start of `space`, which has room for it: a few loads and
/// stores that overlap, where a call would cost as much as the copy.
#[inline(always)]
pub(super) fn copy_short(source: &[u8], space: &mut [u8]) {
    copy_seeing(source, space, |_| {});
}

/// As [`copy_short`], and shows all bytes to `see`, eight at a time, some of them twice and dots where
/// there are fewer.
#[inline(always)]
pub(super) fn copy_seeing(source: &[u8], space: &mut [u8], mut see: impl FnMut([u8; 8])) {
    let target = &mut space[..source.len()];
    if source.len() > 32 {
        target.copy_from_slice(source);
        source.as_chunks().0.iter().for_each(|word| see(*word));
        source.last_chunk().into_iter().for_each(|word| see(*word));
    } else if let Some(ends) = copy_ends::<16>(source, target) {
        ends.as_flattened().as_chunks().0.iter().for_each(|word| see(*word));
    } else if let Some(ends) = copy_ends::<8>(source, target) {
        ends.into_iter().for_each(see);
    } else if let Some(ends) = copy_ends::<4>(source, target) {
        ends.as_flattened().as_chunks().0.iter().for_each(|word| see(*word));
    } else {
        let mut word = [b'.'; 8];
        for ((to, from), seen) in target.iter_mut().zip(source).zip(&mut word) {
            *to = *from;
            *seen = *from;
        }
        see(word);
    }
}

/// Whether two strings are alike. Short ones are compared in a few words, where a call would branch on their length, and
/// load more at once than was stored at once if they have just been written.
#[inline(always)]
pub(in crate::hpack) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a.len() > 32 {
        return a == b;
    }
    let differ = |a: &[u8; 8], b: &[u8; 8]| u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    if let (Some([a0, a1]), Some([b0, b1])) = (ends::<16>(a), ends::<16>(b)) {
        let words = a0.as_chunks().0.iter().chain(a1.as_chunks().0);
        let others = b0.as_chunks().0.iter().chain(b1.as_chunks().0);
        words.zip(others).fold(0, |found, (a, b)| found | differ(a, b)) == 0
    } else if let (Some([a0, a1]), Some([b0, b1])) = (ends::<8>(a), ends::<8>(b)) {
        differ(&a0, &b0) | differ(&a1, &b1) == 0
    } else if let (Some(a), Some(b)) = (ends::<4>(a), ends::<4>(b)) {
        a == b
    } else {
        a.iter().zip(b).all(|(a, b)| a == b)
    }
}

/// The first `N` bytes and the last, if there are as many.
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> Option<[[u8; N]; 2]> {
    Some([*text.first_chunk()?, *text.last_chunk()?])
}

/// Copies the first `N` bytes and the last, if there are as many, and returns them.
#[inline(always)]
fn copy_ends<const N: usize>(source: &[u8], target: &mut [u8]) -> Option<[[u8; N]; 2]> {
    let [first, last] = ends(source)?;
    *target.first_chunk_mut()? = first;
    *target.last_chunk_mut()? = last;
    Some([first, last])
}

/// Bytes that are appended to, in memory that stays initialised.
///
/// ```text
/// memory   [ names and values, back to back | zeros, or what stood here before ]
///                                          len                       all of it is used
/// ```
///
/// A plain `Vec` has to be told of every byte before it is written: who does not know how many there
/// will be fills them first, and who copies a few pays for a call that branches on their number. Here
/// whole words go beyond the end, and the end follows.
#[derive(Default)]
pub(super) struct Text {
    memory: Vec<u8>,
    len: usize,
}

impl Text {
    pub(super) const fn new() -> Self {
        Text { memory: Vec::new(), len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }

    /// Forgets what is beyond the first `len` bytes, keeps the memory.
    #[inline]
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes beyond the end, of which there are `len` and a chunk or more, and of which
    /// [`grow`](Self::grow) makes some a part of the text.
    #[inline]
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        if self.memory.len() - self.len < len + CHUNK {
            self.enlarge(len + CHUNK);
        }
        &mut self.memory[self.len..]
    }

    /// Makes `len` bytes, which were written into the room, a part of the text.
    #[inline]
    pub(super) fn grow(&mut self, len: usize) {
        debug_assert!(len <= self.memory.len() - self.len);
        self.len += len;
    }

    /// Appends `source`.
    #[inline]
    pub(super) fn append(&mut self, source: &[u8]) {
        self.room(source.len())[..source.len()].copy_from_slice(source);
        self.len += source.len();
    }

    pub(super) fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Gives memory back until `bytes` are held, or as many as the text needs.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.memory.truncate(self.len.max(bytes));
        self.memory.shrink_to(bytes);
    }

    #[cold]
    fn enlarge(&mut self, len: usize) {
        let used = self.memory.len();
        // As a `Vec` grows, so that appending takes constant time on average.
        let wanted = (self.len + len).max(used * 2);
        self.memory.reserve_exact(wanted - used);
        self.memory.resize(wanted, 0);
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Text { memory: self.as_slice().to_vec(), len: self.len }
    }

    #[inline]
    fn clone_from(&mut self, source: &Self) {
        self.len = 0;
        self.append(source.as_slice());
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_short_copy_is_a_copy() {
        let source: Vec<u8> = (1..=100).collect();
        for len in 0..100 {
            let mut space = [0; 100];
            let mut seen = [false; 101];
            copy_seeing(&source[..len], &mut space, |word| {
                word.iter().for_each(|&byte| seen[usize::from(byte)] |= byte != b'.');
            });
            assert_eq!(space[..len], source[..len]);
            assert!((1..=100).all(|byte| seen[byte] == (byte <= len && byte != usize::from(b'.'))));
            assert!(space[len..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn strings_are_the_same_if_no_byte_differs() {
        for len in 0..50 {
            let text: Vec<u8> = (0..len).collect();
            assert!(is_same(&text, &text.clone()));
            assert!(!is_same(&text, &[&text[..], b"x"].concat()));
            for at in 0..usize::from(len) {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&text, &other), "{at} of {len}");
            }
        }
    }

    #[test]
    fn what_is_appended_in_whole_words_ends_where_it_should() {
        let source: Vec<u8> = (0..100).collect();
        for start in 0..20 {
            for len in 0..=80 {
                let mut text = Text::new();
                text.append(&source[..start]);
                copy_part(&source[start..], len, text.room(len));
                text.grow(len);
                text.append(b"end");
                let wanted = [&source[..start + len], b"end"].concat();
                assert_eq!(text.as_slice(), wanted);
            }
        }
    }

    #[test]
    fn texts_are_equal_whatever_stood_behind_them() {
        let mut long = Text::new();
        long.append(&[b'x'; 200]);
        long.truncate(3);
        let mut short = Text::new();
        short.append(b"xxx");
        assert!(long == short);
        long.append(b"y");
        assert!(long != short);
        short.clone_from(&long);
        assert_eq!(short.as_slice(), b"xxxy");
        assert_eq!(long.clone().as_slice(), b"xxxy");
    }

    #[test]
    fn room_is_written_and_then_told_of() {
        let mut text = Text::new();
        text.append(b"ab");
        text.room(10)[..4].copy_from_slice(b"cdef");
        assert_eq!(text.as_slice(), b"ab");
        text.grow(2);
        assert_eq!(text.as_slice(), b"abcd");
        text.truncate(9);
        assert_eq!(text.len(), 4);
        assert_eq!(text.clone().memory, vec![b'a', b'b', b'c', b'd']);
    }

    #[test]
    fn memory_grows_by_doubling_and_is_given_back() {
        let mut text = Text::new();
        text.append(&[1; 100]);
        assert_eq!(text.capacity(), 100 + CHUNK);
        text.append(&[1]);
        assert_eq!(text.capacity(), 2 * (100 + CHUNK));
        text.shrink_to(50);
        assert_eq!((text.len(), text.capacity()), (101, 101));
        text.truncate(0);
        text.shrink_to(50);
        assert_eq!(text.capacity(), 50);
        text.shrink_to(0);
        assert_eq!(text.capacity(), 0);
    }
}
