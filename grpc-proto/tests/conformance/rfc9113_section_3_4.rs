//! RFC 9113 §3.4: when a server's SETTINGS go out, so that a client of HTTP/1.1 can read its answer.

use std::time::Duration;

use grpc_proto::{
    ConnectionError, ErrorCode, Foreign, Instant, Limits, Server, TimedOut, Transmit, Violation,
};

use crate::harness::{Bench, raw_server};
use crate::wire::{self, *};

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n";

/// All that is to be sent, as bytes: it may be no frames.
fn raw(bench: &mut Bench<Server>) -> Vec<u8> {
    let mut out = Transmit::new();
    let reported = bench.conn.has_output();
    bench.conn.poll_transmit(&mut out, bench.now);
    assert_eq!(reported, !out.is_empty());
    out.chunks().flatten().copied().collect()
}

#[track_caller]
fn expect_silence(bench: &mut Bench<Server>) {
    assert!(!bench.conn.has_output());
    assert_eq!(bench.sent(), []);
}

#[track_caller]
fn expect_settings(bench: &mut Bench<Server>) {
    let sent = bench.sent();
    assert!(matches!(sent[..], [Sent::Settings(_), Sent::WindowUpdate { .. }]), "{sent:?}");
}

#[test]
fn settings_wait_for_three_bytes_of_the_preface() {
    for pieces in [
        &[&b"PRI"[..]][..],
        &[b"P", b"RI"],
        &[b"PR", b"I"],
        &[b"P", b"R", b"I"],
        &[PREFACE],
        &[b"PR", &PREFACE[2..]],
    ] {
        raw_server(
            |_| {},
            |bench| {
                expect_silence(bench);
                for (n, piece) in pieces.iter().enumerate() {
                    bench.feed(piece);
                    if n + 1 < pieces.len() {
                        expect_silence(bench);
                    }
                }
                expect_settings(bench);
                let all: usize = pieces.iter().map(|piece| piece.len()).sum();
                bench.feed([&PREFACE[all..], &settings(&[]), &settings_ack()].concat());
                bench.expect_service(1);
            },
        );
    }
}

#[test]
fn settings_go_out_at_once_where_they_are_not_held() {
    raw_server(
        |limits| limits.settings_hold = Duration::ZERO,
        |bench| {
            expect_settings(bench);
            bench.feed([PREFACE, &settings(&[]), &settings_ack()].concat());
            bench.expect_service(1);
        },
    );
}

#[test]
fn a_client_that_says_too_little_gets_settings_when_their_time_is_over() {
    for said in [&b""[..], b"P", b"PR"] {
        raw_server(
            |_| {},
            |bench| {
                bench.set_millis(7);
                bench.feed(said);
                assert_eq!(bench.conn.poll_timeout(), Some(Instant::from_millis(50)));
                bench.set_millis(49);
                bench.feed(b"");
                expect_silence(bench);
                bench.set_millis(50);
                bench.feed(b"");
                expect_settings(bench);
                bench.feed([&PREFACE[said.len()..], &settings(&[]), &settings_ack()].concat());
                bench.expect_service(1);
            },
        );
    }
}

#[test]
fn the_time_of_the_hold_is_that_of_the_limits() {
    raw_server(
        |limits| limits.settings_hold = Duration::from_secs(3),
        |bench| {
            bench.set_millis(2_999);
            bench.feed(b"");
            expect_silence(bench);
            bench.set_millis(3_000);
            bench.feed(b"");
            expect_settings(bench);
        },
    );
}

#[test]
fn an_acknowledgement_is_waited_for_from_when_settings_are_sent() {
    let limits = |limits: &mut Limits| {
        limits.settings_hold = Duration::from_secs(1);
        limits.settings_ack_timeout = Duration::from_secs(2);
    };
    // Three bytes come within the hold; or only when it is over.
    for (speaks, sent) in [(500, 500), (1500, 1000)] {
        raw_server(limits, |bench| {
            for at in [sent, speaks] {
                bench.set_millis(at);
                bench.feed(if at == speaks { PREFACE } else { b"" });
                if bench.now == Instant::from_millis(sent) {
                    expect_settings(bench);
                }
                if speaks == sent {
                    break;
                }
            }
            bench.feed(settings(&[]));
            bench.set_millis(sent + 1999);
            bench.feed(b"");
            bench.expect_open();
            bench.set_millis(sent + 2000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::SettingsAck)));
        });
    }
}

#[test]
fn a_request_of_http1_gets_its_answer_alone_however_it_is_cut() {
    for cut in 1..REQUEST.len() {
        raw_server(
            |_| {},
            |bench| {
                for piece in REQUEST.chunks(cut) {
                    expect_silence(bench);
                    bench.feed(piece);
                    if bench.error.is_some() {
                        break;
                    }
                }
                let error = ConnectionError::PeerMisbehaved(Violation::Http1Request);
                assert_eq!(bench.error, Some(error));
                let answer = raw(bench);
                assert!(answer.starts_with(ANSWER), "{}", answer.escape_ascii());
                assert!(!bench.conn.has_output());
            },
        );
    }
}

#[test]
fn what_can_be_no_preface_is_waited_for_without_settings() {
    raw_server(
        |_| {},
        |bench| {
            // A person types: it is HTTP/1 or garbage, and the fourth byte tells.
            for (n, byte) in (1..).zip(b"GET ") {
                expect_silence(bench);
                bench.set_millis(n * 1000);
                bench.feed([*byte]);
            }
            assert!(raw(bench).starts_with(ANSWER));
        },
    );
    raw_server(
        |_| {},
        |bench| {
            bench.feed(b"GE");
            bench.set_millis(9_999);
            bench.feed(b"");
            expect_silence(bench);
            bench.set_millis(10_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Preface)));
            let sent = bench.sent();
            assert!(matches!(sent.first(), Some(Sent::Settings(_))), "{sent:?}");
            assert!(matches!(sent.last(), Some(Sent::GoAway { .. })), "{sent:?}");
        },
    );
}

/// The answer follows SETTINGS that were sent: a person can read it behind them, and a parser of HTTP/1 ends at them.
#[test]
fn a_request_of_http1_behind_the_hold_is_answered_behind_settings() {
    // Nothing came before, or the first byte of POST, which is that of the preface too.
    for before in [0, 1] {
        raw_server(
            |_| {},
            |bench| {
                bench.feed(&REQUEST[..before]);
                bench.set_millis(50);
                bench.feed(b"");
                expect_settings(bench);
                bench.feed(&REQUEST[before..]);
                assert!(raw(bench).starts_with(ANSWER));
            },
        );
        // SETTINGS that still wait for a pull are dropped.
        raw_server(
            |_| {},
            |bench| {
                bench.feed(&REQUEST[..before]);
                bench.set_millis(50);
                bench.feed(b"");
                assert!(bench.conn.has_output());
                bench.feed(&REQUEST[before..]);
                assert!(raw(bench).starts_with(ANSWER));
            },
        );
    }
}

#[test]
fn garbage_gets_settings_and_the_goaway_that_names_the_rule() {
    for garbage in [&b"\0"[..], b"PUSH", b"PRX", b"PRI X", b"\x16\x02\x01"] {
        raw_server(
            |_| {},
            |bench| {
                bench.feed(garbage);
                bench.error.clone().expect("an end");
                let sent = bench.sent();
                assert!(matches!(sent.first(), Some(Sent::Settings(_))), "{sent:?}");
                let rule = Violation::BadPreface.rule();
                assert!(
                    matches!(sent.last(), Some(Sent::GoAway { debug, .. }) if debug == rule),
                    "{sent:?}"
                );
            },
        );
    }
}

#[test]
fn a_client_of_tls_gets_nothing() {
    raw_server(
        |_| {},
        |bench| {
            bench.feed([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
            assert_eq!(bench.error, Some(ConnectionError::NotHttp2(Foreign::Tls)));
            expect_silence(bench);
        },
    );
}

#[test]
fn an_end_before_any_byte_sends_settings_before_its_goaway() {
    let ends: [fn(&mut Bench<Server>); 2] = [
        |bench| bench.conn.shutdown(bench.now),
        |bench| bench.conn.close(ErrorCode::NO_ERROR, bench.now),
    ];
    for end in ends {
        raw_server(
            |_| {},
            |bench| {
                end(bench);
                let sent = bench.sent();
                let [Sent::Settings(_), Sent::WindowUpdate { .. }, Sent::GoAway { last: 0, .. }] =
                    sent[..]
                else {
                    panic!("{sent:?}");
                };
                bench.set_millis(50);
                bench.feed(b"");
                expect_silence(bench);
            },
        );
    }
    // The transport ends: there is nobody to send them to.
    raw_server(
        |_| {},
        |bench| {
            bench.feed(b"PR");
            bench.conn.close_read(bench.now);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::Closed(None)));
            assert_eq!(bench.conn.poll_timeout(), None);
            expect_silence(bench);
        },
    );
}

#[test]
fn a_keepalive_ping_of_a_silent_client_follows_settings() {
    raw_server(
        |limits| {
            limits.settings_hold = Duration::from_secs(9);
            limits.keepalive = Some(Duration::from_secs(1));
        },
        |bench| {
            bench.set_millis(1000);
            bench.feed(b"");
            let sent = bench.sent();
            assert!(matches!(sent.first(), Some(Sent::Settings(_))), "{sent:?}");
            assert!(matches!(sent.last(), Some(Sent::Ping(_))), "{sent:?}");
        },
    );
}

/// Bytes that lie there when the server wakes late are read before the time of the hold is over.
#[test]
fn bytes_that_wait_for_a_server_that_wakes_late_come_first() {
    raw_server(
        |_| {},
        |bench| {
            bench.set_millis(700);
            bench.feed(REQUEST);
            assert!(raw(bench).starts_with(ANSWER));
        },
    );
    raw_server(
        |_| {},
        |bench| {
            bench.set_millis(700);
            bench.feed([PREFACE, &settings(&[]), &settings_ack()].concat());
            let call = wire::headers(1, END_STREAM, &wire::call());
            bench.feed(call);
            assert!(matches!(bench.sent()[0], Sent::Settings(_)));
        },
    );
}
