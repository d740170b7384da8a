//! At steady state neither a unary call nor a message of a stream takes anything from the heap, at either end.
//!
//! Client and server are connected in memory, through the generated stub and handlers, 64 calls interleaved. The same holds
//! while both ends are recorded: a recorder's buffer is warm after the largest record.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use grpc_arena::Arena;
use grpc_proto::{Limits, Metadata};
use grpc_service::testing::join_all;
use grpc_service::{Recordings, ResponseMetadata};
use tests::bytes::{Blob, BytesClient};
use tests::counting::{Counting, taken};
use tests::echo::{Echoing, connect_layered, connect_recorded};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: usize = 64;
/// Messages or unary calls of each task between two looks at the counter; of large ones, which settle sooner.
const WINDOW: usize = 25;
const LARGE_WINDOW: usize = 6;
/// Windows in a row without an allocation that count as steady, and windows by which that must be reached.
const STEADY: u32 = 2;
const WINDOWS: u32 = 150;

/// Limits whose pools hold 64 of the largest bodies here at once.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.assembly_budget = 16 << 20;
    limits.send_budget = 64 << 20;
    limits.pool_bytes = 64 << 20;
    // What may pile up of a stream, and so when its memory stops growing.
    limits.stream_window = 16 << 10;
    limits
}

fn window(body: &[u8]) -> usize {
    if body.len() < 10 << 10 { WINDOW } else { LARGE_WINDOW }
}

/// Where 64 tasks meet after each window, and the last one looks at the counter.
#[derive(Default)]
struct Meeting {
    arrived: Cell<usize>,
    windows: Cell<u32>,
    taken: Cell<u64>,
    quiet: Cell<u32>,
    last: Cell<u64>,
    waker: Cell<Option<Waker>>,
}

impl Meeting {
    /// Waits until all have arrived; false once the state is steady, or never will be.
    async fn goes_on(&self) -> bool {
        let window = self.windows.get();
        self.arrived.set(self.arrived.get() + 1);
        if self.arrived.get() == CALLS {
            let last = taken() - self.taken.get();
            self.last.set(last);
            self.quiet.set(if last == 0 { self.quiet.get() + 1 } else { 0 });
            self.arrived.set(0);
            self.windows.set(window + 1);
            self.taken.set(taken());
        }
        // Without a busy wait, under which virtual time would not pass. All tasks share one waker.
        let woken = self.waker.take();
        if let (Some(waker), true) = (woken, self.windows.get() != window) {
            waker.wake();
        }
        poll_fn(|cx| {
            if self.windows.get() != window {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        self.quiet.get() < STEADY && self.windows.get() < WINDOWS
    }
}

/// Runs 64 of `task` until they are steady, without a recording, and with one of each end: of hashes, and of all output.
fn check<F: Future<Output = ()>>(
    name: &str,
    body: usize,
    task: impl Fn(BytesClient, &'static [u8], &'static Meeting) -> F,
) {
    let body: &'static [u8] = vec![7; body].leak();
    for recorded in [None, Some(false), Some(true)] {
        if recorded == Some(false) && body.len() > 10 << 10 {
            // Hashes of the same bytes, for a long time.
            continue;
        }
        let bytes = Arc::new(AtomicU64::new(0));
        let recordings = recorded.map(|whole| recordings(&bytes).output_bytes(whole));
        let meeting: &'static Meeting = Box::leak(Box::default());
        let (stub, mut pair) = connect_recorded(Echoing, &limits(), recordings.as_ref());
        pair.block_on(join_all((0..CALLS).map(|_| task(stub.clone(), body, meeting))));
        assert!(
            meeting.quiet.get() >= STEADY,
            "{name}, {} bytes, recorded: {recorded:?}: still {} allocations in {} messages after {WINDOWS} windows",
            body.len(),
            meeting.last.get(),
            window(body) * CALLS,
        );
        // Each message was written down where it was sent and where it came in.
        let windows = u64::from(meeting.windows.get()) - 1;
        let messages = windows * (window(body) * CALLS) as u64;
        let least = if recorded.is_some() { 2 * messages * body.len() as u64 } else { 0 };
        let written = bytes.load(Ordering::Relaxed);
        assert!(written >= least && (written > 0) == recorded.is_some(), "{written} of {least}");
    }
}

/// As [`check`], through five layers at the server and three at the client.
fn check_layered<F: Future<Output = ()>>(
    name: &str,
    body: usize,
    task: impl Fn(BytesClient, &'static [u8], &'static Meeting) -> F,
) {
    let body: &'static [u8] = vec![7; body].leak();
    let meeting: &'static Meeting = Box::leak(Box::default());
    let (stub, mut pair) = connect_layered(Echoing, &limits());
    pair.block_on(join_all((0..CALLS).map(|_| task(stub.clone(), body, meeting))));
    assert!(
        meeting.quiet.get() >= STEADY,
        "{name} through layers, {} bytes: still {} allocations after {WINDOWS} windows",
        body.len(),
        meeting.last.get(),
    );
}

/// Recordings without a bound, whose bytes are counted and forgotten.
fn recordings(bytes: &Arc<AtomicU64>) -> Recordings {
    let bytes = Arc::clone(bytes);
    let recordings = Recordings::new(move |_, _| {
        let bytes = Arc::clone(&bytes);
        Some(Box::new(move |more| {
            bytes.fetch_add(more.len() as u64, Ordering::Relaxed);
        }))
    });
    recordings.max_bytes(u64::MAX)
}

async fn unary(
    stub: BytesClient,
    body: &'static [u8],
    meeting: &'static Meeting,
    wait: bool,
    entries: usize,
) {
    let mut arena = Arena::new();
    let mut metadata = Metadata::new();
    let all = [
        ("x-one", "1"),
        ("x-two", "a second value"),
        ("x-three", "another one"),
        ("x-four", "0123456789abcdef0123456789abcdef"),
        ("x-five", "5"),
    ];
    for (name, value) in &all[..entries] {
        metadata.append(name, value).expect("valid metadata");
    }
    let mut response = ResponseMetadata::default();
    let request = Blob { data: body, wait, ..Blob::default() };
    while meeting.goes_on().await {
        for _ in 0..window(body) {
            arena.reset();
            let call = stub.echo(&request, &arena).metadata(&metadata).response(&mut response);
            let reply = call.await.expect("the echo answers");
            assert_eq!(reply.data.len(), body.len());
            assert_eq!(response.headers.iter().count(), entries);
            assert_eq!(response.trailers.iter().count(), entries);
        }
    }
}

const BODIES: [usize; 4] = [0, 100, 10 << 10, 100 << 10];

#[test]
fn the_counter_counts() {
    let before = taken();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(taken() - before, 1);
}

#[test]
fn unary_calls_whose_handlers_finish_at_once_allocate_nothing() {
    for body in BODIES {
        check("unary", body, |stub, body, meeting| unary(stub, body, meeting, false, 0));
    }
}

#[test]
fn unary_calls_whose_handlers_wait_allocate_nothing() {
    for body in BODIES {
        check("unary, waiting", body, |stub, body, meeting| unary(stub, body, meeting, true, 0));
    }
}

#[test]
fn unary_calls_with_metadata_allocate_nothing() {
    for body in BODIES {
        for wait in [false, true] {
            let task = |stub, body, meeting| unary(stub, body, meeting, wait, 5);
            check("unary with metadata", body, task);
        }
    }
}

#[test]
fn messages_of_a_stream_of_responses_allocate_nothing() {
    async fn task(stub: BytesClient, data: &[u8], meeting: &Meeting, wait: bool) {
        let mut arena = Arena::new();
        let request = Blob { data, count: u64::MAX, wait, ..Blob::default() };
        let mut stream = stub.repeat(&request).await.expect("opens");
        while meeting.goes_on().await {
            for _ in 0..window(data) {
                let item = stream.next(&mut arena).await.expect("goes on").expect("is not over");
                assert_eq!(item.data.len(), data.len());
            }
        }
    }
    for body in BODIES {
        for wait in [false, true] {
            check("responses", body, |stub, body, meeting| task(stub, body, meeting, wait));
        }
    }
}

#[test]
fn messages_of_a_stream_of_requests_allocate_nothing() {
    async fn task(stub: BytesClient, data: &[u8], meeting: &Meeting, wait: bool) {
        let arena = Arena::new();
        let (mut stream, mut sent) = (stub.sum().await.expect("opens"), 0);
        while meeting.goes_on().await {
            for _ in 0..window(data) {
                stream.send(&Blob { data, wait, ..Blob::default() }).await.expect("goes on");
                sent += data.len();
            }
        }
        assert_eq!(stream.finish(&arena).await.expect("answers").count, sent as u64);
    }
    for body in BODIES {
        for wait in [false, true] {
            check("requests", body, |stub, body, meeting| task(stub, body, meeting, wait));
        }
    }
}

async fn both(stub: BytesClient, data: &[u8], meeting: &Meeting, wait: bool) {
    let mut arena = Arena::new();
    let mut stream = stub.chat().await.expect("opens");
    while meeting.goes_on().await {
        for _ in 0..window(data) {
            stream.send(&Blob { data, wait, ..Blob::default() }).await.expect("goes on");
            let item = stream.next(&mut arena).await.expect("goes on").expect("is not over");
            assert_eq!(item.data.len(), data.len());
        }
    }
    stream.end();
    assert_eq!(stream.next(&mut arena).await, Ok(None));
}

#[test]
fn messages_of_streams_in_both_directions_allocate_nothing() {
    for body in BODIES {
        for wait in [false, true] {
            check("both", body, |stub, body, meeting| both(stub, body, meeting, wait));
        }
    }
}

#[test]
fn calls_and_messages_through_five_and_three_layers_allocate_nothing() {
    for body in BODIES {
        for wait in [false, true] {
            check_layered("unary", body, |stub, body, meeting| unary(stub, body, meeting, wait, 5));
            check_layered("both", body, |stub, body, meeting| both(stub, body, meeting, wait));
        }
    }
}
