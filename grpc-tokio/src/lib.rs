//! Sockets, timers and worker threads for the gRPC core over tokio.
//!
//! [`serve`] and [`TcpConnector`] run the loop of `grpc-service` ([`drive`](grpc_service::drive::drive)) over tokio's sockets.
//! Handlers stay on one thread, as everywhere here, so all of it runs in a [`LocalSet`](tokio::task::LocalSet): [`Workers`] has
//! one on each of its threads, and [`block_on`] makes one for a program's own. A handler may use what needs tokio, such as a
//! database client.
//!
//! Names and options are those of `grpc-monoio`. With the feature `tls`, servers and clients speak TLS (`WorkerOptions::tls`,
//! `serve_tls`, `TcpConnector::tls`). With the feature `web`, servers answer gRPC-Web and plain HTTP too
//! (`WorkerOptions::web`, `serve_web`).

mod accept;
mod client;
mod connect;
mod elsewhere;
mod host;
mod shared;
mod socket;
mod workers;

#[cfg(feature = "tls")]
pub use accept::serve_tls;
#[cfg(feature = "web")]
pub use accept::serve_web;
#[cfg(all(feature = "tls", feature = "web"))]
pub use accept::serve_web_tls;
pub use accept::{Listener, serve};
pub use client::TcpConnector;
pub use connect::{Connect, connect};
pub use elsewhere::{Panicked, TokioThread};
pub use grpc_service::adapter::{Stop, Stopper, WorkerStats, stopper};
pub use host::{TokioHost, block_on};
pub use shared::SharedChannel;
pub use socket::{Closer, Reader, Socket, Stream, Writer};
pub use workers::{WorkerOptions, Workers};
