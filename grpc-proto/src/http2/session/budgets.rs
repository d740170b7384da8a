//! Who may hold how much: receive credit, the assembly budget, the send budget.

use super::Session;
use crate::http2::flow::PADDING_ROOM;
use crate::http2::stream_key::StreamKey;
use crate::planted::{self, Bug};

/// Bytes of a message's prefix: with less of a window than this, no message could ever say how long it is.
const LEAST_WINDOW: u32 = 5;

/// What a window that exceeds its base by `reserved` takes of the assembly budget: the room for padding takes nothing.
/// The peer may use it for its next message, which then waits in line with it.
pub(super) const fn price(reserved: u32) -> u32 {
    reserved.saturating_sub(PADDING_ROOM)
}

/// What a connection may reserve of its budgets, set by [`Connection::allot`](crate::Connection::allot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// Bytes of [`Limits::assembly_budget`](crate::Limits::assembly_budget).
    pub assembly: u32,
    /// Bytes of [`Limits::send_budget`](crate::Limits::send_budget).
    pub send: u32,
}

impl Allotment {
    /// Only the limits of the connection count.
    pub const UNLIMITED: Self = Allotment { assembly: u32::MAX, send: u32::MAX };
}

/// What a connection holds and wants, in bytes; see [`Connection::usage`](crate::Connection::usage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Received and not given back: messages under way with the memory that was taken for them, and messages that were
    /// handed out and not granted yet ([`Limits::manual_credit`](crate::Limits::manual_credit)).
    pub received: usize,
    /// Queued to be sent. A message counts whole until its last byte has left, because its memory does not go before.
    pub queued: usize,
    /// Kept for reuse, in the connection's pool.
    pub pooled: usize,
    /// What is reserved of the assembly budget.
    pub assembly: u32,
    /// What [`Allotment::assembly`] must be at least for the next message to be received: more than is allotted if a
    /// message waits for that alone, otherwise 0.
    pub assembly_wanted: u32,
    /// What is reserved of the send budget.
    pub send: u32,
    /// The same as `assembly_wanted` for [`Allotment::send`].
    pub send_wanted: u32,
}

impl Session {
    /// Sets what may be reserved of the budgets from now on. What exceeds it stays reserved until it is given back.
    pub fn allot(&mut self, allotment: Allotment) {
        self.allotted = allotment;
        self.send_refused = 0;
        self.feed_hungry();
        self.wake_starved();
    }

    /// What was allotted last.
    pub fn allotted(&self) -> Allotment {
        self.allotted
    }

    /// What the connection holds and wants.
    pub fn usage(&self) -> Usage {
        let assembly = self.limits.assembly_budget - self.assembly_left;
        Usage {
            received: self.held,
            queued: self.queued,
            pooled: self.pool.heap_bytes(),
            assembly,
            assembly_wanted: self.assembly_wanted(assembly),
            send: self.send_outstanding,
            send_wanted: match self.send_refused {
                0 => 0,
                refused => self.send_outstanding.saturating_add(refused),
            },
        }
    }

    /// What of the assembly budget may be reserved now.
    #[inline]
    fn assembly_room(&self) -> u32 {
        let taken = self.limits.assembly_budget - self.assembly_left;
        self.assembly_left.min(self.allotted.assembly.saturating_sub(taken))
    }

    /// What must be allotted for the first in line to go on, if nothing else holds it up.
    fn assembly_wanted(&self, taken: u32) -> u32 {
        let Some(&slot) = self.hungry.front() else { return 0 };
        let stream = &self.streams[slot];
        let reserved = stream.reserved + stream.wanted(self.base_window());
        let price = price(reserved) - price(stream.reserved);
        if price > self.assembly_left { 0 } else { taken + price }
    }

    /// Brings the sum of all send queues up to date after a change of this one.
    #[inline]
    pub(super) fn recount(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        let counted = stream.queue.held();
        self.queued = self.queued + counted - core::mem::replace(&mut stream.counted, counted);
    }

    /// What a stream may receive without a reservation.
    #[inline]
    pub(super) fn base_window(&self) -> u32 {
        self.estimate.stream_window().max(LEAST_WINDOW)
    }

    /// Opens the window of a new stream as far as a message's prefix needs, where SETTINGS have not.
    #[inline]
    pub(super) fn open_for_prefix(&mut self, slot: u32) {
        if self.estimate.stream_window() < LEAST_WINDOW {
            self.queue_credit(slot);
        }
    }

    /// Re-derives how much of its reservation a stream still needs, and queues its credit.
    ///
    /// That is what its message was granted, or what the peer has sent and may send already. While the message is in
    /// line only the latter: who waits keeps nothing from those that it waits for. Once the application is done with
    /// what came before, that is within the room for padding, which is in no budget.
    pub(super) fn settle_credit(&mut self, slot: u32) {
        let base = self.base_window();
        let stream = &mut self.streams[slot];
        if stream.reserved > 0 {
            let granted = if stream.in_line { 0 } else { stream.expected.saturating_sub(base) };
            let open = stream.recv.open_to().saturating_sub(base);
            let needed = granted.max(open).min(stream.reserved);
            let freed = price(stream.reserved) - price(needed);
            stream.reserved = needed;
            if freed > 0 {
                self.assembly_left += freed;
                self.feed_hungry();
            }
        }
        self.queue_credit(slot);
    }

    pub(super) fn queue_credit(&mut self, slot: u32) {
        let base = self.base_window();
        let stream = &mut self.streams[slot];
        if !stream.in_credit
            && !stream.reported
            && stream.state().can_receive()
            && stream.recv.has_credit(base.saturating_add(stream.reserved))
        {
            stream.in_credit = true;
            self.credit.push_back(slot);
        }
    }

    /// How many bytes of one message a stream may hold.
    pub(crate) fn message_window(&self, key: StreamKey) -> usize {
        let base = self.recv_base.max(self.estimate.stream_window());
        self.streams.get(key).map_or(0, |stream| base.saturating_add(stream.reserved) as usize)
    }

    pub(super) fn drop_reservation(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        let freed = price(core::mem::take(&mut stream.reserved));
        self.assembly_left += if planted::is(Bug::ReservationLeak) { 0 } else { freed };
        if stream.in_line {
            self.leave_line(slot);
        } else if freed > 0 {
            self.feed_hungry();
        }
    }

    /// A message has begun, and its stream's window is to open for it: at once where that is in no budget, else as soon
    /// as the budget has it whole, in the order of asking.
    pub(super) fn claim(&mut self, slot: u32) {
        let base = self.base_window();
        let stream = &mut self.streams[slot];
        let wanted = stream.wanted(base);
        if wanted == 0 {
            return;
        }
        if price(stream.reserved + wanted) == price(stream.reserved) {
            stream.reserved += wanted;
            return self.queue_credit(slot);
        }
        stream.in_line = true;
        self.hungry.push_back(slot);
        self.feed_hungry();
    }

    /// A stream waits for the assembly budget no more.
    pub(super) fn leave_line(&mut self, slot: u32) {
        self.streams[slot].in_line = false;
        self.hungry.retain(|&hungry| hungry != slot);
        self.feed_hungry();
    }

    /// The windows of all streams have grown: messages that wait for the budget want that much less of it.
    pub(super) fn settle_wants(&mut self) {
        let base = self.base_window();
        let streams = &mut self.streams;
        self.hungry.retain(|&slot| {
            let stream = &mut streams[slot];
            stream.in_line = stream.wanted(base) > 0;
            stream.in_line
        });
        self.feed_hungry();
    }

    /// Hands the assembly budget to those who wait for it, in order, each its whole excess.
    pub(super) fn feed_hungry(&mut self) {
        let base = self.base_window();
        while let Some(&slot) = self.hungry.front() {
            let stream = &self.streams[slot];
            let reserved = stream.reserved + stream.wanted(base);
            let price = price(reserved) - price(stream.reserved);
            if price > self.assembly_room() {
                return;
            }
            self.hungry.pop_front();
            let stream = &mut self.streams[slot];
            stream.in_line = false;
            self.assembly_left -= price;
            stream.reserved = reserved;
            self.queue_credit(slot);
        }
    }

    /// Gives back what the send queue no longer exceeds its mark by.
    pub(super) fn settle_send_budget(&mut self, slot: u32) {
        let mark = self.limits.send_mark as usize;
        let stream = &mut self.streams[slot];
        if stream.send_reserved == 0 {
            return;
        }
        // A message whose last byte waits takes its whole memory.
        let needed = (stream.queue.held().saturating_sub(mark) as u32).min(stream.send_reserved);
        let freed = stream.send_reserved - needed;
        stream.send_reserved = needed;
        if planted::is(Bug::SendBudgetLeak) && stream.state().is_closed() {
            return;
        }
        if stream.id == 0 {
            self.send_waiting -= freed;
        }
        self.send_outstanding -= freed;
        self.send_left = self.limits.send_budget.saturating_sub(self.send_outstanding);
        if freed > 0 && needed == 0 {
            self.wake_starved();
        }
    }

    /// The send budget has room again: lets those try whose large message was refused.
    pub(super) fn wake_starved(&mut self) {
        for slot in 0..self.streams.slots() {
            if self.streams[slot].wants_room && self.streams[slot].queue.is_empty() {
                self.wake_writer(slot);
            }
        }
    }

    /// A stream has left the line: those that still stand in it keep it from the send budget no more, and what its own
    /// window does not take must be found to stall.
    #[inline]
    pub(super) fn invite_opened(&mut self, slot: u32) {
        let stream = &self.streams[slot];
        if stream.wants_room && stream.queue.is_empty() {
            self.wake_writer(slot);
        }
    }

    /// Queues [`Event::Writable`] if the application waits for it.
    pub(super) fn wake_writer(&mut self, slot: u32) {
        let stream = &mut self.streams[slot];
        if stream.wants_room && !stream.reported {
            stream.wants_room = false;
            if planted::is(Bug::WakeupLost) && slot > 0 {
                return;
            }
            let stream = &mut self.streams[slot];
            if !stream.in_writable {
                stream.in_writable = true;
                self.events.push_writable(slot);
            }
        }
    }
}
