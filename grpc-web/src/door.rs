//! The door: which protocol a connection speaks, by its first bytes.

use std::task::Context;

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::{Endpoint, Peer, Server, ServerConnection};

use crate::http1::Http1;
use crate::http2::Gateway;
use crate::options::Web;

/// How the client's preface of HTTP/2 begins (RFC 9113 §3.4); no method of HTTP begins so (RFC 9110 §16.1.1).
const PREFACE: &[u8; 3] = b"PRI";

/// An endpoint that speaks HTTP/2, or gRPC-Web and plain HTTP over HTTP/1.1, as its peer does.
///
/// ```text
///               ┌─ "PRI" ──> the server's endpoint, which sees every byte
///   received ───┤
///               └─ other ──> HTTP/1.1 ──> translation ──> the server's endpoint
/// ```
///
/// `make` makes the server's endpoint: at once for HTTP/2, and with the first call for HTTP/1.1. A connection of HTTP/2
/// costs one comparison a turn. What is neither, such as TLS, goes to the server's endpoint, which knows how to answer it.
pub struct WebEndpoint<E, M> {
    stage: Stage<E, M>,
}

enum Stage<E, M> {
    /// Less than three bytes have come, all of them as in the preface.
    Door {
        make: M,
        web: Web,
        seen: usize,
        deadline: Instant,
        wrap: Option<Wrap<E>>,
    },
    Http2(E),
    /// HTTP/2 that may carry gRPC-Web.
    Gateway(Box<Gateway<E>>),
    Http1(Box<Http1<E, M>>),
    Over,
}

impl Web {
    /// A connection that was accepted from `peer`: behind TLS ALPN has chosen its protocol, and without TLS its first bytes
    /// tell. For adapters.
    ///
    /// A client that offers `http/1.1` beside `h2` is a browser, as far as can be known: its connection of HTTP/2 may carry
    /// gRPC-Web. One that offers `h2` alone speaks gRPC.
    pub fn accept(
        &self,
        server: &Server,
        peer: Peer,
    ) -> WebEndpoint<ServerConnection, impl FnOnce() -> ServerConnection + use<>> {
        let alpn = peer.tls().map(|tls| match (tls.http2, tls.offers_http1) {
            (true, false) => Alpn::Http2,
            (true, true) => Alpn::Both,
            (false, _) => Alpn::Http1,
        });
        let (owner, now) = (server.clone(), server.host().now());
        let entropy = server.host().entropy();
        let make = move || owner.accept(peer);
        match alpn {
            Some(Alpn::Http2) => WebEndpoint { stage: Stage::Http2(make()) },
            Some(Alpn::Both) => {
                let gateway = gateway(self, true, make(), entropy, now);
                WebEndpoint { stage: Stage::Gateway(Box::new(gateway)) }
            }
            Some(Alpn::Http1) => {
                let http1 = Http1::new(self.clone(), true, make, &[], now);
                WebEndpoint { stage: Stage::Http1(Box::new(http1)) }
            }
            None => {
                let wrap: Wrap<ServerConnection> = (gateway, entropy);
                let wrap = self.http2_without_tls.then_some(wrap);
                let deadline = now + self.limits.head_timeout;
                let web = self.clone();
                WebEndpoint { stage: Stage::Door { make, web, seen: 0, deadline, wrap } }
            }
        }
    }
}

/// Makes a gateway of a server's endpoint, and the entropy for it.
type Wrap<E> = (fn(&Web, bool, E, u64, Instant) -> Gateway<E>, u64);

/// What a client has offered by ALPN and a server has chosen (RFC 7301).
enum Alpn {
    /// `h2`, offered alone.
    Http2,
    /// `h2`, offered beside `http/1.1`.
    Both,
    /// `http/1.1`, or nothing.
    Http1,
}

/// A connection of HTTP/2 that may carry gRPC-Web, before one of the server.
fn gateway(
    web: &Web,
    is_secure: bool,
    connection: ServerConnection,
    entropy: u64,
    now: Instant,
) -> Gateway<ServerConnection> {
    let limits = connection.protocol().session().limits().clone();
    Gateway::new(web.clone(), is_secure, &limits, connection, entropy, now)
        .expect("the limits of a connection are consistent, without its ages too")
}

impl<E: Endpoint, M: FnOnce() -> E> WebEndpoint<E, M> {
    /// A connection that was accepted at `now`, without TLS.
    pub fn new(web: &Web, make: M, now: Instant) -> Self {
        let deadline = now + web.limits.head_timeout;
        let stage = Stage::Door { make, web: web.clone(), seen: 0, deadline, wrap: None };
        WebEndpoint { stage }
    }

    /// The server's endpoint, once there is one.
    pub fn inner(&mut self) -> Option<&mut E> {
        match &mut self.stage {
            Stage::Http2(inner) => Some(inner),
            Stage::Gateway(gateway) => Some(gateway.endpoint()),
            Stage::Http1(http1) => http1.inner(),
            Stage::Door { .. } | Stage::Over => None,
        }
    }

    /// Heap bytes of this layer, without the server's endpoint.
    pub fn heap_bytes(&self) -> usize {
        match &self.stage {
            Stage::Http1(http1) => size_of::<Http1<E, M>>() + http1.heap_bytes(),
            Stage::Gateway(gateway) => size_of::<Gateway<E>>() + gateway.heap_bytes(),
            Stage::Door { .. } | Stage::Http2(_) | Stage::Over => 0,
        }
    }

    /// Looks at the first bytes.
    #[cold]
    fn enter(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Stage::Door { seen, deadline, .. } = &mut self.stage else { return Ok(()) };
        let begun = *seen;
        let (matched, differs) = match_preface(begun, input);
        if matched < PREFACE.len() && !differs {
            *input = &[];
            *seen = matched;
            if now >= *deadline {
                self.stage = Stage::Over;
            }
            return Ok(());
        }
        let before = &PREFACE[..begun];
        let first = before.first().or(input.first()).copied().unwrap_or_default();
        let Stage::Door { make, web, wrap, .. } = std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return Ok(());
        };
        // A request begins with a method, which is a token, or with an empty line.
        if differs && (crate::cors::is_token(&[first]) || first == b'\r' || first == b'\n') {
            let mut http1 = Box::new(Http1::new(web, false, make, before, now));
            let driven = http1.turn(input, out, cx, now);
            self.stage = Stage::Http1(http1);
            return driven;
        }
        let mut inner = make();
        let mut replayed = before;
        if let Some((wrap, entropy)) = wrap {
            let mut gateway = Box::new(wrap(&web, false, inner, entropy, now));
            let driven = gateway.turn(&mut replayed, out, cx, now);
            let driven = driven.and_then(|()| gateway.turn(input, out, cx, now));
            self.stage = Stage::Gateway(gateway);
            return driven;
        }
        let driven = inner
            .drive(&mut replayed, out, cx, now)
            .and_then(|()| inner.drive(input, out, cx, now));
        self.stage = Stage::Http2(inner);
        driven
    }
}

/// How many bytes of the preface have come with `input`, of which `seen` came before; and whether another one has come.
fn match_preface(seen: usize, input: &[u8]) -> (usize, bool) {
    let same = PREFACE[seen..].iter().zip(input).take_while(|(a, b)| a == b).count();
    (seen + same, same < input.len() && seen + same < PREFACE.len())
}

impl<E: Endpoint, M: FnOnce() -> E> Endpoint for WebEndpoint<E, M> {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        match &mut self.stage {
            Stage::Http2(inner) => inner.drive(input, out, cx, now),
            Stage::Http1(http1) => http1.turn(input, out, cx, now),
            Stage::Gateway(gateway) => gateway.turn(input, out, cx, now),
            Stage::Door { .. } => self.enter(input, out, cx, now),
            Stage::Over => {
                *input = &[];
                Ok(())
            }
        }
    }

    fn drive_in_place(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Transmit,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if let Stage::Http2(inner) = &mut self.stage {
            return inner.drive_in_place(input, out, cx, now);
        }
        let mut rest: &[u8] = input;
        let driven = self.drive(&mut rest, out, cx, now);
        let taken = input.len() - rest.len();
        *input = &mut std::mem::take(input)[taken..];
        driven
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Door { deadline, .. } => Some(*deadline),
            Stage::Http2(inner) => inner.poll_timeout(),
            Stage::Http1(http1) => http1.poll_timeout(),
            Stage::Gateway(gateway) => gateway.poll_timeout(),
            Stage::Over => None,
        }
    }

    fn note_delivery(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Http2(inner) => inner.note_delivery(now),
            Stage::Http1(http1) => http1.note_delivery(),
            Stage::Gateway(gateway) => gateway.note_delivery(now),
            Stage::Door { .. } | Stage::Over => {}
        }
    }

    fn close_read(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Http2(inner) => inner.close_read(now),
            Stage::Http1(http1) => http1.close_read(),
            Stage::Gateway(gateway) => gateway.close_read(),
            Stage::Door { .. } | Stage::Over => self.stage = Stage::Over,
        }
    }

    fn shutdown(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Http2(inner) => inner.shutdown(now),
            Stage::Http1(http1) => http1.shutdown(now),
            Stage::Gateway(gateway) => gateway.shutdown(now),
            // Nothing has been asked for.
            Stage::Door { .. } | Stage::Over => self.stage = Stage::Over,
        }
    }

    fn abort(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Http2(inner) => inner.abort(now),
            Stage::Http1(http1) => http1.abort(),
            Stage::Gateway(gateway) => gateway.abort(now),
            Stage::Door { .. } | Stage::Over => self.stage = Stage::Over,
        }
    }

    fn is_drained(&self) -> bool {
        match &self.stage {
            Stage::Http2(inner) => inner.is_drained(),
            Stage::Http1(http1) => http1.is_drained(),
            Stage::Gateway(gateway) => gateway.is_drained(),
            Stage::Door { .. } => false,
            Stage::Over => true,
        }
    }

    fn is_trimmed(&self) -> bool {
        match &self.stage {
            Stage::Http2(inner) => inner.is_trimmed(),
            Stage::Http1(http1) => http1.is_trimmed(),
            Stage::Gateway(gateway) => gateway.is_trimmed(),
            Stage::Door { .. } | Stage::Over => false,
        }
    }

    fn holds_input(&self) -> bool {
        match &self.stage {
            Stage::Http2(inner) => inner.holds_input(),
            Stage::Http1(http1) => http1.holds_input(),
            Stage::Door { .. } | Stage::Gateway(_) | Stage::Over => false,
        }
    }
}

impl<E, M> std::fmt::Debug for WebEndpoint<E, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match &self.stage {
            Stage::Door { .. } => "Door",
            Stage::Http2(_) => "Http2",
            Stage::Http1(_) => "Http1",
            Stage::Gateway(_) => "Gateway",
            Stage::Over => "Over",
        };
        f.debug_struct("WebEndpoint").field("stage", &stage).finish_non_exhaustive()
    }
}
