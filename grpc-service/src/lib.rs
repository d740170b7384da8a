//! Handlers, stubs and channels for gRPC, independent of any runtime.
//!
//! The protocol is `grpc-proto`'s, messages are `grpc-arena`'s. This crate runs `async` handlers on top of one and
//! offers calls as futures on top of the other, and asks a small [`Host`] for all that is not a pure function of
//! bytes and time. An adapter is a loop around [`Endpoint::drive`], and [`drive`] has one for completion-based I/O.
//!
//! | need | where |
//! |---|---|
//! | serve | [`Server`], [`Router`], [`Cx`], [`Sink`], [`server`] |
//! | call | [`Channel`], [`client`] |
//! | adapt to a runtime | [`Host`], [`Connector`], [`Endpoint`], and [`drive`](drive::drive) as the loop; [`adapter`] |
//! | test without one | [`testing`] |
//! | record what happens | [`Recordings`] |
//! | put layers around calls: authentication, limits, logs | [`layers`] |
//! | build services from layers | [`model`] |
//! | replace a service while it runs, on all workers or on none | [`deploy`] |

//!
//! # Features
//! - `gzip`, `deflate`, `zstd`: the encodings of that name for [`Compression`]. They only make an encoding available;
//!   what is compressed and accepted is chosen at run time, and by default nothing is.

#![forbid(unsafe_code)]

pub mod adapter;
mod blocking;
pub mod client;
mod compression;
mod current;
pub mod deploy;
pub mod drive;
mod endpoint;
mod extensions;
mod host;
mod inbox;
pub mod layers;
mod limits;
mod memory;
mod method;
pub mod model;
mod peer;
mod pool;
mod queue;
mod recording;
mod report;
pub mod server;
mod slot;
pub mod testing;
mod timers;
mod wake;

// What the signatures of this crate name, so that a program needs no other crate for them.
pub use grpc_arena::{
    Arena, ArenaFull, DecodeError, DecodeLimits, DecodeRule, Encode, Schema, SizeCache,
};
pub use grpc_proto::{
    ApiMisuse, Client, CloseCounts, CloseReason, Code, ConfigError, Connection, ConnectionError,
    ErrorCode, Instant, Limits, Metadata, MetadataError, Processed, Reason, SendError, Stats,
    Status, TimedOut, Transmit, Violation, decode_bin, parse_timeout,
};

pub use blocking::{Blocking, BlockingError, BlockingPool, Cancelled};
pub use client::{
    Backoff, CallError, Channel, ChannelOptions, ChannelStats, ClientConnection, Connectivity,
    OptionError, Origin, ResponseMetadata,
};
pub use compression::{Compression, Encoding};
pub use endpoint::{Endpoint, OUT_MARK};
pub use host::{ConnectError, Connector, Host, LocalFuture};
pub use limits::{ConnectionLimit, Seat, ServingLimits, SharedLimits};
pub use memory::MemoryBudget;
pub use method::{Idempotency, Kind, Method, MethodDescriptor, Request, Response};
pub use model::{
    AsyncMakeService, AsyncMakeServiceWrapper, BoxedService, Either, FactoryLayer, FactoryStack,
    LayerFn, MakeService, MapTargetService, Param, ParamMut, ParamRef, ParamSet, Service, layer_fn,
};
pub use peer::{Peer, PeerAddress, TlsPeer, UnixCredentials};
pub use pool::{PoolLimits, PoolUse};
pub use recording::Recordings;
pub use report::{ServerHooks, Throttle};
pub use server::{Cx, Router, Routes, Server, ServerConnection, ServerOptions, ServerStats, Sink};
