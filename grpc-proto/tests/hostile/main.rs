//! Peers that attack. In every test the Nth event passes, the next gets the stated outcome, memory stays within
//! its bound, counted by the allocator, and a well-behaved call beside the attack succeeds.
//!
//! `docs/conformance.md` maps attacks to tests, `docs/limits.md` explains the bound.

#![allow(missing_docs, reason = "a test's name is its documentation")]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "one crate, whose modules share a vocabulary of frames"
)]

mod accounting;
#[path = "../../../tests/src/counting.rs"]
mod counting;
mod data;
mod floods;
mod heads;
mod hoarding;
mod resets;
mod victim;
mod windows;
#[path = "../conformance/wire.rs"]
mod wire;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;
