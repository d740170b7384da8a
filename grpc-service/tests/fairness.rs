//! A call that answers and pushes at once: neither half takes all the room.

mod common;

use std::rc::Rc;

use common::{BytesClient, Raw, methods};
use grpc_arena::Arena;
use grpc_proto::Status;
use grpc_service::server::{BidiCall, BidiHandler};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, Router, Server, ServerOptions, Sink};

/// Answers and pushes without end, in messages that fill the queue.
#[derive(Clone)]
struct Talking;

static ANSWER: [u8; 70_000] = [1; 70_000];
static PUSH: [u8; 70_000] = [2; 70_000];

impl BidiHandler<methods::Chat> for Talking {
    type Call<'s> = Talking;

    async fn open(&self, _: &Cx<'_>) -> Result<Talking, Status> {
        Ok(Talking)
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for Talking {
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        _: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        loop {
            out.send(&Raw(&ANSWER)).await?;
        }
    }

    async fn run(&self, _: &Cx<'_>, out: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        loop {
            out.send(&Raw(&PUSH)).await?;
        }
    }
}

#[test]
fn answers_and_pushes_share_the_room() {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.bidi::<methods::Chat, _>(Talking);
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let client = BytesClient::new(channel);
    let mut counts = [0; 2];
    pair.block_on(async {
        let mut stream = client.chat().await.expect("a stream");
        stream.send(&Raw(b"go")).await.expect("room");
        let mut arena = Arena::new();
        for _ in 0..200 {
            let message = stream.next(&mut arena).await.expect("no end").expect("no end");
            counts[usize::from(message.0[0]) - 1] += 1;
        }
    });
    let [answers, pushes] = counts;
    assert!(answers >= 80 && pushes >= 80, "{answers} answers and {pushes} pushes");
}
