//! Our half of the comparisons.

pub mod core;
pub mod messages;
pub mod streams;
pub mod stubs;

/// The echo service as we generate it.
pub mod echo {
    include!(concat!(env!("OUT_DIR"), "/echo/bench.rs"));
}

/// The streaming service as we generate it.
pub mod streams_proto {
    include!(concat!(env!("OUT_DIR"), "/echo/streams.rs"));
}
