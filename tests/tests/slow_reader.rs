//! Peers over real sockets that read steadily but slowly, whose windows are as large as they can be.
//!
//! A full socket buffer reports room late, so a write to such a peer may take longer than `send_stall_timeout`; what the
//! peer's system acknowledges tells that it reads (docs/limits.md). Timers run 100 times as fast as by default, and so do
//! the peers; `SLOW_READER_SCALE=1` in the environment runs them for half an hour at their real speed.
//! `MONOIO_FORCE_LEGACY_DRIVER=1` runs monoio on epoll.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use grpc_proto::Limits;
use grpc_service::ServerOptions;
use tests::raw::{HEADERS, PRIORITY, SETTINGS_ACK, ask, kinds, open_wide, say};
use tests::served::Served;

/// `send_stall_timeout` of the defaults.
const STALL: Duration = Duration::from_secs(60);
/// Time between two reads.
const PAUSE: Duration = Duration::from_millis(10);
/// Stall timeouts that a peer reads slowly for, before it takes the rest at once; and those at full length.
const SLOW_FOR: u32 = 8;
const WHOLE: u32 = 30;

fn scale() -> u32 {
    let scale = std::env::var("SLOW_READER_SCALE").ok().and_then(|scale| scale.parse().ok());
    scale.unwrap_or(100)
}

fn options() -> ServerOptions {
    let mut limits = Limits::default();
    limits.send_stall_timeout = STALL / scale();
    ServerOptions::new(limits).expect("limits")
}

/// A connection with a receive buffer of this size; the system's own if there is none.
fn connect(address: &str, receive_buffer: Option<u32>) -> TcpStream {
    let Some(bytes) = receive_buffer else {
        return TcpStream::connect(address).expect("the server listens");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a size");
        let stream = socket.connect(address.parse().expect("an address")).await;
        let stream = stream.expect("the server listens").into_std().expect("a socket");
        stream.set_nonblocking(false).expect("a mode");
        stream
    })
}

/// Asks for `messages` of 500 bytes and reads so many bytes a second, before they are scaled; returns all that came.
fn read_slowly(address: &str, rate: u32, receive_buffer: Option<u32>, messages: u32) -> Vec<u8> {
    let mut socket = connect(address, receive_buffer);
    let mut peer = open_wide();
    ask(&mut peer, messages);
    say(&mut peer, &mut socket);
    // The server waits ten seconds for it, and its SETTINGS have left by now.
    thread::sleep(PAUSE * 5);
    socket.write_all(&SETTINGS_ACK).expect("the server reads");
    let begun = Instant::now();
    let slow_for = STALL / scale() * if scale() == 1 { WHOLE } else { SLOW_FOR };
    let (mut heard, mut part, total) = (Vec::new(), vec![0; 64 << 10], messages as usize * 507);
    while begun.elapsed() < slow_for && heard.len() < total {
        thread::sleep(PAUSE);
        // As much as is due by now, so that a late wake-up makes the peer no slower.
        let due = begun.elapsed().as_secs_f64() * f64::from(rate * scale());
        let wanted = (due as usize).min(total).saturating_sub(heard.len()).min(part.len());
        if wanted > 0 {
            let read = socket.read(&mut part[..wanted]).expect("no reset");
            assert!(read > 0, "closed after {} bytes, {:?}", heard.len(), begun.elapsed());
            heard.extend_from_slice(&part[..read]);
        }
    }
    // The server need not wait for the timer of an idle connection.
    peer.shutdown(grpc_proto::Instant::ZERO);
    say(&mut peer, &mut socket);
    socket.read_to_end(&mut heard).expect("an end and no reset");
    heard
}

fn serves_to_the_end(served: Served) {
    let address = served.address();
    thread::scope(|scope| {
        // 15 MB are more than the socket buffers of both ends hold.
        for (rate, receive_buffer, messages) in
            [(10_000, None, 30_000), (40_000, None, 30_000), (1_000, Some(16 << 10), 8_000)]
        {
            let address = &address;
            scope.spawn(move || {
                let heard = read_slowly(address, rate, receive_buffer, messages);
                let kinds = kinds(&heard);
                let heads = kinds.iter().filter(|&&kind| kind == HEADERS).count();
                assert_eq!(heads, 2, "a head and trailers at {rate} bytes a second");
                assert!(heard.len() >= messages as usize * 507, "{} bytes", heard.len());
            });
        }
    });
    served.stop();
}

#[test]
fn monoio_serves_peers_that_read_slowly_to_the_end() {
    serves_to_the_end(Served::on_monoio(options()));
}

#[test]
fn tokio_serves_peers_that_read_slowly_to_the_end() {
    serves_to_the_end(Served::on_tokio(options()));
}

/// A peer that reads nothing has one stall timeout from the moment that its system takes nothing more.
fn ends_a_peer_that_reads_nothing(served: Served) {
    let mut socket = connect(&served.address(), None);
    let mut peer = open_wide();
    ask(&mut peer, 1_000_000);
    say(&mut peer, &mut socket);
    thread::sleep(PAUSE * 5);
    socket.write_all(&SETTINGS_ACK).expect("the server reads");
    let begun = Instant::now();
    // The connection ends with a reset, since what it has sent is not read.
    while socket.write_all(&PRIORITY).is_ok() {
        thread::sleep(PAUSE);
        assert!(begun.elapsed() < STALL / scale() * 20, "the server still holds the connection");
    }
    let took = begun.elapsed();
    // The peer's system takes the first megabytes; then come the timeout and a second of lingering.
    let least = STALL / scale();
    assert!(took >= least, "{took:?}");
    assert!(took < least * 2 + Duration::from_secs(2), "{took:?}");
    served.stop();
}

#[test]
fn monoio_ends_a_peer_that_reads_nothing_after_one_stall_timeout() {
    ends_a_peer_that_reads_nothing(Served::on_monoio(options()));
}

#[test]
fn tokio_ends_a_peer_that_reads_nothing_after_one_stall_timeout() {
    ends_a_peer_that_reads_nothing(Served::on_tokio(options()));
}
