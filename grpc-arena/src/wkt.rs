//! The well-known types of `google.protobuf`, with conversions to what Rust has for them.

include!("wkt/google.protobuf.rs");
