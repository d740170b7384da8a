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
mod progress;
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
pub use progress::Progress;
pub use transport::{Close, Orders, Phase, ReadHalf, Transport, WriteHalf};

/// Time without progress for the last output of a graceful end: the last responses are in it, and the endpoint has forgotten
/// them. It is as long as a pull of output may be waited for, by default
/// ([`Limits::send_stall_timeout`](grpc_proto::Limits::send_stall_timeout)), and counts from the last progress.
const FLUSH: Duration = Duration::from_secs(60);
/// Time for all of that output, with progress: at 1 KB a second it takes the two minutes that 128 KiB need, and more.
const FLUSH_IN_ALL: Duration = Duration::from_secs(600);
/// Time for the last output of a connection that failed or was aborted; and, after every end, time for the peer to close its
/// side, which begins anew with all that it sends after a graceful end.
///
/// Bytes that come to a closed socket, or lie unread in it, reset it, and a reset destroys output that has not been delivered
/// yet. A peer that reads its last responses slowly sends WINDOW_UPDATE meanwhile, which is why we read on.
const LINGER: Duration = Duration::from_secs(1);
/// Time for lingering after a graceful end, whatever the peer sends.
const LINGER_IN_ALL: Duration = Duration::from_secs(30);
/// Bytes that are read and discarded after the end: far more than WINDOW_UPDATE frames take, and than what is in flight
/// for calls that are over.
const LINGER_BYTES: usize = 16 << 20;
/// Rounds of input and output in one turn of the task, before the other tasks get theirs.
const ROUNDS: usize = 8;

/// Drives `end` over `transport` until both are done; one task a connection runs it.
///
/// Nothing in flight is ever dropped, which would lose bytes on io_uring: the transport is closed first, and what was
/// in flight completes. Small writes are gathered while one is in flight, and what one turn makes leaves in one write.
///
/// The end takes four steps. First the last output is written: after a graceful end for as long as the peer makes progress,
/// which may pause for a minute and take ten minutes in all. Then our direction is closed ([`WriteHalf::close`]). Then input
/// is read and discarded until the peer closes its own side or sends nothing for a second, for 30 seconds and 16 MiB at most.
/// Then the transport is closed ([`Close::close`]). After an error, and once `orders` say [`Phase::Abort`], one second
/// is the time for all of that.
///
/// # Errors
/// What ended the connection, unless the end was graceful.
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
    let mut close = pin!(none_of_one(T::Writer::close));
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
            if let Some(operation) = close.as_mut().as_pin_mut()
                && let Poll::Ready((half, result)) = operation.poll(cx)
            {
                close.set(None);
                line.on_closed(half, result);
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
            if let Some(half) = line.next_close() {
                close.set(Some(half.close()));
            }
            if let Some((half, buffer)) = line.next_read() {
                read.set(Some(half.read(buffer)));
            }
            let in_flight = read.is_some() || write.is_some() || close.is_some();
            if line.step == Step::Done && !in_flight {
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

/// As [`none_of`], for an operation with one argument.
fn none_of_one<A, F>(_operation: impl Fn(A) -> F) -> Option<F> {
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
    /// The read that is under way has been interrupted.
    interrupted: bool,
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
    /// The end is graceful, and has not been cut short by an order.
    graceful: bool,
    /// When waiting for the peer ends, unless it makes progress before.
    until: Instant,
    /// When waiting for the peer ends whatever it does.
    last: Instant,
    /// Bytes that may still be read and discarded after the end.
    discardable: usize,
    /// What the peer takes of a write that is slow.
    progress: Progress,
    outcome: Result<(), ConnectionError>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Step {
    /// The endpoint lives.
    Running,
    /// Its last output is being written.
    Flushing,
    /// All output is written; our direction is being closed.
    Closing,
    /// Our direction is closed; the peer's end is awaited.
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
            interrupted: false,
            writer: Some(writer),
            filling: Transmit::new(),
            spare: Transmit::new(),
            rest: None,
            full: false,
            step: Step::Running,
            eof: false,
            graceful: false,
            until: Instant::NEVER,
            last: Instant::NEVER,
            discardable: LINGER_BYTES,
            progress: Progress::new(),
            outcome: Ok(()),
        }
    }

    fn on_written(&mut self, half: T::Writer, result: io::Result<usize>, mut out: Transmit) {
        self.writer = Some(half);
        self.progress.rest();
        let written = result.unwrap_or(0);
        if self.step == Step::Flushing && written > 0 {
            self.extend_flush(self.host.now());
        }
        if written == 0 {
            // No output can be delivered any more: to the endpoint that is the end of input.
            out.clear();
            self.filling.clear();
            self.end.close_read(self.host.now());
            self.eof = true;
        }
        out.advance(written);
        if out.is_empty() {
            self.spare = out;
        } else {
            self.rest = Some(out);
        }
    }

    /// Our direction is closed: the peer's end is awaited from now on.
    fn on_closed(&mut self, half: T::Writer, result: io::Result<()>) {
        self.writer = Some(half);
        if result.is_err() {
            // The peer is gone.
            self.eof = true;
        }
        if self.step == Step::Closing {
            self.step = Step::Lingering;
            let now = self.host.now();
            if self.graceful {
                self.last = now + LINGER_IN_ALL;
            }
            self.until = self.last.min(now + LINGER);
        }
    }

    /// The peer takes its last output: it has another minute.
    fn extend_flush(&mut self, now: Instant) {
        if self.graceful {
            self.until = self.last.min(now + FLUSH);
        }
    }

    fn on_read(&mut self, half: T::Reader, result: io::Result<usize>, mut buffer: Vec<u8>) {
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            self.reader = Some(half);
            return self.input.begin_small();
        }
        let read = result.unwrap_or(0);
        buffer.truncate(read);
        self.input.give_back(buffer);
        if read > 0 {
            self.reader = Some(half);
            if self.step >= Step::Flushing {
                self.discardable = self.discardable.saturating_sub(read);
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
        if self.progress.look(|| self.closer.unacknowledged(), now) {
            match self.step {
                Step::Running => self.end.note_delivery(now),
                _ => self.extend_flush(now),
            }
        }
        if self.step == Step::Running {
            self.follow_orders(cx, now);
            let mut input = self.input.rest_mut();
            let mut context = Context::from_waker(nudger);
            let driven = self.end.drive_in_place(&mut input, &mut self.filling, &mut context, now);
            let left = input.len();
            self.input.keep(left);
            let waits_for_room = left > 0 && !self.end.holds_input();
            self.full = waits_for_room || self.filling.len() >= OUT_MARK;
            if self.filling.is_empty() && self.end.is_trimmed() {
                self.filling.shrink(0);
                self.spare.shrink(0);
                if self.input.has_lent_much() && !self.interrupted {
                    self.interrupted = true;
                    self.closer.interrupt_read();
                }
            }
            if driven.is_err() || self.end.is_drained() {
                self.graceful = matches!(driven, Ok(()) | Err(ConnectionError::Drained));
                self.outcome = driven;
                self.step = Step::Flushing;
                self.last = now + if self.graceful { FLUSH_IN_ALL } else { LINGER };
                self.until = self.last.min(now + FLUSH);
            }
        } else {
            // No call is left for what still comes.
            self.input.keep(0);
        }
        let flushed = self.writer.is_some() && self.rest.is_none() && self.filling.is_empty();
        if self.step == Step::Flushing && flushed {
            self.step = Step::Closing;
        }
        if self.step >= Step::Flushing && self.orders.poll_phase(cx) == Phase::Abort {
            self.graceful = false;
            self.last = self.last.min(now + LINGER);
            self.until = self.until.min(self.last);
        }
        let waited = self.step >= Step::Flushing && now >= self.until;
        let read = self.step == Step::Lingering && (self.eof || self.discardable == 0);
        if (waited || read) && self.step != Step::Done {
            self.step = Step::Done;
            self.closer.close();
        }
    }

    /// Passes a new order on to the endpoint.
    fn follow_orders(&mut self, cx: &Context<'_>, now: Instant) {
        let wanted = self.orders.poll_phase(cx);
        if wanted > self.phase {
            self.phase = wanted;
            if wanted == Phase::Abort { self.end.abort(now) } else { self.end.shutdown(now) }
        }
    }

    /// Whether the endpoint stopped for want of room that is there by now: its output is being written.
    fn has_room_again(&self) -> bool {
        self.step == Step::Running && self.full && self.filling.is_empty()
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

    /// The half that is to be closed, once all output is written.
    fn next_close(&mut self) -> Option<T::Writer> {
        if self.step == Step::Closing { self.writer.take() } else { None }
    }

    /// What is to be read into, if nothing is being read and all was consumed.
    fn next_read(&mut self) -> Option<(T::Reader, Vec<u8>)> {
        if !self.input.rest().is_empty() || self.step == Step::Done || self.discardable == 0 {
            return None;
        }
        let half = self.reader.take()?;
        self.interrupted = false;
        Some((half, self.input.lend()))
    }

    /// When the task must run next if nothing else happens; called before it goes to sleep.
    fn wakeup(&mut self) -> Option<Instant> {
        let at = match self.step {
            Step::Running => self.end.poll_timeout(),
            Step::Flushing | Step::Closing | Step::Lingering => Some(self.until),
            // Only what is in flight is waited for.
            Step::Done => None,
        };
        let slow = match self.step {
            // Where all output is in the write, the endpoint waits for nothing.
            Step::Running => self.writer.is_none() && self.full,
            Step::Flushing => self.writer.is_none() && self.graceful,
            _ => false,
        };
        if slow {
            self.progress.watch(|| self.closer.unacknowledged(), self.host.now());
        } else {
            self.progress.rest();
        }
        let look = self.progress.next_look();
        if look == Instant::NEVER { at } else { Some(at.map_or(look, |at| at.min(look))) }
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
