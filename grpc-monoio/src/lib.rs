//! Sockets, timers and worker threads for the gRPC core over io_uring or epoll.
//!
//! A thin adapter: [`serve`] and [`TcpConnector`] run the loop of `grpc-service`
//! ([`drive`](grpc_service::drive::drive)) over monoio's sockets, one task a connection with one read and one write in
//! flight. [`Workers`] runs a server on
//! several threads, each with its own sockets, connections and memory.
//!
//! io_uring is used where the kernel has it, epoll otherwise; `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment
//! forces epoll. Where io_uring is missing and nobody has forced epoll, that is reported once.
//!
//! With the feature `tls`, servers and clients speak TLS (`WorkerOptions::tls`, `serve_tls`, `TcpConnector::tls`).
//! With the feature `web`, servers answer gRPC-Web and plain HTTP too (`WorkerOptions::web`, `serve_web`).
//!
//! Reports to operators, such as that accepting fails for want of descriptors, go to the `log` crate with the feature `log`,
//! and to the standard error without it. The option that lost is `tracing`: spans would go unused, since recordings hold more,
//! and its subscribers take records of `log` too.

mod accept;
mod client;
mod connect;
mod host;
mod listen;
mod socket;
mod workers;

#[cfg(feature = "tls")]
pub use accept::serve_tls;
#[cfg(feature = "web")]
pub use accept::serve_web;
#[cfg(all(feature = "tls", feature = "web"))]
pub use accept::serve_web_tls;
pub use accept::{Listener, listen_unix, serve};
pub use client::TcpConnector;
pub use connect::{Connect, connect};
pub use grpc_service::adapter::{Stop, Stopper, WorkerStats, stopper};
pub use host::{MonoioHost, block_on};
pub use socket::{Closer, Reader, Socket, Writer};
pub use workers::{WorkerOptions, Workers};
