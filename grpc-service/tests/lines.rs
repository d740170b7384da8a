//! Calls that stand in line for a stream: how long, and who goes next.

mod common;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{BytesClient, Echoing, Raw, register_echoing};
use grpc_arena::Arena;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Code, Host, Limits, Router, Server, ServerOptions};

/// Counts wakes, and passes them on.
#[derive(Default)]
struct Wakes(AtomicUsize, Mutex<Option<Waker>>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let outer = self.1.lock().expect("nothing panics under the lock").take();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A server that takes one call at a time, and a client that queues one more; an answer takes `takes`.
fn connect(takes: Duration) -> (BytesClient, Pair, Rc<MemoryHost>) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_echoing(&mut router, &Echoing { takes: Some(takes) });
    let mut limits = Limits::default();
    limits.max_concurrent_streams = 1;
    let options = ServerOptions::new(limits).expect("consistent limits");
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let mut limits = Limits::default();
    limits.max_queued_calls = 1;
    let options = ChannelOptions::new(limits).expect("consistent limits");
    let (channel, mut pair) = Pair::new(&host, &server, &options);
    pair.settle();
    (BytesClient::new(channel), pair, host)
}

#[test]
fn a_timeout_counts_from_the_first_poll_however_often_a_call_is_polled() {
    let (client, mut pair, host) = connect(Duration::from_secs(2));
    let (arena, message) = (Arena::new(), Raw(b"x"));
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = pin!(client.echo(&message, &arena));
    let mut second = pin!(client.echo(&message, &arena));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    pair.settle();
    assert!(second.as_mut().poll(&mut cx).is_pending());
    pair.settle();
    let mut third = pin!(client.echo(&message, &arena).timeout(Duration::from_secs(3)));
    let began = Host::now(&host);
    // Polled every 100 ms, as a task that waits for other things too is. It gets its place in the queue after two seconds.
    let ended = loop {
        if let Poll::Ready(ended) = third.as_mut().poll(&mut cx) {
            break ended;
        }
        pair.advance(Duration::from_millis(100));
        assert!(Host::now(&host) - began < Duration::from_secs(10), "it never ends");
    };
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(Host::now(&host) - began, Duration::from_secs(3));
}

#[test]
fn a_call_in_line_that_was_woken_and_dropped_wakes_the_next() {
    let (client, mut pair, _) = connect(Duration::from_secs(1));
    let (arena, message) = (Arena::new(), Raw(b"x"));
    let mut cx = Context::from_waker(Waker::noop());
    let mut running = pin!(client.echo(&message, &arena));
    let mut queued = pin!(client.echo(&message, &arena));
    for call in [running.as_mut(), queued.as_mut()] {
        let mut call = call;
        assert!(call.as_mut().poll(&mut cx).is_pending());
        pair.settle();
    }
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let mut line: Vec<_> = wakes
        .iter()
        .map(|wakes| {
            let (mut call, waker) =
                (Box::pin(client.echo(&message, &arena)), Waker::from(Arc::clone(wakes)));
            assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            Some(call)
        })
        .collect();
    assert_eq!(wakes.each_ref().map(|wakes| wakes.take()), [0, 0, 0]);
    // The running call ends, the queued one gets its stream, and the first in line is let in. Each turn of the
    // connection lets one in, so the test looks right after the first.
    pair.block_on(poll_fn(|cx| match wakes[0].0.load(Ordering::Relaxed) {
        0 => {
            *wakes[0].1.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }
        _ => Poll::Ready(()),
    }));
    assert_eq!(wakes.each_ref().map(|wakes| wakes.take()), [1, 0, 0]);
    // It gives up before it looks; and so does the next.
    for (next, expected) in [(0, [0, 1, 0]), (1, [0, 0, 1])] {
        line[next] = None;
        assert_eq!(wakes.each_ref().map(|wakes| wakes.take()), expected, "after {next}");
    }
    let last = line[2].take().expect("it is there above");
    assert_eq!(pair.block_on(last), Ok(message));
}

/// A sender that waits for room is woken when its call ends.
#[test]
fn a_sender_that_waits_for_room_is_woken_when_its_call_ends() {
    let (client, mut pair, _) = connect(Duration::from_secs(1));
    let stream = pair.block_on(client.chat().timeout(Duration::from_secs(5))).expect("a stream");
    // Nobody takes the answers, so the server's handler stops reading, and the client's queue fills.
    let (mut sending, _receiving) = stream.split();
    let body = vec![7; 1 << 20];
    let wakes: Arc<Wakes> = Arc::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let ended = RefCell::new(None);
    {
        let mut sends = pin!(async {
            loop {
                if let Err(status) = sending.send(&Raw(&body)).await {
                    break *ended.borrow_mut() = Some(status);
                }
            }
        });
        let mut cx = Context::from_waker(&waker);
        loop {
            wakes.take();
            assert!(sends.as_mut().poll(&mut cx).is_pending());
            pair.settle();
            if wakes.take() == 0 {
                break;
            }
        }
        pair.advance(Duration::from_secs(6));
        assert!(wakes.take() > 0, "the sender sleeps on");
        assert!(sends.as_mut().poll(&mut cx).is_ready());
    }
    let status = ended.into_inner().expect("it ended");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
