//! Arguments and what they do.

use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grpc_proto::http2::Side;
use grpc_proto::record::Ending;
use grpc_sim::replay::{RECORDING, Replay, replay};
use grpc_sim::{
    Campaign, Failure, Marks, Report, Scenario, Seeded, Trace, catch, generate, record, show,
    shrink,
};

pub(crate) const USAGE: &str = "\
usage: grpc-sim run SEED [SHOW]               one seed
       grpc-sim replay FILE [SHOW]            a scenario kept as JSON, or the recording of a connection
       grpc-sim diff SEED|FILE SEED|FILE      where two runs part
       grpc-sim shrink SEED|FILE [FILE]       the smallest scenario that fails the same way
       grpc-sim campaign [--seeds N] [--first SEED] [--jobs N] [--minutes N] [--keep DIR]
                         [--marks]     fails if one of the simulator's own marks is not reached
A campaign fails too if its minutes are over before its seeds, and one of 100000 seeds and more if a mark is not reached.
SHOW: --timeline [--until MICROSECONDS]  --pcap FILE  --chrome FILE
      of scenarios: --scenario  --record DIR (a recording of each end of each connection)";

/// Seeds that must reach every mark.
const REACH_ALL: u64 = 100_000;

/// Runs a command; `false` if a rule was broken.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let (command, rest) = args.split_first().ok_or("a command is missing")?;
    match (command.as_str(), rest) {
        ("replay", [what, rest @ ..]) if is_recording(what) => {
            known(rest, &[SHOW])?;
            replay_one(what, rest)
        }
        ("run" | "replay", [what, rest @ ..]) => {
            known(rest, &[SHOW, SHOW_SCENARIO])?;
            show_one(&load(what)?, rest)
        }
        ("diff", [one, two]) => diff(&load(one)?, &load(two)?),
        ("shrink", [what]) => shrink_one(&load(what)?, None),
        ("shrink", [what, path]) => shrink_one(&load(what)?, Some(path)),
        ("campaign", rest) => {
            known(rest, &[CAMPAIGN])?;
            campaign(rest)
        }
        ("run" | "replay" | "diff" | "shrink", _) => {
            Err(format!("{command} takes other arguments"))
        }
        _ => Err(format!("what is {command}?")),
    }
}

/// Options, and whether a value stands behind each.
type Options = &'static [(&'static str, bool)];

const SHOW: Options =
    &[("--timeline", false), ("--until", true), ("--pcap", true), ("--chrome", true)];
const SHOW_SCENARIO: Options = &[("--scenario", false), ("--record", true)];
const CAMPAIGN: Options = &[
    ("--seeds", true),
    ("--first", true),
    ("--jobs", true),
    ("--minutes", true),
    ("--keep", true),
    ("--marks", false),
];

/// Refuses what none of the options is: a campaign whose `--seeds=100000` counts for nothing would look like one of
/// 100,000 seeds.
fn known(args: &[String], options: &[Options]) -> Result<(), String> {
    let options: Vec<_> = options.iter().copied().flatten().collect();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some((name, has_value)) = options.iter().find(|(name, _)| name == arg) else {
            let names: Vec<_> = options.iter().map(|(name, _)| *name).collect();
            return Err(format!("{arg} is none of {}", names.join(", ")));
        };
        if *has_value && args.next().is_none() {
            return Err(format!("{name} takes a value"));
        }
    }
    Ok(())
}

/// A seed, or a file.
fn load(what: &str) -> Result<Scenario, String> {
    if let Ok(seed) = what.parse() {
        return Ok(generate(&mut Seeded::new(seed)));
    }
    let text = fs::read_to_string(what).map_err(|error| format!("{what}: {error}"))?;
    let scenario: Scenario =
        serde_json::from_str(&text).map_err(|error| format!("{what}: {error}"))?;
    scenario.check().map_err(|error| format!("{what}: {error}"))?;
    Ok(scenario)
}

/// The value behind an option.
fn option<'a>(args: &'a [String], name: &str) -> Option<&'a String> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1)
}

fn number(args: &[String], name: &str, default: u64) -> Result<u64, String> {
    match option(args, name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{name} takes a number, not {text}")),
    }
}

fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{path}: {error}"))
}

fn show_one(scenario: &Scenario, args: &[String]) -> Result<bool, String> {
    let report = match option(args, "--record") {
        None => catch(scenario, true),
        Some(dir) => record_into(dir, scenario)?,
    };
    if args.iter().any(|arg| arg == "--scenario") {
        println!("{}", json(scenario));
    }
    show_trace(&report.trace, args)?;
    Ok(print_outcome(scenario, &report))
}

fn show_trace(trace: &Trace, args: &[String]) -> Result<(), String> {
    if args.iter().any(|arg| arg == "--timeline") {
        let until = number(args, "--until", u64::MAX)?;
        for line in show::timeline(trace).lines() {
            let at = line.split_whitespace().next().and_then(|at| at.parse::<u64>().ok());
            if at.is_none_or(|at| at <= until) {
                println!("{line}");
            }
        }
    }
    if let Some(path) = option(args, "--pcap") {
        write(path, &show::pcap(trace))?;
    }
    if let Some(path) = option(args, "--chrome") {
        write(path, show::chrome(trace).as_bytes())?;
    }
    Ok(())
}

fn record_into(dir: &str, scenario: &Scenario) -> Result<Report, String> {
    fs::create_dir_all(dir).map_err(|error| format!("{dir}: {error}"))?;
    let (report, recordings) = record(scenario, true);
    for (n, recording) in recordings.iter().enumerate() {
        write(&format!("{dir}/{n:03}-{}.grpcrec", name(recording.side)), &recording.bytes)?;
    }
    Ok(report)
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

fn is_recording(what: &str) -> bool {
    let mut start = [0; RECORDING.len()];
    let file = fs::File::open(what);
    file.is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == RECORDING)
}

fn replay_one(path: &str, args: &[String]) -> Result<bool, String> {
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let replayed = replay(&bytes, true).map_err(|error| format!("{path}: {error}"))?;
    show_trace(&replayed.trace, args)?;
    let Replay { start, verbs, events, bytes, difference, ending, .. } = &replayed;
    println!(
        "a {} recorded by grpc-proto {}: {verbs} verbs, {events} events, {} bytes in, {} bytes out",
        name(start.side),
        start.version,
        bytes.0,
        bytes.1
    );
    match difference {
        Some(difference) => println!("differs at {difference}"),
        None => println!("equal; {}", ending.map_or("", ended)),
    }
    Ok(difference.is_none())
}

fn ended(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "the recording is complete",
        Ending::Cut => "the recording was cut at its largest size",
        Ending::Torn => "the recording breaks off",
    }
}

fn print_outcome(scenario: &Scenario, report: &Report) -> bool {
    println!(
        "{} operations, {} events, {} calls ok, trace {:016x}, scenario {:016x}",
        scenario.operations(),
        report.events,
        report.calls_ok,
        report.trace.hash(),
        scenario.fingerprint()
    );
    match &report.failure {
        None => println!("clean"),
        Some(failure) => println!("{failure}"),
    }
    report.failure.is_none()
}

fn diff(one: &Scenario, two: &Scenario) -> Result<bool, String> {
    let (one, two) = (catch(one, true), catch(two, true));
    let (one, two) = (show::timeline(&one.trace), show::timeline(&two.trace));
    let parts = one.lines().zip(two.lines()).position(|(one, two)| one != two);
    let shorter = one.lines().count().min(two.lines().count());
    match parts {
        None if one == two => println!("the same, {shorter} steps"),
        at => {
            let at = at.unwrap_or(shorter);
            println!("the same for {at} steps, then");
            for text in [&one, &two] {
                for line in text.lines().skip(at).take(5) {
                    println!("  {line}");
                }
                println!("  --");
            }
        }
    }
    Ok(one == two)
}

fn shrink_one(scenario: &Scenario, path: Option<&String>) -> Result<bool, String> {
    quiet();
    let Some(failure) = catch(scenario, false).failure else {
        println!("clean: nothing to shrink");
        return Ok(true);
    };
    let (small, failure) = shrink(scenario, &failure);
    eprintln!("{} operations, from {}: {failure}", small.operations(), scenario.operations());
    match path {
        Some(path) => write(path, json(&small).as_bytes())?,
        None => println!("{}", json(&small)),
    }
    Ok(false)
}

fn json(scenario: &Scenario) -> String {
    serde_json::to_string_pretty(scenario).unwrap_or_default() + "\n"
}

/// Panics of what is under test are results here, not noise.
fn quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn campaign(args: &[String]) -> Result<bool, String> {
    quiet();
    let (seeds, first) = (number(args, "--seeds", 1000)?, number(args, "--first", 0)?);
    let jobs = number(args, "--jobs", 1)?.max(1);
    let keep_in = option(args, "--keep");
    if let Some(dir) = keep_in {
        // Now, not when all seeds have run.
        fs::create_dir_all(dir).map_err(|error| format!("{dir}: {error}"))?;
    }
    let limit = Duration::from_secs(60 * number(args, "--minutes", 24 * 60)?);
    let began = Instant::now();
    let share = seeds.div_ceil(jobs);
    let done = AtomicU64::new(0);
    let mut whole = Campaign::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs)
            .map(|job| {
                let done = &done;
                let from = first + job * share;
                let count = share.min(seeds.saturating_sub(job * share));
                let mut reported = 0;
                let progress = move |part: &Campaign| {
                    for (seed, failure) in &part.failures[reported..] {
                        eprintln!("\nseed {seed}: {failure}");
                    }
                    reported = part.failures.len();
                    tell(done, seeds, began) < limit
                };
                scope.spawn(move || Campaign::run(from, count, progress))
            })
            .collect();
        for thread in threads {
            whole.merge(thread.join().expect("a campaign catches panics"));
        }
    });
    eprintln!();
    print_campaign(&whole, jobs);
    for (seed, failure) in whole.failures.iter().take(20) {
        println!("seed {seed}: {failure}");
        if let Some(dir) = keep_in
            && let Err(error) = keep(dir, *seed, failure)
        {
            println!("  not kept: {error}");
        }
    }
    if whole.seeds < seeds {
        println!("cut short: {} of {seeds} seeds have run", whole.seeds);
    }
    let holes = whole.holes();
    let own_are_reached = holes.iter().all(|name| name.starts_with(Marks::RULES));
    let wants_own = args.iter().any(|arg| arg == "--marks");
    let reached = (own_are_reached || !wants_own) && (holes.is_empty() || seeds < REACH_ALL);
    Ok(whole.failures.is_empty() && whole.seeds >= seeds && reached)
}

/// Shows how far all threads are; returns the time they have taken.
fn tell(done: &AtomicU64, seeds: u64, began: Instant) -> Duration {
    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
    let took = began.elapsed();
    if done.is_multiple_of(500) {
        let rate = done as f64 / took.as_secs_f64();
        eprint!("\r{done} of {seeds} seeds, {rate:.0} a second ");
    }
    took
}

fn print_campaign(campaign: &Campaign, jobs: u64) {
    let seconds = campaign.took.as_secs_f64();
    println!(
        "{} seeds, {} events, {} calls ok, {} failed; {seconds:.1} s, {:.0} seeds a second a job, {jobs} jobs; hash {:016x}",
        campaign.seeds,
        campaign.events,
        campaign.calls_ok,
        campaign.failures.len(),
        campaign.seeds as f64 / seconds / jobs as f64,
        campaign.hash
    );
    for (name, count) in Marks::names().zip(&campaign.marks) {
        println!("{count:>9}  {name}");
    }
    match campaign.holes()[..] {
        [] => println!("each of {} marks was reached", campaign.marks.len()),
        ref holes => println!("{} marks were not reached: {}", holes.len(), holes.join("; ")),
    }
}

/// Shrinks a failing seed into a file.
fn keep(dir: &str, seed: u64, failure: &Failure) -> Result<(), String> {
    let (small, failure) = shrink(&generate(&mut Seeded::new(seed)), failure);
    let path = format!("{dir}/{}-{seed}.json", failure.oracle);
    println!("  {} operations in {path}: {failure}", small.operations());
    write(&path, json(&small).as_bytes())
}
