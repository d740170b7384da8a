//! Responses whose head is not gRPC's, through stubs of all four kinds: a call never ends with OK without its messages.

mod common;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use common::{BytesClient, Raw};
use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Status, Transmit};
use grpc_service::CallError;
use grpc_service::testing::MemoryHost;
use grpc_service::{Channel, ChannelOptions, Endpoint};

/// A frame of HTTP/2 on stream 1, or on 0 for SETTINGS.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, u8::from(kind != 4)];
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields without indexing (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields
        .iter()
        .flat_map(|&(name, value)| [vec![0x10], text(name), text(value)].concat())
        .collect()
}

/// What a server sends: a head, two messages `ok`, trailers with the status OK.
fn answer(http: &str, content_type: Option<&str>) -> Vec<u8> {
    let mut head = vec![(":status", http)];
    head.extend(content_type.map(|kind| ("content-type", kind)));
    let message = frame(0, 0, b"\0\0\0\0\x02ok");
    [
        frame(4, 0, b""),
        frame(1, 4, &block(&head)),
        message.clone(),
        message,
        frame(1, 5, &block(&[("grpc-status", "0")])),
    ]
    .concat()
}

/// The number of messages and the status that `call` yields when the server sends `bytes`.
fn outcome<F: Future<Output = (usize, Status)>>(
    bytes: &[u8],
    call: impl FnOnce(BytesClient) -> F,
) -> (usize, Status) {
    let host = Rc::new(MemoryHost::new(1));
    let (channel, mut end) = Channel::new("test", &ChannelOptions::default(), host);
    let mut call = pin!(call(BytesClient::new(channel)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut out = Transmit::new();
    let mut input = &b""[..];
    for turn in 0..10 {
        if let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) {
            return outcome;
        }
        if turn == 1 {
            input = bytes;
        }
        end.drive(&mut input, &mut out, &mut cx, Instant::ZERO).expect("the connection stays");
        out.clear();
    }
    panic!("the call does not end");
}

/// A response that is gRPC's although its content type has capitals yields its messages; any other one no OK.
#[test]
fn no_kind_of_call_loses_messages_under_ok() {
    let heads = [
        ("200", Some("APPLICATION/GRPC"), true),
        ("200", Some("text/html"), false),
        ("200", Some("application/grpc-web+proto"), false),
        ("200", None, false),
        ("500", Some("application/grpc"), false),
    ];
    for (http, content_type, is_grpc) in heads {
        let bytes = answer(http, content_type);
        let check = |name: &str, (messages, status): (usize, Status), one: bool| {
            let reported =
                format!("{name}, {http} {content_type:?}: {messages} messages, {status:?}");
            if is_grpc && one {
                assert_eq!(status.code(), Code::Unimplemented, "two where one belongs: {reported}");
            } else if is_grpc {
                assert_eq!((messages, status.code()), (2, Code::Ok), "{reported}");
            } else {
                assert_eq!((messages, status.code()), (0, Code::Unknown), "{reported}");
                let named = content_type.unwrap_or("no content-type");
                assert!(
                    status.message().contains(http) && status.message().contains(named),
                    "{reported}"
                );
            }
        };
        let unary = outcome(&bytes, |client| async move {
            let arena = Arena::new();
            let ended = client.echo(&Raw(b"x"), &arena).await;
            (0, ended.err().map_or(Status::OK, CallError::into_status))
        });
        check("unary", unary, true);
        let server_stream = outcome(&bytes, |client| async move {
            let mut stream = client.split(&Raw(b"x")).await.expect("opened");
            let (mut arena, mut messages) = (Arena::new(), 0);
            loop {
                match stream.next(&mut arena).await {
                    Ok(Some(_)) => messages += 1,
                    Ok(None) => return (messages, Status::OK),
                    Err(error) => return (messages, error.into_status()),
                }
            }
        });
        check("server stream", server_stream, false);
        let client_stream = outcome(&bytes, |client| async move {
            let stream = client.join().await.expect("opened");
            let arena = Arena::new();
            let ended = stream.finish(&arena).await;
            (0, ended.err().map_or(Status::OK, CallError::into_status))
        });
        check("client stream", client_stream, true);
        let bidi = outcome(&bytes, |client| async move {
            let mut stream = client.chat().await.expect("opened");
            let (mut arena, mut messages) = (Arena::new(), 0);
            loop {
                match stream.next(&mut arena).await {
                    Ok(Some(_)) => messages += 1,
                    Ok(None) => return (messages, Status::OK),
                    Err(error) => return (messages, error.into_status()),
                }
            }
        });
        check("bidi", bidi, false);
    }
}
