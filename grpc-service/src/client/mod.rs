//! Making calls: channels, and what a stub's methods return.

mod call;
mod channel;
mod connection;
mod link;
mod streaming;

pub use call::{Bidi, Call, ClientStreaming, ResponseMetadata, ServerStreaming, Unary};
pub use channel::{Channel, ChannelOptions};
pub use connection::ClientConnection;
pub use streaming::{BidiStream, ClientStream, Receiving, Sending};
