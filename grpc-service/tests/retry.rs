//! Unary calls that a server provably did not process are sent again (rule 41), against a server of raw frames.

mod common;

use std::cell::RefCell;
use std::future::{Future, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{BytesClient, Raw, Ticking};
use grpc_arena::Arena;
use grpc_proto::hpack::FieldList;
use grpc_proto::http2::{Event, Session, Side};
use grpc_proto::{Code, Config, ErrorCode, Instant, Limits, Processed, Transmit};
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, ConnectError, Connector, Endpoint, Host,
    LocalFuture, ResponseMetadata,
};

/// What a server does to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Refuse,
    /// GOAWAY that names no stream at all.
    GoAway,
    Cancel,
    /// The head of an answer, and then REFUSED_STREAM.
    BeginAndRefuse,
    /// An empty message and OK.
    Answer,
}

/// The servers' script, one deed a request, and the connections to them.
#[derive(Clone)]
struct Servers(Rc<RefCell<State>>);

struct State {
    script: Vec<Deed>,
    seen: usize,
    lines: Vec<Line>,
}

struct Line {
    client: ClientConnection,
    server: Session,
    pipe: Vec<u8>,
}

impl Connector for Servers {
    fn connect(&self, _: &str, client: ClientConnection) -> LocalFuture<Result<(), ConnectError>> {
        let config = Config::new(Limits::default()).expect("the defaults");
        let server = Session::new(Side::Server, &config, 1, Instant::ZERO);
        self.0.borrow_mut().lines.push(Line { client, server, pipe: Vec::new() });
        Box::pin(ready(Ok(())))
    }
}

impl Servers {
    /// Moves bytes once over every connection.
    fn turn(&self, cx: &mut Context<'_>) {
        let state = &mut *self.0.borrow_mut();
        let (mut out, now) = (Transmit::new(), Instant::ZERO);
        for line in &mut state.lines {
            let mut input = &line.pipe[..];
            // An error is the end of a connection that was told to go.
            let _ = line.client.drive(&mut input, &mut out, cx, now);
            let sent: Vec<u8> = out.chunks().flatten().copied().collect();
            out.clear();
            let mut input = &sent[..];
            while let Ok(Some(event)) = line.server.poll(&mut input, now) {
                match event {
                    Event::Data(stream) => {
                        let len = line.server.take_data(&mut input, usize::MAX).len();
                        line.server.consume(stream, len as u32);
                    }
                    Event::End(stream) => {
                        let deed = state.script[state.seen];
                        state.seen += 1;
                        match deed {
                            Deed::Refuse => line.server.reset(stream, ErrorCode::REFUSED_STREAM),
                            Deed::Cancel => line.server.reset(stream, ErrorCode::CANCEL),
                            Deed::Answer => answer(&mut line.server, stream),
                            Deed::BeginAndRefuse => {
                                line.server.respond(stream, head()).unwrap();
                                line.server.poll_transmit(&mut out, now);
                                line.server.reset(stream, ErrorCode::REFUSED_STREAM);
                            }
                            Deed::GoAway => {}
                        }
                        if deed == Deed::GoAway {
                            // Length 8, type 7, stream 0, last stream 0, NO_ERROR.
                            line.pipe = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
                        }
                    }
                    _ => {}
                }
            }
            let reported = line.pipe.starts_with(b"\0\0\x08\x07");
            if !reported {
                line.server.poll_transmit(&mut out, now);
                line.pipe = out.chunks().flatten().copied().collect();
                out.clear();
            }
        }
    }
}

fn head() -> FieldList {
    let mut head = FieldList::new();
    head.push(b":status", b"200");
    head.push(b"content-type", b"application/grpc");
    head
}

fn answer(server: &mut Session, stream: grpc_proto::http2::StreamKey) {
    let mut trailers = FieldList::new();
    trailers.push(b"grpc-status", b"0");
    server.respond(stream, head()).unwrap();
    server.write(stream, b"\0\0\0\0\0").unwrap();
    server.finish(stream, Some(trailers)).unwrap();
}

/// The outcome of one call, what its metadata says of it, and how many requests and connections there were.
type Reported = (Code, Option<Processed>, usize, usize);

/// On a channel that connects by itself.
fn call(script: &[Deed]) -> Reported {
    call_over(script, |options, host, servers| {
        Channel::to("test", options, host, Rc::new(servers.clone()))
    })
}

/// On a channel of one connection.
fn call_on_one(script: &[Deed]) -> Reported {
    call_over(script, |options, host, servers| {
        let (channel, connection) = Channel::new("test", options, host);
        let connected = pin!(servers.connect("test", connection));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(connected.poll(&mut cx), Poll::Ready(Ok(()))));
        // SETTINGS come before anything that the script says.
        for _ in 0..2 {
            servers.turn(&mut cx);
        }
        channel
    })
}

fn call_over(
    script: &[Deed],
    channel: impl Fn(&ChannelOptions, Rc<dyn Host>, &Servers) -> Channel,
) -> Reported {
    let host = Rc::new(Ticking::default());
    let state = State { script: script.to_vec(), seen: 0, lines: Vec::new() };
    let servers = Servers(Rc::new(RefCell::new(state)));
    let shared = Rc::clone(&host) as Rc<dyn Host>;
    let channel = channel(&ChannelOptions::default(), shared, &servers);
    let stub = BytesClient::new(channel);
    let (arena, mut response) = (Arena::new(), ResponseMetadata::default());
    let request = Raw(b"request");
    let code = {
        let mut call =
            pin!(async { stub.echo(&request, &arena).response(&mut response).await.map(drop) });
        let mut cx = Context::from_waker(Waker::noop());
        let mut outcome = None;
        for _ in 0..100 {
            if let Poll::Ready(ended) = call.as_mut().poll(&mut cx) {
                outcome = Some(ended.map_or_else(|status| status.code(), |()| Code::Ok));
                break;
            }
            // Attempts to connect are so far apart.
            host.pass(Duration::from_secs(1), &mut cx);
            servers.turn(&mut cx);
        }
        outcome.expect("the call ends")
    };
    let state = servers.0.borrow();
    (code, response.processed, state.seen, state.lines.len())
}

#[test]
fn rule_41_a_refused_call_is_sent_again_once() {
    use Deed::{Answer, Refuse};
    assert_eq!(call(&[Answer]), (Code::Ok, Some(Processed::Maybe), 1, 1));
    assert_eq!(call(&[Refuse, Answer]), (Code::Ok, Some(Processed::Maybe), 2, 1));
    let twice = call(&[Refuse, Refuse, Answer]);
    assert_eq!(twice, (Code::Unavailable, Some(Processed::Refused), 2, 1));
}

#[test]
fn rule_41_a_call_above_the_last_stream_of_a_goaway_is_sent_again_elsewhere_once() {
    use Deed::{Answer, GoAway, Refuse};
    assert_eq!(call(&[GoAway, Answer]), (Code::Ok, Some(Processed::Maybe), 2, 2));
    let twice = call(&[GoAway, GoAway, Answer]);
    assert_eq!(twice, (Code::Unavailable, Some(Processed::Refused), 2, 2));
    assert_eq!(call(&[GoAway, Refuse, Answer]).0, Code::Unavailable);
}

#[test]
fn rule_41_a_channel_of_one_connection_sends_a_refused_call_again_on_it_once() {
    use Deed::{Answer, GoAway, Refuse};
    let again = call_on_one(&[Refuse, Answer]);
    assert_eq!(again, (Code::Ok, Some(Processed::Maybe), 2, 1));
    let twice = call_on_one(&[Refuse, Refuse, Answer]);
    assert_eq!(twice, (Code::Unavailable, Some(Processed::Refused), 2, 1));
    let gone = call_on_one(&[GoAway, Answer]);
    assert_eq!(gone, (Code::Unavailable, Some(Processed::Refused), 1, 1));
}

#[test]
fn rule_41_a_call_whose_answer_has_begun_is_not_sent_again() {
    let begun = call(&[Deed::BeginAndRefuse, Deed::Answer]);
    assert_eq!(begun, (Code::Unavailable, Some(Processed::Refused), 1, 1));
}

#[test]
fn rule_41_a_call_that_may_have_been_processed_is_never_sent_again() {
    let cancelled = call(&[Deed::Cancel, Deed::Answer]);
    assert_eq!(cancelled, (Code::Cancelled, Some(Processed::Maybe), 1, 1));
}
