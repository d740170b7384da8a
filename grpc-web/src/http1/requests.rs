//! What becomes of each request.

use std::sync::Arc;

use grpc_proto::{Instant, Transmit};
use grpc_service::Endpoint;

use super::body::Body;
use super::connection::{Http1, State};
use super::exchange::end_head;
use super::head::{self, Head};
use super::seen::{Seen, push_metadata};
use super::write;
use crate::cors::Allowed;
use crate::fault::Fault;
use crate::http2::FOREIGN_ORIGIN;
use crate::inner::Inner;
use crate::plain::{FieldSource, HttpRequest, HttpResponse};
use crate::translate::{WebType, begin_request, push_preflight, web_type};

const ENDING: &str = "the server ends this connection; connect again\n";

impl<E: Endpoint, M: FnOnce() -> E> Http1<E, M> {
    /// Reads a head and acts on it; false if more input is needed.
    pub(super) fn read_head(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        now: Instant,
    ) -> bool {
        let most = self.web.limits.max_head;
        // An empty line may stand before a request (RFC 9112 §2.2).
        if self.head.is_empty() {
            while let Some(rest) = input.strip_prefix(b"\r\n") {
                *input = rest;
            }
            if input.is_empty() {
                return false;
            }
            let seen = &input[..input.len().min(most)];
            match head::find_end(seen, 0) {
                Ok(Some(end)) => {
                    let (text, rest) = input.split_at(end);
                    *input = rest;
                    self.begin(text, out, now);
                    return true;
                }
                Ok(None) if seen.len() < most => {
                    self.head.extend_from_slice(seen);
                    self.searched = seen.len();
                    self.timer = now + self.web.limits.head_timeout;
                    *input = &[];
                }
                Ok(None) => self.refuse(Fault::HeadTooLong, out),
                Err(fault) => self.refuse(fault, out),
            }
            return self.state != State::Head;
        }
        if self.head == b"\r"
            && let Some(rest) = input.strip_prefix(b"\n")
        {
            self.head.clear();
            *input = rest;
            return true;
        }
        let before = self.head.len();
        let part = input.len().min(most.saturating_sub(before));
        self.head.extend_from_slice(&input[..part]);
        match head::find_end(&self.head, self.searched) {
            Ok(Some(end)) => {
                *input = &input[end.saturating_sub(before)..];
                let mut text = std::mem::take(&mut self.head);
                self.begin(&text[..end], out, now);
                text.clear();
                (self.head, self.searched) = (text, 0);
                true
            }
            Ok(None) => {
                *input = &input[part..];
                self.searched = self.head.len();
                if self.head.len() >= most {
                    self.refuse(Fault::HeadTooLong, out);
                }
                self.state != State::Head
            }
            Err(fault) => {
                self.refuse(fault, out);
                true
            }
        }
    }

    /// Acts on a whole head.
    fn begin(&mut self, text: &[u8], out: &mut Transmit, now: Instant) {
        self.timer = now + self.web.limits.idle_timeout;
        let mut room = head::fields();
        let limits = Arc::clone(&self.web.limits);
        match head::parse(text, &mut room, &limits) {
            Ok(head) => self.serve(&head, out, now),
            Err(fault) => self.refuse(fault, out),
        }
    }

    fn serve(&mut self, head: &Head<'_, '_>, out: &mut Transmit, now: Instant) {
        let limits = &self.web.limits;
        let body = match Body::new(head.framing, limits.max_body, limits.max_head) {
            Ok(body) => body,
            Err(fault) => return self.refuse(fault, out),
        };
        let seen = Seen::of(head);
        if head.method == "OPTIONS" && seen.method_asked {
            return self.answer_preflight(head, &seen, &body, out);
        }
        let kind = seen.content_type.and_then(web_type).filter(|_| head.method == "POST");
        match kind {
            Some(kind) => self.begin_call(head, &seen, kind, body, out, now),
            None => {
                let fields: &dyn FieldSource = &head.fields;
                let request = HttpRequest { method: head.method, target: head.path, fields };
                let response = self.web.answer(&request);
                self.answer(&response, head, &body, out);
            }
        }
    }

    fn begin_call(
        &mut self,
        head: &Head<'_, '_>,
        seen: &Seen<'_>,
        kind: WebType<'_>,
        body: Body,
        out: &mut Transmit,
        now: Instant,
    ) {
        let Some(allowed) = self.allow(head, seen) else {
            return self.answer(&HttpResponse::text(403, FOREIGN_ORIGIN), head, &body, out);
        };
        let inner = match (&mut self.inner, self.make.take()) {
            (Some(inner), _) => inner,
            (none, Some(make)) => none.insert(Inner::new(make(), now)),
            (None, None) => return self.refuse(Fault::Version, out),
        };
        let mut list = inner.session.take_fields();
        begin_request(
            head.path.as_bytes(),
            head.authority.as_bytes(),
            self.is_secure,
            kind.subtype,
            &mut list,
        );
        push_metadata(head, seen, &mut list);
        let Ok(stream) = inner.session.open(list, now) else {
            self.closing = true;
            return self.answer(&HttpResponse::text(503, ENDING), head, &body, out);
        };
        self.call.begin(kind, allowed, seen.timeout, now);
        self.call.stream = Some(stream);
        let expects = head.expects_continue && !body.is_done();
        self.exchange.begin(body, head.keeps_alive, head.is_old);
        self.state = State::Call;
        self.timer = Instant::NEVER;
        if expects {
            out.append_with(|out| out.extend_from_slice(write::CONTINUE));
        }
    }

    fn allow<'a>(&self, head: &Head<'_, 'a>, seen: &Seen<'a>) -> Option<Allowed<'a>> {
        match seen.origins {
            0 | 1 => self.web.allow(seen.origin, head.authority.as_bytes()),
            _ => None,
        }
    }

    fn answer_preflight(
        &mut self,
        head: &Head<'_, '_>,
        seen: &Seen<'_>,
        body: &Body,
        out: &mut Transmit,
    ) {
        let Some(allowed) = self.allow(head, seen) else {
            return self.answer(&HttpResponse::text(403, FOREIGN_ORIGIN), head, body, out);
        };
        let keeps = self.keeps(head, body);
        out.append_with(|out| {
            write::status_line(204, out);
            let requested = seen.headers_asked.unwrap_or_default();
            push_preflight(allowed, self.web.policy(), requested, |name, value| {
                write::field(name, value, out)
            });
            end_head(keeps, out);
        });
    }

    /// Whether the connection goes on behind the answer to a request whose body is not read.
    fn keeps(&mut self, head: &Head<'_, '_>, body: &Body) -> bool {
        let keeps = head.keeps_alive && !self.closing && body.is_done();
        if !keeps {
            self.state = State::Over;
        }
        keeps
    }

    fn answer(
        &mut self,
        response: &HttpResponse,
        head: &Head<'_, '_>,
        body: &Body,
        out: &mut Transmit,
    ) {
        let keeps = self.keeps(head, body);
        out.append_with(|out| write::response(response, keeps, head.method == "HEAD", out));
    }

    /// Answers a request that breaks a rule, and ends the connection: where the next one begins is not known.
    #[cold]
    pub(super) fn refuse(&mut self, fault: Fault, out: &mut Transmit) {
        self.state = State::Over;
        let response = HttpResponse::text(fault.status(), format!("{fault}\n"));
        out.append_with(|out| write::response(&response, false, false, out));
    }
}
