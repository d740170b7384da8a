//! Conformance over raw frames, in both roles: RFC 9113, RFC 7541 at the level of a connection, the rules
//! of gRPC over HTTP/2, and peers that attack.
//!
//! Every case runs whole and under random segmentations, in memory and at a server also over a socket; see
//! [`harness`]. `docs/conformance.md` maps
//! rules and attacks to tests.

#![allow(missing_docs, reason = "a test's name is its documentation")]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "one crate, whose modules share a vocabulary of frames"
)]

mod harness;
mod last_frames;
mod link;
mod rfc7541;
mod rfc9113_section_3;
mod rfc9113_section_3_4;
mod rfc9113_section_4;
mod rfc9113_section_5;
mod rfc9113_section_5_1;
mod rfc9113_section_6;
mod rfc9113_section_8;
mod rules_connection;
mod rules_drain;
mod rules_messages;
mod rules_pings;
mod rules_request;
mod rules_response;
mod rules_windows;
mod streams_that_end;
mod wire;
