//! Who calls.

use std::future::Future;

use grpc_proto::{Code, Status};

use super::{CallView, Incoming, Layer, Next};

/// Finds out whom a token belongs to.
///
/// ```
/// use grpc_service::layers::{CallView, CheckToken};
/// use grpc_service::Status;
///
/// struct Staff;
/// struct Employee(u32);
///
/// impl CheckToken for Staff {
///     type Identity = Employee;
///     async fn check(&self, _: CallView<'_>, token: &str) -> Result<Employee, Status> {
///         match token {
///             "open sesame" => Ok(Employee(7)),
///             _ => Err(Status::unauthenticated("the token is not known; ask for a new one")),
///         }
///     }
/// }
/// ```
pub trait CheckToken {
    /// Whom a token belongs to: handlers get it by [`Cx::extension`](crate::Cx::extension).
    type Identity: 'static;

    /// Whom `token` belongs to. It may wait, and may ask another service.
    ///
    /// # Errors
    /// The status that the call ends with: UNAUTHENTICATED for a token that is not valid, PERMISSION_DENIED for one that
    /// is, but not for this call.
    fn check(
        &self,
        call: CallView<'_>,
        token: &str,
    ) -> impl Future<Output = Result<Self::Identity, Status>>;
}

/// Lets only calls pass whose `authorization` is `Bearer` and a token that the checker knows (RFC 6750 §2.1).
///
/// A call without one ends with UNAUTHENTICATED. The identity is an extension of the call.
#[derive(Clone, Copy, Debug)]
pub struct Auth<C>(pub C);

impl<'a, C: CheckToken> Layer<Incoming<'a>> for Auth<C> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let token = bearer(call.view()).ok_or_else(|| {
            let text = "the call has no token; send `authorization: Bearer TOKEN`";
            Status::new(Code::Unauthenticated, text)
        })?;
        let identity = self.0.check(call.view(), token).await?;
        // A layer outside may have authenticated the call already; the outermost counts.
        let _ = call.set_extension(identity);
        next.call(call).await
    }
}

/// The token of a call, where it has exactly one.
fn bearer<'a>(call: CallView<'a>) -> Option<&'a str> {
    let mut values = call.metadata().values("authorization");
    let (first, second) = (values.next()?, values.next());
    if second.is_some() {
        return None;
    }
    let (scheme, token) = std::str::from_utf8(first).ok()?.split_once(' ')?;
    // Schemes are compared without regard to case (RFC 9110 §11.1).
    let token = token.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Some(token) } else { None }
}
