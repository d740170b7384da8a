//! Stream records: from the first frame of a stream to the moment when wire and application are done with it.

use super::timers::Timer;
use super::{ResetReason, Session, Side, StreamError};
use crate::http2::error_code::ErrorCode;
use crate::http2::state::{Cause, Input, State};
use crate::http2::stream::Stream;
use crate::http2::stream_key::StreamKey;
use crate::http2::violation::Violation;
use crate::time::Instant;

/// How a stream is closed before both sides have sent END_STREAM.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    /// The peer has sent RST_STREAM.
    Received,
    /// We send RST_STREAM, if anything of the stream has been sent.
    Reset(ErrorCode),
    /// No frame is sent: the peer will not serve the stream, or the connection is over.
    Silent,
}

impl Session {
    /// The stream if it may still be sent on.
    pub(super) fn sendable(&mut self, key: StreamKey) -> Result<&mut Stream, StreamError> {
        match self.streams.get_mut(key) {
            Some(stream) if stream.reported || stream.state().is_closed() => {
                Err(StreamError::Ended)
            }
            Some(stream) if !stream.state().can_send() => Err(StreamError::AfterEnd),
            Some(stream) => Ok(stream),
            None => Err(StreamError::Ended),
        }
    }

    pub(super) fn occupy(&mut self, id: u32, now: Instant) -> StreamKey {
        if self.streams.occupied() == 0 {
            self.timers.on_busy(now);
        }
        self.stats.streams_opened += 1;
        self.streams.occupy(id, self.receive_budget.initial_window(), self.peer.initial_window_size)
    }

    /// Frees a slot that both the wire and the application are done with.
    #[inline]
    pub(super) fn vacate_if_done(&mut self, slot: u32) {
        if !self.streams.vacate_if_done(slot) {
            return;
        }
        self.receive_budget.on_released(self.streams[slot].recv.held());
        if self.streams.occupied() == 0 {
            self.timers.on_idle();
        }
    }

    /// Moves a stream's state as the table says; a stream that is closed by that leaves all queues and budgets.
    ///
    /// Inlined, because the input is known where it is called, which leaves little of the table.
    #[inline]
    pub(super) fn step(&mut self, slot: u32, input: Input) {
        if let Some(State::Closed(cause)) = self.streams[slot].step(input) {
            self.on_closed(slot, cause);
        }
    }

    /// The wire is done with a stream: gives back what it holds, and forgets its identifier.
    #[inline(never)]
    fn on_closed(&mut self, slot: u32, cause: Cause) {
        let stream = &mut self.streams[slot];
        stream.queue.clear(&mut self.pool);
        stream.wants_room = false;
        stream.stalled_since = Instant::NEVER;
        stream.receiving_since = Instant::NEVER;
        if self.schedule.leave_round_robin(stream) {
            self.timers.clear(Timer::Window);
        }
        let id = stream.id;
        if stream.head.is_some() || stream.trailers.is_some() {
            let heads = [core::mem::take(&mut stream.head), core::mem::take(&mut stream.trailers)];
            for head in heads {
                self.blocks.recycle_pending(head);
            }
        }
        self.send_budget.recount(stream);
        let (is_reserved, is_granted) =
            (stream.send_reserved > 0, stream.reserved > 0 || stream.awaits_budget);
        if is_reserved {
            self.settle_send_budget(slot);
        }
        if is_granted {
            self.drop_reservation(slot);
        }
        self.deadlines.remove(slot);
        if id != 0 {
            self.streams.close_id(slot, cause);
        }
    }

    /// Queues a stream that has something new to send.
    #[inline]
    pub(super) fn make_ready(&mut self, slot: u32) {
        self.schedule.make_ready(slot, &mut self.streams[slot]);
    }

    /// Ends a stream on the wire, if it is not closed, and frees its slot if the application is done with it.
    pub(super) fn close_on_wire(&mut self, slot: u32, how: Closing) {
        let stream = &mut self.streams[slot];
        let input = match how {
            Closing::Received => Input::RecvReset,
            // A stream of which nothing has been sent has nothing to reset.
            Closing::Reset(_) if stream.id == 0 => Input::Discard,
            Closing::Reset(_) => Input::SendReset,
            Closing::Silent => Input::Discard,
        };
        stream.reset = match (input, how) {
            (Input::SendReset, Closing::Reset(code)) => Some(code),
            _ => None,
        };
        if stream.id == 0 {
            self.schedule.forget_unopened(slot);
        }
        if !self.streams[slot].state().is_closed() {
            self.step(slot, input);
        }
        if input == Input::SendReset {
            self.make_ready(slot);
        }
        self.vacate_if_done(slot);
    }

    /// Ends a stream that the application has not ended; returns whether the application still expects an event of it.
    ///
    /// At a client that event lets go of the stream. A server's stream keeps its slot until it is released.
    pub(super) fn close_stream(&mut self, slot: u32, how: Closing) -> bool {
        let stream = &mut self.streams[slot];
        let needs_event = !core::mem::replace(&mut stream.reported, true);
        if self.side == Side::Client {
            stream.released = true;
        }
        self.close_on_wire(slot, how);
        needs_event
    }

    /// The peer broke a rule of one stream: it is reset, which the application sees as an event.
    #[cold]
    pub(super) fn violate(&mut self, slot: u32, violation: Violation) {
        if self.streams[slot].state().is_closed() {
            return;
        }
        if self.side == Side::Server {
            // It counts like a reset of the peer's, when events are polled.
            self.guard.on_violation();
            self.events.want();
        }
        let key = self.streams.key_of(slot);
        if self.close_stream(slot, Closing::Reset(violation.code())) {
            self.events.push_end(key, ResetReason::Violation(violation));
        }
    }
}
