//! HTTP/1.1 (RFC 9112): requests, their bodies and responses.

pub(crate) mod body;
mod connection;
mod exchange;
pub(crate) mod head;
mod requests;
mod seen;
mod write;

pub(crate) use connection::Http1;
