//! Accepting when descriptors are short: the loop survives, waits, and serves again when there are some.
//!
//! It lowers the limit of its own process, hence a file, and so a process, of its own.
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs it on epoll.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use grpc_arena::Arena;
use grpc_monoio::{
    Listener, MonoioHost, Socket, TcpConnector, WorkerOptions, Workers, block_on, serve, stopper,
};
use grpc_service::{Channel, ChannelOptions, Peer, Router, Server, ServerOptions};
use monoio::io::CancelHandle;
use monoio::net::{TcpListener, TcpStream};
use tests::bytes::{Blob, BytesClient, register_bytes};
use tests::echo::Echoing;

async fn stub(address: &str) -> BytesClient {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let options = ChannelOptions::default();
    let channel = Channel::connect(address, &options, host, &connector).await;
    BytesClient::new(channel.expect("the server listens"))
}

async fn echo(stub: &BytesClient) -> Result<u64, grpc_service::CallError> {
    let (blob, arena) = (Blob { count: 3, ..Blob::default() }, Arena::new());
    stub.echo(&blob, &arena).timeout(Duration::from_secs(10)).await.map(|blob| blob.count)
}

fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").expect("a Linux with /proc").count() as u64
}

fn limit_descriptors(most: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write the struct that they are given, which outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = most.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

fn processor_time() -> Duration {
    // SAFETY: an rusage of zeros is valid, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let of = |time: libc::timeval| {
        Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// A listener whose accepts fail as they are told to before they succeed.
struct Failing {
    inner: TcpListener,
    failures: Rc<Cell<u32>>,
    errno: i32,
}

impl Listener for Failing {
    type Stream = Socket<TcpStream>;

    fn accept(
        &self,
        cancel: CancelHandle,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> {
        let fails = self.failures.get() > 0;
        if fails {
            self.failures.set(self.failures.get() - 1);
        }
        async move {
            match fails {
                true => Err(io::Error::from_raw_os_error(self.errno)),
                false => Listener::accept(&self.inner, cancel).await,
            }
        }
    }
}

/// Serves one call after `failures` accepts have failed with `errno`; returns how long that took.
fn served_after(failures: u32, errno: i32) -> Duration {
    block_on(async {
        let inner = TcpListener::bind("127.0.0.1:0").expect("loopback can be served");
        let address = inner.local_addr().expect("bound").to_string();
        let left = Rc::new(Cell::new(failures));
        let listener = Failing { inner, failures: Rc::clone(&left), errno };
        let mut router = Router::new();
        register_bytes(&mut router, Rc::new(Echoing));
        let server = Server::new(router, ServerOptions::default(), MonoioHost::new());
        let (stopper, stop) = stopper();
        let started = Instant::now();
        let serving = monoio::spawn(async move { serve(listener, &server, stop).await });
        let stub = stub(&address).await;
        assert_eq!(echo(&stub).await, Ok(3));
        let took = started.elapsed();
        assert_eq!(left.get(), 0);
        drop(stub);
        stopper.stop(Duration::from_secs(1));
        serving.await;
        took
    })
    .expect("a runtime")
}

/// One test, because the limit is the whole process's.
#[test]
fn accept_failures_are_survived_and_later_clients_served() {
    // A peer that left the line early is no reason to wait, which would take three quarters of a minute.
    let took = served_after(50, libc::ECONNABORTED);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Want of resources is: 10 ms, 20, 40, 80.
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        let took = served_after(4, errno);
        assert!((150..5000).contains(&took.as_millis()), "{took:?}");
    }

    // The real thing: as many sockets as descriptors, and more that wait.
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let routes = |router: &mut Router| register_bytes(router, Rc::new(Echoing));
    // One listener, so that all sockets wait in one line.
    let options = WorkerOptions::default().threads(1);
    let workers = Workers::start(loopback, options, routes).expect("a server");
    let address = workers.address().to_string();
    block_on(async {
        let early = stub(&address).await;
        assert_eq!(echo(&early).await, Ok(3));
        // Room for our own ends and for some of the server's.
        limit_descriptors(descriptors() + 30);
        let mut idle: Vec<StdStream> = Vec::new();
        while let Ok(stream) = StdStream::connect(&address) {
            idle.push(stream);
        }
        assert!(idle.len() > 10, "{} sockets", idle.len());
        // The loop waits rather than spins, and who was accepted before is served.
        let before = processor_time();
        monoio::time::sleep(Duration::from_millis(500)).await;
        let spent = processor_time() - before;
        assert!(spent < Duration::from_millis(250), "{spent:?} of processor time in 500 ms");
        assert_eq!(echo(&early).await, Ok(3));
        // Descriptors come back, and with them the service.
        drop(idle);
        monoio::time::sleep(Duration::from_millis(1200)).await;
        let late = stub(&address).await;
        assert_eq!(echo(&late).await, Ok(3));
    })
    .expect("a runtime");
    workers.stop(Duration::from_secs(1));
}
