//! Places for handler futures, reused from call to call.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use grpc_proto::Status;
use pin_project_lite::pin_project;

use super::call::Scope;

/// A pinned place for one running call of one method.
///
/// The future of an `async` handler has a type of its own that nobody can name; a place is made once for that type,
/// and then filled, polled and emptied over and over, so that a call allocates nothing.
pub(crate) trait Slot {
    /// Fills the empty place with the future that serves the call.
    fn start(self: Pin<&mut Self>, scope: Scope);
    /// Polls the future, which must be there, for the outcome of the call.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Status>>;
    /// Drops the future, if there is one.
    fn clear(self: Pin<&mut Self>);
}

/// A place whose type is forgotten.
pub(crate) type BoxSlot = Pin<Box<dyn Slot>>;

pin_project! {
    struct Typed<F, Fut> {
        serve: Rc<F>,
        #[pin]
        future: Option<Fut>,
    }
}

/// An empty place for the futures that `serve` returns.
pub(crate) fn new_slot<F, Fut>(serve: Rc<F>) -> BoxSlot
where
    F: Fn(Scope) -> Fut + 'static,
    Fut: Future<Output = Result<(), Status>> + 'static,
{
    Box::pin(Typed { serve, future: None })
}

impl<F, Fut> Slot for Typed<F, Fut>
where
    F: Fn(Scope) -> Fut,
    Fut: Future<Output = Result<(), Status>>,
{
    fn start(self: Pin<&mut Self>, scope: Scope) {
        let mut this = self.project();
        let future = (this.serve)(scope);
        this.future.set(Some(future));
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let future = self.project().future.as_pin_mut();
        future.expect("a place is polled only while a call runs in it").poll(cx)
    }

    fn clear(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}
