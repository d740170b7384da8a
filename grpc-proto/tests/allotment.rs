//! Budgets that the caller allots: which calls wait for them, how much is wanted, and how much is counted.

mod common;

use bytes::Bytes;
use common::{Pair, Seen};
use grpc_proto::{Allotment, CallKey, Connection, Metadata, SendError, Server, Status, server};

const NOTHING: Allotment = Allotment { assembly: 0, send: 0 };
/// What a message of a MiB takes of the assembly budget and of the send budget.
const RECEIVED: u32 = (1 << 20) + 5 - 65_535;
const SENT: u32 = (1 << 20) + 5 - 65_536;

fn large() -> Bytes {
    Bytes::from(vec![7; 1 << 20])
}

/// A server that may reserve nothing, and a call of a message of one MiB as far as it gets.
fn waiting() -> (Pair, CallKey) {
    let mut pair =
        Pair::with(|limits| limits.send_mark = 2 << 20, |limits| limits.manual_credit = true);
    pair.server.allot(NOTHING);
    let call = pair.call("/a.B/C");
    pair.client.send_encoded(call, large(), false).unwrap();
    pair.run(|_, event, _| assert!(matches!(event, server::Event::Request(..)), "{event}"));
    (pair, call)
}

#[test]
fn a_message_waits_behind_its_window_until_its_part_is_allotted() {
    let (mut pair, _) = waiting();
    let usage = pair.server.usage();
    assert_eq!((usage.assembly, usage.assembly_wanted), (0, RECEIVED));
    assert!(usage.received >= 65_535 && usage.received < 3 * 65_535, "{usage:?}");
    pair.server.allot(Allotment { assembly: RECEIVED - 1, ..NOTHING });
    pair.run(|_, event, _| panic!("{event}"));
    pair.server.allot(Allotment { assembly: RECEIVED, ..NOTHING });
    assert!(pair.server.has_output(), "the window opens");
    let (usage, mut came) = (pair.server.usage(), None);
    assert_eq!((usage.assembly, usage.assembly_wanted), (RECEIVED, 0));
    pair.run(|conn, event, _| {
        let server::Event::Message(call, message) = event else { panic!("{event}") };
        assert!(conn.usage().received > 1 << 20, "it is not granted yet");
        came = Some((call, message.wire_len()));
    });
    let (call, len) = came.expect("the message");
    pair.server.grant(call, len);
    let usage = pair.server.usage();
    assert_eq!((usage.received, usage.assembly), (0, 0), "{usage:?}");
}

#[test]
fn what_is_reserved_stays_where_less_is_allotted() {
    let (mut pair, _) = waiting();
    pair.server.allot(Allotment { assembly: RECEIVED, ..NOTHING });
    pair.server.allot(NOTHING);
    assert_eq!(pair.server.usage().assembly, RECEIVED);
    let mut messages = 0;
    pair.run(|_, event, _| messages += usize::from(matches!(event, server::Event::Message(..))));
    assert_eq!(messages, 1);
}

#[test]
fn a_reset_gives_back_what_was_received_and_its_memory() {
    let (mut pair, call) = waiting();
    assert!(pair.server.usage().received > 0);
    pair.client.cancel(call);
    pair.run(|conn, event, _| {
        let server::Event::Cancelled(call, _) = event else { panic!("{event}") };
        conn.release(call);
    });
    let usage = pair.server.usage();
    assert_eq!((usage.received, usage.assembly_wanted), (0, 0), "{usage:?}");
}

/// A server without anything to send by, and a call that it is to answer.
fn answering() -> (Pair, CallKey, CallKey) {
    let mut pair = Pair::with(|limits| limits.stream_window = 2 << 20, |_| {});
    pair.server.allot(NOTHING);
    let call = pair.call("/a.B/C");
    pair.client.end(call).unwrap();
    let mut opened = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            opened = Some(call);
        }
    });
    (pair, call, opened.expect("a request"))
}

#[test]
fn a_large_answer_is_refused_until_its_part_is_allotted() {
    let (mut pair, call, opened) = answering();
    assert_eq!(pair.server.send_encoded(opened, large(), false), Err(SendError::Full));
    let usage = pair.server.usage();
    assert_eq!((usage.queued, usage.send, usage.send_wanted), (0, 0, SENT));
    pair.server.allot(Allotment { send: SENT, ..NOTHING });
    assert_eq!(pair.server.usage().send_wanted, 0);
    let mut reported = 0;
    let seen = pair.run(|conn: &mut Connection<Server>, event, _| {
        let server::Event::Writable(call) = event else { panic!("{event}") };
        reported += 1;
        conn.send_encoded(call, large(), false).unwrap();
        assert_eq!((conn.usage().send, conn.usage().queued), (SENT, (1 << 20) + 5));
        conn.finish(call, &Status::OK, &Metadata::new()).unwrap();
    });
    assert_eq!(reported, 1, "the writer is woken");
    let whole = |seen: &Seen| matches!(seen, Seen::Message(of, bytes) if *of == call && bytes.len() == 1 << 20);
    assert!(seen.iter().any(whole));
    let usage = pair.server.usage();
    assert_eq!((usage.send, usage.queued), (0, 0));
}

#[test]
fn what_is_within_the_mark_and_the_window_needs_no_allotment() {
    let (mut pair, _, opened) = answering();
    pair.server.send_encoded(opened, Bytes::from(vec![7; 60_000]), false).unwrap();
    assert_eq!(pair.server.usage().send_wanted, 0);
    let sent = pair.run(|_, event, _| panic!("{event}"));
    assert!(sent.iter().any(|seen| matches!(seen, Seen::Message(..))));
}

#[test]
fn a_message_takes_its_whole_memory_until_its_last_byte_has_left() {
    // The client's window is one byte short.
    let mut pair = Pair::with(
        |limits| (limits.stream_window, limits.connection_window) = ((1 << 20) + 4, 4 << 20),
        |_| {},
    );
    let call = pair.call("/a.B/C");
    pair.client.end(call).unwrap();
    let mut opened = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            opened = Some(call);
        }
    });
    let opened = opened.expect("a request");
    let mut out = grpc_proto::Transmit::new();
    pair.server.send_encoded(opened, large(), false).unwrap();
    while pair.server.has_output() {
        pair.server.poll_transmit(&mut out, pair.now);
    }
    let queued = pair.server.session().streams().map(|stream| stream.queued).sum::<usize>();
    assert_eq!(queued, 1);
    let usage = pair.server.usage();
    assert_eq!((usage.send, usage.queued), (SENT, (1 << 20) + 5), "its buffer is still there");
}

#[test]
fn a_connection_that_has_failed_keeps_no_memory_for_reuse() {
    let (mut pair, _) = waiting();
    pair.server.allot(Allotment::UNLIMITED);
    let mut opened = None;
    pair.run(|conn, event, _| {
        let server::Event::Message(call, message) = event else { panic!("{event}") };
        let grpc_proto::Payload::Assembled(buf) = message.payload else { panic!("in pieces") };
        conn.recycle(buf);
        opened = Some(call);
    });
    assert!(opened.is_some() && pair.server.usage().pooled > 0);
    pair.server.close(grpc_proto::ErrorCode::ENHANCE_YOUR_CALM, pair.now);
    while pair.server.poll_event(&mut &b""[..], pair.now).is_ok() {}
    assert_eq!(pair.server.usage().pooled, 0);
}
