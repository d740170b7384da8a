//! Messages that are compressed, or not, as it was agreed.
//!
//! The cases begin with a probe: a server that does not look at what is compressed cannot be tested.

use grpc_service::{Arena, Code, Encoding, ResponseMetadata};

use super::unary::{REQUEST, RESPONSE};
use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::testing::{
    BoolValue, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingOutputCallRequest,
};

const YES: BoolValue<'static> = BoolValue { value: true, ..BoolValue::EMPTY };
const NO: BoolValue<'static> = BoolValue::EMPTY;

pub(super) async fn client_unary(target: Target) -> Outcome {
    let service = target.service();
    let sent = payload(REQUEST);
    let request = |expected: &'static BoolValue<'static>| SimpleRequest {
        response_size: RESPONSE,
        payload: Some(&sent),
        expect_compressed: Some(expected),
        ..SimpleRequest::EMPTY
    };
    let arena = Arena::new();
    let probe = request(&YES);
    let probed = service.unary_call(&probe, &arena).compress(None).await;
    let code = probed.err().map(|error| error.code());
    ensure(code == Some(Code::InvalidArgument), || format!("the probe ended with {code:?}"))?;
    for (expected, encoding) in [(&YES, Some(Encoding::Gzip)), (&NO, None)] {
        let arena = Arena::new();
        let request = request(expected);
        let reply = service.unary_call(&request, &arena).compress(encoding).await;
        let reply = context(&format!("compressed with {encoding:?}"), reply)?;
        has_size(reply.payload, RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn server_unary(target: Target) -> Outcome {
    let service = target.service();
    let sent = payload(REQUEST);
    for wanted in [&YES, &NO] {
        let request = SimpleRequest {
            response_size: RESPONSE,
            payload: Some(&sent),
            response_compressed: Some(wanted),
            ..SimpleRequest::EMPTY
        };
        let (arena, mut beside) = (Arena::new(), ResponseMetadata::default());
        let reply = service.unary_call(&request, &arena).response(&mut beside).await;
        has_size(context("the call", reply)?.payload, RESPONSE)?;
        ensure(beside.compressed == wanted.value, || {
            format!("compressed: {}, and it was to be {}", beside.compressed, wanted.value)
        })?;
    }
    Ok(())
}

pub(super) async fn client_streaming(target: Target) -> Outcome {
    let service = target.service();
    let (large, larger) = (payload(27_182), payload(45_904));
    let compressed = StreamingInputCallRequest {
        payload: Some(&large),
        expect_compressed: Some(&YES),
        ..StreamingInputCallRequest::EMPTY
    };
    let plain = StreamingInputCallRequest {
        payload: Some(&larger),
        expect_compressed: Some(&NO),
        ..StreamingInputCallRequest::EMPTY
    };
    let arena = Arena::new();
    let mut probe = context("the probe", service.streaming_input_call().compress(None).await)?;
    // The server may have refused it already.
    let _ = probe.send(&compressed).await;
    let code = probe.finish(&arena).await.err().map(|error| error.code());
    ensure(code == Some(Code::InvalidArgument), || format!("the probe ended with {code:?}"))?;

    let call = service.streaming_input_call().compress(Some(Encoding::Gzip)).await;
    let mut call = context("the call", call)?;
    context("a compressed message", call.send(&compressed).await)?;
    call.set_compression(false);
    context("a plain message", call.send(&plain).await)?;
    let sum = context("the call", call.finish(&arena).await)?.aggregated_payload_size;
    ensure(sum == 73_086, || format!("the sum is {sum}, not 73086"))
}

pub(super) async fn server_streaming(target: Target) -> Outcome {
    let wanted = [(31_415, &YES), (92_653, &NO)];
    let parameters = wanted.map(|(size, compressed)| ResponseParameters {
        size,
        compressed: Some(compressed),
        ..ResponseParameters::EMPTY
    });
    let request = StreamingOutputCallRequest {
        response_parameters: &parameters,
        ..StreamingOutputCallRequest::EMPTY
    };
    let stream = target.service().streaming_output_call(&request).await;
    let mut stream = context("the call", stream)?;
    let mut arena = Arena::new();
    for (size, compressed) in wanted {
        let reply = context("a response", stream.next(&mut arena).await)?;
        has_size(reply.and_then(|reply| reply.payload), size)?;
        ensure(stream.is_compressed() == compressed.value, || {
            format!("{size} bytes: compressed: {}", stream.is_compressed())
        })?;
    }
    let end = context("the end", stream.next(&mut arena).await)?;
    ensure(end.is_none(), || "more responses than were asked for".to_owned())
}
