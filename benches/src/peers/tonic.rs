//! Echo and streams over tonic: the service, the client's work, and a pair in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::{Channel, Endpoint, Server, server::Router};
use tonic::{Request, Response, Status, Streaming};
use tower::layer::util::{Identity, Stack};

use super::tonic_echo::{
    Payload,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};
use super::tonic_streams::{
    Chunk, Order, Total,
    streams_client::StreamsClient,
    streams_server::{Streams, StreamsServer},
};
use crate::exchange;
use crate::work::{self, Work};

/// Serves echo and all three kinds of stream.
#[derive(Clone, Copy, Debug)]
pub struct Service;

#[tonic::async_trait]
impl Echo for Service {
    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

#[tonic::async_trait]
impl Streams for Service {
    type DownloadStream = Repeated<fn(Chunk) -> Result<Chunk, Status>>;

    async fn download(
        &self,
        request: Request<Order>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let Order { size, count } = request.into_inner();
        Ok(Response::new(Repeated { chunk: chunk(size as usize), left: count, each: Ok }))
    }

    async fn upload(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Total>, Status> {
        let mut chunks = request.into_inner();
        let (mut messages, mut bytes) = (0, 0);
        while let Some(chunk) = chunks.message().await? {
            messages += 1;
            bytes += chunk.body.len();
        }
        std::hint::black_box(bytes);
        Ok(Response::new(Total { messages }))
    }

    type PingPongStream = Streaming<Chunk>;

    async fn ping_pong(
        &self,
        request: Request<Streaming<Chunk>>,
    ) -> Result<Response<Streaming<Chunk>>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

/// One message, again and again.
#[derive(Debug)]
pub struct Repeated<F> {
    chunk: Chunk,
    left: u64,
    each: F,
}

impl<T, F: FnMut(Chunk) -> T + Unpin> Stream for Repeated<F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let chunk = self.chunk.clone();
        Poll::Ready(Some((self.each)(chunk)))
    }
}

fn chunk(size: usize) -> Chunk {
    Chunk { body: exchange::body(size).collect() }
}

/// A server with the windows of the comparison, and its services.
pub fn server() -> Router {
    Server::builder()
        .initial_stream_window_size(work::STREAM_WINDOW)
        .initial_connection_window_size(work::CONNECTION_WINDOW)
        .add_service(EchoServer::new(Service))
        .add_service(StreamsServer::new(Service))
}

/// [`server`] behind tonic-web, for gRPC-Web over HTTP/1.1 too.
pub fn web_server() -> Router<Stack<tonic_web::GrpcWebLayer, Identity>> {
    Server::builder()
        .accept_http1(true)
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(EchoServer::new(Service))
}

/// A channel's settings with the windows of the comparison.
///
/// # Errors
/// The address is none.
pub fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::try_from(format!("http://{address}"))?
        .initial_stream_window_size(work::STREAM_WINDOW)
        .initial_connection_window_size(work::CONNECTION_WINDOW))
}

/// Does one piece of work: `count` calls, or one stream of so many messages; `done` is called for each.
///
/// # Errors
/// The status of a call that failed.
pub async fn work(
    channel: Channel,
    work: Work,
    body: usize,
    count: u64,
    done: impl Fn() + Send + Unpin + 'static,
) -> Result<(), Status> {
    let chunk = chunk(body);
    if work == Work::Unary {
        let mut stub = EchoClient::new(channel);
        for _ in 0..count {
            let reply = stub.unary(Payload { body: chunk.body.clone() }).await?;
            assert_eq!(reply.into_inner().body.len(), body);
            done();
        }
        return Ok(());
    }
    let mut stub = StreamsClient::new(channel);
    match work {
        Work::Unary => {}
        Work::Download => {
            let order = Order { size: body as u32, count };
            let mut chunks = stub.download(order).await?.into_inner();
            while let Some(chunk) = chunks.message().await? {
                assert_eq!(chunk.body.len(), body);
                done();
            }
        }
        Work::Upload => {
            let each = move |chunk| {
                done();
                chunk
            };
            let total = stub.upload(Repeated { chunk, left: count, each }).await?;
            assert_eq!(total.into_inner().messages, count);
        }
        Work::PingPong => {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let mut back = None;
            let mut receiver = Some(receiver);
            for _ in 0..count {
                let _ = sender.send(chunk.clone()).await;
                if let Some(receiver) = receiver.take() {
                    let stream = stub.ping_pong(ReceiverStream::new(receiver)).await?;
                    back = Some(stream.into_inner());
                }
                let message = back.as_mut().expect("it was opened").next().await.transpose()?;
                assert_eq!(message.map(|chunk| chunk.body.len()), Some(body));
                done();
            }
        }
    }
    Ok(())
}

/// A connected pair in memory, on one current-thread runtime.
pub struct Pair {
    runtime: Runtime,
    channel: Channel,
}

impl Pair {
    /// Connects a client and a server.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (near, far) = tokio::io::duplex(1 << 20);
        let channel = runtime.block_on(async {
            let incoming = tokio_stream::iter([Ok::<_, std::io::Error>(far)]);
            tokio::spawn(server().serve_with_incoming(incoming.chain(tokio_stream::pending())));
            let mut near = Some(TokioIo::new(near));
            let connector = tower::service_fn(move |_| {
                let near = near.take().ok_or_else(|| std::io::Error::other("connected once"));
                async { near }
            });
            let endpoint = endpoint("test").expect("an address");
            endpoint.connect_with_connector(connector).await.expect("a connection in memory")
        });
        Self { runtime, channel }
    }

    /// Sends `messages` messages of `body` bytes over as many `streams`, and checks that all have come.
    pub fn run(&mut self, kind: Work, body: usize, streams: u64, messages: u64) {
        self.runtime.block_on(async {
            let works: Vec<_> = (0..streams)
                .map(|index| {
                    let share = messages / streams + u64::from(index < messages % streams);
                    tokio::spawn(work(self.channel.clone(), kind, body, share, || {}))
                })
                .collect();
            for work in works {
                work.await.expect("no task panics").expect("no stream fails");
            }
        });
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
