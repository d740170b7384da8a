//! What the fuzz targets have found, each in its smallest form.

mod common;

use std::time::Duration;

use common::Pair;
use grpc_proto::{Metadata, Status, server};

/// A call that was answered, but not yet pulled, was reset by the client: the idle timers were set by whatever came next.
#[test]
fn a_connection_is_idle_from_the_frame_on_that_takes_its_last_stream() {
    let idle = Duration::from_millis(20);
    let mut pair = Pair::with(|_| {}, |limits| limits.max_idle = Some(idle));
    let call = pair.call("/a/b");
    let mut answered = None;
    pair.run(|_, event, _| {
        if let server::Event::Request(call, _) = event {
            answered = Some(call);
        }
    });
    // Far from the timers of the beginning.
    pair.now = pair.now + Duration::from_secs(1);
    pair.run(|_, _, _| {});
    pair.server.finish(answered.unwrap(), &Status::OK, &Metadata::new()).unwrap();
    pair.client.cancel(call);
    let mut wire = Vec::new();
    common::pull(&mut pair.client, &mut wire, pair.now);
    let mut input = &wire[..];
    while pair.server.poll_event(&mut input, pair.now).unwrap().is_some() {}
    assert_eq!(pair.server.open_calls(), 0);
    assert_eq!(pair.server.poll_timeout(), Some(pair.now + idle));
}
