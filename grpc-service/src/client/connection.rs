//! The end of a client connection that an adapter drives.

use std::cell::Ref;
use std::fmt;
use std::rc::Rc;
use std::task::Context;

use grpc_proto::client::Event;
use grpc_proto::{
    CallKey, Client, CloseReason, Connection, ConnectionError, ErrorCode, Instant, Message, Stats,
    Transmit,
};

use super::link::Link;
use crate::Endpoint;
use crate::endpoint::{Turn, turn};

/// The connection behind a [`Channel`](crate::Channel), to be driven over its transport.
///
/// When the last channel is gone and the last call has ended, it is drained.
pub struct ClientConnection {
    link: Rc<Link>,
    leaving: bool,
}

impl ClientConnection {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        Self { link, leaving: false }
    }

    /// Counters of the connection.
    pub fn stats(&self) -> Stats {
        self.link.connection.borrow().stats()
    }

    /// The protocol underneath, to be looked at between two turns: by diagnostics, and by tests that hold it to its
    /// rules. What comes back must be let go before the connection is driven or called on.
    pub fn protocol(&self) -> Ref<'_, Connection<Client>> {
        Ref::map(self.link.connection.borrow(), |recorder| &**recorder)
    }

    /// Calls that are open.
    pub fn open_calls(&self) -> usize {
        self.link.connection.borrow().open_calls()
    }

    /// Takes a message, and those behind it in its DATA frame: the receiver is woken once for all of them.
    fn on_message(&self, key: CallKey, message: Message<'_>, input: &mut &[u8], now: Instant) {
        // A call that was dropped meanwhile is cancelled in the next turn.
        let Some(call) = self.link.call(key) else { return };
        let mut inbox = call.inbox.borrow_mut();
        let mut counts = call.counts.get();
        counts.received += 1;
        counts.received_bytes += message.len() as u64;
        inbox.push(message, &self.link.pool);
        let single = call.single.get();
        if !single {
            let more = self.link.connection.borrow_mut().poll_messages(key, input, now);
            let prefixes = 5 * more.len();
            counts.received += more.len() as u64;
            counts.received_bytes += (more.as_bytes().len() - prefixes) as u64;
            inbox.append(more, &self.link.pool);
        }
        call.counts.set(counts);
        let awaited = !single || inbox.len() > 1;
        drop(inbox);
        if awaited {
            call.wake_receiver();
        }
    }
}

impl Turn for ClientConnection {
    fn run_ready(&mut self, now: Instant) {
        loop {
            let dropped = self.link.dropped.borrow_mut().pop();
            let Some(key) = dropped else { break };
            self.link.cancel(key);
        }
        if self.link.channels.get() == 0 && !self.leaving {
            self.leaving = true;
            self.link.connection.borrow_mut().shutdown(now);
        }
    }

    fn step(&mut self, input: &mut &[u8], now: Instant) -> Result<bool, ConnectionError> {
        // The borrow of the connection ends with this statement: the event borrows from the input alone.
        let event = self.link.connection.borrow_mut().poll_event(input, now)?;
        match event {
            None => return Ok(false),
            Some(Event::Headers(key, headers)) => {
                if let Some(call) = self.link.call(key) {
                    let name = headers.encoding();
                    call.decoding.set(name.and_then(|name| self.link.pool.codecs.accept(name)));
                    call.headers.replace(Some(headers));
                    if !call.single.get() {
                        call.wake_receiver();
                    }
                }
            }
            Some(Event::Message(key, message)) => self.on_message(key, message, input, now),
            Some(Event::Writable(key)) => {
                if let Some(call) = self.link.call(key) {
                    call.wake_sender();
                }
            }
            Some(Event::Status(key, outcome)) => {
                if let Some(call) = self.link.forget(key) {
                    call.outcome.replace(Some(outcome));
                    call.wake_receiver();
                    call.wake_sender();
                    self.link.give_back(call);
                }
            }
            Some(_) => {}
        }
        Ok(true)
    }

    fn transmit(&mut self, out: &mut Transmit, now: Instant) {
        self.link.connection.borrow_mut().poll_transmit(out, now);
    }
}

impl Endpoint for ClientConnection {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        // Set first, so that a wake from within the turn, by a task that runs inline, is not lost.
        let mut driver = self.link.driver.borrow_mut();
        let old = match &*driver {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => driver.replace(cx.waker().clone()),
        };
        drop(driver);
        drop(old);
        let driven = turn(self, input, out, now);
        self.link.let_in();
        if self.link.connection.borrow().is_trimmed() {
            self.link.trim();
        }
        let progress = &self.link.progress;
        if let Err(error) = &driven {
            progress.over(|| self.link.with_debug_data(error));
        } else if progress.is_opening()
            && self.link.connection.borrow().session().settings_received()
        {
            progress.opened();
        }
        driven
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.link.connection.borrow().poll_timeout()
    }

    fn note_delivery(&mut self, now: Instant) {
        self.link.connection.borrow_mut().note_delivery(now);
    }

    fn close_read(&mut self, now: Instant) {
        self.link.connection.borrow_mut().close_read(now);
    }

    fn shutdown(&mut self, now: Instant) {
        self.leaving = true;
        self.link.connection.borrow_mut().shutdown(now);
    }

    fn abort(&mut self, now: Instant) {
        self.leaving = true;
        self.link.connection.borrow_mut().close(ErrorCode::NO_ERROR, now);
    }

    fn is_drained(&self) -> bool {
        self.link.connection.borrow().is_drained()
    }

    fn is_trimmed(&self) -> bool {
        self.link.connection.borrow().is_trimmed()
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        // The driver may drop a connection before its end; its calls still get their results.
        let now = self.link.host.now();
        let connection = self.link.connection.borrow();
        let reason = connection.session().close_reason().unwrap_or(CloseReason::Dropped);
        self.link.ledger.closed(&self.link, connection.stats(), reason);
        drop(connection);
        self.link.connection.borrow_mut().close_read(now);
        while let Ok(true) = self.step(&mut &[][..], now) {}
        self.link.let_in();
        let link = &self.link;
        let goaway = link.connection.borrow().session().goaway_received();
        link.progress.over(|| match goaway {
            // The server went away before any call was made: nothing is left to do, which is no error of the connection.
            Some(code) => link.with_debug_data(&ConnectionError::Closed(Some(code))),
            None => "the connection was given up".to_owned(),
        });
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("authority", &self.link.authority)
            .field("open_calls", &self.open_calls())
            .finish_non_exhaustive()
    }
}
