//! From field lists to field blocks.

mod index;
mod policy;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::list::{FIELD_OVERHEAD, Field, FieldFlags, FieldList};
use super::table::Table;
use super::token::Token;
use super::{DEFAULT_TABLE_SIZE, huffman, integer, static_table};
use index::{Hashes, Index};
use policy::{History, Policy};

/// The leading bits of each representation and how many bits of its first octet are left for an index
/// or size (RFC 7541 §6).
#[derive(Clone, Copy)]
struct Pattern(u8, u32);

const INDEXED: Pattern = Pattern(0x80, 7);
const INCREMENTAL: Pattern = Pattern(0x40, 6);
const WITHOUT_INDEXING: Pattern = Pattern(0x00, 4);
const NEVER_INDEXED: Pattern = Pattern(0x10, 4);
const SIZE_UPDATE: Pattern = Pattern(0x20, 5);

/// The most bytes of name and value together that [`Encoder::encode_value`] takes.
const SHORT_FIELD: usize = 64;

/// Encodes the field blocks of one direction of a connection.
///
/// # What enters the dynamic table
/// gRPC sends the same few fields with every call, and beside them values that never come again: trace
/// ids, timeouts. The table is for the former.
///
/// - The first field of a name enters at once, so from the second call on a constant field takes one
///   byte, and a changing one need not spell its name.
/// - Another value of a name that the table knows enters when it is seen for the second time before a
///   few dozen others like it were.
/// - What is large for the table waits for its second time too; beyond three quarters of it, for ever.
/// - Values that hardly repeat (`grpc-timeout`, `grpc-message`, `content-length`, validators) do not
///   enter, and sensitive fields are marked as never to be indexed.
///
/// # Memory
/// At most the table's size, half as much again for the records of its entries and three quarters for
/// finding them (9.2 KiB for a table of 4 KiB); nothing until a field enters. At steady state `encode`
/// allocates nothing but what `out` needs.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    index: Index,
    history: History,
    cap: u32,
    /// The smallest table size since the last block, if the size changed since.
    smallest: Option<u32>,
    settled: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

impl Encoder {
    /// An encoder that uses a dynamic table of at most 4096 bytes, whatever the peer allows.
    pub fn new() -> Self {
        Encoder::with_max_table_size(DEFAULT_TABLE_SIZE)
    }

    /// An encoder that uses a dynamic table of at most `cap` bytes, whatever the peer allows. Below
    /// 4096, which is what a peer expects at first, the first block tells it so.
    pub fn with_max_table_size(cap: u32) -> Self {
        let mut encoder = Encoder {
            table: Table::new(DEFAULT_TABLE_SIZE),
            index: Index::new(),
            history: History::new(),
            cap,
            smallest: None,
            settled: false,
        };
        encoder.set_peer_max_table_size(DEFAULT_TABLE_SIZE);
        encoder
    }

    /// Takes note of the SETTINGS_HEADER_TABLE_SIZE that the peer sent, to be called for every SETTINGS
    /// frame that has it, in order. If the size in use changes, the next block starts with the size
    /// updates that RFC 7541 §4.2 demands.
    pub fn set_peer_max_table_size(&mut self, bytes: u32) {
        let size = bytes.min(self.cap);
        if size as usize == self.table.max_size() {
            return;
        }
        self.smallest = Some(self.smallest.map_or(size, |smallest| smallest.min(size)));
        self.table.set_max_size(size);
    }

    /// Appends exactly one whole field block made of `fields`.
    pub fn encode(&mut self, fields: &FieldList, out: &mut Vec<u8>) {
        self.begin(out);
        for (field, text) in fields.iter_with_text() {
            self.field(field, text, out);
        }
    }

    /// Appends the field of a name that has a token, as a part of a block: a block is what its parts are
    /// together, in order, and whole lists may be parts too.
    ///
    /// `value` holds what HTTP/2 allows, and is short.
    pub(crate) fn encode_value(&mut self, token: Token, value: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        let name = token.name().expect("a token that stands for one name").as_bytes();
        let mut text = [0; SHORT_FIELD];
        text[..name.len()].copy_from_slice(name);
        text[name.len()..][..value.len()].copy_from_slice(value);
        let field = Field { token, name, value, flags: FieldFlags::NONE };
        self.field(field, &text[..name.len() + value.len()], out);
    }

    /// Tells a change of the table's size before anything else of a block.
    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.settled = true;
        if let Some(smallest) = self.smallest.take() {
            self.size_updates(smallest, out);
        }
    }

    /// A number that changes whenever the dynamic table does, or a size update becomes due. A block
    /// that left it as it was may be sent again for the same list for as long as it stays.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// Whether encoding the last list again would give the same block again. If not, sending the old
    /// block again is right, but misses that a field seen twice becomes cheaper.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.settled
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
        self.table.heap_bytes() + self.index.heap_bytes()
    }

    /// Gives back the memory that the present entries do not need, as when a connection falls idle.
    pub fn shrink_idle(&mut self) {
        self.table.shrink();
    }

    /// Tells the peer of a new table size, and first of a smaller one in between, at which both ends
    /// evicted (RFC 7541 §4.2).
    #[cold]
    fn size_updates(&mut self, smallest: u32, out: &mut Vec<u8>) {
        // The size came from a 32-bit setting.
        let size = self.table.max_size() as u32;
        if smallest < size {
            number(smallest, SIZE_UPDATE, out);
        }
        number(size, SIZE_UPDATE, out);
        // This block must not be sent again, nor any from before it.
        self.table.touch();
        self.settled = false;
    }

    /// Appends one field, whose name and value back to back are `text`.
    #[inline]
    fn field(&mut self, field: Field<'_>, text: &[u8], out: &mut Vec<u8>) {
        let Field { token, name, value, flags } = field;
        if flags.is_sensitive() {
            return literal(NEVER_INDEXED, static_table::name_index(token), name, value, out);
        }
        if let Some(index) = static_table::index_of(token, value) {
            return number(index, INDEXED, out);
        }
        // The usual case: what was sent under this name last time.
        let mut known = None;
        if token.name().is_some()
            && let Some(age) = self.index.newest_of(token, &self.table)
        {
            if self.table.entry(age).is_some_and(|entry| self.table.is_value(entry, value)) {
                return number(dynamic(age), INDEXED, out);
            }
            known = Some(age);
        }
        self.changed_field(field, text, known, out);
    }

    /// A field that is not the newest of its name; `known` is that one, if its name has a token.
    fn changed_field(
        &mut self,
        field: Field<'_>,
        text: &[u8],
        known: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let Field { token, name, value, flags } = field;
        let policy = Policy::of(token);
        let static_name = static_table::name_index(token);
        if policy == Policy::Literal || (policy == Policy::IndexName && known.is_some()) {
            let name_index = static_name.or(known.map(dynamic));
            return literal(WITHOUT_INDEXING, name_index, name, value, out);
        }
        let hashes = Hashes::of(token, name, value);
        if let Some(age) = self.index.find_field(hashes, name, value, &self.table) {
            return number(dynamic(age), INDEXED, out);
        }
        let known = match token.name() {
            Some(_) => known,
            None => self.index.find_name(hashes, name, &self.table),
        };
        let name_index = static_name.or(known.map(dynamic));
        if self.may_insert(policy, known, text.len(), hashes) {
            literal(INCREMENTAL, name_index, name, value, out);
            self.table.insert(token, flags, text, name.len());
            self.index.insert(token, hashes, &self.table);
            self.settled = false;
        } else {
            literal(WITHOUT_INDEXING, name_index, name, value, out);
        }
    }

    /// Whether a field shall enter the table, which holds `known` of the same name.
    fn may_insert(
        &mut self,
        policy: Policy,
        known: Option<u32>,
        text_len: usize,
        hashes: Hashes,
    ) -> bool {
        let size = text_len + FIELD_OVERHEAD;
        let max_size = self.table.max_size();
        if size > max_size / 4 * 3 {
            return false;
        }
        if known.is_none() && size <= max_size / 4 {
            return true;
        }
        if policy == Policy::IndexName {
            return false;
        }
        self.settled = false;
        self.history.see(hashes.field)
    }
}

/// The index of the dynamic entry that has `age` newer ones.
#[inline]
fn dynamic(age: u32) -> u32 {
    static_table::LEN + 1 + age
}

#[inline]
fn number(value: u32, pattern: Pattern, out: &mut Vec<u8>) {
    integer::encode(value, pattern.1, pattern.0, out);
}

/// A literal field, whose name is spelt out unless an entry has it.
#[inline]
fn literal(
    pattern: Pattern,
    name_index: Option<u32>,
    name: &[u8],
    value: &[u8],
    out: &mut Vec<u8>,
) {
    match name_index {
        Some(index) => number(index, pattern, out),
        None => {
            out.push(pattern.0);
            string(name, out);
        }
    }
    string(value, out);
}

/// A string is Huffman-coded where that saves this many bytes: both ends pay for a code byte by byte,
/// more than the wire gains by a few bytes less.
const LEAST_SAVING: usize = 16;

/// Below this length text hardly ever saves as much: its codes have five bits at the least, six on
/// average.
const WORTH_CODING: usize = 48;

/// A string, Huffman-coded where that pays (RFC 7541 §5.2).
fn string(text: &[u8], out: &mut Vec<u8>) {
    const RAW: Pattern = Pattern(0x00, 7);
    const HUFFMAN: Pattern = Pattern(0x80, 7);
    if (WORTH_CODING..127).contains(&text.len()) {
        // The length takes one octet either way, so the code can be made first and measured after.
        let start = out.len();
        out.push(0);
        if huffman::encode(text, text.len() - LEAST_SAVING, out) {
            out[start] = 0x80 | (out.len() - start - 1) as u8;
            return;
        }
        out.truncate(start);
    } else if text.len() >= 127 {
        let coded_len = huffman::encoded_len(text);
        if coded_len + LEAST_SAVING <= text.len() {
            number(coded_len as u32, HUFFMAN, out);
            let fits = huffman::encode(text, coded_len, out);
            return debug_assert!(fits, "it was measured");
        }
    }
    // A list holds less than 4 GiB.
    number(text.len() as u32, RAW, out);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
