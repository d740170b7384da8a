//! Statuses that this crate makes by itself.

use grpc_arena::{DecodeError, DecodeRule};
use grpc_proto::{Code, SendError, Status};

/// The status for a message that does not decode.
pub(crate) fn undecodable(error: &DecodeError) -> Status {
    let code = match error.rule() {
        DecodeRule::ArenaBudget | DecodeRule::Depth | DecodeRule::UnknownFields => {
            Code::ResourceExhausted
        }
        _ => Code::Internal,
    };
    Status::new(code, format!("a message does not decode: {error}"))
}

/// The status for a message that cannot be sent, or a call that cannot be opened.
pub(crate) fn send_failed(error: &SendError) -> Status {
    let code = match error {
        SendError::Ended => Code::Cancelled,
        SendError::TooLarge => Code::ResourceExhausted,
        SendError::Closing => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}
