//! HTTP/2 (RFC 9113) for either role, without knowledge of gRPC. What the calls above need of it is said in general terms:
//! a field that is written when its section leaves, a prefix before a payload, a part of a body that is received as a whole.
//!
//! [`Session`] is the whole of it: bytes go in through [`Session::poll`], frames come out of
//! [`Session::poll_transmit`]. The parts below are public for tools, tests and fuzzers.

mod bucket;
mod close;
pub(crate) mod deadlines;
mod error_code;
pub mod fields;
pub mod flow;
pub mod frame;
pub(crate) mod late_field;
pub(crate) mod queue;
mod session;
pub mod settings;
pub mod state;
pub(crate) mod stream;
mod stream_key;
mod violation;

pub use close::{CloseCounts, CloseReason};
pub use error_code::ErrorCode;
pub(crate) use session::Step;
pub use session::{
    Allotment, ConnectionError, Event, Foreign, OpenError, ResetReason, Session, Side, Stats,
    StreamError, StreamView, TimedOut, Usage,
};
pub use stream_key::StreamKey;
pub use violation::Violation;
