//! The counters of a channel: those of its closed connections added up, and those of open ones on demand.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use grpc_proto::{CloseCounts, CloseReason, Stats};

use super::link::Link;

/// Counters of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Connections that were begun, whether they came up or not.
    pub connections_begun: u64,
    /// Connections that are open or about to be.
    pub connections_open: u64,
    /// Why the others ended: as many in all as were begun and are not open.
    ///
    /// An attempt for which no transport was found, or that took too long, counts as [`CloseReason::Dropped`].
    pub connections_closed: CloseCounts,
    /// The counters of all connections, closed and open, added up.
    pub connections: Stats,
}

/// What the connections of a channel share for its counters.
#[derive(Default)]
pub(crate) struct Ledger {
    /// All but the open connections.
    totals: Cell<ChannelStats>,
    /// The open ones, few: the current one, and those that drain.
    open: RefCell<Vec<Weak<Link>>>,
}

impl Ledger {
    fn count(&self, change: impl FnOnce(&mut ChannelStats)) {
        let mut totals = self.totals.get();
        change(&mut totals);
        self.totals.set(totals);
    }

    /// Enters a connection.
    pub(crate) fn begun(&self, link: &Rc<Link>) {
        self.open.borrow_mut().push(Rc::downgrade(link));
        self.count(|totals| {
            totals.connections_begun += 1;
            totals.connections_open += 1;
        });
    }

    /// Adds up what a connection has counted.
    pub(crate) fn closed(&self, link: &Link, stats: Stats, reason: CloseReason) {
        self.open.borrow_mut().retain(|open| !std::ptr::eq(open.as_ptr(), link));
        self.count(|totals| {
            totals.connections_open -= 1;
            totals.connections_closed.add(reason);
            totals.connections += stats;
        });
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let mut stats = self.totals.get();
        for link in self.open.borrow().iter().filter_map(Weak::upgrade) {
            // One that is in the middle of a step is left out.
            if let Ok(connection) = link.connection.try_borrow() {
                stats.connections += connection.stats();
            }
        }
        stats
    }
}
