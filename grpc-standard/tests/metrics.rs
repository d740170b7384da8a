//! What is counted of calls, and what it costs.

#![allow(unreachable_pub, dead_code, reason = "the allocator is shared with other tests")]

#[path = "../../tests/src/counting.rs"]
mod counting;

use std::rc::Rc;
use std::time::Duration;

use grpc_service::client::{Call, CallError};
use grpc_service::layers::{Layer, Next, Outgoing};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, Channel, ChannelOptions, Code, Cx, Method, Router, Server, ServerOptions, Sink, Status,
};
use grpc_standard::health::v1::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthClient, HealthListRequest,
    HealthListResponse, register_health,
};
use grpc_standard::metrics::{LATENCY_BOUNDS, Metrics, SIZE_BOUNDS, Series, Value};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Answers `Check` after as many milliseconds as the name has bytes, fails `List`, and never ends `Watch`.
struct Slow;

impl Health for Slow {
    async fn check<'a>(
        &self,
        cx: &Cx<'a>,
        request: HealthCheckRequest<'a>,
    ) -> Result<HealthCheckResponse<'a>, Status> {
        if !request.service.is_empty() {
            cx.sleep(Duration::from_millis(request.service.len() as u64)).await;
        }
        let status = grpc_standard::health::ServingStatus::SERVING;
        Ok(HealthCheckResponse { status, ..HealthCheckResponse::EMPTY })
    }

    async fn list<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthListRequest<'a>,
    ) -> Result<HealthListResponse<'a>, Status> {
        Err(Status::not_found("nothing"))
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

fn pair(metrics: &Metrics) -> (Channel, Pair) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_health(&mut router.around_all(metrics.server()), Rc::new(Slow));
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    Pair::new(&host, &server, &ChannelOptions::default())
}

fn check(pair: &mut Pair, client: &HealthClient, service: &str) {
    let (request, arena) =
        (HealthCheckRequest { service, ..HealthCheckRequest::EMPTY }, Arena::new());
    assert!(pair.block_on(client.check(&request, &arena)).is_ok());
}

/// The series of an instrument, by method and status.
fn find<'s>(
    all: &'s [Series],
    name: &str,
    method: &str,
    status: Option<Code>,
) -> Option<&'s Value> {
    let found = all
        .iter()
        .find(|series| (series.instrument, series.method, series.status) == (name, method, status));
    found.map(|series| &series.value)
}

/// The number of values, their sum, and the bounds around them.
fn histogram(value: Option<&Value>) -> (u64, f64, Vec<(f64, u64)>) {
    let Some(Value::Histogram { bounds, buckets, sum }) = value else { panic!("{value:?}") };
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let filled = bounds.zip(buckets.iter().copied()).filter(|(_, count)| *count > 0).collect();
    (buckets.iter().sum(), *sum, filled)
}

const CHECK: &str = "grpc.health.v1.Health/Check";
const LIST: &str = "grpc.health.v1.Health/List";
const WATCH: &str = "grpc.health.v1.Health/Watch";
const STARTED: &str = "grpc.server.call.started";
const DURATION: &str = "grpc.server.call.duration";
const SENT: &str = "grpc.server.call.sent_total_compressed_message_size";
const RECEIVED: &str = "grpc.server.call.rcvd_total_compressed_message_size";

/// A method that the server does not have.
enum Absent {}

impl Method for Absent {
    const PATH: &'static str = "/grpc.health.v1.Health/Absent";
    type Request = HealthCheckRequest<'static>;
    type Response = HealthCheckResponse<'static>;
}

#[test]
fn calls_are_counted_by_method_and_status_with_time_and_bytes() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&metrics);
    let client = HealthClient::new(channel.clone());
    check(&mut pair, &client, "");
    check(&mut pair, &client, "a name of 23 characters");
    check(&mut pair, &client, "a name of 23 characters");
    let arena = Arena::new();
    assert!(pair.block_on(client.list(&HealthListRequest::EMPTY, &arena)).is_err());
    let unknown = Call::<Absent, _>::unary(&channel, &HealthCheckRequest::EMPTY, &arena);
    assert!(pair.block_on(unknown).is_err());

    let all = metrics.collect();
    assert_eq!(find(&all, STARTED, CHECK, None), Some(&Value::Counter(3)));
    assert_eq!(find(&all, STARTED, LIST, None), Some(&Value::Counter(1)));
    assert_eq!(find(&all, STARTED, "other", None), Some(&Value::Counter(1)));
    let (count, sum, buckets) = histogram(find(&all, DURATION, CHECK, Some(Code::Ok)));
    assert_eq!((count, (sum * 1e3).round()), (3, 46.0));
    assert_eq!(buckets, [(0.0, 1), (0.025, 2)]);
    // A tag, a length, and the name.
    let (count, sum, buckets) = histogram(find(&all, RECEIVED, CHECK, Some(Code::Ok)));
    assert_eq!((count, sum, buckets), (3, 50.0, vec![(0.0, 1), (1024.0, 2)]));
    let (count, sum, _) = histogram(find(&all, SENT, CHECK, Some(Code::Ok)));
    assert_eq!((count, sum), (3, 6.0));
    let (count, sum, _) = histogram(find(&all, SENT, LIST, Some(Code::NotFound)));
    assert_eq!((count, sum), (1, 0.0));
    let (count, ..) = histogram(find(&all, DURATION, "other", Some(Code::Unimplemented)));
    assert_eq!(count, 1);
    assert_eq!(find(&all, DURATION, LIST, Some(Code::Ok)), None);
}

#[test]
fn calls_that_are_cancelled_or_late_are_counted_as_such() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&metrics);
    let client = HealthClient::new(channel);
    let mut arena = Arena::new();
    let request = HealthCheckRequest::EMPTY;
    let mut stream = pair.block_on(client.watch(&request)).expect("it opens");
    assert!(pair.block_on(stream.next(&mut arena)).is_ok());
    drop(stream);
    let late = client.watch(&request).timeout(Duration::from_secs(3));
    let mut stream = pair.block_on(late).expect("it opens");
    while pair.block_on(stream.next(&mut arena)).is_ok() {}
    pair.advance(Duration::from_secs(5));
    let all = metrics.collect();
    assert_eq!(find(&all, STARTED, WATCH, None), Some(&Value::Counter(2)));
    let (count, ..) = histogram(find(&all, DURATION, WATCH, Some(Code::Cancelled)));
    assert_eq!(count, 1);
    let (count, sum, buckets) =
        histogram(find(&all, DURATION, WATCH, Some(Code::DeadlineExceeded)));
    assert_eq!((count, sum.round(), buckets), (1, 3.0, vec![(5.0, 1)]));
}

#[test]
fn threads_are_added_up_and_what_a_layer_counted_stays() {
    let metrics = Metrics::new();
    let (first, mut one) = pair(&metrics);
    let (second, mut two) = pair(&metrics);
    check(&mut one, &HealthClient::new(first), "");
    let client = HealthClient::new(second);
    check(&mut two, &client, "");
    let before = metrics.collect();
    assert_eq!(find(&before, STARTED, CHECK, None), Some(&Value::Counter(2)));
    drop(one);
    assert_eq!(metrics.collect(), before);
    check(&mut two, &client, "");
    let started = metrics.collect();
    assert_eq!(find(&started, STARTED, CHECK, None), Some(&Value::Counter(3)));
}

#[test]
fn calls_of_a_client_and_their_attempts_are_counted_by_target() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&Metrics::new());
    let layers = (metrics.client_calls("test:1"), metrics.client_attempts("test:1"));
    let channel = channel.around(layers);
    let client = HealthClient::new(channel);
    check(&mut pair, &client, "a name of 23 characters");
    let mut arena = Arena::new();
    assert!(pair.block_on(client.list(&HealthListRequest::EMPTY, &arena)).is_err());
    let request = HealthCheckRequest::EMPTY;
    let mut stream = pair.block_on(client.watch(&request)).expect("it opens");
    assert!(pair.block_on(stream.next(&mut arena)).is_ok());
    drop(stream);
    pair.settle();
    let all = metrics.collect();
    assert!(all.iter().all(|series| series.target.as_deref() == Some("test:1")));
    for method in [CHECK, LIST, WATCH] {
        let started = find(&all, "grpc.client.attempt.started", method, None);
        assert_eq!(started, Some(&Value::Counter(1)), "{method}");
    }
    for name in ["grpc.client.attempt.duration", "grpc.client.call.duration"] {
        let (count, sum, _) = histogram(find(&all, name, CHECK, Some(Code::Ok)));
        assert_eq!((count, (sum * 1e3).round()), (1, 23.0), "{name}");
        let (count, ..) = histogram(find(&all, name, LIST, Some(Code::NotFound)));
        assert_eq!(count, 1, "{name}");
        let (count, ..) = histogram(find(&all, name, WATCH, Some(Code::Cancelled)));
        assert_eq!(count, 1, "{name}");
    }
    let sent = "grpc.client.attempt.sent_total_compressed_message_size";
    let received = "grpc.client.attempt.rcvd_total_compressed_message_size";
    assert_eq!(histogram(find(&all, sent, CHECK, Some(Code::Ok))).1, 25.0);
    assert_eq!(histogram(find(&all, received, CHECK, Some(Code::Ok))).1, 2.0);
    let page = metrics.prometheus();
    let line = format!(
        "grpc_client_attempt_started_total{{grpc_method=\"{CHECK}\",grpc_target=\"test:1\"}} 1"
    );
    assert!(page.lines().any(|it| it == line), "{page}");
    assert_eq!(page.matches("# TYPE").count(), 5);
}

/// Makes each call twice.
struct Twice;

impl<'a> Layer<Outgoing<'a>> for Twice {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        assert!(next.call(call).await.is_ok());
        next.call(call).await
    }
}

#[test]
fn a_call_that_is_made_again_is_one_call_with_two_attempts() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&metrics);
    let layers = (metrics.client_calls("t"), Twice, metrics.client_attempts("t"));
    check(&mut pair, &HealthClient::new(channel.around(layers)), "");
    let all = metrics.collect();
    let attempts = find(&all, "grpc.client.attempt.started", CHECK, None);
    assert_eq!(attempts, Some(&Value::Counter(2)));
    assert_eq!(find(&all, STARTED, CHECK, None), Some(&Value::Counter(2)));
    let (count, ..) = histogram(find(&all, "grpc.client.call.duration", CHECK, Some(Code::Ok)));
    assert_eq!(count, 1);
}

#[test]
fn names_units_and_buckets_are_those_of_grfc_a66() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&metrics);
    let layers = (metrics.client_calls("t"), metrics.client_attempts("t"));
    check(&mut pair, &HealthClient::new(channel.around(layers)), "");
    let all = metrics.collect();
    let instruments: Vec<_> = all
        .iter()
        .map(|it| (it.instrument, it.unit, it.target.is_some(), it.status.is_some()))
        .collect();
    let expected = [
        (STARTED, "{call}", false, false),
        (DURATION, "s", false, true),
        (SENT, "By", false, true),
        (RECEIVED, "By", false, true),
        ("grpc.client.attempt.started", "{attempt}", true, false),
        ("grpc.client.attempt.duration", "s", true, true),
        ("grpc.client.attempt.sent_total_compressed_message_size", "By", true, true),
        ("grpc.client.attempt.rcvd_total_compressed_message_size", "By", true, true),
        ("grpc.client.call.duration", "s", true, true),
    ];
    assert_eq!(instruments, expected);
    assert!(all.iter().all(|series| series.method == CHECK));
    // As the text of A66 lists them.
    let latency = "0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, \
        0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, \
        0.8, 1, 2, 5, 10, 20, 50, 100";
    let sizes = "0, 1024, 2048, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824, \
        4294967296";
    let parse = |text: &str| -> Vec<f64> {
        text.split(", ").map(|number| number.trim().parse().expect("a number")).collect()
    };
    assert_eq!(LATENCY_BOUNDS.to_vec(), parse(latency));
    assert_eq!(SIZE_BOUNDS.to_vec(), parse(sizes));
}

#[test]
fn the_page_for_prometheus_has_every_series_with_buckets_that_add_up() {
    let metrics = Metrics::new();
    assert_eq!(metrics.prometheus(), "");
    let (channel, mut pair) = pair(&metrics);
    let client = HealthClient::new(channel);
    check(&mut pair, &client, "");
    check(&mut pair, &client, "x");
    let page = metrics.prometheus();
    let of = format!("grpc_method=\"{CHECK}\"");
    let ok = format!("{of},grpc_status=\"OK\"");
    let name = "grpc_server_call_duration_seconds";
    for line in [
        "# TYPE grpc_server_call_started_total counter".to_owned(),
        format!("grpc_server_call_started_total{{{of}}} 2"),
        format!("# TYPE {name} histogram"),
        format!("{name}_bucket{{{ok},le=\"0\"}} 1"),
        format!("{name}_bucket{{{ok},le=\"0.0008\"}} 1"),
        format!("{name}_bucket{{{ok},le=\"0.001\"}} 2"),
        format!("{name}_bucket{{{ok},le=\"+Inf\"}} 2"),
        format!("{name}_sum{{{ok}}} 0.001"),
        format!("{name}_count{{{ok}}} 2"),
        format!("grpc_server_call_rcvd_total_compressed_message_size_bytes_sum{{{ok}}} 3"),
    ] {
        assert!(page.lines().any(|it| it == line), "{line}\n{page}");
    }
    assert_eq!(page.matches("# TYPE").count(), 4);
}

/// Calls that wait for nothing, one after the other.
fn run(pair: &mut Pair, client: &HealthClient, arena: &mut Arena, times: usize) {
    for _ in 0..times {
        arena.reset();
        let request = HealthCheckRequest::EMPTY;
        assert!(pair.block_on(client.check(&request, arena)).is_ok());
    }
}

#[test]
fn counting_allocates_nothing_once_a_method_and_status_have_occurred() {
    let metrics = Metrics::new();
    let (channel, mut pair) = pair(&metrics);
    let client = HealthClient::new(channel);
    let mut arena = Arena::new();
    run(&mut pair, &client, &mut arena, 100);
    let before = counting::taken();
    run(&mut pair, &client, &mut arena, 100);
    assert_eq!(counting::taken() - before, 0);
}

#[test]
fn layers_that_are_replaced_leave_their_sums_and_no_memory() {
    let metrics = Metrics::new();
    let deploy = || {
        let (channel, mut pair) = pair(&metrics);
        check(&mut pair, &HealthClient::new(channel), "");
    };
    deploy();
    let before = counting::live();
    (0..100).for_each(|_| deploy());
    assert!(counting::live() - before < 1024, "{} bytes", counting::live() - before);
    let all = metrics.collect();
    assert_eq!(find(&all, STARTED, CHECK, None), Some(&Value::Counter(101)));
}

/// The processor time that this thread has taken, which other programs make no longer (Linux).
fn processor_nanos() -> i64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("the first is a number")
}

/// `cargo test --release -p grpc-standard --test metrics -- --ignored --nocapture`: the cost of a call's metrics, of which 150 ns
/// are the most.
#[test]
#[ignore = "a measurement, which needs a release build and a quiet machine"]
fn metrics_cost_at_most_150_ns_a_call() {
    // The kernel counts processor time by ticks, which are milliseconds apart.
    const CALLS: usize = 100_000;
    let metrics = Metrics::new();
    let time = |around: bool| {
        let host = MemoryHost::new(1);
        let mut router = Router::new();
        if around {
            register_health(&mut router.around_all(metrics.server()), Rc::new(Slow));
        } else {
            register_health(&mut router, Rc::new(Slow));
        }
        let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
        let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
        let client = HealthClient::new(channel);
        let mut arena = Arena::new();
        run(&mut pair, &client, &mut arena, CALLS);
        let begun = processor_nanos();
        run(&mut pair, &client, &mut arena, CALLS);
        (processor_nanos() - begun) as f64 / CALLS as f64
    };
    let mut differences: Vec<f64> = (0..31).map(|_| time(true) - time(false)).collect();
    differences.sort_by(f64::total_cmp);
    let median = differences[differences.len() / 2];
    println!("metrics take {median:.0} ns a call");
    assert!(median <= 150.0, "{median:.0} ns");
}
