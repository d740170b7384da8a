//! Conversations between the crates and with foreign peers.

/// The puppet service's generated code.
pub mod testing {
    include!(concat!(env!("OUT_DIR"), "/testing.rs"));
}

pub mod counting;
pub mod interop;

/// Messages of proto2, proto3 and two editions, and a `MessageSet`.
#[deny(missing_docs, warnings, rust_2018_idioms, clippy::pedantic)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages/all.rs"));

    pub use messages::{edition, edition24, set};

    /// Messages with options of one's own.
    pub mod options {
        include!(concat!(env!("OUT_DIR"), "/from-set/messages.options.rs"));
    }
}

/// Names that could collide with each other or with what is generated for all.
#[deny(missing_docs, warnings, rust_2018_idioms, clippy::pedantic)]
pub mod names {
    include!(concat!(env!("OUT_DIR"), "/names/all.rs"));
}

/// The service of plain bytes: generated code.
pub mod bytes {
    grpc_arena::include_proto!("bytes");
}

#[cfg(feature = "tls")]
pub mod authority;
pub mod echo;
pub mod raw;
pub mod served;
pub mod tokio_adapter;
pub mod troubleshooting;
