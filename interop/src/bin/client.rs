//! The client of gRPC's interop tests.
//!
//! ```text
//! client --server_host=127.0.0.1 --server_port=10000 --test_case=large_unary [--runtime=monoio|tokio]
//!     [--use_tls=true --ca_file=FILE --server_host_override=NAME] [--soak_iterations=10 ..] [--of=grpcio|grpc-js]
//! ```
//!
//! `--test_case` takes several names with commas between them, or `all`. A line for each says how it went: `PASS name`, `FAIL
//! name: why`, or `SKIP name: why` for what the peer of `--of` cannot do.

use std::process::ExitCode;

use interop::cases::{ABSENT, ALL, BEYOND, Case, Soak, Target};
use interop::flags::Flags;
use interop::runtime::Server;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} cases failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the cases; returns how many failed.
fn run() -> Result<usize, String> {
    let mut known = vec![
        "server_host",
        "server_port",
        "server_host_override",
        "test_case",
        "of",
        "runtime",
        "use_tls",
        "ca_file",
    ];
    known.extend(Soak::FLAGS);
    let flags = Flags::of_process(&known)?;
    let cases = chosen(flags.text("test_case").unwrap_or("all"))?;
    let beyond = match flags.text("of") {
        None => &[][..],
        Some(peer) => {
            let found = BEYOND.iter().find(|(name, _)| *name == peer);
            found.ok_or_else(|| format!("--of={peer}: there are grpcio and grpc-js"))?.1
        }
    };
    let (server, soak) = (Server::of(&flags)?, Soak::of(&flags)?);
    let runtime = server.runtime();
    if flags.text("test_case").is_none_or(|names| names == "all") {
        for (name, needs) in ABSENT {
            println!("SKIP {name}: it needs {needs}");
        }
    }
    let run = async {
        let mut failures = 0;
        for case in cases {
            if let Some((name, why)) = beyond.iter().find(|(name, _)| *name == case.name) {
                println!("SKIP {name}: {why}");
                continue;
            }
            let outcome = match server.channel() {
                Ok(channel) => case.run(Target { server: server.clone(), channel, soak }).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => println!("PASS {}", case.name),
                Err(why) => {
                    failures += 1;
                    println!("FAIL {}: {why}", case.name);
                }
            }
        }
        failures
    };
    runtime.run(run).map_err(|error| error.to_string())
}

/// The cases of these names.
fn chosen(names: &str) -> Result<Vec<Case>, String> {
    if names == "all" {
        return Ok(ALL.to_vec());
    }
    let find = |name: &str| {
        let found = ALL.iter().find(|case| case.name == name).copied();
        found.ok_or_else(|| match ABSENT.iter().find(|(absent, _)| *absent == name) {
            Some((_, needs)) => format!("the case {name} is not there: it needs {needs}"),
            None => format!("there is no case {name}"),
        })
    };
    names.split(',').map(find).collect()
}
