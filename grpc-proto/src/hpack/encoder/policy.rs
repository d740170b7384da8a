//! What the encoder puts into its dynamic table.

use crate::hpack::token::Token;

/// What may be done with the fields of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// Field by field: what repeats itself is inserted.
    Index,
    /// Values of this name hardly ever repeat: only one of them is inserted, for its name.
    IndexName,
    /// Values of this name hardly ever repeat and the name is in the static table, or rare.
    Literal,
}

impl Policy {
    #[inline]
    pub(super) const fn of(token: Token) -> Policy {
        match token {
            Token::GrpcTimeout => Policy::IndexName,
            Token::GrpcMessage
            | Token::GrpcStatusDetailsBin
            | Token::ContentLength
            | Token::ContentRange
            | Token::Age
            | Token::Etag
            | Token::IfMatch
            | Token::IfModifiedSince
            | Token::IfNoneMatch
            | Token::IfRange
            | Token::IfUnmodifiedSince
            | Token::LastModified
            | Token::Location
            | Token::Range => Policy::Literal,
            _ => Policy::Index,
        }
    }
}

/// How many fields are remembered.
const SLOTS: usize = 64;

/// Which fields were seen lately without being inserted: their hashes, each in the one place that it
/// may have, so that a flood of values seen once only ever displaces others like it.
#[derive(Debug)]
pub(super) struct History {
    seen: [u32; SLOTS],
}

impl History {
    pub(super) const fn new() -> Self {
        History { seen: [0; SLOTS] }
    }

    /// Whether a field was seen lately; from now on it was.
    #[inline]
    pub(super) fn see(&mut self, hash: u32) -> bool {
        let slot = &mut self.seen[hash as usize % SLOTS];
        core::mem::replace(slot, hash) == hash
    }
}
