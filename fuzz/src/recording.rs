//! Recordings: any bytes for the reader and the replayer, and recordings of the operations that a file holds, edited.
//!
//! All input ends in a result or in an error with a position. An unchanged recording is read whole, replays as equal and is
//! recorded again byte for byte. A changed one is equal, or its first difference has a position.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use grpc_arena::{Encode, SizeCache};
use grpc_proto::http2::Side;
use grpc_proto::record::{Ending, Options, Outcome, Reader, Record, Recorder, Verb};
use grpc_proto::{Client, Config, MessageBuf, Metadata, Role, Server, Transmit};
use grpc_sim::replay::{ReplayError, replay_and_record};
use grpc_sim::show;

use crate::tape::Tape;

/// Most edits of a recording.
const EDITS: u8 = 8;

/// Bit 0 of the first byte: what follows is a file as it is. Otherwise edits, each a kind, a place and a byte, and a
/// file whose verbs are recorded anew: bit 1 keeps output whole, bit 2 has it cut, at 32 bytes for each of the other bits'
/// number.
pub fn check(data: &[u8]) {
    let [how, rest @ ..] = data else { return };
    if how & 1 == 0 {
        return hold(rest);
    }
    let mut tape = Tape::new(rest);
    let edits: Vec<_> = (0..tape.byte() % EDITS).map(|_| tape.take(4)).collect();
    let mut options = Options::default();
    options.output_bytes = how & 2 != 0;
    if how & 4 != 0 {
        options.max_bytes = 32 * u64::from(how >> 3);
    }
    let Some(mut recording) = record(tape.take(usize::MAX), &options) else { return };
    assert!(recording.len() as u64 <= options.max_bytes);
    if recording.is_empty() {
        // Not even the head fits.
        return;
    }
    equals(&recording);
    for edit in edits {
        edit_records(&mut recording, edit);
    }
    hold(&recording);
}

/// Any bytes: read to their end, and played.
fn hold(bytes: &[u8]) {
    let read = read(bytes);
    let (mut again, mut outcomes) = (Vec::new(), Vec::new());
    for keep in [false, true] {
        again.clear();
        let replayed = replay_and_record(bytes, keep, &mut |more| again.extend_from_slice(more));
        let outcome = match replayed {
            Err(ReplayError::Read(error)) => {
                assert!(error.at <= bytes.len(), "{error}");
                assert_eq!(read, Err(error));
                format!("{error}")
            }
            Err(error @ ReplayError::Role { at_byte }) => {
                assert!(at_byte < bytes.len(), "{error}");
                format!("{error}")
            }
            Err(error @ ReplayError::Limits(_)) => format!("{error}"),
            Ok(replay) => {
                if keep {
                    let _ = (show::timeline(&replay.trace), show::pcap(&replay.trace));
                    let _ = show::chrome(&replay.trace);
                }
                match &replay.difference {
                    Some(difference) => {
                        assert!(replay.ending.is_none() && difference.at_byte < bytes.len());
                        assert!(!difference.text.is_empty());
                        format!("{difference}")
                    }
                    None => {
                        let places = read.as_ref().expect("it was played to its end");
                        assert_eq!(replay.ending, Some(places.ending));
                        if !places.differs {
                            let recorded = &bytes[places.head..places.end];
                            assert!(again.starts_with(recorded), "equal, and not the same bytes");
                        }
                        format!("equal, {:?}", replay.ending)
                    }
                }
            }
        };
        outcomes.push(outcome);
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

/// A recording as it was made: it is read whole, replays equal, and its replay is the same recording.
fn equals(recording: &[u8]) {
    let places = read(recording).expect("what was recorded can be read");
    let mut again = Vec::new();
    let replay = replay_and_record(recording, false, &mut |more| again.extend_from_slice(more));
    let replay = replay.expect("what was recorded can be played");
    assert_eq!(replay.difference, None);
    assert_eq!(replay.ending, Some(places.ending));
    assert_ne!(places.ending, Ending::Torn);
    let recorded = &recording[places.head..places.end];
    assert!(again.starts_with(recorded), "its replay is another recording");
    assert!(places.ending == Ending::Cut || again == recorded);
}

/// The number of `SendError::Full`.
const FULL: u8 = 1;

/// Where a recording's parts are.
#[derive(Debug, PartialEq)]
struct Places {
    /// Where its head ends, and where its last whole record does.
    head: usize,
    end: usize,
    ending: Ending,
    /// Whether it takes buffers back, which a replay makes no larger than what was received, or has messages that were
    /// refused for lack of room, of which a replay writes only the length.
    differs: bool,
}

/// Reads to the end, which comes, with records of at least a byte each.
fn read(bytes: &[u8]) -> Result<Places, grpc_proto::record::ReadError> {
    let mut reader = Reader::new(bytes)?;
    let head = reader.offset();
    let (mut end, mut differs, mut sends) = (head, false, false);
    while let Some(record) = reader.next_record()? {
        assert!(end < reader.offset(), "a record of no bytes");
        end = reader.offset();
        differs |= match &record {
            Record::Verb(Verb::Recycle { .. }) => true,
            Record::Outcome(outcome) => sends && *outcome == Outcome::Result(FULL),
            Record::Verb(_) => false,
        };
        sends = matches!(
            record,
            Record::Verb(
                Verb::Send { .. } | Verb::SendEncoded { .. } | Verb::SendCompressed { .. }
            )
        );
    }
    let ending = reader.ending().expect("it was read to its end");
    let torn = usize::from(ending != Ending::Torn);
    assert_eq!(reader.offset(), end + torn);
    assert_eq!(reader.next_record(), Ok(None), "nothing follows the end");
    Ok(Places { head, end, ending, differs })
}

/// Changes a recording where a record begins or near it: a byte, a record, all that follows.
fn edit_records(recording: &mut Vec<u8>, edit: &[u8]) {
    let &[kind, high, low, byte] = edit else { return };
    let starts = starts(recording);
    let which = usize::from(u16::from_be_bytes([high, low]));
    let Some(&(at, end)) = starts.get(which % starts.len().max(1)) else { return };
    let place = at + usize::from(byte >> 3) % (end - at);
    match kind % 6 {
        0 => recording[place] ^= 1 << (byte & 7),
        1 => recording[place] = byte,
        2 => recording.truncate(place),
        3 => drop(recording.drain(at..end)),
        4 => {
            // The record once more, before another one.
            let record = recording[at..end].to_vec();
            let (to, _) = starts[usize::from(byte) % starts.len()];
            recording.splice(to..to, record);
        }
        _ => recording.insert(place, byte),
    }
}

/// Where each record begins and ends, as far as they can be read.
fn starts(recording: &[u8]) -> Vec<(usize, usize)> {
    let Ok(mut reader) = Reader::new(recording) else { return Vec::new() };
    let mut starts = Vec::new();
    loop {
        let at = reader.offset();
        let Ok(Some(_)) = reader.next_record() else { return starts };
        starts.push((at, reader.offset()));
    }
}

/// A recording of a connection on which the operations of a file were called, with any result.
fn record(file: &[u8], options: &Options) -> Option<Vec<u8>> {
    let reader = Reader::new(file).ok()?;
    match reader.start().side {
        Side::Client => play::<Client>(reader, options, client_verb),
        Side::Server => play::<Server>(reader, options, server_verb),
    }
}

fn play<R: Role>(
    mut reader: Reader<'_>,
    options: &Options,
    own: fn(&mut Recorder<R>, &Verb<'_>),
) -> Option<Vec<u8>> {
    let start = reader.start();
    let config = Config::new(start.limits.clone()).ok()?;
    let recording = Rc::new(RefCell::new(Vec::new()));
    let tape = Rc::clone(&recording);
    let sink = Box::new(move |bytes: &[u8]| tape.borrow_mut().extend_from_slice(bytes));
    let mut conn = Recorder::<R>::recording(&config, start.entropy, start.now, options, sink);
    let (mut input, mut read, mut shown_to) = (Vec::new(), 0, 0);
    let mut out = Transmit::new();
    while let Ok(Some(record)) = reader.next_record() {
        let Record::Verb(verb) = record else { continue };
        match verb {
            Verb::PollEvent { visible, fresh, now } => {
                input.extend_from_slice(fresh);
                let end = (read + visible).min(input.len());
                let mut shown = &input[read..end];
                let _ = conn.poll_event(&mut shown, now);
                read = end - shown.len();
                shown_to = shown_to.max(end);
            }
            Verb::PollTransmit { now } => {
                conn.poll_transmit(&mut out, now);
                out.clear();
            }
            Verb::CloseRead { now } => conn.close_read(now),
            Verb::NoteDelivery { now } => conn.note_delivery(now),
            Verb::Shutdown { now } => conn.shutdown(now),
            Verb::Close { code, now } => conn.close(code, now),
            Verb::Send { call, message } => {
                let _ = conn.send(call, &Encoded(message));
            }
            Verb::SendEncoded { call, message, compressed } => {
                let _ = conn.send_encoded(call, Bytes::copy_from_slice(message), compressed);
            }
            Verb::SendCompressed { call, message } => {
                let _ = conn.send_compressed(call, message);
            }
            Verb::AskRoom { call, len } => {
                let _ = conn.ask_room(call, len);
            }
            Verb::Grant { call, bytes } => conn.grant(call, bytes),
            Verb::Allot { allotment } => conn.allot(allotment),
            Verb::Recycle { bytes } => {
                // A message that came was no longer than all that came.
                conn.recycle(MessageBuf::from(vec![0; bytes.min(shown_to)]));
            }
            Verb::RecycleMetadata => conn.recycle_metadata(Metadata::new()),
            other => own(&mut conn, &other),
        }
    }
    drop(conn);
    Some(recording.take())
}

fn client_verb(conn: &mut Recorder<Client>, verb: &Verb<'_>) {
    match verb {
        Verb::Call { head, deadline, now } => {
            let _ = conn.call(&head.to_head(), *deadline, *now);
        }
        Verb::End { call } => {
            let _ = conn.end(*call);
        }
        Verb::Cancel { call } => conn.cancel(*call),
        // The other role's.
        _ => {}
    }
}

fn server_verb(conn: &mut Recorder<Server>, verb: &Verb<'_>) {
    match verb {
        Verb::Respond { call, head } => {
            let _ = conn.respond(*call, &head.to_head());
        }
        Verb::Finish { call, status, trailers } => {
            let _ = conn.finish(*call, status, trailers);
        }
        Verb::Release { call } => conn.release(*call),
        // The other role's.
        _ => {}
    }
}

/// A message as it was encoded.
struct Encoded<'m>(&'m [u8]);

impl Encode for Encoded<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}
