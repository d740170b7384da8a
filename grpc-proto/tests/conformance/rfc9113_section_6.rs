//! RFC 9113 §6: each type of frame.

use grpc_proto::{Code, ConnectionError, ErrorCode, Reason, SendError, Violation};

use crate::harness::{
    AtClient, AtServer, cancelled, client, client_with, code, server, server_with,
};
use crate::wire::{self, *};

// --- DATA (§6.1) ---

#[test]
fn data_on_stream_zero_ends_the_connection() {
    server(|bench| {
        bench.feed(data(0, 0, b"x"));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
    client(|bench| {
        bench.feed(data(0, 0, b"x"));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}

#[test]
fn padding_is_removed_whatever_its_length() {
    for padding in [0, 1, 100, 255] {
        server(|bench| {
            let call = bench.open(1, 0);
            let events = bench.feed(padded_data(1, END_STREAM, &message(b"hello"), padding));
            assert_eq!(events, [AtServer::Message(call, b"hello".to_vec()), AtServer::End(call)]);
            bench.expect_service(3);
        });
    }
}

#[test]
fn padding_as_long_as_the_frame_ends_the_connection() {
    server(|bench| {
        bench.open(1, 0);
        assert!(bench.feed(frame(DATA, PADDED, 1, &[4, 0, 0, 0, 0])).is_empty());
        bench.expect_open();
        bench.feed(frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0]));
        bench.expect_violation(Violation::PaddingTooLong);
    });
    server(|bench| {
        bench.open(1, 0);
        bench.feed(frame(DATA, PADDED, 1, &[]));
        bench.expect_violation(Violation::FrameLength);
    });
}

#[test]
fn an_empty_frame_ends_a_stream() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.feed(data(1, 0, &message(b"x")));
        assert_eq!(bench.feed(data(1, END_STREAM, b"")), [AtServer::End(call)]);
        bench.finish(call);
        assert_eq!(bench.sent_on(1).len(), 1);
    });
}

// --- HEADERS (§6.2) ---

#[test]
fn headers_on_stream_zero_end_the_connection() {
    server(|bench| {
        bench.feed(headers(0, 0, &wire::call()));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}

#[test]
fn padding_and_priority_of_headers_are_removed() {
    for (padding, priority) in [(Some(0), false), (Some(255), false), (None, true), (Some(7), true)]
    {
        server(|bench| {
            let mut payload = Vec::new();
            let mut flags = END_HEADERS | END_STREAM;
            if let Some(padding) = padding {
                payload.push(padding);
                flags |= PADDED;
            }
            if priority {
                payload.extend([0x80, 0, 0, 1, 200]);
                flags |= PRIORITIZED;
            }
            payload.extend(wire::call());
            payload.extend(std::iter::repeat_n(0, usize::from(padding.unwrap_or(0))));
            let events = bench.feed(frame(HEADERS, flags, 1, &payload));
            assert_eq!(events.len(), 2, "{events:?} {:?}", bench.error);
        });
    }
}

#[test]
fn headers_too_short_for_their_flags_end_the_connection() {
    for (flags, payload, violation) in [
        (PADDED, &[][..], Violation::FrameLength),
        (PADDED, &[1], Violation::PaddingTooLong),
        (PRIORITIZED, &[0; 4], Violation::FrameLength),
        (PADDED | PRIORITIZED, &[0, 0, 0, 0, 0], Violation::PaddingTooLong),
        (PADDED | PRIORITIZED, &[1, 0, 0, 0, 0, 0], Violation::PaddingTooLong),
    ] {
        server(|bench| {
            bench.feed(frame(HEADERS, flags | END_HEADERS, 1, payload));
            bench.expect_violation(violation);
        });
    }
}

// --- PRIORITY (§6.3) and RST_STREAM (§6.4) ---

#[test]
fn priority_on_stream_zero_ends_the_connection() {
    server(|bench| {
        bench.feed(frame(PRIORITY, 0, 0, &[0; 5]));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}

#[test]
fn rst_stream_of_another_size_or_on_stream_zero_ends_the_connection() {
    for len in [0, 3, 5] {
        server(|bench| {
            bench.open(1, 0);
            bench.feed(frame(RST_STREAM, 0, 1, &vec![0; len]));
            bench.expect_violation(Violation::FrameLength);
        });
    }
    server(|bench| {
        bench.feed(reset(0, CANCEL));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}

#[test]
fn a_reset_call_is_cancelled_and_not_answered() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.conn.send_encoded(call, vec![7; 100_000].into(), false).unwrap();
        bench.sent();
        let events = bench.feed(reset(1, CANCEL));
        assert_eq!(cancelled(&events), &Reason::Reset(grpc_proto::ErrorCode::CANCEL));
        assert_eq!(bench.conn.send_encoded(call, vec![7].into(), false), Err(SendError::Ended));
        bench.conn.release(call);
        assert_eq!(bench.sent_on(1), []);
        bench.feed(window_update(0, 1000));
        bench.expect_service(3);
    });
}

// --- SETTINGS (§6.5) ---

#[test]
fn settings_of_the_wrong_shape_end_the_connection() {
    for (frame, violation) in [
        (frame(SETTINGS, 0, 1, &[]), Violation::FrameOnStream),
        (frame(SETTINGS, ACK, 0, &[0; 6]), Violation::SettingsAckWithPayload),
        (frame(SETTINGS, 0, 0, &[0; 5]), Violation::FrameLength),
        (frame(SETTINGS, 0, 0, &[0; 7]), Violation::FrameLength),
        (settings(&[(2, 2)]), Violation::EnablePushOutOfRange),
        (settings(&[(4, 0x8000_0000)]), Violation::InitialWindowOutOfRange),
        (settings(&[(5, 16_383)]), Violation::MaxFrameSizeOutOfRange),
        (settings(&[(5, 1 << 24)]), Violation::MaxFrameSizeOutOfRange),
        (settings_ack(), Violation::UnexpectedSettingsAck),
    ] {
        server(|bench| {
            bench.feed(&frame);
            bench.expect_violation(violation);
        });
        client(|bench| {
            bench.feed(&frame);
            bench.expect_violation(violation);
        });
    }
}

#[test]
fn a_server_that_enables_push_breaks_a_rule_and_a_client_does_not() {
    client(|bench| {
        bench.feed(settings(&[(2, 0)]));
        bench.expect_service(1);
        bench.feed(settings(&[(2, 1)]));
        bench.expect_violation(Violation::EnablePushByServer);
    });
    server(|bench| {
        bench.feed(settings(&[(2, 1)]));
        bench.expect_service(1);
    });
}

#[test]
fn settings_are_acknowledged_in_order_and_unknown_ones_ignored() {
    server(|bench| {
        bench.feed([settings(&[(0xbeef, 1), (5, 20_000)]), ping([1; 8]), settings(&[])].concat());
        assert_eq!(bench.sent(), [Sent::SettingsAck, Sent::PingAck([1; 8]), Sent::SettingsAck]);
        assert_eq!(bench.conn.session().peer_settings().max_frame_size, 20_000);
        bench.expect_service(1);
    });
}

#[test]
fn the_last_of_equal_settings_counts() {
    server(|bench| {
        bench.feed(settings(&[(4, 1), (4, 10)]));
        let call = bench.open(1, END_STREAM);
        bench.conn.send_encoded(call, vec![7; 100].into(), false).unwrap();
        let sent = bench.sent_on(1);
        assert!(matches!(&sent[1], Sent::Data { payload, .. } if payload.len() == 10), "{sent:?}");
    });
}

#[test]
fn a_push_promise_ends_the_connection() {
    for flags in [0, END_HEADERS] {
        server(|bench| {
            bench.open(1, 0);
            bench.feed(frame(PUSH_PROMISE, flags, 1, &[0, 0, 0, 2]));
            bench.expect_violation(Violation::PushPromise);
        });
        client(|bench| {
            bench.open();
            bench.feed(frame(PUSH_PROMISE, flags, 1, &[0, 0, 0, 2]));
            bench.expect_violation(Violation::PushPromise);
        });
    }
}

// --- PING (§6.7) ---

#[test]
fn a_ping_is_answered_with_its_payload_and_an_answer_is_not() {
    server(|bench| {
        bench.feed(ping(*b"payload!"));
        assert_eq!(bench.sent(), [Sent::PingAck(*b"payload!")]);
        bench.feed(frame(PING, ACK, 0, b"payload!"));
        assert_eq!(bench.sent(), []);
    });
}

#[test]
fn a_ping_of_another_size_or_on_a_stream_ends_the_connection() {
    for len in [0, 7, 9] {
        server(|bench| {
            bench.feed(frame(PING, 0, 0, &vec![0; len]));
            bench.expect_violation(Violation::FrameLength);
        });
    }
    client(|bench| {
        bench.feed(frame(PING, 0, 1, &[0; 8]));
        bench.expect_violation(Violation::FrameOnStream);
    });
}

// --- GOAWAY (§6.8) ---

#[test]
fn goaway_of_the_wrong_shape_ends_the_connection() {
    client(|bench| {
        bench.feed(frame(GOAWAY, 0, 1, &[0; 8]));
        bench.expect_violation(Violation::FrameOnStream);
    });
    client(|bench| {
        bench.feed(frame(GOAWAY, 0, 0, &[0; 7]));
        bench.expect_violation(Violation::FrameLength);
    });
}

#[test]
fn goaway_with_debug_data_is_understood() {
    client(|bench| {
        let payload = [&0x7fff_ffffu32.to_be_bytes()[..], &[0; 4], b"see you"].concat();
        let events = bench.feed(frame(GOAWAY, 0, 0, &payload));
        assert_eq!(events, [AtClient::GoAway { last: 0x7fff_ffff, code: NO_ERROR }]);
        bench.expect_open();
    });
}

#[test]
fn the_debug_data_of_goaway_is_kept_as_text_in_bounds() {
    let goaway = |debug: &[u8]| {
        frame(GOAWAY, 0, 0, &[&0x7fff_ffffu32.to_be_bytes()[..], &[0; 4], debug].concat())
    };
    let long = "é".repeat(128);
    for (debug, text) in [
        (&b"see you"[..], "see you"),
        (b"", ""),
        (b"\x1b[2J\xff\n", "\u{fffd}[2J\u{fffd}\u{fffd}"),
        (long.as_bytes(), &long),
        (&[long.as_bytes(), b"x"].concat(), &long),
        // Each byte becomes three of U+FFFD.
        (&[0xff; 8000], &"\u{fffd}".repeat(85)),
    ] {
        client(|bench| {
            assert_eq!(bench.conn.session().goaway_debug_data(), "");
            bench.open();
            bench.feed(goaway(b"earlier"));
            bench.feed(goaway(debug));
            assert_eq!(bench.conn.session().goaway_debug_data(), text);
            // It can still be read when the connection is gone.
            bench.conn.close_read(bench.now);
            bench.feed(b"");
            assert_eq!(bench.error, Some(ConnectionError::Closed(Some(ErrorCode::NO_ERROR))));
            assert_eq!(bench.conn.session().goaway_debug_data(), text);
        });
    }
}

#[test]
fn frames_above_the_last_stream_are_discarded_but_decoded_and_counted() {
    server(|bench| {
        bench.conn.shutdown(bench.now);
        let sent = bench.sent();
        let Some(Sent::Ping(payload)) = sent.last() else { panic!("{sent:?}") };
        bench.feed(frame(PING, ACK, 0, payload));
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 0, code: NO_ERROR, .. }]));
        assert_eq!(bench.feed(headers(1, 0, &wire::call())), []);
        bench.expect_reset(1, REFUSED_STREAM);
        assert_eq!(bench.feed(data(1, END_STREAM, &[0; 1000])), []);
        bench.expect_open();
    });
}

// --- WINDOW_UPDATE (§6.9) ---

#[test]
fn window_updates_of_the_wrong_shape_end_the_connection() {
    for len in [0, 3, 5] {
        server(|bench| {
            bench.feed(frame(WINDOW_UPDATE, 0, 0, &vec![0; len]));
            bench.expect_violation(Violation::FrameLength);
        });
    }
}

#[test]
fn an_increment_of_zero_is_an_error_of_its_scope() {
    server(|bench| {
        bench.open(1, 0);
        bench.feed(window_update(1, 0));
        bench.expect_reset(1, PROTOCOL_ERROR);
        bench.feed(window_update(0, 0));
        bench.expect_violation(Violation::WindowUpdateOfZero);
    });
}

#[test]
fn the_largest_window_is_allowed_and_one_more_is_an_error_of_its_scope() {
    server(|bench| {
        bench.open(1, 0);
        bench.feed(window_update(1, 0x7fff_ffff - 65_535));
        bench.feed(window_update(0, 0x7fff_ffff - 65_535));
        bench.expect_open();
        bench.feed(window_update(1, 1));
        bench.expect_reset(1, FLOW_CONTROL_ERROR);
        bench.feed(window_update(0, 1));
        bench.expect_violation(Violation::WindowOverflow);
    });
}

#[test]
fn data_waits_for_both_windows() {
    server(|bench| {
        bench.feed(settings(&[(4, 0x7fff_ffff)]));
        let call = bench.open(1, END_STREAM);
        bench.conn.send_encoded(call, vec![7; 100_000].into(), false).unwrap();
        let total = |sent: Vec<Sent>| -> usize {
            sent.iter()
                .map(|f| if let Sent::Data { payload, .. } = f { payload.len() } else { 0 })
                .sum()
        };
        assert_eq!(total(bench.sent()), 65_535);
        bench.feed(window_update(0, 1));
        assert_eq!(total(bench.sent()), 1);
        bench.feed(window_update(0, 1_000_000));
        assert_eq!(total(bench.sent()), 100_005 - 65_536);
    });
}

#[test]
fn frames_sent_keep_within_the_peers_frame_size() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.conn.send_encoded(call, vec![7; 50_000].into(), false).unwrap();
        for sent in bench.sent_on(1) {
            if let Sent::Data { payload, .. } = sent {
                assert!(payload.len() <= 16_384);
            }
        }
    });
}

#[test]
fn a_changed_initial_window_applies_to_open_streams_and_may_go_below_zero() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.conn.send_encoded(call, vec![7; 9_995].into(), false).unwrap();
        assert_eq!(bench.sent_on(1).len(), 2);
        bench.feed(settings(&[(4, 5_000)]));
        // The window is −5,000 now: it takes 5,001 to send one byte.
        bench.conn.send_encoded(call, vec![7; 100].into(), false).unwrap();
        assert_eq!(bench.sent_on(1), []);
        bench.feed(window_update(1, 5_000));
        assert_eq!(bench.sent_on(1), []);
        bench.feed(window_update(1, 1));
        assert!(
            matches!(&bench.sent_on(1)[..], [Sent::Data { payload, .. }] if payload.len() == 1)
        );
        bench.feed(settings(&[(4, 5_010)]));
        assert!(
            matches!(&bench.sent_on(1)[..], [Sent::Data { payload, .. }] if payload.len() == 10)
        );
    });
}

#[test]
fn a_changed_initial_window_that_overflows_a_stream_ends_the_connection() {
    server(|bench| {
        bench.open(1, 0);
        bench.feed(window_update(1, 0x7fff_ffff - 65_536));
        bench.feed(settings(&[(4, 65_536)]));
        bench.expect_open();
        bench.feed(settings(&[(4, 65_537)]));
        bench.expect_violation(Violation::InitialWindowOverflow);
    });
}

#[test]
fn data_beyond_a_streams_window_resets_it() {
    // Two messages that nobody has consumed, and that fill the window.
    let messages = [message(&[7; 32_000]), message(&[7; 65_535 - 32_005 - 5])].concat();
    let window: Vec<u8> = messages.chunks(16_384).flat_map(|piece| data(1, 0, piece)).collect();
    server_with(
        |limits| limits.manual_credit = true,
        |bench| {
            bench.open(1, 0);
            bench.feed(window.clone());
            bench.expect_open();
            assert_eq!(bench.sent_on(1), []);
            let events = bench.feed(data(1, 0, b"x"));
            assert_eq!(cancelled(&events), &Reason::PeerMisbehaved(Violation::StreamWindowOverrun));
            bench.expect_reset(1, FLOW_CONTROL_ERROR);
        },
    );
    client_with(
        |limits| limits.manual_credit = true,
        |bench| {
            bench.open();
            bench.feed(headers(1, 0, &response()));
            bench.feed(window.clone());
            let events = bench.feed(data(1, 0, b"x"));
            assert_eq!(code(&events), Code::Internal);
            bench.expect_reset(1, FLOW_CONTROL_ERROR);
        },
    );
}

#[test]
fn data_beyond_the_connections_window_ends_it() {
    server_with(
        |limits| {
            limits.connection_window = 65_535;
            limits.stream_window = 1 << 20;
        },
        |bench| {
            bench.open(1, 0);
            // Without a pull, no credit can have been given.
            let most = [0; 16_384];
            let bytes = [
                data(1, 0, &most),
                data(1, 0, &most),
                data(1, 0, &most),
                data(1, 0, &most[..16_383]),
            ];
            bench.feed(bytes.concat());
            bench.expect_open();
            bench.feed(data(1, 0, b"x"));
            bench.expect_violation(Violation::ConnectionWindowOverrun);
        },
    );
}

#[test]
fn a_window_below_the_default_binds_the_peer_only_once_it_has_acknowledged_it() {
    crate::harness::raw_server(
        |limits| limits.stream_window = 1000,
        |bench| {
            bench.feed([PREFACE, &settings(&[])].concat());
            bench.sent();
            let call = bench.open(1, 0);
            let events = bench.feed(data(1, 0, &message(&[7; 5000])));
            assert_eq!(events, [AtServer::Message(call, vec![7; 5000])]);
            bench.feed(settings_ack());
            bench.expect_open();
            bench.open(3, 0);
            bench.feed(data(3, 0, &[1; 1001]));
            bench.expect_reset(3, FLOW_CONTROL_ERROR);
        },
    );
}

#[test]
fn a_window_update_on_a_closed_stream_is_ignored() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.finish(call);
        bench.sent();
        bench.feed(window_update(1, 1));
        bench.feed(window_update(1, 0));
        bench.expect_service(3);
    });
}

// --- CONTINUATION (§6.10) ---

#[test]
fn continuation_without_a_block_ends_the_connection() {
    server(|bench| {
        bench.feed(frame(CONTINUATION, END_HEADERS, 1, &wire::call()));
        bench.expect_violation(Violation::ContinuationUnexpected);
    });
    server(|bench| {
        bench.open(1, 0);
        bench.feed(frame(CONTINUATION, END_HEADERS, 1, &[]));
        bench.expect_violation(Violation::ContinuationUnexpected);
    });
    server(|bench| {
        bench.feed(frame(CONTINUATION, END_HEADERS, 0, &[]));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}

#[test]
fn a_block_longer_than_a_frame_is_sent_in_continuations() {
    client(|bench| {
        let mut metadata = grpc_proto::Metadata::new();
        metadata.append("x-long", &"0123456789".repeat(4000)).unwrap();
        let mut head = grpc_proto::CallHead::new("/a/b", "localhost");
        head.metadata = Some(&metadata);
        bench.conn.call(&head, None, bench.now).unwrap();
        let sent = bench.sent();
        assert_eq!(sent[0].field("x-long").map(str::len), Some(40_000));
    });
}

#[test]
fn the_errors_of_one_connection_are_comparable() {
    let error = ConnectionError::PeerMisbehaved(Violation::FrameLength);
    assert_eq!(error.clone(), error);
    assert_ne!(error, ConnectionError::PeerMisbehaved(Violation::FrameTooLarge));
    for violation in Violation::ALL {
        assert!(violation.rule().is_ascii() && !violation.rule().is_empty());
    }
}

#[test]
fn the_counters_of_a_connection_count_what_came_and_went() {
    server(|bench| {
        let before = bench.conn.stats().frames_received;
        let call = bench.open(1, 0);
        bench.feed(padded_data(1, 0, &message(b"hello"), 9));
        bench.feed(data(1, END_STREAM, &message(b"you")));
        bench.conn.send_encoded(call, b"hello, you"[..].into(), false).unwrap();
        bench.finish(call);
        bench.sent();
        bench.open(3, 0);
        bench.feed(reset(3, CANCEL));
        bench.feed(headers(5, END_STREAM, &wire::call_without(":path")));
        bench.feed(window_update(0, 1));
        bench.feed(ping([1; 8]));
        bench.sent();
        let stats = bench.conn.stats();
        assert_eq!(stats.frames_received - before, 8);
        assert_eq!((stats.data_received, stats.data_sent, stats.data_frames_sent), (18, 15, 1));
        assert_eq!((stats.resets_received, stats.resets_sent, stats.streams_refused), (1, 1, 0));
        assert_eq!((stats.window_updates_received, stats.pings_received), (1, 1));
    });
}

#[test]
fn padding_and_priority_that_leave_no_block_are_no_error_of_the_connection() {
    for (flags, payload) in [
        (PADDED, &[0][..]),
        (PADDED, &[2, 0, 0]),
        (PRIORITIZED, &[0; 5]),
        (PADDED | PRIORITIZED, &[1, 0, 0, 0, 0, 0, 0]),
    ] {
        server(|bench| {
            // An empty block decodes, but is no request.
            assert_eq!(bench.feed(frame(HEADERS, flags | END_HEADERS, 1, payload)), []);
            bench.expect_reset(1, PROTOCOL_ERROR);
            bench.expect_service(3);
        });
    }
}

#[test]
fn streams_above_the_limit_are_counted_as_refused() {
    server_with(
        |limits| limits.max_concurrent_streams = 1,
        |bench| {
            bench.open(1, 0);
            for stream in [3, 5] {
                bench.feed(headers(stream, END_STREAM, &wire::call()));
            }
            bench.sent();
            let stats = bench.conn.stats();
            assert_eq!((stats.streams_opened, stats.streams_refused), (1, 2));
            assert_eq!((stats.resets_sent, stats.resets_received), (2, 0));
        },
    );
}
