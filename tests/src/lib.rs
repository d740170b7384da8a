//! Conversations between the crates and with foreign peers.

/// The puppet service's generated code.
pub mod testing {
    include!(concat!(env!("OUT_DIR"), "/testing.rs"));
}

pub mod interop;
