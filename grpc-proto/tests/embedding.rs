//! What docs/embedding.md promises to loops around the core, beside what other tests hold.

use std::time::Duration;

use bytes::Bytes;
use grpc_proto::{
    CallHead, CallKey, Client, Code, Config, Connection, Instant, Limits, Metadata, Payload,
    SendError, Server, Status, Transmit, client, server,
};

/// Both ends of a connection.
struct Pair {
    client: Connection<Client>,
    server: Connection<Server>,
    now: Instant,
    /// Requests that the server has seen, and messages and statuses that the client has.
    requests: Vec<CallKey>,
    messages: usize,
    statuses: Vec<Status>,
    /// Whether the client gives buffers of messages back.
    recycles: bool,
}

impl Pair {
    fn new() -> Self {
        let config = Config::new(Limits::default()).unwrap();
        Pair {
            client: Connection::new(&config, 1, Instant::ZERO),
            server: Connection::new(&config, 2, Instant::ZERO),
            now: Instant::ZERO,
            requests: Vec::new(),
            messages: 0,
            statuses: Vec::new(),
            recycles: true,
        }
    }

    /// Moves bytes both ways, in pieces of a kilobyte, until neither end has more.
    fn settle(&mut self) {
        loop {
            let up = pull(|out| self.client.poll_transmit(out, self.now));
            for part in up.chunks(1000) {
                self.feed_server(part);
            }
            let down = pull(|out| self.server.poll_transmit(out, self.now));
            for part in down.chunks(1000) {
                self.feed_client(part);
            }
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn feed_server(&mut self, mut input: &[u8]) {
        while let Some(event) = self.server.poll_event(&mut input, self.now).unwrap() {
            if let server::Event::Request(call, _) = event {
                self.requests.push(call);
            }
        }
        assert!(input.is_empty());
    }

    fn feed_client(&mut self, mut input: &[u8]) {
        while let Some(event) = self.client.poll_event(&mut input, self.now).unwrap() {
            match event {
                client::Event::Message(_, message) => {
                    self.messages += 1;
                    if let Payload::Assembled(buffer) = message.payload
                        && self.recycles
                    {
                        self.client.recycle(buffer);
                    }
                }
                client::Event::Status(_, outcome) => self.statuses.push(outcome.status),
                _ => {}
            }
        }
        assert!(input.is_empty());
    }

    fn call(&mut self, deadline: Option<Instant>) -> CallKey {
        let head = CallHead::new("/a.B/C", "localhost");
        let call = self.client.call(&head, deadline, self.now).unwrap();
        self.client.end(call).unwrap();
        call
    }
}

fn pull(mut transmit: impl FnMut(&mut Transmit)) -> Vec<u8> {
    let mut out = Transmit::new();
    transmit(&mut out);
    out.chunks().flatten().copied().collect()
}

#[test]
fn a_status_behind_full_follows_what_is_queued_and_not_what_was_refused() {
    let mut pair = Pair::new();
    pair.call(None);
    pair.settle();
    let call = pair.requests[0];
    let message = Bytes::from(vec![7; 10_000]);
    let mut queued = 0;
    let refused = loop {
        match pair.server.send_encoded(call, message.clone(), false) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
        assert!(queued < 1000);
    };
    assert_eq!(refused, SendError::Full);
    // It needs no room itself.
    let status = Status::new(Code::Ok, "");
    pair.server.finish(call, &status, &Metadata::new()).unwrap();
    pair.settle();
    assert_eq!((pair.messages, pair.statuses.len()), (queued, 1));
    assert_eq!(pair.statuses[0].code(), Code::Ok);
}

#[test]
fn buffers_that_are_not_recycled_take_nothing_from_any_budget() {
    let mut pair = Pair::new();
    pair.recycles = false;
    // Ten times the assembly budget in all, each message far above a window.
    for n in 1..=40 {
        pair.call(None);
        pair.settle();
        let call = pair.requests.pop().unwrap();
        pair.server.send_encoded(call, vec![7; 2 << 20].into(), false).unwrap();
        pair.server.finish(call, &Status::new(Code::Ok, ""), &Metadata::new()).unwrap();
        pair.settle();
        assert_eq!((pair.messages, pair.statuses.len()), (n, n));
    }
}

#[test]
fn one_timeout_stands_for_all_timers_and_one_poll_runs_all_that_are_due() {
    let mut pair = Pair::new();
    let deadline = |n: u64| Instant::from_millis(1000 + n % 2 * 1000);
    for n in 0..20 {
        pair.call(Some(deadline(n)));
    }
    pair.settle();
    for (ended, at) in [(10, 1000), (20, 2000)] {
        let due = pair.client.poll_timeout().unwrap();
        assert_eq!(due, Instant::from_millis(at));
        pair.now = due;
        pair.feed_client(b"");
        assert_eq!(pair.statuses.len(), ended);
        assert!(pair.client.poll_timeout().is_none_or(|next| next > due), "what is due is done");
    }
    assert!(pair.statuses.iter().all(|status| status.code() == Code::DeadlineExceeded));
    // Late by any time is the same as in time.
    pair.now = pair.now + Duration::from_secs(1);
    pair.feed_client(b"");
}
