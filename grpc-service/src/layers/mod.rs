//! Layers around calls: what all methods of a server, of a service, or one method have in common.
//!
//! A layer wraps a *call*, not a message. It runs before the handler and after it, may wait, may refuse the call, and may
//! give the handler what it has found out. At the server it wraps an [`Incoming`] call on its way to the handler, at the
//! client an [`Outgoing`] one on its way to the connection.
//!
//! ```
//! use grpc_service::layers::{CallView, Incoming, Layer, Next, interceptor};
//! use grpc_service::{Code, Router, Routes, Status};
//!
//! /// Counts the calls that fail.
//! #[derive(Default)]
//! struct Failures(std::cell::Cell<u64>);
//!
//! impl<'a> Layer<Incoming<'a>> for Failures {
//!     async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
//!         let outcome = next.call(call).await;
//!         self.0.set(self.0.get() + u64::from(outcome.is_err()));
//!         outcome
//!     }
//! }
//!
//! // The simple case is one function.
//! let no_robots = interceptor(async |call: CallView<'_>| match call.metadata().value("x-robot") {
//!     None => Ok(()),
//!     Some(_) => Err(Status::of(Code::PermissionDenied)),
//! });
//!
//! let mut router = Router::new();
//! // Around all methods, unknown ones too: the first layer is the outermost.
//! let mut routes = router.around_all((Failures::default(), no_robots));
//! # let _ = &mut routes;
//! // register_greeter(&mut routes, service);
//! ```
//!
//! | need | item |
//! |---|---|
//! | layers around the whole server | [`Router::around_all`](crate::Router::around_all) |
//! | around one service, or some methods | [`Routes::around`](crate::Routes::around), [`Routes::around_where`](crate::Routes::around_where) |
//! | around the calls of a channel | [`Channel::around`](crate::Channel::around) |
//! | see or check each typed message | [`Routes::watched`](crate::Routes::watched), [`Watch`], [`Validate`] |
//! | refuse by one function | [`interceptor`], at the client [`call_interceptor`] |
//! | say who calls | [`Auth`], [`CheckToken`] |
//! | show a token | [`WithToken`], [`TokenSource`] |
//! | end calls that take too long | [`Timeout`] |
//! | limit what runs at a time, with a queue | [`ConcurrencyLimit`] |
//! | limit the rate of calls | [`RateLimit`] |
//! | refuse calls under load | [`LoadShed`] |
//! | see each end, whatever it was | [`observe`], [`RequestLog`], at the client [`observe_calls`] |
//! | make statuses of panics, and others of errors | [`CatchPanics`], [`MapErrors`] |
//! | make a call again | [`Retry`] |
//! | pass metadata on | [`Propagate`] |
//!
//! # Contracts
//! - A layer may drop the future of `next` at any time. That drops the handler, or cancels the call.
//! - Layers around a method live in the same future as its handler: they cost no allocation at steady state, and no
//!   second future. A layer awaits `next.call(call)` in place; a future that is bound to a name and then moved into an
//!   `async` block is kept twice.
//! - When the handler has returned its messages are on their way: a layer can add trailers then and no headers, and an
//!   error that it returns instead of the handler's OK follows the message, which clients discard.
//! - At the client a layer may call `next` again: see [`Outgoing`]. The layers of a call go on while who made it waits for
//!   it or for a message; a stream that nobody asks for a message has layers that stand still.
//! - A layer that panics fails its call with INTERNAL. One that returns OK for a call that owes a response, and has none,
//!   does too.

mod auth;
mod concurrency;
mod incoming;
mod intercept;
mod log;
mod observe;
mod outgoing;
mod panics;
mod rate;
mod retry;
mod timeout;
mod token;
mod watch;

use std::future::Future;
use std::rc::Rc;

pub use auth::{Auth, CheckToken};
pub use concurrency::{ConcurrencyLimit, LoadShed};
pub use incoming::{CallService, CallView, Counts, Incoming};
pub use intercept::{CallInterceptor, Interceptor, call_interceptor, interceptor};
pub use log::RequestLog;
pub use observe::{CallsObserved, Observed, observe, observe_calls};
pub use outgoing::Outgoing;
pub use panics::{CatchPanics, MapErrors};
pub use rate::RateLimit;
pub use retry::Retry;
pub use timeout::Timeout;
pub use token::{Propagate, TokenSource, WithToken};
pub use watch::{Validate, Watch};

pub(crate) use panics::catching;

use crate::model::Service;

/// A call that layers wrap: [`Incoming`] or [`Outgoing`].
pub trait LayeredCall: Sized {
    /// What a call fails with.
    type Error;
}

/// What a layer wraps: the layers below it, and at last the handler or the connection.
///
/// Every [`Service`] of such calls is one.
pub trait Next<R: LayeredCall> {
    /// Lets the call go on.
    ///
    /// # Errors
    /// How the call ended, if that was not with OK.
    fn call(&self, call: R) -> impl Future<Output = Result<(), R::Error>>;
}

impl<R: LayeredCall, S: Service<R, Response = (), Error = R::Error>> Next<R> for S {
    #[inline]
    fn call(&self, call: R) -> impl Future<Output = Result<(), R::Error>> {
        Service::call(self, call)
    }
}

/// A layer around calls of type `R`.
///
/// `Rc<L>`, `Option<L>` and tuples of layers are layers; of a tuple the first is the outermost.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer around calls of type `{R}`",
    label = "does not implement `Layer<{R}>`",
    note = "a layer at the server implements `Layer<Incoming<'a>>` for every `'a`, one at the client `Layer<Outgoing<'a>>`"
)]
pub trait Layer<R: LayeredCall> {
    /// Lets `call` go on to `next`, or does not.
    ///
    /// # Errors
    /// How the call ends, as the layers above and at last the client see it.
    fn call(&self, call: R, next: &impl Next<R>) -> impl Future<Output = Result<(), R::Error>>;
}

/// A layer and what it wraps.
pub(crate) struct Wrapped<L, S> {
    pub(crate) layer: L,
    pub(crate) inner: S,
}

impl<R, L, S> Service<R> for Wrapped<L, S>
where
    R: LayeredCall,
    L: Layer<R>,
    S: Service<R, Response = (), Error = R::Error>,
{
    type Response = ();
    type Error = R::Error;

    #[inline]
    fn call(&self, call: R) -> impl Future<Output = Result<(), R::Error>> {
        self.layer.call(call, &self.inner)
    }
}

/// A layer of a tuple and what is below it.
struct Below<'n, L, N> {
    layer: &'n L,
    next: &'n N,
}

impl<R: LayeredCall, L: Layer<R>, N: Next<R>> Service<R> for Below<'_, L, N> {
    type Response = ();
    type Error = R::Error;

    #[inline]
    fn call(&self, call: R) -> impl Future<Output = Result<(), R::Error>> {
        self.layer.call(call, self.next)
    }
}

impl<R: LayeredCall, L: Layer<R>> Layer<R> for Rc<L> {
    #[inline]
    fn call(&self, call: R, next: &impl Next<R>) -> impl Future<Output = Result<(), R::Error>> {
        (**self).call(call, next)
    }
}

/// The layer if there is one; otherwise the call goes on.
impl<R: LayeredCall, L: Layer<R>> Layer<R> for Option<L> {
    async fn call(&self, call: R, next: &impl Next<R>) -> Result<(), R::Error> {
        match self {
            Some(layer) => layer.call(call, next).await,
            None => next.call(call).await,
        }
    }
}

/// No layer.
impl<R: LayeredCall> Layer<R> for () {
    #[inline]
    fn call(&self, call: R, next: &impl Next<R>) -> impl Future<Output = Result<(), R::Error>> {
        next.call(call)
    }
}

macro_rules! tuples {
    ($first:ident $(, $rest:ident)*) => {
        #[allow(non_snake_case)]
        impl<R: LayeredCall, $first: Layer<R>, $($rest: Layer<R>),*> Layer<R> for ($first, $($rest,)*) {
            async fn call(&self, call: R, next: &impl Next<R>) -> Result<(), R::Error> {
                let ($first, $($rest,)*) = self;
                tuples!(@nest call, next, $first, $($rest,)*)
            }
        }
    };
    (@nest $call:ident, $next:expr, $first:ident,) => {
        $first.call($call, $next).await
    };
    (@nest $call:ident, $next:expr, $first:ident, $($rest:ident,)+) => {
        $first.call($call, &tuples!(@below $next, $($rest,)+)).await
    };
    (@below $next:expr, $first:ident,) => {
        Below { layer: $first, next: $next }
    };
    (@below $next:expr, $first:ident, $($rest:ident,)+) => {
        Below { layer: $first, next: &tuples!(@below $next, $($rest,)+) }
    };
}

tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
tuples!(A, B, C, D, E, F);
tuples!(A, B, C, D, E, F, G);
tuples!(A, B, C, D, E, F, G, H);
