//! A server whose connections grow no older than a second: our calls in flight finish, and new ones never leave.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Processed};
use grpc_service::{LocalFuture, ResponseMetadata};

use super::{Outcome, Target, checks, same, same_bytes};
use crate::testing::{Empty, Request};

checks! { calls_in_flight_outlive_a_goaway_and_new_ones_never_left }

const EMPTY: Empty<'static> = Empty::EMPTY;

async fn calls_in_flight_outlive_a_goaway_and_new_ones_never_left(target: Target) -> Outcome {
    let gone = Rc::new(Cell::new(false));
    let (inner, outer) = (target.clone(), Rc::clone(&gone));
    let long: LocalFuture<Outcome> = Box::pin(async move {
        let arena = Arena::new();
        let request = Request { payload: b"long", delay_ns: 3_000_000_000, ..Request::EMPTY };
        let reply = inner.stub().unary(&request, &arena).await?;
        same("GOAWAY came first", outer.get(), true)?;
        same_bytes("payload", reply.payload, b"long")
    });
    let inner = target.clone();
    let short: LocalFuture<Outcome> = Box::pin(async move {
        let (mut arena, mut response) = (Arena::new(), ResponseMetadata::default());
        loop {
            arena.reset();
            let stub = inner.stub();
            let call = stub.empty_call(&EMPTY, &arena).response(&mut response);
            if let Err(status) = call.await {
                gone.set(true);
                same("code", status.code(), Code::Unavailable)?;
                let unseen = matches!(response.processed, Some(Processed::No | Processed::Refused));
                return same("the call was not processed", unseen, true);
            }
            inner.sleep(Duration::from_millis(5)).await;
        }
    });
    target.gather(vec![long, short]).await
}
