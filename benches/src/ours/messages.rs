//! The messages of the `codec` benchmark, as we generate them.
//!
//! Empty when the data was absent at build time.

#[cfg(protobuf_benchmarks)]
include!(concat!(env!("OUT_DIR"), "/ours/mod.rs"));
