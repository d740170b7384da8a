//! The name that a client asks for and the protocols that it offers, which rustls shows to the resolver of certificates alone.

use std::cell::Cell;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::session::HTTP1 as HTTP1_NAME;

thread_local! {
    /// What the resolver saw in the call of rustls that is under way on this thread.
    static SEEN: Cell<Option<Box<str>>> = const { Cell::new(None) };
    static HTTP1: Cell<bool> = const { Cell::new(false) };
}

/// What the last ClientHello on this thread asked for, once.
pub(crate) fn take() -> Option<Box<str>> {
    SEEN.take()
}

/// Whether the last ClientHello on this thread offered `http/1.1`; true once.
pub(crate) fn take_http1() -> bool {
    HTTP1.take()
}

/// A resolver that notes the name before another one chooses the certificate.
///
/// rustls calls it for each ClientHello, also where a session is resumed, within the call that is given the bytes.
#[derive(Debug)]
pub(crate) struct NoteName(pub(crate) Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for NoteName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SEEN.set(hello.server_name().map(Into::into));
        HTTP1.set(hello.alpn().is_some_and(|mut offered| offered.any(|name| name == HTTP1_NAME)));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}
