//! Accepting connections until a stop.

use std::future::{Future, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use grpc_service::adapter::{Member, Stop, accept_until_stopped};
use grpc_service::drive::{Transport, drive};
use grpc_service::{LocalFuture, Peer, PeerAddress, Server, UnixCredentials};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::socket::Socket;

/// A listening socket.
pub trait Listener: 'static {
    /// What is accepted: [`Socket`] around a stream of tokio, or a transport of your own.
    type Stream: Transport + 'static;

    /// Accepts one connection. To drop the future loses none.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>>;
}

impl Listener for TcpListener {
    type Stream = Socket<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // Frames leave when they are made: what belongs together is written together.
        stream.set_nodelay(true)?;
        Ok((Socket::new(stream), Peer::from(address)))
    }
}

impl Listener for UnixListener {
    type Stream = Socket<UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = UnixListener::accept(self).await?;
        let path = address.as_pathname().map(PathBuf::from);
        let mut peer = Peer::new(PeerAddress::Unix(path));
        if let Ok(of) = stream.peer_cred() {
            // 0 stands for a process of another namespace of process ids.
            let pid = of.pid().filter(|&pid| pid != 0);
            peer = peer.with_credentials(UnixCredentials { pid, uid: of.uid(), gid: of.gid() });
        }
        Ok((Socket::new(stream), peer))
    }
}

/// Serves connections from `listener` on this thread until `stop`; within a [`LocalSet`](tokio::task::LocalSet).
///
/// Then each connection sends GOAWAY, its calls in flight go on for the grace period that `stop` names, and the rest is
/// aborted. Returns when the last connection has ended.
pub async fn serve<L: Listener>(listener: L, server: &Server, stop: Stop) {
    let (owner, host) = (server.clone(), Rc::clone(server.host()));
    serve_with(listener, server, stop, |stream, peer, orders| {
        let (connection, host) = (owner.accept(peer), Rc::clone(&host));
        Some(Box::pin(async move {
            // Its calls have ended with the error.
            let _ = drive(connection, stream, host, orders).await;
        }))
    })
    .await;
}

/// As [`serve`], behind TLS: a connection is one of `server` once its handshake is complete, and handlers find what that
/// proved in `cx.peer().tls()`.
///
/// A stop ends the handshakes that are under way.
#[cfg(feature = "tls")]
pub async fn serve_tls<L: Listener>(
    listener: L,
    server: &Server,
    tls: &grpc_tls::ServerTls,
    stop: Stop,
) {
    let (owner, host) = (Rc::new(server.clone()), Rc::clone(server.host()));
    let acceptor = tls.acceptor();
    serve_with(listener, server, stop, |stream, peer, orders| {
        let host = Rc::clone(&host);
        match acceptor.accept(&owner, peer, orders) {
            Ok((connection, orders)) => Some(Box::pin(async move {
                // Its calls have ended with the error, and a handshake that failed is reported.
                let _ = drive(connection, stream, host, orders).await;
            })),
            Err(error) => {
                host.report(&error.to_string());
                None
            }
        }
    })
    .await;
}

/// As [`serve`], for gRPC-Web and plain HTTP too: the first bytes of a connection tell its protocol.
#[cfg(feature = "web")]
pub async fn serve_web<L: Listener>(listener: L, server: &Server, web: &grpc_web::Web, stop: Stop) {
    let (owner, host) = (server.clone(), Rc::clone(server.host()));
    serve_with(listener, server, stop, |stream, peer, orders| {
        let (connection, host) = (web.accept(&owner, peer), Rc::clone(&host));
        Some(Box::pin(async move {
            // Its calls have ended with the error.
            let _ = drive(connection, stream, host, orders).await;
        }))
    })
    .await;
}

/// As [`serve_tls`], for gRPC-Web and plain HTTP too: ALPN chooses between `h2` and `http/1.1`, which is also that of
/// clients that offer nothing.
#[cfg(all(feature = "tls", feature = "web"))]
pub async fn serve_web_tls<L: Listener>(
    listener: L,
    server: &Server,
    web: &grpc_web::Web,
    tls: &grpc_tls::ServerTls,
    stop: Stop,
) {
    let (owner, host) = (Rc::new(server.clone()), Rc::clone(server.host()));
    let acceptor = tls.acceptor();
    serve_with(listener, server, stop, |stream, peer, orders| {
        let (host, web) = (Rc::clone(&host), web.clone());
        let make = move |server: &Rc<Server>, peer| web.accept(server, peer);
        match acceptor.accept_with_http1(&owner, peer, orders, make) {
            Ok((connection, orders)) => Some(Box::pin(async move {
                // Its calls have ended with the error, and a handshake that failed is reported.
                let _ = drive(connection, stream, host, orders).await;
            })),
            Err(error) => {
                host.report(&error.to_string());
                None
            }
        }
    })
    .await;
}

/// The loop of [`serve`]: `connect` makes the task of a connection.
async fn serve_with<L, C>(listener: L, server: &Server, stop: Stop, connect: C)
where
    L: Listener,
    C: Fn(L::Stream, Peer, Member) -> Option<LocalFuture<()>>,
{
    let until = &stop;
    // It owns the listener, which is closed when the stop begins.
    let accept = async move || {
        let mut accepting = pin!(listener.accept());
        poll_fn(|cx| match until.poll_until(cx) {
            Some(_) => Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            None => accepting.as_mut().poll(cx),
        })
        .await
    };
    accept_until_stopped(server, until, accept, connect).await;
}
