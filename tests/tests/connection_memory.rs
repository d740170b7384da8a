//! The heap that a connection takes on the thread of its server, over real sockets: with the adapter and its buffers.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs it on epoll.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use grpc_monoio::{MonoioHost, block_on, serve, stopper};
use grpc_proto::{CallHead, Client, Config, Connection, Instant, Limits};
use grpc_service::{Router, Server, ServerOptions};
use tests::bytes::register_bytes;
use tests::counting::{Counting, live};
use tests::echo::Echoing;
use tests::raw::{SETTINGS_ACK, say};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 1_000;
/// The most that one may take, in bytes.
const MOST: isize = 12 << 10;

/// What the clients have done, and may do next.
#[derive(Debug, PartialEq)]
enum Step {
    Connected,
    Called,
}

/// Both ends of the connections live in this process.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write the struct that they are given, which outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// Connects, waits, calls once on each connection, waits, and leaves.
fn clients(address: SocketAddr, done: &Sender<Step>, next: &Receiver<()>) {
    let config = Config::new(Limits::default()).expect("limits");
    let mut clients: Vec<(Connection<Client>, TcpStream)> = (0..CONNECTIONS)
        .map(|_| {
            let mut socket = TcpStream::connect(address).expect("the server listens");
            let mut peer = Connection::new(&config, 0, Instant::ZERO);
            say(&mut peer, &mut socket);
            (peer, socket)
        })
        .collect();
    for (_, socket) in &mut clients {
        // The server's SETTINGS and its acknowledgement.
        let mut head = [0; 9];
        socket.read_exact(&mut head).expect("SETTINGS");
        socket.write_all(&SETTINGS_ACK).expect("the server reads");
    }
    done.send(Step::Connected).expect("the server waits");
    next.recv().expect("the server goes on");
    // The second calls follow the rest, in which large reads were interrupted.
    for len in [100, 30_000, 30_000] {
        for (peer, socket) in &mut clients {
            call(peer, socket, len);
        }
        for (_, socket) in &mut clients {
            let (mut read, mut part) = (0, [0; 4096]);
            while read < len {
                let bytes = socket.read(&mut part).expect("a response");
                assert!(bytes > 0, "the server closed the connection");
                read += bytes;
            }
        }
        done.send(Step::Called).expect("the server waits");
        next.recv().expect("the server goes on");
    }
}

/// One call that is echoed.
fn call(peer: &mut Connection<Client>, socket: &mut TcpStream, len: usize) {
    let call = peer.call(&CallHead::new("/bytes.Bytes/Echo", "localhost"), None, Instant::ZERO);
    let call = call.expect("room for a call");
    let prefix =
        [0x0a, (len & 0x7f) as u8 | 0x80, (len >> 7 & 0x7f) as u8 | 0x80, (len >> 14) as u8];
    let blob = [&prefix[..], &vec![7; len]].concat();
    peer.send_encoded(call, blob.into(), false).expect("room for a message");
    peer.end(call).expect("the end");
    say(peer, socket);
}

#[test]
fn a_connection_takes_at_most_12_kib_before_and_after_a_call() {
    raise_descriptor_limit();
    let (done, steps) = channel();
    let (go_on, next) = channel();
    block_on(async {
        let listener = monoio::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut router = Router::new();
        register_bytes(&mut router, Rc::new(Echoing));
        let server = Server::new(router, ServerOptions::default(), MonoioHost::new());
        let (stopper, stop) = stopper();
        let before = live();
        let serving = monoio::spawn(async move { serve(listener, &server, stop).await });
        let clients = thread::spawn(move || clients(address, &done, &next));
        for expected in [Step::Connected, Step::Called, Step::Called, Step::Called] {
            let step = loop {
                monoio::time::sleep(Duration::from_millis(20)).await;
                if let Ok(step) = steps.try_recv() {
                    break step;
                }
            };
            assert_eq!(step, expected);
            // Longer than `Limits::trim_after`.
            monoio::time::sleep(Duration::from_millis(1500)).await;
            let each = (live() - before) / CONNECTIONS as isize;
            eprintln!("{step:?}: {each} bytes a connection");
            assert!(each <= MOST, "{step:?}: {each} bytes a connection");
            go_on.send(()).expect("the clients go on");
        }
        clients.join().expect("no panic");
        stopper.stop(Duration::from_secs(1));
        serving.await;
    })
    .expect("a runtime");
}
