//! A connection of HTTP/1.1: requests one after the other, those of gRPC-Web as calls of the server behind it.

use std::task::Context;

use grpc_proto::http2::{Session, StreamKey};
use grpc_proto::{ConnectionError, ErrorCode, Instant, TimedOut, Transmit};
use grpc_service::{Endpoint, OUT_MARK};

use super::exchange::Exchange;
use crate::call::{Call, End};
use crate::fault::Fault;
use crate::inner::Inner;
use crate::options::Web;

/// A connection whose peer speaks HTTP/1.1.
///
/// ```text
///   Head ──(plain)──> answered ──> Head
///    │ (gRPC-Web)
///    └──> Call: body ──> stream of `inner` ──> response ──> Head, or Over
/// ```
pub(crate) struct Http1<E, M> {
    pub(super) web: Web,
    pub(super) is_secure: bool,
    /// Makes the server's endpoint for the first call: a probe of `/healthz` costs none.
    pub(super) make: Option<M>,
    pub(super) inner: Option<Inner<E>>,
    pub(super) state: State,
    /// A head that came in pieces, and how much of it was searched for its end.
    pub(super) head: Vec<u8>,
    pub(super) searched: usize,
    pub(super) call: Call,
    pub(super) exchange: Exchange,
    /// When the state has lasted too long.
    pub(super) timer: Instant,
    /// When a full output has waited too long.
    stalled: Instant,
    /// Input is left that the call does not take now.
    holds: bool,
    /// No request is served after this one.
    pub(super) closing: bool,
    eof: bool,
    aborted: bool,
    error: Option<ConnectionError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Between requests, or within a head.
    Head,
    /// A call runs.
    Call,
    /// The last response was made.
    Over,
}

impl<E: Endpoint, M: FnOnce() -> E> Http1<E, M> {
    /// A connection whose first bytes, `begun`, came by `now`.
    pub(crate) fn new(web: Web, is_secure: bool, make: M, begun: &[u8], now: Instant) -> Self {
        let timer = now + web.limits.head_timeout;
        Http1 {
            web,
            is_secure,
            make: Some(make),
            inner: None,
            state: State::Head,
            head: begun.to_vec(),
            searched: 0,
            call: Call::empty(),
            exchange: Exchange::none(),
            timer,
            stalled: Instant::NEVER,
            holds: false,
            closing: false,
            eof: false,
            aborted: false,
            error: None,
        }
    }

    /// Takes input, runs the calls, appends output.
    pub(crate) fn turn(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.holds = false;
        self.run_timers(out, cx, now)?;
        let mut ran = false;
        loop {
            let goes_on = match self.state {
                State::Over => {
                    *input = &[];
                    break;
                }
                State::Head => out.len() < OUT_MARK && self.read_head(input, out, now),
                State::Call => {
                    ran = true;
                    self.run(input, out, cx, now)
                }
            };
            if !goes_on {
                break;
            }
        }
        if self.eof || self.aborted {
            return self.end(cx, now);
        }
        if let Some(inner) = &mut self.inner
            && !ran
        {
            inner.exchange(cx, now, |_, _, _| {});
            if !inner.is_open() && self.head.is_empty() && self.state == State::Head {
                // The server ends its connections: by age, say.
                self.state = State::Over;
            }
            if inner.trim() && self.state == State::Head && self.head.is_empty() {
                self.head = Vec::new();
                self.exchange.shrink();
                self.call.shrink();
            }
        }
        Ok(())
    }

    /// The transport has no more input, or everything is to end.
    fn end(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), ConnectionError> {
        let is_idle =
            self.state == State::Over || (self.state == State::Head && self.head.is_empty());
        self.state = State::Over;
        self.end_inner(cx, now);
        if is_idle {
            return Ok(());
        }
        let error = match self.aborted {
            true => ConnectionError::ClosedByUs(ErrorCode::NO_ERROR),
            false => ConnectionError::Closed(None),
        };
        self.error = Some(error.clone());
        Err(error)
    }

    /// Ends the server's connection: a client that is gone does not wait for its call.
    fn end_inner(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(inner) = &mut self.inner {
            if self.aborted {
                inner.abort(now)
            } else {
                inner.close_read(now)
            }
            inner.exchange(cx, now, |_, _, _| {});
        }
    }

    fn run_timers(
        &mut self,
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if out.len() < OUT_MARK {
            self.stalled = Instant::NEVER;
        } else if self.stalled == Instant::NEVER {
            self.stalled = now + self.web.limits.stall_timeout;
        } else if now >= self.stalled {
            let error = ConnectionError::TimedOut(TimedOut::Backlog);
            self.error = Some(error.clone());
            self.end_inner(cx, now);
            return Err(error);
        }
        if now >= self.timer {
            match self.state {
                State::Head if self.head.is_empty() => self.state = State::Over,
                State::Head => self.refuse(Fault::SlowHead, out),
                State::Call => self.break_off(Fault::SlowBody, out),
                State::Over => {}
            }
            self.timer = Instant::NEVER;
        }
        Ok(())
    }

    // --- Calls ---

    /// Lets the call go on; false if it waits.
    fn run(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> bool {
        loop {
            let before = input.len();
            let fed = match self.feed(input) {
                Ok(fed) => fed,
                Err(fault) => {
                    self.break_off(fault, out);
                    self.exchange_once(cx, now);
                    return true;
                }
            };
            self.exchange_once(cx, now);
            self.flush(out);
            if self.call.end != End::Open {
                self.end_call(cx, now);
                return true;
            }
            let (timer, holds) = (self.timer, !input.is_empty());
            self.timer = self.exchange.next_timer(timer, fed, holds, &self.web.limits, now);
            if out.len() >= OUT_MARK {
                return false;
            }
            let uncredited = std::mem::take(&mut self.call.uncredited);
            let Some((session, stream)) = self.stream() else { return false };
            session.consume(stream, uncredited);
            let has_output = session.has_output();
            if input.len() == before && !has_output {
                self.holds = !input.is_empty();
                return false;
            }
        }
    }

    fn feed(&mut self, input: &mut &[u8]) -> Result<usize, Fault> {
        let Self { exchange, call, inner, .. } = self;
        let (Some(inner), Some(stream)) = (inner, call.stream) else { return Ok(0) };
        exchange.feed(input, call, &mut inner.session, stream)
    }

    fn flush(&mut self, out: &mut Transmit) {
        let Self { exchange, call, inner, web, closing, .. } = self;
        if let Some(inner) = inner {
            exchange.flush(call, &mut inner.session, web, *closing, out);
        }
    }

    /// The stream of the call.
    fn stream(&mut self) -> Option<(&mut Session, StreamKey)> {
        let stream = self.call.stream?;
        Some((&mut self.inner.as_mut()?.session, stream))
    }

    fn exchange_once(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Self { inner, call, .. } = self;
        if let Some(inner) = inner {
            inner
                .exchange(cx, now, |session, event, data| call.on_event(session, event, data, now));
        }
    }

    /// The response is complete, or cannot be completed.
    fn end_call(&mut self, cx: &mut Context<'_>, now: Instant) {
        let wants_more = self.stream().is_some_and(|(session, stream)| {
            session.release(stream);
            session.has_output()
        });
        if let Some(inner) = &mut self.inner
            && wants_more
        {
            inner.exchange(cx, now, |_, _, _| {});
        }
        let is_open = self.inner.as_ref().is_some_and(Inner::is_open);
        let goes_on = self.exchange.goes_on() && !self.closing && is_open;
        self.state =
            if goes_on && self.call.end == End::Complete { State::Head } else { State::Over };
        self.timer = now + self.web.limits.idle_timeout;
    }

    /// Ends a call whose request breaks a rule.
    #[cold]
    fn break_off(&mut self, fault: Fault, out: &mut Transmit) {
        if let Some((session, stream)) = self.stream() {
            session.release(stream);
        }
        if self.exchange.is_unanswered() {
            self.refuse(fault, out);
        } else {
            self.state = State::Over;
        }
    }

    // --- The connection ---

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.error.is_some() || self.state == State::Over {
            return None;
        }
        let own = self.timer.min(self.stalled);
        let inner = self.inner.as_ref().and_then(Inner::poll_timeout);
        inner.into_iter().chain([own]).min().filter(|&at| at != Instant::NEVER)
    }

    pub(crate) fn note_delivery(&mut self) {
        // The next turn sets it anew.
        self.stalled = Instant::NEVER;
    }

    pub(crate) fn close_read(&mut self) {
        self.eof = true;
    }

    pub(crate) fn shutdown(&mut self, now: Instant) {
        self.closing = true;
        if let Some(inner) = &mut self.inner {
            inner.shutdown(now);
        }
        if self.state == State::Head && self.head.is_empty() {
            self.state = State::Over;
        }
    }

    pub(crate) fn abort(&mut self) {
        self.aborted = true;
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.state == State::Over && self.error.is_none()
    }

    pub(crate) fn is_trimmed(&self) -> bool {
        self.state == State::Head
            && self.head.is_empty()
            && self.inner.as_ref().is_none_or(Inner::is_trimmed)
    }

    pub(crate) fn holds_input(&self) -> bool {
        self.holds
    }

    pub(crate) fn inner(&mut self) -> Option<&mut E> {
        self.inner.as_mut().map(Inner::endpoint)
    }

    /// Heap bytes of this layer, without the server's endpoint.
    pub(crate) fn heap_bytes(&self) -> usize {
        let inner = self.inner.as_ref().map_or(0, Inner::heap_bytes);
        self.head.capacity() + self.exchange.heap_bytes() + self.call.heap_bytes() + inner
    }
}
