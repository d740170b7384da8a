//! The peers' halves of the comparisons, each written the way its own users write it.

pub mod h2;
pub mod messages;
pub mod nghttp2;
