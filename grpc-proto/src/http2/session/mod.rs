//! A connection of either role: what is known about it, and the verbs of the application.

mod end;
mod frames;
mod heads;
mod receive;
mod time;
mod transmit;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::bucket::TokenBucket;
use super::error_code::ErrorCode;
use super::fields::Part;
use super::flow::{DEFAULT_WINDOW, RecvWindow, SendWindow};
use super::frame;
use super::queue::BufferPool;
use super::settings::{self, PeerSettings};
use super::state::{Cause, Input, State};
use super::stream::{Pending, Prepared, Ready, Stream};
use super::streams::{IdTable, StreamKey};
use super::timers::Deadlines;
use super::violation::Violation;
use crate::config::{Config, Limits};
use crate::hpack::{self, FieldList};
use crate::time::Instant;
use heads::{DecodeMemo, EncodeMemo};
use receive::Reading;
use time::Timers;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Opens the connection and its streams.
    Client,
    /// Accepts them.
    Server,
}

/// What happened on a connection.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A valid field list: a request's head opens a new stream.
    Headers {
        /// The stream.
        stream: StreamKey,
        /// Which part of the message it is.
        part: Part,
        /// `:status` of a response's head; 1xx is informational and followed by another head.
        status: u16,
        /// The fields; give the list back with [`Session::recycle_fields`].
        fields: FieldList,
        /// The peer sends no more on this stream.
        end_stream: bool,
    },
    /// DATA can be taken with [`Session::take_data`]; comes again until all of it has been.
    Data(StreamKey),
    /// The peer has ended the stream with its last DATA frame.
    End(StreamKey),
    /// The stream is over before its time. Nothing follows; a server's slot is held until [`Session::release`].
    Reset(StreamKey, ResetReason),
    /// The deadline set with [`Session::set_deadline`] has come.
    Deadline(StreamKey),
    /// There is room again on a stream that refused a write.
    Writable(StreamKey),
    /// The peer will accept no stream above this identifier.
    GoAway {
        /// The last identifier that the peer did or might process.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
    },
}

/// Why a stream ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// The peer sent RST_STREAM.
    Peer(ErrorCode),
    /// The peer broke a rule on this stream, and was told so by RST_STREAM.
    Violation(Violation),
    /// The stream was above the last one of the peer's GOAWAY: it was not processed, a retry is safe.
    GoAway(ErrorCode),
    /// The stream was never sent: a retry is safe.
    NeverSent(ConnectionError),
    /// The connection ended.
    Connection(ConnectionError),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke a rule and was told so by GOAWAY.
    PeerMisbehaved(Violation),
    /// A field block did not decode; the peer was told COMPRESSION_ERROR.
    Compression(hpack::DecodeError),
    /// The transport ended; with the code of the peer's GOAWAY if it sent one.
    Closed(Option<ErrorCode>),
    /// The peer did not do something in time.
    TimedOut(TimedOut),
    /// The application closed the connection with this code.
    ClosedByUs(ErrorCode),
    /// The drain is complete, or its grace period has passed.
    Drained,
}

/// What was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimedOut {
    /// The client's preface.
    Preface,
    /// The first SETTINGS.
    Settings,
    /// The acknowledgement of our SETTINGS.
    SettingsAck,
    /// The acknowledgement of a keepalive PING.
    Keepalive,
    /// The calls that were open when a drain began.
    Drain,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimedOut::Preface => "no connection preface came in time",
            TimedOut::Settings => "no SETTINGS came in time",
            TimedOut::SettingsAck => "SETTINGS were not acknowledged in time",
            TimedOut::Keepalive => "a keepalive PING was not acknowledged in time",
            TimedOut::Drain => "calls outlived the grace period of the drain",
        })
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::PeerMisbehaved(rule) => {
                write!(f, "the peer broke a rule: {rule} ({})", rule.code())
            }
            ConnectionError::Compression(error) => {
                write!(f, "a field block did not decode: {error}")
            }
            ConnectionError::Closed(None) => f.write_str("the connection was closed by the peer"),
            ConnectionError::Closed(Some(code)) => {
                write!(f, "the connection was closed by the peer after GOAWAY {code}")
            }
            ConnectionError::TimedOut(what) => write!(f, "{what}"),
            ConnectionError::ClosedByUs(code) => {
                write!(f, "the connection was closed here: {code}")
            }
            ConnectionError::Drained => f.write_str("the connection was drained"),
        }
    }
}

impl core::error::Error for ConnectionError {}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection is closing or closed; a new one is needed.
    Closing,
    /// As many streams wait as [`Limits::max_queued_calls`] allows.
    TooMany,
    /// Servers do not open streams.
    NotAClient,
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The queue is full: wait for [`Event::Writable`].
    Full,
    /// The stream is over.
    Ended,
    /// Our side of the stream has been ended already.
    AfterEnd,
    /// A head is sent once, and before anything else.
    HeadSent,
}

/// Plain counters of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Streams opened, by either side.
    pub streams_opened: u64,
    /// Streams refused at the limit.
    pub streams_refused: u64,
    /// RST_STREAM frames received.
    pub resets_received: u64,
    /// RST_STREAM frames sent.
    pub resets_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Payload bytes of DATA received, padding not counted.
    pub data_received: u64,
    /// Payload bytes of DATA sent.
    pub data_sent: u64,
    /// DATA frames sent.
    pub data_frames_sent: u64,
    /// WINDOW_UPDATE frames received.
    pub window_updates_received: u64,
    /// PING frames received that asked for an acknowledgement.
    pub pings_received: u64,
}

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

    // Streams.
    streams: Vec<Stream>,
    vacant: Vec<u32>,
    /// Of the next stream; counts over all slots, so that keys stay unique when the slab is trimmed.
    next_generation: u32,
    ids: IdTable,
    occupied: u32,
    /// Streams of ours that count against the peer's limit.
    open_on_wire: u32,
    next_id: u32,
    last_peer_id: u32,
    /// How streams ended that are gone, for frames that come late.
    graves: Vec<(u32, Cause)>,
    next_grave: usize,
    deadlines: Deadlines,

    // Reading.
    reading: Reading,
    partial: [u8; frame::HEADER_LEN],
    partial_len: u8,
    /// A control frame's payload, or a field block, that came in pieces.
    scratch: Vec<u8>,
    block: receive::Block,
    /// The fields of the event that is being handed out.
    received: FieldList,
    decoder: hpack::Decoder,
    memos: [DecodeMemo; 4],
    conn_recv: RecvWindow,
    settings_received: bool,
    unacked_settings: u32,
    opens: u32,
    empty_data: u32,
    resets: TokenBucket,
    ping_strikes: u32,
    last_ping: Option<Instant>,

    // Writing.
    control: Vec<u8>,
    pending_replies: u32,
    encoder: hpack::Encoder,
    encode_memos: [EncodeMemo; Prepared::COUNT],
    conn_send: SendWindow,
    urgent: VecDeque<u32>,
    bulk: VecDeque<u32>,
    /// Streams without an identifier yet, under the peer's limit.
    waiting: VecDeque<u32>,
    credit: VecDeque<u32>,
    writable: VecDeque<u32>,
    /// Streams whose message waits for the assembly budget, first come first served.
    hungry: VecDeque<u32>,
    assembly_left: u32,
    send_left: u32,
    send_outstanding: u32,

    // Ending.
    /// [`Session::poll`] has something to tell that does not wait for input or time.
    attention: bool,
    /// Streams that ended by a violation and whose event is still to be taken; at most one a frame.
    ended: VecDeque<(StreamKey, ResetReason)>,
    /// Resets that the peer provoked and that are still to be counted.
    violation_resets: u32,
    compression: Option<hpack::DecodeError>,
    failed: Option<ConnectionError>,
    /// Next slot to be told of a failure or of a GOAWAY.
    sweep: u32,
    goaway_received: Option<(u32, ErrorCode)>,
    goaway_pending: bool,
    goaway_sent: Option<u32>,
    draining: bool,
    timers: Timers,
    entropy: u64,

    pool: BufferPool,
    lists: Vec<FieldList>,
    stats: Stats,
}

/// Lists kept for reuse; more calls at once than this allocate theirs.
const POOLED_LISTS: usize = 256;

impl Session {
    /// A connection that was just established; what it has to say first waits in `poll_transmit`.
    ///
    /// `entropy` seeds what should differ between connections (jitter, PING payloads).
    pub fn new(side: Side, config: &Config, entropy: u64, now: Instant) -> Self {
        let limits = config.limits().clone();
        let mut control = Vec::new();
        if side == Side::Client {
            control.extend_from_slice(frame::PREFACE);
        }
        settings::put_ours(&mut control, &limits, side == Side::Client);
        let reading = match side {
            Side::Client => Reading::Header,
            Side::Server => Reading::Preface { matched: 0 },
        };
        Session {
            side,
            peer: PeerSettings::default(),
            streams: Vec::new(),
            vacant: Vec::new(),
            next_generation: 0,
            ids: IdTable::new(),
            occupied: 0,
            open_on_wire: 0,
            next_id: 1,
            last_peer_id: 0,
            graves: Vec::new(),
            next_grave: 0,
            deadlines: Deadlines::new(),
            reading,
            partial: [0; frame::HEADER_LEN],
            partial_len: 0,
            scratch: Vec::new(),
            block: receive::Block::default(),
            received: FieldList::new(),
            decoder: hpack::Decoder::new(limits.header_table_size),
            memos: Default::default(),
            conn_recv: RecvWindow::new(limits.connection_window.max(DEFAULT_WINDOW)),
            settings_received: false,
            unacked_settings: 1,
            opens: 0,
            empty_data: 0,
            resets: TokenBucket::new(limits.reset_burst, limits.reset_rate, now),
            ping_strikes: 0,
            last_ping: None,
            control,
            pending_replies: 0,
            encoder: hpack::Encoder::with_max_table_size(limits.encoder_table_size),
            encode_memos: Default::default(),
            conn_send: SendWindow::new(DEFAULT_WINDOW),
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            waiting: VecDeque::new(),
            credit: VecDeque::new(),
            writable: VecDeque::new(),
            hungry: VecDeque::new(),
            assembly_left: limits.assembly_budget,
            send_left: limits.send_budget,
            send_outstanding: 0,
            attention: false,
            ended: VecDeque::new(),
            violation_resets: 0,
            compression: None,
            failed: None,
            sweep: u32::MAX,
            goaway_received: None,
            goaway_pending: false,
            goaway_sent: None,
            draining: false,
            timers: Timers::new(side, &limits, entropy, now),
            entropy,
            pool: BufferPool::new(limits.pool_bytes as usize),
            lists: Vec::new(),
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
        self.occupied as usize
    }

    /// An empty field list, with memory if a used one was given back.
    pub fn take_fields(&mut self) -> FieldList {
        self.lists.pop().unwrap_or_default()
    }

    /// Keeps a list's memory for later.
    pub fn recycle_fields(&mut self, mut list: FieldList) {
        if self.lists.len() < POOLED_LISTS {
            list.clear();
            self.lists.push(list);
        }
    }

    /// Opens a stream with a request's head; it is sent as soon as the peer's limit allows.
    ///
    /// # Errors
    /// [`OpenError`]; the list is gone.
    pub fn open(&mut self, fields: FieldList, now: Instant) -> Result<StreamKey, OpenError> {
        self.open_with(Pending::Fields(fields, Prepared::OWN_REQUEST), now)
    }

    #[inline]
    pub(crate) fn open_with(
        &mut self,
        head: Pending,
        now: Instant,
    ) -> Result<StreamKey, OpenError> {
        if self.side != Side::Client {
            return Err(OpenError::NotAClient);
        }
        // The last identifier is never used, so that the connection ends before its identifiers do.
        let ids_left = (0x7fff_ffff - self.next_id) / 2;
        if self.failed.is_some()
            || self.draining
            || self.goaway_received.is_some()
            || self.waiting.len() as u32 >= ids_left
        {
            return Err(OpenError::Closing);
        }
        if self.waiting.len() >= self.limits.max_queued_calls as usize {
            return Err(OpenError::TooMany);
        }
        let key = self.occupy(0, now);
        self.streams[key.index()].head = head;
        self.waiting.push_back(key.slot());
        Ok(key)
    }

    /// Sends the head of a response.
    ///
    /// # Errors
    /// [`StreamError::HeadSent`] after the first, [`StreamError::Ended`] when the stream is over.
    pub fn respond(&mut self, stream: StreamKey, fields: FieldList) -> Result<(), StreamError> {
        self.set_head(stream, Pending::Fields(fields, Prepared::OWN_RESPONSE))
    }

    pub(crate) fn set_head(&mut self, key: StreamKey, head: Pending) -> Result<(), StreamError> {
        let stream = self.sendable(key)?;
        if stream.head.is_some() || !stream.queue.is_empty() || stream.ending {
            return Err(StreamError::HeadSent);
        }
        stream.head = head;
        self.make_ready(key.slot());
        Ok(())
    }

    /// Whether [`Session::write`] of any length would be accepted now.
    pub fn has_room(&self, key: StreamKey) -> bool {
        self.stream(key).is_some_and(|s| {
            s.state.can_send() && !s.ending && s.queue.len() < self.limits.send_mark as usize
        })
    }

    /// Queues payload by copying it.
    ///
    /// # Errors
    /// [`StreamError`]; with [`StreamError::Full`], [`Event::Writable`] tells when to try again.
    pub fn write(&mut self, stream: StreamKey, payload: &[u8]) -> Result<(), StreamError> {
        self.write_with(stream, payload.len(), |out| out.extend_from_slice(payload))
    }

    /// Queues `len` bytes that `encode` appends to a buffer.
    pub(crate) fn write_with(
        &mut self,
        key: StreamKey,
        len: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StreamError> {
        self.reserve_room(key, len)?;
        let stream = &mut self.streams[key.index()];
        stream.queue.append(len, &mut self.pool, encode);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Queues payload by handle; large ones are never copied.
    ///
    /// # Errors
    /// As [`Session::write`].
    pub fn write_bytes(&mut self, key: StreamKey, payload: Bytes) -> Result<(), StreamError> {
        self.reserve_room(key, payload.len())?;
        self.streams[key.index()].queue.append_shared(payload);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Queues a payload by handle behind a few bytes of framing, both or neither.
    pub(crate) fn write_framed(
        &mut self,
        key: StreamKey,
        framing: &[u8],
        payload: Bytes,
    ) -> Result<(), StreamError> {
        self.reserve_room(key, framing.len() + payload.len())?;
        let queue = &mut self.streams[key.index()].queue;
        queue.append(framing.len(), &mut self.pool, |out| out.extend_from_slice(framing));
        queue.append_shared(payload);
        self.make_ready(key.slot());
        Ok(())
    }

    /// Checks that `len` more bytes may be queued, and takes them from the send budget where they
    /// exceed the mark.
    ///
    /// An empty queue takes one message of any size, or one larger than the mark could never leave.
    /// What exceeds the mark comes out of the budget, for streams with a window only; the first
    /// such message is always let through.
    fn reserve_room(&mut self, key: StreamKey, len: usize) -> Result<(), StreamError> {
        let mark = self.limits.send_mark as usize;
        let (left, outstanding) = (self.send_left, self.send_outstanding);
        let stream = self.sendable(key)?;
        if stream.ending {
            return Err(StreamError::AfterEnd);
        }
        let queued = stream.queue.len();
        if queued + len <= mark {
            return Ok(());
        }
        let excess = u32::try_from(len.saturating_sub(mark)).unwrap_or(u32::MAX);
        let has_window = stream.id == 0 || stream.send.available() > 0;
        if queued > 0 || !has_window || (excess > left && outstanding > 0) {
            stream.wants_room = true;
            return Err(StreamError::Full);
        }
        stream.send_reserved += excess;
        self.send_left = left.saturating_sub(excess);
        self.send_outstanding += excess;
        Ok(())
    }

    /// Ends our side of the stream after what is queued, with trailers if there are any.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream is over, [`StreamError::AfterEnd`] the second time.
    pub fn finish(
        &mut self,
        key: StreamKey,
        trailers: Option<FieldList>,
    ) -> Result<(), StreamError> {
        let trailers = match trailers {
            Some(fields) => Pending::Fields(fields, Prepared::TRAILERS),
            None => Pending::None,
        };
        self.finish_with(key, trailers)
    }

    pub(crate) fn finish_with(
        &mut self,
        key: StreamKey,
        trailers: Pending,
    ) -> Result<(), StreamError> {
        let stream = self.sendable(key)?;
        if stream.ending {
            return Err(StreamError::AfterEnd);
        }
        stream.trailers = trailers;
        stream.ending = true;
        self.make_ready(key.slot());
        Ok(())
    }

    /// Ends the stream at once, in both directions; no event follows.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.released = true;
        stream.terminal = true;
        if stream.state.is_closed() {
            self.vacate_if_done(key.slot());
        } else {
            self.reset_slot(key.slot(), code);
        }
    }

    /// Ends the stream at once like [`reset`](Self::reset), but keeps its slot until [`release`](Self::release).
    pub(crate) fn abort(&mut self, key: StreamKey, code: ErrorCode) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.terminal = true;
        if !stream.state.is_closed() {
            self.reset_slot(key.slot(), code);
        }
    }

    /// No event concerns the stream any more, but its slot stays until [`release`](Self::release).
    pub(crate) fn mute(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key) {
            stream.terminal = true;
        }
    }

    /// Lets go of a stream: no event follows, its slot is free once the wire is done with it.
    ///
    /// A stream whose own side was not ended is reset with CANCEL.
    pub fn release(&mut self, key: StreamKey) {
        let Some(stream) = self.stream_mut(key) else { return };
        if !stream.ending && !stream.state.is_closed() && stream.state.can_send() {
            return self.reset(key, ErrorCode::CANCEL);
        }
        stream.released = true;
        stream.terminal = true;
        if stream.state == State::HalfClosedLocal {
            // Nobody listens any more: the peer may stop sending (RFC 9113 §8.1).
            return self.reset_slot(key.slot(), ErrorCode::NO_ERROR);
        }
        self.drop_reservation(key.slot());
        self.vacate_if_done(key.slot());
    }

    /// Gives credit back for `bytes` of DATA that are done with; the window opens when it is worth a frame.
    #[inline]
    pub fn consume(&mut self, key: StreamKey, bytes: u32) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.recv.release(bytes.min(stream.recv.held()));
        self.settle_credit(key.slot());
    }

    /// Tells that a message of `len` bytes, all included, has begun; its window opens as far as the
    /// assembly budget allows.
    pub(crate) fn expect_message(&mut self, key: StreamKey, len: u32) {
        let base = self.limits.stream_window;
        let Some(stream) = self.stream_mut(key) else { return };
        let excess = len.saturating_sub(base);
        let wanted = excess.saturating_sub(stream.reserved);
        if wanted == 0 {
            return;
        }
        stream.wanted = wanted;
        self.hungry.push_back(key.slot());
        self.feed_hungry();
    }

    /// Calls `deadline` an event at `at`; replaces an earlier setting.
    pub fn set_deadline(&mut self, key: StreamKey, at: Instant) {
        if self.stream(key).is_some() {
            self.deadlines.remove(key.slot());
            self.deadlines.insert(key.slot(), at);
        }
    }

    /// Notes that the stream's head carries a `grpc-timeout` that was right at `now`.
    pub(crate) fn stamp_timeout(&mut self, key: StreamKey, deadline: Instant, now: Instant) {
        if let Some(stream) = self.stream_mut(key) {
            (stream.deadline, stream.stamped) = (deadline, now);
        }
    }

    /// Whether all memory of streams was given back.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.streams.capacity() == 0
    }

    /// Notes when a stream began to receive something that must make progress; `NEVER` once it is complete.
    pub(crate) fn note_progress(&mut self, key: StreamKey, since: Instant) {
        let due = since + self.limits.progress_timeout;
        if let Some(stream) = self.stream_mut(key) {
            stream.receiving_since = since;
            if since != Instant::NEVER {
                self.timers.sweep_by(due);
                // The window may have shrunk to where the rest of a reservation is worth a frame.
                self.queue_credit(key.slot());
            }
        }
    }

    pub(crate) fn pool(&mut self) -> &mut BufferPool {
        &mut self.pool
    }

    /// Whether the stream is still to be served by the application.
    #[inline]
    pub(crate) fn is_live(&self, key: StreamKey) -> bool {
        self.stream(key).is_some_and(|stream| !stream.terminal)
    }

    /// Heap bytes that the session holds, payload handles of the application not counted.
    pub fn heap_bytes(&self) -> usize {
        let streams = self.streams.capacity() * size_of::<Stream>()
            + self.streams.iter().map(|stream| stream.queue.heap_bytes()).sum::<usize>();
        let queues =
            [&self.urgent, &self.bulk, &self.waiting, &self.credit, &self.writable, &self.hungry];
        streams
            + queues.iter().map(|queue| queue.capacity() * 4).sum::<usize>()
            + self.vacant.capacity() * 4
            + self.ids.heap_bytes()
            + self.deadlines.heap_bytes()
            + self.graves.capacity() * size_of::<(u32, Cause)>()
            + self.scratch.capacity()
            + self.block.heap_bytes()
            + self.control.capacity()
            + self.decoder.heap_bytes()
            + self.encoder.heap_bytes()
            + self.memos.iter().map(DecodeMemo::heap_bytes).sum::<usize>()
            + self.encode_memos.iter().map(EncodeMemo::heap_bytes).sum::<usize>()
            + self.pool.heap_bytes()
            + self.lists.capacity() * size_of::<FieldList>()
            + self.lists.iter().map(FieldList::heap_bytes).sum::<usize>()
    }

    // --- Slots ---

    #[inline]
    fn stream(&self, key: StreamKey) -> Option<&Stream> {
        let stream = self.streams.get(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    #[inline]
    fn stream_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    /// The stream if it may still be sent on.
    fn sendable(&mut self, key: StreamKey) -> Result<&mut Stream, StreamError> {
        match self.stream_mut(key) {
            Some(stream) if stream.terminal || stream.state.is_closed() => Err(StreamError::Ended),
            Some(stream) if !stream.state.can_send() => Err(StreamError::AfterEnd),
            Some(stream) => Ok(stream),
            None => Err(StreamError::Ended),
        }
    }

    fn key_of(&self, slot: u32) -> StreamKey {
        StreamKey::new(slot, self.streams[slot as usize].generation)
    }

    fn occupy(&mut self, id: u32, now: Instant) -> StreamKey {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.streams.push(Stream::vacant());
            self.streams.len() as u32 - 1
        });
        let (recv, send) = (self.limits.stream_window, self.peer.initial_window_size);
        self.streams[slot as usize].occupy(self.next_generation, id, recv, send);
        self.next_generation = self.next_generation.wrapping_add(1);
        if self.occupied == 0 {
            self.timers.busy(&self.limits, now);
        }
        self.occupied += 1;
        self.stats.streams_opened += 1;
        self.key_of(slot)
    }

    /// Frees a slot that both the wire and the application are done with.
    fn vacate_if_done(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        if !stream.occupied || !stream.released || !stream.state.is_closed() || stream.has_output()
        {
            return;
        }
        stream.occupied = false;
        self.vacant.push(slot);
        self.occupied -= 1;
        if self.occupied == 0 {
            self.timers.idle();
        }
    }

    /// Moves a stream's state; what the table forbids is our own mistake and leaves the state alone.
    fn step(&mut self, slot: u32, input: Input) {
        let stream = &mut self.streams[slot as usize];
        let next = stream.state.next(input);
        debug_assert!(next.is_ok(), "{:?} after {:?}", input, stream.state);
        let Ok(next) = next else { return };
        stream.state = next;
        if let State::Closed(cause) = next {
            self.bury(slot, cause);
        }
    }

    /// The wire is done with a stream: its identifier is forgotten but for a grave.
    fn bury(&mut self, slot: u32, cause: Cause) {
        let stream = &mut self.streams[slot as usize];
        stream.queue.clear(&mut self.pool);
        let heads = [core::mem::take(&mut stream.head), core::mem::take(&mut stream.trailers)];
        stream.wants_room = false;
        stream.stalled_since = Instant::NEVER;
        stream.receiving_since = Instant::NEVER;
        let id = stream.id;
        for head in heads {
            if let Pending::Fields(list, _) = head {
                self.recycle_fields(list);
            }
        }
        self.settle_send_budget(slot);
        self.drop_reservation(slot);
        self.deadlines.remove(slot);
        if id == 0 {
            return;
        }
        self.ids.remove(id);
        if self.side == Side::Client {
            self.open_on_wire -= 1;
        }
        self.remember(id, cause);
    }

    /// Remembers for a while how a stream ended.
    fn remember(&mut self, id: u32, cause: Cause) {
        const GRAVES: usize = 64;
        if self.graves.len() < GRAVES {
            self.graves.push((id, cause));
        } else {
            self.graves[self.next_grave] = (id, cause);
            self.next_grave = (self.next_grave + 1) % GRAVES;
        }
    }

    /// How a stream that is gone came to its end.
    fn cause_of(&self, id: u32) -> Cause {
        let grave = self.graves.iter().find(|&&(grave, _)| grave == id);
        grave.map_or(Cause::Forgotten, |&(_, cause)| cause)
    }

    /// Queues a stream that has something new to send: its first turn comes before the round of those
    /// that have been served already, its further ones in that round.
    #[inline]
    fn make_ready(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        // A stream that still waits for an identifier is served when it gets one.
        if stream.id != 0 && stream.ready == Ready::No {
            stream.ready = Ready::Urgent;
            self.urgent.push_back(slot);
        }
    }

    /// Queues a reset, past the round that a closed connection window may hold up.
    fn make_urgent(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        if stream.ready != Ready::Urgent {
            // An entry in the round is skipped there when its stream is marked otherwise.
            stream.ready = Ready::Urgent;
            self.urgent.push_back(slot);
        }
    }

    /// Starts the reset of a stream whose state is not closed.
    fn reset_slot(&mut self, slot: u32, code: ErrorCode) {
        let stream = &mut self.streams[slot as usize];
        if stream.id == 0 {
            // Nothing of it has been sent, so there is nothing to reset.
            stream.state = State::Closed(Cause::ResetByUs);
            self.waiting.retain(|&waiting| waiting != slot);
            self.bury(slot, Cause::ResetByUs);
            self.vacate_if_done(slot);
            return;
        }
        self.step(slot, Input::SendReset);
        self.streams[slot as usize].reset = Some(code);
        self.make_urgent(slot);
    }

    // --- Budgets ---

    /// Re-derives how much of its reservation a stream still needs, and queues its credit.
    fn settle_credit(&mut self, slot: u32) {
        let base = self.limits.stream_window;
        let stream = &mut self.streams[slot as usize];
        if stream.reserved > 0 && stream.receiving_since == Instant::NEVER {
            let needed = stream.recv.held().saturating_sub(base).min(stream.reserved);
            let freed = stream.reserved - needed;
            stream.reserved = needed;
            self.assembly_left += freed;
            self.feed_hungry();
        }
        self.queue_credit(slot);
    }

    fn queue_credit(&mut self, slot: u32) {
        let base = self.limits.stream_window;
        let stream = &mut self.streams[slot as usize];
        if !stream.in_credit
            && stream.state.can_receive()
            && stream.recv.has_credit(base.saturating_add(stream.reserved))
        {
            stream.in_credit = true;
            self.credit.push_back(slot);
        }
    }

    fn drop_reservation(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        let waited = core::mem::take(&mut stream.wanted) > 0;
        let freed = core::mem::take(&mut stream.reserved);
        if waited {
            self.hungry.retain(|&hungry| hungry != slot);
        }
        if freed > 0 || waited {
            self.assembly_left += freed;
            self.feed_hungry();
        }
    }

    /// Hands the assembly budget to those who wait for it, in order, each its whole excess.
    fn feed_hungry(&mut self) {
        while let Some(&slot) = self.hungry.front() {
            let stream = &mut self.streams[slot as usize];
            if stream.wanted > self.assembly_left {
                return;
            }
            self.hungry.pop_front();
            self.assembly_left -= stream.wanted;
            stream.reserved += core::mem::take(&mut stream.wanted);
            self.queue_credit(slot);
        }
    }

    /// Gives back what the send queue no longer exceeds its mark by.
    fn settle_send_budget(&mut self, slot: u32) {
        let mark = self.limits.send_mark as usize;
        let stream = &mut self.streams[slot as usize];
        if stream.send_reserved == 0 {
            return;
        }
        let needed = (stream.queue.len().saturating_sub(mark) as u32).min(stream.send_reserved);
        let freed = stream.send_reserved - needed;
        stream.send_reserved = needed;
        self.send_outstanding -= freed;
        self.send_left = self.limits.send_budget.saturating_sub(self.send_outstanding);
        if freed > 0 && needed == 0 {
            self.wake_starved();
        }
    }

    /// The send budget has room again: lets those try whose large message was refused.
    fn wake_starved(&mut self) {
        for slot in 0..self.streams.len() as u32 {
            if self.streams[slot as usize].wants_room
                && self.streams[slot as usize].queue.is_empty()
            {
                self.wake_writer(slot);
            }
        }
    }

    /// Queues [`Event::Writable`] if the application waits for it.
    fn wake_writer(&mut self, slot: u32) {
        let stream = &mut self.streams[slot as usize];
        if stream.wants_room && !stream.terminal {
            stream.wants_room = false;
            if !stream.in_writable {
                stream.in_writable = true;
                self.attention = true;
                self.writable.push_back(slot);
            }
        }
    }
}
