//! Counters that one thread writes and any thread reads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grpc_service::Code;

use super::{LATENCY_BOUNDS, SIZE_BOUNDS};

/// The upper bounds of all buckets but the last, in nanoseconds and in bytes; a value that equals a bound is below it.
const LATENCY_NANOS: [u64; LATENCY_BOUNDS.len()] = scaled(LATENCY_BOUNDS, 1e9);
const SIZES: [u64; SIZE_BOUNDS.len()] = scaled(SIZE_BOUNDS, 1.0);

const fn scaled<const N: usize>(bounds: [f64; N], scale: f64) -> [u64; N] {
    let mut all = [0; N];
    let mut place = 0;
    while place < N {
        // Rounded: a product of decimals may lie a little below its integer.
        all[place] = (bounds[place] * scale + 0.5) as u64;
        place += 1;
    }
    all
}

/// A number that one thread adds to: a load and a store, without a locked instruction.
#[derive(Default)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram; `N` is the number of its buckets.
struct Histogram<const N: usize> {
    buckets: [Cell; N],
    sum: Cell,
}

impl<const N: usize> Histogram<N> {
    fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| Cell::default()), sum: Cell::default() }
    }

    fn record(&self, value: u64, bounds: &[u64]) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].add(1);
        self.sum.add(value);
    }

    fn add_to(&self, totals: &mut Totals) {
        totals.buckets.resize(N, 0);
        for (total, bucket) in totals.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        totals.sum += self.sum.get();
    }
}

/// The sum of several histograms: in nanoseconds or bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// One for each bucket, the last one without a bound; empty if there was no histogram.
    pub(super) buckets: Vec<u64>,
    pub(super) sum: u64,
}

/// What is counted of the calls of a method that ended with one status.
#[derive(Clone, Debug, Default)]
pub(super) struct StatusTotals {
    pub(super) duration: Totals,
    pub(super) sent: Totals,
    pub(super) received: Totals,
}

/// The same, as it is written.
struct StatusCells {
    duration: Histogram<{ LATENCY_BOUNDS.len() + 1 }>,
    sent: Histogram<{ SIZE_BOUNDS.len() + 1 }>,
    received: Histogram<{ SIZE_BOUNDS.len() + 1 }>,
}

/// What one thread counts of the calls of a method: half a kilobyte for each status that occurs.
pub(super) struct MethodCells {
    started: Cell,
    ended: [OnceLock<Box<StatusCells>>; Code::ALL.len()],
}

/// What a call has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) code: Code,
    pub(super) duration: Duration,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// The sums of a method.
#[derive(Clone, Debug, Default)]
pub(super) struct MethodTotals {
    pub(super) started: u64,
    /// By the number of the code; those that have not occurred are absent.
    pub(super) ended: [Option<Box<StatusTotals>>; Code::ALL.len()],
}

impl MethodCells {
    pub(super) fn new() -> Self {
        Self { started: Cell::default(), ended: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Counts a call that begins.
    pub(super) fn start(&self) {
        self.started.add(1);
    }

    /// Counts a call that ends.
    pub(super) fn end(&self, ended: Ended) {
        let cells = self.ended[usize::from(ended.code.number())].get_or_init(|| {
            Box::new(StatusCells {
                duration: Histogram::new(),
                sent: Histogram::new(),
                received: Histogram::new(),
            })
        });
        let nanos = u64::try_from(ended.duration.as_nanos()).unwrap_or(u64::MAX);
        cells.duration.record(nanos, &LATENCY_NANOS);
        cells.sent.record(ended.sent, &SIZES);
        cells.received.record(ended.received, &SIZES);
    }

    pub(super) fn add_to(&self, totals: &mut MethodTotals) {
        totals.started += self.started.get();
        for (total, cells) in totals.ended.iter_mut().zip(&self.ended) {
            let Some(cells) = cells.get() else { continue };
            let total = total.get_or_insert_default();
            cells.duration.add_to(&mut total.duration);
            cells.sent.add_to(&mut total.sent);
            cells.received.add_to(&mut total.received);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_whole_and_a_value_at_a_bound_lies_below_it() {
        assert_eq!(LATENCY_NANOS[1..4], [10_000, 50_000, 100_000]);
        assert_eq!(LATENCY_NANOS[15], 13_000_000);
        assert_eq!(LATENCY_NANOS[40], 100_000_000_000);
        let cells = MethodCells::new();
        for nanos in [0, 1, 10_000, 10_001, 100_000_000_000, 100_000_000_001] {
            let duration = Duration::from_nanos(nanos);
            cells.end(Ended { code: Code::Ok, duration, sent: 1024, received: 1025 });
        }
        let mut totals = MethodTotals::default();
        cells.add_to(&mut totals);
        let ok = totals.ended[0].as_ref().unwrap();
        assert_eq!(ok.duration.buckets[..3], [1, 2, 1]);
        assert_eq!(ok.duration.buckets[40..], [1, 1]);
        assert_eq!(ok.sent.buckets[..3], [0, 6, 0]);
        assert_eq!(ok.received.buckets[..3], [0, 0, 6]);
        assert_eq!((ok.sent.sum, ok.received.sum), (6 * 1024, 6 * 1025));
        assert_eq!(ok.duration.sum, 200_000_020_003);
        assert!(totals.ended[1..].iter().all(Option::is_none));
    }
}
