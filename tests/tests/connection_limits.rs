//! Limits of connections over sockets, for the workers of both adapters: what is closed, what drains, and who sees it.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs monoio on epoll.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use grpc_service::adapter::WorkerStats;
use grpc_service::{
    ConnectionLimit, Peer, Router, ServerHooks, ServerOptions, ServingLimits, SharedLimits,
};
use tests::bytes::register_bytes;
use tests::echo::Echoing;
use tests::raw::{GOAWAY, SETTINGS_ACK};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The workers of either adapter.
trait Group: Sized {
    fn start(threads: usize, options: ServerOptions) -> Self;
    fn address(&self) -> SocketAddr;
    fn limits(&self) -> &SharedLimits;
    fn stats(&self) -> WorkerStats;
    fn stop(self);
}

fn routes(router: &mut Router) {
    register_bytes(router, Rc::new(Echoing));
}

macro_rules! group {
    ($workers:ty, $options:ty) => {
        impl Group for $workers {
            fn start(threads: usize, options: ServerOptions) -> Self {
                let options = <$options>::default().threads(threads).server(options);
                <$workers>::start(LOOPBACK, options, routes).expect("loopback can be served")
            }
            fn address(&self) -> SocketAddr {
                self.address()
            }
            fn limits(&self) -> &SharedLimits {
                self.limits()
            }
            fn stats(&self) -> WorkerStats {
                self.stats()
            }
            fn stop(self) {
                self.stop(Duration::from_secs(1));
            }
        }
    };
}

group!(grpc_monoio::Workers, grpc_monoio::WorkerOptions);
group!(grpc_tokio::Workers, grpc_tokio::WorkerOptions);

/// A client that was greeted with SETTINGS; `None` if it was closed instead.
fn greeted(address: SocketAddr) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    // It may be closed by then.
    let _ = socket.write_all(HELLO);
    let mut head = [0; 9];
    socket.read_exact(&mut head).ok()?;
    let mut rest = vec![0; head[2].into()];
    socket.read_exact(&mut rest).ok()?;
    socket.write_all(&SETTINGS_ACK).ok()?;
    Some(socket)
}

/// Whether the server says GOAWAY.
fn is_told_to_go(socket: &mut TcpStream) -> bool {
    let mut head = [0; 9];
    while socket.read_exact(&mut head).is_ok() {
        if head[3] == GOAWAY {
            return true;
        }
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        if socket.read_exact(&mut vec![0; len as usize]).is_err() {
            return false;
        }
    }
    false
}

fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Default)]
struct Refusals(Mutex<Vec<ConnectionLimit>>);

impl ServerHooks for Refusals {
    fn connection_refused(&self, peer: &Peer, limit: ConnectionLimit) {
        assert!(peer.socket_address().is_some());
        self.0.lock().expect("no panic").push(limit);
    }
}

fn closes_a_connection_beyond_a_limit_and_serves_the_next<G: Group>() {
    let hooks = Arc::new(Refusals::default());
    let mut limits = ServingLimits::default();
    limits.connections = 3;
    let options = ServerOptions::default()
        .hooks(Arc::clone(&hooks) as Arc<dyn ServerHooks>)
        .limits(SharedLimits::new(limits));
    let workers = G::start(2, options);
    let address = workers.address();
    let mut open: Vec<_> = (0..3).map(|_| greeted(address).expect("served")).collect();
    assert!(greeted(address).is_none(), "the fourth is closed");
    workers.limits().change(|limits| (limits.connections, limits.connections_per_address) = (9, 3));
    assert!(greeted(address).is_none(), "the address has its connections");
    let stats = workers.stats().total;
    assert_eq!((stats.refused_by_process, stats.refused_by_address), (1, 1));
    assert_eq!((stats.connections_accepted, stats.refused_by_worker), (3, 0));
    let seen = std::mem::take(&mut *hooks.0.lock().expect("no panic"));
    assert_eq!(seen, [ConnectionLimit::Process, ConnectionLimit::Address]);
    open.pop();
    until("the place of one that has left is free", || workers.limits().open() == 2);
    let last = greeted(address).expect("served");
    drop((open, last));
    workers.stop();
}

fn drains_as_many_as_exceed_a_limit_that_was_lowered<G: Group>() {
    let workers = G::start(1, ServerOptions::default());
    let address = workers.address();
    let mut open: Vec<_> = (0..6).map(|_| greeted(address).expect("served")).collect();
    assert_eq!(workers.limits().open(), 6);
    workers.limits().change(|limits| limits.connections_per_worker = 4);
    // Those that came last go.
    for socket in open.drain(4..) {
        let mut socket = socket;
        assert!(is_told_to_go(&mut socket));
    }
    until("they have left", || workers.limits().open() == 4);
    assert!(greeted(address).is_none(), "four are there");
    let stats = workers.stats().total;
    assert_eq!((stats.drained_by_limit, stats.refused_by_worker), (2, 1));
    workers.limits().change(|limits| limits.connections_per_worker = 5);
    open.push(greeted(address).expect("served"));
    // The others were left alone.
    for socket in &mut open {
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time");
        assert!(!is_told_to_go(socket));
    }
    workers.stop();
}

#[test]
fn monoio_closes_a_connection_beyond_a_limit_and_serves_the_next() {
    closes_a_connection_beyond_a_limit_and_serves_the_next::<grpc_monoio::Workers>();
}

#[test]
fn tokio_closes_a_connection_beyond_a_limit_and_serves_the_next() {
    closes_a_connection_beyond_a_limit_and_serves_the_next::<grpc_tokio::Workers>();
}

#[test]
fn monoio_drains_as_many_as_exceed_a_limit_that_was_lowered() {
    drains_as_many_as_exceed_a_limit_that_was_lowered::<grpc_monoio::Workers>();
}

#[test]
fn tokio_drains_as_many_as_exceed_a_limit_that_was_lowered() {
    drains_as_many_as_exceed_a_limit_that_was_lowered::<grpc_tokio::Workers>();
}
