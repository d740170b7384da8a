//! What adapters share that serve connections on threads of their own: stopping, accepting, counting.
//!
//! An adapter for another runtime brings the sockets, the timers and a way to run a future on a thread; `grpc-monoio` and
//! `grpc-tokio` are two of them.

mod accept;
mod group;
mod stats;
mod stop;
mod threads;

pub use accept::accept_until_stopped;
pub use group::{Group, Member};
pub use stats::WorkerStats;
pub use stop::{Stop, Stopper, stopper};
pub use threads::{Threads, Worker};
