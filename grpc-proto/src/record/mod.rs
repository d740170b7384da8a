//! Recordings of a connection: everything that went in, and what came out, so that it can be replayed.
//!
//! The protocol is a function of bytes, time and the verbs of the application. A [`Recorder`] is a
//! [`Connection`] that also writes these down, in the format that `docs/recording.md` lays out;
//! [`Reader`] takes one apart again. Replaying is the work of `grpc-sim`.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use grpc_proto::record::{Options, Reader, Recorder};
//! use grpc_proto::{Config, Instant, Server};
//!
//! let file = Rc::new(RefCell::new(Vec::new()));
//! let tape = Rc::clone(&file);
//! let tape = Box::new(move |bytes: &[u8]| tape.borrow_mut().extend_from_slice(bytes));
//! let (config, options) = (Config::default(), Options::default());
//! let mut conn = Recorder::<Server>::recording(&config, 7, Instant::ZERO, &options, tape);
//! let event = conn.poll_event(&mut &b"PRI * "[..], Instant::from_millis(1));
//! assert_eq!(event, Ok(None));
//! drop(conn);
//! let file = file.borrow();
//! let reader = Reader::new(&file)?;
//! assert_eq!(reader.start().entropy, 7);
//! # Ok::<(), grpc_proto::record::ReadError>(())
//! ```

mod limits;
mod note;
mod parts;
mod read;
mod tape;
mod wire;

use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;

use bytes::Bytes;
use grpc_arena::Encode;

use crate::client::Client;
use crate::http2::Allotment;
use crate::server::{ResponseHead, Server};
use crate::{
    ApiMisuse, CallHead, CallKey, Config, Connection, ConnectionError, ErrorCode, Instant,
    MessageBuf, Messages, Metadata, Role, SendError, Status, Transmit,
};
pub(crate) use note::{Digest, Note};
pub use parts::{EventKind, Outcome, OwnedCallHead, OwnedResponseHead, Record, Start, Verb};
pub use read::{Broken, Ending, ReadError, Reader};
use tape::Tape;

/// Where the bytes of a recording go, in order.
///
/// It is called within the verbs of the connection, several times for some, with slices of any length.
/// I/O in it is done on the connection's thread. It is dropped when the recording is over, and when it panics: the recording
/// then breaks off, and what the verb that it was called in would have returned is lost with the panic.
pub type Sink = Box<dyn FnMut(&[u8])>;

/// The record that closes a recording whose connection was dropped: a sink is called with it alone, and last.
pub const END: &[u8] = &[wire::tag::END];

/// How much is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Bytes that a recording may have; then it says that it was cut, and is over. Default 64 MiB.
    ///
    /// Its first bytes are what is kept: a connection can only be replayed from its beginning. Below the
    /// size of the head, less than 200 bytes, nothing is written at all.
    pub max_bytes: u64,
    /// Whether output is written down whole. Default false: its length and a hash of it are.
    ///
    /// A replay makes the output again in either case; whole, it can tell at which byte the two differ.
    pub output_bytes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_bytes: 64 << 20, output_bytes: false }
    }
}

/// A [`Connection`] that can write down what happens to it.
///
/// It has all of the connection's verbs, which it writes down before they take effect, and derefs to the
/// connection for what only looks: nothing can be done that is not recorded. Without a [`Sink`] it is
/// the connection and one comparison a verb.
///
/// While it records, it takes memory for the largest message that was sent with [`send`](Self::send);
/// nothing else of it grows.
pub struct Recorder<R: Role> {
    conn: Connection<R>,
    tape: Option<Box<Tape>>,
}

impl<R: Role> From<Connection<R>> for Recorder<R> {
    /// One that does not record.
    fn from(conn: Connection<R>) -> Self {
        Recorder { conn, tape: None }
    }
}

impl<R: Role> Deref for Recorder<R> {
    type Target = Connection<R>;

    #[inline]
    fn deref(&self) -> &Connection<R> {
        &self.conn
    }
}

impl<R: Role> fmt::Debug for Recorder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("is_recording", &self.is_recording())
            .finish_non_exhaustive()
    }
}

impl<R: Role> Recorder<R> {
    /// A connection that was just established, as [`Connection::new`], and recorded from its beginning.
    pub fn recording(
        config: &Config,
        entropy: u64,
        now: Instant,
        options: &Options,
        sink: Sink,
    ) -> Self {
        let conn = Connection::new(config, entropy, now);
        let tape = Tape::new(R::SIDE, config.limits(), entropy, now, options, sink);
        Recorder { conn, tape: tape.map(Box::new) }
    }

    /// Whether what happens is still written down: from the start until the recording is
    /// [cut](Options::max_bytes).
    pub fn is_recording(&self) -> bool {
        self.tape.is_some()
    }

    /// As [`Connection::poll_event`].
    ///
    /// Input that was left must come again at the front of the next input: that is how the recorder
    /// tells which bytes are new.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn poll_event<'i>(
        &mut self,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Result<Option<R::Event<'i>>, ConnectionError> {
        if self.tape.is_none() {
            return self.conn.poll_event(input, now);
        }
        self.poll_event_noted(input, now)
    }

    #[inline(never)]
    fn poll_event_noted<'i>(
        &mut self,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Result<Option<R::Event<'i>>, ConnectionError> {
        let before = input.len();
        self.note(|tape| tape.poll_event(input, now));
        let polled = self.conn.poll_event(input, now);
        let (consumed, timeout) = (before - input.len(), self.conn.poll_timeout());
        self.note(|tape| {
            match &polled {
                Ok(None) => tape.polled_nothing(consumed),
                Ok(Some(event)) => tape.polled(consumed, &R::note(event)),
                Err(error) => tape.polled_error(consumed, error),
            }
            tape.timeout(timeout);
        });
        polled
    }

    /// As [`Connection::poll_messages`]; a recording holds each message as the event that it would have been.
    #[inline]
    pub fn poll_messages<'i>(
        &mut self,
        call: CallKey,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Messages<'i> {
        if self.tape.is_none() {
            return self.conn.poll_messages(call, input, now);
        }
        self.poll_messages_noted(call, input, now)
    }

    #[inline(never)]
    fn poll_messages_noted<'i>(
        &mut self,
        call: CallKey,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Messages<'i> {
        let mut left = *input;
        let messages = self.conn.poll_messages(call, input, now);
        let timeout = self.conn.poll_timeout();
        for message in messages {
            let consumed = message.wire_len() as usize;
            self.note(|tape| tape.poll_event(left, now));
            self.note(|tape| {
                tape.polled(consumed, &Note::message(call, &message));
                tape.timeout(timeout);
            });
            left = &left[consumed..];
        }
        messages
    }

    /// As [`Connection::poll_transmit`].
    #[inline]
    pub fn poll_transmit(&mut self, out: &mut Transmit, now: Instant) {
        if self.tape.is_none() {
            return self.conn.poll_transmit(out, now);
        }
        self.note(|tape| tape.poll_transmit(now));
        let before = out.len();
        self.conn.poll_transmit(out, now);
        let timeout = self.conn.poll_timeout();
        self.note(|tape| {
            tape.output(out, before);
            tape.timeout(timeout);
        });
    }

    /// As [`Connection::note_delivery`].
    pub fn note_delivery(&mut self, now: Instant) {
        self.note(|tape| tape.note_delivery(now));
        self.conn.note_delivery(now);
    }

    /// As [`Connection::close_read`].
    pub fn close_read(&mut self, now: Instant) {
        self.note(|tape| tape.close_read(now));
        self.conn.close_read(now);
    }

    /// As [`Connection::shutdown`].
    pub fn shutdown(&mut self, now: Instant) {
        self.note(|tape| tape.shutdown(now));
        self.conn.shutdown(now);
    }

    /// As [`Connection::close`].
    pub fn close(&mut self, code: ErrorCode, now: Instant) {
        self.note(|tape| tape.close(code, now));
        self.conn.close(code, now);
    }

    /// As [`Connection::send`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn send<M: Encode + ?Sized>(
        &mut self,
        call: CallKey,
        message: &M,
    ) -> Result<(), SendError> {
        match &mut self.tape {
            None => self.conn.send(call, message),
            Some(tape) => {
                let len = tape.len_of(message);
                self.send_noted(call, message, len)
            }
        }
    }

    #[inline(never)]
    fn send_noted<M: Encode + ?Sized>(
        &mut self,
        call: CallKey,
        message: &M,
        len: usize,
    ) -> Result<(), SendError> {
        self.refuse(call, len, false)?;
        self.note(|tape| tape.send(call, message, len));
        // Foreign code, a second time: if it panics now the record has no result, and the recording ends here.
        let sink = self.tape.as_mut().and_then(|tape| tape.take_sink());
        let sent = self.conn.send(call, message);
        self.note(|tape| {
            // A message that writes differently each time cannot be replayed.
            if sent != Err(SendError::Misuse(ApiMisuse::EncodedLength)) {
                tape.put_sink_back(sink);
            }
            tape.result(sent);
        });
        sent
    }

    /// As [`Connection::send_encoded`].
    ///
    /// # Errors
    /// As there.
    pub fn send_encoded(
        &mut self,
        call: CallKey,
        message: Bytes,
        compressed: bool,
    ) -> Result<(), SendError> {
        self.refuse(call, message.len(), compressed)?;
        self.note(|tape| tape.send_encoded(call, &message, compressed));
        let sent = self.conn.send_encoded(call, message, compressed);
        self.note(|tape| tape.result(sent));
        sent
    }

    /// As [`Connection::send_compressed`].
    ///
    /// # Errors
    /// As there.
    pub fn send_compressed(&mut self, call: CallKey, message: &[u8]) -> Result<(), SendError> {
        self.refuse(call, message.len(), true)?;
        self.note(|tape| tape.send_compressed(call, message));
        let sent = self.conn.send_compressed(call, message);
        self.note(|tape| tape.result(sent));
        sent
    }

    /// As [`Connection::ask_room`].
    ///
    /// # Errors
    /// As there.
    pub fn ask_room(&mut self, call: CallKey, len: usize) -> Result<(), SendError> {
        self.note(|tape| tape.ask_room(call, len));
        let room = self.conn.ask_room(call, len);
        self.note(|tape| tape.result(room));
        room
    }

    /// Writes the length of a message down, and not the message, where there is no room for it: a peer decides how often
    /// a sender that waits tries again, and each time would take all of its message of what a recording may have.
    fn refuse(&mut self, call: CallKey, len: usize, compressed: bool) -> Result<(), SendError> {
        if self.tape.is_some() && self.conn.lacks_room(call, len, compressed) {
            return self.ask_room(call, len);
        }
        Ok(())
    }

    /// As [`Connection::grant`].
    #[inline]
    pub fn grant(&mut self, call: CallKey, bytes: u32) {
        self.note(|tape| tape.grant(call, bytes));
        self.conn.grant(call, bytes);
    }

    /// As [`Connection::allot`].
    pub fn allot(&mut self, allotment: Allotment) {
        self.note(|tape| tape.allot(allotment));
        self.conn.allot(allotment);
    }

    /// As [`Connection::recycle`].
    pub fn recycle(&mut self, buf: MessageBuf) {
        self.note(|tape| tape.recycle(buf.len()));
        self.conn.recycle(buf);
    }

    /// As [`Connection::recycle_metadata`].
    #[inline]
    pub fn recycle_metadata(&mut self, metadata: Metadata) {
        self.note(Tape::recycle_metadata);
        self.conn.recycle_metadata(metadata);
    }

    /// Writes something down, if this is recorded.
    #[inline]
    fn note(&mut self, write: impl FnOnce(&mut Tape)) {
        if let Some(tape) = &mut self.tape {
            write(tape);
            if tape.is_over() {
                self.tape = None;
            }
        }
    }
}

impl Recorder<Client> {
    /// As [`Connection::call`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn call(
        &mut self,
        head: &CallHead<'_>,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<CallKey, SendError> {
        self.note(|tape| tape.call(head, deadline, now));
        let called = self.conn.call(head, deadline, now);
        self.note(|tape| tape.called(called));
        called
    }

    /// As [`Connection::end`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn end(&mut self, call: CallKey) -> Result<(), SendError> {
        self.note(|tape| tape.end(call));
        let ended = self.conn.end(call);
        self.note(|tape| tape.result(ended));
        ended
    }

    /// As [`Connection::cancel`].
    pub fn cancel(&mut self, call: CallKey) {
        self.note(|tape| tape.cancel(call));
        self.conn.cancel(call);
    }
}

impl Recorder<Server> {
    /// As [`Connection::headers`].
    ///
    /// # Errors
    /// As there.
    pub fn headers(&mut self, call: CallKey, metadata: &Metadata) -> Result<(), SendError> {
        self.respond(call, &ResponseHead { metadata: Some(metadata), ..ResponseHead::default() })
    }

    /// As [`Connection::respond`].
    ///
    /// # Errors
    /// As there.
    pub fn respond(&mut self, call: CallKey, head: &ResponseHead<'_>) -> Result<(), SendError> {
        self.note(|tape| tape.respond(call, head));
        let sent = self.conn.respond(call, head);
        self.note(|tape| tape.result(sent));
        sent
    }

    /// As [`Connection::finish`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn finish(
        &mut self,
        call: CallKey,
        status: &Status,
        trailers: &Metadata,
    ) -> Result<(), SendError> {
        self.note(|tape| tape.finish(call, status, trailers));
        let finished = self.conn.finish(call, status, trailers);
        self.note(|tape| tape.result(finished));
        finished
    }

    /// As [`Connection::release`].
    pub fn release(&mut self, call: CallKey) {
        self.note(|tape| tape.release(call));
        self.conn.release(call);
    }
}
