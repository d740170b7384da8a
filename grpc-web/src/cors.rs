//! Which pages of other origins may call (Fetch standard, "CORS protocol").

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The origins whose pages may call, and what they may send.
///
/// An origin is compared byte for byte with what the browser sends: `https://app.example.org`, with the port where it is not
/// the scheme's own, and without a slash at the end. Pages of the server's own origin need no entry.
///
/// ```
/// use grpc_web::Cors;
///
/// let cors = Cors::origins(["https://app.example.org"]).credentials(true);
/// let any_of_ours = Cors::check(|origin| origin.ends_with(".example.org") && origin.starts_with("https://"));
/// # let _ = (cors, any_of_ours);
/// ```
#[derive(Clone)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    max_age: Duration,
    /// Names that a page may send; `None` allows all.
    headers: Option<Vec<String>>,
    exposed: Vec<String>,
}

/// A rule of the program's own.
type Check = Arc<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Clone)]
enum Origins {
    Exact(Vec<String>),
    Check(Check),
    Any,
}

/// What the response says to a page's browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed<'a> {
    /// No `origin`, or the server's own: nothing.
    Same,
    /// The origin, and whether credentials are allowed.
    Origin(&'a [u8], bool),
    /// Every origin, without credentials.
    Any,
}

/// Names that gRPC-Web needs in any case.
const NEEDED: [&str; 4] = ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"];

impl Cors {
    /// Allows pages of exactly these origins.
    pub fn origins<I, S>(origins: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self::new(Origins::Exact(origins.into_iter().map(Into::into).collect()))
    }

    /// Allows pages of those origins for which `check` returns true; it runs on all threads that serve, and must not block.
    pub fn check(check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origins::Check(Arc::new(check)))
    }

    /// Allows pages of all origins, never with credentials, whatever [`credentials`](Self::credentials) says.
    pub fn any() -> Self {
        Self::new(Origins::Any)
    }

    fn new(origins: Origins) -> Self {
        Cors {
            origins,
            credentials: false,
            max_age: Duration::from_secs(2 * 3600),
            headers: None,
            exposed: Vec::new(),
        }
    }

    /// Sets whether browsers may send cookies and client certificates along. Default false.
    #[must_use]
    pub fn credentials(mut self, allow: bool) -> Self {
        self.credentials = allow;
        self
    }

    /// Sets how long a browser may remember the answer to a preflight, in whole seconds. Default 2 h.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Allows pages to send these fields only, besides those of gRPC-Web. By default they may send any metadata.
    #[must_use]
    pub fn headers<I, S>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.headers =
            Some(names.into_iter().map(|name| name.as_ref().to_ascii_lowercase()).collect());
        self
    }

    /// Shows pages these fields of responses too. Status, message and all metadata of a response are shown in any case.
    ///
    /// Names that are no tokens are left out.
    #[must_use]
    pub fn expose<I, S>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let names = names.into_iter().map(Into::into);
        self.exposed.extend(names.filter(|name: &String| is_token(name.as_bytes())));
        self
    }

    /// What an origin may; `None` if its pages may not call.
    pub(crate) fn allow<'a>(&self, origin: &'a [u8]) -> Option<Allowed<'a>> {
        let text = std::str::from_utf8(origin).ok()?;
        let allowed = match &self.origins {
            Origins::Any => return Some(Allowed::Any),
            Origins::Exact(origins) => origins.iter().any(|exact| exact == text),
            Origins::Check(check) => check(text),
        };
        allowed.then_some(Allowed::Origin(origin, self.credentials))
    }

    /// Whether the answer depends on the origin.
    pub(crate) fn varies(&self) -> bool {
        !matches!(self.origins, Origins::Any)
    }

    pub(crate) fn max_age_secs(&self) -> u64 {
        self.max_age.as_secs()
    }

    pub(crate) fn exposed(&self) -> impl Iterator<Item = &str> {
        self.exposed.iter().map(String::as_str)
    }

    /// Whether a page may send the field `name`.
    pub(crate) fn allows_header(&self, name: &[u8]) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        is_token(name)
            && self
                .headers
                .as_ref()
                .is_none_or(|names| names.iter().map(String::as_str).chain(NEEDED).any(is))
    }
}

/// Whether the origin of a page is that of the server, as its authority says: the schemes of both are the same, or the
/// browser would not have sent the one's request to the other's port.
pub(crate) fn is_same_origin(origin: &[u8], authority: &[u8]) -> bool {
    let rest = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    !authority.is_empty() && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(authority))
}

/// Whether a text is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    let is_char = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_char)
}

impl fmt::Debug for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origins, credentials, max_age, headers, exposed } = self;
        let origins: &dyn fmt::Debug = match origins {
            Origins::Exact(origins) => origins,
            Origins::Check(_) => &"a function",
            Origins::Any => &"any",
        };
        f.debug_struct("Cors")
            .field("origins", origins)
            .field("credentials", credentials)
            .field("max_age", max_age)
            .field("headers", headers)
            .field("exposed", exposed)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_44_an_origin_that_almost_matches_is_not_allowed() {
        let cors = Cors::origins(["https://app.example.org", "http://localhost:8080"]);
        assert!(cors.allow(b"https://app.example.org").is_some());
        assert!(cors.allow(b"http://localhost:8080").is_some());
        for origin in [
            "",
            "null",
            "*",
            "https://app.example.org/",
            "https://app.example.org:443",
            "http://app.example.org",
            "https://app.example.org.evil.com",
            "https://evilapp.example.org",
            "https://app.example.orgx",
            "https://APP.example.org",
            "https://example.org",
            "https://app.example.org https://evil.com",
            "https://app.example.org,https://evil.com",
            "https://app-example.org",
            "http://localhost",
            "http://localhost:80",
            "http://localhost:80800",
            "http://localhost:8080@evil.com",
            " https://app.example.org",
            "https://app.example.org\0",
        ] {
            assert_eq!(cors.allow(origin.as_bytes()), None, "{origin:?}");
        }
        assert_eq!(cors.allow(b"https://app.example.org\xff"), None);
    }

    #[test]
    fn rule_44_credentials_never_go_with_any_origin() {
        let exact = Cors::origins(["https://a"]).credentials(true);
        assert_eq!(exact.allow(b"https://a"), Some(Allowed::Origin(b"https://a", true)));
        let check = Cors::check(|origin| origin == "https://a").credentials(true);
        assert_eq!(check.allow(b"https://a"), Some(Allowed::Origin(b"https://a", true)));
        assert_eq!(check.allow(b"https://b"), None);
        assert_eq!(Cors::any().credentials(true).allow(b"https://a"), Some(Allowed::Any));
    }

    #[test]
    fn rule_44_the_own_origin_is_that_of_the_authority() {
        assert!(is_same_origin(b"https://h:1", b"h:1"));
        assert!(is_same_origin(b"http://H", b"h"));
        for (origin, authority) in [
            ("https://h", "h:1"),
            ("h", "h"),
            ("https://", ""),
            ("ftp://h", "h"),
            ("https://h/", "h"),
        ] {
            assert!(
                !is_same_origin(origin.as_bytes(), authority.as_bytes()),
                "{origin} {authority}"
            );
        }
    }

    #[test]
    fn rule_44_headers_are_all_allowed_or_those_that_are_listed() {
        let any = Cors::any();
        assert!(any.allows_header(b"X-Anything"));
        assert!(
            !any.allows_header(b"x y") && !any.allows_header(b"") && !any.allows_header(b"x\r\n")
        );
        let listed = Cors::any().headers(["Authorization"]);
        for name in ["authorization", "AUTHORIZATION", "Content-Type", "x-grpc-web", "grpc-timeout"]
        {
            assert!(listed.allows_header(name.as_bytes()), "{name}");
        }
        assert!(!listed.allows_header(b"x-anything"));
    }
}
