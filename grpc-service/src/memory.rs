//! The memory that the connections of one thread share.
//!
//! ```text
//!            what it holds, what it wants                 who may reserve, who has to end
//!  connection ──────────────────────────> ThreadMemory ──────────────────────────────────> connection
//!      ^                                                                                     │
//!      └──────────────── Connection::allot, Connection::close: inputs that recordings keep ──┘
//! ```
//!
//! The connections themselves share nothing: each is told by inputs.

mod budget;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use grpc_proto::{Allotment, Instant, Usage};

use crate::limits::{ServingLimits, SharedLimits};
use budget::{Budget, Report};

/// What a connection may hold without a word: up to this much of each kind is in the bound of each connection.
pub(crate) const LIGHT: usize = 64 << 10;

/// A budget of a thread, because of which a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryBudget {
    /// [`ServingLimits::receive_budget`](crate::ServingLimits::receive_budget).
    Receive,
    /// [`ServingLimits::send_budget`](crate::ServingLimits::send_budget).
    Send,
}

impl MemoryBudget {
    /// The name of the limit.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemoryBudget::Receive => "receive_budget",
            MemoryBudget::Send => "send_budget",
        }
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            MemoryBudget::Receive => {
                "what the thread's connections receive takes more memory than it may"
            }
            MemoryBudget::Send => {
                "what the thread's connections have queued takes more memory than it may"
            }
        };
        write!(f, "{what}, and this one took most; raise ServingLimits::{}", self.as_str())
    }
}

/// Both budgets of one thread.
pub(crate) struct ThreadMemory {
    limits: SharedLimits,
    /// The version of the limits that is in force here.
    version: Cell<u64>,
    receive: RefCell<Budget>,
    send: RefCell<Budget>,
    /// More is held than may be.
    over: Cell<bool>,
    /// What the arenas of one connection may hold.
    arena_bytes: Cell<usize>,
}

/// What one connection holds, for both budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    receive: Report,
    send: Report,
}

impl Holdings {
    /// What the protocol tells, and what the application's side holds of messages and heads.
    #[inline]
    pub(crate) fn new(usage: &Usage, application: usize) -> Self {
        let received = usage.received + application;
        let (receive, send) = (usage.assembly_wanted, usage.send_wanted);
        let light = |bytes: usize| if bytes <= LIGHT { 0 } else { bytes as u64 };
        Holdings {
            receive: Report { held: light(received), used: usage.assembly, wanted: receive },
            send: Report { held: light(usage.queued), used: usage.send, wanted: send },
        }
    }
}

impl ThreadMemory {
    pub(crate) fn new(limits: SharedLimits) -> Rc<Self> {
        let budget = || RefCell::new(Budget::new(0, Default::default()));
        let memory = ThreadMemory {
            version: Cell::new(limits.version()),
            receive: budget(),
            send: budget(),
            over: Cell::new(false),
            arena_bytes: Cell::new(0),
            limits,
        };
        memory.apply(&memory.limits.get());
        Rc::new(memory)
    }

    fn apply(&self, limits: &ServingLimits) {
        self.receive.borrow_mut().set(limits.receive_budget, limits.budget_patience);
        self.send.borrow_mut().set(limits.send_budget, limits.budget_patience);
        self.arena_bytes.set(limits.arena_budget);
        self.note();
    }

    /// Puts limits in force that have changed; returns whether they have.
    pub(crate) fn refresh(&self) -> bool {
        let version = self.limits.version();
        let changed = self.version.replace(version) != version;
        if changed {
            self.apply(&self.limits.get());
        }
        changed
    }

    /// Whether more is held than may be: who can wait lets those run that have to end.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// What the arenas of one connection may hold.
    #[inline]
    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena_bytes.get()
    }

    fn note(&self) {
        self.over.set(self.receive.borrow().is_over() || self.send.borrow().is_over());
    }

    /// A connection tells what it holds.
    pub(crate) fn report(&self, place: u32, holdings: &Holdings, now: Instant) {
        self.receive.borrow_mut().report(place, holdings.receive, now);
        self.send.borrow_mut().report(place, holdings.send, now);
        self.note();
    }

    /// Time has passed, and somebody has waited long.
    pub(crate) fn run(&self, now: Instant) {
        self.receive.borrow_mut().run(now);
        self.send.borrow_mut().run(now);
    }

    /// A connection is gone.
    pub(crate) fn close(&self, place: u32, now: Instant) {
        self.receive.borrow_mut().close(place, now);
        self.send.borrow_mut().close(place, now);
        self.note();
    }

    /// The next connection that has something to learn.
    pub(crate) fn pop_news(&self) -> Option<u32> {
        let received = self.receive.borrow_mut().pop_news();
        received.or_else(|| self.send.borrow_mut().pop_news())
    }

    /// What the connection may reserve.
    pub(crate) fn allotment(&self, place: u32) -> Allotment {
        let assembly = self.receive.borrow().granted(place);
        Allotment { assembly, send: self.send.borrow().granted(place) }
    }

    /// Because of which budget the connection has to end, if it has to.
    pub(crate) fn must_end(&self, place: u32) -> Option<MemoryBudget> {
        if self.receive.borrow().must_end(place) {
            return Some(MemoryBudget::Receive);
        }
        self.send.borrow().must_end(place).then_some(MemoryBudget::Send)
    }

    /// When the connection has waited long enough for a grant, if it does wait.
    pub(crate) fn next_timeout(&self, place: u32) -> Option<Instant> {
        let received = self.receive.borrow().next_timeout(place);
        received.into_iter().chain(self.send.borrow().next_timeout(place)).min()
    }

    /// Bytes that the connections hold, of what is received and of what is to be sent.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.receive.borrow().held(), self.send.borrow().held())
    }
}
