//! What sessions are made of: certificates, roots, checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(text: String) -> Self {
        ConfigError(text)
    }

    pub(crate) fn pem(what: &str, error: rustls::pki_types::pem::Error) -> Self {
        ConfigError(format!("{what}: {error}"))
    }
}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> Self {
        ConfigError(error.to_string())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS configuration: {}", self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The cryptography in use: the process's default if it has set one, else that of this crate's features.
///
/// # Errors
/// There is none: enable `ring` or `aws-lc-rs`, or call `CryptoProvider::install_default` first.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(ConfigError::new(
        "no cryptography: enable the feature `ring` or `aws-lc-rs` of grpc-tls, or install a provider of rustls".to_owned(),
    ))
}

/// `provider` with the suites that HTTP/2 allows: those of TLS 1.3, and of TLS 1.2 those that RFC 9113 §9.2.2 does not
/// prohibit, which are ECDHE with an AEAD.
pub(crate) fn for_http2(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    use rustls::CipherSuite::*;
    let mut allowed = provider.clone();
    allowed.cipher_suites.retain(|suite| {
        matches!(
            suite.suite(),
            TLS13_AES_128_GCM_SHA256
                | TLS13_AES_256_GCM_SHA384
                | TLS13_CHACHA20_POLY1305_SHA256
                | TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                | TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
                | TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    Arc::new(allowed)
}

/// Longest handshake that is accepted as a limit.
pub(crate) const MAX_HANDSHAKE: Duration = Duration::from_secs(3600);
