//! What a program writes to say where its calls go.

use grpc_proto::{Code, Status};

use super::CallError;

/// Where a channel connects to, in the form that adapters take: `http://host:port`, `https://host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address for a [`Connector`](crate::Connector): `host:port`, or `unix:/path`.
    pub address: String,
    /// Whether the connection is to be behind TLS.
    pub secure: bool,
}

impl Target {
    /// Reads a target. Without a port, `http` means 80 and `https` 443 (RFC 9110 §4.2).
    ///
    /// # Errors
    /// INVALID_ARGUMENT, whose text says which part cannot be used.
    pub fn parse(text: &str) -> Result<Target, CallError> {
        let refused = |why: &str| {
            let text = format!("the target `{text}` {why}");
            Err(CallError::local(Status::new(Code::InvalidArgument, text)))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            // The URI form has an empty host (RFC 8089).
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return refused("names no socket: write `unix:/path`");
            }
            return Ok(Target { address: format!("unix:{path}"), secure: false });
        }
        let (secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return refused("begins with none of `http://`, `https://` and `unix:`"),
        };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.is_empty() || host.starts_with(':') {
            return refused("names no host");
        }
        if host.contains(['/', '?', '#', '@', ' ']) {
            return refused("holds more than a host and a port");
        }
        let has_port = match host.rsplit_once(':') {
            Some((name, _)) if name.contains(':') && !name.ends_with(']') => {
                return if host.ends_with(']') {
                    Ok(Self::with_port(host, secure))
                } else {
                    refused("holds an IPv6 address without brackets")
                };
            }
            Some((_, port)) if port.parse::<u16>().is_err() => {
                return refused("has a port that is no number below 65536");
            }
            found => found.is_some(),
        };
        if has_port {
            Ok(Target { address: host.to_owned(), secure })
        } else {
            Ok(Self::with_port(host, secure))
        }
    }

    fn with_port(host: &str, secure: bool) -> Self {
        let port = if secure { 443 } else { 80 };
        Target { address: format!("{host}:{port}"), secure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_a_host_and_a_port_or_a_socket() {
        for (text, address, secure) in [
            ("http://127.0.0.1:50051", "127.0.0.1:50051", false),
            ("https://example.org:50051/", "example.org:50051", true),
            ("http://example.org", "example.org:80", false),
            ("https://example.org", "example.org:443", true),
            ("https://[::1]:1", "[::1]:1", true),
            ("https://[2001:db8::1]", "[2001:db8::1]:443", true),
            ("unix:/run/app.sock", "unix:/run/app.sock", false),
            ("unix:///run/app.sock", "unix:/run/app.sock", false),
        ] {
            let expected = Target { address: address.to_owned(), secure };
            assert_eq!(Target::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_target_that_cannot_be_used_is_refused_with_the_reason() {
        for (text, why) in [
            ("example.org:443", "begins with none"),
            ("ftp://example.org", "begins with none"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://a/b", "more than a host"),
            ("http://me@a:1", "more than a host"),
            ("http://a:b", "no number"),
            ("http://a:70000", "no number"),
            ("http://2001:db8::1", "without brackets"),
            ("unix:", "no socket"),
        ] {
            let error = Target::parse(text).expect_err(text);
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.message().contains(why), "{text}: {error:?}");
        }
    }
}
