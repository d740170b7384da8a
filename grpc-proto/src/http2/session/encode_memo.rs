//! Lists that were encoded before, and their blocks.

use alloc::vec::Vec;

use crate::hpack::{Encoder, FieldList};

/// A list and its last encoding.
#[derive(Debug, Default)]
pub(super) struct EncodeMemo {
    list: FieldList,
    generation: u64,
    block: Vec<u8>,
    valid: bool,
}

impl EncodeMemo {
    /// A list that was not encoded yet.
    pub(super) fn new(list: FieldList) -> Self {
        EncodeMemo { list, ..EncodeMemo::default() }
    }

    /// The encoding of the list: the last one, if the dynamic table has not changed since.
    #[inline]
    pub(super) fn block(&mut self, encoder: &mut Encoder) -> &[u8] {
        if !self.valid || self.generation != encoder.generation() {
            self.encode(encoder);
        }
        &self.block
    }

    fn encode(&mut self, encoder: &mut Encoder) {
        self.block.clear();
        let before = encoder.generation();
        encoder.encode(&self.list, &mut self.block);
        self.generation = encoder.generation();
        // A block that would come out shorter the next time is not worth keeping.
        self.valid = before == self.generation && encoder.is_settled();
    }

    /// Whether the list is the one that is remembered.
    #[inline]
    pub(super) fn is_of(&self, list: &FieldList) -> bool {
        list.same_bytes(&self.list)
    }

    /// Remembers another list, and gives back the memory of the one before.
    pub(super) fn replace(&mut self, list: FieldList) -> FieldList {
        self.valid = false;
        core::mem::replace(&mut self.list, list)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.block.capacity() + self.list.heap_bytes()
    }

    /// Gives memory back that the present contents do not need.
    pub(super) fn shrink(&mut self) {
        self.block.shrink_to_fit();
        self.list.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::Token;

    #[test]
    fn a_memo_gives_back_what_its_contents_do_not_need() {
        let mut memo = EncodeMemo { block: Vec::with_capacity(1000), ..EncodeMemo::default() };
        memo.block.push(7);
        for n in 0..5 {
            memo.list.push(b"x", &[b'a' + n; 50]);
        }
        let slack = memo.list.heap_bytes();
        assert_eq!(memo.heap_bytes(), 1000 + slack);
        memo.shrink();
        let mut least = memo.list.clone();
        least.shrink(0);
        assert_eq!(memo.heap_bytes(), 1 + least.heap_bytes());
        assert!(least.heap_bytes() < slack);
    }

    #[test]
    fn a_block_is_kept_once_it_will_not_get_shorter() {
        let mut encoder = Encoder::new();
        let mut memo = EncodeMemo::default();
        memo.list.push_known(Token::Path, b"/a.B/First");
        memo.encode(&mut encoder);
        assert!(!memo.valid, "the table has changed");
        memo.encode(&mut encoder);
        assert!(memo.valid);
        memo.list.clear();
        memo.list.push_known(Token::Path, b"/a.B/Second");
        memo.encode(&mut encoder);
        assert!(!memo.valid, "the path enters the table when it comes again");
        memo.encode(&mut encoder);
        assert!(!memo.valid);
        memo.encode(&mut encoder);
        assert!(memo.valid);
        assert_eq!(memo.block.len(), 1);
    }
}
