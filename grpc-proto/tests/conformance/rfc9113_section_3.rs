//! RFC 9113 §3: starting HTTP/2.

use std::time::Duration;

use grpc_proto::{ConnectionError, Foreign, TimedOut, Violation};

use crate::harness::{client, outcome, raw_client, raw_server, server, server_with};
use crate::wire::{self, *};

#[test]
fn the_first_frame_of_both_ends_is_settings_behind_the_clients_preface() {
    raw_server(
        |_| {},
        |bench| {
            bench.feed(PREFACE);
            assert!(matches!(bench.sent()[0], Sent::Settings(_)));
        },
    );
    raw_client(
        |_| {},
        |bench| {
            let sent = bench.sent();
            assert_eq!(sent[0], Sent::Preface);
            assert!(matches!(sent[1], Sent::Settings(_)));
        },
    );
}

#[test]
fn settings_are_acknowledged_and_the_connection_serves() {
    raw_server(
        |_| {},
        |bench| {
            bench.feed([PREFACE, &settings(&[]), &settings_ack()].concat());
            assert!(bench.sent().contains(&Sent::SettingsAck));
            bench.expect_service(1);
        },
    );
    raw_client(
        |_| {},
        |bench| {
            bench.feed([settings(&[]), settings_ack()].concat());
            assert!(bench.sent().contains(&Sent::SettingsAck));
            bench.expect_service(1);
        },
    );
}

#[test]
fn a_client_may_send_requests_before_it_has_seen_settings() {
    raw_server(
        |_| {},
        |bench| {
            let call = headers(1, END_STREAM, &wire::call());
            let events = bench.feed([PREFACE, &settings(&[]), &call].concat());
            assert_eq!(events.len(), 2);
        },
    );
}

#[test]
fn garbage_instead_of_the_preface_ends_the_connection() {
    for garbage in [
        &b"\x16\x02\x01\x02\x00\x01\x00\x01"[..],
        b"GARBAGE GARBAGE",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        b"PRI * HTTP/1.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0",
        b"PUSH",
    ] {
        raw_server(
            |_| {},
            |bench| {
                bench.feed(garbage);
                bench.expect_violation(Violation::BadPreface);
            },
        );
    }
}

#[test]
fn a_preface_with_any_wrong_byte_is_refused() {
    for at in 0..PREFACE.len() {
        let mut preface = PREFACE.to_vec();
        preface[at] ^= 0x20;
        raw_server(
            |_| {},
            |bench| {
                bench.feed(&preface);
                assert_eq!(
                    bench.error,
                    Some(ConnectionError::PeerMisbehaved(Violation::BadPreface)),
                    "{at}"
                );
            },
        );
    }
}

#[test]
fn an_http1_request_gets_an_answer_that_http1_clients_can_show() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"] {
        raw_server(
            |_| {},
            |bench| {
                bench.feed(format!("{method} / HTTP/1.1\r\nhost: localhost\r\n\r\n"));
                let error = ConnectionError::PeerMisbehaved(Violation::Http1Request);
                assert_eq!(bench.error, Some(error));
                let mut out = grpc_proto::Transmit::new();
                bench.conn.poll_transmit(&mut out, bench.now);
                let answer: Vec<u8> = out.chunks().flatten().copied().collect();
                let answer = String::from_utf8(answer).unwrap();
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                assert!(head.starts_with("HTTP/1.1 505 "), "{head}");
                assert!(head.contains(&format!("content-length: {}", body.len())), "{head} {body}");
            },
        );
    }
}

#[test]
fn the_first_frame_of_either_side_is_settings() {
    let frames = [
        ping([0; 8]),
        settings_ack(),
        window_update(0, 1),
        headers(1, 0, &wire::call()),
        frame(0xbe, 0, 0, b""),
    ];
    for first in &frames {
        raw_server(
            |_| {},
            |bench| {
                bench.feed([PREFACE, first].concat());
                bench.expect_violation(Violation::FirstFrameNotSettings);
            },
        );
        raw_client(
            |_| {},
            |bench| {
                bench.feed(first);
                bench.expect_violation(Violation::FirstFrameNotSettings);
            },
        );
    }
}

#[test]
fn a_preface_that_does_not_come_is_waited_for_in_bounds() {
    raw_server(
        |_| {},
        |bench| {
            bench.feed(&PREFACE[..23]);
            bench.set_millis(9_999);
            bench.feed(b"");
            bench.expect_open();
            bench.set_millis(10_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Preface)));
            bench.expect_goaway(PROTOCOL_ERROR);
        },
    );
}

#[test]
fn the_first_settings_are_waited_for_from_the_preface_on() {
    raw_server(
        |limits| {
            limits.settings_timeout = Duration::from_secs(2);
            limits.settings_ack_timeout = Duration::from_secs(60);
        },
        |bench| {
            bench.set_millis(9_000);
            bench.feed(PREFACE);
            bench.set_millis(10_999);
            bench.feed(b"");
            bench.expect_open();
            bench.set_millis(11_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Settings)));
            bench.expect_goaway(SETTINGS_TIMEOUT);
        },
    );
    raw_client(
        |_| {},
        |bench| {
            bench.set_millis(10_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::Settings)));
        },
    );
}

#[test]
fn settings_that_are_not_acknowledged_in_time_end_the_connection() {
    raw_server(
        |_| {},
        |bench| {
            bench.feed([PREFACE, &settings(&[])].concat());
            bench.set_millis(9_999);
            bench.expect_service(1);
            bench.set_millis(10_000);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::TimedOut(TimedOut::SettingsAck)));
            bench.expect_goaway(SETTINGS_TIMEOUT);
        },
    );
}

#[test]
fn nothing_is_waited_for_once_hands_are_shaken() {
    server(|bench| {
        bench.set_millis(60_000);
        bench.expect_service(1);
    });
    client(|bench| {
        bench.set_millis(60_000);
        bench.expect_service(1);
    });
}

#[test]
fn a_connection_that_has_ended_absorbs_whatever_follows() {
    server_with(
        |_| {},
        |bench| {
            bench.feed(frame(PING, 0, 0, b"1234567"));
            bench.expect_violation(Violation::FrameLength);
            let events = bench.feed([ping([1; 8]), headers(1, 0, &wire::call())].concat());
            assert_eq!((events.len(), bench.sent().len()), (0, 0));
            bench.set_millis(100_000_000);
            assert_eq!((bench.feed(b"").len(), bench.sent().len()), (0, 0));
            assert_eq!(bench.conn.poll_timeout(), None);
        },
    );
}

#[test]
fn a_client_says_that_its_server_answered_in_http1_and_how() {
    for (answer, status) in [
        ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n", 400),
        ("HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n", 505),
    ] {
        raw_client(
            |_| {},
            |bench| {
                bench.start();
                bench.sent();
                let events = bench.feed(answer.as_bytes());
                let error = ConnectionError::NotHttp2(Foreign::Http1(Some(status)));
                assert_eq!(bench.error, Some(error.clone()));
                assert!(error.to_string().contains(&format!("HTTP/1 with status {status}")));
                assert!(outcome(&events).status.message().contains(&status.to_string()));
                assert_eq!(bench.sent(), [], "no frame of ours would be understood");
            },
        );
    }
}

#[test]
fn an_answer_of_http1_without_a_status_invents_none() {
    for answer in
        ["HTTP/1.1 abc", "HTTP/1.1 2 0 OK", "HTTP/1.1 000 Zero", "HTTP/1.1 40", "HTTP/1.1"]
    {
        raw_client(
            |_| {},
            |bench| {
                bench.feed(answer.as_bytes());
                bench.conn.close_read(bench.now);
                bench.feed([]);
                let error = ConnectionError::NotHttp2(Foreign::Http1(None));
                assert_eq!(bench.error, Some(error), "{answer}");
            },
        );
    }
}

#[test]
fn bytes_that_only_begin_like_http1_are_no_answer_of_http1() {
    for answer in [&b"HTTP/1.2 200 OK\r\n"[..], b"HTTP/2.0 200", b"HTTQ/1.1 200"] {
        raw_client(
            |_| {},
            |bench| {
                bench.feed(answer);
                assert!(
                    matches!(bench.error, Some(ConnectionError::PeerMisbehaved(_))),
                    "{answer:?}"
                );
            },
        );
    }
}

#[test]
fn either_end_says_that_its_peer_speaks_tls() {
    let tls = Some(ConnectionError::NotHttp2(Foreign::Tls));
    // A ClientHello at a server; an alert, as of a server that was sent HTTP/2 in place of one.
    raw_server(
        |_| {},
        |bench| {
            bench.feed(vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
            assert_eq!(bench.error, tls);
        },
    );
    // An alert is seven bytes long, and the connection ends behind it.
    raw_client(
        |_| {},
        |bench| {
            bench.feed([21, 3, 3, 0, 2, 2, 10]);
            bench.conn.close_read(bench.now);
            bench.feed([]);
            assert_eq!(bench.error, tls);
        },
    );
    raw_client(
        |_| {},
        |bench| {
            bench.feed(vec![21, 3, 3, 0, 2, 2, 10, 0, 0, 0]);
            assert_eq!(bench.error, tls);
        },
    );
}
