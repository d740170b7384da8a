//! Conversations between the crates and with foreign peers.

/// The puppet service's generated code.
pub mod testing {
    include!(concat!(env!("OUT_DIR"), "/testing.rs"));
}

pub mod interop;

/// Messages of proto2, proto3 and an edition.
#[deny(missing_docs, warnings)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages/all.rs"));

    /// Messages of an edition.
    pub mod edition {
        include!(concat!(env!("OUT_DIR"), "/edition/messages.edition.rs"));
    }
}

/// The service of plain bytes: generated code.
pub mod bytes {
    include!(concat!(env!("OUT_DIR"), "/bytes.rs"));
}

pub mod echo;
