//! The same exchange through the generated stubs and handlers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Metadata, Status};
use grpc_service::layers::{Incoming, Layer, Next};
use grpc_service::testing::{self, MemoryHost};
use grpc_service::{Channel, ChannelOptions, Cx, Host, Router, Server, ServerOptions};

use super::core::limits;
use super::echo::{Echo, EchoClient, Payload, register_echo};
use crate::exchange::{self, Varying};

/// Answers with the bytes that it was given.
#[derive(Clone, Copy, Debug)]
pub struct Echoing;

impl Echo for Echoing {
    async fn unary<'a>(&self, _: &Cx<'a>, request: Payload<'a>) -> Result<Payload<'a>, Status> {
        Ok(request)
    }
}

/// A layer that counts.
#[derive(Default)]
struct Count {
    begun: Cell<u64>,
    ended: Cell<u64>,
}

impl<'a> Layer<Incoming<'a>> for Count {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        self.begun.set(self.begun.get() + 1);
        let outcome = next.call(call).await;
        self.ended.set(self.ended.get() + 1);
        outcome
    }
}

/// A connected pair.
pub struct Pair {
    pair: testing::Pair,
    channel: Channel,
    body: Vec<u8>,
    varying: bool,
    slots: Vec<Slot>,
}

/// What one caller keeps from call to call.
struct Slot {
    arena: Arena,
    metadata: Metadata,
    varying: Varying,
}

impl Pair {
    /// Connects client and server, whose messages both have `body` bytes; `varying` calls carry a timeout and a trace id.
    pub fn new(body: usize, varying: bool) -> Self {
        Self::serving(body, varying, |router| register_echo(router, Rc::new(Echoing)))
    }

    /// The same with five layers around each call at the server, each of which counts calls and their ends.
    pub fn layered(body: usize) -> Self {
        Self::serving(body, false, |router| {
            let five = (
                Count::default(),
                Count::default(),
                Count::default(),
                Count::default(),
                Count::default(),
            );
            register_echo(&mut router.around_all(five), Rc::new(Echoing));
        })
    }

    fn serving(body: usize, varying: bool, register: impl FnOnce(&mut Router)) -> Self {
        let memory = MemoryHost::new(1);
        let host: Rc<dyn Host> = Rc::new(Rc::clone(&memory));
        let mut router = Router::new();
        register(&mut router);
        let server = ServerOptions::new(limits()).expect("consistent limits");
        let client = ChannelOptions::new(limits()).expect("consistent limits");
        let server = Server::new(router, server, host);
        let (channel, pair) = testing::Pair::new(&memory, &server, &client);
        let slot =
            || Slot { arena: Arena::new(), metadata: Metadata::new(), varying: Varying::new() };
        let slots = std::iter::repeat_with(slot).take(exchange::IN_FLIGHT).collect();
        Self { pair, channel, body: exchange::body(body).collect(), varying, slots }
    }

    /// Makes `calls` calls, with as many in flight as the benchmark has, and checks each reply's size.
    pub fn run(&mut self, calls: u64) {
        let Self { pair, channel, body, varying, slots } = self;
        let count = slots.len() as u64;
        let callers = slots.iter_mut().zip(0..).map(|(slot, index)| {
            let share = calls / count + u64::from(index < calls % count);
            let stub = EchoClient::new(channel.clone());
            call_in_turn(stub, slot, body, *varying, share)
        });
        pair.block_on(testing::join_all(callers));
    }
}

async fn call_in_turn(stub: EchoClient, slot: &mut Slot, body: &[u8], varies: bool, calls: u64) {
    let Slot { arena, metadata, varying } = slot;
    let request = Payload { body, ..Payload::EMPTY };
    for _ in 0..calls {
        arena.reset();
        let call = stub.unary(&request, arena);
        let reply = if varies {
            metadata.clear();
            let trace = varying.trace_id();
            let trace = std::str::from_utf8(&trace).expect("digits");
            metadata.append(exchange::TRACE_FIELD, trace).expect("a valid entry");
            call.metadata(metadata).timeout(Duration::from_micros(varying.remaining_us())).await
        } else {
            call.await
        };
        assert_eq!(reply.expect("no call fails").body.len(), body.len());
    }
}
