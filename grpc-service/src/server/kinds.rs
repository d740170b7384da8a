//! The message loops of the four kinds of call.
//!
//! Each function is one future that owns its lease and its messages, borrows among them. It borrows its handler and its
//! scope from the future around it, in a [`Slot`](crate::slot::Slot), which owns them: no `unsafe` is needed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use grpc_arena::Arena;
use grpc_proto::Status;

use super::call::{Handled, Scope, Sender};
use super::{
    BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler, Cx, ServerStreamingHandler,
    Sink, UnaryHandler,
};
use crate::Method;
use crate::compression::Packed;

pub(crate) async fn unary<M: Method, H: UnaryHandler<M>>(
    handler: &H,
    scope: &Scope,
) -> Result<(), Status> {
    let message = scope.take_message();
    let outcome = async {
        let lease = scope.lease();
        let bytes = message.bytes();
        let request = scope.decode::<M::Request>(bytes, &lease)?;
        let cx = Cx::new(scope, lease.arena()).with_compressed(bytes.1);
        let response = handler.call(&cx, request).await?;
        let mut packed = Packed::Not;
        poll_fn(|cx| scope.poll_send(&response, Sender::Replies, &mut packed, cx)).await
    }
    .await;
    scope.give_back_only(message);
    outcome
}

pub(crate) async fn server_streaming<M: Method, H: ServerStreamingHandler<M>>(
    handler: &H,
    scope: &Scope,
) -> Result<(), Status> {
    let message = scope.take_message();
    let outcome = async {
        let lease = scope.lease();
        let bytes = message.bytes();
        let request = scope.decode::<M::Request>(bytes, &lease)?;
        let cx = Cx::new(scope, lease.arena()).with_compressed(bytes.1);
        handler.call(&cx, request, &mut Sink::new(scope, Sender::Replies)).await
    }
    .await;
    scope.give_back_only(message);
    outcome
}

pub(crate) async fn client_streaming<M: Method, H: ClientStreamingHandler<M>>(
    handler: &H,
    scope: &Scope,
) -> Result<(), Status> {
    async {
        let mut call = {
            let lease = scope.lease();
            handler.open(&Cx::new(scope, lease.arena())).await?
        };
        while let Some(mut batch) = poll_fn(|_| scope.poll_batch()).await {
            let (mut lease, mut handled) = (scope.lease(), Handled::default());
            while let Some(message) = batch.pop() {
                let taken = scope.handle(&mut handled, async {
                    let bytes = (batch.bytes(&message), message.is_compressed());
                    let request = scope.decode::<M::Request>(bytes, &lease)?;
                    let cx = Cx::new(scope, lease.arena()).with_compressed(bytes.1);
                    call.on_message(&cx, request).await
                });
                let taken = taken.await;
                lease.reset();
                scope.count(&mut handled, message);
                if taken.is_err() {
                    scope.grant(&mut handled);
                    return taken;
                }
            }
            scope.grant(&mut handled);
            drop(lease);
            scope.give_back(batch);
        }
        let lease = scope.lease();
        let response = call.finish(&Cx::new(scope, lease.arena())).await?;
        let mut packed = Packed::Not;
        poll_fn(|cx| scope.poll_send(&response, Sender::Replies, &mut packed, cx)).await
    }
    .await
}

pub(crate) async fn bidi<M: Method, H: BidiHandler<M>>(
    handler: &H,
    scope: &Scope,
) -> Result<(), Status> {
    async {
        // Where `run` may build its messages: it lives beside all other messages, so no lease fits it. An arena
        // that is not used takes no memory.
        let arena = Arena::with_budget(scope.shared.decode.arena_bytes);
        let cx = Cx::new(scope, &arena);
        let call = handler.open(&cx).await?;
        let mut pushed = Sink::new(scope, Sender::Pushes);
        let run = call.run(&cx, &mut pushed);
        let messages = converse::<M, _>(&call, scope);
        beside(scope, messages, run).await
    }
    .await
}

/// The message loop of a call with streams in both directions.
async fn converse<M: Method, C: BidiCall<M::Request, M::Response>>(
    call: &C,
    scope: &Scope,
) -> Result<(), Status> {
    let mut out = Sink::new(scope, Sender::Replies);
    while let Some(mut batch) = poll_fn(|_| scope.poll_batch()).await {
        let (mut lease, mut handled) = (scope.lease(), Handled::default());
        while let Some(message) = batch.pop() {
            let taken = scope.handle(&mut handled, async {
                let bytes = (batch.bytes(&message), message.is_compressed());
                let request = scope.decode::<M::Request>(bytes, &lease)?;
                let cx = Cx::new(scope, lease.arena()).with_compressed(bytes.1);
                call.on_message(&cx, request, &mut out).await
            });
            let taken = taken.await;
            lease.reset();
            scope.count(&mut handled, message);
            if taken.is_err() {
                scope.grant(&mut handled);
                return taken;
            }
        }
        scope.grant(&mut handled);
        drop(lease);
        scope.give_back(batch);
    }
    let lease = scope.lease();
    call.finish(&Cx::new(scope, lease.arena()), &mut out).await
}

/// Polls both; over when `main` is, or when `side` fails.
///
/// `main` comes first, so that `side` sees in the same turn what a message has changed; and by turns where both wait for
/// room to send.
async fn beside(
    scope: &Scope,
    main: impl Future<Output = Result<(), Status>>,
    side: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let (mut main, mut side) = (pin!(main), pin!(side));
    let mut side_runs = true;
    poll_fn(|cx| {
        let order = match scope.call.first.replace(Sender::Replies) {
            Sender::Replies => [Sender::Replies, Sender::Pushes],
            Sender::Pushes => [Sender::Pushes, Sender::Replies],
        };
        for part in order {
            match part {
                Sender::Replies => {
                    if let Poll::Ready(outcome) = main.as_mut().poll(cx) {
                        return Poll::Ready(outcome);
                    }
                }
                Sender::Pushes => {
                    if side_runs && let Poll::Ready(outcome) = side.as_mut().poll(cx) {
                        side_runs = false;
                        if outcome.is_err() {
                            return Poll::Ready(outcome);
                        }
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}
