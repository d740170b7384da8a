//! Handlers as services of calls: what is at the end of all layers.

use std::future::Future;
use std::marker::PhantomData;

use grpc_proto::{Code, Status};

use super::kinds;
use super::{BidiHandler, ClientStreamingHandler, ServerStreamingHandler, UnaryHandler};
use crate::Method;
use crate::layers::Incoming;
use crate::model::Service;

macro_rules! leaf {
    ($name:ident, $handler:ident, $run:ident) => {
        /// A handler and its method.
        pub(super) struct $name<M, H> {
            handler: H,
            method: PhantomData<fn(M)>,
        }

        impl<M, H> $name<M, H> {
            pub(super) fn new(handler: H) -> Self {
                Self { handler, method: PhantomData }
            }
        }

        impl<'a, M: Method, H: $handler<M>> Service<Incoming<'a>> for $name<M, H> {
            type Response = ();
            type Error = Status;

            #[inline]
            fn call(&self, call: Incoming<'a>) -> impl Future<Output = Result<(), Status>> {
                kinds::$run::<M, H>(&self.handler, call.scope())
            }
        }
    };
}

leaf!(UnaryLeaf, UnaryHandler, unary);
leaf!(ServerStreamingLeaf, ServerStreamingHandler, server_streaming);
leaf!(ClientStreamingLeaf, ClientStreamingHandler, client_streaming);
leaf!(BidiLeaf, BidiHandler, bidi);

/// What serves the paths of no method.
pub(super) struct Unknown;

impl<'a> Service<Incoming<'a>> for Unknown {
    type Response = ();
    type Error = Status;

    async fn call(&self, call: Incoming<'a>) -> Result<(), Status> {
        Err(no_method(call.path()))
    }
}

/// The status of a call of a path that nothing is registered for.
pub(super) fn no_method(path: &str) -> Status {
    let text = format!("no method {} here", super::connection::beginning(path));
    Status::new(Code::Unimplemented, text)
}
