//! The details of a status that a call has ended with.

use std::fmt;

use grpc_arena::Owned;
use grpc_arena::codec::Message;
use grpc_arena::wkt::Any;
use grpc_service::{Arena, DecodeError, DecodeLimits, Status};

use super::rpc;

/// The details of a status.
///
/// They come from the peer. They are decoded within the default limits and have the size of trailers at most
/// ([`Limits::max_header_list_size`](grpc_service::Limits::max_header_list_size)).
pub struct Details {
    status: Owned<rpc::Status<'static>>,
    /// What [`get`](Self::get) decodes into.
    arena: Arena,
}

impl Details {
    /// Those of a status; none if it has none.
    ///
    /// # Errors
    /// The peer's bytes are no `google.rpc.Status`.
    pub fn of(status: &Status) -> Result<Self, DecodeError> {
        Self::from_bytes(status.details())
    }

    /// Those in the value of `grpc-status-details-bin`.
    ///
    /// # Errors
    /// The bytes are no `google.rpc.Status`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let status = Owned::decode(bytes, &DecodeLimits::DEFAULT)?;
        Ok(Self { status, arena: Arena::new() })
    }

    /// All of them as they came, whatever their types.
    pub fn all(&self) -> &[Any<'_>] {
        self.status.view().details
    }

    /// The first one of type `M`, as `get::<BadRequest<'_>>()`.
    ///
    /// # Errors
    /// There is one, and it does not decode.
    pub fn get<'d, M: Message<'d>>(&'d self) -> Result<Option<M>, DecodeError> {
        match self.all().iter().find(|any| any.is::<M>()) {
            Some(any) => any.unpack(&self.arena, &DecodeLimits::DEFAULT),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().iter().map(Any::type_name)).finish()
    }
}
