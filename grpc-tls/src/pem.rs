//! Certificates, keys and revocation lists from PEM (RFC 7468).

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::ConfigError;

/// A chain of certificates, the server's or client's own first, with its private key.
///
/// # Errors
/// No certificate or no key is in the text, or the key does not belong to the certificate.
pub(crate) fn certified_key(
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, ConfigError> {
    let chain = certificates(chain, "the certificate chain")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| ConfigError::pem("the private key", error))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        ConfigError::new(format!("the certificate and its private key: {error}"))
    })?;
    Ok(Arc::new(key))
}

/// Every certificate in `text`, at least one.
pub(crate) fn certificates(
    text: &[u8],
    what: &str,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    all(text, what)
}

/// The roots in `text`, at least one.
pub(crate) fn roots(text: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text, "the roots")? {
        roots.add(certificate).map_err(|error| ConfigError::new(format!("the roots: {error}")))?;
    }
    Ok(roots)
}

/// The revocation lists in `text`, at least one.
pub(crate) fn revocation_lists(
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    all(text, "the revocation lists")
}

fn all<T: PemObject>(text: &[u8], what: &str) -> Result<Vec<T>, ConfigError> {
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(text).collect();
    let found = found.map_err(|error| ConfigError::pem(what, error))?;
    if found.is_empty() {
        return Err(ConfigError::pem(what, pem::Error::NoItemsFound));
    }
    Ok(found)
}
