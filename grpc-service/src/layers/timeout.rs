//! An end for calls that take too long.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use grpc_proto::{Code, Status};

use super::{Incoming, Layer, Next, Outgoing};
use crate::client::CallError;

/// Ends calls with DEADLINE_EXCEEDED that take longer than a time, unless the client's own deadline is earlier.
///
/// At the server the handler is dropped, and sees the earlier deadline while it runs; at the client the deadline goes to the
/// server with the call.
#[derive(Clone, Copy, Debug)]
pub struct Timeout(pub Duration);

impl<'a> Layer<Incoming<'a>> for Timeout {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let view = call.view();
        let end = view.now() + self.0;
        view.shorten_deadline(end);
        let mut sleep = view.sleep_until(end);
        let mut running = pin!(next.call(call));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = running.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            let text = "the server's timeout for the call has passed";
            Pin::new(&mut sleep).poll(cx).map(|()| Err(Status::new(Code::DeadlineExceeded, text)))
        })
        .await
    }
}

impl<'a> Layer<Outgoing<'a>> for Timeout {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        // The connection ends the call then, and resets its stream at the server.
        call.shorten_deadline(call.now() + self.0);
        next.call(call).await
    }
}
