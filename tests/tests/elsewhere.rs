//! Work off the thread that serves: blocking work, libraries that need tokio, and channels that any thread may use.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use examples::helloworld::{
    Greeter, GreeterClient, HelloReply, HelloRequest, greeter_methods, register_greeter,
};
use grpc_arena::Owned;
use grpc_service::{Arena, BlockingPool, CallError, Code, Cx, Origin, Router, Status};
use grpc_tokio::{SharedChannel, TokioThread};

/// Does what the name of a request asks for, off its thread.
struct Busy {
    pool: BlockingPool,
    tokio: TokioThread,
    /// Held by the test while work is to take long.
    gate: Arc<Mutex<()>>,
    /// Told when work begins, and when it saw that its call was cancelled.
    news: mpsc::Sender<&'static str>,
}

impl Greeter for Busy {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let own = std::thread::current().id();
        let (gate, news) = (Arc::clone(&self.gate), self.news.clone());
        let message = match request.name {
            "block" => {
                let work = move || {
                    news.send("begun").expect("the test waits");
                    drop(gate.lock());
                    assert_ne!(std::thread::current().id(), own);
                    "blocked".to_owned()
                };
                self.pool.run(work).await?
            }
            "until cancelled" => {
                let work = move |cancelled: &grpc_service::Cancelled| {
                    news.send("begun").expect("the test waits");
                    let begun = Instant::now();
                    while !cancelled.is_cancelled() && begun.elapsed() < Duration::from_secs(30) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    let seen = if cancelled.is_cancelled() { "cancelled" } else { "late" };
                    news.send(seen).expect("the test waits");
                };
                self.pool.run_cancellable(work).await?;
                String::new()
            }
            "panic" => self.pool.run(|| panic!("it is planted")).await?,
            "tokio" => {
                self.tokio
                    .run(move || async move {
                        // What needs tokio, and stays on its thread.
                        let task = tokio::task::spawn_local(async {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        });
                        task.await.expect("no panic");
                        assert_ne!(std::thread::current().id(), own);
                        "tokio works".to_owned()
                    })
                    .await?
            }
            "tokio panics" => self.tokio.run(|| async { panic!("it is planted") }).await?,
            other => other.to_owned(),
        };
        Ok(HelloReply { message: cx.arena().alloc_str(&message), ..HelloReply::default() })
    }
}

/// The routes of one thread that serves `Busy`, with a pool of one thread and one place to wait.
fn routes(
    gate: &Arc<Mutex<()>>,
) -> (impl Fn(&mut Router) + Send + Sync + 'static, mpsc::Receiver<&'static str>) {
    let (news, reported) = mpsc::channel();
    let (pool, tokio) = (BlockingPool::new(1, 1), TokioThread::start(16).expect("a thread"));
    let (gate, news) = (Arc::clone(gate), Mutex::new(news));
    let routes = move |router: &mut Router| {
        let news = news.lock().expect("no panic").clone();
        let (pool, tokio, gate) = (pool.clone(), tokio.clone(), Arc::clone(&gate));
        register_greeter(router, Rc::new(Busy { pool, tokio, gate, news }));
    };
    (routes, reported)
}

async fn hello(greeter: &GreeterClient, name: &str) -> Result<String, CallError> {
    let arena = Arena::new();
    let request = HelloRequest { name, ..HelloRequest::default() };
    let call = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(20));
    call.await.map(|reply| reply.message.to_owned())
}

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The same tests for each adapter, which is called `adapter` here.
macro_rules! cases {
    ($name:ident, $adapter:ident, $host:ident) => {
        mod $name {
            use super::*;
            use $adapter::{$host, WorkerOptions, Workers, block_on, connect};

            /// Serves on one thread, and calls from another one.
            fn with_server(
                check: impl AsyncFnOnce(GreeterClient, Arc<Mutex<()>>, mpsc::Receiver<&'static str>),
            ) {
                let gate = Arc::default();
                let (routes, news) = routes(&gate);
                let options = WorkerOptions::default().threads(1);
                let workers = Workers::start(LOOPBACK, options, routes).expect("loopback");
                let target = format!("http://{}", workers.address());
                block_on(async {
                    let greeter = GreeterClient::new(connect(target).await.expect("served"));
                    check(greeter, gate, news).await;
                })
                .expect("a runtime");
                workers.stop(Duration::from_secs(5));
            }

            /// Calls in a task, and tells what it came to.
            fn start(greeter: &GreeterClient, name: &'static str) -> mpsc::Receiver<Result<String, CallError>> {
                let (say, said) = mpsc::channel();
                let greeter = greeter.clone();
                $host::new().spawn(Box::pin(async move {
                    let _ = say.send(hello(&greeter, name).await);
                }));
                said
            }

            async fn wait<T>(receiver: &mpsc::Receiver<T>) -> T {
                let (host, begun) = ($host::new(), Instant::now());
                loop {
                    if let Ok(value) = receiver.try_recv() {
                        return value;
                    }
                    assert!(begun.elapsed() < Duration::from_secs(20), "nothing comes");
                    host.timer(host.now() + Duration::from_millis(1)).await;
                }
            }

            // The lock is for a thread of the pool: nothing on this one waits for it.
            #[allow(clippy::await_holding_lock)]
            #[test]
            fn blocking_work_holds_up_no_other_call_and_is_bounded() {
                with_server(async |greeter, gate, news| {
                    let held = gate.lock().expect("no panic");
                    let first = start(&greeter, "block");
                    assert_eq!(wait(&news).await, "begun");
                    let second = start(&greeter, "block");
                    // The thread that serves is free. Calls of one connection are taken in order, so the second waits by now.
                    assert_eq!(hello(&greeter, "neighbour").await.as_deref(), Ok("neighbour"));
                    let third = hello(&greeter, "block").await.expect_err("the queue is full");
                    assert_eq!(third.code(), Code::ResourceExhausted);
                    assert!(third.message().contains("try again later"), "{third:?}");
                    drop(held);
                    for call in [first, second] {
                        assert_eq!(wait(&call).await.as_deref(), Ok("blocked"));
                    }
                });
            }

            #[test]
            fn blocking_work_learns_that_its_call_was_cancelled() {
                with_server(async |greeter, _, news| {
                    let arena = Arena::new();
                    let name = "until cancelled";
                    let request = HelloRequest { name, ..HelloRequest::default() };
                    let timeout = Duration::from_millis(100);
                    let error = greeter.say_hello(&request, &arena).timeout(timeout).await;
                    assert_eq!(error.map(drop).map_err(|error| error.code()), Err(Code::DeadlineExceeded));
                    assert_eq!((wait(&news).await, wait(&news).await), ("begun", "cancelled"));
                });
            }

            #[test]
            fn a_panic_of_work_elsewhere_fails_its_own_call_alone() {
                with_server(async |greeter, _, _| {
                    for name in ["panic", "tokio panics"] {
                        let error = hello(&greeter, name).await.expect_err("it panics");
                        assert_eq!(error.code(), Code::Internal);
                        assert!(error.message().contains("panicked"), "{error:?}");
                        assert!(!error.message().contains("planted"), "it stays at the server");
                    }
                    assert_eq!(hello(&greeter, "tokio").await.as_deref(), Ok("tokio works"));
                });
            }

            #[test]
            fn a_handler_reaches_a_library_that_needs_tokio() {
                with_server(async |greeter, _, _| {
                    let calls: Vec<_> = (0..40).map(|_| start(&greeter, "tokio")).collect();
                    for call in &calls {
                        assert_eq!(wait(call).await.as_deref(), Ok("tokio works"));
                    }
                });
            }
        }
    };
}

cases!(on_monoio, grpc_monoio, MonoioHost);
cases!(on_tokio, grpc_tokio, TokioHost);

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn served() -> (grpc_tokio::Workers, mpsc::Receiver<&'static str>, Arc<Mutex<()>>) {
    let gate = Arc::default();
    let (routes, news) = routes(&gate);
    let options = grpc_tokio::WorkerOptions::default().threads(1);
    let workers = grpc_tokio::Workers::start(LOOPBACK, options, routes).expect("loopback");
    (workers, news, gate)
}

fn asking(name: &str) -> Owned<greeter_request::Family> {
    Owned::copy_of(&HelloRequest { name, ..HelloRequest::default() }).expect("a small message")
}

mod greeter_request {
    pub(crate) type Family = <super::greeter_methods::SayHello as grpc_service::Method>::Request;
}

async fn shared_hello(channel: &SharedChannel, name: &str) -> Result<String, CallError> {
    let reply = channel.unary::<greeter_methods::SayHello>(asking(name)).await?;
    Ok(reply.view().message.to_owned())
}

#[test]
fn tasks_of_a_multi_threaded_runtime_share_a_channel() {
    let (workers, _news, _) = served();
    let target = format!("http://{}", workers.address());
    threads().block_on(async {
        let channel = grpc_tokio::connect(target).shared(8).await.expect("served");
        let tasks: Vec<_> = (0..100)
            .map(|task| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    for call in 0..5 {
                        let name = format!("{task}.{call}");
                        assert_eq!(shared_hello(&channel, &name).await, Ok(name));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        // One connection carried them all.
        assert_eq!(workers.stats().total.connections_accepted, 1);
    });
    workers.stop(Duration::from_secs(5));
}

#[test]
fn a_shared_channel_bounds_its_calls_and_a_dropped_one_is_cancelled() {
    let (workers, news, _) = served();
    let target = format!("http://{}", workers.address());
    threads().block_on(async {
        let channel = grpc_tokio::connect(target).shared(1).await.expect("served");
        let other = channel.clone();
        let held = tokio::spawn(async move { shared_hello(&other, "until cancelled").await });
        let news = tokio::task::spawn_blocking(move || {
            assert_eq!(news.recv(), Ok("begun"));
            news
        });
        let news = news.await.expect("no panic");
        let waits = tokio::time::timeout(Duration::from_millis(200), shared_hello(&channel, "x"));
        assert!(waits.await.is_err(), "there is one place");
        held.abort();
        assert_eq!(shared_hello(&channel, "next").await.as_deref(), Ok("next"));
        let seen = tokio::task::spawn_blocking(move || news.recv());
        assert_eq!(seen.await.expect("no panic"), Ok("cancelled"));
    });
    workers.stop(Duration::from_secs(5));
}

#[test]
fn a_shared_channel_reports_a_server_that_is_not_there_and_panics() {
    let (workers, _news, _) = served();
    let address = workers.address();
    threads().block_on(async {
        let channel = grpc_tokio::connect(format!("http://{address}")).shared(8).await;
        let channel = channel.expect("served");
        let error =
            channel.call(async |_| -> Result<(), CallError> { panic!("it is planted") }).await;
        let error = error.expect_err("it panics");
        assert_eq!((error.code(), error.origin()), (Code::Internal, Origin::Local));
        assert_eq!(shared_hello(&channel, "still").await.as_deref(), Ok("still"));

        let error = grpc_tokio::connect("gopher://x").shared(8).await.expect_err("no such scheme");
        assert_eq!(error.code(), Code::InvalidArgument);
    });
    workers.stop(Duration::from_secs(5));
    threads().block_on(async {
        let error = grpc_tokio::connect(format!("http://{address}")).shared(8).await;
        assert_eq!(error.expect_err("nothing listens").code(), Code::Unavailable);
    });
}
