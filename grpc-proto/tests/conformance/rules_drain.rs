//! Rules 31 and 32: GOAWAY, and connections that drain.

use std::time::Duration;

use grpc_proto::{
    CallHead, Code, Config, Connection, ConnectionError, Instant, Limits, Processed, SendError,
    Server, TimedOut, Transmit, Violation, server as core_server,
};

use crate::harness::{AtClient, AtServer, Bench, client, code, outcome, server, server_with};
use crate::wire::{self, *};

#[test]
fn rule_31_calls_above_goaway_are_refused_and_the_others_go_on() {
    client(|bench| {
        let calls = [bench.open(), bench.open(), bench.open()];
        let events = bench.feed(goaway(3, NO_ERROR));
        let [AtClient::GoAway { last: 3, code: NO_ERROR }, AtClient::Status(key, outcome)] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(
            (*key, outcome.status.code(), outcome.processed),
            (calls[2], Code::Unavailable, Processed::Refused)
        );
        let head = CallHead::new("/a/b", "localhost");
        assert_eq!(bench.conn.call(&head, None, bench.now), Err(SendError::Closing));
        for stream in [1, 3] {
            assert_eq!(
                code(&bench.feed(headers(stream, END_STREAM, &trailers_only("0")))),
                Code::Ok
            );
        }
        bench.sent();
        assert!(bench.conn.is_drained());
    });
}

#[test]
fn rule_32_a_drain_does_not_wait_for_a_client_without_a_preface() {
    let preface = [PREFACE, &settings(&[]), &headers(1, END_STREAM, &wire::call())].concat();
    // None of the preface has come, a part of it, and all of it.
    for (come, waits) in [(0, false), (10, false), (preface.len(), true)] {
        let config = Config::new(Limits::default()).unwrap();
        let mut conn = Connection::<Server>::new(&config, 0, Instant::ZERO);
        let events = |conn: &mut Connection<Server>, mut input: &[u8]| {
            let mut requests = 0;
            while let Ok(Some(event)) = conn.poll_event(&mut input, Instant::ZERO) {
                requests += usize::from(matches!(event, core_server::Event::Request(..)));
            }
            requests
        };
        assert_eq!(events(&mut conn, &preface[..come]), usize::from(waits));
        conn.shutdown(Instant::ZERO);
        assert!(!conn.is_drained(), "the GOAWAY has not been pulled");
        let mut out = Transmit::new();
        conn.poll_transmit(&mut out, Instant::ZERO);
        assert_eq!(conn.is_drained(), !waits);
        let sent: Vec<u8> = out.chunks().flatten().copied().collect();
        let debug = b"graceful shutdown";
        let last = frame(GOAWAY, 0, 0, &[&[0; 8], &debug[..]].concat());
        assert_eq!(sent.ends_with(&last), !waits, "{sent:?}");
        // The rest of the preface and a request are too late.
        if !waits {
            assert_eq!(events(&mut conn, &preface[come..]), 0);
        }
    }
}

#[test]
fn rule_31_calls_that_were_not_sent_may_be_tried_elsewhere() {
    client(|bench| {
        bench.feed(settings(&[(3, 0)]));
        bench.start();
        let events = bench.feed(goaway(0x7fff_ffff, NO_ERROR));
        assert_eq!(outcome(&events).processed, Processed::No);
        assert_eq!(code(&events), Code::Unavailable);
    });
}

#[test]
fn rule_31_a_later_goaway_may_lower_the_id_and_not_raise_it() {
    client(|bench| {
        bench.open();
        bench.open();
        bench.feed(goaway(3, NO_ERROR));
        assert_eq!(outcome(&bench.feed(goaway(1, NO_ERROR))).processed, Processed::Refused);
        bench.feed(goaway(3, NO_ERROR));
        bench.expect_violation(Violation::GoAwayRaised);
    });
}

#[test]
fn rule_31_calls_that_a_goaway_ends_say_why_in_the_servers_words() {
    let goaway = |code: u32, debug: &[u8]| {
        let payload = [&1u32.to_be_bytes()[..], &code.to_be_bytes(), debug].concat();
        frame(GOAWAY, 0, 0, &payload)
    };
    for (code, debug, reported) in [
        (ENHANCE_YOUR_CALM, &b"too_many_pings"[..], "ENHANCE_YOUR_CALM, \"too_many_pings\""),
        (NO_ERROR, b"", "NO_ERROR"),
        // Nothing in it reaches a terminal or begins a line of a log.
        (NO_ERROR, b"\n\x1b[2J\"\xff", "NO_ERROR, \"\u{fffd}\u{fffd}[2J\\\"\u{fffd}\""),
    ] {
        client(|bench| {
            let (seen, unseen) = (bench.open(), bench.open());
            assert_eq!(bench.conn.goaway_debug_data(), "");
            let events = bench.feed(goaway(code, debug));
            let [AtClient::GoAway { .. }, AtClient::Status(call, outcome)] = &events[..] else {
                panic!("{events:?}")
            };
            let text = "the peer is going away and has not seen the call: GOAWAY with ";
            let message = outcome.status.message();
            assert_eq!((*call, message), (unseen, &*format!("{text}{reported}")));
            bench.conn.close_read(bench.now);
            let events = bench.feed(b"");
            let [AtClient::Status(call, outcome)] = &events[..] else { panic!("{events:?}") };
            let message = outcome.status.message();
            let text = "the connection was lost: GOAWAY with ";
            assert_eq!((*call, message), (seen, &*format!("{text}{reported}")));
        });
    }
    // However much it says, a status stays short.
    client(|bench| {
        bench.open();
        bench.open();
        let message =
            outcome(&bench.feed(goaway(NO_ERROR, &[b'x'; 16_000]))).status.message().len();
        assert!(message < 400, "{message}");
    });
    // A connection that is lost without a word says nothing of one.
    client(|bench| {
        bench.open();
        bench.conn.close_read(bench.now);
        assert_eq!(outcome(&bench.feed(b"")).status.message(), "the connection was lost");
    });
}

#[test]
fn rule_32_a_drain_names_the_last_stream_once_a_round_trip_is_over() {
    server(|bench| {
        let first = bench.open(1, END_STREAM);
        bench.conn.shutdown(bench.now);
        let sent = bench.sent();
        let [Sent::GoAway { last: 0x7fff_ffff, code: NO_ERROR, .. }, Sent::Ping(payload)] =
            &sent[..]
        else {
            panic!("{sent:?}")
        };
        // A request that was under way is served.
        let second = bench.open(3, END_STREAM);
        bench.feed(frame(PING, ACK, 0, payload));
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 3, code: NO_ERROR, .. }]));
        assert_eq!(bench.feed(headers(5, END_STREAM, &wire::call())), []);
        bench.expect_reset(5, REFUSED_STREAM);
        assert!(!bench.conn.is_drained());
        bench.finish(first);
        bench.finish(second);
        bench.sent();
        assert!(bench.conn.is_drained());
        bench.conn.close_read(bench.now);
        bench.feed(b"");
        assert_eq!(bench.error, Some(ConnectionError::Drained));
    });
}

/// A server whose drain is over but for the one call that it serves.
fn drained(case: impl Fn(&mut Bench<Server>) + Copy) {
    server(|bench| {
        bench.open(1, END_STREAM);
        bench.conn.shutdown(bench.now);
        let Some(Sent::Ping(payload)) = bench.sent().pop() else { panic!("no PING") };
        bench.feed(frame(PING, ACK, 0, &payload));
        bench.sent();
        case(bench);
    });
}

#[test]
fn rule_31_a_stream_above_our_goaway_is_refused_once_whatever_follows_on_it() {
    drained(|bench| {
        bench.feed(headers(5, 0, &wire::call()));
        bench.expect_reset(5, REFUSED_STREAM);
        let late = [data(5, 0, b"late"), headers(5, END_STREAM, &trailers("0")), reset(5, 8)];
        assert_eq!(bench.feed(late.concat()), []);
        assert_eq!(bench.sent_on(5), []);
        bench.expect_open();
    });
}

#[test]
fn rule_31_identifiers_rise_above_our_goaway_too() {
    drained(|bench| {
        bench.feed(headers(5, 0, &wire::call()));
        bench.expect_reset(5, REFUSED_STREAM);
        bench.feed(headers(7, 0, &wire::call()));
        bench.expect_reset(7, REFUSED_STREAM);
        bench.feed(headers(3, 0, &wire::call()));
        let rule = ConnectionError::PeerMisbehaved(Violation::IdentifierNotRising);
        assert_eq!(bench.error, Some(rule));
        // Nobody is told that more than the first was served.
        let sent = bench.sent();
        assert!(
            matches!(sent[..], [Sent::GoAway { last: 1, code: PROTOCOL_ERROR, .. }]),
            "{sent:?}"
        );
    });
}

#[test]
fn rule_32_a_peer_that_does_not_answer_the_ping_cannot_hold_up_a_drain() {
    server(|bench| {
        bench.conn.shutdown(bench.now);
        bench.sent();
        bench.set_millis(20_000);
        bench.feed(b"");
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 0, code: NO_ERROR, .. }]));
        assert!(bench.conn.is_drained());
    });
}

#[test]
fn rule_32_a_drain_has_a_hard_end() {
    server_with(
        |limits| limits.drain_grace = Some(Duration::from_secs(5)),
        |bench| {
            let call = bench.open(1, END_STREAM);
            bench.conn.shutdown(bench.now);
            bench.set_millis(4_999);
            assert_eq!(bench.feed(b""), []);
            bench.set_millis(5_000);
            let events = bench.feed(b"");
            assert!(matches!(&events[..], [AtServer::Cancelled(key, _)] if *key == call));
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Drain)));
        },
    );
}

#[test]
fn rule_32_an_old_connection_drains_with_jitter() {
    let mut ages = Vec::new();
    for entropy in 0..50 {
        let mut limits = Limits::default();
        limits.max_age = Some(Duration::from_secs(1000));
        (limits.preface_timeout, limits.settings_ack_timeout) = (Duration::MAX, Duration::MAX);
        limits.settings_hold = Duration::ZERO;
        let config = grpc_proto::Config::new(limits).unwrap();
        let conn =
            grpc_proto::Connection::<grpc_proto::Server>::new(&config, entropy, Instant::ZERO);
        ages.push(conn.poll_timeout().unwrap().as_nanos() / 1_000_000_000);
    }
    assert!(ages.iter().all(|age| (900..=1100).contains(age)), "{ages:?}");
    ages.sort_unstable();
    assert!(ages[0] < 930 && ages[49] > 1070, "spread over the range: {ages:?}");
}

#[test]
fn rule_32_an_old_connection_says_goaway_and_ends_after_its_grace() {
    server_with(
        |limits| {
            limits.max_age = Some(Duration::from_secs(100));
            limits.drain_grace = Some(Duration::from_secs(10));
        },
        |bench| {
            bench.open(1, END_STREAM);
            bench.set_millis(110_000);
            bench.feed(b"");
            assert!(matches!(bench.sent()[0], Sent::GoAway { last: 0x7fff_ffff, .. }));
            bench.set_millis(120_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Drain)));
        },
    );
}

#[test]
fn rule_32_a_connection_without_calls_drains_after_its_idle_time() {
    server_with(
        |limits| limits.max_idle = Some(Duration::from_secs(60)),
        |bench| {
            bench.set_millis(50_000);
            bench.expect_service(1);
            bench.set_millis(109_999);
            bench.feed(b"");
            assert_eq!(bench.sent(), []);
            assert_eq!(bench.conn.poll_timeout(), Some(Instant::from_millis(110_000)));
            bench.set_millis(110_000);
            bench.feed(b"");
            assert!(matches!(bench.sent()[0], Sent::GoAway { last: 0x7fff_ffff, .. }));
        },
    );
}

/// Feeds nothing at `millis` and takes the debug data of the GOAWAYs, of which the second follows the drain's PING.
fn drained_with(change: fn(&mut Limits), millis: u64) -> Vec<String> {
    let mut limits = Limits::default();
    change(&mut limits);
    let config = grpc_proto::Config::new(limits).unwrap();
    let mut conn = grpc_proto::Connection::<grpc_proto::Server>::new(&config, 7, Instant::ZERO);
    let mut debug = Vec::new();
    let mut turn = |input: &[u8], at: Instant| {
        let mut input = input;
        while let Ok(Some(_)) = conn.poll_event(&mut input, at) {}
        let mut out = Transmit::new();
        conn.poll_transmit(&mut out, at);
        let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
        let mut rest = &bytes[..];
        while let [a, b, c, kind, ..] = *rest {
            let end = 9 + usize::from(a) * 65536 + usize::from(b) * 256 + usize::from(c);
            if kind == GOAWAY {
                debug.push(String::from_utf8(rest[17..end].to_vec()).unwrap());
            }
            rest = &rest[end..];
        }
    };
    turn(&[PREFACE, &settings(&[]), &settings_ack()].concat(), Instant::ZERO);
    turn(b"", Instant::from_millis(millis));
    // The PING of the drain is not answered: the last GOAWAY comes after keepalive_timeout.
    turn(b"", Instant::from_millis(millis + 20_000));
    debug
}

#[test]
fn rule_32_goaway_names_the_limit_that_began_the_drain() {
    let idle = |limits: &mut Limits| limits.max_idle = Some(Duration::from_secs(60));
    assert_eq!(drained_with(idle, 60_000), ["max_idle", "max_idle"]);
    let age = |limits: &mut Limits| limits.max_age = Some(Duration::from_secs(100));
    assert_eq!(drained_with(age, 110_000), ["max_age", "max_age"]);
    // Both at once: the age is what no call could have put off.
    let both = |limits: &mut Limits| {
        limits.max_idle = Some(Duration::from_secs(60));
        limits.max_age = Some(Duration::from_secs(100));
    };
    assert_eq!(drained_with(both, 110_000), ["max_age", "max_age"]);
}

#[test]
fn rule_32_only_the_answer_to_the_drains_own_ping_ends_its_round_trip() {
    server(|bench| {
        // An answer that nothing asked for.
        bench.feed(frame(PING, ACK, 0, &[0; 8]));
        assert_eq!(bench.sent(), []);
        bench.conn.shutdown(bench.now);
        let sent = bench.sent();
        let [Sent::GoAway { .. }, Sent::Ping(payload)] = &sent[..] else { panic!("{sent:?}") };
        bench.feed(frame(PING, ACK, 0, &[0; 8]));
        assert_eq!(bench.sent(), []);
        bench.feed(frame(PING, ACK, 0, payload));
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 0, code: NO_ERROR, .. }]));
        // Once.
        bench.feed(frame(PING, ACK, 0, payload));
        assert_eq!(bench.sent(), []);
    });
}

#[test]
fn rule_31_a_connection_that_is_closed_at_once_ends_its_calls_and_says_why() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.conn.close(grpc_proto::ErrorCode::INTERNAL_ERROR, bench.now);
        assert!(!bench.conn.is_open());
        let events = bench.feed(b"");
        assert!(matches!(&events[..], [AtServer::Cancelled(key, _)] if *key == call));
        let error = ConnectionError::ClosedByUs(grpc_proto::ErrorCode::INTERNAL_ERROR);
        assert_eq!(bench.error, Some(error));
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 1, code: 2, .. }]));
    });
}

/// A client that drains while the server's limit holds calls back: the GOAWAY comes behind the last of their heads, or a
/// server that has no call left in between would hang up on them.
#[test]
fn rule_32_a_client_that_drains_sends_the_calls_that_it_has_accepted_before_it_says_so() {
    let ended = |stream: u32| headers(stream, END_STREAM, &trailers_only("0"));
    client(|bench| {
        bench.feed(settings(&[(3, 1)]));
        bench.ask();
        let (second, third) = (bench.start(), bench.start());
        bench.conn.end(second).unwrap();
        bench.sent();
        bench.conn.shutdown(bench.now);
        assert!(!bench.conn.has_output());
        assert_eq!(bench.sent(), []);
        assert_eq!(code(&bench.feed(ended(1))), Code::Ok);
        let sent = bench.sent();
        assert!(!sent.is_empty() && sent.iter().all(|frame| frame.stream() == 3), "{sent:?}");
        // The last of them is given up before it is sent.
        bench.conn.cancel(third);
        assert!(bench.conn.has_output());
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 0, code: NO_ERROR, .. }]));
        assert!(!bench.conn.is_drained());
        let events = bench.feed(ended(3));
        let [AtClient::Status(call, _)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*call, second);
        bench.sent();
        assert!(bench.conn.is_drained());
    });
    client(|bench| {
        bench.feed(settings(&[(3, 1)]));
        bench.ask();
        let last = bench.start();
        bench.conn.end(last).unwrap();
        bench.conn.shutdown(bench.now);
        bench.feed(ended(1));
        assert!(!bench.conn.is_drained());
        let sent = bench.sent();
        assert_eq!(sent[0].stream(), 3, "{sent:?}");
        assert!(matches!(sent.last(), Some(Sent::GoAway { last: 0, code: NO_ERROR, .. })));
    });
}

#[test]
fn rule_32_a_client_whose_last_call_in_line_ends_with_the_one_before_it_says_so_before_it_goes() {
    client(|bench| {
        bench.feed(settings(&[(3, 0)]));
        bench.sent();
        let call = bench.start();
        bench.conn.shutdown(bench.now);
        assert_eq!(bench.sent(), []);
        bench.conn.cancel(call);
        assert!(!bench.conn.is_drained());
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 0, code: NO_ERROR, .. }]));
        assert!(bench.conn.is_drained());
    });
}
