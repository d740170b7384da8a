//! The greeter over tokio: handlers may use what needs tokio, such as a database client.
//!
//! ```text
//! cargo run --release --example tokio_greeter
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_service::{Arena, CallError, Cx, Status};
use grpc_tokio::{WorkerOptions, Workers, block_on, connect};

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        // In the place of a query: tokio's timers and sockets work here, and `tokio::task::spawn_local`.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let workers = Workers::start("127.0.0.1:0".parse()?, WorkerOptions::default(), |router| {
        register_greeter(router, Rc::new(Polite));
    })?;
    let target = format!("http://{}", workers.address());
    block_on(async {
        let greeter = GreeterClient::new(connect(target).await?);
        let (request, arena) = (HelloRequest { name: "tokio", ..Default::default() }, Arena::new());
        let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(1)).await?;
        println!("{}", reply.message);
        Ok::<(), CallError>(())
    })??;
    workers.stop(Duration::from_secs(1));
    Ok(())
}
