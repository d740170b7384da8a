//! Calls that are about to be made: what a stub's methods return.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Metadata, Processed, Reason, SendError, Status};

use super::Channel;
use super::link::{Link, OpenCall};
use super::streaming::{BidiStream, ClientStream, Receiving};
use crate::inbox::Batch;
use crate::queue::Ticket;
use crate::status::send_failed;
use crate::{Encoding, LocalFuture, Method, Request, Response};

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
    link: &'r Rc<Link>,
    metadata: Option<&'r Metadata>,
    end: End,
    encoding: Option<Encoding>,
    ticket: Ticket,
    /// Ends a call that stands in line: nobody else knows of it yet.
    alarm: Option<LocalFuture<()>>,
    kind: K,
    method: PhantomData<fn(M)>,
}

#[derive(Clone, Copy)]
enum End {
    Never,
    /// Counted from the first poll.
    After(Duration),
    At(Instant),
}

/// One request, one response.
pub struct Unary<'r, 'a, M: Method> {
    request: &'r Request<'r, M>,
    arena: &'a Arena,
    response: Option<&'r mut ResponseMetadata>,
    open: Option<OpenCall>,
    sent: bool,
}

/// One request, a stream of responses.
pub struct ServerStreaming<'r, M: Method> {
    request: &'r Request<'r, M>,
    open: Option<OpenCall>,
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
    /// Whether the server can have seen the call: what a retry must know.
    pub processed: Option<Processed>,
}

impl<'r, M: Method, K> Call<'r, M, K> {
    fn new(channel: &'r Channel, kind: K) -> Self {
        let link = channel.link();
        Self {
            link,
            metadata: None,
            end: End::Never,
            encoding: link.pool.codecs.preferred(),
            ticket: Ticket::default(),
            alarm: None,
            kind,
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
    pub fn metadata(mut self, metadata: &'r Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Compresses the requests with `encoding`, or with none, whatever the channel does with other calls.
    ///
    /// A server that does not know the encoding answers UNIMPLEMENTED.
    pub fn compress(mut self, encoding: Option<Encoding>) -> Self {
        self.encoding = encoding;
        self
    }

    /// Opens the call; pending while too many stand in line for a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<OpenCall, Status>> {
        let link = self.link;
        if self.is_late(cx) {
            return Poll::Ready(Err(Reason::Deadline.to_status()));
        }
        if !link.surplus.may_try(&self.ticket, cx) {
            return Poll::Pending;
        }
        let deadline = match self.end {
            End::Never => None,
            End::At(at) => Some(at),
            End::After(span) => {
                let at = link.host.now() + span;
                self.end = End::At(at);
                Some(at)
            }
        };
        match link.open(M::PATH, self.metadata, deadline, self.encoding) {
            Ok(open) => {
                link.surplus.leave(&mut self.ticket, true);
                Poll::Ready(Ok(open))
            }
            Err(SendError::TooManyCalls) => {
                link.surplus.join(&mut self.ticket, cx);
                if let Some(at) = deadline
                    && self.alarm.is_none()
                {
                    self.alarm = Some(link.host.timer(at));
                    // Polled once, so that it is set.
                    if self.is_late(cx) {
                        return Poll::Ready(Err(Reason::Deadline.to_status()));
                    }
                }
                Poll::Pending
            }
            Err(error) => {
                link.surplus.leave(&mut self.ticket, false);
                Poll::Ready(Err(send_failed(&error)))
            }
        }
    }
}

impl<M, K> Call<'_, M, K> {
    /// Whether the deadline passes while the call stands in line, which it leaves then.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let late = self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready());
        if late {
            self.alarm = None;
            self.link.surplus.leave(&mut self.ticket, false);
        }
        late
    }
}

impl<M, K> Drop for Call<'_, M, K> {
    fn drop(&mut self) {
        self.link.surplus.leave(&mut self.ticket, false);
    }
}

impl<'r, 'a, M: Method> Call<'r, M, Unary<'r, 'a, M>> {
    /// A unary call; its response will live in `arena`.
    pub fn unary(channel: &'r Channel, request: &'r Request<'r, M>, arena: &'a Arena) -> Self {
        Self::new(channel, Unary { request, arena, response: None, open: None, sent: false })
    }

    /// Puts what comes beside the message into `response`.
    pub fn response(mut self, response: &'r mut ResponseMetadata) -> Self {
        self.kind.response = Some(response);
        self
    }
}

impl<'r, M: Method> Call<'r, M, ServerStreaming<'r, M>> {
    /// A call with a stream of responses.
    pub fn server_streaming(channel: &'r Channel, request: &'r Request<'r, M>) -> Self {
        Self::new(channel, ServerStreaming { request, open: None })
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
    type Output = Result<Response<'a, M>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
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
            ready!(open.poll_send_first(this.kind.request, cx))?;
            this.kind.sent = true;
        }
        ready!(open.poll_end(cx));
        let response = this.kind.response.as_deref_mut();
        let result = open.only_response::<M::Response>(this.kind.arena, response);
        this.kind.open = None;
        Poll::Ready(result)
    }
}

impl<M: Method> Future for Call<'_, M, ServerStreaming<'_, M>> {
    type Output = Result<Receiving<M>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.kind.open.is_none() {
            this.kind.open = Some(ready!(this.poll_open(cx))?);
        }
        let open = this.kind.open.as_ref().expect("opened above or earlier");
        ready!(open.poll_send_first(this.kind.request, cx))?;
        let open = this.kind.open.take().expect("it is there above");
        Poll::Ready(Ok(Receiving::new(open)))
    }
}

impl<M: Method> Future for Call<'_, M, ClientStreaming> {
    type Output = Result<ClientStream<M>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let open = ready!(self.get_mut().poll_open(cx))?;
        open.call.single.set(true);
        open.link.notify();
        Poll::Ready(Ok(ClientStream::new(open)))
    }
}

impl<M: Method> Future for Call<'_, M, Bidi> {
    type Output = Result<BidiStream<M>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let open = ready!(self.get_mut().poll_open(cx))?;
        open.link.notify();
        Poll::Ready(Ok(BidiStream::new(open)))
    }
}

impl OpenCall {
    /// Sends the one request and half-closes; pending while the requests of other calls fill the send budget.
    fn poll_send_first<R: grpc_arena::Encode + ?Sized>(
        &self,
        request: &R,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let Some(key) = self.call.key.get() else { return Poll::Ready(Ok(())) };
        let sent = self.send(key, request);
        let sent = sent.and_then(|()| self.link.connection.borrow_mut().end(key));
        self.link.notify();
        match sent {
            // Over before it began: its terminal event tells why.
            Ok(()) | Err(SendError::Ended) => Poll::Ready(Ok(())),
            Err(SendError::Full) => {
                let old = self.call.sender.replace(Some(cx.waker().clone()));
                drop(old);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(send_failed(&error))),
        }
    }

    /// The response of a call that has ended with exactly one.
    pub(super) fn only_response<'a, S: grpc_arena::Schema>(
        &self,
        arena: &'a Arena,
        response: Option<&mut ResponseMetadata>,
    ) -> Result<S::View<'a>, Status> {
        let mut inbox = self.call.inbox.borrow_mut();
        let (message, messages) = (inbox.reading().and_then(Batch::pop), inbox.len());
        drop(inbox);
        let outcome = self.call.outcome.take();
        let status = match &outcome {
            Some(outcome) => outcome.status.clone(),
            None => Status::OK,
        };
        if let Some(response) = response {
            self.hand_over(outcome, response);
        } else if let Some(outcome) = outcome {
            self.link.connection.borrow_mut().recycle_metadata(outcome.trailers);
        }
        if status.code() != Code::Ok {
            if let Some(message) = message {
                message.recycle(&mut self.link.connection.borrow_mut());
            }
            return Err(status);
        }
        match message {
            Some(message) if messages == 0 => self.decode::<S>(message, arena),
            Some(message) => {
                message.recycle(&mut self.link.connection.borrow_mut());
                let text = "the method answers with exactly one message, and a second one came";
                Err(Status::new(Code::Unimplemented, text))
            }
            None => {
                let text = "the method answers with exactly one message, and none came";
                Err(Status::new(Code::Unimplemented, text))
            }
        }
    }

    fn hand_over(
        &self,
        outcome: Option<grpc_proto::client::Outcome>,
        response: &mut ResponseMetadata,
    ) {
        let headers = self.call.headers.take().unwrap_or_default();
        let (trailers, processed) = match outcome {
            Some(outcome) => (outcome.trailers, Some(outcome.processed)),
            None => (Metadata::new(), None),
        };
        let headers = std::mem::replace(&mut response.headers, headers);
        let trailers = std::mem::replace(&mut response.trailers, trailers);
        response.processed = processed;
        let mut connection = self.link.connection.borrow_mut();
        connection.recycle_metadata(headers);
        connection.recycle_metadata(trailers);
    }
}

impl<M: Method, K> fmt::Debug for Call<'_, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("path", &M::PATH).finish_non_exhaustive()
    }
}
