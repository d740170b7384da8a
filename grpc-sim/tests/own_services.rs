//! What the simulator owes those who test services of their own in it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_proto::{Code, Status};
use grpc_service::{
    Arena, CallError, Channel, ChannelOptions, Cx, Origin, Router, Server, ServerOptions,
};
use grpc_sim::service::{NetworkFault, Sim, for_each_seed};

const SECOND: Duration = Duration::from_secs(1);

/// Greets, and says how many times it has: what a service keeps.
#[derive(Default)]
struct Counting(Cell<u32>);

impl Greeter for Counting {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        self.0.set(self.0.get() + 1);
        cx.sleep(Duration::from_millis(10)).await;
        let message = cx.arena().alloc_str(&format!("{} {}", request.name, self.0.get()));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

fn server(sim: &Sim, service: &Rc<Counting>) -> Server {
    let mut router = Router::new();
    register_greeter(&mut router, Rc::clone(service));
    Server::new(router, ServerOptions::default(), sim.host())
}

async fn connect(sim: &Sim) -> Result<GreeterClient, CallError> {
    let channel = Channel::connect("greeter", &ChannelOptions::default(), sim.host(), sim).await;
    let channel = channel.map_err(|error| {
        CallError::new(Status::new(Code::Unavailable, error.to_string()), Origin::Local)
    })?;
    Ok(GreeterClient::new(channel))
}

async fn greet(stub: &GreeterClient) -> Result<String, CallError> {
    let (request, arena) = (HelloRequest { name: "you", ..HelloRequest::default() }, Arena::new());
    let reply = stub.say_hello(&request, &arena).timeout(SECOND).await;
    reply.map(|reply| reply.message.to_owned())
}

#[test]
fn a_world_that_is_dropped_lets_go_of_its_services() {
    for completions in [false, true] {
        let service = Rc::new(Counting::default());
        let sim = Sim::new(1);
        sim.completions(completions);
        sim.listen("greeter", server(&sim, &service));
        let stub = sim.block_on(connect(&sim)).unwrap().unwrap();
        assert_eq!(sim.block_on(greet(&stub)).unwrap().unwrap(), "you 1");
        // One more call is under way, and its handler waits.
        let late = stub.clone();
        grpc_service::Host::spawn(
            &sim,
            Box::pin(async move {
                let _ = greet(&late).await;
            }),
        );
        sim.advance(Duration::from_millis(5));
        drop(stub);
        drop(sim);
        assert_eq!(Rc::strong_count(&service), 1, "completions: {completions}");
    }
}

#[test]
fn a_shorter_refusal_does_not_end_a_longer_one() {
    let sim = Sim::new(1);
    sim.listen("greeter", server(&sim, &Rc::default()));
    let refuse = |seconds| NetworkFault::Refuse("greeter".into(), SECOND * seconds);
    sim.plan(Duration::ZERO, refuse(60));
    sim.plan(SECOND, refuse(1));
    sim.advance(SECOND * 10);
    assert!(sim.block_on(connect(&sim)).unwrap().is_err());
    sim.advance(SECOND * 51);
    assert!(sim.block_on(connect(&sim)).unwrap().is_ok());
    sim.check().unwrap();
}

#[test]
fn a_fault_at_an_address_that_nobody_listens_to_is_told() {
    let sim = Sim::new(1);
    sim.listen("greeter", server(&sim, &Rc::default()));
    sim.plan(SECOND, NetworkFault::Reset("greter".into()));
    sim.check().unwrap();
    sim.advance(SECOND * 2);
    let failure = sim.check().unwrap_err();
    assert!(failure.text.contains("greter"), "{failure}");
}

#[test]
fn a_world_goes_although_handles_of_it_are_left() {
    let service = Rc::new(Counting::default());
    let sim = Sim::new(1);
    sim.listen("greeter", server(&sim, &service));
    let (handle, stub) = (sim.clone(), sim.block_on(connect(&sim)).unwrap().unwrap());
    drop(sim);
    assert_eq!(Rc::strong_count(&service), 1);
    assert!(handle.block_on(connect(&handle)).is_err(), "time stands still");
    drop((stub, handle));
}

#[test]
fn faults_tell_how_many_connections_they_have_met() {
    let sim = Sim::new(1);
    sim.listen("greeter", server(&sim, &Rc::default()));
    let address = || "greeter".to_owned();
    sim.plan(SECOND, NetworkFault::Reset(address()));
    sim.plan(SECOND * 3, NetworkFault::Drain(address()));
    sim.plan(SECOND * 5, NetworkFault::Refuse(address(), SECOND));
    sim.advance(SECOND * 2);
    let stub = sim.block_on(connect(&sim)).unwrap().unwrap();
    sim.advance(SECOND * 3);
    assert!(sim.block_on(connect(&sim)).unwrap().is_err());
    drop(stub);
    let met: Vec<_> = sim.faults().iter().map(|fault| fault.met).collect();
    assert_eq!(met, [0, 1, 1]);
    assert_eq!(sim.faults()[1].fault, NetworkFault::Drain(address()));
    sim.settle().unwrap();
}

#[test]
fn a_crash_takes_what_a_service_keeps_where_it_is_told_how_to_make_another_one() {
    for anew in [false, true] {
        let sim = Sim::new(1);
        match anew {
            false => sim.listen("greeter", server(&sim, &Rc::default())),
            true => {
                let handle = sim.clone();
                sim.listen_with("greeter", move || server(&handle, &Rc::default()));
            }
        }
        let stub = sim.block_on(connect(&sim)).unwrap().unwrap();
        assert_eq!(sim.block_on(greet(&stub)).unwrap().unwrap(), "you 1");
        sim.plan(Duration::ZERO, NetworkFault::Crash("greeter".into(), SECOND));
        assert!(sim.block_on(greet(&stub)).unwrap().is_err());
        assert!(sim.block_on(connect(&sim)).unwrap().is_err());
        sim.advance(SECOND);
        let stub = sim.block_on(connect(&sim)).unwrap().unwrap();
        let expected = if anew { "you 1" } else { "you 2" };
        assert_eq!(sim.block_on(greet(&stub)).unwrap().unwrap(), expected);
        sim.settle().unwrap();
    }
}

#[test]
fn what_happened_can_be_shown_as_a_capture() {
    let sim = Sim::new(1);
    sim.listen("greeter", server(&sim, &Rc::default()));
    let stub = sim.block_on(connect(&sim)).unwrap().unwrap();
    sim.block_on(greet(&stub)).unwrap().unwrap();
    assert!(grpc_sim::show::pcap(&sim.trace()).len() > 200);
    assert!(grpc_sim::show::chrome(&sim.trace()).contains("connected"));
    sim.settle().unwrap();
}

#[test]
fn a_world_that_goes_beyond_its_limit_of_events_is_ended() {
    let sim = Sim::new(1);
    sim.event_limit(100);
    sim.listen("greeter", server(&sim, &Rc::default()));
    let outcome = sim.block_on(async {
        let stub = connect(&sim).await.unwrap();
        while greet(&stub).await.is_ok() {}
    });
    assert!(outcome.is_err());
    assert_eq!(sim.check().unwrap_err().oracle, grpc_sim::Oracle::Work);
}

/// A few calls over a drawn network, each of which may end for want of a connection and for no other reason.
fn greets(sim: &Sim) -> Result<(), Status> {
    let handle = sim.clone();
    sim.listen_with("greeter", move || server(&handle, &Rc::default()));
    sim.draw("greeter", SECOND);
    let codes = sim.block_on(async {
        let mut codes = Vec::new();
        for _ in 0..10 {
            let outcome = match connect(sim).await {
                Ok(stub) => greet(&stub).await.map(drop),
                Err(status) => Err(status),
            };
            codes.push(outcome.map_or_else(|status| status.code(), |()| Code::Ok));
        }
        codes
    });
    let odd = |code: &&Code| {
        !matches!(code, Code::Ok | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
    };
    match codes.expect("a call ends at its deadline").iter().find(odd) {
        Some(code) => Err(Status::new(*code, "for no reason")),
        None => Ok(()),
    }
}

#[test]
fn services_are_tested_over_drawn_networks() {
    for_each_seed(0..200, greets);
    for_each_seed(0..50, |sim| {
        sim.completions(true);
        greets(sim)
    });
}

#[test]
fn every_kind_of_fault_is_drawn_and_half_of_all_worlds_have_none() {
    let (mut kinds, mut calm) = (BTreeSet::new(), 0);
    for seed in 0..200 {
        let faults = Sim::new(seed).draw("greeter", SECOND);
        assert_eq!(faults, Sim::new(seed).draw("greeter", SECOND));
        assert!(faults.iter().all(|(after, _)| *after <= SECOND));
        calm += usize::from(faults.is_empty());
        let kind = |fault| format!("{fault:?}").split('(').next().map(str::to_owned);
        kinds.extend(faults.iter().filter_map(|(_, fault)| kind(fault)));
    }
    assert_eq!(kinds.len(), 13, "{kinds:?}");
    assert!((70..130).contains(&calm), "{calm}");
}

/// What a loop over seeds says that is to fail.
fn reported(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it is to fail");
    panic.downcast_ref::<String>().cloned().expect("words")
}

#[test]
fn a_loop_over_seeds_names_the_one_that_fails() {
    let fails = |sim: &Sim| {
        greets(sim)?;
        let drawn = grpc_service::Host::entropy(sim);
        if drawn.is_multiple_of(3) { Err(Status::new(Code::Internal, "a third")) } else { Ok(()) }
    };
    let text = reported(|| for_each_seed(0..100, fails));
    assert!(text.starts_with("seed ") && text.contains("a third"), "{text}");
    assert!(text.lines().count() > 20, "what happened is shown: {text}");
    let seed: u64 = text[5..text.find(':').unwrap()].parse().unwrap();
    for_each_seed(0..seed, fails);
    assert_eq!(reported(|| for_each_seed(seed..seed + 1, fails)), text);
    // A panic and a broken rule are failures too.
    let text = reported(|| for_each_seed(5..6, |_| -> Result<(), Status> { panic!("so it is") }));
    assert!(text.starts_with("seed 5: a panic: so it is"), "{text}");
    let astray = |sim: &Sim| -> Result<(), Status> {
        sim.plan(Duration::ZERO, NetworkFault::Reset("nowhere".into()));
        sim.advance(SECOND);
        Ok(())
    };
    let text = reported(|| for_each_seed(5..6, astray));
    assert!(text.starts_with("seed 5: [plan]"), "{text}");
}

#[test]
fn a_test_that_depends_on_more_than_its_seed_is_found() {
    let runs = Cell::new(0);
    let text = reported(|| {
        for_each_seed(0..1, |sim| -> Result<(), Status> {
            runs.set(runs.get() + 1);
            sim.listen("greeter", server(sim, &Rc::default()));
            for _ in 0..runs.get() {
                let stub = sim.block_on(connect(sim)).unwrap()?;
                sim.block_on(greet(&stub)).unwrap()?;
            }
            Ok(())
        });
    });
    assert!(text.contains("two runs of seed 0 differ"), "{text}");
}
