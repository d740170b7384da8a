//! The parts around services and their calls: authentication of all methods in one layer, a channel that connects by itself and
//! shows a token, a graceful shutdown on a signal, and a test without sockets.
//!
//! ```text
//! cargo run --example guarded -- serve 127.0.0.1:50051     until SIGTERM or Ctrl-C
//! cargo run --example guarded -- call 127.0.0.1:50051      waits until somebody serves
//! cargo test -p examples --example guarded
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::guide::Guide;
use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use examples::routeguide::register_route_guide;
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_service::layers::{Auth, CallView, CheckToken, Timeout, WithToken};
use grpc_service::{Arena, CallError, Channel, ChannelOptions, Cx, Router, Status};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Time for the calls in flight after a signal.
const GRACE: Duration = Duration::from_secs(10);
const TOKEN: &str = "of good news";

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let user = cx.extension::<User>().map_or("nobody", |user| user.0);
        let message = cx.arena().alloc_str(&format!("Hello, {}, says {user}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// Knows whom a token belongs to.
struct Tokens;

struct User(&'static str);

impl CheckToken for Tokens {
    type Identity = User;

    async fn check(&self, _: CallView<'_>, token: &str) -> Result<User, Status> {
        let known = token == TOKEN;
        known
            .then_some(User("Ann"))
            .ok_or_else(|| Status::unauthenticated("the token is not known"))
    }
}

/// All methods of both services, behind one check.
fn routes(router: &mut Router) {
    let mut guarded = router.around_all(Auth(Tokens));
    register_greeter(&mut guarded, Rc::new(Polite));
    register_route_guide(&mut guarded, Rc::new(Guide::default()));
}

/// The channel whose calls all show the token, and have some time each.
fn with_token(channel: &Channel, token: &'static str) -> Channel {
    channel.around((Timeout(Duration::from_secs(20)), WithToken(token)))
}

async fn greet(channel: Channel, name: &str) -> Result<String, CallError> {
    let (request, arena) = (HelloRequest { name, ..HelloRequest::default() }, Arena::new());
    // Without `wait_for_ready` it fails at once if nobody listens.
    let reply = GreeterClient::new(channel).say_hello(&request, &arena).wait_for_ready().await?;
    Ok(reply.message.to_owned())
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
    println!("{}", greet(with_token(&channel, TOKEN), "world").await?);
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
    use examples::guide::tour;
    use grpc_service::testing::{MemoryHost, Pair};
    use grpc_service::{Code, Server, ServerOptions};

    use super::*;

    #[test]
    fn calls_of_both_services_with_the_token_are_served_and_others_are_not() {
        let (host, mut router) = (MemoryHost::new(1), Router::new());
        routes(&mut router);
        let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
        let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
        let known = with_token(&channel, TOKEN);
        assert_eq!(pair.block_on(greet(known.clone(), "you")).unwrap(), "Hello, you, says Ann!");
        pair.block_on(tour(known, drop)).unwrap();
        for refused in [with_token(&channel, "of bad news"), channel] {
            let greeted = pair.block_on(greet(refused.clone(), "you"));
            assert_eq!(greeted.unwrap_err().code(), Code::Unauthenticated);
            let toured = pair.block_on(tour(refused, drop));
            assert_eq!(toured.unwrap_err().code(), Code::Unauthenticated);
        }
    }
}
