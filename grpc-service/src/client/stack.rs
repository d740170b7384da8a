//! Layers around the calls of a channel: the future of each call's layers, and what it shares with the call.
//!
//! ```text
//!   Call, streams ── Handle ──> Layered ── slot ──> the layers' future ──> Transport ──> OpenCall
//!        sends requests, takes responses            opens the call, and waits for its end
//! ```

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use grpc_proto::{Code, Instant, Metadata, Status};

use super::link::OpenCall;
use super::opener::{Opener, Wanted, may_try_again};
use super::{CallError, Channel};
use crate::current::{Current, Parent};
use crate::layers::{Layer, Outgoing, Wrapped};
use crate::model::Service;
use crate::report::drop_payload;
use crate::slot::{BoxSlot, new_slot};
use crate::{Encoding, MethodDescriptor};

/// Places and records kept for the next calls: as many as calls are commonly in flight.
const SPARE: usize = 128;

type Slot = BoxSlot<Rc<Layered>, CallError>;

/// The layers of a channel.
pub(super) struct Stack {
    make: Box<dyn Fn() -> Slot>,
    slots: RefCell<Vec<Slot>>,
    records: RefCell<Vec<Rc<Layered>>>,
}

/// What a call and its layers share.
#[derive(Default)]
pub(crate) struct Layered {
    /// The layers' future; taken out while it is polled, and gone once it is over.
    slot: Cell<Option<Slot>>,
    /// How the layers ended the call.
    outcome: RefCell<Option<Result<(), CallError>>>,
    handles: Cell<u32>,
    channel: RefCell<Option<Channel>>,
    pub(crate) method: Cell<Option<MethodDescriptor>>,
    /// The call's own metadata, and what it inherits.
    pub(crate) metadata: RefCell<Metadata>,
    /// What layers have added for the attempt at hand.
    pub(crate) added: RefCell<Metadata>,
    /// Scratch for both.
    all: RefCell<Metadata>,
    pub(crate) deadline: Cell<Option<Instant>>,
    pub(crate) inherited: Cell<bool>,
    current: RefCell<Option<Current>>,
    encoding: Cell<Option<Encoding>>,
    wait_for_ready: Cell<bool>,
    pub(crate) opened: RefCell<Option<OpenCall>>,
    pub(crate) attempts: Cell<u32>,
    /// The call's streams are in use: it cannot be made again.
    pub(crate) committed: Cell<bool>,
    /// Scratch for values of metadata.
    pub(crate) text: Cell<String>,
}

/// A hold on a call with layers; when the last one goes, the layers' future is dropped.
pub(crate) struct Handle {
    stack: Rc<Stack>,
    pub(crate) call: Rc<Layered>,
}

/// What a call begins with.
pub(super) struct Beginning<'a> {
    pub(super) method: MethodDescriptor,
    pub(super) metadata: Option<&'a Metadata>,
    pub(super) deadline: Option<Instant>,
    pub(super) inherited: bool,
    pub(super) current: Option<&'a Current>,
    pub(super) encoding: Option<Encoding>,
    pub(super) wait_for_ready: bool,
}

impl Stack {
    /// Type erasure happens here, once for a channel.
    pub(super) fn new<L>(layer: L) -> Self
    where
        L: for<'a> Layer<Outgoing<'a>> + 'static,
    {
        let layers = Rc::new(Wrapped { layer, inner: Transport });
        let serve = Rc::new(move |call: Rc<Layered>| {
            let layers = Rc::clone(&layers);
            async move { layers.call(Outgoing::new(&call)).await }
        });
        let make = Box::new(move || new_slot(Rc::clone(&serve)));
        Self { make, slots: RefCell::default(), records: RefCell::default() }
    }

    /// Begins a call; nothing happens before it is polled.
    pub(super) fn begin(self: &Rc<Self>, channel: &Channel, with: &Beginning<'_>) -> Handle {
        let call = self.records.borrow_mut().pop().unwrap_or_default();
        call.channel.replace(Some(channel.without_layers()));
        call.method.set(Some(with.method));
        let mut metadata = call.metadata.borrow_mut();
        if let Some(own) = with.metadata {
            metadata.extend(own);
        }
        if let Some(trace) = with.current.and_then(|current| current.info.trace()) {
            metadata.extend_trace(trace);
        }
        drop(metadata);
        call.deadline.set(with.deadline);
        call.inherited.set(with.inherited);
        let task = with.current.filter(|current| current.is_task).cloned();
        call.current.replace(task);
        call.encoding.set(with.encoding);
        call.wait_for_ready.set(with.wait_for_ready);
        call.handles.set(1);
        let slot = self.slots.borrow_mut().pop();
        let mut slot = slot.unwrap_or_else(|| (self.make)());
        slot.as_mut().start(Rc::clone(&call));
        call.slot.set(Some(slot));
        Handle { stack: Rc::clone(self), call }
    }

    /// Empties a place, whose destructors are the program's code, and keeps it.
    fn give_slot(&self, mut slot: Slot) {
        match catch_unwind(AssertUnwindSafe(|| slot.as_mut().clear())) {
            Ok(()) => {
                let mut slots = self.slots.borrow_mut();
                if slots.len() < SPARE {
                    slots.push(slot);
                }
            }
            Err(payload) => drop_payload(payload),
        }
    }
}

impl Handle {
    /// Lets the layers go on, until they have ended the call.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        if let Some(outcome) = &*self.call.outcome.borrow() {
            return Poll::Ready(outcome.clone());
        }
        // A layer must not find its own future.
        let Some(mut slot) = self.call.slot.take() else { return Poll::Pending };
        let polled = match catch_unwind(AssertUnwindSafe(|| slot.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                self.call.slot.set(Some(slot));
                return Poll::Pending;
            }
            Ok(Poll::Ready(outcome)) => outcome,
            Err(payload) => {
                drop_payload(payload);
                Err(CallError::local(Status::internal("a layer of the channel panicked")))
            }
        };
        self.stack.give_slot(slot);
        if let (Err(error), Some(open)) = (&polled, &*self.call.opened.borrow()) {
            // The sending half learns it from the record.
            open.call.local_status.replace(Some(error.clone()));
            open.link.notify();
            open.call.wake_sender();
        }
        self.call.outcome.replace(Some(polled.clone()));
        Poll::Ready(polled)
    }

    /// The call that was opened last, for who sends to it and takes from it.
    pub(crate) fn open(&self) -> Option<OpenCall> {
        self.call.opened.borrow().as_ref().map(OpenCall::share)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.call.handles.set(self.call.handles.get() + 1);
        Self { stack: Rc::clone(&self.stack), call: Rc::clone(&self.call) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let handles = self.call.handles.get() - 1;
        self.call.handles.set(handles);
        if handles > 0 {
            return;
        }
        // The future owns a share of the record: without this the circle would never be freed.
        if let Some(slot) = self.call.slot.take() {
            self.stack.give_slot(slot);
        }
        self.call.reset();
        let mut records = self.stack.records.borrow_mut();
        if Rc::strong_count(&self.call) == 1 && records.len() < SPARE {
            records.push(Rc::clone(&self.call));
        }
    }
}

impl Layered {
    /// Forgets a call, and keeps the memory.
    fn reset(&self) {
        drop(self.opened.take());
        drop(self.channel.take());
        drop(self.outcome.take());
        drop(self.current.take());
        self.metadata.borrow_mut().clear();
        self.added.borrow_mut().clear();
        self.attempts.set(0);
        self.committed.set(false);
    }

    pub(crate) fn channel(&self) -> Channel {
        let channel = self.channel.borrow();
        channel.as_ref().expect("a call has its channel until it is forgotten").clone()
    }
}

/// What is below all layers: opens the call, and waits until it is over and its messages were taken.
struct Transport;

impl<'a> Service<Outgoing<'a>> for Transport {
    type Response = ();
    type Error = CallError;

    async fn call(&self, outgoing: Outgoing<'a>) -> Result<(), CallError> {
        let call = outgoing.layered();
        if call.committed.get() {
            let text = "the call's streams are in use; only a call that has not been opened, or a unary one, can be made again";
            return Err(CallError::local(Status::new(Code::Internal, text)));
        }
        let (channel, method) = (call.channel(), call.method.get());
        let method = method.expect("a call has its method until it is forgotten");
        let mut refused = false;
        loop {
            let mut opening = Opening { call, channel: &channel, opener: Opener::default() };
            let open = poll_fn(|cx| opening.poll(method.path(), cx)).await?;
            drop(opening);
            open.call.single.set(!method.kind().streams_responses());
            if let Some(current) = &*call.current.borrow() {
                open.end_with(Parent::new(Rc::clone(&current.info)));
            }
            let attempt = Attempt { open };
            let shared = attempt.open.share();
            drop(call.opened.replace(Some(shared)));
            call.attempts.set(call.attempts.get() + 1);
            poll_fn(|cx| attempt.open.poll_drained(cx)).await;
            let again = method.kind() == crate::Kind::Unary
                && may_try_again(&attempt.open, &mut refused, &channel);
            if !again {
                return attempt.open.failure().map_or(Ok(()), Err);
            }
        }
    }
}

/// A call that stands in line for a connection or a stream, and leaves the line when it is dropped.
struct Opening<'a> {
    call: &'a Layered,
    channel: &'a Channel,
    opener: Opener,
}

impl Opening<'_> {
    fn poll(&mut self, path: &str, cx: &mut Context<'_>) -> Poll<Result<OpenCall, CallError>> {
        let call = self.call;
        let mut all = call.all.borrow_mut();
        all.clear();
        all.extend(&call.metadata.borrow());
        all.extend(&call.added.borrow());
        let current = call.current.borrow();
        let wanted = Wanted {
            metadata: Some(&all),
            trace: None,
            deadline: call.deadline.get(),
            inherited: call.inherited.get(),
            task: current.as_ref(),
            encoding: call.encoding.get(),
            wait_for_ready: call.wait_for_ready.get(),
        };
        self.opener.poll(self.channel, path, &wanted, cx)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.opener.leave(self.channel, false);
    }
}

/// A call that is open, and is cancelled if a layer drops it.
struct Attempt {
    open: OpenCall,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.open.is_over() {
            self.open.abandon(CallError::local(Status::cancelled("a layer gave the call up")));
        }
    }
}
