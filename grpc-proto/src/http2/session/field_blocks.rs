//! Field blocks in and out: the tables of HPACK, blocks in several frames, and memos of blocks that repeat.
//!
//! Header sections repeat: once the tables are warm, the block of a request is mostly the same few indexed
//! bytes as the last one's. A memo is keyed by the bytes (or the list) and the generation of the
//! dynamic table: as long as neither has changed, the other side of the coding has not either. What
//! does change from call to call, a trace id or a timeout, is set into the memo (see [`DecodeMemo`]).

use alloc::vec::Vec;
use core::time::Duration;

use super::decode_memo::{DecodeMemo, MEMO_LIST};
use super::encode_memo::EncodeMemo;
use crate::config::Limits;
use crate::hpack::{DecodeError, Decoder, Encoder, FieldList, ListLimits, ListOutcome, Token};
use crate::http2::fields::{self, Checked, Part};
use crate::http2::frame;
use crate::http2::late_field::{LateField, LateValue};
use crate::http2::stream::{Pending, Prepared};
use crate::http2::violation::Violation;
use crate::transmit::Transmit;

/// Lists kept for reuse; more calls at once than this allocate theirs.
const POOLED_LISTS: usize = 256;
/// Lists larger than this are rare, and would let a peer that sends a few of them keep the memory taken.
const POOLED_LIST: usize = 4096;

/// The coding of field blocks in both directions.
#[derive(Debug)]
pub(super) struct FieldBlocks {
    // Received.
    decoder: Decoder,
    memos: [DecodeMemo; DecodeMemo::COUNT],
    /// The block that CONTINUATION frames are still to complete.
    gathered: Gathered,
    /// The fields of the block that was decoded last, unless they are those of a memo.
    received: FieldList,
    received_memo: Option<u8>,
    /// What that block says of its message, if it is valid.
    checked: Checked,
    /// Why the last block did not decode.
    error: Option<DecodeError>,

    // Sent.
    encoder: Encoder,
    encode_memos: Vec<EncodeMemo>,
    /// The field that is written when a header section leaves.
    late_field: Option<LateField>,

    /// Lists without fields, kept for their memory.
    lists: Vec<FieldList>,
}

/// A field block in several frames.
#[derive(Debug, Default)]
struct Gathered {
    /// Stream that the block belongs to; 0 if none is open.
    stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

/// A field block that is complete.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    /// Goes back by [`FieldBlocks::recycle_block`].
    pub(super) bytes: Vec<u8>,
}

impl FieldBlocks {
    pub(super) fn new(limits: &Limits) -> Self {
        FieldBlocks {
            decoder: Decoder::new(limits.header_table_size),
            memos: Default::default(),
            gathered: Gathered::default(),
            received: FieldList::new(),
            received_memo: None,
            checked: Checked::default(),
            error: None,
            encoder: Encoder::with_max_table_size(limits.encoder_table_size),
            encode_memos: (0..Prepared::FIXED).map(|_| EncodeMemo::default()).collect(),
            late_field: None,
            lists: Vec::new(),
        }
    }

    /// The stream whose block is still to be completed; 0 if there is none.
    #[inline]
    pub(super) fn unfinished(&self) -> u32 {
        self.gathered.stream
    }

    /// HEADERS without END_HEADERS have come: gathers their fragment.
    pub(super) fn begin(
        &mut self,
        stream: u32,
        end_stream: bool,
        fragment: &[u8],
        limits: &Limits,
    ) -> Result<(), Violation> {
        self.gathered.stream = stream;
        self.gathered.end_stream = end_stream;
        self.gathered.continuations = 0;
        self.gathered.bytes.clear();
        self.gathered.extend(fragment, limits)
    }

    /// CONTINUATION has come: gathers its fragment, and gives the block if `is_last` says that it is complete.
    pub(super) fn proceed(
        &mut self,
        fragment: &[u8],
        is_last: bool,
        limits: &Limits,
    ) -> Result<Option<Block>, Violation> {
        let gathered = &mut self.gathered;
        gathered.continuations += 1;
        if gathered.continuations > limits.continuations() {
            return Err(Violation::TooManyContinuations);
        }
        gathered.extend(fragment, limits)?;
        Ok(is_last.then(|| Block {
            stream: core::mem::take(&mut gathered.stream),
            end_stream: gathered.end_stream,
            bytes: core::mem::take(&mut gathered.bytes),
        }))
    }

    /// Keeps the memory of a block that was handled.
    pub(super) fn recycle_block(&mut self, block: Block) {
        self.gathered.bytes = block.bytes;
        self.gathered.bytes.clear();
    }

    /// Decodes a whole block and checks it as `part`; its fields are [`received`](Self::received) afterwards, and what
    /// they say of their message is [`checked`](Self::checked).
    ///
    /// The error ends the connection, a violation that is returned ends the stream; the table is in step after both the
    /// latter and success.
    #[inline]
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        part: Part,
        limits: &Limits,
    ) -> Result<Option<Violation>, Violation> {
        let at = DecodeMemo::place_of(block);
        if let Some(checked) = self.memos[at].recall(block, part, self.decoder.generation()) {
            self.received_memo = Some(at as u8);
            self.checked = checked;
            return Ok(None);
        }
        self.decode_anew(block, part, at, limits).map_err(|error| {
            self.error = Some(error);
            Violation::Compression
        })
    }

    /// Decodes and checks a block that no memo has, and takes note of it in the one at `at`.
    #[inline(never)]
    fn decode_anew(
        &mut self,
        block: &[u8],
        part: Part,
        at: usize,
        limits: &Limits,
    ) -> Result<Option<Violation>, DecodeError> {
        self.received_memo = None;
        self.received.clear();
        let limits = ListLimits {
            max_size: limits.max_header_list_size,
            max_fields: limits.max_header_fields,
        };
        let generation = self.decoder.generation();
        let outcome = self.decoder.decode(block, &limits, &mut self.received)?;
        if outcome != ListOutcome::Complete {
            return Ok(Some(Violation::FieldListTooLarge));
        }
        match fields::check(&self.received, part) {
            Ok(checked) => self.checked = checked,
            Err(violation) => return Ok(Some(violation)),
        }
        if generation == self.decoder.generation() {
            self.memos[at].note(block, part, generation, &self.received, self.checked);
        }
        Ok(None)
    }

    /// Why a block did not decode, once.
    pub(super) fn take_error(&mut self) -> Option<DecodeError> {
        self.error.take()
    }

    /// What the block that was decoded last says of its message.
    #[inline]
    pub(super) fn checked(&self) -> Checked {
        self.checked
    }

    /// The fields of the block that was decoded last.
    #[inline]
    pub(super) fn received(&self) -> &FieldList {
        match self.received_memo {
            Some(at) => self.memos[usize::from(at)].list(),
            None => &self.received,
        }
    }

    /// The same fields, to keep: copied where they are a memo's, moved where they are not.
    pub(super) fn take_received(&mut self) -> FieldList {
        let mut list = self.take_list();
        match self.received_memo {
            Some(at) => list.clone_from(self.memos[usize::from(at)].list()),
            None => core::mem::swap(&mut list, &mut self.received),
        }
        list
    }

    /// Sets the field that is written when a header section leaves.
    pub(super) fn set_late_field(&mut self, field: LateField) {
        self.late_field = Some(field);
    }

    /// Encodes a pending head straight into the output, as HEADERS and CONTINUATION frames. Where there is `time_left`, the
    /// late field tells it.
    ///
    /// Inlined, so that the head is looked at where it lies and not copied first.
    #[inline(always)]
    pub(super) fn put_head(
        &mut self,
        out: &mut Transmit,
        id: u32,
        head: Pending,
        time_left: Option<Duration>,
        end_stream: bool,
        max_frame_size: u32,
    ) {
        let out = out.head();
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEADER_LEN]);
        let late = match (self.late_field, time_left) {
            (Some(field), Some(left)) => Some((field.token, (field.value)(left))),
            _ => None,
        };
        match head {
            Pending::None => {}
            Pending::Prepared(place) => self.put_prepared(place, out),
            Pending::Fields(list, place) => match late {
                Some((token, value)) => self.put_list(with_late(&list, token, value), place, out),
                None => self.put_list(list, place, out),
            },
            Pending::Template { place, own } => {
                self.put_prepared(place, out);
                if let Some((token, value)) = late {
                    self.encoder.encode_value(token, value.as_bytes(), out);
                }
                self.put_prepared(place.after(), out);
                if !own.is_empty() {
                    self.encoder.encode(&own, out);
                }
                self.recycle_list(own);
            }
        }
        frame::finish_block(out, start, id, end_stream, max_frame_size as usize);
    }

    /// Appends the encoding of a prepared list, from its memo if the table has not changed since.
    fn put_prepared(&mut self, place: Prepared, out: &mut Vec<u8>) {
        out.extend_from_slice(self.encode_memos[place.index()].block(&mut self.encoder));
    }

    /// Appends the encoding of a list of its own, which is remembered if the list comes twice running.
    fn put_list(&mut self, mut list: FieldList, place: Prepared, out: &mut Vec<u8>) {
        let memo = &mut self.encode_memos[place.index()];
        if memo.is_of(&list) {
            self.put_prepared(place, out);
        } else {
            self.encoder.encode(&list, out);
            if list.size() <= MEMO_LIST {
                list = memo.replace(list);
            }
        }
        self.recycle_list(list);
    }

    /// Sets the list behind [`Pending::Prepared`].
    pub(super) fn prepare(&mut self, place: Prepared, list: FieldList) {
        if self.encode_memos.len() <= place.index() {
            self.encode_memos.resize_with(place.index() + 1, EncodeMemo::default);
        }
        self.encode_memos[place.index()] = EncodeMemo::new(list);
    }

    /// A field block that will not be sent: keeps the memory of its list.
    pub(super) fn recycle_pending(&mut self, head: Pending) {
        if let Pending::Fields(list, _) | Pending::Template { own: list, .. } = head {
            self.recycle_list(list);
        }
    }

    /// An empty field list, with memory if a used one was given back.
    pub(super) fn take_list(&mut self) -> FieldList {
        self.lists.pop().unwrap_or_default()
    }

    /// Keeps a list's memory for later.
    pub(super) fn recycle_list(&mut self, mut list: FieldList) {
        // A list without memory would only hide one that has some.
        let kept = (1..=POOLED_LIST).contains(&list.heap_bytes());
        if kept && self.lists.len() < POOLED_LISTS {
            list.clear();
            self.lists.push(list);
        }
    }

    /// Frees the lists that are kept for their memory.
    pub(super) fn drop_lists(&mut self) {
        self.lists = Vec::new();
    }

    /// The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE.
    pub(super) fn set_max_table_size(&mut self, size: u32) {
        self.decoder.set_max_table_size(size);
    }

    /// The peer has sent its SETTINGS_HEADER_TABLE_SIZE.
    pub(super) fn set_peer_max_table_size(&mut self, size: u32) {
        self.encoder.set_peer_max_table_size(size);
    }

    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.decoder.heap_bytes()
            + self.encoder.heap_bytes()
            + self.memos.iter().map(DecodeMemo::heap_bytes).sum::<usize>()
            + self.encode_memos.capacity() * size_of::<EncodeMemo>()
            + self.encode_memos.iter().map(EncodeMemo::heap_bytes).sum::<usize>()
            + self.gathered.bytes.capacity()
            + self.received.heap_bytes()
            + self.lists.capacity() * size_of::<FieldList>()
            + self.lists.iter().map(FieldList::heap_bytes).sum::<usize>()
    }

    /// Gives memory back that nothing needs now; what a block in several frames has gathered stays.
    pub(super) fn trim(&mut self) {
        self.drop_lists();
        self.received = FieldList::new();
        self.gathered.bytes.shrink_to(0);
        self.decoder.shrink_idle();
        self.encoder.shrink_idle();
        self.memos.iter_mut().for_each(DecodeMemo::shrink);
        self.encode_memos.iter_mut().for_each(EncodeMemo::shrink);
    }
}

impl Gathered {
    /// Gathers a fragment; a block that could not be within the list limit ends the connection,
    /// because skipping it would take the table out of step.
    fn extend(&mut self, fragment: &[u8], limits: &Limits) -> Result<(), Violation> {
        // Wire bytes can exceed what the list counts: a literal costs up to a few bytes of framing.
        let bound = limits.max_header_list_size as usize * 2 + limits.max_frame_size as usize;
        if self.bytes.len() + fragment.len() > bound {
            return Err(Violation::FieldBlockTooLong);
        }
        self.bytes.extend_from_slice(fragment);
        Ok(())
    }
}

/// The list with the value of its late field, which was left open.
#[cold]
fn with_late(list: &FieldList, late: Token, value: LateValue) -> FieldList {
    let mut filled = FieldList::new();
    for field in list.iter() {
        match field.token {
            token if token == late => filled.push_known(token, value.as_bytes()),
            _ if field.flags.is_sensitive() => filled.push_sensitive(field.name, field.value),
            _ => filled.push(field.name, field.value),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_keeps_what_an_unfinished_block_has_gathered() {
        let limits = Limits::default();
        let mut blocks = FieldBlocks::new(&limits);
        blocks.gathered.bytes = Vec::with_capacity(1000);
        let before = blocks.heap_bytes();
        blocks.begin(1, false, &[7], &limits).unwrap();
        blocks.trim();
        assert_eq!((blocks.unfinished(), blocks.heap_bytes()), (1, before - 999));
        let block = blocks.proceed(&[8], true, &limits).unwrap().expect("it is complete");
        assert_eq!((block.stream, &block.bytes[..], blocks.unfinished()), (1, &[7, 8][..], 0));
    }

    #[test]
    fn a_block_that_comes_again_is_recalled_from_the_third_time_on() {
        let limits = Limits::default();
        let mut blocks = FieldBlocks::new(&limits);
        // `:method: POST`, `:scheme: http`, `:path: /`.
        let recalled = [(); 4].map(|()| {
            blocks.decode(&[0x83, 0x86, 0x84], Part::Request, &limits).unwrap();
            blocks.received_memo.is_some()
        });
        assert_eq!(recalled, [false, false, true, true]);
    }

    /// Of what is given back, 256 lists that have memory, and not much of it, are kept.
    #[test]
    fn field_lists_are_used_again() {
        let list = |len| {
            let mut list = FieldList::new();
            list.push(b"x", &alloc::vec![b'v'; len]);
            list
        };
        let mut blocks = FieldBlocks::new(&Limits::default());
        blocks.recycle_list(FieldList::new());
        blocks.recycle_list(list(POOLED_LIST + 1));
        assert_eq!(blocks.lists.len(), 0);
        for _ in 0..POOLED_LISTS + 10 {
            blocks.recycle_list(list(100));
        }
        assert_eq!(blocks.lists.len(), POOLED_LISTS);
        let again = blocks.take_list();
        assert!(again.is_empty() && again.heap_bytes() > 0);
        assert_eq!(blocks.lists.len(), POOLED_LISTS - 1);
    }
}
