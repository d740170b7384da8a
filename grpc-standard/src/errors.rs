//! Errors with details: `google.rpc.Status` in `grpc-status-details-bin`, with the ten standard details.
//!
//! A handler builds them, and its client reads them:
//!
//! ```
//! use grpc_service::{Code, Status};
//! use grpc_standard::errors::{Details, ErrorDetails, rpc::BadRequest};
//!
//! let status: Status = ErrorDetails::new()
//!     .bad_request(&[("name", "must not be empty")])
//!     .status(Code::InvalidArgument, "the name is empty");
//!
//! let details = Details::of(&status)?;
//! for violation in details.get::<BadRequest<'_>>()?.map_or(&[][..], |bad| bad.field_violations) {
//!     assert_eq!((violation.field, violation.description), ("name", "must not be empty"));
//! }
//! # Ok::<(), grpc_service::DecodeError>(())
//! ```
//!
//! Details travel in the trailers. If they exceed what the client accepts there (SETTINGS_MAX_HEADER_LIST_SIZE, 8 KiB with many),
//! they are left out, and code and message arrive.

mod build;
mod read;

/// Generated code: `google.rpc.Status` and the standard details.
pub mod rpc {
    grpc_arena::include_proto!("google.rpc");
}

pub use build::ErrorDetails;
pub use read::Details;
