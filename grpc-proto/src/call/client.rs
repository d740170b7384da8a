//! The client's side of calls.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::head::{CallHead, is_binary_value, is_compression, is_grpc};
use super::sealed::{self, Head};
use super::template::Templates;
use super::{CallKey, Connection, Message, Processed, Reason, Role, SendError};
use crate::hpack::{Field, Token};
use crate::http2::fields::Part;
use crate::http2::late_field::{LateField, LateValue};
use crate::http2::{ErrorCode, Session, Side};
use crate::metadata::{Metadata, decode_bin, is_application};
use crate::record::{Digest, EventKind, Note};
use crate::status::{Code, Status, decode_message};
use crate::time::Instant;
use crate::timeout::TimeoutText;

/// The role of a client.
#[derive(Debug)]
pub struct Client {
    templates: Templates,
    /// The content types of open calls whose responses are not gRPC, for the message of their status.
    foreign: Vec<Foreign>,
}

/// The response of a call that is not gRPC.
#[derive(Debug)]
struct Foreign {
    call: CallKey,
    /// The front of its content type, as text; `None` where it named none.
    content_type: Option<Box<str>>,
}

/// Most bytes of a foreign content type that a status names.
const CONTENT_TYPE_SHOWN: usize = 64;

/// What happened at a client.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The response's head, with the server's metadata. Not sent for Trailers-Only.
    Headers(CallKey, Metadata),
    /// A message of a call.
    Message(CallKey, Message<'i>),
    /// The call is over; nothing follows, and its key is dead.
    Status(CallKey, Outcome),
    /// A message that was refused with [`SendError::Full`] may be tried again.
    Writable(CallKey),
    /// The server takes no new calls on this connection.
    GoAway {
        /// The last stream that the server did or might process.
        last_stream: u32,
        /// Why; [`Connection::goaway_debug_data`] has it in the server's words.
        code: ErrorCode,
    },
}

/// How a call ended.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The status, the server's or one that says what happened instead.
    pub status: Status,
    /// The server's trailers.
    pub trailers: Metadata,
    /// Whether the server can have seen the call.
    pub processed: Processed,
    /// What happened where the status is not the server's.
    pub reason: Option<Reason>,
}

impl Role for Client {
    type Event<'i> = Event<'i>;
}

impl sealed::Role for Client {
    const SIDE: Side = Side::Client;

    fn new(session: &mut Session) -> Self {
        session.use_late_field(LateField {
            token: Token::GrpcTimeout,
            value: |left| LateValue::new(TimeoutText::new(left).as_bytes()),
        });
        Client { templates: Templates::default(), foreign: Vec::new() }
    }

    fn heap_bytes(&self) -> usize {
        let text = |foreign: &Foreign| foreign.content_type.as_ref().map_or(0, |text| text.len());
        self.templates.heap_bytes()
            + self.foreign.capacity() * size_of::<Foreign>()
            + self.foreign.iter().map(text).sum::<usize>()
    }

    fn on_head<'i>(
        conn: &mut Connection<Self>,
        key: CallKey,
        head: Head,
        _: Instant,
    ) -> Option<Event<'i>> {
        let Head { part, status, end_stream } = head;
        if part == Part::Response && (100..200).contains(&status) {
            return None;
        }
        if part == Part::Trailers || end_stream {
            return Some(conn.on_trailers(key, status));
        }
        let mut content_type = None;
        let mut compressed = false;
        let mut custom = Custom::default();
        for field in conn.session.received().iter() {
            match field.token {
                Token::ContentType => content_type = Some(field.value),
                Token::GrpcEncoding => compressed = field.value != b"identity",
                _ => custom.note(&field),
            }
        }
        let call = &mut conn.calls[key.index()];
        call.head = true;
        if status != 200 || !content_type.is_some_and(is_grpc) {
            // Its body is no gRPC, such as a proxy's error page; a grpc-status may still follow in trailers.
            call.http_status = status;
            let content_type = content_type.map(shown);
            conn.role.foreign.push(Foreign { call: key, content_type });
            return None;
        }
        if custom.is_malformed {
            return Some(Self::on_fault(conn, key, Reason::BinaryMetadata));
        }
        call.may_decompress = compressed;
        // How its messages are to be read is told with the head: see `Metadata::encoding`.
        custom.is_present |= compressed;
        Some(Event::Headers(key, conn.metadata(custom)))
    }

    fn message<'i>(key: CallKey, message: Message<'i>) -> Event<'i> {
        Event::Message(key, message)
    }

    fn on_end<'i>(conn: &mut Connection<Self>, key: CallKey) -> Option<Event<'i>> {
        let status = conn.without_grpc_status(key, 200);
        Some(conn.outcome(key, status, Metadata::new(), None))
    }

    fn on_reset<'i>(
        conn: &mut Connection<Self>,
        key: CallKey,
        reason: Reason,
        now: Instant,
    ) -> Event<'i> {
        let late = conn.calls[key.index()].deadline <= now;
        let reason = match reason {
            // A server that gives up at the deadline says CANCEL; ours has passed too.
            Reason::Reset(ErrorCode::CANCEL) if late => Reason::Deadline,
            reason => reason,
        };
        conn.outcome(key, conn.explain(&reason), Metadata::new(), Some(reason))
    }

    fn on_fault<'i>(conn: &mut Connection<Self>, key: CallKey, reason: Reason) -> Event<'i> {
        conn.outcome(key, reason.to_status(), Metadata::new(), Some(reason))
    }

    fn writable<'i>(key: CallKey) -> Event<'i> {
        Event::Writable(key)
    }

    fn go_away<'i>(last_stream: u32, code: ErrorCode) -> Option<Event<'i>> {
        Some(Event::GoAway { last_stream, code })
    }

    fn note(event: &Event<'_>) -> Note {
        let digest = Digest::new();
        match event {
            Event::Headers(key, metadata) => {
                Note::new(EventKind::Headers, Some(*key), 0, digest.metadata(metadata))
            }
            Event::Message(key, message) => Note::message(*key, message),
            Event::Status(key, outcome) => {
                let digest = digest
                    .status(&outcome.status)
                    .metadata(&outcome.trailers)
                    .number(outcome.processed as u64);
                let digest = match &outcome.reason {
                    None => digest.number(0),
                    Some(reason) => digest.reason(reason),
                };
                let code = outcome.status.code().number();
                Note::new(EventKind::Status, Some(*key), code.into(), digest)
            }
            Event::Writable(key) => Note::new(EventKind::Writable, Some(*key), 0, digest),
            Event::GoAway { last_stream, code } => {
                let digest = digest.number((*last_stream).into());
                Note::new(EventKind::GoAway, None, code.0.into(), digest)
            }
        }
    }

    #[inline]
    fn before_message(_: &mut Connection<Self>, _: CallKey) -> Result<(), SendError> {
        Ok(())
    }
}

impl Connection<Client> {
    /// Begins a call; its head goes out as soon as the peer's stream limit allows.
    ///
    /// `deadline` travels as `grpc-timeout` and is enforced here too: the call then ends with
    /// DEADLINE_EXCEEDED.
    ///
    /// # Errors
    /// [`SendError::Closing`] when a new connection is needed, [`SendError::TooManyCalls`] at the
    /// limit of queued calls, [`SendError::Misuse`] for a head that no field can carry.
    pub fn call(
        &mut self,
        head: &CallHead<'_>,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<CallKey, SendError> {
        // A time that never comes is none, and there is no grpc-timeout that could tell it.
        let deadline = deadline.filter(|&at| at != Instant::NEVER);
        let block = self.role.templates.head(head, deadline.is_some(), &mut self.session)?;
        let key = self.session.open_with(block, now)?;
        let call = self.open_call(key);
        call.may_compress = is_compression(head.encoding);
        if let Some(deadline) = deadline {
            call.deadline = deadline;
            self.session.set_deadline(key, deadline);
            self.session.set_late_field(key, deadline);
        }
        Ok(key)
    }

    /// Half-closes: no more messages follow those that were queued.
    ///
    /// # Errors
    /// [`SendError::Misuse`] the second time, [`SendError::Ended`] when the call is over.
    #[inline]
    pub fn end(&mut self, call: CallKey) -> Result<(), SendError> {
        Ok(self.session.finish(call, None)?)
    }

    /// Cancels a call: RST_STREAM(CANCEL) if any of it was sent; no event follows.
    pub fn cancel(&mut self, call: CallKey) {
        if self.session.is_live(call) {
            self.end_call(call, ErrorCode::CANCEL);
        }
    }

    /// Why the server goes away, in the words of its last GOAWAY, such as `too_many_pings`; empty where it gave none.
    ///
    /// At most 256 bytes of readable text; it is the server's, and nothing to act upon (RFC 9113 §6.8). Calls that end
    /// because of it carry it in the message of their status, behind the code.
    pub fn goaway_debug_data(&self) -> &str {
        self.session.goaway_debug_data()
    }

    /// The status of a call that was reset; where the server went away, with what it had to say.
    #[cold]
    fn explain(&self, reason: &Reason) -> Status {
        let status = reason.to_status();
        let is_connections =
            matches!(reason, Reason::GoAway(_) | Reason::Connection(_) | Reason::NeverSent(_));
        let Some(code) = self.session.goaway_received().filter(|_| is_connections) else {
            return status;
        };
        let message = match self.goaway_debug_data() {
            "" => format!("{}: GOAWAY with {code}", status.message()),
            debug => format!("{}: GOAWAY with {code}, {debug:?}", status.message()),
        };
        Status::new(status.code(), message)
    }

    /// The end of a call by trailers, or by a head that is trailers too.
    fn on_trailers<'i>(&mut self, key: CallKey, status: u16) -> Event<'i> {
        let call = &self.calls[key.index()];
        let (truncated, has_skipped) = (!call.framing.is_between(), call.has_skipped);
        let mut code = None;
        let mut message = None;
        let mut details = None;
        let mut custom = Custom::default();
        for field in self.session.received().iter() {
            match field.token {
                Token::GrpcStatus => code = code.or(Some(Code::parse(field.value))),
                Token::GrpcMessage => message = Some(decode_message(field.value)),
                Token::GrpcStatusDetailsBin => details = decode_bin(field.value),
                _ => custom.note(&field),
            }
        }
        let Some(code) = code else {
            let status = self.without_grpc_status(key, status);
            let trailers = self.metadata(custom);
            return self.outcome(key, status, trailers, None);
        };
        if code == Code::Ok && has_skipped {
            // The server says that all went well, but what it sent was never read.
            let status = self.without_grpc_status(key, status);
            let trailers = self.metadata(custom);
            return self.outcome(key, status, trailers, None);
        }
        if code == Code::Ok && truncated {
            return self.on_local_fault(key, Reason::MessageTruncated);
        }
        if custom.is_malformed {
            return self.on_local_fault(key, Reason::BinaryMetadata);
        }
        let mut status = match message {
            Some(message) => Status::new(code, message),
            None => Status::of(code),
        };
        if let Some(details) = details {
            status = status.with_details(details);
        }
        let trailers = self.metadata(custom);
        self.outcome(key, status, trailers, None)
    }

    /// The metadata of the head that was received last; most have none, and are not copied.
    fn metadata(&mut self, custom: Custom) -> Metadata {
        match custom.is_present {
            true => Metadata::from_fields(self.session.take_received()),
            false => Metadata::new(),
        }
    }

    fn on_local_fault<'i>(&mut self, key: CallKey, reason: Reason) -> Event<'i> {
        self.outcome(key, reason.to_status(), Metadata::new(), Some(reason))
    }

    /// The last event of a call; whatever is still open of its stream is reset.
    #[inline]
    fn outcome<'i>(
        &mut self,
        key: CallKey,
        status: Status,
        trailers: Metadata,
        reason: Option<Reason>,
    ) -> Event<'i> {
        let code = match &reason {
            // The server has said all it wanted: it is told that the rest is not needed.
            None => ErrorCode::NO_ERROR,
            Some(_) => ErrorCode::CANCEL,
        };
        let processed = match &reason {
            None => Processed::Maybe,
            Some(_) if self.session.is_unsent(key) => Processed::No,
            Some(reason) => Processed::of(reason),
        };
        self.end_call(key, code);
        Event::Status(key, Outcome { status, trailers, processed, reason })
    }

    fn end_call(&mut self, key: CallKey, code: ErrorCode) {
        self.drop_assembly(key);
        if self.calls.get(key.index()).is_some_and(|call| call.http_status != 0) {
            self.forget_foreign(key);
        }
        self.session.reset(key, code);
    }

    #[cold]
    fn forget_foreign(&mut self, key: CallKey) {
        self.role.foreign.retain(|foreign| foreign.call != key);
        if self.role.foreign.is_empty() {
            self.role.foreign = Vec::new();
        }
    }

    /// The status of a response that has none, or none that counts (http-grpc-status-mapping). `status` is that of a
    /// response that ends with its HEADERS.
    #[cold]
    fn without_grpc_status(&self, key: CallKey, status: u16) -> Status {
        let http = match self.calls[key.index()].http_status {
            0 => status.max(200),
            http => http,
        };
        let foreign = self.role.foreign.iter().find(|foreign| foreign.call == key);
        let text: String = match foreign.map(|foreign| foreign.content_type.as_deref()) {
            None if http == 200 => "the response ended without a grpc-status".into(),
            None => format!("the response is not gRPC: HTTP status {http} and no grpc-status"),
            Some(None) => {
                format!("the response is not gRPC: HTTP status {http} and no content-type")
            }
            Some(Some(kind)) => {
                format!("the response is not gRPC: HTTP status {http} with content-type {kind:?}")
            }
        };
        Status::new(Code::from_http(http), text)
    }
}

/// The front of a content type that is not gRPC's, as text.
#[cold]
fn shown(content_type: &[u8]) -> Box<str> {
    let front = &content_type[..content_type.len().min(CONTENT_TYPE_SHOWN)];
    String::from_utf8_lossy(front).into()
}

/// What a head holds of the application's own.
#[derive(Clone, Copy, Default)]
struct Custom {
    is_present: bool,
    /// A value in `-bin` is no base64.
    is_malformed: bool,
}

impl Custom {
    fn note(&mut self, field: &Field<'_>) {
        self.is_present |= is_application(field);
        self.is_malformed |= field.flags.is_binary() && !is_binary_value(field.value);
    }
}
