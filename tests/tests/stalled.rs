//! Peers over real sockets that read late or never (CVE-2019-9517), and what each adapter does for them.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs monoio on epoll.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use grpc_arena::Arena;
use grpc_monoio::{MonoioHost, TcpConnector, block_on};
use grpc_proto::Limits;
use grpc_service::{Channel, ChannelOptions, ServerOptions};
use tests::bytes::{Blob, BytesClient};
use tests::raw::{GOAWAY, HEADERS, PRIORITY, ask, kinds, open_wide, say};
use tests::served::Served;

/// A frame that a connection ends for: a PING on a stream.
const WRONG: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

fn options() -> ServerOptions {
    let mut limits = Limits::default();
    limits.send_stall_timeout = Duration::from_millis(300);
    ServerOptions::new(limits).expect("limits")
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

fn ends_a_peer_with_open_windows_that_does_not_read(served: Served) {
    let address = served.address();
    let mut socket = TcpStream::connect(&address).expect("the server listens");
    let mut peer = open_wide();
    for _ in 0..100 {
        ask(&mut peer, 1_000_000);
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
fn monoio_ends_a_peer_with_open_windows_that_does_not_read() {
    ends_a_peer_with_open_windows_that_does_not_read(Served::on_monoio(options()));
}

#[test]
fn tokio_ends_a_peer_with_open_windows_that_does_not_read() {
    ends_a_peer_with_open_windows_that_does_not_read(Served::on_tokio(options()));
}

/// What comes to a socket that is closed resets it, and what had not left it yet is lost.
fn delivers_its_goaway_to_a_peer_that_has_not_read_it_yet(served: Served) {
    let mut socket = TcpStream::connect(served.address()).expect("the server listens");
    let mut peer = open_wide();
    // 300 KB: less than both sockets hold, and more than that of the peer does.
    ask(&mut peer, 600);
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
fn monoio_delivers_its_goaway_to_a_peer_that_has_not_read_it_yet() {
    delivers_its_goaway_to_a_peer_that_has_not_read_it_yet(Served::on_monoio(options()));
}

#[test]
fn tokio_delivers_its_goaway_to_a_peer_that_has_not_read_it_yet() {
    delivers_its_goaway_to_a_peer_that_has_not_read_it_yet(Served::on_tokio(options()));
}

/// Its flow control goes on when all has been said, and the answer to a byte that nobody reads would be a reset.
fn delivers_its_last_response_to_a_slow_peer_that_goes_on_to_send(served: Served) {
    let mut socket = TcpStream::connect(served.address()).expect("the server listens");
    let mut peer = open_wide();
    ask(&mut peer, 600);
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
fn monoio_delivers_its_last_response_to_a_slow_peer_that_goes_on_to_send() {
    delivers_its_last_response_to_a_slow_peer_that_goes_on_to_send(Served::on_monoio(options()));
}

#[test]
fn tokio_delivers_its_last_response_to_a_slow_peer_that_goes_on_to_send() {
    delivers_its_last_response_to_a_slow_peer_that_goes_on_to_send(Served::on_tokio(options()));
}
