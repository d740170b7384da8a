//! Handlers that wait for room to send while their clients do not read.

mod common;
#[path = "../../tests/src/counting.rs"]
#[allow(dead_code, unreachable_pub)] // as much as is of use here
mod counting;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{BytesClient, Raw, methods};
use grpc_arena::Arena;
use grpc_proto::Status;
use grpc_service::server::{BidiCall, BidiHandler, ServerStreamingHandler, UnaryHandler};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, PoolLimits, Router, Server, ServerOptions, Sink};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Pushes without end, and takes whatever comes.
#[derive(Clone)]
struct Pushing;

impl BidiHandler<methods::Chat> for Pushing {
    type Call<'s> = Pushing;

    async fn open(&self, _: &Cx<'_>) -> Result<Pushing, Status> {
        Ok(Pushing)
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for Pushing {
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        _: Raw<'a>,
        _: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn run(&self, _: &Cx<'_>, out: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        loop {
            out.send(&Raw(&[7; 1000])).await?;
        }
    }
}

/// Tries to send again after each millisecond, as a task of its own would: each try has a waker of its own.
impl ServerStreamingHandler<methods::Split> for Pushing {
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        loop {
            let mut tick = pin!(cx.sleep(Duration::from_millis(1)));
            let mut sent = pin!(out.send(&request));
            poll_fn(|cx| {
                let waker = Waker::from(Arc::new(Own(cx.waker().clone())));
                let sent = sent.as_mut().poll(&mut Context::from_waker(&waker));
                if sent.is_ready() { sent } else { tick.as_mut().poll(cx).map(Ok) }
            })
            .await?;
        }
    }
}

/// A waker that is nobody else's.
struct Own(Waker);

impl Wake for Own {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

fn pair() -> (BytesClient, Pair) {
    pair_with(ServerOptions::default())
}

fn pair_with(options: ServerOptions) -> (BytesClient, Pair) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.bidi::<methods::Chat, _>(Pushing);
    router.server_streaming::<methods::Split, _>(Pushing);
    router.unary::<methods::Echo, _>(Pushing);
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let (channel, pair) = Pair::new(&host, &server, &ChannelOptions::default());
    (BytesClient::new(channel), pair)
}

#[test]
fn a_blocked_call_holds_no_more_however_many_messages_it_takes_meanwhile() {
    let (client, mut pair) = pair();
    let mut stream = pair.block_on(client.chat()).expect("a stream");
    let mut send = |count: usize| {
        for _ in 0..count {
            pair.block_on(stream.send(&Raw(b""))).expect("room");
            pair.settle();
        }
    };
    send(100);
    let before = counting::live();
    send(10_000);
    let more = counting::live() - before;
    assert!(more < 1 << 10, "{more} bytes more for messages that were taken");
}

#[test]
fn a_blocked_call_holds_no_more_however_often_it_tries_to_send() {
    let (client, mut pair) = pair();
    let body = [7; 2000];
    let _stream = pair.block_on(client.split(&Raw(&body))).expect("a stream");
    pair.advance(Duration::from_millis(100));
    let before = counting::live();
    pair.advance(Duration::from_millis(5000));
    let more = counting::live() - before;
    assert!(more < 1 << 10, "{more} bytes more for messages that were not sent");
}

impl UnaryHandler<methods::Echo> for Pushing {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(request)
    }
}

// A stream of responses holds its request, and an answer that waits for room its message: for as long as clients like.
#[test]
fn calls_that_hold_every_arena_of_the_thread_do_not_hold_up_other_calls() {
    let mut limits = PoolLimits::default();
    limits.leases = 2;
    let (client, mut pair) = pair_with(ServerOptions::default().pool_limits(limits));
    let request = Raw(&[7; 1000]);
    let streams: Vec<_> = (0..5)
        .map(|_| {
            let stream = pair.block_on(client.split(&request)).expect("a stream");
            pair.advance(Duration::from_millis(100));
            stream
        })
        .collect();
    let arena = Arena::new();
    let hello = Raw(b"hello");
    let echo = client.echo(&hello, &arena).timeout(Duration::from_secs(1));
    assert_eq!(pair.block_on(echo), Ok(hello));
    drop(streams);
    pair.settle();
    assert_eq!(pair.server().open_calls(), 0);
}
