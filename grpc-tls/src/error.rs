//! Why a TLS session failed.

use std::fmt;

/// Why a TLS session failed. The text names the rule that was broken and what to do about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer does not speak TLS; with what its first bytes are.
    NotTls(Plaintext),
    /// The handshake ended without the ALPN protocol `h2`, which HTTP/2 over TLS needs (RFC 9113 §3.2); with the
    /// protocol that was chosen instead.
    NoHttp2(Option<Vec<u8>>),
    /// The handshake was not complete in time.
    HandshakeTimeout,
    /// This side stopped, or needed the place for a newer connection, before the handshake was complete.
    HandshakeStopped,
    /// The transport ended before the peer had sent a byte: a server without TLS closes so, since it takes a handshake for
    /// garbage.
    HandshakeUnanswered,
    /// The transport ended in the middle of the handshake.
    HandshakeCut,
    /// The transport ended without `close_notify`: what came last may be missing (RFC 8446 §6.1).
    Truncated,
    /// The certificate of the peer was refused, or the session broke a rule of TLS.
    Session(rustls::Error),
}

/// What came in place of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plaintext {
    /// The connection preface of HTTP/2, or a SETTINGS frame.
    Http2,
    /// A request or a response of HTTP/1.
    Http1,
    /// Something else.
    Unknown,
}

impl Plaintext {
    /// What the first bytes from a peer are, or `None` where they may begin a TLS record.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        // RFC 8446 §5.1: change_cipher_spec(20), alert(21), handshake(22), application_data(23).
        if matches!(first.first(), None | Some(20..=23)) {
            return None;
        }
        let begins = |text: &[u8]| !first.is_empty() && first.iter().zip(text).all(|(a, b)| a == b);
        let methods: [&[u8]; 9] = [
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"DELETE ",
            b"OPTIONS ",
            b"PATCH ",
            b"CONNECT ",
            b"HTTP/1.",
        ];
        // A SETTINGS frame of fewer than 256 bytes on stream 0.
        let settings = first.len() >= 4 && first[..2] == [0, 0] && first[3] == 4;
        Some(if begins(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") || settings {
            Plaintext::Http2
        } else if methods.iter().any(|text| begins(text)) {
            Plaintext::Http1
        } else {
            Plaintext::Unknown
        })
    }
}

impl TlsError {
    /// Whether the peer was already gone or never spoke TLS, so that no alert can reach it.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(
            self,
            TlsError::NotTls(_)
                | TlsError::HandshakeUnanswered
                | TlsError::HandshakeCut
                | TlsError::Truncated
        )
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Session(error)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::NotTls(Plaintext::Http2) => f.write_str(
                "the peer speaks HTTP/2 without TLS, and this side needs TLS: use `https` at the client and TLS at the \
                 server, or neither",
            ),
            TlsError::NotTls(Plaintext::Http1) => f.write_str(
                "the peer speaks HTTP/1 without TLS on a connection that needs TLS: use `https` and HTTP/2",
            ),
            TlsError::NotTls(Plaintext::Unknown) => {
                f.write_str("the peer does not speak TLS: its first bytes begin no TLS record")
            }
            TlsError::NoHttp2(None) => f.write_str(
                "the handshake chose no protocol by ALPN: HTTP/2 over TLS needs `h2` (RFC 9113 §3.2)",
            ),
            TlsError::NoHttp2(Some(other)) => write!(
                f,
                "the handshake chose the protocol `{}` by ALPN: HTTP/2 over TLS needs `h2` (RFC 9113 §3.2)",
                other.escape_ascii()
            ),
            TlsError::HandshakeTimeout => f.write_str("the TLS handshake was not complete in time"),
            TlsError::HandshakeStopped => {
                f.write_str("this side ended the connection before the TLS handshake was complete")
            }
            TlsError::HandshakeUnanswered => f.write_str(
                "the connection ended before the peer sent anything of the TLS handshake: it may not speak TLS on this port",
            ),
            TlsError::HandshakeCut => f.write_str("the connection ended in the middle of the TLS handshake"),
            TlsError::Truncated => f.write_str(
                "the connection ended without the TLS alert close_notify: data may be missing (RFC 8446 §6.1)",
            ),
            TlsError::Session(rustls::Error::NoApplicationProtocol) => {
                f.write_str("the peer offers no protocol by ALPN that is served here: offer `h2` (RFC 9113 §3.2)")
            }
            TlsError::Session(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Session(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_told_from_tls_by_any_prefix() {
        let cases: [(&[u8], Option<Plaintext>); 8] = [
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Plaintext::Http2)),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], Some(Plaintext::Http2)),
            (b"GET / HTTP/1.1\r\n", Some(Plaintext::Http1)),
            (b"HTTP/1.1 400 Bad Request\r\n", Some(Plaintext::Http1)),
            (b"SSH-2.0", Some(Plaintext::Unknown)),
            (&[22, 3, 1, 0, 5], None),
            (&[21, 3, 3, 0, 2, 2, 40], None),
            (b"", None),
        ];
        for (first, expected) in cases {
            assert_eq!(Plaintext::of(first), expected, "{first:?}");
        }
        assert_eq!(Plaintext::of(b"P"), Some(Plaintext::Http2), "a prefix of several");
    }
}
