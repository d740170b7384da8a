//! What the calls of one client connection share with the task that drives it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use grpc_arena::{Arena, DecodeLimits, Encode, Schema};
use grpc_proto::client::Outcome;
use grpc_proto::http2::OpenError;
use grpc_proto::record::Recorder;
use grpc_proto::{
    CallHead, CallKey, Client, Code, ConnectionError, Instant, Metadata, Processed, SendError,
    Status,
};

use super::ledger::Ledger;
use super::stack::Handle;
use super::{CallError, ChannelOptions, Origin, ResponseMetadata};
use crate::Host;
use crate::compression::{Encoding, Packed, not_agreed};
use crate::current::Parent;
use crate::inbox::{Arrived, Batch, Inbox};
use crate::layers::Counts;
use crate::pool::Pool;
use crate::queue::WaitQueue;
use crate::wake::{discard, remember, wake};

/// Credit of messages that were taken is returned at the latest when so many bytes of it have gathered, while more messages
/// wait to be taken: it costs as much for one message as for a hundred.
const CREDIT_MARK: u32 = 4 << 10;
/// Idle call records kept per connection: as many as calls are commonly in flight.
const SPARE_CALLS: usize = 128;

/// One connection, as its calls see it.
///
/// As on the server, every borrow in here ends before a waker or a destructor can run.
pub(crate) struct Link {
    pub(crate) connection: RefCell<Recorder<Client>>,
    /// By [`CallKey::index`]; a call leaves with its terminal event.
    pub(crate) calls: RefCell<Vec<Option<Rc<Record>>>>,
    spare: RefCell<Vec<Rc<Record>>>,
    /// Calls that were dropped: cancelled by the driving task's next turn.
    pub(crate) dropped: RefCell<Vec<CallKey>>,
    /// The driving task; absent while it runs or once it was woken.
    pub(crate) driver: RefCell<Option<Waker>>,
    /// Calls that wait because too many stand in line for a stream already.
    pub(crate) surplus: WaitQueue,
    /// How many channels refer to the link; without any, the connection is shut down.
    pub(crate) channels: Cell<usize>,
    /// Whether the connection has come up, for who waits for that.
    pub(crate) progress: Progress,
    pub(crate) host: Rc<dyn Host>,
    /// The counters of its channel.
    pub(crate) ledger: Rc<Ledger>,
    pub(crate) pool: Pool,
    /// Scratch for the metadata of a call that inherits some.
    merged: Cell<Metadata>,
    pub(crate) decode: DecodeLimits,
    pub(crate) authority: String,
    /// What calls say in `user-agent`, where it is not the library's own name.
    user_agent: Option<String>,
    pub(crate) secure: bool,
}

/// What a call is opened with.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) metadata: Option<&'a Metadata>,
    /// Metadata whose trace context the call takes over.
    pub(crate) trace: Option<&'a Metadata>,
    pub(crate) deadline: Option<Instant>,
    /// Whether the deadline is inherited.
    pub(crate) inherited: bool,
    pub(crate) encoding: Option<Encoding>,
}

/// The record of one call: what has arrived, and who waits for it.
#[derive(Default)]
pub(crate) struct Record {
    /// While the core knows the call.
    pub(crate) key: Cell<Option<CallKey>>,
    /// What its requests may be compressed with.
    pub(crate) encoding: Cell<Option<Encoding>>,
    /// What its responses may be compressed with, once their head is there.
    pub(crate) decoding: Cell<Option<Encoding>>,
    pub(crate) headers: RefCell<Option<Metadata>>,
    pub(crate) inbox: RefCell<Inbox>,
    /// Bytes of messages that were taken out of the inbox and whose credit has not been returned.
    taken: Cell<u32>,
    pub(crate) outcome: RefCell<Option<Outcome>>,
    /// How the call ended: set when this side ended it, or after `outcome` was moved out.
    pub(crate) local_status: RefCell<Option<CallError>>,
    /// The deadline, where it is one that the call has inherited.
    inherited_deadline: Cell<Option<Instant>>,
    /// The call that this one ends with, where it is not dropped with that one's handler.
    parent: RefCell<Option<Parent>>,
    /// The call was cancelled before any of it had left.
    pub(crate) unsent: Cell<bool>,
    /// Whether one message is all that is expected: then only the end, or a second one, wakes the receiver.
    pub(crate) single: Cell<bool>,
    /// Messages that have come, and those that were queued.
    pub(crate) counts: Cell<Counts>,
    pub(crate) receiver: Cell<Option<Waker>>,
    pub(crate) sender: Cell<Option<Waker>>,
    /// Handles that refer to the record, by the count in [`OpenCall`].
    handles: Cell<u8>,
}

impl Link {
    /// `error`, and why the server goes away in its own words, if it said so.
    pub(crate) fn with_debug_data(&self, error: &ConnectionError) -> String {
        match self.connection.borrow().goaway_debug_data() {
            "" => error.to_string(),
            debug => format!("{error}, {debug:?}"),
        }
    }

    pub(crate) fn new(
        connection: Recorder<Client>,
        host: Rc<dyn Host>,
        ledger: Rc<Ledger>,
        pool: Pool,
        authority: &str,
        options: &ChannelOptions,
    ) -> Self {
        Self {
            connection: RefCell::new(connection),
            calls: RefCell::default(),
            spare: RefCell::default(),
            dropped: RefCell::default(),
            driver: RefCell::default(),
            surplus: WaitQueue::default(),
            channels: Cell::new(0),
            progress: Progress::default(),
            host,
            ledger,
            pool,
            merged: Cell::default(),
            decode: options.decode,
            authority: authority.to_owned(),
            user_agent: options.user_agent.clone(),
            secure: options.secure,
        }
    }

    /// Opens a call.
    pub(crate) fn open(
        self: &Rc<Self>,
        path: &str,
        request: &Opening<'_>,
        now: Instant,
    ) -> Result<OpenCall, SendError> {
        let Opening { metadata, trace, deadline, inherited, encoding } = *request;
        let mut head = CallHead::new(path, &self.authority);
        head.metadata = metadata;
        let mut merged = None;
        if let Some(trace) = trace {
            let merged = merged.insert(self.merged.take());
            merged.clear();
            if let Some(metadata) = metadata {
                merged.extend(metadata);
            }
            merged.extend_trace(trace);
            head.metadata = Some(merged);
        }
        head.secure = self.secure;
        if let Some(user_agent) = &self.user_agent {
            head.user_agent = user_agent;
        }
        head.encoding = encoding.map(Encoding::name);
        head.accept_encoding = self.pool.codecs.accepted();
        let opened = self.connection.borrow_mut().call(&head, deadline, now);
        if let Some(merged) = merged {
            self.merged.set(merged);
        }
        let key = opened?;
        let call = self.spare.borrow_mut().pop().unwrap_or_default();
        call.key.set(Some(key));
        call.encoding.set(encoding);
        call.decoding.set(None);
        call.inherited_deadline.set(deadline.filter(|_| inherited));
        call.handles.set(1);
        let mut calls = self.calls.borrow_mut();
        if calls.len() <= key.index() {
            calls.resize_with(key.index() + 1, || None);
        }
        calls[key.index()] = Some(Rc::clone(&call));
        drop(calls);
        Ok(OpenCall { link: Rc::clone(self), call, layered: None })
    }

    /// Whether new calls are accepted.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.borrow().is_open() && !self.progress.is_over()
    }

    /// Why no new calls are accepted, in the server's words where it had any.
    #[cold]
    pub(crate) fn why_closed(&self) -> String {
        let connection = self.connection.borrow();
        match (connection.session().goaway_received(), connection.goaway_debug_data()) {
            (None, _) => "the connection takes no calls".to_owned(),
            (Some(code), "") => format!("the server goes away: GOAWAY with {code}"),
            (Some(code), debug) => format!("the server goes away: GOAWAY with {code}, {debug:?}"),
        }
    }

    /// Completes when the server's SETTINGS have come, or the connection is over: then with the reason.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        poll_fn(|cx| self.progress.poll(cx)).await
    }

    /// Wakes the next call that waits behind `max_queued_calls`, if there is room for it now.
    ///
    /// Room comes when a queued call has got its stream, which is in the driver's turn, or has ended; a call that is let
    /// in wakes the next one.
    pub(crate) fn let_in(&self) {
        if self.surplus.is_empty() {
            return;
        }
        let refusal = self.connection.borrow().session().refusal();
        if refusal != Some(OpenError::TooMany) {
            self.surplus.wake_next();
        }
    }

    /// The driving task has something to do.
    pub(crate) fn notify(&self) {
        let driver = self.driver.borrow_mut().take();
        if let Some(driver) = driver {
            wake(driver);
        }
    }

    /// The record of a call that the core knows.
    pub(crate) fn call(&self, key: CallKey) -> Option<Rc<Record>> {
        self.calls
            .borrow()
            .get(key.index())?
            .as_ref()
            .filter(|call| call.key.get() == Some(key))
            .cloned()
    }

    /// Ends a call that its caller gave up: in the core, and for the holder of its other half.
    pub(crate) fn cancel(&self, key: CallKey) {
        let Some(call) = self.forget(key) else { return };
        let mut connection = self.connection.borrow_mut();
        call.unsent.set(connection.session().is_unsent(key));
        connection.cancel(key);
        drop(connection);
        call.wake_receiver();
        call.wake_sender();
        self.give_back(call);
    }

    /// Takes the record out of the table: the core has forgotten the call.
    pub(crate) fn forget(&self, key: CallKey) -> Option<Rc<Record>> {
        let mut calls = self.calls.borrow_mut();
        let place = calls.get_mut(key.index())?;
        let ours = place.as_ref().is_some_and(|call| call.key.get() == Some(key));
        let call = if ours { place.take() } else { None };
        drop(calls);
        let call = call?;
        call.key.set(None);
        Some(call)
    }

    /// Gives memory back that no call has needed for a while.
    pub(crate) fn trim(&self) {
        let (mut calls, mut spare) = (self.calls.borrow_mut(), self.spare.borrow_mut());
        let idle = calls.iter().all(Option::is_none);
        if !idle || calls.capacity() + spare.capacity() == 0 {
            return;
        }
        let freed = (std::mem::take(&mut *calls), std::mem::take(&mut *spare));
        drop((calls, spare));
        drop(freed);
        self.dropped.borrow_mut().shrink_to_fit();
        self.pool.trim();
    }

    /// Takes a record back, if nothing refers to it any more.
    #[inline]
    pub(crate) fn give_back(&self, call: Rc<Record>) {
        if call.handles.get() == 0 && call.key.get().is_none() {
            self.empty(call);
        }
    }

    fn empty(&self, call: Rc<Record>) {
        let mut connection = self.connection.borrow_mut();
        call.inbox.borrow_mut().clear(&mut connection, &self.pool);
        if let Some(headers) = call.headers.take() {
            connection.recycle_metadata(headers);
        }
        if let Some(outcome) = call.outcome.take() {
            connection.recycle_metadata(outcome.trailers);
        }
        drop(connection);
        discard(call.receiver.take());
        discard(call.sender.take());
        drop(call.local_status.take());
        drop(call.parent.take());
        call.single.set(false);
        call.counts.set(Counts::default());
        call.unsent.set(false);
        call.taken.set(0);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_CALLS {
            spare.push(call);
        }
    }
}

/// How far a connection has come.
#[derive(Default)]
pub(crate) struct Progress {
    stage: RefCell<Stage>,
    waiting: RefCell<Option<Waker>>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Opening,
    Open,
    Over(String),
}

impl Progress {
    /// Whether the server's SETTINGS are still awaited.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Opening)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Over(_))
    }

    /// The server's SETTINGS have come.
    pub(crate) fn opened(&self) {
        self.enter(Stage::Open);
    }

    /// The connection is over, for this reason if it is the first.
    pub(crate) fn over(&self, reason: impl FnOnce() -> String) {
        if !self.is_over() {
            self.enter(Stage::Over(reason()));
        }
    }

    fn enter(&self, stage: Stage) {
        self.stage.replace(stage);
        let waker = self.waiting.take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), String>> {
        match &*self.stage.borrow() {
            Stage::Open => return Poll::Ready(Ok(())),
            Stage::Over(reason) => return Poll::Ready(Err(reason.clone())),
            Stage::Opening => {}
        }
        let old = self.waiting.replace(Some(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }
}

impl Record {
    /// How a call ended, OK included, as who made it sees it.
    pub(crate) fn error_of(&self, link: &Link, outcome: &Outcome) -> CallError {
        CallError::new(outcome.status.clone(), self.origin_of(link, outcome))
    }

    pub(crate) fn origin_of(&self, link: &Link, outcome: &Outcome) -> Origin {
        let is_late = outcome.status.code() == Code::DeadlineExceeded;
        match (&outcome.reason, self.inherited_deadline.get()) {
            // The peer may notice first.
            (reason, Some(deadline))
                if is_late && (reason.is_some() || deadline <= link.host.now()) =>
            {
                Origin::Inherited
            }
            (None, _) => Origin::Peer,
            (Some(_), _) => Origin::Local,
        }
    }

    pub(crate) fn wake_receiver(&self) {
        let waker = self.receiver.take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    pub(crate) fn wake_sender(&self) {
        let waker = self.sender.take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }
}

/// A handle to a call that was opened; when the last one goes before the call has ended, the call is cancelled.
pub(crate) struct OpenCall {
    pub(crate) link: Rc<Link>,
    pub(crate) call: Rc<Record>,
    /// The layers around the call, for who takes its messages and awaits its end.
    pub(crate) layered: Option<Handle>,
}

impl OpenCall {
    /// A second handle to the same call.
    pub(crate) fn share(&self) -> OpenCall {
        self.call.handles.set(self.call.handles.get() + 1);
        let layered = self.layered.clone();
        OpenCall { link: Rc::clone(&self.link), call: Rc::clone(&self.call), layered }
    }

    /// The call's streams are given out: its layers cannot make it again.
    pub(crate) fn commit(&self) {
        if let Some(layered) = &self.layered {
            layered.call.committed.set(true);
        }
    }

    /// Encodes and queues a message; pending while the call's queue is full. `packed` stays with the message.
    pub(crate) fn poll_send<M: Encode + ?Sized>(
        &self,
        message: &M,
        packed: &mut Packed,
        compresses: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        let Some(key) = self.call.key.get() else {
            return Poll::Ready(Err(self.ended()));
        };
        let sent = self.send(key, message, packed, compresses);
        match sent {
            Ok(()) => {
                self.link.notify();
                Poll::Ready(Ok(()))
            }
            Err(SendError::Full) => {
                remember(&self.call.sender, cx);
                Poll::Pending
            }
            Err(SendError::Ended) => Poll::Ready(Err(self.ended())),
            Err(error) => Poll::Ready(Err(CallError::local(error))),
        }
    }

    /// Encodes and queues a message, compressed where the call is.
    pub(crate) fn send<M: Encode + ?Sized>(
        &self,
        key: CallKey,
        message: &M,
        packed: &mut Packed,
        compresses: bool,
    ) -> Result<(), SendError> {
        let mut connection = self.link.connection.borrow_mut();
        let sent = match self.call.encoding.get().filter(|_| compresses) {
            None => connection.send(key, message),
            Some(encoding) => {
                let codecs = &self.link.pool.codecs;
                codecs.send(encoding, &mut connection, key, message, packed)
            }
        };
        if sent.is_ok() {
            let mut counts = self.call.counts.get();
            counts.sent += 1;
            counts.sent_bytes += connection.last_message_len() as u64;
            self.call.counts.set(counts);
        }
        sent
    }

    /// Half-closes, after the messages that are queued.
    pub(crate) fn end(&self) {
        if let Some(key) = self.call.key.get() {
            // An error means that the call is over, which the receiving side tells.
            let _ = self.link.connection.borrow_mut().end(key);
            self.link.notify();
        }
    }

    /// The next response message, or `None` after the last when the status is OK.
    pub(crate) fn poll_message(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Arrived>, CallError>> {
        let message = self.call.inbox.borrow_mut().reading().and_then(Batch::pop);
        if let Some(message) = message {
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(layered) = &self.layered {
            // The end of the call is what its layers make of it.
            return layered.poll(cx).map_ok(|()| None);
        }
        match self.failure() {
            Some(status) => Poll::Ready(Err(status)),
            None if self.is_over() => Poll::Ready(Ok(None)),
            None => self.wait(cx),
        }
    }

    /// The end of the call. A call with one response that gets a second one ends here.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(layered) = &self.layered {
            return layered.poll(cx).map(drop);
        }
        if self.is_over() || self.call.inbox.borrow().len() > 1 {
            return Poll::Ready(());
        }
        self.wait(cx)
    }

    /// Response headers, or the end of the call.
    pub(crate) fn poll_headers(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.call.headers.borrow().is_some() || self.is_over() {
            return Poll::Ready(());
        }
        if let Some(layered) = &self.layered {
            return layered.poll(cx).map(drop);
        }
        self.wait(cx)
    }

    /// Waits until the call is over and its messages were taken; of a call with one response, until it is over.
    pub(super) fn poll_drained(&self, cx: &Context<'_>) -> Poll<()> {
        let inbox = self.call.inbox.borrow();
        let drained = match self.call.single.get() {
            true => self.is_over() || inbox.len() > 1,
            // A status that this side has set needs no reader.
            false => {
                self.is_over() && (inbox.is_empty() || self.call.local_status.borrow().is_some())
            }
        };
        drop(inbox);
        if drained { Poll::Ready(()) } else { self.wait(cx) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.call.outcome.borrow().is_some() || self.call.local_status.borrow().is_some()
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        remember(&self.call.receiver, cx);
        self.watch_parent(cx);
        Poll::Pending
    }

    /// Ends this call when the one was cancelled that it is part of.
    fn watch_parent(&self, cx: &Context<'_>) {
        let mut parent = self.call.parent.borrow_mut();
        let Some(watched) = &mut *parent else { return };
        let Poll::Ready(status) = watched.poll_cancelled(cx) else { return };
        let over = parent.take();
        drop(parent);
        drop(over);
        self.abandon(CallError::inherited(status));
        // The status is there for the next poll.
        cx.waker().wake_by_ref();
    }

    /// Makes the call end with another one.
    pub(crate) fn end_with(&self, parent: Parent) {
        self.call.parent.replace(Some(parent));
    }

    /// Copies a message into the arena and decodes it there; its credit and its memory go back.
    ///
    /// While more messages wait, credit is gathered up to [`CREDIT_MARK`].
    pub(crate) fn decode<'a, S: Schema>(
        &self,
        message: Arrived,
        arena: &'a Arena,
    ) -> Result<S::View<'a>, CallError> {
        let copied = self.copy(&message, arena);
        let taken = self.call.taken.get() + message.wire_len();
        let last = self.call.inbox.borrow().is_empty();
        if last || taken >= CREDIT_MARK || message.is_assembled() {
            self.call.taken.set(0);
            self.give_credit(taken, message);
        } else {
            self.call.taken.set(taken);
        }
        let copied = copied.map_err(CallError::local)?;
        S::decode(copied, arena, &self.link.decode).map_err(CallError::local)
    }

    /// Returns the credit of messages that were taken, and the memory of the last of them.
    fn give_credit(&self, bytes: u32, last: Arrived) {
        let mut connection = self.link.connection.borrow_mut();
        let mut credit_is_due = false;
        if let Some(key) = self.call.key.get() {
            connection.grant(key, bytes);
            credit_is_due = connection.has_output();
        }
        last.recycle(&mut connection);
        drop(connection);
        if credit_is_due {
            self.link.notify();
        }
    }

    /// Copies a message into the arena, decompressed if need be.
    fn copy<'a>(&self, message: &Arrived, arena: &'a Arena) -> Result<&'a [u8], Status> {
        let inbox = self.call.inbox.borrow();
        let bytes = inbox.bytes(message);
        if message.is_compressed() {
            let encoding = self.call.decoding.get().ok_or_else(not_agreed)?;
            let limit = self.link.connection.borrow().session().limits().max_receive_message;
            return self.link.pool.codecs.decompress(encoding, bytes, arena, limit as usize);
        }
        let copied = arena.try_alloc_slice(bytes).map_err(|full| {
            Status::new(Code::ResourceExhausted, format!("a message does not fit: {full}"))
        })?;
        Ok(copied)
    }

    /// Cancels the call, if it is not over; `error` is what its other half will hear.
    pub(crate) fn abandon(&self, error: CallError) {
        if let Some(key) = self.call.key.get() {
            self.call.local_status.borrow_mut().get_or_insert(error);
            self.link.dropped.borrow_mut().push(key);
            self.link.notify();
        }
    }

    /// Ends a call none of which has left, at once, so that none of it does; `false` if any has, or the call is over.
    pub(crate) fn withdraw(&self) -> bool {
        if let Some(key) = self.call.key.get()
            && self.link.connection.borrow().session().is_unsent(key)
        {
            self.link.cancel(key);
            // Its place is free for another one.
            self.link.notify();
        }
        self.call.unsent.get()
    }

    /// Cancels the call, if it is not over; says how it ended, and gives what came beside the messages.
    pub(crate) fn cancel(&self) -> (Status, ResponseMetadata) {
        if !self.is_over() {
            self.abandon(CallError::local(Status::cancelled("the caller cancelled the call")));
        }
        let withdrawn = self.withdraw();
        let mut metadata = ResponseMetadata {
            headers: self.call.headers.take().unwrap_or_default(),
            ..ResponseMetadata::default()
        };
        let outcome = self.call.outcome.take();
        let local_status = self.call.local_status.borrow().clone();
        let Some(outcome) = outcome else {
            // Where any of it has left, the server may have begun with it.
            let processed = if withdrawn { Processed::No } else { Processed::Maybe };
            metadata.processed = Some(processed);
            return (local_status.map_or(Status::OK, CallError::into_status), metadata);
        };
        let end = local_status.unwrap_or_else(|| self.call.error_of(&self.link, &outcome));
        metadata.trailers = outcome.trailers;
        metadata.processed = Some(outcome.processed);
        // Another half of the call still learns how it ended.
        self.call.local_status.borrow_mut().get_or_insert_with(|| end.clone());
        (end.into_status(), metadata)
    }

    /// Ends the call with `error`, though it may be over, because what came makes no sense: nor will what came behind.
    pub(crate) fn reject(&self, error: CallError) {
        let mut connection = self.link.connection.borrow_mut();
        self.call.inbox.borrow_mut().clear(&mut connection, &self.link.pool);
        drop(connection);
        self.call.local_status.borrow_mut().get_or_insert_with(|| error.clone());
        self.abandon(error);
    }

    /// How the call ended, if that was not with OK; a status that this side has set goes before what came afterwards.
    pub(super) fn failure(&self) -> Option<CallError> {
        if let Some(local_status) = &*self.call.local_status.borrow() {
            return if local_status.status().is_ok() { None } else { Some(local_status.clone()) };
        }
        let outcome = self.call.outcome.borrow();
        let outcome = outcome.as_ref().filter(|outcome| !outcome.status.is_ok())?;
        Some(self.call.error_of(&self.link, outcome))
    }

    /// The error for who sends on a call that is over.
    fn ended(&self) -> CallError {
        let over = || CallError::local(Status::new(Code::Cancelled, "the call is over"));
        self.failure().unwrap_or_else(over)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let handles = self.call.handles.get() - 1;
        self.call.handles.set(handles);
        if handles > 0 {
            return;
        }
        if let Some(key) = self.call.key.get() {
            self.link.dropped.borrow_mut().push(key);
            self.link.notify();
        } else {
            self.link.give_back(Rc::clone(&self.call));
        }
    }
}
