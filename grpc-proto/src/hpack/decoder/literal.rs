//! The parts of a literal field (RFC 7541 §6.2).

use crate::hpack::error::DecodeError;
use crate::hpack::huffman;
use crate::hpack::integer;
use crate::hpack::list::{Contents, FieldFlags, copy_array, copy_part};
use crate::hpack::static_table::{self, StaticEntry};
use crate::hpack::table::{Entry, Table};
use crate::hpack::token::{self, LONGEST, Token};
use crate::hpack::validate;

/// A literal field as it stands in the block: checked against its end, not yet copied.
pub(super) struct Literal<'b> {
    pub(super) name: Name<'b>,
    pub(super) value: StringLiteral<'b>,
    /// What the representation says of the field.
    pub(super) flags: FieldFlags,
}

/// Whether a literal field with this first octet enters the dynamic table.
#[inline]
pub(super) fn is_inserted(first: u8) -> bool {
    first >= 0x40
}

/// The entry of the dynamic table that an index beyond the static one stands for.
#[inline]
pub(super) fn dynamic_entry(table: &Table, index: u32) -> Result<&Entry, DecodeError> {
    match index.checked_sub(static_table::LEN + 1) {
        Some(age) => table.entry(age).ok_or(DecodeError::IndexBeyondTable),
        None => Err(DecodeError::IndexOfZero),
    }
}

/// Where the name of a literal field comes from.
pub(super) enum Name<'b> {
    /// A name with a token: the first `len` bytes of `text`.
    Known { token: Token, flags: FieldFlags, text: &'static [u8; LONGEST], len: usize },
    /// An entry of the dynamic table.
    Dynamic(Entry),
    /// A name without a token.
    Unknown(StringLiteral<'b>),
}

impl<'b> Name<'b> {
    #[inline(always)]
    pub(super) fn of_static(entry: &'static StaticEntry) -> Self {
        let StaticEntry { token, flags, text, name_len, .. } = entry;
        Name::Known { token: *token, flags: *flags, text, len: usize::from(*name_len) }
    }

    /// A name that is spelt out. One with a token is recognised as it stands in the block, which saves
    /// decoding it.
    #[inline(always)]
    pub(super) fn of_literal(name: StringLiteral<'b>) -> Self {
        match name.known() {
            Some(token) => {
                let flags = validate::known_name_flags(token);
                let &token::Name { ref text, len } = token.text();
                Name::Known { token, flags, text, len }
            }
            None => Name::Unknown(name),
        }
    }
}

/// What was written of a literal field.
pub(super) struct Written {
    pub(super) token: Token,
    pub(super) flags: FieldFlags,
    pub(super) name_len: usize,
    pub(super) text_len: usize,
}

impl<'b> Literal<'b> {
    /// Reads a literal field whose first octet is `first` and whose others lead `input`; returns it with
    /// what follows.
    #[inline(always)]
    pub(super) fn read(
        first: u8,
        input: &'b [u8],
        table: &Table,
    ) -> Result<(Self, &'b [u8]), DecodeError> {
        let prefix_bits = if is_inserted(first) { 6 } else { 4 };
        let (index, input) = integer::decode(first, prefix_bits, input)?;
        let (name, input) = if index == 0 {
            let (name, input) = StringLiteral::read(input)?;
            (Name::of_literal(name), input)
        } else if let Some(entry) = static_table::entry(index) {
            (Name::of_static(entry), input)
        } else {
            (Name::Dynamic(*dynamic_entry(table, index)?), input)
        };
        let (value, input) = StringLiteral::read(input)?;
        let never_indexed = !is_inserted(first) && first >= 0x10;
        let flags = if never_indexed { FieldFlags::SENSITIVE } else { FieldFlags::NONE };
        Ok((Literal { name, value, flags }, input))
    }

    /// The most bytes that name and value can have.
    #[inline(always)]
    pub(super) fn max_text_len(&self) -> usize {
        let name = match &self.name {
            Name::Known { len, .. } => *len,
            Name::Dynamic(entry) => entry.name_len as usize,
            Name::Unknown(text) => text.max_len(),
        };
        name + self.value.max_len()
    }

    /// How many bytes name and value have.
    pub(super) fn text_len(&self) -> Result<usize, DecodeError> {
        let name = match &self.name {
            Name::Known { len, .. } => *len,
            Name::Dynamic(entry) => entry.name_len as usize,
            Name::Unknown(text) => text.len()?,
        };
        Ok(name + self.value.len()?)
    }

    /// Writes name and value to the room of `out`, where no field refers to them yet; they have at most
    /// `most` bytes.
    #[inline(always)]
    pub(super) fn write(
        &self,
        most: usize,
        table: &Table,
        out: &mut Contents,
    ) -> Result<Written, DecodeError> {
        let space = out.room(most);
        let (token, name_flags, name_len) = match &self.name {
            &Name::Known { token, flags, text, len } => {
                copy_array(text, space);
                (token, flags, len)
            }
            Name::Dynamic(entry) => {
                table.copy_name(entry, space);
                (entry.token, entry.flags.of_name_only(), entry.name_len as usize)
            }
            Name::Unknown(name) => {
                let (len, _) = name.write(space)?;
                let name = &space[..len];
                let token = Token::of_unknown(name);
                (token, validate::name_flags(token, name), len)
            }
        };
        let value_space = &mut space[name_len..];
        let (value_len, line_or_nul) = self.value.write(value_space)?;
        let value_flags = validate::value_flags_given(line_or_nul, &value_space[..value_len]);
        Ok(Written {
            token,
            flags: self.flags.union(name_flags).union(value_flags),
            name_len,
            text_len: name_len + value_len,
        })
    }
}

/// A string as it stands in the block (RFC 7541 §5.2).
#[derive(Clone, Copy)]
pub(super) struct StringLiteral<'b> {
    huffman: bool,
    len: usize,
    /// The rest of the block, from the string's first byte on: what follows the string does not matter,
    /// but lets it be read in whole words.
    block: &'b [u8],
}

impl<'b> StringLiteral<'b> {
    /// Reads a string that leads `input`, and returns it with what follows: its length is checked against
    /// what remains before anything is done with it.
    #[inline(always)]
    pub(super) fn read(input: &'b [u8]) -> Result<(Self, &'b [u8]), DecodeError> {
        let (&first, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        let (len, block) = integer::decode(first, 7, rest)?;
        let len = len as usize;
        let rest = block.get(len..).ok_or(DecodeError::Truncated)?;
        Ok((StringLiteral { huffman: first >= 0x80, len, block }, rest))
    }

    /// The token of the string as a name, if it has one of its own.
    #[inline(always)]
    fn known(&self) -> Option<Token> {
        let name = &self.block[..self.len];
        if self.huffman { Token::of_coded(name) } else { Token::of_known(name) }
    }

    #[inline(always)]
    fn max_len(&self) -> usize {
        if self.huffman { huffman::max_decoded_len(self.len) } else { self.len }
    }

    fn len(&self) -> Result<usize, DecodeError> {
        Ok(if self.huffman { huffman::decoded_len(self.block, self.len)? } else { self.len })
    }

    /// Writes the string to the start of `space`, which has room for it and a chunk; returns its length
    /// and whether NUL, CR or LF occurs.
    #[inline(always)]
    fn write(&self, space: &mut [u8]) -> Result<(usize, bool), DecodeError> {
        if self.huffman {
            let decoded = huffman::decode(self.block, self.len, space)?;
            return Ok((decoded.len as usize, decoded.line_or_nul));
        }
        copy_part(self.block, self.len, space);
        Ok((self.len, validate::has_line_or_nul(&self.block[..self.len])))
    }
}
