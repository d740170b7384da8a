//! Places for futures of handlers and layers, reused from call to call.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// A pinned place for one running call of one method, or for the layers of one call.
///
/// The future of an `async` function has a type of its own that nobody can name; a place is made once for that type,
/// and then filled, polled and emptied over and over, so that a call allocates nothing.
pub(crate) trait Slot<S, E> {
    /// Fills the empty place with the future that serves the call.
    fn start(self: Pin<&mut Self>, scope: S);
    /// Polls the future, which must be there, for the outcome of the call.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>>;
    /// Drops the future, if there is one.
    fn clear(self: Pin<&mut Self>);
}

/// A place whose type is forgotten.
pub(crate) type BoxSlot<S, E> = Pin<Box<dyn Slot<S, E>>>;

pin_project! {
    struct Typed<F, Fut> {
        serve: Rc<F>,
        #[pin]
        future: Option<Fut>,
    }
}

/// An empty place for the futures that `serve` returns.
pub(crate) fn new_slot<S, E, F, Fut>(serve: Rc<F>) -> BoxSlot<S, E>
where
    F: Fn(S) -> Fut + 'static,
    Fut: Future<Output = Result<(), E>> + 'static,
{
    Box::pin(Typed { serve, future: None })
}

impl<S, E, F, Fut> Slot<S, E> for Typed<F, Fut>
where
    F: Fn(S) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    fn start(self: Pin<&mut Self>, scope: S) {
        let mut this = self.project();
        let future = (this.serve)(scope);
        this.future.set(Some(future));
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let future = self.project().future.as_pin_mut();
        future.expect("a place is polled only while a call runs in it").poll(cx)
    }

    fn clear(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}
