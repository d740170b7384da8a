//! Rapid reset (CVE-2023-44487) and made-you-reset (CVE-2025-8671).

use bytes::Bytes;
use grpc_proto::{CallKey, Instant, Metadata, Status, Violation};

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

/// Runs `seconds` of `rate` calls a second beside one that is open all the time. Each call is given to `serve` and is
/// reset `lag` calls later. Output is pulled after each frame, as a driver does.
fn cancel_storm(seconds: u32, rate: u32, lag: u32, block: &[u8], serve: fn(&mut Victim, CallKey)) {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    let steady = victim.last_call.take().expect("a call");
    let calls = seconds * rate;
    for n in 0..calls + lag {
        victim.now = Instant::from_millis(u64::from(n) * 1000 / u64::from(rate));
        if n < calls {
            victim.feed(&headers(2 * n + 3, 0, block));
            let call = victim.last_call.take().expect("no call is refused");
            serve(&mut victim, call);
            victim.pull();
        }
        if n >= lag {
            victim.feed(&reset(2 * (n - lag) + 3, CANCEL));
            victim.pull();
        }
    }
    victim.expect_open();
    assert_eq!(victim.cancelled.len(), calls as usize);
    assert_eq!(victim.conn.stats().streams_refused, 0);
    victim.feed(&data(1, 0, &message(b"hello")));
    assert_eq!(victim.messages, 1);
    victim.conn.send_encoded(steady, Bytes::from_static(b"hello"), false).expect("room");
    victim.conn.finish(steady, &Status::OK, &Metadata::new()).expect("the call is still open");
    victim.running -= 1;
    victim.pull();
    assert!(victim.conn.stats().data_sent >= 10, "the answer has left");
}

#[test]
fn calls_cancelled_after_their_response_headers_take_no_tokens() {
    cancel_storm(30, 500, 10, &wire::call(), |victim, call| {
        victim.conn.headers(call, &Metadata::new()).expect("a new call");
    });
}

#[test]
fn calls_with_short_timeouts_take_no_tokens() {
    // The client resets at its deadline, just before, at, and after that of the server.
    for lag in [39, 40, 41] {
        cancel_storm(5, 2000, lag, &wire::call_with(&[("grpc-timeout", "20m")]), |_, _| {});
    }
    cancel_storm(30, 2000, 40, &wire::call_with(&[("grpc-timeout", "20m")]), |_, _| {});
}

#[test]
fn calls_that_ran_without_an_answer_take_no_tokens_when_cancelled() {
    cancel_storm(5, 2000, 40, &wire::call(), |_, _| {});
}

#[test]
fn resets_paced_to_one_pull_each_are_bounded_by_slots_and_opens() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    let call = wire::call();
    for n in 0..5000u32 {
        victim.feed(&headers(2 * n + 1, 0, &call));
        victim.pull();
        victim.feed(&reset(2 * n + 1, CANCEL));
        if victim.error.is_some() {
            break;
        }
    }
    assert_eq!(
        victim.most_running, 100,
        "a cancelled call keeps its slot until its handler is gone"
    );
    // Calls refused at the limit never ran, so that each takes a token.
    victim.expect_calm(Violation::TooManyResets);
}

#[test]
fn resets_in_batches_take_tokens_though_opens_force_pulls() {
    for batch in [1, 31, 32, 33, 64] {
        let mut victim = Victim::new(|_| {});
        let call = wire::call();
        let mut next = 1;
        while victim.error.is_none() && next < 4000 {
            let ids = (0..batch).map(|n| next + 2 * n);
            let calls = ids.clone().flat_map(|id| headers(id, 0, &call));
            let bytes: Vec<u8> = calls.chain(ids.flat_map(|id| reset(id, CANCEL))).collect();
            victim.feed(&bytes);
            next += 2 * batch;
        }
        assert!(next <= 2003 + 2 * batch, "batches of {batch}: {next}");
        victim.expect_calm(Violation::TooManyResets);
    }
}

#[test]
fn replies_that_force_a_pull_make_no_reset_free() {
    let mut victim = Victim::new(|limits| limits.min_ping_interval = std::time::Duration::ZERO);
    let call = wire::call();
    let pings: Vec<u8> = (0..65).flat_map(|n| ping([n; 8])).collect();
    for n in 0..1001u32 {
        let open = headers(2 * n + 1, 0, &call);
        victim.feed(&[open, pings.clone(), reset(2 * n + 1, CANCEL)].concat());
    }
    victim.expect_calm(Violation::TooManyResets);
}

#[test]
fn violations_take_tokens_after_the_call_ran_too() {
    let mut victim = Victim::new(|_| {});
    let call = wire::call();
    for n in 0..1000u32 {
        victim.feed(&headers(2 * n + 1, 0, &call));
        let key = victim.last_call.take().expect("a call");
        victim.conn.headers(key, &Metadata::new()).expect("a new call");
        victim.pull();
        victim.feed(&window_update(2 * n + 1, 0));
        victim.pull();
    }
    victim.expect_service(2001);
    victim.feed(&headers(2003, 0, &call));
    victim.pull();
    victim.feed(&window_update(2003, 0));
    victim.expect_calm(Violation::TooManyResets);
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
