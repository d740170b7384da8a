//! Many connections and many streams: memory of the server each, and what a busy connection costs beside them.
//!
//! Needs `taskset`, and descriptors for the largest number of connections in each process (`ulimit -n`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use benches::Bench;
use benches::probe::Probe;
use benches::server::Server;

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const SERVERS: [(&str, bool, Option<&str>); 2] = [
    ("ours", true, option_env!("CARGO_BIN_EXE_our-server")),
    ("tonic", false, option_env!("CARGO_BIN_EXE_tonic-server")),
];

/// Connections beside the busy one.
const CONNECTIONS: [usize; 3] = [1, 100, 10_000];
/// Streams that are open on [`CARRIERS`] connections.
const STREAMS: [usize; 2] = [1, 10_000];
const CARRIERS: usize = 100;
/// Connections that are opened one after the other for the time to their first SETTINGS.
const GREETED: usize = 1000;
/// Time for servers to give memory back: more than the second after which ours does by default.
const REST: Duration = Duration::from_millis(2500);
/// Descriptors that a process needs beside its connections.
const BESIDE: usize = 64;

/// The lines of a case with connections: KiB of memory each and microseconds of processor time.
const OF_CONNECTIONS: &[&str] =
    &["KiB idle", "KiB used", "KiB rested", "us accept, cpu", "us accept, all", "us busy call"];
/// The line of a connection that is opened: microseconds on the clock from before its connect to the first frame of the
/// server, for a client that speaks first.
const OF_NEW: &[&str] = &["us SETTINGS"];
/// The same for streams.
const OF_STREAMS: &[&str] = &["KiB open", "us busy call"];

fn main() {
    let bench = Bench::new("scale", "of the server, each", 3, Duration::from_millis(500));
    if !bench.measures() {
        println!("skipped: run it by `cargo bench`");
        return;
    }
    let time = bench.round();
    for count in CONNECTIONS {
        let count = count.min(descriptors().saturating_sub(BESIDE));
        let mut case = bench.case_of(format!("{count} connections"), OF_CONNECTIONS);
        for (name, ours, program) in SERVERS {
            let Some(program) = program else { continue };
            case = case.figures(name, ours, move || connections(program, count, time));
        }
        case.run();
    }
    let mut case = bench.case_of("a new connection", OF_NEW);
    for (name, ours, program) in SERVERS {
        let Some(program) = program else { continue };
        case = case.figures(name, ours, move || greet(program, time));
    }
    case.run();
    for count in STREAMS {
        let name = format!("{count} streams on {CARRIERS}");
        let mut case = bench.case_of(name, OF_STREAMS);
        for (name, ours, program) in SERVERS {
            let Some(program) = program else { continue };
            case = case.figures(name, ours, move || streams(program, count, time));
        }
        case.run();
    }
}

/// A server with one connection that has been busy, so that what it needs once is there, and its memory in KiB.
struct Ready {
    server: Server,
    probe: Probe,
    kib: f64,
}

impl Ready {
    fn start(program: &str, time: Duration) -> Result<Self, String> {
        let server = Server::start(Path::new(program))?;
        let mut probe = Probe::start(PROBE, server.address())?;
        probe.order("connect 1")?;
        probe.order(&format!("busy {}", time.as_millis() / 4))?;
        std::thread::sleep(REST);
        let kib = resident(&server)?;
        Ok(Self { server, probe, kib })
    }

    /// How many KiB more the server has than at first, for each of `count`.
    fn kib_each(&self, count: usize) -> Result<f64, String> {
        Ok((resident(&self.server)? - self.kib) / count as f64)
    }

    /// Microseconds of the server's processor for a call on the busy connection.
    fn busy(&mut self, time: Duration) -> Result<f64, String> {
        let before = self.server.cpu_us()?;
        let calls = self.probe.order(&format!("busy {}", time.as_millis()))?;
        Ok((self.server.cpu_us()? - before) / calls[0])
    }
}

fn connections(program: &str, count: usize, time: Duration) -> Result<Vec<f64>, String> {
    let mut ready = Ready::start(program, time)?;
    let before = ready.server.cpu_us()?;
    let seconds = ready.probe.order(&format!("connect {count}"))?[0];
    let accept = (ready.server.cpu_us()? - before) / count as f64;
    let idle = ready.kib_each(count)?;
    ready.probe.order("use")?;
    let used = ready.kib_each(count)?;
    std::thread::sleep(REST);
    let rested = ready.kib_each(count)?;
    let busy = ready.busy(time)?;
    Ok(vec![idle, used, rested, accept, seconds * 1e6 / count as f64, busy])
}

fn greet(program: &str, time: Duration) -> Result<Vec<f64>, String> {
    let mut ready = Ready::start(program, time)?;
    ready.probe.order(&format!("greet {GREETED}"))
}

fn streams(program: &str, count: usize, time: Duration) -> Result<Vec<f64>, String> {
    let mut ready = Ready::start(program, time)?;
    ready.probe.order(&format!("connect {CARRIERS}"))?;
    ready.kib = resident(&ready.server)?;
    ready.probe.order(&format!("open {count}"))?;
    let open = ready.kib_each(count)?;
    Ok(vec![open, ready.busy(time)?])
}

/// Memory of a process that is its own: what it shares with files on disk is left out.
fn resident(server: &Server) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()));
    let status = status.map_err(|_| "has died")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| "has no RssAnon in its status".into())
}

/// Files that this process and its children may have open.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    limit.unwrap_or(1024)
}
