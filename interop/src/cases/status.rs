//! Calls that end with another status than OK.

use std::fmt::Display;

use grpc_service::{Arena, Code};

use super::{Outcome, Target, context, ensure};
use crate::testing::{
    EchoStatus, Empty, SimpleRequest, StreamingOutputCallRequest, UnimplementedServiceClient,
};

const MESSAGE: &str = "test status message";
const SPECIAL: &str =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";

/// Fails unless a call has failed with this code and message. The error is taken apart by the caller.
fn is<T, E: Display>(
    result: Result<T, E>,
    parts: impl Fn(&E) -> (Code, String),
    wanted: (Code, &str),
) -> Outcome {
    match result.as_ref().map_err(parts) {
        Ok(_) => Err("the call succeeded".to_owned()),
        Err((code, message)) => ensure((code, message.as_str()) == wanted, || {
            format!("the call ended with {code} {message:?}")
        }),
    }
}

pub(super) async fn code_and_message(target: Target) -> Outcome {
    let echo = EchoStatus { code: 2, message: MESSAGE, ..EchoStatus::EMPTY };
    let wanted = (Code::Unknown, MESSAGE);
    let request = SimpleRequest { response_status: Some(&echo), ..SimpleRequest::EMPTY };
    let (service, mut arena) = (target.service(), Arena::new());
    let reply = service.unary_call(&request, &arena).await;
    is(reply, |error| (error.code(), error.message().to_owned()), wanted)?;
    let request = StreamingOutputCallRequest {
        response_status: Some(&echo),
        ..StreamingOutputCallRequest::EMPTY
    };
    let (mut sending, mut receiving) =
        context("the stream", service.full_duplex_call().await)?.split();
    context("a request", sending.send(&request).await)?;
    sending.end();
    let end = receiving.next(&mut arena).await;
    is(end, |error| (error.code(), error.message().to_owned()), wanted)
}

pub(super) async fn special_message(target: Target) -> Outcome {
    let echo = EchoStatus { code: 2, message: SPECIAL, ..EchoStatus::EMPTY };
    let request = SimpleRequest { response_status: Some(&echo), ..SimpleRequest::EMPTY };
    let (service, arena) = (target.service(), Arena::new());
    let reply = service.unary_call(&request, &arena).await;
    is(reply, |error| (error.code(), error.message().to_owned()), (Code::Unknown, SPECIAL))
}

pub(super) async fn unimplemented_method(target: Target) -> Outcome {
    let (service, arena) = (target.service(), Arena::new());
    let reply = service.unimplemented_call(&Empty::EMPTY, &arena).await;
    let code = reply.err().map(|error| error.code());
    ensure(code == Some(Code::Unimplemented), || format!("the call ended with {code:?}"))
}

pub(super) async fn unimplemented_service(target: Target) -> Outcome {
    let (service, arena) = (UnimplementedServiceClient::new(target.channel.clone()), Arena::new());
    let reply = service.unimplemented_call(&Empty::EMPTY, &arena).await;
    let code = reply.err().map(|error| error.code());
    ensure(code == Some(Code::Unimplemented), || format!("the call ended with {code:?}"))
}
