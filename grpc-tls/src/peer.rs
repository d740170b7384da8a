//! What the handshake proved about the peer.

use grpc_service::TlsPeer;
use rustls::{CommonState, HandshakeKind};
use webpki::EndEntityCert;

use crate::session::H2;

/// What `state` knows about the peer, who asked for `server_name`.
pub(crate) fn peer_of(state: &CommonState, server_name: Option<Box<str>>) -> TlsPeer {
    let certificates = state.peer_certificates().unwrap_or_default();
    // rustls has parsed it; a verifier of the program's own may take what webpki does not.
    let own = certificates.first().and_then(|der| EndEntityCert::try_from(der).ok());
    let mut peer = TlsPeer::default();
    if let Some(own) = own {
        peer.dns_names = own.valid_dns_names().map(str::to_owned).collect();
        peer.uris = own.valid_uri_names().map(str::to_owned).collect();
    }
    peer.certificates = certificates.iter().map(|der| der.as_ref().into()).collect();
    peer.server_name = server_name;
    peer.version =
        state.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown");
    let suite = state.negotiated_cipher_suite();
    peer.cipher_suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    peer.http2 = state.alpn_protocol() == Some(H2);
    peer.resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
    peer
}
