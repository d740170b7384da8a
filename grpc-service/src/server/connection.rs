//! One connection of a server: takes events out of the core and runs handlers.

use std::any::Any;
use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use grpc_proto::http2::Side;
use grpc_proto::server::{Event, ResponseHead};
use grpc_proto::{
    CallKey, Code, Connection, ConnectionError, ErrorCode, Instant, Message, Metadata, Reason,
    RequestHead, Server, Stats, Status, Transmit,
};

use super::call::{Call, Scope, Shared};
use super::leaf::no_method;
use super::ledger::{Entry, Ledger};
use super::router::{Requests, Slot};
use super::share::{NOTHING, Share};
use super::{Deployed, ServerOptions};
use crate::current::{self, CallInfo, Current};
use crate::endpoint::{Turn, turn};
use crate::memory::ThreadMemory;
use crate::pool::Pool;
use crate::queue::WaitQueue;
use crate::recording::connect;
use crate::timers::Timers;
use crate::wake::wake;
use crate::{Endpoint, Host, Peer};

/// One connection of a [`Server`](crate::Server), to be driven over its transport.
///
/// A handler runs in the very turn in which its message arrives, so one that does not wait costs neither a task nor
/// a wake. Dropping the connection drops its handlers.
pub struct ServerConnection {
    shared: Rc<Shared>,
    routes: Rc<Deployed>,
    /// By [`CallKey::index`].
    calls: Vec<Rc<Call>>,
    /// Scratch for the calls that were woken.
    woken: Vec<u32>,
    /// A stop was asked for, and handlers that wait for the drain run before it begins.
    stop_pending: bool,
    entry: Entry,
    /// Its part of the thread's memory.
    share: Share,
}

impl ServerConnection {
    pub(crate) fn new(
        options: &ServerOptions,
        routes: Rc<Deployed>,
        pool: Rc<Pool>,
        host: Rc<dyn Host>,
        ledger: Rc<Ledger>,
        memory: Rc<ThreadMemory>,
        peer: Peer,
    ) -> Self {
        let recordings = options.recordings.as_ref();
        let known = peer.tls().is_some_and(|tls| tls.http2);
        let known = known.then(|| options.config.known_http2());
        let config = known.as_ref().unwrap_or(&options.config);
        let mut connection = connect(recordings, Side::Server, &peer, config, &*host);
        connection.allot(NOTHING);
        let shared = Shared {
            connection: RefCell::new(connection),
            ready: Default::default(),
            timers: RefCell::new(Timers::default()),
            host,
            pool,
            decode: options.decode,
            peer,
            drain: WaitQueue::default(),
            ledger: Rc::clone(&ledger),
            stopping: Cell::new(false),
            memory,
            has_news: Cell::new(false),
            heads: Cell::new(0),
            arenas: Cell::new(0),
        };
        let shared = Rc::new(shared);
        let entry = Entry { place: ledger.opened(&shared), ledger, error: None };
        let share = Share::new(entry.place);
        let (calls, woken) = (Vec::new(), Vec::new());
        Self { shared, routes, calls, woken, stop_pending: false, entry, share }
    }

    /// Counters of the connection.
    pub fn stats(&self) -> Stats {
        self.shared.connection.borrow().stats()
    }

    /// The protocol underneath, to be looked at between two turns: by diagnostics, and by tests that hold it to its
    /// rules. What comes back must be let go before the connection is driven.
    pub fn protocol(&self) -> Ref<'_, Connection<Server>> {
        Ref::map(self.shared.connection.borrow(), |recorder| &**recorder)
    }

    /// Calls that are open, running or not.
    pub fn open_calls(&self) -> usize {
        self.shared.connection.borrow().open_calls()
    }

    /// Heap bytes of the messages that wait for their handlers: at most four stream windows a call and a few KiB, and
    /// what of the assembly budget their messages exceed the window by. What a handler has taken is not among them.
    pub fn waiting_bytes(&self) -> usize {
        self.calls.iter().map(|call| call.inbox.borrow().heap_bytes()).sum()
    }

    fn on_request(&mut self, key: CallKey, head: RequestHead) {
        let Some(entry) = self.routes.find(head.path_bytes()) else {
            let status = no_method(head.path());
            return self.refuse(key, head, status);
        };
        if head.content_subtype().is_some_and(|subtype| !subtype.eq_ignore_ascii_case(SERVED)) {
            return self.refuse_subtype(key, head);
        }
        let codecs = &self.shared.pool.codecs;
        let decoding = head.encoding().and_then(|name| codecs.accept(name));
        if decoding.is_none() && head.encoding().is_some() {
            return self.refuse_encoding(key, head);
        }
        while self.calls.len() <= key.index() {
            let info = CallInfo::new(&self.shared.host, self.entry.ledger.hooks());
            let call = Call::new(self.calls.len() as u32, &self.shared.ready, info);
            self.calls.push(Rc::new(call));
        }
        let call = &self.calls[key.index()];
        call.decoding.set(decoding);
        call.encoding.set(codecs.choose(&head));
        call.key.set(Some(key));
        let bytes = head.metadata.fields().heap_bytes();
        call.head_bytes.set(bytes);
        self.shared.heads.set(self.shared.heads.get() + bytes);
        call.set_head(head, entry.method);
        let streams = entry.requests == Requests::Stream;
        call.entry.replace(Some(entry));
        if streams {
            self.start(key, call);
        }
    }

    /// Takes a message, and those behind it in its DATA frame: the handler is polled once for all of them.
    fn on_message(&self, key: CallKey, message: Message<'_>, input: &mut &[u8], now: Instant) {
        let Some(call) = self.call(key) else {
            // Its handler finished early; the client's remaining messages are read and dropped.
            return;
        };
        let mut inbox = call.inbox.borrow_mut();
        inbox.push(message, &self.shared.pool);
        if call.is_streaming() {
            let more = self.shared.connection.borrow_mut().poll_messages(key, input, now);
            inbox.append(more, &self.shared.pool);
            drop(inbox);
            return self.run(call);
        }
        let many = inbox.len() > 1;
        drop(inbox);
        if many {
            let text = "the method takes exactly one message, and a second one came";
            self.refuse_open(key, call, Status::new(Code::Unimplemented, text));
        }
    }

    fn on_half_close(&self, key: CallKey) {
        let Some(call) = self.call(key) else { return };
        call.half_closed.set(true);
        if call.is_streaming() {
            self.run(call);
        } else if call.inbox.borrow().is_empty() {
            let text = "the method takes exactly one message, and none came";
            self.refuse_open(key, call, Status::new(Code::Unimplemented, text));
        } else {
            self.start(key, call);
        }
    }

    fn on_writable(&self, key: CallKey) {
        let Some(call) = self.call(key) else { return };
        for place in &call.blocked {
            if let Some(waker) = place.take() {
                wake(waker);
            }
        }
    }

    fn on_cancelled(&self, key: CallKey, reason: Reason) {
        if let Some(call) = self.call(key) {
            let info = Rc::clone(&call.info.borrow());
            info.cancel(reason);
            drop(info);
            self.clear(call, call.slot.take());
        }
        self.shared.connection.borrow_mut().release(key);
    }

    /// The call at a place, if `key` still names it.
    fn call(&self, key: CallKey) -> Option<&Rc<Call>> {
        self.calls.get(key.index()).filter(|call| call.key.get() == Some(key))
    }

    /// Answers a request that no handler will see.
    fn refuse(&self, key: CallKey, head: RequestHead, status: Status) {
        let mut connection = self.shared.connection.borrow_mut();
        let _ = connection.finish(key, &status, &Metadata::new());
        connection.recycle_metadata(head.metadata);
    }

    /// Answers a request whose messages are in another format than protocol buffers.
    #[cold]
    fn refuse_subtype(&self, key: CallKey, head: RequestHead) {
        let text = format!(
            "content-type application/grpc+{} is not served here: send application/grpc or application/grpc+{SERVED}",
            head.content_subtype().unwrap_or_default()
        );
        self.refuse(key, head, Status::new(Code::Unimplemented, text));
    }

    /// Answers a request whose messages nobody here can read, and says what can be read (compression.md).
    #[cold]
    fn refuse_encoding(&self, key: CallKey, head: RequestHead) {
        let text = format!(
            "grpc-encoding {} is not supported",
            beginning(head.encoding().unwrap_or_default())
        );
        let accept_encoding = Some(self.shared.pool.codecs.all_accepted());
        let answer = ResponseHead { accept_encoding, ..ResponseHead::default() };
        // An error means that the call is over already.
        let _ = self.shared.connection.borrow_mut().respond(key, &answer);
        self.refuse(key, head, Status::new(Code::Unimplemented, text));
    }

    /// Answers a call whose handler has not started.
    fn refuse_open(&self, key: CallKey, call: &Call, status: Status) {
        if let Some(head) = call.take_head() {
            self.refuse(key, head, status);
        }
        self.clear(call, call.slot.take());
    }

    /// Makes a handler and polls it.
    fn start(&self, key: CallKey, call: &Rc<Call>) {
        let info = Rc::clone(&call.info.borrow());
        let scope = Scope { shared: Rc::clone(&self.shared), call: Rc::clone(call), key, info };
        let slot = {
            let entry = call.entry.borrow();
            entry.as_ref().expect("an open call has its method").take_slot()
        };
        self.poll(call, slot, Some(scope));
    }

    /// Polls a handler, if the call has one and it does not run.
    fn run(&self, call: &Call) {
        if let Some(slot) = call.slot.take() {
            self.poll(call, slot, None);
        }
    }

    /// Polls the handler in `slot`, or a new one for `scope`.
    ///
    /// It is out of its place meanwhile: a handler must not find itself.
    fn poll(&self, call: &Call, mut slot: Slot, scope: Option<Scope>) {
        // A wake from before this poll is answered by it.
        call.wake.take();
        let mut cx = Context::from_waker(&call.waker);
        let current = Current { info: Rc::clone(&call.info.borrow()), is_task: false };
        let entered = current::enter(Some(current));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(scope) = scope {
                // Copying the service for the call is its code as well.
                slot.as_mut().start(scope);
            }
            slot.as_mut().poll(&mut cx)
        }));
        drop(entered);
        match polled {
            Ok(Poll::Pending) => call.slot.set(Some(slot)),
            Ok(Poll::Ready(outcome)) => {
                if let Some(key) = call.key.get() {
                    call.finish(&self.shared, key, outcome);
                }
                self.clear(call, Some(slot));
            }
            Err(payload) => self.fail(call, slot, payload),
        }
    }

    /// Ends a call whose handler panicked.
    #[cold]
    fn fail(&self, call: &Call, slot: Slot, payload: Box<dyn Any + Send>) {
        let info = Rc::clone(&call.info.borrow());
        let is_layered = call.entry.borrow().as_ref().is_some_and(|entry| entry.layered);
        // The handler's own panics are statuses for the layers around it.
        let what = if is_layered { "a layer around the handler" } else { "the handler" };
        let status = self.shared.panicked(what, info.head().path(), payload);
        drop(info);
        if let Some(key) = call.key.get() {
            let mut connection = self.shared.connection.borrow_mut();
            let _ = connection.finish(key, &status, &Metadata::new());
        }
        self.clear(call, Some(slot));
    }

    /// Gives the memory of places back that no call has needed for a while.
    fn trim(&mut self) {
        if self.calls.iter().any(|call| call.key.get().is_some()) {
            return;
        }
        let idle = std::mem::take(&mut self.calls);
        if !idle.is_empty() {
            drop(idle);
            self.woken = Vec::new();
            self.shared.ready.shrink();
            self.shared.timers.borrow_mut().shrink();
        }
    }

    /// Empties a place: drops the handler, if there is one, and whatever else the call left.
    fn clear(&self, call: &Call, slot: Option<Slot>) {
        let entry = call.entry.take();
        if let Some(mut slot) = slot {
            // Destructors of a handler are its code as well.
            let dropped = catch_unwind(AssertUnwindSafe(|| slot.as_mut().clear()));
            if let (Ok(()), Some(entry)) = (dropped, entry) {
                entry.give_slot(slot);
            }
        }
        let heads = &self.shared.heads;
        heads.set(heads.get() - call.head_bytes.take());
        let mut connection = self.shared.connection.borrow_mut();
        if let Some(head) = call.take_head() {
            connection.recycle_metadata(head.metadata);
        }
        call.inbox.borrow_mut().clear(&mut connection, &self.shared.pool);
        drop(connection);
        call.clear_extensions();
        call.reset();
    }
}

/// The subtype of `content-type` that every generated method serves; without one it is meant too (PROTOCOL-HTTP2).
const SERVED: &str = "proto";

/// As much of a peer's text as is told back to it: it may be of the size of a field list, and thrice that once escaped.
pub(super) fn beginning(text: &str) -> &str {
    const TOLD: usize = 256;
    let mut end = text.len().min(TOLD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Turn for ServerConnection {
    /// Wakes what is due and runs what was woken before this turn.
    ///
    /// What wakes itself meanwhile runs in the next turn: input and output get theirs first.
    fn run_ready(&mut self, now: Instant) {
        loop {
            let due = self.shared.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { break };
            wake(waker);
        }
        let mut woken = std::mem::take(&mut self.woken);
        self.shared.ready.drain(&mut woken);
        for index in woken.drain(..) {
            if let Some(call) = self.calls.get(index as usize)
                && call.wake.take()
            {
                self.run(call);
            }
        }
        self.woken = woken;
    }

    fn step(&mut self, input: &mut &[u8], now: Instant) -> Result<bool, ConnectionError> {
        // The borrow of the connection ends with this statement: the event borrows from the input alone.
        let event = self.shared.connection.borrow_mut().poll_event(input, now)?;
        match event {
            None => return Ok(false),
            Some(Event::Request(key, head)) => self.on_request(key, head),
            Some(Event::Message(key, message)) => self.on_message(key, message, input, now),
            Some(Event::End(key)) => self.on_half_close(key),
            Some(Event::Writable(key)) => self.on_writable(key),
            Some(Event::Cancelled(key, reason)) => self.on_cancelled(key, reason),
            Some(_) => {}
        }
        Ok(true)
    }

    fn transmit(&mut self, out: &mut Transmit, now: Instant) {
        self.shared.connection.borrow_mut().poll_transmit(out, now);
    }
}

impl Endpoint for ServerConnection {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        drop(self.shared.ready.unpark());
        let shared = &self.shared;
        if (shared.has_news.get() || shared.memory.is_over())
            && self.share.makes_way(shared, &self.entry.ledger, now)
        {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        if std::mem::take(&mut self.stop_pending) {
            self.run_ready(now);
            self.transmit(out, now);
            self.shared.connection.borrow_mut().shutdown(now);
        }
        loop {
            let turned = turn(self, input, out, now);
            let goes_on = self.share.tell(&self.shared, &self.entry.ledger, now);
            if let Err(error) = turned {
                self.entry.error = Some(error.clone());
                return Err(error);
            }
            if !goes_on {
                break;
            }
        }
        self.shared.announce_drain();
        if self.shared.connection.borrow().is_trimmed() {
            self.trim();
        }
        if !self.shared.ready.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let core = self.shared.connection.borrow().poll_timeout();
        let calls = self.shared.timers.borrow().next();
        core.into_iter().chain(calls).chain(self.share.timeout()).min()
    }

    fn note_delivery(&mut self, now: Instant) {
        self.shared.connection.borrow_mut().note_delivery(now);
    }

    fn close_read(&mut self, now: Instant) {
        self.shared.connection.borrow_mut().close_read(now);
    }

    fn shutdown(&mut self, now: Instant) {
        self.shared.stopping.set(true);
        if self.shared.drain.is_empty() {
            self.shared.connection.borrow_mut().shutdown(now);
        } else {
            // The next `drive` begins it. Control frames leave before DATA, so what these handlers send goes first.
            self.stop_pending = true;
            self.shared.drain.wake_all();
        }
    }

    fn abort(&mut self, now: Instant) {
        self.shared.connection.borrow_mut().close(ErrorCode::NO_ERROR, now);
    }

    fn is_drained(&self) -> bool {
        self.shared.connection.borrow().is_drained()
    }

    fn holds_input(&self) -> bool {
        self.share.makes_way_now()
    }

    fn is_trimmed(&self) -> bool {
        self.shared.connection.borrow().is_trimmed()
    }
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        // Handlers own a share of what they live in: without this the circle would never be freed.
        for call in &self.calls {
            if call.key.get().is_some() {
                let info = Rc::clone(&call.info.borrow());
                info.cancel(Reason::Connection(ConnectionError::Closed(None)));
            }
            self.clear(call, call.slot.take());
        }
        self.share.close(&self.shared, &self.entry.ledger);
        self.entry.close(&self.shared, self.share.ended_by());
    }
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection")
            .field("peer", &self.shared.peer)
            .field("open_calls", &self.open_calls())
            .finish_non_exhaustive()
    }
}
