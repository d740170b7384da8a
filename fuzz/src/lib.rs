//! The bodies of the fuzz targets. Each takes bytes and panics when a property is broken; `cargo fuzz`
//! calls them under libFuzzer, `cargo test --no-default-features` over the committed corpora.

pub mod client;
pub mod compressed;
pub mod conversation;
pub mod encoder;
pub mod frames;
pub mod grammar;
pub mod hpack;
pub mod messages;
pub mod plain;
pub mod recording;
pub mod schemas;
pub mod server;
pub mod service;
mod tape;
pub mod tls;
pub mod web;
pub mod world;
