//! Accepting connections until a stop.

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;

use grpc_service::adapter::{Member, Stop, accept_until_stopped};
use grpc_service::drive::{Transport, drive};
use grpc_service::{LocalFuture, Peer, PeerAddress, Server};
use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::socket::{Socket, credentials};

/// A listening socket.
pub trait Listener: 'static {
    /// What is accepted: [`Socket`] around a stream of monoio, or a transport of your own, such as one that speaks TLS.
    type Stream: Transport + 'static;

    /// Accepts one connection; ended early through `cancel` only, because a dropped accept can lose a socket.
    fn accept(
        &self,
        cancel: CancelHandle,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>>;
}

impl Listener for TcpListener {
    type Stream = Socket<TcpStream>;

    async fn accept(&self, cancel: CancelHandle) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.cancelable_accept(cancel).await?;
        // Frames leave when they are made: what belongs together is written together.
        stream.set_nodelay(true)?;
        Ok((Socket::new(stream), Peer::from(address)))
    }
}

impl Listener for UnixListener {
    type Stream = Socket<UnixStream>;

    async fn accept(&self, cancel: CancelHandle) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.cancelable_accept(cancel).await?;
        let mut peer = Peer::new(PeerAddress::Unix(address.as_pathname().map(PathBuf::from)));
        if let Some(credentials) = credentials(&stream) {
            peer = peer.with_credentials(credentials);
        }
        Ok((Socket::new(stream), peer))
    }
}

/// A Unix socket that listens at `path`, which must not exist; to be used on a thread that runs monoio.
///
/// monoio's own `bind` asks for SO_REUSEPORT, which Unix sockets refuse, and leaves the socket blocking on epoll, where
/// the first accept would hold the whole thread.
///
/// # Errors
/// Those of the system.
pub fn listen_unix(path: impl AsRef<Path>) -> io::Result<UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(monoio::utils::is_legacy())?;
    UnixListener::from_std(listener)
}

/// Serves connections from `listener` on this thread until `stop`.
///
/// Then each connection sends GOAWAY, its calls in flight go on for the grace period that `stop` names, and the rest is
/// aborted. Returns when the last connection has ended.
///
/// The grace may be shortened meanwhile ([`Stopper::stop`](crate::Stopper::stop)).
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
    let accept = async move || accept_until(&listener, until).await;
    accept_until_stopped(server, until, accept, connect).await;
}

/// Accepts one connection, or is cancelled by `stop`.
async fn accept_until<L: Listener>(listener: &L, stop: &Stop) -> io::Result<(L::Stream, Peer)> {
    let canceller = Canceller::new();
    let mut accepting = pin!(listener.accept(canceller.handle()));
    let mut canceller = Some(canceller);
    poll_fn(|cx| {
        if stop.poll_until(cx).is_some()
            && let Some(canceller) = canceller.take()
        {
            canceller.cancel();
        }
        accepting.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io::{Read, Write};
    use std::net::SocketAddr;
    use std::thread;
    use std::time::{Duration, Instant};

    use grpc_proto::Transmit;
    use grpc_service::adapter::{Stopper, stopper};
    use grpc_service::drive::{Close, ReadHalf, WriteHalf};
    use grpc_service::{Host, Router, ServerOptions};

    use super::*;
    use crate::{MonoioHost, block_on};

    /// A host that panics when it is asked for a timer, or for entropy, for the first time.
    struct Faulty {
        inner: Rc<dyn Host>,
        timers: Cell<bool>,
        entropy: Cell<bool>,
    }

    impl Host for Faulty {
        fn now(&self) -> grpc_proto::Instant {
            self.inner.now()
        }

        fn timer(&self, at: grpc_proto::Instant) -> LocalFuture<()> {
            assert!(!self.timers.replace(false), "no timer is left");
            self.inner.timer(at)
        }

        fn spawn(&self, task: LocalFuture<()>) {
            self.inner.spawn(task);
        }

        fn entropy(&self) -> u64 {
            assert!(!self.entropy.replace(false), "nothing is left to chance");
            self.inner.entropy()
        }
    }

    /// Serves on a thread of its own, which ends with the server.
    fn start(timers: bool, entropy: bool) -> (SocketAddr, Stopper, thread::JoinHandle<()>) {
        let (stopper, stop) = stopper();
        let (report, started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be served");
                report.send(listener.local_addr().expect("bound")).expect("the test waits");
                let inner = MonoioHost::new();
                let (timers, entropy) = (Cell::new(timers), Cell::new(entropy));
                let host = Rc::new(Faulty { inner, timers, entropy });
                let server = Server::new(Router::new(), ServerOptions::default(), host);
                serve(listener, &server, stop).await;
            })
            .expect("a runtime");
        });
        (started.recv().expect("it listens"), stopper, thread)
    }

    /// Connects, and waits for the server's SETTINGS.
    fn greeted(address: SocketAddr) -> (std::net::TcpStream, bool) {
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        // It may be closed by then.
        let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let is_greeted = stream.read_exact(&mut [0; 9]).is_ok();
        (stream, is_greeted)
    }

    #[test]
    fn a_panic_beside_one_connection_ends_no_other() {
        for (timers, entropy) in [(true, false), (false, true)] {
            let (address, stopper, thread) = start(timers, entropy);
            let mut torn = greeted(address).0;
            let (_stream, is_greeted) = greeted(address);
            assert!(is_greeted, "the next one is served");
            assert!(torn.read_to_end(&mut Vec::new()).is_ok(), "the first one is closed");
            stopper.stop(Duration::ZERO);
            thread.join().expect("the panic is no business of the thread");
        }
    }

    /// A transport whose peer is gone.
    struct Gone;

    impl Transport for Gone {
        type Reader = Gone;
        type Writer = Gone;
        type Closer = Gone;

        fn split(self) -> (Gone, Gone, Gone) {
            (Gone, Gone, Gone)
        }
    }

    impl ReadHalf for Gone {
        async fn read(self, buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
            (self, Ok(0), buffer)
        }
    }

    impl WriteHalf for Gone {
        async fn write(self, out: Transmit) -> (Self, io::Result<usize>, Transmit) {
            (self, Ok(0), out)
        }

        async fn close(self) -> (Self, io::Result<()>) {
            (self, Ok(()))
        }
    }

    impl Close for Gone {
        fn close(&mut self) {}
    }

    /// A listener whose accepts fail and succeed as it is scripted, and that stops the server behind the last one.
    struct Scripted {
        script: RefCell<std::array::IntoIter<bool, 7>>,
        accepts: Rc<RefCell<Vec<Instant>>>,
        stopper: Stopper,
    }

    impl Listener for Scripted {
        type Stream = Gone;

        async fn accept(&self, _: CancelHandle) -> io::Result<(Gone, Peer)> {
            self.accepts.borrow_mut().push(Instant::now());
            match self.script.borrow_mut().next() {
                Some(true) => Ok((Gone, Peer::memory())),
                Some(false) => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                None => {
                    self.stopper.stop(Duration::ZERO);
                    Err(io::ErrorKind::Interrupted.into())
                }
            }
        }
    }

    #[test]
    fn the_wait_between_accepts_doubles_and_begins_anew_after_a_success() {
        let accepts = block_on(async {
            let (stopper, stop) = stopper();
            let script = [false, false, false, false, false, true, false];
            let (script, accepts) = (RefCell::new(script.into_iter()), Rc::default());
            let listener = Scripted { script, accepts: Rc::clone(&accepts), stopper };
            let server = Server::new(Router::new(), ServerOptions::default(), MonoioHost::new());
            serve(listener, &server, stop).await;
            assert_eq!(server.stats().accepts_failed, 6);
            assert_eq!(server.stats().connections_accepted, 1);
            accepts.take()
        });
        let accepts: Vec<Instant> = accepts.expect("a runtime");
        let waits: Vec<u128> =
            accepts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        let [first, second, third, fourth, fifth, success, again] = waits[..] else {
            panic!("{waits:?}")
        };
        for (wait, least) in [(first, 10), (second, 20), (third, 40), (fourth, 80), (fifth, 160)] {
            assert!(wait >= least, "{waits:?}");
        }
        assert!(success < 10, "{waits:?}");
        // Without the reset it would be 320.
        assert!((10..160).contains(&again), "{waits:?}");
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_does_not_lengthen_it() {
        let (address, stopper, thread) = start(false, false);
        // It does not answer the PING that comes with the GOAWAY, and would be waited for.
        let (_stream, is_greeted) = greeted(address);
        assert!(is_greeted);
        stopper.stop(Duration::MAX);
        thread::sleep(Duration::from_millis(300));
        assert!(!thread.is_finished());
        let begun = Instant::now();
        stopper.stop(Duration::ZERO);
        stopper.stop(Duration::MAX);
        thread.join().expect("no panic");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_stop_ends_the_wait_between_failed_accepts() {
        let (stopper, stop) = stopper();
        let thread = thread::spawn(move || {
            let host = MonoioHost::new();
            block_on(stop.wait_within(Duration::from_secs(3600), &*host)).expect("a runtime");
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!thread.is_finished());
        stopper.stop(Duration::ZERO);
        thread.join().expect("no panic");
    }
}
