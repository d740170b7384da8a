//! What the simulator has found, each in its smallest form.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Pair, Seen, echo};
use grpc_arena::{Encode, SizeCache};
use grpc_proto::http2::Violation;
use grpc_proto::{Code, Limits, Metadata, Reason, SendError, Status, Transmit, server};

fn is_ok(seen: &[Seen]) -> usize {
    let ok = |seen: &&Seen| matches!(seen, Seen::Status(_, outcome) if outcome.status.is_ok());
    seen.iter().filter(ok).count()
}

/// The answer was cut off by RST_STREAM(NO_ERROR) as soon as its first quantum was out.
#[test]
fn an_early_answer_larger_than_the_window_arrives_whole_before_the_stream_is_reset() {
    let mut pair = Pair::new();
    let call = pair.call("/a/b");
    let body = vec![5; 300_000];
    // The client never ends its side.
    let seen = pair.run(|conn, event, _| {
        if let server::Event::Request(call, _) = event {
            conn.send_encoded(call, body.clone().into(), false).unwrap();
            conn.finish(call, &Status::OK, &Metadata::new()).unwrap();
        }
    });
    assert!(seen.contains(&Seen::Message(call, body.clone())));
    assert_eq!(is_ok(&seen), 1, "{:?}", seen.last());
}

/// A new call that took the slot of one that was queued for output went out on stream 0.
#[test]
fn a_call_in_the_slot_of_one_that_was_ready_to_send_waits_for_the_stream_limit() {
    let mut pair = Pair::with(|_| {}, |limits| limits.max_concurrent_streams = 2);
    let (first, stays) = (pair.call("/a/b"), pair.call("/a/b"));
    let mut held = Vec::new();
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            held.push(call);
        }
    });
    pair.server.finish(held[0], &Status::of(Code::NotFound), &Metadata::new()).unwrap();
    let mut wire = Vec::new();
    common::pull(&mut pair.server, &mut wire, pair.now);
    // Ready to send, and then over before it could.
    pair.client.send_encoded(first, Bytes::from_static(b"late"), false).unwrap();
    let now = pair.now;
    let mut over = false;
    common::feed(&mut pair.client, &mut wire, now, |_, event, _| {
        over |= matches!(event, grpc_proto::client::Event::Status(..));
    });
    assert!(over);
    let calls: Vec<_> = (0..4).map(|_| pair.call("/a/b")).collect();
    for call in calls.into_iter().chain([stays]) {
        pair.client.end(call).unwrap();
    }
    let seen = pair.run(echo);
    assert_eq!(is_ok(&seen), 5, "{seen:?}");
}

/// Nothing ever opened a window that was too small for a message's prefix; and windows smaller than
/// the default, once they were acknowledged, were not opened for messages that had begun before.
#[test]
fn windows_too_small_for_a_prefix_carry_messages_all_the_same() {
    for window in [0, 1, 4, 5, 100] {
        let mut pair = Pair::with(
            |limits| limits.stream_window = window,
            |limits| limits.stream_window = window,
        );
        for turn in 0..2 {
            for len in [0, 1, 200, 70_000, 200_000] {
                let call = pair.call("/a/b");
                let body = Bytes::from(vec![1; len]);
                pair.client.send_encoded(call, body.clone(), false).unwrap();
                pair.client.end(call).unwrap();
                let seen = pair.run(echo);
                assert!(
                    seen.contains(&Seen::Message(call, body.to_vec())),
                    "{window} {turn} {len}"
                );
                assert_eq!(is_ok(&seen), 1, "{window} {turn} {len}");
            }
        }
    }
}

/// Calls that waited for an identifier when SETTINGS were acknowledged kept the window of before.
#[test]
fn a_call_that_waited_while_settings_were_acknowledged_counts_with_their_window() {
    let mut pair = Pair::with(
        |limits| limits.stream_window = 1000,
        |limits| limits.max_concurrent_streams = 1,
    );
    let calls: Vec<_> = (0..3).map(|_| pair.call("/a/b")).collect();
    for &call in &calls {
        pair.client.send_encoded(call, Bytes::from(vec![2; 60_000]), false).unwrap();
        pair.client.end(call).unwrap();
    }
    let seen = pair.run(echo);
    // The first two streams were opened before the server's limit was known; one of them is refused.
    assert!(is_ok(&seen) >= 1, "{seen:?}");
    let left: Vec<_> = pair.client.session().streams().collect();
    assert!(left.is_empty(), "{left:?}");
    let call = pair.call("/a/b");
    pair.client.end(call).unwrap();
    assert_eq!(is_ok(&pair.run(echo)), 1);
}

/// A writer that was refused was told of room in a turn in which nothing had left: in vain, and after the
/// events of that turn had been looked at for the last time.
#[test]
fn a_turn_in_which_nothing_leaves_tells_nobody_of_room() {
    let mut pair = Pair::new();
    let call = pair.call("/a/b");
    let message = |len: usize| Bytes::from(vec![1; len]);
    // All of the stream's window and a little more, which stays in the queue.
    pair.client.send_encoded(call, message(65_600), false).unwrap();
    let mut wire = Vec::new();
    common::pull(&mut pair.client, &mut wire, pair.now);
    assert!(pair.client.can_send(call));
    // A small message fits beside it, and has the stream looked at again; a large one does not.
    pair.client.send_encoded(call, message(0), false).unwrap();
    let refused = pair.client.send_encoded(call, message(100_000), false);
    assert_eq!(refused, Err(grpc_proto::SendError::Full));
    common::pull(&mut pair.client, &mut wire, pair.now);
    let event = pair.client.poll_event(&mut &[][..], pair.now).unwrap();
    assert!(event.is_none(), "{event:?}");
}

/// A message that was refused because its stream's window was closed waited for ever: nothing was queued that could
/// be found to stall.
#[test]
fn a_message_that_no_window_takes_ends_its_call_in_the_end() {
    let mut pair = Pair::with(
        |limits| limits.send_mark = 1,
        |limits| {
            limits.stream_window = 5;
            limits.manual_credit = true;
        },
    );
    pair.run(|_, _, _| {});
    let call = pair.call("/a/b");
    pair.client.send_encoded(call, Bytes::new(), false).unwrap();
    pair.run(|_, _, _| {});
    assert_eq!(pair.client.send_encoded(call, Bytes::new(), false), Err(SendError::Full));
    // Its time begins with the next look at the connection.
    assert_eq!(pair.run(|_, _, _| {}), []);
    let timeout = Limits::default().send_stall_timeout;
    assert!(pair.client.poll_timeout() <= Some(pair.now + timeout));
    pair.now = pair.now + timeout;
    let seen = pair.run(|_, _, _| {});
    let [Seen::Status(ended, outcome)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*ended, call);
    assert_eq!(outcome.reason, Some(Reason::PeerMisbehaved(Violation::SendStalled)));
}

/// A call that waited for the stream limit held the send budget that the running call waited for, for ever.
#[test]
fn a_call_in_line_does_not_keep_the_send_budget_from_the_one_it_waits_for() {
    let mut pair = Pair::with(
        |limits| (limits.send_mark, limits.send_budget) = (1, 0),
        |limits| limits.max_concurrent_streams = 1,
    );
    pair.run(echo);
    let (runs, waits) = (pair.call("/a/b"), pair.call("/a/b"));
    pair.client.send_encoded(runs, Bytes::new(), false).unwrap();
    pair.run(echo);
    pair.client.send_encoded(waits, Bytes::new(), false).unwrap();
    pair.client.send_encoded(runs, Bytes::new(), false).unwrap();
    for call in [runs, waits] {
        pair.client.end(call).unwrap();
    }
    let seen = pair.run(echo);
    assert_eq!(is_ok(&seen), 2, "{seen:?}");
}

/// The writer of a call whose message was refused while it stood in line, because one behind it had taken the send
/// budget, was not told of room when the call left the line: it waited for one that waited for it.
#[test]
fn a_call_that_leaves_the_line_is_told_of_the_room_that_those_behind_it_took() {
    let mut pair = Pair::with(
        |limits| (limits.send_mark, limits.send_budget) = (1, 0),
        |limits| limits.max_concurrent_streams = 1,
    );
    pair.run(echo);
    let [runs, next, last] = [(); 3].map(|()| pair.call("/a/b"));
    pair.run(echo);
    pair.client.send_encoded(last, Bytes::new(), false).unwrap();
    assert_eq!(pair.client.send_encoded(next, Bytes::new(), false), Err(SendError::Full));
    pair.client.end(runs).unwrap();
    let seen = pair.run(echo);
    assert!(seen.contains(&Seen::Writable(next)), "{seen:?}");
    pair.client.send_encoded(next, Bytes::new(), false).unwrap();
    for call in [next, last] {
        pair.client.end(call).unwrap();
    }
    let seen = pair.run(echo);
    assert_eq!(is_ok(&seen), 2, "{seen:?}");
}

/// A stream that both ends gave up at once was reset by each, though one had read the other's RST_STREAM by the time that
/// its own left (RFC 9113 §6.4: no frames but PRIORITY after one has come).
#[test]
fn a_reset_that_waits_is_dropped_when_that_of_the_peer_comes_first() {
    for by_client in [true, false] {
        let mut pair = Pair::new();
        let call = pair.call("/a/b");
        let mut served = None;
        pair.run(|_, event, _| {
            if let server::Event::Request(call, _) = event {
                served = Some(call);
            }
        });
        pair.client.cancel(call);
        pair.server.release(served.expect("a request"));
        let (mut first, mut second) = (Transmit::new(), Transmit::new());
        let now = pair.now;
        match by_client {
            true => {
                pair.client.poll_transmit(&mut first, now);
                let input = first.chunks().flatten().copied().collect::<Vec<u8>>();
                assert_eq!(pair.server.poll_event(&mut &input[..], now), Ok(None));
                pair.server.poll_transmit(&mut second, now);
            }
            false => {
                pair.server.poll_transmit(&mut first, now);
                let input = first.chunks().flatten().copied().collect::<Vec<u8>>();
                assert_eq!(pair.client.poll_event(&mut &input[..], now), Ok(None));
                pair.client.poll_transmit(&mut second, now);
            }
        }
        assert_eq!((first.len(), second.len()), (13, 0), "by the client: {by_client}");
        // What is left of it takes no place under the stream limit.
        assert_eq!((pair.client.open_calls(), pair.server.open_calls()), (0, 0));
        let call = pair.call("/a/b");
        pair.client.end(call).unwrap();
        assert_eq!(is_ok(&pair.run(echo)), 1);
    }
}

/// Calls that send messages of `sizes` each, all at once, to a server with memory for hardly more than one message of
/// 3000 bytes. What is done with is granted when nothing moves any more, if the server does so itself.
fn send_all_with_a_scarce_budget(calls: &[&[usize]], window: u32, manual: bool) {
    let mut pair = Pair::with(
        |_| {},
        |limits| {
            limits.stream_window = window;
            limits.max_receive_message = 3000;
            limits.assembly_budget = 4129;
            limits.manual_credit = manual;
        },
    );
    // The client knows of the window from here on.
    pair.run(|_, _, _| {});
    let mut wanted = 0;
    for sizes in calls {
        let call = pair.call("/a/b");
        for &size in *sizes {
            pair.client.send_encoded(call, vec![7; size].into(), false).unwrap();
        }
        pair.client.end(call).unwrap();
        wanted += sizes.len();
    }
    let (mut came, mut ended) = (0, 0);
    loop {
        let mut grants = Vec::new();
        let seen = pair.run(|conn, event, _| match event {
            server::Event::Message(call, message) => {
                came += 1;
                grants.push((call, message.wire_len()));
            }
            server::Event::End(call) => conn.finish(call, &Status::OK, &Metadata::new()).unwrap(),
            _ => {}
        });
        ended += is_ok(&seen);
        for &(call, bytes) in grants.iter().filter(|_| manual) {
            pair.server.grant(call, bytes);
        }
        if grants.is_empty() || !manual {
            break;
        }
    }
    assert_eq!((came, ended), (wanted, calls.len()), "{calls:?}, window {window}, {manual}");
    assert_eq!(pair.server.session().assembly_left(), 4129);
}

/// When a message was complete, up to 1 KiB of the next one had come through its room for padding and kept that much of
/// the assembly budget: the message in line before it waited for those bytes, and it for that message.
#[test]
fn what_follows_a_message_through_its_room_for_padding_keeps_no_budget_from_those_in_line() {
    for window in [0, 5, 100, 1000, 2000] {
        for (first, second) in [(0, 3000), (1, 1448), (1, 3000), (1500, 3000), (3000, 3000)] {
            for (third, fourth) in [(0, 3000), (1, 1448), (1, 3000), (3000, 1500)] {
                for manual in [false, true] {
                    let calls = [&[first, second][..], &[third, fourth], &[fourth, first, 3000]];
                    send_all_with_a_scarce_budget(&calls, window, manual);
                }
            }
        }
    }
}

/// Under manual credit a message that had to wait kept what the budget had given for the one before it, whatever was
/// granted since: two such messages waited for each other.
#[test]
fn a_message_in_line_keeps_nothing_for_the_one_before_it_that_is_done_with() {
    let calls = [&[500, 3000][..], &[500, 3000], &[500, 3000]];
    for window in [0, 5, 100] {
        send_all_with_a_scarce_budget(&calls, window, true);
    }
}

struct Zeros(usize);

impl Encode for Zeros {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.resize(out.len() + self.0, 0);
    }
}

/// The last message of a call was written at last when its connection had given its memory back, and the buffer that it
/// was written from went to the pool of a connection that has nobody to give it to.
#[test]
fn a_buffer_that_comes_back_to_a_connection_that_was_trimmed_is_not_kept() {
    let mut pair = Pair::new();
    pair.call("/a/b");
    let mut asked = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            asked = Some(call);
        }
    });
    let call = asked.expect("a request");
    pair.server.send(call, &Zeros(16_000)).unwrap();
    pair.server.finish(call, &Status::OK, &Metadata::new()).unwrap();
    let mut out = Transmit::new();
    pair.server.poll_transmit(&mut out, pair.now);
    assert!(out.len() > 16_000);
    out.advance(out.len());
    // The client gives up.
    let mut input = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8][..];
    while pair.server.poll_event(&mut input, pair.now).unwrap().is_some() {}
    pair.server.poll_transmit(&mut Transmit::new(), pair.now);
    let now = pair.now + Duration::from_secs(2);
    while pair.server.poll_event(&mut &[][..], now).unwrap().is_some() {}
    assert!(pair.server.is_trimmed());
    let before = pair.server.heap_bytes();
    pair.server.poll_transmit(&mut out, now);
    assert!(pair.server.heap_bytes() <= before);
}
