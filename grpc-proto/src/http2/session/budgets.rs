//! What of its budgets a connection may use, where many connections share memory, and what it uses.

use super::Session;

/// What a connection may reserve of its budgets, set by [`Connection::allot`](crate::Connection::allot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// Bytes of [`Limits::assembly_budget`](crate::Limits::assembly_budget).
    pub assembly: u32,
    /// Bytes of [`Limits::send_budget`](crate::Limits::send_budget).
    pub send: u32,
}

impl Allotment {
    /// Only the limits of the connection count.
    pub const UNLIMITED: Self = Allotment { assembly: u32::MAX, send: u32::MAX };
}

/// What a connection holds and wants, in bytes; see [`Connection::usage`](crate::Connection::usage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Received and not given back: messages under way with the memory that was taken for them, and messages that were
    /// handed out and not granted yet ([`Limits::manual_credit`](crate::Limits::manual_credit)).
    pub received: usize,
    /// Queued to be sent. A message counts whole until its last byte has left, because its memory does not go before.
    pub queued: usize,
    /// Kept for reuse, in the connection's pool.
    pub pooled: usize,
    /// What is reserved of the assembly budget.
    pub assembly: u32,
    /// What [`Allotment::assembly`] must be at least for the next message to be received: more than is allotted if a
    /// message waits for that alone, otherwise 0.
    pub assembly_wanted: u32,
    /// What is reserved of the send budget.
    pub send: u32,
    /// The same as `assembly_wanted` for [`Allotment::send`].
    pub send_wanted: u32,
}

impl Session {
    /// Sets what may be reserved of the budgets from now on. What exceeds it stays reserved until it is given back.
    pub fn allot(&mut self, allotment: Allotment) {
        let base = self.base_window();
        self.send_budget.allot(allotment.send);
        self.receive_budget.allot(allotment.assembly, &mut self.streams, base);
        self.wake_refused_writers();
    }

    /// What was allotted last.
    pub fn allotted(&self) -> Allotment {
        Allotment { assembly: self.receive_budget.allotted(), send: self.send_budget.allotted() }
    }

    /// What the connection holds and wants.
    pub fn usage(&self) -> Usage {
        Usage {
            received: self.receive_budget.held(),
            queued: self.send_budget.queued(),
            pooled: self.pool.heap_bytes(),
            assembly: self.receive_budget.taken(),
            assembly_wanted: self.receive_budget.wanted(&self.streams, self.base_window()),
            send: self.send_budget.outstanding(),
            send_wanted: self.send_budget.wanted(),
        }
    }
}
