//! Rules 36 and 45–48: streams beyond limits, and connections that stay in step.

use grpc_proto::{CallHead, Code, Instant, Processed, Reason, SendError, Violation};

use crate::harness::{
    AtClient, AtServer, client, client_with, code, outcome, raw_client, raw_server, server,
    server_with,
};
use crate::wire::{self, *};

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
fn rule_47_a_message_that_its_frame_brings_whole_opens_no_window_however_it_is_cut() {
    let change = |limits: &mut grpc_proto::Limits| {
        limits.stream_window = 100;
        limits.manual_credit = true;
    };
    server_with(change, |bench| {
        let call = bench.open(1, 0);
        let two = [message(&[7; 30]), message(&[8; 30])].concat();
        let events = bench.feed(data(1, 0, &two));
        let reported = [[7; 30], [8; 30]].map(|body| AtServer::Message(call, body.to_vec()));
        assert_eq!(events, reported);
        assert_eq!(bench.sent_on(1), []);
        // One that goes on in another frame is given room, as it may be larger than what is left.
        bench.feed(data(1, 0, &message(&[9; 200])[..20]));
        assert!(matches!(bench.sent_on(1)[..], [Sent::WindowUpdate { .. }]));
    });
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
