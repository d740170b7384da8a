//! Accepting connections until a stop.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::group::{Group, Member};
use super::stop::Stop;
use crate::drive::Phase;
use crate::{LocalFuture, Peer, Server};

/// First and longest wait after an accept that failed for want of resources (EMFILE and the like).
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Connections that are accepted before the other tasks of the thread get their turn.
const IN_A_ROW: u32 = 32;

/// Accepts connections by `accept` until `stop`, and spawns on the server's host the tasks that `connect` makes of them.
///
/// `accept` returns one connection, or an error soon after the stop has begun. `connect` returns the task that drives a
/// connection with the orders of a [`Member`], or `None` where there is nothing to drive.
///
/// A connection beyond a limit of [`Server::limits`] is dropped at once. Where a limit was lowered, as many connections as exceed
/// it are drained, those that came last before the others.
///
/// After the stop `accept` is dropped, and with it the listener; each connection sends GOAWAY, its calls in flight go on for
/// the grace period, and the rest is aborted. Returns when the last connection has ended.
pub async fn accept_until_stopped<T, A, C>(server: &Server, stop: &Stop, accept: A, connect: C)
where
    A: AsyncFn() -> io::Result<(T, Peer)>,
    C: Fn(T, Peer, Member) -> Option<LocalFuture<()>>,
{
    let (group, host) = (Group::new(), server.host());
    let mut backoff = BACKOFF_MIN;
    let mut limits = server.limits().watch();
    let mut accepts = 0u32;
    while !stop.has_begun() {
        accepts = (accepts + 1) % IN_A_ROW;
        if accepts == 0 {
            yield_now().await;
        }
        let accepted = {
            let mut accepting = pin!(accept());
            poll_fn(|cx| {
                if limits.poll_changed(cx) {
                    server.obey_limits();
                    group.obey_limits(|limit| server.count_drained(limit));
                }
                accepting.as_mut().poll(cx)
            })
            .await
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff = BACKOFF_MIN;
                // One that is refused is closed here, as it is dropped.
                let Some(seat) = server.admit(&peer) else { continue };
                let orders = group.join_with(seat);
                // A panic here would end all connections of the thread.
                let task = catch_unwind(AssertUnwindSafe(|| connect(stream, peer, orders)));
                if let Ok(Some(task)) = task {
                    host.spawn(task);
                }
            }
            // The peer left before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) if stop.has_begun() => {}
            Err(error) => {
                // Descriptors or memory are short, which more attempts do not mend.
                server.accept_failed(&error, backoff);
                stop.wait_within(backoff, &**host).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
    drop(accept);
    group.enter(Phase::Drain);
    let (mut emptied, mut grace) = (pin!(group.emptied()), pin!(stop.grace_is_over(&**host)));
    poll_fn(|cx| match emptied.as_mut().poll(cx) {
        Poll::Pending => grace.as_mut().poll(cx),
        done => done,
    })
    .await;
    group.enter(Phase::Abort);
    group.emptied().await;
}

/// Lets the other tasks of the thread run: peers that connect and leave all the time must not keep it busy.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
