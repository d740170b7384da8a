//! Rules 33 and 34: keepalive, and its enforcement.

use std::time::Duration;

use grpc_proto::{Code, ConnectionError, Instant, TimedOut, Violation};

use crate::harness::{AtServer, client, client_with, code, raw_client, server, server_with};
use crate::wire::*;

#[test]
fn rule_33_keepalive_of_a_client_is_off_by_default_and_waits_for_calls() {
    client(|bench| {
        bench.open();
        bench.set_millis(100_000_000);
        bench.feed(b"");
        assert_eq!(bench.sent(), []);
    });
    client_with(
        |limits| limits.keepalive = Some(Duration::from_secs(30)),
        |bench| {
            bench.set_millis(100_000);
            bench.feed(b"");
            assert_eq!(bench.sent(), []);
            bench.open();
            bench.set_millis(130_000);
            bench.feed(b"");
            assert!(matches!(bench.sent()[..], [Sent::Ping(_)]));
        },
    );
}

#[test]
fn rule_33_keepalive_is_timed_from_the_last_byte_and_at_least_ten_seconds() {
    client_with(
        |limits| {
            limits.keepalive = Some(Duration::from_secs(1));
            limits.keepalive_without_calls = true;
        },
        |bench| {
            bench.set_millis(9_000);
            bench.feed(settings(&[]));
            bench.sent();
            bench.set_millis(10_000);
            bench.feed(b"");
            assert_eq!(bench.sent(), []);
            bench.set_millis(19_000);
            bench.feed(b"");
            let sent = bench.sent();
            let [Sent::Ping(payload)] = &sent[..] else { panic!("{sent:?}") };
            // Its answer is one; the next PING comes later.
            bench.feed(frame(PING, ACK, 0, payload));
            bench.set_millis(29_000);
            bench.feed(b"");
            assert!(matches!(bench.sent()[..], [Sent::Ping(_)]));
        },
    );
}

#[test]
fn rule_33_a_ping_that_is_not_answered_ends_the_connection_after_its_timeout() {
    for span in [10, 20, 60] {
        client_with(
            |limits| limits.keepalive = Some(Duration::from_secs(span)),
            |bench| {
                bench.open();
                // Woken at every moment it asks for, like an adapter does.
                let mut pings = 0;
                while bench.error.is_none() {
                    bench.now = bench.conn.poll_timeout().expect("a timer");
                    let events = bench.feed(b"");
                    pings += bench.sent().iter().filter(|f| matches!(f, Sent::Ping(_))).count();
                    if bench.error.is_some() {
                        assert_eq!(code(&events), Code::Unavailable);
                    }
                }
                assert_eq!(bench.now, Instant::from_millis((span + 20) * 1000));
                assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Keepalive)));
                assert_eq!(pings, 1);
            },
        );
    }
}

#[test]
fn rule_33_an_answer_that_takes_longer_than_the_keepalive_time_does_not_put_off_the_next_ping() {
    client_with(
        |limits| limits.keepalive = Some(Duration::from_secs(10)),
        |bench| {
            bench.open();
            for n in 0..5 {
                bench.set_millis(10_000 + n * 25_000);
                bench.feed(b"");
                let sent = bench.sent();
                let [Sent::Ping(payload)] = sent[..] else { panic!("PING {n}: {sent:?}") };
                // A new call, and every moment at which it wants to be woken, bring no second PING.
                let call = bench.open();
                bench.set_millis(20_000 + n * 25_000);
                bench.feed(b"");
                assert_eq!(bench.sent(), []);
                bench.set_millis(25_000 + n * 25_000);
                bench.feed(frame(PING, ACK, 0, &payload));
                let next = Instant::from_millis(35_000 + n * 25_000);
                assert!(bench.conn.poll_timeout().is_some_and(|at| at <= next));
                bench.conn.cancel(call);
                bench.sent();
            }
        },
    );
}

#[test]
fn rule_33_whoever_wakes_late_reads_what_has_come_before_it_gives_the_peer_up() {
    client_with(
        |limits| limits.keepalive = Some(Duration::from_secs(10)),
        |bench| {
            bench.open();
            bench.set_millis(10_000);
            bench.feed(b"");
            let sent = bench.sent();
            let [Sent::Ping(payload)] = sent[..] else { panic!("{sent:?}") };
            // A minute later than it asked for: the answer lies there.
            bench.set_millis(90_000);
            bench.feed(frame(PING, ACK, 0, &payload));
            bench.expect_open();
            bench.set_millis(100_000);
            bench.feed(b"");
            let sent = bench.sent();
            assert!(matches!(sent[..], [Sent::Ping(_)]), "{sent:?}");
            // Something else than the answer does not help.
            bench.set_millis(120_000);
            bench.feed(ping([1; 8]));
            bench.expect_open();
            bench.now = bench.conn.poll_timeout().expect("a timer that is due");
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Keepalive)));
        },
    );
    // It does not read for ever: who sends without a pause is given up too.
    client_with(
        |limits| limits.keepalive = Some(Duration::from_secs(10)),
        |bench| {
            bench.open();
            bench.set_millis(10_000);
            bench.feed(b"");
            for n in 0..10 {
                bench.set_millis(29_900 + 100 * n);
                bench.feed(ping([1; 8]));
                bench.expect_open();
                bench.sent();
            }
            bench.set_millis(31_000);
            bench.feed(ping([1; 8]));
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Keepalive)));
        },
    );
    raw_client(
        |_| {},
        |bench| {
            bench.sent();
            bench.set_millis(60_000);
            bench.feed([settings(&[]), settings_ack()].concat());
            bench.expect_open();
        },
    );
    server(|bench| {
        let call = bench.open(1, 0);
        bench.feed(data(1, 0, &message(&[7; 1000])[..500]));
        bench.set_millis(600_000);
        let events = bench.feed(data(1, 0, &message(&[7; 1000])[500..]));
        assert_eq!(events, [AtServer::Message(call, vec![7; 1000])]);
    });
}

#[test]
fn rule_33_a_server_pings_after_two_hours() {
    server(|bench| {
        bench.set_millis(7_199_999);
        bench.feed(b"");
        assert_eq!(bench.sent(), []);
        bench.set_millis(7_200_000);
        bench.feed(b"");
        assert!(matches!(bench.sent()[..], [Sent::Ping(_)]));
        bench.set_millis(7_220_000);
        bench.feed(b"");
        assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Keepalive)));
    });
}

#[test]
fn rule_34_pings_that_come_too_soon_are_two_strikes_and_out() {
    server(|bench| {
        bench.open(1, 0);
        for n in 0..3 {
            bench.set_millis(n * 1000);
            bench.feed(ping([n as u8; 8]));
            assert_eq!(bench.sent(), [Sent::PingAck([n as u8; 8])]);
        }
        bench.feed(ping([9; 8]));
        assert_eq!(bench.error, Some(ConnectionError::PeerMisbehaved(Violation::TooManyPings)));
        let Some(Sent::GoAway { code: ENHANCE_YOUR_CALM, debug, .. }) = bench.sent().pop() else {
            panic!()
        };
        assert_eq!(debug, "too_many_pings");
    });
}

#[test]
fn rule_34_pings_five_minutes_apart_are_welcome_and_two_hours_without_calls() {
    server(|bench| {
        bench.open(1, 0);
        for n in 1..10 {
            bench.set_millis(n * 300_000);
            bench.feed(ping([0; 8]));
            bench.sent();
        }
        bench.expect_open();
    });
    server(|bench| {
        for n in 1..5u64 {
            bench.set_millis(n * 300_000);
            bench.feed(ping([0; 8]));
            bench.sent();
        }
        assert_eq!(bench.error, Some(ConnectionError::PeerMisbehaved(Violation::TooManyPings)));
    });
}

#[test]
fn rule_34_strikes_are_forgiven_when_headers_or_data_are_sent() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        for _ in 0..10 {
            bench.feed([ping([0; 8]), ping([1; 8])].concat());
            bench.conn.send_encoded(call, (&b"x"[..]).into(), false).unwrap();
            bench.sent();
        }
        bench.expect_open();
    });
}

#[test]
fn rule_34_the_first_ping_behind_headers_or_data_is_no_strike() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        for _ in 0..10 {
            bench.feed([ping([0; 8]), ping([1; 8]), ping([2; 8])].concat());
            bench.conn.send_encoded(call, (&b"x"[..]).into(), false).unwrap();
            bench.sent();
        }
        bench.feed([ping([0; 8]), ping([1; 8]), ping([2; 8])].concat());
        bench.expect_open();
        bench.feed(ping([3; 8]));
        assert_eq!(bench.error, Some(ConnectionError::PeerMisbehaved(Violation::TooManyPings)));
    });
}

#[test]
fn rule_34_enforcement_may_be_relaxed() {
    server_with(
        |limits| limits.min_ping_interval = Duration::ZERO,
        |bench| {
            for n in 0..200u64 {
                bench.feed(ping(n.to_be_bytes()));
                bench.sent();
            }
            bench.expect_open();
        },
    );
}

#[test]
fn rule_34_a_client_that_was_told_doubles_its_keepalive() {
    let reported = |code: u32, debug: &[u8]| {
        frame(GOAWAY, 0, 0, &[&1u32.to_be_bytes()[..], &code.to_be_bytes(), debug].concat())
    };
    for (code, debug, seconds) in [
        (ENHANCE_YOUR_CALM, &b"too_many_pings"[..], 60),
        // Calm is asked for other things too.
        (ENHANCE_YOUR_CALM, b"too many resets", 30),
        (ENHANCE_YOUR_CALM, b"", 30),
        (NO_ERROR, b"too_many_pings", 30),
    ] {
        client_with(
            |limits| limits.keepalive = Some(Duration::from_secs(30)),
            |bench| {
                bench.open();
                // Twice, because a peer that goes may say so again: that doubles nothing.
                bench.feed(reported(code, debug));
                bench.feed(reported(code, debug));
                bench.sent();
                let span = Duration::from_secs(seconds);
                assert_eq!(bench.conn.session().keepalive(), Some(span));
                bench.set_millis(seconds * 1000 - 1);
                bench.feed(b"");
                assert_eq!(bench.sent().len(), 0);
                bench.set_millis(seconds * 1000);
                bench.feed(b"");
                assert_eq!(bench.sent().len(), 1);
                bench.expect_open();
            },
        );
    }
}
