//! From a target to a channel.

use std::fmt;
use std::future::IntoFuture;
use std::rc::Rc;

use grpc_service::client::Target;
use grpc_service::{CallError, Channel, ChannelOptions, Code, LocalFuture, Origin, Status};

use crate::client::TcpConnector;
use crate::host::MonoioHost;

/// Connects to `target`: `http://host:port`, `https://host:port` (with the feature `tls`) or `unix:/path`.
///
/// Awaited, it gives a [`Channel`] that has connected and connects again when its connection is lost
/// ([`Channel::to`]). For `https` the server's certificate is checked against the roots of the operating system or
/// Mozilla's, by feature (`platform-roots`, `webpki-roots`), or as `tls` says. It must be awaited on a thread
/// that runs monoio ([`block_on`](crate::block_on)).
///
/// ```no_run
/// # async fn f() -> Result<(), grpc_service::CallError> {
/// let channel = grpc_monoio::connect("http://127.0.0.1:50051").await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// INVALID_ARGUMENT where the target or the configuration cannot be used; UNAVAILABLE where connecting failed.
pub fn connect(target: impl Into<String>) -> Connect {
    Connect {
        target: target.into(),
        options: ChannelOptions::default(),
        #[cfg(feature = "tls")]
        tls: None,
    }
}

/// A channel to be made, by [`connect`].
#[must_use = "it connects when it is awaited"]
pub struct Connect {
    target: String,
    options: ChannelOptions,
    #[cfg(feature = "tls")]
    tls: Option<grpc_tls::ClientTls>,
}

impl Connect {
    /// Sets how connections behave. [`ChannelOptions::secure`] is set as the target says.
    pub fn options(mut self, options: ChannelOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets whom to trust, and what to show to servers.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: grpc_tls::ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The channel, which has not connected: it does when it is first called.
    ///
    /// # Errors
    /// INVALID_ARGUMENT where the target or the configuration cannot be used.
    pub fn lazy(self) -> Result<Channel, CallError> {
        let target = Target::parse(&self.target)?;
        let host = MonoioHost::new();
        let connector = TcpConnector::new(Rc::clone(&host));
        #[cfg(feature = "tls")]
        let connector = match self.tls {
            Some(tls) if target.secure => connector.tls(tls),
            None if target.secure => connector.tls(
                grpc_tls::ClientTls::with_default_roots()
                    .map_err(|error| refused(error.to_string()))?,
            ),
            Some(_) => {
                return Err(refused(format!("TLS for `{}`: only `https` uses it", self.target)));
            }
            None => connector,
        };
        #[cfg(not(feature = "tls"))]
        if target.secure {
            let text = format!("`{}` needs the feature `tls` of grpc-monoio", self.target);
            return Err(refused(text));
        }
        let options = self.options.secure(target.secure);
        Ok(Channel::to(&target.address, &options, host, Rc::new(connector)))
    }
}

fn refused(text: String) -> CallError {
    CallError::new(Status::new(Code::InvalidArgument, text), Origin::Local)
}

impl IntoFuture for Connect {
    type Output = Result<Channel, CallError>;
    type IntoFuture = LocalFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let channel = self.lazy()?;
            channel.ready().await?;
            Ok(channel)
        })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("target", &self.target).finish_non_exhaustive()
    }
}
