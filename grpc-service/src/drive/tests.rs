use std::cell::Cell;
use std::future::ready;

use grpc_proto::{CallHead, Client, Config, Connection};

use super::*;
use crate::testing::MemoryHost;

/// A transport without a peer.
struct Nowhere;

impl Transport for Nowhere {
    type Reader = Nowhere;
    type Writer = Nowhere;
    type Closer = Nowhere;

    fn split(self) -> (Nowhere, Nowhere, Nowhere) {
        (Nowhere, Nowhere, Nowhere)
    }
}

impl ReadHalf for Nowhere {
    fn read(self, buffer: Vec<u8>) -> impl Future<Output = (Self, io::Result<usize>, Vec<u8>)> {
        ready((self, Ok(0), buffer))
    }
}

impl WriteHalf for Nowhere {
    fn write(self, out: Transmit) -> impl Future<Output = (Self, io::Result<usize>, Transmit)> {
        let written = out.len();
        ready((self, Ok(written), out))
    }

    fn close(self) -> impl Future<Output = (Self, io::Result<()>)> {
        ready((self, Ok(())))
    }
}

impl Close for Nowhere {
    fn close(&mut self) {}
}

/// A host whose clock the test sets.
#[derive(Default)]
struct Clock(Cell<Instant>);

impl Host for Rc<Clock> {
    fn now(&self) -> Instant {
        self.0.get()
    }

    fn timer(&self, _: Instant) -> LocalFuture<()> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, _: LocalFuture<()>) {}

    fn entropy(&self) -> u64 {
        0
    }
}

/// The phase that the test sets.
impl Orders for Rc<Cell<Phase>> {
    fn poll_phase(&self, _: &Context<'_>) -> Phase {
        self.get()
    }
}

/// A client that sends all that it has, and is idle, drained or failed as the test sets it.
struct Talker {
    connection: Connection<Client>,
    idle: bool,
    drained: bool,
    fails: bool,
    /// When it was called about output that was delivered.
    delivered: Vec<Instant>,
}

impl Talker {
    /// One that has a hundred calls to make.
    fn new() -> Self {
        let mut connection = Connection::new(&Config::default(), 0, Instant::ZERO);
        let path = format!("/a.B/{}", "m".repeat(1000));
        for _ in 0..100 {
            connection.call(&CallHead::new(&path, "localhost"), None, Instant::ZERO).unwrap();
        }
        Self { connection, idle: false, drained: false, fails: false, delivered: Vec::new() }
    }
}

impl Endpoint for Talker {
    fn drive(
        &mut self,
        _: &mut &[u8],
        out: &mut Transmit,
        _: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while self.connection.has_output() {
            self.connection.poll_transmit(out, now);
        }
        if self.fails { Err(ConnectionError::Closed(None)) } else { Ok(()) }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn note_delivery(&mut self, now: Instant) {
        self.delivered.push(now);
    }

    fn close_read(&mut self, _: Instant) {}
    fn shutdown(&mut self, _: Instant) {}
    fn abort(&mut self, _: Instant) {}

    fn is_drained(&self) -> bool {
        self.drained
    }

    fn is_trimmed(&self) -> bool {
        self.idle
    }
}

#[test]
fn an_idle_connection_gives_its_output_buffers_back() {
    let end = Talker::new();
    let host = Rc::new(MemoryHost::new(0));
    let mut line = Line::<_, Nowhere, _>::new(end, Nowhere, Nowhere, Nowhere, host, ());
    let turn = |line: &mut Line<Talker, Nowhere, ()>| {
        line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
    };
    turn(&mut line);
    let (half, out) = line.next_write().expect("something to write");
    let len = out.len();
    line.on_written(half, Ok(len), out);
    turn(&mut line);
    assert!(line.spare.heap_bytes() >= len);
    line.end.idle = true;
    turn(&mut line);
    assert_eq!(line.spare.heap_bytes() + line.filling.heap_bytes(), 0);
}

/// A connection that ends at time zero, while its last output is being written.
struct Ending {
    line: Line<Talker, Nowhere, Rc<Cell<Phase>>>,
    clock: Rc<Clock>,
    phase: Rc<Cell<Phase>>,
    write: Option<(Nowhere, Transmit)>,
}

impl Ending {
    fn new(fails: bool) -> Self {
        let end = Talker { drained: true, fails, ..Talker::new() };
        let (clock, phase) = (Rc::new(Clock::default()), Rc::new(Cell::new(Phase::Run)));
        let (host, orders) = (Rc::new(Rc::clone(&clock)), Rc::clone(&phase));
        let line = Line::new(end, Nowhere, Nowhere, Nowhere, host, orders);
        let mut ending = Self { line, clock, phase, write: None };
        ending.turn_at(0);
        ending.write = ending.line.next_write();
        assert!(ending.write.is_some());
        ending
    }

    /// Whether the last output is still being written, so many milliseconds after the end.
    fn turn_at(&mut self, millis: u64) -> bool {
        self.clock.0.set(Instant::from_millis(millis));
        self.line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
        self.line.step == Step::Flushing
    }

    /// All output is written, so many milliseconds after the end.
    fn written_at(&mut self, millis: u64) {
        let (half, out) = self.write.take().unwrap();
        let len = out.len();
        self.line.on_written(half, Ok(len), out);
        self.turn_at(millis);
        self.closed_at(millis);
    }

    /// Our direction is closed, so many milliseconds after the end.
    fn closed_at(&mut self, millis: u64) {
        let half = self.line.next_close().expect("all is written");
        self.line.on_closed(half, Ok(()));
        self.turn_at(millis);
        assert!(self.line.step >= Step::Lingering, "the peer may close its side");
    }

    /// The peer sends so many bytes; whether the loop still lingers.
    fn receives_at(&mut self, millis: u64, bytes: usize) -> bool {
        self.clock.0.set(Instant::from_millis(millis));
        let (half, mut buffer) = self.line.next_read().expect("it reads");
        buffer.resize(bytes, 0);
        self.line.on_read(half, Ok(bytes), buffer);
        self.turn_at(millis);
        self.line.step == Step::Lingering
    }
}

#[test]
fn a_graceful_end_waits_for_a_peer_that_reads_slowly() {
    let mut ending = Ending::new(false);
    assert!(ending.turn_at(2_000) && ending.turn_at(30_000));
    ending.written_at(30_500);
    ending.turn_at(31_499);
    assert!(ending.line.step == Step::Lingering);
    ending.turn_at(31_500);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_graceful_end_waits_a_minute_for_a_peer_that_does_not_read() {
    let mut ending = Ending::new(false);
    assert!(ending.turn_at(59_999));
    ending.turn_at(60_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn an_abort_leaves_a_second_for_the_last_output() {
    let mut ending = Ending::new(false);
    assert!(ending.turn_at(5_000));
    ending.phase.set(Phase::Drain);
    assert!(ending.turn_at(10_000));
    ending.phase.set(Phase::Abort);
    assert!(ending.turn_at(15_000) && ending.turn_at(15_999));
    ending.turn_at(16_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_failed_connection_has_a_second_for_its_last_output() {
    let mut ending = Ending::new(true);
    assert!(ending.turn_at(999));
    ending.turn_at(1_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_graceful_end_lingers_for_30_seconds_while_the_peer_sends() {
    let mut ending = Ending::new(false);
    ending.written_at(50_000);
    for millis in (50_900..80_000).step_by(900) {
        assert!(ending.receives_at(millis, 13), "{millis}");
    }
    ending.turn_at(79_999);
    assert!(ending.line.step == Step::Lingering);
    ending.turn_at(80_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_graceful_end_discards_16_mib_and_no_more() {
    let mut ending = Ending::new(false);
    for _ in 0..100 {
        ending.receives_at(1_000, 64 << 10);
    }
    ending.written_at(2_000);
    for _ in 101..256 {
        assert!(ending.receives_at(2_000, 64 << 10));
    }
    assert!(!ending.receives_at(2_000, 64 << 10));
    assert!(ending.line.step == Step::Done);
}

#[test]
fn the_last_output_is_written_though_the_peer_has_sent_too_much() {
    let mut ending = Ending::new(false);
    for _ in 0..256 {
        ending.receives_at(1_000, 64 << 10);
    }
    assert!(ending.line.next_read().is_none() && ending.turn_at(59_999));
    let (half, out) = ending.write.take().unwrap();
    let len = out.len();
    ending.line.on_written(half, Ok(len), out);
    ending.turn_at(59_999);
    ending.closed_at(59_999);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn an_abort_while_lingering_leaves_one_second() {
    let mut ending = Ending::new(false);
    ending.written_at(1_000);
    assert!(ending.receives_at(1_900, 13));
    ending.phase.set(Phase::Abort);
    assert!(ending.receives_at(2_000, 13) && ending.receives_at(2_900, 13));
    ending.turn_at(3_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_failed_connection_lingers_for_the_rest_of_its_second() {
    let mut ending = Ending::new(true);
    ending.written_at(500);
    assert!(ending.receives_at(900, 13));
    ending.turn_at(1_000);
    assert!(ending.line.step == Step::Done);
}

/// A transport of which a test decides when operations complete, and what is acknowledged.
#[derive(Clone, Default)]
struct Scripted {
    unacknowledged: Rc<Cell<usize>>,
    /// Operations that were begun and have ended, in order.
    log: Rc<std::cell::RefCell<Vec<&'static str>>>,
    /// Writes and closings may complete.
    goes_on: Rc<Cell<bool>>,
    /// Closings wait for the end of the transport.
    close_stalls: Rc<Cell<bool>>,
    closed: Rc<Cell<bool>>,
}

impl Scripted {
    async fn wait(&self, begun: &'static str, ended: &'static str, stalls: bool) {
        self.log.borrow_mut().push(begun);
        poll_fn(|_| match self.closed.get() || (self.goes_on.get() && !stalls) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        self.log.borrow_mut().push(ended);
    }
}

impl Transport for Scripted {
    type Reader = Scripted;
    type Writer = Scripted;
    type Closer = Scripted;

    fn split(self) -> (Scripted, Scripted, Scripted) {
        (self.clone(), self.clone(), self)
    }
}

impl ReadHalf for Scripted {
    async fn read(self, buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
        let closed = Rc::clone(&self.closed);
        poll_fn(|_| if closed.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        (self, Ok(0), buffer)
    }
}

impl WriteHalf for Scripted {
    async fn write(self, out: Transmit) -> (Self, io::Result<usize>, Transmit) {
        self.wait("write", "written", false).await;
        let written = out.len();
        (self, Ok(written), out)
    }

    async fn close(self) -> (Self, io::Result<()>) {
        self.wait("close_notify", "half-closed", self.close_stalls.get()).await;
        (self, Ok(()))
    }
}

impl Close for Scripted {
    fn close(&mut self) {
        self.log.borrow_mut().push("closed");
        self.closed.set(true);
    }

    fn interrupt_read(&mut self) {
        self.log.borrow_mut().push("interrupted");
    }

    fn unacknowledged(&self) -> Option<usize> {
        Some(self.unacknowledged.get())
    }
}

/// A whole loop over such a transport, which ends at once.
struct Scene {
    driven: LocalFuture<Result<(), ConnectionError>>,
    transport: Scripted,
    clock: Rc<Clock>,
}

impl Scene {
    fn new() -> Self {
        let (transport, clock) = (Scripted::default(), Rc::new(Clock::default()));
        let end = Talker { drained: true, ..Talker::new() };
        let driven = drive(end, transport.clone(), Rc::new(Rc::clone(&clock)), ());
        Self { driven: Box::pin(driven), transport, clock }
    }

    /// Runs the loop, so many milliseconds after its start; whether it is over.
    fn is_over_at(&mut self, millis: u64) -> bool {
        self.clock.0.set(Instant::from_millis(millis));
        self.driven.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn log(&self) -> Vec<&'static str> {
        self.transport.log.borrow().clone()
    }
}

#[test]
fn the_writing_half_closes_behind_all_output_and_before_the_transport() {
    let mut scene = Scene::new();
    assert!(!scene.is_over_at(0));
    assert_eq!(scene.log(), ["write"], "what is being written comes first");
    scene.transport.goes_on.set(true);
    assert!(!scene.is_over_at(100));
    assert_eq!(scene.log(), ["write", "written", "close_notify", "half-closed"]);
    // The peer does not close its side.
    assert!(!scene.is_over_at(1_099));
    assert!(scene.is_over_at(1_100));
    assert_eq!(scene.log().last(), Some(&"closed"));
}

#[test]
fn a_close_that_does_not_complete_ends_with_the_transport() {
    let mut scene = Scene::new();
    scene.transport.close_stalls.set(true);
    scene.transport.goes_on.set(true);
    assert!(!scene.is_over_at(0) && !scene.is_over_at(59_999));
    assert_eq!(scene.log(), ["write", "written", "close_notify"]);
    assert!(scene.is_over_at(60_000));
    assert_eq!(scene.log()[3..], ["closed", "half-closed"]);
}

#[test]
fn the_last_output_has_a_minute_from_each_acknowledgement() {
    let mut scene = Scene::new();
    scene.transport.unacknowledged.set(1_000_000);
    assert!(!scene.is_over_at(0));
    for n in 1..=9 {
        scene.transport.unacknowledged.set(1_000_000 - n * 128);
        assert!(!scene.is_over_at(n as u64 * 59_000), "{n}");
    }
    // A byte is no progress.
    scene.transport.unacknowledged.set(1_000_000 - 9 * 128 - 1);
    assert!(!scene.is_over_at(590_999));
    assert!(scene.is_over_at(591_000));
}

#[test]
fn the_last_output_has_ten_minutes_in_all() {
    let mut scene = Scene::new();
    scene.transport.unacknowledged.set(1_000_000);
    assert!(!scene.is_over_at(0));
    for n in 1..600 {
        scene.transport.unacknowledged.set(1_000_000 - n * 1000);
        assert!(!scene.is_over_at(n as u64 * 1000), "{n}");
    }
    scene.transport.unacknowledged.set(0);
    assert!(scene.is_over_at(600_000));
}

/// The endpoint hears of progress before it is driven at its timeout, and only where its output waits for the write.
#[test]
fn an_endpoint_whose_output_waits_learns_what_is_acknowledged() {
    for full in [true, false] {
        let (transport, clock) = (Scripted::default(), Rc::new(Clock::default()));
        let end = Talker::new();
        let (host, closer) = (Rc::new(Rc::clone(&clock)), transport.clone());
        let (reader, writer) = (transport.clone(), transport.clone());
        let mut line = Line::<_, Scripted, _>::new(end, reader, writer, closer, host, ());
        let turn = |line: &mut Line<Talker, Scripted, ()>, millis| {
            clock.0.set(Instant::from_millis(millis));
            line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
        };
        turn(&mut line, 0);
        assert!(line.next_write().is_some());
        line.full = full;
        transport.unacknowledged.set(1000);
        let look = line.wakeup();
        assert_eq!(look, full.then_some(Instant::from_millis(10)), "{full}");
        transport.unacknowledged.set(800);
        turn(&mut line, 10);
        assert_eq!(line.end.delivered, look.as_slice());
        // Once for the same bytes.
        line.full = full;
        line.wakeup();
        turn(&mut line, 20);
        assert_eq!(line.end.delivered, look.as_slice());
    }
}

#[test]
fn an_idle_connection_gives_a_large_read_buffer_back() {
    let (transport, host) = (Scripted::default(), Rc::new(MemoryHost::new(0)));
    let (reader, writer, closer) = (transport.clone(), transport.clone(), transport.clone());
    let mut line = Line::<_, Scripted, _>::new(Talker::new(), reader, writer, closer, host, ());
    let turn = |line: &mut Line<Talker, Scripted, ()>| {
        line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
    };
    turn(&mut line);
    let (half, out) = line.next_write().expect("something to write");
    let len = out.len();
    line.on_written(half, Ok(len), out);
    // A read that fills its buffer is followed by a larger one.
    let (half, mut buffer) = line.next_read().expect("it reads");
    let small = buffer.capacity();
    buffer.resize(small, 7);
    line.on_read(half, Ok(small), buffer);
    line.input.keep(0);
    let (half, buffer) = line.next_read().expect("it reads");
    assert!(buffer.capacity() > small);
    turn(&mut line);
    assert_eq!(transport.log.borrow()[..], [""; 0], "it is busy");
    line.end.idle = true;
    turn(&mut line);
    turn(&mut line);
    assert_eq!(transport.log.borrow()[..], ["interrupted"], "once a read");
    line.on_read(half, Err(io::ErrorKind::Interrupted.into()), buffer);
    let (half, buffer) = line.next_read().expect("it reads on");
    assert_eq!(buffer.capacity(), small);
    turn(&mut line);
    assert_eq!(transport.log.borrow()[..], ["interrupted"], "a small one stays");
    // Bytes that came before the interruption are read like any others.
    line.on_read(half, Ok(1), vec![7]);
    assert_eq!(line.input.rest(), [7]);
}

#[test]
fn of_a_read_buffer_only_the_bytes_that_were_read_count() {
    let host = Rc::new(MemoryHost::new(0));
    let mut line = Line::<_, Nowhere, _>::new(Talker::new(), Nowhere, Nowhere, Nowhere, host, ());
    let (half, mut buffer) = line.next_read().expect("it reads");
    buffer.resize(100, 7);
    line.on_read(half, Ok(3), buffer);
    assert_eq!(line.input.rest(), [7; 3]);
    // Another buffer than the one that was lent may come back.
    line.input.keep(0);
    let (half, _) = line.next_read().expect("it reads");
    line.on_read(half, Ok(2), vec![1, 2]);
    assert_eq!(line.input.rest(), [1, 2]);
}
