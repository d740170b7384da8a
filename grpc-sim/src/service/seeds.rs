//! Worlds drawn from seeds, for tests that look for what nobody has thought of.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{NetworkFault, Sim};
use crate::campaign::said;
use crate::entropy::{Concern, Draw, Seeded, mix};
use crate::scenario::{Cut, PipePlan};

/// How much of the timeline a failing seed shows.
const LAST_LINES: usize = 40;

impl Sim {
    /// Draws from the seed how connections to `address` behave that are opened from now on, and in half of all worlds
    /// up to three faults of theirs, which are planned within `span` from now and returned.
    ///
    /// Bytes come in parts or whole, at once or 20 ms late, through wide or narrow pipes. Every
    /// [`NetworkFault`] may be among the faults; those that last do so for a quarter of `span` at most.
    pub fn draw(&self, address: &str, span: Duration) -> Vec<(Duration, NetworkFault)> {
        let mut seeded = {
            let state = &mut *self.state.borrow_mut();
            state.drawn += 1;
            Seeded::new(mix(state.seed, 1 << 48 | state.drawn))
        };
        let draw = &mut Draw::new(&mut seeded, Concern::Shape);
        let (up, down) = (pipe(draw), pipe(draw));
        self.route(address, up, down);
        let draw = &mut Draw::new(&mut seeded, Concern::Faults);
        let count = if draw.below(2) == 0 { 0 } else { draw.within(1, 3) };
        let faults: Vec<_> = (0..count)
            .map(|_| {
                let after = Duration::from_micros(draw.below(span.as_micros() as u64 + 1));
                (after, fault(draw, address, span / 4))
            })
            .collect();
        for (after, fault) in &faults {
            self.plan(*after, fault.clone());
        }
        faults
    }
}

fn pipe(draw: &mut Draw<'_>) -> PipePlan {
    PipePlan {
        // Not byte by byte: each segment is an event, and messages may be large.
        cut: draw.pick(&[Cut::Whole, Cut::Whole, Cut::Random(40), Cut::Random(3000), Cut::Frames]),
        delay_us: draw.pick(&[0, 50, 1000, 20_000]),
        bandwidth: draw.pick(&[0, 0, 0, 500, 50_000]),
        buffer: draw.pick(&[0, 0, 1000, 20_000]),
        receive_max: draw.pick(&[0, 0, 1000, 20_000]),
        write_max: draw.pick(&[0, 0, 1000]),
    }
}

fn fault(draw: &mut Draw<'_>, address: &str, longest: Duration) -> NetworkFault {
    let address = address.to_owned();
    let span = Duration::from_micros(draw.skewed(longest.as_micros() as u64));
    match draw.below(13) {
        0 => NetworkFault::Reset(address),
        1 => NetworkFault::Stall(address, span),
        2 => NetworkFault::StallUp(address, span),
        3 => NetworkFault::StallDown(address, span),
        4 => NetworkFault::Clog(address, draw.pick(&[1, 20, 500]), span),
        5 => NetworkFault::Refuse(address, span),
        6 => NetworkFault::Drain(address),
        7 => NetworkFault::Leave(address),
        8 => NetworkFault::Abort(address),
        9 => NetworkFault::AbortClients(address),
        10 => NetworkFault::HalfClose(address),
        11 => NetworkFault::HalfCloseClients(address),
        _ => NetworkFault::Crash(address, span),
    }
}

/// Runs `test` in a world for each seed, and lets each world [settle](Sim::settle) when it is done.
///
/// The first world runs twice, and must be the same: what is under test has to depend on the seed alone, and on no
/// clock, address or order of a hash table.
///
/// # Panics
/// When the test of a seed fails or panics, or a rule is broken: with the seed, the reason, and the last of what has
/// happened. A range of that one seed runs it again.
pub fn for_each_seed<E: fmt::Display>(
    seeds: impl IntoIterator<Item = u64>,
    test: impl Fn(&Sim) -> Result<(), E>,
) {
    let mut first = true;
    for seed in seeds {
        let hash = run(seed, &test);
        if std::mem::take(&mut first) {
            let again = run(seed, &test);
            assert_eq!(hash, again, "two runs of seed {seed} differ: it depends on something else");
        }
    }
}

/// Runs one world; returns the hash of all that happened.
fn run<E: fmt::Display>(seed: u64, test: impl Fn(&Sim) -> Result<(), E>) -> u64 {
    let sim = Sim::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let tested = test(&sim).map_err(|error| error.to_string());
        // A rule that is broken says more than what came of it.
        sim.settle().map_err(|failure| failure.to_string()).and(tested)
    }));
    let outcome = ran.unwrap_or_else(|panic| {
        let broken = sim.state.borrow().failure.as_ref().map(|failure| failure.to_string());
        Err(broken.unwrap_or_else(|| format!("a panic: {}", said(&*panic))))
    });
    if let Err(text) = outcome {
        let timeline = sim.timeline();
        let lines = timeline.lines().count();
        let mut last = String::new();
        for line in timeline.lines().skip(lines.saturating_sub(LAST_LINES)) {
            let _ = write!(last, "\n{line}");
        }
        panic!("seed {seed}: {text}; the last of what happened:{last}");
    }
    sim.trace_hash()
}
