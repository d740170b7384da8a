//! Several threads that serve one address.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use grpc_service::adapter::{Stop, Stopper, Threads, WorkerStats};
use grpc_service::{Router, Server, ServerOptions, SharedLimits};
use monoio::net::TcpListener;

use crate::accept::serve;
use crate::host::{MonoioHost, block_on};
use crate::listen::listen_all;

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
    /// Whether other groups and processes of the same user may serve the same port, and each gets a part of the new
    /// connections. Default false: an address that is served already is an error.
    ///
    /// All of them have to ask for it. A socket of another program that asks for SO_REUSEPORT can join a group of several
    /// threads afterwards; the kernel has no way to refuse it.
    pub share_port: bool,
    /// TLS in front of each connection. Default none.
    #[cfg(feature = "tls")]
    pub tls: Option<grpc_tls::ServerTls>,
    /// gRPC-Web and plain HTTP beside gRPC. Default none.
    #[cfg(feature = "web")]
    pub web: Option<grpc_web::Web>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            threads,
            server: ServerOptions::default(),
            backlog: 1024,
            share_port: false,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "web")]
            web: None,
        }
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

    /// Puts TLS in front of each connection; keep a clone of `tls` to replace its certificates while the workers serve.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: grpc_tls::ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves gRPC-Web and plain HTTP beside gRPC, as `web` says.
    #[cfg(feature = "web")]
    #[must_use]
    pub fn web(mut self, web: grpc_web::Web) -> Self {
        self.web = Some(web);
        self
    }

    /// Sets whether other groups and processes may serve the same port.
    #[must_use]
    pub fn share_port(mut self, share: bool) -> Self {
        self.share_port = share;
        self
    }
}

/// Threads that serve one address.
#[derive(Debug)]
pub struct Workers {
    address: SocketAddr,
    threads: Threads,
    options: ServerOptions,
}

impl Workers {
    /// Binds `address` and starts the threads; port 0 lets the system choose, see [`Workers::address`].
    ///
    /// The threads share the address by SO_REUSEPORT. Others may share it too if they and
    /// [`WorkerOptions::share_port`] say so; otherwise an address that is served already is an error.
    ///
    /// `routes` runs once on each thread and fills its router: services live on one thread and need no locks.
    ///
    /// # Errors
    /// The address, which the error names, cannot be bound, or a thread or its runtime cannot be made; then none is left behind.
    pub fn start<F>(address: SocketAddr, options: WorkerOptions, routes: F) -> io::Result<Workers>
    where
        F: Fn(&mut Router) + Send + Sync + 'static,
    {
        let routes = Arc::new(routes);
        let threads = options.threads.max(1);
        let listeners = listen_all(address, threads, options.backlog, options.share_port)?;
        let address = listeners[0].local_addr()?;
        let server = options.server.clone();
        let mut workers = Workers { address, threads: Threads::new(), options: server };
        for listener in listeners {
            let (options, routes) = (options.clone(), Arc::clone(&routes));
            let started = workers.threads.start(move |worker| {
                block_on(async move {
                    // On epoll, an accept on a blocking socket would hold the whole thread.
                    listener.set_nonblocking(monoio::utils::is_legacy())?;
                    let listener = TcpListener::from_std(listener)?;
                    let mut router = Router::new();
                    routes(&mut router);
                    let server = Server::new(router, options.server.clone(), MonoioHost::new());
                    worker.run(&server, |stop| serve_as(listener, &server, &options, stop)).await;
                    Ok(())
                })?
            });
            if let Err(error) = started {
                workers.stop(Duration::ZERO);
                return Err(error);
            }
        }
        Ok(workers)
    }

    /// The address that is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counters of all workers: those of closed connections added up, and those of open ones at this moment.
    ///
    /// Each worker is asked on its thread. One that does not answer within a second, because a handler blocks its thread,
    /// is counted as of its last answer. [`ServerHooks`](grpc_service::ServerHooks) tell of each connection by itself.
    pub fn stats(&self) -> WorkerStats {
        self.threads.stats()
    }

    /// The limits of the workers, which can be changed while they serve.
    pub fn limits(&self) -> &SharedLimits {
        self.options.shared_limits()
    }

    /// The most heap memory in bytes that peers can make the workers hold, with the limits in force now
    /// ([`ServerOptions::memory_bound`]).
    pub fn memory_bound(&self) -> u64 {
        self.options.memory_bound(self.threads.len())
    }

    /// A switch that stops the workers from elsewhere.
    pub fn stopper(&self) -> Stopper {
        self.threads.stopper()
    }

    /// Stops: calls in flight have `grace` to finish. Returns when all threads have ended.
    pub fn stop(self, grace: Duration) {
        self.threads.stop(grace);
    }

    /// Waits until the workers have been stopped.
    pub fn wait(self) {
        self.threads.wait();
    }
}

/// Serves with TLS or without it, and with HTTP/1.1 or without it.
#[cfg_attr(not(any(feature = "tls", feature = "web")), allow(unused_variables))]
async fn serve_as(listener: TcpListener, server: &Server, options: &WorkerOptions, stop: Stop) {
    #[cfg(all(feature = "tls", feature = "web"))]
    if let (Some(tls), Some(web)) = (&options.tls, &options.web) {
        return crate::accept::serve_web_tls(listener, server, web, tls, stop).await;
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &options.tls {
        return crate::accept::serve_tls(listener, server, tls, stop).await;
    }
    #[cfg(feature = "web")]
    if let Some(web) = &options.web {
        return crate::accept::serve_web(listener, server, web, stop).await;
    }
    serve(listener, server, stop).await;
}
