//! Work that a handler must not do on its thread: what blocks or computes, and libraries that need tokio on another runtime.
//!
//! ```text
//! cargo run --release --example elsewhere
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{WorkerOptions, Workers, block_on, connect};
use grpc_service::{Arena, BlockingPool, CallError, Cx, Status};
use grpc_tokio::TokioThread;

/// Every thread that serves has a service of its own; they share the pool and the thread of tokio.
struct Thorough {
    pool: BlockingPool,
    tokio: TokioThread,
}

impl Greeter for Thorough {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        // The request lives on this thread: the work gets a copy of what it needs.
        let name = request.name.to_owned();
        let hash = self.pool.run(move || slow_hash(name.as_bytes())).await?;
        // Sockets and timers of tokio work there, and so does a database client.
        let waited = self.tokio.run(move || async move {
            let begun = tokio::time::Instant::now();
            tokio::time::sleep(Duration::from_millis(10)).await;
            begun.elapsed()
        });
        let waited = waited.await?.as_millis() >= 10;
        let message = format!("Hello, {}: {hash:08x}, tokio: {waited}", request.name);
        Ok(HelloReply { message: cx.arena().alloc_str(&message), ..HelloReply::default() })
    }
}

/// In the place of a password's hash: the checksum FNV-1a, very often.
fn slow_hash(bytes: &[u8]) -> u32 {
    let rounds = (0..10_000).flat_map(|_| bytes);
    rounds.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Beyond two that run and 64 that wait, calls fail with RESOURCE_EXHAUSTED.
    let (pool, tokio) = (BlockingPool::new(2, 64), TokioThread::start(64)?);
    let workers =
        Workers::start("127.0.0.1:0".parse()?, WorkerOptions::default(), move |router| {
            let (pool, tokio) = (pool.clone(), tokio.clone());
            register_greeter(router, Rc::new(Thorough { pool, tokio }));
        })?;
    let target = format!("http://{}", workers.address());
    block_on(async {
        let greeter = GreeterClient::new(connect(target).await?);
        let (request, arena) =
            (HelloRequest { name: "monoio", ..Default::default() }, Arena::new());
        let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(5)).await?;
        println!("{}", reply.message);
        Ok::<(), CallError>(())
    })??;
    workers.stop(Duration::from_secs(1));
    Ok(())
}
