//! Calls with one request and one response.

use std::cell::RefCell;

use grpc_service::Arena;
use grpc_service::testing::join_all;

use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::testing::{Empty, SimpleRequest};

/// The sizes of the descriptions.
pub(super) const REQUEST: i32 = 271_828;
pub(super) const RESPONSE: i32 = 314_159;

/// Calls that run at once.
const AT_ONCE: usize = 100;

pub(super) async fn empty(target: Target) -> Outcome {
    let arena = Arena::new();
    let reply = context("the call", target.service().empty_call(&Empty::EMPTY, &arena).await)?;
    ensure(reply == Empty::EMPTY, || format!("{reply:?} is not empty"))
}

pub(super) async fn large(target: Target) -> Outcome {
    let arena = Arena::new();
    let sent = payload(REQUEST);
    let request =
        SimpleRequest { response_size: RESPONSE, payload: Some(&sent), ..SimpleRequest::EMPTY };
    let reply = context("the call", target.service().unary_call(&request, &arena).await)?;
    has_size(reply.payload, RESPONSE)
}

pub(super) async fn concurrent(target: Target) -> Outcome {
    let failures = RefCell::new(Vec::new());
    let calls = (0..AT_ONCE).map(|_| async {
        if let Err(failure) = large(target.clone()).await {
            failures.borrow_mut().push(failure);
        }
    });
    join_all(calls).await;
    let failures = failures.into_inner();
    ensure(failures.is_empty(), || format!("{} calls failed: {}", failures.len(), failures[0]))
}
