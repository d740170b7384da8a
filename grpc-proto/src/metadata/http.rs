//! Conversions from and to the types of the crate `http`.
//!
//! Values in `-bin` are base64 in a [`HeaderMap`], as they are on the wire.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use super::{Metadata, MetadataError, check_name, decode_bin};
use crate::hpack::is_ascii_value;
use crate::{CallHead, RequestHead};

/// Takes the entries that are an application's: what belongs to HTTP/2 or gRPC itself is left out.
///
/// # Errors
/// [`MetadataError::InvalidName`] for a name that HTTP allows and gRPC does not, such as `x!`, and
/// [`MetadataError::InvalidValue`] for a value with outer white space, or with a byte outside of printable ASCII, or for
/// one of a `-bin` name that is no base64.
impl TryFrom<&HeaderMap> for Metadata {
    type Error = MetadataError;

    fn try_from(headers: &HeaderMap) -> Result<Self, MetadataError> {
        let mut metadata = Metadata::new();
        for (name, value) in headers {
            let token = match check_name(name.as_str()) {
                Err(MetadataError::ReservedName) => continue,
                checked => checked?,
            };
            // What is no base64 would fail the call at the peer.
            let is_bin = name.as_str().ends_with("-bin");
            let mut parts = value.as_bytes().split(|&byte| byte == b',');
            if is_bin && !parts.all(|part| decode_bin(part.trim_ascii()).is_some()) {
                return Err(MetadataError::InvalidValue);
            }
            if value.is_sensitive() {
                if !is_ascii_value(value.as_bytes()) {
                    return Err(MetadataError::InvalidValue);
                }
                metadata.fields.push_sensitive(name.as_str().as_bytes(), value.as_bytes());
            } else {
                metadata.push(token, name.as_str(), value.as_bytes())?;
            }
        }
        Ok(metadata)
    }
}

/// Gives the application's entries, in order, duplicates included; what was received as never to be
/// indexed is marked as sensitive.
///
/// # Errors
/// [`MetadataError::InvalidValue`] for a value that HTTP/2 carries and the crate `http` does not: one with
/// control characters.
impl TryFrom<&Metadata> for HeaderMap {
    type Error = MetadataError;

    fn try_from(metadata: &Metadata) -> Result<Self, MetadataError> {
        let mut headers = HeaderMap::new();
        for field in metadata.iter() {
            let name =
                HeaderName::from_bytes(field.name).map_err(|_| MetadataError::InvalidName)?;
            let mut value =
                HeaderValue::from_bytes(field.value).map_err(|_| MetadataError::InvalidValue)?;
            value.set_sensitive(field.flags.is_sensitive());
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// Gives a request of HTTP/2 without its body: POST, the path, the authority and the metadata.
///
/// # Errors
/// As for the metadata; [`MetadataError::InvalidValue`] for a path or authority that is no URI's.
impl TryFrom<&RequestHead> for Request<()> {
    type Error = MetadataError;

    fn try_from(head: &RequestHead) -> Result<Self, MetadataError> {
        let uri = match head.authority() {
            "" => Uri::builder().path_and_query(head.path()).build(),
            authority => Uri::builder()
                .scheme("http")
                .authority(authority)
                .path_and_query(head.path())
                .build(),
        };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|_| MetadataError::InvalidValue)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = HeaderMap::try_from(&head.metadata)?;
        Ok(request)
    }
}

/// Begins a call at a URI: its path, its authority, and `secure` for `https`.
impl<'a> From<&'a Uri> for CallHead<'a> {
    fn from(uri: &'a Uri) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut head = CallHead::new(uri.path(), authority);
        head.secure = uri.scheme_str() == Some("https");
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_back_from_a_header_map() {
        let mut metadata = Metadata::new();
        metadata.append("x-name", "first").unwrap();
        metadata.append("x-name", "second").unwrap();
        metadata.append_bin("x-raw-bin", &[0, 255]).unwrap();
        metadata.append("authorization", "Bearer secret").unwrap();
        let headers = HeaderMap::try_from(&metadata).unwrap();
        assert_eq!(
            headers.get_all("x-name").iter().collect::<alloc::vec::Vec<_>>(),
            ["first", "second"]
        );
        assert_eq!(headers["x-raw-bin"], "AP8");
        assert!(headers["authorization"].is_sensitive());
        let back = Metadata::try_from(&headers).unwrap();
        assert_eq!(back.values("x-name").count(), 2);
        assert_eq!(back.bin_values("x-raw-bin").next().unwrap(), [0, 255]);
        assert!(back.iter().find(|f| f.name == b"authorization").unwrap().flags.is_sensitive());
    }

    #[test]
    fn what_is_not_the_applications_is_left_out() {
        let mut headers = HeaderMap::new();
        for name in ["content-type", "te", "grpc-timeout", "connection", "host"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        assert!(Metadata::try_from(&headers).unwrap().is_empty());
    }

    #[test]
    fn what_one_side_does_not_allow_is_an_error() {
        let mut headers = HeaderMap::new();
        headers.insert("x!", HeaderValue::from_static("v"));
        assert_eq!(Metadata::try_from(&headers), Err(MetadataError::InvalidName));
        for sensitive in [false, true] {
            for (text, good) in [("!", false), ("AA,!", false), ("AP8, AA==", true), ("", true)] {
                let mut value = HeaderValue::from_static(text);
                value.set_sensitive(sensitive);
                let headers = HeaderMap::from_iter([(HeaderName::from_static("x-bin"), value)]);
                assert_eq!(Metadata::try_from(&headers).is_ok(), good, "{text}");
            }
        }
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_static(" v");
        headers.insert("x", value.clone());
        assert_eq!(Metadata::try_from(&headers), Err(MetadataError::InvalidValue));
        value.set_sensitive(true);
        headers.insert("x", value);
        assert_eq!(Metadata::try_from(&headers), Err(MetadataError::InvalidValue));
        let mut fields = crate::hpack::FieldList::new();
        fields.push(b"x", b"a\x01b");
        let metadata = Metadata::from_fields(fields);
        assert_eq!(HeaderMap::try_from(&metadata), Err(MetadataError::InvalidValue));
    }

    #[test]
    fn a_uri_begins_a_call() {
        let uri = Uri::from_static("https://example.org:443/pkg.Service/Method");
        let head = CallHead::from(&uri);
        assert_eq!(
            (head.path, head.authority, head.secure),
            ("/pkg.Service/Method", "example.org:443", true)
        );
    }

    #[test]
    fn a_received_head_is_a_request() {
        use crate::{Client, Config, Connection, Instant, Server, Transmit, server};
        let mut client: Connection<Client> = Connection::new(&Config::default(), 1, Instant::ZERO);
        let mut server: Connection<Server> = Connection::new(&Config::default(), 1, Instant::ZERO);
        let mut metadata = Metadata::new();
        metadata.append("x-name", "value").unwrap();
        let mut head = CallHead::new("/a.B/C", "localhost:50051");
        head.metadata = Some(&metadata);
        client.call(&head, None, Instant::ZERO).unwrap();
        let mut out = Transmit::new();
        client.poll_transmit(&mut out, Instant::ZERO);
        let wire: alloc::vec::Vec<u8> = out.chunks().flatten().copied().collect();
        let event = server.poll_event(&mut &wire[..], Instant::ZERO).unwrap();
        let Some(server::Event::Request(_, head)) = event else { panic!("no request") };
        let request = Request::try_from(&head).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(*request.uri(), "http://localhost:50051/a.B/C");
        assert_eq!(request.headers()["x-name"], "value");
        assert!(!request.headers().contains_key("te"));
    }
}
