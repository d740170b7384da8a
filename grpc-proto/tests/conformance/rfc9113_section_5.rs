//! RFC 9113 §5: streams, their identifiers, their number, flow control and errors.

use grpc_proto::{Code, Limits, Processed, Reason, Violation};

use crate::harness::{AtServer, cancelled, client, code, outcome, raw_server, server, server_with};
use crate::wire::{self, *};

#[test]
fn a_client_uses_odd_identifiers_that_rise() {
    client(|bench| {
        for stream in [1, 3, 5] {
            bench.start();
            let sent = bench.sent();
            assert_eq!(sent[0].stream(), stream);
        }
    });
}

#[test]
fn a_request_on_an_even_identifier_ends_the_connection() {
    server(|bench| {
        bench.feed(headers(2, 0, &wire::call()));
        bench.expect_violation(Violation::EvenStreamFromClient);
    });
}

#[test]
fn a_response_on_an_even_identifier_ends_the_connection() {
    client(|bench| {
        bench.open();
        bench.feed(headers(2, 0, &response()));
        bench.expect_violation(Violation::StreamFromServer);
    });
}

#[test]
fn a_request_below_an_identifier_that_was_used_ends_the_connection() {
    server(|bench| {
        bench.open(5, END_STREAM);
        bench.feed(headers(3, END_STREAM, &wire::call()));
        bench.expect_violation(Violation::IdentifierNotRising);
    });
}

#[test]
fn data_on_an_identifier_that_was_skipped_ends_the_connection() {
    server(|bench| {
        bench.open(5, END_STREAM);
        bench.feed(data(3, 0, b"x"));
        bench.expect_violation(Violation::IdentifierNotRising);
    });
}

#[test]
fn what_is_late_on_streams_of_long_ago_is_ignored() {
    server(|bench| {
        for stream in (1..301).step_by(2) {
            let call = bench.open(stream, 0);
            bench.feed(reset(stream, CANCEL));
            bench.conn.release(call);
            bench.sent();
        }
        for frame in
            [window_update(1, 1), reset(1, CANCEL), data(1, 0, b"x"), headers(1, 0, &wire::call())]
        {
            bench.feed(frame);
        }
        bench.expect_open();
    });
}

#[test]
fn a_client_ignores_nothing_on_streams_that_it_has_not_opened() {
    for frame in
        [headers(1, 0, &response()), data(1, 0, b"x"), reset(1, CANCEL), window_update(1, 1)]
    {
        client(|bench| {
            bench.feed(&frame);
            bench.expect_violation(Violation::FrameOnIdleStream);
        });
    }
}

#[test]
fn streams_up_to_the_limit_are_served_and_one_more_is_refused() {
    server_with(
        |limits| limits.max_concurrent_streams = 3,
        |bench| {
            let calls = [1, 3, 5].map(|stream| bench.open(stream, END_STREAM));
            assert!(bench.feed(headers(7, END_STREAM, &wire::call())).is_empty());
            bench.expect_reset(7, REFUSED_STREAM);
            bench.finish(calls[1]);
            bench.sent();
            bench.expect_service(9);
        },
    );
}

#[test]
fn a_block_on_a_refused_stream_keeps_the_tables_in_step() {
    server_with(
        |limits| limits.max_concurrent_streams = 1,
        |bench| {
            let call = bench.open(1, END_STREAM);
            // The refused block is where the entry comes from.
            let block = [wire::call(), literal(0x40, b"x-entry", b"kept")].concat();
            bench.feed(headers(3, END_STREAM, &block));
            bench.expect_reset(3, REFUSED_STREAM);
            bench.finish(call);
            bench.sent();
            let events =
                bench.feed(headers(5, END_STREAM, &[wire::call(), vec![0x80 | 62]].concat()));
            let [AtServer::Request { metadata, .. }, _] = &events[..] else { panic!("{events:?}") };
            assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
        },
    );
}

#[test]
fn the_limit_is_advertised() {
    raw_server(
        |limits: &mut Limits| limits.max_concurrent_streams = 77,
        |bench| {
            bench.feed(PREFACE);
            let sent = bench.sent();
            let Sent::Settings(entries) = &sent[0] else { panic!("{sent:?}") };
            assert!(entries.contains(&(3, 77)), "{entries:?}");
        },
    );
}

#[test]
fn a_client_keeps_within_the_peers_limit_and_queues_what_exceeds_it() {
    client(|bench| {
        bench.feed(settings(&[(3, 2)]));
        bench.sent();
        let calls: Vec<_> = (0..4).map(|_| bench.start()).collect();
        let opened = |sent: &[Sent]| -> Vec<u32> {
            sent.iter().filter(|f| matches!(f, Sent::Headers { .. })).map(Sent::stream).collect()
        };
        assert_eq!(opened(&bench.sent()), [1, 3]);
        bench.feed(headers(1, END_STREAM, &trailers_only("0")));
        let sent = bench.sent();
        assert_eq!(opened(&sent), [5]);
        // A call that is cancelled before its turn leaves no trace.
        bench.conn.cancel(calls[3]);
        bench.feed(headers(3, END_STREAM, &trailers_only("0")));
        assert_eq!(opened(&bench.sent()), [0; 0]);
    });
}

#[test]
fn the_reset_of_a_cancelled_call_comes_before_the_head_that_takes_its_place() {
    client(|bench| {
        bench.feed(settings(&[(3, 1)]));
        let first = bench.open();
        bench.start();
        assert!(bench.sent().is_empty());
        bench.conn.cancel(first);
        let sent = bench.sent();
        assert_eq!(sent[0], Sent::Reset { stream: 1, code: CANCEL });
        assert_eq!(sent[1].stream(), 3);
    });
}

#[test]
fn a_call_that_was_never_sent_is_never_reset() {
    // So little goes out at a time that heads wait for the next pull.
    crate::harness::client_with(
        |limits| limits.transmit_budget = 1,
        |bench| {
            let calls: Vec<_> = (0..5).map(|_| bench.start()).collect();
            let mut out = grpc_proto::Transmit::new();
            bench.conn.poll_transmit(&mut out, bench.now);
            let mut reader = Reader::new();
            let first: Vec<u8> = out.chunks().flatten().copied().collect();
            let mut sent = reader.read(&first);
            for call in calls {
                bench.conn.cancel(call);
            }
            loop {
                out.clear();
                bench.conn.poll_transmit(&mut out, bench.now);
                if out.is_empty() {
                    break;
                }
                let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
                sent.extend(reader.read(&bytes));
            }
            for frame in &sent {
                let opened = |s: &Sent| matches!(s, Sent::Headers { stream, .. } if *stream == frame.stream());
                assert!(sent.iter().any(opened), "{frame:?} without HEADERS: {sent:?}");
            }
        },
    );
}

#[test]
fn a_response_to_a_call_that_was_not_sent_ends_the_connection() {
    crate::harness::client_with(
        |limits| limits.transmit_budget = 1,
        |bench| {
            bench.start();
            bench.start();
            let mut out = grpc_proto::Transmit::new();
            bench.conn.poll_transmit(&mut out, bench.now);
            bench.feed(headers(3, END_STREAM, &trailers_only("0")));
            assert_eq!(
                bench.error,
                Some(grpc_proto::ConnectionError::PeerMisbehaved(Violation::FrameOnIdleStream))
            );
        },
    );
}

#[test]
fn a_stream_error_leaves_its_neighbours_alone() {
    server(|bench| {
        bench.open(1, 0);
        let other = bench.open(3, END_STREAM);
        let events = bench.feed(window_update(1, 0));
        assert_eq!(cancelled(&events), &Reason::PeerMisbehaved(Violation::WindowUpdateOfZero));
        bench.expect_reset(1, PROTOCOL_ERROR);
        bench.finish(other);
        assert_eq!(bench.sent_on(3).len(), 1);
        bench.expect_service(5);
    });
    client(|bench| {
        bench.open();
        bench.open();
        let events = bench.feed(window_update(1, 0));
        assert_eq!(code(&events), Code::Internal);
        assert_eq!(outcome(&events).processed, Processed::Maybe);
        bench.expect_reset(1, PROTOCOL_ERROR);
        assert_eq!(code(&bench.feed(headers(3, END_STREAM, &trailers_only("0")))), Code::Ok);
    });
}

#[test]
fn a_connection_error_ends_every_call_and_names_the_last_stream() {
    server(|bench| {
        bench.open(1, 0);
        bench.open(3, END_STREAM);
        let events = bench.feed(window_update(0, 0));
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(matches!(
            bench.sent().last(),
            Some(Sent::GoAway { last: 3, code: PROTOCOL_ERROR, .. })
        ));
    });
    client(|bench| {
        bench.open();
        let events = bench.feed(window_update(0, 0));
        assert_eq!(code(&events), Code::Unavailable);
        assert!(matches!(
            bench.sent().last(),
            Some(Sent::GoAway { last: 0, code: PROTOCOL_ERROR, .. })
        ));
    });
}

#[test]
fn a_priority_frame_has_no_effect_in_any_state() {
    server(|bench| {
        let priority =
            |stream, on: u32| frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[9]].concat());
        bench.feed([priority(1, 0), priority(9, 1), priority(1, 1), priority(2, 0)].concat());
        let call = bench.open(1, END_STREAM);
        bench.feed(priority(1, 0x8000_0001));
        bench.finish(call);
        assert_eq!(bench.sent_on(1).len(), 1);
        bench.feed(priority(1, 3));
        bench.expect_service(3);
    });
}

#[test]
fn a_priority_frame_of_another_size_is_an_error_of_frame_size() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.feed(frame(PRIORITY, 0, 1, &[0; 4]));
        bench.expect_reset(1, FRAME_SIZE_ERROR);
        bench.conn.release(call);
        bench.expect_service(3);
        // A stream that is idle cannot be reset.
        bench.feed(frame(PRIORITY, 0, 9, &[0; 6]));
        bench.expect_violation(Violation::FrameLength);
    });
}

/// A handler that is told of an error still runs: its slot is free when it has let go, a client's at once.
#[test]
fn a_server_keeps_the_slot_of_a_stream_that_broke_a_rule_until_it_is_released() {
    server(|bench| {
        let call = bench.open(1, 0);
        bench.feed(window_update(1, 0));
        assert_eq!(bench.conn.open_calls(), 1);
        bench.sent();
        assert_eq!(bench.conn.open_calls(), 1);
        bench.conn.release(call);
        assert_eq!(bench.conn.open_calls(), 0);
    });
    client(|bench| {
        bench.open();
        bench.feed(window_update(1, 0));
        bench.sent();
        assert_eq!(bench.conn.open_calls(), 0);
    });
}

/// Frames of a stream whose length is fixed, with lengths that are wrong.
const WRONG_LENGTHS: [(u8, usize); 8] = [
    (PRIORITY, 0),
    (PRIORITY, 4),
    (PRIORITY, 6),
    (RST_STREAM, 0),
    (RST_STREAM, 3),
    (RST_STREAM, 5),
    (WINDOW_UPDATE, 3),
    (WINDOW_UPDATE, 5),
];

#[test]
fn a_wrong_length_is_an_error_of_frame_size_in_every_state() {
    let states = ["idle", "open", "half-closed", "closed", "closed long ago"];
    for (kind, len) in WRONG_LENGTHS {
        for state in states {
            let wrong = |stream| frame(kind, 0, stream, &vec![0; len]);
            // RFC 9113 §6.3: PRIORITY is an error of its stream, where there is one that can be reset.
            let of_stream = kind == PRIORITY && matches!(state, "open" | "half-closed");
            server(|bench| {
                match state {
                    "open" => drop(bench.open(1, 0)),
                    "half-closed" => drop(bench.open(1, END_STREAM)),
                    "closed" | "closed long ago" => {
                        let streams = if state == "closed" { 1 } else { 80 };
                        for n in 0..streams {
                            let call = bench.open(2 * n + 1, END_STREAM);
                            bench.finish(call);
                            bench.sent();
                        }
                    }
                    _ => {}
                }
                bench.feed(wrong(1));
                match of_stream {
                    true => bench.expect_reset(1, FRAME_SIZE_ERROR),
                    false => bench.expect_violation(Violation::FrameLength),
                }
            });
            client(|bench| {
                let end = headers(1, END_STREAM, &trailers_only("0"));
                match state {
                    "open" => drop(bench.open()),
                    "half-closed" => drop(bench.ask()),
                    "closed" => {
                        bench.ask();
                        bench.feed(end);
                        bench.sent();
                    }
                    "closed long ago" => {
                        for n in 0..80 {
                            bench.ask();
                            bench.feed(headers(2 * n + 1, END_STREAM, &trailers_only("0")));
                            bench.sent();
                        }
                    }
                    _ => {}
                }
                bench.feed(wrong(1));
                match of_stream {
                    true => bench.expect_reset(1, FRAME_SIZE_ERROR),
                    false => bench.expect_violation(Violation::FrameLength),
                }
            });
        }
    }
}
