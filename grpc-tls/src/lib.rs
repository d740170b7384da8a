//! TLS between a transport and a gRPC endpoint, as a sans-IO layer over rustls.
//!
//! [`TlsEndpoint`] is an [`Endpoint`](grpc_service::Endpoint) around another one: what drives a connection without TLS
//! drives one with TLS, over sockets, in memory or in a simulator. [`ServerTls`] and [`ClientTls`] hold certificates,
//! roots and checks. [`Acceptor`] and [`ClientTls::attempt`] are what adapters use. [`Session`] is the layer below, bytes in and bytes out, for loops without endpoints.
//!
//! | feature | what it does |
//! |---|---|
//! | `ring` (default) | cryptography by ring |
//! | `aws-lc-rs` | cryptography by AWS-LC, with the post-quantum key exchange X25519MLKEM768 first |
//! | `platform-roots` | `ClientTls::with_platform_roots` |
//! | `webpki-roots` | `ClientTls::with_webpki_roots` |
//!
//! Rules: `h2` by ALPN and nothing else (RFC 9113 §3.2), TLS 1.2 or later with the suites that RFC 9113 §9.2.2 allows, no
//! renegotiation, no 0-RTT, `close_notify` before the transport closes, and an end without it is an error.

mod acceptor;
mod attempt;
mod client;
mod config;
mod endpoint;
mod error;
mod gate;
mod peer;
mod pem;
mod server;
mod session;
mod sni;

pub use acceptor::{Acceptor, HANDSHAKES};
pub use attempt::Attempt;
pub use client::ClientTls;
pub use config::ConfigError;
pub use endpoint::{HANDSHAKE_TIMEOUT, TlsEndpoint};
pub use error::{Plaintext, TlsError};
pub use grpc_service::TlsPeer;
pub use rustls;
pub use server::ServerTls;
pub use session::{Opened, Session};
