//! RFC 9113 §8: HTTP messages.

use grpc_proto::{Code, Reason, Violation};

use crate::harness::{AtClient, AtServer, cancelled, client, code, server};
use crate::wire::{self, *};

/// Feeds a request's block and expects the stream to be reset as malformed, before anybody hears of it.
#[track_caller]
fn malformed(block: Vec<u8>, flags: u8) {
    server(|bench| {
        assert_eq!(bench.feed(headers(1, flags, &block)), []);
        bench.expect_reset(1, PROTOCOL_ERROR);
        bench.expect_service(3);
    });
}

#[test]
fn a_field_name_with_an_upper_case_letter_is_malformed() {
    malformed(call_with(&[("X-Upper", "1")]), END_STREAM);
    malformed(call_with(&[("x-uppeR", "1")]), END_STREAM);
}

#[test]
fn a_field_name_that_is_no_token_is_malformed() {
    for name in ["", "a b", "a:b", "a\0", "a\x7f", "ä", "(a)"] {
        malformed(call_with(&[(name, "1")]), END_STREAM);
    }
}

#[test]
fn a_field_value_with_a_forbidden_byte_is_malformed() {
    for value in ["a\0b", "a\rb", "a\nb", " a", "a ", "\ta", "a\t", "\n"] {
        malformed(call_with(&[("x-value", value)]), END_STREAM);
    }
}

#[test]
fn connection_specific_fields_are_malformed() {
    for name in ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"] {
        malformed(call_with(&[(name, "x")]), END_STREAM);
    }
}

#[test]
fn te_is_trailers_or_absent() {
    malformed(call_but("te", "gzip"), END_STREAM);
    malformed(call_but("te", "trailers, gzip"), END_STREAM);
    server(|bench| {
        assert_eq!(bench.feed(headers(1, END_STREAM, &call_without("te"))).len(), 2);
    });
}

#[test]
fn pseudo_header_fields_come_first() {
    let mut fields = CALL.to_vec();
    fields.swap(3, 4);
    malformed(block(&fields), END_STREAM);
}

#[test]
fn pseudo_header_fields_come_once() {
    for field in &CALL[..4] {
        let mut fields = CALL.to_vec();
        fields.insert(4, *field);
        malformed(block(&fields), END_STREAM);
    }
}

#[test]
fn pseudo_header_fields_that_do_not_belong_are_malformed() {
    for name in [":status", ":protocol", ":unknown", ":", ":Path"] {
        let mut fields = CALL.to_vec();
        fields.insert(0, (name, "200"));
        malformed(block(&fields), END_STREAM);
    }
}

#[test]
fn a_request_needs_its_pseudo_header_fields() {
    for name in [":method", ":scheme", ":path"] {
        malformed(call_without(name), END_STREAM);
    }
    malformed(call_but(":path", ""), END_STREAM);
    malformed(call_but(":scheme", ""), END_STREAM);
}

#[test]
fn trailers_have_no_pseudo_header_fields_and_end_the_stream() {
    server(|bench| {
        let call = bench.open(1, 0);
        let events = bench.feed(headers(1, END_STREAM, &block(&[(":path", "/")])));
        let reason = Reason::PeerMisbehaved(Violation::PseudoFieldInTrailers);
        assert_eq!(events, [AtServer::Cancelled(call, reason)]);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
    server(|bench| {
        bench.open(1, 0);
        let events = bench.feed(headers(1, 0, &block(&[("x-trailer", "1")])));
        assert_eq!(cancelled(&events), &Reason::PeerMisbehaved(Violation::HeadersWithoutEnd));
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn trailers_of_a_request_end_it() {
    server(|bench| {
        let call = bench.open(1, 0);
        let events = bench.feed(headers(1, END_STREAM, &block(&[("x-trailer", "1")])));
        assert_eq!(events, [AtServer::End(call)]);
    });
}

#[test]
fn content_length_agrees_with_the_data() {
    let with = |length: &str| headers(1, 0, &call_with(&[("content-length", length)]));
    let body = message(b"hello");
    server(|bench| {
        let events = bench.feed([with("10"), data(1, END_STREAM, &body)].concat());
        assert_eq!(events.len(), 3);
        bench.expect_open();
    });
    for (length, flags) in [("9", END_STREAM), ("9", 0), ("11", END_STREAM)] {
        server(|bench| {
            let events = bench.feed([with(length), data(1, flags, &body)].concat());
            assert_eq!(
                cancelled(&events),
                &Reason::PeerMisbehaved(Violation::ContentLength),
                "{length}"
            );
            bench.expect_reset(1, PROTOCOL_ERROR);
            bench.expect_service(3);
        });
    }
    server(|bench| {
        let trailers = headers(1, END_STREAM, &block(&[("x-trailer", "1")]));
        let events = bench.feed([with("11"), data(1, 0, &body), trailers].concat());
        assert_eq!(cancelled(&events), &Reason::PeerMisbehaved(Violation::ContentLength));
    });
    malformed(call_with(&[("content-length", "1")]), END_STREAM);
    for bad in ["", "-1", "+1", "0x1", "1 1", "99999999999999999999"] {
        malformed(call_with(&[("content-length", bad)]), END_STREAM);
    }
    malformed(call_with(&[("content-length", "1"), ("content-length", "2")]), END_STREAM);
}

#[test]
fn several_authorities_are_malformed() {
    malformed(call_with(&[("host", "a"), ("host", "a")]), END_STREAM);
}

#[test]
fn connect_has_no_scheme_and_no_path() {
    malformed(call_but(":method", "CONNECT"), END_STREAM);
}

#[test]
fn a_response_starts_with_headers() {
    client(|bench| {
        bench.open();
        let events = bench.feed(data(1, 0, b"x"));
        assert_eq!(code(&events), Code::Internal);
        bench.expect_reset(1, PROTOCOL_ERROR);
        bench.expect_service(3);
    });
}

#[test]
fn a_malformed_response_is_an_internal_error() {
    for fields in [
        &[("content-type", "application/grpc")][..],
        &[(":status", "2000")],
        &[(":status", "20")],
        &[(":status", "abc")],
        &[(":status", "099")],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[("content-type", "application/grpc"), (":status", "200")],
        &[(":status", "200"), ("Content-Type", "application/grpc")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("x", "a\nb")],
    ] {
        client(|bench| {
            bench.open();
            let events = bench.feed(headers(1, 0, &block(fields)));
            assert_eq!(code(&events), Code::Internal, "{fields:?}");
            bench.expect_reset(1, PROTOCOL_ERROR);
            bench.expect_service(3);
        });
    }
}

#[test]
fn a_response_whose_content_length_disagrees_is_an_internal_error() {
    client(|bench| {
        bench.open();
        let head = block(&[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("content-length", "9"),
        ]);
        let events = bench.feed([headers(1, 0, &head), data(1, 0, &message(b"hello"))].concat());
        assert_eq!(code(&events), Code::Internal);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn informational_responses_are_skipped() {
    client(|bench| {
        let call = bench.open();
        let early = headers(1, 0, &block(&[(":status", "103"), ("link", "</a>")]));
        assert_eq!(bench.feed([early.clone(), early].concat()), []);
        let events = bench.feed(headers(1, 0, &response()));
        assert!(matches!(&events[..], [AtClient::Headers(key, _)] if *key == call));
    });
}

#[test]
fn an_informational_response_that_ends_the_stream_is_an_error() {
    client(|bench| {
        bench.open();
        let events = bench.feed(headers(1, END_STREAM, &block(&[(":status", "100")])));
        assert_eq!(code(&events), Code::Internal);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn data_after_an_informational_response_is_an_error() {
    client(|bench| {
        bench.open();
        let early = headers(1, 0, &block(&[(":status", "100")]));
        let events = bench.feed([early, data(1, 0, b"x")].concat());
        assert_eq!(code(&events), Code::Internal);
        bench.expect_reset(1, PROTOCOL_ERROR);
    });
}

#[test]
fn a_malformed_block_keeps_the_tables_in_step() {
    server(|bench| {
        let block = [call_with(&[("X-Upper", "1")]), literal(0x40, b"x-entry", b"kept")].concat();
        assert_eq!(bench.feed(headers(1, END_STREAM, &block)), []);
        bench.expect_reset(1, PROTOCOL_ERROR);
        let block = [wire::call(), vec![0x80 | 62]].concat();
        let events = bench.feed(headers(3, END_STREAM, &block));
        let [AtServer::Request { metadata, .. }, _] = &events[..] else { panic!("{events:?}") };
        assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
    });
}

#[test]
fn content_length_counts_down_over_frames() {
    let with = |length: &str| headers(1, 0, &call_with(&[("content-length", length)]));
    let body = message(b"hello");
    for (length, agrees) in
        [("10", true), ("9", false), ("11", false), ("9999999999999999999", false)]
    {
        server(|bench| {
            let frames = [data(1, 0, &body[..4]), data(1, 0, b""), data(1, END_STREAM, &body[4..])];
            let events = bench.feed([with(length), frames.concat()].concat());
            if agrees {
                assert_eq!(events.len(), 3);
            } else {
                let reason = Reason::PeerMisbehaved(Violation::ContentLength);
                assert_eq!(cancelled(&events), &reason, "{length}");
            }
            bench.expect_open();
        });
    }
}
