//! RFC 7541 §2–§6 as a connection sees it.

use grpc_proto::hpack::DecodeError;
use grpc_proto::{ConnectionError, Metadata, Status};

use crate::harness::{AtServer, client, raw_server, server, server_with};
use crate::wire::{self, *};

#[track_caller]
fn refused(block: &[u8], error: DecodeError) {
    server(|bench| {
        assert_eq!(bench.feed(headers(1, END_STREAM, block)), []);
        assert_eq!(bench.error, Some(ConnectionError::Compression(error)));
        bench.expect_goaway(COMPRESSION_ERROR);
    });
    client(|bench| {
        bench.open();
        bench.feed(headers(1, END_STREAM, block));
        assert_eq!(bench.error, Some(ConnectionError::Compression(error)));
        bench.expect_goaway(COMPRESSION_ERROR);
    });
}

/// The value that a server sees of the last field of a block that begins with an ordinary call.
#[track_caller]
fn value(field: &[u8], name: &str) -> Vec<u8> {
    let seen = std::cell::RefCell::new(Vec::new());
    server(|bench| {
        let events = bench.feed(headers(1, END_STREAM, &[wire::call(), field.to_vec()].concat()));
        let [AtServer::Request { metadata, .. }, _] = &events[..] else {
            panic!("{events:?} {:?}", bench.error)
        };
        *seen.borrow_mut() = metadata.value(name).expect("the field").to_vec();
    });
    seen.into_inner()
}

#[test]
fn section_2_3_indices_start_at_one_and_end_with_the_dynamic_table() {
    refused(&[0x80], DecodeError::IndexOfZero);
    refused(&[0x80 | 62], DecodeError::IndexBeyondTable);
    refused(&[0x40 | 62, 0], DecodeError::IndexBeyondTable);
    server(|bench| {
        let block =
            [wire::call(), literal(0x40, b"x-a", b"1"), vec![0x80 | 62, 0x80 | 63]].concat();
        bench.feed(headers(1, END_STREAM, &block));
        assert_eq!(bench.error, Some(ConnectionError::Compression(DecodeError::IndexBeyondTable)));
    });
}

#[test]
fn section_4_2_a_size_update_stands_at_the_start_of_a_block_only() {
    refused(&[&wire::call()[..], &[0x20]].concat(), DecodeError::SizeUpdateAfterField);
    server(|bench| {
        let call = [&[0x20, 0x3f, 0xe1, 0x1f][..], &wire::call()].concat();
        assert_eq!(bench.feed(headers(1, END_STREAM, &call)).len(), 2);
        bench.expect_open();
    });
    refused(&[0x20, 0x20, 0x20], DecodeError::SizeUpdateRepeated);
}

#[test]
fn section_4_2_a_reduced_table_is_obeyed_by_our_next_block() {
    for size in [0u32, 100, 4095] {
        server(|bench| {
            // Warm: the response's head is in the table by now.
            for stream in [1, 3, 5] {
                bench.expect_service(stream);
            }
            bench.feed(settings(&[(1, size)]));
            bench.sent();
            // The reader on the other side insists on a size update, and then resolves what it can.
            let call = bench.open(7, END_STREAM);
            bench.finish(call);
            let sent = bench.sent_on(7);
            assert_eq!(sent[0].field("grpc-status"), Some("0"));
            bench.feed(settings(&[(1, 4096)]));
            bench.expect_service(9);
        });
    }
}

#[test]
fn section_4_2_a_table_made_small_and_large_again_is_empty() {
    client(|bench| {
        for stream in [1, 3, 5] {
            bench.expect_service(stream);
        }
        bench.feed(settings(&[(1, 0), (1, 4096)]));
        bench.sent();
        // Were old entries still referred to, the reader could resolve them, so look at the bytes.
        bench.start();
        let mut out = grpc_proto::Transmit::new();
        bench.conn.poll_transmit(&mut out, bench.now);
        let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
        assert_eq!(bytes[9], 0x20, "the smallest size comes first: {bytes:x?}");
        assert_eq!(bytes[10..13], [0x3f, 0xe1, 0x1f], "then the last: {bytes:x?}");
    });
}

#[test]
fn section_4_3_a_peer_that_does_not_obey_a_reduced_table_is_refused() {
    server_with(
        |limits| limits.header_table_size = 100,
        |bench| {
            // The acknowledgement has come, so the next block must start with a size update.
            bench.feed(headers(1, END_STREAM, &wire::call()));
            assert_eq!(
                bench.error,
                Some(ConnectionError::Compression(DecodeError::SizeUpdateMissing))
            );
        },
    );
    server_with(
        |limits| limits.header_table_size = 100,
        |bench| {
            let block = [&[0x3f, 100 - 31][..], &wire::call()].concat();
            assert_eq!(bench.feed(headers(1, END_STREAM, &block)).len(), 2);
            bench.expect_open();
        },
    );
}

#[test]
fn section_4_3_a_reduced_table_binds_the_peer_only_once_it_has_acknowledged_it() {
    raw_server(
        |limits| limits.header_table_size = 0,
        |bench| {
            bench.feed([PREFACE, &settings(&[])].concat());
            let block = [wire::call(), literal(0x40, b"x-entry", b"kept")].concat();
            assert_eq!(bench.feed(headers(1, END_STREAM, &block)).len(), 2);
            let events =
                bench.feed(headers(3, END_STREAM, &[wire::call(), vec![0x80 | 62]].concat()));
            let [AtServer::Request { metadata, .. }, _] = &events[..] else { panic!("{events:?}") };
            assert_eq!(metadata.value("x-entry"), Some(&b"kept"[..]));
        },
    );
}

#[test]
fn section_5_1_integers_are_bounded() {
    // An index that ends in 32 bits, and one that does not.
    refused(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x0f], DecodeError::IndexBeyondTable);
    refused(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x10], DecodeError::IntegerOverflow);
    refused(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], DecodeError::IntegerOverflow);
    refused(&[0xff, 0x80], DecodeError::Truncated);
}

#[test]
fn section_5_2_strings_may_be_huffman_coded_in_either_part() {
    // "www.example.com" of RFC 7541 C.4.1.
    let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    let field = [&[0x00, 3][..], b"x-a", &[0x8c], &coded].concat();
    assert_eq!(value(&field, "x-a"), b"www.example.com");
    let field = [&[0x00, 0x8c][..], &coded, &[1, b'v']].concat();
    assert_eq!(value(&field, "www.example.com"), b"v");
}

#[test]
fn section_5_2_bad_huffman_codes_are_refused() {
    let coded = |bytes: &[u8]| [&[0x00, 1, b'x', 0x80 | bytes.len() as u8][..], bytes].concat();
    refused(&coded(&[0xff, 0xff, 0xff, 0xff]), DecodeError::HuffmanEndOfString);
    refused(&coded(&[0b0001_1000]), DecodeError::HuffmanPaddingNotOnes);
    refused(&coded(&[0b0001_1111, 0xff]), DecodeError::HuffmanPaddingTooLong);
}

#[test]
fn section_5_2_a_string_beyond_its_block_is_refused() {
    refused(&[0x00, 0x7f, 0x80, 0x80, 0x80, 0x08], DecodeError::Truncated);
    refused(&[0x00, 5, b'x'], DecodeError::Truncated);
    refused(&[0x00], DecodeError::Truncated);
}

#[test]
fn section_6_2_every_literal_representation_is_read() {
    for first in [0x40, 0x00, 0x10] {
        assert_eq!(value(&literal(first, b"x-a", b"value"), "x-a"), b"value");
    }
    // With the name of the static table: `accept-charset`, 15, is the first that takes a second octet.
    assert_eq!(value(&[0x0f, 0, 1, b'v'], "accept-charset"), b"v");
    assert_eq!(value(&[0x1f, 0, 1, b'v'], "accept-charset"), b"v");
    assert_eq!(value(&[0x4f, 1, b'v'], "accept-charset"), b"v");
}

#[test]
fn section_6_3_a_size_update_beyond_the_advertised_size_is_refused() {
    refused(&[0x3f, 0xe2, 0x1f], DecodeError::SizeUpdateBeyondLimit);
}

#[test]
fn section_7_1_credentials_are_never_indexed() {
    client(|bench| {
        let mut metadata = Metadata::new();
        metadata.append("authorization", "Bearer secret").unwrap();
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let mut head = grpc_proto::CallHead::new("/a/b", "localhost");
            head.metadata = Some(&metadata);
            bench.conn.call(&head, None, bench.now).unwrap();
            let mut out = grpc_proto::Transmit::new();
            bench.conn.poll_transmit(&mut out, bench.now);
            sizes.push(out.len());
        }
        assert!(sizes[3] > 9 + 10, "the value travels each time: {sizes:?}");
    });
}

#[test]
fn the_same_head_may_come_in_any_representation() {
    server(|bench| {
        // First by literals that enter the table, then by references to them, then many times over.
        let fields: Vec<u8> =
            CALL.iter().flat_map(|(n, v)| literal(0x40, n.as_bytes(), v.as_bytes())).collect();
        let references: Vec<u8> = (62..68).rev().map(|index| 0x80 | index).collect();
        let mut heads = Vec::new();
        for (n, block) in
            [&fields, &references, &references, &references, &wire::call()].iter().enumerate()
        {
            let stream = 2 * n as u32 + 1;
            let events = bench.feed(headers(stream, END_STREAM, block));
            let [AtServer::Request { call, path, authority, metadata, .. }, _] = &events[..] else {
                panic!("{events:?}")
            };
            heads.push((path.clone(), authority.clone(), format!("{:?}", metadata.fields())));
            bench.conn.finish(*call, &Status::OK, &Metadata::new()).unwrap();
            bench.sent();
        }
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{heads:?}");
    });
}

#[test]
fn a_long_head_may_be_sent_again_and_again() {
    client(|bench| {
        let path = format!("/{}/Method", "Long".repeat(1200));
        for stream in [1, 3, 5] {
            let head = grpc_proto::CallHead::new(&path, "localhost");
            bench.conn.call(&head, None, bench.now).unwrap();
            assert_eq!(bench.sent_on(stream)[0].field(":path"), Some(&path[..]));
        }
    });
}
