//! How connections end: failures, GOAWAY and the drain.

use super::ending::{GRACEFUL, MAX_AGE, MAX_IDLE};
use super::lifecycle::Closing;
use super::poll::Step;
use super::timers::Timer;
use super::{ConnectionError, Foreign, ResetReason, Session, Side};
use crate::http2::CloseReason;
use crate::http2::error_code::ErrorCode;
use crate::http2::violation::Violation;
use crate::time::Instant;

impl Session {
    /// The transport has ended: every open stream gets its last event, then [`Session::poll`] fails.
    pub fn close_read(&mut self) {
        if !self.ending.is_over() {
            let error = match (self.is_drained(), self.reader.foreign_rest(self.side)) {
                (_, Some(foreign)) => ConnectionError::NotHttp2(foreign),
                (true, None) => ConnectionError::Drained,
                (false, None) => ConnectionError::Closed(self.goaway_received()),
            };
            self.fail(error);
        }
    }

    /// Ends the connection, if it has not ended, and returns whether it does.
    fn fail(&mut self, error: ConnectionError) -> bool {
        let is_first = self.ending.fail(error);
        if is_first {
            self.events.want();
        }
        is_first
    }

    /// The debug data of the peer's last GOAWAY as text: why it goes, in its own words; empty where it gave none.
    ///
    /// At most 256 bytes are kept. What is no UTF-8, and control characters, are replaced by U+FFFD, so that it can be
    /// written to a log as it is; it is still the peer's text, and nothing to act upon (RFC 9113 §6.8).
    pub fn goaway_debug_data(&self) -> &str {
        self.ending.received_debug()
    }

    /// The last stream and the code of the peer's last GOAWAY, which has come.
    #[cold]
    pub(crate) fn last_goaway(&self) -> (u32, ErrorCode) {
        self.ending.received().unwrap_or((u32::MAX, ErrorCode::NO_ERROR))
    }

    /// The code of the peer's last GOAWAY, if one has come.
    pub fn goaway_received(&self) -> Option<ErrorCode> {
        self.ending.received().map(|(_, code)| code)
    }

    /// Server: sets what a client that speaks HTTP/1 is sent, a whole response of HTTP/1, before the connection ends.
    /// Without it that is 505 with a sentence of plain text.
    pub fn set_http1_answer(&mut self, response: &'static [u8]) {
        self.http1_answer = response;
    }

    /// Closes at once: GOAWAY with `code`, every open stream ends.
    pub fn close(&mut self, code: ErrorCode) {
        self.fail_with(ConnectionError::ClosedByUs(code), code, "");
    }

    /// Drains: streams that are open go on, new ones are not accepted.
    ///
    /// A server announces it with GOAWAY(2³¹ − 1) and a PING, and names the last stream when the PING
    /// is acknowledged, so that no request that is under way is lost (RFC 9113 §6.8). Where the client's preface has not come
    /// whole, there is nothing to wait for: one GOAWAY names stream 0, and the drain is done once that is pulled. A client says GOAWAY behind the
    /// head of the last call that it has accepted: a server that has heard it may close as soon as it has no calls.
    pub fn shutdown(&mut self, now: Instant) {
        self.drain(GRACEFUL, now);
    }

    /// Drains for a reason that GOAWAY names in its debug data: one of those in [`ending`](super::ending).
    pub(super) fn drain(&mut self, reason: &'static str, now: Instant) {
        if !self.ending.begin_drain(reason) {
            return;
        }
        if self.timers.is_set(Timer::Preface) {
            // A client whose preface has not come has no call to be waited for. If it is under way, the GOAWAY says that
            // no stream was processed, so that its calls can be retried elsewhere.
            self.release_settings(now);
            self.send_last_goaway();
            return;
        }
        if let Some(grace) = self.limits.drain_grace {
            self.timers.set(Timer::Drain, now + grace);
        }
        if self.side == Side::Server {
            self.control.goaway(0x7fff_ffff, ErrorCode::NO_ERROR, reason);
            let payload = self.drain_payload();
            self.control.ping(payload);
            self.timers.set(Timer::DrainPing, now + self.limits.keepalive_timeout);
        }
    }

    /// Whether a drain has begun here, because of [`shutdown`](Self::shutdown) or of an age or idle time in the limits.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.ending.is_draining()
    }

    /// Whether a client that drains has sent all the heads that there will be, and is still to say so.
    #[inline]
    pub(super) fn owes_goaway(&self) -> bool {
        self.ending.is_draining()
            && self.side == Side::Client
            && self.ending.sent().is_none()
            && self.schedule.unopened() == 0
            && !self.ending.is_over()
    }

    /// The round trip of the drain is over: names the last stream that will be served.
    pub(super) fn send_last_goaway(&mut self) {
        self.timers.clear(Timer::DrainPing);
        if self.ending.sent().is_none() {
            let (last, reason) = (self.streams.last_peer_id(), self.ending.drain_reason());
            self.ending.on_sent(last);
            self.control.goaway(last, ErrorCode::NO_ERROR, reason);
        }
    }

    /// Whether a drain, or the peer's GOAWAY, has left nothing to do: the transport may be closed.
    pub fn is_drained(&self) -> bool {
        let announced = match self.side {
            Side::Server => self.ending.sent().is_some() || self.ending.received().is_some(),
            Side::Client => self.ending.is_draining() || self.ending.received().is_some(),
        };
        announced && self.streams.occupied() == 0 && self.control.is_empty() && !self.owes_goaway()
    }

    /// Whether neither end has said that it goes, and a client may open streams. A server that drains still accepts those
    /// that were under way.
    pub fn is_open(&self) -> bool {
        !self.ending.is_over() && !self.ending.is_draining() && self.ending.received().is_none()
    }

    /// What ended the connection, if anything has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.ending.error()
    }

    /// Why the connection has ended, or may be ended because a drain has left nothing to do; `None` while it goes on.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.ending.error() {
            Some(ConnectionError::Drained) => Some(self.drained_for()),
            Some(error) => Some(error.into()),
            None => self.is_drained().then(|| self.drained_for()),
        }
    }

    fn drained_for(&self) -> CloseReason {
        match self.ending.drain_reason() {
            _ if !self.ending.is_draining() => CloseReason::PeerGoAway,
            MAX_IDLE => CloseReason::MaxIdle,
            MAX_AGE => CloseReason::MaxAge,
            _ => CloseReason::Drained,
        }
    }

    /// The peer broke a rule of the connection.
    #[cold]
    pub(super) fn misbehaved(&mut self, violation: Violation, input: &mut &[u8]) {
        *input = &[];
        if violation == Violation::Http1Request {
            // Not HTTP/2, so no GOAWAY either: an answer that an HTTP/1 client can show. It stands alone unless our SETTINGS
            // were pulled before, because the client took longer than they are held or they are not; a person or a lenient
            // client can still read it behind them.
            self.control.replace(self.http1_answer);
            self.fail(ConnectionError::PeerMisbehaved(violation));
            return;
        }
        if let Some(error) = self.blocks.take_error() {
            let text = error.as_str();
            self.fail_with(ConnectionError::Compression(error), violation.code(), text);
            return;
        }
        let error = ConnectionError::PeerMisbehaved(violation);
        self.fail_with(error, violation.code(), violation.rule());
    }

    /// The peer speaks another protocol: no frame of ours would be understood.
    #[cold]
    pub(super) fn fail_foreign(&mut self, foreign: Foreign) {
        if self.fail(ConnectionError::NotHttp2(foreign)) {
            self.control.clear();
        }
    }

    /// The time is over for which SETTINGS are held back. What can be no preface any more gets its answer when enough of it is
    /// there, and no frame.
    pub(super) fn end_hold(&mut self, now: Instant) {
        self.timers.clear(Timer::SettingsHold);
        if self.reader.may_be_http2() {
            self.release_settings(now);
        }
    }

    /// Queues SETTINGS that are held back: the client speaks HTTP/2, their time is over, or a frame is to follow them.
    #[cold]
    pub(super) fn release_settings(&mut self, now: Instant) {
        if self.control.release_settings(&self.limits) {
            self.timers.on_settings_released(&self.limits, now);
        }
    }

    #[cold]
    pub(super) fn fail_with(&mut self, error: ConnectionError, code: ErrorCode, debug: &str) {
        if self.fail(error) {
            // SETTINGS are the first frame, whatever follows (RFC 9113 §3.4).
            self.release_settings(self.timers.now());
            self.control.goaway(self.streams.last_peer_id(), code, debug);
        }
    }

    /// The event of the next open stream that ends with the connection, then the error itself.
    #[cold]
    pub(super) fn poll_failed(&mut self) -> Result<Option<Step>, ConnectionError> {
        let Some(error) = self.ending.error().cloned() else { return Ok(None) };
        // All of them end here, and none has to be looked for in the queue.
        self.schedule.clear_unopened();
        while let Some(slot) = self.ending.next_slot(self.streams.slots()) {
            let stream = &self.streams[slot];
            if !stream.occupied {
                continue;
            }
            let sent = stream.id != 0;
            let key = self.streams.key_of(slot);
            if self.close_stream(slot, Closing::Silent) {
                let reason = match sent {
                    true => ResetReason::Connection(error),
                    false => ResetReason::NeverSent(error),
                };
                return Ok(Some(self.report_reset(key, reason)));
            }
        }
        // Nothing is received or sent any more, and the last bytes may take a while to leave.
        self.pool.shrink();
        self.blocks.drop_lists();
        Err(error)
    }

    /// The next stream above the last one of the peer's GOAWAY: it was never processed.
    #[cold]
    pub(super) fn poll_refused(&mut self) -> Option<Step> {
        let (last, code) = self.ending.received()?;
        while let Some(slot) = self.ending.next_slot(self.streams.slots()) {
            let stream = &self.streams[slot];
            let refused = stream.id == 0 || stream.id > last;
            if !stream.occupied || stream.state().is_closed() || !refused {
                continue;
            }
            let sent = stream.id != 0;
            let key = self.streams.key_of(slot);
            if self.close_stream(slot, Closing::Silent) {
                let reason = match sent {
                    true => ResetReason::GoAway(code),
                    false => ResetReason::NeverSent(ConnectionError::Closed(Some(code))),
                };
                return Some(self.report_reset(key, reason));
            }
        }
        self.ending.end_sweep();
        None
    }
}

/// What a client of HTTP/1 gets unless [`Session::set_http1_answer`] says otherwise.
pub(super) const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
content-type: text/plain\r\nconnection: close\r\ncontent-length: 49\r\n\r\n\
This server speaks HTTP/2 with prior knowledge.\r\n";
