//! Streams that outlive their welcome: those that learn of a drain, are cancelled, or push what was left for them.

mod common;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::{BytesClient, Raw, methods};
use grpc_arena::Arena;
use grpc_service::server::{BidiCall, BidiHandler, Mailbox, ServerStreamingHandler};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    ChannelOptions, Code, Cx, Endpoint, Host, Limits, Processed, Router, Server, ServerOptions,
    Sink, Status,
};

/// A stream without end, of one message a second, which ends itself when the server drains; and an echo that answers
/// at its own pace.
#[derive(Clone, Default)]
struct Ticker {
    dropped: Rc<Cell<usize>>,
}

impl ServerStreamingHandler<methods::Split> for Ticker {
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        let _dropped = Counted(Rc::clone(&self.dropped));
        let mut draining = pin!(cx.draining());
        assert_eq!(cx.is_draining(), request.0 == b"late");
        loop {
            out.send(&request).await?;
            let mut second = pin!(cx.sleep(Duration::from_secs(1)));
            let ends = poll_fn(|cx| {
                if draining.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                second.as_mut().poll(cx).map(|()| false)
            });
            if ends.await {
                assert!(cx.is_draining());
                return Err(Status::unavailable("the server drains"));
            }
        }
    }
}

struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl BidiHandler<methods::Chat> for Ticker {
    type Call<'s> = Later;

    async fn open(&self, _: &Cx<'_>) -> Result<Later, Status> {
        Ok(Later(Mailbox::new(2)))
    }
}

/// Leaves each message for `run`, which answers one a second.
struct Later(Mailbox<Vec<u8>>);

impl BidiCall<Raw<'static>, Raw<'static>> for Later {
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        message: Raw<'a>,
        _: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        self.0.send(message.0.to_vec()).await;
        assert!(self.0.len() <= 2);
        Ok(())
    }

    async fn finish(&self, cx: &Cx<'_>, _: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        self.0.close();
        while !self.0.is_empty() {
            cx.sleep(Duration::from_secs(1)).await;
        }
        // The last answer is under way.
        cx.sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, Raw<'static>>) -> Result<(), Status> {
        while let Some(message) = self.0.receive().await {
            out.send(&Raw(&message)).await?;
            cx.sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

fn connect(limits: Limits) -> (BytesClient, Pair, Ticker, Rc<MemoryHost>) {
    let (host, ticker) = (MemoryHost::new(1), Ticker::default());
    let mut router = Router::new();
    router.server_streaming::<methods::Split, _>(ticker.clone());
    router.bidi::<methods::Chat, _>(ticker.clone());
    let options = ServerOptions::new(limits).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let (channel, pair) = Pair::new(&host, &server, &ChannelOptions::default());
    (BytesClient::new(channel), pair, ticker, host)
}

#[test]
fn a_stream_learns_of_a_drain_and_ends_with_a_status_of_its_own() {
    let (client, mut pair, ticker, host) = connect(Limits::default());
    let mut arena = Arena::new();
    let mut stream = pair.block_on(client.split(&Raw(b"x"))).expect("a stream");
    for _ in 0..3 {
        assert_eq!(pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"x"))));
    }
    let now = Host::now(&host);
    pair.server().shutdown(now);
    let status = pair.block_on(stream.next(&mut arena)).unwrap_err();
    assert_eq!(status.into_status(), Status::unavailable("the server drains"));
    assert_eq!((ticker.dropped.get(), Host::now(&host)), (1, now), "no time has passed");
}

#[test]
fn a_stream_learns_of_the_drain_that_the_age_of_its_connection_begins() {
    let mut limits = Limits::default();
    limits.max_age = Some(Duration::from_secs(10));
    let (client, mut pair, _, host) = connect(limits);
    let mut arena = Arena::new();
    let mut stream = pair.block_on(client.split(&Raw(b"x"))).expect("a stream");
    let status = loop {
        match pair.block_on(stream.next(&mut arena)) {
            Ok(message) => assert_eq!(message, Some(Raw(b"x"))),
            Err(status) => break status,
        }
    };
    assert_eq!(status.into_status(), Status::unavailable("the server drains"));
    let age = Host::now(&host) - grpc_service::Instant::ZERO;
    assert!(age >= Duration::from_secs(8) && age <= Duration::from_secs(12), "{age:?}");
}

#[test]
fn run_awaits_what_messages_leave_and_a_full_mailbox_holds_the_client_up() {
    let (client, mut pair, ..) = connect(Limits::default());
    pair.block_on(async {
        let mut arena = Arena::new();
        let mut stream = client.chat().await.expect("a stream");
        for number in 0..10u8 {
            stream.send(&Raw(&[number])).await.expect("the call is open");
        }
        stream.end();
        for number in 0..10u8 {
            assert_eq!(stream.next(&mut arena).await, Ok(Some(Raw(&[number]))));
        }
        assert_eq!(stream.next(&mut arena).await, Ok(None));
    });
}

#[test]
fn a_cancel_says_how_the_call_ended_and_drops_its_handler() {
    let (client, mut pair, ticker, _) = connect(Limits::default());
    let mut arena = Arena::new();
    let mut stream = pair.block_on(client.split(&Raw(b"x"))).expect("a stream");
    assert_eq!(pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"x"))));
    let (status, beside) = stream.cancel();
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(beside.processed, Some(Processed::Maybe));
    pair.settle();
    assert_eq!((ticker.dropped.get(), pair.server().open_calls()), (1, 0));

    // What the server has said before counts, whether the caller has met the end or not.
    for meets_end in [false, true] {
        let mut stream = pair.block_on(client.chat()).expect("a stream");
        stream.end();
        pair.advance(Duration::from_secs(5));
        if meets_end {
            assert_eq!(pair.block_on(stream.next(&mut arena)), Ok(None));
        }
        let (status, beside) = stream.cancel();
        assert_eq!((status, beside.processed), (Status::OK, Some(Processed::Maybe)));
    }

    // The other half learns of it.
    let (mut sending, receiving) = pair.block_on(client.chat()).expect("a stream").split();
    assert_eq!(receiving.cancel().0.code(), Code::Cancelled);
    pair.settle();
    let refused = pair.block_on(sending.send(&Raw(b"x"))).unwrap_err();
    assert_eq!(refused.code(), Code::Cancelled);
}

// C core and grpc-go end every call of a connection whose input ends, complete or not; so does this server.
#[test]
fn a_half_close_of_the_transport_cancels_calls_with_complete_requests() {
    let (client, mut pair, ticker, host) = connect(Limits::default());
    let mut stream = pair.block_on(client.split(&Raw(b"x"))).expect("a stream");
    let mut arena = Arena::new();
    assert_eq!(pair.block_on(stream.next(&mut arena)), Ok(Some(Raw(b"x"))));
    let now = Host::now(&host);
    pair.server().close_read(now);
    pair.advance(Duration::from_millis(1500));
    assert_eq!((ticker.dropped.get(), pair.server().open_calls()), (1, 0));
    assert!(pair.errors().1.is_some(), "the connection is over");
}

/// Polls the next message of a stream each time that the client has seen one byte more, until there is one; whether a GOAWAY
/// has come by then.
fn next_or_goaway(
    stream: &mut grpc_service::client::Receiving<methods::Split>,
    pair: &mut Pair,
) -> (Result<Option<Vec<u8>>, grpc_service::CallError>, bool) {
    pair.segment(1);
    let mut arena = Arena::new();
    let mut next = pin!(stream.next(&mut arena));
    loop {
        let polled =
            next.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        if let Poll::Ready(message) = polled {
            let goaway = pair.client().protocol().session().goaway_received().is_some();
            return (message.map(|message| message.map(|message| message.0.to_vec())), goaway);
        }
        assert!(pair.step(), "nothing comes");
    }
}

#[test]
fn what_a_stream_sends_at_a_stop_leaves_before_the_goaway() {
    let (client, mut pair, _, host) = connect(Limits::default());
    let mut stream = pair.block_on(client.split(&Raw(b"x"))).expect("a stream");
    assert!(pair.block_on(stream.next(&mut Arena::new())).is_ok());
    pair.settle();
    let now = Host::now(&host);
    pair.server().shutdown(now);
    let (status, goaway) = next_or_goaway(&mut stream, &mut pair);
    let status = status.map_err(grpc_service::CallError::into_status);
    assert_eq!(status, Err(Status::unavailable("the server drains")));
    assert!(!goaway, "the GOAWAY came first");
    pair.settle();
    assert!(pair.client().protocol().session().goaway_received().is_some());
}
