//! One connection between a channel and a server.

use std::task::Context;

use grpc_proto::http2::Side;
use grpc_proto::{Instant, Transmit};
use grpc_service::{ClientConnection, Endpoint, ServerConnection};

use crate::entropy::mix;
use crate::marks::Marks;
use crate::monitor::Monitor;
use crate::pipe::Pipe;
use crate::scenario::PipePlan;

/// Either end.
enum Either {
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

impl Either {
    fn endpoint(&mut self) -> &mut dyn Endpoint {
        match self {
            Either::Client(end) => &mut **end,
            Either::Server(end) => &mut **end,
        }
    }
}

/// One end, and what its adapter holds.
pub(super) struct End {
    end: Either,
    rx: Vec<u8>,
    out: Transmit,
    read: usize,
    eof: bool,
    eof_told: bool,
    over: bool,
}

impl End {
    fn new(end: Either) -> Self {
        End {
            end,
            rx: Vec::new(),
            out: Transmit::new(),
            read: 0,
            eof: false,
            eof_told: false,
            over: false,
        }
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.over {
            return;
        }
        let mut input = &self.rx[..];
        let driven = self.end.endpoint().drive(&mut input, &mut self.out, cx, now);
        let read = self.rx.len() - input.len();
        self.rx.drain(..read);
        self.read = read;
        self.over = driven.is_err() || self.end.endpoint().is_drained();
        if self.eof && !self.eof_told && !self.over && self.rx.is_empty() {
            self.eof_told = true;
            self.end.endpoint().close_read(now);
            cx.waker().wake_by_ref();
        }
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        let at = match &self.end {
            _ if self.over => None,
            Either::Client(end) => end.poll_timeout(),
            Either::Server(end) => end.poll_timeout(),
        };
        at.map(Instant::as_nanos)
    }
}

/// Both ends and the network between them.
pub(super) struct Link {
    pub(super) address: String,
    client: Option<End>,
    server: Option<End>,
    up: Pipe,
    down: Pipe,
    monitor: Monitor,
    marks: Marks,
    stalled_until: u64,
}

pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

impl Link {
    pub(super) fn new(
        address: String,
        client: ClientConnection,
        server: ServerConnection,
        plan: &PipePlan,
        seed: u64,
    ) -> Self {
        Link {
            address,
            client: Some(End::new(Either::Client(Box::new(client)))),
            server: Some(End::new(Either::Server(Box::new(server)))),
            up: Pipe::new(plan.clone(), mix(seed, 1)),
            down: Pipe::new(plan.clone(), mix(seed, 2)),
            monitor: Monitor::new(),
            marks: Marks::default(),
            stalled_until: 0,
        }
    }

    fn slot(&mut self, side: Side) -> &mut Option<End> {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn pipe_from(&mut self, side: Side) -> &mut Pipe {
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

    /// Writes what an end has to say; the parts that the network took and when each is due.
    pub(super) fn send(
        &mut self,
        side: Side,
        end: &mut End,
        now: u64,
    ) -> Result<Vec<(Vec<u8>, u64)>, String> {
        let read = std::mem::take(&mut end.read);
        self.monitor.read(other(side), read);
        let bytes: Vec<u8> = end.out.chunks().flatten().copied().collect();
        end.out.clear();
        let pipe = match side {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        };
        self.monitor
            .wrote(side, &bytes, &mut self.marks, |at| pipe.note_boundary(at))
            .map_err(|rule| format!("{side:?}: {rule}"))?;
        if bytes.is_empty() || pipe.is_finished() {
            return Ok(Vec::new());
        }
        let due = pipe.write(&bytes, now);
        Ok(vec![(bytes, due)])
    }

    /// Closes an end's direction once it is over; when the other end is to hear of it.
    pub(super) fn close_if_over(&mut self, side: Side, end: &End, now: u64) -> Option<u64> {
        let over = end.over;
        let pipe = self.pipe_from(side);
        (over && !pipe.is_finished()).then(|| pipe.finish(now))
    }

    /// Moves what is due to an end; whether it has a reason to be driven, and when more is due.
    pub(super) fn deliver(&mut self, side: Side, now: u64) -> (bool, Option<u64>) {
        let pipe = match side {
            Side::Client => &mut self.down,
            Side::Server => &mut self.up,
        };
        let end = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        let Some(end) = end else { return (false, None) };
        let done = pipe.deliver(now, &mut end.rx);
        end.eof |= done.eof;
        if end.over {
            end.rx.clear();
        }
        (done.bytes > 0 || done.eof, done.next)
    }

    pub(super) fn reset(&mut self) {
        self.up.reset();
        self.down.reset();
        for end in [&mut self.client, &mut self.server].into_iter().flatten() {
            end.eof = true;
        }
    }

    pub(super) fn stall(&mut self, until: u64) {
        self.stalled_until = self.stalled_until.max(until);
        self.up.stall(until);
        self.down.stall(until);
    }

    pub(super) fn stalled_until(&self) -> u64 {
        self.stalled_until
    }

    /// The server's end goes away in peace.
    pub(super) fn drain(&mut self, now: Instant) {
        if let Some(end) = self.server.as_mut().filter(|end| !end.over) {
            end.end.endpoint().shutdown(now);
        }
    }

    /// Calls that hold a slot at either end.
    pub(super) fn open_calls(&self) -> usize {
        let open = |end: &Option<End>| match end.as_ref().map(|end| &end.end) {
            Some(Either::Client(end)) => end.open_calls(),
            Some(Either::Server(end)) => end.open_calls(),
            None => 0,
        };
        open(&self.client) + open(&self.server)
    }
}
