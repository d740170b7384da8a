//! A list of fields in one flat buffer.

mod text;

use alloc::vec::Vec;
use core::fmt;

use super::token::Token;
use super::validate;
use text::{Text, copy_seeing, copy_short};
pub(super) use text::{copy_array, copy_part};

/// What each field counts beyond its name and value (RFC 9113 §6.5.2, RFC 7541 §4.1).
pub(super) const FIELD_OVERHEAD: usize = 32;

/// One field, borrowed from a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the name is known as.
    pub token: Token,
    /// The name as it stands on the wire; lower-case where it is valid.
    pub name: &'a [u8],
    /// The value as it stands on the wire.
    pub value: &'a [u8],
    /// What is known about the two.
    pub flags: FieldFlags,
}

/// What was found out about a field when it entered its list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldFlags(u8);

impl FieldFlags {
    /// Nothing to note.
    pub const NONE: FieldFlags = FieldFlags(0);
    /// The name is empty, or holds an upper-case letter or another byte that RFC 9113 §8.2.1 and
    /// RFC 9110 §5.1 keep out of names, or is a pseudo-header that no RFC defines.
    pub const NAME_INVALID: FieldFlags = FieldFlags(1);
    /// The value holds NUL, CR or LF, or starts or ends with a space or tab (RFC 9113 §8.2.1).
    pub const VALUE_INVALID: FieldFlags = FieldFlags(2);
    /// The field must never enter a compression table, here or further along (RFC 7541 §7.1.3).
    /// `authorization`, `cookie`, `proxy-authorization` and `set-cookie` are so by their names.
    pub const SENSITIVE: FieldFlags = FieldFlags(4);
    /// The name ends with `-bin`: gRPC carries base64 in the value.
    pub const BINARY: FieldFlags = FieldFlags(8);

    /// Whether every flag of `other` is set.
    #[inline]
    pub const fn contains(self, other: FieldFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether HTTP/2 allows the name.
    #[inline]
    pub const fn is_name_valid(self) -> bool {
        !self.contains(Self::NAME_INVALID)
    }

    /// Whether HTTP/2 allows the value.
    #[inline]
    pub const fn is_value_valid(self) -> bool {
        !self.contains(Self::VALUE_INVALID)
    }

    /// Whether HTTP/2 allows both name and value.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 & (Self::NAME_INVALID.0 | Self::VALUE_INVALID.0) == 0
    }

    /// Whether the field must never enter a compression table.
    #[inline]
    pub const fn is_sensitive(self) -> bool {
        self.contains(Self::SENSITIVE)
    }

    /// Whether the name ends with `-bin`.
    #[inline]
    pub const fn is_binary(self) -> bool {
        self.contains(Self::BINARY)
    }

    /// The flags set in either.
    #[inline]
    pub const fn union(self, other: FieldFlags) -> FieldFlags {
        FieldFlags(self.0 | other.0)
    }

    /// The flags without those that the value determines.
    #[inline]
    pub(super) const fn of_name_only(self) -> FieldFlags {
        FieldFlags(self.0 & !Self::VALUE_INVALID.0)
    }
}

impl fmt::Debug for FieldFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::NAME_INVALID, "NAME_INVALID"),
            (Self::VALUE_INVALID, "VALUE_INVALID"),
            (Self::SENSITIVE, "SENSITIVE"),
            (Self::BINARY, "BINARY"),
        ];
        let mut set = f.debug_set();
        for (flag, name) in names {
            if self.contains(flag) {
                set.entry(&format_args!("{name}"));
            }
        }
        set.finish()
    }
}

/// A list of fields in order: two allocations however many fields, and none when it is reused.
///
/// ```text
/// text     [ :method POST | :path /pkg.Service/Method | te trailers | …
/// entries  [ offset, lengths, token, flags | …              16 bytes each
/// ```
///
/// A list holds less than 4 GiB. What would not fit is left out, and from then on [`size`] is
/// `usize::MAX`, so that a list which lost a field exceeds every limit it is held against.
///
/// [`size`]: FieldList::size
#[derive(Default, PartialEq, Eq)]
pub struct FieldList {
    /// Names and values, back to back.
    text: Text,
    entries: Vec<Entry>,
    overflowed: bool,
}

/// Where a field lies; the value follows the name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    start: u32,
    name_len: u32,
    value_len: u32,
    token: Token,
    flags: FieldFlags,
}

const _: () = assert!(size_of::<Entry>() <= 16);

impl FieldList {
    /// An empty list, which holds no memory yet.
    pub const fn new() -> Self {
        FieldList { text: Text::new(), entries: Vec::new(), overflowed: false }
    }

    /// Forgets the fields, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.text.truncate(0);
        self.entries.clear();
        self.overflowed = false;
    }

    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size that SETTINGS_MAX_HEADER_LIST_SIZE counts: name + value + 32 for each field
    /// (RFC 9113 §6.5.2).
    #[inline]
    pub fn size(&self) -> usize {
        if self.overflowed {
            return usize::MAX;
        }
        self.text.len() + self.entries.len() * FIELD_OVERHEAD
    }

    /// Appends a field, whose name is recognised and both of whose parts are checked: a field that
    /// HTTP/2 does not allow is appended all the same, and flagged.
    #[inline]
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.append_unknown(FieldFlags::NONE, name, value);
    }

    /// Appends a field whose name was recognised and found valid; says whether its value is valid too,
    /// and appends nothing if it is not.
    #[inline]
    pub(crate) fn push_checked(&mut self, token: Token, name: &[u8], value: &[u8]) -> bool {
        let flags = validate::value_flags(value);
        if flags.is_value_valid() {
            let flags = flags.union(validate::valid_name_flags(token, name));
            self.append(token, flags, name, value);
        }
        flags.is_value_valid()
    }

    /// Appends a field with the name of `token`, which needs neither recognition nor checks.
    ///
    /// # Panics
    /// If `token` stands for many names: `Other`, `UnknownPseudo` or `GrpcReserved`.
    #[inline]
    pub fn push_known(&mut self, token: Token, value: &[u8]) {
        let name = token.name().expect("a token that stands for one name").as_bytes();
        let Some(space) = self.space_for(name, value) else { return };
        copy_array(&token.text().text, space);
        let value_flags = copy_value(value, &mut space[name.len()..]);
        let flags = validate::known_name_flags(token).union(value_flags);
        self.commit(token, flags, name.len(), name.len() + value.len());
    }

    /// Appends a field that no compression table may hold: the encoder sends it as a never-indexed
    /// literal, and so does every hop after it (RFC 7541 §7.1.3).
    pub fn push_sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.append_unknown(FieldFlags::SENSITIVE, name, value);
    }

    /// Appends all fields of `other`: two copies of memory.
    pub fn extend_from(&mut self, other: &FieldList) {
        self.overflowed |= other.overflowed;
        let Some(base) = self.room_for(other.text.len()) else { return };
        self.text.append(other.text.as_slice());
        self.entries.extend(
            other.entries.iter().map(|entry| Entry { start: base + entry.start, ..*entry }),
        );
    }

    /// Puts a value in the place of one of the same length; says whether it did, which it does only
    /// where HTTP/2 allows both.
    #[inline]
    pub(crate) fn set_value(&mut self, index: usize, value: &[u8]) -> bool {
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

    /// The field at `index`, counted from zero.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Field<'_>> {
        self.entries.get(index).map(|entry| entry.field(self.text.as_slice()))
    }

    /// The fields in order.
    #[inline]
    pub fn iter(&self) -> Fields<'_> {
        Fields { bytes: self.text.as_slice(), entries: self.entries.iter() }
    }

    /// What is known about the fields in order, without a look at their text.
    #[inline]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Token, FieldFlags)> {
        self.entries.iter().map(|entry| (entry.token, entry.flags))
    }

    /// The fields in order, each with its name and value back to back.
    #[inline]
    pub(super) fn iter_with_text(&self) -> impl Iterator<Item = (Field<'_>, &[u8])> {
        let bytes = self.text.as_slice();
        self.entries.iter().map(move |entry| {
            let field = entry.field(bytes);
            let text = &bytes[entry.start as usize..];
            (field, &text[..field.name.len() + field.value.len()])
        })
    }

    /// The first field with this token.
    #[inline]
    pub fn find(&self, token: Token) -> Option<Field<'_>> {
        self.entries
            .iter()
            .find(|entry| entry.token == token)
            .map(|entry| entry.field(self.text.as_slice()))
    }

    /// Whether the two lists hold the same fields with the same flags: the compare of a memo, two
    /// runs over flat memory and no look at single fields.
    #[inline]
    pub fn same_bytes(&self, other: &FieldList) -> bool {
        self == other
    }

    /// The memory held, in use or not.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives memory back until about `max_bytes` are held, or as many as the fields need.
    pub fn shrink(&mut self, max_bytes: usize) {
        if self.heap_bytes() <= max_bytes {
            return;
        }
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

    /// Appends a field that has `flags` beside those that are found.
    #[inline]
    fn append_unknown(&mut self, flags: FieldFlags, name: &[u8], value: &[u8]) {
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

    /// Room for a field and a chunk, if the list can still address the field's end.
    #[inline]
    fn space_for(&mut self, name: &[u8], value: &[u8]) -> Option<&mut [u8]> {
        let len = name.len().saturating_add(value.len());
        self.room_for(len).map(|_| self.text.room(len))
    }

    /// Room for the `len` bytes of a field and a chunk, for the decoder to write a field that it then
    /// commits.
    #[inline]
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        self.text.room(len)
    }

    /// Makes a field of the first `text_len` bytes of the room, and returns them. The caller keeps the
    /// list below 4 GiB.
    #[inline]
    pub(super) fn commit(
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

impl Entry {
    #[inline]
    fn field(self, bytes: &[u8]) -> Field<'_> {
        let bytes = &bytes[self.start as usize..];
        let (name, bytes) = bytes.split_at(self.name_len as usize);
        let value = &bytes[..self.value_len as usize];
        Field { token: self.token, name, value, flags: self.flags }
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

impl Clone for FieldList {
    fn clone(&self) -> Self {
        FieldList {
            text: self.text.clone(),
            entries: self.entries.clone(),
            overflowed: self.overflowed,
        }
    }

    /// Copies `source` into the memory that `self` already holds.
    fn clone_from(&mut self, source: &Self) {
        self.text.clone_from(&source.text);
        self.entries.clone_from(&source.entries);
        self.overflowed = source.overflowed;
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for FieldList {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut list = FieldList::new();
        list.extend(fields);
        list
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for FieldList {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

/// Prints the fields as escaped text; sensitive values are left out, since this ends up in logs.
impl fmt::Debug for FieldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for field in self {
            let (name, value) = (field.name.escape_ascii(), field.value.escape_ascii());
            if field.flags.is_sensitive() {
                list.entry(&format_args!("{name}: <sensitive>"));
            } else {
                list.entry(&format_args!("{name}: {value}"));
            }
        }
        list.finish()
    }
}

impl<'a> IntoIterator for &'a FieldList {
    type Item = Field<'a>;
    type IntoIter = Fields<'a>;

    #[inline]
    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

/// The fields of a list in order.
#[derive(Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    entries: core::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        self.entries.next().map(|entry| entry.field(self.bytes))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl DoubleEndedIterator for Fields<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|entry| entry.field(self.bytes))
    }
}

impl ExactSizeIterator for Fields<'_> {}
impl core::iter::FusedIterator for Fields<'_> {}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests;
