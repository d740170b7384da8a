//! A generated service and its client under a planned fault: the connection is reset in the midst of
//! a call, and the next one goes over a new connection.

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_proto::{Code, Limits};
use grpc_service::{Arena, Channel, ChannelOptions, Cx, Router, Server, ServerOptions, Status};
use grpc_sim::scenario::{Cut, PipePlan};
use grpc_sim::service::{NetworkFault, Sim};

struct Slow;

impl Greeter for Slow {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        cx.sleep(Duration::from_millis(10)).await;
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let sim = Sim::new(7);
    let mut router = Router::new();
    register_greeter(&mut router, Rc::new(Slow));
    sim.listen("greeter", Server::new(router, ServerOptions::new(Limits::default())?, sim.host()));
    // Every write arrives byte by byte, a millisecond late; after 20 ms the connection is reset.
    sim.network(PipePlan { cut: Cut::Every(1), delay_us: 1000, ..PipePlan::default() });
    sim.plan(Duration::from_millis(20), NetworkFault::Reset("greeter".into()));

    let outcome = sim.block_on(async {
        let mut codes = Vec::new();
        for name in ["one", "two", "three"] {
            let options = ChannelOptions::new(Limits::default()).expect("the defaults are valid");
            let channel = Channel::connect("greeter", &options, sim.host(), &sim).await?;
            let (greeter, arena) = (GreeterClient::new(channel), Arena::new());
            let request = HelloRequest { name, ..HelloRequest::default() };
            let reply = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(1)).await;
            codes.push(reply.map_or_else(|status| status.code(), |_| Code::Ok));
        }
        Ok::<_, Box<dyn Error>>(codes)
    })??;
    assert_eq!(outcome, [Code::Ok, Code::Unavailable, Code::Ok]);
    assert_eq!(sim.faults()[0].met, 1);
    sim.settle()?;
    println!("{outcome:?}, trace {:016x}", sim.trace_hash());
    Ok(())
}
