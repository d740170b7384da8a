//! Measurements side by side with peers.
//!
//! `cargo bench -p benches --features peers --bench core` (`streams`, `load`, `latency`, `scale`, `codec`, `hpack`) prints one line a case:
//! our figure, each peer's, and how many times ours goes into it. `README.md` says what each row means. Without the feature only our own figure is taken and nothing
//! foreign is built.
//!
//! Two things make figures of one run comparable. Contenders take turns, round by round, so that a neighbour who takes
//! the processor for a second costs everybody a round and nobody the case; and the median of the rounds is what counts.

pub mod dataset;
pub mod exchange;
pub mod load;
pub mod ours;
pub mod probe;
pub mod server;
pub mod stories;
mod table;
pub mod work;

#[cfg(feature = "peers")]
pub mod peers;

pub use table::{Bench, Case};

/// The allocator of every process that is measured: a comparison has one on both sides or on neither.
#[cfg(feature = "peers")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
