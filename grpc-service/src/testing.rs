//! A client and a server in one thread's memory, on a virtual clock: for tests, benchmarks and examples without
//! sockets.
//!
//! Everything that happens follows from the arguments: no clock is read and no entropy drawn, so a run repeats
//! exactly.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Transmit};

use crate::{
    Channel, ChannelOptions, ClientConnection, Endpoint, Host, LocalFuture, Peer, Server,
    ServerConnection,
};

/// A host whose clock moves only when told to.
pub struct MemoryHost {
    now: Cell<Instant>,
    timers: RefCell<Vec<(Instant, Waker)>>,
    spawned: RefCell<Vec<LocalFuture<()>>>,
    seed: Cell<u64>,
}

impl MemoryHost {
    /// A host at time zero whose entropy follows from `seed`.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Instant::ZERO),
            timers: RefCell::default(),
            spawned: RefCell::default(),
            seed: Cell::new(seed),
        })
    }

    /// Moves the clock forward to `to`, and fires what is due.
    fn advance_to(&self, to: Instant) {
        self.now.set(self.now.get().max(to));
        loop {
            let mut timers = self.timers.borrow_mut();
            let due = timers.iter().position(|(at, _)| *at <= to);
            let timer = due.map(|place| timers.swap_remove(place));
            drop(timers);
            let Some((_, waker)) = timer else { return };
            waker.wake();
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow().iter().map(|(at, _)| *at).min()
    }
}

impl Host for Rc<MemoryHost> {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let host = Rc::clone(self);
        // One entry for a task, however often it looks: each entry makes it look once more.
        let mut reported: Option<Waker> = None;
        Box::pin(std::future::poll_fn(move |cx| {
            if host.now.get() >= at {
                return Poll::Ready(());
            }
            if !reported.as_ref().is_some_and(|reported| reported.will_wake(cx.waker())) {
                reported = Some(cx.waker().clone());
                host.timers.borrow_mut().push((at, cx.waker().clone()));
            }
            Poll::Pending
        }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.spawned.borrow_mut().push(task);
    }

    fn entropy(&self) -> u64 {
        // SplitMix64: any two draws differ, and a seed repeats them.
        let seed = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// One client connection and one server connection, joined by two pipes.
pub struct Pair {
    host: Rc<MemoryHost>,
    client: Side<ClientConnection>,
    server: Side<ServerConnection>,
    tasks: Vec<Task>,
    /// Of the future that is blocked on.
    flag: Arc<Flag>,
    waker: Waker,
    /// The most bytes that one end gets to see at once.
    segment: usize,
}

/// One end and what has been sent to it.
struct Side<E> {
    end: E,
    inbox: Vec<u8>,
    /// How much of `inbox` the end has taken. What is left moves up only when it is the smaller part, so that each byte
    /// is moved once at most.
    read: usize,
    out: Transmit,
    flag: Arc<Flag>,
    waker: Waker,
    error: Option<ConnectionError>,
}

struct Task {
    future: LocalFuture<()>,
    flag: Arc<Flag>,
    waker: Waker,
}

/// A waker that leaves a mark.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn new() -> (Arc<Self>, Waker) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        (flag, waker)
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Pair {
    /// Connects a new channel to `server`, which must have been made with `host`.
    pub fn new(
        host: &Rc<MemoryHost>,
        server: &Server,
        options: &ChannelOptions,
    ) -> (Channel, Self) {
        let (channel, client) = Channel::new("test", options, Rc::new(Rc::clone(host)));
        let (flag, waker) = Flag::new();
        let pair = Self {
            flag,
            waker,
            host: Rc::clone(host),
            client: Side::new(client),
            server: Side::new(server.accept(Peer::memory())),
            tasks: Vec::new(),
            segment: usize::MAX,
        };
        (channel, pair)
    }

    /// Lets each end see at most `bytes` of its input at once.
    pub fn segment(&mut self, bytes: usize) {
        self.segment = bytes.max(1);
    }

    /// The client's end.
    pub fn client(&mut self) -> &mut ClientConnection {
        &mut self.client.end
    }

    /// The server's end.
    pub fn server(&mut self) -> &mut ServerConnection {
        &mut self.server.end
    }

    /// How the connection ended at the client and at the server, once it has.
    pub fn errors(&self) -> (Option<&ConnectionError>, Option<&ConnectionError>) {
        (self.client.error.as_ref(), self.server.error.as_ref())
    }

    /// Cuts both pipes: each end reads to its end of input.
    pub fn cut(&mut self) {
        let now = self.host.now.get();
        self.client.end.close_read(now);
        self.server.end.close_read(now);
        self.client.flag.0.store(true, Ordering::Relaxed);
        self.server.flag.0.store(true, Ordering::Relaxed);
    }

    /// Runs `future` beside both ends until it completes; time jumps to the next timer whenever nothing else goes on.
    ///
    /// # Panics
    /// When nothing can go on any more: the future waits for what will never happen.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        self.flag.0.store(true, Ordering::Relaxed);
        loop {
            if self.flag.take()
                && let Poll::Ready(output) =
                    future.as_mut().poll(&mut Context::from_waker(&self.waker))
            {
                return output;
            }
            if !self.step() && !self.flag.0.load(Ordering::Relaxed) {
                let next = self.next_wakeup().expect("nothing can go on: the future waits in vain");
                self.host.advance_to(next);
            }
        }
    }

    /// Lets everything go on that can without time passing.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets `span` pass, and everything happen that falls in it.
    pub fn advance(&mut self, span: Duration) {
        let end = self.host.now.get() + span;
        self.settle();
        while let Some(next) = self.next_wakeup().filter(|&next| next <= end) {
            self.host.advance_to(next);
            self.settle();
        }
        self.host.advance_to(end);
        self.settle();
    }

    fn next_wakeup(&self) -> Option<Instant> {
        let ends = [self.client.timeout(), self.server.timeout(), self.host.next_timer()];
        ends.into_iter().flatten().min()
    }

    /// Gives each end and each task one turn; false if nothing happened, and nothing will before time passes.
    pub fn step(&mut self) -> bool {
        let now = self.host.now.get();
        let sent = self.client.turn(now, self.segment, &mut self.server.inbox);
        let answered = self.server.turn(now, self.segment, &mut self.client.inbox);
        let ran = self.run_tasks();
        sent || answered || ran
    }

    fn run_tasks(&mut self) -> bool {
        loop {
            let spawned = self.host.spawned.borrow_mut().pop();
            let Some(future) = spawned else { break };
            let (flag, waker) = Flag::new();
            self.tasks.push(Task { future, flag, waker });
        }
        let mut ran = false;
        self.tasks.retain_mut(|task| {
            if !task.flag.take() {
                return true;
            }
            ran = true;
            task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_pending()
        });
        ran
    }
}

impl<E: Endpoint> Side<E> {
    fn new(end: E) -> Self {
        let (flag, waker) = Flag::new();
        Self { end, inbox: Vec::new(), read: 0, out: Transmit::new(), flag, waker, error: None }
    }

    fn timeout(&self) -> Option<Instant> {
        if self.error.is_some() { None } else { self.end.poll_timeout() }
    }

    /// Drives the end if there is a reason to, and moves its output to `peer`.
    fn turn(&mut self, now: Instant, segment: usize, peer: &mut Vec<u8>) -> bool {
        let woken = self.flag.take();
        let due = self.timeout().is_some_and(|at| at <= now);
        if self.error.is_some() || !(woken || due || self.read < self.inbox.len()) {
            return false;
        }
        let shown = (self.inbox.len() - self.read).min(segment);
        let mut input = &self.inbox[self.read..][..shown];
        let mut cx = Context::from_waker(&self.waker);
        let driven = self.end.drive(&mut input, &mut self.out, &mut cx, now);
        let taken = shown - input.len();
        self.read += taken;
        if self.read > self.inbox.len() / 2 {
            self.inbox.drain(..self.read);
            self.read = 0;
        }
        self.error = driven.err();
        let written = self.out.len();
        for chunk in self.out.chunks() {
            peer.extend_from_slice(chunk);
        }
        self.out.clear();
        if written > 0 {
            // A completed write is a reason to be driven: more output may follow.
            self.flag.0.store(true, Ordering::Relaxed);
        }
        taken > 0 || written > 0 || woken || due
    }
}

impl fmt::Debug for MemoryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHost").field("now", &self.now.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("client", &self.client.end)
            .field("server", &self.server.end)
            .finish_non_exhaustive()
    }
}

/// Completes when all futures have; each is polled whenever one is woken.
pub struct JoinAll<F> {
    futures: Vec<Option<Pin<Box<F>>>>,
}

/// Runs futures side by side, as one.
pub fn join_all<F: Future<Output = ()>>(futures: impl IntoIterator<Item = F>) -> JoinAll<F> {
    JoinAll { futures: futures.into_iter().map(|future| Some(Box::pin(future))).collect() }
}

impl<F: Future<Output = ()>> Future for JoinAll<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut pending = false;
        for place in &mut self.futures {
            if let Some(future) = place {
                match future.as_mut().poll(cx) {
                    Poll::Ready(()) => *place = None,
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<F> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll").field("futures", &self.futures.len()).finish()
    }
}
