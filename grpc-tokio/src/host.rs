//! Time, tasks and entropy from tokio and the system.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use grpc_proto::Instant;
use grpc_service::adapter::{Group, Member};
use grpc_service::drive::Phase;
use grpc_service::{Host, LocalFuture};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

/// The host of one thread that runs tokio; its tasks need a [`LocalSet`] around them.
///
/// The clocks of all hosts count from the making of the process's first one, so a time of one means the same to the
/// others; timers have tokio's resolution of a millisecond.
pub struct TokioHost {
    origin: tokio::time::Instant,
    entropy: RandomState,
}

impl TokioHost {
    /// A host for this thread.
    #[allow(clippy::new_ret_no_self)] // everything takes it shared
    pub fn new() -> Rc<dyn Host> {
        static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(tokio::time::Instant::now);
        Rc::new(Self { origin, entropy: RandomState::new() })
    }
}

impl Host for TokioHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        // tokio cuts spans that it cannot hold to thirty years.
        Box::pin(tokio::time::sleep(at - self.now()))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        // A panic of the task is its own end alone.
        spawn_local(task);
    }

    fn entropy(&self) -> u64 {
        // The keys come from the system; SipHash of a counter under a secret key looks random.
        let mut hasher = self.entropy.build_hasher();
        hasher.write_u64(self.origin.elapsed().as_nanos() as u64);
        hasher.finish()
    }
}

impl fmt::Debug for TokioHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioHost").field("now", &self.now()).finish_non_exhaustive()
    }
}

thread_local! {
    /// The connections that connectors have opened on this thread, since its [`block_on`] began if it is in one.
    static OPENED: RefCell<Rc<Group>> = RefCell::new(Group::new());
}

/// Makes a connection one that [`block_on`] waits for.
pub(crate) fn join_opened() -> Member {
    OPENED.with_borrow(|group| group.join())
}

/// Time for connections whose channels are gone to end when [`block_on`] does.
const FAREWELL: Duration = Duration::from_secs(1);
/// Time for those that are aborted then, which send GOAWAY and linger for a second.
const ABORT: Duration = Duration::from_secs(2);

/// Runs a future on this thread, in a tokio runtime and a [`LocalSet`] of its own.
///
/// After the future, connections that were opened here have a second to end gracefully, and are aborted then, also those of
/// channels that are still held.
///
/// # Errors
/// The system has no descriptors left for a runtime.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let opened = Group::new();
    let before = OPENED.replace(Rc::clone(&opened));
    let output = LocalSet::new().block_on(&runtime, async {
        let output = future.await;
        if timeout(FAREWELL, opened.emptied()).await.is_err() {
            // A channel is still held, which is of no use without this runtime.
            opened.enter(Phase::Abort);
            let _ = timeout(ABORT, opened.emptied()).await;
        }
        output
    });
    OPENED.set(before);
    Ok(output)
}
