//! What one decode carries along.

use super::{Cursor, Frame, UnknownFields, scan, utf8};
use crate::{Arena, DecodeError, DecodeLimits, DecodeRule};

/// What one decode carries along: the arena, what is left of the limits, and the first failure.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) arena: &'a Arena,
    input: &'a [u8],
    /// How many blocks of 32 bytes lie in the input: one begins at each offset below this.
    blocks: usize,
    /// How many levels may still be entered.
    depth: u32,
    /// How many unknown fields may still be kept.
    unknown: u32,
    /// Whether a closed enum met a number that it does not name, inside a map entry.
    pub(crate) unnamed: bool,
    error: Option<DecodeError>,
}

/// How many blocks of 32 bytes begin at each offset of `input` in turn, and end in it.
#[inline]
const fn blocks_in(input: &[u8]) -> usize {
    (input.len() + 1).saturating_sub(utf8::BLOCK)
}

impl<'a> Context<'a> {
    /// For decoding `input` under these limits.
    #[inline]
    pub fn new(input: &'a [u8], arena: &'a Arena, limits: &DecodeLimits) -> Self {
        Self {
            arena,
            input,
            blocks: blocks_in(input),
            depth: limits.depth,
            unknown: limits.unknown_fields,
            unnamed: false,
            error: None,
        }
    }

    /// Goes on with other input, of the same message and under what is left of the same limits.
    pub(crate) fn turn_to(&mut self, input: &'a [u8]) {
        self.input = input;
        self.blocks = blocks_in(input);
    }

    /// The arena that lists and submessages go to.
    pub fn arena(&self) -> &'a Arena {
        self.arena
    }

    /// The 32 bytes of the input from an address on, if they all lie in it, whatever message they belong to.
    #[inline(always)]
    pub(crate) fn block(&self, address: usize) -> Option<&'a [u8; utf8::BLOCK]> {
        let offset = address.wrapping_sub(self.input.as_ptr() as usize);
        // SAFETY: a block begins at each offset below `blocks` and ends in the input.
        (offset < self.blocks).then(|| unsafe { &*self.input.as_ptr().add(offset).cast() })
    }

    /// Whether a rule was broken.
    #[inline(always)]
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Notes the first failure, at `at`; returns what is to be gone on with: nothing, at the end of `at`.
    #[cold]
    #[inline(never)]
    pub fn fail(&mut self, rule: DecodeRule, at: Cursor<'a>) -> Cursor<'a> {
        if self.error.is_none() {
            // What does not lie in the input, as a list under way in the arena, is noted at its end.
            let offset = at.address().wrapping_sub(self.input.as_ptr() as usize);
            self.error = Some(DecodeError::new(rule, offset.min(self.input.len())));
        }
        at.ended()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn broken_varint(&mut self, at: Cursor<'a>) -> Cursor<'a> {
        let rule = if at.rest().iter().take(10).all(|&byte| byte >= 0x80) && at.len() < 10 {
            DecodeRule::Truncated
        } else {
            DecodeRule::VarintTooLong
        };
        self.fail(rule, at)
    }

    /// Notes that memory ran out, while reading what ends at `at`.
    #[cold]
    #[inline(never)]
    pub(crate) fn full(&mut self, at: Cursor<'a>) -> Cursor<'a> {
        self.fail(DecodeRule::ArenaBudget, at)
    }

    /// The failure, if there was one.
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.error {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Goes one level down; false, and a failure, when that is one too many.
    #[inline(always)]
    pub(crate) fn enter(&mut self, at: Cursor<'a>) -> bool {
        if self.depth == 0 {
            self.fail(DecodeRule::Depth, at);
            return false;
        }
        self.depth -= 1;
        true
    }

    /// Comes back up.
    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        self.depth += 1;
    }

    /// How many levels may still be entered.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Ends the loop over a message's fields, at a `tag` that is 0 or ends a group; `start` lies before the tag,
    /// `next` behind it, and `group` is the tag that ends this message, or 0 when it has a length.
    #[inline]
    pub fn end(
        &mut self,
        start: Cursor<'a>,
        next: Cursor<'a>,
        tag: u32,
        group: u32,
        unknown: &mut UnknownFields<'a>,
        frame: &mut Frame<'a>,
    ) -> Cursor<'a> {
        if frame.has_pending() {
            self.flush(unknown, frame);
        }
        if tag == group && (tag != 0 || start.is_empty()) { next } else { self.bad_end(start, tag) }
    }

    #[cold]
    #[inline(never)]
    fn bad_end(&mut self, start: Cursor<'a>, tag: u32) -> Cursor<'a> {
        let rule = match tag {
            0 if start.is_empty() => DecodeRule::GroupNotClosed,
            0..8 => DecodeRule::FieldNumber,
            _ => DecodeRule::EndGroup,
        };
        self.fail(rule, start)
    }

    /// Keeps a field that the message does not know, or whose wire type is not the declared one.
    #[cold]
    #[inline(never)]
    pub fn unknown(
        &mut self,
        start: Cursor<'a>,
        next: Cursor<'a>,
        tag: u32,
        unknown: &mut UnknownFields<'a>,
        frame: &mut Frame<'a>,
    ) -> Cursor<'a> {
        let next = self.skip(start, next, tag);
        if self.failed() || !self.count_unknown(start) {
            return next.ended();
        }
        if !frame.extend_pending(start, next) {
            self.flush(unknown, frame);
            frame.set_pending(start, next);
        }
        if self.failed() { next.ended() } else { next }
    }

    /// Keeps a number that a closed enum does not name as an unknown field of its own.
    #[cold]
    #[inline(never)]
    pub fn unnamed(
        &mut self,
        tag: u32,
        number: i32,
        at: Cursor<'a>,
        unknown: &mut UnknownFields<'a>,
        frame: &mut Frame<'a>,
    ) -> Cursor<'a> {
        if self.failed() || !self.count_unknown(at) {
            return at.ended();
        }
        let mut bytes = [0; 15];
        let mut len = 0;
        // As an unpacked varint, whichever way it came.
        for mut value in [u64::from(tag & !7), i64::from(number) as u64] {
            while value >= 0x80 {
                bytes[len] = value as u8 | 0x80;
                value >>= 7;
                len += 1;
            }
            bytes[len] = value as u8;
            len += 1;
        }
        self.flush(unknown, frame);
        let Ok(span) = self.arena.try_alloc_slice(&bytes[..len]) else { return self.full(at) };
        self.keep(span, unknown, frame);
        if self.failed() { at.ended() } else { at }
    }

    /// Whether one more unknown field may be kept; fails at `at` if not.
    pub(crate) fn count_unknown(&mut self, at: Cursor<'a>) -> bool {
        match self.unknown.checked_sub(1) {
            Some(left) => {
                self.unknown = left;
                true
            }
            None => {
                self.fail(DecodeRule::UnknownFields, at);
                false
            }
        }
    }

    /// Moves the pending span to the unknown fields.
    #[cold]
    #[inline(never)]
    pub(crate) fn flush(&mut self, unknown: &mut UnknownFields<'a>, frame: &mut Frame<'a>) {
        let span = frame.take_pending();
        if !span.is_empty() {
            self.keep(span, unknown, frame);
        }
    }

    pub(crate) fn keep(
        &mut self,
        span: &'a [u8],
        unknown: &mut UnknownFields<'a>,
        frame: &mut Frame<'a>,
    ) {
        if frame.push(self.arena, &mut unknown.spans, span).is_err() {
            self.full(Cursor::new(span));
        }
    }

    /// Moves past the value of a field of any kind; `start` lies before its tag.
    #[cold]
    #[inline(never)]
    pub fn skip(&mut self, start: Cursor<'a>, next: Cursor<'a>, tag: u32) -> Cursor<'a> {
        match scan::skip_field(next, tag, self.depth()) {
            Ok(next) => next,
            Err((DecodeRule::FieldNumber | DecodeRule::WireType, _)) if tag < 8 => {
                self.fail(DecodeRule::FieldNumber, start)
            }
            Err((rule, at)) => self.fail(rule, at),
        }
    }
}
