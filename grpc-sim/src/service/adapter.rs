//! Ends that are driven by the loop that runs on sockets ([`grpc_service::drive`]), over simulated completions.
//!
//! ```text
//!   loop ──read/write──> [operation] ··(latency)··> completed ──> loop       as io_uring has it
//!                             │ bytes move here, at completion
//!                             v
//!                      receive buffer / Pipe
//! ```
//!
//! An operation completes at once, soon or late, reads and writes in any order, with fewer bytes than there were, or
//! with an error when the connection is reset or closed meanwhile. One that is dropped in flight has lost bytes, and
//! breaks a rule.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use grpc_proto::http2::Side;
use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::Endpoint;
use grpc_service::drive::{Close, Orders, Phase, ReadHalf, Transport, WriteHalf, drive};

use super::link::Either;
use super::{Event, Place, Sim, State};
use crate::entropy::mix;
use crate::invariants::other;
use crate::marks::Mark;
use crate::oracle::Oracle;

/// Which of the two operations of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// What an adapter's loop has with the kernel.
pub(super) struct Socket {
    /// The task that runs the loop.
    pub(super) task: usize,
    read: Option<Operation>,
    write: Option<Operation>,
    /// Neither direction goes on.
    closed: bool,
    /// The loop is done.
    done: bool,
    phase: Phase,
    /// Who is to hear of another phase.
    orders: Option<Waker>,
    /// Bytes that the endpoint has said, and that the network took.
    said: u64,
    written: u64,
    /// Bytes of the write that is under way.
    offered: u64,
    /// Bytes that reads have brought, and that the endpoint has taken.
    fetched: u64,
    taken: u64,
    operations: u64,
}

/// One that is under way.
struct Operation {
    waker: Waker,
    /// Its completion has been scheduled.
    scheduled: bool,
    completed: bool,
}

/// How an operation goes, as its number decides.
struct Fate {
    in_place: bool,
    latency_ns: u64,
    short: Option<u64>,
}

impl Socket {
    pub(super) fn new(task: usize) -> Self {
        Socket {
            task,
            read: None,
            write: None,
            closed: false,
            done: false,
            phase: Phase::Run,
            orders: None,
            said: 0,
            written: 0,
            offered: 0,
            fetched: 0,
            taken: 0,
            operations: 0,
        }
    }

    fn operation(&mut self, direction: Direction) -> &mut Option<Operation> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether the loop has a write with the network.
    pub(super) fn is_writing(&self) -> bool {
        self.write.is_some()
    }

    /// Whether the endpoint has said more than the write that is under way holds: it waits for room itself.
    pub(super) fn is_full(&self) -> bool {
        self.is_writing() && self.said - self.written > self.offered
    }

    /// Whether nothing waits between the endpoint and the network.
    pub(super) fn is_quiet(&self) -> bool {
        self.said == self.written && self.fetched == self.taken
    }

    /// Whether what arrives is for nobody.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Tells the loop to go.
    pub(super) fn order(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
        if let Some(waker) = self.orders.take() {
            waker.wake();
        }
    }

    fn fate(&mut self, seed: u64) -> Fate {
        self.operations += 1;
        let random = mix(seed, self.operations);
        Fate {
            in_place: random.is_multiple_of(8),
            // A conversation in many small parts is not slowed down for ever, or timeouts would be its fault.
            latency_ns: match random >> 8 & 3 {
                _ if self.operations > 500 => 0,
                0 | 1 => 0,
                2 => (random >> 16) % 50_000,
                _ => (random >> 16) % 2_000_000,
            },
            short: (random >> 12 & 3 == 0).then_some(random >> 24),
        }
    }
}

impl Fate {
    /// How many of `bytes` are moved, at least one.
    fn cut(&self, bytes: usize) -> usize {
        match self.short {
            Some(random) if bytes > 0 => 1 + (random % bytes as u64) as usize,
            _ => bytes,
        }
    }
}

impl State {
    /// Schedules the completion of what can complete by now.
    pub(super) fn look_at_operations(&mut self, index: usize, side: Side) {
        for direction in [Direction::Read, Direction::Write] {
            if !self.links[index].is_able(side, direction) {
                continue;
            }
            let seed = self.seed_of(index, side);
            let Some(socket) = self.links[index].socket(side) else { return };
            let latency = socket.fate(seed).latency_ns;
            if let Some(operation) = socket.operation(direction)
                && !std::mem::replace(&mut operation.scheduled, true)
            {
                self.queue.after(latency, Event::Complete(index, side, direction));
            }
        }
    }

    /// An operation completes: its future moves the bytes when it is polled next.
    pub(super) fn complete(&mut self, index: usize, side: Side, direction: Direction) {
        let Some(socket) = self.links[index].socket(side) else { return };
        if let Some(operation) = socket.operation(direction) {
            operation.completed = true;
            operation.waker.wake_by_ref();
        }
    }

    fn seed_of(&self, index: usize, side: Side) -> u64 {
        mix(self.seed, 1 << 40 | (index as u64) << 1 | u64::from(side == Side::Server))
    }
}

/// One end of a connection as a transport of the loop.
pub(super) struct Line {
    sim: Sim,
    index: usize,
    side: Side,
}

/// An endpoint whose words the world listens to.
struct Tap {
    line: Line,
    end: Rc<RefCell<Either>>,
}

impl Line {
    pub(super) fn new(sim: &Sim, index: usize, side: Side) -> Self {
        Line { sim: sim.clone(), index, side }
    }

    fn same(&self) -> Self {
        Line::new(&self.sim, self.index, self.side)
    }

    /// Runs the loop around `end` until both are done.
    pub(super) async fn run(self, end: Rc<RefCell<Either>>) {
        let (line, host) = (self.same(), self.sim.host());
        let tap = Tap { line: self.same(), end };
        // What ended the connection was told to its calls.
        let _ = drive(tap, self, host, line.same()).await;
        let state = &mut *line.sim.state.borrow_mut();
        if let Some(socket) = state.links[line.index].socket(line.side) {
            socket.done = true;
        }
        line.finish(state);
    }

    /// Has the peer read the end behind what was written.
    fn finish(&self, state: &mut State) {
        let now = state.queue.now_ns();
        if let Some(due) = state.links[self.index].close_write(self.side, now) {
            state.deliver_at(self.index, other(self.side), due);
        }
        state.look_at_operations(self.index, self.side);
    }

    /// Waits until an operation completes; `false` if its end of the world is gone.
    async fn complete(&self, direction: Direction) -> bool {
        let guard = InFlight { line: self, direction, over: false };
        poll_fn(|cx| self.poll_complete(direction, cx)).await;
        guard.land()
    }

    fn poll_complete(&self, direction: Direction, cx: &Context<'_>) -> Poll<()> {
        let state = &mut *self.sim.state.borrow_mut();
        let able = state.links[self.index].is_able(self.side, direction);
        let seed = state.seed_of(self.index, self.side);
        let Some(socket) = state.links[self.index].socket(self.side) else {
            return Poll::Ready(());
        };
        let fate = socket.fate(seed);
        match socket.operation(direction) {
            Some(operation) if operation.completed => return Poll::Ready(()),
            Some(operation) => operation.waker.clone_from(cx.waker()),
            None if able && fate.in_place => {
                state.links[self.index].reach(Mark::CompletedInPlace);
                return Poll::Ready(());
            }
            none => {
                let waker = cx.waker().clone();
                *none = Some(Operation { waker, scheduled: false, completed: false });
            }
        }
        state.look_at_operations(self.index, self.side);
        Poll::Pending
    }
}

/// Tells when an operation is dropped before it has completed.
struct InFlight<'l> {
    line: &'l Line,
    direction: Direction,
    over: bool,
}

impl InFlight<'_> {
    /// The operation has completed; `false` if its end of the world is gone.
    fn land(mut self) -> bool {
        self.over = true;
        let state = &mut *self.line.sim.state.borrow_mut();
        let Some(socket) = state.links[self.line.index].socket(self.line.side) else {
            return false;
        };
        *socket.operation(self.direction) = None;
        true
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let state = &mut *self.line.sim.state.borrow_mut();
        // Of an end that has crashed, or a world that is taken apart, nothing is lost.
        let link = state.links.get_mut(self.line.index);
        if link.is_some_and(|link| link.socket(self.line.side).is_some()) {
            let (index, side, direction) = (self.line.index, self.line.side, self.direction);
            let text =
                format!("connection {index}, {side:?}: a {direction:?} was dropped in flight");
            state.fail(Oracle::Prefix, text);
        }
    }
}

impl Transport for Line {
    type Reader = Reader;
    type Writer = Writer;
    type Closer = Closer;

    fn split(self) -> (Reader, Writer, Closer) {
        (Reader(self.same()), Writer(self.same()), Closer(self))
    }
}

pub(super) struct Reader(Line);

impl ReadHalf for Reader {
    async fn read(self, mut buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
        let line = &self.0;
        let there = line.complete(Direction::Read).await;
        let result = if there { line.fetch(&mut buffer) } else { Ok(0) };
        (self, result, buffer)
    }
}

pub(super) struct Writer(Line);

impl WriteHalf for Writer {
    async fn write(self, out: Transmit) -> (Self, io::Result<usize>, Transmit) {
        let line = &self.0;
        line.offer(&out);
        let there = line.complete(Direction::Write).await;
        let result = if there { line.put(&out) } else { Ok(0) };
        (self, result, out)
    }

    async fn close(self) -> (Self, io::Result<()>) {
        self.0.finish(&mut self.0.sim.state.borrow_mut());
        (self, Ok(()))
    }
}

pub(super) struct Closer(Line);

impl Close for Closer {
    fn close(&mut self) {
        let state = &mut *self.0.sim.state.borrow_mut();
        let link = &mut state.links[self.0.index];
        let mut in_flight = false;
        if let Some(socket) = link.socket(self.0.side) {
            socket.closed = true;
            in_flight = socket.read.is_some();
        }
        if in_flight {
            link.reach(Mark::ClosedInFlight);
        }
        self.0.finish(state);
    }
}

impl Line {
    /// Moves what has arrived into a read's buffer.
    fn fetch(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let state = &mut *self.sim.state.borrow_mut();
        let seed = state.seed_of(self.index, self.side);
        let link = &mut state.links[self.index];
        let Some(socket) = link.socket(self.side) else { return Ok(0) };
        let fate = socket.fate(seed);
        let received = link.received(self.side);
        let available = fate.cut(received.len().min(buffer.capacity()));
        if available == 0 && link.is_reset() && fate.short.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        buffer.extend(link.received(self.side).drain(..available));
        if let Some(socket) = link.socket(self.side) {
            socket.fetched += available as u64;
        }
        // Room in the receive buffer is room for what waits in the network.
        state.wake(Place::End(self.index, self.side));
        Ok(available)
    }

    /// Notes what a write holds that begins.
    fn offer(&self, out: &Transmit) {
        let state = &mut *self.sim.state.borrow_mut();
        if let Some(socket) = state.links[self.index].socket(self.side) {
            socket.offered = out.len() as u64;
        }
    }

    /// Moves what is being written into the network.
    fn put(&self, out: &Transmit) -> io::Result<usize> {
        let state = &mut *self.sim.state.borrow_mut();
        let seed = state.seed_of(self.index, self.side);
        let now = state.queue.now_ns();
        let link = &mut state.links[self.index];
        let Some(socket) = link.socket(self.side) else { return Ok(0) };
        let fate = socket.fate(seed);
        if link.is_finished(self.side) {
            let nobody = io::ErrorKind::BrokenPipe.into();
            return if fate.short.is_some() { Ok(0) } else { Err(nobody) };
        }
        let space = link.space(self.side);
        let wanted = out.len().min(space);
        let mut left = fate.cut(wanted);
        if left < out.len() {
            link.reach(Mark::CompletedShort);
        }
        let (mut due, mut written) = (now, 0);
        for chunk in out.chunks() {
            let part = &chunk[..chunk.len().min(left)];
            if part.is_empty() {
                break;
            }
            due = link.write(self.side, part, now);
            state.trace.wrote(now, (self.index, self.side), part);
            left -= part.len();
            written += part.len();
        }
        if let Some(socket) = link.socket(self.side) {
            socket.written += written as u64;
        }
        state.deliver_at(self.index, other(self.side), due);
        Ok(written)
    }
}

impl Orders for Line {
    fn poll_phase(&self, cx: &Context<'_>) -> Phase {
        let state = &mut *self.sim.state.borrow_mut();
        let Some(socket) = state.links[self.index].socket(self.side) else { return Phase::Run };
        socket.orders = Some(cx.waker().clone());
        socket.phase
    }
}

impl Endpoint for Tap {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let (given, before) = (input.len(), out.len());
        let driven = self.end.borrow_mut().endpoint().drive(input, out, cx, now);
        let (mut said, mut known) = (Vec::new(), before);
        if out.len() > before {
            for chunk in out.chunks() {
                let part = known.min(chunk.len());
                known -= part;
                said.extend_from_slice(&chunk[part..]);
            }
        }
        self.line.heard(given - input.len(), &said, driven.as_ref().err());
        driven
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.end.borrow_mut().endpoint().poll_timeout()
    }

    fn is_trimmed(&self) -> bool {
        self.end.borrow_mut().endpoint().is_trimmed()
    }

    fn note_delivery(&mut self, now: Instant) {
        self.end.borrow_mut().endpoint().note_delivery(now);
    }

    fn close_read(&mut self, now: Instant) {
        self.end.borrow_mut().endpoint().close_read(now);
    }

    fn shutdown(&mut self, now: Instant) {
        self.end.borrow_mut().endpoint().shutdown(now);
    }

    fn abort(&mut self, now: Instant) {
        self.end.borrow_mut().endpoint().abort(now);
    }

    fn is_drained(&self) -> bool {
        self.end.borrow_mut().endpoint().is_drained()
    }
}

impl Line {
    /// A turn of the endpoint is over: what it read and said is held against the rules.
    fn heard(&self, read: usize, said: &[u8], ended: Option<&ConnectionError>) {
        let state = &mut *self.sim.state.borrow_mut();
        let (index, side, probing) = (self.index, self.side, state.probing);
        let now = state.now();
        let link = &mut state.links[index];
        let Some(socket) = link.socket(side) else { return };
        socket.taken += read as u64;
        socket.said += said.len() as u64;
        if probing && (read > 0 || !said.is_empty() || ended.is_some()) {
            let text = format!(
                "connection {index}, {side:?} at rest: {read} bytes taken, {} said, {ended:?}",
                said.len()
            );
            return state.fail(Oracle::MissedWakeup, text);
        }
        if let Err(text) = link.listen(side, read, said, ended, now) {
            return state.fail(Oracle::Wire, format!("connection {index}, {text}"));
        }
        if let Err((oracle, text)) = link.check() {
            state.fail(oracle, format!("connection {index}: {text}"));
        }
    }
}
