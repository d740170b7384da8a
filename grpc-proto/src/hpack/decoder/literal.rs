//! The parts of a literal field (RFC 7541 §6.2).

use crate::hpack::error::DecodeError;
use crate::hpack::huffman;
use crate::hpack::integer;
use crate::hpack::list::{FieldFlags, FieldList, append_part};
use crate::hpack::static_table::StaticEntry;
use crate::hpack::table::{Entry, Table};
use crate::hpack::token::Token;
use crate::hpack::validate;

/// A literal field as it stands in the block: checked against its end, not yet copied.
pub(super) struct Literal<'b> {
    pub(super) name: Name<'b>,
    pub(super) value: Text<'b>,
    /// What the representation says of the field.
    pub(super) flags: FieldFlags,
}

/// Where the name of a literal field comes from.
pub(super) enum Name<'b> {
    Static(&'static StaticEntry),
    Dynamic(Entry),
    Literal(Text<'b>),
}

/// What was written of a literal field.
pub(super) struct Written {
    pub(super) token: Token,
    pub(super) flags: FieldFlags,
    pub(super) name_len: usize,
}

impl Literal<'_> {
    /// The most bytes that name and value can have.
    #[inline(always)]
    pub(super) fn max_text_len(&self) -> usize {
        let name = match &self.name {
            Name::Static(entry) => usize::from(entry.name_len),
            Name::Dynamic(entry) => entry.name_len as usize,
            Name::Literal(text) => text.max_len(),
        };
        name + self.value.max_len()
    }

    /// How many bytes name and value have.
    pub(super) fn text_len(&self) -> Result<usize, DecodeError> {
        let name = match &self.name {
            Name::Static(entry) => usize::from(entry.name_len),
            Name::Dynamic(entry) => entry.name_len as usize,
            Name::Literal(text) => text.len()?,
        };
        Ok(name + self.value.len()?)
    }

    /// Appends name and value to the text of `out`, where no field refers to them yet; an error leaves
    /// nothing behind.
    #[inline(always)]
    pub(super) fn write(&self, table: &Table, out: &mut FieldList) -> Result<Written, DecodeError> {
        let start = out.text_len();
        let written = self.write_parts(table, out);
        if written.is_err() {
            out.truncate_text(start);
        }
        written
    }

    #[inline(always)]
    fn write_parts(&self, table: &Table, out: &mut FieldList) -> Result<Written, DecodeError> {
        let text = out.text_mut();
        let start = text.len();
        let (token, name_flags) = match &self.name {
            Name::Static(entry) => {
                append_part(&entry.text, usize::from(entry.name_len), text);
                (entry.token, entry.flags)
            }
            Name::Dynamic(entry) => {
                table.append_name(entry, text);
                (entry.token, entry.flags.of_name_only())
            }
            Name::Literal(name) => {
                name.write(text)?;
                let name = &text[start..];
                let token = Token::of(name);
                (token, validate::name_flags(token, name))
            }
        };
        let name_len = text.len() - start;
        let value_flags = self.value.write(text)?;
        Ok(Written { token, flags: self.flags.union(name_flags).union(value_flags), name_len })
    }
}

/// A string as it stands in the block (RFC 7541 §5.2).
#[derive(Clone, Copy)]
pub(super) struct Text<'b> {
    huffman: bool,
    bytes: &'b [u8],
}

impl<'b> Text<'b> {
    /// Reads a string: its length is checked against what remains before anything is done with it.
    #[inline(always)]
    pub(super) fn read(input: &mut &'b [u8]) -> Result<Self, DecodeError> {
        let (&first, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        *input = rest;
        let len = integer::decode(first, 7, input)?;
        let (bytes, rest) = input.split_at_checked(len as usize).ok_or(DecodeError::Truncated)?;
        *input = rest;
        Ok(Text { huffman: first >= 0x80, bytes })
    }

    #[inline(always)]
    fn max_len(&self) -> usize {
        if self.huffman { huffman::max_decoded_len(self.bytes.len()) } else { self.bytes.len() }
    }

    fn len(&self) -> Result<usize, DecodeError> {
        Ok(if self.huffman { huffman::decoded_len(self.bytes)? } else { self.bytes.len() })
    }

    /// Appends the string to `out`; returns its flags as a value.
    #[inline(always)]
    fn write(&self, out: &mut alloc::vec::Vec<u8>) -> Result<FieldFlags, DecodeError> {
        if !self.huffman {
            out.extend_from_slice(self.bytes);
            return Ok(validate::value_flags(self.bytes));
        }
        let start = out.len();
        let decoded = huffman::decode(self.bytes, out)?;
        Ok(validate::value_flags_given(decoded.line_or_nul, &out[start..]))
    }
}
