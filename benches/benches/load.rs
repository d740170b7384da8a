//! Unary calls over sockets, the server pinned to one core and the load to another: microseconds of the server's processor
//! a call where the load is `h2load`'s, and of both ends' where it is our client's and tonic's.
//!
//! Needs `h2load` (Debian's nghttp2-client) and `taskset`.

use std::path::Path;
use std::time::Duration;

use benches::Bench;
use benches::load::{Programs, beside};
use benches::server::{Load, Server};
use benches::work::{Job, Work};

const SHAPES: [(u32, u32); 4] = [(1, 1), (1, 16), (1, 64), (10, 10)];
const BODIES: [usize; 2] = [100, 10240];

/// What a row shows of each contender: name, whether it is ours, where its program lies, if it was built.
const SERVERS: [(&str, bool, Option<&str>); 3] = [
    ("ours", true, option_env!("CARGO_BIN_EXE_our-server")),
    ("tonic", false, option_env!("CARGO_BIN_EXE_tonic-server")),
    ("pajamax", false, option_env!("CARGO_BIN_EXE_pajamax-server")),
];

const PROGRAMS: Programs = benches::programs!();

fn main() {
    let bench = Bench::new("load", "CPU us a call", 3, Duration::from_secs(2));
    if !bench.measures() {
        println!("skipped: run it by `cargo bench`");
        return;
    }
    let time = bench.round();
    for body in BODIES {
        for (connections, streams) in SHAPES {
            let load = Load { connections, streams, body, web: false };
            let mut case = bench.case(format!("{body} B, {connections} x {streams}"));
            for (name, ours, program) in SERVERS {
                let Some(program) = program else { continue };
                let round = move || {
                    Server::start(Path::new(program))?
                        .load(load, time)
                        .map(|outcome| outcome.cpu_us)
                };
                case = if ours {
                    case.ours_measured(name, round)
                } else {
                    case.peer_measured(name, round)
                };
            }
            case.run();
            let job = Job { work: Work::Unary, body, connections, streams };
            beside(&bench, format!("{body} B, {connections} x {streams}, clients"), &PROGRAMS, job)
                .run();
        }
    }
}
