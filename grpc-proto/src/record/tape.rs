//! The writer: one record at a time, as long as they fit.

use alloc::vec::Vec;

use grpc_arena::{Encode, SizeCache};

use super::note::{Digest, Note};
use super::wire::{
    Fnv, MAGIC, VERSION, put_bytes, put_key, put_maybe_text, put_metadata, put_number, tag, zigzag,
};
use super::{Options, Sink, limits};
use crate::config::Limits;
use crate::http2::{Allotment, ConnectionError, ErrorCode, Side};
use crate::server::ResponseHead;
use crate::{ApiMisuse, CallHead, CallKey, Instant, Metadata, SendError, Status, Transmit};

/// A recording that is being written.
pub(super) struct Tape {
    /// Absent once the recording is over.
    sink: Option<Sink>,
    /// The record that is being put together.
    record: Vec<u8>,
    sizes: SizeCache,
    /// What may still be written, the last record apart.
    left: u64,
    output_bytes: bool,
    /// The time that was last written down.
    clock: Instant,
    /// Bytes of input that were written down and not consumed.
    unread: usize,
    /// The last answer of `poll_timeout`.
    timeout: Option<Instant>,
}

impl Tape {
    /// Writes the head; `None` if not even that fits.
    pub(super) fn new(
        side: Side,
        limits: &Limits,
        entropy: u64,
        now: Instant,
        options: &Options,
        sink: Sink,
    ) -> Option<Self> {
        let mut tape = Tape {
            sink: Some(sink),
            record: Vec::new(),
            sizes: SizeCache::new(),
            // One byte is kept for the record that says how the recording ended.
            left: options.max_bytes.checked_sub(1)?,
            output_bytes: options.output_bytes,
            clock: now,
            unread: 0,
            timeout: None,
        };
        let out = &mut tape.record;
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.push(match side {
            Side::Client => 1,
            Side::Server => 2,
        });
        out.push(options.output_bytes.into());
        put_bytes(out, env!("CARGO_PKG_VERSION").as_bytes());
        out.extend_from_slice(&entropy.to_le_bytes());
        put_number(out, now.as_nanos());
        limits::put(out, limits);
        if tape.record.len() as u64 > tape.left {
            // Nothing was written, so nothing has to be ended.
            tape.sink = None;
            return None;
        }
        tape.put();
        Some(tape)
    }

    /// How long a message will be.
    pub(super) fn len_of<M: Encode + ?Sized>(&mut self, message: &M) -> usize {
        message.encoded_len(&mut self.sizes)
    }

    /// The sink, while what may panic runs: without it the recording is over.
    pub(super) fn take_sink(&mut self) -> Option<Sink> {
        self.sink.take()
    }

    pub(super) fn put_sink_back(&mut self, sink: Option<Sink>) {
        self.sink = sink;
    }

    pub(super) fn is_over(&self) -> bool {
        self.sink.is_none()
    }

    // --- What the connection is asked to do ---

    pub(super) fn poll_event(&mut self, input: &[u8], now: Instant) {
        let fresh = input.get(self.unread..).unwrap_or_default();
        self.unread = self.unread.max(input.len());
        self.begin_at(tag::POLL_EVENT, now);
        put_number(&mut self.record, input.len() as u64);
        put_number(&mut self.record, fresh.len() as u64);
        self.put_with(fresh);
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) {
        self.begin_at(tag::POLL_TRANSMIT, now);
        self.put();
    }

    pub(super) fn note_delivery(&mut self, now: Instant) {
        self.begin_at(tag::NOTE_DELIVERY, now);
        self.put();
    }

    pub(super) fn close_read(&mut self, now: Instant) {
        self.begin_at(tag::CLOSE_READ, now);
        self.put();
    }

    pub(super) fn shutdown(&mut self, now: Instant) {
        self.begin_at(tag::SHUTDOWN, now);
        self.put();
    }

    pub(super) fn close(&mut self, code: ErrorCode, now: Instant) {
        self.begin_at(tag::CLOSE, now);
        put_number(&mut self.record, code.0.into());
        self.put();
    }

    /// `len` is what [`len_of`](Self::len_of) has just told of the message.
    pub(super) fn send<M: Encode + ?Sized>(&mut self, call: CallKey, message: &M, len: usize) {
        self.begin_for(tag::SEND, call);
        put_number(&mut self.record, len as u64);
        if (self.record.len() + len) as u64 > self.left {
            // Not encoded for nothing: it may be of any size.
            return self.cut();
        }
        let whole = self.record.len() + len;
        message.encode(&mut self.sizes, &mut self.record);
        if self.record.len() != whole {
            // It is refused, and what it wrote cannot be replayed.
            return self.cut();
        }
        self.put();
    }

    pub(super) fn send_encoded(&mut self, call: CallKey, message: &[u8], compressed: bool) {
        self.begin_for(tag::SEND_ENCODED, call);
        self.record.push(compressed.into());
        put_number(&mut self.record, message.len() as u64);
        self.put_with(message);
    }

    pub(super) fn send_compressed(&mut self, call: CallKey, message: &[u8]) {
        self.begin_for(tag::SEND_COMPRESSED, call);
        put_number(&mut self.record, message.len() as u64);
        self.put_with(message);
    }

    pub(super) fn ask_room(&mut self, call: CallKey, len: usize) {
        self.begin_for(tag::ASK_ROOM, call);
        put_number(&mut self.record, len as u64);
        self.put();
    }

    pub(super) fn grant(&mut self, call: CallKey, bytes: u32) {
        self.begin_for(tag::GRANT, call);
        put_number(&mut self.record, bytes.into());
        self.put();
    }

    pub(super) fn allot(&mut self, allotment: Allotment) {
        self.begin(tag::ALLOT);
        put_number(&mut self.record, allotment.assembly.into());
        put_number(&mut self.record, allotment.send.into());
        self.put();
    }

    pub(super) fn recycle(&mut self, bytes: usize) {
        self.begin(tag::RECYCLE);
        put_number(&mut self.record, bytes as u64);
        self.put();
    }

    pub(super) fn recycle_metadata(&mut self) {
        self.begin(tag::RECYCLE_METADATA);
        self.put();
    }

    pub(super) fn call(&mut self, head: &CallHead<'_>, deadline: Option<Instant>, now: Instant) {
        self.begin_at(tag::CALL, now);
        self.put_instant(deadline);
        let out = &mut self.record;
        put_bytes(out, head.path.as_bytes());
        put_bytes(out, head.authority.as_bytes());
        out.push(head.secure.into());
        put_bytes(out, head.user_agent.as_bytes());
        put_maybe_text(out, head.encoding);
        put_maybe_text(out, head.accept_encoding);
        put_maybe_metadata(out, head.metadata);
        self.put();
    }

    pub(super) fn end(&mut self, call: CallKey) {
        self.begin_for(tag::CALL_END, call);
        self.put();
    }

    pub(super) fn cancel(&mut self, call: CallKey) {
        self.begin_for(tag::CANCEL, call);
        self.put();
    }

    pub(super) fn respond(&mut self, call: CallKey, head: &ResponseHead<'_>) {
        self.begin_for(tag::RESPOND, call);
        let out = &mut self.record;
        put_maybe_text(out, head.encoding);
        put_maybe_text(out, head.accept_encoding);
        put_maybe_metadata(out, head.metadata);
        self.put();
    }

    pub(super) fn finish(&mut self, call: CallKey, status: &Status, trailers: &Metadata) {
        self.begin_for(tag::FINISH, call);
        let out = &mut self.record;
        out.push(status.code().number());
        put_bytes(out, status.message().as_bytes());
        put_bytes(out, status.details());
        put_metadata(out, trailers);
        self.put();
    }

    pub(super) fn release(&mut self, call: CallKey) {
        self.begin_for(tag::RELEASE, call);
        self.put();
    }

    // --- What came of it ---

    pub(super) fn polled_nothing(&mut self, consumed: usize) {
        self.consumed(tag::NOTHING, consumed);
        self.put();
    }

    pub(super) fn polled(&mut self, consumed: usize, event: &Note) {
        self.consumed(tag::EVENT, consumed);
        self.record.push(event.kind as u8);
        match event.call {
            None => self.record.push(0),
            Some(call) => {
                self.record.push(1);
                put_key(&mut self.record, call);
            }
        }
        put_number(&mut self.record, event.size);
        self.record.extend_from_slice(&event.digest.to_le_bytes());
        self.put();
    }

    pub(super) fn polled_error(&mut self, consumed: usize, error: &ConnectionError) {
        self.consumed(tag::FAILED, consumed);
        let digest = Digest::new().error(error).value();
        self.record.extend_from_slice(&digest.to_le_bytes());
        self.put();
    }

    /// What was appended to `out` behind its first `before` bytes.
    pub(super) fn output(&mut self, out: &Transmit, before: usize) {
        let appended = || {
            let mut skip = before;
            out.chunks().map(move |chunk| {
                let skipped = skip.min(chunk.len());
                skip -= skipped;
                &chunk[skipped..]
            })
        };
        let len = (out.len() - before) as u64;
        self.begin(if self.output_bytes { tag::OUTPUT_BYTES } else { tag::OUTPUT_HASH });
        put_number(&mut self.record, len);
        if !self.output_bytes {
            let mut sum = Fnv::new();
            appended().for_each(|chunk| sum.add(chunk));
            self.record.extend_from_slice(&sum.0.to_le_bytes());
            return self.put();
        }
        if self.record.len() as u64 + len > self.left {
            return self.cut();
        }
        self.put();
        appended().for_each(|chunk| self.write(chunk));
    }

    pub(super) fn result(&mut self, result: Result<(), SendError>) {
        self.begin(tag::RESULT);
        self.record.push(result.map_or_else(code_of, |()| 0));
        self.put();
    }

    pub(super) fn called(&mut self, result: Result<CallKey, SendError>) {
        self.begin(tag::CALLED);
        match result {
            Ok(call) => {
                self.record.push(0);
                put_key(&mut self.record, call);
            }
            Err(error) => self.record.push(code_of(error)),
        }
        self.put();
    }

    /// The answer of `poll_timeout`, where it has changed.
    pub(super) fn timeout(&mut self, timeout: Option<Instant>) {
        if timeout != self.timeout {
            self.timeout = timeout;
            self.begin(tag::TIMEOUT);
            self.put_instant(timeout);
            self.put();
        }
    }

    // --- Parts of records ---

    fn begin(&mut self, tag: u8) {
        self.record.clear();
        self.record.push(tag);
    }

    fn begin_for(&mut self, tag: u8, call: CallKey) {
        self.begin(tag);
        put_key(&mut self.record, call);
    }

    fn begin_at(&mut self, tag: u8, now: Instant) {
        self.begin(tag);
        let since = self.since_clock(now);
        put_number(&mut self.record, since);
        self.clock = now;
    }

    fn consumed(&mut self, tag: u8, consumed: usize) {
        self.begin(tag);
        put_number(&mut self.record, consumed as u64);
        self.unread -= consumed;
    }

    /// Time as a difference from the last one, in either direction: it wraps, so that every one can be said.
    fn since_clock(&self, at: Instant) -> u64 {
        zigzag(at.as_nanos().wrapping_sub(self.clock.as_nanos()) as i64)
    }

    fn put_instant(&mut self, at: Option<Instant>) {
        self.record.push(at.is_some().into());
        if let Some(at) = at {
            let since = self.since_clock(at);
            put_number(&mut self.record, since);
        }
    }

    /// Writes the record.
    fn put(&mut self) {
        self.put_with(&[]);
    }

    /// Writes the record and `more` bytes of it.
    fn put_with(&mut self, more: &[u8]) {
        if (self.record.len() + more.len()) as u64 > self.left {
            return self.cut();
        }
        let record = core::mem::take(&mut self.record);
        self.write(&record);
        self.record = record;
        if !more.is_empty() {
            self.write(more);
        }
    }

    /// Writes what was found to fit.
    fn write(&mut self, bytes: &[u8]) {
        // Out of its place while it runs: one that panics has left a record in pieces, and is called no more.
        if let Some(mut sink) = self.sink.take() {
            self.left -= bytes.len() as u64;
            sink(bytes);
            self.sink = Some(sink);
        }
    }

    /// The next record does not fit: says so, and ends the recording.
    fn cut(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            sink(&[tag::CUT]);
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            sink(super::END);
        }
    }
}

fn put_maybe_metadata(out: &mut Vec<u8>, metadata: Option<&Metadata>) {
    out.push(metadata.is_some().into());
    if let Some(metadata) = metadata {
        put_metadata(out, metadata);
    }
}

/// The number of an error of the verbs.
fn code_of(error: SendError) -> u8 {
    match error {
        SendError::Full => 1,
        SendError::Ended => 2,
        SendError::TooLarge => 3,
        SendError::TooManyCalls => 4,
        SendError::Closing => 5,
        SendError::Misuse(ApiMisuse::AfterEnd) => 6,
        SendError::Misuse(ApiMisuse::HeadersSent) => 7,
        SendError::Misuse(ApiMisuse::CompressedWithoutEncoding) => 8,
        SendError::Misuse(ApiMisuse::HeadText) => 9,
        SendError::Misuse(ApiMisuse::EncodedLength) => 10,
    }
}
