//! A second runtime: the route guide, unmodified, over tokio.

use std::rc::Rc;
use std::time::Duration;

use examples::guide::{Guide, tour};
use examples::routeguide::register_route_guide;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{Channel, ChannelOptions, Router, Server, ServerOptions};
use tests::tokio_adapter::{TokioConnector, TokioHost, serve};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

fn guide() -> Router {
    let mut router = Router::new();
    register_route_guide(&mut router, Rc::new(Guide::default()));
    router
}

/// What the tour says in memory, without any runtime.
fn expected() -> Vec<String> {
    let host = MemoryHost::new(1);
    let server = Server::new(guide(), ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let mut lines = Vec::new();
    pair.block_on(tour(channel, |line| lines.push(line))).expect("the tour ends well");
    lines
}

#[test]
fn the_route_guide_runs_on_tokio_unmodified() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = LocalSet::new().block_on(&runtime, async {
        let host = TokioHost::shared();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::new(guide(), ServerOptions::default(), Rc::clone(&host));
        spawn_local(serve(listener, server));

        let connector = TokioConnector { host: Rc::clone(&host) };
        let options = ChannelOptions::default();
        let channel = Channel::connect(&address, &options, host, &connector).await.unwrap();
        let mut lines = Vec::new();
        let tour = tour(channel, |line| lines.push(line));
        tokio::time::timeout(Duration::from_secs(20), tour).await.unwrap().unwrap();
        lines
    });
    assert_eq!(lines, expected());
    assert_eq!(lines.len(), 10);
}

#[test]
fn the_clocks_of_all_hosts_begin_together() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let first = TokioHost::shared();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let second = TokioHost::shared();
        let (before, between, after) = (first.now(), second.now(), first.now());
        assert!(before <= between && between <= after, "{before}, {between}, {after}");
    });
}
