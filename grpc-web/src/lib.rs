//! gRPC-Web, CORS and plain HTTP beside gRPC on one port, as a sans-IO layer around the server's endpoint.
//!
//! [`WebEndpoint`] is an [`Endpoint`](grpc_service::Endpoint) around another one: what drives a gRPC connection drives it,
//! over sockets, behind TLS, in memory or in a simulator. [`Web`] says what is served: [`Cors`] lets pages of other origins
//! call, and hooks answer plain HTTP such as `/healthz`. [`WebLimits`] bounds what a connection of HTTP/1.1 may cost.
//!
//! ```
//! use std::rc::Rc;
//! use std::task::{Context, Waker};
//!
//! use grpc_proto::{Instant, Transmit};
//! use grpc_service::testing::MemoryHost;
//! use grpc_service::{Endpoint, Peer, Router, Server, ServerOptions};
//! use grpc_web::{Web, WebEndpoint};
//!
//! let host = MemoryHost::new(1);
//! let server = Server::new(Router::new(), ServerOptions::default(), Rc::new(host));
//! let web = Web::new().healthz(|| true);
//! let mut connection = WebEndpoint::new(&web, || server.accept(Peer::memory()), Instant::ZERO);
//!
//! let mut input = &b"GET /healthz HTTP/1.1\r\nHost: example.org\r\n\r\n"[..];
//! let (mut out, mut cx) = (Transmit::new(), Context::from_waker(Waker::noop()));
//! connection.drive(&mut input, &mut out, &mut cx, Instant::ZERO)?;
//! let answer: Vec<u8> = out.chunks().flatten().copied().collect();
//! assert!(answer.starts_with(b"HTTP/1.1 200 OK") && answer.ends_with(b"SERVING\n"));
//! # Ok::<(), grpc_proto::ConnectionError>(())
//! ```
//!
//! The data path and the option that lost are in `docs/web.md`.

#![forbid(unsafe_code)]

mod base64;
mod call;
mod cors;
mod door;
mod fault;
mod http1;
mod http2;
mod inner;
mod limits;
mod options;
mod plain;
mod stream;
mod translate;

pub use cors::Cors;
pub use door::WebEndpoint;
pub use fault::Fault;
pub use limits::{MAX_FIELDS, WebLimits};
pub use options::Web;
pub use plain::{HttpRequest, HttpResponse, InvalidField};
