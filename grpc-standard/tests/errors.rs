//! Errors with details, over a connection in memory.

use std::rc::Rc;
use std::time::Duration;

use grpc_arena::wkt;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, ChannelOptions, Code, Cx, Limits, Router, Server, ServerOptions, Sink, Status,
};
use grpc_standard::errors::{Details, ErrorDetails, rpc};
use grpc_standard::health::v1::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthClient, HealthListRequest,
    HealthListResponse, register_health,
};

/// A service whose calls all fail with the details that it was made with.
struct Failing(ErrorDetails);

impl Failing {
    fn failure(&self) -> Status {
        self.0.status(Code::InvalidArgument, "the request is wrong")
    }
}

impl Health for Failing {
    async fn check<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthCheckRequest<'a>,
    ) -> Result<HealthCheckResponse<'a>, Status> {
        Err(self.failure())
    }

    async fn list<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthListRequest<'a>,
    ) -> Result<HealthListResponse<'a>, Status> {
        Err(self.failure())
    }

    async fn watch<'a>(
        &self,
        _: &Cx<'a>,
        _: HealthCheckRequest<'a>,
        out: &mut Sink<'_, HealthCheckResponse<'static>>,
    ) -> Result<(), Status> {
        out.send(&HealthCheckResponse::EMPTY).await?;
        Err(self.failure())
    }
}

/// What clients get whose limit of a header list is `limit`: of a call without a message, and of one behind a message.
fn failures(details: ErrorDetails, limit: Option<u32>) -> [Status; 2] {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_health(&mut router, Rc::new(Failing(details)));
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let mut limits = Limits::default();
    limits.max_header_list_size = limit.unwrap_or(limits.max_header_list_size);
    let options = ChannelOptions::new(limits).expect("consistent limits");
    let (channel, mut pair) = Pair::new(&host, &server, &options);
    let client = HealthClient::new(channel);
    pair.settle();
    let mut arena = Arena::new();
    let request = HealthCheckRequest::EMPTY;
    let first = pair.block_on(client.check(&request, &arena)).expect_err("it fails").into_status();
    let mut stream = pair.block_on(client.watch(&request)).expect("it opens");
    assert!(pair.block_on(stream.next(&mut arena)).is_ok());
    let second = pair.block_on(stream.next(&mut arena)).expect_err("it fails").into_status();
    [first, second]
}

fn all_ten() -> ErrorDetails {
    ErrorDetails::new()
        .error_info("CARD_EXPIRED", "shop.example", &[("card", "4"), ("year", "2025")])
        .retry_info(Duration::from_millis(1500))
        .debug_info(&["main", "pay"], "an overflow")
        .quota_failure(&[("user:4", "10 calls a day")])
        .precondition_failure(&[("TOS", "shop.example", "not accepted"), ("AGE", "user:4", "17")])
        .bad_request(&[("name", "must not be empty"), ("card.year", "has passed")])
        .request_info("r-17", "shard 3")
        .resource_info("shop.Cart", "carts/7", "user:4", "locked")
        .help(&[("how to pay", "https://shop.example/pay")])
        .localized_message("fr-CH", "La carte a expiré.")
}

#[test]
fn all_ten_details_arrive_as_they_were_built() {
    for status in failures(all_ten(), None) {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "the request is wrong");
        let details = Details::of(&status).expect("a google.rpc.Status");
        assert_eq!(details.all().len(), 10);
        let info = details.get::<rpc::ErrorInfo<'_>>().unwrap().unwrap();
        assert_eq!((info.reason, info.domain), ("CARD_EXPIRED", "shop.example"));
        assert_eq!(info.metadata.get("year"), Some(&"2025"));
        let retry = details.get::<rpc::RetryInfo<'_>>().unwrap().unwrap();
        let pause = wkt::Duration { seconds: 1, nanos: 500_000_000, ..wkt::Duration::EMPTY };
        assert_eq!(retry.retry_delay, Some(&pause));
        let debug = details.get::<rpc::DebugInfo<'_>>().unwrap().unwrap();
        assert_eq!((debug.stack_entries, debug.detail), (&["main", "pay"][..], "an overflow"));
        let quota = details.get::<rpc::QuotaFailure<'_>>().unwrap().unwrap().violations[0];
        assert_eq!((quota.subject, quota.description), ("user:4", "10 calls a day"));
        let pre = details.get::<rpc::PreconditionFailure<'_>>().unwrap().unwrap().violations;
        assert_eq!((pre.len(), pre[1].r#type, pre[1].subject), (2, "AGE", "user:4"));
        assert_eq!(pre[0].description, "not accepted");
        let bad = details.get::<rpc::BadRequest<'_>>().unwrap().unwrap().field_violations;
        assert_eq!((bad.len(), bad[1].field, bad[1].description), (2, "card.year", "has passed"));
        let request = details.get::<rpc::RequestInfo<'_>>().unwrap().unwrap();
        assert_eq!((request.request_id, request.serving_data), ("r-17", "shard 3"));
        let resource = details.get::<rpc::ResourceInfo<'_>>().unwrap().unwrap();
        assert_eq!((resource.resource_type, resource.resource_name), ("shop.Cart", "carts/7"));
        assert_eq!((resource.owner, resource.description), ("user:4", "locked"));
        let link = details.get::<rpc::Help<'_>>().unwrap().unwrap().links[0];
        assert_eq!((link.description, link.url), ("how to pay", "https://shop.example/pay"));
        let text = details.get::<rpc::LocalizedMessage<'_>>().unwrap().unwrap();
        assert_eq!((text.locale, text.message), ("fr-CH", "La carte a expiré."));
    }
}

#[test]
fn the_status_within_says_the_same_as_the_status() {
    let status = all_ten().status(Code::NotFound, "a text");
    let arena = Arena::new();
    let limits = grpc_service::DecodeLimits::DEFAULT;
    let decoded =
        <rpc::Status<'static> as grpc_service::Schema>::decode(status.details(), &arena, &limits);
    let decoded = decoded.expect("a google.rpc.Status");
    assert_eq!((decoded.code, decoded.message), (5, "a text"));
    let url = decoded.details[5].type_url;
    assert_eq!(url, "type.googleapis.com/google.rpc.BadRequest");
}

#[test]
fn details_beyond_the_client_s_limit_are_cut_and_the_code_arrives() {
    let large = || ErrorDetails::new().debug_info(&[], &"x".repeat(5000));
    for status in failures(large(), Some(8192)) {
        assert_eq!(Details::of(&status).expect("details").all().len(), 1);
    }
    for status in failures(large(), Some(4096)) {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "the request is wrong");
        assert!(Details::of(&status).expect("none").all().is_empty());
    }
}

#[test]
fn a_status_without_details_has_none_and_bytes_that_are_none_are_an_error() {
    let plain = Details::of(&Status::not_found("nothing")).expect("none");
    assert!(plain.all().is_empty());
    assert_eq!(plain.get::<rpc::BadRequest<'_>>(), Ok(None));
    let wrong = Status::not_found("nothing").with_details(vec![0x0a, 0xff]);
    assert!(Details::of(&wrong).is_err());
    // A detail of a known type that does not decode.
    let detail = wkt::Any {
        type_url: "type.googleapis.com/google.rpc.BadRequest",
        value: &[0x0a, 0xff],
        ..wkt::Any::EMPTY
    };
    let status = rpc::Status { code: 3, details: &[detail], ..rpc::Status::EMPTY };
    let details = Details::from_bytes(&grpc_service::Encode::encode_to_vec(&status)).unwrap();
    assert!(details.get::<rpc::BadRequest<'_>>().is_err());
    assert_eq!(details.get::<rpc::Help<'_>>(), Ok(None));
}

#[test]
fn messages_of_one_s_own_are_details_too() {
    let own = HealthCheckRequest { service: "a.B", ..HealthCheckRequest::EMPTY };
    let status = ErrorDetails::new().with(&own).status(Code::Aborted, "later");
    let details = Details::of(&status).expect("details");
    assert_eq!(details.get::<HealthCheckRequest<'_>>(), Ok(Some(own)));
}

#[test]
fn a_pause_beyond_what_protobuf_has_is_the_longest() {
    for pause in [Duration::MAX, Duration::from_secs(1 << 60)] {
        let status = ErrorDetails::new().retry_info(pause).status(Code::Unavailable, "");
        let details = Details::of(&status).expect("details");
        let retry = details.get::<rpc::RetryInfo<'_>>().unwrap().unwrap();
        assert_eq!(retry.retry_delay.map(|pause| pause.seconds), Some(315_576_000_000));
    }
}
