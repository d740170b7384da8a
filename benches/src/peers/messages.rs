//! The messages of the `codec` benchmark, as prost and buffa generate them.
//!
//! Empty when the data was absent at build time.

#[cfg(protobuf_benchmarks)]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod prost {
    pub mod bench {
        include!(concat!(env!("OUT_DIR"), "/prost/bench.rs"));
    }
    pub mod benchmarks {
        include!(concat!(env!("OUT_DIR"), "/prost/benchmarks.rs"));
        pub mod proto2 {
            include!(concat!(env!("OUT_DIR"), "/prost/benchmarks.proto2.rs"));
        }
        pub mod proto3 {
            include!(concat!(env!("OUT_DIR"), "/prost/benchmarks.proto3.rs"));
        }
    }
}

#[cfg(protobuf_benchmarks)]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod buffa {
    include!(concat!(env!("OUT_DIR"), "/buffa/mod.rs"));
}
