//! Who may hold how much: receive credit, the assembly budget, the send budget.

use super::Session;
use crate::http2::streams::StreamKey;
use crate::planted::{self, Bug};
use crate::time::Instant;

/// Bytes of a message's prefix: with less of a window than this, no message could ever say how long it is.
const LEAST_WINDOW: u32 = 5;

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
    pub(super) fn settle_credit(&mut self, slot: u32) {
        let base = self.base_window();
        let stream = &mut self.streams[slot as usize];
        if stream.reserved > 0 && stream.receiving_since == Instant::NEVER {
            let needed = stream.recv.held().saturating_sub(base).min(stream.reserved);
            let freed = stream.reserved - needed;
            stream.reserved = needed;
            self.assembly_left += freed;
            self.feed_hungry();
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
        let freed = core::mem::take(&mut stream.reserved);
        self.assembly_left += if planted::is(Bug::ReservationLeak) { 0 } else { freed };
        if stream.wanted > 0 {
            self.want_no_more(slot);
        } else if freed > 0 {
            self.feed_hungry();
        }
    }

    /// A stream waits for the assembly budget no more.
    pub(super) fn want_no_more(&mut self, slot: u32) {
        self.streams[slot as usize].wanted = 0;
        self.hungry.retain(|&hungry| hungry != slot);
        self.feed_hungry();
    }

    /// The windows of all streams have grown by `bytes`: messages that wait for the budget want that much less of it.
    pub(super) fn settle_wants(&mut self, bytes: u32) {
        let streams = &mut self.streams;
        self.hungry.retain(|&slot| {
            let wanted = &mut streams[slot as usize].wanted;
            *wanted = wanted.saturating_sub(bytes);
            *wanted > 0
        });
        self.feed_hungry();
    }

    /// Hands the assembly budget to those who wait for it, in order, each its whole excess.
    pub(super) fn feed_hungry(&mut self) {
        while let Some(&slot) = self.hungry.front() {
            let stream = &mut self.streams[slot as usize];
            if stream.wanted > self.assembly_left {
                return;
            }
            self.hungry.pop_front();
            self.assembly_left -= stream.wanted;
            stream.reserved += core::mem::take(&mut stream.wanted);
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
