//! Opening connections for clients.

use std::fmt;
use std::io;
use std::rc::Rc;

use grpc_service::drive::{Orders, Transport, drive};
use grpc_service::{ClientConnection, ConnectError, Connector, Endpoint, Host, LocalFuture};
use tokio::net::{TcpStream, UnixStream};

use crate::host::join_opened;
use crate::socket::Socket;

/// Connects over TCP, or over a Unix socket for addresses that begin with `unix:`.
///
/// A name is resolved by the system, on tokio's threads for blocking work; its addresses are tried one after the other.
///
/// With the feature `tls`, `TcpConnector::tls` puts TLS in front of each connection: the future of
/// [`connect`](Connector::connect) then completes after the handshake, and its error says why that failed.
pub struct TcpConnector {
    host: Rc<dyn Host>,
    #[cfg(feature = "tls")]
    tls: Option<grpc_tls::ClientTls>,
}

impl TcpConnector {
    /// A connector whose connections run on this thread and take their time from `host`.
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self {
            host,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Puts TLS in front of each connection. Have the channel's calls say `https` too
    /// ([`ChannelOptions::secure`](grpc_service::ChannelOptions::secure)).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: grpc_tls::ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl Connector for TcpConnector {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let (address, host) = (address.to_owned(), Rc::clone(&self.host));
        #[cfg(feature = "tls")]
        let tls = self.tls.clone();
        #[cfg(not(feature = "tls"))]
        let tls = ();
        Box::pin(async move {
            let failed = |error: io::Error| ConnectError::new(format!("{address}: {error}"));
            if let Some(path) = address.strip_prefix("unix:") {
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                run(connection, Socket::new(stream), host, &address, tls).await
            } else {
                let stream = TcpStream::connect(&address).await.map_err(failed)?;
                // Frames leave when they are made: what belongs together is written together.
                stream.set_nodelay(true).map_err(failed)?;
                run(connection, Socket::new(stream), host, &address, tls).await
            }
        })
    }
}

#[cfg(feature = "tls")]
type Tls = Option<grpc_tls::ClientTls>;
#[cfg(not(feature = "tls"))]
type Tls = ();

/// Drives a connection in a task of its own; completes when calls can be made, which is after the handshake with TLS.
#[cfg_attr(not(feature = "tls"), allow(unused_variables, clippy::unused_async))]
async fn run(
    connection: ClientConnection,
    transport: impl Transport + 'static,
    host: Rc<dyn Host>,
    address: &str,
    tls: Tls,
) -> Result<(), ConnectError> {
    let orders = join_opened();
    #[cfg(feature = "tls")]
    if let Some(tls) = tls {
        let (endpoint, orders, attempt) = tls.attempt(address, connection, host.now(), orders)?;
        spawn_driven(endpoint, transport, host, orders);
        return attempt.await;
    }
    spawn_driven(connection, transport, host, orders);
    Ok(())
}

fn spawn_driven(
    connection: impl Endpoint + 'static,
    transport: impl Transport + 'static,
    host: Rc<dyn Host>,
    orders: impl Orders + 'static,
) {
    let spawner = Rc::clone(&host);
    spawner.spawn(Box::pin(async move {
        // Its calls have ended with the error.
        let _ = drive(connection, transport, host, orders).await;
    }));
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnector").finish_non_exhaustive()
    }
}
