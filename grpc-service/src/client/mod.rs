//! Making calls: channels, and what a stub's methods return.

mod backoff;
mod call;
mod channel;
mod connection;
mod dialer;
mod error;
mod ledger;
mod link;
mod opener;
mod options;
mod stack;
mod streaming;
mod target;

pub use backoff::Backoff;
pub use call::{Bidi, Call, ClientStreaming, ResponseMetadata, ServerStreaming, Unary};
pub use channel::Channel;
pub use connection::ClientConnection;
pub use dialer::Connectivity;
pub use error::{CallError, Origin};
pub use ledger::ChannelStats;
pub use options::{ChannelOptions, OptionError};
pub(crate) use stack::Layered;
pub use streaming::{BidiStream, ClientStream, Receiving, Sending};
pub use target::Target;
