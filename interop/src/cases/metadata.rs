//! Metadata that comes back.

use grpc_service::{Arena, Metadata, ResponseMetadata};

use super::unary::{REQUEST, RESPONSE};
use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::service::{ECHO_INITIAL, ECHO_TRAILING};
use crate::testing::{ResponseParameters, SimpleRequest, StreamingOutputCallRequest};

const INITIAL: &str = "test_initial_metadata_value";
const TRAILING: [u8; 3] = [0xab, 0xab, 0xab];

pub(super) async fn custom(target: Target) -> Outcome {
    let mut metadata = Metadata::new();
    context("the metadata", metadata.append(ECHO_INITIAL, INITIAL))?;
    context("the metadata", metadata.append_bin(ECHO_TRAILING, &TRAILING))?;
    let sent = payload(REQUEST);

    let request =
        SimpleRequest { response_size: RESPONSE, payload: Some(&sent), ..SimpleRequest::EMPTY };
    let (arena, mut beside) = (Arena::new(), ResponseMetadata::default());
    let service = target.service();
    let call = service.unary_call(&request, &arena).metadata(&metadata).response(&mut beside);
    has_size(context("the unary call", call.await)?.payload, RESPONSE)?;
    came_back(&beside.headers, &beside.trailers)?;

    let parameters = [ResponseParameters { size: RESPONSE, ..ResponseParameters::EMPTY }];
    let request = StreamingOutputCallRequest {
        response_parameters: &parameters,
        payload: Some(&sent),
        ..StreamingOutputCallRequest::EMPTY
    };
    let call = service.full_duplex_call().metadata(&metadata).await;
    let (mut sending, mut receiving) = context("the stream", call)?.split();
    context("a request", sending.send(&request).await)?;
    sending.end();
    let mut arena = Arena::new();
    let reply = context("a response", receiving.next(&mut arena).await)?;
    has_size(reply.and_then(|reply| reply.payload), RESPONSE)?;
    let end = context("the end", receiving.next(&mut arena).await)?;
    ensure(end.is_none(), || "more responses than were asked for".to_owned())?;
    let headers = receiving.headers().await.clone();
    came_back(&headers, receiving.trailers().unwrap_or(&Metadata::new()))
}

fn came_back(headers: &Metadata, trailers: &Metadata) -> Outcome {
    let initial = headers.value_str(ECHO_INITIAL);
    ensure(initial == Some(INITIAL), || format!("the headers have {initial:?}"))?;
    let trailing: Vec<Vec<u8>> = trailers.bin_values(ECHO_TRAILING).collect();
    ensure(trailing == [TRAILING.to_vec()], || format!("the trailers have {trailing:?}"))
}
