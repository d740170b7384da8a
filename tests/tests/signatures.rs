//! Signatures of handlers that a program may write for the same method of a generated trait.

use std::rc::Rc;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use examples::routeguide;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, CallError, ChannelOptions, Cx, Router, Server, ServerOptions, Sink, Status,
};

/// Elided lifetimes: the reply borrows from the service, or from nothing.
struct Elided {
    greeting: String,
}

impl Greeter for Elided {
    async fn say_hello(
        &self,
        _cx: &Cx<'_>,
        request: HelloRequest<'_>,
    ) -> Result<HelloReply<'_>, Status> {
        match request.name {
            "" => Err(Status::invalid_argument("a name is needed")),
            _ => Ok(HelloReply { message: &self.greeting, ..HelloReply::default() }),
        }
    }
}

/// The reply borrows from the arena, and the lifetime of nothing else is named.
struct FromArena;

impl Greeter for FromArena {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'_>,
    ) -> Result<HelloReply<'a>, Status> {
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// The reply borrows from the request.
struct FromRequest;

impl Greeter for FromRequest {
    async fn say_hello<'a>(
        &self,
        _: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        Ok(HelloReply { message: request.name, ..HelloReply::default() })
    }
}

/// The reply borrows from the service and from the arena.
struct FromBoth(&'static str);

impl Greeter for FromBoth {
    async fn say_hello<'a>(
        &'a self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let message = match request.name {
            "" => self.0,
            name => cx.arena().alloc_str(&name.to_uppercase()),
        };
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// What `service` answers to `name`.
fn answer(service: impl Greeter, name: &str) -> Result<String, Status> {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_greeter(&mut router, Rc::new(service));
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let client = GreeterClient::new(channel);
    let (request, arena) = (HelloRequest { name, ..HelloRequest::default() }, Arena::new());
    pair.block_on(async {
        let reply = client.say_hello(&request, &arena).await.map_err(CallError::into_status)?;
        Ok(reply.message.to_owned())
    })
}

#[test]
fn a_handler_may_leave_all_lifetimes_out_or_name_those_it_needs() {
    let elided = || Elided { greeting: "Welcome.".to_owned() };
    assert_eq!(answer(elided(), "world"), Ok("Welcome.".to_owned()));
    assert_eq!(answer(elided(), ""), Err(Status::invalid_argument("a name is needed")));
    assert_eq!(answer(FromArena, "world"), Ok("Hello, world!".to_owned()));
    assert_eq!(answer(FromRequest, "world"), Ok("world".to_owned()));
    assert_eq!(answer(FromBoth("nobody"), ""), Ok("nobody".to_owned()));
    assert_eq!(answer(FromBoth("nobody"), "world"), Ok("WORLD".to_owned()));
}

/// A server stream takes elided lifetimes too.
#[allow(dead_code)]
async fn list_features(
    _: &Cx<'_>,
    _: routeguide::Rectangle<'_>,
    out: &mut Sink<'_, routeguide::Feature<'static>>,
) -> Result<(), Status> {
    out.send(&routeguide::Feature::default()).await
}
