//! Heads of requests: found, parsed and held to the rules that keep two readers from disagreeing.

use std::mem::MaybeUninit;

use httparse::Header;

use crate::fault::Fault;
use crate::limits::{MAX_FIELDS, WebLimits};

/// The head of a request, borrowed from where it was read.
#[derive(Debug)]
pub(crate) struct Head<'h, 'b> {
    pub(crate) method: &'b str,
    /// The path with its query, or `*`.
    pub(crate) path: &'b str,
    pub(crate) authority: &'b str,
    pub(crate) fields: &'h [Header<'b>],
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    pub(crate) keeps_alive: bool,
    /// HTTP/1.0: the response cannot be chunked.
    pub(crate) is_old: bool,
}

/// How the length of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// Room for the fields of a head.
pub(crate) type Fields<'b> = [MaybeUninit<Header<'b>>; MAX_FIELDS];

/// Room for the fields of a head, not initialised.
pub(crate) const fn fields<'b>() -> Fields<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Where the head in `text` ends, which has been searched up to `from`; `None` if it goes on.
///
/// # Errors
/// A line that ends with LF alone: a reader that takes it for an end would see another head than one that does not.
pub(crate) fn find_end(text: &[u8], from: usize) -> Result<Option<usize>, Fault> {
    for at in memchr::memchr_iter(b'\n', &text[from..]) {
        let at = from + at;
        if at == 0 || text[at - 1] != b'\r' {
            return Err(Fault::BareLf);
        }
        if text[..at - 1].ends_with(b"\r\n") {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// Parses a head that [`find_end`] has found whole.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn parse<'h, 'b>(
    text: &'b [u8],
    fields: &'h mut Fields<'b>,
    limits: &WebLimits,
) -> Result<Head<'h, 'b>, Fault> {
    let most = limits.max_fields.min(MAX_FIELDS);
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(text, &mut fields[..most]);
    match parsed {
        Ok(httparse::Status::Complete(len)) if len == text.len() => {}
        Ok(_) => return Err(Fault::RequestLine),
        Err(error) => return Err(fault_of(error, text)),
    }
    let (method, target) = request.method.zip(request.path).ok_or(Fault::RequestLine)?;
    let is_old = request.version == Some(0);
    let fields: &'h [Header<'b>] = request.headers;
    let mut seen = Seen { keeps_alive: !is_old, ..Seen::default() };
    for field in fields {
        seen.see(field)?;
    }
    let framing = match (seen.length, seen.is_chunked) {
        (Some(_), true) => return Err(Fault::BothLengths),
        // HTTP/1.0 has no transfer encodings: an intermediary of that version has not understood it.
        (None, true) if is_old => return Err(Fault::TransferEncoding),
        (None, true) => Framing::Chunked,
        (Some(len), false) => Framing::Length(len),
        (None, false) => Framing::None,
    };
    let (path, authority) = split_target(method, target)?;
    let authority = match (authority, seen.host) {
        (_, None) if !is_old => return Err(Fault::Host),
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => "",
    };
    if !is_authority(authority) || (authority.is_empty() && !is_old) {
        return Err(Fault::Host);
    }
    Ok(Head {
        method,
        path,
        authority,
        fields,
        framing,
        expects_continue: seen.expects_continue && !is_old,
        keeps_alive: seen.keeps_alive,
        is_old,
    })
}

/// What the fields say about the connection.
#[derive(Default)]
struct Seen<'b> {
    host: Option<&'b str>,
    length: Option<u64>,
    is_chunked: bool,
    expects_continue: bool,
    keeps_alive: bool,
}

impl<'b> Seen<'b> {
    fn see(&mut self, field: &Header<'b>) -> Result<(), Fault> {
        // By length first: most fields are none of these.
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                let host = std::str::from_utf8(field.value).map_err(|_| Fault::Host)?;
                if self.host.replace(host).is_some() {
                    return Err(Fault::Host);
                }
            }
            6 if field.name.eq_ignore_ascii_case("expect") => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
                self.expects_continue = true;
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                for token in tokens(field.value) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keeps_alive = false;
                    }
                }
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = parse_length(field.value).ok_or(Fault::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(Fault::ContentLength);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::TransferEncoding);
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The members of a list in a field (RFC 9110 §5.6.1).
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// A number of decimal digits and nothing else.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The path of a target, and its authority where it is a URI (RFC 9112 §3.2).
fn split_target<'b>(method: &str, target: &'b str) -> Result<(&'b str, Option<&'b str>), Fault> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Fault::Target);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((target, None));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = rest.ok_or(Fault::Target)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match path {
        "" => Ok(("/", Some(authority))),
        path if path.starts_with('/') => Ok((path, Some(authority))),
        _ => Err(Fault::Target),
    }
}

/// Whether only characters of a host and a port are in a text (RFC 3986 §3.2.2): no user, path, list or space.
fn is_authority(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte))
}

/// What the parser found, by our names.
fn fault_of(error: httparse::Error, text: &[u8]) -> Fault {
    match error {
        httparse::Error::Version => Fault::Version,
        httparse::Error::TooManyHeaders => Fault::TooManyFields,
        httparse::Error::HeaderValue => Fault::FieldValue,
        httparse::Error::HeaderName if is_folded(text) => Fault::Folding,
        httparse::Error::HeaderName => Fault::FieldName,
        httparse::Error::NewLine
            if text.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n') =>
        {
            Fault::FieldValue
        }
        _ => Fault::RequestLine,
    }
}

fn is_folded(text: &[u8]) -> bool {
    text.windows(3).any(|line| matches!(line, b"\r\n " | b"\r\n\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(String, String, Framing, bool), Fault> {
        let text = text.replace('\n', "\r\n");
        let end = find_end(text.as_bytes(), 0)?.expect("a whole head");
        let mut room = fields();
        let head = parse(&text.as_bytes()[..end], &mut room, &WebLimits::default())?;
        Ok((head.path.to_owned(), head.authority.to_owned(), head.framing, head.keeps_alive))
    }

    #[test]
    fn targets_are_paths_or_uris() {
        for (target, path, authority) in [
            ("/a.B/C", "/a.B/C", "h"),
            ("/a?b=c", "/a?b=c", "h"),
            ("http://other:80/a", "/a", "other:80"),
            ("HTTPS://other", "/", "other"),
        ] {
            let (seen, by, ..) =
                check(&format!("POST {target} HTTP/1.1\nHost: h\n\n")).expect(target);
            assert_eq!((&*seen, &*by), (path, authority));
        }
        for target in [
            "a",
            "*",
            "http:/a",
            "ftp://h/a",
            "//",
            "/a#b",
            "h:443",
            "http://u@h/",
            "http://h?x",
            "/\u{e9}",
        ] {
            let result = check(&format!("POST {target} HTTP/1.1\nHost: h\n\n"));
            if target == "//" {
                assert!(result.is_ok());
            } else {
                assert!(
                    matches!(result, Err(Fault::Target | Fault::Host | Fault::RequestLine)),
                    "{target}: {result:?}"
                );
            }
        }
    }

    #[test]
    fn a_host_is_there_once_and_is_an_authority() {
        for fields in [
            "",
            "Host: a\nHost: a\n",
            "Host: a\nhost: b\n",
            "Host: a b\n",
            "Host: u@h\n",
            "Host: a,b\n",
            "Host:\n",
            "Host: a/b\n",
        ] {
            let result = check(&format!("GET / HTTP/1.1\n{fields}\n"));
            assert_eq!(result.err(), Some(Fault::Host), "{fields}");
        }
        assert!(check("GET / HTTP/1.0\n\n").is_ok());
        assert!(check("GET / HTTP/1.1\nHost: [::1]:80\n\n").is_ok());
    }

    #[test]
    fn the_length_of_a_body_is_told_in_one_way() {
        let framing = |fields: &str| {
            check(&format!("POST / HTTP/1.1\nHost: h\n{fields}\n")).map(|head| head.2)
        };
        assert_eq!(framing(""), Ok(Framing::None));
        assert_eq!(framing("Content-Length: 007\n"), Ok(Framing::Length(7)));
        assert_eq!(framing("transfer-encoding: Chunked\n"), Ok(Framing::Chunked));
        for fields in [
            "Content-Length: 1\nTransfer-Encoding: chunked\n",
            "Transfer-Encoding: chunked\nContent-Length: 0\n",
        ] {
            assert_eq!(framing(fields), Err(Fault::BothLengths), "{fields}");
        }
        for value in
            ["", "+1", "-1", "1,1", "1, 1", "0x1", "1 1", "1.0", "18446744073709551616", "\u{661}"]
        {
            assert_eq!(
                framing(&format!("Content-Length: {value}\n")),
                Err(Fault::ContentLength),
                "{value}"
            );
        }
        assert_eq!(framing("Content-Length: 1\nContent-Length: 1\n"), Err(Fault::ContentLength));
        for value in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
            "chunked\u{b}",
        ] {
            let result = framing(&format!("Transfer-Encoding: {value}\n"));
            let expected =
                if value.contains('\u{b}') { Fault::FieldValue } else { Fault::TransferEncoding };
            assert_eq!(result, Err(expected), "{value:?}");
        }
        assert_eq!(
            framing("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n"),
            Err(Fault::TransferEncoding)
        );
        let old = check("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n");
        assert_eq!(old.err(), Some(Fault::TransferEncoding));
    }

    #[test]
    fn a_connection_is_kept_unless_it_is_told_to_close() {
        let keeps = |version: &str, value: &str| {
            check(&format!("GET / HTTP/{version}\nHost: h\nConnection: {value}\n\n"))
                .map(|head| head.3)
        };
        assert_eq!(keeps("1.1", "x"), Ok(true));
        assert_eq!(keeps("1.1", "x, Close"), Ok(false));
        assert_eq!(keeps("1.0", "keep-alive"), Ok(false));
    }

    #[test]
    fn heads_that_two_readers_could_read_differently_are_refused() {
        for (text, fault) in [
            ("GET / HTTP/1.1\nHost: h\nx : y\n\n", Fault::FieldName),
            ("GET / HTTP/1.1\nHost: h\n x: y\n\n", Fault::Folding),
            ("GET / HTTP/1.1\nHost: h\nx: y\n z\n\n", Fault::Folding),
            ("GET / HTTP/1.1\nHost: h\nx: y\n\tz\n\n", Fault::Folding),
            ("GET / HTTP/1.1\nHost: h\n: y\n\n", Fault::FieldName),
            ("GET / HTTP/1.1\nHost: h\nx\n\n", Fault::FieldName),
            ("GET / HTTP/1.1\nHost: h\nx\u{0}: y\n\n", Fault::FieldName),
            ("GET / HTTP/1.1\nHost: h\nx: y\u{0}\n\n", Fault::FieldValue),
            ("GET / HTTP/1.1\nHost: h\nx: y\u{7f}\n\n", Fault::FieldValue),
            ("GET / HTTP/1.1\n Host: h\n\n", Fault::Folding),
            ("GET  / HTTP/1.1\nHost: h\n\n", Fault::RequestLine),
            ("GET / HTTP/1.1 \nHost: h\n\n", Fault::RequestLine),
            ("GET / HTTP/2.0\nHost: h\n\n", Fault::Version),
            ("GET / HTTP/1.2\nHost: h\n\n", Fault::Version),
            ("GET /\nHost: h\n\n", Fault::RequestLine),
            ("\u{e9} / HTTP/1.1\nHost: h\n\n", Fault::RequestLine),
        ] {
            assert_eq!(check(text).err(), Some(fault), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_ends_with_lf_alone_is_refused_as_soon_as_it_comes() {
        for text in [
            "\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: h\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
        ] {
            assert_eq!(find_end(text.as_bytes(), 0), Err(Fault::BareLf), "{text:?}");
            let before = text.len() - 1;
            assert_eq!(find_end(&text.as_bytes()[..before], 0), Ok(None), "{text:?}");
            assert_eq!(find_end(text.as_bytes(), before), Err(Fault::BareLf), "{text:?}");
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_search_goes_on() {
        let text = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nmore\n";
        for from in 0..=text.len() - 6 {
            assert_eq!(find_end(text, from), Ok(Some(text.len() - 5)), "{from}");
        }
    }
}
