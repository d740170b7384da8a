//! How the connections of a channel behave, and what it calls itself and its server.

use std::fmt;
use std::net::Ipv6Addr;

use grpc_arena::DecodeLimits;
use grpc_proto::{CallHead, Config, ConfigError, Limits};

use super::Backoff;
use crate::Recordings;
use crate::compression::{Compression, Encoding};
use crate::pool::PoolLimits;

/// How the connections of a channel behave.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    pub(super) config: Config,
    pub(super) decode: DecodeLimits,
    pub(super) pool: PoolLimits,
    pub(super) compression: Compression,
    pub(super) recordings: Option<Recordings>,
    pub(super) secure: bool,
    pub(super) backoff: Backoff,
    authority: Option<String>,
    /// The whole field, where it is not the library's own name alone.
    pub(super) user_agent: Option<String>,
}

impl ChannelOptions {
    /// Options with these limits of the protocol, and defaults for the rest.
    ///
    /// Stream credit is always granted by hand here, when the caller takes a message.
    ///
    /// # Errors
    /// The rule that the limits break.
    pub fn new(mut limits: Limits) -> Result<Self, ConfigError> {
        limits.manual_credit = true;
        Ok(Self {
            config: Config::new(limits)?,
            decode: DecodeLimits::DEFAULT,
            pool: PoolLimits::default(),
            compression: Compression::none(),
            recordings: None,
            secure: false,
            backoff: Backoff::default(),
            authority: None,
            user_agent: None,
        })
    }

    /// Sets what decoding one message may cost.
    #[must_use]
    pub fn decode_limits(mut self, limits: DecodeLimits) -> Self {
        self.decode = limits;
        self
    }

    /// Sets what the connection's pool of buffers may hold.
    #[must_use]
    pub fn pool_limits(mut self, limits: PoolLimits) -> Self {
        self.pool = limits;
        self
    }

    /// Sets which encodings requests go out in, and responses may come in; a call may choose another one
    /// ([`Call::compress`](super::Call::compress)).
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets which connections are recorded, and where to; by default none is.
    #[must_use]
    pub fn record(mut self, recordings: Recordings) -> Self {
        self.recordings = Some(recordings);
        self
    }

    /// Sets how attempts to connect are paced, for channels that connect by themselves.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Says `https` in `:scheme`: for transports that are encrypted.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets what calls name in `:authority`, a host with or without a port: for a server behind another address.
    ///
    /// By default that is the address, and `localhost` where the address is none of a host, such as `unix:/run/socket`.
    ///
    /// # Errors
    /// [`OptionError::Authority`].
    pub fn authority(mut self, authority: &str) -> Result<Self, OptionError> {
        if !is_authority(authority) {
            return Err(OptionError::Authority);
        }
        self.authority = Some(authority.to_owned());
        Ok(self)
    }

    /// Sets what stands in `user-agent` before the library's own name, such as `inventory/1.2`.
    ///
    /// # Errors
    /// [`OptionError::UserAgent`].
    pub fn user_agent(mut self, application: &str) -> Result<Self, OptionError> {
        let is_trimmed = application.trim_matches(' ').len() == application.len();
        let is_printable = application.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if application.is_empty() || !is_trimmed || !is_printable {
            return Err(OptionError::UserAgent);
        }
        let library = CallHead::new("", "").user_agent;
        self.user_agent = Some(format!("{application} {library}"));
        Ok(self)
    }

    /// What calls are compressed with that do not say otherwise.
    pub(super) fn preferred_encoding(&self) -> Option<Encoding> {
        self.compression.preferred()
    }

    /// What calls to an address name in `:authority`.
    pub(super) fn authority_of<'a>(&'a self, address: &'a str) -> &'a str {
        match &self.authority {
            Some(authority) => authority,
            None if is_authority(address) => address,
            // Servers refuse a request whose authority is no host's.
            None => "localhost",
        }
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new(Limits::default()).expect("the default limits are consistent")
    }
}

/// A rule that an option of a channel breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// An authority is a name, an IPv4 address or an IPv6 address in brackets, then a colon and a port if need be
    /// (RFC 3986 §3.2); it names no user (RFC 9113 §8.3.1).
    Authority,
    /// A user agent is printable ASCII without white space around it.
    UserAgent,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionError::Authority => {
                "an authority is a host, and a port behind a colon if need be"
            }
            OptionError::UserAgent => "a user agent is printable ASCII without outer white space",
        })
    }
}

impl std::error::Error for OptionError {}

/// Whether `text` is a host with or without a port, in the form that other servers take too.
fn is_authority(text: &str) -> bool {
    let (is_host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (!name.is_empty() && name.bytes().all(is_of_name), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        // `parse` alone would take a sign.
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    is_host && is_port
}

/// Unreserved characters and delimiters within one (RFC 3986 §3.2.2). Escapes name no host, and servers refuse them.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_with_or_without_a_port() {
        let options = ChannelOptions::default;
        for good in ["a", "a.b-c_d", "10.0.0.1:1", "[::1]", "[::1]:65535", "xn--bcher-kva.de:80"] {
            assert!(options().authority(good).is_ok(), "{good}");
            assert_eq!(options().authority_of(good), good);
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:+1",
            "a:65536",
            "a:b",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]80",
            "[a]",
            "[]",
            "[fe80::1%eth0]:1",
            "user@a",
            "a/b",
            "a b",
            "a%20b",
            "bücher.de",
            "a\n",
            "unix:/run/a",
            "unix:a",
            "http://a",
        ] {
            assert_eq!(options().authority(bad).err(), Some(OptionError::Authority), "{bad}");
            assert_eq!(options().authority_of(bad), "localhost");
        }
        let named = options().authority("shop.example:443").unwrap();
        assert_eq!(named.authority_of("10.0.0.1:50051"), "shop.example:443");
    }

    #[test]
    fn a_user_agent_precedes_that_of_this_library() {
        let named = ChannelOptions::default().user_agent("inventory/1.2 (linux)").unwrap();
        let agent = named.user_agent.unwrap();
        assert!(agent.starts_with("inventory/1.2 (linux) grpc-proto/"), "{agent}");
        for bad in ["", " a", "a ", "a\r\nb", "a\tb", "\u{e9}"] {
            let refused = ChannelOptions::default().user_agent(bad).err();
            assert_eq!(refused, Some(OptionError::UserAgent), "{bad:?}");
        }
    }
}
