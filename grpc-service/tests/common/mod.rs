//! A service of plain bytes with all four kinds of method, written as generated code is.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use grpc_arena::{Arena, DecodeError, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};
use grpc_proto::{Instant, Limits, Status};
use grpc_service::client::{Bidi, Call, ClientStreaming, ServerStreaming, Unary};
use grpc_service::server::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, ServerStreamingHandler,
    UnaryHandler,
};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{
    Channel, ChannelOptions, Cx, Host, LocalFuture, Method, Router, Routes, Server, ServerOptions,
    Sink,
};

/// A host whose time is set by the test, and whose tasks run when it passes.
#[derive(Default)]
pub struct Ticking {
    now: Rc<Cell<Instant>>,
    tasks: RefCell<Vec<LocalFuture<()>>>,
}

impl Host for Ticking {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let now = Rc::clone(&self.now);
        Box::pin(poll_fn(move |_| if now.get() >= at { Poll::Ready(()) } else { Poll::Pending }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.tasks.borrow_mut().push(task);
    }

    fn entropy(&self) -> u64 {
        // Makes what is paced neither longer nor shorter than told.
        u64::MAX / 2
    }
}

impl Ticking {
    /// Lets time pass, and then every task run once.
    pub fn pass(&self, span: Duration, cx: &mut Context<'_>) {
        self.now.set(self.now.get() + span);
        let mut tasks = self.tasks.take();
        tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
        self.tasks.borrow_mut().append(&mut tasks);
    }
}

/// A message that is its bytes. Those that begin with `!` do not decode, those with `?lies` write a byte less than they announce,
/// and those with `?panics` panic half-way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw<'a>(pub &'a [u8]);

impl Encode for Raw<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        if self.0.starts_with(b"?lies") {
            out.extend_from_slice(&self.0[1..]);
        } else if self.0.starts_with(b"?panics") {
            out.extend_from_slice(&self.0[self.0.len() / 2..]);
            resume_unwind(Box::new("its bytes"));
        } else {
            out.extend_from_slice(self.0);
        }
    }
}

impl Schema for Raw<'static> {
    type View<'a> = Raw<'a>;

    fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Raw<'a>, DecodeError> {
        match bytes {
            [b'!', ..] => Err(DecodeError::new(DecodeRule::WireType, 0).within("Raw")),
            _ => Ok(Raw(bytes)),
        }
    }
}

/// The service's methods.
pub mod methods {
    use super::*;

    macro_rules! method {
        ($name:ident, $path:literal) => {
            pub struct $name;
            impl Method for $name {
                const PATH: &'static str = $path;
                type Request = Raw<'static>;
                type Response = Raw<'static>;
            }
        };
    }

    method!(Echo, "/test.Bytes/Echo");
    method!(Split, "/test.Bytes/Split");
    method!(Join, "/test.Bytes/Join");
    method!(Chat, "/test.Bytes/Chat");
}

/// The handler trait, as it would be generated.
#[allow(async_fn_in_trait)]
pub trait Bytes: 'static {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status>;
    async fn split<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status>;
    type Join<'s>: ClientStreamingCall<Raw<'static>, Raw<'static>>
    where
        Self: 's;
    async fn join(&self, cx: &Cx<'_>) -> Result<Self::Join<'_>, Status>;
    type Chat<'s>: BidiCall<Raw<'static>, Raw<'static>>
    where
        Self: 's;
    async fn chat(&self, cx: &Cx<'_>) -> Result<Self::Chat<'_>, Status>;
}

/// Registers the service's methods.
pub fn register<S: Bytes>(router: &mut impl Routes, service: Rc<S>) {
    router.unary::<methods::Echo, _>(Adapter(Rc::clone(&service)));
    router.server_streaming::<methods::Split, _>(Adapter(Rc::clone(&service)));
    router.client_streaming::<methods::Join, _>(Adapter(Rc::clone(&service)));
    router.bidi::<methods::Chat, _>(Adapter(service));
}

/// Answers with what it is told: a call at a time, or each message of a stream.
#[derive(Clone, Default)]
pub struct Echoing {
    /// How long an answer to a call takes.
    pub takes: Option<Duration>,
}

impl Echoing {
    /// What begins with `plain` is answered without compression.
    fn choose_compression(cx: &Cx<'_>, message: Raw<'_>) {
        cx.set_compression(!message.0.starts_with(b"plain"));
    }
}

impl UnaryHandler<methods::Echo> for Echoing {
    async fn call<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Self::choose_compression(cx, request);
        if let Some(span) = self.takes {
            cx.sleep(span).await;
        }
        Ok(request)
    }
}

impl BidiHandler<methods::Chat> for Echoing {
    type Call<'s> = Echoing;

    async fn open(&self, _: &Cx<'_>) -> Result<Echoing, Status> {
        Ok(self.clone())
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for Echoing {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        Self::choose_compression(cx, message);
        out.send(&message).await
    }
}

/// Registers [`Echoing`] for calls and for streams.
pub fn register_echoing(router: &mut impl Routes, echoing: &Echoing) {
    router.unary::<methods::Echo, _>(echoing.clone());
    router.bidi::<methods::Chat, _>(echoing.clone());
}

struct Adapter<S>(Rc<S>);

impl<S> Clone for Adapter<S> {
    fn clone(&self) -> Self {
        Adapter(Rc::clone(&self.0))
    }
}

impl<S: Bytes> UnaryHandler<methods::Echo> for Adapter<S> {
    fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
    ) -> impl Future<Output = Result<Raw<'a>, Status>> {
        self.0.echo(cx, request)
    }
}

impl<S: Bytes> ServerStreamingHandler<methods::Split> for Adapter<S> {
    fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> impl Future<Output = Result<(), Status>> {
        self.0.split(cx, request, out)
    }
}

impl<S: Bytes> ClientStreamingHandler<methods::Join> for Adapter<S> {
    type Call<'s> = S::Join<'s>;

    fn open<'s>(&'s self, cx: &Cx<'_>) -> impl Future<Output = Result<Self::Call<'s>, Status>> {
        self.0.join(cx)
    }
}

impl<S: Bytes> BidiHandler<methods::Chat> for Adapter<S> {
    type Call<'s> = S::Chat<'s>;

    fn open<'s>(&'s self, cx: &Cx<'_>) -> impl Future<Output = Result<Self::Call<'s>, Status>> {
        self.0.chat(cx)
    }
}

/// The stub, as it would be generated.
#[derive(Clone)]
pub struct BytesClient {
    channel: Channel,
}

impl BytesClient {
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    pub fn echo<'r, 'a>(
        &'r self,
        request: &'r Raw<'r>,
        arena: &'a Arena,
    ) -> Call<'r, methods::Echo, Unary<'r, 'a, methods::Echo>> {
        Call::unary(&self.channel, request, arena)
    }

    pub fn split<'r>(
        &'r self,
        request: &'r Raw<'r>,
    ) -> Call<'r, methods::Split, ServerStreaming<'r, methods::Split>> {
        Call::server_streaming(&self.channel, request)
    }

    pub fn join(&self) -> Call<'_, methods::Join, ClientStreaming> {
        Call::client_streaming(&self.channel)
    }

    pub fn chat(&self) -> Call<'_, methods::Chat, Bidi> {
        Call::bidi(&self.channel)
    }
}

/// A connected pair that serves `service`.
pub fn connect<S: Bytes>(service: S) -> (BytesClient, Pair) {
    connect_with(service, Limits::default(), Limits::default())
}

/// A connected pair with limits for server and client.
pub fn connect_with<S: Bytes>(service: S, server: Limits, client: Limits) -> (BytesClient, Pair) {
    let host = MemoryHost::new(7);
    let mut router = Router::new();
    register(&mut router, Rc::new(service));
    let options = ServerOptions::new(server).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let options = ChannelOptions::new(client).expect("consistent limits");
    let (channel, pair) = Pair::new(&host, &server, &options);
    (BytesClient::new(channel), pair)
}
