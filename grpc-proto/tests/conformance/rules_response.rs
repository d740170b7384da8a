//! Rules 15–27: how a call ends, and what each end means.

use std::collections::BTreeSet;
use std::time::Duration;

use grpc_proto::{CallHead, Code, ErrorCode, Instant, Metadata, Processed, Reason, Status};

use crate::harness::{AtClient, AtServer, Bench, client, code, outcome, server};
use crate::wire::*;

/// What a client makes of an answer to a call that it has half-closed.
#[track_caller]
fn answer(frames: &[Vec<u8>], check: impl Fn(&[AtClient], &mut Bench<grpc_proto::Client>)) {
    client(|bench| {
        bench.ask();
        let events = bench.feed(frames.concat());
        check(&events, bench);
        bench.expect_service(3);
    });
}

#[test]
fn rule_15_response_headers_wait_for_the_first_message() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        assert_eq!(bench.sent_on(1), []);
        bench.conn.send_encoded(call, (&b"x"[..]).into(), false).unwrap();
        bench.finish(call);
        let sent = bench.sent_on(1);
        assert!(matches!(
            sent[..],
            [
                Sent::Headers { end_stream: false, .. },
                Sent::Data { end_stream: false, .. },
                Sent::Headers { end_stream: true, .. }
            ]
        ));
    });
}

#[test]
fn rule_15_response_headers_go_out_at_once_where_asked_for() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        let mut metadata = Metadata::new();
        metadata.append("x-early", "1").unwrap();
        bench.conn.headers(call, &metadata).unwrap();
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field("x-early"), Some("1"));
        bench.finish(call);
        assert_eq!(bench.sent_on(1)[0].field(":status"), None);
    });
}

#[test]
fn rule_15_an_error_before_any_message_is_one_frame_of_headers() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        let status = Status::new(Code::NotFound, "no such thing");
        bench.conn.finish(call, &status, &Metadata::new()).unwrap();
        let sent = bench.sent_on(1);
        assert!(matches!(sent[..], [Sent::Headers { end_stream: true, .. }]), "{sent:?}");
        let value = |name| sent[0].field(name);
        assert_eq!(
            (value(":status"), value("content-type"), value("grpc-status"), value("grpc-message")),
            (Some("200"), Some("application/grpc"), Some("5"), Some("no such thing"))
        );
    });
}

#[test]
fn rule_16_every_code_is_sent_as_a_plain_decimal() {
    for &status in Code::ALL {
        server(|bench| {
            let call = bench.open(1, END_STREAM);
            bench.conn.finish(call, &status.into(), &Metadata::new()).unwrap();
            let sent = bench.sent_on(1);
            let number = status.number().to_string();
            assert_eq!(sent[0].field("grpc-status"), Some(&number[..]));
        });
    }
}

#[test]
fn rule_17_a_message_is_percent_encoded_and_comes_back() {
    for text in ["plain", "100 %", "größer\n", " outer ", " ", "\u{1f980}", "\0\x7f"] {
        let wire = std::cell::RefCell::new(String::new());
        server(|bench| {
            let call = bench.open(1, END_STREAM);
            bench.conn.finish(call, &Status::new(Code::Aborted, text), &Metadata::new()).unwrap();
            let sent = bench.sent_on(1);
            let value = sent[0].field("grpc-message").unwrap();
            assert!(value.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{value}");
            assert_eq!(value.trim(), value, "RFC 9113 section 8.2.1 forbids spaces around it");
            *wire.borrow_mut() = value.into();
        });
        let head = block(&[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "10"),
            ("grpc-message", &wire.borrow()),
        ]);
        answer(&[headers(1, END_STREAM, &head)], |events, _| {
            assert_eq!(outcome(events).status, Status::new(Code::Aborted, text));
        });
    }
}

#[test]
fn rule_17_a_message_that_does_not_decode_never_loses_the_code() {
    for (wire, text) in
        [("%", "%"), ("%z1", "%z1"), ("%4", "%4"), ("%ff", "\u{fffd}"), ("a%20b%", "a b%")]
    {
        let head = block(&[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", wire),
        ]);
        answer(&[headers(1, END_STREAM, &head)], |events, _| {
            assert_eq!(outcome(events).status, Status::new(Code::PermissionDenied, text));
        });
    }
}

#[test]
fn rule_17_a_status_is_shortened_to_the_list_that_the_client_takes() {
    let long = "ä\u{1f600}%x".repeat(2000);
    let status = Status::new(Code::NotFound, long.clone()).with_details(vec![7; 1000]);
    let mut trailers = Metadata::new();
    trailers.append("x-end", "1").unwrap();
    for (limit, with_message, with_details) in [
        (u32::MAX, true, true),
        // Half of the message fits, then hardly more than the code, then not even that.
        (20_000, true, false),
        (300, true, false),
        (10, false, false),
    ] {
        for begun in [true, false] {
            server(|bench| {
                bench.feed(settings(&[(6, limit)]));
                let call = bench.open(1, END_STREAM);
                if begun {
                    bench.conn.headers(call, &Metadata::new()).unwrap();
                    bench.sent();
                }
                bench.conn.finish(call, &status, &trailers).unwrap();
                let sent = bench.sent_on(1);
                let Sent::Headers { fields, .. } = &sent[0] else { panic!("{sent:?}") };
                let size: usize =
                    fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
                assert!(size <= (limit as usize).max(300), "{size} of {limit}");
                assert_eq!(sent[0].field("grpc-status"), Some("5"));
                assert_eq!(sent[0].field("x-end"), Some("1"));
                let message = sent[0]
                    .field("grpc-message")
                    .map(|text| grpc_proto::decode_message(text.as_bytes()));
                assert_eq!(message.is_some(), with_message);
                if let Some(message) = message {
                    assert!(long.starts_with(&message), "{message}");
                    assert!(limit > 300 || size > 250, "{size}: there was room for more");
                }
                assert_eq!(sent[0].field("grpc-status-details-bin").is_some(), with_details);
            });
        }
    }
}

#[test]
fn rule_18_bad_details_are_dropped_and_the_rest_is_kept() {
    for (wire, details) in [("AQID", &[1, 2, 3][..]), ("!!", &[]), ("A", &[])] {
        let trailers = block(&[
            ("grpc-status", "9"),
            ("grpc-message", "m"),
            ("grpc-status-details-bin", wire),
        ]);
        answer(&[headers(1, 0, &response()), headers(1, END_STREAM, &trailers)], |events, _| {
            let status = &outcome(events).status;
            assert_eq!(
                (status.code(), status.message(), status.details()),
                (Code::FailedPrecondition, "m", details)
            );
        });
    }
}

#[test]
fn rule_19_an_unparsable_status_is_unknown() {
    for bad in ["", "17", "00", "-1", "x", "1x", "99999999999"] {
        answer(&[headers(1, END_STREAM, &trailers_only(bad))], |events, _| {
            assert_eq!(code(events), Code::Unknown, "{bad:?}");
        });
    }
}

const HTTP: [(&str, Code); 16] = [
    ("200", Code::Unknown),
    ("204", Code::Unknown),
    ("301", Code::Unknown),
    ("400", Code::Internal),
    ("401", Code::Unauthenticated),
    ("403", Code::PermissionDenied),
    ("404", Code::Unimplemented),
    ("405", Code::Unknown),
    ("415", Code::Unknown),
    ("418", Code::Unknown),
    ("429", Code::Unavailable),
    ("500", Code::Unknown),
    ("502", Code::Unavailable),
    ("503", Code::Unavailable),
    ("504", Code::Unavailable),
    ("999", Code::Unknown),
];

#[test]
fn rule_20_an_http_status_stands_in_for_a_grpc_status_that_is_missing() {
    for (http, expected) in HTTP {
        for kind in ["application/grpc", "text/html"] {
            let head = block(&[(":status", http), ("content-type", kind)]);
            answer(&[headers(1, END_STREAM, &head)], |events, _| {
                assert_eq!(code(events), expected, "{http} alone");
            });
            // What follows is somebody else's page, and no message.
            let page = data(1, END_STREAM, b"<html>not found, sorry</html>");
            if http != "200" || kind == "text/html" {
                answer(&[headers(1, 0, &head), page], |events, _| {
                    assert_eq!(code(events), expected, "{http} with a body");
                });
            }
            let end = headers(1, END_STREAM, &block(&[("x", "1")]));
            answer(&[headers(1, 0, &head), end], |events, _| {
                assert_eq!(code(events), expected, "{http} with trailers");
            });
        }
    }
}

#[test]
fn rule_20_a_grpc_status_in_trailers_wins_over_the_http_status() {
    for (http, _) in HTTP {
        let head = block(&[(":status", http), ("content-type", "application/grpc")]);
        answer(&[headers(1, 0, &head), headers(1, END_STREAM, &trailers("5"))], |events, _| {
            assert_eq!(code(events), Code::NotFound);
        });
        let head = block(&[(":status", http), ("grpc-status", "5")]);
        answer(&[headers(1, END_STREAM, &head)], |events, _| {
            assert_eq!(code(events), Code::NotFound);
        });
    }
}

/// Response heads that are not gRPC's, and the code that stands in for OK.
const FOREIGN: [(&str, Option<&str>, Code); 7] = [
    ("200", Some("text/html"), Code::Unknown),
    ("200", None, Code::Unknown),
    ("200", Some("application/grpc-web+proto"), Code::Unknown),
    ("200", Some("application/grpcx"), Code::Unknown),
    ("500", Some("application/grpc"), Code::Unknown),
    ("503", Some("application/grpc"), Code::Unavailable),
    ("404", Some("text/plain"), Code::Unimplemented),
];

#[test]
fn rule_20_skipped_data_never_ends_with_ok() {
    for (http, kind, expected) in FOREIGN {
        let mut fields = vec![(":status", http)];
        fields.extend(kind.map(|kind| ("content-type", kind)));
        let head = headers(1, 0, &block(&fields));
        let messages = data(1, 0, &[message(b"one"), message(b"two")].concat());
        let end = |status| headers(1, END_STREAM, &trailers(status));
        answer(&[head.clone(), messages.clone(), end("0")], |events, _| {
            let status = &outcome(events).status;
            assert_eq!(status.code(), expected, "{http} {kind:?}");
            let named = kind.unwrap_or("no content-type");
            assert!(
                status.message().contains(http) && status.message().contains(named),
                "{status:?}"
            );
        });
        // A status that is not OK says more than the head.
        answer(&[head.clone(), messages, end("5")], |events, _| {
            assert_eq!(code(events), Code::NotFound, "{http} {kind:?}");
        });
        // Nothing was skipped: the trailers count.
        answer(&[head, end("0")], |events, _| {
            assert_eq!(code(events), Code::Ok, "{http} {kind:?}")
        });
    }
}

#[test]
fn rule_20_a_foreign_response_leaves_nothing_behind() {
    client(|bench| {
        let mut after_warm_up = 0;
        for n in 0..200_u32 {
            let (stream, key) = (2 * n + 1, bench.ask());
            let head = block(&[(":status", "200"), ("content-type", "text/html; charset=utf-8")]);
            bench.feed(headers(stream, 0, &head));
            match n % 4 {
                0 => drop(bench.feed(headers(stream, END_STREAM, &trailers("0")))),
                1 => drop(bench.feed(reset(stream, CANCEL))),
                2 => drop(bench.feed(data(stream, END_STREAM, b"page"))),
                _ => bench.conn.cancel(key),
            }
            bench.sent();
            if n == 99 {
                after_warm_up = bench.conn.heap_bytes();
            }
        }
        assert_eq!(bench.conn.heap_bytes(), after_warm_up);
    });
}

#[test]
fn rule_4_the_content_type_of_a_response_has_no_case() {
    for kind in [
        "application/grpc",
        "APPLICATION/GRPC",
        "Application/Grpc+Proto",
        "application/grpc; charset=utf-8",
        "application/grpc ;charset=utf-8",
        "application/grpc+proto;charset=utf-8",
    ] {
        let head = block(&[(":status", "200"), ("content-type", kind)]);
        let sent = data(1, 0, &message(b"one"));
        answer(
            &[headers(1, 0, &head), sent, headers(1, END_STREAM, &trailers("0"))],
            |events, _| {
                assert_eq!(code(events), Code::Ok, "{kind}");
                let messages = events.iter().filter(|event| matches!(event, AtClient::Message(..)));
                assert_eq!(messages.count(), 1, "{kind}");
            },
        );
    }
}

#[test]
fn rule_20_a_grpc_status_in_initial_headers_is_ignored() {
    let head =
        block(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5")]);
    answer(&[headers(1, 0, &head), headers(1, END_STREAM, &trailers("0"))], |events, _| {
        assert_eq!(code(events), Code::Ok);
    });
}

#[test]
fn rule_21_a_second_headers_without_end_is_internal() {
    client(|bench| {
        bench.ask();
        bench.feed(headers(1, 0, &response()));
        let events = bench.feed(headers(1, 0, &trailers("0")));
        assert_eq!(code(&events), Code::Internal);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn rule_22_a_server_that_answers_early_stops_the_client() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.finish(call);
        let sent = bench.sent_on(1);
        assert!(matches!(
            sent[..],
            [Sent::Headers { end_stream: true, .. }, Sent::Reset { code: NO_ERROR, .. }]
        ));
        // What the client had sent by then is discarded.
        assert_eq!(bench.feed(data(1, END_STREAM, &message(b"late"))), []);
        bench.expect_service(3);
    });
}

#[test]
fn rule_22_a_client_that_has_its_trailers_stops_sending() {
    client(|bench| {
        bench.open();
        assert_eq!(
            code(&bench.feed(headers(1, END_STREAM, &trailers_only("3")))),
            Code::InvalidArgument
        );
        bench.expect_reset(1, NO_ERROR);
        bench.expect_service(3);
    });
}

#[test]
fn rule_22_a_client_that_has_its_trailers_is_not_overruled_by_a_reset() {
    client(|bench| {
        bench.open();
        let events =
            bench.feed([headers(1, END_STREAM, &trailers_only("0")), reset(1, CANCEL)].concat());
        assert_eq!(code(&events), Code::Ok);
        bench.expect_service(3);
    });
}

#[test]
fn rule_23_the_status_comes_after_every_message_and_nothing_succeeds_after_it() {
    client(|bench| {
        let call = bench.open();
        let answer = [
            headers(1, 0, &response()),
            data(1, 0, &[message(b"a"), message(b"b")].concat()),
            data(1, 0, &message(b"c")),
            headers(1, END_STREAM, &trailers("0")),
        ];
        let events = bench.feed(answer.concat());
        let kinds: Vec<_> = events
            .iter()
            .map(|event| match event {
                AtClient::Headers(..) => "headers".into(),
                AtClient::Message(_, body) => String::from_utf8(body.clone()).unwrap(),
                AtClient::Status(..) => "status".into(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["headers", "a", "b", "c", "status"]);
        assert_eq!(
            bench.conn.send_encoded(call, (&b"x"[..]).into(), false),
            Err(grpc_proto::SendError::Ended)
        );
        assert_eq!(bench.conn.end(call), Err(grpc_proto::SendError::Ended));
        bench.conn.cancel(call);
        bench.expect_reset(1, NO_ERROR);
    });
}

const RESETS: [(u32, Code); 16] = [
    (0, Code::Internal),
    (1, Code::Internal),
    (2, Code::Internal),
    (3, Code::Internal),
    (4, Code::Internal),
    (5, Code::Unknown),
    (6, Code::Internal),
    (7, Code::Unavailable),
    (8, Code::Cancelled),
    (9, Code::Internal),
    (10, Code::Internal),
    (11, Code::ResourceExhausted),
    (12, Code::PermissionDenied),
    (13, Code::Unknown),
    (14, Code::Unknown),
    (u32::MAX, Code::Unknown),
];

#[test]
fn rule_24_every_reset_code_has_its_status() {
    for (reset_code, expected) in RESETS {
        for head in [false, true] {
            client(|bench| {
                bench.ask();
                if head {
                    bench.feed(headers(1, 0, &response()));
                }
                let events = bench.feed(reset(1, reset_code));
                assert_eq!(code(&events), expected, "{reset_code}");
                assert_eq!(outcome(&events).reason, Some(Reason::Reset(ErrorCode(reset_code))));
                let processed = if reset_code == 7 { Processed::Refused } else { Processed::Maybe };
                assert_eq!(outcome(&events).processed, processed);
                bench.expect_service(3);
            });
        }
    }
}

#[test]
fn rule_25_a_deadline_at_the_client_ends_the_call_and_resets_it() {
    client(|bench| {
        let head = CallHead::new("/a/b", "localhost");
        bench.conn.call(&head, Some(Instant::from_millis(100)), bench.now).unwrap();
        bench.sent();
        bench.set_millis(99);
        assert_eq!(bench.feed(b""), []);
        assert_eq!(bench.conn.poll_timeout(), Some(Instant::from_millis(100)));
        bench.set_millis(100);
        assert_eq!(code(&bench.feed(b"")), Code::DeadlineExceeded);
        bench.expect_reset(1, CANCEL);
        bench.expect_service(3);
    });
}

#[test]
fn rule_25_a_cancel_received_after_the_deadline_is_deadline_exceeded() {
    for (millis, expected) in [(99, Code::Cancelled), (100, Code::DeadlineExceeded)] {
        client(|bench| {
            let head = CallHead::new("/a/b", "localhost");
            bench.conn.call(&head, Some(Instant::from_millis(100)), bench.now).unwrap();
            bench.sent();
            bench.set_millis(millis);
            assert_eq!(code(&bench.feed(reset(1, CANCEL))), expected);
        });
    }
}

#[test]
fn rule_25_a_deadline_at_the_server_cancels_the_handler_and_resets() {
    server(|bench| {
        let events = bench.feed(headers(1, 0, &call_with(&[("grpc-timeout", "100m")])));
        let AtServer::Request { call, .. } = events[0] else { panic!("{events:?}") };
        bench.set_millis(100);
        assert_eq!(bench.feed(b""), [AtServer::Cancelled(call, Reason::Deadline)]);
        bench.expect_reset(1, CANCEL);
        assert_eq!(bench.conn.open_calls(), 1, "the handler holds its slot until it is gone");
        bench.conn.release(call);
        assert_eq!(bench.conn.open_calls(), 0);
        bench.expect_service(3);
    });
}

#[test]
fn rule_25_a_timeout_tells_what_remains_when_the_call_leaves() {
    client(|bench| {
        bench.feed(settings(&[(3, 0)]));
        let head = CallHead::new("/a/b", "localhost");
        bench.conn.call(&head, Some(Instant::from_millis(1000)), bench.now).unwrap();
        assert!(bench.sent().iter().all(|frame| frame.stream() == 0));
        bench.set_millis(600);
        bench.feed(settings(&[(3, 1)]));
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field("grpc-timeout"), Some("400000u"), "{sent:?}");
    });
}

#[test]
fn rule_26_a_lost_connection_is_unavailable_and_cancels_handlers() {
    client(|bench| {
        bench.ask();
        bench.conn.close_read(bench.now);
        let events = bench.feed(b"");
        assert_eq!(
            (code(&events), outcome(&events).processed),
            (Code::Unavailable, Processed::Maybe)
        );
        assert!(bench.error.is_some());
    });
    client(|bench| {
        bench.start();
        bench.conn.close_read(bench.now);
        let events = bench.feed(b"");
        assert_eq!((code(&events), outcome(&events).processed), (Code::Unavailable, Processed::No));
    });
    server(|bench| {
        let call = bench.open(1, 0);
        bench.conn.close_read(bench.now);
        let events = bench.feed(b"");
        assert!(
            matches!(&events[..], [AtServer::Cancelled(key, Reason::Connection(_))] if *key == call)
        );
        bench.conn.release(call);
        assert_eq!(bench.conn.open_calls(), 0);
    });
}

#[test]
fn rule_27_the_core_makes_no_code_of_the_applications() {
    let applications = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::DataLoss,
    ];
    let mut made = BTreeSet::new();
    made.extend((0..20).map(|reset| Reason::Reset(ErrorCode(reset)).code()));
    made.extend((0..1000).map(Code::from_http));
    made.extend(grpc_proto::Violation::ALL.iter().map(|&rule| Reason::PeerMisbehaved(rule).code()));
    let lost = grpc_proto::ConnectionError::Closed(None);
    made.extend(
        [
            Reason::Deadline,
            Reason::Connection(lost.clone()),
            Reason::GoAway(ErrorCode::NO_ERROR),
            Reason::NeverSent(lost),
            Reason::MessageFlags,
            Reason::CompressedWithoutEncoding,
            Reason::MessageTooLarge,
            Reason::MessageTruncated,
            Reason::BinaryMetadata,
        ]
        .map(|reason| reason.code()),
    );
    for code in applications {
        assert!(!made.contains(&code), "{code}");
    }
}

#[test]
fn rule_20_a_status_of_ours_says_whether_the_answer_was_grpc_at_all() {
    for (http, says) in [("200", "without a grpc-status"), ("404", "HTTP status 404")] {
        let head = block(&[(":status", http), ("content-type", "application/grpc")]);
        answer(&[headers(1, END_STREAM, &head)], |events, _| {
            let message = outcome(events).status.message().to_owned();
            assert!(message.contains(says), "{message}");
        });
    }
}

/// Something that happens to a client, and the events that follow.
type Ending = fn(&mut Bench<grpc_proto::Client>) -> Vec<AtClient>;

/// Ways in which calls end that the server has not ended.
const ENDINGS: [(&str, Ending); 5] = [
    ("deadline", |bench| {
        bench.set_millis(2000);
        bench.feed([])
    }),
    ("transport", |bench| {
        bench.conn.close_read(bench.now);
        bench.feed([])
    }),
    ("goaway", |bench| bench.feed(goaway(0, 0))),
    ("violation", |bench| bench.feed(data(0, 0, b"x"))),
    ("closed here", |bench| {
        bench.conn.close(ErrorCode::NO_ERROR, bench.now);
        bench.feed([])
    }),
];

#[test]
fn rule_41_a_call_that_never_left_was_not_processed() {
    for (name, end) in ENDINGS {
        client(|bench| {
            // SETTINGS_MAX_CONCURRENT_STREAMS of 0: nothing leaves.
            bench.feed(settings(&[(3, 0)]));
            bench.sent();
            let deadline = Some(bench.now + Duration::from_secs(1));
            bench.conn.call(&CallHead::new("/a.B/C", "x"), deadline, bench.now).unwrap();
            bench.sent();
            let events = end(bench);
            assert_eq!(outcome(&events).processed, Processed::No, "{name}");
        });
        // One that left may have been processed, unless the server says otherwise.
        client(|bench| {
            let deadline = Some(bench.now + Duration::from_secs(1));
            bench.conn.call(&CallHead::new("/a.B/C", "x"), deadline, bench.now).unwrap();
            bench.sent();
            let events = end(bench);
            let expected = if name == "goaway" { Processed::Refused } else { Processed::Maybe };
            assert_eq!(outcome(&events).processed, expected, "{name}");
        });
    }
}
