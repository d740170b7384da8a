//! Field blocks in and out, with memos of those that repeat.
//!
//! gRPC repeats itself: once the tables are warm, the block of a call is mostly the same few indexed
//! bytes as the last one's. A memo is keyed by the bytes (or the list) and the generation of the
//! dynamic table: as long as neither has changed, the other side of the coding has not either.

use alloc::vec::Vec;

use super::Session;
use crate::hpack::{DecodeError, FieldList, ListLimits, ListOutcome};
use crate::http2::fields::{self, Checked, Part};
use crate::http2::frame;
use crate::http2::stream::{Pending, Prepared};
use crate::http2::violation::Violation;
use crate::transmit::Transmit;

/// Blocks longer than this are not remembered: they hardly repeat, and would cost memory.
const MEMO_BLOCK: usize = 256;
/// Lists longer than this are not remembered either.
const MEMO_LIST: usize = 2048;

/// A block that was decoded and checked before.
#[derive(Debug, Default)]
pub(super) struct DecodeMemo {
    block: Vec<u8>,
    generation: u64,
    part: Option<Part>,
    list: FieldList,
    checked: Checked,
}

impl DecodeMemo {
    pub(super) fn heap_bytes(&self) -> usize {
        self.block.capacity() + self.list.heap_bytes()
    }

    /// Gives memory back that the present contents do not need.
    pub(super) fn shrink(&mut self) {
        self.block.shrink_to_fit();
        self.list.shrink(0);
    }
}

/// A list that was encoded before.
#[derive(Debug, Default)]
pub(super) struct EncodeMemo {
    list: FieldList,
    generation: u64,
    block: Vec<u8>,
    valid: bool,
}

impl EncodeMemo {
    pub(super) fn heap_bytes(&self) -> usize {
        self.block.capacity() + self.list.heap_bytes()
    }

    /// Gives memory back that the present contents do not need.
    pub(super) fn shrink(&mut self) {
        self.block.shrink_to_fit();
        self.list.shrink(0);
    }
}

impl Session {
    /// Decodes a whole block and checks it as `part`.
    ///
    /// The outer error ends the connection, the inner one the stream; the table is in step after both
    /// the inner one and success.
    #[inline]
    pub(super) fn decode_block(
        &mut self,
        block: &[u8],
        part: Part,
    ) -> Result<Result<(FieldList, Checked), Violation>, DecodeError> {
        let mut list = self.take_fields();
        let at = block.len() & 3;
        let memo = &self.memos[at];
        if memo.part == Some(part)
            && memo.generation == self.decoder.generation()
            && memo.block == block
        {
            list.clone_from(&memo.list);
            return Ok(Ok((list, memo.checked)));
        }
        let limits = ListLimits {
            max_size: self.limits.max_header_list_size,
            max_fields: self.limits.max_header_fields,
        };
        let generation = self.decoder.generation();
        let outcome = self.decoder.decode(block, &limits, &mut list)?;
        if outcome != ListOutcome::Complete {
            self.recycle_fields(list);
            return Ok(Err(Violation::FieldListTooLarge));
        }
        let checked = match fields::check(&list, part) {
            Ok(checked) => checked,
            Err(violation) => {
                self.recycle_fields(list);
                return Ok(Err(violation));
            }
        };
        // Seen twice is worth remembering: a block that never comes again costs no copy of its list.
        let memo = &mut self.memos[at];
        if generation == self.decoder.generation()
            && block.len() <= MEMO_BLOCK
            && list.size() <= MEMO_LIST
        {
            let again = memo.part.is_none() && memo.generation == generation && memo.block == block;
            memo.generation = generation;
            if again {
                memo.part = Some(part);
                memo.checked = checked;
                memo.list.clone_from(&list);
            } else {
                memo.part = None;
                memo.block.clear();
                memo.block.extend_from_slice(block);
            }
        }
        Ok(Ok((list, checked)))
    }

    /// Encodes a pending head and writes it as HEADERS and CONTINUATION frames.
    #[inline]
    pub(super) fn put_head(
        &mut self,
        out: &mut Transmit,
        id: u32,
        head: Pending,
        end_stream: bool,
    ) {
        let max_frame = self.peer.max_frame_size as usize;
        let (list, place) = match head {
            Pending::None => return,
            Pending::Prepared(place) => (None, place),
            Pending::Fields(list, place) => (Some(list), place),
        };
        let memo = &mut self.encode_memos[place.index()];
        let same = memo.valid
            && memo.generation == self.encoder.generation()
            && list.as_ref().is_none_or(|list| list.same_bytes(&memo.list));
        if same {
            frame::put_block(out.head(), id, end_stream, &memo.block, max_frame);
            if let Some(list) = list {
                self.recycle_fields(list);
            }
            return;
        }
        let own = list.is_some();
        let old = list.map(|list| core::mem::replace(&mut memo.list, list));
        memo.block.clear();
        let before = self.encoder.generation();
        self.encoder.encode(&memo.list, &mut memo.block);
        memo.generation = self.encoder.generation();
        // A block that would come out shorter the next time is not worth keeping.
        memo.valid = before == memo.generation && self.encoder.is_settled();
        frame::put_block(out.head(), id, end_stream, &memo.block, max_frame);
        if let Some(old) = old {
            self.recycle_fields(old);
        }
        if own && memo_is_large(&self.encode_memos[place.index()]) {
            let memo = &mut self.encode_memos[place.index()];
            memo.valid = false;
            memo.block = Vec::new();
            memo.list = FieldList::new();
        }
    }

    /// Sets the list behind [`Pending::Prepared`].
    pub(crate) fn prepare(&mut self, place: Prepared, list: FieldList) {
        self.encode_memos[place.index()] = EncodeMemo { list, ..EncodeMemo::default() };
    }

    /// Whether a stream still waits to send what [`prepare`](Self::prepare) has set for `place`.
    pub(crate) fn is_prepared_awaited(&self, place: Prepared) -> bool {
        self.streams
            .iter()
            .any(|stream| matches!(stream.head, Pending::Prepared(head) if head == place))
    }
}

/// Own lists may be anything; one memo must not pin a large one.
fn memo_is_large(memo: &EncodeMemo) -> bool {
    memo.block.len() > MEMO_LIST || memo.list.size() > 2 * MEMO_LIST
}
