//! Metrics of calls, with the names, attributes and buckets of gRFC A66.
//!
//! A process has one [`Metrics`], which all its threads share. Each thread puts the layer of [`Metrics::server`] around its
//! methods; the collector reads the sums at any time, or takes them as a Prometheus text page:
//!
//! ```
//! use grpc_service::Router;
//! use grpc_standard::metrics::Metrics;
//!
//! let metrics = Metrics::new();
//! # let mut router = Router::new();
//! # let router = &mut router;
//! let mut routes = router.around_all(metrics.server());   // where the routes are filled, on each thread
//! // register_greeter(&mut routes, Rc::new(Polite));
//! println!("{}", metrics.prometheus());                   // from any thread, at any time
//! # let _ = &mut routes;
//! ```
//!
//! | instrument | kind | unit | attributes |
//! |---|---|---|---|
//! | `grpc.server.call.started` | counter | `{call}` | `grpc.method` |
//! | `grpc.server.call.duration` | histogram | `s` | `grpc.method`, `grpc.status` |
//! | `grpc.server.call.sent_total_compressed_message_size` | histogram | `By` | `grpc.method`, `grpc.status` |
//! | `grpc.server.call.rcvd_total_compressed_message_size` | histogram | `By` | `grpc.method`, `grpc.status` |
//! | `grpc.client.attempt.started` | counter | `{attempt}` | `grpc.method`, `grpc.target` |
//! | `grpc.client.attempt.duration` | histogram | `s` | `grpc.method`, `grpc.target`, `grpc.status` |
//! | `grpc.client.attempt.sent_total_compressed_message_size` | histogram | `By` | `grpc.method`, `grpc.target`, `grpc.status` |
//! | `grpc.client.attempt.rcvd_total_compressed_message_size` | histogram | `By` | `grpc.method`, `grpc.target`, `grpc.status` |
//! | `grpc.client.call.duration` | histogram | `s` | `grpc.method`, `grpc.target`, `grpc.status` |
//!
//! The instruments of clients are those of the layers [`Metrics::client_calls`] and [`Metrics::client_attempts`]
//! ([`Channel::around`](grpc_service::Channel::around)).
//!
//! `grpc.method` is `package.Service/Method`, and `other` for paths that the server does not have: a client cannot make
//! series. Nothing is global, and nothing is counted without the layer.

mod cells;
mod layers;
mod prometheus;
mod registry;

pub use layers::{ClientMetrics, ServerMetrics};
pub use registry::{Metrics, Series, Value};

/// Bounds of the buckets of durations, in seconds (gRFC A66).
pub const LATENCY_BOUNDS: [f64; 41] = [
    0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005,
    0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16,
    0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];

/// Bounds of the buckets of sizes, in bytes (gRFC A66).
pub const SIZE_BOUNDS: [f64; 14] = [
    0.0,
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262144.0,
    1048576.0,
    4194304.0,
    16777216.0,
    67108864.0,
    268435456.0,
    1073741824.0,
    4294967296.0,
];
