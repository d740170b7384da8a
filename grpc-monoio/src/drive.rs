//! The task of one connection: one read and one write in flight, and the endpoint between them.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant};
use grpc_service::{Endpoint, Host};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Split, Splitable};
use monoio::time::Sleep;
use nix::sys::socket::{Shutdown, shutdown};

use crate::buffers::{Outgoing, ReadBuffer, receive, send};
use crate::group::{Member, Phase};
use crate::nudge::Nudge;

/// Time for the last words of a connection to leave, and for the peer to close its side.
///
/// Closing a socket that has unread input resets it, which may destroy what the peer has not read yet.
const LINGER: Duration = Duration::from_secs(1);
/// Rounds of input and output in one turn of the task, before the other tasks get theirs.
const ROUNDS: usize = 8;

/// Drives `end` over `stream` until both are done.
///
/// Nothing in flight is ever dropped, which would lose bytes on io_uring: the socket is shut down first, and what was
/// in flight completes.
pub(crate) async fn drive<E, S>(
    end: E,
    stream: S,
    host: Rc<dyn Host>,
    member: Option<Member>,
) -> Result<(), ConnectionError>
where
    E: Endpoint,
    S: AsyncReadRent + AsyncWriteRent + Split + AsRawFd,
{
    let fd = stream.as_raw_fd();
    let (reader, writer) = stream.into_split();
    let mut line = Line {
        end,
        fd,
        host,
        member,
        phase: Phase::Run,
        reader: Some(reader),
        input: ReadBuffer::new(),
        writer: Some(writer),
        filling: Outgoing::default(),
        spare: Outgoing::default(),
        rest: None,
        step: Step::Running,
        eof: false,
        until: Instant::NEVER,
        outcome: Ok(()),
    };
    let mut read = pin!(none_of(receive::<OwnedReadHalf<S>>));
    let mut write = pin!(none_of(send::<OwnedWriteHalf<S>>));
    let mut timer = None;
    let nudge = Nudge::new();
    let nudger = Waker::from(Arc::clone(&nudge));

    poll_fn(|cx| {
        nudge.enter(cx.waker());
        for round in 0..ROUNDS {
            // The first round runs for whatever woke the task.
            let mut news = round == 0;
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
                if !arm(&mut timer, line.wakeup(), &line.host, cx) {
                    nudge.again();
                }
                return nudge.leave(cx.waker());
            }
            line.turn(cx, &nudger);
            if let Some((half, out)) = line.next_write() {
                write.set(Some(send(half, out)));
            }
            if let Some((half, buffer)) = line.next_read() {
                read.set(Some(receive(half, buffer)));
            }
            if line.step == Step::Done && read.is_none() && write.is_none() {
                return Poll::Ready(());
            }
        }
        nudge.again();
        nudge.leave(cx.waker())
    })
    .await;
    line.outcome
}

/// A place for the futures that `operation` returns, whose type has no name.
fn none_of<A, B, F>(_operation: impl Fn(A, B) -> F) -> Option<F> {
    None
}

/// A connection but for what is in flight.
struct Line<E, S: AsyncWriteRent> {
    end: E,
    fd: RawFd,
    host: Rc<dyn Host>,
    member: Option<Member>,
    phase: Phase,
    /// Absent while a read is in flight, and after the end of input.
    reader: Option<OwnedReadHalf<S>>,
    input: ReadBuffer,
    /// Absent while a write is in flight.
    writer: Option<OwnedWriteHalf<S>>,
    /// Output that the endpoint appends to while the other one is being written.
    filling: Outgoing,
    spare: Outgoing,
    /// What a short write left over.
    rest: Option<Outgoing>,
    step: Step,
    eof: bool,
    /// When waiting for the peer ends.
    until: Instant,
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

impl<E: Endpoint, S: AsyncReadRent + AsyncWriteRent> Line<E, S> {
    fn on_written(
        &mut self,
        half: OwnedWriteHalf<S>,
        result: io::Result<usize>,
        mut out: Outgoing,
    ) {
        self.writer = Some(half);
        let written = result.unwrap_or(0);
        if written == 0 {
            // Nobody will read what we say: the endpoint hears of it as of an end of input.
            out.transmit.clear();
            self.filling.transmit.clear();
            self.end.close_read(self.host.now());
            self.eof = true;
        }
        out.transmit.advance(written);
        if out.transmit.is_empty() {
            self.spare = out;
        } else {
            self.rest = Some(out);
        }
    }

    fn on_read(&mut self, half: OwnedReadHalf<S>, result: io::Result<usize>, buffer: ReadBuffer) {
        self.input = buffer;
        if result.unwrap_or(0) > 0 {
            self.reader = Some(half);
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
            let mut input = self.input.rest();
            let mut context = Context::from_waker(nudger);
            let driven = self.end.drive(&mut input, &mut self.filling.transmit, &mut context, now);
            let left = input.len();
            self.input.keep(left);
            if driven.is_err() || self.end.is_drained() {
                self.outcome = driven;
                self.step = Step::Flushing;
                self.until = now + LINGER;
            }
        } else {
            // What still comes is for nobody.
            self.input.keep(0);
        }
        let flushed =
            self.writer.is_some() && self.rest.is_none() && self.filling.transmit.is_empty();
        if self.step == Step::Flushing && flushed {
            self.step = Step::Lingering;
            // An error means that the peer is gone.
            let _ = shutdown(self.fd, Shutdown::Write);
        }
        let waited = self.step >= Step::Flushing && now >= self.until;
        if waited || (self.step == Step::Lingering && self.eof) {
            self.step = Step::Done;
            let _ = shutdown(self.fd, Shutdown::Both);
        }
    }

    /// Does what the group was told since.
    fn heed(&mut self, cx: &Context<'_>, now: Instant) {
        let Some(member) = &self.member else { return };
        let wanted = member.poll_phase(cx);
        if wanted > self.phase {
            self.phase = wanted;
            if wanted == Phase::Abort { self.end.abort(now) } else { self.end.shutdown(now) }
        }
    }

    /// What is to be written, if nothing is being written.
    fn next_write(&mut self) -> Option<(OwnedWriteHalf<S>, Outgoing)> {
        if self.step == Step::Done || (self.rest.is_none() && self.filling.transmit.is_empty()) {
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
    fn next_read(&mut self) -> Option<(OwnedReadHalf<S>, ReadBuffer)> {
        if !self.input.rest().is_empty() || self.step == Step::Done {
            return None;
        }
        let half = self.reader.take()?;
        Some((half, self.input.take()))
    }

    fn wakeup(&self) -> Option<Instant> {
        match self.step {
            Step::Running => self.end.poll_timeout(),
            _ => Some(self.until),
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
    host: &Rc<dyn Host>,
    cx: &mut Context<'_>,
) -> bool {
    let Some(at) = at else { return true };
    if let Some(armed) = timer
        && armed.at <= at
        && armed.sleep.as_mut().poll(cx).is_pending()
    {
        return true;
    }
    let deadline = monoio::time::Instant::now() + (at - host.now());
    let armed = timer
        .get_or_insert_with(|| Armed { at, sleep: Box::pin(monoio::time::sleep_until(deadline)) });
    armed.at = at;
    armed.sleep.as_mut().reset(deadline);
    armed.sleep.as_mut().poll(cx).is_pending()
}

/// A timer of the connection; in a box because most connections never move it.
struct Armed {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}
