//! Code of the program's that panics where no handler runs: it costs what it belongs to, and no connection.

mod common;

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{BytesClient, Raw, methods};
use grpc_arena::Arena;
use grpc_proto::{Code, Status};
use grpc_service::server::UnaryHandler;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, Recordings, Router, Server, ServerOptions};

struct Echoing;

impl Clone for Echoing {
    fn clone(&self) -> Self {
        Echoing
    }
}

impl UnaryHandler<methods::Echo> for Echoing {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(request)
    }
}

/// A service that cannot be copied for a call.
struct Unique;

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("there is one of me")
    }
}

impl UnaryHandler<methods::Split> for Unique {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(request)
    }
}

fn connect(recordings: &Recordings) -> (BytesClient, Pair) {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.unary::<methods::Echo, _>(Echoing);
    router.unary::<methods::Split, _>(Unique);
    let options = ServerOptions::default().record(recordings.clone());
    let server = Server::new(router, options, Rc::new(Rc::clone(&host)));
    let options = ChannelOptions::default().record(recordings.clone());
    let (channel, pair) = Pair::new(&host, &server, &options);
    (BytesClient::new(channel), pair)
}

fn is_served(client: &BytesClient, pair: &mut Pair) {
    let arena = Arena::new();
    assert_eq!(pair.block_on(client.echo(&Raw(b"hello"), &arena)), Ok(Raw(b"hello")));
}

#[test]
fn a_recording_that_panics_when_it_is_asked_for_is_none() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| panic!("no place for it")));
    is_served(&client, &mut pair);
}

#[test]
fn a_recording_that_panics_ends_there_and_nothing_else_does() {
    let (called, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counter, file) = (Arc::clone(&called), Arc::clone(&bytes));
    let (client, mut pair) = connect(&Recordings::new(move |_, _| {
        let (counter, file) = (Arc::clone(&counter), Arc::clone(&file));
        Some(Box::new(move |said: &[u8]| {
            let calls = counter.fetch_add(1, Ordering::Relaxed);
            assert!(calls < 10, "the disk is full");
            file.lock().unwrap().extend_from_slice(said);
        }))
    }));
    is_served(&client, &mut pair);
    is_served(&client, &mut pair);
    drop((client, pair));
    // Each end's was called once in vain, and not for its end either.
    assert_eq!(called.load(Ordering::Relaxed), 12);
}

#[test]
fn a_service_that_panics_when_it_is_copied_fails_the_call() {
    let (client, mut pair) = connect(&Recordings::new(|_, _| None));
    let arena = Arena::new();
    let request = Raw(b"hello");
    let failed = pair.block_on(grpc_service::client::Call::<methods::Split, _>::unary(
        client.channel(),
        &request,
        &arena,
    ));
    assert_eq!(failed.unwrap_err().code(), Code::Internal);
    is_served(&client, &mut pair);
    assert_eq!(pair.server().open_calls(), 0);
}
