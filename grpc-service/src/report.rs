//! What a server reports to its operators beside its counters.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Stats};

use crate::client::CallError;
use crate::{ConnectionLimit, MemoryBudget, Peer};

/// Hooks into what happens on a server, for metrics and logs; each does nothing by default.
///
/// They run on the thread of the connection, between two of its steps: keep them short. One hook may be called by several
/// threads at once. A panic of a hook is caught and has no effect.
pub trait ServerHooks: Send + Sync {
    /// A transport was accepted and is a connection now.
    fn connection_opened(&self, peer: &Peer) {
        let _ = peer;
    }

    /// A connection is over: its counters, and what ended it unless the end was graceful.
    ///
    /// One that was dropped before its end, such as by a panic beside it, counts as closed by the peer.
    fn connection_closed(&self, peer: &Peer, stats: &Stats, outcome: Result<(), &ConnectionError>) {
        let _ = (peer, stats, outcome);
    }

    /// A handler panicked; its call ended with INTERNAL, and the client does not see the message.
    fn handler_panicked(&self, path: &str, message: &str) {
        let _ = (path, message);
    }

    /// A call that the handler of `path` made has failed, and `?` maps its error; the client does not see it.
    fn call_failed(&self, path: &str, error: &CallError) {
        let _ = (path, error);
    }

    /// A transport was closed as soon as it was accepted, because `limit` is reached.
    fn connection_refused(&self, peer: &Peer, limit: ConnectionLimit) {
        let _ = (peer, limit);
    }

    /// A connection ends because it holds most of a budget that the connections of its thread share;
    /// [`connection_closed`](Self::connection_closed) follows.
    fn connection_ended_for_memory(&self, peer: &Peer, budget: MemoryBudget) {
        let _ = (peer, budget);
    }

    /// A connection could not be accepted, for want of descriptors or memory, and is tried again after `wait`.
    fn accept_failed(&self, error: &io::Error, wait: Duration) {
        let _ = (error, wait);
    }
}

/// Runs a hook, whose panic has no effect.
pub(crate) fn run_hook(hook: impl FnOnce()) {
    let panicked = catch_unwind(AssertUnwindSafe(hook));
    if let Err(payload) = panicked {
        drop_payload(payload);
    }
}

/// What a panic says: the message of `panic!`, `expect`, `assert!` and the like.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a value without a message)"
    }
}

/// Drops what a panic carried; that may panic too.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

/// Lets one report of a kind through in each span, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    span: Duration,
    /// When the next report may pass.
    next: Cell<Instant>,
    skipped: Cell<u64>,
}

impl Throttle {
    /// One report in each `span`.
    pub const fn new(span: Duration) -> Self {
        Self { span, next: Cell::new(Instant::ZERO), skipped: Cell::new(0) }
    }

    /// Whether a report may pass at `now`; with it comes how many have not since the last one that passed.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        if now < self.next.get() {
            self.skipped.set(self.skipped.get() + 1);
            return None;
        }
        self.next.set(now + self.span);
        Some(self.skipped.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_report_passes_in_each_span_and_the_others_are_counted() {
        let throttle = Throttle::new(Duration::from_secs(1));
        let at = Instant::from_millis;
        assert_eq!(throttle.pass(at(0)), Some(0));
        assert_eq!((throttle.pass(at(1)), throttle.pass(at(999))), (None, None));
        assert_eq!(throttle.pass(at(1000)), Some(2));
        assert_eq!(throttle.pass(at(2500)), Some(0));
    }

    #[test]
    fn a_panic_has_its_message_and_a_panic_of_a_hook_has_no_effect() {
        let seven = 7;
        let panics: [fn(i32); 3] =
            [|_| panic!("fixed"), |n| panic!("{n} with a value"), |n| std::panic::panic_any(n)];
        let messages = ["fixed", "7 with a value", "(a value without a message)"];
        for (panic, message) in panics.into_iter().zip(messages) {
            let payload = catch_unwind(|| panic(seven)).unwrap_err();
            assert_eq!(panic_message(&*payload), message);
            run_hook(|| panic(seven));
        }
    }
}
