//! Stopping servers, from any thread.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::{Host, LocalFuture};

/// The longest grace: timers do not take more than that.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A server's end of a [`Stopper`]; each server needs a clone of its own.
pub struct Stop {
    shared: Arc<Mutex<StopState>>,
    /// Identifies the clone: each has at most one waker waiting, however many connections come and go.
    id: u64,
}

/// Stops servers, from any thread.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Mutex<StopState>>,
}

#[derive(Default)]
struct StopState {
    /// When the grace is over, once the stop has begun.
    until: Option<Instant>,
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
    ///
    /// Once more, it can shorten the time that is left, and not lengthen it: `stop(Duration::ZERO)` ends a drain.
    pub fn stop(&self, grace: Duration) {
        let until = Instant::now() + grace.min(LONGEST);
        let mut state = lock(&self.shared);
        state.until = Some(state.until.map_or(until, |known| known.min(until)));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            // The program's code, which must not keep the others from being woken.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl Stop {
    /// Whether the stop has begun.
    pub fn has_begun(&self) -> bool {
        lock(&self.shared).until.is_some()
    }

    /// Waits for so long, or until the stop begins.
    pub async fn wait_within(&self, span: Duration, host: &dyn Host) {
        let mut over = host.timer(host.now() + span);
        poll_fn(|cx| match self.poll_until(cx) {
            Some(_) => Poll::Ready(()),
            None => over.as_mut().poll(cx),
        })
        .await;
    }

    /// Waits until the grace is over, as long as that then is.
    pub(super) async fn grace_is_over(&self, host: &dyn Host) {
        let mut timer: Option<(Instant, LocalFuture<()>)> = None;
        poll_fn(|cx| {
            let until = self.poll_until(cx).unwrap_or_else(Instant::now);
            let known = timer.take_if(|(at, _)| *at == until);
            let (_, timer) = timer.insert(known.unwrap_or_else(|| {
                let left = until.saturating_duration_since(Instant::now());
                (until, host.timer(host.now() + left))
            }));
            timer.as_mut().poll(cx)
        })
        .await;
    }

    /// When the grace is over, if the stop has begun; `cx` is woken when that changes.
    pub fn poll_until(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut state = lock(&self.shared);
        let known = state.waiting.iter_mut().find(|(id, _)| *id == self.id);
        match known {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((self.id, cx.waker().clone())),
        }
        state.until
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
        f.debug_struct("Stop").field("begun", &self.has_begun()).finish()
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
