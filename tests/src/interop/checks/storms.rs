//! Calls that the client gives up, hundreds a second: beside them an open stream goes on, and no ordinary call fails.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Metadata};
use grpc_service::LocalFuture;
use grpc_service::client::BidiStream;

use super::{Outcome, Peer, Target, Wrong, append, checks, fails_as, same, same_bytes};
use crate::interop::{INITIAL, pattern};
use crate::testing::{Reply, Request, interop_methods};

checks! {
    calls_cancelled_after_their_headers_disturb_no_other,
    calls_of_twenty_milliseconds_disturb_no_other,
}

/// Calls of a storm.
const CALLS: u32 = 2500;
/// Node's HTTP/2 as a server ends a connection for 1000 resets, and 33 a second more, from any client.
const CALLS_TO_NODE: u32 = 900;
/// One begins each time: 500 a second.
const APART: Duration = Duration::from_millis(2);
/// A server that lets 1000 resets pass and then 33 a second has ended the connection by then.
const LIMIT: Duration = Duration::from_secs(20);

/// A request that is not answered within the test.
const SLOW: Request<'static> =
    Request { delay_ns: 60_000_000_000, reply_count: 1, ..Request::EMPTY };

async fn calls_cancelled_after_their_headers_disturb_no_other(target: Target) -> Outcome {
    storm(target, |target| {
        Box::pin(async move {
            let mut metadata = Metadata::new();
            append(&mut metadata, INITIAL, "n", "1");
            let mut replies = target.stub().server_stream(&SLOW).metadata(&metadata).await?;
            same("headers", replies.headers().await.values("x-initial-n").count(), 1)
        })
    })
    .await
}

async fn calls_of_twenty_milliseconds_disturb_no_other(target: Target) -> Outcome {
    storm(target, |target| {
        Box::pin(async move {
            let (arena, stub) = (Arena::new(), target.stub());
            let call = stub.unary(&SLOW, &arena).timeout(Duration::from_millis(20));
            fails_as("20 ms", call.await, Code::DeadlineExceeded)
        })
    })
    .await
}

/// Runs `one` call after the other has begun, and the neighbours beside them.
async fn storm(target: Target, one: fn(Target) -> LocalFuture<Outcome>) -> Outcome {
    let calls = if target.of == Peer::GrpcJs { CALLS_TO_NODE } else { CALLS };
    let mut neighbour = Neighbour::start(&target).await?;
    let started = target.host.now();
    let storm = (0..calls).map(|index| -> LocalFuture<Outcome> {
        let target = target.clone();
        Box::pin(async move {
            target.host.timer(started + APART * index).await;
            one(target).await
        })
    });
    target.gather(storm.collect()).await?;
    let took = target.host.now() - started;
    neighbour.finish().await?;
    println!("   {calls} calls given up in {took:?}, beside {} others", neighbour.calls.get());
    match took < LIMIT {
        true => Ok(()),
        false => Err(Wrong(format!("{calls} calls took {took:?}: too slow to be a storm"))),
    }
}

/// A stream that stays open, and a call each few milliseconds.
struct Neighbour {
    stream: BidiStream<interop_methods::Bidi>,
    index: u32,
    stop: Rc<Cell<bool>>,
    calls: Rc<Cell<u32>>,
    outcome: Rc<Cell<Option<Outcome>>>,
    target: Target,
}

impl Neighbour {
    async fn start(target: &Target) -> Result<Self, Wrong> {
        let mut neighbour = Self {
            stream: target.stub().bidi().await?,
            index: 0,
            stop: Rc::default(),
            calls: Rc::default(),
            outcome: Rc::default(),
            target: target.clone(),
        };
        neighbour.turn().await?;
        let (stop, calls) = (Rc::clone(&neighbour.stop), Rc::clone(&neighbour.calls));
        let (target, outcome) = (target.clone(), Rc::clone(&neighbour.outcome));
        neighbour.target.host.spawn(Box::pin(async move {
            outcome.set(Some(ordinary(&target, &stop, &calls).await));
        }));
        Ok(neighbour)
    }

    /// The stream still answers, so its connection has not ended.
    async fn turn(&mut self) -> Outcome {
        let mut arena = Arena::new();
        let payload = pattern(100, self.index);
        self.stream.send(&Request { payload, reply_count: 1, ..Request::EMPTY }).await?;
        let expected = Reply { payload, index: self.index, ..Reply::EMPTY };
        self.index += 1;
        same("the open stream", self.stream.next(&mut arena).await?, Some(expected))
    }

    async fn finish(&mut self) -> Outcome {
        self.turn().await?;
        self.stop.set(true);
        let outcome = loop {
            match self.outcome.take() {
                Some(outcome) => break outcome,
                None => self.target.sleep(Duration::from_millis(1)).await,
            }
        };
        outcome?;
        same("calls beside the storm", self.calls.get() > 0, true)?;
        self.stream.end();
        same("the end of the open stream", self.stream.next(&mut Arena::new()).await?, None)
    }
}

async fn ordinary(target: &Target, stop: &Cell<bool>, calls: &Cell<u32>) -> Outcome {
    while !stop.get() {
        let arena = Arena::new();
        let payload = pattern(1000, calls.get());
        let reply = target.stub().unary(&Request { payload, ..Request::EMPTY }, &arena).await?;
        same_bytes("payload", reply.payload, payload)?;
        calls.set(calls.get() + 1);
        target.sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
