//! The monoio adapter over real sockets: several threads, a Unix socket, and going away.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs all of it on epoll.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_arena::Arena;
use grpc_monoio::{
    MonoioHost, TcpConnector, WorkerOptions, Workers, block_on, listen_unix, serve, stopper,
};
use grpc_proto::{Code, Status};
use grpc_service::CallError;
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Backoff, Channel, ChannelOptions, Cx, Router, Server, ServerOptions, Sink};
use tests::bytes::{Blob, Bytes, BytesClient, register_bytes};
use tests::echo::Echoing;

/// Takes as many milliseconds for an answer as its request says.
struct Patient;

impl Bytes for Patient {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Blob<'a>) -> Result<Blob<'a>, Status> {
        cx.sleep(Duration::from_millis(request.count)).await;
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

    type Sum<'s> = Nothing;

    async fn sum(&self, _: &Cx<'_>) -> Result<Nothing, Status> {
        Ok(Nothing)
    }

    type Chat<'s> = Nothing;

    async fn chat(&self, _: &Cx<'_>) -> Result<Nothing, Status> {
        Ok(Nothing)
    }
}

struct Nothing;

impl ClientStreamingCall<Blob<'static>, Blob<'static>> for Nothing {
    async fn on_message<'a>(&mut self, _: &Cx<'a>, _: Blob<'a>) -> Result<(), Status> {
        Ok(())
    }

    async fn finish<'a>(self, _: &Cx<'a>) -> Result<Blob<'a>, Status> {
        Ok(Blob::default())
    }
}

impl BidiCall<Blob<'static>, Blob<'static>> for Nothing {
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        _: Blob<'a>,
        _: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        Ok(())
    }
}

fn start(threads: usize) -> Workers {
    let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let options = WorkerOptions::default().threads(threads);
    Workers::start(loopback, options, |router| register_bytes(router, Rc::new(Patient)))
        .expect("loopback can be served")
}

async fn connect(address: &str) -> BytesClient {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let options = ChannelOptions::default();
    let channel = Channel::connect(address, &options, host, &connector).await;
    BytesClient::new(channel.expect("the server listens"))
}

/// One call of `count` milliseconds over a connection of its own.
async fn call(address: &str, count: u64) -> Result<u64, CallError> {
    let stub = connect(address).await;
    let (blob, arena) = (Blob { count, ..Blob::default() }, Arena::new());
    stub.echo(&blob, &arena).await.map(|blob| blob.count)
}

#[test]
fn several_threads_serve_one_address() {
    let workers = start(3);
    let address = workers.address().to_string();
    block_on(async {
        for count in 0..20 {
            assert_eq!(call(&address, count % 2).await, Ok(count % 2));
        }
    })
    .expect("a runtime");
    workers.stop(Duration::from_secs(5));
    assert!(std::net::TcpStream::connect(&address).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let workers = start(1);
    let (address, stopper) = (workers.address().to_string(), workers.stopper());
    block_on(async {
        let stub = connect(&address).await;
        // Connected for sure before the stop.
        stub.echo(&Blob::default(), &Arena::new()).await.expect("served");
        let slow = spawn_call(stub.clone(), 1000);
        pause(100).await;
        stopper.stop(Duration::from_secs(10));
        // Calls are served until the worker has begun to stop.
        let begun = Instant::now();
        let late = loop {
            match stub.echo(&Blob::default(), &Arena::new()).await {
                Err(status) => break status,
                Ok(_) => assert!(begun.elapsed() < Duration::from_secs(5), "calls are served"),
            }
            pause(20).await;
        };
        assert_eq!(late.code(), Code::Unavailable);
        assert_eq!(slow.await, Ok(1000));
    })
    .expect("a runtime");
    workers.wait();
}

#[test]
fn a_call_that_outlives_the_grace_period_is_cut_off() {
    let workers = start(1);
    let (address, stopper) = (workers.address().to_string(), workers.stopper());
    let begun = Instant::now();
    block_on(async {
        let slow = spawn_call(connect(&address).await, 60_000);
        pause(100).await;
        stopper.stop(Duration::from_millis(200));
        assert_eq!(slow.await.expect_err("cut off").code(), Code::Unavailable);
    })
    .expect("a runtime");
    workers.wait();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// It holds the stop for the second that its GOAWAY may take, and not for `preface_timeout` (10 s).
#[test]
fn a_stop_does_not_wait_for_a_socket_that_has_sent_nothing() {
    let workers = start(1);
    let silent = std::net::TcpStream::connect(workers.address()).expect("it listens");
    // It has been accepted for sure when another one has been served.
    assert_eq!(block_on(call(&workers.address().to_string(), 1)).expect("a runtime"), Ok(1));
    let begun = Instant::now();
    workers.stop(Duration::from_secs(60));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(silent);
}

/// A client of HTTP/1.1 can read its answer: no SETTINGS stand before it, however late the rest of its request comes.
#[test]
fn a_client_of_http1_gets_an_answer_and_a_silent_one_settings() {
    let workers = start(1);
    for pieces in
        [&[&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..]][..], &[b"GE", b"T / HTTP/1.1\r\n\r\n"]]
    {
        let mut socket = std::net::TcpStream::connect(workers.address()).expect("it listens");
        for piece in pieces {
            socket.write_all(piece).expect("it reads");
            std::thread::sleep(Duration::from_millis(120));
        }
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("it ends");
        let answer = String::from_utf8(answer).expect("text alone");
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        assert!(answer.ends_with("speak HTTP/2 with prior knowledge.\r\n"), "{answer}");
    }
    // One that is silent gets SETTINGS, though only after a while.
    let mut socket = std::net::TcpStream::connect(workers.address()).expect("it listens");
    let begun = Instant::now();
    let mut header = [0; 9];
    socket.read_exact(&mut header).expect("SETTINGS");
    let took = begun.elapsed();
    assert_eq!(header[3], 4, "{header:?}");
    assert!(took > Duration::from_millis(45) && took < Duration::from_secs(5), "{took:?}");
    drop(socket);
    workers.stop(Duration::ZERO);
}

/// Each connection that is over is counted with what ended it.
#[test]
fn workers_count_connections_with_what_ended_them() {
    let workers = start(2);
    let ends: [(&str, &[u8], u64); 3] = [
        ("Http1Request", b"GET / HTTP/1.1\r\n\r\n", 3),
        ("NotHttp2Tls", &[22, 3, 1, 2, 0, 1, 0, 1], 2),
        ("BadPreface", b"nonsense", 4),
    ];
    for (_, bytes, times) in ends {
        for _ in 0..times {
            let mut socket = std::net::TcpStream::connect(workers.address()).expect("it listens");
            socket.write_all(bytes).expect("it reads");
            // All that it says before it closes.
            let mut heard = Vec::new();
            socket.read_to_end(&mut heard).expect("it closes in order");
            if bytes == b"nonsense" {
                // SETTINGS, WINDOW_UPDATE, and the GOAWAY that says why.
                assert_eq!(tests::raw::kinds(&heard), [4, 8, 7]);
                assert!(heard.ends_with(b"(RFC 9113 3.4)"), "{}", heard.escape_ascii());
            }
        }
    }
    // One that leaves without a word.
    drop(std::net::TcpStream::connect(workers.address()).expect("it listens"));
    let begun = Instant::now();
    let total = loop {
        let total = workers.stats().total;
        if total.connections_closed.total() == 10 {
            break total;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{total:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let count = |name: &str| {
        let mut counts = total.connections_closed.iter();
        counts.find(|(reason, _)| reason.name() == name).map(|(_, count)| count)
    };
    for (name, _, times) in ends {
        assert_eq!(count(name), Some(times), "{name}: {total:?}");
    }
    assert_eq!(count("Closed"), Some(1), "{total:?}");
    assert_eq!((total.connections_accepted, total.connections_open), (10, 0));
    workers.stop(Duration::ZERO);
}

#[test]
fn a_channel_finds_its_server_again_when_that_has_been_restarted() {
    let workers = start(1);
    let bound = workers.address();
    let address = bound.to_string();
    block_on(async {
        let host = MonoioHost::new();
        let connector = Rc::new(TcpConnector::new(Rc::clone(&host)));
        let mut backoff = Backoff::default();
        backoff.initial = Duration::from_millis(50);
        let options = ChannelOptions::default().backoff(backoff);
        let stub = BytesClient::new(Channel::to(&address, &options, host, connector));
        let (arena, blob) = (Arena::new(), Blob { count: 1, ..Blob::default() });
        stub.echo(&blob, &arena).await.expect("served");
        workers.stop(Duration::ZERO);
        let failed = stub.echo(&blob, &arena).await.expect_err("nobody listens");
        assert_eq!(failed.code(), Code::Unavailable);
        let waiting = spawn_waiting(stub.clone());
        pause(200).await;
        let options = WorkerOptions::default();
        let routes = |router: &mut Router| register_bytes(router, Rc::new(Patient));
        let workers = Workers::start(bound, options, routes).expect("the port is free again");
        assert_eq!(waiting.await, Ok(1));
        stub.echo(&blob, &arena).await.expect("served again");
        drop(stub);
        workers.stop(Duration::from_secs(1));
    })
    .expect("a runtime");
}

#[test]
fn a_unix_socket_is_served_too() {
    let path = std::env::temp_dir().join(format!("grpc-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    block_on(async {
        let listener = listen_unix(&path).expect("binds");
        let mut router = Router::new();
        register_bytes(&mut router, Rc::new(Echoing));
        let server = Server::new(router, ServerOptions::default(), MonoioHost::new());
        let (stopper, stop) = stopper();
        let serving = monoio::spawn(async move { serve(listener, &server, stop).await });
        assert_eq!(call(&address, 5).await, Ok(5));
        stopper.stop(Duration::from_secs(1));
        serving.await;
    })
    .expect("a runtime");
    std::fs::remove_file(&path).expect("the socket's file is still there");
}

/// Answers with the process and the user that call.
struct Naming;

impl Greeter for Naming {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        _: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let seen = cx.peer().credentials().map(|of| (of.pid, of.uid, of.gid));
        let message = cx.arena().alloc_str(&format!("{seen:?}"));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

#[test]
fn a_handler_sees_the_process_behind_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("grpc-credentials-{}", std::process::id()));
    let target = format!("unix:{}", path.display());
    block_on(async {
        let listener = listen_unix(&path).expect("binds");
        let mut router = Router::new();
        register_greeter(&mut router, Rc::new(Naming));
        let server = Server::new(router, ServerOptions::default(), MonoioHost::new());
        let (stopper, stop) = stopper();
        let serving = monoio::spawn(async move { serve(listener, &server, stop).await });
        let channel = grpc_monoio::connect(target).await.expect("it listens");
        let (request, arena) = (HelloRequest::default(), Arena::new());
        let reply = GreeterClient::new(channel).say_hello(&request, &arena).await;
        // SAFETY: neither call takes an argument or can fail.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        let expected = format!("{:?}", Some((Some(std::process::id()), uid, gid)));
        assert_eq!(reply.map(|reply| reply.message), Ok(&expected[..]));
        stopper.stop(Duration::from_secs(1));
        serving.await;
    })
    .expect("a runtime");
    std::fs::remove_file(&path).expect("the socket's file is still there");
}

#[test]
fn the_authority_of_any_address_is_one_for_other_libraries_too() {
    let (host, options) = (MonoioHost::new(), ChannelOptions::default());
    let connector = Rc::new(TcpConnector::new(Rc::clone(&host)));
    for (address, authority) in [
        ("10.0.0.1:50051", "10.0.0.1:50051"),
        ("[::1]:50051", "[::1]:50051"),
        ("a_b.example", "a_b.example"),
        ("!$&'()*+,;=~", "!$&'()*+,;=~"),
        ("unix:/run/a socket", "localhost"),
        ("unix:a", "localhost"),
        ("fe80::1", "localhost"),
        ("[fe80::1%eth0]:1", "localhost"),
        ("user@host", "localhost"),
        ("http://a/b", "localhost"),
        ("a%41", "localhost"),
        ("", "localhost"),
    ] {
        let channel = Channel::to(address, &options, Rc::clone(&host), Rc::clone(&connector) as _);
        assert_eq!(channel.authority(), authority);
        let parsed: http::uri::Authority = authority.parse().expect("others take it");
        assert_eq!(parsed.as_str(), authority);
    }
}

#[test]
fn garbage_and_sudden_ends_leave_other_connections_alone() {
    use std::io::Write;
    let workers = start(1);
    let address = workers.address().to_string();
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxx"]
    {
        let mut stream = std::net::TcpStream::connect(&address).expect("listens");
        stream.write_all(bytes).expect("accepted");
        drop(stream);
        assert_eq!(block_on(call(&address, 1)).expect("a runtime"), Ok(1));
    }
    workers.stop(Duration::from_secs(5));
}

async fn pause(millis: u64) {
    monoio::time::sleep(Duration::from_millis(millis)).await;
}

/// A call that waits for a server.
fn spawn_waiting(stub: BytesClient) -> monoio::task::JoinHandle<Result<u64, CallError>> {
    monoio::spawn(async move {
        let (blob, arena) = (Blob { count: 1, ..Blob::default() }, Arena::new());
        let call = stub.echo(&blob, &arena).wait_for_ready().timeout(Duration::from_secs(20));
        call.await.map(|blob| blob.count)
    })
}

/// A call that goes on by itself.
fn spawn_call(stub: BytesClient, count: u64) -> monoio::task::JoinHandle<Result<u64, CallError>> {
    monoio::spawn(async move {
        let (blob, arena) = (Blob { count, ..Blob::default() }, Arena::new());
        stub.echo(&blob, &arena).await.map(|blob| blob.count)
    })
}
