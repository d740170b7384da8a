//! What connections hold once they have been idle for a while.

mod common;
#[path = "../../tests/src/counting.rs"]
#[allow(dead_code, unreachable_pub)] // as much as is of use here
mod counting;

use std::rc::Rc;
use std::time::Duration;

use common::{BytesClient, Echoing, Raw, register_echoing};
use grpc_arena::Arena;
use grpc_proto::Limits;
use grpc_service::testing::{MemoryHost, Pair, join_all};
use grpc_service::{ChannelOptions, Router, Server, ServerOptions};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// So many unary calls at once.
fn unary(client: &BytesClient, pair: &mut Pair, calls: usize) {
    let echo = || async {
        let arena = Arena::new();
        let reply = client.echo(&Raw(b"hello"), &arena).await;
        assert_eq!(reply, Ok(Raw(b"hello")));
    };
    pair.block_on(join_all((0..calls).map(|_| echo())));
}

/// So many streams open at once. Their messages take turns, because the pipes of a pair keep what was once in them.
fn streams(client: &BytesClient, pair: &mut Pair, calls: usize) {
    let body = [7; 3000];
    pair.block_on(async {
        let mut arena = Arena::new();
        let mut open = Vec::new();
        for _ in 0..calls {
            open.push(client.chat().await.expect("a stream"));
        }
        for stream in &mut open {
            stream.send(&Raw(&body)).await.expect("room");
            assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(&body))));
        }
        for mut stream in open {
            stream.end();
            assert_eq!(stream.next(&mut arena).await, Ok(None));
        }
    });
}

#[test]
fn an_idle_connection_keeps_nothing_of_the_calls_that_ran_at_once() {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing { takes: Some(Duration::from_millis(1)) });
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let options = ChannelOptions::new(Limits::default()).expect("consistent limits");
    // What the connections of a server share stays: the first one makes it, and is the measure's zero.
    let mut held = Vec::new();
    for calls in [100, 1, 100] {
        let before = counting::live();
        let (channel, mut pair) = Pair::new(&host, &server, &options);
        let client = BytesClient::new(channel);
        unary(&client, &mut pair, calls);
        streams(&client, &mut pair, calls);
        pair.advance(Duration::from_secs(5));
        assert_eq!(pair.server().stats().streams_opened, 2 * calls as u64);
        held.push(counting::live() - before);
    }
    // What is left are the pipes, through which a hundred heads went at once.
    let more = held[2] - held[1];
    assert!(more < 16 << 10, "{more} bytes more for a hundred calls than for one: {held:?}");
}
