//! Field blocks that are too many, too long or too cheap to send (CVE-2024-27316, CVE-2016-6581, CVE-2019-9516,
//! CVE-2023-33953).

use std::time::Instant;

use grpc_proto::hpack::DecodeError;
use grpc_proto::{CallHead, Config, Connection, ConnectionError, Metadata, Transmit, Violation};

use crate::victim::Victim;
use crate::wire::{self, *};

#[test]
fn continuation_frames_are_counted_empty_ones_too() {
    let block = wire::call();
    for fragment in [&block[..], b""] {
        let mut victim = Victim::new(|_| {});
        let open = |stream, count| {
            let mut bytes = frame(HEADERS, END_STREAM, stream, &block);
            bytes.extend(frame(CONTINUATION, 0, stream, b"").repeat(count));
            bytes
        };
        let last = frame(CONTINUATION, END_HEADERS, 1, b"");
        victim.feed(&[open(1, 7), last].concat());
        assert_eq!(victim.ended, 1, "eight pass");
        victim.expect_service(3);
        let mut bytes = open(5, 8);
        bytes.extend(frame(CONTINUATION, 0, 5, fragment));
        victim.feed(&bytes);
        victim.expect_calm(Violation::TooManyContinuations);
    }
}

/// A user who raises only the limit of lists gets lists of that length, in as many frames as they take.
#[test]
fn a_long_list_may_take_as_many_continuations_as_it_has_to() {
    let mut victim = Victim::new(|limits| limits.max_header_list_size = 1 << 20);
    let block = [wire::call(), literal(0, b"x-long", &vec![b'v'; 900_000])].concat();
    let in_frames = |stream| {
        let mut frames = block.chunks(16_384).peekable();
        let mut bytes = frame(HEADERS, END_STREAM, stream, frames.next().unwrap());
        while let Some(part) = frames.next() {
            let flags = if frames.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, flags, stream, part));
        }
        bytes
    };
    victim.feed(&in_frames(1));
    assert_eq!(victim.ended, 1);
    // 65 frames of the largest size, and a quarter more.
    victim.feed(&frame(HEADERS, END_STREAM, 3, &block[..100]));
    victim.feed(&frame(CONTINUATION, 0, 3, b"").repeat(81));
    victim.expect_open();
    victim.feed(&frame(CONTINUATION, 0, 3, b""));
    victim.expect_calm(Violation::TooManyContinuations);
}

#[test]
fn a_block_that_cannot_be_within_its_limit_is_not_gathered() {
    let mut victim = Victim::new(|limits| limits.max_continuations = 1000);
    victim.feed(&frame(HEADERS, 0, 1, &[0; 16_384]));
    victim.feed(&frame(CONTINUATION, 0, 1, &[0; 16_384]).repeat(2));
    victim.expect_open();
    victim.feed(&frame(CONTINUATION, 0, 1, &[0; 1]));
    victim.expect_calm(Violation::FieldBlockTooLong);
    assert!(victim.memory() < 200_000, "{}", victim.memory());
}

#[test]
fn an_hpack_bomb_ends_at_the_list_limit() {
    let mut victim = Victim::new(|_| {});
    let entry = literal(0x40, b"x", &[b'v'; 3900]);
    // One entry, and as many one-byte references as fit below the limit: four, beside the call itself.
    let bomb =
        |references: usize| [wire::call(), entry.clone(), vec![0x80 | 62; references]].concat();
    victim.feed(&headers(1, END_STREAM, &bomb(2)));
    assert_eq!(victim.ended, 1);
    let before = victim.memory();
    victim.feed(&headers(3, END_STREAM, &bomb(10_000)));
    victim.pull();
    assert_eq!((victim.ended, victim.resets_sent), (1, 1));
    assert!(victim.memory() - before < 64 << 10, "{} bytes", victim.memory() - before);
    victim.expect_service(5);
}

#[test]
fn an_http2_bomb_of_tiny_fields_ends_at_the_field_limit() {
    let mut victim = Victim::new(|_| {});
    let with = |count: usize| [wire::call(), literal(0, b"a", b"").repeat(count)].concat();
    victim.feed(&headers(1, END_STREAM, &with(128 - CALL.len())));
    assert_eq!(victim.ended, 1);
    victim.feed(&headers(3, END_STREAM, &with(129 - CALL.len())));
    victim.pull();
    assert_eq!((victim.ended, victim.resets_sent), (1, 1));
    let before = victim.memory();
    for n in 0..500u32 {
        victim.feed(&headers(5 + 2 * n, END_STREAM, &with(3500)));
    }
    assert!(victim.memory() - before < 64 << 10, "{} bytes", victim.memory() - before);
    victim.expect_service(2001);
}

#[test]
fn empty_names_are_malformed_and_leave_nothing() {
    let mut victim = Victim::new(|_| {});
    let block = [wire::call(), literal(0, b"", b"").repeat(50)].concat();
    victim.feed(&headers(1, END_STREAM, &block));
    victim.pull();
    let before = victim.memory();
    for n in 1..900u32 {
        victim.feed(&headers(1 + 2 * n, END_STREAM, &block));
    }
    victim.pull();
    assert_eq!((victim.ended, victim.resets_sent), (0, 900));
    assert!(victim.memory() <= before + 4096);
    victim.expect_service(2001);
}

#[test]
fn an_oversize_block_leaves_the_tables_equal() {
    let mut victim = Victim::new(|_| {});
    let block =
        [&wire::call()[..], &literal(0, b"x", &[b'v'; 16_300]), &literal(0x40, b"x-path", b"kept")];
    victim.feed(&frame(HEADERS, END_STREAM, 1, &block.concat()[..16_300]));
    victim.feed(&frame(CONTINUATION, END_HEADERS, 1, &block.concat()[16_300..]));
    victim.pull();
    assert_eq!(victim.resets_sent, 1);
    victim.feed(&headers(3, END_STREAM, &[wire::call(), vec![0x80 | 62]].concat()));
    assert_eq!(victim.ended, 1, "the entry of the refused block resolves");
    victim.expect_service(5);
}

#[test]
fn a_string_of_four_gigabytes_is_refused_by_its_length() {
    for length in [&[0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f][..], &[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f]]
    {
        let mut victim = Victim::new(|_| {});
        victim.expect_service(1);
        let before = victim.memory();
        victim.feed(&headers(3, 0, &[&[0x00][..], length].concat()));
        assert_eq!(victim.error, Some(ConnectionError::Compression(DecodeError::Truncated)));
        assert!(victim.memory() - before < 4096);
    }
}

#[test]
fn an_integer_without_end_is_refused() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &[&[0xff][..], &[0x80; 5000]].concat()));
    assert_eq!(victim.error, Some(ConnectionError::Compression(DecodeError::IntegerOverflow)));
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &[0x3f; 5000]));
    assert!(matches!(victim.error, Some(ConnectionError::Compression(_))));
}

#[test]
fn the_work_of_a_block_is_linear_in_its_bytes() {
    // Blocks that insert, evict and refer as much as they can: twice the bytes may not cost four times.
    let time = |pieces: usize| {
        let mut best = u128::MAX;
        for _ in 0..5 {
            let mut victim = Victim::new(|_| {});
            let block: Vec<u8> =
                [literal(0x40, b"x", b""), vec![0x80 | 62; 40], vec![0x20 | 0x40, 0x00, 0x00]]
                    .concat();
            let frames: Vec<Vec<u8>> = (0..pieces as u32)
                .map(|n| {
                    headers(2 * n + 1, END_STREAM, &[wire::call(), block.repeat(100)].concat())
                })
                .collect();
            let start = Instant::now();
            for frame in &frames {
                victim.feed(frame);
            }
            best = best.min(start.elapsed().as_nanos());
        }
        best
    };
    let (one, eight) = (time(50), time(400));
    assert!(eight < one * 8 * 4, "{one} ns, {eight} ns");
}

#[test]
fn the_encoders_table_stays_at_its_cap_whatever_the_peer_allows() {
    let mut conn: Connection<grpc_proto::Client> =
        Connection::new(&Config::default(), 1, grpc_proto::Instant::ZERO);
    let now = grpc_proto::Instant::ZERO;
    let bytes = [settings(&[(1, u32::MAX)]), settings_ack()].concat();
    let mut input = &bytes[..];
    while conn.poll_event(&mut input, now).unwrap().is_some() {}
    let mut out = Transmit::new();
    let mut most = 0;
    for n in 0..3000u32 {
        let mut metadata = Metadata::new();
        metadata.append(&format!("x-name-{n}"), &"v".repeat(100)).unwrap();
        let mut head = CallHead::new("/a/b", "localhost");
        head.metadata = Some(&metadata);
        let call = conn.call(&head, None, now).unwrap();
        conn.poll_transmit(&mut out, now);
        out.clear();
        conn.cancel(call);
        conn.poll_transmit(&mut out, now);
        out.clear();
        if n == 500 {
            most = conn.heap_bytes();
        }
    }
    assert!(conn.heap_bytes() <= most + 1024, "{} bytes, {most} before", conn.heap_bytes());
    assert!(most < 64 << 10);
}

#[test]
fn large_field_lists_are_not_kept_for_reuse() {
    let block = wire::call_with(&[("x-long", &"v".repeat(15_000))]);
    let mut victim = Victim::new(|_| {});
    victim.expect_service(1);
    let before = victim.memory();
    // A hundred at once, all held by their handlers, then all given back.
    let mut held = Vec::new();
    for n in 1..100u32 {
        let bytes = headers(2 * n + 1, 0, &block);
        let mut input = &bytes[..];
        while let Some(event) = victim.conn.poll_event(&mut input, victim.now).unwrap() {
            if let grpc_proto::server::Event::Request(call, head) = event {
                held.push((call, head.metadata));
            }
        }
        victim.pull();
    }
    for (call, metadata) in held {
        victim.conn.recycle_metadata(metadata);
        victim.conn.release(call);
    }
    victim.pull();
    assert!(victim.memory() - before < 256 << 10, "{}", victim.memory() - before);
    victim.expect_service(301);
}
