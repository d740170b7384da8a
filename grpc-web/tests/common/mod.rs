//! A server behind a door, driven by hand, and a service of plain bytes.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

#[path = "../../../tests/src/counting.rs"]
pub mod counting;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
use grpc_proto::{Code, ConnectionError, Instant, Status, Transmit};
use grpc_service::server::{
    ClientStreamingCall, ClientStreamingHandler, ServerStreamingHandler, UnaryHandler,
};
use grpc_service::{
    Cx, Endpoint, Host, LocalFuture, Method, Peer, Router, Server, ServerConnection, ServerOptions,
    Sink,
};
use grpc_web::{Web, WebEndpoint};

/// A message that is its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw<'a>(pub &'a [u8]);

impl Encode for Raw<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

impl Schema for Raw<'static> {
    type View<'a> = Raw<'a>;

    fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Raw<'a>, DecodeError> {
        Ok(Raw(bytes))
    }
}

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

/// Does what its requests say; counts calls that run and calls that ended.
#[derive(Clone, Default)]
pub struct Service {
    pub running: Rc<Cell<usize>>,
    pub started: Rc<Cell<usize>>,
    pub seen: Rc<RefCell<Vec<String>>>,
}

/// Counts itself while it lives.
pub struct Alive(Rc<Cell<usize>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Service {
    fn begin(&self, cx: &Cx<'_>) -> Alive {
        self.running.set(self.running.get() + 1);
        self.started.set(self.started.get() + 1);
        for entry in cx.metadata().iter() {
            let (name, value) = (entry.name.escape_ascii(), entry.value.escape_ascii());
            self.seen.borrow_mut().push(format!("{name}: {value}"));
        }
        Alive(Rc::clone(&self.running))
    }
}

impl UnaryHandler<Echo> for Service {
    async fn call<'a>(&self, cx: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        let _alive = self.begin(cx);
        if cx.metadata().value("x-ask").is_some() {
            cx.append_header("x-answer", "head").expect("a header");
            cx.append_trailer("x-end", "trailer").expect("a trailer");
        }
        match request.0 {
            b"fail" => Err(Status::new(Code::NotFound, "nicht da: \u{2205}\r\nx: y")),
            b"sleep" => {
                cx.sleep(Duration::from_secs(30)).await;
                Ok(request)
            }
            b"forever" => std::future::pending().await,
            b"large" => Ok(Raw(cx.arena().alloc_slice(&vec![b'x'; 1 << 20]))),
            _ => Ok(request),
        }
    }
}

impl ServerStreamingHandler<Split> for Service {
    /// Sends each byte by itself; an upper-case letter waits a second before, a tilde 1000 seconds, a digit sends so many kilobytes.
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        let _alive = self.begin(cx);
        for byte in request.0 {
            match byte {
                b'!' => return Err(Status::new(Code::Aborted, "as asked")),
                b'0'..=b'9' => {
                    let kilobytes = vec![b'x'; usize::from(byte - b'0') << 10];
                    out.send(&Raw(&kilobytes)).await?;
                    continue;
                }
                b'~' => cx.sleep(Duration::from_secs(1000)).await,
                b'A'..=b'Z' => cx.sleep(Duration::from_secs(1)).await,
                _ => {}
            }
            out.send(&Raw(&[*byte])).await?;
        }
        Ok(())
    }
}

/// Counts bytes, each message for as long as its first byte says.
pub struct Joining(Alive, usize);

impl ClientStreamingHandler<Join> for Service {
    type Call<'s> = Joining;

    async fn open(&self, cx: &Cx<'_>) -> Result<Joining, Status> {
        Ok(Joining(self.begin(cx), 0))
    }
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for Joining {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Raw<'a>) -> Result<(), Status> {
        self.1 += message.0.len();
        match message.0.first() {
            Some(b'S') => cx.sleep(Duration::from_secs(100)).await,
            Some(b'!') => return Err(Status::new(Code::Aborted, "as asked")),
            _ => {}
        }
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Raw<'a>, Status> {
        let text = self.1.to_string();
        Ok(Raw(cx.arena().alloc_slice(text.as_bytes())))
    }
}

/// A host whose time the test sets.
#[derive(Clone, Default)]
pub struct Clock(Rc<Cell<Instant>>);

impl Host for Clock {
    fn now(&self) -> Instant {
        self.0.get()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let now = Rc::clone(&self.0);
        Box::pin(std::future::poll_fn(move |_| {
            if now.get() >= at { Poll::Ready(()) } else { Poll::Pending }
        }))
    }

    fn spawn(&self, _: LocalFuture<()>) {}

    fn entropy(&self) -> u64 {
        7
    }
}

pub type Make = Box<dyn FnOnce() -> ServerConnection>;

/// An endpoint under test, however it was made.
pub trait Door: Endpoint {
    fn heap_bytes(&self) -> usize;
    fn inner(&mut self) -> Option<&mut ServerConnection>;
}

impl<M: FnOnce() -> ServerConnection> Door for WebEndpoint<ServerConnection, M> {
    fn heap_bytes(&self) -> usize {
        WebEndpoint::heap_bytes(self)
    }

    fn inner(&mut self) -> Option<&mut ServerConnection> {
        WebEndpoint::inner(self)
    }
}

/// One connection: what a loop around an endpoint does, in memory.
pub struct Line {
    pub end: Box<dyn Door>,
    pub service: Service,
    pub server: Server,
    pub clock: Clock,
    out: Transmit,
    /// Input that the endpoint holds.
    pending: Vec<u8>,
    /// What was written, in order.
    pub output: Vec<u8>,
    pub ended: Option<Result<(), ConnectionError>>,
    /// Nothing of the output is taken.
    pub is_stuck: bool,
    /// Bytes that turns of the endpoint have made live, and the most that ever were, under a counting allocator.
    pub live: isize,
    pub peak: isize,
}

impl Line {
    pub fn new(web: &Web) -> Self {
        Self::with_options(web, ServerOptions::default())
    }

    pub fn with_options(web: &Web, options: ServerOptions) -> Self {
        Self::make(options, |server| {
            let owner = server.clone();
            let make: Make = Box::new(move || owner.accept(Peer::memory()));
            Box::new(WebEndpoint::new(web, make, Instant::ZERO))
        })
    }

    /// As an adapter makes it.
    pub fn accepted(web: &Web) -> Self {
        Self::accepted_with(web, ServerOptions::default())
    }

    pub fn accepted_with(web: &Web, options: ServerOptions) -> Self {
        Self::make(options, |server| Box::new(web.accept(server, Peer::memory())))
    }

    fn make(options: ServerOptions, make: impl FnOnce(&Server) -> Box<dyn Door>) -> Self {
        let (service, clock) = (Service::default(), Clock::default());
        let mut router = Router::new();
        router.unary::<Echo, _>(service.clone());
        router.server_streaming::<Split, _>(service.clone());
        router.client_streaming::<Join, _>(service.clone());
        let server = Server::new(router, options, Rc::new(clock.clone()));
        let end = make(&server);
        let (out, pending, output) = (Transmit::new(), Vec::new(), Vec::new());
        Line {
            end,
            service,
            server,
            clock,
            out,
            pending,
            output,
            ended: None,
            is_stuck: false,
            live: 0,
            peak: 0,
        }
    }

    /// Sends bytes to the endpoint.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.drive();
    }

    /// Sends bytes in pieces.
    pub fn feed_in(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece.max(1)) {
            self.feed(piece);
        }
    }

    /// Drives until nothing goes on without time or input.
    pub fn drive(&mut self) {
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        for _ in 0..100_000 {
            if self.ended.is_some() {
                self.pending.clear();
                return;
            }
            let now = self.clock.0.get();
            let mut rest = &self.pending[..];
            let before = counting::live();
            counting::reset_peak();
            let driven = self.end.drive(&mut rest, &mut self.out, &mut cx, now);
            self.peak = self.peak.max(self.live + counting::peak() - before);
            self.live += counting::live() - before;
            let left = rest.len();
            let taken = self.pending.len() - left;
            self.pending.drain(..taken);
            let mut wrote = 0;
            if !self.is_stuck {
                for chunk in self.out.chunks() {
                    self.output.extend_from_slice(chunk);
                    wrote += chunk.len();
                }
                self.out.advance(self.out.len());
            }
            if driven.is_err() || self.end.is_drained() {
                self.ended = Some(driven);
            } else if taken == 0 && wrote == 0 {
                if left > 0 && !self.is_stuck {
                    assert!(self.end.holds_input(), "input was left for no reason");
                }
                return;
            }
        }
        panic!("the endpoint never rests");
    }

    /// Lets time pass, and every timer run that falls in it.
    pub fn pass(&mut self, span: Duration) {
        let end = self.clock.0.get() + span;
        for _ in 0..100_000 {
            let next = self.end.poll_timeout().filter(|&at| at <= end && self.ended.is_none());
            let now = next.unwrap_or(end).max(self.clock.0.get());
            self.clock.0.set(now);
            self.drive();
            if next.is_none() {
                return;
            }
        }
        panic!("timers never rest");
    }

    /// Everything that was written since the last look, as text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.output)).into_owned()
    }

    pub fn held(&self) -> usize {
        self.pending.len()
    }

    pub fn close_read(&mut self) {
        self.end.close_read(self.clock.0.get());
        self.drive();
    }
}

/// A message behind its prefix.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// A request of gRPC-Web with more fields, each ended by CR LF.
pub fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\n\
         Content-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A call of `Echo`.
pub fn echo(message: &[u8]) -> Vec<u8> {
    post("/test.Bytes/Echo", "", &frame(message))
}

/// One response, parsed by other code than that under test.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_chunked: bool,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The messages, and the lines of the trailers.
    pub fn frames(&self) -> (Vec<Vec<u8>>, Vec<String>) {
        let body = match self.field("content-type") {
            Some(kind) if kind.contains("-text") => decode_base64(&self.body),
            _ => self.body.clone(),
        };
        let (mut messages, mut rest) = (Vec::new(), &body[..]);
        loop {
            let (prefix, behind) = rest.split_first_chunk::<5>().expect("a prefix");
            let len = u32::from_be_bytes(prefix[1..].try_into().expect("four")) as usize;
            let (payload, next) = behind.split_at(len);
            if prefix[0] & 0x80 != 0 {
                assert!(next.is_empty(), "trailers come last");
                let text = std::str::from_utf8(payload).expect("text");
                let lines = text.strip_suffix("\r\n").expect("a last line").split("\r\n");
                return (messages, lines.map(str::to_owned).collect());
            }
            messages.push(payload.to_vec());
            rest = next;
        }
    }
}

/// Takes responses off the front of a connection's output, as far as they are complete.
pub fn responses(output: &[u8]) -> (Vec<Response>, usize) {
    let mut rest = output;
    let mut all = Vec::new();
    while let Some(end) = rest.windows(4).position(|part| part == b"\r\n\r\n") {
        let head = std::str::from_utf8(&rest[..end]).expect("text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let status: u16 = status.parse().expect("a number");
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = Response { status, fields, body: Vec::new(), is_chunked: false };
        let mut behind = &rest[end + 4..];
        if response.field("transfer-encoding") == Some("chunked") {
            response.is_chunked = true;
            loop {
                let Some(line) = behind.windows(2).position(|part| part == b"\r\n") else {
                    return (all, rest.len());
                };
                let size = std::str::from_utf8(&behind[..line]).expect("text");
                let size = usize::from_str_radix(size, 16).expect("a size");
                let Some(chunk) = behind.get(line + 2..line + 4 + size) else {
                    return (all, rest.len());
                };
                assert!(chunk.ends_with(b"\r\n"), "a chunk ends with CR LF");
                response.body.extend_from_slice(&chunk[..size]);
                behind = &behind[line + 4 + size..];
                if size == 0 {
                    break;
                }
            }
        } else if let Some(len) = response.field("content-length") {
            let len: usize = len.parse().expect("a length");
            let Some(body) = behind.get(..len) else { return (all, rest.len()) };
            response.body = body.to_vec();
            behind = &behind[len..];
        } else if response.status != 204 && response.status != 100 {
            response.body = behind.to_vec();
            behind = &[];
        }
        all.push(response);
        rest = behind;
    }
    (all, rest.len())
}

/// The one response of a line that has just been fed.
pub fn only(line: &mut Line) -> Response {
    let output = std::mem::take(&mut line.output);
    let (mut all, left) = responses(&output);
    assert_eq!((all.len(), left), (1, 0), "{}", output.escape_ascii());
    all.remove(0)
}

/// Base64 in pieces, each padded or not.
pub fn decode_base64(text: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    assert_eq!(text.len() % 4, 0, "whole groups");
    for group in text.chunks(4) {
        let digits: Vec<u32> = group
            .iter()
            .filter_map(|byte| ALPHABET.iter().position(|known| known == byte))
            .map(|value| value as u32)
            .collect();
        let word =
            digits.iter().fold(0, |word, value| word << 6 | value) << (6 * (4 - digits.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..digits.len()]);
    }
    bytes
}

/// Base64 with padding.
pub fn encode_base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { digit } else { b'=' });
        }
    }
    text
}

impl Line {
    /// Whether input waits for what runs.
    pub fn end_holds(&self) -> bool {
        self.end.holds_input()
    }
}
