//! The next event: from input, from time, or from what happened before.

use super::timers::Timer;
use super::{ConnectionError, Event, ResetReason, Session};
use crate::http2::ErrorCode;
use crate::http2::fields::Part;
use crate::http2::stream_key::StreamKey;
use crate::time::Instant;

/// The kind of the next [`Event`]. Its parts are in [`Session::event`] and [`Session::received`]: a single byte is returned
/// through six nested `Result`s in a register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Headers,
    Data,
    End,
    Reset,
    Deadline,
    Writable,
    GoAway,
}

/// The parts of the last event, but for its fields.
#[derive(Debug)]
pub(crate) struct EventParts {
    /// Of any but [`Step::GoAway`].
    pub(crate) key: StreamKey,
    /// Of [`Step::Headers`].
    pub(crate) part: Part,
    /// Likewise.
    pub(crate) end_stream: bool,
    /// Of [`Step::Reset`].
    pub(crate) reset: ResetReason,
}

impl EventParts {
    pub(super) const fn none() -> Self {
        EventParts {
            key: StreamKey::new(0, 0),
            part: Part::Request,
            end_stream: false,
            reset: ResetReason::Peer(ErrorCode::NO_ERROR),
        }
    }
}

impl Session {
    /// Takes the next event out of `input`, which is advanced past what was understood.
    ///
    /// `None` with empty input: more input is needed. `None` with input left: output must be pulled
    /// first, because replies or new streams have reached their limit. Empty input is how time alone
    /// passes.
    ///
    /// # Errors
    /// What ended the connection, again and again, after every open stream has had its last event.
    pub fn poll(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Event>, ConnectionError> {
        let Some(step) = self.poll_step(input, now)? else { return Ok(None) };
        let key = self.event.key;
        Ok(Some(match step {
            Step::Headers => Event::Headers {
                stream: key,
                part: self.event.part,
                status: self.received_status(),
                fields: self.take_received(),
                end_stream: self.event.end_stream,
            },
            Step::Data => Event::Data(key),
            Step::End => Event::End(key),
            Step::Reset => Event::Reset(key, self.event.reset.clone()),
            Step::Deadline => Event::Deadline(key),
            Step::Writable => Event::Writable(key),
            Step::GoAway => {
                let (last_stream, code) = self.last_goaway();
                Event::GoAway { last_stream, code }
            }
        }))
    }

    /// The next event is one of this stream.
    #[inline]
    pub(super) fn report(&mut self, step: Step, key: StreamKey) -> Step {
        self.event.key = key;
        step
    }

    /// The next event is that a stream ended before its time.
    pub(super) fn report_reset(&mut self, key: StreamKey, reason: ResetReason) -> Step {
        self.event.reset = reason;
        self.report(Step::Reset, key)
    }

    /// The next event is a field block.
    #[inline]
    pub(super) fn report_headers(&mut self, key: StreamKey, part: Part, end_stream: bool) -> Step {
        (self.event.part, self.event.end_stream) = (part, end_stream);
        self.report(Step::Headers, key)
    }

    /// As [`Session::poll`], but leaves the fields of a head in [`Session::received`].
    pub(crate) fn poll_step(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Step>, ConnectionError> {
        self.run_timers(!input.is_empty(), now);
        loop {
            // What a frame led to comes before what the next one does, however the bytes were cut.
            if self.needs_attention(now)
                && let Some(step) = self.poll_pending(now)?
            {
                return Ok(Some(step));
            }
            match self.read(input, now) {
                Ok(None) if self.events.are_wanted() => {}
                Ok(None) => {
                    // The last stream may have gone with what was just read: its time is now, however the bytes were
                    // cut, and whether or not there is output to be pulled.
                    if self.timers.became_idle() {
                        self.start_idling(now);
                    }
                    self.guard.on_poll(!input.is_empty());
                    // Input that is left waits for a pull too.
                    if !self.timers.is_set(Timer::Backlog)
                        && (!input.is_empty() || self.has_output())
                    {
                        self.note_backlog(now);
                    }
                    return Ok(None);
                }
                Ok(step) => return Ok(step),
                Err(violation) => self.misbehaved(violation, input),
            }
        }
    }

    /// The parts of the last event.
    #[inline]
    pub(crate) fn event(&self) -> &EventParts {
        &self.event
    }
}
