//! Sockets, timers and worker threads for the gRPC core over io_uring or epoll.
//!
//! A thin adapter: [`serve`] and [`TcpConnector`] run the loop of `grpc-service`
//! ([`drive`](grpc_service::drive::drive)) over monoio's sockets, one task a connection with one read and one write in
//! flight. [`Workers`] runs a server on
//! several threads, each with its own sockets, connections and memory.
//!
//! io_uring is used where the kernel has it, epoll otherwise; `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment
//! forces epoll.

mod accept;
mod client;
mod group;
mod host;
mod socket;
mod workers;

pub use accept::{Listener, Stop, Stopper, listen_unix, serve, stopper};
pub use client::TcpConnector;
pub use host::{MonoioHost, block_on};
pub use socket::{Closer, Reader, Socket, Writer};
pub use workers::{WorkerOptions, Workers};
