//! Each connection that is over is counted with its reason, at servers and at channels.

mod common;

use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{BytesClient, Echoing, Raw, register_echoing};
use grpc_arena::Arena;
use grpc_proto::{Instant, Limits, Transmit};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, CloseReason, Endpoint, Peer, Router, Server, ServerConnection,
    ServerOptions, TimedOut, Violation,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn server(change: impl FnOnce(&mut Limits)) -> (Rc<MemoryHost>, Server) {
    let mut limits = Limits::default();
    change(&mut limits);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing::default());
    let host = MemoryHost::new(1);
    let options = ServerOptions::new(limits).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    (host, server)
}

fn drive(end: &mut impl Endpoint, mut input: &[u8], seconds: u64) {
    let mut out = Transmit::new();
    let mut cx = Context::from_waker(Waker::noop());
    let now = Instant::from_millis(seconds * 1000);
    let _ = end.drive(&mut input, &mut out, &mut cx, now);
}

/// What a connection is made to end by.
type End = fn(&mut ServerConnection);
type AnyEnd = Box<dyn Fn(&mut ServerConnection)>;

#[test]
fn a_server_counts_each_connection_with_the_reason_of_its_end() {
    let (_, server) = server(|limits| limits.max_idle = Some(Duration::from_secs(5)));
    let frame = |kind: u8, stream: u8| [0, 0, 0, kind, 0, 0, 0, 0, stream];
    let mut ends: Vec<(CloseReason, AnyEnd)> = Vec::new();
    let plain: [(CloseReason, End); 9] = [
        (CloseReason::Violation(Violation::BadPreface), |end| drive(end, b"nonsense", 0)),
        (CloseReason::Violation(Violation::Http1Request), |end| drive(end, b"GET / HTTP/1.1", 0)),
        (CloseReason::NotHttp2Tls, |end| drive(end, &[22, 3, 1, 2, 0, 1], 0)),
        (CloseReason::TimedOut(TimedOut::Preface), |end| drive(end, b"", 10)),
        (CloseReason::TimedOut(TimedOut::SettingsAck), |end| {
            drive(end, PREFACE, 0);
            drive(end, &[0, 0, 1, 0xbe, 0, 0, 0, 0, 0, 7], 10);
            drive(end, b"", 11);
        }),
        (CloseReason::MaxIdle, |end| {
            drive(end, b"", 6);
            drive(end, b"", 6);
        }),
        (CloseReason::Drained, |end| {
            end.shutdown(Instant::ZERO);
            drive(end, b"", 0);
        }),
        (CloseReason::ClosedByUs, |end| {
            end.abort(Instant::ZERO);
            drive(end, b"", 0);
        }),
        (CloseReason::Closed, |end| {
            drive(end, PREFACE, 0);
            end.close_read(Instant::ZERO);
            drive(end, b"", 0);
        }),
    ];
    for (reason, end) in plain {
        ends.push((reason, Box::new(end)));
    }
    for (violation, kind, stream) in [
        (Violation::FrameOnStreamZero, 0, 0),
        (Violation::FrameOnStream, 4, 1),
        (Violation::PushPromise, 5, 1),
        (Violation::FrameLength, 6, 0),
        (Violation::ContinuationUnexpected, 9, 1),
    ] {
        let bytes = [PREFACE, &frame(kind, stream)].concat();
        let end = move |end: &mut ServerConnection| drive(end, &bytes, 0);
        ends.push((CloseReason::Violation(violation), Box::new(end)));
    }
    ends.push((CloseReason::Dropped, Box::new(|end| drive(end, PREFACE, 0))));
    for (n, (reason, end)) in ends.iter().enumerate() {
        // Twice and three times, so that no count is that of its neighbour.
        for _ in 0..2 + n % 2 {
            let mut connection = server.accept(Peer::memory());
            end(&mut connection);
        }
        assert_eq!(server.stats().connections_closed.get(*reason), 2 + n as u64 % 2, "{reason}");
    }
    let open = server.accept(Peer::memory());
    let stats = server.stats();
    assert_eq!(stats.connections_open, 1);
    assert_eq!(stats.connections_closed.total(), stats.connections_accepted - 1);
    let met = stats.connections_closed.iter().filter(|&(_, count)| count > 0).count();
    assert_eq!(met, ends.len(), "{stats:?}");
    drop(open);
}

fn channel(host: &Rc<MemoryHost>, server: &Server) -> (Channel, Pair) {
    let options = ChannelOptions::new(Limits::default()).expect("consistent limits");
    Pair::new(host, server, &options)
}

#[test]
fn a_channel_counts_its_connection_with_the_reason_of_its_end() {
    let (host, server) = server(|_| {});
    let (channel, mut pair) = channel(&host, &server);
    let stub = BytesClient::new(channel.clone());
    let arena = Arena::new();
    pair.block_on(stub.echo(&Raw(b"x"), &arena)).expect("served");
    let stats = channel.stats();
    assert_eq!((stats.connections_begun, stats.connections_open), (1, 1));
    assert_eq!((stats.connections_closed.total(), stats.connections.streams_opened), (0, 1));
    drop(pair);
    let stats = channel.stats();
    assert_eq!((stats.connections_begun, stats.connections_open), (1, 0));
    assert_eq!(stats.connections_closed.get(CloseReason::Dropped), 1);
    assert_eq!((stats.connections_closed.total(), stats.connections.streams_opened), (1, 1));
}

#[test]
fn a_channel_tells_what_its_server_did() {
    let host = MemoryHost::new(1);
    let answers: [(CloseReason, &[u8]); 5] = [
        (CloseReason::NotHttp2Http1, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (CloseReason::NotHttp2Tls, &[21, 3, 3, 0, 2, 2, 10, 0, 0]),
        (CloseReason::Violation(Violation::FirstFrameNotSettings), &[0, 0, 0, 6, 0, 0, 0, 0, 0]),
        (CloseReason::Violation(Violation::FrameOnStream), &[0, 0, 0, 4, 0, 0, 0, 0, 1]),
        (CloseReason::PeerGoAway, b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    for (reason, answer) in answers {
        let options = ChannelOptions::new(Limits::default()).expect("consistent limits");
        let (channel, mut end) = Channel::new("test", &options, Rc::new(Rc::clone(&host)));
        drive(&mut end, b"", 0);
        drive(&mut end, answer, 0);
        drop(end);
        let closed = channel.stats().connections_closed;
        assert_eq!((closed.get(reason), closed.total()), (1, 1), "{reason}: {closed:?}");
    }
}
