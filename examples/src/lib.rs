//! Code that the examples share: generated code, and the services.

pub mod guide;

/// Generated from `proto/helloworld.proto`.
pub mod helloworld {
    grpc_arena::include_proto!("helloworld");
}

/// Generated from `proto/countdown.proto`.
pub mod countdown {
    grpc_arena::include_proto!("countdown");
}

/// Generated from `proto/route_guide.proto`.
pub mod routeguide {
    grpc_arena::include_proto!("routeguide");
}
