//! Protobuf messages in caller-supplied arenas.

#![no_std]

extern crate alloc;
