//! Where in a block the values of literal fields lie.

use core::ops::Range;

use super::is_size_update;
use crate::hpack::integer;

/// The values that stand in a block as they are: of literal fields, without Huffman coding, each with
/// the place of its field in the list. The block is one that was decoded; any other may end early.
pub(crate) fn plain_values(block: &[u8]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut walk = Walk { block, input: block, fields: 0 };
    core::iter::from_fn(move || walk.next_value())
}

struct Walk<'b> {
    block: &'b [u8],
    input: &'b [u8],
    fields: usize,
}

impl Walk<'_> {
    fn next_value(&mut self) -> Option<(usize, Range<usize>)> {
        loop {
            let first = self.octet()?;
            if is_size_update(first) {
                self.integer(first, 5)?;
                continue;
            }
            let field = self.fields;
            self.fields += 1;
            if first >= 0x80 {
                self.integer(first, 7)?;
                continue;
            }
            let name_index = self.integer(first, if first >= 0x40 { 6 } else { 4 })?;
            if name_index == 0 {
                self.string()?;
            }
            let (huffman, value) = self.string()?;
            if !huffman {
                return Some((field, value));
            }
        }
    }

    fn octet(&mut self) -> Option<u8> {
        let (&first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(first)
    }

    fn integer(&mut self, first: u8, prefix_bits: u32) -> Option<u32> {
        let (value, rest) = integer::decode(first, prefix_bits, self.input).ok()?;
        self.input = rest;
        Some(value)
    }

    /// Whether the string is Huffman-coded, and where its bytes are.
    fn string(&mut self) -> Option<(bool, Range<usize>)> {
        let first = self.octet()?;
        let len = self.integer(first, 7)? as usize;
        let start = self.block.len() - self.input.len();
        self.input = self.input.get(len..)?;
        Some((first >= 0x80, start..start + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::{Decoder, Encoder, FieldList, ListLimits};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_what_the_decoder_finds(
            fields in proptest::collection::vec(("[a-e]{1,60}", "[a-e]{0,200}"), 0..12),
        ) {
            let list: FieldList = fields.iter().map(|(n, v)| (n, v)).collect();
            let mut block = Vec::new();
            Encoder::new().encode(&list, &mut block);
            let mut decoded = FieldList::new();
            Decoder::new(4096).decode(&block, &ListLimits::default(), &mut decoded).unwrap();
            for (field, range) in plain_values(&block) {
                prop_assert_eq!(decoded.get(field).unwrap().value, &block[range]);
            }
        }

        #[test]
        fn any_bytes_come_to_an_end(block: Vec<u8>) {
            prop_assert!(plain_values(&block).count() <= block.len());
        }
    }
}
