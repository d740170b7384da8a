//! TLS at a client.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use grpc_proto::Instant;
use grpc_service::{Endpoint, TlsPeer};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{ConfigError, MAX_HANDSHAKE, for_http2, provider};
use crate::endpoint::{HANDSHAKE_TIMEOUT, TlsEndpoint};
use crate::error::TlsError;
use crate::pem;
use crate::session::{H2, Session};

/// TLS for the connections of a client: which servers to trust, and what to show them.
///
/// A value is cheap to clone and may be used by several threads.
///
/// ```no_run
/// let tls = grpc_tls::ClientTls::with_roots(&std::fs::read("ca.pem")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientTls {
    shared: Arc<Shared>,
    handshake_timeout: Duration,
    server_name: Option<ServerName<'static>>,
}

struct Shared {
    config: RwLock<Arc<ClientConfig>>,
    parts: Option<Parts>,
}

/// What a configuration is made of, but for the client's own certificate.
#[derive(Clone)]
struct Parts {
    trust: Trust,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

#[derive(Clone)]
enum Trust {
    Roots(Arc<RootCertStore>),
    #[cfg(feature = "platform-roots")]
    Platform,
}

impl ClientTls {
    /// Trusts servers whose certificates one of the roots in `roots` (PEM) has signed.
    ///
    /// # Errors
    /// `roots` cannot be read.
    pub fn with_roots(roots: &[u8]) -> Result<Self, ConfigError> {
        Self::trusting(Trust::Roots(Arc::new(pem::roots(roots)?)))
    }

    /// Trusts the servers that the operating system trusts.
    ///
    /// # Errors
    /// The system's roots cannot be read.
    #[cfg(feature = "platform-roots")]
    pub fn with_platform_roots() -> Result<Self, ConfigError> {
        Self::trusting(Trust::Platform)
    }

    /// Trusts the servers that Mozilla's list trusts, as of the build of the program.
    ///
    /// # Errors
    /// There is no cryptography in this build.
    #[cfg(feature = "webpki-roots")]
    pub fn with_webpki_roots() -> Result<Self, ConfigError> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::trusting(Trust::Roots(Arc::new(roots)))
    }

    /// Trusts the servers that the operating system trusts, or, without the feature `platform-roots`, those that Mozilla's
    /// list trusts.
    ///
    /// # Errors
    /// This build has neither `platform-roots` nor `webpki-roots`, or the system's roots cannot be read.
    pub fn with_default_roots() -> Result<Self, ConfigError> {
        #[cfg(feature = "platform-roots")]
        return Self::with_platform_roots();
        #[cfg(all(feature = "webpki-roots", not(feature = "platform-roots")))]
        return Self::with_webpki_roots();
        #[cfg(not(any(feature = "platform-roots", feature = "webpki-roots")))]
        Err(ConfigError::new(
            "no roots to trust: give some (`ClientTls::with_roots`), or enable the feature `platform-roots` or `webpki-roots`"
                .to_owned(),
        ))
    }

    /// Uses a configuration of the program's own. ALPN is set to `h2` and 0-RTT is switched off, as at
    /// [`ServerTls::from_config`](crate::ServerTls::from_config).
    pub fn from_config(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![H2.to_vec()];
        config.enable_early_data = false;
        let shared = Shared { config: RwLock::new(Arc::new(config)), parts: None };
        ClientTls {
            shared: Arc::new(shared),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            server_name: None,
        }
    }

    fn trusting(trust: Trust) -> Result<Self, ConfigError> {
        let parts = Parts { trust, provider: for_http2(&*provider()?) };
        let config = RwLock::new(parts.config(None)?);
        let shared = Arc::new(Shared { config, parts: Some(parts) });
        Ok(ClientTls { shared, handshake_timeout: HANDSHAKE_TIMEOUT, server_name: None })
    }

    /// Shows the certificate chain in `chain`, whose private key is in `key`, both as PEM, to servers that ask for one.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn certificate(self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.replace_certificate(chain, key)?;
        Ok(self)
    }

    /// Shows another certificate to servers from the next connection on. Where the files cannot be used, nothing changes.
    ///
    /// # Errors
    /// As [`certificate`](Self::certificate), or the configuration is the program's own.
    pub fn replace_certificate(&self, chain: &[u8], key: &[u8]) -> Result<(), ConfigError> {
        let Some(parts) = &self.shared.parts else {
            return Err(ConfigError::new(
                "the configuration is the program's own: change it there".to_owned(),
            ));
        };
        let own = pem::certified_key(chain, key, &parts.provider)?;
        let config = parts.config(Some(own))?;
        *self.shared.config.write().expect("no panic while it is locked") = config;
        Ok(())
    }

    /// Expects the server's certificate to be for `name`, a DNS name or an IP address, instead of the host in the target.
    ///
    /// # Errors
    /// `name` is neither.
    pub fn server_name(mut self, name: &str) -> Result<Self, ConfigError> {
        self.server_name = Some(parse_name(name)?);
        Ok(self)
    }

    /// How long a handshake may take, 10 s by default and at most an hour; a slower one fails the attempt to connect.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout.min(MAX_HANDSHAKE);
        self
    }

    /// A connection behind TLS to `host`, a DNS name or an IP address without a port: `start` makes its endpoint once
    /// the handshake is complete.
    ///
    /// # Errors
    /// `host` is neither, or the configuration cannot be used.
    pub fn connect<E, S>(
        &self,
        host: &str,
        now: Instant,
        start: S,
    ) -> Result<TlsEndpoint<E, S>, ConfigError>
    where
        E: Endpoint,
        S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<E>,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host)?,
        };
        let config = Arc::clone(&self.shared.config.read().expect("no panic while it is locked"));
        let session =
            Session::client(config, name).map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(TlsEndpoint::new(session, now + self.handshake_timeout, start))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("handshake_timeout", &self.handshake_timeout)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Parts {
    fn config(&self, own: Option<Arc<CertifiedKey>>) -> Result<Arc<ClientConfig>, ConfigError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            #[cfg(feature = "platform-roots")]
            Trust::Platform => {
                use rustls_platform_verifier::BuilderVerifierExt;
                builder.with_platform_verifier()?
            }
        };
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        };
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(Arc::new(config))
    }
}

fn parse_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned())
        .map_err(|_| ConfigError::new(format!("`{name}` is neither a DNS name nor an IP address")))
}
