//! Streams of requests and responses.

use grpc_service::Arena;

use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::testing::{ResponseParameters, StreamingInputCallRequest, StreamingOutputCallRequest};

/// The sizes of the descriptions.
pub(super) const REQUESTS: [i32; 4] = [27_182, 8, 1_828, 45_904];
pub(super) const RESPONSES: [i32; 4] = [31_415, 9, 2_653, 58_979];

pub(super) async fn client(target: Target) -> Outcome {
    let mut call = context("the call", target.service().streaming_input_call().await)?;
    for size in REQUESTS {
        let sent = payload(size);
        let empty = StreamingInputCallRequest::EMPTY;
        let request = StreamingInputCallRequest { payload: Some(&sent), ..empty };
        context("a request", call.send(&request).await)?;
    }
    let arena = Arena::new();
    let sum = context("the call", call.finish(&arena).await)?.aggregated_payload_size;
    ensure(sum == 74_922, || format!("the sum is {sum}, not 74922"))
}

pub(super) async fn server(target: Target) -> Outcome {
    let parameters = RESPONSES.map(|size| ResponseParameters { size, ..ResponseParameters::EMPTY });
    let request = StreamingOutputCallRequest {
        response_parameters: &parameters,
        ..StreamingOutputCallRequest::EMPTY
    };
    let stream = target.service().streaming_output_call(&request).await;
    let mut stream = context("the call", stream)?;
    let mut arena = Arena::new();
    for size in RESPONSES {
        let reply = context("a response", stream.next(&mut arena).await)?;
        has_size(reply.and_then(|reply| reply.payload), size)?;
    }
    let end = context("the end", stream.next(&mut arena).await)?;
    ensure(end.is_none(), || "more responses than were asked for".to_owned())
}

pub(super) async fn ping_pong(target: Target) -> Outcome {
    let mut call = context("the call", target.service().full_duplex_call().await)?;
    let mut arena = Arena::new();
    for (request, response) in REQUESTS.into_iter().zip(RESPONSES) {
        let sent = payload(request);
        let parameters = [ResponseParameters { size: response, ..ResponseParameters::EMPTY }];
        let request = StreamingOutputCallRequest {
            response_parameters: &parameters,
            payload: Some(&sent),
            ..StreamingOutputCallRequest::EMPTY
        };
        context("a request", call.send(&request).await)?;
        let reply = context("a response", call.next(&mut arena).await)?;
        has_size(reply.and_then(|reply| reply.payload), response)?;
    }
    call.end();
    let end = context("the end", call.next(&mut arena).await)?;
    ensure(end.is_none(), || "more responses than were asked for".to_owned())
}

pub(super) async fn empty(target: Target) -> Outcome {
    let mut call = context("the call", target.service().full_duplex_call().await)?;
    call.end();
    let mut arena = Arena::new();
    let end = context("the end", call.next(&mut arena).await)?;
    ensure(end.is_none(), || "a response to nothing".to_owned())
}
