//! Our client drives our server in memory, on a virtual clock: the checks that also run against foreign peers.

use std::rc::Rc;
use std::time::Duration;

use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Host, Router, Server, ServerOptions};
use tests::interop::checks::{self, Check, Peer, Target};
use tests::interop::puppet::Puppet;
use tests::testing::register_interop;

/// Runs a check on a connection of its own; returns the virtual time that it took.
fn run(check: &Check) -> Duration {
    let memory = MemoryHost::new(1);
    let host: Rc<dyn Host> = Rc::new(Rc::clone(&memory));
    let mut router = Router::new();
    register_interop(&mut router, Rc::new(Puppet::new(Rc::clone(&host))));
    let server = Server::new(router, ServerOptions::default(), Rc::clone(&host));
    let (channel, mut pair) = Pair::new(&memory, &server, &ChannelOptions::default());
    let target = Target { channel, host: Rc::clone(&host), of: Peer::Ours };
    let started = host.now();
    if let Err(wrong) = pair.block_on((check.run)(target)) {
        panic!("{}: {wrong}", check.name);
    }
    host.now() - started
}

#[test]
fn every_check_passes_in_memory_and_none_waits_for_a_timer_that_is_not_its_own() {
    for check in checks::all() {
        let took = run(&check);
        let patience = if check.name.contains("deadline") {
            Duration::from_secs(2)
        } else {
            Duration::from_millis(100)
        };
        assert!(took < patience, "{} took {took:?} of virtual time", check.name);
    }
}
