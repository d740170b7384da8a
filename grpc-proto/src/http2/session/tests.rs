use super::*;
use alloc::vec::Vec;

use crate::config::Config;
use crate::http2::error_code::ErrorCode;
use crate::http2::frame;
use crate::http2::state::State;
use crate::http2::stream_key::StreamKey;
use crate::transmit::Transmit;

fn client() -> Session {
    let mut session = Session::new(Side::Client, &Config::default(), 0, Instant::ZERO);
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    session
}

#[test]
fn a_client_ends_before_its_identifiers_do() {
    let mut session = client();
    session.streams.skip_to_id(0x7fff_ffff - 4);
    for id in [0x7fff_fffb, 0x7fff_fffd] {
        assert!(session.is_open());
        let stream = session.open(FieldList::new(), Instant::ZERO).expect("an identifier is left");
        session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        assert_eq!(session.streams[stream.slot()].id, id);
    }
    assert!(!session.is_open(), "a channel that asks connects anew");
    assert_eq!(session.open(FieldList::new(), Instant::ZERO), Err(OpenError::Closing));
    // It drains: a channel that keeps it for new streams looks for another one.
    assert!(!session.is_open() && session.ending.sent().is_some() && !session.is_drained());
    for slot in 0..2 {
        session.reset(session.streams.key_of(slot), ErrorCode::CANCEL);
    }
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    assert!(session.is_drained());
}

#[test]
fn streams_that_wait_count_against_the_identifiers_that_are_left() {
    let mut session = client();
    session.peer.max_concurrent_streams = 0;
    session.streams.skip_to_id(0x7fff_ffff - 4);
    assert!(session.open(FieldList::new(), Instant::ZERO).is_ok());
    assert!(session.open(FieldList::new(), Instant::ZERO).is_ok());
    assert_eq!(session.open(FieldList::new(), Instant::ZERO), Err(OpenError::Closing));
}

#[test]
fn there_is_room_below_the_mark_and_until_the_end() {
    let mut session = client();
    let mark = session.limits.send_mark as usize;
    let stream = session.open(FieldList::new(), Instant::ZERO).unwrap();
    assert!(session.has_room(stream));
    session.write(stream, &alloc::vec![0; mark - 1]).unwrap();
    assert!(session.has_room(stream));
    session.write(stream, &[0]).unwrap();
    assert!(!session.has_room(stream));
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    assert!(session.has_room(stream));
    session.finish(stream, None).unwrap();
    assert!(!session.has_room(stream));
}

#[test]
fn writing_tells_an_end_of_ours_from_the_end_of_the_stream() {
    let mut session = client();
    let poll = |session: &mut Session, mut bytes: &[u8]| {
        while session.poll(&mut bytes, Instant::ZERO).expect("no error").is_some() {}
        session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    };
    let stream = session.open(FieldList::new(), Instant::ZERO).unwrap();
    session.finish(stream, None).unwrap();
    // SETTINGS, then nothing that ends the stream.
    poll(&mut session, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(session.write(stream, b"x"), Err(StreamError::AfterEnd));
    // HEADERS with END_STREAM: `:status` is 200.
    poll(&mut session, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]);
    assert_eq!(session.write(stream, b"x"), Err(StreamError::Ended));
}

fn server() -> Session {
    let mut session = Session::new(Side::Server, &Config::default(), 0, Instant::ZERO);
    let mut hello = frame::PREFACE.to_vec();
    hello.extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
    poll(&mut session, &hello);
    session
}

/// Feeds bytes, pulls output, and gives the events.
fn poll(session: &mut Session, mut bytes: &[u8]) -> Vec<Event> {
    let events = core::iter::from_fn(|| session.poll(&mut bytes, Instant::ZERO).expect("no error"));
    let events = events.collect();
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    events
}

/// HEADERS of `POST http /` on a stream.
fn request(id: u8, flags: u8) -> [u8; 12] {
    [0, 0, 3, 1, 4 | flags, 0, 0, 0, id, 0x83, 0x86, 0x84]
}

/// Answers all streams with heads.
fn answer(session: &mut Session) {
    for stream in keys(session) {
        session.respond(stream, FieldList::new()).unwrap();
    }
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
}

fn keys(session: &Session) -> Vec<StreamKey> {
    session.streams().map(|stream| session.streams.key_of(stream.index as u32)).collect()
}

/// Each figure differs from the others, so that none can stand in for another.
#[test]
fn what_a_session_shows_of_itself_is_what_came_and_went() {
    let mut session = server();
    assert!(session.settings_received());
    assert!(!Session::new(Side::Server, &Config::default(), 0, Instant::ZERO).settings_received());
    assert_eq!((session.slots(), session.streams().count(), session.occupied()), (0, 0, 0));
    poll(&mut session, &request(1, 0));
    poll(&mut session, &request(3, 1));
    answer(&mut session);
    // DATA of seven bytes, of which three are taken and two are done with.
    let mut input = &[0, 0, 7, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7][..];
    let [first, second] = keys(&session)[..] else { panic!("two streams") };
    assert_eq!(session.poll(&mut input, Instant::ZERO), Ok(Some(Event::Data(first))));
    assert_eq!(session.take_data(&mut input, 3), [1, 2, 3]);
    session.consume(first, 2);
    session.write(second, &[7; 5]).unwrap();
    let views: Vec<_> = session.streams().collect();
    let view = StreamView {
        index: 0,
        id: 1,
        state: State::Open,
        send_window: 65_535,
        recv_window: 65_535 - 7,
        held: 5,
        reserved: 0,
        budgeted: 0,
        wanted: 0,
        queued: 0,
        wants_room: false,
        is_reported: false,
    };
    let half_closed = StreamView {
        index: 1,
        id: 3,
        state: State::HalfClosedRemote,
        recv_window: 65_535,
        held: 0,
        queued: 5,
        ..view
    };
    assert_eq!(views, [view, half_closed]);
    assert_eq!((session.slots(), session.occupied()), (2, 2));
    assert_eq!(session.recv_window(), (1 << 20) - 7);
    assert_eq!((session.recv_held(), session.recv_base()), (4, 65_535));
    assert_eq!(session.send_window(), 65_535);
    assert_eq!((session.assembly_left(), session.send_outstanding()), (8 << 20, 0));
    session.reserve_read(first, 65_535 + 100);
    assert_eq!(session.assembly_left(), (8 << 20) - 100);
    let reserved = session.streams().next().map(|stream| (stream.reserved, stream.budgeted));
    assert_eq!(reserved, Some((1124, 100)));
    session.write(first, &[7; 100_000]).unwrap();
    assert_eq!(session.send_outstanding(), 100_000 - 65_536);
    assert_eq!(session.write(first, &[7]), Err(StreamError::Full));
    assert!(session.streams().next().is_some_and(|stream| stream.wants_room));
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    assert_eq!(session.send_window(), 0);
    assert_eq!(session.streams().next().map(|stream| stream.send_window), Some(5));
    session.release(second);
    session.mute(first);
    assert!(session.streams().all(|stream| stream.is_reported));
}

#[test]
fn a_session_is_open_until_either_side_ends_it() {
    let open = |session: &mut Session| session.open(FieldList::new(), Instant::ZERO);
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let greeted = || {
        let mut session = client();
        poll(&mut session, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert!(session.is_open());
        assert!(open(&mut session).is_ok());
        session
    };
    let mut session = greeted();
    session.shutdown(Instant::ZERO);
    assert!(!session.is_open());
    assert_eq!(open(&mut session), Err(OpenError::Closing));
    let mut session = greeted();
    poll(&mut session, &goaway);
    assert!(!session.is_open());
    assert_eq!(open(&mut session), Err(OpenError::Closing));
    let mut session = greeted();
    session.close(ErrorCode::CANCEL);
    assert!(!session.is_open());
    assert_eq!(open(&mut session), Err(OpenError::Closing));
    assert_eq!(session.error(), Some(&ConnectionError::ClosedByUs(ErrorCode::CANCEL)));
    // What came first stays: neither a second close nor the end of the transport changes it.
    session.close(ErrorCode::NO_ERROR);
    session.close_read();
    assert_eq!(session.error(), Some(&ConnectionError::ClosedByUs(ErrorCode::CANCEL)));
    assert_eq!(server().open(FieldList::new(), Instant::ZERO), Err(OpenError::NotAClient));
}

#[test]
fn a_head_is_sent_once_and_before_anything_else() {
    for pulled in [false, true] {
        for before in 0..4 {
            let mut session = server();
            poll(&mut session, &request(1, 0));
            let [stream] = keys(&session)[..] else { panic!("one stream") };
            let head = || FieldList::from_iter([(":status", "200")]);
            if before > 0 {
                session.respond(stream, head()).unwrap();
            }
            match before {
                0 | 1 => {}
                2 => session.write(stream, b"x").unwrap(),
                _ => session.finish(stream, None).unwrap(),
            }
            if pulled {
                session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
            }
            let again = session.respond(stream, head());
            let wanted = match (before, pulled) {
                (0, _) => Ok(()),
                (3, true) => Err(StreamError::AfterEnd),
                _ => Err(StreamError::OutOfOrder),
            };
            assert_eq!(again, wanted, "{before} {pulled}");
        }
    }
}

#[test]
fn nothing_but_a_head_that_is_the_end_goes_before_the_head() {
    let mut session = server();
    poll(&mut session, &request(1, 0));
    let [stream] = keys(&session)[..] else { panic!("one stream") };
    assert_eq!(session.write(stream, b""), Err(StreamError::OutOfOrder));
    assert_eq!(session.write_bytes(stream, (&b"x"[..]).into()), Err(StreamError::OutOfOrder));
    assert_eq!(session.finish(stream, None), Err(StreamError::OutOfOrder));
    let all = FieldList::from_iter([(":status", "204")]);
    assert_eq!(session.finish(stream, Some(all)), Ok(()));
}

/// Credit that was not worth a frame is, once the window has shrunk to half: it never waits for bytes that it keeps away.
#[test]
fn credit_that_was_withheld_goes_out_when_the_window_has_shrunk() {
    let mut session = server();
    poll(&mut session, &request(1, 0));
    let [stream] = keys(&session)[..] else { panic!("one stream") };
    let data = |len: u16| {
        let [a, b] = len.to_be_bytes();
        let mut frame = alloc::vec![0, a, b, 0, 0, 0, 0, 0, 1];
        frame.resize(9 + usize::from(len), 7);
        frame
    };
    let receive = |session: &mut Session, len: u16| {
        let bytes = data(len);
        let mut input = &bytes[..];
        assert_eq!(session.poll(&mut input, Instant::ZERO), Ok(Some(Event::Data(stream))));
        session.take_data(&mut input, usize::MAX);
        assert_eq!(session.poll(&mut input, Instant::ZERO), Ok(None));
        let mut out = Transmit::new();
        session.poll_transmit(&mut out, Instant::ZERO);
        out.chunks().flatten().copied().collect::<Vec<_>>()
    };
    let opened = |out: &[u8]| out.windows(9).any(|frame| frame == [0, 0, 4, 8, 0, 0, 0, 0, 1]);
    receive(&mut session, 10_000);
    session.consume(stream, 10_000);
    assert!(!opened(&receive(&mut session, 16_000)));
    let out = receive(&mut session, 16_000);
    assert!(opened(&out), "window {:?}", session.streams().next());
    assert_eq!(session.streams().next().map(|view| view.recv_window), Some(65_535 - 32_000));
}

/// Streams that are new or have something new go first, and those of long bodies get their turns all the same.
#[test]
fn a_long_body_goes_on_however_many_replies_go_before_it() {
    let mut session = server();
    // Windows that nothing waits for.
    poll(&mut session, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
    poll(&mut session, &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]);
    for id in [1, 3, 5, 7, 9] {
        poll(&mut session, &request(id, 0));
    }
    let streams = keys(&session);
    let send = |session: &mut Session, stream: StreamKey, len: usize| {
        session.write_bytes(stream, alloc::vec![7; len].into()).unwrap();
    };
    for stream in &streams {
        session.respond(*stream, FieldList::from_iter([(":status", "200")])).unwrap();
    }
    send(&mut session, streams[0], 1 << 20);
    let left = |session: &Session| session.streams().next().map(|view| view.queued).unwrap();
    let mut out = Transmit::new();
    let mut pull = |session: &mut Session| {
        session.poll_transmit(&mut out, Instant::ZERO);
        out.advance(out.len());
    };
    pull(&mut session);
    let begun = left(&session);
    for _ in 0..16 {
        // Four replies that fill a pull by themselves.
        for stream in &streams[1..] {
            if session.has_room(*stream) {
                send(&mut session, *stream, 16 << 10);
            }
        }
        pull(&mut session);
    }
    let sent = begun - left(&session);
    assert!(sent >= 8 * (16 << 10), "{sent} bytes of the long body in 16 pulls");
    assert!(sent <= 24 * (16 << 10), "{sent} bytes: the others go first");
}

/// Its writer is refused for want of a window, and the time of the peer begins when that is looked at, not when the
/// connection was last looked at before.
#[test]
fn a_writer_that_is_refused_after_a_rest_has_its_whole_time() {
    let mut session = server();
    poll(&mut session, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    poll(&mut session, &request(1, 0));
    let [stream] = keys(&session)[..] else { panic!("one stream") };
    session.respond(stream, FieldList::from_iter([(":status", "200")])).unwrap();
    poll(&mut session, &[]);
    assert_eq!(session.write(stream, &[7; 100_000]), Err(StreamError::Full));
    let (later, timeout) = (Instant::from_millis(120_000), Limits::default().send_stall_timeout);
    assert_eq!(session.poll(&mut &[][..], later), Ok(None));
    assert_eq!(session.poll_timeout(), Some(later + timeout));
    let event = session.poll(&mut &[][..], later + timeout).unwrap();
    assert!(matches!(event, Some(Event::Reset(..))), "{event:?}");
}

/// The call is over for the application, and its deadline still ends what the peer does not take.
#[test]
fn a_deadline_ends_a_reply_that_was_finished_and_is_not_taken() {
    let mut session = server();
    poll(&mut session, &request(1, 0x1));
    let [stream] = keys(&session)[..] else { panic!("one stream") };
    session.set_deadline(stream, Instant::from_millis(1000));
    session.respond(stream, FieldList::from_iter([(":status", "200")])).unwrap();
    session.write_bytes(stream, alloc::vec![7; 1 << 20].into()).unwrap();
    session.finish(stream, None).unwrap();
    session.release(stream);
    poll(&mut session, &[]);
    assert_eq!(session.occupied(), 1);
    assert_eq!(session.poll(&mut &[][..], Instant::from_millis(1000)), Ok(None));
    let mut out = Transmit::new();
    session.poll_transmit(&mut out, Instant::from_millis(1000));
    let sent: Vec<u8> = out.chunks().flatten().copied().collect();
    assert!(sent.ends_with(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]), "{sent:?}");
    assert_eq!((session.occupied(), session.send_outstanding()), (0, 0));
}

/// Of what a peer sends on a stream that it has reset, the first frame is answered, and no other.
#[test]
fn a_peer_that_goes_on_after_its_reset_is_told_once() {
    let mut session = server();
    poll(&mut session, &request(1, 0));
    poll(&mut session, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
    let before = session.stats().resets_sent;
    for _ in 0..3 {
        poll(&mut session, &[0, 0, 1, 0, 0, 0, 0, 0, 1, 7]);
    }
    assert_eq!(session.stats().resets_sent - before, 1);
}

/// A response to HEAD, or one of status 304, may tell the length that it does not have, and end with empty DATA.
#[test]
fn a_response_that_has_no_body_may_tell_of_its_length() {
    let fields = |method: &str, status: &str| {
        let request = FieldList::from_iter([
            (":method", method),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "here"),
        ]);
        let mut block = alloc::vec![0x08, 3];
        block.extend_from_slice(status.as_bytes());
        // content-length: 9
        block.extend([0x0f, 13, 1, b'9']);
        (request, block)
    };
    for (method, status, body, good) in [
        ("HEAD", "200", 0, true),
        ("HEAD", "200", 9, false),
        ("GET", "304", 0, true),
        ("GET", "304", 1, false),
        ("GET", "200", 0, false),
        ("GET", "200", 9, true),
    ] {
        let mut session = client();
        poll(&mut session, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let (request, block) = fields(method, status);
        let stream = session.open(request, Instant::ZERO).unwrap();
        session.finish(stream, None).unwrap();
        session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        let mut bytes = alloc::vec![0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1];
        bytes.extend(block);
        bytes.extend([0, 0, body, 0, 1, 0, 0, 0, 1]);
        bytes.resize(bytes.len() + usize::from(body), 7);
        let mut input = &bytes[..];
        let mut ended = false;
        while let Some(event) = session.poll(&mut input, Instant::ZERO).unwrap() {
            if let Event::Data(_) = event {
                session.take_data(&mut input, usize::MAX);
            }
            ended |= matches!(event, Event::End(_));
        }
        assert_eq!(ended, good, "{method} {status} {body}");
    }
}

#[test]
fn payload_by_handle_is_sent_as_payload_by_copy_is() {
    let mut session = server();
    poll(&mut session, &request(1, 0));
    let [stream] = keys(&session)[..] else { panic!("one stream") };
    answer(&mut session);
    session.write_bytes(stream, bytes::Bytes::from_static(b"")).unwrap();
    session.write_bytes(stream, bytes::Bytes::from_static(b"one ")).unwrap();
    session.write(stream, b"two ").unwrap();
    session.write_bytes(stream, bytes::Bytes::from_static(&[b'3'; 5000])).unwrap();
    let mut out = Transmit::new();
    session.poll_transmit(&mut out, Instant::ZERO);
    let sent: Vec<u8> = out.chunks().flatten().copied().collect();
    let wanted = [b"\0\x13\x90\0\0\0\0\0\x01one two ", &[b'3'; 5000][..]].concat();
    assert_eq!(sent, wanted);
    // A handle counts against the mark and the budget as a copy does.
    session.write_bytes(stream, alloc::vec![7; 65_536].into()).unwrap();
    let more = bytes::Bytes::from_static(b"x");
    assert_eq!(session.write_bytes(stream, more), Err(StreamError::Full));
}

#[test]
fn a_kept_head_is_awaited_until_its_call_is_sent() {
    let mut session = client();
    session.peer.max_concurrent_streams = 0;
    let (first, second) = (Prepared::request(0), Prepared::request(1));
    for place in [first, second] {
        session.prepare(place, FieldList::new());
        session.prepare(place.after(), FieldList::new());
    }
    assert!(!session.is_template_awaited(first));
    session
        .open_with(
            super::super::stream::Pending::Template { place: first, own: FieldList::new() },
            Instant::ZERO,
        )
        .unwrap();
    assert!(session.is_template_awaited(first) && !session.is_template_awaited(second));
    session.peer.max_concurrent_streams = 1;
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    assert!(!session.is_template_awaited(first));
}

/// PINGs of ours can be told apart, and foreseen by nobody who does not know the entropy.
#[test]
fn payloads_of_pings_differ_by_their_use_and_by_connection() {
    let mut seen = Vec::new();
    for entropy in 0..4 {
        let session = Session::new(Side::Server, &Config::default(), entropy, Instant::ZERO);
        seen.extend([session.keepalive_payload(), session.drain_payload()]);
    }
    for (n, payload) in seen.iter().enumerate() {
        assert!(!seen[..n].contains(payload) && *payload != [0; 8] && *payload != [1; 8]);
    }
}

/// Whatever the last request was, a connection that is idle gives its memory back.
#[test]
fn a_request_that_was_refused_leaves_no_memory_behind() {
    let later = Instant::from_millis(1_000);
    // HEADERS that say nothing but `GET`, and DATA for the stream when it is gone.
    let malformed = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x82];
    let mut late = [0; 109];
    late[..9].copy_from_slice(&[0, 0, 100, 1, 4, 0, 0, 0, 1]);
    late[9..].fill(0x82);
    let mut session = server();
    session.poll(&mut &[][..], later).unwrap();
    for bytes in [&malformed[..], &late] {
        poll(&mut session, bytes);
        assert!(session.received().heap_bytes() > 0);
        assert_eq!(session.poll_timeout(), Some(later));
        session.poll(&mut &[][..], later).unwrap();
        assert_eq!(session.received().heap_bytes(), 0);
    }
    // While a stream is there, nothing is given back.
    poll(&mut session, &request(3, 0));
    poll(&mut session, &late);
    let wake = session.poll_timeout().unwrap();
    assert!(wake > later, "{wake:?}");
}

#[test]
fn the_first_in_line_for_the_assembly_budget_makes_way_when_it_ends() {
    let mut session = server();
    for id in [1, 3, 5] {
        poll(&mut session, &request(id, 0));
    }
    let [first, second, third] = keys(&session)[..] else { panic!("three streams") };
    let reserved =
        |session: &Session| session.streams().map(|view| view.budgeted).collect::<Vec<_>>();
    // All but 5000 bytes, more than is left, and less.
    session.reserve_read(first, (8 << 20) - 5000 + 65_535);
    session.reserve_read(second, 65_535 + 5001);
    session.reserve_read(third, 65_535 + 4000);
    assert_eq!(reserved(&session), [(8 << 20) - 5000, 0, 0]);
    session.reset(second, ErrorCode::CANCEL);
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    assert_eq!(reserved(&session), [(8 << 20) - 5000, 4000]);
    assert_eq!(session.assembly_left(), 1000);
    for stream in [first, third] {
        session.reset(stream, ErrorCode::CANCEL);
    }
    assert_eq!((session.assembly_left(), session.receive_budget.awaiting()), (8 << 20, 0));
}

#[test]
fn what_a_stream_held_of_the_assembly_budget_goes_to_who_waits_for_it_when_it_ends() {
    let mut session = server();
    for id in [1, 3] {
        poll(&mut session, &request(id, 0));
    }
    let [first, second] = keys(&session)[..] else { panic!("two streams") };
    session.reserve_read(first, (8 << 20) - 5000 + 65_535);
    session.reserve_read(second, 65_535 + 5001);
    assert_eq!((session.assembly_left(), session.receive_budget.awaiting()), (5000, 1));
    session.reset(first, ErrorCode::CANCEL);
    assert_eq!((session.assembly_left(), session.receive_budget.awaiting()), ((8 << 20) - 5001, 0));
}

/// A writer that was refused is told when half the mark is free: not for less, and not twice.
#[test]
fn a_writer_is_woken_when_half_the_mark_is_free() {
    for (window, woken) in [(32_767, 0), (32_768, 1), (40_000, 1)] {
        let mut session = server();
        let [a, b] = (window as u16).to_be_bytes();
        poll(&mut session, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, a, b]);
        poll(&mut session, &request(1, 0));
        let [stream] = keys(&session)[..] else { panic!("one stream") };
        answer(&mut session);
        session.write(stream, &[7; 65_536]).unwrap();
        assert_eq!(session.write(stream, b"x"), Err(StreamError::Full));
        for _ in 0..3 {
            session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        }
        let events = poll(&mut session, &[]);
        assert!(events.iter().all(|event| *event == Event::Writable(stream)));
        assert_eq!(events.len(), woken, "{window}");
        assert_eq!(poll(&mut session, &[]), []);
        // SETTINGS that change no window make no room.
        let mut again = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, a, b];
        assert_eq!(poll(&mut session, &again), []);
        again[10] = 3;
        assert_eq!(poll(&mut session, &again), []);
    }
}

/// What a call in line holds of the send budget is given back when it is cancelled, and counted once.
#[test]
fn a_call_in_line_that_is_cancelled_leaves_the_send_budget_as_it_was() {
    let mut session = client();
    session.peer.max_concurrent_streams = 1;
    let open = session.open(FieldList::new(), Instant::ZERO).unwrap();
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    let waits = session.open(FieldList::new(), Instant::ZERO).unwrap();
    session.write(waits, &[7; 100_000]).unwrap();
    assert_eq!(
        (session.send_budget.left_and_unopened().1, session.send_outstanding()),
        (34_464, 34_464)
    );
    session.reset(waits, ErrorCode::CANCEL);
    assert_eq!((session.send_budget.left_and_unopened().1, session.send_outstanding()), (0, 0));
    session.write(open, &[7; 100_000]).unwrap();
    assert_eq!(
        (session.send_budget.left_and_unopened().1, session.send_outstanding()),
        (0, 34_464)
    );
    assert_eq!(session.send_budget.left_and_unopened().0, (16 << 20) - 34_464);
}

#[test]
fn only_writers_whose_queue_is_empty_are_told_of_room_in_the_budget() {
    let mut session = server();
    for id in [1, 3, 5] {
        poll(&mut session, &request(id, 0));
    }
    let [first, second, third] = keys(&session)[..] else { panic!("three streams") };
    answer(&mut session);
    session.write(first, &alloc::vec![7; 16 << 20]).unwrap();
    // One is refused for want of budget, the other for what it has queued itself.
    assert_eq!(session.write(second, &alloc::vec![7; 1 << 20]), Err(StreamError::Full));
    session.write(third, &[7; 60_000]).unwrap();
    assert_eq!(session.write(third, &[7; 60_000]), Err(StreamError::Full));
    session.reset(first, ErrorCode::CANCEL);
    let mut input = &[][..];
    assert_eq!(session.poll(&mut input, Instant::ZERO), Ok(Some(Event::Writable(second))));
    assert_eq!(session.poll(&mut input, Instant::ZERO), Ok(None));
}

#[test]
fn a_drain_begins_once_and_not_after_the_end() {
    let sent = |session: &mut Session| {
        let mut out = Transmit::new();
        session.poll_transmit(&mut out, Instant::ZERO);
        out.len()
    };
    let mut session = server();
    session.shutdown(Instant::ZERO);
    assert!(sent(&mut session) > 0);
    session.shutdown(Instant::ZERO);
    assert_eq!(sent(&mut session), 0);
    let mut session = server();
    session.close(ErrorCode::NO_ERROR);
    assert!(sent(&mut session) > 0);
    session.shutdown(Instant::ZERO);
    assert_eq!(sent(&mut session), 0);
}

#[test]
fn a_writer_whose_stream_ends_before_it_is_told_of_room_is_not_told() {
    for let_go in [false, true] {
        let mut session = server();
        poll(&mut session, &request(1, 0));
        let [stream] = keys(&session)[..] else { panic!("one stream") };
        answer(&mut session);
        session.write(stream, &[7; 60_000]).unwrap();
        assert_eq!(session.write(stream, &[7; 60_000]), Err(StreamError::Full));
        session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        assert!(session.events.are_wanted());
        session.mute(stream);
        if let_go {
            session.release(stream);
            session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        }
        assert_eq!(session.poll(&mut &[][..], Instant::ZERO), Ok(None));
    }
}

/// SETTINGS_INITIAL_WINDOW_SIZE of 100,000: more than the connection's window.
const LARGE_WINDOWS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0x86, 0xa0];

/// A stream whose DATA uses the connection's window up, and has more to send.
fn blocked_by_the_connection(session: &mut Session, id: u8) -> StreamKey {
    poll(session, &request(id, 0));
    let key = *keys(session).last().expect("a stream");
    session.respond(key, FieldList::new()).unwrap();
    session.write(key, &[7; 65_536]).unwrap();
    for _ in 0..5 {
        poll(session, &[]);
    }
    assert_eq!(session.send_window(), 0);
    key
}

/// The slot of a stream that stood in the round goes to the next one, whose head needs no window.
#[test]
fn a_stream_does_not_inherit_the_wait_of_the_one_before_it_in_its_slot() {
    let mut session = server();
    poll(&mut session, &LARGE_WINDOWS);
    let blocked = blocked_by_the_connection(&mut session, 1);
    poll(&mut session, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
    session.release(blocked);
    for id in [3, 5] {
        poll(&mut session, &request(id, 1));
        let key = keys(&session)[0];
        assert_eq!(key.index(), blocked.index());
        session.respond(key, FieldList::new()).unwrap();
        session.finish(key, Some(FieldList::new())).unwrap();
        assert!(session.has_output());
        poll(&mut session, &[]);
        session.release(key);
        assert_eq!(session.occupied(), 0, "{id} has been answered");
    }
}

#[test]
fn a_closed_connection_window_for_which_nothing_waits_any_more_ends_nothing() {
    // The peer resets the stream that waits for it, or we do.
    for ours in [false, true] {
        let mut session = server();
        poll(&mut session, &LARGE_WINDOWS);
        let blocked = blocked_by_the_connection(&mut session, 1);
        let now = Instant::from_millis(30_000);
        match ours {
            true => session.reset(blocked, ErrorCode::CANCEL),
            false => {
                let mut reset = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8][..];
                while session.poll(&mut reset, now).unwrap().is_some() {}
                session.release(blocked);
            }
        }
        // Whether or not anything is pulled meanwhile.
        for _ in 0..u8::from(ours) {
            session.poll_transmit(&mut Transmit::new(), now);
        }
        assert_eq!(session.poll(&mut &[][..], Instant::from_millis(60_000)), Ok(None));
        session.poll_transmit(&mut Transmit::new(), Instant::from_millis(60_000));
        assert_eq!(session.poll(&mut &[][..], Instant::from_millis(200_000)), Ok(None));
    }
}

/// However often streams that wait for the connection's window are reset and others take their slots.
#[test]
fn the_round_robin_is_no_longer_than_there_are_slots() {
    let mut session = server();
    poll(&mut session, &LARGE_WINDOWS);
    blocked_by_the_connection(&mut session, 1);
    for id in (3..=253).step_by(2) {
        poll(&mut session, &request(id, 0));
        let key = *keys(&session).last().expect("a stream");
        session.respond(key, FieldList::new()).unwrap();
        session.write(key, b"x").unwrap();
        poll(&mut session, &[]);
        poll(&mut session, &[0, 0, 4, 3, 0, 0, 0, 0, id, 0, 0, 0, 8]);
        session.release(key);
    }
    assert!(session.schedule.places() <= session.slots(), "{}", session.schedule.places());
}

fn sent(session: &mut Session) -> Vec<u8> {
    let mut out = Transmit::new();
    session.poll_transmit(&mut out, Instant::ZERO);
    out.chunks().flatten().copied().collect()
}

/// The slot of a stream that is over has no deadline: neither the next stream gets it, nor nobody.
#[test]
fn a_deadline_that_is_set_on_a_stream_that_is_over_never_comes() {
    for again in [false, true] {
        let mut session = server();
        poll(&mut session, &request(1, 1));
        let [key] = keys(&session)[..] else { panic!("one stream") };
        session.respond(key, FieldList::new()).unwrap();
        session.finish(key, Some(FieldList::new())).unwrap();
        poll(&mut session, &[]);
        session.set_deadline(key, Instant::from_millis(10_000));
        session.release(key);
        assert_eq!(session.occupied(), 0);
        if again {
            poll(&mut session, &request(3, 1));
        }
        for millis in [0, 1_000, 10_000] {
            assert_eq!(session.poll(&mut &[][..], Instant::from_millis(millis)), Ok(None));
            session.poll_transmit(&mut Transmit::new(), Instant::from_millis(millis));
        }
    }
}

/// A client with two streams whose server opens no window for their DATA, and the moment at which both are given up.
fn stalled() -> (Session, Instant) {
    let limits = Limits { trim_after: core::time::Duration::ZERO, ..Limits::default() };
    let config = Config::new(limits).unwrap();
    let mut session = Session::new(Side::Client, &config, 0, Instant::ZERO);
    // SETTINGS that leave streams no window, and an acknowledgement of ours.
    poll(&mut session, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
    for _ in 0..2 {
        let stream = session.open(FieldList::new(), Instant::ZERO).unwrap();
        session.write(stream, b"x").unwrap();
    }
    poll(&mut session, &[]);
    (session, Instant::from_millis(60_000))
}

#[test]
fn ends_that_were_not_told_yet_outlive_the_memory_of_their_streams() {
    let (mut session, later) = stalled();
    for _ in 0..2 {
        let event = session.poll(&mut &[][..], later);
        assert!(matches!(event, Ok(Some(Event::Reset(..)))), "{event:?}");
        session.poll_transmit(&mut Transmit::new(), later);
    }
    assert_eq!(session.occupied(), 0);
    assert_eq!(session.poll(&mut &[][..], later), Ok(None));
    assert!(session.is_trimmed());
}

#[test]
fn no_event_follows_when_a_stream_is_let_go_of_whose_end_is_still_to_be_told() {
    for how in 0..4 {
        let (mut session, later) = stalled();
        let [first, second] = keys(&session)[..] else { panic!("two streams") };
        let event = session.poll(&mut &[][..], later);
        let reason = ResetReason::Violation(crate::http2::Violation::SendStalled);
        assert_eq!(event, Ok(Some(Event::Reset(first, reason))));
        match how {
            0 => session.release(second),
            1 => session.reset(second, ErrorCode::CANCEL),
            2 => session.abort(second, ErrorCode::CANCEL),
            _ => session.mute(second),
        }
        assert_eq!(session.poll(&mut &[][..], later), Ok(None), "{how}");
    }
}

/// Nobody waits for the answer, so the server is to stop: a request that has left is cancelled, one that has not never
/// leaves.
#[test]
fn a_client_that_lets_go_of_a_request_cancels_it() {
    const CANCELLED: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    for (pulls, whole, wanted) in [
        (false, true, &[][..]),
        (false, false, &[]),
        (true, true, &CANCELLED),
        (true, false, &CANCELLED),
    ] {
        let mut session = client();
        poll(&mut session, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let stream = session.open(FieldList::new(), Instant::ZERO).unwrap();
        session.write(stream, b"x").unwrap();
        if pulls {
            poll(&mut session, &[]);
        }
        if whole {
            session.finish(stream, None).unwrap();
            if pulls {
                poll(&mut session, &[]);
            }
        }
        session.release(stream);
        assert_eq!(sent(&mut session), wanted, "{pulls} {whole}");
        assert_eq!(session.occupied(), 0, "{pulls} {whole}");
    }
    // The end of the request is still to be sent when the client lets go.
    let mut session = client();
    poll(&mut session, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let stream = session.open(FieldList::new(), Instant::ZERO).unwrap();
    poll(&mut session, &[]);
    session.finish(stream, None).unwrap();
    session.release(stream);
    assert_eq!(sent(&mut session), CANCELLED);
    assert_eq!(session.occupied(), 0);
}

/// The peer's initial window is 0 and the send budget is taken: a call that waits for the peer's stream limit waits for
/// the budget, and for no window of its own.
#[test]
fn a_call_without_an_identifier_does_not_stall() {
    let mut session = client();
    // SETTINGS: two streams at once, and windows of 0. An acknowledgement of ours.
    poll(&mut session, &[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 4, 0, 0, 0, 0]);
    poll(&mut session, &[0, 0, 0, 4, 1, 0, 0, 0, 0]);
    let large = session.open(FieldList::new(), Instant::ZERO).unwrap();
    session.write(large, &alloc::vec![7; (16 << 20) + 65_536]).unwrap();
    let refused = session.open(FieldList::new(), Instant::ZERO).unwrap();
    poll(&mut session, &[]);
    assert_eq!(session.write(refused, &[7; 100_000]), Err(StreamError::Full));
    let waits = session.open(FieldList::new(), Instant::ZERO).unwrap();
    assert_eq!(session.write(waits, &[7; 100_000]), Err(StreamError::Full));
    assert_eq!(poll(&mut session, &[]), []);
    let later = Instant::ZERO + Limits::default().send_stall_timeout;
    let ended: Vec<_> = core::iter::from_fn(|| session.poll(&mut &[][..], later).unwrap())
        .filter(|event| matches!(event, Event::Reset(..)))
        .collect();
    let stalled =
        |key| Event::Reset(key, ResetReason::Violation(crate::http2::Violation::SendStalled));
    assert_eq!(ended, [stalled(large), stalled(refused)]);
    assert!(session.is_unsent(waits));
    // Its place under the limit is free now, and its HEADERS are the first that the peer sees of it.
    let out = sent_at(&mut session, later);
    assert!(out.windows(9).any(|frame| frame[3] == 1 && frame[5..] == [0, 0, 0, 5]), "{out:?}");
}

fn sent_at(session: &mut Session, now: Instant) -> Vec<u8> {
    let mut out = Transmit::new();
    session.poll_transmit(&mut out, now);
    out.chunks().flatten().copied().collect()
}
