//! A connection of either role.
//!
//! [`Session`] orchestrates records whose fields are private to the file that owns them:
//!
//! | record | owns |
//! |---|---|
//! | `StreamTable` | streams by slot, key and identifier; how those ended that are gone |
//! | `Reader` | where we are in the peer's bytes |
//! | `FieldBlocks` | HPACK's tables, blocks in several frames, memos |
//! | `Guard` | counts of what a peer may do too often |
//! | `ControlQueue`, `Schedule` | control frames that wait; the order in which streams are served |
//! | `ReceiveBudget`, `SendBudget`, `Estimate` | credit and reservations; what may be queued; growing windows |
//! | `PendingEvents`, `Ending` | events that do not come from input; failures, GOAWAY and the drain |
//! | `Timers`, `Deadlines` | what a connection waits for; the deadlines of streams |
//!
//! A stream's own fields are open to the files here: it is a row that several records have columns in. Its state is not:
//! it changes through the table of [`state`](super::state) alone.

mod budgets;
mod control_frames;
mod control_queue;
mod decode_memo;
mod encode_memo;
mod ending;
mod estimate;
mod event;
mod field_blocks;
mod guard;
mod headers;
mod inspect;
mod keepalive;
mod lifecycle;
mod operations;
mod pending_events;
mod poll;
mod reader;
mod reading;
mod receive;
mod receive_budget;
mod recently_closed;
mod schedule;
mod send_budget;
mod shutdown;
mod streams;
mod timeouts;
mod timers;
mod transmit;
mod writing;

use super::deadlines::Deadlines;
use super::flow::{DEFAULT_WINDOW, RecvWindow, SendWindow};
use super::late_field::LateField;
use super::queue::BufferPool;
use super::settings::PeerSettings;
use super::stream::Prepared;
use super::stream_key::StreamKey;
use crate::config::{Config, Limits};
use crate::hpack::FieldList;
use crate::time::Instant;
pub use budgets::{Allotment, Usage};
use control_queue::ControlQueue;
use ending::Ending;
use estimate::Estimate;
pub use event::{
    ConnectionError, Event, Foreign, OpenError, ResetReason, Side, Stats, StreamError, TimedOut,
};
use field_blocks::FieldBlocks;
use guard::Guard;
pub use inspect::StreamView;
use pending_events::PendingEvents;
use poll::EventParts;
pub(crate) use poll::Step;
use reader::Reader;
use receive_budget::ReceiveBudget;
use schedule::Schedule;
use send_budget::SendBudget;
use streams::StreamTable;
use timers::Timers;

/// An HTTP/2 connection as a pure state machine.
///
/// Bytes go in through [`poll`](Session::poll), which hands out one event at a time; frames come out
/// of [`poll_transmit`](Session::poll_transmit); [`poll_timeout`](Session::poll_timeout) says when
/// to poll without input. Memory is bounded by [`Limits`].
#[derive(Debug)]
pub struct Session {
    side: Side,
    limits: Limits,
    peer: PeerSettings,
    /// What a client of HTTP/1 is sent.
    http1_answer: &'static [u8],
    blocks: FieldBlocks,
    guard: Guard,

    streams: StreamTable,
    deadlines: Deadlines,

    // Reading.
    reader: Reader,
    event: EventParts,
    /// What the peer may still send on the connection.
    recv_window: RecvWindow,
    /// The windows that these aim at.
    estimate: Estimate,
    receive_budget: ReceiveBudget,

    // Writing.
    control: ControlQueue,
    schedule: Schedule,
    /// What we may still send on the connection.
    send_window: SendWindow,
    send_budget: SendBudget,

    events: PendingEvents,
    ending: Ending,
    timers: Timers,
    entropy: u64,

    pool: BufferPool,
    stats: Stats,
}

impl Session {
    /// A connection that was just established; what it has to say first waits in `poll_transmit`, a server's behind
    /// [`Limits::settings_hold`].
    ///
    /// `entropy` seeds what should differ between connections (jitter, PING payloads).
    pub fn new(side: Side, config: &Config, entropy: u64, now: Instant) -> Self {
        let limits = config.limits().clone();
        Session {
            side,
            peer: PeerSettings::default(),
            http1_answer: shutdown::HTTP1_ANSWER,
            blocks: FieldBlocks::new(&limits),
            guard: Guard::new(&limits, now),
            streams: StreamTable::new(side),
            deadlines: Deadlines::new(),
            reader: Reader::new(side),
            event: EventParts::none(),
            recv_window: RecvWindow::new(limits.connection_window.max(DEFAULT_WINDOW)),
            receive_budget: ReceiveBudget::new(&limits),
            estimate: Estimate::new(&limits),
            control: ControlQueue::new(side, &limits),
            schedule: Schedule::default(),
            send_window: SendWindow::new(DEFAULT_WINDOW),
            send_budget: SendBudget::new(&limits),
            events: PendingEvents::default(),
            ending: Ending::new(),
            timers: Timers::new(side, &limits, entropy, now),
            entropy,
            pool: BufferPool::new(limits.pool_bytes as usize),
            limits,
            stats: Stats::default(),
        }
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the peer has asked of us so far.
    pub fn peer_settings(&self) -> &PeerSettings {
        &self.peer
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Streams whose slot is taken: open ones, and ended ones that the application has not let go of.
    pub fn occupied(&self) -> usize {
        self.streams.occupied() as usize
    }

    /// An empty field list, with memory if a used one was given back.
    pub fn take_fields(&mut self) -> FieldList {
        self.blocks.take_list()
    }

    /// Keeps a list's memory for later.
    pub fn recycle_fields(&mut self, list: FieldList) {
        self.blocks.recycle_list(list);
    }

    /// The fields of the block that was received last.
    #[inline]
    pub(crate) fn received(&self) -> &FieldList {
        self.blocks.received()
    }

    /// The same fields, to keep.
    pub(crate) fn take_received(&mut self) -> FieldList {
        self.blocks.take_received()
    }

    /// Sets the field that tells the time that is left when a header section leaves (see
    /// [`set_late_field`](Self::set_late_field)).
    pub(crate) fn use_late_field(&mut self, field: LateField) {
        self.blocks.set_late_field(field);
    }

    /// Sets the list behind [`Pending::Prepared`](crate::http2::stream::Pending::Prepared).
    pub(crate) fn prepare(&mut self, place: Prepared, list: FieldList) {
        self.blocks.prepare(place, list);
    }

    /// `:status` of the block that was received last.
    #[inline]
    pub(crate) fn received_status(&self) -> u16 {
        self.blocks.checked().status
    }

    pub(crate) fn pool(&mut self) -> &mut BufferPool {
        &mut self.pool
    }

    /// Whether the stream is still to be served by the application.
    #[inline]
    pub(crate) fn is_live(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.reported)
    }

    /// Heap bytes that the session holds, payload handles of the application not counted.
    pub fn heap_bytes(&self) -> usize {
        self.streams.heap_bytes()
            + self.receive_budget.heap_bytes()
            + self.deadlines.heap_bytes()
            + self.reader.heap_bytes()
            + self.control.heap_bytes()
            + self.schedule.heap_bytes()
            + self.ending.heap_bytes()
            + self.events.heap_bytes()
            + self.pool.heap_bytes()
            + self.blocks.heap_bytes()
    }

    /// Gives pooled memory back: an idle connection is small.
    fn trim(&mut self) {
        // The first stream that is opened switches the timer off.
        debug_assert_eq!(self.streams.occupied(), 0);
        self.streams.trim();
        self.deadlines.shrink();
        self.pool.shrink();
        self.schedule.trim();
        self.receive_budget.trim();
        self.reader.trim();
        self.blocks.trim();
        self.control.trim();
        self.events.trim();
    }
}

#[cfg(test)]
mod tests;
