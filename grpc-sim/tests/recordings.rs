//! What is simulated can be recorded, and is equal when it is replayed; whatever else is in a file is told.

use grpc_proto::http2::Side;
use grpc_proto::record::{Broken, Ending, Reader, Record};
use grpc_sim::replay::{ReplayError, replay};
use grpc_sim::scenario::Knob;
use grpc_sim::{Recording, Seeded, catch, generate, record};

/// Seeds of both kinds of world.
const SEEDS: u64 = 60;

fn recordings(seed: u64) -> Vec<Recording> {
    let (report, recordings) = record(&generate(&mut Seeded::new(seed)), false);
    assert_eq!(report.failure, None, "seed {seed}");
    recordings
}

#[test]
fn simulated_connections_are_equal_when_they_are_replayed() {
    let (mut ends, mut verbs, mut events) = (0, 0, 0);
    for seed in 0..SEEDS {
        for (n, recording) in recordings(seed).iter().enumerate() {
            let replayed = replay(&recording.bytes, false).unwrap();
            assert_eq!(replayed.difference, None, "seed {seed}, recording {n}");
            assert_eq!(replayed.ending, Some(Ending::Complete), "seed {seed}, recording {n}");
            assert_eq!(replayed.start.side, recording.side);
            ends += 1;
            verbs += replayed.verbs;
            events += replayed.events;
        }
    }
    assert!(ends > 2 * SEEDS && verbs > 10_000 && events > 1000, "{ends} {verbs} {events}");
}

/// What a recorder wrote that did not know of the hold of SETTINGS.
#[test]
fn recordings_from_before_settings_were_held_are_equal_when_replayed() {
    let mut replayed = 0;
    for seed in 0..SEEDS {
        let mut scenario = generate(&mut Seeded::new(seed));
        for knobs in &mut scenario.servers {
            knobs.insert(Knob::SettingsHoldMs, 0);
        }
        let (_, recordings) = record(&scenario, false);
        for recording in recordings.iter().filter(|recording| recording.side == Side::Server) {
            let mut old = recording.bytes.clone();
            let end = Reader::new(&old).unwrap().offset();
            // The last limit, of two numbers, and how many limits there are.
            let dropped: Vec<u8> = old.drain(end - 3..end).collect();
            assert_eq!(dropped, [39, 0, 0]);
            let now = 7 + 3 + 1 + old[10] as usize + 8;
            let count = now + old[now..].iter().take_while(|&&byte| byte >= 0x80).count() + 1;
            assert_eq!(std::mem::replace(&mut old[count], 38), 39);
            let replay = replay(&old, false).unwrap();
            assert_eq!(replay.difference, None, "seed {seed}");
            replayed += 1;
        }
    }
    assert!(replayed > SEEDS, "{replayed}");
}

#[test]
fn recording_changes_nothing_in_a_world() {
    for seed in 0..20 {
        let scenario = generate(&mut Seeded::new(seed));
        let (report, _) = record(&scenario, false);
        assert_eq!(report.trace.hash(), catch(&scenario, false).trace.hash(), "seed {seed}");
    }
}

/// A recording of a few kilobytes in each direction, and of many verbs.
fn talkative() -> Vec<u8> {
    let mut all = (0..SEEDS).flat_map(recordings).map(|recording| recording.bytes);
    let found = all.find(|bytes| {
        let (read, written) = replay(bytes, false).unwrap().bytes;
        let talks = (800..4000).contains(&read) && (800..4000).contains(&written);
        talks && records(bytes).iter().filter(|(_, is_verb)| *is_verb).count() > 200
    });
    found.expect("a conversation")
}

#[test]
fn a_recording_that_breaks_off_anywhere_is_equal_as_far_as_it_goes() {
    let whole = talkative();
    let head = Reader::new(&whole).unwrap().offset();
    for len in (0..whole.len()).step_by(7) {
        match replay(&whole[..len], false) {
            Ok(replayed) => {
                assert_eq!(replayed.difference, None, "{len} bytes");
                assert_eq!(replayed.ending, Some(Ending::Torn), "{len} bytes");
            }
            Err(ReplayError::Read(error)) => {
                assert!(len < head, "{len} bytes: {error}");
                assert_eq!(error.broken, Broken::Head);
            }
            Err(error) => panic!("{len} bytes: {error}"),
        }
    }
}

/// Where each record begins, and whether it is a verb; then where the last one ends.
fn records(recording: &[u8]) -> Vec<(usize, bool)> {
    let mut reader = Reader::new(recording).unwrap();
    let mut places = Vec::new();
    loop {
        let at = reader.offset();
        match reader.next_record().unwrap() {
            Some(record) => places.push((at, matches!(record, Record::Verb(_)))),
            None => {
                places.push((at, false));
                return places;
            }
        }
    }
}

#[test]
fn a_verb_that_is_left_out_is_missed() {
    let whole = talkative();
    let places = records(&whole);
    let mut missed = 0;
    // The ends of the recording are those of a connection that does nothing any more.
    for pair in places.windows(2).step_by(5) {
        let [(from, true), (to, _)] = *pair else { continue };
        let mut less = whole.clone();
        less.drain(from..to);
        match replay(&less, false) {
            Ok(replayed) => missed += u32::from(replayed.difference.is_some()),
            Err(ReplayError::Read(_)) => missed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(missed > 20, "{missed}");
}

#[test]
fn a_byte_that_is_changed_is_told_and_one_of_what_came_out_always() {
    let whole = talkative();
    let (mut refused, mut differ, mut equal) = (0, 0, 0);
    for pair in records(&whole).windows(2) {
        let [(from, is_verb), (to, _)] = *pair else { continue };
        for at in from..to {
            let mut changed = whole.clone();
            changed[at] ^= [0x01, 0x80, 0xff][at % 3];
            match replay(&changed, false) {
                Err(ReplayError::Read(error)) => {
                    assert!(error.at >= from, "byte {at}: {error}");
                    refused += 1;
                }
                Err(error) => {
                    assert!(matches!(error, ReplayError::Role { .. }), "byte {at}: {error}");
                    refused += 1;
                }
                Ok(replayed) => match replayed.difference {
                    Some(difference) => {
                        assert!(difference.at_byte >= from, "byte {at}: {difference}");
                        differ += 1;
                    }
                    // A time may be another one, what never left may be anything, and a length may lie
                    // beyond the end.
                    None => {
                        let torn = replayed.ending == Some(Ending::Torn);
                        assert!(is_verb || torn, "byte {at} of an outcome");
                        equal += 1;
                    }
                },
            }
        }
    }
    let reported = refused + differ;
    assert!(
        refused > 100 && reported > 5 * equal,
        "{refused} refused, {differ} differ, {equal} equal"
    );
}

#[test]
fn any_head_is_refused_or_played() {
    let whole = talkative();
    let head = Reader::new(&whole).unwrap().offset();
    let mut refused = 0;
    for at in 0..head {
        for byte in [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff] {
            let mut changed = whole.clone();
            changed[at] = byte;
            // Impossible limits and numbers have their names; possible ones are played.
            refused += u32::from(replay(&changed, false).is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}
