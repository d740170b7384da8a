//! One end of a connection with its adapter: reads what has arrived, acts, writes what there is to say.

use grpc_proto::http2::Side;
use grpc_proto::record::Recorder;
use grpc_proto::{CallKey, Client, ConnectionError, Instant, Role, Server, Transmit, Violation};

use super::{Conn, Event, World};
use crate::invariants::other;
use crate::marks::Mark;
use crate::oracle::Oracle;

/// A connection and the adapter's state.
#[derive(Debug)]
pub(super) struct End<R: Role> {
    pub(super) conn: Recorder<R>,
    /// What has arrived and was not read.
    pub(super) rx: Vec<u8>,
    out: Transmit,
    /// The call in each slot.
    table: Vec<Option<(CallKey, usize)>>,
    pub(super) failed: Option<ConnectionError>,
    /// The transport has ended.
    pub(super) eof: bool,
    eof_told: bool,
    /// The adapter has let go of the transport.
    pub(super) closed: bool,
    pub(super) turn_pending: bool,
    /// It gets no turns before this.
    pub(super) frozen_until: u64,
    timer_at: u64,
    /// Turns in a row that read nothing and after which a timer was due at once.
    due_again: u32,
    pull_each_event: bool,
    pub(super) work: Work,
}

/// Steps against what they were taken for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    pub(super) polls: u64,
    pub(super) turns: u64,
    pub(super) bytes: u64,
}

impl<R: Role> End<R> {
    pub(super) fn new(conn: Recorder<R>, pull_each_event: bool) -> Self {
        End {
            conn,
            rx: Vec::new(),
            out: Transmit::new(),
            table: Vec::new(),
            failed: None,
            eof: false,
            eof_told: false,
            closed: false,
            turn_pending: false,
            frozen_until: 0,
            timer_at: u64::MAX,
            due_again: 0,
            pull_each_event,
            work: Work::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed && !self.eof && self.failed.is_none() && self.conn.is_open()
    }

    /// Whether the adapter still holds the transport.
    pub(super) fn is_up(&self) -> bool {
        !self.closed
    }

    /// Whether output waits for the network.
    pub(super) fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn enter(&mut self, key: CallKey, call: usize) -> bool {
        if self.table.len() <= key.index() {
            self.table.resize(key.index() + 1, None);
        }
        self.table[key.index()].replace((key, call)).is_none()
    }

    pub(super) fn find(&self, key: CallKey) -> Option<usize> {
        let entry = self.table.get(key.index()).copied().flatten();
        entry.filter(|&(entered, _)| entered == key).map(|(_, call)| call)
    }

    pub(super) fn leave(&mut self, key: CallKey) {
        if self.find(key).is_some() {
            self.table[key.index()] = None;
        }
    }

    /// The call in a slot.
    pub(super) fn at(&self, slot: usize) -> Option<usize> {
        self.table.get(slot).copied().flatten().map(|(_, call)| call)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = (CallKey, usize)> {
        self.table.iter().copied().flatten()
    }
}

/// A role as the world drives it.
pub(super) trait Actor: Role + Sized {
    const END: Side;
    fn slot(conn: &mut Conn) -> &mut Option<End<Self>>;
    fn handle(world: &mut World<'_>, conn: usize, end: &mut End<Self>, event: Self::Event<'_>);
    /// A call that has had no last event when its connection has failed.
    fn is_pending(world: &World<'_>, call: usize) -> bool;
}

impl Actor for Client {
    const END: Side = Side::Client;

    fn slot(conn: &mut Conn) -> &mut Option<End<Self>> {
        &mut conn.client
    }

    fn handle(world: &mut World<'_>, conn: usize, end: &mut End<Self>, event: Self::Event<'_>) {
        world.on_client_event(conn, end, event);
    }

    fn is_pending(world: &World<'_>, call: usize) -> bool {
        !world.calls[call].is_over()
    }
}

impl Actor for Server {
    const END: Side = Side::Server;

    fn slot(conn: &mut Conn) -> &mut Option<End<Self>> {
        &mut conn.server
    }

    fn handle(world: &mut World<'_>, conn: usize, end: &mut End<Self>, event: Self::Event<'_>) {
        world.on_server_event(conn, end, event);
    }

    fn is_pending(world: &World<'_>, call: usize) -> bool {
        !world.calls[call].server_cancelled && !world.calls[call].finished
    }
}

impl World<'_> {
    /// Reads, acts and writes until the end has nothing more to do.
    pub(super) fn turn<R: Actor>(&mut self, ci: usize) {
        let Some(mut end) = R::slot(&mut self.conns[ci]).take() else { return };
        if end.frozen_until > self.now_ns() {
            self.queue.at(end.frozen_until, Event::Turn(ci, R::END));
            *R::slot(&mut self.conns[ci]) = Some(end);
            return;
        }
        end.turn_pending = false;
        if !end.closed {
            self.drive(ci, &mut end);
        }
        *R::slot(&mut self.conns[ci]) = Some(end);
        // What was read makes room for what waits in the network.
        self.deliver(ci, R::END);
        self.check_conn(ci);
    }

    fn drive<R: Actor>(&mut self, ci: usize, end: &mut End<R>) {
        let now = self.now();
        let rx = std::mem::take(&mut end.rx);
        let mut input = &rx[..];
        end.work.turns += 1;
        let mut stuck = 0;
        self.flush(ci, end);
        loop {
            let mut busy = false;
            loop {
                let before = input.len();
                end.work.polls += 1;
                let polled = end.conn.poll_event(&mut input, now);
                let read = before - input.len();
                end.work.bytes += read as u64;
                self.conns[ci].monitor.read(other(R::END), read);
                match polled {
                    Ok(Some(event)) => {
                        busy = true;
                        R::handle(self, ci, end, event);
                        if end.pull_each_event {
                            self.pull(ci, end);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.on_error(ci, end, error);
                        end.rx.clear();
                        return;
                    }
                }
                if self.failure.is_some() {
                    return;
                }
            }
            if !input.is_empty() {
                self.marks.reach(Mark::Backlogged);
            }
            let left = input.len();
            let pulled = self.pull(ci, end);
            if !pulled && !busy && left > 0 && !end.is_blocked() && left != stuck {
                // Having asked for output, even in vain, lets new calls in again.
                stuck = left;
                continue;
            }
            if !pulled && !busy {
                if input.is_empty() && end.eof && !end.eof_told {
                    end.eof_told = true;
                    end.conn.close_read(now);
                    continue;
                }
                break;
            }
        }
        if !input.is_empty() && !end.is_blocked() {
            let text =
                format!("{} bytes of input are left and nothing is to be pulled", input.len());
            self.fail(Oracle::MissedWakeup, text);
        }
        if !end.is_blocked() && end.conn.has_output() {
            self.fail(Oracle::MissedWakeup, "has_output, but nothing can be pulled".into());
        }
        end.rx = input.to_vec();
        if end.conn.is_drained() && !end.is_blocked() {
            self.marks.reach(Mark::Drained);
            self.close_transport(ci, end);
            return;
        }
        let read = end.rx.len() < rx.len();
        self.arm_timer(ci, end, read, now);
    }

    fn arm_timer<R: Actor>(&mut self, ci: usize, end: &mut End<R>, read: bool, now: Instant) {
        let at = end.conn.poll_timeout();
        if at.is_none_or(|at| at > now) {
            end.due_again = 0;
        } else if !read {
            // A timer of no time at all that input has set fires once more; one that stays due without any would spin.
            end.due_again += 1;
            if end.due_again > 4 {
                return self.fail(Oracle::Work, format!("a timer stays due at {now}"));
            }
        }
        let Some(at) = at else { return };
        let at = at.as_nanos();
        if at < end.timer_at {
            end.timer_at = at;
            self.queue.at(at, Event::Timer(ci, R::END, at));
        }
    }

    pub(super) fn on_timer(&mut self, ci: usize, side: Side, at: u64) {
        let armed = match side {
            Side::Client => self.conns[ci].client.as_mut().map(|end| &mut end.timer_at),
            Side::Server => self.conns[ci].server.as_mut().map(|end| &mut end.timer_at),
        };
        if let Some(armed) = armed
            && *armed == at
        {
            *armed = u64::MAX;
            self.schedule_turn(ci, side);
        }
    }

    /// What is drained has nothing to say any more, for its transport may be closed at any time: nothing but what keeps the
    /// connection itself going, credit and PINGs.
    fn check_drained<R: Actor>(&mut self, ci: usize, end: &End<R>) {
        const PING: u8 = 6;
        const WINDOW_UPDATE: u8 = 8;
        let bytes: Vec<u8> = end.out.chunks().flatten().copied().collect();
        let mut rest = &bytes[..];
        while let [_, _, len, kind, _, stream @ ..] = rest {
            let of_connection = stream.starts_with(&[0; 4]);
            if !of_connection || !matches!(*kind, PING | WINDOW_UPDATE) {
                let text = format!("a frame of type {kind} was left when it was drained");
                return self.fail(Oracle::OneEnd, format!("connection {ci}, {:?}: {text}", R::END));
            }
            rest = rest.get(9 + usize::from(*len)..).unwrap_or_default();
        }
    }

    /// Pulls output if the last was written, and writes what the network takes. Whether anything was pulled.
    fn pull<R: Actor>(&mut self, ci: usize, end: &mut End<R>) -> bool {
        if end.is_blocked() {
            self.flush(ci, end);
            if end.is_blocked() {
                return false;
            }
        }
        let had = end.conn.has_output();
        let drained = had && end.conn.is_drained();
        end.conn.poll_transmit(&mut end.out, Instant::from_nanos(self.queue.now_ns()));
        if end.out.is_empty() {
            return false;
        }
        if drained {
            self.check_drained(ci, end);
        }
        if !had {
            self.fail(Oracle::MissedWakeup, "output was pulled that has_output denied".into());
        }
        let conn = &mut self.conns[ci];
        if conn.attacker.is_none() {
            let pipe = match R::END {
                Side::Client => &mut conn.up,
                Side::Server => &mut conn.down,
            };
            for chunk in end.out.chunks() {
                let marks = &mut self.marks;
                let reported =
                    conn.monitor.wrote(R::END, chunk, marks, |at| pipe.note_boundary(at));
                if let Err(rule) = reported {
                    return self.fail_wire(ci, R::END, rule);
                }
            }
        }
        self.flush(ci, end);
        true
    }

    fn fail_wire(&mut self, ci: usize, side: Side, rule: String) -> bool {
        self.fail(Oracle::Wire, format!("connection {ci}, {side:?}: {rule}"));
        true
    }

    /// Writes what the network takes.
    fn flush<R: Actor>(&mut self, ci: usize, end: &mut End<R>) {
        let now = self.queue.now_ns();
        let mut due = None;
        while !end.out.is_empty() {
            let pipe = self.conns[ci].pipe_from(R::END);
            if pipe.is_finished() {
                // Nobody reads any more.
                end.out.clear();
                break;
            }
            let Some(chunk) = end.out.chunks().next() else { break };
            let part = chunk.len().min(pipe.space());
            if part == 0 {
                self.marks.reach(Mark::BackPressure);
                break;
            }
            if part < chunk.len() {
                self.marks.reach(Mark::ShortWrite);
            }
            due = Some(pipe.write(&chunk[..part], now));
            self.trace.wrote(now, (ci, R::END), &chunk[..part]);
            end.out.advance(part);
        }
        if let Some(due) = due {
            self.schedule_delivery(ci, other(R::END), due);
        }
    }

    /// Has an end take what comes through the network at `at`.
    pub(super) fn schedule_delivery(&mut self, ci: usize, side: Side, at: u64) {
        let at = at.max(self.queue.now_ns());
        if self.conns[ci].pipe_from(other(side)).arm(at) {
            self.queue.at(at, Event::Deliver(ci, side));
        }
    }

    /// Moves what has come through the network to an end, and lets the writer know of room.
    pub(super) fn deliver(&mut self, ci: usize, side: Side) {
        let now = self.queue.now_ns();
        let conn = &mut self.conns[ci];
        let pipe = match side {
            Side::Client => &mut conn.down,
            Side::Server => &mut conn.up,
        };
        let (rx, eof, closed) = match side {
            Side::Client => match (&mut conn.client, &mut conn.attacker) {
                (Some(end), _) => (&mut end.rx, &mut end.eof, end.closed),
                (None, Some(attacker)) => (&mut attacker.rx, &mut attacker.eof, false),
                (None, None) => return,
            },
            Side::Server => match (&mut conn.server, &mut conn.attacker) {
                (Some(end), _) => (&mut end.rx, &mut end.eof, end.closed),
                (None, Some(attacker)) => (&mut attacker.rx, &mut attacker.eof, false),
                (None, None) => return,
            },
        };
        let done = pipe.deliver(now, rx);
        if closed {
            rx.clear();
        }
        *eof |= done.eof;
        if let Some(next) = done.next {
            self.schedule_delivery(ci, side, next);
        }
        if done.bytes > 0 || done.eof {
            self.schedule_turn(ci, side);
            let writer_waits = match side {
                Side::Client => self.conns[ci].server.as_ref().is_some_and(End::is_blocked),
                Side::Server => self.conns[ci].client.as_ref().is_some_and(End::is_blocked),
            };
            if writer_waits {
                self.schedule_turn(ci, other(side));
            }
            if self.conns[ci].attacker.is_some() {
                self.queue.after(0, Event::Strike(ci));
            }
        }
    }

    /// The adapter lets go of the transport.
    pub(super) fn close_transport<R: Actor>(&mut self, ci: usize, end: &mut End<R>) {
        end.closed = true;
        end.rx.clear();
        let now = self.queue.now_ns();
        let due = self.conns[ci].pipe_from(R::END).finish(now);
        self.schedule_delivery(ci, other(R::END), due);
    }

    /// The connection has failed: nothing may be pending, and what it says last is written.
    fn on_error<R: Actor>(&mut self, ci: usize, end: &mut End<R>, error: ConnectionError) {
        let now = self.now_ns();
        self.trace.note(now, Some((ci, R::END)), &[9], || format!("ended: {error}"));
        if let Some((_, call)) = end.calls().find(|&(_, call)| R::is_pending(self, call)) {
            self.fail(
                Oracle::OneEnd,
                format!("call {call} had no last event when its connection failed: {error}"),
            );
        }
        match &error {
            ConnectionError::PeerMisbehaved(rule) => self.marks.reach_rule(*rule),
            ConnectionError::Compression(_) => self.marks.reach_rule(Violation::Compression),
            ConnectionError::TimedOut(_) => self.marks.reach(Mark::TimedOut),
            ConnectionError::Closed(_) => self.marks.reach(Mark::ConnectionLost),
            _ => {}
        }
        self.judge_error(ci, R::END, &error);
        self.conns[ci].blamed = true;
        end.failed = Some(error);
        self.pull(ci, end);
        // What the network does not take at once is lost: a peer that does not read is not waited for.
        self.close_transport(ci, end);
    }
}
