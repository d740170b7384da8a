//! A client on tokio's multi-threaded runtime: a channel that is `Clone + Send`, beside a server in the same program.
//!
//! ```text
//! cargo run --release --example shared_channel
//! cargo run --release --example shared_channel -- measure   # beside a channel on one thread
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use examples::helloworld::{
    Greeter, GreeterClient, HelloReply, HelloRequest, greeter_methods, register_greeter,
};
use grpc_arena::Owned;
use grpc_service::{Arena, CallError, Cx, Status};
use grpc_tokio::{WorkerOptions, Workers, connect};

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

async fn call(target: String) -> Result<(), Box<dyn Error + Send + Sync>> {
    let channel = connect(target).shared(1024).await?;
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let name = format!("task {task}");
                let request = HelloRequest { name: &name, ..Default::default() };
                let request = Owned::copy_of(&request).map_err(|error| error.to_string())?;
                let reply = channel.unary::<greeter_methods::SayHello>(request).await;
                reply
                    .map(|reply| reply.view().message.to_owned())
                    .map_err(|error| error.to_string())
            })
        })
        .collect();
    for task in tasks {
        println!("{}", task.await??);
    }
    // Streams, metadata and timeouts: the closure runs where the channel lives.
    let text = channel.call(async |channel| {
        let (request, arena) = (HelloRequest { name: "all", ..Default::default() }, Arena::new());
        let greeter = GreeterClient::new(channel);
        let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(1)).await?;
        Ok(reply.message.to_owned())
    });
    println!("{}", text.await?);
    Ok(())
}

/// Calls a second over a channel of one thread and over a shared one, beside each other: `shared_channel measure`.
fn measure(target: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    const ROUNDS: usize = 5;
    for in_flight in [1, 64] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let own = grpc_tokio::block_on(own_thread(target, in_flight))??;
            let runtime = tokio::runtime::Runtime::new()?;
            let shared = runtime.block_on(shared(target, in_flight))?;
            rounds.push((shared as f64 / own as f64, own, shared));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, own, shared) = rounds[ROUNDS / 2];
        println!(
            "{in_flight} in flight: channel {own}, shared channel {shared} calls a second, {ratio:.2} of it"
        );
    }
    Ok(())
}

/// Calls of `in_flight` tasks on this thread within a second.
async fn own_thread(target: &str, in_flight: usize) -> Result<usize, CallError> {
    let greeter = GreeterClient::new(connect(target).await?);
    let until = Instant::now() + Duration::from_secs(1);
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let greeter = greeter.clone();
            tokio::task::spawn_local(async move {
                let (mut arena, mut calls) = (Arena::new(), 0);
                while Instant::now() < until {
                    let request = HelloRequest { name: "you", ..Default::default() };
                    greeter.say_hello(&request, &arena).await?;
                    arena.reset();
                    calls += 1;
                }
                Ok::<_, CallError>(calls)
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.expect("no panic")?;
    }
    Ok(calls)
}

/// The same by tasks that tokio moves between threads.
async fn shared(target: &str, in_flight: usize) -> Result<usize, CallError> {
    let channel = connect(target).shared(1024).await?;
    let until = Instant::now() + Duration::from_secs(1);
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < until {
                    let request = HelloRequest { name: "you", ..Default::default() };
                    let request = Owned::copy_of(&request).expect("a small message");
                    channel.unary::<greeter_methods::SayHello>(request).await?;
                    calls += 1;
                }
                Ok::<_, CallError>(calls)
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.expect("no panic")?;
    }
    Ok(calls)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let workers = Workers::start("127.0.0.1:0".parse()?, WorkerOptions::default(), |router| {
        register_greeter(router, Rc::new(Polite));
    })?;
    let target = format!("http://{}", workers.address());
    match std::env::args().nth(1).as_deref() {
        Some("measure") => measure(&target)?,
        _ => tokio::runtime::Runtime::new()?.block_on(call(target))?,
    }
    workers.stop(Duration::from_secs(1));
    Ok(())
}
