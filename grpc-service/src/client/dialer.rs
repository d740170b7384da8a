//! A channel's way to its server: connects when there are calls, and again when the connection is lost.
//!
//! ```text
//!              a call                    SETTINGS
//!    Idle ──────────────> Connecting ──────────────> Ready
//!     ^                    ^      │                    │ lost, or told to go
//!     │       calls that   │      │ failed             │
//!     │       wait         │      v                    │
//!     ├────────────── TransientFailure                 │
//!     │  backoff over      (calls fail at once,        │
//!     │                     or wait if they want to)   │
//!     └────────────────────────────────────────────────┘
//! ```

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::thread;

use grpc_proto::{Code, Config, Instant, Status};

use super::channel::Held;
use super::ledger::Ledger;
use super::link::Link;
use super::{CallError, ChannelOptions, ClientConnection};
use crate::current;
use crate::queue::{Ticket, WaitQueue};
use crate::{ConnectError, Connector, Host};

/// What a channel is about (connectivity-semantics-and-api).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Connectivity {
    /// There is no connection, and no call that needs one.
    Idle,
    /// An attempt to connect is under way, or due within the pace of attempts; calls wait for it.
    Connecting,
    /// Calls go out.
    Ready,
    /// The last attempt failed, and the next one is not due: calls fail, unless they wait for better times.
    TransientFailure,
    /// A channel of one connection, which is over.
    Shutdown,
}

/// A call's place among those that wait for a connection.
#[derive(Default)]
pub(crate) struct Waiting {
    ticket: Ticket,
    /// How many attempts had failed when it began to wait.
    since: Option<u64>,
}

/// The connections of a channel, one after the other.
pub(crate) struct Dialer {
    address: String,
    options: ChannelOptions,
    /// What connections begin with: the options' own, and what servers have told this channel since.
    config: RefCell<Config>,
    connector: Rc<dyn Connector>,
    pub(crate) host: Rc<dyn Host>,
    pub(super) ledger: Rc<Ledger>,
    stage: RefCell<Stage>,
    /// When the next attempt may begin.
    due: Cell<Instant>,
    /// Attempts in a row that have failed.
    failures: Cell<u32>,
    /// Attempts that have failed in all, and why the last one did.
    failed: Cell<u64>,
    failure: RefCell<CallError>,
    /// Calls that wait for a connection.
    waiting: WaitQueue,
}

enum Stage {
    Idle,
    Connecting,
    Ready(Held),
    Failing,
}

impl Dialer {
    pub(crate) fn new(
        address: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
        connector: Rc<dyn Connector>,
    ) -> Self {
        Self {
            address: address.to_owned(),
            options: options.clone(),
            config: RefCell::new(options.config.clone()),
            connector,
            host,
            ledger: Rc::default(),
            stage: RefCell::new(Stage::Idle),
            due: Cell::new(Instant::ZERO),
            failures: Cell::new(0),
            failed: Cell::new(0),
            failure: RefCell::new(CallError::local(Status::OK)),
            waiting: WaitQueue::default(),
        }
    }

    pub(crate) fn authority(&self) -> &str {
        self.options.authority_of(&self.address)
    }

    pub(crate) fn options(&self) -> &ChannelOptions {
        &self.options
    }

    pub(crate) fn state(&self) -> Connectivity {
        match &*self.stage.borrow() {
            Stage::Idle => Connectivity::Idle,
            Stage::Connecting => Connectivity::Connecting,
            Stage::Ready(held) if held.link().is_open() => Connectivity::Ready,
            Stage::Ready(_) => Connectivity::Idle,
            Stage::Failing => Connectivity::TransientFailure,
        }
    }

    /// The connection for a new call; pending while there is none, which begins an attempt.
    ///
    /// # Errors
    /// UNAVAILABLE while the next attempt is not due, unless the call waits for that.
    pub(crate) fn poll_link(
        self: &Rc<Self>,
        wait_for_ready: bool,
        place: &mut Waiting,
        cx: &Context<'_>,
    ) -> Poll<Result<Rc<Link>, CallError>> {
        if !self.waiting.may_try(&place.ticket, cx) {
            return Poll::Pending;
        }
        let stage = self.stage.borrow();
        // The attempt that the call waited for may have failed so late that the next one is due already.
        let has_failed = place.since.is_some_and(|since| since < self.failed.get());
        let is_idle = matches!(&*stage, Stage::Idle | Stage::Ready(_));
        let found = match &*stage {
            Stage::Ready(held) if held.link().is_open() => Some(Ok(Rc::clone(held.link()))),
            Stage::Failing if !wait_for_ready => Some(Err(self.failure.borrow().clone())),
            _ if has_failed && !wait_for_ready => Some(Err(self.failure.borrow().clone())),
            _ => None,
        };
        drop(stage);
        if let Some(found) = found {
            self.leave(place);
            return Poll::Ready(found);
        }
        place.since.get_or_insert(self.failed.get());
        self.waiting.join(&mut place.ticket, cx);
        if is_idle {
            self.begin();
        }
        Poll::Pending
    }

    /// A call gives up its place.
    pub(crate) fn leave(&self, place: &mut Waiting) {
        place.since = None;
        // A woken waiter wakes no other: all are woken when something changes.
        self.waiting.leave(&mut place.ticket, true);
    }

    /// A connection takes no more calls.
    pub(crate) fn retire(&self, link: &Rc<Link>) {
        let stage = self.stage.borrow();
        let current = matches!(&*stage, Stage::Ready(held) if Rc::ptr_eq(held.link(), link));
        drop(stage);
        if current {
            self.enter(Stage::Idle);
        }
    }

    /// Begins to connect.
    fn begin(self: &Rc<Self>) {
        self.enter(Stage::Connecting);
        // A host may run it at once, and it serves other calls than the one that begins it.
        let _outside = current::enter(None);
        self.host.spawn(Box::pin(dial(Task(Rc::downgrade(self)))));
    }

    fn enter(&self, stage: Stage) {
        let old = self.stage.replace(stage);
        if let Stage::Ready(held) = &old {
            self.learn(held.link());
        }
        // Outside of the borrow, because letting go of a connection wakes its task.
        drop(old);
    }

    /// Keeps what a connection was told that holds for those after it: to ping less often (gRFC A8).
    fn learn(&self, link: &Link) {
        let reported = link.connection.borrow().session().keepalive();
        let mut config = self.config.borrow_mut();
        if reported != config.limits().keepalive {
            let mut limits = config.limits().clone();
            limits.keepalive = reported;
            *config = Config::new(limits).expect("any keepalive goes with any other limit");
        }
    }

    /// An attempt has failed, or has brought up what takes no calls.
    fn fail(&self, error: &str) {
        self.note_failure(error);
        self.enter(Stage::Failing);
        self.waiting.wake_all();
    }

    fn note_failure(&self, error: &str) {
        let text = format!("no connection to {}: {error}", self.address);
        self.failures.set(self.failures.get().saturating_add(1));
        self.failed.set(self.failed.get() + 1);
        self.failure.replace(CallError::local(Status::new(Code::Unavailable, text)));
    }
}

/// A task that connects, or is about to be one.
///
/// If it ends by a panic, of the host's code say, the attempt has failed, and the next call begins another task: otherwise
/// all calls would wait for a task that is gone.
struct Task(Weak<Dialer>);

impl Drop for Task {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(dialer) = self.0.upgrade()
            && dialer.state() != Connectivity::Ready
        {
            dialer.note_failure("the attempt panicked");
            dialer.enter(Stage::Idle);
            dialer.waiting.wake_all();
        }
    }
}

/// Connects until a connection is ready, or nobody waits for one any more.
///
/// It holds the channel only while it does not wait, so a channel that is dropped ends it.
async fn dial(task: Task) {
    let dialer = &task.0;
    loop {
        let Some(this) = dialer.upgrade() else { return };
        let (host, due) = (Rc::clone(&this.host), this.due.get());
        drop(this);
        // After a success too: a server that leaves as soon as it is connected is not dialed again without a pause.
        if due > host.now() {
            host.timer(due).await;
        }
        let Some(this) = dialer.upgrade() else { return };
        if this.waiting.is_empty() {
            // The next call begins the next attempt, and waits for its outcome.
            return this.enter(Stage::Idle);
        }
        this.enter(Stage::Connecting);
        let backoff = this.options.backoff;
        let (started, entropy) = (host.now(), host.entropy());
        let delay = backoff.delay(this.failures.get().saturating_add(1), entropy);
        this.due.set(started + delay);
        let config = this.config.borrow().clone();
        let (authority, ledger) = (this.authority(), Rc::clone(&this.ledger));
        let (held, connection) =
            Held::new(authority, &this.options, &config, Rc::clone(&host), ledger);
        let connecting = connect(Rc::clone(&this.connector), this.address.clone(), connection);
        let mut connecting = Box::pin(connecting);
        drop(this);
        let connected = {
            let mut ready = pin!(held.link().ready());
            let mut limit = host.timer(started + backoff.attempt_timeout.max(delay));
            let mut is_up = false;
            poll_fn(|cx| {
                if !is_up {
                    // The program's code, as a handler is: a panic of it must not leave calls waiting for this task.
                    match catch_unwind(AssertUnwindSafe(|| connecting.as_mut().poll(cx))) {
                        Ok(Poll::Pending) => {}
                        Ok(Poll::Ready(Ok(()))) => is_up = true,
                        Ok(Poll::Ready(Err(error))) => return Poll::Ready(Err(error.to_string())),
                        Err(_) => return Poll::Ready(Err("the connector panicked".to_owned())),
                    }
                }
                if let Poll::Ready(outcome) = ready.as_mut().poll(cx) {
                    return Poll::Ready(outcome);
                }
                limit.as_mut().poll(cx).map(|()| Err("the attempt took too long".to_owned()))
            })
            .await
        };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(connecting)));
        let Some(this) = dialer.upgrade() else { return };
        match connected {
            Ok(()) if held.link().is_open() => {
                this.failures.set(0);
                let pause = backoff.delay(1, entropy);
                this.due.set(started + pause);
                this.enter(Stage::Ready(held));
                return this.waiting.wake_all();
            }
            Ok(()) => {
                this.learn(held.link());
                this.fail(&held.link().why_closed());
            }
            Err(error) => this.fail(&error),
        }
    }
}

/// Owns all that the connector borrows.
async fn connect(
    connector: Rc<dyn Connector>,
    address: String,
    connection: ClientConnection,
) -> Result<(), ConnectError> {
    connector.connect(&address, connection).await
}
