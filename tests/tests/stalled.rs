//! Peers over real sockets that take what we say late or never (CVE-2019-9517), and what each adapter owes them.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs monoio on epoll.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grpc_arena::Arena;
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_proto::{CallHead, Client, Config, Connection, Limits, Transmit};
use grpc_service::{Channel, ChannelOptions, Router, Server, ServerOptions};
use tests::bytes::{Blob, BytesClient, register_bytes};
use tests::echo::Echoing;
use tests::tokio_adapter::{TokioHost, serve};

/// PRIORITY is a sign of life, and asks for no answer.
const PRIORITY: [u8; 14] = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
/// One that a connection ends for: a PING that belongs to a stream.
const WRONG: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// A server on a thread of its own.
enum Served {
    Monoio(Workers),
    Tokio(SocketAddr, Sender<()>, JoinHandle<()>),
}

fn routes(router: &mut Router) {
    register_bytes(router, Rc::new(Echoing));
}

fn options() -> ServerOptions {
    let mut limits = Limits::default();
    limits.send_stall_timeout = Duration::from_millis(300);
    ServerOptions::new(limits).expect("limits")
}

impl Served {
    fn on_monoio() -> Self {
        let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let workers = WorkerOptions::default().threads(1).server(options());
        Served::Monoio(Workers::start(loopback, workers, routes).expect("loopback can be served"))
    }

    fn on_tokio() -> Self {
        let (stop, stopped) = channel();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("loopback can be served");
                tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                let mut router = Router::new();
                routes(&mut router);
                let server = Server::new(router, options(), TokioHost::shared());
                tokio::task::spawn_local(serve(listener, server));
                // A test that failed says no word.
                let stopped = tokio::task::spawn_blocking(move || stopped.recv());
                let _ = stopped.await.expect("no panic");
            });
        });
        Served::Tokio(told.recv().expect("it listens"), stop, thread)
    }

    fn address(&self) -> String {
        match self {
            Served::Monoio(workers) => workers.address().to_string(),
            Served::Tokio(address, ..) => address.to_string(),
        }
    }

    fn stop(self) {
        match self {
            Served::Monoio(workers) => workers.stop(Duration::from_secs(5)),
            Served::Tokio(_, stop, thread) => {
                stop.send(()).expect("it runs");
                thread.join().expect("no panic");
            }
        }
    }
}

/// A client of the core that opens its windows as far as they go.
fn open_wide() -> Connection<Client> {
    let mut limits = Limits::default();
    (limits.stream_window, limits.connection_window) = (0x7fff_ffff, 0x7fff_ffff);
    let config = Config::new(limits).expect("limits");
    Connection::new(&config, 0, grpc_proto::Instant::ZERO)
}

/// Writes what a client has to say.
fn say(peer: &mut Connection<Client>, socket: &mut TcpStream) {
    while peer.has_output() {
        let mut out = Transmit::new();
        peer.poll_transmit(&mut out, grpc_proto::Instant::ZERO);
        for chunk in out.chunks() {
            socket.write_all(chunk).expect("the server reads");
        }
    }
}

/// Has a client ask for its 500 bytes so many times.
fn ask(peer: &mut Connection<Client>, count: [u8; 3]) {
    let now = grpc_proto::Instant::ZERO;
    let mut blob = vec![0x0a, 0xf4, 0x03];
    blob.extend([7; 500]);
    blob.push(0x10);
    blob.extend(count);
    let call = peer.call(&CallHead::new("/bytes.Bytes/Repeat", "localhost"), None, now);
    let call = call.expect("room for a call");
    peer.send_encoded(call, blob.into(), false).expect("room for a message");
    peer.end(call).expect("the end");
}

/// The kinds of the frames that were heard, none of which is cut.
fn kinds(heard: &[u8]) -> Vec<u8> {
    let (mut rest, mut kinds) = (heard, Vec::new());
    while let [a, b, c, kind, ..] = *rest {
        rest = &rest[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
        kinds.push(kind);
    }
    assert!(rest.is_empty(), "{rest:?}");
    kinds
}

/// Another client is served.
fn serves(address: &str) {
    block_on(async {
        let host = MonoioHost::new();
        let connector = TcpConnector::new(Rc::clone(&host));
        let options = ChannelOptions::default();
        let channel = Channel::connect(address, &options, host, &connector);
        let stub = BytesClient::new(channel.await.expect("the server listens"));
        let (blob, arena) = (Blob { count: 3, ..Blob::default() }, Arena::new());
        assert_eq!(stub.echo(&blob, &arena).await.map(|blob| blob.count), Ok(3));
    })
    .expect("a runtime");
}

fn hangs_up_on_a_peer_that_opens_its_windows_and_does_not_read_its_socket(served: Served) {
    let address = served.address();
    let mut socket = TcpStream::connect(&address).expect("the server listens");
    let mut peer = open_wide();
    for _ in 0..100 {
        // A million times.
        ask(&mut peer, [0xc0, 0x84, 0x3d]);
    }
    say(&mut peer, &mut socket);
    let begun = Instant::now();
    while socket.write_all(&PRIORITY).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the server still holds the connection");
        std::thread::sleep(Duration::from_millis(50));
    }
    serves(&address);
    served.stop();
}

#[test]
fn monoio_hangs_up_on_a_peer_that_opens_its_windows_and_does_not_read_its_socket() {
    hangs_up_on_a_peer_that_opens_its_windows_and_does_not_read_its_socket(Served::on_monoio());
}

#[test]
fn tokio_hangs_up_on_a_peer_that_opens_its_windows_and_does_not_read_its_socket() {
    hangs_up_on_a_peer_that_opens_its_windows_and_does_not_read_its_socket(Served::on_tokio());
}

/// What comes to a socket that is closed resets it, and what had not left it yet is lost.
fn gives_its_last_words_to_a_peer_that_has_not_read_them_yet(served: Served) {
    let mut socket = TcpStream::connect(served.address()).expect("the server listens");
    let mut peer = open_wide();
    // 600 times: less than both sockets hold, and more than that of the peer does.
    ask(&mut peer, [0xd8, 0x84, 0x00]);
    say(&mut peer, &mut socket);
    std::thread::sleep(Duration::from_millis(100));
    socket.write_all(&WRONG).expect("the server reads");
    std::thread::sleep(Duration::from_millis(100));
    socket.write_all(&PRIORITY).expect("the server still reads");
    std::thread::sleep(Duration::from_millis(100));
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).expect("an end and no reset");
    let kinds = kinds(&heard);
    assert_eq!(kinds.last(), Some(&GOAWAY), "{} frames", kinds.len());
    assert!(heard.len() > 300_000, "{} bytes", heard.len());
    served.stop();
}

#[test]
fn monoio_gives_its_last_words_to_a_peer_that_has_not_read_them_yet() {
    gives_its_last_words_to_a_peer_that_has_not_read_them_yet(Served::on_monoio());
}

#[test]
fn tokio_gives_its_last_words_to_a_peer_that_has_not_read_them_yet() {
    gives_its_last_words_to_a_peer_that_has_not_read_them_yet(Served::on_tokio());
}

/// Its flow control goes on when all has been said, and the answer to a byte that nobody reads would be a reset.
fn gives_its_last_response_to_a_peer_that_reads_slowly_and_goes_on_to_talk(served: Served) {
    let mut socket = TcpStream::connect(served.address()).expect("the server listens");
    let mut peer = open_wide();
    ask(&mut peer, [0xd8, 0x84, 0x00]);
    say(&mut peer, &mut socket);
    // The server is done with the connection when it is done with the call.
    peer.shutdown(grpc_proto::Instant::ZERO);
    say(&mut peer, &mut socket);
    let mut heard = vec![0; 12 << 10];
    for part in heard.chunks_mut(1 << 10) {
        std::thread::sleep(Duration::from_millis(250));
        socket.read_exact(part).expect("more to read");
        socket.write_all(&PRIORITY).expect("the server still reads");
    }
    socket.read_to_end(&mut heard).expect("an end and no reset");
    let kinds = kinds(&heard);
    assert_eq!(kinds.iter().filter(|&&kind| kind == HEADERS).count(), 2, "a head and trailers");
    assert!(heard.len() > 300_000, "{} bytes", heard.len());
    served.stop();
}

#[test]
fn monoio_gives_its_last_response_to_a_peer_that_reads_slowly_and_goes_on_to_talk() {
    gives_its_last_response_to_a_peer_that_reads_slowly_and_goes_on_to_talk(Served::on_monoio());
}

#[test]
fn tokio_gives_its_last_response_to_a_peer_that_reads_slowly_and_goes_on_to_talk() {
    gives_its_last_response_to_a_peer_that_reads_slowly_and_goes_on_to_talk(Served::on_tokio());
}
