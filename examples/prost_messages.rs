//! A service whose messages are prost's: the codec is a trait, and the stack takes any type that implements it.
//!
//! ```text
//! cargo run --release --example prost_messages
//! ```
//!
//! The server answers with structs that own their fields; the client is the generated one of the greeter example, so
//! that each side checks the other.

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{GreeterClient, HelloRequest};
use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_service::server::UnaryHandler;
use grpc_service::{Channel, ChannelOptions, Cx, Method, Status};

/// Any message of prost. It borrows nothing, so it is its own view; it needs neither arena nor cache.
#[derive(Debug)]
struct Prost<M>(M);

impl<M: prost::Message + Default + 'static> Schema for Prost<M> {
    type View<'a> = Self;

    fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Self, DecodeError> {
        M::decode(bytes).map(Self).map_err(DecodeError::foreign)
    }
}

impl<M: prost::Message> Encode for Prost<M> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.encoded_len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        self.0.encode_raw(out);
    }
}

/// As `prost-build` would write it.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    name: String,
}

/// As `prost-build` would write it.
#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    #[prost(string, tag = "1")]
    message: String,
}

/// `rpc SayHello(HelloRequest) returns (HelloReply)`: what the generator writes for a method, with other messages.
enum SayHello {}

impl Method for SayHello {
    const PATH: &'static str = "/helloworld.Greeter/SayHello";
    type Request = Prost<Request>;
    type Response = Prost<Reply>;
}

/// The handler. One such type for each method replaces the generated trait.
#[derive(Clone)]
struct Polite;

impl UnaryHandler<SayHello> for Polite {
    async fn call<'a>(
        &self,
        _cx: &Cx<'a>,
        Prost(request): Prost<Request>,
    ) -> Result<Prost<Reply>, Status> {
        Ok(Prost(Reply { message: format!("Hello, {}!", request.name) }))
    }
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
        assert_eq!(reply.message, format!("Hello, {name}!"));
        println!("{}", reply.message);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let workers = Workers::start("127.0.0.1:0".parse()?, WorkerOptions::default(), |router| {
        router.unary::<SayHello, _>(Polite);
    })?;
    block_on(call(&workers.address().to_string()))??;
    workers.stop(Duration::from_secs(1));
    Ok(())
}
