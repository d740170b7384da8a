//! Control frames in numbers (CVE-2019-9512, -9513, -9515, CVE-2020-11080), and frames that nobody asked for.

use std::time::Duration;

use grpc_proto::http2::{Session, Side};
use grpc_proto::{Config, ConnectionError, Instant, Limits, TimedOut, Transmit, Violation};

use crate::victim::Victim;
use crate::wire::{self, *};

#[test]
fn pings_of_a_peer_that_does_not_read_stay_unread_at_64_replies() {
    let mut victim = Victim::new(|limits| limits.min_ping_interval = Duration::ZERO);
    let bytes = ping([1; 8]).repeat(10_000);
    let left = victim.feed_without_reading(&bytes);
    assert_eq!(left, bytes.len() - 64 * 17);
    assert_eq!(victim.feed_without_reading(&bytes[64 * 17..]), left, "nothing more without a pull");
    assert_eq!(victim.sent().len(), 64);
    victim.check();
    victim.expect_service(1);
}

#[test]
fn a_peer_that_asks_and_takes_no_replies_loses_its_connection_in_time() {
    let mut limits = Limits::default();
    limits.min_ping_interval = Duration::ZERO;
    let config = Config::new(limits).expect("the limits are possible");
    let start = Instant::from_millis(1);
    let mut session = Session::new(Side::Server, &config, 1, start);
    let asked = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &settings(&[]),
        &settings_ack(),
        &ping([1; 8]).repeat(200),
    ]
    .concat();
    let mut input = &asked[..];
    assert_eq!(session.poll(&mut input, start).map(|event| event.is_none()), Ok(true));
    assert!(!input.is_empty(), "input is left at the limit of replies");
    // A pull in time begins the wait anew.
    let before = start + Duration::from_millis(59_999);
    session.poll_transmit(&mut Transmit::new(), before);
    let mut input = &asked[asked.len() - 17 * 70..];
    assert_eq!(session.poll(&mut input, before).map(|event| event.is_none()), Ok(true));
    let due = before + Duration::from_secs(60);
    assert_eq!(
        session.poll(&mut &[][..], before + Duration::from_nanos(59_999_999_999)).map(|_| ()),
        Ok(())
    );
    let over = session.poll(&mut &[][..], due).map(|_| ());
    assert_eq!(over, Err(ConnectionError::TimedOut(TimedOut::Backlog)));
}

#[test]
fn settings_of_a_peer_that_does_not_read_stay_unread_at_64_replies() {
    let mut victim = Victim::new(|_| {});
    let bytes = settings(&[(4, 1), (4, 65_535)]).repeat(1000);
    let left = victim.feed_without_reading(&bytes);
    assert_eq!(left, bytes.len() - 64 * 21);
    victim.check();
    assert_eq!(victim.sent().len(), 64);
    victim.expect_service(1);
}

#[test]
fn pings_are_two_strikes_and_out() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&ping([0; 8]).repeat(3));
    victim.expect_open();
    victim.feed(&ping([0; 8]));
    victim.expect_calm(Violation::TooManyPings);
}

#[test]
fn a_settings_frame_has_at_most_32_entries() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&settings(&[(0xf000, 1); 32]));
    victim.expect_service(1);
    victim.feed(&settings(&[(0xf000, 1); 33]));
    victim.expect_calm(Violation::TooManySettings);
}

#[test]
fn shrinking_windows_are_legal_and_do_not_spin() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = crate::victim::Handlers::Stuck;
    victim.feed(&headers(1, END_STREAM, &wire::call()));
    let call = victim.last_call.expect("a call");
    victim.conn.send_encoded(call, vec![7; 60_000].into(), false).unwrap();
    for size in [65_535, 0, 1, 0, 65_535, 0] {
        victim.feed(&settings(&[(4, size)]));
        victim.pull();
    }
    // One pull with nothing to send sends nothing.
    assert_eq!(victim.sent(), []);
    victim.feed(&settings(&[(4, 65_535)]));
    victim.pull();
    victim.expect_service(3);
}

#[test]
fn bad_settings_are_refused_before_anything_is_applied() {
    for (entry, violation) in [
        ((5, 0), Violation::MaxFrameSizeOutOfRange),
        ((5, 16_383), Violation::MaxFrameSizeOutOfRange),
        ((4, u32::MAX), Violation::InitialWindowOutOfRange),
    ] {
        let mut victim = Victim::new(|_| {});
        victim.feed(&settings(&[(4, 1), entry]));
        victim.expect_violation(violation);
        assert_eq!(victim.conn.session().peer_settings().initial_window_size, 65_535);
    }
}

#[test]
fn priority_churn_costs_no_memory() {
    let mut victim = Victim::new(|_| {});
    victim.expect_service(1);
    let before = victim.memory();
    for n in 0..50_000u32 {
        let dependency = (n.wrapping_mul(7919) % 1000).to_be_bytes();
        victim.feed(&frame(
            PRIORITY,
            0,
            2 * (n % 5000) + 1,
            &[&dependency[..], &[n as u8]].concat(),
        ));
    }
    assert!(victim.memory() <= before, "{} more", victim.memory() - before);
    victim.expect_service(20_001);
}

#[test]
fn window_updates_are_bounded_by_what_was_sent() {
    let mut victim = Victim::new(|_| {});
    for _ in 0..100 {
        victim.feed(&window_update(0, 1));
    }
    // A call with one DATA frame deserves 22 more.
    victim.expect_service(1);
    for _ in 0..22 {
        victim.feed(&window_update(0, 1));
    }
    victim.expect_open();
    victim.feed(&window_update(0, 1));
    victim.expect_calm(Violation::TooManyWindowUpdates);
}

#[test]
fn unknown_frames_cost_nothing() {
    let mut victim = Victim::new(|_| {});
    victim.expect_service(1);
    let before = victim.memory();
    for kind in 0x0a..=0xff {
        victim.feed(&frame(kind, 0xff, u32::from(kind), &[kind; 1000]));
    }
    assert!(victim.memory() <= before);
    victim.expect_service(3);
}

#[test]
fn the_last_identifier_is_served_and_nothing_below_it() {
    let mut victim = Victim::new(|_| {});
    victim.expect_service(1);
    victim.expect_service(0x7fff_ffff);
    victim.feed(&headers(5, 0, &wire::call()));
    victim.expect_violation(Violation::IdentifierNotRising);
}

#[test]
fn even_and_idle_identifiers_end_the_connection() {
    for (bytes, violation) in [
        (headers(2, 0, &wire::call()), Violation::EvenStreamFromClient),
        (data(2, 0, b"x"), Violation::FrameOnIdleStream),
        (reset(2, 0), Violation::FrameOnIdleStream),
        (reset(9, 0), Violation::FrameOnIdleStream),
        (window_update(9, 1), Violation::FrameOnIdleStream),
        (data(9, 0, b"x"), Violation::FrameOnIdleStream),
    ] {
        let mut victim = Victim::new(|_| {});
        victim.expect_service(1);
        victim.feed(&bytes);
        victim.expect_violation(violation);
    }
}

#[test]
fn junk_after_the_end_is_absorbed() {
    let junk: Vec<u8> =
        (0..10_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut victim = Victim::new(|_| {});
    victim.feed(&window_update(0, 0));
    victim.expect_violation(Violation::WindowUpdateOfZero);
    let before = victim.memory();
    victim.feed(&junk);
    assert!(victim.memory() <= before);
    assert_eq!(victim.cancelled.len(), 0);
}

#[test]
fn silence_is_closed_in_time() {
    // A peer that shook hands and says nothing more is asked after two hours, and given 20 seconds.
    let mut victim = Victim::new(|_| {});
    let mut wakes = 0;
    while victim.error.is_none() {
        victim.now = victim.conn.poll_timeout().expect("a timer");
        victim.feed(b"");
        victim.pull();
        wakes += 1;
    }
    assert_eq!(victim.now, Instant::from_millis(7_220_000));
    assert!(wakes < 5, "{wakes}");
}
