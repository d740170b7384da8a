//! What a request of HTTP/1.1 may have wrong.

use std::fmt;

/// A rule that a request breaks; it is answered, and its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request line is no method, target and version with single spaces between (RFC 9112 §3).
    RequestLine,
    /// Another version than HTTP/1.0 and HTTP/1.1 (RFC 9112 §2.3).
    Version,
    /// A target that is neither a path nor a URI (RFC 9112 §3.2).
    Target,
    /// A line that ends with LF alone (RFC 9112 §2.2).
    BareLf,
    /// A line that begins with a space or tab and continues the one before (RFC 9112 §5.2).
    Folding,
    /// A name that is no token, such as one with a space before its colon (RFC 9112 §5.1).
    FieldName,
    /// A value with control characters (RFC 9110 §5.5).
    FieldValue,
    /// More fields than [`WebLimits::max_fields`](crate::WebLimits::max_fields).
    TooManyFields,
    /// A longer head than [`WebLimits::max_head`](crate::WebLimits::max_head).
    HeadTooLong,
    /// No Host, several, or one that is no authority (RFC 9112 §3.2).
    Host,
    /// Content-Length beside Transfer-Encoding (RFC 9112 §6.3).
    BothLengths,
    /// Several Content-Lengths, or one that is no number (RFC 9112 §6.3).
    ContentLength,
    /// A Transfer-Encoding other than `chunked` alone (RFC 9112 §6.1).
    TransferEncoding,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// A chunk without a size in hexadecimal digits, or not followed by CR LF (RFC 9112 §7.1).
    Chunk,
    /// Chunk extensions and trailers that are longer than [`WebLimits::max_head`](crate::WebLimits::max_head).
    ChunkOverhead,
    /// A longer body than [`WebLimits::max_body`](crate::WebLimits::max_body).
    BodyTooLong,
    /// The head did not come within [`WebLimits::head_timeout`](crate::WebLimits::head_timeout).
    SlowHead,
    /// The body did not go on within [`WebLimits::body_timeout`](crate::WebLimits::body_timeout).
    SlowBody,
    /// A body of `application/grpc-web-text` that is no base64 (RFC 4648 §4).
    Base64,
}

impl Fault {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Fault::Version => 505,
            Fault::TransferEncoding => 501,
            Fault::TooManyFields | Fault::HeadTooLong => 431,
            Fault::Expectation => 417,
            Fault::BodyTooLong => 413,
            Fault::SlowHead | Fault::SlowBody => 408,
            _ => 400,
        }
    }

    /// The rule, and what to do, in a line.
    pub const fn text(self) -> &'static str {
        match self {
            Fault::RequestLine => {
                "a request begins with METHOD target HTTP/1.1 and single spaces; send that (RFC 9112 3)"
            }
            Fault::Version => "HTTP/1.1 and HTTP/2 are served here; use one of them (RFC 9112 2.3)",
            Fault::Target => "the target is no path; send /package.Service/Method (RFC 9112 3.2)",
            Fault::BareLf => "a line ends with LF alone; end it with CR LF (RFC 9112 2.2)",
            Fault::Folding => "a field goes on in a second line; send it in one (RFC 9112 5.2)",
            Fault::FieldName => {
                "the name of a field is no token; send no space before the colon (RFC 9112 5.1)"
            }
            Fault::FieldValue => {
                "the value of a field has control characters; remove them (RFC 9110 5.5)"
            }
            Fault::TooManyFields => "too many fields; send fewer",
            Fault::HeadTooLong => "the head of the request is too long; send less metadata",
            Fault::Host => {
                "a request has one Host, which is an authority; send that (RFC 9112 3.2)"
            }
            Fault::BothLengths => {
                "Content-Length and Transfer-Encoding are both given; send one of them (RFC 9112 6.3)"
            }
            Fault::ContentLength => "Content-Length is one number of decimal digits (RFC 9112 6.3)",
            Fault::TransferEncoding => {
                "of transfer encodings only chunked is served, once and alone (RFC 9112 6.1)"
            }
            Fault::Expectation => "of expectations only 100-continue is served (RFC 9110 10.1.1)",
            Fault::Chunk => {
                "a chunk is a size in hexadecimal digits, CR LF, data and CR LF (RFC 9112 7.1)"
            }
            Fault::ChunkOverhead => {
                "the chunk extensions and trailers are too long; leave them out (RFC 9112 7.1.1)"
            }
            Fault::BodyTooLong => "the body is too long; send it in several calls",
            Fault::SlowHead => "the head of the request did not come in time; send it at once",
            Fault::SlowBody => "the body of the request did not go on in time; send it at once",
            Fault::Base64 => {
                "the body is no base64; send that, or application/grpc-web (RFC 4648 4)"
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Fault {}
