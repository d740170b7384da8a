//! Windows that may grow (rule 35), and peers that make the most of it.

use std::time::Duration;

use grpc_proto::{Instant, Limits};

use crate::victim::{Handlers, Victim};
use crate::wire::{self, *};

const CAP: u32 = 1 << 20;

fn growing(limits: &mut Limits) {
    limits.max_window = CAP;
}

fn ping_ack(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, ACK, 0, &payload)
}

/// Sends DATA on stream 1 until a PING goes out, and returns its payload. Stays within `window`, which it uses up.
fn provoke(victim: &mut Victim, window: usize) -> Option<[u8; 8]> {
    let mut ping = None;
    let mut left = window;
    while left > 0 {
        let part = left.min(16_384);
        left -= part;
        victim.feed(&data(1, 0, &message(&vec![7; part - 5])));
        ping = victim
            .sent()
            .iter()
            .find_map(|frame| match frame {
                Sent::Ping(payload) => Some(*payload),
                _ => None,
            })
            .or(ping);
    }
    ping
}

/// A victim whose windows a peer has made grow to the cap on stream 1.
fn grown() -> Victim {
    let mut victim = Victim::new(growing);
    victim.feed(&headers(1, 0, &wire::call()));
    victim.pull();
    while victim.conn.session().stream_window() < CAP {
        let window = victim.conn.session().stream_window() as usize;
        let payload = provoke(&mut victim, window - 16).expect("a PING");
        victim.now = victim.now + Duration::from_millis(10);
        victim.feed(&ping_ack(payload));
        assert!(victim.conn.session().stream_window() > window as u32);
        victim.pull();
        victim.feed(&settings_ack());
    }
    victim
}

#[test]
fn windows_that_have_grown_are_hoarded_within_the_bound_that_tells_of_the_cap() {
    let mut victim = grown();
    victim.handlers = Handlers::Stuck;
    // All but the last byte of what fits the window, on every stream; none of it asks for the budget.
    let hoard = message(&vec![7; CAP as usize - 2000]);
    for n in 1..99u32 {
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        for piece in hoard[..hoard.len() - 1].chunks(16_384) {
            victim.feed(&data(2 * n + 1, 0, piece));
            victim.pull();
        }
    }
    victim.check();
    assert_eq!(victim.conn.session().assembly_left(), Limits::default().assembly_budget);
    let fixed = Limits::default().memory_bound() as isize;
    assert!(
        victim.memory() > 5 * fixed,
        "{} bytes: the bound has to count the cap",
        victim.memory()
    );
}

#[test]
fn an_acknowledgement_that_is_late_forged_or_repeated_gains_nothing() {
    let mut victim = Victim::new(growing);
    victim.feed(&headers(1, 0, &wire::call()));
    victim.pull();
    let first = provoke(&mut victim, 65_520).expect("a PING");
    // Late by a day: one doubling, as for everybody who uses the window up.
    for _ in 0..20 {
        victim.now = victim.now + Duration::from_secs(3600);
        assert_eq!(provoke(&mut victim, 65_520), None, "one is out");
        assert_eq!(victim.conn.session().stream_window(), 65_535);
    }
    for _ in 0..100 {
        victim.feed(&ping_ack(first));
        victim.pull();
        assert_eq!(victim.conn.session().stream_window(), 131_070);
    }
    victim.feed(&settings_ack());
    // Before the next PING has left, nothing can be its acknowledgement.
    victim.feed(&data(1, 0, &message(&[7; 100])));
    let mut guess = u64::from_be_bytes(first);
    for _ in 0..1000 {
        guess = guess.wrapping_add(1);
        victim.feed(&ping_ack(guess.to_be_bytes()));
    }
    assert_eq!(victim.conn.session().stream_window(), 131_070);
    victim.expect_service(3);
}

#[test]
fn a_ping_that_is_never_acknowledged_is_the_last() {
    let mut victim = Victim::new(growing);
    victim.feed(&headers(1, 0, &wire::call()));
    victim.pull();
    assert!(provoke(&mut victim, 65_520).is_some());
    let before = victim.memory();
    for n in 0..100 {
        victim.now = Instant::from_millis(1000 * n);
        assert_eq!(provoke(&mut victim, 65_520), None);
    }
    assert!(victim.memory() <= before + 1024);
    victim.expect_service(3);
}

#[test]
fn settings_that_are_never_acknowledged_end_the_growth_and_not_the_connection() {
    let mut victim = Victim::new(growing);
    victim.feed(&headers(1, 0, &wire::call()));
    victim.pull();
    let payload = provoke(&mut victim, 65_520).expect("a PING");
    victim.feed(&ping_ack(payload));
    victim.pull();
    for n in 0..100 {
        victim.now = Instant::from_millis(10_000 * n);
        assert_eq!(provoke(&mut victim, 131_000), None);
    }
    assert_eq!(victim.conn.session().stream_window(), 131_070);
    victim.expect_service(3);
}

#[test]
fn a_message_that_waits_for_the_budget_needs_less_of_it_when_windows_grow() {
    let mut victim = Victim::new(growing);
    let large = message(&vec![7; 4 << 20]);
    let small = message(&vec![7; 100_000]);
    for n in 0..4u32 {
        victim.feed(&headers(2 * n + 1, 0, &wire::call()));
        victim.pull();
    }
    // Two calls take the budget, a third waits with a message that the next window will hold.
    victim.feed(&data(3, 0, &large[..16_384]));
    let sent = victim.sent();
    let payload = sent.iter().find_map(|frame| match frame {
        Sent::Ping(payload) => Some(*payload),
        _ => None,
    });
    victim.feed(&data(5, 0, &large[..16_384]));
    victim.pull();
    let left = victim.conn.session().assembly_left();
    victim.feed(&data(7, 0, &small[..16_384]));
    victim.pull();
    assert!(victim.conn.session().assembly_left() < left, "it has had its part");
    let waiting = message(&vec![7; 190_000]);
    victim.feed(&headers(9, 0, &wire::call()));
    for piece in waiting[..65_535].chunks(16_384) {
        victim.feed(&data(9, 0, piece));
    }
    victim.pull();
    let window = |victim: &Victim| {
        let stream = victim.conn.session().streams().find(|stream| stream.id == 9);
        stream.expect("a stream").recv_window
    };
    assert_eq!(window(&victim), 0, "it waits");
    assert_eq!(provoke(&mut victim, 65_520), None, "it is out already");
    victim.feed(&ping_ack(payload.expect("a PING")));
    let sent = victim.sent();
    assert!(sent.contains(&Sent::Settings(vec![(4, 131_070)])), "{sent:?}");
    // Half of it by SETTINGS, what remains out of the little that is left of the budget.
    assert!(window(&victim) >= i64::from(waiting.len() as u32) - 65_535, "{}", window(&victim));
    for piece in waiting[65_535..].chunks(16_384) {
        victim.feed(&data(9, 0, piece));
        victim.pull();
    }
    assert_eq!(victim.messages, 4 + 1, "four in answer to the window of stream 1, and this");
}
