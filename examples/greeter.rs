//! A server that greets, and a client that is greeted.
//!
//! ```text
//! cargo run --release --example greeter                       both, over loopback
//! cargo run --release --example greeter -- serve 0.0.0.0:50051
//! cargo run --release --example greeter -- call 127.0.0.1:50051
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_service::{Arena, Channel, ChannelOptions, Cx, Status};

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        // The reply borrows from the call's arena, which is freed once the reply is sent.
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

fn serve(address: SocketAddr) -> std::io::Result<Workers> {
    Workers::start(address, WorkerOptions::default(), |router| {
        register_greeter(router, Rc::new(Polite));
    })
}

async fn call(address: &str) -> Result<(), Box<dyn Error>> {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let channel = Channel::connect(address, &ChannelOptions::default(), host, &connector).await?;
    let greeter = GreeterClient::new(channel);

    let arena = Arena::new();
    for name in ["world", "Wörld", "世界"] {
        let request = HelloRequest { name, ..HelloRequest::default() };
        let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(1)).await?;
        println!("{}", reply.message);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => {
            let workers = serve(address.parse()?)?;
            println!("serving {}", workers.address());
            workers.wait();
        }
        ["call", address] => block_on(call(address))??,
        [] => {
            let workers = serve("127.0.0.1:0".parse()?)?;
            block_on(call(&workers.address().to_string()))??;
            workers.stop(Duration::from_secs(1));
        }
        _ => return Err("usage: greeter [serve ADDRESS | call ADDRESS]".into()),
    }
    Ok(())
}
