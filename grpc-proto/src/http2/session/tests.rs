use super::*;
use crate::config::Config;
use crate::transmit::Transmit;

fn client() -> Session {
    let mut session = Session::new(Side::Client, &Config::default(), 0, Instant::ZERO);
    session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
    session
}

#[test]
fn a_client_ends_before_its_identifiers_do() {
    let mut session = client();
    session.next_id = 0x7fff_ffff - 4;
    for id in [0x7fff_fffb, 0x7fff_fffd] {
        let stream = session.open(FieldList::new(), Instant::ZERO).expect("an identifier is left");
        session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        assert_eq!(session.streams[stream.index()].id, id);
    }
    assert_eq!(session.open(FieldList::new(), Instant::ZERO), Err(OpenError::Closing));
}

#[test]
fn streams_that_wait_count_against_the_identifiers_that_are_left() {
    let mut session = client();
    session.peer.max_concurrent_streams = 0;
    session.next_id = 0x7fff_ffff - 4;
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

/// Jitter and payloads of PINGs come from it: the published first output of splitmix64 for the seed 0.
#[test]
fn entropy_is_spread_as_splitmix64_does() {
    assert_eq!(time::mix(0), 0xe220_a839_7b1d_cdaf);
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
