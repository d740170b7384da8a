//! Making calls: channels, and what a stub's methods return.

mod backoff;
mod call;
mod channel;
mod connection;
mod dialer;
mod link;
mod streaming;

pub use backoff::Backoff;
pub use call::{Bidi, Call, ClientStreaming, ResponseMetadata, ServerStreaming, Unary};
pub use channel::{Channel, ChannelOptions};
pub use connection::ClientConnection;
pub use dialer::Connectivity;
pub use streaming::{BidiStream, ClientStream, Receiving, Sending};
