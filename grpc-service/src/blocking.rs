//! Blocking and CPU-bound work off the threads that serve, for any runtime.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use grpc_proto::{Code, Status};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// Threads for work that blocks or computes for long, which a handler must not do on the thread that serves.
///
/// Clones share the threads, also those on different workers. Threads start when there is work for them, and end after ten
/// seconds without it. When the last clone is gone, work that waits is still done.
///
/// ```
/// # use grpc_service::{BlockingPool, BlockingError};
/// # async fn handler() -> Result<(), grpc_service::Status> {
/// let pool = BlockingPool::new(4, 256);
/// let text = pool.run(|| std::fs::read_to_string("/etc/hostname")).await?;
/// # Ok(()) }
/// ```
///
/// What the work needs moves into it: requests borrow from the arena of their call, so copy that first. In the simulator,
/// where threads would make runs differ, use [`BlockingPool::inline`].
#[derive(Clone)]
pub struct BlockingPool {
    /// None: the work is done where it is handed over.
    handle: Option<Arc<Handle>>,
}

/// Why work was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingError {
    /// As much work waits as may wait: try again later, or make the pool larger.
    Full {
        /// The limit that was reached.
        queued: usize,
    },
    /// No thread could be made, and there is none yet.
    NoThread,
    /// The work panicked with this message. The thread goes on.
    Panicked(String),
}

/// Whether the one that handed the work over still waits for it.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// Whether nobody waits for the output any more: the call was cancelled, or is past its deadline.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The output of work on a [`BlockingPool`]. Dropped before the work has begun, it takes the work out of the queue; afterwards,
/// the work goes on and its output is dropped, unless it looks at [`Cancelled`].
#[must_use = "work whose future is dropped before it has begun is not done"]
pub struct Blocking<T> {
    slot: Arc<Slot<T>>,
    cancelled: Cancelled,
    /// Where the work waits, and under which number.
    place: Option<(Arc<Shared>, u64)>,
}

/// Where the output of work is left, and who waits for it.
struct Slot<T>(Mutex<Place<T>>);

struct Place<T> {
    outcome: Option<Result<T, BlockingError>>,
    waiting: Option<Waker>,
}

type Work = Box<dyn FnOnce() + Send>;

struct Shared {
    threads: usize,
    queued: usize,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(u64, Work)>,
    numbers: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// What all clones of a pool hold.
struct Handle(Arc<Shared>);

impl BlockingPool {
    /// A pool of at most `threads` threads (at least one), for which at most `queued` pieces of work wait.
    ///
    /// For work that waits for a disk or a database, threads are how many may wait at a time; for work that computes, as many
    /// as the processor has cores to spare. A piece of work that waits costs its closure and about 200 bytes.
    pub fn new(threads: usize, queued: usize) -> Self {
        let (state, news) = (Mutex::default(), Condvar::new());
        let shared = Shared { threads: threads.max(1), queued, state, news };
        Self { handle: Some(Arc::new(Handle(Arc::new(shared)))) }
    }

    /// A pool without threads: the work is done where it is handed over, for simulations and tests.
    pub fn inline() -> Self {
        Self { handle: None }
    }

    /// Does `work` on a thread of the pool.
    ///
    /// # Errors
    /// The future's: [`BlockingError::Full`] at once, [`BlockingError::Panicked`] when the work has panicked. Both become a
    /// status by `?` in a handler: RESOURCE_EXHAUSTED and INTERNAL.
    pub fn run<T, F>(&self, work: F) -> Blocking<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.run_cancellable(|_| work())
    }

    /// As [`run`](Self::run), for work that checks from time to time whether its caller still waits.
    pub fn run_cancellable<T, F>(&self, work: F) -> Blocking<T>
    where
        T: Send + 'static,
        F: FnOnce(&Cancelled) -> T + Send + 'static,
    {
        let (slot, cancelled) = (
            Arc::new(Slot(Mutex::new(Place { outcome: None, waiting: None }))),
            Cancelled::default(),
        );
        let (output, seen) = (Arc::clone(&slot), cancelled.clone());
        let work = move || {
            let done = catch_unwind(AssertUnwindSafe(|| work(&seen)));
            output.fill(done.map_err(|panic| BlockingError::Panicked(message_of(&*panic))));
        };
        let mut place = None;
        match &self.handle {
            None => work(),
            Some(handle) => match Shared::push(&handle.0, Box::new(work)) {
                Ok(number) => place = Some((Arc::clone(&handle.0), number)),
                Err(error) => slot.fill(Err(error)),
            },
        }
        Blocking { slot, cancelled, place }
    }

    /// Pieces of work that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.handle.as_ref().map_or(0, |handle| lock(&handle.0.state).waiting.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of the program runs under a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

impl<T> Slot<T> {
    fn fill(&self, outcome: Result<T, BlockingError>) {
        let mut slot = lock(&self.0);
        slot.outcome = Some(outcome);
        let waiting = slot.waiting.take();
        drop(slot);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl Shared {
    /// Queues `work`, and starts a thread for it where one is missing.
    fn push(shared: &Arc<Self>, work: Work) -> Result<u64, BlockingError> {
        let mut state = lock(&shared.state);
        // What an idle thread is about to take does not wait.
        if state.waiting.len() >= shared.queued + state.idle + (shared.threads - state.threads) {
            return Err(BlockingError::Full { queued: shared.queued });
        }
        if state.waiting.len() >= state.idle && state.threads < shared.threads {
            let own = Arc::clone(shared);
            let started =
                thread::Builder::new().name("grpc-blocking".to_owned()).spawn(move || own.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => return Err(BlockingError::NoThread),
                // Those that there are do it.
                Err(_) => {}
            }
        }
        state.numbers += 1;
        let number = state.numbers;
        state.waiting.push_back((number, work));
        drop(state);
        shared.news.notify_one();
        Ok(number)
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some((_, work)) = state.waiting.pop_front() {
                drop(state);
                // The work catches its own panics: this is one of a waker, or of dropping the output.
                let _ = catch_unwind(AssertUnwindSafe(work));
                state = lock(&self.state);
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.news.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.news.notify_all();
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, BlockingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.slot.0);
        if let Some(outcome) = slot.outcome.take() {
            return Poll::Ready(outcome);
        }
        let old = slot.waiting.replace(cx.waker().clone());
        drop(slot);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        self.cancelled.0.store(true, Ordering::Relaxed);
        let Some((shared, number)) = self.place.take() else { return };
        let mut state = lock(&shared.state);
        let place = state.waiting.iter().position(|(waiting, _)| *waiting == number);
        let work = place.and_then(|place| state.waiting.remove(place));
        drop(state);
        drop(work);
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockingError::Full { queued } => {
                write!(f, "{queued} pieces of blocking work wait already; try again later")
            }
            BlockingError::NoThread => {
                f.write_str("no thread for blocking work could be made; raise the limit of threads")
            }
            BlockingError::Panicked(message) => write!(f, "blocking work panicked: {message}"),
        }
    }
}

impl std::error::Error for BlockingError {}

impl From<BlockingError> for Status {
    /// A client does not learn what a panic said.
    fn from(error: BlockingError) -> Status {
        match error {
            BlockingError::Panicked(_) => Status::new(Code::Internal, "blocking work panicked"),
            other => Status::new(Code::ResourceExhausted, other.to_string()),
        }
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
