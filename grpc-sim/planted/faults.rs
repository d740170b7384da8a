//! Plants known faults one at a time and tells which oracle finds each, after how many seeds, and how
//! small it becomes. Prints a table for `docs/`.
//!
//! `faults [--quick] [FAULT...]`: all faults, or those of these names. `--quick` asks only whether each is found by one
//! campaign. Fails if one is not, or if what it was shrunk to fails without it.
//!
//! This is a program of `grpc-sim` in the copy of the sources that `faults.patch` is applied to; `planted` runs it there.

use std::process::ExitCode;

use grpc_proto::planted::{Bug, plant};
use grpc_sim::{Campaign, Failure, Seeded, catch, generate, shrink};

const CAMPAIGNS: u64 = 5;
/// Seeds that lie between the first ones of two campaigns.
const APART: u64 = 1_000_000;
const MOST: u64 = 5000;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = wanted.len();
    wanted.retain(|argument| argument != "--quick");
    let quick = wanted.len() < all;
    let name = |bug: &Bug| format!("{bug:?}");
    if let Some(unknown) = wanted.iter().find(|&one| !Bug::ALL.iter().any(|bug| name(bug) == *one))
    {
        eprintln!("there is no fault {unknown}");
        return ExitCode::FAILURE;
    }
    if !quick {
        println!("| fault | oracle | seeds, median of {CAMPAIGNS} | operations |");
        println!("|---|---|---|---|");
    }
    let chosen = Bug::ALL.iter().filter(|bug| wanted.is_empty() || wanted.contains(&name(bug)));
    let look = if quick { is_found } else { measure };
    // All are looked for, whatever became of the first.
    let missed = chosen.filter(|&&bug| !look(bug)).count();
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {missed} faults");
    ExitCode::FAILURE
}

/// A campaign that ends with the first failure: how many seeds it took, and which one failed.
fn search(first: u64) -> (u64, Option<(u64, Failure)>) {
    let run = Campaign::run(first, MOST, |part| part.failures.is_empty());
    (run.seeds, run.failures.into_iter().next())
}

/// Whether one campaign finds the fault.
fn is_found(bug: Bug) -> bool {
    plant(Some(bug));
    let (seeds, found) = search(0);
    plant(None);
    match &found {
        Some((_, failure)) => println!("{bug:?}: {} after {seeds} seeds", failure.oracle),
        None => println!("{bug:?}: NOT FOUND within {seeds} seeds"),
    }
    found.is_some()
}

/// Prints the fault's row of the table; whether it was found, and what found it is clean without it.
fn measure(bug: Bug) -> bool {
    plant(Some(bug));
    let mut found: Vec<_> = (0..CAMPAIGNS).map(|campaign| search(campaign * APART)).collect();
    found.sort_by_key(|(seeds, found)| (found.is_none(), *seeds));
    let (median, _) = found[found.len() / 2];
    let missed = found.iter().filter(|(_, found)| found.is_none()).count();
    // The smallest over the campaigns: each finds it in a world of its own.
    let smallest = found
        .iter()
        .filter_map(|(_, found)| found.as_ref())
        .map(|(seed, failure)| shrink(&generate(&mut Seeded::new(*seed)), failure))
        .min_by_key(|(small, _)| small.operations());
    plant(None);
    let (oracle, operations) = match &smallest {
        Some((small, failure)) => (failure.oracle.to_string(), small.operations().to_string()),
        None => ("-".into(), "-".into()),
    };
    let median = if missed > 2 { format!("more than {MOST}") } else { median.to_string() };
    println!("| {} | {oracle} | {median} | {operations} |", bug.text());
    let Some((small, _)) = smallest else { return false };
    match catch(&small, false).failure {
        Some(failure) => {
            println!("NOT CLEAN without the fault: {failure}");
            false
        }
        None => true,
    }
}
