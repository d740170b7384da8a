//! One call of gRPC-Web: what came of its response and has not been written yet.

use grpc_proto::hpack::{FieldList, Token};
use grpc_proto::http2::fields::Part;
use grpc_proto::http2::{Event, Session, StreamKey};
use grpc_proto::{Code, Instant, parse_timeout};

use crate::base64::{self, Decoder, Invalid};
use crate::cors::Allowed;
use crate::translate::{Boundary, WebType, response_type, status_of, write_status, write_trailers};

/// A call's response on its way from gRPC to gRPC-Web, and the state of its request's text.
///
/// Its memory is used again by the next call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Absent until the first call.
    pub(crate) stream: Option<StreamKey>,
    is_text: bool,
    subtype: Vec<u8>,
    /// Of the request's body.
    decoder: Decoder,
    deadline: Instant,
    /// An allowed origin of another host.
    origin: Vec<u8>,
    access: Access,
    /// The fields of the head, until it is written.
    pub(crate) head: Option<FieldList>,
    /// The head has come, with fields or without.
    has_head: bool,
    /// Frames that are not written yet, binary.
    pub(crate) body: Vec<u8>,
    boundary: Boundary,
    /// Bytes of DATA whose credit has not been given back.
    pub(crate) uncredited: u32,
    pub(crate) end: End,
}

/// [`Allowed`] without its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Same,
    Origin { credentials: bool },
    Any,
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More comes.
    Open,
    /// The trailers are in the body.
    Complete,
    /// The call ended within a message: the response cannot be completed.
    Broken,
}

impl Call {
    /// A place without a call.
    pub(crate) fn empty() -> Self {
        Call {
            stream: None,
            is_text: false,
            subtype: Vec::new(),
            decoder: Decoder::default(),
            deadline: Instant::NEVER,
            origin: Vec::new(),
            access: Access::Same,
            head: None,
            has_head: false,
            body: Vec::new(),
            boundary: Boundary::default(),
            uncredited: 0,
            end: End::Open,
        }
    }

    /// Begins anew with a request; its stream is set once it is open.
    pub(crate) fn begin(
        &mut self,
        kind: WebType<'_>,
        allowed: Allowed<'_>,
        timeout: Option<&[u8]>,
        now: Instant,
    ) {
        self.is_text = kind.is_text;
        self.subtype.clear();
        self.subtype.extend_from_slice(kind.subtype);
        self.decoder = Decoder::default();
        // A timeout that cannot be read fails the call at the server.
        self.deadline =
            timeout.and_then(parse_timeout).map_or(Instant::NEVER, |timeout| now + timeout);
        self.origin.clear();
        self.access = match allowed {
            Allowed::Same => Access::Same,
            Allowed::Any => Access::Any,
            Allowed::Origin(origin, credentials) => {
                self.origin.extend_from_slice(origin);
                Access::Origin { credentials }
            }
        };
        (self.head, self.has_head) = (None, false);
        self.body.clear();
        self.boundary = Boundary::default();
        (self.uncredited, self.end) = (0, End::Open);
    }

    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    /// Decodes a part of the request's body; appends it to `out`.
    pub(crate) fn decode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        self.decoder.decode(text, out)
    }

    /// Whether the request's body may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.decoder.is_between()
    }

    pub(crate) fn allowed(&self) -> Allowed<'_> {
        match self.access {
            Access::Same => Allowed::Same,
            Access::Any => Allowed::Any,
            Access::Origin { credentials } => Allowed::Origin(&self.origin, credentials),
        }
    }

    /// Whether the head is there to be written.
    pub(crate) fn has_head(&self) -> bool {
        self.has_head
    }

    /// The response's content type, in parts.
    pub(crate) fn content_type(&self, push: impl FnMut(&[u8])) {
        response_type(self.is_text, &self.subtype, push);
    }

    /// How long the body is as it is written.
    pub(crate) fn written_len(&self) -> usize {
        if self.is_text { self.body.len().div_ceil(3) * 4 } else { self.body.len() }
    }

    /// Appends the body as it is written, and forgets it.
    pub(crate) fn write_body(&mut self, out: &mut Vec<u8>) {
        if self.is_text {
            base64::encode(&self.body, out)
        } else {
            out.extend_from_slice(&self.body)
        }
        self.body.clear();
    }

    /// Takes what the server says.
    pub(crate) fn on_event(
        &mut self,
        session: &mut Session,
        event: Event,
        data: &[u8],
        now: Instant,
    ) {
        match event {
            Event::Headers { stream, part, status, fields, end_stream }
                if Some(stream) == self.stream =>
            {
                self.on_headers(session, part, status, fields, end_stream);
            }
            Event::Data(stream) if Some(stream) == self.stream => {
                self.uncredited += data.len() as u32;
                // What follows a status, such as a text in plain English, is no message.
                if self.end == End::Open {
                    self.boundary.pass(data);
                    self.body.extend_from_slice(data);
                }
            }
            Event::End(stream) if Some(stream) == self.stream => self.end_without_status(),
            Event::Reset(stream, reason)
                if Some(stream) == self.stream && self.end == End::Open =>
            {
                let (code, text) = status_of(&reason, self.deadline, now);
                self.fail(code, &text);
            }
            Event::Headers { fields, .. } => session.recycle_fields(fields),
            _ => {}
        }
    }

    fn on_headers(
        &mut self,
        session: &mut Session,
        part: Part,
        status: u16,
        fields: FieldList,
        ends: bool,
    ) {
        let is_end = ends || fields.find(Token::GrpcStatus).is_some();
        if self.end != End::Open || (part == Part::Response && (100..200).contains(&status)) {
            return session.recycle_fields(fields);
        }
        self.has_head = true;
        if !is_end {
            self.head = Some(fields);
            return;
        }
        if !self.boundary.is_between() {
            self.end = End::Broken;
        } else if fields.find(Token::GrpcStatus).is_some() {
            write_trailers(&fields, &mut self.body);
            self.end = End::Complete;
        } else {
            self.end_without_status();
        }
        session.recycle_fields(fields);
    }

    #[cold]
    fn end_without_status(&mut self) {
        if self.end == End::Open {
            self.fail(Code::Internal, "the response ended without a status");
        }
    }

    /// Ends the response with a status of this layer's, if it can have one.
    #[cold]
    fn fail(&mut self, code: Code, text: &str) {
        self.has_head = true;
        if self.boundary.is_between() {
            write_status(code, text, &mut self.body);
            self.end = End::Complete;
        } else {
            self.end = End::Broken;
        }
    }

    /// Gives memory back.
    pub(crate) fn shrink(&mut self) {
        (self.body, self.subtype, self.origin) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Heap bytes held.
    pub(crate) fn heap_bytes(&self) -> usize {
        let head = self.head.as_ref().map_or(0, FieldList::heap_bytes);
        self.body.capacity() + self.subtype.capacity() + self.origin.capacity() + head
    }
}
