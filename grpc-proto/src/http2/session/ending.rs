//! How far a connection is on its way to its end: what has failed, and which GOAWAYs were sent and received.

use alloc::boxed::Box;
use alloc::string::String;

use super::ConnectionError;
use crate::http2::error_code::ErrorCode;
use crate::http2::violation::Violation;

/// Debug data of GOAWAY when the application drains.
pub(super) const GRACEFUL: &str = "graceful shutdown";
/// Debug data of GOAWAY after [`crate::Limits::max_idle`] (gRFC A9).
pub(super) const MAX_IDLE: &str = "max_idle";
/// Debug data of GOAWAY after [`crate::Limits::max_age`] (gRFC A9).
pub(super) const MAX_AGE: &str = "max_age";

/// What is kept of the peer's debug data: a sentence or two.
const DEBUG_DATA: usize = 256;

/// The end of a connection, as far as it has come.
#[derive(Debug)]
pub(super) struct Ending {
    /// What has ended the connection.
    error: Option<ConnectionError>,
    /// The next slot whose stream is to be ended because of that, or because of the peer's GOAWAY.
    sweep: u32,
    /// Streams that the peer's GOAWAY refuses may be left.
    sweeps_refused: bool,
    /// The last stream and the code of the peer's last GOAWAY.
    received: Option<(u32, ErrorCode)>,
    /// Its debug data as text.
    received_debug: Box<str>,
    /// The last stream that our GOAWAY has named.
    sent: Option<u32>,
    /// A drain has begun here, for this reason.
    drain: Option<&'static str>,
}

impl Ending {
    pub(super) fn new() -> Self {
        Ending {
            error: None,
            sweep: u32::MAX,
            sweeps_refused: false,
            received: None,
            received_debug: Box::default(),
            sent: None,
            drain: None,
        }
    }

    // --- Failures ---

    /// What has ended the connection, if anything has.
    #[inline]
    pub(super) fn error(&self) -> Option<&ConnectionError> {
        self.error.as_ref()
    }

    /// Whether the connection is over.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.error.is_some()
    }

    /// Ends the connection, and starts the sweep over its streams. `false`: it had ended before, and nothing is changed.
    pub(super) fn fail(&mut self, error: ConnectionError) -> bool {
        let is_first = self.error.is_none();
        if is_first {
            self.error = Some(error);
            self.sweep = 0;
        }
        is_first
    }

    /// The next slot of the sweep, below `slots`.
    pub(super) fn next_slot(&mut self, slots: u32) -> Option<u32> {
        let slot = self.sweep;
        let is_left = slot < slots;
        self.sweep += u32::from(is_left);
        is_left.then_some(slot)
    }

    // --- The peer's GOAWAY ---

    /// GOAWAY was received. Where `sweeps`, streams above the last one that it names are to be ended.
    pub(super) fn on_goaway(
        &mut self,
        last: u32,
        code: ErrorCode,
        debug: &[u8],
        sweeps: bool,
    ) -> Result<(), Violation> {
        if self.received.is_some_and(|(before, _)| last > before) {
            return Err(Violation::GoAwayRaised);
        }
        self.received = Some((last, code));
        self.received_debug = readable(debug);
        if sweeps {
            (self.sweeps_refused, self.sweep) = (true, 0);
        }
        Ok(())
    }

    /// The last stream and the code of the peer's last GOAWAY.
    #[inline]
    pub(super) fn received(&self) -> Option<(u32, ErrorCode)> {
        self.received
    }

    /// The debug data of the peer's last GOAWAY as text.
    pub(super) fn received_debug(&self) -> &str {
        &self.received_debug
    }

    /// Whether streams that the peer's GOAWAY refuses may be left.
    #[inline]
    pub(super) fn sweeps_refused(&self) -> bool {
        self.sweeps_refused
    }

    /// No stream is left that the peer's GOAWAY refuses.
    pub(super) fn end_sweep(&mut self) {
        self.sweeps_refused = false;
    }

    // --- Ours ---

    /// Begins a drain. `false`: one has begun, or the connection is over, and nothing is changed.
    pub(super) fn begin_drain(&mut self, reason: &'static str) -> bool {
        let begins = self.drain.is_none() && self.error.is_none();
        if begins {
            self.drain = Some(reason);
        }
        begins
    }

    /// Whether a drain has begun here.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Debug data of the GOAWAYs of the drain.
    pub(super) fn drain_reason(&self) -> &'static str {
        self.drain.unwrap_or(GRACEFUL)
    }

    /// A GOAWAY that names this stream as the last one is sent.
    pub(super) fn on_sent(&mut self, last: u32) {
        self.sent = Some(last);
    }

    /// The last stream that our GOAWAY has named, if it has named one; the announcement of a drain does not.
    #[inline]
    pub(super) fn sent(&self) -> Option<u32> {
        self.sent
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.received_debug.len()
    }
}

/// Debug data as text for a log: bounded, and with nothing in it that would steer a terminal.
#[cold]
fn readable(debug: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&debug[..debug.len().min(DEBUG_DATA)]);
    let mut plain = String::new();
    for c in text.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if plain.len() + c.len_utf8() > DEBUG_DATA {
            break;
        }
        plain.push(c);
    }
    plain.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts_and_starts_the_sweep() {
        let mut ending = Ending::new();
        assert_eq!(ending.next_slot(2), None);
        assert!(ending.fail(ConnectionError::Drained));
        assert_eq!([(); 3].map(|()| ending.next_slot(2)), [Some(0), Some(1), None]);
        assert!(!ending.fail(ConnectionError::Closed(None)));
        assert_eq!(ending.error(), Some(&ConnectionError::Drained));
        assert_eq!(ending.next_slot(2), None, "what was swept stays so");
    }

    #[test]
    fn the_last_stream_of_goaway_may_fall_and_not_rise() {
        let mut ending = Ending::new();
        for last in [7, 7, 5] {
            assert_eq!(ending.on_goaway(last, ErrorCode::NO_ERROR, b"", true), Ok(()));
        }
        let raised = ending.on_goaway(7, ErrorCode::CANCEL, b"x", true);
        assert_eq!(raised, Err(Violation::GoAwayRaised));
        assert_eq!(ending.received(), Some((5, ErrorCode::NO_ERROR)));
        assert_eq!(ending.received_debug(), "");
    }
}
