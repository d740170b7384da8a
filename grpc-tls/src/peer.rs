//! Who the peer of a TLS session is.

use std::fmt;

use rustls::CommonState;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What the handshake proved about the peer, for handlers: `cx.peer()` carries it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TlsPeer {
    /// The peer's certificates in DER, its own first; empty where it showed none.
    ///
    /// They were verified against the roots in the configuration.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The name that a client asked for by SNI (RFC 6066 §3); absent at a client, and where it asked by address.
    pub server_name: Option<String>,
    /// The protocol version, as `TLSv1_3`.
    pub version: &'static str,
    /// The cipher suite, as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// Whether the session was resumed, so that no certificate was sent anew.
    pub resumed: bool,
}

impl TlsPeer {
    pub(crate) fn of(state: &CommonState, server_name: Option<&str>) -> Self {
        let certificates = state.peer_certificates().unwrap_or_default();
        TlsPeer {
            certificates: certificates.iter().map(|der| der.clone().into_owned()).collect(),
            server_name: server_name.map(str::to_owned),
            version: state
                .protocol_version()
                .and_then(|version| version.as_str())
                .unwrap_or("unknown"),
            cipher_suite: state
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }

    /// The DNS names that the peer's own certificate is for (subjectAltName, RFC 5280 §4.2.1.6).
    pub fn dns_names(&self) -> Vec<String> {
        self.names(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
    }

    /// The URIs that the peer's own certificate is for.
    pub fn uris(&self) -> Vec<String> {
        self.names(|certificate| certificate.valid_uri_names().map(str::to_owned).collect())
    }

    /// The SPIFFE ID of the peer: the URI of its certificate that begins with `spiffe://`.
    ///
    /// `None` where there is no such URI or more than one URI, which an X.509-SVID may not have.
    pub fn spiffe_id(&self) -> Option<String> {
        let mut uris = self.uris();
        match uris.pop() {
            Some(uri) if uris.is_empty() && uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }

    fn names(&self, of: impl Fn(&EndEntityCert<'_>) -> Vec<String>) -> Vec<String> {
        // It was parsed in the handshake; a verifier of the program's own may have taken what webpki does not.
        let own = self.certificates.first().and_then(|der| EndEntityCert::try_from(der).ok());
        own.map(|certificate| of(&certificate)).unwrap_or_default()
    }
}

impl fmt::Display for TlsPeer {
    /// The names of its certificate, as `spiffe://example.org/web, web.example.org`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.uris().into_iter().chain(self.dns_names()).collect();
        match (names.is_empty(), self.certificates.is_empty()) {
            (false, _) => f.write_str(&names.join(", ")),
            (true, false) => f.write_str("a certificate without names"),
            (true, true) => f.write_str("no certificate"),
        }
    }
}
