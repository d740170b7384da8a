//! Who may hold how much: receive credit, the assembly budget, the send budget.

use super::Session;
use crate::http2::flow::PADDING_ROOM;
use crate::http2::streams::StreamKey;
use crate::planted::{self, Bug};

/// Bytes of a message's prefix: with less of a window than this, no message could ever say how long it is.
const LEAST_WINDOW: u32 = 5;

/// What a window that exceeds its base by `reserved` takes of the assembly budget: the room for padding takes nothing.
/// The peer may use it for its next message, which then waits in line with it.
pub(super) const fn price(reserved: u32) -> u32 {
    reserved.saturating_sub(PADDING_ROOM)
}

impl Session {
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
        let stream = &mut self.streams[slot as usize];
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
        let stream = &mut self.streams[slot as usize];
        if !stream.in_credit
            && !stream.terminal
            && stream.state.can_receive()
            && stream.recv.has_credit(base.saturating_add(stream.reserved))
        {
            stream.in_credit = true;
            self.credit.push_back(slot);
        }
    }

    /// How many bytes of one message a stream may hold.
    pub(crate) fn message_window(&self, key: StreamKey) -> usize {
        let base = self.recv_base.max(self.estimate.stream_window());
        self.stream(key).map_or(0, |stream| base.saturating_add(stream.reserved) as usize)
    }

    pub(super) fn drop_reservation(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
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
        let stream = &mut self.streams[slot as usize];
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
        self.streams[slot as usize].in_line = false;
        self.hungry.retain(|&hungry| hungry != slot);
        self.feed_hungry();
    }

    /// The windows of all streams have grown: messages that wait for the budget want that much less of it.
    pub(super) fn settle_wants(&mut self) {
        let base = self.base_window();
        let streams = &mut self.streams;
        self.hungry.retain(|&slot| {
            let stream = &mut streams[slot as usize];
            stream.in_line = stream.wanted(base) > 0;
            stream.in_line
        });
        self.feed_hungry();
    }

    /// Hands the assembly budget to those who wait for it, in order, each its whole excess.
    pub(super) fn feed_hungry(&mut self) {
        let base = self.base_window();
        while let Some(&slot) = self.hungry.front() {
            let stream = &mut self.streams[slot as usize];
            let reserved = stream.reserved + stream.wanted(base);
            let price = price(reserved) - price(stream.reserved);
            if price > self.assembly_left {
                return;
            }
            self.hungry.pop_front();
            stream.in_line = false;
            self.assembly_left -= price;
            stream.reserved = reserved;
            self.queue_credit(slot);
        }
    }

    /// Gives back what the send queue no longer exceeds its mark by.
    pub(super) fn settle_send_budget(&mut self, slot: u32) {
        let mark = self.limits.send_mark as usize;
        let stream = &mut self.streams[slot as usize];
        if stream.send_reserved == 0 {
            return;
        }
        let needed = (stream.queue.len().saturating_sub(mark) as u32).min(stream.send_reserved);
        let freed = stream.send_reserved - needed;
        stream.send_reserved = needed;
        if planted::is(Bug::SendBudgetLeak) && stream.state.is_closed() {
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
        for slot in 0..self.streams.len() as u32 {
            if self.streams[slot as usize].wants_room
                && self.streams[slot as usize].queue.is_empty()
            {
                self.wake_writer(slot);
            }
        }
    }

    /// A stream has left the line: those that still stand in it keep it from the send budget no more, and what its own
    /// window does not take must be found to stall.
    #[inline]
    pub(super) fn invite_opened(&mut self, slot: u32) {
        let stream = &self.streams[slot as usize];
        if stream.wants_room && stream.queue.is_empty() {
            self.wake_writer(slot);
        }
    }

    /// Queues [`Event::Writable`] if the application waits for it.
    pub(super) fn wake_writer(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        if stream.wants_room && !stream.terminal {
            stream.wants_room = false;
            if planted::is(Bug::WakeupLost) && slot > 0 {
                return;
            }
            let stream = &mut self.streams[slot as usize];
            if !stream.in_writable {
                stream.in_writable = true;
                self.attention = true;
                self.writable.push_back(slot);
            }
        }
    }
}
