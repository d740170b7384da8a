//! Rules 31–36 and 45–48: connections.

use std::time::Duration;

use grpc_proto::{
    CallHead, Code, ConnectionError, Instant, Limits, Processed, Reason, SendError, TimedOut,
    Violation,
};

use crate::harness::{
    AtClient, AtServer, client, client_with, code, outcome, raw_client, raw_server, server,
    server_with,
};
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
    for (code, debug, told) in [
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
            assert_eq!((*call, message), (unseen, &*format!("{text}{told}")));
            bench.conn.close_read(bench.now);
            let events = bench.feed(b"");
            let [AtClient::Status(call, outcome)] = &events[..] else { panic!("{events:?}") };
            let message = outcome.status.message();
            let text = "the connection was lost: GOAWAY with ";
            assert_eq!((*call, message), (seen, &*format!("{text}{told}")));
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
        }
        bench.expect_open();
    });
    server(|bench| {
        for n in 1..5u64 {
            bench.set_millis(n * 300_000);
            bench.feed(ping([0; 8]));
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
    client_with(
        |limits| limits.keepalive = Some(Duration::from_secs(30)),
        |bench| {
            bench.open();
            bench.feed(goaway(1, ENHANCE_YOUR_CALM));
            bench.set_millis(30_000);
            bench.feed(b"");
            bench.sent();
            bench.set_millis(89_999);
            bench.feed(b"");
            assert!(bench.sent().len() <= 1);
            bench.expect_open();
        },
    );
}

#[test]
fn rule_36_calls_beyond_the_peers_limit_wait_and_more_than_our_own_fail() {
    client_with(
        |limits| limits.max_queued_calls = 10,
        |bench| {
            bench.feed(settings(&[(3, 1)]));
            bench.open();
            for _ in 0..10 {
                bench.start();
            }
            let head = CallHead::new("/a/b", "localhost");
            assert_eq!(bench.conn.call(&head, None, bench.now), Err(SendError::TooManyCalls));
            for stream in (1..21).step_by(2) {
                assert_eq!(
                    code(&bench.feed(headers(stream, END_STREAM, &trailers_only("0")))),
                    Code::Ok
                );
                let sent = bench.sent();
                assert!(
                    sent.iter().any(|frame| frame.stream() == stream + 2),
                    "{stream}: {sent:?}"
                );
            }
        },
    );
}

#[test]
fn rule_36_a_refused_stream_is_reported_as_such() {
    client(|bench| {
        bench.open();
        let events = bench.feed(reset(1, REFUSED_STREAM));
        assert_eq!(
            (code(&events), outcome(&events).processed),
            (Code::Unavailable, Processed::Refused)
        );
    });
}

#[test]
fn rule_36_a_queued_call_whose_deadline_passes_is_never_sent() {
    client(|bench| {
        bench.feed(settings(&[(3, 0)]));
        bench.sent();
        let head = CallHead::new("/a/b", "localhost");
        bench.conn.call(&head, Some(Instant::from_millis(10)), bench.now).unwrap();
        bench.set_millis(10);
        assert_eq!(code(&bench.feed(b"")), Code::DeadlineExceeded);
        bench.feed(settings(&[(3, 10)]));
        assert_eq!(bench.sent(), [Sent::SettingsAck]);
    });
}

#[test]
fn rule_45_settings_are_acknowledged_where_they_stand() {
    server(|bench| {
        bench.feed(
            [settings(&[(4, 10)]), ping([1; 8]), settings(&[(4, 20)]), ping([2; 8])].concat(),
        );
        assert_eq!(
            bench.sent(),
            [Sent::SettingsAck, Sent::PingAck([1; 8]), Sent::SettingsAck, Sent::PingAck([2; 8])]
        );
    });
}

#[test]
fn rule_45_padding_counts_against_both_windows() {
    server_with(
        |limits| limits.manual_credit = true,
        |bench| {
            bench.open(1, 0);
            // One byte in 257: 255 such frames are 65,535 exactly.
            let one = padded_data(1, 0, b"\0", 255);
            assert_eq!(bench.feed(one.repeat(255)).len(), 51, "empty messages");
            let events = bench.feed(data(1, 0, b"\0"));
            let reason = Reason::PeerMisbehaved(Violation::StreamWindowOverrun);
            assert_eq!(crate::harness::cancelled(&events), &reason);
        },
    );
    server_with(
        |limits| {
            limits.connection_window = 65_535;
            limits.stream_window = 1 << 20;
        },
        |bench| {
            bench.open(1, 0);
            let one = padded_data(1, 0, b"", 254);
            let most = 65_535 / 255;
            let frames: Vec<u8> = (0..most)
                .flat_map(|n| if n % 50 == 0 { padded_data(1, 0, b"\0", 253) } else { one.clone() })
                .collect();
            bench.feed(frames);
            bench.expect_open();
            bench.feed(data(1, 0, b"\0"));
            bench.expect_violation(Violation::ConnectionWindowOverrun);
        },
    );
}

#[test]
fn rule_46_a_field_list_beyond_its_limits_leaves_the_tables_in_step() {
    for (name, value, count) in [("x", "v".repeat(16_384), 1), ("x", String::new(), 200)] {
        server(|bench| {
            let mut block = [wire::call(), literal(0x40, b"x-entry", b"kept")].concat();
            for _ in 0..count {
                block.extend(literal(0, name.as_bytes(), value.as_bytes()));
            }
            let (front, back) = block.split_at(block.len().min(16_000));
            let mut bytes = frame(
                HEADERS,
                if back.is_empty() { END_HEADERS } else { 0 } | END_STREAM,
                1,
                front,
            );
            if !back.is_empty() {
                bytes.extend(frame(CONTINUATION, END_HEADERS, 1, back));
            }
            assert_eq!(bench.feed(bytes), []);
            bench.expect_reset(1, ENHANCE_YOUR_CALM);
            let events =
                bench.feed(headers(3, END_STREAM, &[wire::call(), vec![0x80 | 62]].concat()));
            let [AtServer::Request { metadata, .. }, _] = &events[..] else { panic!("{events:?}") };
            assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
        });
    }
}

#[test]
fn rule_46_blocks_of_closed_streams_are_decoded() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.conn.release(call);
        bench.expect_reset(1, CANCEL);
        let trailers = literal(0x40, b"x-entry", b"kept");
        assert_eq!(bench.feed(headers(1, END_STREAM, &trailers)), []);
        let events = bench.feed(headers(3, END_STREAM, &[wire::call(), vec![0x80 | 62]].concat()));
        let [AtServer::Request { metadata, .. }, _] = &events[..] else { panic!("{events:?}") };
        assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
    });
    client(|bench| {
        let call = bench.open();
        bench.conn.cancel(call);
        bench.expect_reset(1, CANCEL);
        let late = [response(), literal(0x40, b"x-entry", b"kept")].concat();
        assert_eq!(bench.feed(headers(1, 0, &late)), []);
        bench.open();
        let events = bench.feed(headers(3, 0, &[response(), vec![0x80 | 62]].concat()));
        let [AtClient::Headers(_, metadata)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
    });
}

#[test]
fn rule_47_credit_returns_for_data_that_is_discarded() {
    // Ten connection windows for a stream that is gone.
    server_with(
        |limits| limits.connection_window = 65_535,
        |bench| {
            let call = bench.open(1, 0);
            bench.conn.release(call);
            bench.expect_reset(1, CANCEL);
            let mut window = 65_535i64;
            for _ in 0..40 {
                let frame = padded_data(1, 0, &[0; 16_000], 100);
                window -= 16_101;
                assert!(window >= 0);
                bench.feed(frame);
                for sent in bench.sent() {
                    match sent {
                        Sent::WindowUpdate { stream: 0, increment } => {
                            window += i64::from(increment)
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert!(window > 32_767, "every byte was credited: {window}");
            bench.expect_service(3);
        },
    );
}

#[test]
fn rule_47_push_is_disabled() {
    raw_client(
        |_| {},
        |bench| {
            let sent = bench.sent();
            let Sent::Settings(entries) = &sent[1] else { panic!("{sent:?}") };
            assert!(entries.contains(&(2, 0)), "{entries:?}");
        },
    );
}

#[test]
fn rule_48_time_alone_passes_with_empty_input_and_changes_nothing_by_itself() {
    raw_server(
        |_| {},
        |bench| {
            let bytes =
                [PREFACE, &settings(&[]), &settings_ack(), &headers(1, 0, &wire::call())].concat();
            for byte in &bytes {
                bench.feed(b"");
                bench.feed([*byte]);
            }
            assert_eq!(bench.conn.open_calls(), 1);
        },
    );
}

#[test]
fn rule_48_a_frame_that_waits_for_its_rest_survives_an_idle_connection_giving_memory_back() {
    server(|bench| {
        bench.expect_service(1);
        let request = headers(3, END_STREAM, &wire::call());
        bench.feed(&request[..20]);
        bench.set_millis(5_000);
        bench.feed(b"");
        assert_eq!(bench.feed(&request[20..]).len(), 2);
    });
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
