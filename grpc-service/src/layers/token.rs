//! What a client shows to servers.

use std::future::Future;

use grpc_proto::Status;

use super::{Layer, Next, Outgoing};
use crate::client::CallError;
use crate::current;

/// Gives the token that calls show.
///
/// ```
/// use std::rc::Rc;
/// use grpc_service::layers::{Outgoing, TokenSource};
/// use grpc_service::Status;
///
/// struct Fixed(Rc<str>);
///
/// impl TokenSource for Fixed {
///     type Token = Rc<str>;
///     async fn token(&self, _: Outgoing<'_>) -> Result<Rc<str>, Status> {
///         Ok(Rc::clone(&self.0))
///     }
/// }
/// ```
pub trait TokenSource {
    /// A token; one that is shared costs no allocation.
    type Token: AsRef<str>;

    /// The token for a call. It may wait, and may ask another service for a new one.
    ///
    /// # Errors
    /// The status that the call ends with, here and unseen by the server.
    fn token(&self, call: Outgoing<'_>) -> impl Future<Output = Result<Self::Token, Status>>;
}

/// Every call shows this token.
impl TokenSource for &'static str {
    type Token = &'static str;

    async fn token(&self, _: Outgoing<'_>) -> Result<&'static str, Status> {
        Ok(self)
    }
}

/// Adds `authorization: Bearer TOKEN` to each call that has no `authorization` (RFC 6750 §2.1).
#[derive(Clone, Copy, Debug)]
pub struct WithToken<S>(pub S);

impl<'a, S: TokenSource> Layer<Outgoing<'a>> for WithToken<S> {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        if !call.has_metadata("authorization") {
            let token = self.0.token(call).await.map_err(CallError::local)?;
            let added = call.append_pair("authorization", "Bearer ", token.as_ref());
            added.map_err(CallError::local)?;
        }
        next.call(call).await
    }
}

/// Passes metadata of a handler's call on to the calls that it makes, by name.
///
/// Names that a call has entries of are left as they are. The trace context is passed on without this layer.
#[derive(Clone, Copy, Debug)]
pub struct Propagate(pub &'static [&'static str]);

impl<'a> Layer<Outgoing<'a>> for Propagate {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        if let Some(current) = current::current()
            && let Some(head) = &current.info.head
        {
            for name in self.0.iter().filter(|name| !call.has_metadata(name)) {
                if name.ends_with("-bin") {
                    for value in head.metadata.bin_values(name) {
                        call.append_bin(name, &value).map_err(CallError::local)?;
                    }
                } else {
                    for value in head.metadata.values_str(name) {
                        // HTTP/2 lets more through than gRPC sends.
                        let _ = call.append(name, value);
                    }
                }
            }
        }
        next.call(call).await
    }
}
