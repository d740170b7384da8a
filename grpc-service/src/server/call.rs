//! What a running call shares with the connection that drives it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use grpc_arena::{DecodeLimits, Encode, Schema};
use grpc_proto::record::Recorder;
use grpc_proto::server::ResponseHead;
use grpc_proto::{CallKey, Code, Instant, Metadata, RequestHead, SendError, Server, Status};

use super::ledger::Ledger;
use super::router::{Entry, Requests, Slot};
use crate::compression::{Encoding, Packed, not_agreed};
use crate::current::CallInfo;
use crate::inbox::{Arrived, Batch, Inbox, KEPT, Only};
use crate::layers::Counts;
use crate::memory::ThreadMemory;
use crate::pool::{Lease, Pool};
use crate::queue::WaitQueue;
use crate::report::{drop_payload, panic_message};
use crate::timers::Timers;
use crate::wake::{CallWaker, ReadySet, discard, remember};
use crate::{Host, MethodDescriptor, Peer};

/// One connection, as its running calls see it.
///
/// Every borrow in here ends before a handler, a waker or a destructor of theirs can run: one function takes one
/// thing in or out and lets go.
pub(crate) struct Shared {
    pub(crate) connection: RefCell<Recorder<Server>>,
    pub(crate) ready: Arc<ReadySet>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) host: Rc<dyn Host>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) decode: DecodeLimits,
    pub(crate) peer: Peer,
    /// Handlers that wait for the drain to begin.
    pub(crate) drain: WaitQueue,
    pub(crate) ledger: Rc<Ledger>,
    /// Whether a stop was asked for from outside of the connection.
    pub(crate) stopping: Cell<bool>,
    pub(crate) memory: Rc<ThreadMemory>,
    /// There is something to learn of it.
    pub(crate) has_news: Cell<bool>,
    /// Heap bytes of the heads of open requests.
    pub(crate) heads: Cell<usize>,
    /// Heap bytes of the arenas that messages lie in.
    pub(crate) arenas: Cell<usize>,
}

impl Shared {
    /// Reports a panic of `what` in a call of `path`, and makes a status of it.
    #[cold]
    pub(crate) fn panicked(&self, what: &str, path: &str, payload: Box<dyn Any + Send>) -> Status {
        self.ledger.panicked(what, path, panic_message(&*payload), &*self.host);
        drop_payload(payload);
        Status::internal(format!("{what} panicked"))
    }

    /// Whether a drain of the connection has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.stopping.get() || self.connection.borrow().session().is_draining()
    }

    /// Wakes the handlers that wait for the drain, once it has begun.
    pub(crate) fn announce_drain(&self) {
        if !self.drain.is_empty() && self.is_draining() {
            self.drain.wake_all();
        }
    }
}

/// One place in the table of calls; every call that takes the place reuses its memory.
pub(crate) struct Call {
    pub(crate) key: Cell<Option<CallKey>>,
    pub(crate) entry: RefCell<Option<Rc<Entry>>>,
    /// The place in which the handler runs; taken out while it is polled.
    pub(crate) slot: Cell<Option<Slot>>,
    /// Shared with the handler when that starts.
    pub(crate) info: RefCell<Rc<CallInfo>>,
    /// What the connection counts for its head.
    pub(crate) head_bytes: Cell<usize>,
    pub(crate) inbox: RefCell<Inbox>,
    pub(crate) half_closed: Cell<bool>,
    /// What its requests may be compressed with.
    pub(crate) decoding: Cell<Option<Encoding>>,
    /// What its replies may be compressed with.
    pub(crate) encoding: Cell<Option<Encoding>>,
    /// Whether replies that are sent now may be.
    pub(crate) compresses: Cell<bool>,
    pub(crate) headers: RefCell<Metadata>,
    pub(crate) headers_sent: Cell<bool>,
    pub(crate) trailers: RefCell<Metadata>,
    pub(crate) counts: Cell<Counts>,
    /// Who waits for room, by [`Sender`].
    pub(crate) blocked: [Cell<Option<Waker>>; 2],
    /// Who has sent last to its stream, and who is polled first next.
    pub(crate) sent_last: Cell<Sender>,
    pub(crate) first: Cell<Sender>,
    pub(crate) wake: Arc<CallWaker>,
    pub(crate) waker: Waker,
}

impl Call {
    /// What a place keeps when its call is over, in bytes: its record, and memory for the next messages.
    pub(crate) const PLACE: u64 = (size_of::<Call>() + 4 * KEPT) as u64;

    pub(crate) fn new(index: u32, ready: &Arc<ReadySet>, info: CallInfo) -> Self {
        let wake = CallWaker::new(Arc::clone(ready), index);
        let waker = Waker::from(Arc::clone(&wake));
        Self {
            key: Cell::new(None),
            entry: RefCell::default(),
            slot: Cell::new(None),
            info: RefCell::new(Rc::new(info)),
            head_bytes: Cell::new(0),
            inbox: RefCell::default(),
            half_closed: Cell::new(false),
            decoding: Cell::new(None),
            encoding: Cell::new(None),
            compresses: Cell::new(true),
            headers: RefCell::default(),
            headers_sent: Cell::new(false),
            trailers: RefCell::default(),
            counts: Cell::default(),
            blocked: Default::default(),
            sent_last: Cell::new(Sender::Replies),
            first: Cell::new(Sender::Replies),
            wake,
            waker,
        }
    }

    /// Whether the handler runs while messages arrive.
    pub(crate) fn is_streaming(&self) -> bool {
        let entry = self.entry.borrow();
        entry.as_ref().is_some_and(|entry| entry.requests == Requests::Stream)
    }

    /// Takes the head of a request.
    pub(crate) fn set_head(&self, head: RequestHead, method: Option<MethodDescriptor>) {
        let mut place = self.info.borrow_mut();
        if Rc::get_mut(&mut place).is_none() {
            // A task of an earlier call has a share of it.
            *place = Rc::new(place.successor());
        }
        let info = Rc::get_mut(&mut place).expect("it is nobody else's, as seen above");
        *info.cancelled.get_mut() = None;
        info.deadline.set(head.deadline());
        info.head = Some(head);
        info.method = method;
    }

    /// Takes the head back, unless a task of the call still has a share of it.
    pub(crate) fn take_head(&self) -> Option<RequestHead> {
        Rc::get_mut(&mut self.info.borrow_mut())?.head.take()
    }

    /// Drops what layers have set, unless a task of the call still has a share of it.
    pub(crate) fn clear_extensions(&self) {
        if let Some(info) = Rc::get_mut(&mut self.info.borrow_mut()) {
            info.extensions.clear();
        }
    }

    /// Makes the place ready for the next call; the memory stays.
    pub(crate) fn reset(&self) {
        self.key.set(None);
        self.half_closed.set(false);
        self.headers_sent.set(false);
        self.compresses.set(true);
        self.counts.set(Counts::default());
        self.headers.borrow_mut().clear();
        self.trailers.borrow_mut().clear();
        for place in &self.blocked {
            discard(place.take());
        }
        self.sent_last.set(Sender::Replies);
        self.first.set(Sender::Replies);
    }

    /// Remembers whom to wake when there is room: a sender waits for one thing at a time, so its last waker counts.
    fn block(&self, sender: Sender, cx: &Context<'_>) {
        if self.sent_last.get() != sender {
            // Who is polled first takes the room, and it was the other one's turn last.
            self.first.set(sender);
        }
        remember(&self.blocked[sender as usize], cx);
    }

    /// Queues the response headers, unless they are on their way.
    fn flush_headers(&self, shared: &Shared, key: CallKey) -> Result<(), Status> {
        if self.headers_sent.replace(true) {
            return Ok(());
        }
        let headers = self.headers.borrow();
        let head = ResponseHead {
            metadata: Some(&headers),
            encoding: self.encoding.get().map(Encoding::name),
            accept_encoding: shared.pool.codecs.accepted(),
        };
        let sent = shared.connection.borrow_mut().respond(key, &head);
        sent.map_err(Status::from)
    }

    /// Queues the response headers if there is anything to say; otherwise the core sends plain ones with the first
    /// message.
    #[inline]
    fn headers_before_message(&self, shared: &Shared, key: CallKey) -> Result<(), Status> {
        if self.headers_sent.get() {
            return Ok(());
        }
        let plain = self.encoding.get().is_none() && self.headers.borrow().is_empty();
        if plain { Ok(()) } else { self.flush_headers(shared, key) }
    }

    /// Whether the call takes one response and has sent none.
    fn owes_response(&self) -> bool {
        let streams = |entry: &Rc<Entry>| entry.method.is_none_or(|m| m.kind().streams_responses());
        self.counts.get().sent == 0 && !self.entry.borrow().as_ref().is_none_or(streams)
    }

    /// Ends the call with what its handler has returned.
    pub(crate) fn finish(&self, shared: &Shared, key: CallKey, outcome: Result<(), Status>) {
        let status = match &outcome {
            Ok(()) if self.owes_response() => &Status::new(Code::Internal, NO_RESPONSE),
            Ok(()) => &Status::OK,
            // A failure that says OK would end the call as a success without its message.
            Err(status) if status.is_ok() => &Status::new(Code::Internal, OK_FAILURE),
            Err(status) => status,
        };
        // An error here is found once more by `finish` of the connection.
        if outcome.is_ok() {
            // A stream may end well without a message, and its headers still count.
            let _ = self.headers_before_message(shared, key);
        } else if !self.headers_sent.get() && !self.headers.borrow().is_empty() {
            self.move_headers(shared, key, status);
        }
        let trailers = self.trailers.borrow();
        // An error means that the call ended before its handler: there is nobody left to tell.
        let _ = shared.connection.borrow_mut().finish(key, status, &trailers);
    }

    /// Puts headers that no message has taken along before the trailers, so that an error is Trailers-Only and the
    /// client has all of its metadata (PROTOCOL-HTTP2, "Responses").
    ///
    /// Where both together would exceed the client's limit of a field list, the headers leave in HEADERS of their own:
    /// each list is then held to the limit by itself.
    #[cold]
    fn move_headers(&self, shared: &Shared, key: CallKey, status: &Status) {
        // `:status`, `content-type`, `grpc-status`, and names of `grpc-message` and `grpc-status-details-bin` with the
        // 32 bytes that each field counts beside its text (RFC 9113 §6.5.2).
        const BESIDE: usize = 42 + 60 + 45 + 44 + 55;
        let (mut headers, mut trailers) = (self.headers.borrow_mut(), self.trailers.borrow_mut());
        // Escaped, a byte of the message takes three, and base64 makes four bytes of three.
        let text = 3 * status.message().len() + status.details().len().div_ceil(3) * 4;
        let size = headers.fields().size() + trailers.fields().size() + text + BESIDE;
        let connection = shared.connection.borrow();
        let limit = connection.session().peer_settings().max_header_list_size as usize;
        drop(connection);
        if size <= limit {
            headers.extend(&trailers);
            std::mem::swap(&mut *headers, &mut *trailers);
            return;
        }
        drop((headers, trailers));
        // An error is found once more by `finish` of the connection.
        let _ = self.flush_headers(shared, key);
    }
}

/// The parts of a handler that send, each one message after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// What answers requests.
    Replies,
    /// What pushes beside it ([`BidiCall::run`](super::BidiCall::run)).
    Pushes,
}

/// Messages that were handled and whose credit has not been returned yet.
#[derive(Default)]
pub(crate) struct Handled {
    /// What they took of the stream's window.
    bytes: u32,
}

/// The message of a call that a layer has ended with OK before its handler has.
const NO_RESPONSE: &str = "a layer ended the call with OK before it had its response; let the call go on, or return an error";
/// The message of a call whose handler has returned `Err` of a status that says OK.
const OK_FAILURE: &str = "the handler returned Err with a status of OK; return Ok with a message, or Err with another code";

/// The framework's side of one running handler: owned by its future, and so `'static` beside it.
pub(crate) struct Scope {
    pub(crate) shared: Rc<Shared>,
    pub(crate) call: Rc<Call>,
    pub(crate) key: CallKey,
    pub(crate) info: Rc<CallInfo>,
}

impl Scope {
    /// The request messages that have arrived; `None` once the client has half-closed.
    pub(crate) fn poll_batch(&self) -> Poll<Option<Batch>> {
        // The connection polls the handler after each message and after the half-close, so no waker is kept.
        match self.call.inbox.borrow_mut().take() {
            Some(batch) => Poll::Ready(Some(batch)),
            None if self.call.half_closed.get() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Runs the handler of one message. If it waits, the credit of the messages handled before it in the same poll goes
    /// back first; until then no output is made, so it would not leave earlier either.
    pub(crate) async fn handle<T>(
        &self,
        handled: &mut Handled,
        handler: impl Future<Output = T>,
    ) -> T {
        let mut handler = pin!(handler);
        poll_fn(|cx| {
            let polled = handler.as_mut().poll(cx);
            if polled.is_pending() {
                self.grant(handled);
            }
            polled
        })
        .await
    }

    /// Returns the credit of messages that were handled.
    pub(crate) fn grant(&self, handled: &mut Handled) {
        let bytes = std::mem::take(&mut handled.bytes);
        if bytes > 0 {
            self.shared.connection.borrow_mut().grant(self.key, bytes);
        }
    }

    /// Counts a message as handled, and gives its memory back where the core assembled it.
    pub(crate) fn count(&self, handled: &mut Handled, message: Arrived) {
        handled.bytes += message.wire_len();
        if message.is_assembled() {
            message.recycle(&mut self.shared.connection.borrow_mut());
        }
    }

    /// Takes the memory of messages back that were consumed.
    pub(crate) fn give_back(&self, batch: Batch) {
        self.call.inbox.borrow_mut().give_back(batch);
    }

    /// Encodes and queues a message; pending while the call's queue is full. `packed` stays with the message.
    pub(crate) fn poll_send<M: Encode + ?Sized>(
        &self,
        message: &M,
        sender: Sender,
        packed: &mut Packed,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        self.call.headers_before_message(&self.shared, self.key)?;
        let encoding = self.call.encoding.get().filter(|_| self.call.compresses.get());
        let mut connection = self.shared.connection.borrow_mut();
        let sent = match encoding {
            None => connection.send(self.key, message),
            Some(encoding) => {
                let codecs = &self.shared.pool.codecs;
                codecs.send(encoding, &mut connection, self.key, message, packed)
            }
        };
        if sent.is_ok() {
            let mut counts = self.call.counts.get();
            counts.sent += 1;
            counts.sent_bytes += connection.last_message_len() as u64;
            self.call.counts.set(counts);
        }
        drop(connection);
        match sent {
            Ok(()) => {
                // Without headers of ours the core has sent plain ones before the message.
                self.call.headers_sent.set(true);
                Poll::Ready(Ok(()))
            }
            Err(SendError::Full) => {
                self.call.headers_sent.set(true);
                self.call.block(sender, cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// Queues the response headers, unless they are on their way.
    pub(crate) fn flush_headers(&self) -> Result<(), Status> {
        self.call.flush_headers(&self.shared, self.key)
    }

    /// The one request message, which arrived before the handler started.
    pub(crate) fn take_message(&self) -> Only {
        let taken = self.call.inbox.borrow_mut().take_only();
        taken.expect("a call with one request starts when that is there")
    }

    /// Takes the memory of that message back.
    pub(crate) fn give_back_only(&self, message: Only) {
        self.call.inbox.borrow_mut().give_back_only(message);
    }

    /// Decodes a message, of which it is known whether it is compressed; borrows from its buffer and the arena.
    pub(crate) fn decode<'a, S: Schema>(
        &self,
        (mut bytes, is_compressed): (&'a [u8], bool),
        lease: &'a Lease<'_>,
    ) -> Result<S::View<'a>, Status> {
        let mut counts = self.call.counts.get();
        counts.received += 1;
        counts.received_bytes += bytes.len() as u64;
        self.call.counts.set(counts);
        // Whatever comes of it, what it took counts.
        let _count = lease.count_after();
        let arena = lease.arena();
        if is_compressed {
            let encoding = self.call.decoding.get().ok_or_else(not_agreed)?;
            let limit = self.shared.connection.borrow().session().limits().max_receive_message;
            let codecs = &self.shared.pool.codecs;
            bytes = codecs.decompress(encoding, bytes, arena, limit as usize)?;
        }
        let mut limits = self.shared.decode;
        limits.arena_bytes = limits.arena_bytes.min(lease.left(self.shared.memory.arena_bytes()));
        S::decode(bytes, arena, &limits).map_err(Status::from)
    }

    /// An arena, whose memory counts for the connection.
    pub(crate) fn lease(&self) -> Lease<'_> {
        self.shared.pool.lease(&self.shared.arenas)
    }

    pub(crate) fn now(&self) -> Instant {
        self.shared.host.now()
    }
}
