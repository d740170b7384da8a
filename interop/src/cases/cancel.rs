//! Calls that end before they are done.

use std::time::Duration;

use grpc_service::{Arena, Code};

use super::streaming::{REQUESTS, RESPONSES};
use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::testing::{ResponseParameters, StreamingOutputCallRequest};

pub(super) async fn after_begin(target: Target) -> Outcome {
    let call = context("the call", target.service().streaming_input_call().await)?;
    let (status, _) = call.cancel();
    ensure(status.code() == Code::Cancelled, || format!("the call ended with {}", status.code()))
}

pub(super) async fn after_first_response(target: Target) -> Outcome {
    let mut call = context("the call", target.service().full_duplex_call().await)?;
    let sent = payload(REQUESTS[0]);
    let parameters = [ResponseParameters { size: RESPONSES[0], ..ResponseParameters::EMPTY }];
    let request = StreamingOutputCallRequest {
        response_parameters: &parameters,
        payload: Some(&sent),
        ..StreamingOutputCallRequest::EMPTY
    };
    context("a request", call.send(&request).await)?;
    let mut arena = Arena::new();
    let reply = context("a response", call.next(&mut arena).await)?;
    has_size(reply.and_then(|reply| reply.payload), RESPONSES[0])?;
    let (status, _) = call.cancel();
    ensure(status.code() == Code::Cancelled, || format!("the call ended with {}", status.code()))
}

pub(super) async fn timeout(target: Target) -> Outcome {
    let service = target.service();
    // Without a connection the call would not reach the server in its millisecond.
    context("the connection", target.channel.ready().await)?;
    let call = service.full_duplex_call().timeout(Duration::from_millis(1)).await;
    let (mut sending, mut receiving) = match call {
        Ok(call) => call.split(),
        Err(error) => {
            return ensure(error.code() == Code::DeadlineExceeded, || {
                format!("the call ended with {}", error.code())
            });
        }
    };
    let sent = payload(REQUESTS[0]);
    let request =
        StreamingOutputCallRequest { payload: Some(&sent), ..StreamingOutputCallRequest::EMPTY };
    // The deadline may have passed.
    let _ = sending.send(&request).await;
    let mut arena = Arena::new();
    let code = receiving.next(&mut arena).await.err().map(|error| error.code());
    ensure(code == Some(Code::DeadlineExceeded), || format!("the call ended with {code:?}"))
}
