//! The server's side of the interop tests.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Code, Cx, MetadataError, Router, Sink, Status};

use crate::testing::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse, TestService, register_test_service,
};
use crate::zeros;

/// Metadata that comes back as headers.
pub const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
/// Metadata that comes back as trailers.
pub const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// The most responses that a half-duplex call may ask for.
const HALF_DUPLEX: usize = 10_000;

/// The service that the tests call.
#[derive(Clone, Copy, Debug)]
pub struct Tested;

/// Lets `router` serve the tests.
pub fn register(router: &mut Router) {
    register_test_service(router, Rc::new(Tested));
}

impl TestService for Tested {
    async fn empty_call<'a>(&self, _: &Cx<'a>, _: Empty<'a>) -> Result<Empty<'a>, Status> {
        Ok(Empty::EMPTY)
    }

    async fn unary_call<'a>(
        &self,
        cx: &Cx<'a>,
        request: SimpleRequest<'a>,
    ) -> Result<SimpleResponse<'a>, Status> {
        expect(cx, request.expect_compressed)?;
        echo_metadata(cx)?;
        echo_status(request.response_status)?;
        cx.set_compression(is_set(request.response_compressed));
        let payload = payload(request.response_size)?;
        let server_id = if request.fill_server_id { "grpc-proto" } else { "" };
        Ok(SimpleResponse {
            payload: Some(cx.arena().alloc(payload)),
            server_id,
            ..SimpleResponse::EMPTY
        })
    }

    async fn streaming_output_call<'a>(
        &self,
        cx: &Cx<'a>,
        request: StreamingOutputCallRequest<'a>,
        out: &mut Sink<'_, StreamingOutputCallResponse<'static>>,
    ) -> Result<(), Status> {
        echo_metadata(cx)?;
        echo_status(request.response_status)?;
        for wanted in request.response_parameters {
            respond(cx, &Wanted::of(wanted), out).await?;
        }
        Ok(())
    }

    type StreamingInputCall<'s> = Sum;

    async fn streaming_input_call(&self, cx: &Cx<'_>) -> Result<Sum, Status> {
        echo_metadata(cx)?;
        Ok(Sum(0))
    }

    type FullDuplexCall<'s> = FullDuplex;

    async fn full_duplex_call(&self, cx: &Cx<'_>) -> Result<FullDuplex, Status> {
        echo_metadata(cx)?;
        Ok(FullDuplex)
    }

    type HalfDuplexCall<'s> = HalfDuplex;

    async fn half_duplex_call(&self, cx: &Cx<'_>) -> Result<HalfDuplex, Status> {
        echo_metadata(cx)?;
        Ok(HalfDuplex::default())
    }

    async fn unimplemented_call<'a>(&self, _: &Cx<'a>, _: Empty<'a>) -> Result<Empty<'a>, Status> {
        Err(Status::unimplemented("no server implements this method"))
    }
}

/// A call that sums up sizes.
#[derive(Debug)]
pub struct Sum(i64);

impl ClientStreamingCall<StreamingInputCallRequest<'static>, StreamingInputCallResponse<'static>>
    for Sum
{
    async fn on_message<'a>(
        &mut self,
        cx: &Cx<'a>,
        message: StreamingInputCallRequest<'a>,
    ) -> Result<(), Status> {
        expect(cx, message.expect_compressed)?;
        self.0 += message.payload.map_or(0, |payload| payload.body.len() as i64);
        Ok(())
    }

    async fn finish<'a>(self, _: &Cx<'a>) -> Result<StreamingInputCallResponse<'a>, Status> {
        let sum = i32::try_from(self.0);
        let sum = sum.map_err(|_| Status::out_of_range("the sum has more than 31 bits"))?;
        Ok(StreamingInputCallResponse {
            aggregated_payload_size: sum,
            ..StreamingInputCallResponse::EMPTY
        })
    }
}

/// A call that answers at once.
#[derive(Debug)]
pub struct FullDuplex;

impl BidiCall<StreamingOutputCallRequest<'static>, StreamingOutputCallResponse<'static>>
    for FullDuplex
{
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: StreamingOutputCallRequest<'a>,
        out: &mut Sink<'_, StreamingOutputCallResponse<'static>>,
    ) -> Result<(), Status> {
        echo_status(message.response_status)?;
        for wanted in message.response_parameters {
            respond(cx, &Wanted::of(wanted), out).await?;
        }
        Ok(())
    }
}

/// A call that answers at its end.
#[derive(Debug, Default)]
pub struct HalfDuplex(RefCell<Vec<Wanted>>);

impl BidiCall<StreamingOutputCallRequest<'static>, StreamingOutputCallResponse<'static>>
    for HalfDuplex
{
    async fn on_message<'a>(
        &self,
        _: &Cx<'a>,
        message: StreamingOutputCallRequest<'a>,
        _: &mut Sink<'_, StreamingOutputCallResponse<'static>>,
    ) -> Result<(), Status> {
        echo_status(message.response_status)?;
        let mut wanted = self.0.borrow_mut();
        if wanted.len() + message.response_parameters.len() > HALF_DUPLEX {
            let text = format!("a half-duplex call has {HALF_DUPLEX} responses at most");
            return Err(Status::resource_exhausted(text));
        }
        wanted.extend(message.response_parameters.iter().map(Wanted::of));
        Ok(())
    }

    async fn finish(
        &self,
        cx: &Cx<'_>,
        out: &mut Sink<'_, StreamingOutputCallResponse<'static>>,
    ) -> Result<(), Status> {
        for wanted in self.0.take() {
            respond(cx, &wanted, out).await?;
        }
        Ok(())
    }
}

/// A response that was asked for.
#[derive(Debug)]
struct Wanted {
    size: i32,
    pause: Duration,
    compressed: bool,
}

impl Wanted {
    fn of(parameters: &ResponseParameters<'_>) -> Self {
        Self {
            size: parameters.size,
            pause: Duration::from_micros(u64::try_from(parameters.interval_us).unwrap_or(0)),
            compressed: is_set(parameters.compressed),
        }
    }
}

async fn respond(
    cx: &Cx<'_>,
    wanted: &Wanted,
    out: &mut Sink<'_, StreamingOutputCallResponse<'static>>,
) -> Result<(), Status> {
    if !wanted.pause.is_zero() {
        cx.sleep(wanted.pause).await;
    }
    cx.set_compression(wanted.compressed);
    let payload = payload(wanted.size)?;
    let empty = StreamingOutputCallResponse::EMPTY;
    out.send(&StreamingOutputCallResponse { payload: Some(&payload), ..empty }).await
}

fn payload(size: i32) -> Result<Payload<'static>, Status> {
    let text = "a payload is from 0 bytes to 4 MiB large";
    let body = zeros(size).ok_or_else(|| Status::invalid_argument(text))?;
    Ok(Payload { body, ..Payload::EMPTY })
}

fn is_set(value: Option<&BoolValue<'_>>) -> bool {
    value.is_some_and(|value| value.value)
}

/// Fails unless the message at hand came compressed, or did not, as its client says.
fn expect(cx: &Cx<'_>, expected: Option<&BoolValue<'_>>) -> Result<(), Status> {
    let is = cx.is_compressed();
    match expected {
        Some(expected) if expected.value != is => Err(Status::invalid_argument(format!(
            "the request was to be compressed: {}; it was: {is}",
            expected.value
        ))),
        _ => Ok(()),
    }
}

fn echo_status(status: Option<&EchoStatus<'_>>) -> Result<(), Status> {
    match status {
        Some(status) if status.code != 0 => {
            Err(Status::new(Code::from_i32(status.code), status.message.to_owned()))
        }
        _ => Ok(()),
    }
}

fn echo_metadata(cx: &Cx<'_>) -> Result<(), Status> {
    let wrong = |error: MetadataError| Status::internal(error.to_string());
    if let Some(value) = cx.metadata().value_str(ECHO_INITIAL) {
        cx.append_header(ECHO_INITIAL, value).map_err(wrong)?;
    }
    for value in cx.metadata().bin_values(ECHO_TRAILING) {
        cx.append_trailer_bin(ECHO_TRAILING, &value).map_err(wrong)?;
    }
    Ok(())
}
