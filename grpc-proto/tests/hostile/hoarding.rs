//! Memory that a peer makes us hold: claims, partial messages, replies that it does not take, idle connections.

use bytes::Bytes;
use grpc_proto::{Instant, Limits, Reason, SendError, Violation};

use crate::victim::{Handlers, Victim};
use crate::wire::{self, *};

#[test]
fn five_bytes_that_claim_four_gigabytes_are_refused() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    let before = victim.memory();
    victim.feed(&data(1, 0, &[0, 0xff, 0xff, 0xff, 0xff]));
    assert_eq!(victim.cancelled, [Reason::MessageTooLarge]);
    assert!(victim.memory() <= before + 4096);
    victim.expect_service(3);
}

#[test]
fn a_claim_commits_a_frames_worth_and_not_the_message() {
    let mut victim = Victim::new(|_| {});
    for n in 0..99u32 {
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        victim.pull();
    }
    let before = victim.memory();
    for n in 0..99u32 {
        victim.feed(&data(2 * n + 1, 0, &[0, 0, 0x40, 0, 0]));
    }
    assert!(victim.memory() - before < 99 * 17_000, "{}", victim.memory() - before);
    victim.expect_service(201);
}

#[test]
fn a_message_that_trickles_is_ended_when_it_stops() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    victim.feed(&data(1, 0, &[0, 0, 1, 0, 0]));
    for n in 1..50 {
        // A little now and then is progress.
        victim.now = Instant::from_millis(n * 59_000);
        victim.feed(&data(1, 0, &[7; 128]));
    }
    victim.expect_service(3);
    let last = victim.now;
    while victim.cancelled.is_empty() {
        victim.now = victim.conn.poll_timeout().expect("a timer");
        victim.feed(b"");
    }
    assert_eq!(victim.cancelled, [Reason::PeerMisbehaved(Violation::ReceiveStalled)]);
    assert_eq!(victim.now, last + std::time::Duration::from_secs(60));
    victim.expect_service(5);
}

#[test]
fn a_message_that_trickles_byte_by_byte_is_ended_in_time() {
    for (bytes, ends) in [(127, true), (128, false)] {
        let mut victim = Victim::new(|_| {});
        victim.feed(&headers(1, 0, &wire::call()));
        // The clock starts with the first byte, though the prefix is not complete.
        victim.feed(&data(1, 0, &[0, 0, 1]));
        victim.feed(&data(1, 0, &[0, 0]));
        for n in 1..=bytes {
            victim.now = Instant::from_millis(n * 59_999 / bytes);
            victim.feed(&data(1, 0, b"x"));
        }
        assert_eq!(victim.cancelled, []);
        victim.expect_service(3);
        victim.now = Instant::from_millis(60_000);
        victim.feed(b"");
        let stalled = Reason::PeerMisbehaved(Violation::ReceiveStalled);
        assert_eq!(victim.cancelled, vec![stalled; usize::from(ends)], "{bytes}");
        victim.expect_service(5);
    }
}

/// A client that sends one message a stream and keeps to the windows that it is given.
struct Client {
    connection: i64,
    /// For each stream: what it may send, and how much of its message it has sent.
    streams: Vec<(i64, usize)>,
}

impl Client {
    /// Sends on all streams until no window has room, leaving `short` bytes of each message out.
    fn send_all(&mut self, victim: &mut Victim, message: &[u8], short: usize) {
        loop {
            let mut moved = false;
            for n in 0..self.streams.len() {
                let (window, sent) = self.streams[n];
                let len = (message.len() - short - sent)
                    .min(16_384)
                    .min(window.max(0) as usize)
                    .min(self.connection.max(0) as usize);
                if len > 0 {
                    moved = true;
                    victim.feed(&data(2 * n as u32 + 1, 0, &message[sent..sent + len]));
                    self.streams[n] = (window - len as i64, sent + len);
                    self.connection -= len as i64;
                }
                for frame in victim.sent() {
                    if let Sent::WindowUpdate { stream, increment } = frame {
                        moved = true;
                        match stream {
                            0 => self.connection += i64::from(increment),
                            id => {
                                // It may have given up some of its streams.
                                if let Some((window, _)) = self.streams.get_mut(id as usize / 2) {
                                    *window += i64::from(increment);
                                }
                            }
                        }
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

#[test]
fn partial_messages_are_hoarded_within_the_budget_and_complete_when_the_peer_behaves() {
    let message = message(&vec![7; 4 << 20]);
    let mut victim = Victim::new(|_| {});
    let mut client = Client { connection: 1 << 20, streams: vec![(65_535, 0); 100] };
    for n in 0..100u32 {
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        victim.pull();
    }
    client.send_all(&mut victim, &message, 1);
    assert_eq!(victim.messages, 0);
    let full = client.streams.iter().filter(|(_, sent)| *sent == message.len() - 1).count();
    assert_eq!(full, 2, "what the budget has room for, first come first served");
    let bound = (8 << 20) + 100 * 65_536 + (1 << 20);
    assert!(victim.memory() < bound, "{} of {bound}", victim.memory());
    // The peer behaves again: every call completes.
    client.send_all(&mut victim, &message, 0);
    assert_eq!(victim.messages, 100);
    victim.check();
    for n in 0..100u32 {
        victim.feed(&data(2 * n + 1, END_STREAM, b""));
        victim.pull();
    }
    victim.expect_service(201);
}

/// Two calls hold the whole assembly budget, each a byte short of its end; the third waits for it behind a closed window.
fn with_the_budget_taken() -> (Victim, Client, Vec<u8>) {
    let message = message(&vec![7; 4 << 20]);
    let mut victim = Victim::new(|_| {});
    let mut client = Client { connection: 1 << 20, streams: vec![(65_535, 0); 3] };
    for n in 0..3u32 {
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        victim.pull();
    }
    client.send_all(&mut victim, &message, 60_000);
    assert_eq!(client.streams[2], (0, 65_535), "it has sent what it may");
    (victim, client, message)
}

#[test]
fn a_message_that_waits_for_our_budget_is_not_ended_as_if_the_peer_stood_still() {
    let (mut victim, mut client, message) = with_the_budget_taken();
    // The others creep on for an hour.
    for n in 1..=60 {
        victim.now = Instant::from_millis(n * 59_000);
        client.send_all(&mut victim, &message, 60_000 - 128 * n as usize);
    }
    assert_eq!(victim.cancelled, [], "our budget is what its peer waits for");
    client.send_all(&mut victim, &message, 0);
    assert_eq!(victim.messages, 3);
    victim.check();
    for n in 0..3u32 {
        victim.feed(&data(2 * n + 1, END_STREAM, b""));
        victim.pull();
    }
}

#[test]
fn a_message_that_got_its_budget_has_the_whole_time_to_go_on_and_no_more() {
    let (mut victim, mut client, message) = with_the_budget_taken();
    victim.now = Instant::from_millis(59_000);
    client.streams.truncate(2);
    client.send_all(&mut victim, &message, 0);
    assert_eq!(victim.messages, 2);
    victim.now = Instant::from_millis(59_000 + 59_999);
    victim.feed(b"");
    assert_eq!(victim.cancelled, []);
    victim.now = Instant::from_millis(59_000 + 60_000);
    victim.feed(b"");
    assert_eq!(victim.cancelled, [Reason::PeerMisbehaved(Violation::ReceiveStalled)]);
}

#[test]
fn a_message_that_waits_for_the_application_is_not_ended_as_if_the_peer_stood_still() {
    let mut victim = Victim::new(|limits| limits.manual_credit = true);
    victim.feed(&headers(1, 0, &wire::call()));
    let call = victim.last_call.expect("a call");
    let whole = message(&[7; 40_000]);
    for piece in whole.chunks(10_000) {
        victim.feed(&data(1, 0, piece));
    }
    // The window ends within the next message, and the application takes its time over the first.
    for piece in whole[..65_535 - whole.len()].chunks(10_000) {
        victim.feed(&data(1, 0, piece));
    }
    victim.pull();
    victim.now = Instant::from_millis(600_000);
    victim.feed(b"");
    assert_eq!((victim.messages, &victim.cancelled[..]), (1, &[][..]));
    victim.conn.grant(call, whole.len() as u32);
    victim.pull();
    victim.now = Instant::from_millis(659_999);
    victim.feed(b"");
    assert_eq!(victim.cancelled, []);
    victim.now = Instant::from_millis(660_000);
    victim.feed(b"");
    assert_eq!(victim.cancelled, [Reason::PeerMisbehaved(Violation::ReceiveStalled)]);
}

#[test]
fn buffers_that_large_messages_leave_behind_are_not_hoarded_by_small_claims() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    let large = message(&vec![7; 1_000_000]);
    for n in 1..99u32 {
        // Its buffer goes to the pool, for the next call that asks.
        for piece in large.chunks(16_384) {
            victim.feed(&data(1, 0, piece));
            victim.pull();
        }
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        victim.feed(&data(2 * n + 1, 0, &[0, 0, 1, 1, 0, 7, 7, 7]));
        victim.pull();
    }
    assert_eq!(victim.messages, 98);
    let most = 99 * 65_536 + (2 << 20);
    assert!(victim.memory() < most, "{} of {most}", victim.memory());
    victim.is_crowded = true;
}

#[test]
fn messages_that_fit_without_the_room_that_they_wait_for_leave_nothing_behind() {
    let (mut victim, mut client, message) = with_the_budget_taken();
    client.streams.truncate(2);
    let fits = wire::message(&vec![7; 65_000]);
    victim.feed(&headers(7, 0, &wire::call()));
    let mut before = 0;
    for n in 0..2000 {
        for piece in fits.chunks(16_384) {
            victim.feed(&data(7, 0, piece));
            victim.pull();
        }
        if n == 10 {
            before = victim.memory();
        }
    }
    assert_eq!(victim.messages, 2000);
    assert!(victim.memory() <= before, "{} after {before}", victim.memory());
    client.send_all(&mut victim, &message, 0);
    assert_eq!(victim.conn.session().assembly_left(), (8 << 20) - reserved(&victim));
    assert_eq!(reserved(&victim), reserved_by(&victim, 5), "only what waits for its message still");
}

/// What is taken of the assembly budget.
fn reserved(victim: &Victim) -> u32 {
    victim.conn.session().streams().map(|stream| stream.budgeted).sum()
}

fn reserved_by(victim: &Victim, id: u32) -> u32 {
    victim.conn.session().streams().find(|stream| stream.id == id).map_or(0, |s| s.budgeted)
}

#[test]
fn replies_that_the_peer_does_not_take_are_queued_within_the_budget_and_ended_in_time() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    let reply = Bytes::from(vec![7; 4 << 20]);
    let mut accepted = 0;
    victim.feed(&window_update(0, 0x7fff_0000));
    for n in 0..100u32 {
        victim.feed(&headers(2 * n + 1, END_STREAM, &wire::call()));
        let call = victim.last_call.expect("a call");
        match victim.conn.send_encoded(call, reply.clone(), false) {
            Ok(()) => accepted += 1,
            Err(SendError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        victim.pull();
    }
    assert_eq!(accepted, 4, "as many as the send budget of 16 MiB has room for");
    victim.now = Instant::from_millis(60_000);
    victim.feed(b"");
    assert_eq!(victim.cancelled.len(), 4);
    assert!(victim.cancelled.iter().all(|r| *r == Reason::PeerMisbehaved(Violation::SendStalled)));
    victim.is_crowded = true;
}

#[test]
fn an_idle_connection_takes_less_than_16_kib() {
    let mut victim = Victim::new(|_| {});
    // A busy past: long lists, large messages both ways, many streams at once.
    for round in 0..3u32 {
        for n in 0..100u32 {
            let stream = 200 * round + 2 * n + 1;
            // Every other list is short enough to be kept for reuse.
            let long = format!("{n}").repeat(if n % 2 == 0 { 3000 } else { 500 });
            victim.feed(&headers(
                stream,
                0,
                &wire::call_with(&[("x-long", &long), ("x-id", &long[..40])]),
            ));
            victim.pull();
        }
        for n in 0..100u32 {
            let stream = 200 * round + 2 * n + 1;
            for piece in message(&vec![n as u8; 60_000]).chunks(10_000) {
                victim.feed(&data(stream, 0, piece));
                victim.pull();
            }
            victim.feed(&data(stream, END_STREAM, b""));
            victim.pull();
        }
    }
    victim.expect_service(1001);
    assert_eq!((victim.running, victim.conn.open_calls()), (0, 0));
    let busy = victim.memory();
    victim.now = victim.conn.poll_timeout().expect("the trim timer");
    victim.feed(b"");
    victim.pull();
    victim.drop_buffers();
    let idle = victim.memory() + size_of_val(&victim.conn) as isize;
    println!("idle: {idle} bytes, {} of them the structure", size_of_val(&victim.conn));
    assert!(idle < 16 << 10, "{idle} bytes");
    assert!(busy > 100_000, "{busy}");
    victim.expect_service(1003);
}

#[test]
fn what_heap_bytes_tells_is_what_the_allocator_counts() {
    let base = crate::counting::live();
    let config = grpc_proto::Config::default();
    let mut conn: grpc_proto::Connection<grpc_proto::Server> =
        grpc_proto::Connection::new(&config, 1, Instant::ZERO);
    let mut out = grpc_proto::Transmit::new();
    let bytes = [PREFACE, &settings(&[]), &settings_ack()].concat();
    let mut input = &bytes[..];
    while conn.poll_event(&mut input, Instant::ZERO).unwrap().is_some() {}
    drop(bytes);
    for n in 0..50u32 {
        let bytes = [
            headers(2 * n + 1, 0, &wire::call()),
            data(2 * n + 1, 0, &message(&[7; 9000])[..8000]),
        ]
        .concat();
        let mut input = &bytes[..];
        while let Some(event) = conn.poll_event(&mut input, Instant::ZERO).unwrap() {
            if let grpc_proto::server::Event::Request(_, head) = event {
                conn.recycle_metadata(head.metadata);
            }
        }
        conn.poll_transmit(&mut out, Instant::ZERO);
        out.clear();
    }
    let counted = crate::counting::live() - base - out.heap_bytes() as isize;
    let reported = conn.heap_bytes() as isize;
    assert!((reported - counted).abs() < 2048, "{reported} reported, {counted} counted");
}

#[test]
fn a_hostile_peer_at_the_defaults_is_bounded_by_18_mib_beside_the_send_budget() {
    let bound = Limits::default().memory_bound();
    assert!(bound < 18 << 20, "{bound}");
}
