//! TLS around an endpoint: an endpoint itself, which any loop can drive.

use std::task::Context;
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::{Endpoint, OUT_MARK, TlsPeer};

use crate::error::TlsError;
use crate::session::{Opened, Session};

/// How long a handshake may take by default.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An endpoint behind TLS.
///
/// ```text
///   received ──> session.open ──> plaintext ──> inner endpoint
///                                                    │
///   to write <── session.seal <──────────────────────┘
/// ```
///
/// The inner endpoint is made by `start` once the handshake is complete, so that its timers begin then; `start` sees who the
/// peer is. Where the handshake fails, `start` is given the error, and makes no endpoint.
///
/// Output of one turn is sealed together. The alert `close_notify` follows the last output of the inner endpoint, before
/// a loop closes its side. Where the transport ends without the peer's `close_notify`, the inner endpoint is told that the
/// input ended, and [`error`](Self::error) is [`TlsError::Truncated`].
pub struct TlsEndpoint<E, S> {
    session: Session,
    stage: Stage<E, S>,
    /// The end of a record that the inner endpoint has not taken; at most 16 KiB.
    stash: Vec<u8>,
    /// Output of the inner endpoint, in plaintext; empty between calls.
    plain: Transmit,
    deadline: Instant,
    /// Plaintext came from the peer.
    received: bool,
    error: Option<TlsError>,
}

enum Stage<E, S> {
    /// The handshake; absent while `start` runs.
    Handshake(Option<S>),
    Running(E),
    /// Nothing goes on: the handshake failed.
    Over,
}

impl<E, S> TlsEndpoint<E, S>
where
    E: Endpoint,
    S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<E>,
{
    /// An endpoint that `start` makes behind the handshake of `session`, which must be complete by `deadline`.
    pub fn new(session: Session, deadline: Instant, start: S) -> Self {
        TlsEndpoint {
            session,
            stage: Stage::Handshake(Some(start)),
            stash: Vec::new(),
            plain: Transmit::new(),
            deadline,
            received: false,
            error: None,
        }
    }

    /// Why the session failed, if it did.
    pub fn error(&self) -> Option<&TlsError> {
        self.error.as_ref()
    }

    /// Whether data has come from the peer. With TLS 1.3 a client's handshake is complete before the server has seen the
    /// client's certificate: the first data tells that the server goes on.
    pub fn has_received(&self) -> bool {
        self.received
    }

    /// The endpoint behind the handshake.
    pub fn inner(&mut self) -> Option<&mut E> {
        match &mut self.stage {
            Stage::Running(inner) => Some(inner),
            Stage::Handshake(_) | Stage::Over => None,
        }
    }

    /// Heap bytes that this layer holds, beside those of rustls and of the inner endpoint.
    pub fn heap_bytes(&self) -> usize {
        self.session.heap_bytes() + self.stash.capacity() + self.plain.heap_bytes()
    }

    /// Gives back memory that busy times needed.
    fn trim(&mut self) {
        self.session.trim();
        self.stash.shrink_to_fit();
        self.plain.shrink(0);
    }

    /// Takes TLS records out of `input`, where they are decrypted. Input is left only where `out` is full.
    fn receive(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        loop {
            if !self.unstash(out, cx, now)? {
                return Ok(());
            }
            let opened = self.open(input, out, cx, now)?;
            self.start_once(cx, now)?;
            if opened == Opened::Drained {
                return Ok(());
            }
        }
    }

    /// Opens records of `input`, and hands their plaintext to the inner endpoint.
    fn open(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<Opened, ConnectionError> {
        let Self { session, stage, stash, plain, received, .. } = self;
        let mut driven = Ok(());
        let opened = out.append_with(|out| {
            session.open(input, out, &mut |plaintext| {
                *received = true;
                let mut rest = plaintext;
                if let Stage::Running(inner) = stage {
                    driven = inner.drive(&mut rest, plain, cx, now);
                }
                stash.extend_from_slice(rest);
                rest.is_empty() && driven.is_ok()
            })
        });
        driven?;
        opened.map_err(|error| self.fail(error, cx, now))
    }

    /// Makes the inner endpoint if the handshake has just become complete.
    fn start_once(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), ConnectionError> {
        let Stage::Handshake(start) = &mut self.stage else { return Ok(()) };
        let Some(peer) = self.session.peer() else { return Ok(()) };
        let made = start.take().and_then(|start| start(Ok(&peer)));
        let Some(mut inner) = made else {
            self.stage = Stage::Over;
            return Err(ConnectionError::Closed(None));
        };
        let driven = inner.drive(&mut &[][..], &mut self.plain, cx, now);
        self.stage = Stage::Running(inner);
        driven
    }

    /// Hands the inner endpoint what it has not taken before; false if it cannot take all, because `out` is full or it
    /// [holds](Endpoint::holds_input) the rest.
    fn unstash(
        &mut self,
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, ConnectionError> {
        while !self.stash.is_empty() {
            self.seal(out)?;
            if out.len() >= OUT_MARK {
                return Ok(false);
            }
            let Stage::Running(inner) = &mut self.stage else { return Ok(true) };
            let mut rest = &self.stash[..];
            let driven = inner.drive(&mut rest, &mut self.plain, cx, now);
            let taken = self.stash.len() - rest.len();
            self.stash.drain(..taken);
            driven?;
            if taken == 0 && inner.holds_input() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Encrypts what the inner endpoint has made.
    fn seal(&mut self, out: &mut Transmit) -> Result<(), ConnectionError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let sealed = out.append_with(|out| self.session.seal(self.plain.chunks(), out));
        self.plain.advance(self.plain.len());
        sealed.map_err(|error| {
            self.error = Some(error);
            ConnectionError::Closed(None)
        })
    }

    /// Ends everything because of `error`.
    fn fail(&mut self, error: TlsError, cx: &mut Context<'_>, now: Instant) -> ConnectionError {
        self.error.get_or_insert(error.clone());
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Handshake(start) => {
                if let Some(start) = start {
                    start(Err(&error));
                }
                ConnectionError::Closed(None)
            }
            Stage::Running(mut inner) => {
                // Its calls end as those of a transport that was lost.
                inner.close_read(now);
                let ended = inner.drive(&mut &[][..], &mut self.plain, cx, now);
                // What it still says cannot be protected any more.
                self.plain.clear();
                self.stage = Stage::Running(inner);
                ended.err().unwrap_or(ConnectionError::Closed(None))
            }
            Stage::Over => ConnectionError::Closed(None),
        }
    }

    /// Ends the handshake because this side stops: the next turn ends the connection.
    fn stop_handshake(&mut self) {
        let Stage::Handshake(start) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        let error = TlsError::HandshakeStopped;
        if let Some(start) = start {
            start(Err(&error));
        }
        self.error.get_or_insert(error);
    }

    /// One turn: input, time and woken calls, then output.
    fn turn(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if matches!(self.stage, Stage::Over) {
            return Err(ConnectionError::Closed(None));
        }
        if matches!(self.stage, Stage::Handshake(_)) && now >= self.deadline {
            let error = out.append_with(|out| self.session.give_up_handshake(out));
            return Err(self.fail(error, cx, now));
        }
        let mut driven = self.receive(input, out, cx, now);
        if driven.is_ok()
            && let Stage::Running(inner) = &mut self.stage
            && self.stash.is_empty()
        {
            // The peer says no more: the calls that are complete go on.
            if self.session.is_peer_closed() {
                inner.close_read(now);
            }
            driven = inner.drive(&mut &[][..], &mut self.plain, cx, now);
        }
        if self.error.is_none() {
            let sealed = self.seal(out);
            driven = driven.and(sealed);
            if driven.is_err() || self.is_drained() {
                out.append_with(|out| self.session.close_notify(out));
            }
        }
        // As the loop does with its own buffers, when the inner endpoint has been idle for a while.
        if out.is_empty() && self.is_trimmed() {
            self.trim();
        }
        driven
    }
}

impl<E, S> Endpoint for TlsEndpoint<E, S>
where
    E: Endpoint,
    S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<E>,
{
    /// As [`drive_in_place`](Endpoint::drive_in_place), over a copy of the input.
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let mut copy = input.to_vec();
        let mut rest = &mut copy[..];
        let driven = self.turn(&mut rest, out, cx, now);
        *input = &input[input.len() - rest.len()..];
        driven
    }

    fn drive_in_place(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.turn(input, out, cx, now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Handshake(_) => Some(self.deadline),
            Stage::Running(inner) => inner.poll_timeout(),
            Stage::Over => None,
        }
    }

    fn note_delivery(&mut self, now: Instant) {
        if let Stage::Running(inner) = &mut self.stage {
            inner.note_delivery(now);
        }
    }

    fn close_read(&mut self, now: Instant) {
        match (self.session.on_end_of_input(), &mut self.stage) {
            (Err(error), Stage::Handshake(start)) => {
                if let Some(start) = start.take() {
                    start(Err(&error));
                }
                self.error.get_or_insert(error);
            }
            (ended, Stage::Running(inner)) => {
                self.error = self.error.take().or(ended.err());
                inner.close_read(now);
            }
            _ => {}
        }
    }

    fn shutdown(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Running(inner) => inner.shutdown(now),
            // No call has begun, so there is nothing to wait for.
            Stage::Handshake(_) => self.stop_handshake(),
            Stage::Over => {}
        }
    }

    fn abort(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Running(inner) => inner.abort(now),
            Stage::Handshake(_) => self.stop_handshake(),
            Stage::Over => {}
        }
    }

    fn is_drained(&self) -> bool {
        matches!(&self.stage, Stage::Running(inner) if inner.is_drained())
    }

    fn is_trimmed(&self) -> bool {
        matches!(&self.stage, Stage::Running(inner) if inner.is_trimmed())
    }

    fn holds_input(&self) -> bool {
        matches!(&self.stage, Stage::Running(inner) if !self.stash.is_empty() && inner.holds_input())
    }
}

impl<E, S> std::fmt::Debug for TlsEndpoint<E, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsEndpoint")
            .field("session", &self.session)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
