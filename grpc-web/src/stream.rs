//! One stream of a gateway: its request on the way in, its response on the way out.

use grpc_proto::hpack::{FieldList, Token};
use grpc_proto::http2::fields::Part;
use grpc_proto::http2::{Event, ResetReason, Session, StreamError, StreamKey};
use grpc_proto::{ErrorCode, Instant};

use crate::call::{Call, End};
use crate::options::Web;
use crate::translate::{push_cors, response_fields};

/// A stream of the outer session and the one that stands for it in the inner session.
pub(crate) struct Stream {
    outer: StreamKey,
    inner: StreamKey,
    kind: Kind,
    /// A part of the request's body that the inner stream had no room for, decoded; and how much credit it owes.
    unsent: Vec<u8>,
    owed: u32,
    /// The client has ended its side; and the inner stream was told.
    ended: bool,
    is_sent: bool,
    /// The body is no base64.
    is_bad: bool,
    responded: bool,
    /// A part of the response that the outer stream had no room for.
    waiting: Vec<u8>,
    /// What a response of gRPC ends with.
    last: Option<Last>,
    /// Its head, its body and the body's credit.
    head: Option<FieldList>,
    uncredited: u32,
}

/// What a stream carries.
pub(crate) enum Kind {
    Web(Box<Call>),
    /// gRPC: everything passes as it is.
    Grpc,
}

/// How a response of gRPC ends.
enum Last {
    Trailers(FieldList),
    Plain,
    Reset(ErrorCode),
}

impl Stream {
    pub(crate) fn new(outer: StreamKey, inner: StreamKey, mut kind: Kind) -> Self {
        if let Kind::Web(call) = &mut kind {
            call.stream = Some(inner);
        }
        Stream {
            outer,
            inner,
            kind,
            unsent: Vec::new(),
            owed: 0,
            ended: false,
            is_sent: false,
            is_bad: false,
            responded: false,
            waiting: Vec::new(),
            last: None,
            head: None,
            uncredited: 0,
        }
    }

    pub(crate) fn outer(&self) -> StreamKey {
        self.outer
    }

    pub(crate) fn inner(&self) -> Option<StreamKey> {
        Some(self.inner)
    }

    /// The client has sent all of its body.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Hands on the body; its credit returns as far as the inner stream has taken it, so at most a window waits here.
    pub(crate) fn feed(&mut self, data: &[u8], outer: &mut Session, inner: &mut Session) {
        self.owed += data.len() as u32;
        match &mut self.kind {
            Kind::Web(call) if call.is_text() => {
                self.is_bad |= call.decode(data, &mut self.unsent).is_err();
            }
            _ if self.unsent.is_empty() && !data.is_empty() => {
                if inner.write(self.inner, data) == Err(StreamError::Full) {
                    self.unsent.extend_from_slice(data);
                }
            }
            _ => self.unsent.extend_from_slice(data),
        }
        if !self.unsent.is_empty() {
            match inner.write(self.inner, &self.unsent) {
                Err(StreamError::Full) => return,
                // The call has ended early: the rest of its request is dropped.
                Ok(()) | Err(_) => self.unsent.clear(),
            }
        }
        outer.consume(self.outer, std::mem::take(&mut self.owed));
        if self.ended && !self.is_sent {
            self.is_sent = true;
            self.is_bad |= matches!(&self.kind, Kind::Web(call) if !call.is_whole());
            // An error means that the call has ended early.
            let _ = inner.finish(self.inner, None);
        }
    }

    /// Takes what the server says.
    pub(crate) fn on_event(
        &mut self,
        session: &mut Session,
        event: Event,
        data: &[u8],
        now: Instant,
    ) {
        if let Kind::Web(call) = &mut self.kind {
            return call.on_event(session, event, data, now);
        }
        match event {
            Event::Headers { part, fields, end_stream, .. } => match (part, end_stream) {
                (Part::Response, false) => self.head = Some(fields),
                _ => self.last = Some(Last::Trailers(fields)),
            },
            Event::Data(_) => {
                self.waiting.extend_from_slice(data);
                self.uncredited += data.len() as u32;
            }
            Event::End(_) => self.last = Some(Last::Plain),
            Event::Reset(_, reason) => {
                let code = match reason {
                    ResetReason::Peer(code) => code,
                    _ => ErrorCode::INTERNAL_ERROR,
                };
                self.last.get_or_insert(Last::Reset(code));
            }
            _ => {}
        }
    }

    /// Writes what has come of the response; true once the stream is over.
    pub(crate) fn flush(&mut self, web: &Web, outer: &mut Session, inner: &mut Session) -> bool {
        if self.is_bad {
            // What the page sent is at fault; its call ends with it.
            inner.release(self.inner);
            outer.reset(self.outer, ErrorCode::PROTOCOL_ERROR);
            return true;
        }
        if !self.waiting.is_empty() && self.responded && !self.write(outer) {
            return false;
        }
        let has_more = match &self.kind {
            Kind::Web(_) => self.flush_web(web, outer, inner),
            Kind::Grpc => self.flush_grpc(outer, inner),
        };
        if has_more {
            return false;
        }
        inner.release(self.inner);
        outer.release(self.outer);
        true
    }

    /// Writes what waits; false if there is no room.
    fn write(&mut self, outer: &mut Session) -> bool {
        if outer.write(self.outer, &self.waiting) == Err(StreamError::Full) {
            return false;
        }
        self.waiting.clear();
        true
    }

    fn flush_web(&mut self, web: &Web, outer: &mut Session, inner: &mut Session) -> bool {
        let Kind::Web(call) = &mut self.kind else { return false };
        if call.has_head() && !self.responded {
            self.responded = true;
            let mut list = outer.take_fields();
            list.push_known(Token::Status, b"200");
            let mut kind = Vec::new();
            call.content_type(|part| kind.extend_from_slice(part));
            list.push_known(Token::ContentType, &kind);
            let fields = call.head.take();
            let shown = || fields.iter().flat_map(response_fields);
            for field in shown() {
                list.push(field.name, field.value);
            }
            push_cors(call.allowed(), web.policy(), shown(), |name, value| list.push(name, value));
            if let Some(fields) = fields {
                inner.recycle_fields(fields);
            }
            // An error means that the stream is over, which an event says.
            let _ = outer.respond(self.outer, list);
        }
        if !call.body.is_empty() && self.responded {
            call.write_body(&mut self.waiting);
            if !self.write(outer) {
                return true;
            }
        }
        let Kind::Web(call) = &mut self.kind else { return false };
        inner.consume(self.inner, std::mem::take(&mut call.uncredited));
        match call.end {
            End::Open => true,
            End::Complete => {
                let _ = outer.finish(self.outer, None);
                false
            }
            End::Broken => {
                outer.reset(self.outer, ErrorCode::INTERNAL_ERROR);
                false
            }
        }
    }

    fn flush_grpc(&mut self, outer: &mut Session, inner: &mut Session) -> bool {
        if let Some(head) = self.head.take() {
            self.responded = true;
            let _ = outer.respond(self.outer, head);
        }
        if !self.waiting.is_empty() && !self.write(outer) {
            return true;
        }
        inner.consume(self.inner, std::mem::take(&mut self.uncredited));
        match self.last.take() {
            None => return true,
            Some(Last::Trailers(list)) => {
                let _ = outer.finish(self.outer, Some(list));
            }
            Some(Last::Plain) => {
                let _ = outer.finish(self.outer, None);
            }
            Some(Last::Reset(code)) => outer.reset(self.outer, code),
        }
        false
    }

    /// Heap bytes held.
    pub(crate) fn heap_bytes(&self) -> usize {
        let call = match &self.kind {
            Kind::Web(call) => size_of::<Call>() + call.heap_bytes(),
            Kind::Grpc => 0,
        };
        let head = self.head.as_ref().map_or(0, FieldList::heap_bytes);
        self.unsent.capacity() + self.waiting.capacity() + call + head
    }
}
