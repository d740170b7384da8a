//! The dynamic table (RFC 7541 §2.3.2), the same for both directions.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::list::{FIELD_OVERHEAD, FieldFlags, copy_part, is_same};
use super::token::Token;

/// A first-in, first-out table of fields in two rings.
///
/// ```text
/// bytes    … | oldest: name value | name value | … | newest: name value | free …   wraps
/// entries  … | start, lengths, token, flags | …                                    wraps
/// ```
///
/// Entries are numbered as they are inserted, from one; the newest has the number `inserted`.
/// Memory grows with what is stored: at most `max_size` bytes and 16 bytes an entry, the number of
/// entries rounded up to a power of two.
#[derive(Debug)]
pub(super) struct Table {
    /// A ring; its length is the memory in use for it.
    bytes: Vec<u8>,
    /// Where the next entry's bytes go.
    head: usize,
    /// A ring whose length is a power of two, or zero.
    entries: Vec<Entry>,
    inserted: u32,
    len: u32,
    size: usize,
    max_size: usize,
    generation: u64,
}

/// Where an entry lies and what is known about it, so that a reference needs no new checks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    start: u32,
    pub(super) name_len: u32,
    pub(super) value_len: u32,
    pub(super) token: Token,
    pub(super) flags: FieldFlags,
}

impl Entry {
    #[inline]
    pub(super) fn text_len(&self) -> usize {
        self.name_len as usize + self.value_len as usize
    }

    #[inline]
    fn size(&self) -> usize {
        self.text_len() + FIELD_OVERHEAD
    }
}

impl Table {
    pub(super) const fn new(max_size: u32) -> Self {
        Table {
            bytes: Vec::new(),
            head: 0,
            entries: Vec::new(),
            inserted: 0,
            len: 0,
            size: 0,
            max_size: max_size as usize,
            generation: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    #[inline]
    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    /// Changes whenever anything else here does.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts a change of state that is not in the table itself.
    #[inline]
    pub(super) fn touch(&mut self) {
        self.generation += 1;
    }

    /// The number of the newest entry, which wraps around after 2³² of them.
    #[inline]
    pub(super) fn newest(&self) -> u32 {
        self.inserted
    }

    /// How many entries are newer than `number`, if that one is still here.
    #[inline]
    pub(super) fn age_of(&self, number: u32) -> Option<u32> {
        let age = self.inserted.wrapping_sub(number);
        (age < self.len).then_some(age)
    }

    /// The entry that has `age` newer ones.
    #[inline]
    pub(super) fn entry(&self, age: u32) -> Option<&Entry> {
        if age >= self.len {
            return None;
        }
        self.entries.get(self.slot(self.inserted.wrapping_sub(age)))
    }

    /// Copies name and value of an entry, back to back, to the start of `space`, which has room for them.
    #[inline(always)]
    pub(super) fn copy_text(&self, entry: &Entry, space: &mut [u8]) {
        self.copy(entry.start as usize, entry.text_len(), space);
    }

    /// Copies the name of an entry to the start of `space`, which has room for it.
    #[inline(always)]
    pub(super) fn copy_name(&self, entry: &Entry, space: &mut [u8]) {
        self.copy(entry.start as usize, entry.name_len as usize, space);
    }

    #[inline(always)]
    fn copy(&self, start: usize, len: usize, space: &mut [u8]) {
        let until_end = &self.bytes[start..];
        if len <= until_end.len() {
            copy_part(until_end, len, space);
        } else {
            let (first, second) = self.pieces(start, len);
            let (space, rest) = space.split_at_mut(first.len());
            space.copy_from_slice(first);
            rest[..second.len()].copy_from_slice(second);
        }
    }

    /// The name of an entry, in two pieces of which the second is empty unless the ring wraps inside.
    #[inline]
    pub(super) fn name(&self, entry: &Entry) -> (&[u8], &[u8]) {
        self.pieces(entry.start as usize, entry.name_len as usize)
    }

    /// The value of an entry, in two pieces likewise.
    #[inline]
    pub(super) fn value(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let start = entry.start as usize + entry.name_len as usize;
        let wrapped = if start >= self.bytes.len() { start - self.bytes.len() } else { start };
        self.pieces(wrapped, entry.value_len as usize)
    }

    /// Whether an entry has this name.
    #[inline(always)]
    pub(super) fn is_name(&self, entry: &Entry, name: &[u8]) -> bool {
        entry.name_len as usize == name.len() && self.has_at(entry.start as usize, name)
    }

    /// Whether an entry has this value.
    #[inline(always)]
    pub(super) fn is_value(&self, entry: &Entry, value: &[u8]) -> bool {
        let start = entry.start as usize + entry.name_len as usize;
        entry.value_len as usize == value.len() && self.has_at(start, value)
    }

    /// Whether the ring has `text` at `start`, which may lie as far behind its end as before its first byte.
    #[inline(always)]
    fn has_at(&self, start: usize, text: &[u8]) -> bool {
        match self.bytes.get(start..).and_then(|rest| rest.get(..text.len())) {
            Some(found) => is_same(found, text),
            None => self.has_around(start, text),
        }
    }

    /// As [`has_at`](Self::has_at), across the end of the ring.
    #[cold]
    fn has_around(&self, start: usize, text: &[u8]) -> bool {
        let start = if start >= self.bytes.len() { start - self.bytes.len() } else { start };
        let (first, second) = self.pieces(start, text.len());
        text.starts_with(first) && text.ends_with(second)
    }

    /// Inserts a field as the newest entry, given as name and value back to back, after evicting as
    /// many of the oldest as its size demands; one that is larger than the table empties it and is
    /// not kept (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, token: Token, flags: FieldFlags, text: &[u8], name_len: usize) {
        self.generation += 1;
        let size = text.len() + FIELD_OVERHEAD;
        if size > self.max_size {
            self.clear();
            return;
        }
        self.evict_until(self.max_size - size);
        self.reserve(text.len());

        let start = self.head;
        let until_end = self.bytes.len() - start;
        if text.len() < until_end {
            self.bytes[start..start + text.len()].copy_from_slice(text);
            self.head = start + text.len();
        } else {
            let (first, second) = text.split_at(until_end);
            self.bytes[start..].copy_from_slice(first);
            self.bytes[..second.len()].copy_from_slice(second);
            self.head = second.len();
        }
        self.inserted = self.inserted.wrapping_add(1);
        self.len += 1;
        self.size += size;
        let slot = self.slot(self.inserted);
        self.entries[slot] = Entry {
            // The table is no larger than a 32-bit setting allows.
            start: start as u32,
            name_len: name_len as u32,
            value_len: (text.len() - name_len) as u32,
            token,
            flags,
        };
    }

    /// Evicts every entry.
    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.evict_until(0);
    }

    /// Changes the size at which entries are evicted (RFC 7541 §4.3).
    pub(super) fn set_max_size(&mut self, max_size: u32) {
        let max_size = max_size as usize;
        if max_size != self.max_size {
            self.generation += 1;
            self.max_size = max_size;
            self.evict_until(max_size);
        }
    }

    /// The entries from newest to oldest, copied only where the ring wraps inside one.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
        (0..self.len).filter_map(|age| self.entry(age)).map(|entry| {
            let joined =
                |pieces: (&'_ [u8], &'_ [u8])| -> Vec<u8> { [pieces.0, pieces.1].concat() };
            let (name, value) = (self.name(entry), self.value(entry));
            (
                if name.1.is_empty() { Cow::Borrowed(name.0) } else { Cow::Owned(joined(name)) },
                if value.1.is_empty() { Cow::Borrowed(value.0) } else { Cow::Owned(joined(value)) },
            )
        })
    }

    /// The memory held, in use or not.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives back the memory that the present entries do not need.
    pub(super) fn shrink(&mut self) {
        let text_len = self.text_len();
        if self.bytes.capacity() > text_len {
            self.resize_bytes(text_len);
        }
        let slots = match self.len {
            0 => 0,
            len => len.next_power_of_two() as usize,
        };
        if self.entries.capacity() > slots {
            self.resize_entries(slots);
        }
    }

    fn evict_until(&mut self, size: usize) {
        while self.size > size {
            let oldest = self.slot(self.inserted.wrapping_sub(self.len - 1));
            self.size -= self.entries[oldest].size();
            self.len -= 1;
        }
    }

    /// How many bytes of the ring are in use.
    fn text_len(&self) -> usize {
        self.size - self.len as usize * FIELD_OVERHEAD
    }

    /// Makes room in both rings for one more entry. What it must be able to hold is bounded by
    /// `max_size`, because eviction came first.
    #[inline]
    fn reserve(&mut self, text_len: usize) {
        let needed = self.text_len() + text_len;
        if needed > self.bytes.len() {
            let most = self.max_size - FIELD_OVERHEAD;
            self.resize_bytes((needed * 2).max(256).min(most));
        }
        if self.len as usize == self.entries.len() {
            self.resize_entries((self.len as usize * 2).max(8));
        }
    }

    /// Moves the bytes in use to the start of a ring of `capacity` bytes.
    #[cold]
    fn resize_bytes(&mut self, capacity: usize) {
        let mut bytes = Vec::new();
        bytes.reserve_exact(capacity);
        for age in (0..self.len).rev() {
            let slot = self.slot(self.inserted.wrapping_sub(age));
            let entry = self.entries[slot];
            self.entries[slot].start = bytes.len() as u32;
            let (first, second) = self.pieces(entry.start as usize, entry.text_len());
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        }
        self.head = if bytes.len() == capacity { 0 } else { bytes.len() };
        bytes.resize(capacity, 0);
        self.bytes = bytes;
    }

    /// Moves the entries to a ring of `capacity` slots, a power of two or zero.
    #[cold]
    fn resize_entries(&mut self, capacity: usize) {
        let mut entries = Vec::new();
        entries.reserve_exact(capacity);
        entries.resize(capacity, Entry::default());
        for age in 0..self.len {
            let number = self.inserted.wrapping_sub(age);
            entries[number as usize & (capacity - 1)] = self.entries[self.slot(number)];
        }
        self.entries = entries;
    }

    /// Where the entry of a number stands; any slot if there are none.
    #[inline]
    fn slot(&self, number: u32) -> usize {
        number as usize & self.entries.len().wrapping_sub(1)
    }

    #[inline]
    fn pieces(&self, start: usize, len: usize) -> (&[u8], &[u8]) {
        match self.bytes.get(start..start + len) {
            Some(whole) => (whole, &[]),
            None => {
                let first = &self.bytes[start..];
                (first, &self.bytes[..len - first.len()])
            }
        }
    }
}

#[cfg(test)]
mod tests;
