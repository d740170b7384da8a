//! From field lists to field blocks.

use alloc::vec::Vec;

use super::list::FieldList;

/// Encodes the field blocks of one direction of a connection.
#[derive(Debug, Default)]
pub struct Encoder {
    generation: u64,
}

impl Encoder {
    /// An encoder that uses a dynamic table of at most 4096 bytes, whatever the peer allows.
    pub fn new() -> Self {
        Encoder { generation: 0 }
    }

    /// An encoder that uses a dynamic table of at most `cap` bytes, whatever the peer allows.
    pub fn with_max_table_size(cap: u32) -> Self {
        let _ = cap;
        Self::new()
    }

    /// Takes note of the SETTINGS_HEADER_TABLE_SIZE that the peer sent.
    pub fn set_peer_max_table_size(&mut self, bytes: u32) {
        let _ = bytes;
    }

    /// Appends exactly one whole field block made of `fields`.
    pub fn encode(&mut self, fields: &FieldList, out: &mut Vec<u8>) {
        let _ = (fields, out);
    }

    /// A number that changes whenever the dynamic table does, or a size update becomes due: as long
    /// as it stays, an earlier block for the same list may be sent again.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The memory held, in use or not.
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
