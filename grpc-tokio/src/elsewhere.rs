//! A thread with a tokio runtime, for programs whose own threads run something else.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;

use grpc_service::{Code, LocalFuture, Status};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_local;

use crate::host::block_on;

/// What a thread is asked to do with its state.
type Job<S> = Box<dyn FnOnce(Rc<S>) -> LocalFuture<()> + Send>;

/// A thread of our own that runs tokio with a state `S` that stays on it, and futures that others send there.
pub(crate) struct Elsewhere<S> {
    jobs: UnboundedSender<Job<S>>,
    /// Bounds what waits and what is under way together: a job holds a permit until it is over.
    places: Arc<Semaphore>,
}

impl<S> Clone for Elsewhere<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), places: Arc::clone(&self.places) }
    }
}

impl<S: 'static> Elsewhere<S> {
    /// Starts the thread, which makes its state first. It ends when all handles are gone and no job is under way.
    pub(crate) fn start<E, F>(name: &str, places: usize, make: F) -> Result<Self, E>
    where
        E: From<io::Error> + Send + 'static,
        F: FnOnce() -> Result<S, E> + Send + 'static,
    {
        let (jobs, receiver) = unbounded_channel();
        let (report, started) = mpsc::channel();
        let failed = report.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let served = block_on(async move {
                match make() {
                    Ok(state) => {
                        let _ = report.send(Ok(()));
                        // It was not waited for if the other end is gone; then there are no handles.
                        drop(report);
                        serve(receiver, state).await;
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            });
            if let Err(error) = served {
                let _ = failed.send(Err(error.into()));
            }
        })?;
        let ended = || E::from(io::Error::other("a thread for tokio ended before it had started"));
        started.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { jobs, places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))) })
    }

    /// Runs the future that `make` makes there, when there is a place. To drop this future drops that one.
    pub(crate) async fn run<T, F, Fut>(self, make: F) -> Result<T, Panicked>
    where
        T: Send + 'static,
        F: FnOnce(Rc<S>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (mut output, receiver) = oneshot::channel();
        let job: Job<S> = Box::new(move |state| {
            Box::pin(async move {
                let _place = place;
                let mut future = pin!(make(state));
                let ended = poll_fn(|cx| {
                    if output.poll_closed(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    future.as_mut().poll(cx).map(Some)
                });
                if let Some(ended) = ended.await {
                    let _ = output.send(ended);
                }
            })
        });
        // The thread lives as long as this handle does.
        let _ = self.jobs.send(job);
        // tokio has printed the panic.
        receiver.await.map_err(|_| Panicked)
    }
}

async fn serve<S: 'static>(mut jobs: UnboundedReceiver<Job<S>>, state: S) {
    let state = Rc::new(state);
    while let Some(job) = jobs.recv().await {
        let state = Rc::clone(&state);
        // Within the task, where a panic ends that task alone.
        spawn_local(async move { job(state).await });
    }
}

/// A thread that runs tokio, for programs and handlers that run on something else and use a library which needs tokio.
///
/// A handle is `Clone + Send + Sync`: one thread serves all workers of a server on `grpc-monoio`, say. The thread ends
/// when all handles are gone and all futures that they were given are over.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokio = grpc_tokio::TokioThread::start(64)?;
/// // On any thread, in any runtime; `block_on` stands for it.
/// let answer = grpc_tokio::block_on(async {
///     tokio.run(|| async {
///         tokio::time::sleep(std::time::Duration::from_millis(1)).await; // a library that needs tokio
///         42
///     }).await
/// })??;
/// assert_eq!(answer, 42);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TokioThread(Elsewhere<()>);

impl TokioThread {
    /// Starts the thread. At most `limit` futures run there at a time; more wait for a place where they were handed over.
    ///
    /// # Errors
    /// There is no thread left, or no descriptors for a runtime.
    pub fn start(limit: usize) -> io::Result<Self> {
        Elsewhere::start("grpc-tokio", limit, || Ok(())).map(Self)
    }

    /// Runs the future that `make` makes on the thread, and completes with its output.
    ///
    /// `make` is called there, so that the future may hold what is not `Send`; what goes in and comes out is. To drop this
    /// future drops the other one.
    ///
    /// # Errors
    /// The future panicked, which no other one notices. In a handler `?` makes INTERNAL of it.
    pub fn run<T, F, Fut>(
        &self,
        make: F,
    ) -> impl Future<Output = Result<T, Panicked>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.0.clone().run(move |_| make())
    }
}

impl fmt::Debug for TokioThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioThread").field("places", &self.0.places.available_permits()).finish()
    }
}

/// A future that was run on another thread panicked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a future panicked on the thread that ran it; the standard error of the program says why")
    }
}

impl std::error::Error for Panicked {}

impl From<Panicked> for Status {
    fn from(_: Panicked) -> Status {
        Status::new(Code::Internal, "a part of the handler panicked on another thread")
    }
}
