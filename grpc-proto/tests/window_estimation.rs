//! What larger windows are worth on a long path: a stream of small messages, in virtual time.

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::{config, feed, pull};
use grpc_proto::{
    CallHead, CallKey, Client, Connection, Instant, Limits, Role, Server, client, server,
};

/// From one end to the other.
const DELAY: Duration = Duration::from_millis(50);
/// Length of a message with its prefix.
const MESSAGE: usize = 1024;

/// One direction of the path: whatever is written arrives later, in order, and at any rate.
#[derive(Default)]
struct Way(VecDeque<(Instant, Vec<u8>)>);

impl Way {
    fn take<R: Role>(&mut self, from: &mut Connection<R>, now: Instant) -> bool {
        let mut bytes = Vec::new();
        let moved = pull(from, &mut bytes, now);
        if moved {
            self.0.push_back((now + DELAY, bytes));
        }
        moved
    }

    fn arrived(&mut self, now: Instant) -> Vec<u8> {
        let due = self.0.iter().take_while(|(at, _)| *at <= now).count();
        self.0.drain(..due).flat_map(|(_, bytes)| bytes).collect()
    }
}

/// A server that sends as fast as it may, and a client that reads.
struct Path {
    client: Connection<Client>,
    server: Connection<Server>,
    up: Way,
    down: Way,
    now: Instant,
    call: Option<CallKey>,
    /// The server sends whatever it may.
    greedy: bool,
    received: usize,
}

impl Path {
    fn new(limits: impl FnOnce(&mut Limits)) -> Self {
        let mut client = Connection::new(&config(limits), 1, Instant::ZERO);
        let server = Connection::new(&config(|_| {}), 2, Instant::ZERO);
        let head = CallHead::new("/a/b", "localhost");
        client.call(&head, None, Instant::ZERO).expect("a call");
        let (up, down) = Default::default();
        Path { client, server, up, down, now: Instant::ZERO, call: None, greedy: true, received: 0 }
    }

    /// Runs until `end` and returns the bytes of messages that arrived meanwhile.
    fn run_until(&mut self, end: Instant) -> usize {
        let before = self.received;
        while self.now < end {
            feed(&mut self.server, &mut self.up.arrived(self.now), self.now, |_, event, _| {
                if let server::Event::Request(call, _) = event {
                    self.call = Some(call);
                }
            });
            feed(&mut self.client, &mut self.down.arrived(self.now), self.now, |_, event, _| {
                if let client::Event::Message(_, message) = event {
                    self.received += message.wire_len() as usize;
                }
            });
            loop {
                while self.greedy
                    && let Some(call) = self.call
                    && self.server.can_send(call)
                {
                    let message = vec![7; MESSAGE - 5];
                    self.server.send_encoded(call, message.into(), false).expect("room");
                }
                if !self.down.take(&mut self.server, self.now) {
                    break;
                }
            }
            self.up.take(&mut self.client, self.now);
            let next = [&self.up, &self.down].into_iter().filter_map(|way| Some(way.0.front()?.0));
            self.now = next.min().unwrap_or(end).min(end);
        }
        self.received - before
    }
}

#[test]
fn on_a_long_path_a_stream_speeds_up_by_as_much_as_the_cap_allows() {
    let run = |max_window: u32| {
        let mut path = Path::new(|limits| {
            limits.stream_window = 64 << 10;
            limits.max_window = max_window;
        });
        path.run_until(Instant::from_millis(2000));
        let bytes = path.run_until(Instant::from_millis(12_000));
        (path.client.session().stream_window(), bytes)
    };
    let (_, fixed) = run(0);
    assert_eq!(fixed, 100 * (64 << 10), "a window each round trip of 100 ms");
    for factor in [2, 16, 64] {
        let (window, bytes) = run(factor * (64 << 10));
        // Within two seconds the window is there, though a doubling takes two round trips.
        assert_eq!(window, factor * (64 << 10));
        assert_eq!(bytes, factor as usize * fixed);
    }
}

#[test]
fn a_stream_that_its_window_does_not_hold_up_gets_no_larger_one() {
    let mut path = Path::new(|limits| limits.max_window = 64 << 20);
    path.greedy = false;
    path.run_until(Instant::from_millis(100));
    let call = path.call.expect("a call");
    let mut received = 0;
    for n in 2..102 {
        for _ in 0..20 {
            path.server.send_encoded(call, vec![7; MESSAGE - 5].into(), false).expect("room");
        }
        received += path.run_until(Instant::from_millis(100 * n));
    }
    assert_eq!(received, 100 * 20 * MESSAGE);
    assert_eq!(path.client.session().stream_window(), 65_535);
    assert!(path.server.stats().pings_received > 5, "it was looked at");
}
