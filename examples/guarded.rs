//! The parts around a service and its calls: authentication, a channel that connects by itself, a graceful shutdown on a
//! signal, and a test without sockets.
//!
//! ```text
//! cargo run --example guarded -- serve 127.0.0.1:50051     until SIGTERM or Ctrl-C
//! cargo run --example guarded -- call 127.0.0.1:50051      waits until somebody serves
//! cargo test -p examples --example guarded
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_service::{Arena, CallError, Channel, ChannelOptions, Code, Cx, Metadata, Router, Status};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Time for the calls in flight after a signal.
const GRACE: Duration = Duration::from_secs(10);
const TOKEN: &str = "Bearer of good news";

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

/// A service whose calls need a token: it implements the trait of the service that it guards.
struct Guarded<S> {
    service: S,
    token: &'static str,
}

impl<S> Guarded<S> {
    /// The check that all methods begin with.
    fn admit(&self, cx: &Cx<'_>) -> Result<(), Status> {
        match cx.metadata().value("authorization") {
            Some(token) if token == self.token.as_bytes() => Ok(()),
            _ => Err(Status::new(Code::Unauthenticated, "a token is needed")),
        }
    }
}

impl<S: Greeter> Greeter for Guarded<S> {
    // The reply may borrow from the service within, hence `&'a self`.
    async fn say_hello<'a>(
        &'a self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        self.admit(cx)?;
        self.service.say_hello(cx, request).await
    }
}

fn routes(router: &mut Router) {
    register_greeter(router, Rc::new(Guarded { service: Polite, token: TOKEN }));
}

/// A stub with the options that all its calls share.
struct Caller {
    greeter: GreeterClient,
    metadata: Metadata,
}

impl Caller {
    fn new(channel: Channel, token: &str) -> Result<Self, Box<dyn Error>> {
        let mut metadata = Metadata::new();
        metadata.append("authorization", token)?;
        Ok(Self { greeter: GreeterClient::new(channel), metadata })
    }

    async fn greet(&self, name: &str) -> Result<String, CallError> {
        let (request, arena) = (HelloRequest { name, ..HelloRequest::default() }, Arena::new());
        let call = self.greeter.say_hello(&request, &arena).metadata(&self.metadata);
        // Without `wait_for_ready` it fails at once if nobody listens.
        let reply = call.wait_for_ready().timeout(Duration::from_secs(20)).await?;
        Ok(reply.message.to_owned())
    }
}

/// Serves until a signal comes; then calls in flight have some time left, and new ones are refused.
fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let workers = Workers::start(address.parse()?, WorkerOptions::default(), routes)?;
    println!("serving {}", workers.address());
    let stopper = workers.stopper();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop(GRACE);
        }
    });
    workers.wait();
    println!("stopped");
    Ok(())
}

async fn call(address: &str) -> Result<(), Box<dyn Error>> {
    let host = MonoioHost::new();
    let connector = Rc::new(TcpConnector::new(Rc::clone(&host)));
    // Connects at the first call, and again at the first call after a loss.
    let channel = Channel::to(address, &ChannelOptions::default(), host, connector);
    println!("{}", Caller::new(channel, TOKEN)?.greet("world").await?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        ["call", address] => block_on(call(address))?,
        _ => Err("usage: guarded serve ADDRESS | call ADDRESS".into()),
    }
}

#[cfg(test)]
mod tests {
    use grpc_service::testing::{MemoryHost, Pair};
    use grpc_service::{Server, ServerOptions};

    use super::*;

    /// The result of a call with this token, in one thread's memory and with a virtual clock.
    fn greeted(token: &str) -> Result<String, CallError> {
        let host = MemoryHost::new(1);
        let mut router = Router::new();
        routes(&mut router);
        let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
        let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
        let caller = Caller::new(channel, token).expect("text");
        pair.block_on(caller.greet("you"))
    }

    #[test]
    fn a_call_with_the_token_is_served_and_another_is_not() {
        assert_eq!(greeted(TOKEN), Ok("Hello, you!".to_owned()));
        let refused = greeted("Bearer of bad news").expect_err("nobody is let in");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}
