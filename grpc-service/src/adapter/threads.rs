//! Threads that serve, and are stopped and asked together.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::stats::{Desk, WorkerStats};
use super::stop::{Stop, Stopper, stopper};
use crate::Server;

/// Threads that serve; for adapters.
#[derive(Debug)]
pub struct Threads {
    stopper: Stopper,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    desks: Vec<Desk>,
}

/// One of the [`Threads`], as seen on it.
#[derive(Debug)]
pub struct Worker {
    report: mpsc::Sender<io::Result<()>>,
    stop: Stop,
    desk: Desk,
}

impl Threads {
    /// No threads yet.
    #[allow(clippy::new_without_default)] // it is made to be filled
    pub fn new() -> Self {
        let (stopper, stop) = stopper();
        Threads { stopper, stop, threads: Vec::new(), desks: Vec::new() }
    }

    /// Starts a thread that runs `serve`, which calls [`Worker::run`]; it serves when this returns.
    ///
    /// # Errors
    /// That of `serve`, or the thread cannot be made. The threads that were started before go on.
    pub fn start<F>(&mut self, serve: F) -> io::Result<()>
    where
        F: FnOnce(Worker) -> io::Result<()> + Send + 'static,
    {
        let desk = Desk::default();
        self.desks.push(desk.clone());
        let (report, started) = mpsc::channel();
        let worker = Worker { report: report.clone(), stop: self.stop.clone(), desk };
        let name = format!("grpc-{}", self.threads.len());
        let thread = thread::Builder::new().name(name).spawn(move || {
            if let Err(error) = serve(worker) {
                // Nobody waits for it once the thread serves.
                let _ = report.send(Err(error));
            }
        })?;
        self.threads.push(thread);
        started.recv().unwrap_or_else(|_| {
            Err(io::Error::other("a worker thread ended before it had started"))
        })
    }

    /// The counters of all threads. One that does not answer within a second is counted as of its last answer.
    pub fn stats(&self) -> WorkerStats {
        Desk::ask(&self.desks)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether none was started.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// A switch that stops the threads from elsewhere.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops: calls in flight have `grace` to finish. Returns when all threads have ended.
    pub fn stop(self, grace: Duration) {
        self.stopper.stop(grace);
        self.wait();
    }

    /// Waits until the threads have been stopped.
    pub fn wait(self) {
        for thread in self.threads {
            // A thread that panicked has printed its message.
            let _ = thread.join();
        }
    }
}

impl Worker {
    /// Reports that the thread serves, and runs `serving` until it ends; answers questions for the counters of `server`
    /// meanwhile.
    pub async fn run<F: Future<Output = ()>>(
        self,
        server: &Server,
        serving: impl FnOnce(Stop) -> F,
    ) {
        let Worker { report, stop, desk } = self;
        // The start was given up if the other end is gone.
        if report.send(Ok(())).is_ok() {
            let mut serving = pin!(serving(stop));
            poll_fn(|cx| {
                desk.answer(server, cx);
                serving.as_mut().poll(cx)
            })
            .await;
        }
        desk.close(server.stats());
    }
}
