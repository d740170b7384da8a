//! The peers' halves of the comparisons, each written the way its own users write it.

pub mod h2;
pub mod messages;
pub mod nghttp2;
pub mod nghttp2_hpack;
pub mod tonic;

/// The echo service as tonic generates it.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod tonic_echo {
    include!(concat!(env!("OUT_DIR"), "/tonic/bench.rs"));
}

/// The streaming service as tonic generates it.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod tonic_streams {
    include!(concat!(env!("OUT_DIR"), "/tonic/streams.rs"));
}
