//! Rules 11–13 and 28–30: messages, and their compression.

use grpc_proto::server::ResponseHead;
use grpc_proto::{ApiMisuse, CallHead, Code, Metadata, Reason, SendError};

use crate::harness::{AtClient, AtServer, cancelled, client, code, outcome, server, server_with};
use crate::wire::*;

#[test]
fn rule_11_messages_may_be_cut_anywhere_over_frames() {
    let bytes = [message(b"first"), message(b""), message(b"the third")].concat();
    for size in 1..bytes.len() {
        server(|bench| {
            let call = bench.open(1, 0);
            let frames: Vec<u8> = bytes.chunks(size).flat_map(|piece| data(1, 0, piece)).collect();
            let events = bench.feed([frames, data(1, END_STREAM, b"")].concat());
            let messages = [&b"first"[..], b"", b"the third"];
            let mut expected: Vec<_> =
                messages.iter().map(|body| AtServer::Message(call, body.to_vec())).collect();
            expected.push(AtServer::End(call));
            assert_eq!(events, expected);
        });
    }
}

#[test]
fn rule_11_a_flag_other_than_0_or_1_is_internal() {
    for flag in [2, 3, 0x80, 0xff] {
        server(|bench| {
            bench.open(1, 0);
            let events = bench.feed(data(1, 0, &[flag, 0, 0, 0, 1, b'x']));
            assert_eq!(cancelled(&events), &Reason::MessageFlags);
            let sent = bench.sent_on(1);
            assert_eq!(sent[0].field("grpc-status"), Some("13"), "{sent:?}");
            bench.expect_service(3);
        });
        client(|bench| {
            bench.open();
            let events =
                bench.feed([headers(1, 0, &response()), data(1, 0, &[flag, 0, 0, 0, 0])].concat());
            assert_eq!(code(&events), Code::Internal);
            bench.expect_reset(1, CANCEL);
        });
    }
}

#[test]
fn rule_12_a_message_above_the_limit_is_resource_exhausted_before_it_is_stored() {
    let limit = 1000;
    server_with(
        |limits| limits.max_receive_message = limit,
        |bench| {
            let call = bench.open(1, 0);
            let events = bench.feed(data(1, 0, &message(&[7; 1000])));
            assert_eq!(events, [AtServer::Message(call, vec![7; 1000])]);
            // The prefix alone decides.
            let events = bench.feed(data(1, 0, &[0, 0, 0, 3, 0xe9]));
            assert_eq!(events, [AtServer::Cancelled(call, Reason::MessageTooLarge)]);
            let sent = bench.sent_on(1);
            assert_eq!(sent[0].field("grpc-status"), Some("8"), "{sent:?}");
            // What is still under way is discarded, and the client told to stop once the handler is gone.
            assert_eq!(bench.feed(data(1, 0, &[7; 500])), []);
            bench.conn.release(call);
            assert_eq!(bench.sent_on(1), [Sent::Reset { stream: 1, code: NO_ERROR }]);
            bench.expect_service(3);
        },
    );
    crate::harness::client_with(
        |limits| limits.max_receive_message = limit,
        |bench| {
            bench.open();
            bench.feed(headers(1, 0, &response()));
            let events = bench.feed(data(1, 0, &[0, 0, 0, 3, 0xe9]));
            assert_eq!(outcome(&events).reason, Some(Reason::MessageTooLarge));
            assert_eq!(code(&events), Code::ResourceExhausted);
            bench.expect_reset(1, CANCEL);
            bench.expect_service(3);
        },
    );
}

/// A message that is so many zeros.
struct Zeros(usize);

impl grpc_arena::Encode for Zeros {
    fn encoded_len(&self, _: &mut grpc_arena::SizeCache) -> usize {
        self.0
    }

    fn encode(&self, _: &mut grpc_arena::SizeCache, out: &mut Vec<u8>) {
        out.resize(out.len() + self.0, 0);
    }
}

#[test]
fn rule_12_a_message_above_the_limit_of_the_sender_is_not_sent() {
    crate::harness::client_with(
        |limits| limits.max_send_message = 10,
        |bench| {
            let mut head = CallHead::new("/test.Echo/Unary", "localhost");
            head.encoding = Some("gzip");
            let call = bench.conn.call(&head, None, bench.now).unwrap();
            bench.conn.send(call, &Zeros(10)).unwrap();
            bench.conn.send_encoded(call, vec![0; 10].into(), true).unwrap();
            bench.conn.send_compressed(call, &[0; 10]).unwrap();
            assert_eq!(bench.conn.send(call, &Zeros(11)), Err(SendError::TooLarge));
            assert_eq!(
                bench.conn.send_encoded(call, vec![0; 11].into(), false),
                Err(SendError::TooLarge)
            );
            assert_eq!(bench.conn.send_compressed(call, &[0; 11]), Err(SendError::TooLarge));
            let sent = bench.sent_on(1);
            let Sent::Data { payload, .. } = &sent[1] else { panic!("{sent:?}") };
            let prefix = |flag| [&[flag, 0, 0, 0, 10][..], &[0; 10]].concat();
            assert_eq!((sent.len(), payload), (2, &[prefix(0), prefix(1), prefix(1)].concat()));
        },
    );
}

#[test]
fn rule_13_an_end_within_a_message_is_internal() {
    let whole = message(b"hello");
    for cut in 1..whole.len() {
        server(|bench| {
            let call = bench.open(1, 0);
            let events = bench.feed(data(1, END_STREAM, &whole[..cut]));
            assert_eq!(events, [AtServer::Cancelled(call, Reason::MessageTruncated)]);
            let sent = bench.sent_on(1);
            assert_eq!(sent[0].field("grpc-status"), Some("13"), "{sent:?}");
        });
        client(|bench| {
            bench.ask();
            let answer = [
                headers(1, 0, &response()),
                data(1, 0, &whole[..cut]),
                headers(1, END_STREAM, &trailers("0")),
            ];
            let events = bench.feed(answer.concat());
            assert_eq!(code(&events), Code::Internal);
            assert_eq!(outcome(&events).reason, Some(Reason::MessageTruncated));
            bench.expect_service(3);
        });
        client(|bench| {
            bench.ask();
            let answer = [headers(1, 0, &response()), data(1, END_STREAM, &whole[..cut])];
            assert_eq!(code(&bench.feed(answer.concat())), Code::Internal);
        });
    }
}

#[test]
fn rule_13_an_empty_message_is_valid() {
    client(|bench| {
        let call = bench.open();
        bench.feed(headers(1, 0, &response()));
        assert_eq!(bench.feed(data(1, 0, &message(b""))), [AtClient::Message(call, vec![])]);
    });
}

#[test]
fn rule_28_a_compressed_message_without_an_encoding_is_internal() {
    let compressed = [1, 0, 0, 0, 1, b'x'];
    for more in [&[][..], &[("grpc-encoding", "identity")]] {
        server(|bench| {
            bench.feed(headers(1, 0, &call_with(more)));
            let events = bench.feed(data(1, 0, &compressed));
            assert_eq!(cancelled(&events), &Reason::CompressedWithoutEncoding);
            assert_eq!(bench.sent_on(1)[0].field("grpc-status"), Some("13"));
            bench.expect_service(3);
        });
        client(|bench| {
            bench.open();
            let head = [response(), block(more)].concat();
            let events = bench.feed([headers(1, 0, &head), data(1, 0, &compressed)].concat());
            assert_eq!(outcome(&events).reason, Some(Reason::CompressedWithoutEncoding));
            assert_eq!(code(&events), Code::Internal);
        });
    }
}

#[test]
fn rule_28_a_compressed_message_with_an_encoding_is_handed_up_as_such() {
    server(|bench| {
        bench.feed(headers(1, 0, &call_with(&[("grpc-encoding", "gzip")])));
        let mut input = &data(1, 0, &[1, 0, 0, 0, 1, b'x'])[..];
        let event = bench.conn.poll_event(&mut input, bench.now).unwrap();
        let Some(grpc_proto::server::Event::Message(_, message)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((message.compressed, message.as_bytes()), (true, &b"x"[..]));
    });
}

#[test]
fn rule_29_what_the_server_can_decompress_is_told_with_the_refusal() {
    server(|bench| {
        let events = bench.feed(headers(1, END_STREAM, &call_with(&[("grpc-encoding", "snappy")])));
        let AtServer::Request { call, metadata, .. } = &events[0] else { panic!("{events:?}") };
        let encoding = metadata.fields().iter().find(|field| field.name == b"grpc-encoding");
        assert_eq!(encoding.map(|field| field.value), Some(&b"snappy"[..]));
        let head = ResponseHead { accept_encoding: Some("gzip"), ..ResponseHead::default() };
        bench.conn.respond(*call, &head).unwrap();
        bench.conn.finish(*call, &Code::Unimplemented.into(), &Metadata::new()).unwrap();
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field("grpc-accept-encoding"), Some("gzip"));
        assert_eq!(sent[1].field("grpc-status"), Some("12"));
    });
}

#[test]
fn rule_30_only_what_the_peer_offered_is_chosen() {
    for (offered, accepted) in [
        (&["gzip, deflate,identity"][..], &["gzip", "deflate", "identity"][..]),
        (&["gzipx,xgzip"], &["identity"]),
        (&[""], &["identity"]),
        (&[], &["identity"]),
        // A list may come in several fields (RFC 9110 §5.3).
        (&["deflate", "zstd, gzip"], &["gzip", "deflate", "identity", "zstd"]),
    ] {
        server(|bench| {
            let more: Vec<_> =
                offered.iter().map(|value| ("grpc-accept-encoding", *value)).collect();
            let bytes = headers(1, END_STREAM, &call_with(&more));
            let event = bench.conn.poll_event(&mut &bytes[..], bench.now).unwrap();
            let Some(grpc_proto::server::Event::Request(_, head)) = event else {
                panic!("{event:?}")
            };
            for name in ["gzip", "deflate", "identity", "zstd"] {
                assert_eq!(head.accepts(name), accepted.contains(&name), "{offered:?} {name}");
            }
        });
    }
}

#[test]
fn rule_30_a_message_is_compressed_only_where_the_head_says_how_and_may_opt_out() {
    let misuse = Err(SendError::Misuse(ApiMisuse::CompressedWithoutEncoding));
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        assert_eq!(bench.conn.send_encoded(call, (&b"x"[..]).into(), true), misuse);
        let head = ResponseHead { encoding: Some("gzip"), ..ResponseHead::default() };
        bench.conn.respond(call, &head).unwrap();
        bench.conn.send_encoded(call, (&b"x"[..]).into(), true).unwrap();
        bench.conn.send_encoded(call, (&b"y"[..]).into(), false).unwrap();
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field("grpc-encoding"), Some("gzip"));
        let Sent::Data { payload, .. } = &sent[1] else { panic!("{sent:?}") };
        assert_eq!(payload[..], [1, 0, 0, 0, 1, b'x', 0, 0, 0, 0, 1, b'y']);
    });
    client(|bench| {
        let call = bench.open();
        assert_eq!(bench.conn.send_encoded(call, (&b"x"[..]).into(), true), misuse);
        let mut head = CallHead::new("/a/b", "localhost");
        head.encoding = Some("gzip");
        let call = bench.conn.call(&head, None, bench.now).unwrap();
        bench.conn.send_encoded(call, (&b"x"[..]).into(), true).unwrap();
    });
}

#[test]
fn rule_30_nothing_is_compressed_by_default() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.conn.send_encoded(call, (&b"x"[..]).into(), false).unwrap();
        bench.finish(call);
        assert_eq!(bench.sent_on(1)[0].field("grpc-encoding"), None);
    });
    client(|bench| {
        bench.start();
        assert_eq!(bench.sent()[0].field("grpc-encoding"), None);
    });
}

#[test]
fn a_large_message_that_the_send_budget_had_no_room_for_may_be_tried_when_it_has() {
    let change = |limits: &mut grpc_proto::Limits| {
        limits.send_mark = 1000;
        limits.send_budget = 10_000;
    };
    server_with(change, |bench| {
        let (first, second) = (bench.open(1, END_STREAM), bench.open(3, END_STREAM));
        let body = vec![7; 11_000 - 5];
        bench.conn.send_encoded(first, body.clone().into(), false).unwrap();
        let refused = bench.conn.send_encoded(second, body.clone().into(), false);
        assert_eq!(refused, Err(SendError::Full));
        assert_eq!(bench.feed(b""), []);
        bench.sent();
        assert_eq!(bench.feed(b""), [AtServer::Writable(second)]);
        bench.conn.send_encoded(second, body.into(), false).unwrap();
        assert_eq!(bench.feed(b""), []);
    });
}

#[test]
fn rule_28_a_request_tells_its_encodings_and_a_message_in_pieces_keeps_its_flag() {
    server(|bench| {
        let more = [
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "gzip,br"),
            ("grpc-accept-encoding", "zstd"),
        ];
        let mut input = &headers(1, 0, &call_with(&more))[..];
        let event = bench.conn.poll_event(&mut input, bench.now).unwrap();
        let Some(grpc_proto::server::Event::Request(_, head)) = event else { panic!("{event:?}") };
        assert_eq!(head.encoding(), Some("gzip"));
        assert!(head.accept_encodings().eq(["gzip", "br", "zstd"]));
        assert_eq!(head.metadata.encoding(), Some("gzip"));
        let frames = [data(1, 0, &[1, 0, 0, 0, 2, b'x']), data(1, 0, b"y")].concat();
        let mut input = &frames[..];
        let event = bench.conn.poll_event(&mut input, bench.now).unwrap();
        let Some(grpc_proto::server::Event::Message(_, message)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((message.compressed, message.as_bytes()), (true, &b"xy"[..]));
    });
    server(|bench| {
        let mut input = &headers(1, 0, &call_with(&[("grpc-encoding", "identity")]))[..];
        let event = bench.conn.poll_event(&mut input, bench.now).unwrap();
        let Some(grpc_proto::server::Event::Request(_, head)) = event else { panic!("{event:?}") };
        assert_eq!((head.encoding(), head.accept_encodings().next()), (None, None));
        assert_eq!(head.metadata.encoding(), None);
    });
}

#[test]
fn a_message_counts_with_its_prefix_against_the_mark() {
    for (more, wanted) in [(0, Ok(())), (1, Err(SendError::Full))] {
        server_with(
            |limits| limits.send_mark = 1000,
            |bench| {
                let call = bench.open(1, END_STREAM);
                bench.conn.send(call, &Zeros(495)).unwrap();
                assert_eq!(bench.conn.send(call, &Zeros(495)), Ok(()));
                bench.sent();
                bench.conn.send(call, &Zeros(495)).unwrap();
                assert_eq!(bench.conn.send(call, &Zeros(495 + more)), wanted);
            },
        );
    }
}

#[test]
fn the_part_of_a_message_goes_with_its_call() {
    server_with(
        |limits| limits.pool_bytes = 0,
        |bench| {
            bench.open(1, 0);
            bench.feed(data(1, 0, &message(&[7; 100_000])[..16_384]));
            bench.sent();
            let held = bench.conn.heap_bytes();
            bench.feed(reset(1, 8));
            let left = bench.conn.heap_bytes();
            assert!(left + 16_000 < held, "{held} and then {left}");
        },
    );
}
