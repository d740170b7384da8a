//! The tokio adapter over real sockets: several threads, a Unix socket, and stops.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_arena::Arena;
use grpc_proto::{Code, Status};
use grpc_service::CallError;
use grpc_service::{Connectivity, Cx, Router, Server, ServerOptions};
use grpc_tokio::{TokioHost, WorkerOptions, Workers, block_on, connect, serve, stopper};

/// Answers with who calls and on which thread, after as many milliseconds as the name says, waiting on tokio's own timer.
struct Naming;

impl Greeter for Naming {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        if let Ok(millis) = request.name.parse() {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        let thread = std::thread::current();
        let seen = cx.peer().credentials().map(|of| (of.pid, of.uid, of.gid));
        let message = format!("{seen:?} on {}", thread.name().unwrap_or("a thread"));
        Ok(HelloReply { message: cx.arena().alloc_str(&message), ..HelloReply::default() })
    }
}

fn start(threads: usize) -> Workers {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = WorkerOptions::default().threads(threads);
    Workers::start(loopback, options, |router| register_greeter(router, Rc::new(Naming)))
        .expect("loopback can be served")
}

async fn hello(greeter: &GreeterClient, name: &str) -> Result<String, CallError> {
    let arena = Arena::new();
    let request = HelloRequest { name, ..HelloRequest::default() };
    greeter.say_hello(&request, &arena).await.map(|reply| reply.message.to_owned())
}

async fn call(target: &str, name: &str) -> Result<String, CallError> {
    hello(&GreeterClient::new(connect(target).await?), name).await
}

fn run<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("a runtime")
}

#[test]
fn several_threads_of_tokio_serve_one_address() {
    let workers = start(3);
    let target = format!("http://{}", workers.address());
    let threads: std::collections::BTreeSet<String> = run(async {
        let mut threads = std::collections::BTreeSet::new();
        for _ in 0..60 {
            threads.insert(call(&target, "").await.expect("served"));
        }
        threads
    });
    // The kernel chooses by a hash of the ports: that all sixty fall on one thread is a matter of 3^-59.
    assert!(threads.len() > 1, "{threads:?}");
    assert_eq!(workers.stats().total.connections_accepted, 60);
    let taken = Workers::start(workers.address(), WorkerOptions::default(), |_| {});
    let error = taken.expect_err("the port is taken").to_string();
    assert!(error.contains(&workers.address().to_string()), "{error}");
    assert!(error.contains("share_port"), "{error}");
    let address = workers.address();
    workers.stop(Duration::from_secs(5));
    assert!(std::net::TcpStream::connect(address).is_err(), "nothing listens any more");
}

#[test]
fn a_stop_of_tokio_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let workers = start(1);
    let (target, stopper) = (format!("http://{}", workers.address()), workers.stopper());
    run(async {
        let greeter = GreeterClient::new(connect(target.as_str()).await.expect("it listens"));
        let slow = greeter.clone();
        let slow = tokio::task::spawn_local(async move { hello(&slow, "800").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        stopper.stop(Duration::from_secs(10));
        slow.await.expect("no panic").expect("it was in flight");
        let error = call(&target, "").await.expect_err("the server has stopped");
        assert_eq!(error.code(), Code::Unavailable);
    });
    workers.wait();
}

#[test]
fn a_call_on_tokio_that_outlives_the_grace_is_cut_off() {
    let workers = start(1);
    let (target, stopper) = (format!("http://{}", workers.address()), workers.stopper());
    let begun = Instant::now();
    run(async {
        let greeter = GreeterClient::new(connect(target.as_str()).await.expect("it listens"));
        let slow = tokio::task::spawn_local(async move { hello(&greeter, "60000").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        stopper.stop(Duration::from_millis(200));
        let error = slow.await.expect("no panic").expect_err("cut off");
        assert_eq!(error.code(), Code::Unavailable);
    });
    workers.wait();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// A client of HTTP/1.1 can read its answer: no SETTINGS stand before it, however late the rest of its request comes.
#[test]
fn a_client_of_http1_gets_an_answer_of_tokio_and_a_silent_one_settings() {
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
fn workers_of_tokio_count_connections_with_what_ended_them() {
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
fn a_handler_on_tokio_sees_the_process_behind_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("grpc-tokio-{}", std::process::id()));
    run(async {
        let listener = tokio::net::UnixListener::bind(&path).expect("binds");
        let mut router = Router::new();
        register_greeter(&mut router, Rc::new(Naming));
        let server = Server::new(router, ServerOptions::default(), TokioHost::new());
        let (stopper, stop) = stopper();
        let serving = tokio::task::spawn_local(async move { serve(listener, &server, stop).await });
        let seen = call(&format!("unix:{}", path.display()), "").await.expect("served");
        // SAFETY: neither call takes an argument or can fail.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        let expected = format!("{:?} on", Some((Some(std::process::id()), uid, gid)));
        assert!(seen.starts_with(&expected), "{seen} {expected}");
        stopper.stop(Duration::from_secs(1));
        serving.await.expect("no panic");
    });
    std::fs::remove_file(&path).expect("the socket's file is still there");
}

#[test]
fn large_messages_pass_and_idle_connections_serve_on_tokio() {
    let workers = start(1);
    run(async {
        let target = format!("http://{}", workers.address());
        let greeter = GreeterClient::new(connect(target).await.expect("it listens"));
        // Reads grow their buffer, and an idle connection's read is interrupted for a small one.
        for length in [3_000_000, 0, 500_000] {
            hello(&greeter, &"x".repeat(length)).await.expect("served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    workers.stop(Duration::from_secs(5));
}

#[test]
fn connections_end_with_the_runtime_of_tokio_that_opened_them() {
    let workers = start(1);
    let target = format!("http://{}", workers.address());
    let held = run(connect(target).into_future()).expect("it listens");
    assert_ne!(held.state(), Connectivity::Ready);
    let begun = Instant::now();
    while workers.stats().total.connections_open > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the server sees the end");
        std::thread::sleep(Duration::from_millis(10));
    }
    workers.stop(Duration::from_secs(5));
}
