//! Accepting connections until told to stop.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_service::drive::{Phase, drive};
use grpc_service::{Peer, Server};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelHandle, Canceller, Split};
use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::group::Group;
use crate::socket::Socket;

/// First and longest wait after an accept that failed for want of resources (EMFILE and the like).
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A listening socket.
pub trait Listener: 'static {
    /// What is accepted.
    type Stream: AsyncReadRent + AsyncWriteRent + Split + AsRawFd + 'static;

    /// Accepts one connection; ended early through `cancel` only, because a dropped accept can lose a socket.
    fn accept(
        &self,
        cancel: CancelHandle,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self, cancel: CancelHandle) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = self.cancelable_accept(cancel).await?;
        // Frames leave when they are made: what belongs together is written together.
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Inet(address)))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self, cancel: CancelHandle) -> io::Result<(UnixStream, Peer)> {
        let (stream, address) = self.cancelable_accept(cancel).await?;
        Ok((stream, Peer::Unix(address.as_pathname().map(PathBuf::from))))
    }
}

/// A Unix socket that listens at `path`, which must not exist; to be used on a thread that runs monoio.
///
/// monoio's own `bind` asks for SO_REUSEPORT, which Unix sockets refuse, and leaves the socket blocking on epoll, where
/// the first accept would hold the whole thread.
///
/// # Errors
/// Those of the system.
pub fn listen_unix(path: impl AsRef<Path>) -> io::Result<UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(monoio::utils::is_legacy())?;
    UnixListener::from_std(listener)
}

/// Serves connections from `listener` on this thread until `stop`.
///
/// Then each connection is told to go (GOAWAY), its calls in flight go on for the grace period that `stop` names, and
/// what is left is cut off. Returns when the last connection is gone.
pub async fn serve<L: Listener>(listener: L, server: &Server, stop: Stop) {
    let group = Group::new();
    let mut backoff = BACKOFF_MIN;
    while !stop.is_told() {
        match accept_until(&listener, &stop).await {
            Ok((stream, peer)) => {
                backoff = BACKOFF_MIN;
                let host = Rc::clone(server.host());
                monoio::spawn(drive(server.accept(peer), Socket(stream), host, group.join()));
            }
            // The peer went away while it stood in line.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) if stop.is_told() => {}
            Err(_) => {
                // Descriptors or memory are short, which more attempts do not mend.
                monoio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
    drop(listener);
    group.enter(Phase::Drain);
    let empty = poll_fn(|cx| if group.is_empty(cx) { Poll::Ready(()) } else { Poll::Pending });
    if monoio::time::timeout(stop.grace(), empty).await.is_err() {
        group.enter(Phase::Abort);
        poll_fn(|cx| if group.is_empty(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Accepts one connection, or is cancelled by `stop`.
async fn accept_until<L: Listener>(listener: &L, stop: &Stop) -> io::Result<(L::Stream, Peer)> {
    let canceller = Canceller::new();
    let mut accepting = pin!(listener.accept(canceller.handle()));
    let mut canceller = Some(canceller);
    poll_fn(|cx| {
        if stop.poll_told(cx)
            && let Some(canceller) = canceller.take()
        {
            canceller.cancel();
        }
        accepting.as_mut().poll(cx)
    })
    .await
}

/// A server's end of a [`Stopper`]; each server needs a clone of its own.
pub struct Stop {
    shared: Arc<Mutex<StopState>>,
    /// Tells the clones apart: each has at most one waker waiting, however many connections come and go.
    id: u64,
}

/// Tells servers to stop, from any thread.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Mutex<StopState>>,
}

#[derive(Default)]
struct StopState {
    grace: Option<Duration>,
    ids: u64,
    waiting: Vec<(u64, Waker)>,
}

/// A switch that stops servers, and what they hold of it.
pub fn stopper() -> (Stopper, Stop) {
    let shared = Arc::default();
    (Stopper { shared: Arc::clone(&shared) }, Stop { shared, id: 0 })
}

fn lock(shared: &Mutex<StopState>) -> MutexGuard<'_, StopState> {
    // Nothing panics under the lock.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stopper {
    /// Stops: no new connections and calls; those in flight have `grace` to finish.
    pub fn stop(&self, grace: Duration) {
        let mut state = lock(&self.shared);
        state.grace.get_or_insert(grace);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

impl Stop {
    fn is_told(&self) -> bool {
        lock(&self.shared).grace.is_some()
    }

    fn grace(&self) -> Duration {
        lock(&self.shared).grace.unwrap_or_default()
    }

    /// Whether it is time; otherwise `cx` is woken then.
    fn poll_told(&self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.shared);
        if state.grace.is_some() {
            return true;
        }
        let known = state.waiting.iter_mut().find(|(id, _)| *id == self.id);
        match known {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((self.id, cx.waker().clone())),
        }
        false
    }
}

impl Clone for Stop {
    fn clone(&self) -> Self {
        let mut state = lock(&self.shared);
        state.ids += 1;
        Self { shared: Arc::clone(&self.shared), id: state.ids }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        lock(&self.shared).waiting.retain(|(id, _)| *id != self.id);
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("told", &self.is_told()).finish()
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
