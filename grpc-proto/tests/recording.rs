//! A reader of recordings takes any bytes.

use std::cell::RefCell;
use std::rc::Rc;

use grpc_proto::record::{Broken, Options, ReadError, Reader, Recorder};
use grpc_proto::{Client, Config, Instant, Limits};
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
