//! Conversations between the crates and with foreign peers.
