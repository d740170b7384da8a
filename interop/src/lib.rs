//! gRPC's interop programs: the service and the cases of its interop test descriptions, over each runtime.

pub mod cases;
pub mod flags;
pub mod puppet;
pub mod runtime;
pub mod service;

/// Generated code: the services and messages of the interop tests.
pub mod testing {
    grpc_arena::include_proto!("grpc.testing");
}

/// Generated code: what makes a server of the standard services show them.
pub mod puppeteer {
    grpc_arena::include_proto!("interop.puppet");
}

/// The largest payload, which is gRPC's limit of a message.
pub const LARGEST: usize = 4 << 20;

/// The bodies of all payloads.
static ZEROS: [u8; LARGEST] = [0; LARGEST];

/// A payload body of so many zeros; `None` if it is larger than all messages, or negative.
pub fn zeros(size: i32) -> Option<&'static [u8]> {
    usize::try_from(size).ok().and_then(|size| ZEROS.get(..size))
}
