//! From field blocks to field lists.

mod literal;
mod values;

use alloc::borrow::Cow;

use super::error::DecodeError;
use super::list::{Contents, FIELD_OVERHEAD, FieldList, copy_array};
use super::table::Table;
use super::{DEFAULT_TABLE_SIZE, integer, static_table};
use literal::{Literal, Written, dynamic_entry, is_inserted};
pub(crate) use values::plain_values;

/// The most dynamic table size updates at the start of one block: the smallest size between two
/// blocks and the last one are all that has to be told (RFC 7541 §4.2).
const MAX_SIZE_UPDATES: u32 = 2;

/// How large a field list may become while a block is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// The most that [`FieldList::size`] may reach: name + value + 32 for each field, as
    /// SETTINGS_MAX_HEADER_LIST_SIZE counts. It bounds the memory of the list: a one-byte reference
    /// can stand for a field of the whole dynamic table.
    pub max_size: u32,
    /// The most fields: without it, a peer could have hundreds of empty ones kept, each costing it
    /// one byte.
    pub max_fields: u32,
}

impl Default for ListLimits {
    /// 16 KiB and 128 fields.
    fn default() -> Self {
        ListLimits { max_size: 16 * 1024, max_fields: 128 }
    }
}

/// What became of a field list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOutcome {
    /// The list holds every field of the block.
    Complete,
    /// The fields exceed [`ListLimits::max_size`]. The block was decoded to its end, so the dynamic
    /// table is in step; the list holds the fields before the one that did not fit.
    TooLarge,
    /// The fields exceed [`ListLimits::max_fields`]; otherwise as [`ListOutcome::TooLarge`].
    TooManyFields,
}

/// Decodes the field blocks of one direction of a connection.
///
/// # Memory
/// The dynamic table takes at most the larger of 4096 and the advertised size, and half as much again
/// for the records of its entries; nothing until a field enters it. A list under way takes at most
/// [`ListLimits::max_size`], and a few words more since words are stored whole; a field that goes beyond it but enters the table passes through the
/// list's buffer, which adds at most the size of the table.
///
/// # Work
/// Linear in the block plus what is stored. A field dropped for the limits is never copied into the
/// list; only a literal that names an entry of the dynamic table and enters it copies what is not in
/// the block, at most the table's size.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The most that a size update may ask for.
    limit: u32,
    /// The smallest limit since the last block, where that is below what the peer uses.
    required: Option<u32>,
}

impl Decoder {
    /// A decoder for a peer that was, or will be, told `max_table_size` in
    /// SETTINGS_HEADER_TABLE_SIZE. No memory is held until fields enter the dynamic table.
    ///
    /// Until it has seen SETTINGS the peer uses 4096 bytes. A larger table may be announced by its
    /// size updates at once; a smaller one holds from the acknowledgement on, when
    /// [`set_max_table_size`](Self::set_max_table_size) is called with it.
    pub fn new(max_table_size: u32) -> Self {
        Decoder {
            table: Table::new(DEFAULT_TABLE_SIZE),
            limit: max_table_size.max(DEFAULT_TABLE_SIZE),
            required: None,
        }
    }

    /// Decodes one whole field block and appends its fields to `out`, whose size and length, with
    /// what it held before, stay within `limits`.
    ///
    /// # Errors
    /// The violated rule of RFC 7541. `out` then holds the fields before the violation, and the
    /// decoder must not be used again.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &ListLimits,
        out: &mut FieldList,
    ) -> Result<ListOutcome, DecodeError> {
        let mut input = self.size_updates(block)?;
        let mut sink = Sink::new(limits, out.contents_mut());
        while let Some((&first, rest)) = input.split_first() {
            // RFC 7541 §6: the leading bits tell the representations apart.
            if first >= 0x80 {
                let (index, rest) = integer::decode(first, 7, rest)?;
                self.indexed(index, &mut sink)?;
                input = rest;
            } else {
                input = self.literal(first, rest, &mut sink)?;
            }
        }
        Ok(sink.outcome)
    }

    /// Takes note that the peer acknowledged `bytes` as SETTINGS_HEADER_TABLE_SIZE.
    ///
    /// If that is less than the peer used, its next block must start with a size update to `bytes` or
    /// below (RFC 7541 §4.2). The entries beyond are dropped at once, since it must drop them too.
    pub fn set_max_table_size(&mut self, bytes: u32) {
        self.limit = bytes;
        if (bytes as usize) < self.table.max_size() {
            self.required = Some(self.required.map_or(bytes, |smallest| smallest.min(bytes)));
            self.table.set_max_size(bytes);
        }
    }

    /// A number that changes whenever the dynamic table does. A block that left it as it was decodes
    /// to the same list again, and changes nothing again, for as long as it stays: what a memo needs
    /// to know.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// The size of the dynamic table: name + value + 32 for each entry (RFC 7541 §4.1).
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// How many entries the dynamic table holds.
    pub fn table_len(&self) -> usize {
        self.table.len() as usize
    }

    /// Names and values in the dynamic table from the newest, which has index 62, to the oldest.
    pub fn table_entries(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
        self.table.iter()
    }

    /// The memory held, in use or not.
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }

    /// Gives back the memory that the present entries do not need, as when a connection falls idle.
    pub fn shrink_idle(&mut self) {
        self.table.shrink();
    }

    /// Obeys the size updates that lead a block (RFC 7541 §4.2, §6.3).
    #[inline]
    fn size_updates<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        match block.first() {
            Some(&first) if is_size_update(first) => self.obey_size_updates(block),
            Some(_) if self.required.is_some() => Err(DecodeError::SizeUpdateMissing),
            _ => Ok(block),
        }
    }

    #[cold]
    fn obey_size_updates<'b>(&mut self, mut input: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        let mut count = 0;
        while let Some((&first, rest)) = input.split_first()
            && is_size_update(first)
        {
            let (size, rest) = integer::decode(first, 5, rest)?;
            input = rest;
            count += 1;
            if count > MAX_SIZE_UPDATES {
                return Err(DecodeError::SizeUpdateRepeated);
            }
            if size > self.limit {
                return Err(DecodeError::SizeUpdateBeyondLimit);
            }
            // The smallest size is signalled first.
            if self.required.take().is_some_and(|smallest| size > smallest) {
                return Err(DecodeError::SizeUpdateMissing);
            }
            self.table.set_max_size(size);
        }
        Ok(input)
    }

    /// An indexed field (RFC 7541 §6.1).
    #[inline]
    fn indexed(&self, index: u32, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        if let Some(entry) = static_table::entry(index) {
            let (name_len, text_len) = (usize::from(entry.name_len), usize::from(entry.text_len));
            if sink.admits(text_len) {
                copy_array(&entry.text, sink.out.room(text_len));
                sink.out.commit(entry.token, entry.flags, name_len, text_len);
            }
            return Ok(());
        }
        let entry = dynamic_entry(&self.table, index)?;
        let (name_len, text_len) = (entry.name_len as usize, entry.text_len());
        if sink.admits(text_len) {
            self.table.copy_text(entry, sink.out.room(text_len));
            sink.out.commit(entry.token, entry.flags, name_len, text_len);
        }
        Ok(())
    }

    /// A literal field (RFC 7541 §6.2), all of which but its first octet leads `input`; returns what
    /// follows it.
    fn literal<'b>(
        &mut self,
        first: u8,
        input: &'b [u8],
        sink: &mut Sink<'_>,
    ) -> Result<&'b [u8], DecodeError> {
        if is_size_update(first) {
            return Err(DecodeError::SizeUpdateAfterField);
        }
        // Finds the parts, copies nothing.
        let (literal, rest) = Literal::read(first, input, &self.table)?;
        let most = literal.max_text_len();
        if !sink.has_room(most) {
            self.store_at_the_limit(first, input, sink)?;
            return Ok(rest);
        }
        let written = literal.write(most, &self.table, sink.out)?;
        sink.take(written.text_len);
        self.keep(&written, is_inserted(first), sink);
        Ok(rest)
    }

    /// Adds a written field to the list and, if `insert`, to the dynamic table.
    #[inline(always)]
    fn keep(&mut self, written: &Written, insert: bool, sink: &mut Sink<'_>) {
        let &Written { token, flags, name_len, text_len } = written;
        let text = sink.out.commit(token, flags, name_len, text_len);
        if insert {
            self.table.insert(token, flags, text, name_len);
        }
    }

    /// Stores a literal whose coded length does not tell whether the list can take it: its size is found
    /// before anything is copied.
    #[cold]
    fn store_at_the_limit(
        &mut self,
        first: u8,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let (literal, _) = Literal::read(first, input, &self.table)?;
        let insert = is_inserted(first);
        let text_len = literal.text_len()?;
        let admitted = sink.admits(text_len);
        let kept_by_table = insert && text_len + FIELD_OVERHEAD <= self.table.max_size();
        if !admitted && !kept_by_table {
            if insert {
                self.table.clear();
            }
            return Ok(());
        }
        let written = literal.write(text_len, &self.table, sink.out)?;
        if admitted {
            self.keep(&written, insert, sink);
        } else {
            let text = &sink.out.room(text_len)[..text_len];
            self.table.insert(written.token, written.flags, text, written.name_len);
        }
        Ok(())
    }
}

#[inline]
fn is_size_update(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// The list under way and what it may still take.
struct Sink<'o> {
    out: &'o mut Contents,
    room: usize,
    fields: usize,
    outcome: ListOutcome,
}

impl<'o> Sink<'o> {
    #[inline]
    fn new(limits: &ListLimits, out: &'o mut Contents) -> Self {
        let room = (limits.max_size as usize).saturating_sub(out.size());
        let fields = (limits.max_fields as usize).saturating_sub(out.len());
        Sink { out, room, fields, outcome: ListOutcome::Complete }
    }

    /// Whether a field with a text of `text_len` may be kept.
    #[inline]
    fn has_room(&self, text_len: usize) -> bool {
        text_len + FIELD_OVERHEAD <= self.room && self.fields > 0
    }

    /// Counts a field for which there is room.
    #[inline]
    fn take(&mut self, text_len: usize) {
        self.room -= text_len + FIELD_OVERHEAD;
        self.fields -= 1;
    }

    /// Counts a field if there is room for it. Once one was refused, no other is admitted: a list with
    /// a hole would be worse than a list with an end.
    #[inline]
    fn admits(&mut self, text_len: usize) -> bool {
        let admitted = self.has_room(text_len);
        if admitted {
            self.take(text_len);
        } else {
            self.refuse();
        }
        admitted
    }

    #[cold]
    fn refuse(&mut self) {
        if self.outcome == ListOutcome::Complete {
            self.outcome = match self.fields {
                0 => ListOutcome::TooManyFields,
                _ => ListOutcome::TooLarge,
            };
        }
        self.room = 0;
    }
}

#[cfg(test)]
mod tests;
