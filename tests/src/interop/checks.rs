//! The client: it drives a puppet, ours or a foreign one, and checks every reply.

mod age;
#[cfg(feature = "compression")]
mod compression;
mod deadlines;
mod flow;
mod frames;
mod kinds;
mod many;
mod metadata;
mod pings;
mod statuses;
mod storms;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Metadata};
use grpc_service::{CallError, Channel, Host, LocalFuture};

use crate::testing::{Empty, InteropClient};

/// Where the checks go, and what they need of their host.
#[derive(Clone)]
pub struct Target {
    /// The channel to the puppet.
    pub channel: Channel,
    /// The clock and the timers.
    pub host: Rc<dyn Host>,
    /// What the puppet runs on, for the few checks where that matters.
    pub of: Peer,
}

/// What a puppet runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This stack.
    Ours,
    /// grpcio, over the C core.
    Grpcio,
    /// grpc-js, over the HTTP/2 of Node.
    GrpcJs,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong(String);

/// What became of a check.
pub type Outcome = Result<(), Wrong>;

/// A check, and its name in the report.
#[derive(Clone, Copy)]
pub struct Check {
    /// The behaviour that it checks.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(Target) -> LocalFuture<Outcome>,
}

/// The checks that move gigabytes, and watch both processes while they do.
pub fn heavy() -> Vec<Check> {
    flow::CHECKS.to_vec()
}

/// The checks of a group that needs a server, or a client, with a trait; `None` if there is no such group.
pub fn group(name: &str) -> Option<Vec<Check>> {
    match name {
        #[cfg(feature = "compression")]
        "compression" => Some(compression::CHECKS.to_vec()),
        "frames" => Some(frames::CHECKS.to_vec()),
        "age" => Some(age::CHECKS.to_vec()),
        "pings" => Some(pings::CHECKS.to_vec()),
        "storms" => Some(storms::CHECKS.to_vec()),
        _ => None,
    }
}

/// All other checks, in the order in which they run.
pub fn all() -> Vec<Check> {
    [kinds::CHECKS, metadata::CHECKS, statuses::CHECKS, many::CHECKS, deadlines::CHECKS].concat()
}

/// A check that is an `async fn`.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[crate::interop::checks::Check] = &[$(crate::interop::checks::Check {
            name: stringify!($name),
            run: |target| Box::pin($name(target)),
        }),*];
    };
}
use checks;

impl Target {
    fn stub(&self) -> InteropClient {
        InteropClient::new(self.channel.clone())
    }

    async fn sleep(&self, span: Duration) {
        self.host.timer(self.host.now() + span).await;
    }

    /// What the server has counted of one method.
    async fn count(&self, method: &str) -> Result<Ended, Wrong> {
        let arena = Arena::new();
        let reply = self
            .stub()
            .counters(&Empty::default(), &arena)
            .timeout(Duration::from_secs(10))
            .await?;
        let count = reply.methods.get(method).copied().unwrap_or_default();
        Ok(Ended {
            started: count.started,
            finished: count.finished,
            failed: count.failed,
            cancelled: count.cancelled,
            expired: count.expired,
        })
    }

    /// Waits until the server has counted `ends` more of `method` than `before`, and nothing else.
    async fn counts(&self, method: &str, before: Ended, ends: Ended) -> Outcome {
        let expected = before + ends;
        for _ in 0..500 {
            if self.count(method).await? == expected {
                return Ok(());
            }
            self.sleep(Duration::from_millis(10)).await;
        }
        same(method, self.count(method).await?, expected)
    }

    /// Waits until `method` has started `calls` more handlers than `before`.
    async fn starts(&self, method: &str, before: Ended, calls: u64) -> Outcome {
        for _ in 0..500 {
            if self.count(method).await?.started >= before.started + calls {
                return Ok(());
            }
            self.sleep(Duration::from_millis(10)).await;
        }
        Err(Wrong(format!("no handler of {method} started")))
    }

    /// Runs all tasks at once; the first that fails decides.
    async fn gather(&self, tasks: Vec<LocalFuture<Outcome>>) -> Outcome {
        let gathering = Rc::new(Gathering { left: Cell::new(tasks.len()), ..Gathering::default() });
        for task in tasks {
            let gathering = Rc::clone(&gathering);
            self.host.spawn(Box::pin(async move { gathering.note(task.await) }));
        }
        poll_fn(|cx| {
            if gathering.left.get() == 0 {
                return Poll::Ready(());
            }
            gathering.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        gathering.first_wrong.take().map_or(Ok(()), Err)
    }
}

#[derive(Default)]
struct Gathering {
    left: Cell<usize>,
    first_wrong: RefCell<Option<Wrong>>,
    waker: RefCell<Option<Waker>>,
}

impl Gathering {
    fn note(&self, outcome: Outcome) {
        self.left.set(self.left.get() - 1);
        if let Err(wrong) = outcome {
            self.first_wrong.borrow_mut().get_or_insert(wrong);
        }
        let waker = if self.left.get() == 0 { self.waker.take() } else { None };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How handlers have ended, as the server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    started: u64,
    finished: u64,
    failed: u64,
    cancelled: u64,
    expired: u64,
}

impl Ended {
    const FINISHED: Self = Self { started: 1, finished: 1, failed: 0, cancelled: 0, expired: 0 };
    const CANCELLED: Self = Self { started: 1, finished: 0, failed: 0, cancelled: 1, expired: 0 };
    const EXPIRED: Self = Self { started: 1, finished: 0, failed: 0, cancelled: 0, expired: 1 };
}

impl std::ops::Add for Ended {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            started: self.started + more.started,
            finished: self.finished + more.finished,
            failed: self.failed + more.failed,
            cancelled: self.cancelled + more.cancelled,
            expired: self.expired + more.expired,
        }
    }
}

impl From<CallError> for Wrong {
    fn from(error: CallError) -> Self {
        Self(format!("a call failed: {error:?}"))
    }
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A message of 4 MiB helps nobody.
        let end = self.0.char_indices().nth(1000).map_or(self.0.len(), |(end, _)| end);
        f.write_str(&self.0[..end])
    }
}

fn same<T: PartialEq<U> + fmt::Debug, U: fmt::Debug>(what: &str, got: T, want: U) -> Outcome {
    if got == want { Ok(()) } else { Err(Wrong(format!("{what}: got {got:?}, want {want:?}"))) }
}

/// Payloads may be large, so only what tells them apart is shown.
fn same_bytes(what: &str, got: &[u8], want: &[u8]) -> Outcome {
    if got == want {
        return Ok(());
    }
    let place = got.iter().zip(want).position(|(got, want)| got != want);
    Err(Wrong(format!(
        "{what}: got {} bytes, want {}; they differ at {place:?}",
        got.len(),
        want.len()
    )))
}

/// The call ends with this code and message.
fn fails_with<T: fmt::Debug>(
    what: &str,
    outcome: Result<T, CallError>,
    code: Code,
    message: &str,
) -> Outcome {
    match outcome {
        Err(status) => same(what, (status.code(), status.message()), (code, message)),
        Ok(reply) => Err(Wrong(format!("{what}: succeeded with {reply:?}"))),
    }
}

/// The call ends with this code, whatever the message.
fn fails_as<T: fmt::Debug>(what: &str, outcome: Result<T, CallError>, code: Code) -> Outcome {
    match outcome {
        Err(status) => same(what, status.code(), code),
        Ok(reply) => Err(Wrong(format!("{what}: succeeded with {reply:?}"))),
    }
}

/// Metadata that a puppet sends back, under `prefix`.
fn reflected_fields(prefix: &str) -> Metadata {
    let mut metadata = Metadata::new();
    append(&mut metadata, prefix, "text", "first");
    append(&mut metadata, prefix, "text", "second, with a comma");
    append(&mut metadata, prefix, "text", "first");
    append(&mut metadata, prefix, "punctuation", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~");
    let every_byte: Vec<u8> = (0..=255).collect();
    append_bin(&mut metadata, prefix, "data-bin", &every_byte);
    append_bin(&mut metadata, prefix, "data-bin", b"\x00");
    append_bin(&mut metadata, prefix, "data-bin", b"\xff\xfe");
    append_bin(&mut metadata, prefix, "long-bin", super::pattern(1000, 3));
    metadata
}

fn append(metadata: &mut Metadata, prefix: &str, name: &str, value: &str) {
    metadata.append(&format!("{prefix}{name}"), value).expect("a valid entry");
}

fn append_bin(metadata: &mut Metadata, prefix: &str, name: &str, value: &[u8]) {
    metadata.append_bin(&format!("{prefix}{name}"), value).expect("a valid entry");
}

/// Everything under `prefix` that was `sent` came back in `got`, each name with all its values in their order.
///
/// Node makes one text of several under one name, as RFC 9110 §5.3 allows.
fn reflected(of: Peer, prefix: &str, sent: &Metadata, got: &Metadata) -> Outcome {
    let under = |metadata: &Metadata| {
        let mut values: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
        for field in metadata.iter().filter(|field| field.name.starts_with(prefix.as_bytes())) {
            let name = String::from_utf8_lossy(field.name).into_owned();
            if values.iter().any(|(seen, _)| *seen == name) {
                continue;
            }
            let all = match name.ends_with("-bin") {
                true => metadata.bin_values(&name).collect(),
                false if of == Peer::GrpcJs => {
                    vec![metadata.values(&name).collect::<Vec<_>>().join(&b", "[..])]
                }
                false => metadata.values(&name).map(<[u8]>::to_vec).collect(),
            };
            values.push((name, all));
        }
        values.sort();
        values
    };
    same(prefix, under(got), under(sent))
}
