//! What a list of fields holds: their text side by side, and where each of them lies in it.

use alloc::vec::Vec;

use super::text::{Text, copy_array, copy_seeing, copy_short};
use super::{FIELD_OVERHEAD, Field, FieldFlags};
use crate::hpack::token::Token;
use crate::hpack::validate;

/// Where a field lies; the value follows the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    start: u32,
    name_len: u32,
    value_len: u32,
    token: Token,
    flags: FieldFlags,
}

const _: () = assert!(size_of::<Entry>() <= 16);

impl Entry {
    #[inline]
    pub(super) fn kind(&self) -> (Token, FieldFlags) {
        (self.token, self.flags)
    }

    #[inline]
    pub(super) fn field<'a>(&self, bytes: &'a [u8]) -> Field<'a> {
        self.field_and_text(bytes).0
    }

    /// The field, and its name and value back to back.
    #[inline]
    pub(super) fn field_and_text<'a>(&self, bytes: &'a [u8]) -> (Field<'a>, &'a [u8]) {
        let name_len = self.name_len as usize;
        let text = &bytes[self.start as usize..][..name_len + self.value_len as usize];
        let (name, value) = text.split_at(name_len);
        (Field { token: self.token, name, value, flags: self.flags }, text)
    }
}

/// The contents of a [`FieldList`](super::FieldList).
#[derive(Default, PartialEq, Eq)]
pub(in crate::hpack) struct Contents {
    /// Names and values, back to back.
    text: Text,
    entries: Vec<Entry>,
    overflowed: bool,
}

impl Contents {
    pub(super) const fn new() -> Self {
        Contents { text: Text::new(), entries: Vec::new(), overflowed: false }
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.text.truncate(0);
        self.entries.clear();
        self.overflowed = false;
    }

    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.text.as_slice()
    }

    #[inline]
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many fields there are.
    #[inline]
    pub(in crate::hpack) fn len(&self) -> usize {
        self.entries.len()
    }

    /// See [`FieldList::size`](super::FieldList::size).
    #[inline]
    pub(in crate::hpack) fn size(&self) -> usize {
        if self.overflowed {
            return usize::MAX;
        }
        self.text.len() + self.entries.len() * FIELD_OVERHEAD
    }

    /// Heap bytes, beside those of this record.
    pub(super) fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives memory back until about `max_bytes` are held, or as many as the fields need.
    pub(super) fn shrink(&mut self, max_bytes: usize) {
        // A typical field takes about as many bytes as its entry.
        let half = max_bytes / 2;
        self.entries.shrink_to(half / size_of::<Entry>());
        self.text.shrink_to(half);
    }

    /// Appends a field of which everything is known.
    #[inline]
    pub(super) fn append(&mut self, token: Token, flags: FieldFlags, name: &[u8], value: &[u8]) {
        let Some(space) = self.space_for(name, value) else { return };
        copy_short(name, space);
        copy_short(value, &mut space[name.len()..]);
        self.commit(token, flags, name.len(), name.len() + value.len());
    }

    /// Appends a field with the name of `token`.
    #[inline]
    pub(super) fn append_known(&mut self, token: Token, value: &[u8]) {
        let name = token.name().expect("a token that stands for one name").as_bytes();
        let Some(space) = self.space_for(name, value) else { return };
        copy_array(&token.text().text, space);
        let value_flags = copy_value(value, &mut space[name.len()..]);
        let flags = validate::known_name_flags(token).union(value_flags);
        self.commit(token, flags, name.len(), name.len() + value.len());
    }

    /// Appends a field that has `flags` beside those that are found.
    #[inline]
    pub(super) fn append_unknown(&mut self, flags: FieldFlags, name: &[u8], value: &[u8]) {
        let Some(space) = self.space_for(name, value) else { return };
        let token = match Token::of_known(name) {
            Some(token) => {
                copy_array(&token.text().text, space);
                token
            }
            None => {
                copy_short(name, space);
                Token::of_unknown(name)
            }
        };
        let value_flags = copy_value(value, &mut space[name.len()..]);
        let flags = flags.union(validate::name_flags(token, name)).union(value_flags);
        self.commit(token, flags, name.len(), name.len() + value.len());
    }

    /// Appends all fields of `other`.
    pub(super) fn extend_from(&mut self, other: &Contents) {
        self.overflowed |= other.overflowed;
        let Some(base) = self.room_for(other.text.len()) else { return };
        self.text.append(other.text.as_slice());
        self.entries.extend(
            other.entries.iter().map(|entry| Entry { start: base + entry.start, ..*entry }),
        );
    }

    /// See [`FieldList::set_value`](super::FieldList::set_value).
    #[inline]
    pub(super) fn set_value(&mut self, index: usize, value: &[u8]) -> bool {
        let Some(entry) = self.entries.get(index) else { return false };
        let valid = entry.flags.is_value_valid() && validate::value_flags(value).is_value_valid();
        let start = entry.start as usize + entry.name_len as usize;
        let place = &mut self.text.as_mut_slice()[start..start + entry.value_len as usize];
        if !valid || place.len() != value.len() {
            return false;
        }
        place.copy_from_slice(value);
        true
    }

    /// Room for a field and a chunk, if the list can still address the field's end.
    #[inline]
    fn space_for(&mut self, name: &[u8], value: &[u8]) -> Option<&mut [u8]> {
        let len = name.len().saturating_add(value.len());
        self.room_for(len).map(|_| self.text.room(len))
    }

    /// Room for the `len` bytes of a field and a chunk, for the decoder to write a field that it then
    /// commits.
    #[inline]
    pub(in crate::hpack) fn room(&mut self, len: usize) -> &mut [u8] {
        self.text.room(len)
    }

    /// Makes a field of the first `text_len` bytes of the room, and returns them. The caller keeps the
    /// list below 4 GiB.
    #[inline]
    pub(in crate::hpack) fn commit(
        &mut self,
        token: Token,
        flags: FieldFlags,
        name_len: usize,
        text_len: usize,
    ) -> &[u8] {
        let start = self.text.len();
        self.text.grow(text_len);
        self.entries.push(Entry {
            start: start as u32,
            name_len: name_len as u32,
            value_len: (text_len - name_len) as u32,
            token,
            flags,
        });
        &self.text.as_slice()[start..]
    }

    /// Where the next `len` bytes will start, if the list can still address their end.
    #[inline]
    fn room_for(&mut self, len: usize) -> Option<u32> {
        let start = self.text.len();
        match start.checked_add(len).map(u32::try_from) {
            Some(Ok(_)) => Some(start as u32),
            _ => {
                self.overflowed = true;
                None
            }
        }
    }
}

impl Clone for Contents {
    fn clone(&self) -> Self {
        Contents {
            text: self.text.clone(),
            entries: self.entries.clone(),
            overflowed: self.overflowed,
        }
    }

    #[inline]
    fn clone_from(&mut self, source: &Self) {
        self.text.clone_from(&source.text);
        self.entries.clone_from(&source.entries);
        self.overflowed = source.overflowed;
    }
}

/// Copies a value to the start of `space`, and returns its flags.
#[inline(always)]
fn copy_value(value: &[u8], space: &mut [u8]) -> FieldFlags {
    let mut low_control = false;
    copy_seeing(value, space, |word| {
        low_control |= validate::has_low_control(u64::from_le_bytes(word));
    });
    validate::value_flags_suspecting(low_control, value)
}
