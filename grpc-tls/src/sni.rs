//! The name that a client asks for, which rustls shows to the resolver of certificates alone.

use std::cell::Cell;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

thread_local! {
    /// What the resolver saw in the call of rustls that is under way on this thread.
    static SEEN: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// What the last ClientHello on this thread asked for, once.
pub(crate) fn take() -> Option<Box<str>> {
    SEEN.take()
}

/// A resolver that notes the name before another one chooses the certificate.
///
/// rustls calls it for each ClientHello, also where a session is resumed, within the call that is given the bytes.
#[derive(Debug)]
pub(crate) struct NoteName(pub(crate) Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for NoteName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SEEN.set(hello.server_name().map(Into::into));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}
