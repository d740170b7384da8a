//! Several threads that serve one address.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use grpc_service::{Router, Server, ServerOptions};
use monoio::net::{ListenerOpts, TcpListener};

use crate::accept::{Stop, Stopper, serve, stopper};
use crate::host::{MonoioHost, block_on};

/// How many workers there are, and what each one is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Threads. Default: as many as the process may run at once ([`thread::available_parallelism`]).
    ///
    /// Each has its own sockets, connections and memory, and nothing is shared between them. The kernel spreads new
    /// connections over the threads by a hash of their addresses (SO_REUSEPORT): evenly for many connections, and by
    /// luck for a few.
    pub threads: usize,
    /// What the connections are like.
    pub server: ServerOptions,
    /// Connections that may wait to be accepted, per thread. Default 1024.
    pub backlog: i32,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { threads, server: ServerOptions::default(), backlog: 1024 }
    }
}

impl WorkerOptions {
    /// Sets the number of threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets what the connections are like.
    #[must_use]
    pub fn server(mut self, options: ServerOptions) -> Self {
        self.server = options;
        self
    }

    /// Sets how many connections may wait to be accepted.
    #[must_use]
    pub fn backlog(mut self, backlog: i32) -> Self {
        self.backlog = backlog;
        self
    }
}

/// Threads that serve one address.
#[derive(Debug)]
pub struct Workers {
    address: SocketAddr,
    stopper: Stopper,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Binds `address` and starts the threads; port 0 lets the system choose, see [`Workers::address`].
    ///
    /// The threads share the address by SO_REUSEPORT, and so does another process of the same user that does likewise:
    /// that it serves the address already is no error, and each gets a part of the new connections.
    ///
    /// `routes` runs once on each thread and fills its router: services live on one thread and need no locks.
    ///
    /// # Errors
    /// The address cannot be bound, or a thread or its runtime cannot be made; then none is left behind.
    pub fn start<F>(address: SocketAddr, options: WorkerOptions, routes: F) -> io::Result<Workers>
    where
        F: Fn(&mut Router) + Send + Sync + 'static,
    {
        let routes = Arc::new(routes);
        let (stopper, stop) = stopper();
        let mut workers = Workers { address, stopper, threads: Vec::new() };
        for _ in 0..options.threads.max(1) {
            if let Err(error) = workers.start_one(options.clone(), Arc::clone(&routes), &stop) {
                workers.stop(Duration::ZERO);
                return Err(error);
            }
        }
        Ok(workers)
    }

    /// Starts a thread, which has bound the address when this returns.
    fn start_one<F>(
        &mut self,
        options: WorkerOptions,
        routes: Arc<F>,
        stop: &Stop,
    ) -> io::Result<()>
    where
        F: Fn(&mut Router) + Send + Sync + 'static,
    {
        let (address, stop) = (self.address, stop.clone());
        let (report, started) = mpsc::channel();
        let name = format!("grpc-{}", self.threads.len());
        let thread = thread::Builder::new().name(name).spawn(move || {
            let failure = report.clone();
            let ran = block_on(async move {
                let opts = ListenerOpts::new().backlog(options.backlog);
                let listener = match TcpListener::bind_with_config(address, &opts) {
                    Ok(listener) => listener,
                    Err(error) => return drop(report.send(Err(error))),
                };
                let mut router = Router::new();
                routes(&mut router);
                let server = Server::new(router, options.server, MonoioHost::new());
                let bound = listener.local_addr();
                let serving = bound.is_ok();
                // Nobody listens any more only if the start was given up.
                if report.send(bound).is_ok() && serving {
                    serve(listener, &server, stop).await;
                }
            });
            if let Err(error) = ran {
                drop(failure.send(Err(error)));
            }
        })?;
        self.threads.push(thread);
        // The other threads bind the port that the first one got.
        self.address = started.recv().unwrap_or_else(|_| {
            Err(io::Error::other("a worker thread ended before it had started"))
        })?;
        Ok(())
    }

    /// The address that is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A switch that stops the workers from elsewhere.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops: calls in flight have `grace` to finish. Returns when all threads have ended.
    pub fn stop(self, grace: Duration) {
        self.stopper.stop(grace);
        self.wait();
    }

    /// Waits until the workers have been stopped.
    pub fn wait(self) {
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
