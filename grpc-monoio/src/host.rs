//! Time, tasks and entropy from monoio and the system.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Once, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant as SystemInstant};

use grpc_proto::Instant;
use grpc_service::adapter::{Group, Member};
use grpc_service::drive::Phase;
use grpc_service::{Host, LocalFuture};
use monoio::{FusionDriver, RuntimeBuilder};

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

    fn spawn(&self, task: LocalFuture<()>) {
        spawn(task);
    }

    fn entropy(&self) -> u64 {
        // The keys come from the system; SipHash of a counter under a secret key looks random.
        let mut hasher = self.entropy.build_hasher();
        hasher.write_u64(self.origin.elapsed().as_nanos() as u64);
        hasher.finish()
    }

    fn report(&self, line: &str) {
        report(line);
    }
}

/// Reports a line to the operators: a warning of the `log` crate, target `grpc`, with the feature of that name, and a line
/// on the standard error without it.
fn report(line: &str) {
    #[cfg(feature = "log")]
    log::warn!(target: "grpc", "{line}");
    #[cfg(not(feature = "log"))]
    eprintln!("grpc: {line}");
}

/// What is reported where epoll serves though nobody asked for it; `forced` is `MONOIO_FORCE_LEGACY_DRIVER`.
fn fallback(io_uring: bool, forced: Option<&str>) -> Option<&'static str> {
    let asked = forced
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"));
    (!io_uring && !asked).then_some(
        "io_uring is not available here (kernel, seccomp or RLIMIT_MEMLOCK), so epoll is used, which takes more system \
         calls; set MONOIO_FORCE_LEGACY_DRIVER=1 to use epoll without this line",
    )
}

/// Reports once a process that epoll is used in the place of io_uring.
fn report_fallback() {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        let forced = std::env::var("MONOIO_FORCE_LEGACY_DRIVER").ok();
        if let Some(line) = fallback(monoio::utils::detect_uring(), forced.as_deref()) {
            report(line);
        }
    });
}

impl fmt::Debug for MonoioHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonoioHost").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Runs a task whose panic is its own end alone: one that reached monoio would take the whole thread with it.
pub(crate) fn spawn(task: LocalFuture<()>) {
    let mut task = Some(task);
    monoio::spawn(poll_fn(move |cx| {
        let poll = || {
            // Out of its place, so that it is dropped within the panic, if there is one: a recording must not look as
            // if it had come to its end.
            let mut running = task.take().expect("a task is not polled after its end");
            let polled = running.as_mut().poll(cx);
            if polled.is_pending() {
                task = Some(running);
            }
            polled
        };
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(()))
    }));
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

/// Runs a future on this thread, on io_uring or epoll, with timers.
///
/// After the future, connections that were opened here have a second to end gracefully, and are aborted then, also those of
/// channels that are still held: a runtime that is dropped leaves its sockets open, and no task drives them.
///
/// # Errors
/// The kernel offers neither, or a limit forbids it.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?;
    report_fallback();
    // A group of its own, which is aborted at the end: the connections of the next runtime are not in it.
    let opened = Group::new();
    let before = OPENED.replace(Rc::clone(&opened));
    let output = runtime.block_on(async {
        let output = future.await;
        if monoio::time::timeout(FAREWELL, opened.emptied()).await.is_err() {
            // A channel is still held, which is of no use without this runtime.
            opened.enter(Phase::Abort);
            let _ = monoio::time::timeout(ABORT, opened.emptied()).await;
        }
        output
    });
    OPENED.set(before);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use grpc_service::{Channel, ChannelOptions, Connectivity};

    use super::*;
    use crate::TcpConnector;

    #[test]
    fn a_timer_for_the_end_of_time_stays_pending() {
        block_on(async {
            let mut timer = MonoioHost::new().timer(Instant::NEVER);
            let polled = poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_pending())).await;
            assert!(polled);
        })
        .expect("a runtime");
    }

    #[test]
    fn epoll_in_the_place_of_io_uring_is_reported_unless_it_was_asked_for() {
        for (io_uring, forced, reported) in [
            (true, None, false),
            (false, None, true),
            (false, Some("0"), true),
            (false, Some("1"), false),
            (false, Some("TRUE"), false),
        ] {
            assert_eq!(fallback(io_uring, forced).is_some(), reported, "{io_uring} {forced:?}");
        }
    }

    #[test]
    fn hosts_made_at_different_times_have_the_same_clock() {
        let first = MonoioHost::new();
        std::thread::sleep(Duration::from_millis(20));
        let second = MonoioHost::new();
        let (before, between, after) = (first.now(), second.now(), first.now());
        assert!(before <= between && between <= after, "{before:?}, {between:?}, {after:?}");
    }

    #[test]
    fn connections_end_with_their_runtime_and_not_with_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be served");
        let address = listener.local_addr().expect("bound").to_string();
        // Reads each connection to its end, and reports that.
        let (report, ends) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
                let ended = stream.read_to_end(&mut Vec::new()).is_ok();
                if report.send(ended).is_err() {
                    return;
                }
            }
        });
        let mut held = Vec::new();
        for _ in 0..2 {
            let channel = block_on(async {
                let host = MonoioHost::new();
                let connector = TcpConnector::new(Rc::clone(&host));
                let options = ChannelOptions::default();
                let channel = Channel::connect(&address, &options, host, &connector).await;
                monoio::time::sleep(Duration::from_millis(100)).await;
                assert!(ends.try_recv().is_err(), "nothing has ended it");
                channel.expect("it listens")
            });
            held.push(channel.expect("a runtime"));
            assert_eq!(ends.recv(), Ok(true), "the connection ends in order");
        }
        assert!(held.iter().all(|channel| channel.state() == Connectivity::Shutdown));
    }
}
