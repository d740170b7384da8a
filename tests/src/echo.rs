//! A service of plain bytes, and a pair of ends in memory that speak it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use grpc_proto::Limits;
use grpc_service::layers::{
    Auth, CallView, CheckToken, ConcurrencyLimit, RateLimit, RequestLog, Timeout, WithToken,
    observe,
};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, Recordings, Router, Server, ServerOptions, Sink, Status};

use crate::bytes::{Blob, Bytes, BytesClient, register_bytes};

/// Sends everything back: data, and the metadata whose names begin with `x-` as headers and as trailers.
#[derive(Debug, Default)]
pub struct Echoing;

impl Bytes for Echoing {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Blob<'a>) -> Result<Blob<'a>, Status> {
        for entry in cx.metadata().iter().filter(|entry| entry.name.starts_with(b"x-")) {
            let texts = (std::str::from_utf8(entry.name), std::str::from_utf8(entry.value));
            if let (Ok(name), Ok(value)) = texts {
                // What came as metadata is valid as metadata.
                let _ = cx.append_header(name, value);
                let _ = cx.append_trailer(name, value);
            }
        }
        if request.wait {
            pause(cx).await;
        }
        Ok(request)
    }

    async fn repeat<'a>(
        &self,
        cx: &Cx<'a>,
        request: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        for count in 0..request.count {
            if request.wait {
                pause(cx).await;
            }
            out.send(&Blob { count, ..request }).await?;
        }
        Ok(())
    }

    type Sum<'s> = Summing;

    async fn sum(&self, _cx: &Cx<'_>) -> Result<Summing, Status> {
        Ok(Summing { count: 0 })
    }

    type Chat<'s> = Chatting;

    async fn chat(&self, _cx: &Cx<'_>) -> Result<Chatting, Status> {
        Ok(Chatting)
    }
}

/// One call of `Sum`.
#[derive(Debug)]
pub struct Summing {
    count: u64,
}

impl ClientStreamingCall<Blob<'static>, Blob<'static>> for Summing {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Blob<'a>) -> Result<(), Status> {
        if message.wait {
            pause(cx).await;
        }
        self.count += message.data.len() as u64;
        Ok(())
    }

    async fn finish<'a>(self, _cx: &Cx<'a>) -> Result<Blob<'a>, Status> {
        Ok(Blob { count: self.count, ..Blob::default() })
    }
}

/// One call of `Chat`.
#[derive(Debug)]
pub struct Chatting;

impl BidiCall<Blob<'static>, Blob<'static>> for Chatting {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        if message.wait {
            pause(cx).await;
        }
        out.send(&message).await
    }
}

/// Waits twice: for a wake, and for time.
async fn pause(cx: &Cx<'_>) {
    yield_now().await;
    cx.sleep(Duration::from_micros(10)).await;
}

/// Lets everything else go on once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A connected pair that serves `service`, with the same limits at both ends.
///
/// # Panics
/// When the limits contradict each other.
pub fn connect<S: Bytes>(service: S, limits: &Limits) -> (BytesClient, Pair) {
    connect_recorded(service, limits, None)
}

/// As [`connect`], with both ends recorded if there are recordings.
///
/// # Panics
/// As there.
pub fn connect_recorded<S: Bytes>(
    service: S,
    limits: &Limits,
    recordings: Option<&Recordings>,
) -> (BytesClient, Pair) {
    connect_router(limits, recordings, |router| register_bytes(router, Rc::new(service)))
}

/// As [`connect`], with five layers around each call at the server and three at the client.
///
/// # Panics
/// As there.
pub fn connect_layered<S: Bytes>(service: S, limits: &Limits) -> (BytesClient, Pair) {
    let (hour, many) = (Duration::from_secs(3600), 1_000_000);
    let (stub, pair) = connect_router(limits, None, |router| {
        let ends = observe(|call: CallView<'_>, _: &Status| {
            std::hint::black_box(call.counts());
        });
        let log = RequestLog::new(|line| {
            std::hint::black_box(line);
        });
        let limit = ConcurrencyLimit::new(many, many);
        let layers = (ends, log, Timeout(hour), limit, Auth(Anyone));
        register_bytes(&mut router.around_all(layers), Rc::new(service));
    });
    let rate = RateLimit::new(u32::MAX, Duration::from_secs(1), u32::MAX);
    let channel = stub.channel().around((Timeout(hour), rate, WithToken("a token")));
    (BytesClient::new(channel), pair)
}

/// Knows every token.
struct Anyone;

impl CheckToken for Anyone {
    type Identity = usize;

    async fn check(&self, _: CallView<'_>, token: &str) -> Result<usize, Status> {
        Ok(token.len())
    }
}

fn connect_router(
    limits: &Limits,
    recordings: Option<&Recordings>,
    register: impl FnOnce(&mut Router),
) -> (BytesClient, Pair) {
    let host = MemoryHost::new(7);
    let mut router = Router::new();
    register(&mut router);
    let mut options = ServerOptions::new(limits.clone()).expect("consistent limits");
    if let Some(recordings) = recordings {
        options = options.record(recordings.clone());
    }
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let mut options = ChannelOptions::new(limits.clone()).expect("consistent limits");
    if let Some(recordings) = recordings {
        options = options.record(recordings.clone());
    }
    let (channel, pair) = Pair::new(&host, &server, &options);
    (BytesClient::new(channel), pair)
}
