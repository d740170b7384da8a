//! Client programs against server programs: what a message costs each of them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{LOAD_CORE, Server};
use crate::work::Job;
use crate::{Bench, Case};

/// Where a program lies, if it was built.
pub type Program = Option<&'static str>;

/// The programs at both ends of a connection, ours and the peer's.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// `our-server`.
    pub our_server: Program,
    /// `our-client`.
    pub our_client: Program,
    /// `tonic-server`.
    pub tonic_server: Program,
    /// `tonic-client`.
    pub tonic_client: Program,
}

/// The [`Programs`] that were built beside a benchmark: cargo names them to benchmarks alone.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::load::Programs {
            our_server: option_env!("CARGO_BIN_EXE_our-server"),
            our_client: option_env!("CARGO_BIN_EXE_our-client"),
            tonic_server: option_env!("CARGO_BIN_EXE_tonic-server"),
            tonic_client: option_env!("CARGO_BIN_EXE_tonic-client"),
        }
    };
}

/// What a message cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time of the server process, in microseconds.
    pub server_us: f64,
    /// The same of the client process.
    pub client_us: f64,
    /// Messages a second.
    pub rate: f64,
}

/// The two lines of a case that [`beside`] fills.
pub const ENDS: &[&str] = &["server", "client"];

/// Adds the contenders of one job: in the line of an end the same far end, which is ours, works for us and for tonic; and
/// last comes tonic at both ends.
pub fn beside<'a>(bench: &'a Bench, name: String, programs: &Programs, job: Job) -> Case<'a> {
    let time = bench.round();
    let Programs { our_server, our_client, tonic_server, tonic_client } = *programs;
    let mut case = bench.case_of(name, ENDS);
    if let (Some(server), Some(client)) = (our_server, our_client) {
        case = case.figures("ours", true, move || {
            let cost = cost(server, client, job, time)?;
            Ok(vec![cost.server_us, cost.client_us])
        });
    }
    if let (Some(our_server), Some(our_client)) = (our_server, our_client)
        && let (Some(tonic_server), Some(tonic_client)) = (tonic_server, tonic_client)
    {
        case = case.figures("tonic", false, move || {
            let server_us = cost(tonic_server, our_client, job, time)?.server_us;
            let client_us = cost(our_server, tonic_client, job, time)?.client_us;
            Ok(vec![server_us, client_us])
        });
        case = case.figures("both tonic", false, move || {
            let cost = cost(tonic_server, tonic_client, job, time)?;
            Ok(vec![cost.server_us, cost.client_us])
        });
    }
    case
}

/// Runs a client program against a server program, each on a core of its own.
///
/// # Errors
/// What failed: a program that does not start, ends early, or does nothing.
pub fn cost(server: &str, client: &str, job: Job, time: Duration) -> Result<Cost, String> {
    let server = Server::start(Path::new(server))?;
    let mut process = Command::new("taskset")
        .args(["-c", LOAD_CORE, "timeout", "-s", "KILL"])
        .arg(format!("{:.1}", time.as_secs_f64() * 1.25 + 5.0))
        .arg(client)
        .arg(server.address().to_string())
        .args(job.arguments(time))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("taskset: {error}"))?;
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
    let started = line();
    let before = server.cpu_us()?;
    let stopped = line();
    let server_us = server.cpu_us()? - before;
    let _ = process.wait();
    let figures: Vec<f64> =
        stopped.split(' ').skip(1).filter_map(|figure| figure.parse().ok()).collect();
    match (started.as_str(), &figures[..]) {
        ("start", &[messages, nanos]) if messages > 0.0 => Ok(Cost {
            server_us: server_us / messages,
            client_us: nanos / 1000.0 / messages,
            rate: messages / time.as_secs_f64(),
        }),
        ("start", &[..]) => Err("stalls".into()),
        _ => Err("does not start".into()),
    }
}
