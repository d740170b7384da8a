//! The sums over all threads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grpc_service::Code;

use super::cells::{MethodCells, MethodTotals, Totals};
use super::layers::{ClientMetrics, ServerMetrics};
use super::{LATENCY_BOUNDS, SIZE_BOUNDS};

/// The metrics of a process, for all its threads. A clone is the same metrics.
///
/// A thread counts in memory of its own, without locks; reading locks a list of these and adds up. They take half a kilobyte
/// for each method, status and thread that occurs.
#[derive(Clone, Default)]
pub struct Metrics {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// What threads write.
    live: Vec<(Key, Arc<MethodCells>)>,
    /// The sums of layers that are gone.
    gone: BTreeMap<Key, MethodTotals>,
}

/// What is counted where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Server,
    Attempt,
    Call,
}

/// Which calls are counted together: the side, the path, and the target of a client.
pub(super) type Key = (Side, &'static str, Arc<str>);

/// One series of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name of the instrument, as `grpc.server.call.duration`.
    pub instrument: &'static str,
    /// The unit: `{call}`, `{attempt}`, `s` or `By`.
    pub unit: &'static str,
    /// The attribute `grpc.method`: `package.Service/Method`, or `other`.
    pub method: &'static str,
    /// The attribute `grpc.status`, which a counter of calls that were started does not have.
    pub status: Option<Code>,
    /// The attribute `grpc.target` of clients, as their layer was given it.
    pub target: Option<Arc<str>>,
    /// What was counted.
    pub value: Value,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number that only grows.
    Counter(u64),
    /// A distribution.
    Histogram {
        /// The upper bounds of all buckets but the last; a value that equals one lies below it.
        bounds: &'static [f64],
        /// How many values lie in each bucket.
        buckets: Vec<u64>,
        /// The sum of all values.
        sum: f64,
    },
}

/// What an instrument shows of the cells of a method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Started,
    Duration,
    Sent,
    Received,
}

/// The instruments of A66: name, unit, and what they show.
const INSTRUMENTS: [(&str, &str, Side, Part); 9] = [
    ("grpc.server.call.started", "{call}", Side::Server, Part::Started),
    ("grpc.server.call.duration", "s", Side::Server, Part::Duration),
    ("grpc.server.call.sent_total_compressed_message_size", "By", Side::Server, Part::Sent),
    ("grpc.server.call.rcvd_total_compressed_message_size", "By", Side::Server, Part::Received),
    ("grpc.client.attempt.started", "{attempt}", Side::Attempt, Part::Started),
    ("grpc.client.attempt.duration", "s", Side::Attempt, Part::Duration),
    ("grpc.client.attempt.sent_total_compressed_message_size", "By", Side::Attempt, Part::Sent),
    ("grpc.client.attempt.rcvd_total_compressed_message_size", "By", Side::Attempt, Part::Received),
    ("grpc.client.call.duration", "s", Side::Call, Part::Duration),
];

/// The method of calls whose path the server does not have.
const OTHER: &str = "other";

impl Metrics {
    /// Metrics of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer that counts the calls of a server, for one thread.
    pub fn server(&self) -> ServerMetrics {
        ServerMetrics::new(self.clone())
    }

    /// A layer that counts the calls of a client, for one channel: `target` is what it connects to. Put it outside of a layer
    /// that makes calls again.
    pub fn client_calls(&self, target: &str) -> ClientMetrics {
        ClientMetrics::new(self.clone(), Side::Call, target)
    }

    /// A layer that counts the attempts of a client, for one channel. Put it within a layer that makes calls again.
    pub fn client_attempts(&self, target: &str) -> ClientMetrics {
        ClientMetrics::new(self.clone(), Side::Attempt, target)
    }

    /// All series at this moment, by instrument, method, target and status.
    pub fn collect(&self) -> Vec<Series> {
        let methods = self.totals();
        let mut all = Vec::new();
        for &(instrument, unit, side, part) in &INSTRUMENTS {
            for ((_, path, target), totals) in methods.iter().filter(|((of, ..), _)| *of == side) {
                let series = |status, value| Series {
                    instrument,
                    unit,
                    method: method_of(path),
                    status,
                    target: (side != Side::Server).then(|| Arc::clone(target)),
                    value,
                };
                if part == Part::Started {
                    all.push(series(None, Value::Counter(totals.started)));
                    continue;
                }
                for (code, ended) in Code::ALL.iter().zip(&totals.ended) {
                    let Some(ended) = ended else { continue };
                    let (totals, bounds, scale): (&Totals, &'static [f64], f64) = match part {
                        Part::Duration => (&ended.duration, &LATENCY_BOUNDS, 1e9),
                        Part::Sent => (&ended.sent, &SIZE_BOUNDS, 1.0),
                        Part::Received | Part::Started => (&ended.received, &SIZE_BOUNDS, 1.0),
                    };
                    let (buckets, sum) = (totals.buckets.clone(), totals.sum as f64 / scale);
                    all.push(series(Some(*code), Value::Histogram { bounds, buckets, sum }));
                }
            }
        }
        all
    }

    /// The sums of all threads.
    fn totals(&self) -> BTreeMap<Key, MethodTotals> {
        let shared = self.lock();
        let mut methods = shared.gone.clone();
        for (key, cells) in &shared.live {
            cells.add_to(methods.entry(key.clone()).or_default());
        }
        methods
    }

    /// Cells for the calls of a method on one thread; `None` for paths that the server does not have.
    pub(super) fn cells(
        &self,
        side: Side,
        path: Option<&'static str>,
        target: &Arc<str>,
    ) -> Arc<MethodCells> {
        let cells = Arc::new(MethodCells::new());
        let key = (side, path.unwrap_or(OTHER), Arc::clone(target));
        self.lock().live.push((key, Arc::clone(&cells)));
        cells
    }

    /// Takes cells back that nobody writes any more.
    pub(super) fn retire(&self, cells: &Arc<MethodCells>) {
        let mut shared = self.lock();
        let Some(place) = shared.live.iter().position(|(_, live)| Arc::ptr_eq(live, cells)) else {
            return;
        };
        let (key, cells) = shared.live.swap_remove(place);
        cells.add_to(shared.gone.entry(key).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Sums are added under the lock, which does not panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attribute of a path.
fn method_of(path: &'static str) -> &'static str {
    path.strip_prefix('/').unwrap_or(path)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("methods", &self.totals().len()).finish()
    }
}
