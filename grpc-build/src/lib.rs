//! Rust code from `.proto` files: messages for [`grpc_arena`], handlers and stubs for services.
//!
//! In `build.rs`, without `protoc`:
//!
//! ```no_run
//! fn main() -> Result<(), grpc_build::Error> {
//!     grpc_build::compile_protos(&["proto/helloworld.proto"], &["proto"])
//! }
//! ```
//!
//! and where the code is wanted, one file for each package:
//!
//! ```ignore
//! pub mod helloworld {
//!     grpc_arena::include_proto!("helloworld");
//! }
//! ```
//!
//! The code needs `grpc_arena`, and where there are services `grpc_service` ([`Config::services`]).
//!
//! Packages that refer to each other are included together, by `grpc_arena::include_proto!("_all")`: the file `_all.rs` is
//! written where there are several packages ([`Config::include_file`] gives it another name), and holds a module for each
//! part of each package's name.
//!
//! | in the schema | in Rust |
//! |---|---|
//! | package `a.b` | the file `a.b.rs`; no package: `_.rs` |
//! | message `Person` | `struct Person<'a>`; what is declared within it: `mod person` |
//! | enum, open | a struct around its number, with constants |
//! | enum, closed | an `enum` |
//! | oneof `contact` of `Person` | `enum person::Contact<'a>`; `ContactOneof` beside a nested type of that name |
//! | a value `KIND_ONE` of an enum `Kind` | `Kind::ONE` in an open one, `Kind::One` in a closed one |
//! | service `Greeter` | a handler trait and a client stub |
//! | a package with services | `FILE_DESCRIPTOR_SET`, for reflection ([`Config::descriptors`]) |

mod choose;
mod comments;
mod config;
mod descriptor;
mod embed;
mod error;
mod features;
mod folders;
mod generate;
mod model;
mod names;
mod plugin;
mod resolve;
pub mod schema;
mod service;
mod utf8;

pub use config::{Config, compile_protos};
pub use error::Error;
pub use plugin::run_plugin;
