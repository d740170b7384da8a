//! Our stack as client of a puppet of `proto/interop.proto`: `interop_client ADDRESS [--of=PEER] [--heavy] [--group=GROUP] [NAME...]`.
//!
//! Prints `ok NAME` or `FAILED NAME: why` for each check, then `N passed, M failed`; fails if any failed. Names choose
//! among the checks; `--of=grpcio` or `--of=grpc-js` says whose the puppet is, `--heavy` runs the checks that move
//! gigabytes, `--group` those that need a peer with a trait. The environment chooses the adapter and TLS, see [`Setup`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use grpc_monoio::MonoioHost;
use grpc_proto::Limits;
use grpc_service::{Channel, ChannelOptions, Compression, Connector, Host};
use grpc_tokio::TokioHost;
use tests::interop::checks::{self, Check, Outcome, Peer, Target, Wrong};
use tests::interop::setup::Setup;

/// What hangs is a failure.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs the checks on one adapter: they have the same names, and no trait in common.
macro_rules! run_on {
    ($adapter:ident, $host:ident, $setup:expr, $running:expr) => {
        $adapter::block_on(async {
            let host = $host::new();
            let connector = $adapter::TcpConnector::new(Rc::clone(&host));
            #[cfg(feature = "tls")]
            let connector = match $setup.client_tls()? {
                Some(tls) => connector.tls(tls),
                None => connector,
            };
            Ok($running.run(&host, &connector).await)
        })
    };
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let heavy = arguments.iter().any(|argument| argument == "--heavy");
    arguments.retain(|argument| argument != "--heavy");
    let mut value = |prefix: &str| {
        let mut given = arguments.iter().filter_map(|argument| argument.strip_prefix(prefix));
        let given = given.next_back().map(str::to_owned);
        arguments.retain(|argument| !argument.starts_with(prefix));
        given
    };
    let (of, group) = (value("--of="), value("--group="));
    let of = match of.as_deref() {
        None => Peer::Ours,
        Some("grpcio") => Peer::Grpcio,
        Some("grpc-js") => Peer::GrpcJs,
        Some(other) => {
            eprintln!("there is no peer {other}");
            return ExitCode::FAILURE;
        }
    };
    let Some((address, names)) = arguments.split_first() else {
        eprintln!("interop_client ADDRESS [--of=PEER] [--heavy] [--group=GROUP] [NAME...]");
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
    let outcome = Setup::from_env().and_then(|setup| {
        let options = ChannelOptions::new(limits).expect("consistent limits");
        let options = options.compression(Compression::none().accept_all()).secure(setup.secure());
        let running = Running { address, of, options, checks };
        if setup.tokio {
            run_on!(grpc_tokio, TokioHost, setup, running)
        } else {
            run_on!(grpc_monoio, MonoioHost, setup, running)
        }?
    });
    match outcome {
        Ok((passed, 0)) if passed > 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The checks that run, and where they go.
struct Running<'a> {
    address: &'a str,
    of: Peer,
    options: ChannelOptions,
    checks: Vec<Check>,
}

impl Running<'_> {
    /// Returns how many checks have passed and failed.
    async fn run(&self, host: &Rc<dyn Host>, connector: &dyn Connector) -> (u32, u32) {
        let (mut passed, mut failed) = (0, 0);
        for check in &self.checks {
            match self.attempt(check, host, connector).await {
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
        &self,
        check: &Check,
        host: &Rc<dyn Host>,
        connector: &dyn Connector,
    ) -> Outcome {
        let channel =
            Channel::connect(self.address, &self.options, Rc::clone(host), connector).await;
        let channel = channel.map_err(|error| Wrong::from(error.to_string()))?;
        let mut running = pin!((check.run)(Target { channel, host: Rc::clone(host), of: self.of }));
        let mut limit = host.timer(host.now() + LIMIT);
        poll_fn(|cx| match running.as_mut().poll(cx) {
            Poll::Pending => limit
                .as_mut()
                .poll(cx)
                .map(|()| Err(Wrong::from(format!("not done after {LIMIT:?}")))),
            done => done,
        })
        .await
    }
}
