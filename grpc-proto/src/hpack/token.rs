//! Names that the layers above dispatch on, recognised once.

mod names;

use names::{CODED, PLAIN};
pub(super) use names::{LONGEST, Name};

/// What a field name is known as, so that nothing above compares strings.
///
/// Every name of the static table (RFC 7541 appendix A) has a token of its own, and so has every
/// name that HTTP/2 or gRPC gives a meaning to. A name is matched exactly: `Content-Type` is
/// [`Token::Other`], and invalid in HTTP/2 besides.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Token {
    /// Any name without a token.
    #[default]
    Other = 0,
    /// A name that starts with a colon and is not one of those below.
    UnknownPseudo,
    /// A name that starts with `grpc-` and is not one of those below.
    GrpcReserved,

    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// `:protocol` (RFC 8441)
    Protocol,

    /// `accept-charset`
    AcceptCharset,
    /// `accept-encoding`
    AcceptEncoding,
    /// `accept-language`
    AcceptLanguage,
    /// `accept-ranges`
    AcceptRanges,
    /// `accept`
    Accept,
    /// `access-control-allow-origin`
    AccessControlAllowOrigin,
    /// `age`
    Age,
    /// `allow`
    Allow,
    /// `authorization`
    Authorization,
    /// `cache-control`
    CacheControl,
    /// `content-disposition`
    ContentDisposition,
    /// `content-encoding`
    ContentEncoding,
    /// `content-language`
    ContentLanguage,
    /// `content-length`
    ContentLength,
    /// `content-location`
    ContentLocation,
    /// `content-range`
    ContentRange,
    /// `content-type`
    ContentType,
    /// `cookie`
    Cookie,
    /// `date`
    Date,
    /// `etag`
    Etag,
    /// `expect`
    Expect,
    /// `expires`
    Expires,
    /// `from`
    From,
    /// `host`
    Host,
    /// `if-match`
    IfMatch,
    /// `if-modified-since`
    IfModifiedSince,
    /// `if-none-match`
    IfNoneMatch,
    /// `if-range`
    IfRange,
    /// `if-unmodified-since`
    IfUnmodifiedSince,
    /// `last-modified`
    LastModified,
    /// `link`
    Link,
    /// `location`
    Location,
    /// `max-forwards`
    MaxForwards,
    /// `proxy-authenticate`
    ProxyAuthenticate,
    /// `proxy-authorization`
    ProxyAuthorization,
    /// `range`
    Range,
    /// `referer`
    Referer,
    /// `refresh`
    Refresh,
    /// `retry-after`
    RetryAfter,
    /// `server`
    Server,
    /// `set-cookie`
    SetCookie,
    /// `strict-transport-security`
    StrictTransportSecurity,
    /// `transfer-encoding`
    TransferEncoding,
    /// `user-agent`
    UserAgent,
    /// `vary`
    Vary,
    /// `via`
    Via,
    /// `www-authenticate`
    WwwAuthenticate,

    /// `te`
    Te,
    /// `trailer`
    Trailer,
    /// `connection`
    Connection,
    /// `keep-alive`
    KeepAlive,
    /// `proxy-connection`
    ProxyConnection,
    /// `upgrade`
    Upgrade,

    /// `grpc-timeout`
    GrpcTimeout,
    /// `grpc-encoding`
    GrpcEncoding,
    /// `grpc-accept-encoding`
    GrpcAcceptEncoding,
    /// `grpc-status`
    GrpcStatus,
    /// `grpc-message`
    GrpcMessage,
    /// `grpc-status-details-bin`
    GrpcStatusDetailsBin,
    /// `grpc-previous-rpc-attempts`
    GrpcPreviousRpcAttempts,
    /// `grpc-retry-pushback-ms`
    GrpcRetryPushbackMs,
}

impl Token {
    /// The token of `name`: one hash, one comparison.
    #[inline]
    pub fn of(name: &[u8]) -> Token {
        PLAIN.find(name).unwrap_or_else(|| Token::of_unknown(name))
    }

    /// The token of `name`, if it has one of its own.
    #[inline]
    pub(super) fn of_known(name: &[u8]) -> Option<Token> {
        PLAIN.find(name)
    }

    /// The token of the name that has this Huffman code, if it has one of its own: there is but one code for
    /// a name, so one that is not found this way is not known.
    #[inline]
    pub(super) fn of_coded(code: &[u8]) -> Option<Token> {
        CODED.find(code)
    }

    /// The token of a name that none has for its own.
    pub(super) fn of_unknown(name: &[u8]) -> Token {
        if name.first() == Some(&b':') {
            Token::UnknownPseudo
        } else if name.starts_with(b"grpc-") {
            Token::GrpcReserved
        } else {
            Token::Other
        }
    }

    /// The name that has this token, with zeros; an empty one for the tokens that stand for many.
    #[inline]
    pub(super) fn text(self) -> &'static Name {
        PLAIN.name(self)
    }

    /// The one name that has this token; `None` for the three tokens that stand for many names.
    #[inline]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Token::Other | Token::UnknownPseudo | Token::GrpcReserved => None,
            known => Some(NAMES[known as usize]),
        }
    }

    /// Whether the name starts with a colon (RFC 9113 §8.3).
    #[inline]
    pub const fn is_pseudo(self) -> bool {
        matches!(
            self,
            Token::Authority
                | Token::Method
                | Token::Path
                | Token::Scheme
                | Token::Status
                | Token::Protocol
                | Token::UnknownPseudo
        )
    }

    /// Whether the field belongs to one HTTP/1.1 connection, which makes a message with it malformed
    /// (RFC 9113 §8.2.2). `te` is not among them: it is allowed with the value `trailers` alone.
    #[inline]
    pub const fn is_connection_specific(self) -> bool {
        matches!(
            self,
            Token::Connection
                | Token::KeepAlive
                | Token::ProxyConnection
                | Token::TransferEncoding
                | Token::Upgrade
        )
    }

    /// Whether a value may begin or end with spaces, which RFC 9113 §8.2.1 forbids: `grpc-message`.
    ///
    /// The gRPC specification has its sender leave spaces as they are, and the C core does so at the edges
    /// too. To refuse such a message would turn the status that it explains into another one.
    #[inline]
    pub(crate) const fn may_be_padded(self) -> bool {
        matches!(self, Token::GrpcMessage)
    }

    /// Whether gRPC keeps the field to itself: it starts with `grpc-` and is not one of the two that
    /// reach the application (`grpc-previous-rpc-attempts`, `grpc-retry-pushback-ms`).
    #[inline]
    pub const fn is_reserved(self) -> bool {
        matches!(
            self,
            Token::GrpcReserved
                | Token::GrpcTimeout
                | Token::GrpcEncoding
                | Token::GrpcAcceptEncoding
                | Token::GrpcStatus
                | Token::GrpcMessage
                | Token::GrpcStatusDetailsBin
        )
    }
}

/// How many tokens there are.
pub(super) const COUNT: usize = Token::GrpcRetryPushbackMs as usize + 1;

/// The tokens with a name, in the order of the enum.
const KNOWN: [Token; COUNT - FIRST_KNOWN] = {
    use Token::*;
    [
        Authority,
        Method,
        Path,
        Scheme,
        Status,
        Protocol,
        AcceptCharset,
        AcceptEncoding,
        AcceptLanguage,
        AcceptRanges,
        Accept,
        AccessControlAllowOrigin,
        Age,
        Allow,
        Authorization,
        CacheControl,
        ContentDisposition,
        ContentEncoding,
        ContentLanguage,
        ContentLength,
        ContentLocation,
        ContentRange,
        ContentType,
        Cookie,
        Date,
        Etag,
        Expect,
        Expires,
        From,
        Host,
        IfMatch,
        IfModifiedSince,
        IfNoneMatch,
        IfRange,
        IfUnmodifiedSince,
        LastModified,
        Link,
        Location,
        MaxForwards,
        ProxyAuthenticate,
        ProxyAuthorization,
        Range,
        Referer,
        Refresh,
        RetryAfter,
        Server,
        SetCookie,
        StrictTransportSecurity,
        TransferEncoding,
        UserAgent,
        Vary,
        Via,
        WwwAuthenticate,
        Te,
        Trailer,
        Connection,
        KeepAlive,
        ProxyConnection,
        Upgrade,
        GrpcTimeout,
        GrpcEncoding,
        GrpcAcceptEncoding,
        GrpcStatus,
        GrpcMessage,
        GrpcStatusDetailsBin,
        GrpcPreviousRpcAttempts,
        GrpcRetryPushbackMs,
    ]
};

/// The first token with a name; those before stand for many names.
const FIRST_KNOWN: usize = Token::Authority as usize;

/// The name of each token, by its number.
const NAMES: [&str; COUNT] = [
    "",
    "",
    "",
    ":authority",
    ":method",
    ":path",
    ":scheme",
    ":status",
    ":protocol",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "te",
    "trailer",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-previous-rpc-attempts",
    "grpc-retry-pushback-ms",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::huffman;

    #[test]
    fn every_known_name_has_its_token_and_no_neighbour_has_it() {
        for token in KNOWN {
            let name = token.name().unwrap();
            assert_eq!(Token::of(name.as_bytes()), token);
            for at in 0..name.len() {
                let mut near = name.as_bytes().to_vec();
                near[at] ^= 0x20;
                assert_ne!(Token::of(&near), token);
            }
            assert_ne!(Token::of(&name.as_bytes()[1..]), token);
            assert_ne!(Token::of(&[name.as_bytes(), b"x"].concat()), token);
        }
    }

    #[test]
    fn every_known_name_is_recognised_by_its_code_and_no_neighbour_is() {
        for token in KNOWN {
            let (code, len) = huffman::code_of(token.name().unwrap().as_bytes());
            assert_eq!(Token::of_coded(&code[..len]), Some(token));
            assert_eq!(Token::of_coded(&code[..len - 1]), None);
            for bit in 0..8 * len {
                let mut near = code;
                near[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(Token::of_coded(&near[..len]), Some(token));
            }
        }
        for len in [0, 1, 32, 33, 1000] {
            assert_eq!(Token::of_coded(&alloc::vec![0; len]), None);
            assert_eq!(Token::of_known(&alloc::vec![0; len]), None);
        }
    }

    #[test]
    fn names_without_a_token_fall_into_three_kinds() {
        assert_eq!(Token::of(b""), Token::Other);
        assert_eq!(Token::of(b"x"), Token::Other);
        assert_eq!(Token::of(b"Te"), Token::Other);
        assert_eq!(Token::of(&[b'a'; 1000]), Token::Other);
        assert_eq!(Token::of(b":"), Token::UnknownPseudo);
        assert_eq!(Token::of(b":Path"), Token::UnknownPseudo);
        assert_eq!(Token::of(b"grpc-"), Token::GrpcReserved);
        assert_eq!(Token::of(b"grpc-tags-bin"), Token::GrpcReserved);
        assert_eq!(Token::of(b"grpc"), Token::Other);
    }

    #[test]
    fn the_kinds_of_tokens_follow_from_their_names() {
        for token in KNOWN {
            let name = token.name().unwrap();
            assert_eq!(token.is_pseudo(), name.starts_with(':'), "{name}");
            let reaches_the_application =
                ["grpc-previous-rpc-attempts", "grpc-retry-pushback-ms"].contains(&name);
            assert_eq!(
                token.is_reserved(),
                name.starts_with("grpc-") && !reaches_the_application,
                "{name}"
            );
            let specific =
                ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
            assert_eq!(token.is_connection_specific(), specific.contains(&name), "{name}");
        }
        assert!(Token::GrpcReserved.is_reserved() && Token::UnknownPseudo.is_pseudo());
        assert!(!Token::Other.is_reserved() && !Token::Other.is_pseudo());
    }
}
