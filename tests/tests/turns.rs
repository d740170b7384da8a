//! What an adapter may rely on when it drives an endpoint.

use std::rc::Rc;
use std::task::{Context, Waker};

use grpc_proto::{CallHead, Client, Config, Connection, Instant, Transmit};
use grpc_service::testing::MemoryHost;
use grpc_service::{Endpoint, Host, Peer, Router, Server, ServerOptions};
use tests::interop::puppet::Puppet;
use tests::testing::{Request, register_interop};

#[test]
fn a_turn_takes_all_input_though_many_calls_begin_before_any_can_be_answered() {
    let now = Instant::ZERO;
    let host: Rc<dyn Host> = Rc::new(MemoryHost::new(1));
    let mut router = Router::new();
    register_interop(&mut router, Rc::new(Puppet::new(Rc::clone(&host))));
    let server = Server::new(router, ServerOptions::default(), host);

    // All the heads first, then all the messages: nothing can be answered until the last head is in.
    let mut client = Connection::<Client>::new(&Config::default(), 1, now);
    let head = CallHead::new("/testing.Interop/Unary", "test");
    let calls: Vec<_> =
        (0..90).map(|_| client.call(&head, None, now).expect("room for a call")).collect();
    let mut out = Transmit::new();
    client.poll_transmit(&mut out, now);
    for call in calls {
        client
            .send(call, &Request::EMPTY)
            .and_then(|()| client.end(call))
            .expect("room for a message");
    }
    client.poll_transmit(&mut out, now);
    let bytes: Vec<u8> = out.chunks().flatten().copied().collect();

    let mut connection = server.accept(Peer::memory());
    let mut input = &bytes[..];
    let mut answers = Transmit::new();
    let mut cx = Context::from_waker(Waker::noop());
    connection.drive(&mut input, &mut answers, &mut cx, now).expect("the connection stays");
    assert!(input.is_empty(), "{} of {} bytes were left", input.len(), bytes.len());
}
