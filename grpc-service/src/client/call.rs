//! Calls that are about to be made: what a stub's methods return.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Metadata, Processed, SendError, Status};

use super::link::OpenCall;
use super::opener::{Opener, Wanted, may_try_again};
use super::stack::{Beginning, Handle, Stack};
use super::streaming::{BidiStream, ClientStream, Receiving};
use super::{CallError, Channel};
use crate::compression::Packed;
use crate::current::{self, Current};
use crate::inbox::{Arrived, Batch};
use crate::wake::remember;
use crate::{Encoding, Kind, Method, Request, Response};

/// A call that is set up and then awaited.
///
/// Nothing happens until the first poll. Awaiting a unary call gives its response, awaiting one of the streaming
/// kinds gives its stream. Dropping it cancels the call.
///
/// ```ignore
/// let feature = stub.get_feature(&point, &arena).timeout(Duration::from_secs(1)).await?;
/// let mut features = stub.list_features(&rectangle).metadata(&metadata).await?;
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<'r, M, K> {
    channel: &'r Channel,
    metadata: Option<&'r Metadata>,
    end: End,
    /// What the call inherits from the handler that makes it.
    heritage: Heritage,
    encoding: Option<Encoding>,
    wait_for_ready: bool,
    /// Its places in lines.
    opener: Opener,
    kind: K,
    /// The layers around it, if the channel has any. It goes after the kind, which says what has become of the call.
    layered: Option<Handle>,
    method: PhantomData<fn(M)>,
}

#[derive(Clone, Copy)]
enum End {
    Never,
    /// Counted from the first poll.
    After(Duration),
    At(Instant),
}

/// What a call takes over from the one whose handler makes it.
enum Heritage {
    /// It was not polled yet.
    Unknown,
    Nothing,
    From {
        /// Whether the deadline in force is that of the handler's call.
        deadline: bool,
        /// The handler's call, where there is more to take over from it.
        current: Option<Current>,
    },
}

impl Heritage {
    /// Whether the deadline is inherited, and the call that more is inherited from.
    fn parts(&self) -> (bool, Option<&Current>) {
        match self {
            Heritage::From { deadline, current } => (*deadline, current.as_ref()),
            _ => (false, None),
        }
    }
}

/// One request, one response.
pub struct Unary<'r, 'a, M: Method> {
    request: &'r Request<'r, M>,
    arena: &'a Arena,
    response: Option<&'r mut ResponseMetadata>,
    open: Option<OpenCall>,
    packed: Packed,
    sent: bool,
    /// The attempt of the layers that `open` is.
    attempt: u32,
    /// A server has refused the call once.
    refused: bool,
    /// The outcome was given out.
    over: bool,
}

/// One request, a stream of responses.
pub struct ServerStreaming<'r, M: Method> {
    request: &'r Request<'r, M>,
    open: Option<OpenCall>,
    packed: Packed,
}

/// A stream of requests, one response.
pub struct ClientStreaming;

/// Streams in both directions.
pub struct Bidi;

/// What came with a response beside its message.
///
/// Reuse it from call to call, and its memory is reused too.
#[derive(Clone, Debug, Default)]
pub struct ResponseMetadata {
    /// The response headers; empty if the response was trailers only.
    pub headers: Metadata,
    /// The trailers.
    pub trailers: Metadata,
    /// Whether the server can have seen the call: what a retry must know. `None` where the call ended here, for what it
    /// sent or received, and before it is over. A unary call that is dropped before its end is over too: with
    /// [`Processed::No`] if none of it had left.
    pub processed: Option<Processed>,
    /// Whether the one response message came compressed; false for streams, where
    /// [`Receiving::is_compressed`](super::Receiving::is_compressed) says so of each message.
    pub compressed: bool,
}

impl ResponseMetadata {
    /// Forgets what the last call left, and keeps the memory.
    fn clear(&mut self) {
        self.headers.clear();
        self.trailers.clear();
        self.processed = None;
        self.compressed = false;
    }
}

impl<'r, M: Method, K> Call<'r, M, K> {
    fn new(channel: &'r Channel, kind: K) -> Self {
        Self {
            channel,
            metadata: None,
            end: End::Never,
            heritage: Heritage::Unknown,
            encoding: channel.preferred_encoding(),
            wait_for_ready: false,
            opener: Opener::default(),
            kind,
            layered: None,
            method: PhantomData,
        }
    }

    /// Ends the call with DEADLINE_EXCEEDED `timeout` after it is first polled; the server is told.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.end = End::After(timeout);
        self
    }

    /// Ends the call with DEADLINE_EXCEEDED at `deadline`; the server is told how much time is left.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.end = End::At(deadline);
        self
    }

    /// Sends `metadata` with the request.
    ///
    /// A `user-agent` in it, such as one that is passed on, goes out beside the channel's own; to name an application
    /// use [`ChannelOptions::user_agent`](crate::ChannelOptions::user_agent).
    pub fn metadata(mut self, metadata: &'r Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Inherits nothing: neither the time that is left of the call whose handler makes this one, nor its trace context.
    ///
    /// Use it for work that goes on after the handler, such as in a task, or that must not end half-way.
    pub fn detached(mut self) -> Self {
        self.heritage = Heritage::Nothing;
        self
    }

    /// Compresses the requests with `encoding`, or with none, whatever the channel does with other calls.
    ///
    /// A server that does not know the encoding answers UNIMPLEMENTED.
    pub fn compress(mut self, encoding: Option<Encoding>) -> Self {
        self.encoding = encoding;
        self
    }

    /// Waits for a connection where the call would otherwise fail because there is none, until its deadline.
    pub fn wait_for_ready(mut self) -> Self {
        self.wait_for_ready = true;
        self
    }

    /// Opens the call; pending while there is no connection, or too many stand in line for a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<OpenCall, CallError>> {
        let now = self.channel.host().now();
        if let End::After(span) = self.end {
            self.end = End::At(now + span);
        }
        if matches!(self.heritage, Heritage::Unknown) {
            self.inherit(now);
        }
        let deadline = match self.end {
            End::At(at) => Some(at),
            _ => None,
        };
        let (inherited, current) = self.heritage.parts();
        let wanted = Wanted {
            metadata: self.metadata,
            trace: current.and_then(|current| current.info.trace()),
            deadline,
            inherited,
            task: current.filter(|current| current.is_task),
            encoding: self.encoding,
            wait_for_ready: self.wait_for_ready,
        };
        self.opener.poll(self.channel, M::PATH, &wanted, cx)
    }

    /// Begins the call's layers, at the first poll.
    fn layers(&mut self, stack: &Rc<Stack>, kind: Kind) -> Handle {
        if self.layered.is_none() {
            self.settle_end();
            let deadline = match self.end {
                End::At(at) => Some(at),
                _ => None,
            };
            let (inherited, current) = self.heritage.parts();
            let beginning = Beginning {
                method: M::DESCRIPTOR.with_kind(kind),
                metadata: self.metadata,
                deadline,
                inherited,
                current,
                encoding: self.encoding,
                wait_for_ready: self.wait_for_ready,
            };
            self.layered = Some(stack.begin(self.channel, &beginning));
        }
        self.layered.clone().expect("begun above or earlier")
    }

    /// The call that the layers have opened, with a hold on them.
    fn poll_layered(
        &mut self,
        stack: &Rc<Stack>,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Poll<Result<OpenCall, CallError>> {
        let handle = self.layers(stack, kind);
        let polled = handle.poll(cx);
        match (polled, handle.open()) {
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), None) => Poll::Ready(Err(never_made())),
            (Poll::Pending, None) => Poll::Pending,
            (_, Some(mut open)) => {
                open.layered = Some(handle);
                Poll::Ready(Ok(open))
            }
        }
    }

    /// A call with a stream of requests, once it is open.
    fn poll_stream(
        &mut self,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Poll<Result<OpenCall, CallError>> {
        let Some(stack) = self.channel.layers() else { return self.poll_open(cx) };
        let open = ready!(self.poll_layered(stack, kind, cx))?;
        open.commit();
        Poll::Ready(Ok(open))
    }

    /// Resolves the deadline and what the call inherits, once.
    fn settle_end(&mut self) {
        let now = self.channel.host().now();
        if let End::After(span) = self.end {
            self.end = End::At(now + span);
        }
        if matches!(self.heritage, Heritage::Unknown) {
            self.inherit(now);
        }
    }

    /// Takes over what the handler's call has, if a handler is running.
    fn inherit(&mut self, now: Instant) {
        self.heritage = Heritage::Nothing;
        let Some(current) = current::current() else { return };
        // A span and no instant: the hosts of a server and of a channel may count from different origins.
        let left = current.info.time_left().map(|left| now + left);
        let own = match self.end {
            End::At(at) => at,
            _ => Instant::NEVER,
        };
        let inherited = left.filter(|&at| at < own);
        if let Some(at) = inherited {
            self.end = End::At(at);
        }
        let wanted = current.is_task || current.info.trace().is_some();
        let current = if wanted { Some(current) } else { None };
        self.heritage = Heritage::From { deadline: inherited.is_some(), current };
    }
}

/// The error of a call that a layer has ended with OK before it was made.
fn never_made() -> CallError {
    let text =
        "a layer ended the call with OK before it was made; let the call go on, or return an error";
    CallError::local(Status::new(Code::Internal, text))
}

impl<M, K> Drop for Call<'_, M, K> {
    fn drop(&mut self) {
        self.opener.leave(self.channel, false);
    }
}

impl<'r, 'a, M: Method> Call<'r, M, Unary<'r, 'a, M>> {
    /// A unary call; its response will live in `arena`.
    pub fn unary(channel: &'r Channel, request: &'r Request<'r, M>, arena: &'a Arena) -> Self {
        Self::new(
            channel,
            Unary {
                request,
                arena,
                response: None,
                open: None,
                packed: Packed::Not,
                sent: false,
                attempt: 0,
                refused: false,
                over: false,
            },
        )
    }

    /// Puts what comes beside the message into `response`, which is cleared now.
    pub fn response(mut self, response: &'r mut ResponseMetadata) -> Self {
        response.clear();
        self.kind.response = Some(response);
        self
    }
}

impl<'r, M: Method> Call<'r, M, ServerStreaming<'r, M>> {
    /// A call with a stream of responses.
    pub fn server_streaming(channel: &'r Channel, request: &'r Request<'r, M>) -> Self {
        Self::new(channel, ServerStreaming { request, open: None, packed: Packed::Not })
    }
}

impl<'r, M: Method> Call<'r, M, ClientStreaming> {
    /// A call with a stream of requests.
    pub fn client_streaming(channel: &'r Channel) -> Self {
        Self::new(channel, ClientStreaming)
    }
}

impl<'r, M: Method> Call<'r, M, Bidi> {
    /// A call with streams in both directions.
    pub fn bidi(channel: &'r Channel) -> Self {
        Self::new(channel, Bidi)
    }
}

impl<'a, M: Method> Future for Call<'_, M, Unary<'_, 'a, M>> {
    type Output = Result<Response<'a, M>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = match this.channel.layers() {
            None => ready!(this.poll_response(cx)),
            Some(stack) => ready!(this.poll_layered_response(stack, cx)),
        };
        this.kind.over = true;
        Poll::Ready(outcome)
    }
}

impl<'a, M: Method> Call<'_, M, Unary<'_, 'a, M>> {
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<'a, M>, CallError>> {
        let this = self;
        loop {
            if this.kind.open.is_none() {
                let opened = ready!(this.poll_open(cx));
                if opened.is_err()
                    && let Some(response) = &mut this.kind.response
                {
                    response.processed = Some(Processed::No);
                }
                let open = opened?;
                open.call.single.set(true);
                this.kind.open = Some(open);
            }
            let open = this.kind.open.as_ref().expect("opened above or earlier");
            if !this.kind.sent {
                ready!(open.poll_send_first(this.kind.request, &mut this.kind.packed, cx))?;
                this.kind.sent = true;
            }
            ready!(open.poll_end(cx));
            if this.tries_again() {
                continue;
            }
            let open = this.kind.open.take().expect("it is there above");
            let response = this.kind.response.as_deref_mut();
            return Poll::Ready(open.only_response::<M::Response>(this.kind.arena, response));
        }
    }
}

impl<'a, M: Method> Call<'_, M, Unary<'_, 'a, M>> {
    /// Lets the layers go on, and sends the request to each call that they open.
    fn poll_layered_response(
        &mut self,
        stack: &Rc<Stack>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<'a, M>, CallError>> {
        let handle = self.layers(stack, Kind::Unary);
        if let Poll::Ready(outcome) = handle.poll(cx) {
            let response = self.kind.response.as_deref_mut();
            return Poll::Ready(match (outcome, handle.open()) {
                (Ok(()), Some(open)) => {
                    open.only_response::<M::Response>(self.kind.arena, response)
                }
                (Ok(()), None) => Err(never_made()),
                (Err(error), Some(open)) => {
                    open.take_end(response);
                    Err(error)
                }
                (Err(error), None) => {
                    if let Some(response) = response {
                        response.processed = Some(Processed::No);
                    }
                    Err(error)
                }
            });
        }
        let (attempt, kind) = (handle.call.attempts.get(), &mut self.kind);
        if attempt != kind.attempt {
            kind.open = handle.open();
            (kind.attempt, kind.packed, kind.sent) = (attempt, Packed::Not, false);
        }
        if let Some(open) = kind.open.as_ref().filter(|_| !kind.sent) {
            ready!(open.poll_send_first(kind.request, &mut kind.packed, cx))?;
            kind.sent = true;
        }
        Poll::Pending
    }
}

impl<M: Method> Drop for Unary<'_, '_, M> {
    /// Says of a call that its caller gives up whether any of it has left.
    fn drop(&mut self) {
        let Some(response) = self.response.as_deref_mut() else { return };
        if self.over {
            return;
        }
        let reported = |open: &OpenCall| {
            open.call.outcome.borrow().as_ref().map(|reported| reported.processed)
        };
        let unsent = self.open.as_ref().is_none_or(OpenCall::withdraw);
        response.processed = Some(match self.open.as_ref().and_then(reported) {
            Some(processed) => processed,
            // An earlier attempt has left.
            None if unsent && self.refused => Processed::Refused,
            None if unsent => Processed::No,
            None => Processed::Maybe,
        });
    }
}

impl<M: Method> Call<'_, M, Unary<'_, '_, M>> {
    /// Forgets an attempt that the server provably did not process, so that the next poll makes another (gRFC A6).
    fn tries_again(&mut self) -> bool {
        let Some(open) = &self.kind.open else { return false };
        if !may_try_again(open, &mut self.kind.refused, self.channel) {
            return false;
        }
        self.kind.open = None;
        self.kind.sent = false;
        true
    }
}

impl<M: Method> Future for Call<'_, M, ServerStreaming<'_, M>> {
    type Output = Result<Receiving<M>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.channel.layers() {
            Some(stack) => {
                let open = ready!(this.poll_layered(stack, Kind::ServerStreaming, cx))?;
                if !this.kind.open.as_ref().is_some_and(|known| Rc::ptr_eq(&known.call, &open.call))
                {
                    // The layers have made another attempt.
                    this.kind.packed = Packed::Not;
                }
                this.kind.open = Some(open);
            }
            None if this.kind.open.is_none() => {
                this.kind.open = Some(ready!(this.poll_open(cx))?);
            }
            None => {}
        }
        let open = this.kind.open.as_ref().expect("opened above or earlier");
        ready!(open.poll_send_first(this.kind.request, &mut this.kind.packed, cx))?;
        let open = this.kind.open.take().expect("it is there above");
        open.commit();
        Poll::Ready(Ok(Receiving::new(open)))
    }
}

impl<M: Method> Future for Call<'_, M, ClientStreaming> {
    type Output = Result<ClientStream<M>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let open = ready!(self.get_mut().poll_stream(Kind::ClientStreaming, cx))?;
        open.call.single.set(true);
        Poll::Ready(Ok(ClientStream::new(open)))
    }
}

impl<M: Method> Future for Call<'_, M, Bidi> {
    type Output = Result<BidiStream<M>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let open = ready!(self.get_mut().poll_stream(Kind::Bidi, cx))?;
        Poll::Ready(Ok(BidiStream::new(open)))
    }
}

impl OpenCall {
    /// Sends the one request and half-closes; pending while the requests of other calls fill the send budget.
    fn poll_send_first<R: grpc_arena::Encode + ?Sized>(
        &self,
        request: &R,
        packed: &mut Packed,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        let Some(key) = self.call.key.get() else { return Poll::Ready(Ok(())) };
        let sent = self.send(key, request, packed, true);
        let sent = sent.and_then(|()| self.link.connection.borrow_mut().end(key));
        match sent {
            Ok(()) => {
                self.link.notify();
                Poll::Ready(Ok(()))
            }
            // Over before it began: its terminal event tells why.
            Err(SendError::Ended) => Poll::Ready(Ok(())),
            Err(SendError::Full) => {
                remember(&self.call.sender, cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(CallError::local(error))),
        }
    }

    /// Whether any of a response has come.
    pub(super) fn has_answer(&self) -> bool {
        self.call.headers.borrow().is_some() || !self.call.inbox.borrow().is_empty()
    }

    /// The response of a call that has ended with exactly one.
    pub(super) fn only_response<'a, S: grpc_arena::Schema>(
        &self,
        arena: &'a Arena,
        response: Option<&mut ResponseMetadata>,
    ) -> Result<S::View<'a>, CallError> {
        let mut inbox = self.call.inbox.borrow_mut();
        let (message, messages) = (inbox.reading().and_then(Batch::pop), inbox.len());
        drop(inbox);
        let mut response = response;
        if let Some(response) = response.as_deref_mut() {
            response.compressed = message.as_ref().is_some_and(Arrived::is_compressed);
        }
        let end = self.take_end(response);
        if !end.status().is_ok() {
            if let Some(message) = message {
                message.recycle(&mut self.link.connection.borrow_mut());
            }
            return Err(end);
        }
        match message {
            Some(message) if messages == 0 => self.decode::<S>(message, arena),
            Some(message) => {
                message.recycle(&mut self.link.connection.borrow_mut());
                let text = "the method answers with exactly one message, and a second one came";
                Err(CallError::local(Status::new(Code::Unimplemented, text)))
            }
            None => {
                let text = "the method answers with exactly one message, and none came";
                Err(CallError::local(Status::new(Code::Unimplemented, text)))
            }
        }
    }

    /// How the call ended, OK where it is not over; what came beside it goes to `response`, or back to the core.
    pub(super) fn take_end(&self, response: Option<&mut ResponseMetadata>) -> CallError {
        let outcome = self.call.outcome.take();
        let local_status = self.call.local_status.borrow().clone();
        let (end, trailers, processed) = match outcome {
            Some(outcome) => {
                let origin = self.call.origin_of(&self.link, &outcome);
                let end = local_status.unwrap_or(CallError::new(outcome.status, origin));
                (end, outcome.trailers, Some(outcome.processed))
            }
            None => (local_status.unwrap_or(CallError::local(Status::OK)), Metadata::new(), None),
        };
        let Some(response) = response else {
            self.link.connection.borrow_mut().recycle_metadata(trailers);
            return end;
        };
        let headers = self.call.headers.take().unwrap_or_default();
        let headers = std::mem::replace(&mut response.headers, headers);
        let trailers = std::mem::replace(&mut response.trailers, trailers);
        response.processed = processed;
        let mut connection = self.link.connection.borrow_mut();
        connection.recycle_metadata(headers);
        connection.recycle_metadata(trailers);
        end
    }
}

impl<M: Method, K> fmt::Debug for Call<'_, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("path", &M::PATH).finish_non_exhaustive()
    }
}
