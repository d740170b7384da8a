//! What one connection of HTTP/1.1 may cost.

use std::time::Duration;

/// The most fields that [`WebLimits::max_fields`] may allow.
pub const MAX_FIELDS: usize = 128;

/// The limits of connections that speak HTTP/1.1; plain data with defaults.
///
/// What a call may cost is in the limits of the server ([`grpc_proto::Limits`]): messages, metadata and windows are held
/// to those for gRPC-Web as for gRPC. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebLimits {
    /// The longest request line and fields of a request together, and the same again for chunk extensions and trailers of
    /// its body. Default 16 KiB. A longer head is answered with 431.
    ///
    /// A head that comes in pieces is kept in a buffer of this size at most.
    pub max_head: usize,
    /// Most fields of a request. Default 100; no more than [`MAX_FIELDS`] count. More are answered with 431.
    pub max_fields: usize,
    /// The longest body of a request. Default 64 MiB. A longer one is answered with 413.
    ///
    /// It is not gathered: messages leave as they come, at the pace of their handler.
    pub max_body: u64,
    /// Time for the head of a request, from its first byte, and for the first byte of a connection. Default 10 s.
    pub head_timeout: Duration,
    /// Time between two requests, after which the connection is closed. Default 60 s.
    pub idle_timeout: Duration,
    /// Time within which another kilobyte of a body must come, or its end. Default 10 s.
    ///
    /// It does not pass while the handler takes nothing.
    pub body_timeout: Duration,
    /// Time that a full output may wait for the peer. Default 60 s.
    pub stall_timeout: Duration,
}

impl Default for WebLimits {
    fn default() -> Self {
        WebLimits {
            max_head: 16 << 10,
            max_fields: 100,
            max_body: 64 << 20,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
        }
    }
}
