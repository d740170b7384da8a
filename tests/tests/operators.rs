//! What the operators of a server see: counters, hooks, reports, and a port that is taken.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs all of it on epoll.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_monoio::{
    Listener, MonoioHost, Socket, Stopper, TcpConnector, WorkerOptions, Workers, block_on, serve,
    stopper,
};
use grpc_proto::{Code, ConnectionError, Instant, Stats, Status};
use grpc_service::CallError;
use grpc_service::{
    Channel, ChannelOptions, Cx, Host, LocalFuture, Peer, Router, Server, ServerHooks,
    ServerOptions, Sink,
};
use monoio::io::CancelHandle;
use monoio::net::TcpStream;
use tests::bytes::{Blob, Bytes, BytesClient, register_bytes};
use tests::echo::{Chatting, Echoing, Summing};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn connect(address: &str) -> BytesClient {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let channel = Channel::connect(address, &ChannelOptions::default(), host, &connector).await;
    BytesClient::new(channel.expect("the server listens"))
}

async fn echo(stub: &BytesClient, data: &[u8]) -> Result<usize, CallError> {
    let (blob, arena) = (Blob { data, ..Blob::default() }, Arena::new());
    stub.echo(&blob, &arena).await.map(|blob| blob.data.len())
}

/// Notes what it hears.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, text: String) {
        self.0.lock().expect("no panic").push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl ServerHooks for Notes {
    fn connection_opened(&self, _: &Peer) {
        self.note("opened".into());
    }

    fn connection_closed(&self, _: &Peer, stats: &Stats, outcome: Result<(), &ConnectionError>) {
        self.note(format!("closed after {} calls, {}", stats.streams_opened, outcome.is_ok()));
        panic!("a hook's panic has no effect");
    }

    fn handler_panicked(&self, path: &str, message: &str) {
        self.note(format!("{path}: {message}"));
    }

    fn accept_failed(&self, error: &io::Error, wait: Duration) {
        self.note(format!("{:?}, {wait:?}", error.raw_os_error()));
    }
}

#[test]
fn the_counters_of_workers_add_up_over_open_and_closed_connections() {
    let options = WorkerOptions::default().threads(2);
    let routes = |router: &mut Router| register_bytes(router, Rc::new(Echoing));
    let workers = Workers::start(LOOPBACK, options, routes).expect("loopback can be served");
    let address = workers.address().to_string();
    assert_eq!(workers.stats().total, Default::default());
    let workers = block_on(async move {
        let mut stubs = Vec::new();
        for _ in 0..20 {
            let stub = connect(&address).await;
            assert_eq!(echo(&stub, &[7; 100]).await, Ok(100));
            stubs.push(stub);
        }
        let stats = workers.stats();
        assert_eq!((stats.total.connections_accepted, stats.total.connections_open), (20, 20));
        assert_eq!(stats.total.connections.streams_opened, 20);
        assert_eq!(stats.workers.len(), 2);
        let sum: u64 = stats.workers.iter().map(|worker| worker.connections_open).sum();
        assert_eq!(sum, 20);
        // A call on an open connection counts at once.
        assert_eq!(echo(&stubs[0], &[7; 100]).await, Ok(100));
        assert_eq!(workers.stats().total.connections.streams_opened, 21);
        workers
    })
    .expect("a runtime");
    // The stubs are gone, and so are their connections, which stay counted.
    let begun = std::time::Instant::now();
    while workers.stats().total.connections_open > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", workers.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    let total = workers.stats().total;
    assert_eq!((total.connections_accepted, total.connections.streams_opened), (20, 21));
    assert!(total.connections.data_received > 21 * 100, "{total:?}");
    workers.stop(Duration::from_secs(1));
}

#[test]
fn a_port_that_is_served_is_an_error_unless_both_groups_share_it() {
    let routes = |router: &mut Router| register_bytes(router, Rc::new(Echoing));
    let options = || WorkerOptions::default().threads(2);
    let first = Workers::start(LOOPBACK, options(), routes).expect("loopback can be served");
    let error = Workers::start(first.address(), options(), routes).expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    first.stop(Duration::ZERO);
    let shared = || options().share_port(true);
    let first = Workers::start(LOOPBACK, shared(), routes).expect("loopback can be served");
    let second = Workers::start(first.address(), shared(), routes).expect("both share it");
    first.stop(Duration::ZERO);
    second.stop(Duration::ZERO);
}

/// Uses a timer of another runtime than the one that it runs on.
struct Foreign;

impl Bytes for Foreign {
    async fn echo<'a>(&self, _: &Cx<'a>, request: Blob<'a>) -> Result<Blob<'a>, Status> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(request)
    }

    async fn repeat<'a>(
        &self,
        _: &Cx<'a>,
        _: Blob<'a>,
        _: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        Ok(())
    }

    type Sum<'s> = Summing;

    async fn sum(&self, _: &Cx<'_>) -> Result<Summing, Status> {
        Err(Status::new(Code::Unimplemented, ""))
    }

    type Chat<'s> = Chatting;

    async fn chat(&self, _: &Cx<'_>) -> Result<Chatting, Status> {
        Ok(Chatting)
    }
}

/// A host that keeps what is reported.
struct Reporting {
    inner: Rc<dyn Host>,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Host for Reporting {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        self.inner.timer(at)
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.inner.spawn(task);
    }

    fn entropy(&self) -> u64 {
        self.inner.entropy()
    }

    fn report(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }
}

fn reporting(notes: &Arc<Notes>, router: Router) -> (Server, Rc<RefCell<Vec<String>>>) {
    let lines = Rc::default();
    let host = Rc::new(Reporting { inner: MonoioHost::new(), lines: Rc::clone(&lines) });
    let hooks: Arc<dyn ServerHooks> = Arc::<Notes>::clone(notes);
    (Server::new(router, ServerOptions::default().hooks(hooks), host), lines)
}

#[test]
fn a_panic_of_a_handler_is_reported_with_its_message_and_not_to_the_client() {
    let notes = Arc::new(Notes::default());
    block_on(async {
        let mut router = Router::new();
        register_bytes(&mut router, Rc::new(Foreign));
        let (server, lines) = reporting(&notes, router);
        let listener = monoio::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (stopper, stop) = stopper();
        let server = Rc::new(server);
        let serving = {
            let server = Rc::clone(&server);
            monoio::spawn(async move { serve(listener, &server, stop).await })
        };
        let stub = connect(&address).await;
        for _ in 0..3 {
            let status = echo(&stub, &[7]).await.expect_err("it panicked");
            assert_eq!((status.code(), status.message()), (Code::Internal, "the handler panicked"));
        }
        assert_eq!(server.stats().handlers_panicked, 3);
        drop(stub);
        stopper.stop(Duration::from_secs(5));
        serving.await;
        let lines = lines.take();
        // Of three in a row one is reported, and hooks hear of each.
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("/bytes.Bytes/Echo panicked: there is no reactor running"), "{line}");
    })
    .expect("a runtime");
    let heard = notes.take();
    assert_eq!(heard.len(), 5, "{heard:?}");
    assert_eq!(heard[0], "opened");
    let message = "/bytes.Bytes/Echo: there is no reactor running";
    assert!(heard[1..4].iter().all(|text| text.starts_with(message)), "{heard:?}");
    assert!(heard[4].starts_with("closed after 3 calls"), "{heard:?}");
}

/// A listener that has no descriptors left, and stops its server after some attempts.
struct Poor {
    left: std::cell::Cell<u32>,
    stopper: Stopper,
}

impl Listener for Poor {
    type Stream = Socket<TcpStream>;

    async fn accept(&self, _: CancelHandle) -> io::Result<(Self::Stream, Peer)> {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.stopper.stop(Duration::ZERO);
        }
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }
}

#[test]
fn accepts_that_fail_are_counted_and_reported_once_in_ten_seconds() {
    let notes = Arc::new(Notes::default());
    block_on(async {
        let (server, lines) = reporting(&notes, Router::new());
        let (stopper, stop) = stopper();
        serve(Poor { left: 5.into(), stopper }, &server, stop).await;
        assert_eq!(server.stats().accepts_failed, 4);
        let lines = lines.take();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("Too many open files") && line.contains("10ms"), "{line}");
    })
    .expect("a runtime");
    assert_eq!(
        notes.take(),
        ["Some(24), 10ms", "Some(24), 20ms", "Some(24), 40ms", "Some(24), 80ms"]
    );
}
