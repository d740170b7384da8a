//! The gRPC protocol over HTTP/2 as pure state transitions: no I/O, no clock, no runtime.
//!
//! # Features
//! - `http`: conversions of metadata and heads from and to the types of the crate `http`, which needs the
//!   standard library.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod base64;
mod call;
mod config;
pub mod hpack;
pub mod http2;
mod metadata;
pub mod record;
mod status;
mod time;
mod timeout;
mod transmit;

pub use call::client::{self, Client, Outcome};
pub use call::server::{self, Server};
pub use call::{
    ApiMisuse, CallHead, CallKey, Connection, Message, MessageBuf, Messages, Payload, Processed,
    Reason, RequestHead, Role, SendError,
};
pub use config::{Config, ConfigError, Limits};
pub use http2::{
    Allotment, CloseCounts, CloseReason, ConnectionError, ErrorCode, Foreign, Stats, TimedOut,
    Usage, Violation,
};
pub use metadata::{Metadata, MetadataError, decode_bin};
pub use status::{Code, Status, decode_message, encode_message};
pub use time::Instant;
pub use timeout::{TimeoutText, parse_timeout};
pub use transmit::Transmit;
