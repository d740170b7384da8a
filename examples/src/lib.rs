//! What the examples share: generated code, and the services that they serve.

pub mod guide;

/// Generated from `proto/helloworld.proto`.
pub mod helloworld {
    include!(concat!(env!("OUT_DIR"), "/helloworld.rs"));
}

/// Generated from `proto/route_guide.proto`.
pub mod routeguide {
    include!(concat!(env!("OUT_DIR"), "/routeguide.rs"));
}
