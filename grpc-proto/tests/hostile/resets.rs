//! Rapid reset (CVE-2023-44487) and made-you-reset (CVE-2025-8671).

use grpc_proto::{Instant, Violation};

use crate::victim::{Handlers, Victim};
use crate::wire::{self, *};

#[test]
fn rapid_reset_is_calmed_after_the_burst() {
    let mut victim = Victim::new(|_| {});
    let call = wire::call();
    let stream = |n: u32| 2 * n + 1;
    for n in 0..1000 {
        victim.feed(&[headers(stream(n), 0, &call), reset(stream(n), CANCEL)].concat());
    }
    victim.expect_service(stream(1000));
    assert_eq!(victim.cancelled.len(), 1000);
    victim.feed(&[headers(stream(1001), 0, &call), reset(stream(1001), CANCEL)].concat());
    victim.expect_calm(Violation::TooManyResets);
}

#[test]
fn resets_at_the_allowed_rate_go_on_for_ever() {
    let mut victim = Victim::new(|_| {});
    let call = wire::call();
    for n in 0..10_000u32 {
        victim.now = Instant::from_millis(u64::from(n) * 31);
        victim.feed(&[headers(2 * n + 1, 0, &call), reset(2 * n + 1, CANCEL)].concat());
    }
    victim.expect_service(20_001);
}

#[test]
fn handlers_never_outnumber_the_stream_limit_however_fast_calls_are_reset() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    let call = wire::call();
    for n in 0..500u32 {
        victim.feed(&[headers(2 * n + 1, 0, &call), reset(2 * n + 1, CANCEL)].concat());
    }
    victim.expect_open();
    assert_eq!(victim.most_running, 100);
    // Once one of them is gone, the next call is served.
    let key = victim.last_call.expect("a call");
    victim.conn.release(key);
    victim.running -= 1;
    victim.expect_service(1001);
}

#[test]
fn at_most_32_calls_open_between_two_pulls() {
    let mut victim = Victim::new(|_| {});
    let call = wire::call();
    let bytes: Vec<u8> = (0..100u32).flat_map(|n| headers(2 * n + 1, 0, &call)).collect();
    let one = headers(1, 0, &call).len();
    let left = victim.feed_without_reading(&bytes);
    assert_eq!((victim.running, left), (32, bytes.len() - 32 * one));
    victim.pull();
    assert_eq!(victim.feed_without_reading(&bytes[32 * one..]), bytes.len() - 64 * one);
}

/// Feeds 1000 streams that each make us reset one, and then one more.
fn made_you_reset(provoke: impl Fn(u32) -> Vec<u8>, flags: u8) {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    let call = wire::call();
    for n in 0..1000u32 {
        let stream = 2 * n + 1;
        victim.feed(&headers(stream, flags, &call));
        let key = victim.last_call.take().expect("a call");
        victim.feed(&provoke(stream));
        victim.conn.release(key);
        victim.running -= 1;
        if n % 64 == 0 {
            victim.pull();
        }
    }
    victim.pull();
    assert_eq!(victim.resets_sent, 1000);
    assert_eq!(victim.cancelled.len(), 1000);
    victim.expect_service(2001);
    victim.feed(&headers(2003, flags, &call));
    victim.feed(&provoke(2003));
    victim.expect_calm(Violation::TooManyResets);
}

#[test]
fn made_you_reset_by_a_window_update_of_zero() {
    made_you_reset(|stream| window_update(stream, 0), END_STREAM);
}

#[test]
fn made_you_reset_by_a_window_overflow() {
    made_you_reset(|stream| window_update(stream, 0x7fff_ffff), END_STREAM);
}

#[test]
fn made_you_reset_by_a_bad_priority() {
    made_you_reset(|stream| frame(PRIORITY, 0, stream, &[0; 4]), END_STREAM);
}

#[test]
fn made_you_reset_by_data_after_the_end() {
    made_you_reset(|stream| data(stream, 0, b"x"), END_STREAM);
}

#[test]
fn made_you_reset_by_headers_after_the_end() {
    made_you_reset(|stream| headers(stream, 0, &wire::call()), END_STREAM);
}

#[test]
fn made_you_reset_by_trailers_without_end() {
    made_you_reset(|stream| headers(stream, 0, &literal(0, b"x", b"y")), 0);
}

#[test]
fn malformed_requests_are_calmed_after_the_burst() {
    let mut victim = Victim::new(|_| {});
    let bad = wire::call_without(":path");
    for n in 0..1000u32 {
        victim.feed(&headers(2 * n + 1, END_STREAM, &bad));
    }
    victim.expect_service(2001);
    victim.feed(&headers(2003, END_STREAM, &bad));
    victim.expect_calm(Violation::TooManyResets);
}

#[test]
fn resets_that_wait_to_be_sent_never_outnumber_the_streams() {
    let mut victim = Victim::new(|limits| limits.opens_per_transmit = 10_000);
    victim.handlers = Handlers::Stuck;
    let call = wire::call();
    let bytes: Vec<u8> = (0..5000u32)
        .flat_map(|n| [headers(2 * n + 1, 0, &call), window_update(2 * n + 1, 0)].concat())
        .collect();
    let left = victim.feed_without_reading(&bytes);
    assert!(left > 0, "input is left unread at the limit of replies");
    let queued = victim.sent().iter().filter(|f| matches!(f, Sent::Reset { .. })).count();
    assert!(queued <= 100 + 64, "{queued}");
    victim.is_crowded = true;
}
