//! The standard services over sockets, on several threads of both runtimes.

use std::net::SocketAddr;
use std::time::Duration;

use grpc_service::{CallError, Channel, Code, Router};
use grpc_standard::health::{self, Checker, HealthReporter, ServingStatus, Watching};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server on three threads, on either runtime.
enum Served {
    Monoio(grpc_monoio::Workers),
    Tokio(grpc_tokio::Workers),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Runtime {
    Monoio,
    Tokio,
}

impl Served {
    fn start(runtime: Runtime, routes: impl Fn(&mut Router) + Send + Sync + 'static) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        match runtime {
            Runtime::Monoio => {
                let options = grpc_monoio::WorkerOptions::default().threads(3);
                let workers = grpc_monoio::Workers::start(loopback, options, routes);
                Served::Monoio(workers.expect("loopback can be served"))
            }
            Runtime::Tokio => {
                let options = grpc_tokio::WorkerOptions::default().threads(3);
                let workers = grpc_tokio::Workers::start(loopback, options, routes);
                Served::Tokio(workers.expect("loopback can be served"))
            }
        }
    }

    fn target(&self) -> String {
        match self {
            Served::Monoio(workers) => format!("http://{}", workers.address()),
            Served::Tokio(workers) => format!("http://{}", workers.address()),
        }
    }

    /// Begins a stop, and returns at once.
    fn begin_stop(&self) {
        match self {
            Served::Monoio(workers) => workers.stopper().stop(PATIENCE),
            Served::Tokio(workers) => workers.stopper().stop(PATIENCE),
        }
    }

    fn wait(self) {
        match self {
            Served::Monoio(workers) => workers.wait(),
            Served::Tokio(workers) => workers.wait(),
        }
    }
}

impl Runtime {
    fn run<T>(self, future: impl Future<Output = T>) -> T {
        match self {
            Runtime::Monoio => grpc_monoio::block_on(future).expect("a runtime"),
            Runtime::Tokio => grpc_tokio::block_on(future).expect("a runtime"),
        }
    }

    async fn connect(self, target: &str) -> Result<Channel, CallError> {
        match self {
            Runtime::Monoio => grpc_monoio::connect(target).await,
            Runtime::Tokio => grpc_tokio::connect(target).await,
        }
    }
}

async fn next(watching: &mut [Watching]) -> Vec<Result<Option<ServingStatus>, Code>> {
    let mut all = Vec::new();
    for watching in watching {
        all.push(watching.next().await.map_err(|error: CallError| error.code()));
    }
    all
}

fn health(runtime: Runtime) {
    let reporter = HealthReporter::new();
    let shared = reporter.clone();
    let served = Served::start(runtime, move |router| health::register(router, &shared));
    let target = served.target();
    runtime.run(async {
        let mut watching = Vec::new();
        for _ in 0..12 {
            let channel = runtime.connect(&target).await.expect("it listens");
            let checker = Checker::new(channel);
            let status = checker.check("", PATIENCE).await;
            assert_eq!(status, Ok(ServingStatus::SERVING));
            watching.push(checker.watch("a.B").await.expect("it opens"));
        }
        let all = |status| vec![status; 12];
        let unknown = Ok(Some(ServingStatus::SERVICE_UNKNOWN));
        assert_eq!(next(&mut watching).await, all(unknown));
        // From another thread, while the watchers wait on theirs.
        let set = reporter.clone();
        std::thread::spawn(move || set.set_serving("a.B")).join().expect("no panic");
        assert_eq!(next(&mut watching).await, all(Ok(Some(ServingStatus::SERVING))));
        served.begin_stop();
        assert_eq!(next(&mut watching).await, all(Ok(Some(ServingStatus::NOT_SERVING))));
        assert_eq!(next(&mut watching).await, all(Err(Code::Unavailable)));
    });
    // No watch holds the drain up.
    served.wait();
    assert_eq!(reporter.watchers(), 0);
}

#[test]
fn health_of_monoio_is_seen_on_every_connection() {
    health(Runtime::Monoio);
}

#[test]
fn health_of_tokio_is_seen_on_every_connection() {
    health(Runtime::Tokio);
}
