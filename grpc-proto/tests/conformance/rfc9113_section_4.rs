//! RFC 9113 §4: frames.

use grpc_proto::{ConnectionError, Violation};

use crate::harness::{client, server, server_with};
use crate::wire::{self, *};

#[test]
fn unknown_frame_types_are_ignored_wherever_they_stand() {
    server(|bench| {
        for stream in [0, 1, 2, 0x7fff_ffff] {
            bench.feed(frame(0xbe, 0xff, stream, &[1, 2, 3]));
            bench.feed(frame(0x10, 0, stream, &[0; 16_384]));
        }
        bench.expect_service(1);
    });
    client(|bench| {
        bench.feed(frame(0xbe, 0xff, 0, &[1, 2, 3]));
        bench.expect_service(1);
    });
}

#[test]
fn unknown_flags_are_ignored() {
    server(|bench| {
        bench.feed(frame(PING, 0xfe, 0, &[3; 8]));
        assert_eq!(bench.sent(), [Sent::PingAck([3; 8])]);
        bench.feed(frame(SETTINGS, 0xfe, 0, &[]));
        assert_eq!(bench.sent(), [Sent::SettingsAck]);
        let call = bench.open(1, 0x02 | 0x10 | 0x40 | 0x80 | END_STREAM);
        bench.finish(call);
        assert_eq!(bench.sent_on(1).len(), 1);
        bench.feed(frame(WINDOW_UPDATE, 0xff, 0, &1u32.to_be_bytes()));
        bench.expect_service(3);
    });
}

#[test]
fn the_reserved_bit_is_ignored() {
    server(|bench| {
        bench.feed(frame(PING, 0, 0x8000_0000, &[5; 8]));
        assert_eq!(bench.sent(), [Sent::PingAck([5; 8])]);
        bench.feed(frame(WINDOW_UPDATE, 0, 0x8000_0000, &0x8000_0001u32.to_be_bytes()));
        bench.expect_service(1);
    });
}

#[test]
fn a_frame_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    server(|bench| {
        bench.open(1, 0);
        let payload = message(&[7; 16_384 - 5]);
        assert_eq!(bench.feed(data(1, 0, &payload)).len(), 1);
        bench.feed(data(1, 0, &[0; 16_385]));
        bench.expect_violation(Violation::FrameTooLarge);
    });
    for kind in [HEADERS, SETTINGS, PING, GOAWAY, 0xbe] {
        server(|bench| {
            bench.feed(frame_with_len(16_385, kind, 0, u32::from(kind == HEADERS), &[]));
            bench.expect_violation(Violation::FrameTooLarge);
        });
        client(|bench| {
            bench.feed(frame_with_len(16_385, kind, 0, u32::from(kind == HEADERS), &[]));
            bench.expect_violation(Violation::FrameTooLarge);
        });
    }
}

#[test]
fn a_larger_frame_size_is_advertised_and_accepted() {
    server_with(
        |limits| limits.max_frame_size = 20_000,
        |bench| {
            bench.open(1, 0);
            assert_eq!(bench.feed(data(1, 0, &message(&[7; 20_000 - 5]))).len(), 1);
            bench.feed(frame_with_len(20_001, DATA, 0, 1, &[]));
            bench.expect_violation(Violation::FrameTooLarge);
        },
    );
}

#[test]
fn a_block_that_does_not_decode_ends_the_connection() {
    for block in
        [&[0x80][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x40, 0x7f], &[0x3f, 0xe2, 0x1f]]
    {
        server(|bench| {
            bench.feed(headers(1, 0, block));
            assert!(
                matches!(bench.error, Some(ConnectionError::Compression(_))),
                "{:?}",
                bench.error
            );
            bench.expect_goaway(COMPRESSION_ERROR);
        });
        client(|bench| {
            bench.open();
            bench.feed(headers(1, 0, block));
            assert!(
                matches!(bench.error, Some(ConnectionError::Compression(_))),
                "{:?}",
                bench.error
            );
            bench.expect_goaway(COMPRESSION_ERROR);
        });
    }
}

#[test]
fn the_reason_of_a_compression_error_names_the_rule() {
    server(|bench| {
        bench.feed(headers(1, 0, &[0x80]));
        let Some(Sent::GoAway { debug, .. }) = bench.sent().pop() else { panic!("no GOAWAY") };
        assert!(debug.contains("index zero") && debug.contains("7541"), "{debug}");
    });
}

#[test]
fn a_block_in_many_frames_is_one_block() {
    let block = wire::call();
    for pieces in [2, 3, 8] {
        server(|bench| {
            let size = block.len().div_ceil(pieces);
            let mut bytes = Vec::new();
            for (n, fragment) in block.chunks(size).enumerate() {
                let flags = if (n + 1) * size >= block.len() { END_HEADERS } else { 0 };
                let (kind, end) = if n == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
                bytes.extend(frame(kind, flags | end, 1, fragment));
            }
            let events = bench.feed(bytes);
            assert_eq!(events.len(), 2, "{events:?}");
            bench.expect_service(3);
        });
    }
}

#[test]
fn nothing_may_stand_within_a_block() {
    let call = wire::call();
    let (front, back) = call.split_at(10);
    let intruders = [
        ping([0; 8]),
        data(1, 0, b"x"),
        frame(0xbe, 0, 0, b""),
        headers(3, 0, &call),
        frame(CONTINUATION, END_HEADERS, 3, back),
        settings(&[]),
        window_update(0, 1),
    ];
    for intruder in &intruders {
        server(|bench| {
            bench.feed([frame(HEADERS, 0, 1, front), intruder.clone()].concat());
            bench.expect_violation(Violation::ContinuationExpected);
        });
    }
    client(|bench| {
        bench.open();
        bench.feed([frame(HEADERS, 0, 1, &response()[..3]), ping([0; 8])].concat());
        bench.expect_violation(Violation::ContinuationExpected);
    });
}
