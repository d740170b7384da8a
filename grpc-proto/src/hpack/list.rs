//! A list of fields in flat memory.

mod contents;
mod text;

use alloc::boxed::Box;
use core::fmt;

use super::token::Token;
use super::validate;
pub(super) use contents::Contents;
use contents::Entry;
pub(super) use text::{copy_array, copy_part, is_same};

/// What each field counts beyond its name and value (RFC 9113 §6.5.2, RFC 7541 §4.1).
pub(super) const FIELD_OVERHEAD: usize = 32;

/// One field, borrowed from a list.
///
/// Its `Debug` is the field as escaped text, without the value of a sensitive one: this ends up in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_ascii();
        match self.flags.is_sensitive() {
            true => write!(f, "{name}: <sensitive>"),
            false => write!(f, "{name}: {}", self.value.escape_ascii()),
        }
    }
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

/// A list of fields in order: three allocations however many fields, and none when it is reused.
///
/// ```text
/// list ──> text     [ :method POST | :path /pkg.Service/Method | te trailers | …
///          entries  [ offset, lengths, token, flags | …              16 bytes each
/// ```
///
/// It is one word, because it is handed on from layer to layer more often than it is looked into: what was written in
/// small parts a moment ago is slow to be copied in large ones.
///
/// A list holds less than 4 GiB. What would not fit is left out, and from then on [`size`] is
/// `usize::MAX`, so that a list which lost a field exceeds every limit it is held against.
///
/// [`size`]: FieldList::size
#[derive(Default)]
pub struct FieldList {
    /// `None` until a field enters, or a used list is filled again.
    contents: Option<Box<Contents>>,
}

impl FieldList {
    /// An empty list, which holds no memory yet.
    pub const fn new() -> Self {
        FieldList { contents: None }
    }

    /// Forgets the fields, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(contents) = &mut self.contents {
            contents.clear();
        }
    }

    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.contents().entries().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size that SETTINGS_MAX_HEADER_LIST_SIZE counts: name + value + 32 for each field
    /// (RFC 9113 §6.5.2).
    #[inline]
    pub fn size(&self) -> usize {
        self.contents().size()
    }

    /// Appends a field, whose name is recognised and both of whose parts are checked: a field that
    /// HTTP/2 does not allow is appended all the same, and flagged.
    #[inline]
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.contents_mut().append_unknown(FieldFlags::NONE, name, value);
    }

    /// Appends a field whose name was recognised and found valid; says whether its value may be sent,
    /// and appends nothing if it may not.
    #[inline]
    pub(crate) fn push_checked(&mut self, token: Token, name: &[u8], value: &[u8]) -> bool {
        let valid = validate::is_ascii_value(value);
        if valid {
            let flags = validate::valid_name_flags(token, name);
            self.contents_mut().append(token, flags, name, value);
        }
        valid
    }

    /// Appends a field with the name of `token`, which needs neither recognition nor checks.
    ///
    /// # Panics
    /// If `token` stands for many names: `Other`, `UnknownPseudo` or `GrpcReserved`.
    #[inline]
    pub fn push_known(&mut self, token: Token, value: &[u8]) {
        self.contents_mut().append_known(token, value);
    }

    /// Appends a field that no compression table may hold: the encoder sends it as a never-indexed
    /// literal, and so does every hop after it (RFC 7541 §7.1.3).
    pub fn push_sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.contents_mut().append_unknown(FieldFlags::SENSITIVE, name, value);
    }

    /// Appends all fields of `other`: two copies of memory.
    pub fn extend_from(&mut self, other: &FieldList) {
        if let Some(other) = &other.contents {
            self.contents_mut().extend_from(other);
        }
    }

    /// Puts a value in the place of one of the same length; says whether it did, which it does only
    /// where HTTP/2 allows both.
    #[inline]
    pub(crate) fn set_value(&mut self, index: usize, value: &[u8]) -> bool {
        self.contents.as_mut().is_some_and(|contents| contents.set_value(index, value))
    }

    /// The field at `index`, counted from zero.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Field<'_>> {
        let contents = self.contents();
        contents.entries().get(index).map(|entry| entry.field(contents.text()))
    }

    /// The fields in order.
    #[inline]
    pub fn iter(&self) -> Fields<'_> {
        let contents = self.contents();
        Fields { bytes: contents.text(), entries: contents.entries().iter() }
    }

    /// What is known about the fields in order, without a look at their text.
    #[inline]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Token, FieldFlags)> {
        self.contents().entries().iter().map(Entry::kind)
    }

    /// The fields in order, each with its name and value back to back.
    #[inline]
    pub(super) fn iter_with_text(&self) -> impl Iterator<Item = (Field<'_>, &[u8])> {
        let contents = self.contents();
        let bytes = contents.text();
        contents.entries().iter().map(move |entry| entry.field_and_text(bytes))
    }

    /// The first field with this token.
    #[inline]
    pub fn find(&self, token: Token) -> Option<Field<'_>> {
        let contents = self.contents();
        let entry = contents.entries().iter().find(|entry| entry.kind().0 == token)?;
        Some(entry.field(contents.text()))
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
        self.contents.as_ref().map_or(0, |contents| size_of::<Contents>() + contents.heap_bytes())
    }

    /// Gives memory back until about `max_bytes` are held, or as many as the fields need.
    pub fn shrink(&mut self, max_bytes: usize) {
        if self.heap_bytes() <= max_bytes {
            return;
        }
        let Some(contents) = &mut self.contents else { return };
        contents.shrink(max_bytes.saturating_sub(size_of::<Contents>()));
        if contents.heap_bytes() == 0 && contents.size() == 0 {
            self.contents = None;
        }
    }

    /// What the list holds.
    #[inline]
    fn contents(&self) -> &Contents {
        static EMPTY: Contents = Contents::new();
        self.contents.as_deref().unwrap_or(&EMPTY)
    }

    /// What the list holds, to be added to.
    #[inline]
    pub(super) fn contents_mut(&mut self) -> &mut Contents {
        self.contents.get_or_insert_with(new_contents)
    }
}

#[cold]
fn new_contents() -> Box<Contents> {
    Box::new(Contents::new())
}

impl PartialEq for FieldList {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.contents() == other.contents()
    }
}

impl Eq for FieldList {}

impl Clone for FieldList {
    fn clone(&self) -> Self {
        FieldList { contents: self.contents.clone() }
    }

    /// Copies `source` into the memory that `self` already holds.
    #[inline]
    fn clone_from(&mut self, source: &Self) {
        self.contents_mut().clone_from(source.contents());
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

impl fmt::Debug for FieldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().fmt(f)
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
