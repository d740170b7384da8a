//! Generated handlers and stubs against hostile peers: the frames of `frames`, through the dispatch layer.
//!
//! Beside the checks of the core: no wake-up is missing or useless, an end without calls holds no memory of calls, and every
//! call of a client ends with its connection.

mod host;
pub mod mirror;

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use grpc_proto::http2::Session;
use grpc_proto::{Connection, ConnectionError, Instant, Role, Transmit};
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, Compression, Encoding, Endpoint, Host, Peer, Router,
    Server, ServerConnection, ServerOptions,
};

use crate::conversation::{self, Act, PREFIX, SETTINGS, Step, limits};
use crate::frames::Script;
use crate::tape::Tape;
pub use host::{Flag, StillHost};

/// The first byte chooses the limits, the second the end, its compression and how its input is cut; then come steps.
pub fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let limits = limits(tape.byte());
    let how = tape.byte();
    let segment = usize::from(how >> 2) + 1;
    let compression = match how & 2 {
        0 => Compression::none(),
        _ => Compression::none().send(Encoding::Gzip).accept_all().at_least(1),
    };
    let host = StillHost::default();
    if how & 1 == 0 {
        let steps = Script::read(&mut tape, true, PREFIX, mirror::PATHS);
        let mut router = Router::new();
        mirror::register_mirror(&mut router, mirror::service());
        let options = ServerOptions::new(limits).expect("limits in their ranges");
        let options = options.compression(compression);
        let server = Server::new(router, options, Rc::new(host.clone()));
        let connection = server.accept(Peer::memory());
        let end = hold(connection, &host, &steps, segment, |_, _| {});
        drop(end);
        host.run();
        let left = server.pool_use();
        assert_eq!((left.leased, left.arena_used), (0, 0), "without a connection there is no call");
    } else {
        let steps = Script::read(&mut tape, false, SETTINGS, mirror::PATHS);
        let options = ChannelOptions::new(limits).expect("limits in their ranges");
        let options = options.compression(compression);
        let (channel, connection) = Channel::new("fuzz", &options, Rc::new(host.clone()));
        let begin = |which, data: &[u8]| {
            let call = mirror::call(channel.clone(), which, u32::from(which) << 6, data.to_vec());
            host.spawn(Box::pin(call));
        };
        (0..4).for_each(|which| begin(which, b"data"));
        hold(connection, &host, &steps, segment, |which, data| begin(which, data));
        host.run();
        assert_eq!(host.tasks(), 0, "a call outlives its connection");
    }
}

/// The end of a connection of services.
trait Mounted: Endpoint {
    const SERVES: bool;
    fn look<T>(&self, at: impl FnOnce(&Session, usize) -> T) -> T;
}

impl Mounted for ServerConnection {
    const SERVES: bool = true;
    fn look<T>(&self, at: impl FnOnce(&Session, usize) -> T) -> T {
        look(&*self.protocol(), at)
    }
}

impl Mounted for ClientConnection {
    const SERVES: bool = false;
    fn look<T>(&self, at: impl FnOnce(&Session, usize) -> T) -> T {
        look(&*self.protocol(), at)
    }
}

fn look<R: Role, T>(connection: &Connection<R>, at: impl FnOnce(&Session, usize) -> T) -> T {
    at(connection.session(), connection.heap_bytes())
}

struct Driven<'h, E> {
    end: E,
    host: &'h StillHost,
    now: Instant,
    flag: Arc<Flag>,
    said: Vec<u8>,
    error: Option<ConnectionError>,
}

/// After this many turns without input or passing time an end counts as spinning.
const MOST_TURNS: u32 = 10_000;

/// Runs a script on an end, and then ends its transport.
fn hold<E: Mounted>(
    end: E,
    host: &StillHost,
    steps: &[Step<'_>],
    segment: usize,
    begin: impl Fn(u8, &[u8]),
) -> E {
    let (now, flag) = (Instant::ZERO, Flag::woken());
    let mut driven = Driven { end, host, now, flag, said: Vec::new(), error: None };
    for step in steps {
        match step {
            Step::Bytes(bytes) => bytes.chunks(segment).for_each(|part| driven.feed(part)),
            Step::Pass(span) => driven.pass(*span),
            Step::Pull | Step::Pong => {}
            Step::Act(Act::Begin(which, _, data)) => begin(*which, data),
            Step::Act(Act::Shutdown) => driven.end.shutdown(driven.now),
            Step::Act(Act::Close(_)) => driven.end.abort(driven.now),
            Step::Act(Act::CloseRead) => driven.end.close_read(driven.now),
            Step::Act(_) => {}
        }
        driven.feed(&[]);
        if driven.error.is_some() || driven.said.len() > 4 << 20 {
            break;
        }
    }
    driven.end.close_read(driven.now);
    driven.feed(&[]);
    assert!(driven.error.is_some(), "the transport has ended");
    conversation::check_wire(&driven.said, driven.error.as_ref(), E::SERVES);
    driven.end
}

impl<E: Mounted> Driven<'_, E> {
    /// Turns until there is nothing to do.
    fn feed(&mut self, part: &[u8]) {
        let mut input = part;
        let mut turns = 0;
        while self.error.is_none() {
            turns += 1;
            assert!(turns < MOST_TURNS, "turns without end");
            let left = input.len();
            // Only what wakes the endpoint from now on is a reason for another turn: its turn must see all before.
            self.flag.take();
            let wrote = self.turn(&mut input);
            self.host.run();
            let moved = wrote || input.len() < left;
            if !moved && !self.flag.take() && !self.is_due() {
                assert!(input.is_empty(), "input is left although there is no output");
                // Once more, without a reason: nothing was waiting for it.
                assert!(!self.turn(&mut input) && !self.host.run(), "a wakeup was missed");
                break;
            }
        }
        let serves = E::SERVES;
        self.end.look(|session, heap| {
            assert_eq!(grpc_sim::holds_too_much(heap, session), None);
            let (open, most) = (session.occupied(), session.limits().max_concurrent_streams);
            assert!(!serves || open <= most as usize, "{open} handlers of {most}");
        });
    }

    /// One turn; returns whether it wrote something.
    fn turn(&mut self, input: &mut &[u8]) -> bool {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut out = Transmit::new();
        let driven = self.end.drive(input, &mut out, &mut Context::from_waker(&waker), self.now);
        self.error = driven.err();
        self.said.extend(out.chunks().flatten());
        !out.is_empty()
    }

    fn is_due(&self) -> bool {
        self.end.poll_timeout().is_some_and(|at| at <= self.now)
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.host.advance_to(self.now);
    }
}
