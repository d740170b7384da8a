//! Who is at the other end of a transport.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

/// Who is at the other end of a transport: its address, and what the transport proved about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: PeerAddress,
    credentials: Option<UnixCredentials>,
    tls: Option<Rc<TlsPeer>>,
}

/// The address of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerAddress {
    /// A socket of the Internet families.
    Inet(SocketAddr),
    /// A socket of the local machine, by its path if it has one.
    Unix(Option<PathBuf>),
    /// The same process, or a transport without addresses.
    Memory,
}

/// The process at the other end of a Unix socket, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixCredentials {
    /// Its process, where the system tells.
    pub pid: Option<i32>,
    /// The user that it ran as.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What a TLS handshake proved about the peer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TlsPeer {
    /// The peer's certificates in DER, its own first; empty where it showed none.
    ///
    /// They were verified against the roots in the configuration.
    pub certificates: Vec<Box<[u8]>>,
    /// The DNS names that its own certificate is for (subjectAltName, RFC 5280 §4.2.1.6).
    pub dns_names: Vec<String>,
    /// The URIs that its own certificate is for.
    pub uris: Vec<String>,
    /// The name that a client asked for by SNI (RFC 6066 §3); absent at a client, and where it asked by address.
    pub server_name: Option<Box<str>>,
    /// The protocol version, as `TLSv1_3`.
    pub version: &'static str,
    /// The cipher suite, as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// Whether the session was resumed, so that no certificate was sent anew.
    pub resumed: bool,
    /// Whether ALPN chose `h2` (RFC 9113 §3.2): nothing but HTTP/2 can follow, and a server sends its SETTINGS at once
    /// ([`Limits::settings_hold`](grpc_proto::Limits::settings_hold)).
    pub http2: bool,
    /// Whether a client has offered `http/1.1` by ALPN, as browsers do beside `h2` and clients of gRPC do not.
    pub offers_http1: bool,
}

impl Peer {
    /// A peer at `address`.
    pub const fn new(address: PeerAddress) -> Self {
        Peer { address, credentials: None, tls: None }
    }

    /// The same process, or a transport without addresses.
    pub const fn memory() -> Self {
        Self::new(PeerAddress::Memory)
    }

    /// Adds the process behind a Unix socket.
    #[must_use]
    pub fn with_credentials(mut self, credentials: UnixCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Adds what a TLS handshake proved.
    #[must_use]
    pub fn with_tls(mut self, tls: Rc<TlsPeer>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Its address.
    pub const fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Its Internet address, if it has one.
    pub const fn socket_address(&self) -> Option<SocketAddr> {
        match &self.address {
            PeerAddress::Inet(address) => Some(*address),
            PeerAddress::Unix(_) | PeerAddress::Memory => None,
        }
    }

    /// The process behind a Unix socket.
    pub const fn credentials(&self) -> Option<UnixCredentials> {
        self.credentials
    }

    /// What the TLS handshake proved, where the connection is behind TLS.
    pub fn tls(&self) -> Option<&TlsPeer> {
        self.tls.as_deref()
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::new(PeerAddress::Inet(address))
    }
}

impl TlsPeer {
    /// The SPIFFE ID of the peer: the URI of its certificate that begins with `spiffe://`.
    ///
    /// `None` where there is no such URI or more than one URI, which an X.509-SVID may not have.
    pub fn spiffe_id(&self) -> Option<&str> {
        match &self.uris[..] {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    /// The address, as `127.0.0.1:50051` or `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            PeerAddress::Inet(address) => address.fmt(f),
            PeerAddress::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            PeerAddress::Unix(None) => f.write_str("unix:"),
            PeerAddress::Memory => f.write_str("memory"),
        }
    }
}

impl fmt::Display for TlsPeer {
    /// The names of its certificate, as `spiffe://example.org/web, web.example.org`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return f.write_str("no certificate");
        }
        let mut names = self.uris.iter().chain(&self.dns_names);
        let Some(first) = names.next() else { return f.write_str("a certificate without names") };
        f.write_str(first)?;
        names.try_for_each(|name| write!(f, ", {name}"))
    }
}
