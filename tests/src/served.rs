//! The service of plain bytes on each of the two runtimes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use grpc_monoio::{WorkerOptions, Workers};
use grpc_service::{Router, Server, ServerOptions};

use crate::bytes::register_bytes;
use crate::echo::Echoing;
use crate::tokio_adapter::{TokioHost, serve};

/// A server on a thread of its own.
#[derive(Debug)]
pub enum Served {
    /// On monoio.
    Monoio(Box<Workers>),
    /// On tokio: where, what stops it, and its thread.
    Tokio(SocketAddr, Sender<()>, JoinHandle<()>),
}

fn routes(router: &mut Router) {
    register_bytes(router, Rc::new(Echoing));
}

impl Served {
    /// Starts one on monoio.
    ///
    /// # Panics
    /// When loopback cannot be served.
    pub fn on_monoio(options: ServerOptions) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let workers = WorkerOptions::default().threads(1).server(options);
        let workers = Workers::start(loopback, workers, routes).expect("loopback can be served");
        Served::Monoio(Box::new(workers))
    }

    /// Starts one on tokio.
    ///
    /// # Panics
    /// When loopback cannot be served.
    pub fn on_tokio(options: ServerOptions) -> Self {
        let (stop, stopped) = channel();
        let (report, started) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("loopback can be served");
                report.send(listener.local_addr().expect("bound")).expect("the test waits");
                let mut router = Router::new();
                routes(&mut router);
                let server = Server::new(router, options, TokioHost::shared());
                tokio::task::spawn_local(serve(listener, server));
                // A test that failed drops its end.
                let stopped = tokio::task::spawn_blocking(move || stopped.recv());
                let _ = stopped.await.expect("no panic");
            });
        });
        Served::Tokio(started.recv().expect("it listens"), stop, thread)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        match self {
            Served::Monoio(workers) => workers.address().to_string(),
            Served::Tokio(address, ..) => address.to_string(),
        }
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it has panicked.
    pub fn stop(self) {
        match self {
            Served::Monoio(workers) => workers.stop(Duration::from_secs(5)),
            Served::Tokio(_, stop, thread) => {
                stop.send(()).expect("it runs");
                thread.join().expect("no panic");
            }
        }
    }
}
