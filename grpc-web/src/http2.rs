//! gRPC-Web over HTTP/2: a connection whose streams are looked at before the server's one sees them.

use std::task::Context;

use grpc_proto::hpack::{FieldList, Token};
use grpc_proto::http2::fields::Part;
use grpc_proto::http2::{Event, Session, Side, StreamKey};
use grpc_proto::{Config, ConfigError, ConnectionError, ErrorCode, Instant, Limits, Transmit};
use grpc_service::{Endpoint, OUT_MARK};

use crate::call::Call;
use crate::inner::Inner;
use crate::options::Web;
use crate::plain::{FieldSource, HttpRequest, HttpResponse};
use crate::stream::{Kind, Stream};
use crate::translate::{begin_request, is_hop, push_preflight, web_type};

/// A connection of HTTP/2 that may carry gRPC-Web, plain HTTP and gRPC, each stream by itself.
///
/// ```text
///   received ──> outer session ──> streams ──> inner: client's session ══> the server's endpoint
///   to write <── outer session <── streams <──────────────────────────══<──
/// ```
///
/// Streams of gRPC pass as they are, which costs each about what gRPC costs once more: connections that can be told from
/// browsers' do not come here.
pub(crate) struct Gateway<E> {
    web: Web,
    is_secure: bool,
    outer: Session,
    inner: Inner<E>,
    /// By the index of the outer stream.
    streams: Vec<Option<Stream>>,
    /// The outer stream's index by that of the inner one.
    outer_of: Vec<usize>,
    ended: bool,
}

impl<E: Endpoint> Gateway<E> {
    /// A gateway before `endpoint`, whose limits are `limits`.
    pub(crate) fn new(
        web: Web,
        is_secure: bool,
        limits: &Limits,
        endpoint: E,
        entropy: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        let mut limits = limits.clone();
        // The server's own connection has these times, and its GOAWAY is passed on.
        (limits.max_age, limits.max_idle) = (None, None);
        let outer = Session::new(Side::Server, &Config::new(limits)?, entropy, now);
        let inner = Inner::new(endpoint, now);
        let (streams, outer_of) = (Vec::new(), Vec::new());
        Ok(Gateway { web, is_secure, outer, inner, streams, outer_of, ended: false })
    }

    pub(crate) fn turn(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        loop {
            let (left, before) = (input.len(), out.len());
            let read = self.read(input, now);
            self.exchange(cx, now);
            self.flush();
            if before < OUT_MARK || read.is_err() {
                self.outer.poll_transmit(out, now);
            }
            if let Err(error) = read {
                self.inner.close_read(now);
                self.exchange(cx, now);
                return Err(error);
            }
            if !self.inner.is_open() && !self.ended {
                // The server ends its connections: by age, say.
                self.ended = true;
                self.outer.shutdown(now);
                self.outer.poll_transmit(out, now);
            }
            let rests = out.len() == before && input.len() == left;
            if out.len() >= OUT_MARK || (rests && !self.inner.session.has_output()) {
                return Ok(());
            }
        }
    }

    /// Takes what the peer says.
    fn read(&mut self, input: &mut &[u8], now: Instant) -> Result<(), ConnectionError> {
        while let Some(event) = self.outer.poll(input, now)? {
            match event {
                Event::Headers { stream, part: Part::Request, fields, end_stream, .. } => {
                    self.on_request(stream, &fields, end_stream, now);
                    self.outer.recycle_fields(fields);
                }
                Event::Headers { stream, fields, .. } => {
                    // gRPC gives a client's trailers no meaning; they end its side.
                    self.outer.recycle_fields(fields);
                    self.on_end(stream);
                }
                Event::Data(stream) => {
                    let data = self.outer.take_data(input, usize::MAX);
                    self.on_data(stream, data);
                }
                Event::End(stream) => self.on_end(stream),
                Event::Reset(stream, _) => {
                    self.outer.release(stream);
                    self.drop_stream(stream);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn exchange(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Self { inner, streams, outer_of, .. } = self;
        inner.exchange(cx, now, |session, event, data| {
            let key = match &event {
                Event::Headers { stream, .. } => *stream,
                Event::Data(key) | Event::End(key) | Event::Reset(key, _) => *key,
                _ => return,
            };
            let outer = outer_of.get(key.index()).copied().unwrap_or(usize::MAX);
            match streams.get_mut(outer).and_then(Option::as_mut) {
                Some(stream) if stream.inner() == Some(key) => {
                    stream.on_event(session, event, data, now);
                }
                _ => {
                    if let Event::Headers { fields, .. } = event {
                        session.recycle_fields(fields);
                    }
                }
            }
        });
    }

    /// Hands on what waits in each stream, both ways, and ends those that are over.
    fn flush(&mut self) {
        for place in &mut self.streams {
            if let Some(stream) = place {
                stream.feed(&[], &mut self.outer, &mut self.inner.session);
                if stream.flush(&self.web, &mut self.outer, &mut self.inner.session) {
                    *place = None;
                }
            }
        }
    }

    // --- Requests ---

    fn on_request(&mut self, key: StreamKey, fields: &FieldList, ends: bool, now: Instant) {
        let seen = Seen::of(fields);
        let kind = seen.content_type.and_then(web_type).filter(|_| seen.method == b"POST");
        if let Some(kind) = kind {
            let Some(allowed) = self.allow(&seen) else {
                return self.answer(key, &HttpResponse::text(403, FOREIGN_ORIGIN), false);
            };
            let mut call = Call::empty();
            call.begin(kind, allowed, seen.timeout, now);
            let mut list = self.inner.session.take_fields();
            begin_request(seen.path, seen.authority, self.is_secure, kind.subtype, &mut list);
            for field in fields {
                if !field.name.starts_with(b":") && !is_hop(field.name) {
                    list.push(field.name, field.value);
                }
            }
            return self.open(key, Kind::Web(Box::new(call)), list, ends, now);
        }
        if seen.method == b"OPTIONS" && seen.method_asked && seen.origins > 0 {
            return self.answer_preflight(key, &seen);
        }
        // Gateways know no better than the server what else gRPC is.
        let is_grpc = seen.content_type.is_some_and(|kind| {
            kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
        });
        if is_grpc && seen.method == b"POST" {
            let mut list = self.inner.session.take_fields();
            list.extend_from(fields);
            return self.open(key, Kind::Grpc, list, ends, now);
        }
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or("");
        let source: &dyn FieldSource = fields;
        let request =
            HttpRequest { method: text(seen.method), target: text(seen.path), fields: source };
        let response = self.web.answer(&request);
        self.answer(key, &response, seen.method == b"HEAD");
    }

    fn open(&mut self, key: StreamKey, kind: Kind, list: FieldList, ends: bool, now: Instant) {
        let Ok(inner) = self.inner.session.open(list, now) else {
            // Nothing was processed: the client may call again, elsewhere.
            return self.outer.reset(key, ErrorCode::REFUSED_STREAM);
        };
        if self.streams.len() <= key.index() {
            self.streams.resize_with(key.index() + 1, || None);
        }
        if self.outer_of.len() <= inner.index() {
            self.outer_of.resize(inner.index() + 1, usize::MAX);
        }
        self.outer_of[inner.index()] = key.index();
        self.streams[key.index()] = Some(Stream::new(key, inner, kind));
        if ends {
            self.on_end(key);
        }
    }

    fn on_data(&mut self, key: StreamKey, data: &[u8]) {
        let Self { streams, outer, inner, .. } = self;
        match streams.get_mut(key.index()).and_then(Option::as_mut) {
            Some(stream) if stream.outer() == key => stream.feed(data, outer, &mut inner.session),
            // Its answer is on its way.
            _ => outer.consume(key, data.len() as u32),
        }
    }

    fn on_end(&mut self, key: StreamKey) {
        let Self { streams, outer, inner, .. } = self;
        if let Some(stream) = streams.get_mut(key.index()).and_then(Option::as_mut)
            && stream.outer() == key
        {
            stream.end();
            stream.feed(&[], outer, &mut inner.session);
        }
    }

    fn drop_stream(&mut self, key: StreamKey) {
        if let Some(place) = self.streams.get_mut(key.index())
            && let Some(stream) = place.take_if(|stream| stream.outer() == key)
            && let Some(inner) = stream.inner()
        {
            self.inner.session.release(inner);
        }
    }

    // --- Answers of this layer ---

    fn allow<'a>(&self, seen: &Seen<'a>) -> Option<crate::cors::Allowed<'a>> {
        match seen.origins {
            0 | 1 => self.web.allow(seen.origin, seen.authority),
            _ => None,
        }
    }

    fn answer_preflight(&mut self, key: StreamKey, seen: &Seen<'_>) {
        let Some(allowed) = self.allow(seen) else {
            return self.answer(key, &HttpResponse::text(403, FOREIGN_ORIGIN), false);
        };
        let mut list = self.outer.take_fields();
        list.push_known(Token::Status, b"204");
        let requested = seen.headers_asked.unwrap_or_default();
        push_preflight(allowed, self.web.policy(), requested, |name, value| list.push(name, value));
        // An error means that the stream is over.
        let _ = self.outer.respond(key, list);
        let _ = self.outer.finish(key, None);
        self.outer.release(key);
    }

    fn answer(&mut self, key: StreamKey, response: &HttpResponse, is_head: bool) {
        let mut list = self.outer.take_fields();
        list.push_known(Token::Status, response.status.to_string().as_bytes());
        for (name, value) in &response.fields {
            list.push(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        }
        let has_body = !matches!(response.status, 204 | 304);
        if has_body {
            list.push_known(Token::ContentLength, response.body.len().to_string().as_bytes());
        }
        // An error means that the stream is over.
        let _ = self.outer.respond(key, list);
        if has_body && !is_head {
            let _ = self.outer.write(key, &response.body);
        }
        let _ = self.outer.finish(key, None);
        self.outer.release(key);
    }

    // --- The connection ---

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.outer.poll_timeout().into_iter().chain(self.inner.poll_timeout()).min()
    }

    pub(crate) fn note_delivery(&mut self, now: Instant) {
        self.outer.note_delivery(now);
    }

    pub(crate) fn close_read(&mut self) {
        self.outer.close_read();
    }

    pub(crate) fn shutdown(&mut self, now: Instant) {
        self.ended = true;
        self.outer.shutdown(now);
        self.inner.shutdown(now);
    }

    pub(crate) fn abort(&mut self, now: Instant) {
        self.outer.close(ErrorCode::NO_ERROR);
        self.inner.abort(now);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.outer.is_drained()
    }

    pub(crate) fn is_trimmed(&self) -> bool {
        self.outer.occupied() == 0 && self.inner.is_trimmed()
    }

    pub(crate) fn endpoint(&mut self) -> &mut E {
        self.inner.endpoint()
    }

    /// Heap bytes of this layer, without the server's endpoint.
    pub(crate) fn heap_bytes(&self) -> usize {
        let streams: usize = self.streams.iter().flatten().map(Stream::heap_bytes).sum();
        self.outer.heap_bytes()
            + self.inner.heap_bytes()
            + self.streams.capacity() * size_of::<Option<Stream>>()
            + self.outer_of.capacity() * size_of::<usize>()
            + streams
    }
}

pub(crate) const FOREIGN_ORIGIN: &str =
    "pages of this origin may not call here; allow it in the server's Cors\n";

impl FieldSource for FieldList {
    fn find(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|field| field.name == name.as_bytes()).map(|field| field.value)
    }
}

/// The fields of a request that decide what becomes of it.
#[derive(Default)]
struct Seen<'a> {
    method: &'a [u8],
    path: &'a [u8],
    authority: &'a [u8],
    content_type: Option<&'a [u8]>,
    timeout: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    origins: usize,
    method_asked: bool,
    headers_asked: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    fn of(fields: &'a FieldList) -> Self {
        let mut seen = Seen::default();
        for field in fields {
            match field.name {
                b":method" => seen.method = field.value,
                b":path" => seen.path = field.value,
                b":authority" => seen.authority = field.value,
                b"host" if seen.authority.is_empty() => seen.authority = field.value,
                b"content-type" => seen.content_type = Some(field.value),
                b"grpc-timeout" => seen.timeout = Some(field.value),
                b"origin" => {
                    seen.origin = Some(field.value);
                    seen.origins += 1;
                }
                b"access-control-request-method" => seen.method_asked = true,
                b"access-control-request-headers" => seen.headers_asked = Some(field.value),
                _ => {}
            }
        }
        seen
    }
}
