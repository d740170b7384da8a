//! The gRPC protocol over HTTP/2 as pure state transitions: no I/O, no clock, no runtime.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod hpack;
