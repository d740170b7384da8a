use std::cell::Cell;
use std::future::ready;

use grpc_proto::{CallHead, Client, Config, Connection};

use super::*;
use crate::testing::MemoryHost;

/// A transport that nobody is at the other end of.
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
}

impl Close for Nowhere {
    fn close_write(&mut self) {}
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

/// What the test says.
impl Orders for Rc<Cell<Phase>> {
    fn poll_phase(&self, _: &Context<'_>) -> Phase {
        self.get()
    }
}

/// A client that says all that it has to say, and is idle, or done, when it is told so.
struct Talker {
    connection: Connection<Client>,
    idle: bool,
    drained: bool,
    fails: bool,
}

impl Talker {
    /// One that has a hundred calls to make.
    fn new() -> Self {
        let mut connection = Connection::new(&Config::default(), 0, Instant::ZERO);
        let path = format!("/a.B/{}", "m".repeat(1000));
        for _ in 0..100 {
            connection.call(&CallHead::new(&path, "localhost"), None, Instant::ZERO).unwrap();
        }
        Self { connection, idle: false, drained: false, fails: false }
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
fn what_busier_times_needed_for_output_goes_back_when_nobody_has_called_for_a_while() {
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

/// A connection whose last words are being written when it ends, at time zero.
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

    /// Whether the last words have still time to leave, so many milliseconds after the end.
    fn turn_at(&mut self, millis: u64) -> bool {
        self.clock.0.set(Instant::from_millis(millis));
        self.line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
        self.line.step == Step::Flushing
    }

    /// All that was said has left, so many milliseconds after the end.
    fn written_at(&mut self, millis: u64) {
        let (half, out) = self.write.take().unwrap();
        let len = out.len();
        self.line.on_written(half, Ok(len), out);
        self.turn_at(millis);
        assert!(self.line.step == Step::Lingering, "the peer may close its side");
    }

    /// The peer says so many bytes; whether it is still listened to.
    fn hears_at(&mut self, millis: u64, bytes: usize) -> bool {
        self.clock.0.set(Instant::from_millis(millis));
        let (half, mut buffer) = self.line.next_read().expect("it reads");
        buffer.resize(bytes, 0);
        self.line.on_read(half, Ok(bytes), buffer);
        self.turn_at(millis);
        self.line.step == Step::Lingering
    }
}

#[test]
fn a_peaceful_end_waits_for_a_peer_that_reads_slowly() {
    let mut ending = Ending::new(false);
    assert!(ending.turn_at(2_000) && ending.turn_at(30_000));
    ending.written_at(30_500);
    ending.turn_at(31_499);
    assert!(ending.line.step == Step::Lingering);
    ending.turn_at(31_500);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_peer_that_does_not_read_holds_a_peaceful_end_up_for_a_minute_at_most() {
    let mut ending = Ending::new(false);
    assert!(ending.turn_at(59_999));
    ending.turn_at(60_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn who_is_told_to_go_now_waits_a_second_for_last_words() {
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
fn a_connection_that_has_failed_waits_a_second_for_last_words() {
    let mut ending = Ending::new(true);
    assert!(ending.turn_at(999));
    ending.turn_at(1_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_peer_that_goes_on_to_talk_after_a_peaceful_end_is_heard_for_half_a_minute_at_most() {
    let mut ending = Ending::new(false);
    ending.written_at(50_000);
    for millis in (50_900..80_000).step_by(900) {
        assert!(ending.hears_at(millis, 13), "{millis}");
    }
    ending.turn_at(79_999);
    assert!(ending.line.step == Step::Lingering);
    ending.turn_at(80_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_peer_that_says_too_much_after_a_peaceful_end_is_heard_no_more() {
    let mut ending = Ending::new(false);
    for _ in 0..100 {
        ending.hears_at(1_000, 64 << 10);
    }
    ending.written_at(2_000);
    for _ in 101..256 {
        assert!(ending.hears_at(2_000, 64 << 10));
    }
    assert!(!ending.hears_at(2_000, 64 << 10));
    assert!(ending.line.step == Step::Done);
}

#[test]
fn last_words_leave_though_the_peer_has_said_too_much_before_they_did() {
    let mut ending = Ending::new(false);
    for _ in 0..256 {
        ending.hears_at(1_000, 64 << 10);
    }
    assert!(ending.line.next_read().is_none() && ending.turn_at(59_999));
    let (half, out) = ending.write.take().unwrap();
    let len = out.len();
    ending.line.on_written(half, Ok(len), out);
    ending.turn_at(59_999);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn who_is_told_to_go_now_listens_for_another_second_whatever_is_said() {
    let mut ending = Ending::new(false);
    ending.written_at(1_000);
    assert!(ending.hears_at(1_900, 13));
    ending.phase.set(Phase::Abort);
    assert!(ending.hears_at(2_000, 13) && ending.hears_at(2_900, 13));
    ending.turn_at(3_000);
    assert!(ending.line.step == Step::Done);
}

#[test]
fn a_connection_that_has_failed_listens_for_what_is_left_of_its_second_whatever_is_said() {
    let mut ending = Ending::new(true);
    ending.written_at(500);
    assert!(ending.hears_at(900, 13));
    ending.turn_at(1_000);
    assert!(ending.line.step == Step::Done);
}
