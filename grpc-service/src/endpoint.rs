//! What an adapter drives: one end of one connection, whichever end it is.

use std::task::Context;

use grpc_proto::{ConnectionError, Instant, Transmit};

/// One end of a connection, driven by bytes, time and wakes.
///
/// An adapter is a loop over this: read, [`drive`](Endpoint::drive), write. It knows nothing of calls.
pub trait Endpoint {
    /// Takes input, runs the calls that can go on, and appends output to `out`.
    ///
    /// Advances `input` past what was consumed. Input is left over only when `out` is full, at [`OUT_MARK`] bytes: write
    /// it, then call again with the rest; or where [`holds_input`](Endpoint::holds_input) says so. Empty input lets time and
    /// woken calls go on. The waker of `cx` is woken when a call is ready that was not before.
    ///
    /// Call it when input has arrived, when a write has completed, when woken, and at
    /// [`poll_timeout`](Endpoint::poll_timeout).
    ///
    /// # Errors
    /// The connection is over. Every call has ended; `out` may hold a last word to the peer.
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError>;

    /// As [`drive`](Endpoint::drive), with input that the endpoint may overwrite.
    ///
    /// A loop that owns its receive buffer calls this one: a layer that decrypts does so where the input lies. Input
    /// that is left over is unchanged.
    ///
    /// # Errors
    /// As [`drive`](Endpoint::drive).
    fn drive_in_place(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let mut rest: &[u8] = input;
        let driven = self.drive(&mut rest, out, cx, now);
        let taken = input.len() - rest.len();
        *input = &mut std::mem::take(input)[taken..];
        driven
    }

    /// When to call [`drive`](Endpoint::drive) next if nothing else happens.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The peer's system has acknowledged at least 128 bytes since the last such call, of output that is still being written.
    ///
    /// A loop that can tell calls it before [`drive`](Endpoint::drive), so that a peer that reads slowly is not taken for
    /// one that does not read ([`drive::Progress`](crate::drive::Progress), docs/limits.md).
    fn note_delivery(&mut self, now: Instant);

    /// The transport will yield no more input: call [`drive`](Endpoint::drive) once more, which says how it ended.
    fn close_read(&mut self, now: Instant);

    /// Begins a graceful end: no new calls, those in flight go on.
    fn shutdown(&mut self, now: Instant);

    /// Ends every call now; [`drive`](Endpoint::drive) once more makes the GOAWAY that says so.
    fn abort(&mut self, now: Instant);

    /// Whether the connection has drained: close the transport once `out` is written.
    fn is_drained(&self) -> bool;

    /// Whether the connection has been without calls for a while and gave its memory back
    /// ([`Limits::trim_after`](grpc_proto::Limits::trim_after)): time to do the same with buffers of its transport.
    fn is_trimmed(&self) -> bool;

    /// Whether the last [`drive`](Endpoint::drive) left input because of what runs, and not because `out` is full: a protocol
    /// without flow control of its own reads the next request when the one before it is answered.
    ///
    /// Keep the rest, read nothing meanwhile, and drive again with it when woken, at
    /// [`poll_timeout`](Endpoint::poll_timeout), or when a write has completed. A connection of HTTP/2 holds input only for the
    /// turns in which it lets others give memory back that share it; it has woken `cx` then.
    fn holds_input(&self) -> bool {
        false
    }
}

/// Bytes of output at which [`Endpoint::drive`] takes no more input: `out` is full.
///
/// A loop that finds so much in `out` drives again once it is written, though nothing else happens. One turn may go
/// beyond the mark by what it makes at once. With a buffer that is written and one that is filled, as in
/// [`drive`](crate::drive), two of these at most are alive for a connection.
pub const OUT_MARK: usize = 64 << 10;

/// The parts of a turn, which both ends take in the same order.
pub(crate) trait Turn {
    /// What became ready since the last turn.
    fn run_ready(&mut self, now: Instant);
    /// Takes one event out of the core and acts on it; false if there is none.
    fn step(&mut self, input: &mut &[u8], now: Instant) -> Result<bool, ConnectionError>;
    /// Takes output out of the core.
    fn transmit(&mut self, out: &mut Transmit, now: Instant);
}

/// One turn: events and output by turns, until neither makes progress or `out` is full.
pub(crate) fn turn<T: Turn>(
    end: &mut T,
    input: &mut &[u8],
    out: &mut Transmit,
    now: Instant,
) -> Result<(), ConnectionError> {
    loop {
        let left = input.len();
        end.run_ready(now);
        let stepped = loop {
            match end.step(input, now) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let before = out.len();
        if before < OUT_MARK || stepped.is_err() {
            end.transmit(out, now);
        }
        stepped?;
        // Output makes room for events, and those for more output. A pull makes room even when it brought nothing:
        // the core hands out so many new calls between two pulls.
        let settled = out.len() == before && (input.is_empty() || input.len() == left);
        if settled || out.len() >= OUT_MARK {
            return Ok(());
        }
    }
}
