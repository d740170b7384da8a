//! Layers around calls, at both ends, in worlds with a drawn network: each call has one end in each layer, whatever becomes of it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_service::layers::{
    Auth, CallView, CheckToken, ConcurrencyLimit, Incoming, Layer, Next, Outgoing, Retry, Timeout,
    WithToken, observe, observe_calls,
};
use grpc_service::testing::join_all;
use grpc_service::{
    Arena, Backoff, CallError, Channel, ChannelOptions, Cx, Host, Router, Server, ServerOptions,
    Status,
};
use grpc_sim::service::{Sim, for_each_seed};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const CALLS: u64 = 24;
/// Calls that run at the server at a time, and that wait there.
const RUNNING: usize = 2;
const QUEUED: usize = 3;

#[derive(Default)]
struct Seen {
    /// Calls that came to the outermost layer of the server, and their ends there.
    begun: Cell<u64>,
    ended: Cell<u64>,
    /// Handlers that run, and the most that did at a time.
    running: Cell<usize>,
    most: Cell<usize>,
    /// Ends that the client's outermost layer saw, and calls that ended OK there and for the caller.
    client_ends: Cell<u64>,
    layer_ok: Cell<u64>,
    caller_ok: Cell<u64>,
    wrong: RefCell<Vec<String>>,
}

struct Arrivals(Rc<Seen>);

impl<'a> Layer<Incoming<'a>> for Arrivals {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        self.0.begun.set(self.0.begun.get() + 1);
        next.call(call).await
    }
}

struct Tokens;

struct Known;

impl CheckToken for Tokens {
    type Identity = Known;

    async fn check(&self, call: CallView<'_>, token: &str) -> Result<Known, Status> {
        call.sleep(MS).await;
        match token {
            "known" => Ok(Known),
            _ => Err(Status::unauthenticated("the token is not known; get one")),
        }
    }
}

struct Slow(Rc<Seen>);

struct Run<'s>(&'s Seen);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

impl Greeter for Slow {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        let seen = &*self.0;
        seen.running.set(seen.running.get() + 1);
        seen.most.set(seen.most.get().max(seen.running.get()));
        let _run = Run(seen);
        if cx.extension::<Known>().is_none() {
            seen.wrong.borrow_mut().push("a handler ran without its caller known".into());
        }
        cx.sleep(MS * (cx.entropy() % 150) as u32).await;
        match request.name {
            "fail" => Err(Status::not_found("nobody")),
            name => Ok(HelloReply { message: name, ..HelloReply::default() }),
        }
    }
}

fn server(sim: &Sim, seen: &Rc<Seen>, limit: &Rc<ConcurrencyLimit>) -> Server {
    let (ends, mut router) = (Rc::clone(seen), Router::new());
    let ended = observe(move |call: CallView<'_>, status: &Status| {
        ends.ended.set(ends.ended.get() + 1);
        if status.is_ok() && call.counts().sent != 1 {
            ends.wrong.borrow_mut().push("a call was OK without its reply".into());
        }
    });
    let layers =
        (Arrivals(Rc::clone(seen)), ended, Auth(Tokens), Rc::clone(limit), Timeout(100 * MS));
    register_greeter(&mut router.around_all(layers), Rc::new(Slow(Rc::clone(seen))));
    Server::new(router, ServerOptions::default(), sim.host())
}

fn channel(sim: &Sim, seen: &Rc<Seen>, token: &'static str) -> Channel {
    let (ends, connector) = (Rc::clone(seen), Rc::new(sim.clone()));
    let observed = observe_calls(move |_: Outgoing<'_>, status: &Status| {
        ends.client_ends.set(ends.client_ends.get() + 1);
        ends.layer_ok.set(ends.layer_ok.get() + u64::from(status.is_ok()));
    });
    let mut backoff = Backoff::default();
    backoff.initial = 20 * MS;
    let channel = Channel::to("greeter", &ChannelOptions::default(), sim.host(), connector);
    channel.around((observed, Retry::new(3, backoff), Timeout(2 * SECOND), WithToken(token)))
}

/// One call, which its caller may give up; says how it ended, if it did.
async fn call(
    sim: &Sim,
    stub: &GreeterClient,
    seen: &Seen,
    n: u64,
) -> Option<Result<(), CallError>> {
    Host::timer(sim, Host::now(sim) + MS * (n * 7 % 90) as u32).await;
    let (arena, patience) = (Arena::new(), MS * (Host::entropy(sim) % 400) as u32);
    let name = if n.is_multiple_of(5) { "fail" } else { "you" };
    let request = HelloRequest { name, ..HelloRequest::default() };
    let mut given_up = Host::timer(sim, Host::now(sim) + patience);
    let mut call = pin!(async { stub.say_hello(&request, &arena).await.map(drop) });
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        given_up.as_mut().poll(cx).map(|()| None)
    })
    .await;
    if ended == Some(Ok(())) {
        seen.caller_ok.set(seen.caller_ok.get() + 1);
    }
    ended
}

fn world(sim: &Sim, limit: &Rc<ConcurrencyLimit>, faults: bool) -> Result<Rc<Seen>, String> {
    let seen = Rc::new(Seen::default());
    let (handle, kept, shared) = (sim.clone(), Rc::clone(&seen), Rc::clone(limit));
    sim.listen_with("greeter", move || server(&handle, &kept, &shared));
    if faults {
        sim.draw("greeter", SECOND);
    }
    let known = GreeterClient::new(channel(sim, &seen, "known"));
    let stranger = GreeterClient::new(channel(sim, &seen, "unknown"));
    let strange = RefCell::new(Vec::new());
    let calls = (0..CALLS).map(|n| {
        let (known, stranger, seen, strange) = (&known, &stranger, &seen, &strange);
        async move {
            let is_stranger = n % 6 == 1;
            let stub = if is_stranger { stranger } else { known };
            let ended = call(sim, stub, seen, n).await;
            if is_stranger && ended == Some(Ok(())) {
                strange.borrow_mut().push(n);
            }
        }
    });
    sim.block_on(join_all(calls)).map_err(|stuck| stuck.to_string())?;
    sim.advance(10 * SECOND);
    seen.wrong.borrow_mut().extend(strange.take().iter().map(|n| format!("{n} was let in")));
    let (begun, ended) = (seen.begun.get(), seen.ended.get());
    let reported = |what: &str, is: bool| if is { Ok(()) } else { Err(what.to_owned()) };
    reported(&format!("{begun} calls came and {ended} ended"), begun == ended)?;
    reported("a place of the limit is lost", (limit.running(), limit.queued()) == (0, 0))?;
    reported("a handler is left", seen.running.get() == 0)?;
    reported("more handlers ran than the limit lets", seen.most.get() <= RUNNING)?;
    reported("the client's layer missed an end", seen.client_ends.get() == CALLS)?;
    reported("layer and caller differ", seen.layer_ok.get() == seen.caller_ok.get())?;
    match seen.wrong.borrow().first() {
        Some(wrong) => Err(wrong.clone()),
        None => Ok(Rc::clone(&seen)),
    }
}

#[test]
fn each_call_ends_once_in_each_layer_whatever_the_network_does() {
    for_each_seed(0..40, |sim| {
        world(sim, &Rc::new(ConcurrencyLimit::new(RUNNING, QUEUED)), true).map(drop)
    });
}

#[test]
fn without_faults_calls_run_wait_and_are_refused_at_the_limit() {
    let most = Cell::new((0, 0, 0));
    for_each_seed(0..10, |sim| {
        let seen = world(sim, &Rc::new(ConcurrencyLimit::new(RUNNING, QUEUED)), false)?;
        let (ran, ok, calls) = most.get();
        most.set((ran.max(seen.most.get()), ok + seen.caller_ok.get(), calls + seen.begun.get()));
        Ok::<(), String>(())
    });
    let (ran, ok, calls) = most.get();
    assert_eq!(ran, RUNNING);
    assert!(ok > 0 && ok < calls, "{ok} of {calls}");
}

#[test]
fn a_world_finds_a_limit_that_is_too_wide() {
    let failed = Cell::new(0);
    for_each_seed(0..5, |sim| {
        let wide = Rc::new(ConcurrencyLimit::new(RUNNING + 2, QUEUED));
        let found = world(sim, &wide, false).err();
        let found = found.is_some_and(|text| text.contains("more handlers"));
        failed.set(failed.get() + u32::from(found));
        Ok::<(), String>(())
    });
    assert!(failed.get() > 0);
}
