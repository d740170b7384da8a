//! A reader of recordings takes any bytes.

use std::cell::RefCell;
use std::rc::Rc;

use grpc_arena::{Encode, SizeCache};
use grpc_proto::record::{Broken, Options, ReadError, Reader, Record, Recorder, Verb};
use grpc_proto::{
    Allotment, CallHead, CallKey, Client, Config, Connection, Instant, Limits, Metadata, SendError,
    Server, Transmit, client, server,
};
use proptest::prelude::*;

/// The head of a recording.
fn head(limits: Limits) -> Vec<u8> {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let tape = Rc::clone(&bytes);
    let sink = Box::new(move |more: &[u8]| tape.borrow_mut().extend_from_slice(more));
    let config = Config::new(limits).unwrap();
    let (now, options) = (Instant::from_nanos(5), Options::default());
    drop(Recorder::<Client>::recording(&config, 9, now, &options, sink));
    let mut bytes = bytes.take();
    // The end.
    assert_eq!(bytes.pop(), Some(0));
    bytes
}

#[test]
fn the_head_tells_how_the_connection_began() {
    let mut limits = Limits::default();
    limits.max_concurrent_streams = 7;
    limits.max_age = Some(std::time::Duration::from_nanos(1_000_000_001));
    limits.manual_credit = true;
    let head = head(limits.clone());
    let reader = Reader::new(&head).unwrap();
    assert_eq!(reader.start().limits, limits);
    assert_eq!((reader.start().entropy, reader.start().now), (9, Instant::from_nanos(5)));
}

/// Its server sent SETTINGS at once: a replay does the same.
#[test]
fn a_recording_from_before_settings_were_held_has_them_at_once() {
    let mut limits = Limits::default();
    limits.settings_hold = std::time::Duration::from_nanos(7);
    let mut old = head(limits);
    // The last limit, of two numbers, and how many limits there are.
    let rest = old.len() - 3;
    assert_eq!(old.split_off(rest), [39, 0, 7]);
    let count = 7 + 3 + 1 + old[10] as usize + 8 + 1;
    assert_eq!(old[count], 39);
    old[count] = 38;
    let reader = Reader::new(&old).unwrap();
    let mut before = Limits::default();
    before.settings_hold = std::time::Duration::ZERO;
    assert_eq!(reader.start().limits, before);
}

#[test]
fn a_number_in_more_bytes_than_it_needs_is_refused() {
    let head = head(Limits::default());
    let at = head.len();
    // poll_transmit at the time of the head; the difference of zero in one byte, in two and in ten.
    for (number, reads) in
        [(&[0][..], true), (&[0x80, 0], false), (&[[0x80; 9], [0; 9]].concat()[..10], false)]
    {
        let recording = [&head, &[0x11][..], number].concat();
        let record = Reader::new(&recording).unwrap().next_record();
        assert_eq!(record.is_ok(), reads, "{number:?}");
        if !reads {
            assert_eq!(record.unwrap_err(), ReadError { at, broken: Broken::Number });
        }
    }
}

#[test]
fn a_recording_keeps_what_the_peer_acknowledged() {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let tape = Rc::clone(&bytes);
    let sink = Box::new(move |more: &[u8]| tape.borrow_mut().extend_from_slice(more));
    let (config, options) = (Config::new(Limits::default()).unwrap(), Options::default());
    let mut conn = Recorder::<Server>::recording(&config, 9, Instant::ZERO, &options, sink);
    conn.note_delivery(Instant::from_nanos(7));
    drop(conn);
    let bytes = bytes.take();
    let record = Reader::new(&bytes).unwrap().next_record().unwrap().unwrap();
    let Record::Verb(Verb::NoteDelivery { now }) = record else { panic!("{record:?}") };
    assert_eq!(now, Instant::from_nanos(7));
}

#[test]
fn a_recording_keeps_what_was_allotted() {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let tape = Rc::clone(&bytes);
    let sink = Box::new(move |more: &[u8]| tape.borrow_mut().extend_from_slice(more));
    let (config, options) = (Config::new(Limits::default()).unwrap(), Options::default());
    let mut conn = Recorder::<Server>::recording(&config, 9, Instant::ZERO, &options, sink);
    let sent = Allotment { assembly: 300, send: u32::MAX };
    conn.allot(sent);
    assert_eq!(conn.session().allotted(), sent);
    drop(conn);
    let bytes = bytes.take();
    let record = Reader::new(&bytes).unwrap().next_record().unwrap().unwrap();
    assert_eq!(record, Record::Verb(Verb::Allot { allotment: sent }));
}

/// Reads to the end, which comes.
fn read(bytes: &[u8]) -> usize {
    let Ok(mut reader) = Reader::new(bytes) else { return 0 };
    let mut records = 0;
    while let Ok(Some(_)) = reader.next_record() {
        records += 1;
    }
    assert!(records <= bytes.len());
    records
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }

    #[test]
    fn any_records_are_read_or_refused(
        tags in prop::collection::vec(0u8..0x90, 0..40),
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..300),
    ) {
        let mut whole = head(Limits::default());
        for (n, tag) in tags.iter().enumerate() {
            whole.push(*tag);
            whole.extend(bytes.iter().skip(n * 7).take(7));
        }
        read(&whole);
    }
}

#[test]
fn response_headers_go_out_and_onto_the_recording_with_their_metadata() {
    let tape = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&tape);
    let sink = Box::new(move |bytes: &[u8]| sink.borrow_mut().extend_from_slice(bytes));
    let (config, options) = (Config::default(), Options::default());
    let mut plain = Connection::<Client>::new(&config, 0, Instant::ZERO);
    let mut server = Recorder::<Server>::recording(&config, 0, Instant::ZERO, &options, sink);
    let mut out = Transmit::new();
    plain.call(&CallHead::new("/a.B/C", "localhost"), None, Instant::ZERO).unwrap();
    plain.poll_transmit(&mut out, Instant::ZERO);
    let bytes = out.chunks().collect::<Vec<_>>().concat();
    let event = server.poll_event(&mut &bytes[..], Instant::ZERO).unwrap();
    let Some(server::Event::Request(call, _)) = event else { panic!("{event:?}") };
    let mut metadata = Metadata::new();
    metadata.append("x-told", "in-the-head").unwrap();
    server.headers(call, &metadata).unwrap();
    out.clear();
    server.poll_transmit(&mut out, Instant::ZERO);
    drop(server);

    let answer = out.chunks().collect::<Vec<_>>().concat();
    let event = plain.poll_event(&mut &answer[..], Instant::ZERO).unwrap();
    let Some(client::Event::Headers(_, reported)) = event else { panic!("{event:?}") };
    assert_eq!(reported.value("x-told"), Some(&b"in-the-head"[..]));
    let tape = tape.borrow();
    let mut reader = Reader::new(&tape).unwrap();
    let mut heads = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        if let Record::Verb(Verb::Respond { head, .. }) = record {
            heads.push(head.metadata);
        }
    }
    assert_eq!(heads, [Some(metadata)]);
}

/// A message of so many bytes.
struct Blank(usize);

impl Encode for Blank {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.resize(out.len() + self.0, 0);
    }
}

#[test]
fn a_message_that_waits_for_room_is_written_down_once_however_often_it_is_tried() {
    const LARGE: usize = 100_000;
    type Send = fn(&mut Recorder<Client>, CallKey) -> Result<(), SendError>;
    let ways: [Send; 4] = [
        |conn, call| conn.send(call, &Blank(LARGE)),
        |conn, call| conn.send_encoded(call, vec![0; LARGE].into(), false),
        |conn, call| conn.send_encoded(call, vec![0; LARGE].into(), true),
        |conn, call| conn.send_compressed(call, &[0; LARGE]),
    ];
    for (n, send) in ways.into_iter().enumerate() {
        let bytes = Rc::new(RefCell::new(Vec::new()));
        let tape = Rc::clone(&bytes);
        let sink = Box::new(move |more: &[u8]| tape.borrow_mut().extend_from_slice(more));
        let (config, options) = (Config::default(), Options::default());
        let mut conn = Recorder::<Client>::recording(&config, 0, Instant::ZERO, &options, sink);
        let mut head = CallHead::new("/a.B/C", "localhost");
        head.encoding = Some("zstd");
        let call = conn.call(&head, None, Instant::ZERO).unwrap();
        assert_eq!(conn.ask_room(call, LARGE), Ok(()));
        assert_eq!(send(&mut conn, call), Ok(()));
        assert_eq!(conn.ask_room(call, 1), Err(SendError::Full));
        assert_eq!(conn.ask_room(call, usize::MAX), Err(SendError::TooLarge));
        let before = bytes.borrow().len();
        for _ in 0..1000 {
            assert_eq!(send(&mut conn, call), Err(SendError::Full));
        }
        let took = bytes.borrow().len() - before;
        assert!(took <= 10_000, "{took} bytes of recording for way {n}");
        conn.cancel(call);
        assert_eq!(send(&mut conn, call), Err(SendError::Ended), "way {n}");
    }
}

/// What a server's recording of `input` holds, with messages taken one by one or several at once; and how many came with
/// the one before them.
fn recorded(input: &[u8], several: bool) -> (Vec<u8>, usize) {
    let tape = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&tape);
    let sink = Box::new(move |bytes: &[u8]| sink.borrow_mut().extend_from_slice(bytes));
    let (config, options) = (Config::default(), Options::default());
    let mut server = Recorder::<Server>::recording(&config, 0, Instant::ZERO, &options, sink);
    let mut count = 0;
    // Two reads, of which the first ends within a message.
    for end in [input.len() - 8, input.len()] {
        let mut shown = &input[if end < input.len() { 0 } else { input.len() - 8 }..end];
        while let Some(event) = server.poll_event(&mut shown, Instant::ZERO).unwrap() {
            if let server::Event::Message(call, _) = event
                && several
            {
                count += server.poll_messages(call, &mut shown, Instant::ZERO).len();
            }
        }
    }
    drop(server);
    (tape.take(), count)
}

#[test]
fn a_recording_is_the_same_however_messages_are_taken() {
    let mut client = Connection::<Client>::new(&Config::default(), 0, Instant::ZERO);
    let call = client.call(&CallHead::new("/a.B/C", "localhost"), None, Instant::ZERO).unwrap();
    for len in [5, 0, 1, 300, 12] {
        client.send(call, &Blank(len)).unwrap();
    }
    let mut out = Transmit::new();
    client.poll_transmit(&mut out, Instant::ZERO);
    let input = out.chunks().collect::<Vec<_>>().concat();
    let (one_by_one, none) = recorded(&input, false);
    let (at_once, several) = recorded(&input, true);
    assert_eq!((none, several), (0, 3));
    assert!(one_by_one == at_once);
}
