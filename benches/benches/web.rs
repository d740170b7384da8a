//! Unary calls of gRPC-Web over HTTP/1.1, the server pinned to one core and `h2load` to another: microseconds of the server's
//! processor a call; and calls of gRPC on the same port, to see what the door costs them.
//!
//! Needs `h2load` (Debian's nghttp2-client) and `taskset`.

use std::path::Path;
use std::time::Duration;

use benches::Bench;
use benches::server::{Load, Server};

const CONNECTIONS: [u32; 2] = [1, 16];

const SERVERS: [(&str, bool, Option<&str>); 2] = [
    ("ours", true, option_env!("CARGO_BIN_EXE_our-web-server")),
    ("tonic", false, option_env!("CARGO_BIN_EXE_tonic-web-server")),
];

fn main() {
    let bench = Bench::new("web", "CPU us a call", 3, Duration::from_secs(2));
    if !bench.measures() {
        println!("skipped: run it by `cargo bench`");
        return;
    }
    let time = bench.round();
    for (protocol, web) in [("gRPC-Web", true), ("gRPC", false)] {
        for connections in CONNECTIONS {
            let load = Load { connections, streams: 1, body: 100, web };
            let mut case = bench.case(format!("{protocol}, 100 B, {connections} x 1"));
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
        }
    }
}
