//! What streams may queue beyond their marks, out of one budget.

use crate::config::Limits;
use crate::http2::stream::Stream;

/// The send budget, and what is queued to be sent.
///
/// An empty queue takes one message of any size, or one larger than the mark could never leave. What exceeds the mark comes
/// out of the budget, for streams with a window only. The first such message is always let through, of streams that are
/// open and of those that are not yet.
#[derive(Debug)]
pub(super) struct SendBudget {
    /// [`Limits::send_budget`].
    budget: u32,
    /// [`Limits::send_mark`].
    mark: usize,
    /// What is allotted of the budget.
    allotted: u32,
    /// What is left of the budget.
    left: u32,
    /// What streams hold of it.
    outstanding: u32,
    /// What of that streams hold that have no identifier yet.
    unopened: u32,
    /// The largest excess that was refused because the allotment is too small, since that was last set.
    refused: u32,
    /// What the send queues hold: the sum of what each stream has `counted`.
    queued: usize,
}

impl SendBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        SendBudget {
            budget: limits.send_budget,
            mark: limits.send_mark as usize,
            allotted: u32::MAX,
            left: limits.send_budget,
            outstanding: 0,
            unopened: 0,
            refused: 0,
            queued: 0,
        }
    }

    /// Whether a queue is below its mark.
    #[inline]
    pub(super) fn is_below_mark(&self, stream: &Stream) -> bool {
        stream.queue.len() < self.mark
    }

    /// Whether half the mark is free: to wake a writer for less would cost a wake-up a message.
    #[inline]
    pub(super) fn has_half_free(&self, stream: &Stream) -> bool {
        stream.queue.len() <= self.mark / 2
    }

    /// Whether a queue takes `len` more bytes without the budget.
    #[inline]
    pub(super) fn is_within_mark(&self, stream: &Stream, len: usize) -> bool {
        stream.queue.len() + len <= self.mark
    }

    /// What a message of `len` bytes takes of the budget.
    #[inline]
    pub(super) fn excess_of(&self, len: usize) -> u32 {
        u32::try_from(len.saturating_sub(self.mark)).unwrap_or(u32::MAX)
    }

    /// Whether a stream that takes payload has no room for `len` more bytes.
    pub(super) fn lacks_room(&self, stream: &Stream, len: usize) -> bool {
        if self.is_within_mark(stream, len) {
            return false;
        }
        let excess = self.excess_of(len);
        // A stream that waits to be opened may wait for this very one to end: it must not hold it up.
        let unopened = if stream.id == 0 { 0 } else { self.unopened };
        let rivals = self.outstanding - unopened;
        !stream.queue.is_empty()
            || !stream.has_window()
            || (excess > self.left && rivals > 0)
            || self.exceeds_allotment(excess)
    }

    /// Whether the allotment is too small for so much more.
    #[inline]
    fn exceeds_allotment(&self, excess: u32) -> bool {
        self.outstanding.saturating_add(excess) > self.allotted
    }

    /// A message of `len` bytes was refused.
    pub(super) fn on_refused(&mut self, stream: &Stream, len: usize) {
        let excess = self.excess_of(len);
        if self.exceeds_allotment(excess) && stream.queue.is_empty() && stream.has_window() {
            self.refused = self.refused.max(excess);
        }
    }

    /// Takes the excess of a message.
    #[inline]
    pub(super) fn reserve(&mut self, stream: &mut Stream, excess: u32) {
        if excess == 0 {
            return;
        }
        stream.send_reserved += excess;
        if stream.id == 0 {
            self.unopened += excess;
        }
        self.left = self.left.saturating_sub(excess);
        self.outstanding += excess;
    }

    /// Gives back what a queue no longer exceeds its mark by; returns whether refused writers may try again.
    pub(super) fn settle(&mut self, stream: &mut Stream) -> bool {
        if stream.send_reserved == 0 {
            return false;
        }
        // A message whose last byte waits takes its whole memory.
        let held = stream.queue.held();
        let needed = (held.saturating_sub(self.mark) as u32).min(stream.send_reserved);
        let freed = stream.send_reserved - needed;
        stream.send_reserved = needed;
        if stream.id == 0 {
            self.unopened -= freed;
        }
        self.outstanding -= freed;
        self.left = self.budget.saturating_sub(self.outstanding);
        freed > 0 && needed == 0
    }

    /// A stream has got its identifier: unopened streams no longer hold what it holds.
    #[inline]
    pub(super) fn on_opened(&mut self, stream: &Stream) {
        self.unopened -= stream.send_reserved;
    }

    /// Brings the sum of all send queues up to date after a change of this one.
    #[inline]
    pub(super) fn recount(&mut self, stream: &mut Stream) {
        let counted = stream.queue.held();
        self.queued = self.queued + counted - core::mem::replace(&mut stream.counted, counted);
    }

    /// What the send queues hold.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// What is taken of the budget.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Sets what may be taken of the budget.
    pub(super) fn allot(&mut self, allotted: u32) {
        self.allotted = allotted;
        self.refused = 0;
    }

    pub(super) fn allotted(&self) -> u32 {
        self.allotted
    }

    /// What must be allotted for what was refused; 0 if nothing was.
    pub(super) fn wanted(&self) -> u32 {
        match self.refused {
            0 => 0,
            refused => self.outstanding.saturating_add(refused),
        }
    }

    /// What is left of the budget, and what unopened streams hold of it.
    #[cfg(test)]
    pub(super) fn left_and_unopened(&self) -> (u32, u32) {
        (self.left, self.unopened)
    }
}
