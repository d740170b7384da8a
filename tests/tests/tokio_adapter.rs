//! A second runtime: the route guide, unmodified, over tokio's sockets and timers on a `LocalSet`.
//!
//! This file is the whole adapter, and what `docs/embedding.md` refers to.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use examples::guide::{Guide, tour};
use examples::routeguide::register_route_guide;
use grpc_proto::{Instant, Transmit};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, ClientConnection, ConnectError, Connector, Endpoint, Host,
    LocalFuture, Peer, Router, Server, ServerOptions,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Sleep, sleep_until};

/// Time, tasks and entropy from tokio and the system.
struct TokioHost {
    origin: tokio::time::Instant,
}

impl TokioHost {
    fn shared() -> Rc<dyn Host> {
        Rc::new(Self { origin: tokio::time::Instant::now() })
    }
}

impl Host for TokioHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        Box::pin(sleep_until(self.origin + (at - Instant::ZERO)))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        spawn_local(task);
    }

    fn entropy(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }
}

/// One connection: a socket, an endpoint, and what lies between them.
struct Line<E> {
    end: E,
    stream: TcpStream,
    host: Rc<dyn Host>,
    input: Vec<u8>,
    /// What of `input` was consumed.
    taken: usize,
    out: Transmit,
    timer: Pin<Box<Sleep>>,
    over: bool,
}

impl<E: Endpoint> Line<E> {
    fn new(end: E, stream: TcpStream, host: Rc<dyn Host>) -> Self {
        Self {
            end,
            stream,
            host,
            input: Vec::new(),
            taken: 0,
            out: Transmit::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            over: false,
        }
    }

    /// Drives the endpoint until it is done and its last words are written.
    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.host.now();
            if !self.over {
                let mut rest = &self.input[self.taken..];
                let driven = self.end.drive(&mut rest, &mut self.out, cx, now);
                self.taken = self.input.len() - rest.len();
                self.over = driven.is_err() || self.end.is_drained();
            }
            let wrote = !self.out.is_empty();
            let written = self.poll_write(cx);
            if self.over {
                return written;
            }
            // Both new input and a completed write are reasons to drive once more.
            let read = self.poll_read(cx);
            if read.is_pending() && !(wrote && written.is_ready()) {
                return self.poll_timer(cx);
            }
        }
    }

    /// Writes all that there is.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.out.is_empty() {
            let chunk = self.out.chunks().next().unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, chunk));
            match written {
                Ok(bytes @ 1..) => self.out.advance(bytes),
                _ => {
                    self.out.clear();
                    self.end.close_read(self.host.now());
                }
            }
        }
        Poll::Ready(())
    }

    /// Reads once, if all that was read before is consumed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken < self.input.len() {
            return Poll::Pending;
        }
        self.input.resize(64 << 10, 0);
        self.taken = self.input.len();
        let mut buffer = ReadBuf::new(&mut self.input);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        let filled = buffer.filled().len();
        self.input.truncate(filled);
        self.taken = 0;
        if read.is_err() || filled == 0 {
            self.end.close_read(self.host.now());
        }
        Poll::Ready(())
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.end.poll_timeout() else { return Poll::Pending };
        let deadline = tokio::time::Instant::now() + (at - self.host.now());
        self.timer.as_mut().reset(deadline);
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

struct TokioConnector {
    host: Rc<dyn Host>,
}

impl Connector for TokioConnector {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let (address, host) = (address.to_owned(), Rc::clone(&self.host));
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await;
            let stream = stream.map_err(|error| ConnectError::new(error.to_string()))?;
            spawn_local(Line::new(connection, stream, host).run());
            Ok(())
        })
    }
}

async fn serve(listener: TcpListener, server: Server) {
    while let Ok((stream, address)) = listener.accept().await {
        let connection = server.accept(Peer::Inet(address));
        spawn_local(Line::new(connection, stream, Rc::clone(server.host())).run());
    }
}

fn guide() -> Router {
    let mut router = Router::new();
    register_route_guide(&mut router, Rc::new(Guide::default()));
    router
}

/// What the tour says in memory, without any runtime.
fn expected() -> Vec<String> {
    let host = MemoryHost::new(1);
    let server = Server::new(guide(), ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let mut lines = Vec::new();
    pair.block_on(tour(channel, |line| lines.push(line))).expect("the tour ends well");
    lines
}

#[test]
fn the_route_guide_runs_on_tokio_unmodified() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = LocalSet::new().block_on(&runtime, async {
        let host = TokioHost::shared();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::new(guide(), ServerOptions::default(), Rc::clone(&host));
        spawn_local(serve(listener, server));

        let connector = TokioConnector { host: Rc::clone(&host) };
        let options = ChannelOptions::default();
        let channel = Channel::connect(&address, &options, host, &connector).await.unwrap();
        let mut lines = Vec::new();
        let tour = tour(channel, |line| lines.push(line));
        tokio::time::timeout(Duration::from_secs(20), tour).await.unwrap().unwrap();
        lines
    });
    assert_eq!(lines, expected());
    assert_eq!(lines.len(), 10);
}
