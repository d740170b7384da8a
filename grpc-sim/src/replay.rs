//! Recordings of connections, played again: the same bytes, times and verbs for a fresh connection, whose
//! answers are held against those that were written down.
//!
//! The fresh connection is recorded as well, so what is compared are two recordings, record by record.

mod player;
mod words;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use grpc_proto::http2::Side;
use grpc_proto::record::{Ending, Options, ReadError, Reader, Record, Recorder, Start};
use grpc_proto::{Client, Config, ConfigError, Instant, Server};

use crate::trace::Trace;
use player::{Played, Player};

/// The first bytes of every recording.
pub const RECORDING: &[u8] = b"GRPCREC";

/// What came of a replay.
#[derive(Debug)]
pub struct Replay {
    /// How the connection began.
    pub start: Start,
    /// Verbs that were played.
    pub verbs: u64,
    /// Events that came of them.
    pub events: u64,
    /// Bytes that it read, and that it wrote.
    pub bytes: (u64, u64),
    /// Where the two part; `None` if they are equal.
    pub difference: Option<Difference>,
    /// How the recording ends, if it was played to its end.
    pub ending: Option<Ending>,
    /// What happened: the connection is number 0, and what it read was written by its peer.
    pub trace: Trace,
}

/// The first place where a replay is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The verb, counted from one.
    pub verb: u64,
    /// Where in the recording its record is, or that of the outcome that differs.
    pub at_byte: usize,
    /// The last time that was told.
    pub at: Instant,
    /// What was done.
    pub after: String,
    /// What differs, in words.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { verb, at_byte, at, after, text } = self;
        write!(f, "verb {verb} (byte {at_byte}, {at}), {after}: {text}")
    }
}

/// A recording that cannot be played.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayError {
    /// It cannot be read.
    Read(ReadError),
    /// Its limits are not valid.
    Limits(ConfigError),
    /// A verb of the other role.
    Role {
        /// Where its record is.
        at_byte: usize,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Read(error) => error.fmt(f),
            ReplayError::Limits(error) => write!(f, "the limits are not valid: {error}"),
            ReplayError::Role { at_byte } => {
                write!(f, "at byte {at_byte}: a verb that the role does not have")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> Self {
        ReplayError::Read(error)
    }
}

/// Plays a recording; `keep` keeps the trace's entries.
///
/// # Errors
/// What cannot be read or played. A replay that is not equal is no error: see [`Replay::difference`].
pub fn replay(recording: &[u8], keep: bool) -> Result<Replay, ReplayError> {
    replay_and_record(recording, keep, &mut |_| {})
}

/// As [`replay`], and hands over what the fresh connection records, without a head: the records of a verb at a time, up
/// to the first that differs.
///
/// # Errors
/// As there.
pub fn replay_and_record(
    recording: &[u8],
    keep: bool,
    again: &mut dyn FnMut(&[u8]),
) -> Result<Replay, ReplayError> {
    let reader = Reader::new(recording)?;
    match reader.start().side {
        Side::Client => play::<Client>(reader, keep, again),
        Side::Server => play::<Server>(reader, keep, again),
    }
}

fn play<R: Played>(
    mut reader: Reader<'_>,
    keep: bool,
    again: &mut dyn FnMut(&[u8]),
) -> Result<Replay, ReplayError> {
    let start = reader.start().clone();
    let config = Config::new(start.limits.clone()).map_err(ReplayError::Limits)?;
    let tape = Rc::new(RefCell::new(Vec::new()));
    let mut options = Options::default();
    (options.max_bytes, options.output_bytes) = (u64::MAX, start.output_bytes);
    let sink = {
        let tape = Rc::clone(&tape);
        Box::new(move |bytes: &[u8]| tape.borrow_mut().extend_from_slice(bytes))
    };
    let conn = Recorder::<R>::recording(&config, start.entropy, start.now, &options, sink);
    let trace = if keep { Trace::kept() } else { Trace::default() };
    let mut player = Player::new(conn, start.now, trace);
    let mut difference = None;
    loop {
        let (before, at_byte) = (reader.clone(), reader.offset());
        let Some(record) = reader.next_record()? else { break };
        let verb = match record {
            Record::Verb(verb) => verb,
            Record::Outcome(outcome) => {
                let text = format!(
                    "nothing more came of it, and {} was recorded",
                    words::outcome(&outcome)
                );
                difference = Some(player.difference(at_byte, text));
                break;
            }
        };
        tape.borrow_mut().clear();
        player.play(&verb).map_err(|()| ReplayError::Role { at_byte })?;
        let ours = tape.borrow();
        again(&ours);
        // Its first record is the verb again.
        let mut ours = before.elsewhere(&ours);
        ours.next_record()?;
        let found = compare(&mut reader, &mut ours)?;
        if let Some((at_byte, text)) = found {
            difference = Some(player.difference(at_byte, text));
            break;
        }
    }
    if let Some(difference) = &difference {
        player.note(&format!("DIFFERS: {}", difference.text));
    }
    let ending = if difference.is_none() { reader.ending() } else { None };
    let (verbs, events, bytes, trace) = player.finish();
    Ok(Replay { start, verbs, events, bytes, difference, ending, trace })
}

/// Holds the outcomes of a verb against those that were recorded, as far as they go: a recording may end
/// between a verb and what came of it.
fn compare(
    recorded: &mut Reader<'_>,
    ours: &mut Reader<'_>,
) -> Result<Option<(usize, String)>, ReadError> {
    while let Some(Record::Outcome(ours)) = ours.next_record()? {
        let at_byte = recorded.offset();
        let text = match recorded.next_record()? {
            None => return Ok(None),
            Some(Record::Outcome(recorded)) if recorded == ours => continue,
            Some(Record::Outcome(recorded)) => words::differ(&recorded, &ours),
            Some(Record::Verb(_)) => {
                format!("{} came of it, and nothing was recorded", words::outcome(&ours))
            }
        };
        return Ok(Some((at_byte, text)));
    }
    Ok(None)
}
