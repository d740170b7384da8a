//! The gRPC server behind this layer: an endpoint of HTTP/2, spoken to in memory.

use std::task::Context;
use std::time::Duration;

use grpc_proto::http2::{Event, Session, Side};
use grpc_proto::{Config, ConnectionError, Instant, Limits, Transmit};
use grpc_service::{Endpoint, OUT_MARK};

/// An endpoint and the client's end of its connection.
///
/// ```text
///   requests ──> session ── to ──> endpoint (handlers)
///   events   <── session <─ from ──┘
/// ```
///
/// Both ends are in one place, so no timer waits for the other one: those of the session are off.
pub(crate) struct Inner<E> {
    pub(crate) session: Session,
    endpoint: E,
    to: Transmit,
    from: Transmit,
    /// The connection is over.
    is_over: bool,
}

/// For ever, as far as anybody waits.
const FOREVER: Duration = Duration::from_secs(1 << 40);

/// What the client's end may take of a response before it has been written to the peer: the window of a stream.
pub(crate) const WINDOW: u32 = 65_535;

fn config() -> Config {
    let mut limits = Limits::default();
    limits.stream_window = WINDOW;
    limits.send_stall_timeout = FOREVER;
    limits.settings_timeout = FOREVER;
    limits.settings_ack_timeout = FOREVER;
    limits.progress_timeout = FOREVER;
    Config::new(limits).expect("the defaults with other times are consistent")
}

impl<E: Endpoint> Inner<E> {
    pub(crate) fn new(endpoint: E, now: Instant) -> Self {
        // Nothing is to differ between connections that nobody else sees.
        let session = Session::new(Side::Client, &config(), 0, now);
        Inner { session, endpoint, to: Transmit::new(), from: Transmit::new(), is_over: false }
    }

    /// Lets both ends go on until neither has anything for the other; `on_event` takes what the server says.
    pub(crate) fn exchange(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        mut on_event: impl FnMut(&mut Session, Event, &[u8]),
    ) {
        let mut is_full = true;
        while !self.is_over {
            if self.to.is_empty() {
                self.session.poll_transmit(&mut self.to, now);
            }
            if self.to.is_empty() && !is_full {
                return;
            }
            let driven = self.drive(cx, now);
            is_full = self.from.len() >= OUT_MARK;
            let read = self.read(now, &mut on_event);
            if driven.is_err() || read.is_err() || self.endpoint.is_drained() {
                self.end(now, &mut on_event);
            }
        }
    }

    /// Hands the endpoint what the session has sent, as far as it takes it.
    fn drive(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), ConnectionError> {
        let Self { endpoint, to, from, .. } = self;
        if to.is_empty() {
            return endpoint.drive(&mut &[][..], from, cx, now);
        }
        let mut taken = 0;
        let mut driven = Ok(());
        for chunk in to.chunks() {
            let mut rest = chunk;
            driven = endpoint.drive(&mut rest, from, cx, now);
            taken += chunk.len() - rest.len();
            if driven.is_err() || !rest.is_empty() {
                break;
            }
        }
        to.advance(taken);
        driven
    }

    /// Takes what the endpoint has made.
    fn read(
        &mut self,
        now: Instant,
        on_event: &mut impl FnMut(&mut Session, Event, &[u8]),
    ) -> Result<(), ConnectionError> {
        let Self { session, to, from, .. } = self;
        let mut read = Ok(());
        // Once without input too: time passes.
        for chunk in from.chunks().chain([&[][..]]) {
            let mut rest = chunk;
            loop {
                let before = rest.len();
                while let Some(event) = session.poll(&mut rest, now).unwrap_or_else(|error| {
                    read = Err(error);
                    None
                }) {
                    let data = match event {
                        Event::Data(_) => session.take_data(&mut rest, usize::MAX),
                        _ => &[],
                    };
                    on_event(session, event, data);
                }
                if rest.is_empty() || read.is_err() {
                    break;
                }
                // Input is left where replies have to be pulled first.
                let pulled = to.len();
                session.poll_transmit(to, now);
                if rest.len() == before && to.len() == pulled {
                    break;
                }
            }
        }
        from.clear();
        read
    }

    /// The connection is over: calls that are open end with it.
    fn end(&mut self, now: Instant, on_event: &mut impl FnMut(&mut Session, Event, &[u8])) {
        self.is_over = true;
        self.session.close_read();
        while let Ok(Some(event)) = self.session.poll(&mut &[][..], now) {
            on_event(&mut self.session, event, &[]);
        }
    }

    /// Whether a call can be begun.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_over && self.session.refusal().is_none()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        self.endpoint.poll_timeout().into_iter().chain(self.session.poll_timeout()).min()
    }

    pub(crate) fn shutdown(&mut self, now: Instant) {
        self.endpoint.shutdown(now);
    }

    pub(crate) fn close_read(&mut self, now: Instant) {
        self.endpoint.close_read(now);
    }

    pub(crate) fn abort(&mut self, now: Instant) {
        self.endpoint.abort(now);
    }

    /// Gives memory back where no call has run for a while; says whether that is so.
    pub(crate) fn trim(&mut self) -> bool {
        let is_trimmed = self.endpoint.is_trimmed();
        if is_trimmed {
            self.to.shrink(0);
            self.from.shrink(0);
        }
        is_trimmed
    }

    pub(crate) fn is_trimmed(&self) -> bool {
        self.endpoint.is_trimmed()
    }

    pub(crate) fn endpoint(&mut self) -> &mut E {
        &mut self.endpoint
    }

    /// Heap bytes of this layer's own part.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.session.heap_bytes() + self.to.heap_bytes() + self.from.heap_bytes()
    }
}
