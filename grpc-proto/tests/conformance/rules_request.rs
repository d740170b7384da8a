//! Rules 1–10: how a call begins.

use bytes::Bytes;
use grpc_proto::server::ResponseHead;
use grpc_proto::{
    ApiMisuse, CallHead, CallKey, Code, Instant, Metadata, MetadataError, Reason, SendError, Status,
};

use crate::harness::{AtServer, Bench, client, outcome, server, server_with};
use crate::wire::*;

/// Feeds a request and expects an answer in which HTTP and gRPC agree, without the application hearing of it.
#[track_caller]
fn answered(block: Vec<u8>, http: &str, grpc: &str) {
    server(|bench| {
        assert_eq!(bench.feed(headers(1, END_STREAM, &block)), []);
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field(":status"), Some(http), "{sent:?}");
        assert_eq!(sent[0].field("grpc-status"), Some(grpc), "{sent:?}");
        if http == "200" {
            assert_eq!(sent[0].field("content-type"), Some("application/grpc"));
            assert!(matches!(sent[..], [Sent::Headers { end_stream: true, .. }]), "{sent:?}");
        } else {
            assert_eq!(sent[0].field("content-type"), Some("text/plain"));
            let Sent::Data { payload, end_stream: true, .. } = &sent[1] else { panic!("{sent:?}") };
            assert!(payload.len() > 10 && payload.is_ascii(), "a person can read why");
        }
        bench.expect_service(3);
    });
}

/// The head of a request that the application hears of.
#[track_caller]
fn accepted(bench: &mut Bench<grpc_proto::Server>, block: &[u8]) -> AtServer {
    let stream = 1 + 2 * bench.conn.stats().streams_opened as u32;
    let mut events = bench.feed(headers(stream, END_STREAM, block));
    assert!(matches!(events[..], [AtServer::Request { .. }, AtServer::End(_)]), "{events:?}");
    events.remove(0)
}

#[track_caller]
fn metadata(bench: &mut Bench<grpc_proto::Server>, more: &[(&str, &str)]) -> Metadata {
    match accepted(bench, &call_with(more)) {
        AtServer::Request { metadata, .. } => metadata,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rule_1_another_method_than_post_gets_405_and_a_reason() {
    for method in ["GET", "PUT", "post", "OPTIONS", ""] {
        answered(call_but(":method", method), "405", "13");
    }
}

#[test]
fn rule_1_the_answer_to_head_has_no_data_whatever_else_is_wrong() {
    let with_head = |name: &str, value: &str| {
        let fields = [
            (":method", "HEAD"),
            (":scheme", "http"),
            (":path", "/a.B/C"),
            (":authority", "x"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ];
        let mut fields: Vec<_> = fields.into_iter().filter(|field| field.0 != name).collect();
        if !value.is_empty() {
            fields.push((name, value));
        }
        block(&fields)
    };
    let heads = [
        with_head("x", "y"),
        with_head("content-type", ""),
        with_head("content-type", "text/html"),
        with_head("grpc-timeout", "x"),
        with_head("grpc-timeout", "0S"),
        with_head("some-bin", "!"),
    ];
    for head in heads {
        server(|bench| {
            assert_eq!(bench.feed(headers(1, END_STREAM, &head)), []);
            let sent = bench.sent_on(1);
            assert_eq!(sent[0].field(":status"), Some("405"), "{sent:?}");
            assert!(matches!(sent[..], [Sent::Headers { end_stream: true, .. }]), "{sent:?}");
            // Where the request goes on, its rest is stopped, and there is still no DATA.
            assert_eq!(bench.feed(headers(3, 0, &head)), []);
            let sent = bench.sent_on(3);
            assert!(
                matches!(
                    sent[..],
                    [Sent::Headers { end_stream: true, .. }, Sent::Reset { code: NO_ERROR, .. }]
                ),
                "{sent:?}"
            );
            bench.expect_service(5);
        });
    }
}

#[test]
fn rule_1_an_answer_that_is_not_grpc_stops_a_body_that_goes_on() {
    server(|bench| {
        bench.feed([headers(1, 0, &call_but(":method", "PUT")), data(1, 0, &[0; 1000])].concat());
        let sent = bench.sent_on(1);
        assert_eq!(sent.last(), Some(&Sent::Reset { stream: 1, code: NO_ERROR }), "{sent:?}");
        bench.expect_service(3);
    });
}

#[test]
fn rule_2_a_path_without_a_slash_is_unimplemented_before_anybody_hears_of_it() {
    for path in ["test.Echo/Unary", "*", "http://localhost/test.Echo/Unary"] {
        answered(call_but(":path", path), "200", "12");
    }
}

#[test]
fn rule_2_a_path_keeps_its_case() {
    server(|bench| {
        let AtServer::Request { path, .. } = accepted(bench, &call_but(":path", "/A.B/cD")) else {
            panic!("no request")
        };
        assert_eq!(path, "/A.B/cD");
    });
}

#[test]
fn rule_3_a_client_sends_its_fields_in_order() {
    client(|bench| {
        let mut metadata = Metadata::new();
        metadata.append("x-custom", "1").unwrap();
        let mut head = CallHead::new("/a/b", "localhost");
        head.metadata = Some(&metadata);
        head.encoding = Some("gzip");
        head.accept_encoding = Some("gzip,identity");
        bench.conn.call(&head, Some(Instant::from_millis(1500)), bench.now).unwrap();
        let sent = bench.sent();
        let Sent::Headers { fields, .. } = &sent[0] else { panic!("{sent:?}") };
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            fields[..6],
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/a/b"),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("grpc-timeout", "1500000u"),
            ]
        );
        assert_eq!(
            fields[6..9],
            [
                ("content-type", "application/grpc"),
                ("grpc-encoding", "gzip"),
                ("grpc-accept-encoding", "gzip,identity"),
            ]
        );
        assert_eq!((fields[9].0, fields[10]), ("user-agent", ("x-custom", "1")));
    });
}

#[test]
fn rule_4_a_content_type_that_is_not_grpc_gets_415() {
    for bad in [
        "application/json",
        "application/grpc-web",
        "application/grpcx",
        "text/plain",
        "",
        "application/grp",
    ] {
        answered(call_but("content-type", bad), "415", "13");
    }
    answered(call_without("content-type"), "415", "13");
}

#[test]
fn rule_4_content_types_of_grpc_are_accepted() {
    for good in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json",
        "application/grpc;charset=utf-8",
    ] {
        server(|bench| {
            accepted(bench, &call_but("content-type", good));
        });
    }
}

/// A request of a subtype, as a server heard of it, and the call.
#[track_caller]
fn typed(bench: &mut Bench<grpc_proto::Server>, content_type: &str) -> (CallKey, Option<String>) {
    match accepted(bench, &call_but("content-type", content_type)) {
        AtServer::Request { call, subtype, .. } => (call, subtype),
        other => panic!("{other:?}"),
    }
}

const SUBTYPES: &[(&str, Option<&str>)] = &[
    ("application/grpc", None),
    ("application/grpc;charset=utf-8", None),
    ("application/grpc+proto", Some("proto")),
    ("application/grpc+Proto;charset=utf-8", Some("Proto")),
    ("application/grpc+json ; a=b+c;d", Some("json")),
    ("application/grpc+x-1.2_~!#$%&'*^`|", Some("x-1.2_~!#$%&'*^`|")),
    ("application/grpc+a+b", Some("a+b")),
];

#[test]
fn rule_4_a_response_names_the_subtype_of_its_request() {
    for (content_type, subtype) in SUBTYPES {
        server(|bench| {
            let echoed =
                subtype.map_or("application/grpc".into(), |s| format!("application/grpc+{s}"));
            // A message, headers of its own, nothing but a status, and a plain call between them.
            for way in 0..4 {
                let stream = 1 + 2 * bench.conn.stats().streams_opened as u32;
                let (call, seen) = match way {
                    3 => typed(bench, "application/grpc"),
                    _ => typed(bench, content_type),
                };
                let expected = if way == 3 { "application/grpc" } else { &echoed };
                if way < 3 {
                    assert_eq!(seen.as_deref(), *subtype, "{content_type}");
                }
                match way {
                    1 => bench.conn.headers(call, &Metadata::new()).unwrap(),
                    2 => {}
                    _ => bench.conn.send_encoded(call, Bytes::from_static(b"x"), false).unwrap(),
                }
                let status = if way == 2 { Status::new(Code::Aborted, "no") } else { Status::OK };
                bench.conn.finish(call, &status, &Metadata::new()).unwrap();
                let sent = bench.sent_on(stream);
                assert_eq!(sent[0].field("content-type"), Some(expected), "{way}: {sent:?}");
                assert!(sent.last().unwrap().field("grpc-status").is_some(), "{sent:?}");
                assert!(sent[1..].iter().all(|frame| frame.field("content-type").is_none()));
            }
        });
    }
}

#[test]
fn rule_4_an_answer_without_the_application_names_the_subtype_too() {
    server(|bench| {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "no-slash"),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc+json;x"),
        ];
        assert_eq!(bench.feed(headers(1, END_STREAM, &block(&fields))), []);
        let sent = bench.sent_on(1);
        assert_eq!(sent[0].field("content-type"), Some("application/grpc+json"), "{sent:?}");
        assert_eq!(sent[0].field("grpc-status"), Some("12"));
    });
}

#[test]
fn rule_4_a_subtype_that_is_no_token_or_too_long_gets_415() {
    let longest = format!("application/grpc+{}", "a".repeat(64));
    server(|bench| {
        let (_, subtype) = typed(bench, &longest);
        assert_eq!(subtype.map(|text| text.len()), Some(64));
    });
    let longer = format!("{longest}a");
    for bad in [
        "application/grpc+",
        "application/grpc+;charset=utf-8",
        "application/grpc+a b",
        "application/grpc+ a",
        "application/grpc+a/b",
        "application/grpc+a,b",
        "application/grpc+\"a\"",
        "application/grpc+\u{e4}",
        &longer,
    ] {
        answered(call_but("content-type", bad), "415", "13");
    }
}

#[test]
fn rule_4_of_two_content_types_the_last_counts() {
    for (first, last, subtype) in [
        ("application/grpc+a", "application/grpc+b", Some("b")),
        ("application/grpc+a", "application/grpc", None),
        ("application/grpc", "application/grpc+b", Some("b")),
        ("text/plain", "application/grpc+b", Some("b")),
    ] {
        server(|bench| {
            let block =
                [call_but("content-type", first), block(&[("content-type", last)])].concat();
            let AtServer::Request { call, subtype: seen, .. } = accepted(bench, &block) else {
                panic!("no request")
            };
            assert_eq!(seen.as_deref(), subtype);
            bench.conn.finish(call, &Status::new(Code::Aborted, ""), &Metadata::new()).unwrap();
            let echoed =
                subtype.map_or("application/grpc".into(), |s| format!("application/grpc+{s}"));
            assert_eq!(bench.sent_on(1)[0].field("content-type"), Some(&*echoed));
        });
    }
}

#[test]
fn rule_5_several_authorities_or_hosts_are_rejected() {
    for more in [&[("host", "a"), ("host", "b")][..], &[("host", "a"), ("host", "a")]] {
        server(|bench| {
            assert_eq!(bench.feed(headers(1, END_STREAM, &call_with(more))), []);
            bench.expect_reset(1, PROTOCOL_ERROR);
        });
    }
    server(|bench| {
        let fields = [&[(":authority", "again")][..], &CALL].concat();
        assert_eq!(bench.feed(headers(1, END_STREAM, &block(&fields))), []);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn rule_5_the_host_stands_in_for_an_authority_and_is_dropped_beside_one() {
    server(|bench| {
        let block = [call_without(":authority"), literal(0, b"host", b"stand-in")].concat();
        let AtServer::Request { authority, metadata, .. } = accepted(bench, &block) else {
            panic!()
        };
        assert_eq!((authority.as_str(), metadata.value("host")), ("stand-in", None));
        let AtServer::Request { authority, metadata, .. } =
            accepted(bench, &call_with(&[("host", "other")]))
        else {
            panic!()
        };
        assert_eq!((authority.as_str(), metadata.value("host")), ("localhost", None));
    });
}

#[test]
fn rule_5_a_connection_field_is_malformed() {
    server(|bench| {
        assert_eq!(bench.feed(headers(1, END_STREAM, &call_with(&[("connection", "close")]))), []);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn rule_6_a_malformed_timeout_gets_400() {
    for bad in ["", "S", "1", "1s", "1 S", "-1S", "1.5S", "123456789S", "1SS", "x"] {
        answered(call_with(&[("grpc-timeout", bad)]), "400", "13");
    }
}

#[test]
fn rule_6_an_expired_timeout_is_deadline_exceeded() {
    for zero in ["0S", "0n", "00000000H"] {
        answered(call_with(&[("grpc-timeout", zero)]), "200", "4");
    }
}

#[test]
fn rule_6_every_unit_of_a_timeout_counts_from_the_head() {
    for (text, millis) in [
        ("1H", 3_600_000),
        ("2M", 120_000),
        ("3S", 3_000),
        ("4m", 4),
        ("5000u", 5),
        ("6000000n", 6),
    ] {
        server(|bench| {
            bench.set_millis(1000);
            let call = match &bench.feed(headers(1, 0, &call_with(&[("grpc-timeout", text)])))[..] {
                [AtServer::Request { call, .. }] => *call,
                other => panic!("{other:?}"),
            };
            bench.set_millis(1000 + millis - 1);
            assert_eq!(bench.feed(data(1, 0, &message(b"x"))).len(), 1);
            bench.set_millis(1000 + millis);
            assert_eq!(bench.feed(b""), [AtServer::Cancelled(call, Reason::Deadline)]);
            bench.expect_reset(1, CANCEL);
        });
    }
}

#[test]
fn rule_6_no_timeout_is_for_ever() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.set_millis(7_000_000);
        assert_eq!(bench.feed(b""), []);
        bench.finish(call);
        assert_eq!(bench.sent_on(1).len(), 1);
    });
}

#[test]
fn rule_7_reserved_names_stay_below_and_two_reach_the_application() {
    server(|bench| {
        let metadata = metadata(
            bench,
            &[
                ("grpc-previous-rpc-attempts", "1"),
                ("grpc-retry-pushback-ms", "5"),
                ("grpc-anything", "x"),
                ("grpc-encoding", "identity"),
                ("x-mine", "y"),
                ("user-agent", "agent"),
            ],
        );
        let names: Vec<_> =
            metadata.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        assert_eq!(
            names,
            ["grpc-previous-rpc-attempts", "grpc-retry-pushback-ms", "x-mine", "user-agent"]
        );
    });
}

#[test]
fn rule_7_duplicate_keys_keep_their_order_and_any_value_that_http_allows_passes() {
    server(|bench| {
        let metadata = metadata(
            bench,
            &[
                ("x", "1"),
                ("y", "\u{7f}\u{1}ü"),
                ("x", "2"),
                ("x", ""),
                ("z.A".to_lowercase().as_str(), "3"),
            ],
        );
        assert_eq!(metadata.values("x").collect::<Vec<_>>(), [&b"1"[..], b"2", b""]);
        assert_eq!(metadata.value("y"), Some("\u{7f}\u{1}ü".as_bytes()));
        assert_eq!(metadata.value("z.a"), Some(&b"3"[..]));
    });
}

#[test]
fn rule_6_a_deadline_that_never_comes_is_not_told() {
    client(|bench| {
        // More methods than heads are kept, none of which has been sent.
        for method in 0..20 {
            let path = format!("/a.B/{method}");
            let head = CallHead::new(&path, "localhost");
            bench.conn.call(&head, Some(Instant::NEVER), bench.now).unwrap();
        }
        let sent = bench.sent();
        assert_eq!(sent.len(), 20);
        for frame in sent {
            assert_eq!(frame.field("grpc-timeout"), None, "{frame:?}");
        }
    });
}

#[test]
fn rule_7_a_head_that_no_field_can_carry_is_refused() {
    let with = |change: fn(&mut CallHead<'static>)| {
        let mut head = CallHead::new("/a.B/C", "localhost");
        change(&mut head);
        head
    };
    let bad = [
        with(|head| head.path = "/a.B/C\r\nx: y"),
        with(|head| head.path = "/a.B/C "),
        with(|head| head.path = ""),
        with(|head| head.path = "a.B/C"),
        with(|head| head.authority = ""),
        with(|head| head.authority = "local\0host"),
        with(|head| head.user_agent = "me\n"),
        with(|head| head.encoding = Some("gz\x7fip")),
        with(|head| head.accept_encoding = Some("\tgzip")),
    ];
    client(|bench| {
        for head in bad {
            let refused = Err(SendError::Misuse(ApiMisuse::HeadText));
            assert_eq!(bench.conn.call(&head, None, bench.now), refused, "{head:?}");
        }
        assert_eq!(bench.sent(), []);
        bench.conn.call(&with(|_| {}), None, bench.now).unwrap();
        assert_eq!(bench.sent().len(), 1);
    });
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        for head in [
            ResponseHead { encoding: Some("gzip\r\n"), ..ResponseHead::default() },
            ResponseHead { accept_encoding: Some("gzip\0"), ..ResponseHead::default() },
        ] {
            let refused = Err(SendError::Misuse(ApiMisuse::HeadText));
            assert_eq!(bench.conn.respond(call, &head), refused, "{head:?}");
        }
        bench.conn.respond(call, &ResponseHead::default()).unwrap();
    });
}

#[test]
fn rule_7_names_that_are_not_ours_to_give_are_refused() {
    let mut metadata = Metadata::new();
    for (name, error) in [
        ("", MetadataError::InvalidName),
        ("a b", MetadataError::InvalidName),
        (":path", MetadataError::InvalidName),
        ("grpc-status", MetadataError::ReservedName),
        ("grpc-new", MetadataError::ReservedName),
        ("te", MetadataError::ReservedName),
        ("connection", MetadataError::ReservedName),
        ("content-type", MetadataError::ReservedName),
    ] {
        assert_eq!(metadata.append(name, "v"), Err(error), "{name}");
    }
    for value in ["a\nb", " a", "a ", "\0", "a\u{1}b", "a\tb", "\u{7f}", "é"] {
        assert_eq!(metadata.append("x", value), Err(MetadataError::InvalidValue), "{value:?}");
    }
    assert!(metadata.is_empty());
}

#[test]
fn rule_8_binary_values_are_read_padded_or_not_and_split_at_commas() {
    server(|bench| {
        let metadata = metadata(
            bench,
            &[("x-bin", "AQI="), ("x-bin", "AQI"), ("x-bin", "AQ==,AQID,,Ag"), ("x-bin", "")],
        );
        let values: Vec<_> = metadata.bin_values("x-bin").collect();
        let expected: [&[u8]; 7] = [&[1, 2], &[1, 2], &[1], &[1, 2, 3], &[], &[2], &[]];
        assert_eq!(values, expected);
    });
}

#[test]
fn rule_8_an_undecodable_binary_value_fails_its_call_alone() {
    for bad in ["!", "A", "AQ=", "=", "AQ==,!"] {
        answered(call_with(&[("x-bin", bad)]), "200", "13");
        client(|bench| {
            bench.open();
            let head =
                block(&[(":status", "200"), ("content-type", "application/grpc"), ("x-bin", bad)]);
            let events = bench.feed(headers(1, 0, &head));
            assert_eq!(outcome(&events).reason, Some(Reason::BinaryMetadata));
            bench.expect_reset(1, CANCEL);
            bench.expect_service(3);
        });
    }
}

#[test]
fn rule_8_binary_values_are_sent_without_padding() {
    client(|bench| {
        let mut metadata = Metadata::new();
        metadata.append_bin("x-bin", &[1]).unwrap();
        let mut head = CallHead::new("/a/b", "localhost");
        head.metadata = Some(&metadata);
        bench.conn.call(&head, None, bench.now).unwrap();
        assert_eq!(bench.sent()[0].field("x-bin"), Some("AQ"));
    });
}

#[test]
fn rule_9_a_field_list_up_to_the_limit_passes_and_one_byte_more_does_not() {
    let size: usize = CALL.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    let room = 16_384 - size - "x-long".len() - 32;
    server(|bench| {
        let metadata = metadata(bench, &[("x-long", &"v".repeat(room))]);
        assert_eq!(metadata.value("x-long").map(<[u8]>::len), Some(room));
        let block = call_with(&[("x-long", &"v".repeat(room + 1))]);
        assert_eq!(bench.feed(headers(3, END_STREAM, &block)), []);
        bench.expect_reset(3, ENHANCE_YOUR_CALM);
        bench.expect_service(5);
    });
}

#[test]
fn rule_9_the_limit_is_advertised() {
    crate::harness::raw_server(
        |limits| limits.max_header_list_size = 10_000,
        |bench| {
            bench.feed(PREFACE);
            let sent = bench.sent();
            let Sent::Settings(entries) = &sent[0] else { panic!("{sent:?}") };
            assert!(entries.contains(&(6, 10_000)), "{entries:?}");
        },
    );
}

#[test]
fn rule_9_a_reply_whose_list_is_too_large_is_resource_exhausted() {
    crate::harness::client_with(
        |limits| limits.max_header_list_size = 1000,
        |bench| {
            bench.open();
            let head = block(&[(":status", "200"), ("x-long", &"v".repeat(1000))]);
            let events = bench.feed(headers(1, 0, &head));
            assert_eq!(crate::harness::code(&events), grpc_proto::Code::ResourceExhausted);
            bench.expect_reset(1, ENHANCE_YOUR_CALM);
            bench.expect_service(3);
        },
    );
}

#[test]
fn rule_10_a_half_close_travels_with_the_last_data_or_alone() {
    client(|bench| {
        let call = bench.start();
        bench.conn.end(call).unwrap();
        // "Requests" in PROTOCOL-HTTP2: END_STREAM on DATA, an empty frame if there is no message, never on HEADERS.
        let sent = bench.sent();
        assert!(
            matches!(
                &sent[..],
                [
                    Sent::Headers { end_stream: false, .. },
                    Sent::Data { payload, end_stream: true, .. }
                ] if payload.is_empty()
            ),
            "{sent:?}"
        );
        let call = bench.start();
        bench.conn.send_encoded(call, (&b"hello"[..]).into(), false).unwrap();
        bench.conn.end(call).unwrap();
        let sent = bench.sent();
        assert!(matches!(
            sent[..],
            [Sent::Headers { end_stream: false, .. }, Sent::Data { end_stream: true, .. }]
        ));
        let call = bench.open();
        bench.conn.end(call).unwrap();
        let sent = bench.sent();
        assert!(
            matches!(&sent[..], [Sent::Data { payload, end_stream: true, .. }] if payload.is_empty()),
            "{sent:?}"
        );
    });
}

#[test]
fn rule_10_a_server_takes_a_half_close_on_headers_and_on_data() {
    for end_on_headers in [true, false] {
        server(|bench| {
            let flags = if end_on_headers { END_STREAM } else { 0 };
            let call = bench.open(1, flags);
            if !end_on_headers {
                assert!(matches!(bench.feed(data(1, END_STREAM, b""))[..], [AtServer::End(_)]));
            }
            bench.finish(call);
            bench.expect_service(3);
        });
    }
}

#[test]
fn rule_10_a_half_close_without_message_waits_for_no_window() {
    client(|bench| {
        // SETTINGS_INITIAL_WINDOW_SIZE of 0: an empty DATA frame needs no window.
        bench.feed(settings(&[(4, 0)]));
        bench.sent();
        let call = bench.start();
        bench.conn.end(call).unwrap();
        let sent = bench.sent();
        assert!(matches!(&sent[..], [.., Sent::Data { end_stream: true, .. }]), "{sent:?}");
    });
}

#[test]
fn rule_10_messages_after_the_half_close_are_a_misuse() {
    client(|bench| {
        let call = bench.open();
        bench.conn.end(call).unwrap();
        let misuse = grpc_proto::SendError::Misuse(grpc_proto::ApiMisuse::AfterEnd);
        assert_eq!(bench.conn.send_encoded(call, (&b"x"[..]).into(), false), Err(misuse));
        assert_eq!(bench.conn.end(call), Err(misuse));
    });
    server_with(
        |_| {},
        |bench| {
            let call = bench.open(1, END_STREAM);
            bench.conn.headers(call, &Metadata::new()).unwrap();
            let misuse = grpc_proto::SendError::Misuse(grpc_proto::ApiMisuse::HeadersSent);
            assert_eq!(bench.conn.headers(call, &Metadata::new()), Err(misuse));
            bench.conn.finish(call, &Status::OK, &Metadata::new()).unwrap();
            assert_eq!(
                bench.conn.finish(call, &Status::OK, &Metadata::new()),
                Err(grpc_proto::SendError::Ended)
            );
        },
    );
}

/// Heads are kept as templates: whatever two calls differ in, each is sent as it was asked for.
#[test]
fn rule_3_calls_that_differ_in_one_part_of_their_heads_are_sent_each_as_it_is() {
    client(|bench| {
        let plain = CallHead::new("/a.B/C", "host");
        let mut heads = vec![plain; 7];
        heads[1].path = "/a.B/D";
        heads[2].authority = "other";
        heads[3].user_agent = "other";
        heads[4].secure = true;
        heads[5].encoding = Some("gzip");
        heads[6].accept_encoding = Some("gzip");
        // More methods than there are templates, twice over, and back again.
        let paths: Vec<_> = (0..20).map(|n| format!("/a.B/Method{n}")).collect();
        heads.extend(paths.iter().map(|path| CallHead::new(path, "host")));
        heads.extend(heads.clone().iter().rev().copied().collect::<Vec<_>>());
        // Half of them leave one by one, the others wait for the peer's limit together.
        for batch in [1, 9] {
            for calls in heads.chunks(batch) {
                bench.feed(settings(&[(3, 0)]));
                bench.sent();
                for head in calls {
                    bench.conn.call(head, None, bench.now).unwrap();
                }
                bench.feed(settings(&[(3, 100)]));
                let sent: Vec<_> =
                    bench.sent().into_iter().filter(|frame| frame.stream() > 0).collect();
                assert_eq!(sent.len(), calls.len());
                for (frame, head) in sent.iter().zip(calls) {
                    assert_eq!(frame.field(":path"), Some(head.path));
                    assert_eq!(frame.field(":authority"), Some(head.authority));
                    assert_eq!(
                        frame.field(":scheme"),
                        Some(if head.secure { "https" } else { "http" })
                    );
                    assert_eq!(frame.field("user-agent"), Some(head.user_agent));
                    assert_eq!(frame.field("grpc-encoding"), head.encoding);
                    assert_eq!(frame.field("grpc-accept-encoding"), head.accept_encoding);
                    bench.feed(headers(frame.stream(), END_STREAM, &trailers_only("0")));
                }
                bench.sent();
            }
        }
    });
}
