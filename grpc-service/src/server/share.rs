//! A connection's part of the memory that those of its thread share.

use std::time::Duration;

use grpc_proto::{Allotment, ErrorCode, Instant};

use super::call::Shared;
use super::ledger::Ledger;
use crate::memory::{Holdings, MemoryBudget};

/// What a connection may reserve before it has asked.
pub(super) const NOTHING: Allotment = Allotment { assembly: 0, send: 0 };

/// How often in a row a connection lets others run that have to give memory back.
const MOST_WAITS: u8 = 8;

/// Those who wait look again after so long at the earliest.
const AGAIN: Duration = Duration::from_millis(100);

/// What a connection has told of its memory, and been told.
pub(super) struct Share {
    place: u32,
    reported: Holdings,
    allotted: Allotment,
    /// When it has waited long enough for a grant, if it does wait.
    timeout: Option<Instant>,
    /// The last moment that it knows of.
    seen: Instant,
    waits: u8,
    ended_by: Option<MemoryBudget>,
}

impl Share {
    pub(super) fn new(place: u32) -> Self {
        Share {
            place,
            reported: Holdings::default(),
            allotted: NOTHING,
            timeout: None,
            seen: Instant::ZERO,
            waits: 0,
            ended_by: None,
        }
    }

    /// When the connection has to be driven because it has waited long enough for a grant.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Whether the connection lets others run first, as of its last turn.
    pub(super) fn makes_way_now(&self) -> bool {
        self.waits > 0
    }

    /// The budget that the connection has ended for.
    pub(super) fn ended_by(&self) -> Option<MemoryBudget> {
        self.ended_by
    }

    /// The connection is gone; its place is still its own.
    pub(super) fn close(&self, shared: &Shared, ledger: &Ledger) {
        shared.memory.close(self.place, self.seen);
        ledger.tell_news(&shared.memory, None);
    }

    /// Learns what there is to learn, before a turn. True if the connection has to let others run first: more is held than may
    /// be, and none but those that have to end may go on until that is given back.
    #[cold]
    pub(super) fn makes_way(&mut self, shared: &Shared, ledger: &Ledger, now: Instant) -> bool {
        if shared.has_news.take() {
            self.learn(shared, ledger, now);
        }
        // A connection that has to end may not be driven: the others wait for it a bounded time.
        let waits = shared.memory.is_over() && self.ended_by.is_none() && self.waits < MOST_WAITS;
        self.waits = if waits { self.waits + 1 } else { 0 };
        waits
    }

    /// Tells what the connection holds, after a turn. True if it has been granted what it waited for, or has to end: there is
    /// more to be done in this turn.
    #[inline]
    pub(super) fn tell(&mut self, shared: &Shared, ledger: &Ledger, now: Instant) -> bool {
        let usage = shared.connection.borrow().usage();
        let holdings = Holdings::new(&usage, shared.heads.get() + shared.arenas.get());
        self.seen = now;
        let is_due = self.timeout.is_some_and(|at| at <= now);
        if holdings == self.reported && !is_due {
            return false;
        }
        self.report(holdings, shared, ledger, now)
    }

    #[inline(never)]
    fn report(
        &mut self,
        holdings: Holdings,
        shared: &Shared,
        ledger: &Ledger,
        now: Instant,
    ) -> bool {
        let memory = &shared.memory;
        memory.report(self.place, &holdings, now);
        if self.timeout.is_some_and(|at| at <= now) {
            memory.run(now);
        }
        self.reported = holdings;
        let is_news = ledger.tell_news(memory, Some(self.place));
        self.timeout = memory.next_timeout(self.place).map(|at| at.max(now + AGAIN));
        let changed = memory.allotment(self.place) != self.allotted;
        (is_news || changed) && self.learn(shared, ledger, now)
    }

    /// Obeys what the thread's memory says; true if that gives the connection something to do.
    fn learn(&mut self, shared: &Shared, ledger: &Ledger, now: Instant) -> bool {
        let before = self.allotted;
        let allotted = shared.memory.allotment(self.place);
        if allotted != before {
            self.allotted = allotted;
            shared.connection.borrow_mut().allot(allotted);
        }
        if let Some(budget) = shared.memory.must_end(self.place)
            && self.ended_by.is_none()
        {
            self.ended_by = Some(budget);
            shared.connection.borrow_mut().close(ErrorCode::ENHANCE_YOUR_CALM, now);
            ledger.ended(budget, &shared.peer, &*shared.host);
            return true;
        }
        allotted.assembly > before.assembly || allotted.send > before.send
    }
}
