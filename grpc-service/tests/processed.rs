//! What a call that is given up says of whether its server can have seen it.

mod common;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use common::{BytesClient, Echoing, Raw, register_echoing};
use grpc_arena::Arena;
use grpc_proto::{Limits, Processed};
use grpc_service::client::{BidiStream, ClientStream, Receiving};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, ConnectError, Connector, LocalFuture,
    ResponseMetadata, Router, Server, ServerOptions, Status,
};

/// Polls once.
fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn ready<F: Future>(future: F) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// A client whose server takes one stream at a time and never answers, and which lets one more call wait.
fn narrow() -> (BytesClient, Pair) {
    let mut limits = Limits::default();
    limits.max_concurrent_streams = 1;
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing { takes: Some(std::time::Duration::MAX) });
    let options = ServerOptions::new(limits).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let mut limits = Limits::default();
    limits.max_queued_calls = 1;
    let options = ChannelOptions::new(limits).expect("consistent limits");
    let (channel, mut pair) = Pair::new(&host, &server, &options);
    // SETTINGS have come: one stream it is.
    pair.settle();
    (BytesClient::new(channel), pair)
}

/// What each kind of call says once it is given up; a unary call says it where it puts its metadata.
fn given_up(stub: &BytesClient) -> [Option<Processed>; 4] {
    let arena = Arena::new();
    let mut unary = ResponseMetadata::default();
    assert!(poll(stub.echo(&Raw(b"x"), &arena).response(&mut unary)).is_pending());
    let cancelled = |(status, beside): (Status, ResponseMetadata)| {
        assert_eq!(status, Status::cancelled("the caller cancelled the call"));
        beside.processed
    };
    let spread: Receiving<_> = ready(stub.split(&Raw(b"x"))).expect("a call");
    let spread = cancelled(spread.cancel());
    let gather: ClientStream<_> = ready(stub.join()).expect("a call");
    let gather = cancelled(gather.cancel());
    let talk: BidiStream<_> = ready(stub.chat()).expect("a call");
    [unary.processed, spread, gather, cancelled(talk.cancel())]
}

#[test]
fn a_call_whose_headers_were_not_pulled_was_not_processed() {
    let (stub, mut pair) = narrow();
    let before = pair.server().stats().streams_opened;
    assert_eq!(given_up(&stub), [Some(Processed::No); 4]);
    pair.settle();
    assert_eq!(pair.server().stats().streams_opened, before, "nothing of them has left");
    assert_eq!(pair.client().open_calls(), 0);
}

#[test]
fn a_call_that_waits_for_a_stream_was_not_processed() {
    let (stub, mut pair) = narrow();
    let first = pair.block_on(stub.chat()).expect("a stream");
    pair.settle();
    // Each waits for the first one's stream, also when the connection has been driven meanwhile.
    assert_eq!(given_up(&stub), [Some(Processed::No); 4]);
    let waiting = ready(stub.chat()).expect("a call");
    pair.settle();
    assert_eq!(waiting.cancel().1.processed, Some(Processed::No));
    let (sending, receiving) = ready(stub.chat()).expect("a call").split();
    // The half that is dropped cancels the call in the next turn of the connection.
    drop(sending);
    pair.settle();
    assert_eq!(receiving.cancel().1.processed, Some(Processed::No));
    assert_eq!(pair.server().stats().streams_opened, 1);
    // What has left is another matter.
    assert_eq!(first.cancel().1.processed, Some(Processed::Maybe));
}

#[test]
fn a_call_in_line_behind_queued_calls_was_not_processed() {
    let (stub, mut pair) = narrow();
    let _first = pair.block_on(stub.chat()).expect("a stream");
    pair.settle();
    let waiting = ready(stub.chat()).expect("it waits for the stream");
    let arena = Arena::new();
    let mut response = ResponseMetadata::default();
    assert!(poll(stub.echo(&Raw(b"x"), &arena).response(&mut response)).is_pending());
    assert_eq!(response.processed, Some(Processed::No));
    // The streaming kinds have nothing to cancel before they have a place.
    assert!(poll(stub.split(&Raw(b"x"))).is_pending());
    assert!(poll(stub.join()).is_pending() && poll(stub.chat()).is_pending());
    // A place that is given up is free at once.
    drop(waiting);
    pair.settle();
    assert_eq!(given_up(&stub), [Some(Processed::No); 4]);
}

/// Never connects.
struct Hanging;

impl Connector for Hanging {
    fn connect(&self, _: &str, _: ClientConnection) -> LocalFuture<Result<(), ConnectError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_call_that_waits_for_a_connection_was_not_processed() {
    let host = MemoryHost::new(1);
    let options = ChannelOptions::new(Limits::default()).expect("consistent limits");
    let channel = Channel::to("test", &options, Rc::new(host), Rc::new(Hanging));
    let stub = BytesClient::new(channel);
    let arena = Arena::new();
    let mut response = ResponseMetadata::default();
    assert!(poll(stub.echo(&Raw(b"x"), &arena).response(&mut response)).is_pending());
    assert_eq!(response.processed, Some(Processed::No));
}

#[test]
fn a_unary_call_that_has_left_may_have_been_processed() {
    let (stub, mut pair) = narrow();
    let arena = Arena::new();
    let mut response = ResponseMetadata::default();
    {
        let mut call = pin!(stub.echo(&Raw(b"x"), &arena).response(&mut response));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        pair.settle();
    }
    assert_eq!(response.processed, Some(Processed::Maybe));
    pair.settle();
    assert_eq!(pair.server().open_calls(), 0);
}
