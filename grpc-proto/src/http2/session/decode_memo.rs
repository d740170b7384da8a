//! Field blocks that come again, but for values of the same length.

use alloc::vec::Vec;
use core::ops::Range;

use crate::hpack::{self, FieldList};
use crate::http2::fields::{self, Checked, Part};

/// Blocks longer than this are not remembered: they hardly repeat, and would cost memory.
const MEMO_BLOCK: usize = 256;
/// Lists longer than this are not remembered either.
pub(super) const MEMO_LIST: usize = 2048;
/// Values that may differ from call to call: a timeout, a trace id, and what else there may be.
const MOST_GAPS: usize = 4;

/// A block that was decoded and checked before.
///
/// ```text
///   block   83 86 be bf c0 | 0f 2e 08 "4999871u" | c1 c2 | 0f 30 20 "0af7651916cd43dd…"
///           same bytes       ^^^^^^^^  gap         same    ^^^^^^^^  gap
/// ```
///
/// What repeats is compared. What lies in a gap, the uncoded value of a literal field that leaves the
/// dynamic table alone, is set into the list: its length was compared, and its name is as it was.
#[derive(Debug, Default)]
pub(super) struct DecodeMemo {
    block: Vec<u8>,
    generation: u64,
    /// `None`: the block was seen once, and only its bytes are known.
    part: Option<Part>,
    list: FieldList,
    checked: Checked,
    gaps: [Gap; MOST_GAPS],
    gap_count: u8,
    /// Zero in the gaps, all ones elsewhere.
    mask: Vec<u8>,
}

/// A value within the block and the field it belongs to. Unused gaps are empty.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    start: u16,
    end: u16,
    field: u16,
}

impl Gap {
    #[inline]
    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

impl DecodeMemo {
    /// How many memos there are.
    pub(super) const COUNT: usize = 8;

    /// The memo that a block may be found in: blocks differ in length, and methods in `:path`, which
    /// most clients send third.
    #[inline]
    pub(super) fn place_of(block: &[u8]) -> usize {
        let third = block.get(2).copied().unwrap_or(0);
        (block.len() ^ usize::from(third)) % Self::COUNT
    }

    /// What the block says of its message, if it is the one that is remembered; the list is then its.
    #[inline]
    pub(super) fn recall(&mut self, block: &[u8], part: Part, generation: u64) -> Option<Checked> {
        let known = self.part == Some(part)
            && self.generation == generation
            && self.block.len() == block.len()
            && self.is_alike(block);
        if !known {
            return None;
        }
        for gap in &self.gaps[..usize::from(self.gap_count)] {
            if !self.list.set_value(usize::from(gap.field), &block[gap.range()]) {
                // The list is not that of any block now.
                self.part = None;
                return None;
            }
        }
        Some(self.checked)
    }

    /// Takes note of a block that was not recalled, and that left the table alone.
    ///
    /// Seen twice is worth remembering: a block that never comes again costs no copy of its list.
    pub(super) fn note(
        &mut self,
        block: &[u8],
        part: Part,
        generation: u64,
        list: &FieldList,
        checked: Checked,
    ) {
        if block.len() > MEMO_BLOCK || list.size() > MEMO_LIST {
            return;
        }
        let seen =
            self.part.is_none() && self.generation == generation && self.block.len() == block.len();
        self.part = None;
        self.find_gaps(block, list);
        if seen && self.is_alike(block) {
            self.part = Some(part);
            self.checked = checked;
            self.list.clone_from(list);
        }
        self.generation = generation;
        self.block.clear();
        self.block.extend_from_slice(block);
    }

    /// Whether a block of the same length has the same bytes outside the gaps.
    #[inline(always)]
    fn is_alike(&self, block: &[u8]) -> bool {
        match self.gap_count {
            0 => self.block == block,
            _ => is_same_under(&self.mask, &self.block, block),
        }
    }

    /// Finds the values that may change without a change in what the list says of its message.
    fn find_gaps(&mut self, block: &[u8], list: &FieldList) {
        let free = hpack::plain_values(block).filter(|(field, _)| {
            list.get(*field)
                .is_some_and(|field| field.flags.is_value_valid() && !fields::decides(field.token))
        });
        self.gap_count = 0;
        self.mask.clear();
        self.mask.resize(block.len(), 0xff);
        for (gap, (field, range)) in self.gaps.iter_mut().zip(free) {
            // Blocks and lists of this size fit.
            *gap = Gap { start: range.start as u16, end: range.end as u16, field: field as u16 };
            self.mask[range].fill(0);
            self.gap_count += 1;
        }
    }

    /// The fields of the block that was recalled last.
    #[inline]
    pub(super) fn list(&self) -> &FieldList {
        &self.list
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.block.capacity() + self.mask.capacity() + self.list.heap_bytes()
    }

    /// Gives memory back that the present contents do not need.
    pub(super) fn shrink(&mut self) {
        self.block.shrink_to_fit();
        self.mask.shrink_to_fit();
        self.list.shrink(0);
    }
}

/// Whether two strings of the mask's length agree where it has ones, a word at a time.
#[inline]
fn is_same_under(mask: &[u8], a: &[u8], b: &[u8]) -> bool {
    let differ = |mask: &[u8; 8], a: &[u8; 8], b: &[u8; 8]| {
        (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)) & u64::from_ne_bytes(*mask)
    };
    let (masks, rest) = mask.as_chunks();
    let words = masks.iter().zip(a.as_chunks().0.iter().zip(b.as_chunks().0));
    let mut found = words.fold(0, |found, (mask, (a, b))| found | differ(mask, a, b));
    if !rest.is_empty() {
        // Bytes looked at twice do no harm.
        found |= match (mask.last_chunk(), a.last_chunk(), b.last_chunk()) {
            (Some(mask), Some(a), Some(b)) => differ(mask, a, b),
            _ => mask
                .iter()
                .zip(a.iter().zip(b))
                .fold(0, |found, (mask, (a, b))| found | u64::from((a ^ b) & mask)),
        };
    }
    found == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::{Decoder, Encoder, ListLimits, Token};
    use alloc::format;
    use proptest::prelude::*;

    fn head(timeout: &str, trace: &str) -> FieldList {
        let mut list = FieldList::new();
        list.push_known(Token::Method, b"POST");
        list.push_known(Token::Scheme, b"http");
        list.push_known(Token::Path, b"/a.B/C");
        list.push_known(Token::Te, b"trailers");
        list.push_known(Token::GrpcTimeout, timeout.as_bytes());
        list.push(b"x-trace", trace.as_bytes());
        list
    }

    /// Encodes lists on one connection and decodes them through one memo; says whether it recalled each.
    fn recalled(lists: &[FieldList]) -> Vec<bool> {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let mut memo = DecodeMemo::default();
        let mut found = Vec::new();
        for list in lists {
            let mut block = Vec::new();
            encoder.encode(list, &mut block);
            let generation = decoder.generation();
            let mut decoded = FieldList::new();
            decoder.decode(&block, &ListLimits::default(), &mut decoded).unwrap();
            let checked = fields::check(&decoded, Part::Request).unwrap();
            let recalled = memo.recall(&block, Part::Request, generation);
            if let Some(known) = recalled {
                assert_eq!((memo.list(), known), (&decoded, checked));
            } else if decoder.generation() == generation {
                memo.note(&block, Part::Request, generation, &decoded, checked);
            }
            found.push(recalled.is_some());
        }
        found
    }

    #[test]
    fn a_head_is_recalled_whatever_its_timeout_and_trace_id_are() {
        let lists: Vec<_> =
            (0..6).map(|n| head(&format!("4999{n}u"), &format!("trace-{n}"))).collect();
        // Once to fill the tables, twice to be remembered.
        assert_eq!(recalled(&lists), [false, false, false, true, true, true]);
    }

    #[test]
    fn a_value_of_another_length_is_not_recalled() {
        let mut lists: Vec<_> = (0..4).map(|n| head("5S", &format!("trace-{n}"))).collect();
        lists.push(head("5S", "trace-100"));
        assert_eq!(recalled(&lists), [false, false, false, true, false]);
    }

    #[test]
    fn a_value_that_http_forbids_is_not_recalled() {
        let mut memo = DecodeMemo::default();
        let mut decoder = Decoder::new(4096);
        // `:method: POST`, `:scheme: http`, `:path: /` and an unindexed field.
        let block = |value: &[u8; 3]| [&[0x83, 0x86, 0x84, 0x00, 1, b'x', 3][..], value].concat();
        for value in [b"abc", b"abd"] {
            let mut list = FieldList::new();
            decoder.decode(&block(value), &ListLimits::default(), &mut list).unwrap();
            let checked = fields::check(&list, Part::Request).unwrap();
            memo.note(&block(value), Part::Request, decoder.generation(), &list, checked);
        }
        let mut recall = |value| memo.recall(&block(value), Part::Request, 0).is_some();
        assert!(recall(b"abe"));
        assert!(!recall(b"a\nb"));
        assert!(!recall(b"abc"), "it was forgotten");
    }

    #[test]
    fn a_value_that_decides_something_is_no_gap() {
        let mut memo = DecodeMemo::default();
        let mut decoder = Decoder::new(4096);
        // An unindexed `content-length` after a minimal head.
        let block = |value: u8| [0x83, 0x86, 0x84, 0x0f, 13, 1, value];
        for _ in 0..2 {
            let mut list = FieldList::new();
            decoder.decode(&block(b'1'), &ListLimits::default(), &mut list).unwrap();
            let checked = fields::check(&list, Part::Request).unwrap();
            assert_eq!(checked.content_length, Some(1));
            memo.note(&block(b'1'), Part::Request, 0, &list, checked);
        }
        assert!(memo.recall(&block(b'1'), Part::Request, 0).is_some());
        assert!(memo.recall(&block(b'2'), Part::Request, 0).is_none());
    }

    proptest! {
        #[test]
        fn strings_agree_where_the_mask_says(
            bytes in proptest::collection::vec((any::<bool>(), 0u8..3, 0u8..3), 0..40),
        ) {
            let mask: Vec<u8> = bytes.iter().map(|(kept, ..)| if *kept { 0xff } else { 0 }).collect();
            let a: Vec<u8> = bytes.iter().map(|(_, a, _)| *a).collect();
            let b: Vec<u8> = bytes.iter().map(|(.., b)| *b).collect();
            let wanted = bytes.iter().all(|(kept, a, b)| !kept || a == b);
            prop_assert_eq!(is_same_under(&mask, &a, &b), wanted);
        }

        #[test]
        fn what_is_recalled_is_what_would_be_decoded(
            heads in proptest::collection::vec(("[0-9]{1,3}[mun]", "[a-c]{0,3}"), 1..40),
        ) {
            let lists: Vec<_> = heads.iter().map(|(timeout, trace)| head(timeout, trace)).collect();
            recalled(&lists);
        }
    }

    #[test]
    fn differences_that_are_alike_do_not_hide_each_other() {
        for len in [16, 17, 24, 32] {
            let (mask, a) = (alloc::vec![0xff; len], alloc::vec![0; len]);
            for at in 0..len - 8 {
                let mut b = a.clone();
                (b[at], b[at + 8]) = (1, 1);
                assert!(!is_same_under(&mask, &a, &b), "{at} of {len}");
            }
        }
    }

    /// `:method: POST`, `:scheme: http`, `:path: /` and an unindexed field whose value has `len` bytes.
    fn block_of(len: usize) -> Vec<u8> {
        let mut block = [0x83, 0x86, 0x84, 0x00, 1, b'x'].to_vec();
        match len {
            0..127 => block.push(len as u8),
            _ => block.extend([127, ((len - 127) % 128) as u8 | 0x80, ((len - 127) / 128) as u8]),
        }
        block.resize(block.len() + len, b'v');
        block
    }

    fn remembers(block: &[u8]) -> bool {
        let (mut memo, mut decoder) = (DecodeMemo::default(), Decoder::new(4096));
        for _ in 0..2 {
            let mut list = FieldList::new();
            decoder.decode(block, &ListLimits::default(), &mut list).unwrap();
            let checked = fields::check(&list, Part::Request).unwrap();
            memo.note(block, Part::Request, 0, &list, checked);
        }
        let found = memo.recall(block, Part::Request, 0).is_some();
        // Of the same block as trailers, or in another state of the table, nothing is known.
        assert_eq!(memo.recall(block, Part::Trailers, 0), None);
        assert_eq!(memo.recall(block, Part::Request, 1), None);
        assert_eq!(memo.heap_bytes() > 0, found);
        if found {
            memo.shrink();
            let list = memo.list.heap_bytes();
            assert_eq!(memo.heap_bytes(), 2 * block.len() + list);
            let mut least = memo.list.clone();
            least.shrink(0);
            assert_eq!(list, least.heap_bytes());
        }
        found
    }

    #[test]
    fn long_blocks_and_long_lists_are_not_remembered() {
        let at_most = (1..).take_while(|len| block_of(*len).len() <= MEMO_BLOCK).last().unwrap();
        assert_eq!(block_of(at_most).len(), MEMO_BLOCK);
        assert!(remembers(&block_of(at_most)));
        assert!(!remembers(&block_of(at_most + 1)));
        // Fields of a byte on the wire that count 42 and 61 in the list: a short block, a long list.
        let many = |methods: usize, tail: usize| {
            let mut block = [0x83, 0x86, 0x84].to_vec();
            block.extend(core::iter::repeat_n(0x90, methods));
            block.extend([0x00, 1, b'x', tail as u8]);
            block.resize(block.len() + tail, b'v');
            block
        };
        let size = |block: &[u8]| {
            let mut list = FieldList::new();
            let limits = ListLimits::default();
            Decoder::new(4096).decode(block, &limits, &mut list).unwrap();
            list.size()
        };
        let tail = MEMO_LIST - size(&many(30, 0));
        assert!(tail < 127, "{tail}");
        assert_eq!(size(&many(30, tail)), MEMO_LIST);
        assert!(remembers(&many(30, tail)));
        assert!(!remembers(&many(30, tail + 1)));
    }
}
