//! The server's side of calls.

use alloc::string::String;
use alloc::vec::Vec;

use super::head::{GRPC, Refusal, RequestHead, check_texts, is_compression, response_type};
use super::sealed::{self, Head};
use super::{CallKey, Connection, Message, Reason, Role, SendError};
use crate::hpack::{FieldList, Token};
use crate::http2::fields::Part;
use crate::http2::stream::{Pending, Prepared};
use crate::http2::{ErrorCode, Session, Side};
use crate::metadata::{Metadata, encode_bin};
use crate::record::{Digest, EventKind, Note};
use crate::status::{Status, encode_message};
use crate::time::Instant;

/// The role of a server.
#[derive(Debug)]
pub struct Server(());

/// What happened at a server.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// A call has begun. It is ended by [`Connection::finish`], or let go of by [`Connection::release`].
    Request(CallKey, RequestHead),
    /// A message of a call.
    Message(CallKey, Message<'i>),
    /// The client has sent all its messages.
    End(CallKey),
    /// The call is over: nobody waits for an answer. Its slot stays taken until
    /// [`Connection::release`], so that handlers never outnumber
    /// [`crate::Limits::max_concurrent_streams`].
    Cancelled(CallKey, Reason),
    /// A message that was refused with [`SendError::Full`] may be tried again.
    Writable(CallKey),
}

/// What begins a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// Custom metadata.
    pub metadata: Option<&'a Metadata>,
    /// `grpc-encoding` of the messages that are sent compressed.
    pub encoding: Option<&'a str>,
    /// `grpc-accept-encoding`: what the server can decompress.
    pub accept_encoding: Option<&'a str>,
}

impl Role for Server {
    type Event<'i> = Event<'i>;
}

/// What a client of HTTP/1 gets.
const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
content-type: text/plain\r\nconnection: close\r\ncontent-length: 59\r\n\r\n\
This is a gRPC server: speak HTTP/2 with prior knowledge.\r\n";

impl sealed::Role for Server {
    const SIDE: Side = Side::Server;

    fn new(session: &mut Session) -> Self {
        let mut head = FieldList::new();
        write_response(&mut head, b"200", GRPC);
        session.prepare(Prepared::RESPONSE, head);
        let mut trailers = FieldList::new();
        trailers.push_known(Token::GrpcStatus, b"0");
        session.prepare(Prepared::TRAILERS_OK, trailers);
        session.set_http1_answer(HTTP1_ANSWER);
        Server(())
    }

    fn on_head<'i>(
        conn: &mut Connection<Self>,
        key: CallKey,
        head: Head,
        now: Instant,
    ) -> Option<Event<'i>> {
        if head.part == Part::Trailers {
            // gRPC gives a client's trailers no meaning; they end its side.
            return conn.on_end(key);
        }
        conn.drop_assembly(key);
        match RequestHead::read(conn.session.take_received(), now) {
            Ok(request) => {
                let call = conn.open_call(key);
                call.may_decompress = request.is_compressed();
                call.content_type = request.response_type();
                if let Some(deadline) = request.deadline() {
                    call.deadline = deadline;
                    conn.session.set_deadline(key, deadline);
                }
                if head.end_stream {
                    conn.pending_end = Some(key);
                }
                Some(Event::Request(key, request))
            }
            Err((refusal, list)) => {
                let is_head = list.iter().any(|f| f.token == Token::Method && f.value == b"HEAD");
                conn.open_call(key).content_type = response_type(&list);
                conn.session.recycle_fields(list);
                conn.refuse(key, refusal, is_head);
                None
            }
        }
    }

    fn message<'i>(key: CallKey, message: Message<'i>) -> Event<'i> {
        Event::Message(key, message)
    }

    fn on_end<'i>(_: &mut Connection<Self>, key: CallKey) -> Option<Event<'i>> {
        Some(Event::End(key))
    }

    fn on_reset<'i>(
        _: &mut Connection<Self>,
        key: CallKey,
        reason: Reason,
        _: Instant,
    ) -> Event<'i> {
        Event::Cancelled(key, reason)
    }

    fn on_fault<'i>(conn: &mut Connection<Self>, key: CallKey, reason: Reason) -> Event<'i> {
        conn.drop_assembly(key);
        if reason == Reason::Deadline {
            conn.session.abort(key, ErrorCode::CANCEL);
        } else {
            conn.fail(key, &reason.to_status());
            conn.session.mute(key);
        }
        Event::Cancelled(key, reason)
    }

    fn writable<'i>(key: CallKey) -> Event<'i> {
        Event::Writable(key)
    }

    fn go_away<'i>(_: u32, _: ErrorCode) -> Option<Event<'i>> {
        None
    }

    fn note(event: &Event<'_>) -> Note {
        let digest = Digest::new();
        match event {
            Event::Request(key, head) => {
                let deadline = head.deadline().unwrap_or(Instant::NEVER).as_nanos();
                let digest = digest.metadata(&head.metadata).number(deadline);
                Note::new(EventKind::Request, Some(*key), 0, digest)
            }
            Event::Message(key, message) => Note::message(*key, message),
            Event::End(key) => Note::new(EventKind::End, Some(*key), 0, digest),
            Event::Cancelled(key, reason) => {
                Note::new(EventKind::Cancelled, Some(*key), 0, digest.reason(reason))
            }
            Event::Writable(key) => Note::new(EventKind::Writable, Some(*key), 0, digest),
        }
    }

    #[inline]
    fn before_message(conn: &mut Connection<Self>, key: CallKey) -> Result<(), SendError> {
        // A stale key must not touch the record of the call that has its slot now.
        if !conn.session.is_live(key) {
            return Err(SendError::Ended);
        }
        let call = &mut conn.calls[key.index()];
        if !call.head {
            if call.content_type.is_some() {
                return conn.respond(key, &ResponseHead::default());
            }
            conn.session.set_head(key, Pending::Prepared(Prepared::RESPONSE))?;
            call.head = true;
        }
        Ok(())
    }
}

impl Connection<Server> {
    /// Sends the response's head with metadata of its own, before the first message.
    ///
    /// Without this a plain head goes out with the first message.
    ///
    /// # Errors
    /// [`SendError::Misuse`] after the first message or the second time, or for an encoding that no field can carry;
    /// [`SendError::Ended`] when the call is over.
    pub fn headers(&mut self, call: CallKey, metadata: &Metadata) -> Result<(), SendError> {
        self.respond(call, &ResponseHead { metadata: Some(metadata), ..ResponseHead::default() })
    }

    /// Sends the response's head, with the compression of its messages where there is any.
    ///
    /// Choose an encoding that the request [accepts](RequestHead::accepts); each message says for
    /// itself whether it is compressed.
    ///
    /// # Errors
    /// As [`headers`](Self::headers).
    pub fn respond(&mut self, call: CallKey, head: &ResponseHead<'_>) -> Result<(), SendError> {
        if !self.session.is_live(call) {
            return Err(SendError::Ended);
        }
        if self.calls[call.index()].head {
            return Err(SendError::Misuse(super::ApiMisuse::HeadersSent));
        }
        check_texts([head.encoding, head.accept_encoding].into_iter().flatten())?;
        let mut list = self.session.take_fields();
        write_response(&mut list, b"200", self.calls[call.index()].content_type());
        if let Some(encoding) = head.encoding {
            list.push_known(Token::GrpcEncoding, encoding.as_bytes());
        }
        if let Some(accepted) = head.accept_encoding {
            list.push_known(Token::GrpcAcceptEncoding, accepted.as_bytes());
        }
        if let Some(metadata) = head.metadata {
            metadata.append_to(&mut list);
        }
        self.session.respond(call, list)?;
        let call = &mut self.calls[call.index()];
        call.head = true;
        call.content_type = None;
        call.may_compress = is_compression(head.encoding);
        Ok(())
    }

    /// Ends a call with its status, after all messages that were queued; lets go of it.
    ///
    /// Before any message this is Trailers-Only: one HEADERS frame (PROTOCOL-HTTP2, "Responses").
    ///
    /// # Errors
    /// [`SendError::Ended`] when the call is over already; it is released all the same.
    pub fn finish(
        &mut self,
        call: CallKey,
        status: &Status,
        trailers: &Metadata,
    ) -> Result<(), SendError> {
        let live = self.session.is_live(call);
        let result = match live {
            true => self.end(call, status, Some(trailers)),
            false => Err(SendError::Ended),
        };
        self.release(call);
        result
    }

    /// Lets go of a call: after [`Event::Cancelled`] this frees its slot; before, it cancels the call.
    pub fn release(&mut self, call: CallKey) {
        if self.session.is_live(call) {
            self.drop_assembly(call);
        }
        self.session.release(call);
    }

    fn end(
        &mut self,
        key: CallKey,
        status: &Status,
        trailers: Option<&Metadata>,
    ) -> Result<(), SendError> {
        let call = &mut self.calls[key.index()];
        let plain = status.is_ok() && trailers.is_none_or(Metadata::is_empty_list);
        if call.head && plain && status.is_bare() {
            self.session.finish_with(key, Pending::Prepared(Prepared::TRAILERS_OK))?;
            return Ok(());
        }
        // The response's content type where the list is its head as well.
        let head = (!core::mem::replace(&mut call.head, true)).then(|| call.content_type());
        let trailers_only = head.is_some();
        let mut list = self.session.take_fields();
        write_end(&mut list, head, status, trailers);
        let limit = self.session.peer_settings().max_header_list_size as usize;
        if list.size() > limit {
            shorten_end(&mut list, head, status, trailers, limit);
        }
        if trailers_only {
            self.session.respond(key, list)?;
            self.session.finish_with(key, Pending::None)?;
        } else {
            self.session.finish_with(key, Pending::Fields(list, Prepared::TRAILERS))?;
        }
        self.calls[key.index()].content_type = None;
        Ok(())
    }

    /// Ends a call for a fault of the client's.
    fn fail(&mut self, key: CallKey, status: &Status) {
        // The only error is a call that is over already.
        let _ = self.end(key, status, None);
    }

    /// Answers a request that gRPC refuses; the application gets no event of it. The answer to HEAD has no content
    /// (RFC 9110 §9.3.2).
    fn refuse(&mut self, key: CallKey, refusal: Refusal, is_head: bool) {
        let (http, code, text) = refusal.answer();
        let status = Status::new(code, text);
        if http == 200 {
            self.fail(key, &status);
        } else {
            let mut list = self.session.take_fields();
            let mut digits = [0; 3];
            for (place, digit) in digits.iter_mut().zip([http / 100, http / 10 % 10, http % 10]) {
                *place = b'0' + digit as u8;
            }
            write_response(&mut list, &digits, b"text/plain");
            write_status(&mut list, &status);
            let _ = self.session.respond(key, list);
            if !is_head {
                let _ = self.session.write(key, text.as_bytes());
            }
            let _ = self.session.finish(key, None);
        }
        self.session.release(key);
    }
}

/// Fields that every response begins with.
fn write_response(list: &mut FieldList, status: &[u8], content_type: &[u8]) {
    list.push_known(Token::Status, status);
    list.push_known(Token::ContentType, content_type);
}

/// The list that ends a call; with `head`, the response's content type, it begins the response as well (Trailers-Only).
fn write_end(
    list: &mut FieldList,
    head: Option<&[u8]>,
    status: &Status,
    trailers: Option<&Metadata>,
) {
    if let Some(content_type) = head {
        write_response(list, b"200", content_type);
    }
    write_status(list, status);
    if let Some(trailers) = trailers {
        trailers.append_to(list);
    }
}

/// Writes the list that ends a call anew, without what exceeds the peer's limit (RFC 9113 §6.5.2): a client that refuses
/// the list has no status at all. Details go first, which nobody can read in part, and then the end of the message. The
/// code and the application's trailers stay.
#[cold]
fn shorten_end(
    list: &mut FieldList,
    head: Option<&[u8]>,
    status: &Status,
    trailers: Option<&Metadata>,
    limit: usize,
) {
    list.clear();
    write_end(list, head, &Status::of(status.code()), trailers);
    let room = limit.saturating_sub(list.size());
    let message = shortened_message(status.message(), room);
    if !message.is_empty() {
        list.clear();
        let status = Status::new(status.code(), String::from(message));
        write_end(list, head, &status, trailers);
    }
}

/// As much of a message as a field of `room` bytes can carry.
fn shortened_message(message: &str, room: usize) -> &str {
    // The field counts 32 bytes and its name, and spaces at both ends are escaped.
    const BESIDE: usize = 32 + "grpc-message".len() + 4;
    let mut left = room.saturating_sub(BESIDE);
    for (at, character) in message.char_indices() {
        let len = match character {
            ' '..='$' | '&'..='~' => 1,
            _ => 3 * character.len_utf8(),
        };
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => return &message[..at],
        }
    }
    message
}

/// `grpc-status` and what belongs to it.
fn write_status(list: &mut FieldList, status: &Status) {
    list.push_known(Token::GrpcStatus, status.code().as_str().as_bytes());
    if !status.message().is_empty() {
        let plain = status.message().bytes().all(|b| matches!(b, 0x20..=0x24 | 0x26..=0x7e));
        let trimmed = status.message().trim_ascii().len() == status.message().len();
        if plain && trimmed {
            list.push_known(Token::GrpcMessage, status.message().as_bytes());
        } else {
            let mut text = Vec::new();
            encode_message(status.message(), &mut text);
            escape_outer_space(&mut text);
            list.push_known(Token::GrpcMessage, &text);
        }
    }
    if !status.details().is_empty() {
        encode_bin(status.details(), |text| list.push_known(Token::GrpcStatusDetailsBin, text));
    }
}

/// A field value may not begin or end with a space (RFC 9113 §8.2.1), a message may.
fn escape_outer_space(text: &mut Vec<u8>) {
    if text.last() == Some(&b' ') {
        text.pop();
        text.extend_from_slice(b"%20");
    }
    if text.first() == Some(&b' ') {
        text.splice(..1, *b"%20");
    }
}

impl core::fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Event::Request(call, head) => write!(f, "request {} {}", call.index(), head.path()),
            Event::Message(call, message) => {
                write!(f, "message {} of {} bytes", call.index(), message.len())
            }
            Event::End(call) => write!(f, "end {}", call.index()),
            Event::Cancelled(call, reason) => {
                write!(f, "cancelled {}: {}", call.index(), reason)
            }
            Event::Writable(call) => write!(f, "writable {}", call.index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn request(path: &[u8]) -> RequestHead {
        let mut list = FieldList::new();
        for (name, value) in [
            (":method", &b"POST"[..]),
            (":scheme", b"http"),
            (":path", path),
            ("te", b"trailers"),
            ("content-type", b"application/grpc"),
        ] {
            list.push(name.as_bytes(), value);
        }
        RequestHead::read(list, Instant::ZERO).unwrap_or_else(|_| panic!("a request"))
    }

    #[test]
    fn a_path_is_told_as_it_came_and_as_text_where_it_is_some() {
        for (path, text) in [(&b"/a.B/C"[..], "/a.B/C"), (b"/a.B/\xff", "")] {
            let head = request(path);
            assert_eq!((head.path_bytes(), head.path()), (path, text));
        }
    }

    #[test]
    fn what_happened_at_a_server_is_said_in_a_line() {
        let key = CallKey::new(7, 0);
        let head = request(b"/a.B/C");
        let payload = crate::Payload::Borrowed(b"abc");
        let message = Message { payload, compressed: false };
        for (event, text) in [
            (Event::Request(key, head), "request 7 /a.B/C"),
            (Event::Message(key, message), "message 7 of 3 bytes"),
            (Event::End(key), "end 7"),
            (Event::Cancelled(key, Reason::Deadline), "cancelled 7: "),
            (Event::Writable(key), "writable 7"),
        ] {
            assert!(event.to_string().starts_with(text), "{event}");
        }
    }
}
