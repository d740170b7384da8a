//! Field blocks in and out, with memos of those that repeat.
//!
//! gRPC repeats itself: once the tables are warm, the block of a call is mostly the same few indexed
//! bytes as the last one's. A memo is keyed by the bytes (or the list) and the generation of the
//! dynamic table: as long as neither has changed, the other side of the coding has not either. What
//! does change from call to call, a trace id or a timeout, is set into the memo (see [`DecodeMemo`]).

use alloc::vec::Vec;

use super::Session;
use super::decode_memo::{DecodeMemo, MEMO_LIST};
use crate::hpack::{DecodeError, Encoder, FieldList, ListLimits, ListOutcome, Token};
use crate::http2::fields::{self, Part};
use crate::http2::frame;
use crate::http2::stream::{Pending, Prepared};
use crate::http2::violation::Violation;
use crate::timeout::TimeoutText;
use crate::transmit::Transmit;

/// A list that was encoded before.
#[derive(Debug, Default)]
pub(super) struct EncodeMemo {
    list: FieldList,
    generation: u64,
    block: Vec<u8>,
    valid: bool,
}

impl EncodeMemo {
    fn encode(&mut self, encoder: &mut Encoder) {
        self.block.clear();
        let before = encoder.generation();
        encoder.encode(&self.list, &mut self.block);
        self.generation = encoder.generation();
        // A block that would come out shorter the next time is not worth keeping.
        self.valid = before == self.generation && encoder.is_settled();
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

impl Session {
    /// Decodes a whole block and checks it as `part`; its fields are [`Session::received`] afterwards, and what they say
    /// of their message is [`Session::checked`].
    ///
    /// The error ends the connection, a violation that is returned the stream; the table is in step after both the
    /// latter and success.
    #[inline]
    pub(super) fn decode_block(
        &mut self,
        block: &[u8],
        part: Part,
    ) -> Result<Option<Violation>, DecodeError> {
        let at = DecodeMemo::place_of(block);
        if let Some(checked) = self.memos[at].recall(block, part, self.decoder.generation()) {
            self.received_memo = Some(at as u8);
            self.checked = checked;
            return Ok(None);
        }
        self.decode_anew(block, part, at)
    }

    /// Decodes and checks a block that no memo has, and takes note of it in the one at `at`.
    #[inline(never)]
    fn decode_anew(
        &mut self,
        block: &[u8],
        part: Part,
        at: usize,
    ) -> Result<Option<Violation>, DecodeError> {
        self.received_memo = None;
        self.received.clear();
        let limits = ListLimits {
            max_size: self.limits.max_header_list_size,
            max_fields: self.limits.max_header_fields,
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

    /// The fields of the block that was decoded last.
    #[inline]
    pub(crate) fn received(&self) -> &FieldList {
        match self.received_memo {
            Some(at) => self.memos[usize::from(at)].list(),
            None => &self.received,
        }
    }

    /// The same fields, to keep: copied where they are a memo's, moved where they are not.
    pub(crate) fn take_received(&mut self) -> FieldList {
        let mut list = self.take_fields();
        match self.received_memo {
            Some(at) => list.clone_from(self.memos[usize::from(at)].list()),
            None => core::mem::swap(&mut list, &mut self.received),
        }
        list
    }

    /// Encodes a pending head straight into the output, as HEADERS and CONTINUATION frames.
    ///
    /// Inlined, so that the head is looked at where it lies and not copied first.
    #[inline(always)]
    pub(super) fn put_head(
        &mut self,
        out: &mut Transmit,
        id: u32,
        head: Pending,
        timeout: Option<TimeoutText>,
        end_stream: bool,
    ) {
        let out = out.head();
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEADER_LEN]);
        match head {
            Pending::None => {}
            Pending::Prepared(place) => self.put_prepared(place, out),
            Pending::Fields(list, place) => match timeout {
                Some(timeout) => self.put_list(with_timeout(&list, timeout), place, out),
                None => self.put_list(list, place, out),
            },
            Pending::Call { place, own } => {
                self.put_prepared(place, out);
                if let Some(timeout) = timeout {
                    self.encoder.encode_value(Token::GrpcTimeout, timeout.as_bytes(), out);
                }
                self.put_prepared(place.after(), out);
                if !own.is_empty() {
                    self.encoder.encode(&own, out);
                }
                self.recycle_fields(own);
            }
        }
        frame::finish_block(out, start, id, end_stream, self.peer.max_frame_size as usize);
    }

    /// Appends the encoding of a prepared list, from its memo if the table has not changed since.
    fn put_prepared(&mut self, place: Prepared, out: &mut Vec<u8>) {
        let memo = &mut self.encode_memos[place.index()];
        if !memo.valid || memo.generation != self.encoder.generation() {
            memo.encode(&mut self.encoder);
        }
        out.extend_from_slice(&memo.block);
    }

    /// Appends the encoding of a list of its own, which is remembered if the list comes twice running.
    fn put_list(&mut self, mut list: FieldList, place: Prepared, out: &mut Vec<u8>) {
        let memo = &mut self.encode_memos[place.index()];
        if list.same_bytes(&memo.list) {
            self.put_prepared(place, out);
        } else {
            self.encoder.encode(&list, out);
            if list.size() <= MEMO_LIST {
                core::mem::swap(&mut list, &mut memo.list);
                memo.valid = false;
            }
        }
        self.recycle_fields(list);
    }

    /// Sets the list behind [`Pending::Prepared`].
    pub(crate) fn prepare(&mut self, place: Prepared, list: FieldList) {
        if self.encode_memos.len() <= place.index() {
            self.encode_memos.resize_with(place.index() + 1, EncodeMemo::default);
        }
        self.encode_memos[place.index()] = EncodeMemo { list, ..EncodeMemo::default() };
    }

    /// Whether a stream still waits to send the call that is prepared at `place`.
    pub(crate) fn is_call_awaited(&self, call: Prepared) -> bool {
        let waits = |head: &Pending| matches!(head, Pending::Call { place, .. } if *place == call);
        self.streams.iter().any(|stream| waits(&stream.head))
    }
}

/// The list with the value of its `grpc-timeout`, which was left open.
#[cold]
fn with_timeout(list: &FieldList, timeout: TimeoutText) -> FieldList {
    let mut told = FieldList::new();
    for field in list.iter() {
        match field.token {
            Token::GrpcTimeout => told.push_known(Token::GrpcTimeout, timeout.as_bytes()),
            _ if field.flags.is_sensitive() => told.push_sensitive(field.name, field.value),
            _ => told.push(field.name, field.value),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

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
