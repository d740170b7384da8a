//! Spans of calls for the crate `tracing`, with the names of gRFC A72.
//!
//! [`ServerSpans`] is a layer. What a handler traces lies within the span of its call:
//!
//! ```
//! use grpc_service::Router;
//! use grpc_standard::spans::ServerSpans;
//!
//! let mut router = Router::new();
//! let mut routes = router.around_all(ServerSpans);
//! // register_greeter(&mut routes, Rc::new(Polite));
//! # let _ = &mut routes;
//! ```
//!
//! The span is called `grpc.server.call`, because names of `tracing` are constants; `tracing-opentelemetry` takes its name from the
//! field `otel.name`:
//!
//! | field | value |
//! |---|---|
//! | `otel.name` | `Recv.package.Service.Method`, and `Recv.other` for paths that the server does not have |
//! | `otel.kind` | `server` |
//! | `trace_id`, `parent_span_id`, `sampled` | of the request's `traceparent`, if it has a valid one (W3C Trace Context) |
//! | `grpc.status` | the name of the code that the call ends with, as `NOT_FOUND` |
//! | `otel.status_code`, `otel.status_description` | `OK`; or `ERROR`, and code and message as `NOT_FOUND, no such cart` |
//!
//! A call that a handler makes passes its own `traceparent` on (`grpc_service::client`), so the spans of the next service name the
//! same trace.

mod traceparent;

use std::fmt;

use grpc_service::layers::{CallView, Incoming, Layer, Next, observe};
use grpc_service::{MethodDescriptor, Status};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, info_span};

pub use traceparent::TraceParent;

/// A layer that puts each call into a span of level INFO.
///
/// Where no subscriber wants the span, a call costs a look at that and nothing else. Put it outside of the layers whose events
/// shall lie in the span.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSpans;

impl<'a> Layer<Incoming<'a>> for ServerSpans {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let span = span_of(call.view());
        if span.is_disabled() {
            return next.call(call).await;
        }
        let recorded = observe(|_: CallView<'_>, status: &Status| record(&span, status));
        recorded.call(call, next).instrument(span.clone()).await
    }
}

fn span_of(call: CallView<'_>) -> Span {
    let span = info_span!(
        target: "grpc",
        "grpc.server.call",
        otel.name = %Received(call.method()),
        otel.kind = "server",
        trace_id = Empty,
        parent_span_id = Empty,
        sampled = Empty,
        grpc.status = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    if !span.is_disabled()
        && let Some(parent) = TraceParent::of(call.metadata())
    {
        span.record("trace_id", display(format_args!("{:032x}", parent.trace_id)));
        span.record("parent_span_id", display(format_args!("{:016x}", parent.span_id)));
        span.record("sampled", parent.sampled);
    }
    span
}

fn record(span: &Span, status: &Status) {
    span.record("grpc.status", status.code().name());
    span.record("otel.status_code", if status.is_ok() { "OK" } else { "ERROR" });
    if !status.is_ok() {
        let described = format_args!("{}, {}", status.code(), status.message());
        span.record("otel.status_description", display(described));
    }
}

/// The name of a server's span.
struct Received(Option<MethodDescriptor>);

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(method) = self.0 else { return f.write_str("Recv.other") };
        f.write_str("Recv")?;
        method.path().split('/').filter(|part| !part.is_empty()).try_for_each(|part| {
            f.write_str(".")?;
            f.write_str(part)
        })
    }
}
