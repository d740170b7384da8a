//! gRPC calls over an HTTP/2 session, in both roles.

pub mod client;
mod framing;
mod head;
mod message;
mod messages;
mod reason;
pub mod server;
mod template;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use grpc_arena::{Encode, SizeCache};

use crate::config::Config;
use crate::http2::fields::Part;
use crate::http2::{
    Allotment, ConnectionError, ErrorCode, ResetReason, Session, Side, Stats, Step, StreamKey,
    Usage,
};
use crate::metadata::Metadata;
use crate::record::Note;
use crate::time::Instant;
use crate::transmit::Transmit;
use framing::{Framing, Prefix};
pub use head::{CallHead, RequestHead};
use message::PREFIX;
pub use message::{Message, MessageBuf, Payload};
pub use messages::Messages;
pub use reason::{ApiMisuse, Processed, Reason, SendError};

/// Names a call of one connection; see [`StreamKey`].
pub type CallKey = StreamKey;

/// A gRPC connection as a pure state machine.
///
/// ```text
///   input ──> poll_event ──> events            send, finish, cancel … ──┐
///                │                                                     v
///                └──────────────── state ──────────────────> poll_transmit ──> output
/// ```
///
/// Feed bytes to [`poll_event`](Self::poll_event) until it has no more events, pull output with
/// [`poll_transmit`](Self::poll_transmit), and call `poll_event` with empty input at
/// [`poll_timeout`](Self::poll_timeout). Nothing else happens: no I/O, no clock, no thread, no lock.
#[derive(Debug)]
pub struct Connection<R: Role> {
    session: Session,
    calls: Vec<Call>,
    /// A request whose head ended the stream: its `End` follows the head.
    pending_end: Option<CallKey>,
    /// Memory that was taken for messages under way beyond the bytes that have come.
    spare: usize,
    sizes: SizeCache,
    /// Of the message that was queued last.
    last_len: usize,
    role: R,
}

/// What the gRPC layer knows of a call; the index is that of its stream's slot.
#[derive(Debug)]
pub(crate) struct Call {
    framing: Framing,
    /// The peer named a `grpc-encoding`, so messages may be compressed.
    may_decompress: bool,
    /// We named a `grpc-encoding`, so messages may be sent compressed.
    may_compress: bool,
    /// Server: the response's head is on its way. Client: it was received.
    head: bool,
    /// Server: the response's content type where the request named a subtype, until the response's head was given; at most
    /// 81 bytes. It stays behind a call that ended without a head until its slot is used again or memory is trimmed.
    content_type: Option<Box<[u8]>>,
    /// Client: the HTTP status of a response that is not gRPC; 0 where it is.
    http_status: u16,
    /// Client: DATA of such a response was skipped, so the call cannot end with OK.
    has_skipped: bool,
    deadline: Instant,
}

impl Default for Call {
    fn default() -> Self {
        Call {
            framing: Framing::default(),
            may_decompress: false,
            may_compress: false,
            head: false,
            content_type: None,
            http_status: 0,
            has_skipped: false,
            deadline: Instant::NEVER,
        }
    }
}

impl Call {
    /// The response's content type.
    fn content_type(&self) -> &[u8] {
        self.content_type.as_deref().unwrap_or(head::GRPC)
    }

    fn heap_bytes(&self) -> usize {
        self.framing.heap_bytes() + self.content_type.as_ref().map_or(0, |text| text.len())
    }
}

/// Which end of the connection this is: [`Client`](client::Client) or [`Server`](server::Server).
pub trait Role: sealed::Role {
    /// What [`Connection::poll_event`] hands out.
    type Event<'i>;
}

/// What sets the roles apart, out of reach for other crates.
mod sealed {
    use super::*;

    /// A field block that came in; its fields are those that the session received last.
    pub struct Head {
        pub(super) part: Part,
        pub(super) status: u16,
        pub(super) end_stream: bool,
    }

    pub trait Role: Sized {
        const SIDE: Side;
        /// Sets up the field blocks that repeat.
        fn new(session: &mut Session) -> Self;
        fn heap_bytes(&self) -> usize {
            0
        }
        fn on_head<'i>(
            conn: &mut Connection<Self>,
            key: CallKey,
            head: Head,
            now: Instant,
        ) -> Option<Self::Event<'i>>
        where
            Self: super::Role;
        fn message<'i>(key: CallKey, message: Message<'i>) -> Self::Event<'i>
        where
            Self: super::Role;
        fn on_end<'i>(conn: &mut Connection<Self>, key: CallKey) -> Option<Self::Event<'i>>
        where
            Self: super::Role;
        /// The call is over on the wire already.
        fn on_reset<'i>(
            conn: &mut Connection<Self>,
            key: CallKey,
            reason: Reason,
            now: Instant,
        ) -> Self::Event<'i>
        where
            Self: super::Role;
        /// The call is to be ended by us.
        fn on_fault<'i>(
            conn: &mut Connection<Self>,
            key: CallKey,
            reason: Reason,
        ) -> Self::Event<'i>
        where
            Self: super::Role;
        fn writable<'i>(key: CallKey) -> Self::Event<'i>
        where
            Self: super::Role;
        fn go_away<'i>(last_stream: u32, code: ErrorCode) -> Option<Self::Event<'i>>
        where
            Self: super::Role;
        /// What a recording says of an event.
        fn note(event: &Self::Event<'_>) -> Note
        where
            Self: super::Role;
        /// A message is about to be queued.
        fn before_message(conn: &mut Connection<Self>, key: CallKey) -> Result<(), SendError>
        where
            Self: super::Role;
    }
}

impl<R: Role> Connection<R> {
    /// A connection that was just established.
    ///
    /// `entropy` seeds what should differ between connections (jitter, PING payloads); any value is
    /// correct, and the same one replays the same behaviour.
    pub fn new(config: &Config, entropy: u64, now: Instant) -> Self {
        let mut session = Session::new(R::SIDE, config, entropy, now);
        let role = R::new(&mut session);
        Connection {
            session,
            calls: Vec::new(),
            pending_end: None,
            spare: 0,
            sizes: SizeCache::new(),
            last_len: 0,
            role,
        }
    }

    /// The next event, advancing `input` past what was understood.
    ///
    /// `None` with empty input: more input is needed. `None` with input left: pull
    /// [`poll_transmit`](Self::poll_transmit) first, because replies or new calls have reached their
    /// limit. Empty input is how time alone passes. Events borrow from the input only, so the
    /// connection can be used while one is held.
    ///
    /// # Errors
    /// What ended the connection, for ever, after every open call has had its last event.
    #[inline]
    pub fn poll_event<'i>(
        &mut self,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Result<Option<R::Event<'i>>, ConnectionError> {
        if let Some(event) = self.poll_end() {
            return Ok(Some(event));
        }
        loop {
            let Some(step) = self.session.poll_step(input, now)? else {
                self.forget_trimmed();
                return Ok(None);
            };
            let key = self.session.event().key;
            // Each arm returns for itself: an event is large, and is written once where it goes.
            match step {
                Step::Data => {
                    if let Some(event) = self.on_data(key, input, now) {
                        return Ok(Some(event));
                    }
                }
                Step::Headers => {
                    let event = self.session.event();
                    let (part, end_stream) = (event.part, event.end_stream);
                    let status = self.session.received_status();
                    let head = sealed::Head { part, status, end_stream };
                    if let Some(event) = R::on_head(self, key, head, now) {
                        return Ok(Some(event));
                    }
                }
                Step::End => {
                    if let Some(event) = self.on_end(key) {
                        return Ok(Some(event));
                    }
                }
                Step::Reset => {
                    let reason = self.session.event().reset.clone();
                    return Ok(Some(self.on_reset(key, reason, now)));
                }
                Step::Deadline => {
                    return Ok(Some(R::on_fault(self, key, Reason::Deadline)));
                }
                Step::Writable => return Ok(Some(R::writable(key))),
                Step::GoAway => {
                    let (last_stream, code) = self.session.last_goaway();
                    if let Some(event) = R::go_away(last_stream, code) {
                        return Ok(Some(event));
                    }
                }
            }
            // A head that was answered by us may have left its end behind.
            if let Some(event) = self.poll_end() {
                return Ok(Some(event));
            }
        }
    }

    /// Appends output, about [`crate::Limits::transmit_budget`] bytes at most; nothing if there is none.
    pub fn poll_transmit(&mut self, out: &mut Transmit, now: Instant) {
        self.session.poll_transmit(out, now);
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) is worth a call: `false` says that it would append nothing.
    ///
    /// It may append nothing after `true` too, where what was queued is over by now; that makes it `false`.
    pub fn has_output(&self) -> bool {
        self.session.has_output()
    }

    /// When [`poll_event`](Self::poll_event) should be called without input, if nothing comes before. That
    /// may be early, when a call has ended before its deadline: the poll then finds nothing, and this moves on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// The peer's system has acknowledged output that was pulled before, while the rest is still being written.
    ///
    /// The wait for the next pull ([`Limits::send_stall_timeout`](crate::Limits::send_stall_timeout)) begins anew: a peer
    /// that reads steadily but slowly may take longer than that for one write, because a system reports room in a full
    /// socket buffer late. Call it only for at least 128 bytes since the last call, or a peer that acknowledges byte by byte
    /// keeps the connection for ever. A completed write needs no such call: the pull that follows it is progress too.
    pub fn note_delivery(&mut self, now: Instant) {
        self.session.note_delivery(now);
    }

    /// The transport has ended: open calls get their last events, then `poll_event` fails.
    pub fn close_read(&mut self, _now: Instant) {
        self.session.close_read();
    }

    /// Drains: calls that are open go on, new ones are not accepted.
    pub fn shutdown(&mut self, now: Instant) {
        self.session.shutdown(now);
    }

    /// Closes at once: GOAWAY with `code`, every open call ends.
    pub fn close(&mut self, code: ErrorCode, _now: Instant) {
        self.session.close(code);
    }

    /// Whether a drain, ours or the peer's, has left nothing to do: the transport may be closed.
    pub fn is_drained(&self) -> bool {
        self.session.is_drained()
    }

    /// Whether new calls are still accepted.
    pub fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Queues a message, encoded at once, so that it may borrow from anywhere.
    ///
    /// # Errors
    /// [`SendError::Full`] is backpressure: try again after the call's `Writable` event. The others are final.
    #[inline]
    pub fn send<M: Encode + ?Sized>(
        &mut self,
        call: CallKey,
        message: &M,
    ) -> Result<(), SendError> {
        let len = message.encoded_len(&mut self.sizes);
        if len > self.session.limits().max_send_message as usize {
            return Err(SendError::TooLarge);
        }
        R::before_message(self, call)?;
        let sizes = &mut self.sizes;
        self.session.write_with(call, len + PREFIX, |out| {
            out.extend_from_slice(&prefix(len, false));
            message.encode(sizes, out);
        })?;
        self.last_len = len;
        Ok(())
    }

    /// Queues a message that is encoded already; large ones are sent from where they are.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_encoded(
        &mut self,
        call: CallKey,
        message: Bytes,
        compressed: bool,
    ) -> Result<(), SendError> {
        if message.len() > self.session.limits().max_send_message as usize {
            return Err(SendError::TooLarge);
        }
        if compressed {
            self.check_encoding(call)?;
        }
        R::before_message(self, call)?;
        let len = message.len();
        self.session.write_framed(call, prefix(len, compressed), message)?;
        self.last_len = len;
        Ok(())
    }

    /// Queues a message that is compressed with the call's `grpc-encoding`, by copying it.
    ///
    /// For senders that use the memory of their codec again; a message that can be given away goes by
    /// [`send_encoded`](Self::send_encoded).
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError::Misuse`] if the call's head names no encoding.
    pub fn send_compressed(&mut self, call: CallKey, message: &[u8]) -> Result<(), SendError> {
        if message.len() > self.session.limits().max_send_message as usize {
            return Err(SendError::TooLarge);
        }
        self.check_encoding(call)?;
        R::before_message(self, call)?;
        self.session.write_with(call, message.len() + PREFIX, |out| {
            out.extend_from_slice(&prefix(message.len(), true));
            out.extend_from_slice(message);
        })?;
        self.last_len = message.len();
        Ok(())
    }

    /// Bytes of the message that was queued last, of any call, as it travels and without its prefix.
    pub fn last_message_len(&self) -> usize {
        self.last_len
    }

    /// Reports whether [`send`](Self::send) of a message of `len` bytes would succeed, without taking it. On
    /// [`SendError::Full`], a `Writable` event follows, as after a refused `send`. A server's response headers go out, as
    /// before a message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn ask_room(&mut self, call: CallKey, len: usize) -> Result<(), SendError> {
        if len > self.session.limits().max_send_message as usize {
            return Err(SendError::TooLarge);
        }
        R::before_message(self, call)?;
        self.session.ask_room(call, len.saturating_add(PREFIX))?;
        Ok(())
    }

    /// Whether a message of `len` bytes would find no room, if its call is one that takes messages.
    pub(crate) fn lacks_room(&self, call: CallKey, len: usize, compressed: bool) -> bool {
        len <= self.session.limits().max_send_message as usize
            && !(compressed && self.check_encoding(call).is_err())
            && self.session.lacks_room(call, len + PREFIX)
    }

    /// Whether the call takes messages and its queue is below [`crate::Limits::send_mark`].
    ///
    /// A message that fits into what is left to the mark is then taken by [`send`](Self::send); a larger one only where
    /// nothing else is queued and the budget has room. [`SendError::Full`] says so.
    pub fn can_send(&self, call: CallKey) -> bool {
        self.session.has_room(call)
    }

    /// Gives `bytes` of stream credit back under [`crate::Limits::manual_credit`]: the
    /// [`wire_len`](Message::wire_len) of a message that is done with.
    #[inline]
    pub fn grant(&mut self, call: CallKey, bytes: u32) {
        self.session.consume(call, bytes);
    }

    /// Sets what the connection may reserve of its budgets from now on, where many connections share memory; until the first
    /// call only the limits count.
    ///
    /// A message that would need more waits: one that is received behind its closed window, one that is to be sent behind
    /// [`SendError::Full`]. [`usage`](Self::usage) says what is wanted. What is reserved beyond it stays so until it is given
    /// back. After a call output is due, and events.
    pub fn allot(&mut self, allotment: Allotment) {
        self.session.allot(allotment);
    }

    /// What the connection holds and wants, for a caller that allots memory; it costs the same however many calls there are.
    pub fn usage(&self) -> Usage {
        let mut usage = self.session.usage();
        usage.received += self.spare;
        usage
    }

    /// Gives the buffer of an assembled message back for reuse.
    pub fn recycle(&mut self, buf: MessageBuf) {
        self.session.pool().give(buf.into_vec());
    }

    /// Gives the memory of received metadata back for reuse.
    #[inline]
    pub fn recycle_metadata(&mut self, metadata: Metadata) {
        self.session.recycle_fields(metadata.into_fields());
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.session.stats()
    }

    /// Calls whose slot is taken.
    pub fn open_calls(&self) -> usize {
        self.session.occupied()
    }

    /// Whether no call has been open for [`Limits::trim_after`](crate::Limits::trim_after), and the memory of calls
    /// was given back: time for who keeps some beside each call to do the same.
    #[inline]
    pub fn is_trimmed(&self) -> bool {
        self.session.is_trimmed()
    }

    /// The HTTP/2 session below, to be looked at.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Heap bytes that the connection holds.
    pub fn heap_bytes(&self) -> usize {
        self.session.heap_bytes()
            + self.role.heap_bytes()
            + self.calls.capacity() * size_of::<Call>()
            + self.calls.iter().map(Call::heap_bytes).sum::<usize>()
    }

    /// A message may be compressed only where the call's head says how (compression.md).
    fn check_encoding(&self, call: CallKey) -> Result<(), SendError> {
        match self.session.is_live(call) {
            true if self.calls[call.index()].may_compress => Ok(()),
            true => Err(SendError::Misuse(ApiMisuse::CompressedWithoutEncoding)),
            false => Err(SendError::Ended),
        }
    }

    // --- Events ---

    fn poll_end<'i>(&mut self) -> Option<R::Event<'i>> {
        let key = self.pending_end.take()?;
        if self.session.is_live(key) { R::on_end(self, key) } else { None }
    }

    /// Makes a record for the call in a stream's slot.
    fn open_call(&mut self, key: CallKey) -> &mut Call {
        let index = key.index();
        if self.calls.len() <= index {
            self.calls.resize_with(index + 1, Call::default);
        }
        let call = &mut self.calls[index];
        *call = Call::default();
        call
    }

    /// Takes a message, or a part of one, out of the DATA at the front of `input`.
    #[inline]
    fn on_data<'i>(
        &mut self,
        key: CallKey,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Option<R::Event<'i>> {
        let limits = self.session.limits();
        let (limit, manual) = (limits.max_receive_message, limits.manual_credit);
        let call = &mut self.calls[key.index()];
        if call.http_status != 0 {
            // The body of a response that is not gRPC.
            let skipped = self.session.take_data(input, usize::MAX).len();
            call.has_skipped |= skipped > 0;
            self.session.consume(key, skipped as u32);
            return None;
        }
        let data = self.session.peek_data(input);
        if call.framing.is_between()
            && let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>()
        {
            let prefix = match Prefix::parse(*prefix, limit, call.may_decompress) {
                Ok(prefix) => prefix,
                Err(reason) => return Some(R::on_fault(self, key, reason)),
            };
            self.session.take_data(input, PREFIX);
            if rest.len() >= prefix.len as usize {
                let bytes = self.session.take_data(input, prefix.len as usize);
                if !manual {
                    self.session.consume(key, prefix.len + PREFIX as u32);
                }
                let message =
                    Message { payload: Payload::Borrowed(bytes), compressed: prefix.compressed };
                return Some(R::message(key, message));
            }
            self.begin_assembly(key, prefix);
        } else if !call.framing.is_assembling() {
            let (part, prefix) = call.framing.add_prefix(data);
            let may_decompress = call.may_decompress;
            self.session.take_data(input, part);
            let Some(prefix) = prefix else {
                self.session.on_read_progress(key, part, now);
                return None;
            };
            match Prefix::parse(prefix, limit, may_decompress) {
                Ok(prefix) => self.begin_assembly(key, prefix),
                Err(reason) => return Some(R::on_fault(self, key, reason)),
            }
        }
        self.assemble(key, input, now)
    }

    fn begin_assembly(&mut self, key: CallKey, prefix: Prefix) {
        // What the frame under way brings whole is within the window already.
        if prefix.len > self.session.data_remaining() {
            self.session.reserve_read(key, prefix.len + PREFIX as u32);
        }
        // A used buffer may be large: it is lent to what may become that large, not to a call that only announces it.
        let most = self.session.message_window(key);
        let buf = self.session.pool().take_within(prefix.len as usize, most);
        let framing = &mut self.calls[key.index()].framing;
        framing.begin(prefix, buf);
        self.spare += framing.spare();
    }

    fn assemble<'i>(
        &mut self,
        key: CallKey,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Option<R::Event<'i>> {
        let framing = &mut self.calls[key.index()].framing;
        let part = self.session.take_data(input, framing.missing());
        let session = &self.session;
        self.spare -= framing.spare();
        framing.add(part, || session.message_window(key));
        if framing.missing() > 0 {
            self.spare += framing.spare();
            self.session.on_read_progress(key, part.len(), now);
            return None;
        }
        let (buf, compressed) = framing.finish();
        self.session.end_read(key);
        if !self.session.limits().manual_credit {
            self.session.consume(key, (buf.len() + PREFIX) as u32);
        }
        Some(R::message(key, Message { payload: Payload::Assembled(buf), compressed }))
    }

    fn on_end<'i>(&mut self, key: CallKey) -> Option<R::Event<'i>> {
        if self.calls[key.index()].framing.is_between() {
            R::on_end(self, key)
        } else {
            Some(R::on_fault(self, key, Reason::MessageTruncated))
        }
    }

    fn on_reset<'i>(&mut self, key: CallKey, reason: ResetReason, now: Instant) -> R::Event<'i> {
        self.drop_assembly(key);
        R::on_reset(self, key, Reason::from(reason), now)
    }

    /// Forgets the part of a message that a call holds.
    fn drop_assembly(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(key.index()) {
            self.spare -= call.framing.spare();
            let buf = call.framing.reset();
            self.session.pool().give(buf);
        }
    }

    /// Follows the session, which gives its memory back when it has been idle for a while.
    fn forget_trimmed(&mut self) {
        if self.session.is_trimmed() && self.calls.capacity() > 0 {
            self.calls = Vec::new();
            self.sizes = SizeCache::new();
        }
    }
}

/// The prefix of a message.
#[inline]
fn prefix(len: usize, compressed: bool) -> [u8; PREFIX] {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}
