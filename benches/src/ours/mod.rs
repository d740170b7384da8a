//! Our half of the comparisons.

pub mod core;
