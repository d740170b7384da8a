//! The counters of workers, asked for from another thread.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::{Server, ServerStats};

/// Time for a worker to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions that may wait for one worker; further ones get the last counts.
const MOST_WAITING: usize = 64;

/// The counters of a group of workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Those of each worker, in the order of their threads.
    pub workers: Vec<ServerStats>,
    /// Their sum.
    pub total: ServerStats,
}

/// Where other threads ask a worker for its counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The counts of the last answer.
    last: ServerStats,
    waiting: Vec<Sender<ServerStats>>,
    worker: Option<Waker>,
    closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what has been asked; the waker of `cx` is woken when something is.
    pub(super) fn answer(&self, server: &Server, cx: &Context<'_>) {
        let mut state = self.lock();
        match &mut state.worker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if !waiting.is_empty() {
            let stats = server.stats();
            self.lock().last = stats;
            for asker in waiting {
                // One that has given up is gone.
                let _ = asker.send(stats);
            }
        }
    }

    /// The worker ends: its last counts stay.
    pub(super) fn close(&self, stats: ServerStats) {
        let mut state = self.lock();
        (state.last, state.closed) = (stats, true);
        let waiting = std::mem::take(&mut state.waiting);
        let worker = state.worker.take();
        drop(state);
        drop((waiting, worker));
    }

    /// Asks all desks, and waits for their answers.
    pub(super) fn ask(desks: &[Desk]) -> WorkerStats {
        let questions: Vec<_> = desks
            .iter()
            .map(|desk| {
                let (sender, answer) = channel();
                let mut state = desk.lock();
                if !state.closed && state.waiting.len() < MOST_WAITING {
                    state.waiting.push(sender);
                }
                let worker = state.worker.clone();
                drop(state);
                if let Some(worker) = worker {
                    worker.wake();
                }
                answer
            })
            .collect();
        let until = Instant::now() + PATIENCE;
        let mut stats = WorkerStats::default();
        for (desk, answer) in desks.iter().zip(questions) {
            let left = until.saturating_duration_since(Instant::now());
            let counts = answer.recv_timeout(left).unwrap_or_else(|_| desk.lock().last);
            stats.workers.push(counts);
            stats.total += counts;
        }
        stats
    }
}
