//! Recordings of what is simulated, in the format of those of real connections.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grpc_proto::http2::Side;
use grpc_proto::record::{Options, Recorder, Sink};
use grpc_proto::{Config, Connection, Instant, Role};
use grpc_service::Recordings;

use crate::campaign::caught;
use crate::scenario::Scenario;
use crate::world::{Report, run_on};

/// One end of a simulated connection, recorded; [`replay`](crate::replay::replay) plays it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recording {
    /// Which end it is.
    pub side: Side,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({:?}, {} bytes)", self.side, self.bytes.len())
    }
}

/// Runs a scenario and records every connection in it, in the order in which they were opened. A panic is a
/// failure like others.
pub fn record(scenario: &Scenario, keep: bool) -> (Report, Vec<Recording>) {
    let tapes = Tapes::default();
    let report = caught(|| run_on(scenario, keep, Some(&tapes)));
    let recordings = std::mem::take(&mut *tapes.lock());
    (report, recordings)
}

/// The recordings of a world; clones are handles of the same ones.
#[derive(Clone, Default)]
pub(crate) struct Tapes(Arc<Mutex<Vec<Recording>>>);

impl Tapes {
    fn lock(&self) -> MutexGuard<'_, Vec<Recording>> {
        // A panic of what is under test leaves whole bytes behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new recording.
    fn begin(&self, side: Side) -> Sink {
        let index = {
            let mut recordings = self.lock();
            recordings.push(Recording { side, bytes: Vec::new() });
            recordings.len() - 1
        };
        let tapes = self.clone();
        Box::new(move |bytes| {
            // What is dropped late, after the recordings were taken, has nobody to tell.
            if let Some(recording) = tapes.lock().get_mut(index) {
                recording.bytes.extend_from_slice(bytes);
            }
        })
    }

    /// They as an option of servers and channels.
    pub(crate) fn recordings(&self) -> Recordings {
        let tapes = self.clone();
        let recordings = Recordings::new(move |side, _| Some(tapes.begin(side)));
        recordings.max_bytes(u64::MAX).output_bytes(true)
    }
}

/// A new connection of the core, recorded if there are tapes.
pub(crate) fn connect<R: Role>(
    tapes: Option<&Tapes>,
    side: Side,
    config: &Config,
    entropy: u64,
    now: Instant,
) -> Recorder<R> {
    let Some(tapes) = tapes else {
        return Recorder::from(Connection::new(config, entropy, now));
    };
    let mut options = Options::default();
    (options.max_bytes, options.output_bytes) = (u64::MAX, true);
    Recorder::recording(config, entropy, now, &options, tapes.begin(side))
}
