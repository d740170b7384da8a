//! The counters of a server: those of closed connections added up, and those of open ones on demand.

use std::cell::{Cell, RefCell};
use std::ops::AddAssign;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use grpc_proto::{CloseCounts, CloseReason, ConnectionError, Stats};

use super::call::Shared;
use crate::memory::ThreadMemory;
use crate::report::{Throttle, run_hook};
use crate::wake::wake;
use crate::{ConnectionLimit, Host, MemoryBudget, Peer, ServerHooks};

/// Counters of a server, or of several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were accepted.
    pub connections_accepted: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Why the others ended: as many in all as were accepted and are not open.
    pub connections_closed: CloseCounts,
    /// Attempts to accept that failed for want of descriptors or memory.
    pub accepts_failed: u64,
    /// Connections that were closed at accept because the process had as many as it may
    /// ([`ServingLimits::connections`](crate::ServingLimits::connections)).
    pub refused_by_process: u64,
    /// … because the worker had.
    pub refused_by_worker: u64,
    /// … because the peer's address had.
    pub refused_by_address: u64,
    /// Connections that got GOAWAY because one of these limits was lowered.
    pub drained_by_limit: u64,
    /// Handlers that panicked.
    pub handlers_panicked: u64,
    /// The counters of all connections, closed and open, added up.
    pub connections: Stats,
}

impl AddAssign for ServerStats {
    fn add_assign(&mut self, other: Self) {
        // Named one by one, so that a counter that is added here is added up.
        let Self {
            connections_accepted,
            connections_open,
            connections_closed,
            accepts_failed,
            refused_by_process,
            refused_by_worker,
            refused_by_address,
            drained_by_limit,
            handlers_panicked,
            connections,
        } = other;
        self.connections_accepted += connections_accepted;
        self.connections_open += connections_open;
        self.connections_closed += connections_closed;
        self.accepts_failed += accepts_failed;
        self.refused_by_process += refused_by_process;
        self.refused_by_worker += refused_by_worker;
        self.refused_by_address += refused_by_address;
        self.drained_by_limit += drained_by_limit;
        self.handlers_panicked += handlers_panicked;
        self.connections += connections;
    }
}

/// What the connections of a server share for its counters.
pub(crate) struct Ledger {
    /// All but the open connections.
    totals: Cell<ServerStats>,
    /// By place; a place is free when it upgrades to nothing, and named in `free`.
    open: RefCell<Vec<Weak<Shared>>>,
    free: RefCell<Vec<u32>>,
    hooks: Option<Arc<dyn ServerHooks>>,
    panics: Throttle,
    accepts: Throttle,
    refusals: Throttle,
    drains: Throttle,
    endings: Throttle,
}

/// The least time between two lines about handlers that panic, and between two about connections that are not served.
const PANIC_LINES: Duration = Duration::from_secs(1);
const ACCEPT_LINES: Duration = Duration::from_secs(10);

impl Ledger {
    pub(crate) fn new(hooks: Option<Arc<dyn ServerHooks>>) -> Rc<Self> {
        Rc::new(Self {
            totals: Cell::default(),
            open: RefCell::default(),
            free: RefCell::default(),
            hooks,
            panics: Throttle::new(PANIC_LINES),
            accepts: Throttle::new(ACCEPT_LINES),
            refusals: Throttle::new(ACCEPT_LINES),
            drains: Throttle::new(ACCEPT_LINES),
            endings: Throttle::new(ACCEPT_LINES),
        })
    }

    fn count(&self, change: impl FnOnce(&mut ServerStats)) {
        let mut totals = self.totals.get();
        change(&mut totals);
        self.totals.set(totals);
    }

    pub(crate) fn hooks(&self) -> Option<&Arc<dyn ServerHooks>> {
        self.hooks.as_ref()
    }

    fn hook(&self, call: impl FnOnce(&dyn ServerHooks)) {
        if let Some(hooks) = &self.hooks {
            run_hook(|| call(&**hooks));
        }
    }

    /// Enters a connection, and returns its place.
    pub(crate) fn opened(&self, shared: &Rc<Shared>) -> u32 {
        let place = self.free.borrow_mut().pop();
        let place = place.unwrap_or_else(|| {
            let mut open = self.open.borrow_mut();
            open.push(Weak::new());
            open.len() as u32 - 1
        });
        self.open.borrow_mut()[place as usize] = Rc::downgrade(shared);
        self.count(|totals| {
            totals.connections_accepted += 1;
            totals.connections_open += 1;
        });
        self.hook(|hooks| hooks.connection_opened(&shared.peer));
        place
    }

    /// Adds up what a connection has counted, whose place is free from now on.
    pub(crate) fn closed(
        &self,
        place: u32,
        peer: &Peer,
        stats: &Stats,
        reason: CloseReason,
        outcome: Result<(), &ConnectionError>,
    ) {
        self.open.borrow_mut()[place as usize] = Weak::new();
        self.free.borrow_mut().push(place);
        self.count(|totals| {
            totals.connections_open -= 1;
            totals.connections_closed.add(reason);
            totals.connections += *stats;
        });
        self.hook(|hooks| hooks.connection_closed(peer, stats, outcome));
    }

    /// A handler, or a layer around it, panicked.
    pub(crate) fn panicked(&self, what: &str, path: &str, message: &str, host: &dyn Host) {
        self.count(|totals| totals.handlers_panicked += 1);
        self.hook(|hooks| hooks.handler_panicked(path, message));
        if let Some(skipped) = self.panics.pass(host.now()) {
            let more = skipped_text(skipped);
            run_hook(|| host.report(&format!("{what} of {path} panicked: {message}{more}")));
        }
    }

    /// A connection could not be accepted.
    pub(crate) fn accept_failed(&self, error: &std::io::Error, wait: Duration, host: &dyn Host) {
        self.count(|totals| totals.accepts_failed += 1);
        self.hook(|hooks| hooks.accept_failed(error, wait));
        if let Some(skipped) = self.accepts.pass(host.now()) {
            let more = skipped_text(skipped);
            let text =
                format!("accepting a connection failed, next attempt in {wait:?}: {error}{more}");
            run_hook(|| host.report(&text));
        }
    }

    /// A connection was closed at accept.
    pub(crate) fn refused(&self, limit: ConnectionLimit, peer: &Peer, host: &dyn Host) {
        self.count(|totals| {
            *match limit {
                ConnectionLimit::Process => &mut totals.refused_by_process,
                ConnectionLimit::Worker => &mut totals.refused_by_worker,
                ConnectionLimit::Address => &mut totals.refused_by_address,
            } += 1;
        });
        self.hook(|hooks| hooks.connection_refused(peer, limit));
        if let Some(skipped) = self.refusals.pass(host.now()) {
            let more = skipped_text(skipped);
            run_hook(|| host.report(&format!("a connection of {peer} was refused: {limit}{more}")));
        }
    }

    /// A connection ends because it holds most of what the connections of the thread share.
    pub(crate) fn ended(&self, budget: MemoryBudget, peer: &Peer, host: &dyn Host) {
        self.hook(|hooks| hooks.connection_ended_for_memory(peer, budget));
        if let Some(skipped) = self.endings.pass(host.now()) {
            let more = skipped_text(skipped);
            run_hook(|| host.report(&format!("a connection of {peer} ends: {budget}{more}")));
        }
    }

    /// Wakes the connections that have something to learn of the thread's memory; returns whether the one at `own` has.
    pub(crate) fn tell_news(&self, memory: &ThreadMemory, own: Option<u32>) -> bool {
        let mut is_own = false;
        while let Some(place) = memory.pop_news() {
            if Some(place) == own {
                is_own = true;
                continue;
            }
            let shared = self.open.borrow().get(place as usize).and_then(Weak::upgrade);
            if let Some(shared) = shared {
                shared.has_news.set(true);
                if let Some(root) = shared.ready.unpark() {
                    wake(root);
                }
            }
        }
        is_own
    }

    /// A connection was told to go because a limit was lowered.
    pub(crate) fn drained(&self, limit: ConnectionLimit, host: &dyn Host) {
        self.count(|totals| totals.drained_by_limit += 1);
        if let Some(skipped) = self.drains.pass(host.now()) {
            let more = skipped_text(skipped);
            let name = limit.as_str();
            run_hook(|| host.report(&format!("a connection drains, {name} was lowered{more}")));
        }
    }

    pub(crate) fn stats(&self) -> ServerStats {
        let mut stats = self.totals.get();
        for shared in self.open.borrow().iter().filter_map(Weak::upgrade) {
            // One that is in the middle of a step, which only code within the connection sees, is left out.
            if let Ok(connection) = shared.connection.try_borrow() {
                stats.connections += connection.stats();
            }
        }
        stats
    }
}

fn skipped_text(skipped: u64) -> String {
    if skipped == 0 { String::new() } else { format!(" ({skipped} more since the last line)") }
}

/// A connection's way to the ledger.
pub(crate) struct Entry {
    pub(crate) ledger: Rc<Ledger>,
    pub(crate) place: u32,
    /// What ended the connection, if anything has.
    pub(crate) error: Option<ConnectionError>,
}

impl Entry {
    /// The connection is over.
    pub(crate) fn close(&mut self, shared: &Shared, ended_by: Option<MemoryBudget>) {
        let (stats, drained, reason) = match shared.connection.try_borrow() {
            Ok(connection) => {
                let reason = connection.session().close_reason();
                (connection.stats(), connection.is_drained(), reason)
            }
            Err(_) => (Stats::default(), false, None),
        };
        // Where nothing has ended it, a panic or the program did.
        let reason = match ended_by {
            Some(MemoryBudget::Receive) => CloseReason::ReceiveBudget,
            Some(MemoryBudget::Send) => CloseReason::SendBudget,
            None => reason.unwrap_or(CloseReason::Dropped),
        };
        let outcome = match self.error.take() {
            None | Some(ConnectionError::Drained) if drained => Ok(()),
            None => Err(ConnectionError::Closed(None)),
            Some(error) => Err(error),
        };
        let outcome = outcome.as_ref().copied();
        self.ledger.closed(self.place, &shared.peer, &stats, reason, outcome);
    }
}
