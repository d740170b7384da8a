//! Server reflection: `grpc.reflection.v1` and `v1alpha`, by which grpcurl, grpcui, Postman and others call a server
//! without its `.proto` files.
//!
//! The generator puts the descriptors of a package's services beside their code. A [`Registry`] of all of them is made once
//! for a process, and each thread serves it with [`register`], behind the services that it is to name:
//!
//! ```
//! use grpc_service::Router;
//! use grpc_standard::{health, reflection};
//!
//! let registry = reflection::Registry::new([
//!     // helloworld::FILE_DESCRIPTOR_SET,
//!     health::v1::FILE_DESCRIPTOR_SET,
//! ])?;
//! # let mut router = Router::new();
//! # let router = &mut router;
//! # let reporter = health::HealthReporter::new();
//! health::register(router, &reporter);
//! reflection::register(router, &registry);
//! # Ok::<(), reflection::RegistryError>(())
//! ```
//!
//! Every client of the server can read its schema: leave it out, or put it behind a check, where the schema is a secret.
//!
//! # Answers
//! A query for a file, a symbol or an extension is answered with the file that declares it and with those that it imports,
//! each unless the stream has had it. An answer stops at [`ANSWER_BYTES`] and clients ask for the rest by name, as all of
//! them do for files that they lack. A query that finds nothing has an error of its own, and the stream goes on.

mod index;
mod registry;
mod service;

/// Generated code: the messages of `grpc.reflection.v1`, its handler trait and its stub.
pub mod v1 {
    grpc_arena::include_proto!("grpc.reflection.v1");
}

pub use registry::{Registry, RegistryError};
pub use service::{ANSWER_BYTES, NAME_BYTES, register, register_services};
