//! Health checks: `grpc.health.v1` (gRPC's health checking protocol, and gRFC A90 for `List`).
//!
//! A server has one [`HealthReporter`], which all its threads share, and each thread serves it with [`register`]. The
//! program says which services are ready; load balancers, Kubernetes' gRPC probes and `grpc_health_probe` ask.
//!
//! ```
//! use grpc_service::Router;
//! use grpc_standard::health::{self, HealthReporter};
//!
//! let reporter = HealthReporter::new();
//! reporter.set_not_serving("helloworld.Greeter");     // until its data is loaded
//! # let mut router = Router::new();
//! # let router = &mut router;
//! health::register(router, &reporter);                // where the routes are filled, on each thread
//! reporter.set_serving("helloworld.Greeter");         // from any thread, at any time
//! ```
//!
//! The name `""` stands for the server as a whole, and is serving unless the program says otherwise.
//!
//! # Drains
//! When the server is stopped, each `Watch` sends NOT_SERVING before the GOAWAY of its connection leaves, and then ends with
//! UNAVAILABLE. [`HealthReporter::drain`] does the first part earlier, for a server behind a balancer that needs time to
//! send its clients elsewhere.

mod client;
mod reporter;
mod service;

/// Generated code: the messages of `grpc.health.v1`, its handler trait and its stub.
pub mod v1 {
    grpc_arena::include_proto!("grpc.health.v1");
}

pub use client::{Checker, Watching};
pub use reporter::HealthReporter;
pub use service::{HealthService, LIST_LIMIT, register};
pub use v1::health_check_response::ServingStatus;
