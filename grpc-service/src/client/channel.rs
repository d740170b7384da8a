//! Where a client's calls go.

use std::fmt;
use std::rc::Rc;

use grpc_arena::DecodeLimits;
use grpc_proto::{Config, ConfigError, Connection, Limits};

use super::ClientConnection;
use super::link::Link;
use crate::compression::{Codecs, Compression};
use crate::pool::{Pool, PoolLimits};
use crate::{ConnectError, Connector, Host};

/// How the connections of a channel behave.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    config: Config,
    decode: DecodeLimits,
    pool: PoolLimits,
    compression: Compression,
    secure: bool,
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
            secure: false,
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

    /// Says `https` in `:scheme`: for transports that are encrypted.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new(Limits::default()).expect("the default limits are consistent")
    }
}

/// Where calls go: stubs are made from it, and clones share its connection.
///
/// Calls share one connection. Once that is lost they fail with UNAVAILABLE, and a new channel is to be made.
pub struct Channel {
    link: Rc<Link>,
}

impl Channel {
    /// A channel to `authority`, and the connection that is to be driven for it.
    pub fn new(
        authority: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
    ) -> (Channel, ClientConnection) {
        let connection = Connection::new(&options.config, host.entropy(), host.now());
        let pool = Pool::new(options.pool, Codecs::new(options.compression.clone()));
        let authority = authority.to_owned();
        let link = Link::new(connection, host, pool, options.decode, authority, options.secure);
        let link = Rc::new(link);
        link.channels.set(1);
        (Channel { link: Rc::clone(&link) }, ClientConnection::new(link))
    }

    /// Connects to `address`, which also names the authority.
    ///
    /// # Errors
    /// Those of the transport.
    pub async fn connect(
        address: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
        connector: &dyn Connector,
    ) -> Result<Channel, ConnectError> {
        let (channel, connection) = Channel::new(address, options, host);
        connector.connect(address, connection).await?;
        Ok(channel)
    }

    /// The host that the channel's calls take their time from.
    pub fn host(&self) -> &Rc<dyn Host> {
        &self.link.host
    }

    /// What calls name in `:authority`.
    pub fn authority(&self) -> &str {
        &self.link.authority
    }

    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Clone for Channel {
    fn clone(&self) -> Self {
        self.link.channels.set(self.link.channels.get() + 1);
        Self { link: Rc::clone(&self.link) }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let channels = self.link.channels.get() - 1;
        self.link.channels.set(channels);
        if channels == 0 {
            self.link.notify();
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("authority", &self.authority()).finish_non_exhaustive()
    }
}
