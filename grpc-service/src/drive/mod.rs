//! The loop around one connection: a read and a write in flight, and the endpoint between them.
//!
//! ```text
//!              ┌─ filling ─┐ next_write   ┌───────────────────┐
//!   endpoint ──┤           ├────────────> │ write in flight   │ ──> transport
//!      ^       └─ spare ───┘ <─ written ─ └───────────────────┘
//!      │                                  ┌───────────────────┐
//!      └────────── input <──── read ───── │ read in flight    │ <── transport
//!                  lent, empty ─────────> └───────────────────┘
//! ```

mod input;
mod nudge;
mod transport;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Transmit};

use crate::endpoint::OUT_MARK;
use crate::{Endpoint, Host, LocalFuture};
use input::Input;
use nudge::Nudge;
pub use transport::{Close, Orders, Phase, ReadHalf, Transport, WriteHalf};

/// Time for what a connection has said to leave that ended in peace.
///
/// The last responses are among it: what the endpoint has made of them is no longer its own, and is lost with the
/// transport. As long as a pull of output may be waited for, by default
/// ([`Limits::send_stall_timeout`](grpc_proto::Limits::send_stall_timeout)).
const FLUSH: Duration = Duration::from_secs(60);
/// Time for the last words of a connection to leave that failed or was told to go now, and for the peer to close its
/// side or, after an end in peace, to say another word.
///
/// What comes to a socket that is closed, or lies in it unread, resets it, which destroys what has not left it yet. A
/// peer that takes its last responses slowly opens its windows meanwhile: it is heard out.
const LINGER: Duration = Duration::from_secs(1);
/// Time for all of that after an end in peace, however long the peer talks.
const LINGER_IN_ALL: Duration = Duration::from_secs(30);
/// Bytes that are read after the end, for nobody: far more than windows take to open, and than what is under way to
/// calls that are over.
const LINGER_BYTES: usize = 16 << 20;
/// Rounds of input and output in one turn of the task, before the other tasks get theirs.
const ROUNDS: usize = 8;

/// Drives `end` over `transport` until both are done; one task a connection runs it.
///
/// Nothing in flight is ever dropped, which would lose bytes on io_uring: the transport is closed first, and what was
/// in flight completes. Small writes are gathered while one is in flight, and what one turn makes leaves in one write.
/// What was said is written before the transport is closed: for a minute at most after an end in peace, so that a peer
/// that reads slowly gets its last responses. Then our side is closed, and the peer heard until it closes its own or
/// says nothing for a second: for thirty seconds and 16 MiB at most. Where the end is an error, or once `orders` say
/// [`Phase::Abort`], a second is all there is.
///
/// # Errors
/// What ended the connection, if it did not end in peace.
pub async fn drive<E, T, O>(
    end: E,
    transport: T,
    host: Rc<dyn Host>,
    orders: O,
) -> Result<(), ConnectionError>
where
    E: Endpoint,
    T: Transport,
    O: Orders,
{
    let (reader, writer, closer) = transport.split();
    let mut line = Line::<E, T, O>::new(end, reader, writer, closer, host, orders);
    let mut read = pin!(none_of(T::Reader::read));
    let mut write = pin!(none_of(T::Writer::write));
    let mut timer = None;
    let nudge = Nudge::new();
    let nudger = Waker::from(Arc::clone(&nudge));

    poll_fn(|cx| {
        nudge.enter(cx.waker());
        for round in 0..ROUNDS {
            // The first round runs for whatever woke the task.
            let mut news = round == 0 || line.has_room_again();
            if let Some(operation) = write.as_mut().as_pin_mut()
                && let Poll::Ready((half, result, out)) = operation.poll(cx)
            {
                write.set(None);
                line.on_written(half, result, out);
                news = true;
            }
            if let Some(operation) = read.as_mut().as_pin_mut()
                && let Poll::Ready((half, result, buffer)) = operation.poll(cx)
            {
                read.set(None);
                line.on_read(half, result, buffer);
                news = true;
            }
            if !news {
                if !arm(&mut timer, line.wakeup(), &*line.host, cx) {
                    nudge.again();
                }
                return nudge.leave(cx.waker(), &*line.host);
            }
            line.turn(cx, &nudger);
            if let Some((half, out)) = line.next_write() {
                write.set(Some(half.write(out)));
            }
            if let Some((half, buffer)) = line.next_read() {
                read.set(Some(half.read(buffer)));
            }
            if line.step == Step::Done && read.is_none() && write.is_none() {
                return Poll::Ready(());
            }
        }
        nudge.again();
        nudge.leave(cx.waker(), &*line.host)
    })
    .await;
    line.outcome
}

/// A place for the futures that `operation` returns, whose type has no name.
fn none_of<A, B, F>(_operation: impl Fn(A, B) -> F) -> Option<F> {
    None
}

/// A connection but for what is in flight.
struct Line<E, T: Transport, O> {
    end: E,
    closer: T::Closer,
    host: Rc<dyn Host>,
    orders: O,
    phase: Phase,
    /// Absent while a read is in flight, and after the end of input.
    reader: Option<T::Reader>,
    input: Input,
    /// Absent while a write is in flight.
    writer: Option<T::Writer>,
    /// Output that the endpoint appends to while the other one is being written.
    filling: Transmit,
    spare: Transmit,
    /// What a short write left over.
    rest: Option<Transmit>,
    /// The endpoint stopped because `filling` was full.
    full: bool,
    step: Step,
    eof: bool,
    /// It ended in peace, and was not told to go now.
    in_peace: bool,
    /// When waiting for the peer ends, unless it says something.
    until: Instant,
    /// When it ends whatever the peer says.
    last: Instant,
    /// Bytes that the end leaves to be read.
    unheard: usize,
    outcome: Result<(), ConnectionError>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Step {
    /// The endpoint lives.
    Running,
    /// Its last output is being written.
    Flushing,
    /// Our side is closed; the peer's is awaited.
    Lingering,
    /// Both sides are closed; what is in flight completes.
    Done,
}

impl<E: Endpoint, T: Transport, O: Orders> Line<E, T, O> {
    fn new(
        end: E,
        reader: T::Reader,
        writer: T::Writer,
        closer: T::Closer,
        host: Rc<dyn Host>,
        orders: O,
    ) -> Self {
        Line {
            end,
            closer,
            host,
            orders,
            phase: Phase::Run,
            reader: Some(reader),
            input: Input::new(),
            writer: Some(writer),
            filling: Transmit::new(),
            spare: Transmit::new(),
            rest: None,
            full: false,
            step: Step::Running,
            eof: false,
            in_peace: false,
            until: Instant::NEVER,
            last: Instant::NEVER,
            unheard: LINGER_BYTES,
            outcome: Ok(()),
        }
    }

    fn on_written(&mut self, half: T::Writer, result: io::Result<usize>, mut out: Transmit) {
        self.writer = Some(half);
        let written = result.unwrap_or(0);
        if written == 0 {
            // Nobody will read what we say: the endpoint hears of it as of an end of input.
            out.clear();
            self.filling.clear();
            self.end.close_read(self.host.now());
            self.eof = true;
        }
        out.advance(written);
        if planted!(RestLost) {
            out.clear();
        }
        if out.is_empty() {
            self.spare = out;
        } else {
            self.rest = Some(out);
        }
    }

    fn on_read(&mut self, half: T::Reader, result: io::Result<usize>, mut buffer: Vec<u8>) {
        let read = result.unwrap_or(0);
        buffer.truncate(read);
        self.input.give_back(buffer);
        if read > 0 {
            self.reader = Some(half);
            if self.step >= Step::Flushing {
                self.unheard = self.unheard.saturating_sub(read);
            }
            if self.step == Step::Lingering {
                self.until = self.last.min(self.host.now() + LINGER);
            }
        } else {
            self.eof = true;
            self.end.close_read(self.host.now());
        }
    }

    /// Lets the endpoint go on, or the end of the connection.
    fn turn(&mut self, cx: &Context<'_>, nudger: &Waker) {
        let now = self.host.now();
        if self.step == Step::Running {
            self.heed(cx, now);
            let mut input = self.input.rest_mut();
            let mut context = Context::from_waker(nudger);
            let driven = self.end.drive_in_place(&mut input, &mut self.filling, &mut context, now);
            let left = input.len();
            self.input.keep(left);
            self.full = left > 0 || self.filling.len() >= OUT_MARK;
            if self.filling.is_empty() && self.end.is_trimmed() {
                self.filling.shrink(0);
                self.spare.shrink(0);
            }
            if driven.is_err() || self.end.is_drained() {
                self.in_peace = matches!(driven, Ok(()) | Err(ConnectionError::Drained));
                self.outcome = driven;
                self.step = Step::Flushing;
                self.last = now + if self.in_peace { FLUSH } else { LINGER };
                self.until = self.last;
            }
        } else {
            // What still comes is for nobody.
            self.input.keep(0);
        }
        let flushed = self.writer.is_some() && self.rest.is_none() && self.filling.is_empty();
        if self.step == Step::Flushing && flushed {
            self.step = Step::Lingering;
            if self.in_peace {
                self.last = now + LINGER_IN_ALL;
            }
            self.until = self.last.min(now + LINGER);
            self.closer.close_write();
        }
        if self.step >= Step::Flushing && self.orders.poll_phase(cx) == Phase::Abort {
            self.in_peace = false;
            self.last = self.last.min(now + LINGER);
            self.until = self.until.min(self.last);
        }
        let waited = self.step >= Step::Flushing && now >= self.until;
        let heard = self.step == Step::Lingering && (self.eof || self.unheard == 0);
        if waited || heard {
            self.step = Step::Done;
            self.closer.close();
        }
    }

    /// Does what it was told since.
    fn heed(&mut self, cx: &Context<'_>, now: Instant) {
        let wanted = self.orders.poll_phase(cx);
        if wanted > self.phase {
            self.phase = wanted;
            if wanted == Phase::Abort { self.end.abort(now) } else { self.end.shutdown(now) }
        }
    }

    /// Whether the endpoint stopped for want of room that is there by now: what it had said is being written.
    fn has_room_again(&self) -> bool {
        let room = self.filling.is_empty() && !planted!(FullWaits);
        self.step == Step::Running && self.full && room
    }

    /// What is to be written, if nothing is being written.
    fn next_write(&mut self) -> Option<(T::Writer, Transmit)> {
        if self.step == Step::Done || (self.rest.is_none() && self.filling.is_empty()) {
            return None;
        }
        let half = self.writer.take()?;
        if let Some(rest) = self.rest.take() {
            return Some((half, rest));
        }
        let spare = std::mem::take(&mut self.spare);
        Some((half, std::mem::replace(&mut self.filling, spare)))
    }

    /// What is to be read into, if nothing is being read and all was consumed.
    fn next_read(&mut self) -> Option<(T::Reader, Vec<u8>)> {
        if !self.input.rest().is_empty() || self.step == Step::Done || self.unheard == 0 {
            return None;
        }
        let half = self.reader.take()?;
        Some((half, self.input.lend()))
    }

    fn wakeup(&self) -> Option<Instant> {
        match self.step {
            Step::Running => self.end.poll_timeout(),
            Step::Flushing | Step::Lingering => Some(self.until),
            Step::Done if planted!(ClosedSpins) => Some(self.until),
            // Only what is in flight is waited for.
            Step::Done => None,
        }
    }
}

/// Sees to it that the task is woken at `at`; false if that has come already.
///
/// A timer that is early stays as it is: it wakes the task once for nothing, which costs less than moving it each time
/// that a deadline comes and goes.
fn arm(
    timer: &mut Option<Armed>,
    at: Option<Instant>,
    host: &dyn Host,
    cx: &mut Context<'_>,
) -> bool {
    let Some(at) = at else { return true };
    let early = timer.take_if(|armed| armed.at <= at);
    let mut armed = early.unwrap_or_else(|| Armed { at, timer: host.timer(at) });
    while armed.timer.as_mut().poll(cx).is_ready() {
        if armed.at == at {
            return false;
        }
        if planted!(TimerOnce) {
            return true;
        }
        armed = Armed { at, timer: host.timer(at) };
    }
    *timer = Some(armed);
    true
}

/// A timer of the connection.
struct Armed {
    at: Instant,
    timer: LocalFuture<()>,
}

#[cfg(test)]
mod tests;
