//! The sums over all threads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grpc_service::Code;

use super::cells::{MethodCells, MethodTotals, Totals};
use super::{LATENCY_BOUNDS, SIZE_BOUNDS, ServerMetrics};

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
    /// What threads write, by the method's path.
    live: Vec<(&'static str, Arc<MethodCells>)>,
    /// The sums of layers that are gone.
    gone: BTreeMap<&'static str, MethodTotals>,
}

/// One series of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name of the instrument, as `grpc.server.call.duration`.
    pub instrument: &'static str,
    /// The unit: `{call}`, `s` or `By`.
    pub unit: &'static str,
    /// The attribute `grpc.method`: `package.Service/Method`, or `other`.
    pub method: &'static str,
    /// The attribute `grpc.status`, which a counter of calls that were started does not have.
    pub status: Option<Code>,
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

    /// All series at this moment, by instrument, method and status.
    pub fn collect(&self) -> Vec<Series> {
        let methods = self.totals();
        let mut all = Vec::new();
        for (path, totals) in &methods {
            all.push(Series {
                instrument: "grpc.server.call.started",
                unit: "{call}",
                method: method_of(path),
                status: None,
                value: Value::Counter(totals.started),
            });
        }
        let histogram = |totals: &Totals, bounds: &'static [f64], scale: f64| Value::Histogram {
            bounds,
            buckets: totals.buckets.clone(),
            sum: totals.sum as f64 / scale,
        };
        for (instrument, unit) in [
            ("grpc.server.call.duration", "s"),
            ("grpc.server.call.sent_total_compressed_message_size", "By"),
            ("grpc.server.call.rcvd_total_compressed_message_size", "By"),
        ] {
            for (path, totals) in &methods {
                for (code, ended) in Code::ALL.iter().zip(&totals.ended) {
                    let Some(ended) = ended else { continue };
                    let value = match instrument {
                        "grpc.server.call.duration" => {
                            histogram(&ended.duration, &LATENCY_BOUNDS, 1e9)
                        }
                        "grpc.server.call.sent_total_compressed_message_size" => {
                            histogram(&ended.sent, &SIZE_BOUNDS, 1.0)
                        }
                        _ => histogram(&ended.received, &SIZE_BOUNDS, 1.0),
                    };
                    let (method, status) = (method_of(path), Some(*code));
                    all.push(Series { instrument, unit, method, status, value });
                }
            }
        }
        all
    }

    /// The sums of all threads, by path.
    fn totals(&self) -> BTreeMap<&'static str, MethodTotals> {
        let shared = self.lock();
        let mut methods = shared.gone.clone();
        for (path, cells) in &shared.live {
            cells.add_to(methods.entry(path).or_default());
        }
        methods
    }

    /// Cells for the calls of a method on one thread; `None` for paths that the server does not have.
    pub(super) fn cells(&self, path: Option<&'static str>) -> Arc<MethodCells> {
        let cells = Arc::new(MethodCells::new());
        self.lock().live.push((path.unwrap_or(OTHER), Arc::clone(&cells)));
        cells
    }

    /// Takes cells back that nobody writes any more.
    pub(super) fn retire(&self, cells: &Arc<MethodCells>) {
        let mut shared = self.lock();
        let Some(place) = shared.live.iter().position(|(_, live)| Arc::ptr_eq(live, cells)) else {
            return;
        };
        let (path, cells) = shared.live.swap_remove(place);
        cells.add_to(shared.gone.entry(path).or_default());
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
