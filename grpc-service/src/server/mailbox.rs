//! From one part of a handler to another, with a bound.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::wake::{remember, wake};

/// What `on_message` leaves for [`BidiCall::run`](super::BidiCall::run), in order and up to a bound.
///
/// A call that answers at its own pace has one as a field: `on_message` sends owned values into it, `run` receives them
/// and pushes. While it is full, [`send`](Self::send) waits, so the client's credit does not return and the client slows
/// down. Each side belongs to one future at a time: the last one that waits is woken.
///
/// ```
/// use grpc_service::server::Mailbox;
/// # use grpc_service::Status;
/// # async fn on_message(mailbox: &Mailbox<String>) {
/// mailbox.send("a name".to_owned()).await;    // in `on_message`
/// # }
/// # async fn finish(mailbox: &Mailbox<String>) {
/// mailbox.close();                            // in `finish`
/// # }
/// # async fn run(mailbox: &Mailbox<String>) -> Result<(), Status> {
/// while let Some(name) = mailbox.receive().await { // in `run`
/// #   let _ = name;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Mailbox<T> {
    waiting: RefCell<VecDeque<T>>,
    capacity: usize,
    closed: Cell<bool>,
    sender: Cell<Option<Waker>>,
    receiver: Cell<Option<Waker>>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox for `capacity` values at a time, one at least.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: RefCell::default(),
            capacity: capacity.max(1),
            closed: Cell::new(false),
            sender: Cell::new(None),
            receiver: Cell::new(None),
        }
    }

    /// Leaves a value; waits while the mailbox is full. After [`close`](Self::close) the value is dropped.
    pub async fn send(&self, value: T) {
        let mut value = Some(value);
        poll_fn(|cx| {
            if self.closed.get() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= self.capacity {
                drop(waiting);
                remember(&self.sender, cx);
                return Poll::Pending;
            }
            waiting.extend(value.take());
            Poll::Ready(())
        })
        .await;
        wake_in(&self.receiver);
    }

    /// The next value; `None` once the mailbox is closed and empty.
    pub async fn receive(&self) -> Option<T> {
        let received = poll_fn(|cx| {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                None if !self.closed.get() => {
                    remember(&self.receiver, cx);
                    Poll::Pending
                }
                next => Poll::Ready(next),
            }
        })
        .await;
        wake_in(&self.sender);
        received
    }

    /// No more values come: what waits is still received, and then `None`.
    pub fn close(&self) {
        self.closed.set(true);
        wake_in(&self.receiver);
        wake_in(&self.sender);
    }

    /// Values that wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Whether no value waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Wakes the future that waits at one side, if there is one.
fn wake_in(place: &Cell<Option<Waker>>) {
    if let Some(waker) = place.take() {
        wake(waker);
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("closed", &self.closed.get())
            .finish()
    }
}
