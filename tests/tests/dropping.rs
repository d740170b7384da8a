//! Dropping any public future at any point where it waits neither panics nor leaks a call.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Limits, Status};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::testing::Pair;
use grpc_service::{Cx, Sink};
use tests::bytes::{Blob, Bytes, BytesClient};
use tests::echo::{connect, yield_now};

/// Waits before and after whatever it does, and counts what lives.
#[derive(Default)]
struct Slow {
    alive: Rc<Cell<usize>>,
}

struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Alive(Rc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn wait(cx: &Cx<'_>) {
    yield_now().await;
    cx.sleep(Duration::from_millis(1)).await;
}

impl Bytes for Slow {
    async fn echo<'a>(&self, cx: &Cx<'a>, request: Blob<'a>) -> Result<Blob<'a>, Status> {
        let _alive = Alive::new(&self.alive);
        cx.append_header("x-slow", "yes").expect("valid metadata");
        wait(cx).await;
        cx.send_headers()?;
        wait(cx).await;
        Ok(request)
    }

    async fn repeat<'a>(
        &self,
        cx: &Cx<'a>,
        request: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        let _alive = Alive::new(&self.alive);
        for count in 0..request.count {
            wait(cx).await;
            out.send(&Blob { count, ..request }).await?;
        }
        Ok(())
    }

    type Sum<'s> = One;

    async fn sum(&self, cx: &Cx<'_>) -> Result<One, Status> {
        let one = One { _alive: Alive::new(&self.alive) };
        wait(cx).await;
        Ok(one)
    }

    type Chat<'s> = One;

    async fn chat(&self, cx: &Cx<'_>) -> Result<One, Status> {
        let one = One { _alive: Alive::new(&self.alive) };
        wait(cx).await;
        Ok(one)
    }
}

struct One {
    _alive: Alive,
}

impl ClientStreamingCall<Blob<'static>, Blob<'static>> for One {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, _: Blob<'a>) -> Result<(), Status> {
        wait(cx).await;
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Blob<'a>, Status> {
        wait(cx).await;
        Ok(Blob::default())
    }
}

impl BidiCall<Blob<'static>, Blob<'static>> for One {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        wait(cx).await;
        out.send(&message).await
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, Blob<'static>>) -> Result<(), Status> {
        loop {
            cx.sleep(Duration::from_millis(3)).await;
            out.send(&Blob { count: 7, ..Blob::default() }).await?;
        }
    }
}

/// Uses every future that a client has.
async fn everything(stub: BytesClient) -> Result<(), Status> {
    let mut arena = Arena::new();
    // More than the windows let through at once, so that sends wait too.
    let large = vec![1; 150_000];
    stub.echo(&Blob { data: &large, ..Blob::default() }, &arena).await?;
    stub.echo(&Blob::default(), &arena).timeout(Duration::from_secs(1)).await?;

    let mut responses = stub.repeat(&Blob { data: &large, count: 3, ..Blob::default() }).await?;
    responses.headers().await;
    while responses.next(&mut arena).await?.is_some() {}
    stub.repeat(&Blob { count: 2, ..Blob::default() })
        .await?
        .for_each(&mut arena, |_| Ok(()))
        .await?;

    let mut requests = stub.sum().await?;
    for _ in 0..3 {
        requests.send(&Blob { data: &large, ..Blob::default() }).await?;
    }
    requests.finish(&arena).await?;

    let (mut sending, mut receiving) = stub.chat().await?.split();
    let send = async {
        for _ in 0..3 {
            sending.send(&Blob { data: &large, ..Blob::default() }).await?;
        }
        sending.end();
        Ok(())
    };
    let receive = async {
        while receiving.next(&mut arena).await?.is_some() {}
        Ok(())
    };
    both(send, receive).await
}

async fn both(
    one: impl Future<Output = Result<(), Status>>,
    other: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(outcome) = one.as_mut().poll(cx)
        {
            first = Some(outcome);
        }
        if second.is_none()
            && let Poll::Ready(outcome) = other.as_mut().poll(cx)
        {
            second = Some(outcome);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready(first.and(second)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls `future` at most `polls` times and drops it; its output if it came to that.
async fn at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            // Comes back for the drop, after both ends had their turn.
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

fn start(segment: usize) -> (BytesClient, Pair, Rc<Cell<usize>>) {
    let service = Slow::default();
    let alive = Rc::clone(&service.alive);
    let (stub, mut pair) = connect(service, &Limits::default());
    pair.segment(segment);
    (stub, pair, alive)
}

#[test]
fn dropping_a_clients_futures_at_any_point_ends_their_calls_and_nothing_else() {
    for segment in [20_000, usize::MAX] {
        let mut steps = 0;
        while !drop_after(steps, segment) {
            steps += 1;
        }
        assert!(steps > 40, "{steps} steps cannot have been everywhere");
    }
}

/// Drops the client's futures after so many turns of both ends; whether they were complete before.
fn drop_after(steps: usize, segment: usize) -> bool {
    let (stub, mut pair, alive) = start(segment);
    let mut client = Box::pin(everything(stub.clone()));
    let mut done = false;
    for _ in 0..steps {
        if let Poll::Ready(outcome) = client.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            assert_eq!(outcome, Ok(()));
            done = true;
            break;
        }
        if !pair.step() {
            pair.advance(Duration::from_millis(1));
        }
    }
    drop(client);
    pair.settle();
    assert_eq!(alive.get(), 0, "handlers outlive a drop after {steps} steps");
    let open = (pair.client().open_calls(), pair.server().open_calls());
    assert_eq!(open, (0, 0), "calls outlive a drop after {steps} steps");
    let arena = Arena::new();
    let blob = Blob { count: 3, ..Blob::default() };
    assert_eq!(pair.block_on(stub.echo(&blob, &arena)).map(|blob| blob.count), Ok(3));
    done
}

#[test]
fn dropping_the_servers_end_at_any_point_drops_its_handlers() {
    for polls in 0.. {
        let (stub, mut pair, alive) = start(1000);
        let done = pair.block_on(at_most(everything(stub), polls));
        drop(pair);
        assert_eq!(alive.get(), 0, "handlers outlive their connection after {polls} polls");
        if done.is_some() {
            return;
        }
    }
}

#[test]
fn cutting_the_connection_at_any_point_ends_every_future() {
    for polls in 0.. {
        let (stub, mut pair, alive) = start(1000);
        let mut client = Box::pin(everything(stub));
        if pair.block_on(at_most(client.as_mut(), polls)).is_some() {
            return;
        }
        pair.cut();
        let outcome = pair.block_on(client);
        assert!(outcome.is_err(), "a cut after {polls} polls went unnoticed");
        pair.settle();
        assert_eq!(alive.get(), 0);
    }
}
