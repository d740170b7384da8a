//! Our stack as client of a puppet of `proto/interop.proto`: `interop_client ADDRESS [--of-grpcio] [--heavy] [--group=GROUP] [NAME...]`.
//!
//! Prints `ok NAME` or `FAILED NAME: why` for each check, then `N passed, M failed`; fails if any failed. Names choose
//! among the checks; `--of-grpcio` says that the puppet is grpcio's, `--heavy` runs the checks that move gigabytes,
//! `--group` those that need a peer with a trait.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use grpc_monoio::{MonoioHost, TcpConnector, block_on};
use grpc_proto::Limits;
use grpc_service::{Channel, ChannelOptions, Compression, Host};
use tests::interop::checks::{self, Check, Outcome, Target, Wrong};

/// What hangs is a failure.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |name: &str| {
        let given = arguments.iter().any(|argument| argument == name);
        arguments.retain(|argument| argument != name);
        given
    };
    let (of_grpcio, heavy) = (option("--of-grpcio"), option("--heavy"));
    let mut groups = arguments.iter().filter_map(|argument| argument.strip_prefix("--group="));
    let group = groups.next_back().map(str::to_owned);
    arguments.retain(|argument| !argument.starts_with("--group="));
    let Some((address, names)) = arguments.split_first() else {
        eprintln!("interop_client ADDRESS [--of-grpcio] [--heavy] [--group=GROUP] [NAME...]");
        return ExitCode::FAILURE;
    };
    let mut checks = match &group {
        Some(name) => checks::group(name).expect("a group that was compiled in"),
        None if heavy => checks::heavy(),
        None => checks::all(),
    };
    let unknown = names.iter().find(|name| !checks.iter().any(|check| *name == check.name));
    if let Some(name) = unknown {
        eprintln!("there is no check {name}");
        return ExitCode::FAILURE;
    }
    checks.retain(|check| names.is_empty() || names.iter().any(|name| name == check.name));
    let mut limits = Limits::default();
    if group.as_deref() == Some("pings") {
        // The least that is allowed, and more than a server takes by default.
        limits.keepalive = Some(Duration::from_secs(10));
    }
    let options = ChannelOptions::new(limits).expect("consistent limits");
    let options = options.compression(Compression::none().accept_all());
    match block_on(run(address, of_grpcio, &options, checks)) {
        Ok((passed, 0)) if passed > 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    address: &str,
    of_grpcio: bool,
    options: &ChannelOptions,
    checks: Vec<Check>,
) -> (u32, u32) {
    let host = MonoioHost::new();
    let (mut passed, mut failed) = (0, 0);
    for check in checks {
        match attempt(address, of_grpcio, options, &host, &check).await {
            Ok(()) => {
                passed += 1;
                println!("ok {}", check.name);
            }
            Err(wrong) => {
                failed += 1;
                println!("FAILED {}: {wrong}", check.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    (passed, failed)
}

/// Runs one check on a connection of its own, within its time.
async fn attempt(
    address: &str,
    of_grpcio: bool,
    options: &ChannelOptions,
    host: &Rc<dyn Host>,
    check: &Check,
) -> Outcome {
    let connector = TcpConnector::new(Rc::clone(host));
    let channel = Channel::connect(address, options, Rc::clone(host), &connector).await;
    let channel = channel.map_err(|error| Wrong::from(error.to_string()))?;
    let mut running = pin!((check.run)(Target { channel, host: Rc::clone(host), of_grpcio }));
    let mut limit = host.timer(host.now() + LIMIT);
    poll_fn(|cx| match running.as_mut().poll(cx) {
        Poll::Pending => {
            limit.as_mut().poll(cx).map(|()| Err(Wrong::from(format!("not done after {LIMIT:?}"))))
        }
        done => done,
    })
    .await
}
