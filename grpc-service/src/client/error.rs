//! How a call fails for who made it.

use std::fmt;

use grpc_proto::{Code, Status};

use crate::current;

/// A call that did not end with OK, at the side that made it.
///
/// It is no [`Status`], so that `?` in a handler does not pass the status of another service on: that may name hosts and
/// users, and a NOT_FOUND of a database would tell our client that *its* object is missing. `?` maps it instead:
///
/// | [`origin`](Self::origin) | code | the handler's status |
/// |---|---|---|
/// | [`Origin::Inherited`] | DEADLINE_EXCEEDED, CANCELLED | the same code |
/// | [`Origin::Peer`] | any | UNKNOWN |
/// | [`Origin::Local`] | any | INTERNAL |
///
/// [`ServerHooks::call_failed`](crate::ServerHooks::call_failed) gets the error as it was. A handler that means to pass it
/// on says so:
///
/// ```
/// # use grpc_service::{Status, client::CallError};
/// # async fn quote() -> Result<u32, CallError> { Ok(1) }
/// # async fn handler() -> Result<u32, Status> {
/// quote().await.map_err(CallError::into_status)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    status: Status,
    origin: Origin,
}

/// Where the status of a [`CallError`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The other side sent it.
    Peer,
    /// This side made it, as without a connection, or at a deadline that the call was given.
    Local,
    /// The deadline that the call inherited from a handler's call has passed, or that call was cancelled.
    Inherited,
}

/// The message of a handler's status where a call that it made has failed.
const FAILED: &str = "a call to another service failed";

impl CallError {
    /// The error of a call that ended with `status`: for stubs of tests, and for layers that refuse calls.
    pub const fn new(status: Status, origin: Origin) -> Self {
        Self { status, origin }
    }

    pub(crate) fn local(status: impl Into<Status>) -> Self {
        Self::new(status.into(), Origin::Local)
    }

    pub(crate) fn inherited(status: Status) -> Self {
        Self::new(status, Origin::Inherited)
    }

    /// The code that the call ended with.
    pub const fn code(&self) -> Code {
        self.status.code()
    }

    /// The message for a developer, empty if there is none.
    pub fn message(&self) -> &str {
        self.status.message()
    }

    /// The bytes of `grpc-status-details-bin`, empty if there are none.
    pub fn details(&self) -> &[u8] {
        self.status.details()
    }

    /// What the call ended with.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Where the status comes from.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The status unchanged, to be passed on as a proxy does.
    pub fn into_status(self) -> Status {
        self.status
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)
    }
}

impl std::error::Error for CallError {}

/// What `?` does in a handler: the table of [`CallError`].
impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        current::report_mapped(&error);
        let code = match error.origin {
            Origin::Inherited => error.code(),
            Origin::Peer => Code::Unknown,
            Origin::Local => Code::Internal,
        };
        Status::new(code, FAILED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_three_words_and_leaks_nothing_by_the_question_mark() {
        assert_eq!(size_of::<CallError>(), size_of::<Status>() + size_of::<usize>());
        let not_found = Status::not_found("user 7 at 10.0.0.1").with_details(vec![1]);
        for (origin, code) in [(Origin::Peer, Code::Unknown), (Origin::Local, Code::Internal)] {
            let error = CallError::new(not_found.clone(), origin);
            let mapped = Status::from(error.clone());
            assert_eq!(
                (mapped.code(), mapped.message(), mapped.details()),
                (code, FAILED, &[][..])
            );
            assert_eq!(error.into_status(), not_found);
        }
        for code in [Code::DeadlineExceeded, Code::Cancelled] {
            let error = CallError::inherited(Status::new(code, "of 10.0.0.1"));
            assert_eq!(Status::from(error), Status::new(code, FAILED));
        }
    }
}
