//! What streams may be sent beyond their base windows, out of the assembly budget, and the credit that this makes.

use alloc::collections::VecDeque;

use super::streams::StreamTable;
use crate::config::Limits;
use crate::http2::flow::{DEFAULT_WINDOW, PADDING_ROOM};
use crate::http2::stream::Stream;

/// The assembly budget, the streams that wait for it, and those that have earned a WINDOW_UPDATE.
///
/// `base` is what each stream may be sent without a reservation.
#[derive(Debug)]
pub(super) struct ReceiveBudget {
    /// [`Limits::assembly_budget`].
    budget: u32,
    /// What is allotted of the budget.
    allotted: u32,
    /// What is left of the budget.
    left: u32,
    /// Streams whose message waits for the budget, first come first served.
    awaiting_budget: VecDeque<u32>,
    /// Streams that have earned a WINDOW_UPDATE.
    credit: VecDeque<u32>,
    /// Window that a new stream starts with: at least the default until our SETTINGS are acknowledged.
    initial_window: u32,
    /// What the streams hold of DATA that was received and not given back.
    held: usize,
}

/// What a window that exceeds its base by `reserved` takes of the assembly budget: the room for padding takes nothing.
/// The peer may use it for its next message, which then waits behind others.
pub(super) const fn budgeted(reserved: u32) -> u32 {
    reserved.saturating_sub(PADDING_ROOM)
}

impl ReceiveBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        ReceiveBudget {
            budget: limits.assembly_budget,
            allotted: u32::MAX,
            left: limits.assembly_budget,
            awaiting_budget: VecDeque::new(),
            credit: VecDeque::new(),
            initial_window: limits.stream_window.max(DEFAULT_WINDOW),
            held: 0,
        }
    }

    // --- Credit ---

    /// Queues a stream for WINDOW_UPDATE if it has earned one.
    pub(super) fn queue_credit(&mut self, slot: u32, stream: &mut Stream, base: u32) {
        if !stream.in_credit
            && !stream.reported
            && stream.state().can_receive()
            && stream.recv.has_credit(base.saturating_add(stream.reserved))
        {
            stream.in_credit = true;
            self.credit.push_back(slot);
        }
    }

    /// The next slot whose stream had earned a WINDOW_UPDATE.
    #[inline]
    pub(super) fn pop_credit(&mut self) -> Option<u32> {
        self.credit.pop_front()
    }

    #[inline]
    pub(super) fn has_credit(&self) -> bool {
        !self.credit.is_empty()
    }

    /// Window that a new stream starts with.
    #[inline]
    pub(super) fn initial_window(&self) -> u32 {
        self.initial_window
    }

    /// Sets the window that a new stream starts with, and returns what it was.
    pub(super) fn set_initial_window(&mut self, size: u32) -> u32 {
        core::mem::replace(&mut self.initial_window, size)
    }

    // --- Reservations ---

    /// A part of a body has begun, and its stream's window is to open for it: at once where that is in no budget, else as
    /// soon as the budget has it whole, in the order of asking.
    pub(super) fn reserve(&mut self, slot: u32, streams: &mut StreamTable, base: u32) {
        let stream = &mut streams[slot];
        let wanted = stream.wanted(base);
        if wanted == 0 {
            return;
        }
        if budgeted(stream.reserved + wanted) == budgeted(stream.reserved) {
            stream.reserved += wanted;
            return self.queue_credit(slot, stream, base);
        }
        stream.awaits_budget = true;
        self.awaiting_budget.push_back(slot);
        self.grant(streams, base);
    }

    /// Re-derives how much of its reservation a stream still needs, and queues its credit.
    ///
    /// That is what its message was granted, or what the peer has sent and may send already. While the message waits, only
    /// the latter: a stream that waits keeps nothing from those that it waits for. Once the application is done with
    /// what came before, that is within the room for padding, which is in no budget.
    #[inline]
    pub(super) fn settle(&mut self, slot: u32, streams: &mut StreamTable, base: u32) {
        let stream = &mut streams[slot];
        if stream.reserved > 0 {
            let granted = match stream.awaits_budget {
                true => 0,
                false => stream.expected.saturating_sub(base),
            };
            let open = stream.recv.open_to().saturating_sub(base);
            let needed = granted.max(open).min(stream.reserved);
            let freed = budgeted(stream.reserved) - budgeted(needed);
            stream.reserved = needed;
            if freed > 0 {
                self.left += freed;
                self.grant(streams, base);
            }
        }
        self.queue_credit(slot, &mut streams[slot], base);
    }

    /// A stream is over: gives its reservation back.
    #[inline]
    pub(super) fn release(&mut self, slot: u32, streams: &mut StreamTable, base: u32) {
        let stream = &mut streams[slot];
        let freed = budgeted(core::mem::take(&mut stream.reserved));
        self.left += freed;
        if stream.awaits_budget {
            self.stop_waiting(slot, streams, base);
        } else if freed > 0 {
            self.grant(streams, base);
        }
    }

    /// A stream waits for the budget no more.
    pub(super) fn stop_waiting(&mut self, slot: u32, streams: &mut StreamTable, base: u32) {
        streams[slot].awaits_budget = false;
        self.awaiting_budget.retain(|&waiting| waiting != slot);
        self.grant(streams, base);
    }

    /// The windows of all streams have grown: messages that wait for the budget want that much less of it.
    pub(super) fn on_base_grown(&mut self, streams: &mut StreamTable, base: u32) {
        self.awaiting_budget.retain(|&slot| {
            let stream = &mut streams[slot];
            stream.awaits_budget = stream.wanted(base) > 0;
            stream.awaits_budget
        });
        self.grant(streams, base);
    }

    /// Grants the budget to the streams that wait for it, in order, each its whole excess.
    fn grant(&mut self, streams: &mut StreamTable, base: u32) {
        while let Some(&slot) = self.awaiting_budget.front() {
            let stream = &mut streams[slot];
            let reserved = stream.reserved + stream.wanted(base);
            let cost = budgeted(reserved) - budgeted(stream.reserved);
            if cost > self.room() {
                return;
            }
            self.awaiting_budget.pop_front();
            stream.awaits_budget = false;
            self.left -= cost;
            stream.reserved = reserved;
            self.queue_credit(slot, stream, base);
        }
    }

    // --- What is held and allotted ---

    /// A stream has received `bytes`.
    #[inline]
    pub(super) fn on_received(&mut self, bytes: u32) {
        self.held += bytes as usize;
    }

    /// A stream has given `bytes` back.
    #[inline]
    pub(super) fn on_released(&mut self, bytes: u32) {
        self.held -= bytes as usize;
    }

    /// What the streams hold of DATA that was received and not given back.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// What is left of the budget.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// What is taken of the budget.
    pub(super) fn taken(&self) -> u32 {
        self.budget - self.left
    }

    /// Sets what may be taken of the budget.
    pub(super) fn allot(&mut self, allotted: u32, streams: &mut StreamTable, base: u32) {
        self.allotted = allotted;
        self.grant(streams, base);
    }

    pub(super) fn allotted(&self) -> u32 {
        self.allotted
    }

    /// What may be taken now.
    #[inline]
    fn room(&self) -> u32 {
        self.left.min(self.allotted.saturating_sub(self.taken()))
    }

    /// What must be allotted for the first stream that waits to go on, if nothing else holds it up.
    pub(super) fn wanted(&self, streams: &StreamTable, base: u32) -> u32 {
        let Some(&slot) = self.awaiting_budget.front() else { return 0 };
        let stream = &streams[slot];
        let reserved = stream.reserved + stream.wanted(base);
        let cost = budgeted(reserved) - budgeted(stream.reserved);
        if cost > self.left { 0 } else { self.taken() + cost }
    }

    /// How many streams wait for the budget.
    #[cfg(test)]
    pub(super) fn awaiting(&self) -> usize {
        self.awaiting_budget.len()
    }

    // --- Memory ---

    pub(super) fn heap_bytes(&self) -> usize {
        let queues = [&self.awaiting_budget, &self.credit];
        queues.iter().map(|queue| queue.capacity() * size_of::<u32>()).sum()
    }

    /// Gives all memory back; no stream is left.
    pub(super) fn trim(&mut self) {
        (self.awaiting_budget, self.credit) = Default::default();
    }
}
