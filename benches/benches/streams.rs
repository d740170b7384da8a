//! Streams: nanoseconds a message in memory, and microseconds of the server's and of the client's processor over sockets.
//!
//! Needs `taskset` for the rows over sockets.

use std::time::Duration;

use benches::Bench;
use benches::load::{Programs, beside};
use benches::ours::streams::Pair;
use benches::work::{Job, Work};

const KINDS: [Work; 3] = [Work::Download, Work::Upload, Work::PingPong];
const BODIES: [(usize, &str); 4] =
    [(16, "16 B"), (1 << 10, "1 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")];
const STREAMS: [u32; 2] = [1, 16];

const PROGRAMS: Programs = benches::programs!();

fn main() {
    let bench = Bench::new("streams", "ns a message in memory", 5, Duration::from_millis(100));
    for (work, body, size, streams) in shapes() {
        let name = format!("memory, {work} {size} x {streams}");
        if !bench.selects(&name) {
            continue;
        }
        let mut ours = Pair::new();
        let case = bench.case(name).ours("ours", |messages| {
            ours.run(work, body, streams.into(), messages);
        });
        #[cfg(feature = "peers")]
        let mut tonic = benches::peers::tonic::Pair::new();
        #[cfg(feature = "peers")]
        let case = case.peer("tonic", |messages| {
            tonic.run(work, body, streams.into(), messages);
        });
        case.run();
    }

    println!();
    let bench = Bench::new("streams", "CPU us a message", 3, Duration::from_secs(1));
    if !bench.measures() {
        println!("skipped over sockets: run it by `cargo bench`");
        return;
    }
    for (work, body, size, streams) in shapes() {
        let job = Job { work, body, connections: 1, streams };
        beside(&bench, format!("sockets, {work} {size} x {streams}"), &PROGRAMS, job).run();
    }
}

/// All kinds in all sizes, and the messages of 100 bytes that ping-pong is known by.
fn shapes() -> impl Iterator<Item = (Work, usize, &'static str, u32)> {
    let sizes = KINDS.into_iter().flat_map(|work| BODIES.map(|(body, size)| (work, body, size)));
    let sizes = sizes.chain([(Work::PingPong, 100, "100 B")]);
    sizes.flat_map(|(work, body, size)| STREAMS.map(|streams| (work, body, size, streams)))
}
