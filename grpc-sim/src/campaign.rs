//! Many seeds: what failed, what was reached, and how fast.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::entropy::Seeded;
use crate::generate::generate;
use crate::marks::Marks;
use crate::oracle::{Failure, Oracle};
use crate::scenario::Scenario;
use crate::trace::Hash;
use crate::world::{Report, run};

/// Runs a scenario; a panic of what is under test is a failure like others.
pub fn catch(scenario: &Scenario, keep: bool) -> Report {
    caught(|| run(scenario, keep))
}

/// What `ran` reports, or its panic as a failure.
pub(crate) fn caught(ran: impl FnOnce() -> Report) -> Report {
    let ran = catch_unwind(AssertUnwindSafe(ran));
    ran.unwrap_or_else(|panic| {
        let failure = Failure { oracle: Oracle::Panic, text: said(&*panic), at_ns: 0 };
        Report { failure: Some(failure), ..Report::default() }
    })
}

/// What a panic has to say.
pub(crate) fn said(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Seeds that ran.
    pub seeds: u64,
    /// Events over all worlds.
    pub events: u64,
    /// Calls that ended with OK.
    pub calls_ok: u64,
    /// Seeds that reached each mark, in the order of [`Marks::names`].
    pub marks: Vec<u64>,
    /// Seeds that failed.
    pub failures: Vec<(u64, Failure)>,
    /// A sum over hashes of each seed with its trace: the same however the seeds are shared among threads.
    pub hash: u64,
    /// Time that it took.
    pub took: Duration,
}

impl Campaign {
    /// Runs the seeds of `first..first + seeds`, every hundredth one twice; `progress` is told now and
    /// then and says whether to go on.
    pub fn run(first: u64, seeds: u64, mut progress: impl FnMut(&Campaign) -> bool) -> Self {
        let began = Instant::now();
        let mut campaign = Campaign { marks: vec![0; Marks::names().count()], ..Self::default() };
        for seed in first..first + seeds {
            let scenario = generate(&mut Seeded::new(seed));
            let mut report = catch(&scenario, false);
            if seed % 100 == 0
                && report.failure.is_none()
                && catch(&scenario, false).trace.hash() != report.trace.hash()
            {
                let text = "two runs of the same seed differ".to_owned();
                report.failure = Some(Failure { oracle: Oracle::Repeatable, text, at_ns: 0 });
            }
            campaign.add(seed, report);
            campaign.took = began.elapsed();
            if !progress(&campaign) {
                break;
            }
        }
        campaign
    }

    /// Marks that no seed has reached.
    pub fn holes(&self) -> Vec<String> {
        let counted = Marks::names().zip(&self.marks);
        counted.filter(|&(_, &count)| count == 0).map(|(name, _)| name).collect()
    }

    fn add(&mut self, seed: u64, report: Report) {
        self.seeds += 1;
        self.events += report.events;
        self.calls_ok += report.calls_ok;
        let mut hash = Hash::default();
        hash.number(seed);
        hash.number(report.trace.hash());
        self.hash = self.hash.wrapping_add(hash.value());
        for (index, count) in self.marks.iter_mut().enumerate() {
            *count += u64::from(report.marks.has(index));
        }
        self.failures.extend(report.failure.map(|failure| (seed, failure)));
    }

    /// Adds what another thread has found.
    pub fn merge(&mut self, other: Campaign) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.calls_ok += other.calls_ok;
        self.hash = self.hash.wrapping_add(other.hash);
        self.marks.resize(other.marks.len(), 0);
        for (count, more) in self.marks.iter_mut().zip(other.marks) {
            *count += more;
        }
        self.failures.extend(other.failures);
        self.took = self.took.max(other.took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_in_parts_has_the_hash_of_the_whole_and_counts_every_seed() {
        let whole = Campaign::run(0, 9, |_| true);
        let mut parts = Campaign::run(5, 4, |_| true);
        parts.merge(Campaign::run(0, 5, |_| true));
        assert_eq!((parts.hash, parts.seeds, parts.events), (whole.hash, 9, whole.events));
        assert_eq!(parts.marks, whole.marks);
        assert_ne!(parts.hash, Campaign::run(0, 8, |_| true).hash);
    }

    #[test]
    fn a_mark_that_no_seed_has_reached_is_a_hole() {
        let mut campaign = Campaign::run(0, 0, |_| true);
        assert_eq!(campaign.holes().len(), Marks::names().count());
        campaign.marks.fill(1);
        campaign.marks[2] = 0;
        assert_eq!(campaign.holes(), ["an answer without messages or headers"]);
    }
}
