//! One stream: its state, its windows, and what waits to be sent on it.

use super::error_code::ErrorCode;
use super::flow::{RecvWindow, SendWindow};
use super::queue::SendQueue;
use super::state::{Input, State};
use crate::hpack::FieldList;
use crate::time::Instant;

/// A field block that waits for its turn to be encoded.
#[derive(Debug, Default)]
pub(crate) enum Pending {
    /// Nothing waits.
    #[default]
    None,
    /// One of the session's prepared blocks.
    Prepared(Prepared),
    /// A list of its own, and the memo it is compared with.
    Fields(FieldList, Prepared),
    /// A request from a template: fields that are the same for all its requests, around the late field, and fields of its
    /// own behind them. Its stream half-closes with DATA, an empty frame if there is no body.
    Template {
        /// [`Prepared::request`].
        place: Prepared,
        /// What is not in the template.
        own: FieldList,
    },
}

impl Pending {
    pub(crate) fn is_some(&self) -> bool {
        !matches!(self, Pending::None)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Pending::None | Pending::Prepared(_) => 0,
            Pending::Fields(list, _) | Pending::Template { own: list, .. } => list.heap_bytes(),
        }
    }
}

/// Blocks that repeat from call to call; each has a memo of its last encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prepared(u8);

impl Prepared {
    /// The head of a response that nothing was added to.
    pub(crate) const RESPONSE: Prepared = Prepared(0);
    /// The head of a response with fields of its own.
    pub(crate) const OWN_RESPONSE: Prepared = Prepared(1);
    /// Trailers that say OK and nothing else.
    pub(crate) const TRAILERS_OK: Prepared = Prepared(2);
    /// Other trailers.
    pub(crate) const TRAILERS: Prepared = Prepared(3);
    /// The head of a request that is not a kept one.
    pub(crate) const OWN_REQUEST: Prepared = Prepared(4);
    /// How many lists there are besides kept requests.
    pub(crate) const FIXED: usize = 5;
    /// How many heads of requests are kept.
    pub(crate) const REQUESTS: usize = 8;

    /// The fields before the late field of a kept request, one of [`Prepared::REQUESTS`].
    pub(crate) const fn request(place: usize) -> Self {
        Prepared((Self::FIXED + 2 * place) as u8)
    }

    /// The fields after the late field of the same request.
    pub(crate) const fn after(self) -> Self {
        Prepared(self.0 + 1)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a stream waits to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In no queue.
    None,
    /// Among the streams that have something new to send, which are served first.
    Ready,
    /// In the round robin of those that have more DATA.
    RoundRobin,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) generation: u32,
    /// 0 until HEADERS is sent (client).
    pub(crate) id: u32,
    /// Changed by [`step`](Self::step) alone.
    state: State,
    pub(crate) occupied: bool,
    /// The application has let go: no event concerns it any more.
    pub(crate) released: bool,
    /// No event of the stream is expected any more: its last one was given out, or the application has ended it.
    pub(crate) reported: bool,

    // Receiving.
    pub(crate) recv: RecvWindow,
    /// What the window may exceed the base by: what of it exceeds the room for padding is taken from the assembly budget.
    pub(crate) reserved: u32,
    /// What the message under way takes of the window, its prefix and the room for padding included; 0 where none was
    /// announced.
    pub(crate) expected: u32,
    /// The stream waits for the assembly budget.
    pub(crate) awaits_budget: bool,
    pub(crate) head_received: bool,
    /// DATA that `content-length` still announces; negative without one.
    pub(crate) content_left: i64,
    /// The request was HEAD: what `content-length` announces does not come.
    pub(crate) expects_no_body: bool,
    pub(crate) in_credit: bool,
    /// The session's count of pulls when the stream was opened.
    pub(crate) opened_at_pull: u32,
    /// A message is begun and has made no progress since this moment.
    pub(crate) receiving_since: Instant,
    /// Bytes received since then.
    pub(crate) received_since: u32,
    /// The sample of the session's estimate that `sampled` belongs to.
    pub(crate) sample: u32,
    /// DATA received in that sample.
    pub(crate) sampled: u32,

    // Sending.
    pub(crate) send: SendWindow,
    pub(crate) turn: Turn,
    /// The slot stands in the round robin, for this stream or for one before it that has ended there.
    pub(crate) in_round_robin: bool,
    pub(crate) head: Pending,
    /// Our head was given, whether it has left or not.
    pub(crate) has_head: bool,
    /// What the head's late field counts to, or `NEVER`.
    pub(crate) late_until: Instant,
    pub(crate) queue: SendQueue,
    /// What the session counts for the queue.
    pub(crate) counted: usize,
    pub(crate) trailers: Pending,
    /// END_STREAM follows whatever is queued.
    pub(crate) ending: bool,
    pub(crate) reset: Option<ErrorCode>,
    /// A send was refused and the application waits to hear of room.
    pub(crate) wants_room: bool,
    pub(crate) in_writable: bool,
    /// What the queue exceeds its mark by, taken from the send budget.
    pub(crate) send_reserved: u32,
    /// Output waits for the peer's window since this moment.
    pub(crate) stalled_since: Instant,
    /// Bytes sent since then, where that is not `NEVER`.
    pub(crate) sent_since: u32,
    /// What the connection had sent by then, modulo 2³².
    pub(crate) sent_before: u32,
}

impl Stream {
    pub(crate) fn vacant() -> Self {
        Stream {
            generation: 0,
            id: 0,
            state: State::Idle,
            occupied: false,
            released: false,
            reported: false,
            recv: RecvWindow::new(0),
            reserved: 0,
            expected: 0,
            awaits_budget: false,
            head_received: false,
            content_left: -1,
            expects_no_body: false,
            in_credit: false,
            opened_at_pull: 0,
            receiving_since: Instant::NEVER,
            received_since: 0,
            sample: 0,
            sampled: 0,
            send: SendWindow::new(0),
            turn: Turn::None,
            in_round_robin: false,
            head: Pending::None,
            has_head: false,
            late_until: Instant::NEVER,
            queue: SendQueue::default(),
            counted: 0,
            trailers: Pending::None,
            ending: false,
            reset: None,
            wants_room: false,
            in_writable: false,
            send_reserved: 0,
            stalled_since: Instant::NEVER,
            sent_since: 0,
            sent_before: 0,
        }
    }

    /// Makes a vacant slot a new stream.
    ///
    /// Field by field: what the end of the last stream has left clean already (its queue, its heads) is not touched,
    /// which halves the cost of a call's record; nor are the slot's places in the session's queues, which outlive it.
    pub(crate) fn occupy(&mut self, generation: u32, id: u32, recv_window: u32, send_window: u32) {
        debug_assert!(!self.occupied && self.reset.is_none() && self.queue.is_empty());
        debug_assert!(!self.head.is_some() && !self.trailers.is_some());
        debug_assert!(self.turn != Turn::RoundRobin);
        self.generation = generation;
        self.id = id;
        self.state = State::Idle;
        self.occupied = true;
        self.released = false;
        self.reported = false;
        self.recv = RecvWindow::new(recv_window);
        self.reserved = 0;
        self.expected = 0;
        self.awaits_budget = false;
        self.head_received = false;
        self.content_left = -1;
        self.expects_no_body = false;
        self.has_head = false;
        self.receiving_since = Instant::NEVER;
        self.sample = 0;
        self.send = SendWindow::new(send_window);
        self.late_until = Instant::NEVER;
        self.ending = false;
        self.wants_room = false;
        self.send_reserved = 0;
        self.stalled_since = Instant::NEVER;
    }

    /// The state of RFC 9113 §5.1.
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Moves the state as the table says, and returns the new one. What the table forbids is our own mistake and leaves
    /// the state alone.
    #[inline]
    pub(crate) fn step(&mut self, input: Input) -> Option<State> {
        let next = self.state.next(input);
        debug_assert!(next.is_ok(), "{input:?} after {:?}", self.state);
        self.state = next.ok()?;
        Some(self.state)
    }

    /// Whether payload may leave as far as the stream's own window goes, or nobody knows that yet.
    pub(crate) fn has_window(&self) -> bool {
        self.id == 0 || self.send.available() > 0
    }

    /// What the message under way still wants beyond `reserved`, with `base` for the window of each stream.
    pub(crate) fn wanted(&self, base: u32) -> u32 {
        self.expected.saturating_sub(base).saturating_sub(self.reserved)
    }

    /// Heap bytes that wait to be sent, payload handles of the application not counted.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.queue.heap_bytes() + self.head.heap_bytes() + self.trailers.heap_bytes()
    }
}
