//! From field blocks to field lists.

use core::fmt;

use super::list::FieldList;

/// How large a field list may become while a block is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// The most that [`FieldList::size`] may reach: name + value + 32 for each field, as
    /// SETTINGS_MAX_HEADER_LIST_SIZE counts. It bounds the memory of the list.
    pub max_size: u32,
    /// The most fields: without it, a peer could have thousands of empty ones kept, each costing it
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
    /// The fields exceed [`ListLimits::max_fields`]; otherwise as above.
    TooManyFields,
}

/// How a field block breaks RFC 7541. The connection cannot go on: the answer is
/// COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The block ends inside a field.
    Truncated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the field block ends inside a field (RFC 7541 §3.2)")
    }
}

impl core::error::Error for DecodeError {}

/// Decodes the field blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    generation: u64,
}

impl Decoder {
    /// A decoder for a peer that was, or will be, told `max_table_size` in
    /// SETTINGS_HEADER_TABLE_SIZE. No memory is held until fields enter the dynamic table.
    pub fn new(max_table_size: u32) -> Self {
        let _ = max_table_size;
        Decoder { generation: 0 }
    }

    /// Decodes one whole field block and appends its fields to `out`.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &ListLimits,
        out: &mut FieldList,
    ) -> Result<ListOutcome, DecodeError> {
        let _ = (block, limits, out);
        Err(DecodeError::Truncated)
    }

    /// Takes note that the peer acknowledged a new SETTINGS_HEADER_TABLE_SIZE.
    pub fn set_max_table_size(&mut self, bytes: u32) {
        let _ = bytes;
    }

    /// A number that changes whenever the dynamic table does: as long as it stays, the same block
    /// decodes to the same list.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The size of the dynamic table: name + value + 32 for each entry (RFC 7541 §4.1).
    pub fn table_size(&self) -> usize {
        0
    }

    /// How many entries the dynamic table holds.
    pub fn table_len(&self) -> usize {
        0
    }

    /// The memory held, in use or not.
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
