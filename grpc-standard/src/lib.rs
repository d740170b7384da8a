//! gRPC's standard services, for any runtime or none.
//!
//! | need | where |
//! |---|---|
//! | say whether services are ready, and ask other servers | [`health`] |
//! | send and read errors with details | [`errors`] |
//! | count calls, for Prometheus and others | [`metrics`] |
//! | see calls as spans of the crate `tracing` | `spans`, with the feature `tracing` |
//! | show the schema to grpcurl and others | [`reflection`] |
//!
//! Everything here is built on `grpc-service` alone, so it runs over each adapter, in memory and in the simulator.

#![forbid(unsafe_code)]

pub mod errors;
pub mod health;
pub mod metrics;
pub mod reflection;
#[cfg(feature = "tracing")]
pub mod spans;
