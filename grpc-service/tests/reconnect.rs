//! How a channel comes back to a server that goes away as soon as it is there (rules 34 and 37): raw frames, and a clock
//! that ticks.

mod common;

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{BytesClient, Raw, Ticking};
use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Limits, Transmit};
use grpc_service::CallError;
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, ConnectError, Connectivity, Connector, Endpoint,
    Host, LocalFuture,
};

const TICK: Duration = Duration::from_millis(10);
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// What each connection's server says, one segment a tick, whatever it hears.
#[derive(Clone, Default)]
struct Servers {
    script: Rc<Vec<Vec<u8>>>,
    /// Which connections, by their order, say GOAWAY with their SETTINGS instead.
    failing: &'static [usize],
    lines: Rc<RefCell<Vec<Line>>>,
    host: Rc<Ticking>,
}

struct Line {
    client: ClientConnection,
    said: usize,
    since: Instant,
}

impl Connector for Servers {
    fn connect(&self, _: &str, client: ClientConnection) -> LocalFuture<Result<(), ConnectError>> {
        self.lines.borrow_mut().push(Line { client, said: 0, since: self.host.now() });
        Box::pin(ready(Ok(())))
    }
}

impl Servers {
    fn new(script: &[&[&[u8]]]) -> Self {
        let script = script.iter().map(|segment| segment.concat()).collect();
        Self { script: Rc::new(script), ..Self::default() }
    }

    fn channel(&self, options: &ChannelOptions) -> Channel {
        let host = Rc::clone(&self.host) as Rc<dyn Host>;
        Channel::to("test", options, host, Rc::new(self.clone()))
    }

    fn tick(&self, cx: &mut Context<'_>) {
        self.host.pass(TICK, cx);
        let now = self.host.now();
        let mut out = Transmit::new();
        let failure = [SETTINGS, &goaway(0, b"")].concat();
        for (number, line) in self.lines.borrow_mut().iter_mut().enumerate() {
            let said = match self.failing.contains(&number) {
                true => Some(&failure).filter(|_| line.said == 0),
                false => self.script.get(line.said),
            };
            let said = said.map_or(&[][..], |segment| segment);
            line.said += 1;
            // An error is the end of a connection that was told to go.
            let _ = line.client.drive(&mut &said[..], &mut out, cx, now);
            out.clear();
        }
    }

    /// Runs for so long at most; `None` if that was not enough.
    fn run<T>(&self, span: Duration, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, end) = (pin!(future), self.host.now() + span);
        let mut cx = Context::from_waker(Waker::noop());
        while self.host.now() < end {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            self.tick(&mut cx);
        }
        None
    }

    /// When the attempts began, in seconds.
    fn attempts(&self) -> Vec<f64> {
        let lines = self.lines.borrow();
        lines.iter().map(|line| (line.since - Instant::ZERO).as_secs_f64()).collect()
    }
}

/// A GOAWAY that has seen no stream.
fn goaway(code: u8, debug: &[u8]) -> Vec<u8> {
    let length = 8 + debug.len() as u8;
    [&[0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, code], debug].concat()
}

async fn echo(channel: &Channel, wait_for_ready: bool) -> Result<(), CallError> {
    let (stub, arena) = (BytesClient::new(channel.clone()), Arena::new());
    let call = stub.echo(&Raw(b"request"), &arena);
    let call = if wait_for_ready { call.wait_for_ready() } else { call };
    call.await.map(drop)
}

#[test]
fn rule_37_a_server_that_goes_with_its_settings_is_a_failed_attempt() {
    let servers = Servers::new(&[&[SETTINGS, &goaway(0, b"maintenance")]]);
    let channel = servers.channel(&ChannelOptions::default());
    let second = Duration::from_secs(1);
    let failed = servers.run(second / 2, echo(&channel, false)).expect("fails fast").unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    assert!(failed.message().contains("\"maintenance\""), "{failed:?}");
    assert_eq!(channel.state(), Connectivity::TransientFailure);
    // A call that waits for better times does so at the pace of attempts that fail.
    assert_eq!(servers.run(12 * second, echo(&channel, true)), None);
    let attempts = servers.attempts();
    let expected = [0.0, 1.0, 2.6, 5.16, 9.256];
    assert_eq!(attempts.len(), expected.len(), "{attempts:?}");
    for (began, due) in attempts.iter().zip(expected) {
        assert!((began - due).abs() < 0.1, "{attempts:?}");
    }
}

#[test]
fn rule_37_attempts_are_a_second_apart_though_the_connection_came_up_before_it_was_told_to_go() {
    let servers = Servers::new(&[&[SETTINGS], &[], &[&goaway(0, b"")]]);
    let channel = servers.channel(&ChannelOptions::default());
    let calls = async {
        loop {
            // Told of nothing but an end, a call is sent once more elsewhere and then fails.
            let failed = echo(&channel, false).await.unwrap_err();
            assert_eq!(failed.code(), Code::Unavailable);
        }
    };
    assert_eq!(servers.run::<()>(Duration::from_secs(10), calls), None);
    let attempts = servers.attempts();
    assert!((9..=11).contains(&attempts.len()), "{attempts:?}");
    for pair in attempts.windows(2) {
        assert!(pair[1] - pair[0] > 0.97, "{attempts:?}");
    }
}

#[test]
fn rule_37_a_success_makes_the_next_failures_count_from_one() {
    let mut servers = Servers::new(&[&[SETTINGS], &[], &[&goaway(0, b"")]]);
    servers.failing = &[0, 1, 3, 4];
    let channel = servers.channel(&ChannelOptions::default());
    let calls = async {
        loop {
            let _ = echo(&channel, true).await;
        }
    };
    assert_eq!(servers.run::<()>(Duration::from_millis(6500), calls), None);
    let attempts = servers.attempts();
    // After two failures 1.6 s; after a success a second; then the delays of a first and a second failure.
    let expected = [0.0, 1.0, 2.6, 3.6, 4.6, 6.2];
    assert_eq!(attempts.len(), expected.len(), "{attempts:?}");
    for (began, due) in attempts.iter().zip(expected) {
        assert!((began - due).abs() < 0.1, "{attempts:?}");
    }
}

#[test]
fn a_channel_whose_server_has_said_goaway_is_idle_until_it_is_called() {
    let servers = Servers::new(&[&[SETTINGS], &[], &[], &[&goaway(0, b"")]]);
    let channel = servers.channel(&ChannelOptions::default());
    assert_eq!(channel.state(), Connectivity::Idle);
    let ready = poll_fn(|_| match channel.state() {
        Connectivity::Ready => Poll::Ready(()),
        _ => Poll::Pending,
    });
    let mut ready = pin!(ready);
    let mut call = pin!(echo(&channel, true));
    let until_ready = poll_fn(|cx| {
        let _ = call.as_mut().poll(cx);
        ready.as_mut().poll(cx)
    });
    assert_eq!(servers.run(Duration::from_secs(1), until_ready), Some(()));
    // Nobody polls the call while the GOAWAY comes.
    assert_eq!(servers.run::<()>(Duration::from_millis(100), pending()), None);
    assert_eq!(channel.state(), Connectivity::Idle);
    assert_eq!(servers.attempts().len(), 1);
}

#[test]
fn rule_34_the_next_connections_begin_with_the_keepalive_time_that_was_doubled() {
    let servers = Servers::new(&[&[SETTINGS], &[], &[&goaway(11, b"too_many_pings")]]);
    let mut limits = Limits::default();
    limits.keepalive = Some(Duration::from_secs(30));
    let channel = servers.channel(&ChannelOptions::new(limits).expect("consistent limits"));
    let calls = async {
        loop {
            let _ = echo(&channel, false).await;
        }
    };
    assert_eq!(servers.run::<()>(Duration::from_secs(4), calls), None);
    let lines = servers.lines.borrow();
    let seconds = |line: &Line| line.client.protocol().session().keepalive().unwrap().as_secs();
    // Each of these was told so in its turn, and has doubled what it began with.
    let spans: Vec<u64> = lines.iter().map(seconds).take(3).collect();
    assert_eq!(spans, [60, 120, 240]);
}
