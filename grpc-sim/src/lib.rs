//! Deterministic simulation of the gRPC stack: virtual time, a faulty network, hostile peers, oracles.
//!
//! A [`Scenario`] is everything that happens to a world, as plain data. [`generate`] draws one from an
//! [`Entropy`] source, [`run`] lets it happen, and a broken rule comes back as a [`Failure`] with the
//! name of its [`Oracle`].
//!
//! ```
//! use grpc_sim::{Seeded, generate, run};
//!
//! let scenario = generate(&mut Seeded::new(1));
//! let report = run(&scenario, false);
//! assert_eq!(report.failure, None);
//! assert_eq!(report.trace.hash(), run(&scenario, false).trace.hash());
//! ```

mod adversary;
mod campaign;
mod entropy;
mod generate;
mod invariants;
mod kernel;
mod marks;
mod monitor;
mod oracle;
mod pipe;
mod record;
pub mod replay;
pub mod scenario;
pub mod service;
mod services;
pub mod show;
mod shrink;
mod trace;
mod world;

pub use campaign::{Campaign, catch};
pub use entropy::{Concern, Entropy, Enumerator, Recorded, Recorder, Seeded, Tape};
pub use generate::generate;
pub use invariants::holds_too_much;
pub use marks::{Mark, Marks};
pub use oracle::{Failure, Oracle};
pub use record::{Recording, record};
pub use scenario::Scenario;
pub use shrink::shrink;
pub use trace::{Entry, Hash, Trace, What};
pub use world::{Report, run};
