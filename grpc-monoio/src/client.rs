//! Opening connections for clients.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use grpc_service::drive::{Orders, Transport, drive};
use grpc_service::{ClientConnection, ConnectError, Connector, Endpoint, Host, LocalFuture};
use monoio::net::{TcpStream, UnixStream};

use crate::host::{join_opened, spawn};
use crate::socket::Socket;

/// Connects over TCP, or over a Unix socket for addresses that begin with `unix:`.
///
/// A name is resolved by the system, which blocks the thread; give an IP address where that matters. Of a name's
/// addresses the first that connects is taken: each is tried a quarter of a second after the one before it, or at once
/// when that has failed, so that one which swallows all packets hides none of the others.
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
                let stream = connect_tcp(&address, &*host).await.map_err(failed)?;
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
    spawn(Box::pin(async move {
        // Its calls have ended with the error.
        let _ = drive(connection, transport, host, orders).await;
    }));
}

/// How long an address is tried before the next one is, beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses that are tried at once: the first of more has had two seconds.
const MOST_AT_ONCE: usize = 8;

async fn connect_tcp(address: &str, host: &dyn Host) -> io::Result<TcpStream> {
    let addresses = address.to_socket_addrs()?;
    first_of(addresses, host, |address| {
        Box::pin(async move {
            let stream = TcpStream::connect_addr(address).await?;
            // Frames leave when they are made: what belongs together is written together.
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    })
    .await
}

/// What the first of the addresses gives that connects; the others are given up then. To give a connect up is to drop
/// it: what the kernel still needs of it, the driver keeps.
async fn first_of<A, T>(
    addresses: impl Iterator<Item = A>,
    host: &dyn Host,
    connect: impl Fn(A) -> LocalFuture<io::Result<T>>,
) -> io::Result<T> {
    let mut addresses = addresses.fuse();
    let mut attempts: VecDeque<LocalFuture<io::Result<T>>> = VecDeque::new();
    let mut head_start: Option<LocalFuture<()>> = None;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    poll_fn(|cx| {
        loop {
            let mut place = 0;
            while let Some(attempt) = attempts.get_mut(place) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => place += 1,
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                    Poll::Ready(Err(error)) => {
                        drop(attempts.remove(place));
                        last = error;
                        head_start = None;
                    }
                }
            }
            if let Some(timer) = &mut head_start {
                ready!(timer.as_mut().poll(cx));
                head_start = None;
            }
            match addresses.next() {
                Some(address) => {
                    if attempts.len() == MOST_AT_ONCE {
                        drop(attempts.pop_front());
                        last = io::ErrorKind::TimedOut.into();
                    }
                    attempts.push_back(connect(address));
                    head_start = Some(host.timer(host.now() + HEAD_START));
                }
                None if attempts.is_empty() => {
                    let failed = io::Error::new(last.kind(), "no address is left");
                    return Poll::Ready(Err(std::mem::replace(&mut last, failed)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnector").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use grpc_proto::Instant;

    use super::*;

    /// A host whose time the test sets.
    #[derive(Default)]
    struct Clock(Rc<Cell<Instant>>);

    impl Host for Clock {
        fn now(&self) -> Instant {
            self.0.get()
        }

        fn timer(&self, at: Instant) -> LocalFuture<()> {
            let now = Rc::clone(&self.0);
            Box::pin(poll_fn(
                move |_| if now.get() >= at { Poll::Ready(()) } else { Poll::Pending },
            ))
        }

        fn spawn(&self, _: LocalFuture<()>) {}

        fn entropy(&self) -> u64 {
            0
        }
    }

    #[derive(Clone, Copy)]
    enum Address {
        Silent,
        Refuses(io::ErrorKind),
        Listens(u8),
    }

    /// Which address is taken, when each was tried, and how many were tried at once, within so many milliseconds.
    fn tried(addresses: &[Address], patience: u64) -> (Option<io::Result<u8>>, Vec<u64>, usize) {
        let (clock, starts) = (Clock::default(), RefCell::new(Vec::new()));
        let (alive, most) = (Rc::new(()), Cell::new(0));
        let millis = || (clock.now() - Instant::ZERO).as_millis() as u64;
        let outcome = {
            let connect = |address: Address| -> LocalFuture<io::Result<u8>> {
                starts.borrow_mut().push(millis());
                match address {
                    Address::Silent => {
                        let held = Rc::clone(&alive);
                        most.set(most.get().max(Rc::strong_count(&alive) - 1));
                        Box::pin(async move {
                            let _held = held;
                            pending().await
                        })
                    }
                    Address::Refuses(kind) => Box::pin(ready(Err(kind.into()))),
                    Address::Listens(number) => Box::pin(ready(Ok(number))),
                }
            };
            let mut first = pin!(first_of(addresses.iter().copied(), &clock, connect));
            let mut cx = Context::from_waker(Waker::noop());
            let mut outcome = None;
            for _ in 0..patience {
                if let Poll::Ready(output) = first.as_mut().poll(&mut cx) {
                    outcome = Some(output);
                    break;
                }
                clock.0.set(clock.now() + Duration::from_millis(1));
            }
            outcome
        };
        (outcome, starts.take(), most.get())
    }

    #[test]
    fn a_silent_address_delays_the_next_by_a_quarter_of_a_second() {
        use Address::*;
        let (outcome, starts, _) = tried(&[Silent, Silent, Listens(3), Silent], 10_000);
        assert_eq!((outcome.unwrap().unwrap(), starts), (3, vec![0, 250, 500]));
    }

    #[test]
    fn an_address_that_refuses_is_skipped_and_the_last_error_returned() {
        use Address::*;
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NotFound};
        let (outcome, starts, _) = tried(
            &[Refuses(ConnectionRefused), Silent, Refuses(HostUnreachable), Listens(4)],
            1000,
        );
        assert_eq!((outcome.unwrap().unwrap(), starts), (4, vec![0, 0, 250, 250]));
        let refused = [Refuses(HostUnreachable), Refuses(ConnectionRefused)];
        let (outcome, ..) = tried(&refused, 1000);
        assert_eq!(outcome.unwrap().unwrap_err().kind(), ConnectionRefused);
        let (outcome, ..) = tried(&[], 1000);
        assert_eq!(outcome.unwrap().unwrap_err().kind(), NotFound);
    }

    #[test]
    fn of_many_silent_addresses_eight_are_tried_at_once() {
        let mut addresses = [Address::Silent; 20];
        let (outcome, starts, most) = tried(&addresses, 60_000);
        assert!(outcome.is_none());
        assert_eq!((starts.len(), most), (20, MOST_AT_ONCE));
        addresses[19] = Address::Listens(19);
        let (outcome, ..) = tried(&addresses, 60_000);
        assert_eq!(outcome.unwrap().unwrap(), 19);
    }
}
