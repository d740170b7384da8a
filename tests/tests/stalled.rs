//! A peer over a real socket that asks for much, opens every window of HTTP/2, and reads nothing (CVE-2019-9517).
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs it on epoll.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use grpc_arena::Arena;
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_proto::{CallHead, Client, Config, Connection, Limits, Transmit};
use grpc_service::{Channel, ChannelOptions, ServerOptions};
use tests::bytes::{Blob, BytesClient, register_bytes};
use tests::echo::Echoing;

/// A `Blob` of 500 bytes that comes back a million times.
fn request() -> Vec<u8> {
    let mut blob = vec![0x0a, 0xf4, 0x03];
    blob.extend([7; 500]);
    blob.extend([0x10, 0xc0, 0x84, 0x3d]);
    blob
}

#[test]
fn a_peer_that_opens_its_windows_and_does_not_read_its_socket_is_hung_up_on() {
    let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let mut limits = Limits::default();
    limits.send_stall_timeout = Duration::from_millis(300);
    let server = ServerOptions::new(limits).expect("limits");
    let options = WorkerOptions::default().threads(1).server(server);
    let workers =
        Workers::start(loopback, options, |router| register_bytes(router, Rc::new(Echoing)))
            .expect("loopback can be served");
    let address = workers.address().to_string();

    let mut limits = Limits::default();
    (limits.stream_window, limits.connection_window) = (0x7fff_ffff, 0x7fff_ffff);
    let config = Config::new(limits).expect("limits");
    let now = grpc_proto::Instant::ZERO;
    let mut peer = Connection::<Client>::new(&config, 0, now);
    let mut socket = TcpStream::connect(&address).expect("the server listens");
    for _ in 0..100 {
        let call = peer.call(&CallHead::new("/bytes.Bytes/Repeat", "localhost"), None, now);
        let call = call.expect("room for a call");
        peer.send_encoded(call, request().into(), false).expect("room for a message");
        peer.end(call).expect("the end");
    }
    while peer.has_output() {
        let mut out = Transmit::new();
        peer.poll_transmit(&mut out, now);
        for chunk in out.chunks() {
            socket.write_all(chunk).expect("the server reads");
        }
    }
    // PRIORITY is a sign of life, and asks for no answer.
    let begun = Instant::now();
    while socket.write_all(&[0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the server still holds the connection");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Another client is served meanwhile and afterwards.
    block_on(async {
        let host = MonoioHost::new();
        let connector = TcpConnector::new(Rc::clone(&host));
        let options = ChannelOptions::default();
        let channel = Channel::connect(&address, &options, host, &connector);
        let stub = BytesClient::new(channel.await.expect("the server listens"));
        let (blob, arena) = (Blob { count: 3, ..Blob::default() }, Arena::new());
        assert_eq!(stub.echo(&blob, &arena).await.map(|blob| blob.count), Ok(3));
    })
    .expect("a runtime");
    workers.stop(Duration::from_secs(5));
}
