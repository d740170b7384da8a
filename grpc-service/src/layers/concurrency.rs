//! A limit of what runs at a time, and a queue before it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use grpc_proto::{Code, Status};

use super::{CallView, Incoming, Layer, Next, Outgoing};
use crate::client::CallError;
use crate::wake::{discard, wake};

/// Lets so many calls run at a time, on each thread; others wait in a queue, first come first served.
///
/// A call that finds the queue full ends with RESOURCE_EXHAUSTED. One that waits costs an entry of the queue beside its
/// own place in the connection, and leaves it when it is cancelled or its deadline passes.
pub struct ConcurrencyLimit {
    limit: usize,
    queue_limit: usize,
    running: Cell<usize>,
    tickets: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Waker)>>,
}

impl ConcurrencyLimit {
    /// `running` calls at a time, one at least, and `queued` that wait.
    pub fn new(running: usize, queued: usize) -> Self {
        Self {
            limit: running.max(1),
            queue_limit: queued,
            running: Cell::new(0),
            tickets: Cell::new(0),
            queue: RefCell::default(),
        }
    }

    /// Calls that run.
    pub fn running(&self) -> usize {
        self.running.get()
    }

    /// Calls that wait.
    pub fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Waits for a place.
    pub(super) fn acquire(&self) -> Acquire<'_> {
        Acquire { limit: self, ticket: None }
    }

    /// Wakes the first in line, if there is room for it; it stays in line until it has taken its place.
    fn wake_first(&self) {
        if self.running.get() < self.limit {
            let first = self.queue.borrow().front().map(|(_, waker)| waker.clone());
            if let Some(waker) = first {
                wake(waker);
            }
        }
    }
}

/// Completes with a place, or fails where the queue is full.
pub(super) struct Acquire<'l> {
    limit: &'l ConcurrencyLimit,
    ticket: Option<u64>,
}

impl Acquire<'_> {
    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut queue = self.limit.queue.borrow_mut();
        let place = queue.binary_search_by_key(&ticket, |(other, _)| *other).ok();
        let left = place.and_then(|place| queue.remove(place));
        drop(queue);
        discard(left.map(|(_, waker)| waker));
    }
}

impl<'l> Future for Acquire<'l> {
    type Output = Result<Running<'l>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let limit = self.limit;
        let is_first = match limit.queue.borrow().front() {
            None => true,
            Some((first, _)) => self.ticket == Some(*first),
        };
        if is_first && limit.running.get() < limit.limit {
            self.leave();
            limit.running.set(limit.running.get() + 1);
            limit.wake_first();
            return Poll::Ready(Ok(Running { limit }));
        }
        let waker = cx.waker().clone();
        let mut queue = limit.queue.borrow_mut();
        let old = match self.ticket {
            Some(ticket) => {
                let place = queue.binary_search_by_key(&ticket, |(other, _)| *other);
                let place = place.expect("a ticket is in line until it leaves");
                Some(std::mem::replace(&mut queue[place].1, waker))
            }
            None if queue.len() >= limit.queue_limit => {
                let text = "too many calls run and wait; make the call again later";
                return Poll::Ready(Err(Status::new(Code::ResourceExhausted, text)));
            }
            None => {
                let ticket = limit.tickets.get();
                limit.tickets.set(ticket + 1);
                queue.push_back((ticket, waker));
                self.ticket = Some(ticket);
                None
            }
        };
        drop(queue);
        discard(old);
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.leave();
            // It may have been woken, and the next one was not.
            self.limit.wake_first();
        }
    }
}

/// The place of a call that runs.
pub(super) struct Running<'l> {
    limit: &'l ConcurrencyLimit,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.limit.running.set(self.limit.running.get() - 1);
        self.limit.wake_first();
    }
}

impl<'a> Layer<Incoming<'a>> for ConcurrencyLimit {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let _running = self.acquire().await?;
        next.call(call).await
    }
}

impl<'a> Layer<Outgoing<'a>> for ConcurrencyLimit {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        let (mut place, mut limit) = (self.acquire(), None);
        // A call that waits here has no stream yet whose deadline would end it.
        let running = poll_fn(|cx| {
            if let Poll::Ready(acquired) = Pin::new(&mut place).poll(cx) {
                return Poll::Ready(acquired.map_err(CallError::local));
            }
            let Some(deadline) = call.deadline() else { return Poll::Pending };
            let timer = limit.get_or_insert_with(|| call.sleep_until(deadline));
            timer.as_mut().poll(cx).map(|()| Err(call.late()))
        });
        let _running = running.await?;
        next.call(call).await
    }
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("limit", &self.limit)
            .field("running", &self.running())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

/// Refuses calls with UNAVAILABLE, before anything is done for them, while a function says that the server is overloaded.
///
/// Clients make such a call again elsewhere or later. The function sees the call, so that it can spare the important ones.
pub struct LoadShed<F>(pub F);

impl<'a, F: Fn(CallView<'a>) -> bool> Layer<Incoming<'a>> for LoadShed<F> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        if (self.0)(call.view()) {
            let text = "the server is overloaded; make the call again later";
            return Err(Status::new(Code::Unavailable, text));
        }
        next.call(call).await
    }
}

impl<F> fmt::Debug for LoadShed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShed").finish_non_exhaustive()
    }
}
