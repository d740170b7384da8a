//! One connection between a channel and a server.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Context;

use grpc_proto::http2::{Session, Side};
use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::drive::Phase;
use grpc_service::{ClientConnection, Endpoint, OUT_MARK, ServerConnection};

use super::adapter::{Direction, Socket};
use crate::adversary::Attacker;
use crate::entropy::mix;
use crate::invariants::{
    holds_too_much, is_looked_at, other, tables_differ, waits_too_much, windows_differ,
};
use crate::marks::{Mark, Marks};
use crate::monitor::Monitor;
use crate::oracle::Oracle;
use crate::pipe::Pipe;
use crate::scenario::PipePlan;

/// Either end.
pub(super) enum Either {
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

impl Either {
    pub(super) fn endpoint(&mut self) -> &mut dyn Endpoint {
        match self {
            Either::Client(end) => &mut **end,
            Either::Server(end) => &mut **end,
        }
    }

    fn open_calls(&self) -> usize {
        match self {
            Either::Client(end) => end.open_calls(),
            Either::Server(end) => end.open_calls(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Either::Client(end) => end.poll_timeout(),
            Either::Server(end) => end.poll_timeout(),
        }
    }

    fn with_session<T>(&self, look: impl FnOnce(usize, &Session) -> T) -> T {
        match self {
            Either::Client(end) => {
                let protocol = end.protocol();
                look(protocol.heap_bytes(), protocol.session())
            }
            Either::Server(end) => {
                let protocol = end.protocol();
                look(protocol.heap_bytes(), protocol.session())
            }
        }
    }
}

/// One end, and what its adapter holds.
pub(super) struct End {
    end: Rc<RefCell<Either>>,
    /// What the loop of an adapter has with the kernel, if one drives the end.
    socket: Option<Socket>,
    rx: Vec<u8>,
    /// What is being said, and how much of it the monitor has heard.
    out: Transmit,
    heard: usize,
    /// What is being written; the two change places, so that no more than two are ever full.
    tx: Vec<u8>,
    written: usize,
    read: usize,
    eof: bool,
    eof_told: bool,
    over: bool,
    /// Why it is over, unless it drained.
    failed: Option<ConnectionError>,
    timer_at: u64,
    /// Turns in a row that read nothing and after which a timer was due at once.
    due_again: u32,
    /// It stopped for want of room, and is to be driven again once there is some.
    full: bool,
}

impl End {
    fn new(end: Either) -> Self {
        End {
            end: Rc::new(RefCell::new(end)),
            socket: None,
            rx: Vec::new(),
            out: Transmit::new(),
            heard: 0,
            tx: Vec::new(),
            written: 0,
            read: 0,
            eof: false,
            eof_told: false,
            over: false,
            failed: None,
            timer_at: u64::MAX,
            due_again: 0,
            full: false,
        }
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.read = 0;
        if self.over {
            return;
        }
        let mut input = &self.rx[..];
        let end = &mut *self.end.borrow_mut();
        let driven = end.endpoint().drive(&mut input, &mut self.out, cx, now);
        let read = self.rx.len() - input.len();
        self.rx.drain(..read);
        self.read = read;
        self.full = self.out.len() >= OUT_MARK;
        self.over = driven.is_err() || end.endpoint().is_drained();
        self.failed = driven.err();
        if self.eof && !self.eof_told && !self.over && self.rx.is_empty() {
            self.eof_told = true;
            end.endpoint().close_read(now);
            cx.waker().wake_by_ref();
        }
    }

    /// More memory than the limits allow, in the protocol or in front of handlers.
    fn holds_too_much(&self) -> Option<String> {
        let end = self.end.borrow();
        let waiting = match &*end {
            Either::Client(_) => None,
            Either::Server(end) => Some(end.waiting_bytes()),
        };
        end.with_session(|heap, session| {
            let waits = waiting.and_then(|waiting| waits_too_much(waiting, session));
            holds_too_much(heap, session).or(waits)
        })
    }

    /// When the end is to be driven next, if that is sooner than it was known to be.
    pub(super) fn arm(&mut self, now: u64) -> Option<u64> {
        let at = if self.over { None } else { self.end.borrow().poll_timeout() };
        let at = at.map(Instant::as_nanos);
        if at.is_none_or(|at| at > now) {
            self.due_again = 0;
        } else if self.read == 0 {
            self.due_again += 1;
        }
        let at = at?;
        (at < self.timer_at).then(|| {
            self.timer_at = at;
            at
        })
    }

    /// Whether a timer stays due: one of no time at all that input has set fires once more, and no more than that.
    pub(super) fn spins(&self) -> bool {
        self.due_again > 4
    }

    /// The timer of `at` fires; `false` if it was overtaken.
    pub(super) fn fires(&mut self, at: u64) -> bool {
        let fires = self.timer_at == at;
        if fires {
            self.timer_at = u64::MAX;
        }
        fires
    }

    /// Whether the end stopped for want of room that is there by now.
    pub(super) fn has_room_again(&self) -> bool {
        self.full && !self.over && self.out.is_empty()
    }

    /// Whether nothing waits here, neither to be read nor to be written.
    fn is_quiet(&self) -> bool {
        match &self.socket {
            Some(socket) => self.rx.is_empty() && socket.is_quiet() && !self.eof,
            None => {
                self.rx.is_empty()
                    && self.tx.is_empty()
                    && self.out.is_empty()
                    && self.eof == self.eof_told
            }
        }
    }

    /// Whether the end is gone, but for what its socket has to say.
    fn is_over(&self) -> bool {
        self.over || self.socket.as_ref().is_some_and(Socket::is_done)
    }

    fn open_calls(&self) -> usize {
        self.end.borrow().open_calls()
    }

    /// Whether a write waits for room in the network.
    fn is_writing(&self) -> bool {
        !self.tx.is_empty() || self.socket.as_ref().is_some_and(Socket::is_writing)
    }

    /// Drives an end that has no reason to do anything; says what it does all the same.
    pub(super) fn stirs(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<String> {
        let due = self.end.borrow().poll_timeout();
        if self.over || !self.is_quiet() || due.is_some_and(|at| at <= now) {
            return None;
        }
        let mut end = self.end.borrow_mut();
        let driven = end.endpoint().drive(&mut &[][..], &mut self.out, cx, now);
        let said = self.out.len();
        match driven {
            Err(error) => Some(format!("it has ended: {error}")),
            Ok(()) if said > 0 => Some(format!("{said} bytes of output had nobody to pull them")),
            Ok(()) => None,
        }
    }
}

/// Both ends and the network between them.
pub(super) struct Link {
    pub(super) address: String,
    client: Option<End>,
    server: Option<End>,
    /// Who stands in the place of one of them.
    pub(super) attacker: Option<Box<Attacker>>,
    up: Pipe,
    down: Pipe,
    monitor: Monitor,
    marks: Marks,
    stalled_until: u64,
    turns: u32,
}

impl Link {
    pub(super) fn new(
        address: String,
        client: ClientConnection,
        server: ServerConnection,
        (up, down): (PipePlan, PipePlan),
        seed: u64,
    ) -> Self {
        Link {
            address,
            client: Some(End::new(Either::Client(Box::new(client)))),
            server: Some(End::new(Either::Server(Box::new(server)))),
            attacker: None,
            up: Pipe::new(up, mix(seed, 1)),
            down: Pipe::new(down, mix(seed, 2)),
            monitor: Monitor::new(),
            marks: Marks::default(),
            stalled_until: 0,
            turns: 0,
        }
    }

    /// A connection between one honest end and an attacker.
    pub(super) fn hostile(
        attacker: Box<Attacker>,
        victim: Either,
        plan: PipePlan,
        seed: u64,
    ) -> Self {
        let victim = Some(End::new(victim));
        let (client, server) = match attacker.victim() {
            Side::Client => (victim, None),
            Side::Server => (None, victim),
        };
        Link {
            // Nobody's: the faults of addresses do not reach it.
            address: String::new(),
            client,
            server,
            attacker: Some(attacker),
            up: Pipe::new(plan.clone(), mix(seed, 1)),
            down: Pipe::new(plan, mix(seed, 2)),
            monitor: Monitor::new(),
            marks: Marks::default(),
            stalled_until: 0,
            turns: 0,
        }
    }

    fn slot(&mut self, side: Side) -> &mut Option<End> {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        }
    }

    pub(super) fn take(&mut self, side: Side) -> Option<End> {
        self.slot(side).take()
    }

    pub(super) fn put(&mut self, side: Side, end: End) {
        *self.slot(side) = Some(end);
    }

    pub(super) fn timer_fires(&mut self, side: Side, at: u64) -> bool {
        self.slot(side).as_mut().is_some_and(|end| end.fires(at))
    }

    /// Writes what an end has to say, as far as the network takes it; `wrote` hears of each part.
    pub(super) fn send(
        &mut self,
        side: Side,
        end: &mut End,
        now: u64,
        mut wrote: impl FnMut(&[u8]),
    ) -> Result<Option<u64>, String> {
        let read = end.read;
        let (mut said, mut heard) = (Vec::new(), end.heard);
        for chunk in end.out.chunks() {
            let known = heard.min(chunk.len());
            heard -= known;
            said.extend_from_slice(&chunk[known..]);
        }
        end.heard += said.len();
        self.listen(side, read, &said, end.failed.as_ref(), Instant::from_nanos(now))?;
        let pipe = self.pipe_from(side);
        if pipe.is_finished() {
            end.tx.clear();
            end.out.clear();
            (end.heard, end.written) = (0, 0);
            return Ok(None);
        }
        let mut due = None;
        loop {
            if end.tx.is_empty() {
                end.out.chunks().for_each(|chunk| end.tx.extend_from_slice(chunk));
                end.out.clear();
                end.heard = 0;
            }
            let rest = &end.tx[end.written..];
            let part = &rest[..rest.len().min(pipe.space())];
            if part.is_empty() {
                return Ok(due);
            }
            due = Some(pipe.write(part, now));
            wrote(part);
            end.written += part.len();
            if end.written == end.tx.len() {
                end.tx.clear();
                end.written = 0;
            }
        }
    }

    /// When the network is to deliver to an end, if that is not known yet.
    pub(super) fn arm(&mut self, side: Side, at: u64, now: u64) -> Option<u64> {
        let at = at.max(now);
        self.pipe_from(other(side)).arm(at).then_some(at)
    }

    /// Closes an end's direction once it is over; when the other end is to hear of it.
    pub(super) fn close_if_over(&mut self, side: Side, end: &End, now: u64) -> Option<u64> {
        // What it said last is lost if the network does not take it: nobody waits for a peer that is not heard.
        let over = end.over;
        let pipe = self.pipe_from(side);
        (over && !pipe.is_finished()).then(|| pipe.finish(now))
    }

    /// Moves what is due to an end; whether it has a reason to be driven, whether the writer has, and when more is
    /// due.
    pub(super) fn deliver(&mut self, side: Side, now: u64) -> (bool, bool, Option<u64>) {
        let (pipe, end, writer) = match side {
            Side::Client => (&mut self.down, &mut self.client, &self.server),
            Side::Server => (&mut self.up, &mut self.server, &self.client),
        };
        pipe.disarm(now);
        let Some(end) = end else {
            let Some(attacker) = &mut self.attacker else { return (false, false, None) };
            let done = pipe.deliver(now, &mut attacker.rx);
            attacker.eof |= done.eof;
            return (done.bytes > 0 || done.eof, false, done.next);
        };
        let done = pipe.deliver(now, &mut end.rx);
        end.eof |= done.eof;
        if end.over || end.socket.as_ref().is_some_and(Socket::is_closed) {
            end.rx.clear();
        }
        let waits = writer.as_ref().is_some_and(End::is_writing);
        (done.bytes > 0 || done.eof, done.bytes > 0 && waits, done.next)
    }

    pub(super) fn reset(&mut self) {
        self.up.reset();
        self.down.reset();
        for end in [&mut self.client, &mut self.server].into_iter().flatten() {
            end.eof = true;
        }
    }

    /// The server is gone with all it knew; what is returned is to be dropped where its handlers may act.
    pub(super) fn crash(&mut self) -> Option<End> {
        self.reset();
        self.server.take()
    }

    pub(super) fn stall(&mut self, until: u64, up: bool, down: bool) {
        self.stalled_until = self.stalled_until.max(until);
        if up {
            self.up.stall(until);
        }
        if down {
            self.down.stall(until);
        }
    }

    pub(super) fn stalled_until(&self) -> u64 {
        self.stalled_until
    }

    pub(super) fn clog(&mut self, bandwidth: u32, until: u64) {
        self.up.clog(bandwidth, until);
        self.down.clog(bandwidth, until);
    }

    /// One direction ends in the midst of things; when the other end is to hear of it.
    pub(super) fn half_close(&mut self, side: Side, now: u64) -> u64 {
        self.pipe_from(side).finish(now)
    }

    /// An end goes away, after a drain or at once.
    pub(super) fn leave(&mut self, side: Side, in_peace: bool, now: Instant) {
        let Some(end) = self.slot(side).as_mut().filter(|end| !end.over) else { return };
        match (&mut end.socket, in_peace) {
            (Some(socket), true) => socket.order(Phase::Drain),
            (Some(socket), false) => socket.order(Phase::Abort),
            (None, true) => end.end.borrow_mut().endpoint().shutdown(now),
            (None, false) => end.end.borrow_mut().endpoint().abort(now),
        }
    }

    /// Has an adapter's loop drive an end, in a task of its own; what the loop is to drive.
    pub(super) fn adopt(&mut self, side: Side, task: usize) -> Option<Rc<RefCell<Either>>> {
        let end = self.slot(side).as_mut()?;
        end.socket = Some(Socket::new(task));
        Some(Rc::clone(&end.end))
    }

    /// What an adapter's loop has with the kernel.
    pub(super) fn socket(&mut self, side: Side) -> Option<&mut Socket> {
        self.slot(side).as_mut()?.socket.as_mut()
    }

    /// Whether an operation could complete by now.
    pub(super) fn is_able(&mut self, side: Side, direction: Direction) -> bool {
        let Some(end) = self.slot(side) else { return false };
        let closed = end.socket.as_ref().is_some_and(Socket::is_closed);
        let arrived = !end.rx.is_empty() || end.eof;
        closed
            || match direction {
                Direction::Read => arrived,
                Direction::Write => self.space(side) > 0 || self.is_finished(side),
            }
    }

    /// What has arrived at an end and was not read.
    pub(super) fn received(&mut self, side: Side) -> &mut Vec<u8> {
        &mut self.slot(side).as_mut().expect("an end with a socket is there").rx
    }

    /// Bytes that a write of an end's would move now.
    pub(super) fn space(&mut self, side: Side) -> usize {
        self.pipe_from(side).space()
    }

    /// Whether what an end writes has nowhere to go.
    pub(super) fn is_finished(&mut self, side: Side) -> bool {
        self.pipe_from(side).is_finished()
    }

    /// Whether the network has lost the connection.
    pub(super) fn is_reset(&self) -> bool {
        self.up.is_finished()
            && self.down.is_finished()
            && self.up.is_empty()
            && self.down.is_empty()
    }

    /// Moves bytes into the network; when they are due at the other end.
    pub(super) fn write(&mut self, side: Side, bytes: &[u8], now: u64) -> u64 {
        self.pipe_from(side).write(bytes, now)
    }

    /// Ends what an end says, unless it has ended; when the other end is to hear of it.
    pub(super) fn close_write(&mut self, side: Side, now: u64) -> Option<u64> {
        let pipe = self.pipe_from(side);
        (!pipe.is_finished()).then(|| pipe.finish(now))
    }

    /// What an end has read and said, and whether that ended it, is heard by the monitor or its attacker.
    pub(super) fn listen(
        &mut self,
        side: Side,
        read: usize,
        said: &[u8],
        ended: Option<&ConnectionError>,
        now: Instant,
    ) -> Result<(), String> {
        self.monitor.read(other(side), read);
        if let Some(attacker) = &mut self.attacker {
            attacker.hear_end(ended, now, &mut self.marks);
            return Ok(());
        }
        let pipe = match side {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        };
        self.monitor
            .wrote(side, said, &mut self.marks, |at| pipe.note_boundary(at))
            .map_err(|rule| format!("{side:?}: {rule}"))
    }

    pub(super) fn reach(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }

    /// Whether neither end is up any more.
    pub(super) fn is_over(&self) -> bool {
        let over = |end: &Option<End>| end.as_ref().is_none_or(End::is_over);
        over(&self.client) && over(&self.server)
    }

    /// Calls that hold a slot at either end.
    pub(super) fn open_calls(&self) -> usize {
        // An end that runs right now does not tell.
        let open = |end: &Option<End>| {
            let end = end.as_ref().and_then(|end| end.end.try_borrow().ok());
            end.map_or(0, |end| end.open_calls())
        };
        open(&self.client) + open(&self.server)
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What must hold between the two ends after each turn, and of one that is attacked.
    pub(super) fn check(&mut self) -> Result<(), (Oracle, String)> {
        self.turns += 1;
        if self.attacker.is_some() {
            let victim = self.client.as_ref().or(self.server.as_ref()).filter(|end| !end.is_over());
            let looked = victim.filter(|_| self.turns < 16 || self.turns.is_multiple_of(16));
            let too_much = looked.and_then(End::holds_too_much);
            return too_much.map_or(Ok(()), |text| Err((Oracle::Memory, text)));
        }
        let (Some(client), Some(server)) = (&self.client, &self.server) else { return Ok(()) };
        if client.is_over() || server.is_over() {
            return Ok(());
        }
        let at_rest = client.is_quiet()
            && server.is_quiet()
            && self.up.is_empty()
            && self.down.is_empty()
            && !self.up.is_finished()
            && !self.down.is_finished();
        // Counting walks over every buffer.
        let streams = client.open_calls().max(server.open_calls()) as u32;
        if self.turns.is_multiple_of(16 + streams)
            && let Some(text) = client.holds_too_much().or_else(|| server.holds_too_much())
        {
            return Err((Oracle::Memory, text));
        }
        let monitor = &self.monitor;
        let (client, server) = (client.end.borrow(), server.end.borrow());
        client.with_session(|_, client| {
            server.with_session(|_, server| {
                let streams = client.occupied().max(server.occupied());
                let is_over = client.error().is_some() || server.error().is_some();
                if is_over || !is_looked_at(streams, self.turns.into()) {
                    return Ok(());
                }
                let differ = windows_differ(monitor, Side::Client, client, server)
                    .or_else(|| windows_differ(monitor, Side::Server, server, client));
                if let Some(text) = differ {
                    return Err((Oracle::Windows, text));
                }
                if !at_rest || client.has_output() || server.has_output() {
                    return Ok(());
                }
                if let Some(text) = monitor.unanswered() {
                    return Err((Oracle::Wire, format!("at rest: {text}")));
                }
                let differ = tables_differ(client, server);
                match differ.or_else(|| tables_differ(server, client)) {
                    Some(text) => Err((Oracle::Tables, text)),
                    None => Ok(()),
                }
            })
        })
    }
}
