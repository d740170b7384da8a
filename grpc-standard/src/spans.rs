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
//! [`ClientSpans`] does the same for the calls of a channel and their attempts, `Sent.` and `Attempt.`, as
//! `grpc.client.call` and `grpc.client.attempt`; an attempt has the field `previous-rpc-attempts` too.
//!
//! A call that a handler makes passes its own `traceparent` on (`grpc_service::client`), so the spans of the next service name the
//! same trace.

mod traceparent;

use std::fmt;

use grpc_service::client::CallError;
use grpc_service::layers::{CallView, Incoming, Layer, Next, Outgoing, observe, observe_calls};
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
        otel.name = %Named("Recv", call.method()),
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

/// A layer of a channel that puts each call, or each attempt, into a span of level INFO.
///
/// Where no subscriber wants the span, a call costs a look at that and nothing else.
///
/// ```
/// # fn f(channel: grpc_service::Channel) -> grpc_service::Channel {
/// use grpc_standard::spans::ClientSpans;
/// // A layer that makes calls again stands between the two.
/// channel.around((ClientSpans::calls(), ClientSpans::attempts()))
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClientSpans {
    attempts: bool,
}

impl ClientSpans {
    /// Spans of calls, `Sent.package.Service.Method`.
    pub const fn calls() -> Self {
        Self { attempts: false }
    }

    /// Spans of attempts, `Attempt.package.Service.Method`; put it within a layer that makes calls again.
    pub const fn attempts() -> Self {
        Self { attempts: true }
    }

    fn span_of(self, call: Outgoing<'_>) -> Span {
        let method = Some(call.method());
        if self.attempts {
            return info_span!(
                target: "grpc",
                "grpc.client.attempt",
                otel.name = %Named("Attempt", method),
                otel.kind = "client",
                "previous-rpc-attempts" = call.attempts(),
                grpc.status = Empty,
                otel.status_code = Empty,
                otel.status_description = Empty,
            );
        }
        info_span!(
            target: "grpc",
            "grpc.client.call",
            otel.name = %Named("Sent", method),
            otel.kind = "client",
            grpc.status = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        )
    }
}

impl<'a> Layer<Outgoing<'a>> for ClientSpans {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        let span = self.span_of(call);
        if span.is_disabled() {
            return next.call(call).await;
        }
        let recorded = observe_calls(|_: Outgoing<'_>, status: &Status| record(&span, status));
        recorded.call(call, next).instrument(span.clone()).await
    }
}

/// The name of a span: what the side does, and the method with dots.
struct Named(&'static str, Option<MethodDescriptor>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        let path = self.1.as_ref().map_or("other", MethodDescriptor::path);
        path.split('/').filter(|part| !part.is_empty()).try_for_each(|part| {
            f.write_str(".")?;
            f.write_str(part)
        })
    }
}
