//! Why bytes are not the message that they were taken for.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// The rule that the input broke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeRule {
    /// A field, a varint or a declared length reaches past the end of the message that holds it.
    Truncated,
    /// A varint has more than ten bytes, or a tag does not fit 32 bits.
    VarintTooLong,
    /// Field number 0. One above 2^29 - 1 makes a tag of more than 32 bits.
    FieldNumber,
    /// Wire type 6 or 7, which do not exist.
    WireType,
    /// A packed list of fixed-size elements whose length is no multiple of the element's size.
    PackedLength,
    /// A `string` that is not UTF-8.
    InvalidUtf8,
    /// An end-group tag with no group open, or of another group than the innermost one.
    EndGroup,
    /// A group whose end-group tag is missing.
    GroupNotClosed,
    /// More levels of messages and groups than [`DecodeLimits::depth`](crate::DecodeLimits::depth).
    Depth,
    /// More memory than [`DecodeLimits::arena_bytes`](crate::DecodeLimits::arena_bytes) or the arena's own budget.
    ArenaBudget,
    /// More unknown fields than [`DecodeLimits::unknown_fields`](crate::DecodeLimits::unknown_fields).
    UnknownFields,
    /// A `required` field is absent.
    MissingRequired,
    /// Another codec behind [`Schema`](crate::Schema) refused the input, in its own words.
    Foreign(String),
}

impl fmt::Display for DecodeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a field reaches past the end of its message",
            Self::VarintTooLong => "a varint is too long",
            Self::FieldNumber => "the field number is out of range",
            Self::WireType => "the wire type does not exist",
            Self::PackedLength => "a packed list has a broken length",
            Self::InvalidUtf8 => "a string is not UTF-8",
            Self::EndGroup => "an end-group tag matches no open group",
            Self::GroupNotClosed => "a group is not closed",
            Self::Depth => "messages nest too deeply",
            Self::ArenaBudget => "the message needs more memory than it may take",
            Self::UnknownFields => "there are too many unknown fields",
            Self::MissingRequired => "a required field is missing",
            Self::Foreign(message) => message,
        })
    }
}

/// Why decoding failed: the broken rule, where in the input, and in which field.
///
/// One pointer wide, so that results stay small; the details are allocated when a message is refused.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError {
    inner: Box<Inner>,
}

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    rule: DecodeRule,
    offset: usize,
    /// Innermost first, because names are added while the decoder unwinds.
    path: Vec<&'static str>,
}

impl DecodeError {
    /// An error at `offset` bytes from the start of the input, with an empty field path.
    #[cold]
    pub fn new(rule: DecodeRule, offset: usize) -> Self {
        Self { inner: Box::new(Inner { rule, offset, path: Vec::new() }) }
    }

    /// An error of another codec, in its own words.
    #[cold]
    pub fn foreign(message: impl fmt::Display) -> Self {
        Self::new(DecodeRule::Foreign(message.to_string()), 0)
    }

    /// Counts the offset from `bytes` further in front.
    pub(crate) fn behind(mut self, bytes: usize) -> Self {
        self.inner.offset += bytes;
        self
    }

    /// Puts `name` before the field path: each level of nesting adds its own while the error travels outwards.
    pub fn within(mut self, name: &'static str) -> Self {
        self.inner.path.push(name);
        self
    }

    /// The rule that was broken.
    pub fn rule(&self) -> &DecodeRule {
        &self.inner.rule
    }

    /// Where, in bytes from the start of the input of the outermost message.
    pub fn offset(&self) -> usize {
        self.inner.offset
    }

    /// The message type and the field names that lead to the place, outermost first; empty when the place is in
    /// no known field of a message written by hand.
    pub fn path(&self) -> impl DoubleEndedIterator<Item = &'static str> + '_ {
        self.inner.path.iter().rev().copied()
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeError({:?}, \"{self}\")", self.inner.rule)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.path().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        if !self.inner.path.is_empty() {
            f.write_str(": ")?;
        }
        write!(f, "{}", self.inner.rule)?;
        match self.inner.rule {
            DecodeRule::Foreign(_) => Ok(()),
            _ => write!(f, ", at byte {}", self.inner.offset),
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_path_rule_and_offset() {
        let error = DecodeError::new(DecodeRule::InvalidUtf8, 17)
            .within("number")
            .within("phones")
            .within("Person");
        assert_eq!(error.to_string(), "Person.phones.number: a string is not UTF-8, at byte 17");
        assert_eq!(error.path().collect::<Vec<_>>(), ["Person", "phones", "number"]);
        assert_eq!((error.rule(), error.offset()), (&DecodeRule::InvalidUtf8, 17));
        assert_eq!(size_of::<Result<(), DecodeError>>(), size_of::<usize>());
    }
}
