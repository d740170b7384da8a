//! Latency under an open load: microseconds from when a call was due to its end, at parts of what tonic can serve.
//!
//! Needs `taskset`, and the feature `peers`: without tonic there is no rate to take parts of.

use std::path::Path;
use std::time::Duration;

use benches::Bench;
use benches::load::cost;
use benches::probe::Probe;
use benches::server::Server;
use benches::work::{Job, Work};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const OUR_SERVER: &str = env!("CARGO_BIN_EXE_our-server");
const OUR_CLIENT: &str = env!("CARGO_BIN_EXE_our-client");
const TONIC_SERVER: Option<&str> = option_env!("CARGO_BIN_EXE_tonic-server");

/// What is compared: unary calls of this size.
const BODY: usize = 100;
/// Percents of the saturation.
const PARTS: [u32; 3] = [20, 50, 80];

fn main() {
    let bench = Bench::new("latency", "us a unary call of 100 B", 5, Duration::from_secs(2));
    let (true, Some(tonic)) = (bench.measures(), TONIC_SERVER) else {
        println!("skipped: run it by `cargo bench` with the feature `peers`");
        return;
    };
    let saturation = match saturation(tonic, bench.round()) {
        Ok(rate) => rate,
        Err(reason) => return println!("tonic under a closed load {reason}"),
    };
    println!("tonic serves {saturation:.0} calls a second with 64 in flight on one connection");
    for percent in PARTS {
        let rate = saturation * f64::from(percent) / 100.0;
        let name = format!("{percent} %, {rate:.0} calls/s");
        let time = bench.round();
        bench
            .case_of(name, &["p50", "p99", "p99.9"])
            .figures("ours", true, move || percentiles(OUR_SERVER, rate, time))
            .figures("tonic", false, move || percentiles(tonic, rate, time))
            .run();
    }
}

/// Calls a second that tonic serves at most, in the middle of three rounds.
fn saturation(tonic: &str, time: Duration) -> Result<f64, String> {
    let job = Job { work: Work::Unary, body: BODY, connections: 1, streams: 64 };
    let rounds = (0..3).map(|_| cost(tonic, OUR_CLIENT, job, time).map(|cost| cost.rate));
    let mut rates = rounds.collect::<Result<Vec<f64>, String>>()?;
    rates.sort_by(f64::total_cmp);
    Ok(rates[1])
}

fn percentiles(program: &str, rate: f64, time: Duration) -> Result<Vec<f64>, String> {
    let server = Server::start(Path::new(program))?;
    let mut probe = Probe::start(PROBE, server.address())?;
    probe.order("connect 1")?;
    probe.order(&format!("rate {rate:.0} {}", time.as_millis()))
}
