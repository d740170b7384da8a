//! Ending a connection from outside while its handshake is under way.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use grpc_service::drive::{Orders, Phase};

/// A connection's handshake, seen from outside: it can be ended until it is complete.
#[derive(Default)]
pub(crate) struct Gate {
    state: Cell<State>,
    task: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Handshake,
    /// The handshake is over: nothing here has an effect any more.
    Open,
    /// The connection is to end.
    Closed,
}

impl Gate {
    /// The handshake is over.
    pub(crate) fn open(&self) {
        if self.state.get() == State::Handshake {
            self.state.set(State::Open);
        }
        drop(self.task.take());
    }

    /// Ends the connection, if its handshake is under way.
    pub(crate) fn close(&self) {
        if self.state.get() != State::Handshake {
            return;
        }
        self.state.set(State::Closed);
        let task = self.task.take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The orders of a connection, and those of its gate.
pub(crate) struct Gated<O> {
    gate: std::rc::Rc<Gate>,
    orders: O,
}

impl<O> Gated<O> {
    pub(crate) fn new(gate: std::rc::Rc<Gate>, orders: O) -> Self {
        Gated { gate, orders }
    }
}

impl<O: Orders> Orders for Gated<O> {
    fn poll_phase(&self, cx: &Context<'_>) -> Phase {
        match self.gate.state.get() {
            State::Closed => return Phase::Abort,
            State::Handshake => {
                let mut task = self.gate.task.borrow_mut();
                let old = match &*task {
                    Some(waker) if waker.will_wake(cx.waker()) => None,
                    _ => task.replace(cx.waker().clone()),
                };
                drop(task);
                drop(old);
            }
            State::Open => {}
        }
        self.orders.poll_phase(cx)
    }
}
