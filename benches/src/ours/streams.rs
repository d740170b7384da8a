//! The streams of the `streams` benchmark through our handlers and stubs: in memory, and as what a client program does.

use std::rc::Rc;

use grpc_arena::Arena;
use grpc_proto::{Limits, Status};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::testing::{self, MemoryHost};
use grpc_service::{Channel, ChannelOptions, Cx, Host, Router, Server, ServerOptions, Sink};

use super::echo::{EchoClient, Payload};
use super::streams_proto::{Chunk, Order, Streams, StreamsClient, Total, register_streams};
use crate::exchange;
use crate::work::{self, Done, Work};

/// Serves all three kinds of stream.
#[derive(Clone, Copy, Debug)]
pub struct Streaming;

impl Streams for Streaming {
    async fn download<'a>(
        &self,
        _: &Cx<'a>,
        order: Order<'a>,
        out: &mut Sink<'_, Chunk<'static>>,
    ) -> Result<(), Status> {
        let body: Vec<u8> = exchange::body(order.size as usize).collect();
        let chunk = Chunk { body: &body, ..Chunk::EMPTY };
        for _ in 0..order.count {
            out.send(&chunk).await?;
        }
        Ok(())
    }

    type Upload<'s> = Counting;

    async fn upload(&self, _: &Cx<'_>) -> Result<Counting, Status> {
        Ok(Counting { messages: 0, bytes: 0 })
    }

    type PingPong<'s> = SendingBack;

    async fn ping_pong(&self, _: &Cx<'_>) -> Result<SendingBack, Status> {
        Ok(SendingBack)
    }
}

/// One client stream.
#[derive(Debug)]
pub struct Counting {
    messages: u64,
    bytes: usize,
}

impl ClientStreamingCall<Chunk<'static>, Total<'static>> for Counting {
    async fn on_message<'a>(&mut self, _: &Cx<'a>, message: Chunk<'a>) -> Result<(), Status> {
        self.messages += 1;
        self.bytes += message.body.len();
        Ok(())
    }

    async fn finish<'a>(self, _: &Cx<'a>) -> Result<Total<'a>, Status> {
        std::hint::black_box(self.bytes);
        Ok(Total { messages: self.messages, ..Total::EMPTY })
    }
}

/// One bidirectional stream.
#[derive(Debug)]
pub struct SendingBack;

impl BidiCall<Chunk<'static>, Chunk<'static>> for SendingBack {
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        message: Chunk<'a>,
        out: &mut Sink<'_, Chunk<'static>>,
    ) -> Result<(), Status> {
        out.send(&message).await
    }
}

/// The windows of the comparison, and room for its streams.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stream_window = work::STREAM_WINDOW;
    limits.connection_window = work::CONNECTION_WINDOW;
    limits.max_concurrent_streams = 1000;
    limits
}

/// Does one piece of work: `count` calls, or one stream of so many messages.
///
/// # Errors
/// The status of a call that failed.
pub async fn work(
    channel: Channel,
    work: Work,
    body: usize,
    count: u64,
    done: Done,
) -> Result<(), Status> {
    let bytes: Vec<u8> = exchange::body(body).collect();
    let mut arena = Arena::new();
    if work == Work::Unary {
        let stub = EchoClient::new(channel);
        let request = Payload { body: &bytes, ..Payload::EMPTY };
        for _ in 0..count {
            arena.reset();
            assert_eq!(stub.unary(&request, &arena).await?.body.len(), body);
            done.count();
        }
        return Ok(());
    }
    let stub = StreamsClient::new(channel);
    let chunk = Chunk { body: &bytes, ..Chunk::EMPTY };
    match work {
        Work::Unary => {}
        Work::Download => {
            let order = Order { size: body as u32, count, ..Order::EMPTY };
            let mut chunks = stub.download(&order).await?;
            while let Some(chunk) = chunks.next(&mut arena).await? {
                assert_eq!(chunk.body.len(), body);
                done.count();
            }
        }
        Work::Upload => {
            let mut upload = stub.upload().await?;
            for _ in 0..count {
                upload.send(&chunk).await?;
                done.count();
            }
            let total = upload.finish(&arena).await?;
            assert_eq!(total.messages, count);
        }
        Work::PingPong => {
            let mut stream = stub.ping_pong().await?;
            for _ in 0..count {
                stream.send(&chunk).await?;
                let back = stream.next(&mut arena).await?.map(|chunk| chunk.body.len());
                assert_eq!(back, Some(body));
                done.count();
            }
            stream.end();
            assert!(stream.next(&mut arena).await?.is_none());
        }
    }
    Ok(())
}

/// A connected pair in memory.
pub struct Pair {
    pair: testing::Pair,
    channel: Channel,
}

impl Pair {
    /// Connects a client and a server.
    pub fn new() -> Self {
        let memory = MemoryHost::new(1);
        let host: Rc<dyn Host> = Rc::new(Rc::clone(&memory));
        let mut router = Router::new();
        register_streams(&mut router, Rc::new(Streaming));
        let server = ServerOptions::new(limits()).expect("consistent limits");
        let client = ChannelOptions::new(limits()).expect("consistent limits");
        let server = Server::new(router, server, host);
        let (channel, pair) = testing::Pair::new(&memory, &server, &client);
        Self { pair, channel }
    }

    /// Sends `messages` messages of `body` bytes over as many `streams`, and checks that all have come.
    pub fn run(&mut self, kind: Work, body: usize, streams: u64, messages: u64) {
        let done = Done::default();
        let works = (0..streams).map(|index| {
            let share = messages / streams + u64::from(index < messages % streams);
            let work = work(self.channel.clone(), kind, body, share, done.clone());
            async { work.await.expect("no stream fails") }
        });
        self.pair.block_on(testing::join_all(works));
        assert_eq!(done.messages(), messages);
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
