//! Plants known faults one at a time and tells which oracle finds each, after how many seeds, and how
//! small it becomes. Prints a table for `docs/`.

use grpc_proto::planted::{Bug, plant};
use grpc_sim::{Campaign, Failure, Seeded, catch, generate, shrink};

const CAMPAIGNS: u64 = 5;
/// Seeds that lie between the first ones of two campaigns.
const APART: u64 = 1_000_000;
const MOST: u64 = 5000;

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    println!("| fault | oracle | seeds, median of {CAMPAIGNS} | operations |");
    println!("|---|---|---|---|");
    for &bug in Bug::ALL {
        let name = format!("{bug:?}");
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        plant(Some(bug));
        let mut found: Vec<(u64, Option<(u64, Failure)>)> = (0..CAMPAIGNS)
            .map(|campaign| {
                let run = Campaign::run(campaign * APART, MOST, |part| part.failures.is_empty());
                (run.seeds, run.failures.into_iter().next())
            })
            .collect();
        found.sort_by_key(|(seeds, found)| (found.is_none(), *seeds));
        let (median, _) = found[found.len() / 2];
        let missed = found.iter().filter(|(_, found)| found.is_none()).count();
        // The smallest over the campaigns: each finds it in a world of its own.
        let smallest = found
            .iter()
            .filter_map(|(_, found)| found.as_ref())
            .map(|(seed, failure)| shrink(&generate(&mut Seeded::new(*seed)), failure))
            .min_by_key(|(small, _)| small.operations());
        let (oracle, operations) = match &smallest {
            Some((small, failure)) => (failure.oracle.to_string(), small.operations().to_string()),
            None => ("-".into(), "-".into()),
        };
        let median = if missed > 2 { format!("more than {MOST}") } else { median.to_string() };
        println!("| {} | {oracle} | {median} | {operations} |", bug.text());
        plant(None);
        if let Some((small, _)) = smallest
            && let Some(failure) = catch(&small, false).failure
        {
            println!("NOT CLEAN without the fault: {failure}");
        }
    }
}
