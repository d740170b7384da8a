//! What a connection remembers of streams, lists and windows while calls end, wait and are given up.

use bytes::Bytes;
use grpc_proto::{CallHead, Code, Metadata, Status, server::ResponseHead};

use crate::harness::{AtClient, client, code, outcome, server, server_with};
use crate::wire::*;

/// Numbers below `bound` that look random and are the same in every run.
fn draws(bound: usize) -> impl FnMut() -> usize {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % bound
    }
}

// The peer's bodies were in flight when the calls were ended early; it has broken no rule.
#[test]
fn late_data_is_ignored_in_whatever_order_its_streams_have_ended() {
    const STREAMS: usize = 150;
    for stride in [7, STREAMS - 1] {
        server_with(
            |limits| limits.max_concurrent_streams = STREAMS as u32,
            |bench| {
                let id = |n: usize| 2 * n as u32 + 1;
                let mut calls = Vec::new();
                for n in 0..STREAMS {
                    calls.push(bench.open(id(n), 0));
                    bench.sent();
                }
                for n in 0..STREAMS {
                    bench.conn.release(calls[n * stride % STREAMS]);
                    bench.sent();
                }
                for n in 0..STREAMS {
                    bench.feed(data(id(n), 0, b"late"));
                    bench.feed(window_update(id(n), 1));
                }
                bench.expect_service(id(STREAMS));
            },
        );
    }
}

#[test]
fn late_data_of_streams_that_ended_before_a_long_one_is_ignored() {
    server(|bench| {
        let calls = [1, 3, 5, 7].map(|stream| bench.open(stream, 0));
        for call in [1, 2, 3, 0] {
            bench.conn.release(calls[call]);
        }
        bench.sent();
        for stream in (9..9 + 2 * 64).step_by(2) {
            let call = bench.open(stream, 0);
            bench.conn.release(call);
            bench.sent();
        }
        for stream in [7, 5, 3, 1] {
            bench.feed(data(stream, END_STREAM, b"late"));
        }
        bench.expect_service(9 + 2 * 64);
    });
}

#[test]
fn a_server_has_not_drained_before_its_last_goaway_was_pulled() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.conn.shutdown(bench.now);
        let Some(Sent::Ping(payload)) = bench.sent().pop() else { panic!("no PING") };
        bench.finish(call);
        bench.sent();
        assert!(!bench.conn.is_drained(), "the PING is not answered yet");
        bench.feed(frame(PING, ACK, 0, &payload));
        assert!(!bench.conn.is_drained(), "the last GOAWAY waits");
        assert!(matches!(bench.sent()[..], [Sent::GoAway { last: 1, .. }]));
        assert!(bench.conn.is_drained());
    });
}

#[test]
fn a_connection_has_not_drained_before_its_replies_were_pulled() {
    server(|bench| {
        bench.conn.shutdown(bench.now);
        let Some(Sent::Ping(payload)) = bench.sent().pop() else { panic!("no PING") };
        bench.feed(frame(PING, ACK, 0, &payload));
        bench.sent();
        assert!(bench.conn.is_drained());
        bench.feed(ping([7; 8]));
        assert!(!bench.conn.is_drained(), "an answer waits");
        assert_eq!(bench.sent().len(), 1);
        assert!(bench.conn.is_drained());
    });
}

#[test]
fn a_client_has_not_drained_before_its_goaway_was_pulled() {
    client(|bench| {
        bench.ask();
        bench.conn.shutdown(bench.now);
        bench.sent();
        bench.feed(headers(1, END_STREAM, &trailers_only("0")));
        if bench.conn.has_output() {
            assert!(!bench.conn.is_drained(), "output waits");
        }
        bench.sent();
        assert!(bench.conn.is_drained());
    });
    // The drain begins when nothing is open.
    client(|bench| {
        bench.conn.shutdown(bench.now);
        assert!(!bench.conn.is_drained());
        assert!(matches!(bench.sent()[..], [Sent::GoAway { .. }]));
        assert!(bench.conn.is_drained());
    });
}

#[test]
fn a_call_that_waits_for_a_stream_gets_the_window_that_holds_when_it_is_sent() {
    for (sizes, expected) in
        [(&[10][..], 10), (&[0, 20], 20), (&[100_000], 100_000), (&[0, 70_000, 30], 30)]
    {
        client(|bench| {
            bench.feed(settings(&[(3, 1)]));
            bench.ask();
            let waits = bench.start();
            let message = Bytes::from(vec![7; 150_000]);
            bench.conn.send_encoded(waits, message, false).expect("room for one");
            bench.conn.end(waits).expect("an open call");
            for size in sizes {
                bench.feed(settings(&[(4, *size)]));
                bench.sent();
            }
            // The connection's own window is no limit here.
            bench.feed(window_update(0, 1 << 20));
            assert_eq!(code(&bench.feed(headers(1, END_STREAM, &trailers_only("0")))), Code::Ok);
            let lens = |sent: &[Sent]| -> usize {
                let data = sent.iter().filter_map(|frame| match frame {
                    Sent::Data { payload, .. } => Some(payload.len()),
                    _ => None,
                });
                data.sum()
            };
            assert_eq!(lens(&bench.sent_on(3)), expected, "{sizes:?}");
            bench.feed(window_update(3, 5));
            assert_eq!(lens(&bench.sent_on(3)), 5, "{sizes:?}");
        });
    }
}

#[test]
fn heads_and_trailers_that_take_turns_are_sent_each_as_it_is() {
    server(|bench| {
        let mut draw = draws(3);
        for n in 0..60 {
            let stream = 2 * n + 1;
            let call = bench.open(stream, END_STREAM);
            let (head, trailer) = (draw().to_string(), draw().to_string());
            let (mut heads, mut trailers) = (Metadata::new(), Metadata::new());
            heads.append("x-head", &head).unwrap();
            trailers.append("x-trailer", &trailer).unwrap();
            let answer = ResponseHead { metadata: Some(&heads), ..ResponseHead::default() };
            bench.conn.respond(call, &answer).unwrap();
            bench.conn.finish(call, &Status::OK, &trailers).unwrap();
            let sent = bench.sent_on(stream);
            let [first, last] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!(first.field("x-head"), Some(&*head), "{n}");
            assert_eq!(last.field("x-trailer"), Some(&*trailer), "{n}");
        }
    });
}

#[test]
fn requests_of_more_methods_than_are_kept_are_sent_each_as_it_is() {
    client(|bench| {
        let mut draw = draws(12);
        for n in 0..120 {
            // Two of a method running, then any of twelve.
            let path = format!("/test.Echo/Method{}", draw());
            for again in 0..2 {
                let head = CallHead::new(&path, "localhost");
                let call = bench.conn.call(&head, None, bench.now).expect("a call");
                bench.conn.end(call).expect("an open call");
                let stream = 4 * n + 2 * again + 1;
                let sent = bench.sent_on(stream);
                assert_eq!(sent[0].field(":path"), Some(&*path), "{sent:?}");
                bench.feed(headers(stream, END_STREAM, &trailers_only("0")));
            }
        }
    });
}

#[test]
fn resets_from_both_sides_at_once_give_a_clients_place_back() {
    for pulled in [true, false] {
        client(|bench| {
            bench.feed(settings(&[(3, 2)]));
            bench.sent();
            let mut stream = 1;
            for _ in 0..6 {
                let calls = [bench.open(), bench.open()];
                for call in calls {
                    bench.conn.cancel(call);
                    if pulled {
                        bench.sent();
                    }
                }
                bench.feed([reset(stream, CANCEL), reset(stream + 2, CANCEL)].concat());
                let sent = bench.sent();
                assert_eq!(sent, [], "nothing follows the peer's RST_STREAM");
                assert_eq!(bench.conn.open_calls(), 0);
                stream += 4;
            }
            bench.expect_service(stream);
        });
    }
}

#[test]
fn resets_from_both_sides_at_once_take_no_place_twice_and_none_for_ever() {
    // Both orders in turn at a limit of one: the second call of each pair waits for the first one's place.
    client(|bench| {
        bench.feed(settings(&[(3, 1)]));
        bench.sent();
        for n in 0..8 {
            let stream = 4 * n + 1;
            let first = bench.open();
            let second = bench.start();
            assert_eq!(bench.sent_on(stream + 2), [], "one at a time");
            bench.conn.cancel(first);
            // Once our own reset has left, the place is free; else once the peer's has come.
            let mut sent = if n % 2 == 0 { bench.sent_on(stream + 2) } else { Vec::new() };
            bench.feed(reset(stream, CANCEL));
            sent.extend(bench.sent_on(stream + 2));
            assert!(matches!(sent[..], [Sent::Headers { .. }]), "{n}: {sent:?}");
            let third = bench.start();
            assert_eq!(bench.sent_on(stream + 4), [], "one at a time");
            bench.conn.cancel(third);
            bench.conn.end(second).expect("an open call");
            bench.sent();
            let events = bench.feed(headers(stream + 2, END_STREAM, &trailers_only("0")));
            assert_eq!(code(&events), Code::Ok);
        }
    });
}

#[test]
fn resets_from_both_sides_at_once_give_a_servers_place_back() {
    for pulled in [true, false] {
        server_with(
            |limits| limits.max_concurrent_streams = 1,
            |bench| {
                for n in 0..6 {
                    let call = bench.open(2 * n + 1, 0);
                    bench.conn.release(call);
                    if pulled {
                        bench.sent();
                    }
                    bench.feed(reset(2 * n + 1, CANCEL));
                    assert_eq!(bench.conn.open_calls(), 0);
                }
                bench.sent();
                bench.expect_service(13);
            },
        );
    }
}

#[test]
fn metadata_of_trailers_only_reaches_both_ends() {
    client(|bench| {
        for (stream, status) in [(1, "5"), (3, "0")] {
            bench.ask();
            let block =
                [trailers_only(status), block(&[("x-a", "1"), ("x-b-bin", "AAE"), ("x-a", "2")])];
            let events = bench.feed(headers(stream, END_STREAM, &block.concat()));
            let [AtClient::Status(..)] = &events[..] else { panic!("{events:?}") };
            let trailers = &outcome(&events).trailers;
            assert_eq!(trailers.values("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
            assert_eq!(trailers.value("x-b-bin"), Some(&b"AAE"[..]));
            assert_eq!(trailers.value("content-type"), None);
        }
    });
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        let mut trailers = Metadata::new();
        trailers.append("x-a", "1").unwrap();
        trailers.append_bin("x-b-bin", &[0, 1]).unwrap();
        bench.conn.finish(call, &Status::new(Code::NotFound, "none"), &trailers).unwrap();
        let sent = bench.sent_on(1);
        let [only @ Sent::Headers { end_stream: true, .. }] = &sent[..] else { panic!("{sent:?}") };
        let fields = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "none"),
            ("x-a", "1"),
            ("x-b-bin", "AAE"),
        ];
        for (name, value) in fields {
            assert_eq!(only.field(name), Some(value), "{only:?}");
        }
    });
}
