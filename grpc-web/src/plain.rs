//! Plain HTTP beside gRPC: what a hook sees and answers.

use std::borrow::Cow;
use std::fmt;

use crate::cors::is_token;

/// A request that is not gRPC-Web, without its body, as a hook sees it.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: &'a dyn FieldSource,
}

/// Fields by name, wherever they are kept.
pub(crate) trait FieldSource {
    /// The first value of a field; `name` has lower case.
    fn find(&self, name: &str) -> Option<&[u8]>;
}

impl FieldSource for [httparse::Header<'_>] {
    fn find(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

impl FieldSource for &[httparse::Header<'_>] {
    fn find(&self, name: &str) -> Option<&[u8]> {
        (**self).find(name)
    }
}

impl<'a> HttpRequest<'a> {
    /// `GET`, `HEAD` or another one, as it came.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The path without its query.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What follows `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first value of a field whose name is `name`, in lower case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.find(name)
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.escape_debug(), self.target.escape_debug())
    }
}

/// What a hook answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Cow<'static, [u8]>,
}

/// A field that no response can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField(String);

impl HttpResponse {
    /// A line of text with `status`, which is within 200 to 599 (another one becomes 500).
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// A body of a type that needs no check; see [`header`](Self::header) for one that does.
    pub fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let status = if (200..600).contains(&status) { status } else { 500 };
        let fields = vec![("content-type".into(), content_type.into())];
        HttpResponse { status, fields, body: body.into() }
    }

    /// Adds a field.
    ///
    /// # Errors
    /// The name is no token or one that frames the response (`content-length`, `connection`, `transfer-encoding`), or the
    /// value has control characters (RFC 9110 §5.5).
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidField> {
        let (name, value) = (name.into(), value.into());
        let frames = ["content-length", "connection", "transfer-encoding"];
        let is_ours = frames.iter().any(|known| name.eq_ignore_ascii_case(known));
        let is_clean = value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control());
        if is_ours || !is_token(name.as_bytes()) || !is_clean {
            return Err(InvalidField(name.into_owned()));
        }
        self.fields.push((name, value));
        Ok(self)
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.escape_debug();
        write!(
            f,
            "no response can carry the field {name}: choose another name, or remove control characters from its value"
        )
    }
}

impl std::error::Error for InvalidField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_would_split_or_reframe_a_response_is_refused() {
        let response = HttpResponse::text(200, "x");
        for (name, value) in [
            ("x", "a\r\nb: c"),
            ("x", "a\nb"),
            ("x", "a\0"),
            ("x y", "a"),
            ("x:", "a"),
            ("", "a"),
            ("Content-Length", "1"),
        ] {
            assert!(response.clone().header(name, value).is_err(), "{name} {value:?}");
        }
        assert!(response.header("x-name", "any value").is_ok());
    }

    #[test]
    fn a_status_outside_of_final_ones_becomes_500() {
        for (given, sent) in [(100, 500), (199, 500), (200, 200), (599, 599), (600, 500)] {
            assert_eq!(HttpResponse::text(given, "").status, sent);
        }
    }
}
