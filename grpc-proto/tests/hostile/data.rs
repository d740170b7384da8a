//! DATA that is empty, tiny, padded or not wanted (CVE-2019-9518, CVE-2019-9511, CVE-2019-9517).

use grpc_proto::{ConnectionError, Instant, Metadata, Reason, Status, TimedOut, Violation};

use crate::victim::{Handlers, Victim};
use crate::wire::{self, *};

#[test]
fn empty_data_is_counted() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    victim.feed(&data(1, 0, b"").repeat(100));
    victim.expect_open();
    // One byte forgives; padding alone does not.
    victim.feed(&data(1, 0, b"\0"));
    victim.feed(&padded_data(1, 0, b"", 9).repeat(100));
    victim.expect_service(3);
    victim.feed(&data(1, 0, b"").repeat(100));
    victim.expect_open();
    victim.feed(&data(1, 0, b""));
    victim.expect_calm(Violation::TooManyEmptyData);
}

#[test]
fn tiny_data_costs_a_byte_for_a_byte() {
    let mut victim = Victim::new(|_| {});
    victim.feed(&headers(1, 0, &wire::call()));
    let before = victim.memory();
    for byte in message(&vec![7; 60_000]).iter().take(60_000) {
        victim.feed(&data(1, 0, &[*byte]));
    }
    assert_eq!(victim.messages, 0);
    assert!(victim.memory() - before < 2 * 65_536, "{}", victim.memory() - before);
    victim.feed(&data(1, 0, &[7; 5]));
    assert_eq!(victim.messages, 1);
    victim.expect_service(3);
}

#[test]
fn a_large_message_in_five_byte_frames_passes_plain_and_padded() {
    for padding in [None, Some(255)] {
        let mut victim = Victim::new(|_| {});
        victim.feed(&headers(1, 0, &wire::call()));
        let bytes = message(&vec![7; 314_159]);
        // The peer keeps to both windows, as it learns of them.
        let (mut stream, mut connection) = (65_535i64, 1i64 << 20);
        for piece in bytes.chunks(5) {
            let frame = match padding {
                None => data(1, 0, piece),
                Some(padding) => padded_data(1, 0, piece, padding),
            };
            let len = frame.len() as i64 - 9;
            while stream < len || connection < len {
                let sent = victim.sent();
                assert!(!sent.is_empty(), "credit must come: {stream} {connection}");
                for frame in sent {
                    match frame {
                        Sent::WindowUpdate { stream: 0, increment } => {
                            connection += i64::from(increment)
                        }
                        Sent::WindowUpdate { increment, .. } => stream += i64::from(increment),
                        other => panic!("{other:?}"),
                    }
                }
            }
            stream -= len;
            connection -= len;
            victim.feed(&frame);
        }
        assert_eq!(victim.messages, 1);
        victim.feed(&data(1, END_STREAM, b""));
        victim.expect_service(3);
    }
}

#[test]
fn a_window_of_one_byte_at_a_time_is_served_within_the_bound_of_window_updates() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    victim.feed(&settings(&[(4, 0)]));
    victim.feed(&headers(1, END_STREAM, &wire::call()));
    let call = victim.last_call.expect("a call");
    victim.conn.send_encoded(call, vec![7; 10_000].into(), false).unwrap();
    victim.pull();
    let before = victim.memory();
    for _ in 0..10_000 {
        victim.feed(&window_update(1, 1));
        victim.pull();
    }
    victim.expect_open();
    assert!(victim.memory() <= before + 4096);
    assert_eq!(victim.conn.stats().data_sent, 10_000);
    victim.feed(&settings(&[(4, 65_535)]));
}

/// A call on `stream` whose answer of `len` bytes waits for windows.
fn answered_call(victim: &mut Victim, stream: u32, len: usize) {
    victim.feed(&headers(stream, END_STREAM, &wire::call()));
    let call = victim.last_call.expect("a call");
    victim.conn.send_encoded(call, vec![7; len].into(), false).unwrap();
    victim.pull();
}

#[test]
fn a_window_that_opens_byte_by_byte_ends_its_stream_in_time_and_not_its_neighbour() {
    // 60 s for 127 bytes are too long; 128 are progress, and so is whatever completes the answer.
    for (bytes, rest, ends) in [(127, 10_000, true), (128, 10_000, false), (30, 30, false)] {
        let mut victim = Victim::new(|_| {});
        victim.handlers = Handlers::Stuck;
        victim.feed(&settings(&[(4, 0)]));
        answered_call(&mut victim, 1, rest - 5);
        for n in 1..=bytes {
            victim.now = Instant::from_millis(n * 59_999 / bytes);
            victim.feed(&window_update(1, 1));
            victim.pull();
        }
        victim.expect_open();
        assert_eq!((victim.conn.stats().data_sent, victim.cancelled.len()), (bytes, 0));
        victim.now = Instant::from_millis(60_000);
        victim.feed(b"");
        let stalled = Reason::PeerMisbehaved(Violation::SendStalled);
        assert_eq!(victim.cancelled, vec![stalled; usize::from(ends)], "{bytes} of {rest}");
        victim.feed(&settings(&[(4, 65_535)]));
        victim.expect_service(3);
    }
}

#[test]
fn a_connections_window_that_opens_byte_by_byte_ends_it_in_time() {
    for (bytes, ends) in [(127, true), (128, false)] {
        let mut victim = Victim::new(|_| {});
        victim.handlers = Handlers::Stuck;
        for stream in [1, 3, 5] {
            answered_call(&mut victim, stream, 60_000);
        }
        assert_eq!(victim.conn.stats().data_sent, 65_535);
        for n in 1..=bytes {
            victim.now = Instant::from_millis(n * 59_999 / bytes);
            victim.feed(&window_update(0, 1));
            victim.pull();
        }
        victim.expect_open();
        victim.now = Instant::from_millis(60_000);
        victim.feed(b"");
        let closed = ConnectionError::TimedOut(TimedOut::Window);
        assert_eq!(victim.error, ends.then_some(closed), "{bytes}");
        victim.feed(&window_update(0, 1 << 20));
    }
}

#[test]
fn a_small_increment_that_is_all_the_output_needs_is_enough() {
    for spare in [0, 1] {
        let mut victim = Victim::new(|_| {});
        victim.handlers = Handlers::Stuck;
        for stream in [1, 3] {
            answered_call(&mut victim, stream, 32_768);
        }
        let wanted = 2 * (32_768 + 5) - 65_535;
        victim.feed(&window_update(0, wanted + spare));
        victim.pull();
        victim.now = Instant::from_millis(120_000);
        victim.feed(b"");
        victim.pull();
        assert_eq!((victim.error.clone(), &victim.cancelled[..]), (None, &[][..]));
        victim.feed(&window_update(0, 1000));
        victim.expect_service(5);
    }
}

#[test]
fn a_stream_whose_window_stays_closed_ends_in_time_and_its_neighbour_does_not() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    victim.feed(&headers(1, END_STREAM, &wire::call()));
    let call = victim.last_call.expect("a call");
    victim.feed(&window_update(0, 1 << 20));
    victim.conn.send_encoded(call, vec![7; 100_000].into(), false).unwrap();
    victim.pull();
    victim.now = Instant::from_millis(59_999);
    victim.feed(b"");
    assert_eq!(victim.cancelled, []);
    victim.expect_service(3);
    victim.now = Instant::from_millis(60_000);
    victim.feed(b"");
    assert_eq!(victim.cancelled, [Reason::PeerMisbehaved(Violation::SendStalled)]);
    victim.expect_service(5);
}

#[test]
fn a_connection_whose_window_stays_closed_ends_in_time() {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    for stream in [1, 3, 5] {
        victim.feed(&headers(stream, END_STREAM, &wire::call()));
        let call = victim.last_call.expect("a call");
        victim.conn.send_encoded(call, vec![7; 60_000].into(), false).unwrap();
    }
    victim.pull();
    let mut wakes = 0;
    while victim.error.is_none() {
        victim.now = victim.conn.poll_timeout().expect("a timer");
        victim.feed(b"");
        wakes += 1;
        assert!(wakes < 10);
    }
    assert_eq!(victim.now, Instant::from_millis(60_000));
    assert_eq!(victim.cancelled.len(), 3);
}

/// A server whose peer has opened every window and asked for far more than one write.
fn with_replies_for_open_windows() -> Victim {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    victim.feed(&settings(&[(4, 0x7fff_ffff)]));
    victim.feed(&window_update(0, 0x7fff_ffff - 65_535));
    let calls = [(); 100].map(|()| {
        let stream = 2 * victim.running as u32 + 1;
        victim.feed(&headers(stream, END_STREAM, &wire::call()));
        victim.last_call.expect("a call")
    });
    victim.pull();
    for call in calls {
        victim.conn.send_encoded(call, vec![7; 60_000].into(), false).unwrap();
    }
    victim.feed(b"");
    victim
}

/// A server with a hundred replies that wait for the connection's window and for nothing else.
fn with_replies_for_one_window() -> Victim {
    let mut victim = Victim::new(|_| {});
    victim.handlers = Handlers::Stuck;
    victim.feed(&settings(&[(4, 1 << 20)]));
    for stream in 0..100 {
        answered_call(&mut victim, 2 * stream + 1, 60_000);
    }
    assert_eq!(victim.conn.stats().data_sent, 65_535);
    victim.is_crowded = true;
    victim
}

/// A round takes longer than a stream may stall, and none of them does: the peer takes what it can.
#[test]
fn replies_that_wait_their_turn_on_a_slow_connection_are_not_ended_as_stalled() {
    let mut victim = with_replies_for_one_window();
    for second in 1..=250 {
        victim.now = Instant::from_millis(second * 1000);
        victim.feed(&window_update(0, 16_384));
        victim.pull();
        assert_eq!(victim.cancelled, [], "{second} s");
    }
    assert_eq!(victim.conn.stats().data_sent, 65_535 + 250 * 16_384);
}

/// 128 bytes for each reply within 60 s are progress; a connection that opens by less ends those that had none of it.
#[test]
fn a_connections_window_that_creeps_ends_the_replies_that_wait_for_it() {
    for (each, ends) in [(128, false), (127, true)] {
        let mut victim = with_replies_for_one_window();
        let waiting = victim.conn.session().streams().filter(|stream| stream.queued > 0).count();
        for _ in 0..20 {
            victim.now = victim.now + std::time::Duration::from_secs(3);
            victim.feed(&window_update(0, (each * waiting as u32).div_ceil(20)));
            victim.pull();
        }
        // What has come is read first, for a second.
        victim.now = victim.now + std::time::Duration::from_secs(1);
        victim.feed(b"");
        assert_eq!(victim.cancelled.is_empty(), !ends, "{each}");
    }
}

/// CVE-2019-9517: the windows of HTTP/2 are open, that of TCP is closed. What the transport does not take is not pulled.
#[test]
fn a_peer_that_opens_its_windows_and_takes_nothing_loses_its_connection_in_time() {
    // One write is under way, or not even that; a sign of life now and then changes nothing.
    for pulls in [0, 1] {
        let mut victim = with_replies_for_open_windows();
        for _ in 0..pulls {
            victim.pull_once();
        }
        let mut wakes = 0;
        while victim.error.is_none() {
            victim.now = victim.conn.poll_timeout().expect("a timer");
            victim.feed(&frame(PRIORITY, 0, 1, &[0; 5]));
            wakes += 1;
            assert!(wakes < 10_000);
        }
        // An end that is still sent something reads that first, for a second at most.
        let late = victim.now - Instant::from_millis(60_000);
        assert!(late <= std::time::Duration::from_secs(1), "{late:?}");
        assert_eq!(victim.error, Some(ConnectionError::TimedOut(TimedOut::Backlog)));
        assert_eq!(victim.cancelled.len(), 100);
    }
}

#[test]
fn a_peer_that_takes_its_replies_slowly_keeps_its_connection() {
    let mut victim = with_replies_for_open_windows();
    for n in 1.. {
        victim.now = Instant::from_millis(n * 59_999);
        victim.feed(b"");
        if victim.pull_once() == 0 {
            break;
        }
    }
    assert!(victim.now > Instant::from_millis(80 * 59_999));
    // Nothing is left to be taken, so nothing is waited for.
    victim.now = victim.now + std::time::Duration::from_secs(3600);
    victim.feed(b"");
    victim.expect_open();
    victim.is_crowded = true;
}

/// Its write lasts longer than the timeout, and its system acknowledges parts of it meanwhile.
#[test]
fn a_peer_whose_system_acknowledges_output_keeps_its_connection() {
    let mut victim = with_replies_for_open_windows();
    victim.pull_once();
    for n in 1..=80 {
        victim.now = Instant::from_millis(n * 59_999);
        victim.conn.note_delivery(victim.now);
        victim.feed(b"");
        victim.expect_open();
    }
    // From the last acknowledgement on, it has one timeout.
    for (millis, over) in [(59_999, false), (60_000, true)] {
        let now = Instant::from_millis(80 * 59_999 + millis);
        victim.now = now;
        victim.feed(b"");
        assert_eq!(victim.error.is_some(), over);
    }
    assert_eq!(victim.error, Some(ConnectionError::TimedOut(TimedOut::Backlog)));
    victim.is_crowded = true;
}

/// Nothing waits for a pull, and an acknowledgement that comes then starts no timer.
#[test]
fn an_acknowledgement_without_a_backlog_starts_no_wait() {
    let mut victim = Victim::new(|_| {});
    let before = victim.conn.poll_timeout();
    victim.conn.note_delivery(victim.now);
    assert_eq!(victim.conn.poll_timeout(), before);
    victim.now = Instant::from_millis(61_000);
    victim.feed(b"");
    victim.expect_open();
}

/// Nobody could pull while the whole process stood still.
#[test]
fn a_server_that_wakes_late_pulls_before_it_gives_a_peer_up_that_took_nothing() {
    for pulls in [false, true] {
        let mut victim = with_replies_for_open_windows();
        victim.pull_once();
        victim.now = Instant::from_millis(3_600_000);
        victim.feed(b"");
        victim.expect_open();
        if pulls {
            victim.pull_once();
        }
        victim.now = Instant::from_millis(3_601_000);
        victim.feed(b"");
        let closed = ConnectionError::TimedOut(TimedOut::Backlog);
        assert_eq!(victim.error, (!pulls).then_some(closed));
        victim.is_crowded = true;
    }
}

#[test]
fn every_byte_is_credited_exactly_once() {
    // DATA of all kinds, on live, ended, reset and refused streams, with padding: in the end the peer has its
    // whole window again, and never more.
    let mut victim = Victim::new(|limits| limits.connection_window = 65_535);
    let mut window = 65_535i64;
    let mut seed = 1u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut stream = 1;
    for _ in 0..3000 {
        victim.now = victim.now + std::time::Duration::from_millis(20);
        match random(8) {
            0 => {
                stream += 2;
                victim.feed(&headers(stream, 0, &wire::call()));
            }
            1 if stream > 1 => victim.feed(&reset(stream, CANCEL)),
            2 => {
                if let Some(call) = victim.last_call.take() {
                    let _ = victim.conn.finish(call, &Status::OK, &Metadata::new());
                }
            }
            _ if stream > 1 => {
                let payload = vec![0; 5 * random(400) as usize + 5];
                let padding = random(256) as u8;
                let frame = match random(3) {
                    0 => data(stream, 0, &payload),
                    _ => padded_data(stream, 0, &payload, padding),
                };
                if frame.len() as i64 - 9 <= window {
                    window -= frame.len() as i64 - 9;
                    victim.feed(&frame);
                }
            }
            _ => {}
        }
        for sent in victim.sent() {
            if let Sent::WindowUpdate { stream: 0, increment } = sent {
                window += i64::from(increment);
            }
        }
        assert!(window <= 65_535, "more was credited than came: {window}");
        assert!(window > 32_000, "credit leaked: {window}");
        victim.expect_open();
    }
    for id in (3..=stream).step_by(2) {
        victim.feed(&reset(id, CANCEL));
    }
}
