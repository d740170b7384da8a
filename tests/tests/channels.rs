//! Channels that connect by themselves, in the simulator: rules 37, 38 and 41 under virtual time.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::{Code, Instant, Processed};
use grpc_service::CallError;
use grpc_service::{
    Backoff, Channel, ChannelOptions, ClientConnection, ConnectError, Connectivity, Connector,
    Host, LocalFuture, ResponseMetadata, Router, Server, ServerOptions,
};
use grpc_sim::service::{NetworkFault, Sim};
use tests::bytes::{Blob, BytesClient, register_bytes};
use tests::echo::Echoing;

const ADDRESS: &str = "server";

/// Notes when attempts to connect begin.
struct Noting {
    sim: Sim,
    attempts: RefCell<Vec<Instant>>,
    /// Attempts from the first on that never come to an end.
    hang: usize,
}

impl Connector for Noting {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        self.attempts.borrow_mut().push(Host::now(&self.sim));
        if self.attempts.borrow().len() <= self.hang {
            return Box::pin(async move {
                let _connection = connection;
                pending().await
            });
        }
        self.sim.connect(address, connection)
    }
}

struct World {
    sim: Sim,
    stub: BytesClient,
    channel: Channel,
    connector: Rc<Noting>,
}

fn world(seed: u64, hang: usize) -> World {
    let sim = Sim::new(seed);
    let mut router = Router::new();
    register_bytes(&mut router, Rc::new(Echoing));
    sim.listen(ADDRESS, Server::new(router, ServerOptions::default(), sim.host()));
    let connector = Rc::new(Noting { sim: sim.clone(), attempts: RefCell::default(), hang });
    let options = ChannelOptions::default();
    let channel =
        Channel::to(ADDRESS, &options, sim.host(), Rc::clone(&connector) as Rc<dyn Connector>);
    World { sim, stub: BytesClient::new(channel.clone()), channel, connector }
}

impl World {
    fn now(&self) -> Instant {
        Host::now(&self.sim)
    }

    fn attempts(&self) -> usize {
        self.connector.attempts.borrow().len()
    }

    async fn echo(&self) -> Result<(), CallError> {
        let arena = Arena::new();
        self.stub.echo(&Blob { count: 7, ..Blob::default() }, &arena).await.map(drop)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.sim.block_on(future).expect("something can always go on")
    }
}

fn code(outcome: Result<(), CallError>) -> Code {
    outcome.map_or_else(|status| status.code(), |()| Code::Ok)
}

#[test]
fn a_channel_connects_when_it_is_called_and_keeps_its_connection() {
    let world = world(1, 0);
    assert_eq!(world.channel.state(), Connectivity::Idle);
    world.sim.advance(Duration::from_secs(60));
    assert_eq!(world.attempts(), 0);
    for _ in 0..10 {
        assert_eq!(world.block_on(world.echo()), Ok(()));
        assert_eq!((world.channel.state(), world.attempts()), (Connectivity::Ready, 1));
    }
    world.sim.check().unwrap();
}

#[test]
fn rule_38_calls_wait_while_connecting_and_fail_fast_after_a_failure_unless_they_wait_for_ready() {
    let world = world(2, 0);
    world.sim.plan(Duration::ZERO, NetworkFault::Refuse(ADDRESS.into(), Duration::from_secs(10)));
    world.sim.advance(Duration::from_millis(1));
    // Waits for the attempt, which fails.
    assert_eq!(code(world.block_on(world.echo())), Code::Unavailable);
    assert_eq!(world.channel.state(), Connectivity::TransientFailure);
    // Fails at once, and no attempt is made.
    let before = world.now();
    let failed = world.block_on(world.echo()).unwrap_err();
    assert_eq!((failed.code(), world.now(), world.attempts()), (Code::Unavailable, before, 1));
    assert!(failed.message().contains("refused"), "{failed:?}");
    // Waits for better times, and for no longer than it has.
    let arena = Arena::new();
    let blob = Blob::default();
    let hasty = world.stub.echo(&blob, &arena).wait_for_ready().timeout(Duration::from_secs(4));
    assert_eq!(code(world.block_on(async { hasty.await.map(drop) })), Code::DeadlineExceeded);
    assert_eq!(world.now(), before + Duration::from_secs(4));
    let patient = world.stub.echo(&blob, &arena).wait_for_ready();
    assert_eq!(code(world.block_on(async { patient.await.map(drop) })), Code::Ok);
    assert!(world.now() > Instant::ZERO + Duration::from_secs(10));
    assert_eq!(world.channel.state(), Connectivity::Ready);
    world.sim.check().unwrap();
}

#[test]
fn rule_37_attempts_are_paced_and_the_pace_begins_anew_after_a_success() {
    for seed in 0..2 {
        let world = world(seed, 0);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        world.sim.plan(Duration::ZERO, NetworkFault::Refuse(ADDRESS.into(), minutes(5)));
        world.sim.advance(Duration::from_millis(1));
        let arena = Arena::new();
        let patient =
            async { world.stub.echo(&Blob::default(), &arena).wait_for_ready().await.map(drop) };
        assert_eq!(code(world.block_on(patient)), Code::Ok);
        let attempts = world.connector.attempts.take();
        let mut expected = 1.0;
        for pair in attempts.windows(2) {
            let took = (pair[1] - pair[0]).as_secs_f64();
            assert!((0.799..1.201).contains(&(took / expected)), "{took} s for {expected} s");
            expected = f64::min(expected * 1.6, 120.0);
        }
        assert!(attempts.len() > 10, "{attempts:?}");

        world.sim.plan(Duration::ZERO, NetworkFault::Refuse(ADDRESS.into(), minutes(1)));
        world.sim.plan(Duration::ZERO, NetworkFault::Reset(ADDRESS.into()));
        world.sim.advance(Duration::from_millis(1));
        assert_eq!(code(world.block_on(world.echo())), Code::Unavailable);
        // The next is due in a second or so again; a call that comes after it waits for its outcome.
        assert_eq!(world.channel.state(), Connectivity::TransientFailure);
        world.sim.advance(Duration::from_millis(1300));
        assert_eq!((world.channel.state(), world.attempts()), (Connectivity::Idle, 1));
        assert_eq!(code(world.block_on(world.echo())), Code::Unavailable);
        assert_eq!(world.attempts(), 2);
        world.sim.check().unwrap();
    }
}

#[test]
fn rule_37_an_attempt_that_hangs_is_given_up_after_twenty_seconds() {
    let world = world(3, 1);
    assert_eq!(Backoff::default().attempt_timeout, Duration::from_secs(20));
    let failed = world.block_on(world.echo()).unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    assert_eq!(world.now(), Instant::ZERO + Duration::from_secs(20));
    // Its pace was over long before.
    assert_eq!(world.block_on(world.echo()), Ok(()));
}

#[test]
fn a_lost_connection_fails_the_calls_that_may_have_been_processed_and_is_replaced() {
    let world = world(4, 0);
    assert_eq!(world.block_on(world.echo()), Ok(()));
    let stalled = NetworkFault::Stall(ADDRESS.into(), Duration::from_secs(1));
    world.sim.plan(Duration::ZERO, stalled);
    world.sim.plan(Duration::from_millis(500), NetworkFault::Reset(ADDRESS.into()));
    let (arena, mut response) = (Arena::new(), ResponseMetadata::default());
    let blob = Blob::default();
    let call = world.stub.echo(&blob, &arena).response(&mut response);
    assert_eq!(code(world.block_on(async { call.await.map(drop) })), Code::Unavailable);
    assert_eq!(response.processed, Some(Processed::Maybe));
    assert_eq!(world.block_on(world.echo()), Ok(()));
    assert_eq!((world.attempts(), world.channel.state()), (2, Connectivity::Ready));
    world.sim.check().unwrap();
}

#[test]
fn rule_41_no_call_is_lost_while_servers_drain_their_connections() {
    for seed in 0..5 {
        let world = world(seed, 0);
        for n in 1..8 {
            let after = Duration::from_millis(1301 * n);
            world.sim.plan(after, NetworkFault::Drain(ADDRESS.into()));
        }
        world.block_on(async {
            let (arena, other) = (Arena::new(), Arena::new());
            while world.now() < Instant::ZERO + Duration::from_secs(10) {
                // One that waits in its handler, and one that does not.
                let slow = Blob { wait: true, ..Blob::default() };
                let quick = Blob::default();
                let slow = world.stub.echo(&slow, &arena).await.map(drop);
                let quick = world.stub.echo(&quick, &other).await.map(drop);
                assert_eq!((slow, quick), (Ok(()), Ok(())), "seed {seed}");
                let rest = world.now() + Duration::from_millis(20);
                Host::timer(&world.sim, rest).await;
            }
        });
        assert!(world.attempts() > 5, "{} connections", world.attempts());
        world.sim.check().unwrap();
    }
}

#[test]
fn a_channel_that_is_dropped_leaves_no_connection_and_no_attempt_behind() {
    let world = world(5, 0);
    assert_eq!(world.block_on(world.echo()), Ok(()));
    let World { sim, stub, channel, connector } = world;
    drop((stub, channel));
    sim.advance(Duration::from_secs(5));
    sim.check().unwrap();
    // Idle for an hour: nothing pings, nothing connects.
    sim.advance(Duration::from_secs(3600));
    assert_eq!(connector.attempts.borrow().len(), 1);
    assert_eq!(Rc::strong_count(&connector), 1, "nothing holds the channel's connector");
}
