//! Opening connections for clients.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;

use grpc_service::drive::drive;
use grpc_service::{ClientConnection, ConnectError, Connector, Host, LocalFuture};
use monoio::net::{TcpStream, UnixStream};

use crate::host::join_opened;
use crate::socket::Socket;

/// Connects over TCP, or over a Unix socket for addresses that begin with `unix:`.
///
/// A name is resolved by the system, which blocks the thread; give an IP address where that matters.
pub struct TcpConnector {
    host: Rc<dyn Host>,
}

impl TcpConnector {
    /// A connector whose connections run on this thread and take their time from `host`.
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }
}

impl Connector for TcpConnector {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let (address, host) = (address.to_owned(), Rc::clone(&self.host));
        Box::pin(async move {
            let failed = |error: io::Error| ConnectError::new(format!("{address}: {error}"));
            if let Some(path) = address.strip_prefix("unix:") {
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                monoio::spawn(drive(connection, Socket(stream), host, join_opened()));
            } else {
                let stream = connect_tcp(&address).await.map_err(failed)?;
                monoio::spawn(drive(connection, Socket(stream), host, join_opened()));
            }
            Ok(())
        })
    }
}

/// Tries the name's addresses one after the other.
async fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_addr(address).await {
            Ok(stream) => {
                // Frames leave when they are made: what belongs together is written together.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnector").finish_non_exhaustive()
    }
}
