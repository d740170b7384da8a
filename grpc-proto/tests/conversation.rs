//! Whole calls between our client and our server, in memory.

mod common;

use bytes::Bytes;
use common::{Pair, Seen, echo};
use grpc_proto::{CallHead, Code, Instant, Metadata, Reason, SendError, Status, server};

#[test]
fn a_unary_call_is_answered() {
    let mut pair = Pair::new();
    let call = pair.call("/test.Echo/Unary");
    pair.client.send_encoded(call, Bytes::from_static(b"hello"), false).unwrap();
    pair.client.end(call).unwrap();
    let mut paths = Vec::new();
    let seen = pair.run(|conn, event, now| {
        if let server::Event::Request(_, head) = &event {
            paths.push(head.path().to_owned());
        }
        echo(conn, event, now);
    });
    assert_eq!(paths, ["/test.Echo/Unary"]);
    assert!(matches!(&seen[0], Seen::Headers(c, _) if *c == call));
    assert_eq!(seen[1], Seen::Message(call, b"hello".to_vec()));
    assert!(matches!(&seen[2], Seen::Status(c, outcome) if *c == call && outcome.status.is_ok()));
    assert_eq!(seen.len(), 3);
    assert_eq!((pair.client.open_calls(), pair.server.open_calls()), (0, 0));
}

#[test]
fn messages_larger_than_the_windows_arrive_whole() {
    for len in [0, 1, 16_379, 16_384, 65_530, 65_531, 100_000, 4 << 20] {
        let mut pair = Pair::new();
        let body: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let call = pair.call("/test.Echo/Unary");
        pair.client.send_encoded(call, body.clone().into(), false).unwrap();
        pair.client.end(call).unwrap();
        let seen = pair.run(echo);
        assert_eq!(seen[1], Seen::Message(call, body), "{len}");
        assert!(matches!(&seen[2], Seen::Status(_, outcome) if outcome.status.is_ok()));
    }
}

// RFC 9113 §6.9.2: a change of the initial window can make the window of an open stream negative.
#[test]
fn a_message_that_was_begun_before_the_settings_came_arrives_through_a_small_window() {
    for window in [5, 16 << 10, 65_534, 1 << 20] {
        let mut pair = Pair::with(
            |limits| limits.stream_window = window,
            |limits| limits.stream_window = window,
        );
        let body = vec![7; 100_000];
        for calls in [20, 1] {
            let calls: Vec<_> = (0..calls)
                .map(|_| {
                    let call = pair.call("/test.Echo/Unary");
                    pair.client.send_encoded(call, body.clone().into(), false).unwrap();
                    pair.client.end(call).unwrap();
                    call
                })
                .collect();
            let seen = pair.run(echo);
            for call in calls {
                let message = Seen::Message(call, body.clone());
                assert!(seen.contains(&message), "window of {window}");
            }
        }
    }
}

#[test]
fn many_calls_interleave() {
    let mut pair = Pair::new();
    let calls: Vec<_> = (0..300u32)
        .map(|n| {
            let call = pair.call("/test.Echo/Unary");
            let body = vec![n as u8; (n * 97 % 40_000) as usize];
            pair.client.send_encoded(call, body.clone().into(), false).unwrap();
            pair.client.end(call).unwrap();
            (call, body)
        })
        .collect();
    let seen = pair.run(echo);
    for (call, body) in calls {
        assert!(seen.contains(&Seen::Message(call, body)));
    }
    let ok = seen.iter().filter(|s| matches!(s, Seen::Status(_, o) if o.status.is_ok())).count();
    assert_eq!(ok, 300);
}

#[test]
fn metadata_and_a_status_with_details_travel_both_ways() {
    let mut pair = Pair::new();
    let mut sent = Metadata::new();
    sent.append("x-name", "value").unwrap();
    sent.append("x-name", "again").unwrap();
    sent.append_bin("x-raw-bin", &[0, 255, 10, 13]).unwrap();
    let mut head = CallHead::new("/a/b", "localhost");
    head.metadata = Some(&sent);
    let call = pair.client.call(&head, None, pair.now).unwrap();
    pair.client.end(call).unwrap();
    let status = Status::new(Code::NotFound, " größer: 100 %\n").with_details(vec![1, 2, 3]);
    let seen = pair.run(|conn, event, _| match event {
        server::Event::Request(call, head) => {
            let values: Vec<_> = head.metadata.values("x-name").collect();
            assert_eq!(values, [&b"value"[..], b"again"]);
            let raw: Vec<_> = head.metadata.bin_values("x-raw-bin").collect();
            assert_eq!(raw, [vec![0, 255, 10, 13]]);
            conn.headers(call, &head.metadata).unwrap();
        }
        server::Event::End(call) => {
            let mut trailers = Metadata::new();
            trailers.append("x-end", "1").unwrap();
            conn.finish(call, &status, &trailers).unwrap();
        }
        _ => {}
    });
    let Seen::Headers(_, metadata) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(metadata.values("x-name").count(), 2);
    let Seen::Status(_, outcome) = &seen[1] else { panic!("{seen:?}") };
    assert_eq!(outcome.status, status);
    assert_eq!(outcome.trailers.value("x-end"), Some(&b"1"[..]));
}

#[test]
fn a_cancelled_call_reaches_the_handler_and_frees_its_slot_only_when_released() {
    let mut pair = Pair::new();
    let call = pair.call("/a/b");
    let mut held = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            held = Some(call);
        }
    });
    pair.client.cancel(call);
    let mut reasons = Vec::new();
    pair.run(|_, event, _| {
        if let server::Event::Cancelled(call, reason) = event {
            reasons.push((call, reason));
        }
    });
    let held = held.unwrap();
    assert_eq!(reasons, [(held, Reason::Reset(grpc_proto::http2::ErrorCode::CANCEL))]);
    assert_eq!(pair.server.open_calls(), 1);
    assert_eq!(pair.server.finish(held, &Status::OK, &Metadata::new()), Err(SendError::Ended));
    assert_eq!(pair.server.open_calls(), 0);
}

#[test]
fn a_deadline_ends_the_call_at_both_ends() {
    let mut pair = Pair::new();
    let deadline = grpc_proto::Instant::from_millis(50);
    let call =
        pair.client.call(&CallHead::new("/a/b", "localhost"), Some(deadline), pair.now).unwrap();
    pair.run(|_, event, _| {
        if let server::Event::Request(_, head) = event {
            assert_eq!(head.deadline(), Some(deadline));
        }
    });
    assert_eq!(pair.client.poll_timeout(), Some(deadline));
    pair.now = deadline;
    let mut cancelled = Vec::new();
    let seen = pair.run(|conn, event, _| {
        if let server::Event::Cancelled(call, reason) = event {
            cancelled.push(reason);
            conn.release(call);
        }
    });
    let Seen::Status(key, outcome) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((*key, outcome.status.code()), (call, Code::DeadlineExceeded));
    assert_eq!(cancelled.len(), 1);
    assert_eq!((pair.client.open_calls(), pair.server.open_calls()), (0, 0));
}

#[test]
fn a_drained_server_finishes_its_calls_and_takes_no_more() {
    let mut pair = Pair::new();
    let call = pair.call("/a/b");
    pair.run(|_, _, _| {});
    pair.server.shutdown(pair.now);
    let seen = pair.run(echo);
    assert_eq!(seen, [Seen::GoAway(0x7fff_ffff), Seen::GoAway(1)]);
    assert_eq!(
        pair.client.call(&CallHead::new("/a/b", "localhost"), None, pair.now),
        Err(SendError::Closing)
    );
    assert!(!pair.server.is_drained());
    pair.client.end(call).unwrap();
    let seen = pair.run(echo);
    assert!(matches!(&seen[0], Seen::Status(_, outcome) if outcome.status.is_ok()), "{seen:?}");
    assert!(pair.server.is_drained() && pair.client.is_drained());
}

#[test]
fn a_full_queue_pushes_back_and_tells_when_there_is_room() {
    let mut pair = Pair::with(|_| {}, |limits| limits.manual_credit = true);
    let call = pair.call("/a/b");
    let chunk = Bytes::from(vec![7; 10_000]);
    let mut held = 0;
    let mut sent = 0u64;
    let mut received = 0u64;
    let mut key = None;
    for _ in 0..200 {
        while pair.client.send_encoded(call, chunk.clone(), false) == Ok(()) {
            sent += 1;
        }
        let seen = pair.run(|_, event, _| {
            if let server::Event::Message(call, message) = event {
                held += message.wire_len();
                received += 1;
                key = Some(call);
            }
        });
        assert!(u64::from(held) <= 65_535, "the window bounds what is not granted");
        if let Some(key) = key {
            pair.server.grant(key, std::mem::take(&mut held));
        }
        let _ = seen;
    }
    assert!(received > 500 && sent - received < 16, "{sent} {received}");
}

#[test]
fn heads_are_equal_if_their_fields_and_deadlines_are() {
    let heads = |path: &str, deadlines: [u64; 2]| {
        let mut pair = Pair::new();
        for at in deadlines {
            let deadline = (at > 0).then(|| Instant::from_millis(at));
            pair.client.call(&CallHead::new(path, "localhost"), deadline, pair.now).unwrap();
        }
        let mut heads = Vec::new();
        pair.run(|_, event, _| {
            if let server::Event::Request(_, head) = event {
                heads.push(head);
            }
        });
        heads
    };
    let [plain, other] = [heads("/a/b", [0, 0]), heads("/a/c", [0, 0])];
    assert_eq!(plain[0], plain[1]);
    assert_ne!(plain[0], other[0]);
    let timed = heads("/a/b", [2000, 2000]);
    assert_eq!(timed[0], timed[1]);
    assert_ne!(timed[0], plain[0]);
    // The same field, read at another time.
    let mut pair = Pair::new();
    pair.now = Instant::from_millis(500);
    let deadline = Some(Instant::from_millis(2500));
    pair.client.call(&CallHead::new("/a/b", "localhost"), deadline, pair.now).unwrap();
    let mut later = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(_, head) = event {
            later = Some(head);
        }
    });
    let later = later.expect("a request");
    assert_eq!(later.metadata.fields(), timed[0].metadata.fields());
    assert_ne!(later, timed[0]);
}
