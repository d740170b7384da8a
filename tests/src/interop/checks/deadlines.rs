//! Deadlines and cancellation, asserted on both sides.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::Code;
use grpc_service::CallError;

use super::{Ended, Outcome, Target, Wrong, checks, fails_as, same, same_bytes};
use crate::testing::{Reply, Request};

checks! {
    a_deadline_ends_the_call_here_and_its_handler_there,
    a_deadline_cuts_a_stream_that_has_begun,
    a_deadline_that_is_met_changes_nothing,
    cancelling_ends_the_handler,
    cancelling_a_stream_midway_ends_its_handler,
    every_handler_that_started_has_ended,
}

const METHODS: [&str; 4] = ["Unary", "ServerStream", "ClientStream", "Bidi"];

/// A request that is answered in a minute.
const SLOW: Request<'static> =
    Request { delay_ns: 60_000_000_000, reply_count: 1, ..Request::EMPTY };

/// A call that does not end by itself.
async fn endless(
    target: &Target,
    method: &str,
    timeout: Option<Duration>,
) -> Result<(), CallError> {
    let (stub, mut arena) = (target.stub(), Arena::new());
    let timeout = timeout.unwrap_or(Duration::from_secs(3600));
    match method {
        "Unary" => stub.unary(&SLOW, &arena).timeout(timeout).await.map(drop),
        "ServerStream" => {
            let mut replies = stub.server_stream(&SLOW).timeout(timeout).await?;
            replies.next(&mut arena).await.map(drop)
        }
        "ClientStream" => {
            let mut requests = stub.client_stream().timeout(timeout).await?;
            requests.send(&SLOW).await?;
            requests.finish(&arena).await.map(drop)
        }
        _ => {
            let mut call = stub.bidi().timeout(timeout).await?;
            call.send(&Request { reply_count: 1, ..Request::EMPTY }).await?;
            call.next(&mut arena).await?;
            call.next(&mut arena).await.map(drop)
        }
    }
}

async fn a_deadline_ends_the_call_here_and_its_handler_there(target: Target) -> Outcome {
    for method in METHODS {
        let before = target.count(method).await?;
        let started = target.host.now();
        let timeout = Duration::from_millis(200);
        fails_as(method, endless(&target, method, Some(timeout)).await, Code::DeadlineExceeded)?;
        let took = target.host.now() - started;
        if took < timeout - Duration::from_millis(10) || took > Duration::from_millis(1500) {
            return Err(Wrong(format!("{method}: 200 ms took {took:?}")));
        }
        target.counts(method, before, Ended::EXPIRED).await?;
    }
    Ok(())
}

async fn a_deadline_cuts_a_stream_that_has_begun(target: Target) -> Outcome {
    let before = target.count("ServerStream").await?;
    let mut arena = Arena::new();
    let request =
        Request { reply_count: 100, reply_size: Some(10), delay_ns: 50_000_000, ..Request::EMPTY };
    let mut replies =
        target.stub().server_stream(&request).timeout(Duration::from_millis(330)).await?;
    let mut seen = 0;
    let outcome = loop {
        match replies.next(&mut arena).await {
            Ok(Some(_)) => seen += 1,
            ended => break ended.map(drop),
        }
    };
    fails_as("stream", outcome, Code::DeadlineExceeded)?;
    if !(2..=6).contains(&seen) {
        return Err(Wrong(format!("{seen} replies of one each 50 ms in 330 ms")));
    }
    target.counts("ServerStream", before, Ended::EXPIRED).await
}

async fn a_deadline_that_is_met_changes_nothing(target: Target) -> Outcome {
    let before = target.count("Unary").await?;
    let arena = Arena::new();
    let request = Request { payload: b"x", delay_ns: 50_000_000, ..Request::EMPTY };
    let reply = target.stub().unary(&request, &arena).timeout(Duration::from_secs(30)).await?;
    same_bytes("payload", reply.payload, b"x")?;
    target.counts("Unary", before, Ended::FINISHED).await
}

async fn cancelling_ends_the_handler(target: Target) -> Outcome {
    for method in METHODS {
        let before = target.count(method).await?;
        {
            let mut call = pin!(endless(&target, method, None));
            let mut started = pin!(target.starts(method, before, 1));
            // Both at once, and the call is dropped when its handler runs.
            poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(outcome) => {
                    Poll::Ready(Err(Wrong(format!("{method} ended: {outcome:?}"))))
                }
                Poll::Pending => started.as_mut().poll(cx),
            })
            .await?;
        }
        target.counts(method, before, Ended::CANCELLED).await?;
    }
    Ok(())
}

async fn cancelling_a_stream_midway_ends_its_handler(target: Target) -> Outcome {
    let before = target.count("ServerStream").await?;
    let mut arena = Arena::new();
    let request = Request { reply_count: 1_000_000, reply_size: Some(1000), ..Request::EMPTY };
    let mut replies = target.stub().server_stream(&request).await?;
    for index in 0..10 {
        let reply = replies.next(&mut arena).await?;
        same("index", reply.map(|reply: Reply<'_>| reply.index), Some(index))?;
    }
    drop(replies);
    target.counts("ServerStream", before, Ended::CANCELLED).await
}

async fn every_handler_that_started_has_ended(target: Target) -> Outcome {
    for method in ["EmptyCall", "Unary", "ServerStream", "ClientStream", "Bidi"] {
        let count = target.count(method).await?;
        same(
            method,
            count.started,
            count.finished + count.failed + count.cancelled + count.expired,
        )?;
    }
    Ok(())
}
