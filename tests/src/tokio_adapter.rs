//! A second runtime: tokio's sockets and timers, on a `LocalSet`.
//!
//! This file is the whole adapter, and what `docs/embedding.md` refers to.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::drive::Progress;
use grpc_service::{
    ClientConnection, ConnectError, Connector, Endpoint, Host, LocalFuture, OUT_MARK, Peer, Server,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{Sleep, sleep_until};

/// Time without progress for the last output of a graceful end, and for all of it.
const FLUSH: Duration = Duration::from_secs(60);
const FLUSH_IN_ALL: Duration = Duration::from_secs(600);
/// Time for the last output of a connection that failed; and for the peer to close its side, which begins anew with all that
/// it sends after a graceful end.
const LINGER: Duration = Duration::from_secs(1);
/// Time for lingering after a graceful end, whatever the peer sends, and most bytes that are discarded.
const LINGER_IN_ALL: Duration = Duration::from_secs(30);
const LINGER_BYTES: usize = 16 << 20;
/// First and longest wait after an accept that failed for want of descriptors or memory.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Time, tasks and entropy from tokio and the system.
#[derive(Debug)]
pub struct TokioHost {
    origin: tokio::time::Instant,
}

impl TokioHost {
    /// A host; the clocks of all begin together.
    pub fn shared() -> Rc<dyn Host> {
        static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
        Rc::new(Self { origin: *ORIGIN.get_or_init(tokio::time::Instant::now) })
    }
}

impl Host for TokioHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        Box::pin(sleep_until(self.origin + (at - Instant::ZERO)))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        spawn_local(task);
    }

    fn entropy(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }
}

/// One connection: a socket, an endpoint, and what lies between them.
struct Line<E> {
    end: E,
    stream: TcpStream,
    host: Rc<dyn Host>,
    input: Vec<u8>,
    /// What of `input` was consumed.
    taken: usize,
    out: Transmit,
    timer: Pin<Box<Sleep>>,
    /// What the peer takes of a write that is slow.
    progress: Progress,
    /// The end is graceful.
    graceful: bool,
    /// When waiting for the peer ends, once the endpoint is done, unless the peer makes progress before.
    until: Instant,
    /// When waiting for the peer ends whatever it does.
    last: Instant,
    /// Bytes that may still be read and discarded after the end.
    discardable: usize,
    /// Our side of the socket is closed.
    shut: bool,
}

impl<E: Endpoint> Line<E> {
    fn new(end: E, stream: TcpStream, host: Rc<dyn Host>) -> Self {
        Self {
            end,
            stream,
            host,
            input: Vec::new(),
            taken: 0,
            out: Transmit::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            progress: Progress::new(),
            graceful: false,
            until: Instant::NEVER,
            last: Instant::NEVER,
            discardable: LINGER_BYTES,
            shut: false,
        }
    }

    /// Drives the endpoint until it is done and its last output is delivered, or the peer does not take it.
    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        poll_fn(|cx| self.poll_leave(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.host.now();
            if self.look(now) {
                self.end.note_delivery(now);
            }
            let mut rest = &self.input[self.taken..];
            let driven = self.end.drive(&mut rest, &mut self.out, cx, now);
            self.taken = self.input.len() - rest.len();
            if driven.is_err() || self.end.is_drained() {
                self.graceful = matches!(driven, Ok(()) | Err(ConnectionError::Drained));
                self.last = now + if self.graceful { FLUSH_IN_ALL } else { LINGER };
                self.until = self.last.min(now + FLUSH);
                return Poll::Ready(());
            }
            let wrote = !self.out.is_empty();
            let written = self.poll_write(cx);
            // Both new input and a completed write are reasons to drive once more.
            let read = self.poll_read(cx);
            if read.is_pending() && !(wrote && written.is_ready()) {
                // Only where output is full does the endpoint wait for the write.
                if self.out.len() >= OUT_MARK || self.taken < self.input.len() {
                    self.progress.watch(|| unacknowledged(&self.stream), now);
                }
                let look = self.progress.next_look();
                let at = self.end.poll_timeout().map_or(look, |at| at.min(look));
                if self.poll_timer(cx, at).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Writes what is left, closes our side, and reads until the peer has closed its own or sends no more: a socket that
    /// is closed while something still comes is reset, and what has not left it yet is lost.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.host.now();
        if self.look(now) && self.graceful {
            self.until = self.last.min(now + FLUSH);
        }
        if self.poll_write(cx).is_pending() {
            self.progress.watch(|| unacknowledged(&self.stream), now);
        } else if !self.shut {
            // Where it fails there is no peer to wait for, which the next read reports.
            let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
            self.shut = true;
            if self.graceful {
                self.last = now + LINGER_IN_ALL;
            }
            self.until = self.last.min(now + LINGER);
        }
        loop {
            let look = self.progress.next_look();
            if self.poll_timer(cx, self.until.min(look)).is_ready() {
                if self.host.now() >= self.until {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.discardable > 0 {
                // No call is left for what still comes.
                self.taken = self.input.len();
                ready!(self.poll_read(cx));
            }
            if self.discardable == 0 || self.input.is_empty() {
                // The peer has closed, or has sent too much; it may still want to read the last output.
                return if self.shut { Poll::Ready(()) } else { Poll::Pending };
            }
            self.discardable = self.discardable.saturating_sub(self.input.len());
            if self.shut {
                self.until = self.last.min(self.host.now() + LINGER);
            }
        }
    }

    /// Whether the peer has taken a part of a write that is slow.
    fn look(&mut self, now: Instant) -> bool {
        self.progress.look(|| unacknowledged(&self.stream), now)
    }

    /// Writes all that there is.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.out.is_empty() {
            let chunk = self.out.chunks().next().unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, chunk));
            match written {
                Ok(bytes @ 1..) => {
                    self.progress.rest();
                    self.out.advance(bytes);
                }
                _ => {
                    self.out.clear();
                    self.end.close_read(self.host.now());
                }
            }
        }
        Poll::Ready(())
    }

    /// Reads once, if all that was read before is consumed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken < self.input.len() {
            return Poll::Pending;
        }
        self.input.resize(64 << 10, 0);
        self.taken = self.input.len();
        let mut buffer = ReadBuf::new(&mut self.input);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        let filled = buffer.filled().len();
        self.input.truncate(filled);
        self.taken = 0;
        if read.is_err() || filled == 0 {
            self.end.close_read(self.host.now());
        }
        Poll::Ready(())
    }

    /// Completes at `at`.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if at == Instant::NEVER {
            return Poll::Pending;
        }
        let now = self.host.now();
        if now >= at {
            // The timer's own steps are a millisecond: set to now, it would never be due.
            return Poll::Ready(());
        }
        self.timer.as_mut().reset(tokio::time::Instant::now() + (at - now));
        self.timer.as_mut().poll(cx)
    }
}

/// Bytes that were written to a socket and that the peer's system has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which Linux also calls TIOCOUTQ, writes one int to the address that it is given, which is that of a
    // local variable; the stream holds its descriptor open.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).ok() } else { None }
}

/// Connects over TCP.
pub struct TokioConnector {
    /// What connections run on.
    pub host: Rc<dyn Host>,
}

impl Connector for TokioConnector {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let (address, host) = (address.to_owned(), Rc::clone(&self.host));
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await;
            let stream = stream.map_err(|error| ConnectError::new(error.to_string()))?;
            spawn_local(Line::new(connection, stream, host).run());
            Ok(())
        })
    }
}

/// Serves what comes to a listener, for ever.
pub async fn serve(listener: TcpListener, server: Server) {
    let mut backoff = BACKOFF.0;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                backoff = BACKOFF.0;
                let connection = server.accept(Peer::from(address));
                spawn_local(Line::new(connection, stream, Rc::clone(server.host())).run());
            }
            // The peer left before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Descriptors or memory are short, which more attempts do not mend.
                server.accept_failed(&error, backoff);
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }
}
