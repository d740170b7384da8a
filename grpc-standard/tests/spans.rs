//! Spans of calls, as a subscriber gets them.

#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpc_service::client::Call;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, ChannelOptions, Cx, Metadata, Method, Router, Server, ServerOptions, Sink, Status,
};
use grpc_standard::health::v1::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthClient, HealthListRequest,
    HealthListResponse, register_health,
};
use grpc_standard::spans::{ClientSpans, ServerSpans};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

type Fields = BTreeMap<String, String>;

/// What a subscriber has seen of the spans: their names, levels and fields, and in which of them events lay.
#[derive(Default)]
struct Seen {
    spans: Vec<(&'static str, Fields)>,
    /// The span around each of them, or 0.
    parents: Vec<u64>,
    entered: Vec<u64>,
    events: Vec<u64>,
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Seen>>);

struct Into<'f>(&'f mut Fields);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().expect("no panic");
        let parent = seen.entered.last().copied().unwrap_or(0);
        seen.parents.push(parent);
        let mut fields = Fields::new();
        span.record(&mut Into(&mut fields));
        seen.spans.push((span.metadata().name(), fields));
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut seen = self.0.lock().expect("no panic");
        let fields = &mut seen.spans[span.into_u64() as usize - 1].1;
        values.record(&mut Into(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let mut seen = self.0.lock().expect("no panic");
        let within = seen.entered.last().copied().unwrap_or(0);
        seen.events.push(within);
    }

    fn enter(&self, span: &Id) {
        self.0.lock().expect("no panic").entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().expect("no panic").entered.pop();
    }
}

/// Traces an event before and after it waits; fails `List`, and never ends `Watch`.
struct Tracing;

impl Health for Tracing {
    async fn check<'a>(
        &self,
        cx: &Cx<'a>,
        _: HealthCheckRequest<'a>,
    ) -> Result<HealthCheckResponse<'a>, Status> {
        tracing::info!("before");
        cx.sleep(Duration::from_secs(1)).await;
        tracing::info!("after");
        Ok(HealthCheckResponse::EMPTY)
    }

    async fn list<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthListRequest<'a>,
    ) -> Result<HealthListResponse<'a>, Status> {
        Err(Status::not_found("no such list"))
    }

    async fn watch<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthCheckRequest<'a>,
        out: &mut Sink<'_, HealthCheckResponse<'static>>,
    ) -> Result<(), Status> {
        out.send(&HealthCheckResponse::EMPTY).await?;
        std::future::pending().await
    }
}

enum Absent {}

impl Method for Absent {
    const PATH: &'static str = "/grpc.health.v1.Health/Absent";
    type Request = HealthCheckRequest<'static>;
    type Response = HealthCheckResponse<'static>;
}

/// Runs calls under a subscriber.
fn seen(calls: impl FnOnce(&mut Pair, &HealthClient)) -> Seen {
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), || {
        let host = MemoryHost::new(1);
        let mut router = Router::new();
        register_health(&mut router.around_all(ServerSpans), Rc::new(Tracing));
        let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
        let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
        calls(&mut pair, &HealthClient::new(channel));
    });
    std::mem::take(&mut *collector.0.lock().expect("no panic"))
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_call_is_a_span_with_the_name_of_a72_and_its_events_lie_in_it() {
    let seen = seen(|pair, client| {
        let (request, arena, mut metadata) =
            (HealthCheckRequest::EMPTY, Arena::new(), Metadata::new());
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00ad6b7169203331-01";
        metadata.append("traceparent", parent).expect("text");
        let call = client.check(&request, &arena).metadata(&metadata);
        assert!(pair.block_on(call).is_ok());
        tracing::info!("outside");
    });
    let expected = fields(&[
        ("otel.name", "Recv.grpc.health.v1.Health.Check"),
        ("otel.kind", "server"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("parent_span_id", "00ad6b7169203331"),
        ("sampled", "true"),
        ("grpc.status", "OK"),
        ("otel.status_code", "OK"),
    ]);
    assert_eq!(seen.spans, [("grpc.server.call", expected)]);
    assert_eq!(seen.events, [1, 1, 0]);
    assert!(seen.entered.is_empty());
}

#[test]
fn failures_and_cancellations_are_errors_that_say_code_and_message() {
    let seen = seen(|pair, client| {
        let mut arena = Arena::new();
        assert!(pair.block_on(client.list(&HealthListRequest::EMPTY, &arena)).is_err());
        let request = HealthCheckRequest::EMPTY;
        let absent = Call::<Absent, _>::unary(client.channel(), &request, &arena);
        assert!(pair.block_on(absent).is_err());
        let mut stream = pair.block_on(client.watch(&request)).expect("it opens");
        assert!(pair.block_on(stream.next(&mut arena)).is_ok());
        drop(stream);
        pair.settle();
    });
    let found: Vec<[&str; 3]> = seen
        .spans
        .iter()
        .map(|(_, fields)| {
            let field = |name| fields.get(name).map_or("", String::as_str);
            [field("otel.name"), field("grpc.status"), field("otel.status_code")]
        })
        .collect();
    assert_eq!(
        found,
        [
            ["Recv.grpc.health.v1.Health.List", "NOT_FOUND", "ERROR"],
            ["Recv.other", "UNIMPLEMENTED", "ERROR"],
            ["Recv.grpc.health.v1.Health.Watch", "CANCELLED", "ERROR"],
        ]
    );
    assert_eq!(seen.spans[0].1["otel.status_description"], "NOT_FOUND, no such list");
    assert!(!seen.spans[0].1.contains_key("trace_id"));
}

#[test]
fn calls_and_attempts_of_a_client_are_spans_within_each_other() {
    let seen = seen(|pair, client| {
        let layers = (ClientSpans::calls(), ClientSpans::attempts());
        let client = HealthClient::new(client.channel().around(layers));
        let mut arena = Arena::new();
        let request = HealthCheckRequest::EMPTY;
        assert!(pair.block_on(client.check(&request, &arena)).is_ok());
        assert!(pair.block_on(client.list(&HealthListRequest::EMPTY, &arena)).is_err());
        let mut stream = pair.block_on(client.watch(&request)).expect("it opens");
        assert!(pair.block_on(stream.next(&mut arena)).is_ok());
        drop(stream);
        pair.settle();
    });
    let mut found = Vec::new();
    for ((name, fields), parent) in seen.spans.iter().zip(&seen.parents) {
        let field = |name| fields.get(name).map_or("", String::as_str);
        if name.starts_with("grpc.client") {
            let outer = parent.checked_sub(1).map_or("", |place| seen.spans[place as usize].0);
            found.push([field("otel.name"), outer, field("grpc.status"), field("otel.kind")]);
        }
    }
    let sent = |method: &str| format!("Sent.grpc.health.v1.Health.{method}");
    let attempt = |method: &str| format!("Attempt.grpc.health.v1.Health.{method}");
    assert_eq!(
        found,
        [
            [&*sent("Check"), "", "OK", "client"],
            [&*attempt("Check"), "grpc.client.call", "OK", "client"],
            [&*sent("List"), "", "NOT_FOUND", "client"],
            [&*attempt("List"), "grpc.client.call", "NOT_FOUND", "client"],
            [&*sent("Watch"), "", "CANCELLED", "client"],
            [&*attempt("Watch"), "grpc.client.call", "CANCELLED", "client"],
        ]
    );
    assert_eq!(seen.spans[1].1["previous-rpc-attempts"], "0");
}
