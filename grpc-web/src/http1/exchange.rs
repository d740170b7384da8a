//! One call over HTTP/1.1: its request's body in, its response out.

use grpc_proto::http2::{Session, StreamError, StreamKey};
use grpc_proto::{Instant, Transmit};

use super::body::Body;
use super::head::Framing;
use super::write;
use crate::call::{Call, End};
use crate::fault::Fault;
use crate::limits::WebLimits;
use crate::options::Web;
use crate::translate::{push_cors, response_fields};

/// How a call's request comes, and how its response is written.
pub(super) struct Exchange {
    body: Body,
    /// A part of the body that the stream had no room for.
    unsent: Vec<u8>,
    /// The stream's request has been ended.
    is_sent: bool,
    /// Bytes of the body since its timer was set.
    progress: usize,
    /// The connection goes on behind the response.
    keeps: bool,
    /// HTTP/1.0.
    is_old: bool,
    written: Written,
}

/// What has been written of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    /// The head; the body goes on in chunks.
    Chunked,
    /// The head, and all of the body by its length.
    Counted,
    /// The head; the end of the connection ends the body.
    UntilClose,
}

/// The most of a body that is handed on at once.
const PIECE: usize = 16 << 10;
/// Bytes that make progress of a body.
const LEAST_PROGRESS: usize = 1 << 10;

impl Exchange {
    /// Without a call.
    pub(super) fn none() -> Self {
        let body = Body::new(Framing::None, 0, 0).expect("no body has any length");
        Exchange {
            body,
            unsent: Vec::new(),
            is_sent: false,
            progress: 0,
            keeps: true,
            is_old: false,
            written: Written::Nothing,
        }
    }

    /// Begins anew; memory is kept.
    pub(super) fn begin(&mut self, body: Body, keeps: bool, is_old: bool) {
        self.body = body;
        self.unsent.clear();
        (self.is_sent, self.progress) = (false, 0);
        (self.keeps, self.is_old, self.written) = (keeps, is_old, Written::Nothing);
    }

    /// Hands the body on as far as its stream takes it; returns how many bytes of input that took.
    pub(super) fn feed(
        &mut self,
        input: &mut &[u8],
        call: &mut Call,
        session: &mut Session,
        stream: StreamKey,
    ) -> Result<usize, Fault> {
        let before = input.len();
        loop {
            if !self.unsent.is_empty() {
                match session.write(stream, &self.unsent) {
                    Err(StreamError::Full) => break,
                    // The call has ended early: the rest of its request is read and dropped.
                    Ok(()) | Err(_) => self.unsent.clear(),
                }
            }
            let data = self.body.take(input, PIECE)?;
            self.body.skip_framing(input)?;
            if data.is_empty() {
                break;
            }
            if call.is_text() {
                call.decode(data, &mut self.unsent).map_err(|_| Fault::Base64)?;
            } else if session.write(stream, data) == Err(StreamError::Full) {
                self.unsent.extend_from_slice(data);
            }
        }
        if self.body.is_done() && self.unsent.is_empty() && !self.is_sent {
            if !call.is_whole() {
                return Err(Fault::Base64);
            }
            self.is_sent = true;
            // An error means that the call has ended early.
            let _ = session.finish(stream, None);
        }
        Ok(before - input.len())
    }

    /// When the body must have gone on, behind `fed` bytes of it; `timer` was that before. No time passes while the handler
    /// is waited for.
    pub(super) fn next_timer(
        &mut self,
        timer: Instant,
        fed: usize,
        holds: bool,
        limits: &WebLimits,
        now: Instant,
    ) -> Instant {
        if self.body.is_done() || holds {
            return Instant::NEVER;
        }
        self.progress += fed;
        if timer != Instant::NEVER && self.progress < LEAST_PROGRESS {
            return timer;
        }
        self.progress = 0;
        now + limits.body_timeout
    }

    /// Writes what has come of the response; `closing` says that no request is served behind it.
    pub(super) fn flush(
        &mut self,
        call: &mut Call,
        session: &mut Session,
        web: &Web,
        closing: bool,
        out: &mut Transmit,
    ) {
        let is_done = call.end == End::Complete;
        let is_lost = call.end == End::Broken && call.body.is_empty();
        if !call.has_head() || (is_lost && self.written == Written::Nothing) {
            return;
        }
        out.append_with(|out| {
            if self.written == Written::Nothing {
                self.write_head(call, session, web, closing, out);
            }
            if self.written == Written::Chunked {
                write::chunk(call.written_len(), out, |out| call.write_body(out));
                if is_done {
                    out.extend_from_slice(write::LAST_CHUNK);
                }
            } else {
                call.write_body(out);
            }
        });
    }

    /// Writes the head; a response that is complete tells its length.
    fn write_head(
        &mut self,
        call: &mut Call,
        session: &mut Session,
        web: &Web,
        closing: bool,
        out: &mut Vec<u8>,
    ) {
        self.written = match (call.end == End::Complete, self.is_old) {
            (true, _) => Written::Counted,
            (false, false) => Written::Chunked,
            (false, true) => Written::UntilClose,
        };
        self.keeps &= match self.written {
            // Where the rest of the request is not awaited, nobody knows where the next one begins.
            Written::Counted => self.body.is_done(),
            Written::UntilClose => false,
            Written::Chunked | Written::Nothing => true,
        };
        self.keeps &= !closing;
        write::status_line(200, out);
        out.extend_from_slice(b"content-type: ");
        call.content_type(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
        let fields = call.head.take();
        let shown = || fields.iter().flat_map(response_fields);
        for field in shown() {
            write::field(field.name, field.value, out);
        }
        push_cors(call.allowed(), web.policy(), shown(), |name, value| {
            write::field(name, value, out);
        });
        match self.written {
            Written::Chunked => write::field(b"transfer-encoding", b"chunked", out),
            Written::Counted => write::content_length(call.written_len(), out),
            Written::Nothing | Written::UntilClose => {}
        }
        end_head(self.keeps, out);
        if let Some(fields) = fields {
            session.recycle_fields(fields);
        }
    }

    /// Whether nothing of the response is written.
    pub(super) fn is_unanswered(&self) -> bool {
        self.written == Written::Nothing
    }

    /// Whether another request may follow: all of this one's body has come, and nobody wants the connection closed.
    pub(super) fn goes_on(&self) -> bool {
        self.keeps && self.body.is_done()
    }

    /// Gives memory back.
    pub(super) fn shrink(&mut self) {
        self.unsent = Vec::new();
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.unsent.capacity()
    }
}

/// Ends a head.
pub(super) fn end_head(keeps: bool, out: &mut Vec<u8>) {
    if !keeps {
        write::field(b"connection", b"close", out);
    }
    out.extend_from_slice(b"\r\n");
}
