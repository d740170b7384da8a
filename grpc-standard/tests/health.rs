//! Health checks, in memory and on a virtual clock.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Arena, CallError, Channel, ChannelOptions, Code, Endpoint, Host, Limits, Router, Server,
    ServerOptions,
};
use grpc_standard::health::v1::{HealthClient, HealthListRequest};
use grpc_standard::health::{
    Checker, HealthReporter, LIST_LIMIT, ServingStatus, Watching, register,
};

const SECOND: Duration = Duration::from_secs(1);

struct Case {
    reporter: HealthReporter,
    host: Rc<MemoryHost>,
    channel: Channel,
    checker: Checker,
    pair: Pair,
}

fn case_with(limits: Limits) -> Case {
    let (host, reporter) = (MemoryHost::new(1), HealthReporter::new());
    let mut router = Router::new();
    register(&mut router, &reporter);
    let options = ServerOptions::new(limits).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let (channel, pair) = Pair::new(&host, &server, &ChannelOptions::default());
    Case { reporter, host, checker: Checker::new(channel.clone()), channel, pair }
}

fn case() -> Case {
    case_with(Limits::default())
}

impl Case {
    fn check(&mut self, service: &str) -> Result<ServingStatus, Code> {
        let checked = self.pair.block_on(self.checker.check(service, SECOND));
        checked.map_err(|status| status.code())
    }

    fn watch(&mut self, service: &str) -> Watching {
        self.pair.block_on(self.checker.watch(service)).expect("it opens")
    }

    fn next(&mut self, watching: &mut Watching) -> Result<Option<ServingStatus>, CallError> {
        self.pair.block_on(watching.next())
    }

    /// Whether nothing comes, however long one waits.
    fn is_quiet(&mut self, watching: &mut Watching) -> bool {
        self.pair.advance(Duration::from_secs(60));
        let mut next = pin!(watching.next());
        next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

#[test]
fn check_says_what_was_set_and_not_found_of_what_was_not() {
    let mut case = case();
    assert_eq!(case.check(""), Ok(ServingStatus::SERVING));
    assert_eq!(case.check("a.B"), Err(Code::NotFound));
    case.reporter.set_not_serving("a.B");
    assert_eq!(case.check("a.B"), Ok(ServingStatus::NOT_SERVING));
    case.reporter.set_serving("a.B");
    assert_eq!(case.check("a.B"), Ok(ServingStatus::SERVING));
    case.reporter.remove("a.B");
    assert_eq!(case.check("a.B"), Err(Code::NotFound));
}

#[test]
fn watch_says_each_change_and_unknown_names_keep_the_stream_open() {
    let mut case = case();
    let mut watching = case.watch("a.B");
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVICE_UNKNOWN)));
    assert!(case.is_quiet(&mut watching));
    type Change = fn(&HealthReporter);
    let changes: [(Change, ServingStatus); 4] = [
        (|it| it.set_serving("a.B"), ServingStatus::SERVING),
        (|it| it.set_not_serving("a.B"), ServingStatus::NOT_SERVING),
        (|it| it.remove("a.B"), ServingStatus::SERVICE_UNKNOWN),
        (|it| it.set_serving("a.B"), ServingStatus::SERVING),
    ];
    for (change, status) in changes {
        change(&case.reporter);
        assert_eq!(case.next(&mut watching), Ok(Some(status)));
    }
    case.reporter.set_serving("a.B");
    case.reporter.set_not_serving("another");
    assert!(case.is_quiet(&mut watching), "nothing has changed");
}

#[test]
fn a_watcher_that_does_not_read_misses_what_lies_between() {
    let mut case = case();
    let mut watching = case.watch("");
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVING)));
    // The server does not run between the two.
    case.reporter.set_not_serving("");
    case.reporter.set_serving("");
    assert!(case.is_quiet(&mut watching));
}

#[test]
fn list_has_every_service_and_a_hundred_at_most() {
    let mut case = case();
    for number in 1..LIST_LIMIT {
        case.reporter.set_not_serving(&format!("s{number}"));
    }
    let (client, arena) = (HealthClient::new(case.channel.clone()), Arena::new());
    let list = client.list(&HealthListRequest::EMPTY, &arena);
    let listed = case.pair.block_on(list).expect("a list");
    assert_eq!(listed.statuses.iter().count(), LIST_LIMIT);
    let status = |name| listed.statuses.get(name).map(|response| response.status);
    assert_eq!(status(""), Some(ServingStatus::SERVING));
    assert_eq!(status("s99"), Some(ServingStatus::NOT_SERVING));
    case.reporter.set_serving("one more");
    let list = client.list(&HealthListRequest::EMPTY, &arena);
    let refused = case.pair.block_on(list).expect_err("too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[test]
fn a_stop_says_not_serving_before_the_goaway_and_ends_the_watch() {
    let mut case = case();
    let mut watching = case.watch("");
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVING)));
    let now = Host::now(&case.host);
    case.pair.server().shutdown(now);
    // One byte after the other, until the status is there.
    case.pair.segment(1);
    let status = {
        let mut next = pin!(watching.next());
        loop {
            let polled = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(status) = polled {
                break status;
            }
            assert!(case.pair.step(), "nothing comes");
        }
    };
    assert_eq!(status, Ok(Some(ServingStatus::NOT_SERVING)));
    let goaway = |pair: &mut Pair| pair.client().protocol().session().goaway_received().is_some();
    assert!(!goaway(&mut case.pair), "the GOAWAY came first");
    let ended = case.next(&mut watching).expect_err("the watch ends");
    assert_eq!(ended.code(), Code::Unavailable);
    case.pair.settle();
    assert!(goaway(&mut case.pair));
    assert_eq!(case.reporter.status(""), ServingStatus::SERVING, "others may go on");
}

#[test]
fn a_connection_that_grows_old_ends_the_watch_and_says_nothing_wrong() {
    let mut limits = Limits::default();
    limits.max_age = Some(Duration::from_secs(10));
    let mut case = case_with(limits);
    let mut watching = case.watch("");
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVING)));
    let ended = case.next(&mut watching).expect_err("the watch ends");
    assert_eq!(ended.code(), Code::Unavailable);
}

#[test]
fn a_drain_of_the_reporter_holds_until_it_is_resumed() {
    let mut case = case();
    let mut watching = case.watch("a.B");
    case.reporter.set_serving("a.B");
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVING)));
    case.reporter.drain();
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::NOT_SERVING)));
    case.reporter.set_serving("a.B");
    case.reporter.set_serving("late");
    assert_eq!(case.check("late"), Ok(ServingStatus::NOT_SERVING));
    assert!(case.is_quiet(&mut watching));
    case.reporter.resume();
    assert_eq!(case.next(&mut watching), Ok(Some(ServingStatus::SERVING)));
}

#[test]
fn a_watch_that_has_ended_leaves_nothing_behind() {
    let mut case = case();
    for service in ["", "unknown"] {
        let mut watching = case.watch(service);
        assert!(case.next(&mut watching).is_ok());
        case.pair.settle();
        assert_eq!(case.reporter.watchers(), 1, "{service:?}");
        drop(watching);
        case.pair.settle();
        assert_eq!(case.reporter.watchers(), 0, "{service:?}");
    }
}
