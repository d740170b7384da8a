//! Time, tasks and entropy from monoio and the system.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant as SystemInstant};

use grpc_proto::Instant;
use grpc_service::{Host, LocalFuture};
use monoio::{FusionDriver, RuntimeBuilder};

use crate::group::{Group, Member};

/// The host of one thread that runs monoio.
///
/// The clocks of all hosts count from the making of the process's first one, so a time of one means the same to the
/// others; timers have monoio's resolution of a millisecond.
pub struct MonoioHost {
    origin: SystemInstant,
    entropy: RandomState,
}

impl MonoioHost {
    /// A host for this thread.
    #[allow(clippy::new_ret_no_self)] // everything takes it shared
    pub fn new() -> Rc<dyn Host> {
        // One for all: a channel and its connector, or a server and what it calls, may have hosts of their own, and
        // hand deadlines to each other.
        static ORIGIN: OnceLock<SystemInstant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(SystemInstant::now);
        Rc::new(Self { origin, entropy: RandomState::new() })
    }
}

impl Host for MonoioHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    fn timer(&self, at: Instant) -> LocalFuture<()> {
        let left = at - self.now();
        Box::pin(monoio::time::sleep(left))
    }

    fn spawn(&self, mut task: LocalFuture<()>) {
        // A panic that reached monoio would take the whole thread with it.
        monoio::spawn(poll_fn(move |cx| {
            match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
                Ok(polled) => polled,
                Err(_) => Poll::Ready(()),
            }
        }));
    }

    fn entropy(&self) -> u64 {
        // The keys come from the system; SipHash of a counter under a secret key cannot be told from chance.
        let mut hasher = self.entropy.build_hasher();
        hasher.write_u64(self.origin.elapsed().as_nanos() as u64);
        hasher.finish()
    }
}

impl fmt::Debug for MonoioHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonoioHost").field("now", &self.now()).finish_non_exhaustive()
    }
}

thread_local! {
    /// The connections that this thread's connectors have opened.
    static OPENED: Rc<Group> = Group::new();
}

/// Makes a connection one that [`block_on`] waits for.
pub(crate) fn join_opened() -> Member {
    OPENED.with(|group| group.join())
}

/// Time for connections whose channels are gone to take their leave when [`block_on`] ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs a future on this thread, on io_uring or epoll, with timers.
///
/// After the future, connections that were opened here have a second to close in peace: a runtime that is dropped
/// leaves its sockets to the kernel's leisure.
///
/// # Errors
/// The kernel offers neither, or a limit forbids it.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(async {
        let output = future.await;
        let opened = OPENED.with(Rc::clone);
        let closed =
            poll_fn(|cx| if opened.is_empty(cx) { Poll::Ready(()) } else { Poll::Pending });
        // Whoever still holds a channel is not waited for.
        let _ = monoio::time::timeout(FAREWELL, closed).await;
        output
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_made_at_different_times_tell_the_same_time() {
        let first = MonoioHost::new();
        std::thread::sleep(Duration::from_millis(20));
        let second = MonoioHost::new();
        let (before, between, after) = (first.now(), second.now(), first.now());
        assert!(before <= between && between <= after, "{before:?}, {between:?}, {after:?}");
    }
}
