//! Our half of the comparisons.

pub mod core;
pub mod messages;
