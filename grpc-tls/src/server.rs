//! TLS at a server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use grpc_proto::Instant;
use grpc_service::{Endpoint, TlsPeer};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use crate::acceptor::{Acceptor, HANDSHAKES};
use crate::config::{ConfigError, MAX_HANDSHAKE, for_http2, provider};
use crate::endpoint::{HANDSHAKE_TIMEOUT, TlsEndpoint};
use crate::error::TlsError;
use crate::pem;
use crate::session::{H2, Session};
use crate::sni::NoteName;

/// TLS for the connections of a server: what to show to clients, and what to ask of them.
///
/// A value is cheap to clone and may be used by several threads. Certificates are replaced while it serves by
/// [`replace_certificate`](Self::replace_certificate) and [`replace_client_roots`](Self::replace_client_roots).
///
/// ```no_run
/// let (chain, key) = (std::fs::read("server.pem")?, std::fs::read("server.key")?);
/// let tls = grpc_tls::ServerTls::from_pem(&chain, &key)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
    handshake_timeout: Duration,
    handshakes: usize,
}

struct Shared {
    /// In force for new connections.
    config: RwLock<Arc<rustls::ServerConfig>>,
    /// What `config` is made of; absent where the program brought its own.
    parts: Option<RwLock<Parts>>,
}

/// Who must show a certificate.
#[derive(Clone)]
enum Clients {
    NotAsked,
    Optional(Roots),
    Required(Roots),
}

#[derive(Clone)]
struct Roots {
    roots: Arc<RootCertStore>,
    revoked: Vec<rustls::pki_types::CertificateRevocationListDer<'static>>,
}

#[derive(Clone)]
struct Parts {
    certificates: Certificates,
    clients: Clients,
    provider: Arc<CryptoProvider>,
}

impl ServerTls {
    /// Shows the certificate chain in `chain`, whose private key is in `key`, both as PEM.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let provider = for_http2(&*provider()?);
        let own = pem::certified_key(chain, key, &provider)?;
        let certificates = Certificates { default: own, by_name: BTreeMap::new() };
        let parts = Parts { certificates, clients: Clients::NotAsked, provider };
        let config = RwLock::new(parts.config()?);
        let shared = Arc::new(Shared { config, parts: Some(RwLock::new(parts)) });
        Ok(ServerTls { shared, handshake_timeout: HANDSHAKE_TIMEOUT, handshakes: HANDSHAKES })
    }

    /// Uses a configuration of the program's own. ALPN is set to `h2`, and 0-RTT is switched off, because HTTP/2 needs
    /// the one (RFC 9113 §3.2) and replays make the other unsafe (RFC 8446 §8).
    pub fn from_config(mut config: rustls::ServerConfig) -> Self {
        config.alpn_protocols = vec![H2.to_vec()];
        config.max_early_data_size = 0;
        config.cert_resolver = Arc::new(NoteName(config.cert_resolver));
        let shared = Arc::new(Shared { config: RwLock::new(Arc::new(config)), parts: None });
        ServerTls { shared, handshake_timeout: HANDSHAKE_TIMEOUT, handshakes: HANDSHAKES }
    }

    /// Shows another certificate to clients that ask for `name` by SNI.
    ///
    /// `name` is a DNS name, or begins with `*.` for all names one level below.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), or the configuration is the program's own.
    pub fn certificate_for(
        self,
        name: &str,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, ConfigError> {
        self.change(|parts| {
            let own = pem::certified_key(chain, key, &parts.provider)?;
            parts.certificates.by_name.insert(name.to_ascii_lowercase(), own);
            Ok(())
        })?;
        Ok(self)
    }

    /// Requires each client to show a certificate that one of the roots in `roots` (PEM) has signed.
    ///
    /// # Errors
    /// `roots` cannot be read, or the configuration is the program's own.
    pub fn require_client_certificate(self, roots: &[u8]) -> Result<Self, ConfigError> {
        let roots = Roots { roots: Arc::new(pem::roots(roots)?), revoked: Vec::new() };
        self.change(|parts| {
            parts.clients = Clients::Required(roots);
            Ok(())
        })?;
        Ok(self)
    }

    /// Asks each client for a certificate and serves those that show none, too; a handler finds none in `cx.peer()`.
    ///
    /// # Errors
    /// `roots` cannot be read, or the configuration is the program's own.
    pub fn request_client_certificate(self, roots: &[u8]) -> Result<Self, ConfigError> {
        let roots = Roots { roots: Arc::new(pem::roots(roots)?), revoked: Vec::new() };
        self.change(|parts| {
            parts.clients = Clients::Optional(roots);
            Ok(())
        })?;
        Ok(self)
    }

    /// How long a handshake may take, 10 s by default and at most an hour; a slower one ends its connection.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout.min(MAX_HANDSHAKE);
        self
    }

    /// How many handshakes may be under way at a time on each thread that serves, [`HANDSHAKES`] by default and at least
    /// one; with one more the oldest is ended.
    #[must_use]
    pub fn handshakes(mut self, limit: usize) -> Self {
        self.handshakes = limit.max(1);
        self
    }

    pub(crate) fn handshake_limit(&self) -> usize {
        self.handshakes
    }

    /// TLS in front of the connections that one thread accepts; for adapters.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::new(self.clone())
    }

    /// Shows another certificate to new connections from now on, instead of that of [`from_pem`](Self::from_pem).
    ///
    /// Open connections go on. Where the files cannot be used, nothing changes.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), or the configuration is the program's own.
    pub fn replace_certificate(&self, chain: &[u8], key: &[u8]) -> Result<(), ConfigError> {
        self.change(|parts| {
            parts.certificates.default = pem::certified_key(chain, key, &parts.provider)?;
            Ok(())
        })
    }

    /// Checks the certificates of clients against other roots, and refuses those on the revocation lists (PEM), from
    /// the next connection on. An empty `revoked` means no list.
    ///
    /// Where the files cannot be used, nothing changes.
    ///
    /// # Errors
    /// A file cannot be read, or no client certificates are asked for.
    pub fn replace_client_roots(&self, roots: &[u8], revoked: &[u8]) -> Result<(), ConfigError> {
        let revoked = if revoked.is_empty() { Vec::new() } else { pem::revocation_lists(revoked)? };
        let roots = Roots { roots: Arc::new(pem::roots(roots)?), revoked };
        self.change(|parts| match &mut parts.clients {
            Clients::NotAsked => Err(ConfigError::new(
                "no client certificates are asked for: require or request them first".to_owned(),
            )),
            Clients::Optional(old) | Clients::Required(old) => {
                *old = roots;
                Ok(())
            }
        })
    }

    /// Changes a copy of the parts, and puts it in force if a configuration can be made of it.
    fn change(
        &self,
        change: impl FnOnce(&mut Parts) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let Some(parts) = &self.shared.parts else {
            return Err(ConfigError::new(
                "the configuration is the program's own: change it there".to_owned(),
            ));
        };
        let mut parts = parts.write().expect("no panic while it is locked");
        let mut changed = parts.clone();
        change(&mut changed)?;
        let config = changed.config()?;
        *parts = changed;
        *self.shared.config.write().expect("no panic while it is locked") = config;
        Ok(())
    }

    /// A connection behind TLS: `start` makes its endpoint once the handshake is complete.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn accept<E, S>(&self, now: Instant, start: S) -> Result<TlsEndpoint<E, S>, TlsError>
    where
        E: Endpoint,
        S: FnOnce(Result<&TlsPeer, &TlsError>) -> Option<E>,
    {
        let session = Session::server(self.config())?;
        Ok(TlsEndpoint::new(session, now + self.handshake_timeout, start))
    }

    /// The configuration in force for new connections.
    pub(crate) fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.shared.config.read().expect("no panic while it is locked"))
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.handshake_timeout
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

impl Parts {
    fn config(&self) -> Result<Arc<rustls::ServerConfig>, ConfigError> {
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?;
        let verifier = |from: &Roots, optional: bool| {
            let mut builder = WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&from.roots),
                Arc::clone(&self.provider),
            )
            .with_crls(from.revoked.clone());
            if optional {
                builder = builder.allow_unauthenticated();
            }
            builder
                .build()
                .map_err(|error| ConfigError::new(format!("the roots of clients: {error}")))
        };
        let builder = match &self.clients {
            Clients::NotAsked => builder.with_no_client_auth(),
            Clients::Optional(from) => builder.with_client_cert_verifier(verifier(from, true)?),
            Clients::Required(from) => builder.with_client_cert_verifier(verifier(from, false)?),
        };
        let certificates = Arc::new(self.certificates.clone());
        let mut config = builder.with_cert_resolver(Arc::new(NoteName(certificates)));
        config.alpn_protocols = vec![H2.to_vec()];
        if !matches!(self.clients, Clients::NotAsked) {
            // A resumed session would skip the check against roots and lists that were replaced meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else if let Some(tickets) = tickets()? {
            config.ticketer = tickets;
        }
        Ok(Arc::new(config))
    }
}

/// Tickets that resume sessions without memory at the server; none where the provider is the program's own.
fn tickets() -> Result<Option<Arc<dyn ProducesTickets>>, ConfigError> {
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Some(rustls::crypto::aws_lc_rs::Ticketer::new()?));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Some(rustls::crypto::ring::Ticketer::new()?));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Ok(None)
}

/// Certificates by the name that a client asks for.
#[derive(Clone, Debug)]
struct Certificates {
    default: Arc<CertifiedKey>,
    by_name: BTreeMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name().map(str::to_ascii_lowercase) else {
            return Some(Arc::clone(&self.default));
        };
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        let found = self.by_name.get(&name).or_else(wildcard).unwrap_or(&self.default);
        Some(Arc::clone(found))
    }
}
