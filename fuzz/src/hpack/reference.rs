//! A decoder of field blocks written rule by rule from RFC 7541, without regard to speed. It decides exactly which blocks
//! are valid; the foreign decoders are too lax for that.

use std::collections::VecDeque;

use super::{FieldText, Fields};

/// The block breaks a rule.
#[derive(Debug)]
pub struct Wrong;

/// A decoder and its dynamic table, the newest entry first.
pub struct Reference {
    entries: VecDeque<FieldText>,
    max_size: u32,
    /// The largest size that a size update may set.
    limit: u32,
    /// The smallest size since the last block, if SETTINGS have reduced the table.
    required: Option<u32>,
}

impl Reference {
    /// The counterpart of `Decoder::new`.
    pub fn new(limit: u32) -> Self {
        Reference {
            entries: VecDeque::new(),
            max_size: 4096,
            limit: limit.max(4096),
            required: None,
        }
    }

    /// The counterpart of `Decoder::set_max_table_size`.
    pub fn set_max_table_size(&mut self, size: u32) {
        self.limit = size;
        if size < self.max_size {
            self.required = Some(self.required.map_or(size, |smallest| smallest.min(size)));
            self.resize(size);
        }
    }

    /// The table's entries.
    pub fn entries(&self) -> impl Iterator<Item = &FieldText> {
        self.entries.iter()
    }

    /// Decodes a block; after an invalid one the table is undefined.
    pub fn decode(&mut self, block: &[u8]) -> Result<Fields, Wrong> {
        let mut rest = block;
        let mut fields = Fields::new();
        let mut updates = 0;
        while let Some(&first) = rest.first() {
            // RFC 7541 §6.3: 001xxxxx.
            let is_update = first & 0xe0 == 0x20;
            if self.required.is_some() && !is_update {
                return Err(Wrong);
            }
            if is_update {
                updates += 1;
                let size = integer(&mut rest, 5)?;
                if !fields.is_empty() || updates > 2 || size > self.limit {
                    return Err(Wrong);
                }
                if self.required.take().is_some_and(|smallest| size > smallest) {
                    return Err(Wrong);
                }
                self.resize(size);
                continue;
            }
            let field = if first & 0x80 != 0 {
                self.field(integer(&mut rest, 7)?)?
            } else {
                let inserts = first & 0x40 != 0;
                let name = match integer(&mut rest, if inserts { 6 } else { 4 })? {
                    0 => string(&mut rest)?,
                    index => self.field(index)?.0,
                };
                let field = (name, string(&mut rest)?);
                if inserts {
                    self.entries.push_front(field.clone());
                    self.evict();
                }
                field
            };
            fields.push(field);
        }
        Ok(fields)
    }

    fn field(&self, index: u32) -> Result<FieldText, Wrong> {
        let index = index as usize;
        match index {
            0 => Err(Wrong),
            1..=61 => Ok(static_field(index as u8)),
            _ => self.entries.get(index - 62).cloned().ok_or(Wrong),
        }
    }

    fn resize(&mut self, size: u32) {
        self.max_size = size;
        self.evict();
    }

    fn evict(&mut self) {
        let size = |(name, value): &FieldText| name.len() + value.len() + 32;
        while self.entries.iter().map(size).sum::<usize>() > self.max_size as usize {
            self.entries.pop_back();
        }
    }
}

/// An entry of the static table, from a decoder that has it.
fn static_field(index: u8) -> FieldText {
    let mut fields = Vec::new();
    let mut decoder = httlib_hpack::Decoder::with_dynamic_size(0);
    decoder.decode(&mut vec![0x80 | index], &mut fields).expect("an index of the static table");
    let (name, value, _) = fields.remove(0);
    (name, value)
}

/// An integer with a prefix of so many bits (§5.1): at most five octets more, at most 32 bits.
fn integer(rest: &mut &[u8], bits: u32) -> Result<u32, Wrong> {
    let (&first, tail) = rest.split_first().ok_or(Wrong)?;
    *rest = tail;
    let mask = (1u64 << bits) - 1;
    let mut value = u64::from(first) & mask;
    if value < mask {
        return Ok(value as u32);
    }
    for octet in 0..5 {
        let (&byte, tail) = rest.split_first().ok_or(Wrong)?;
        *rest = tail;
        value += u64::from(byte & 127) << (7 * octet);
        if byte & 128 == 0 {
            return u32::try_from(value).map_err(|_| Wrong);
        }
    }
    Err(Wrong)
}

/// A string (§5.2). A Huffman code is right if it is what its text is encoded to: padding of the most significant
/// bits of EOS, fewer than eight, is the only way to end one.
fn string(rest: &mut &[u8]) -> Result<Vec<u8>, Wrong> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(rest, 7)? as usize;
    let (text, tail) = rest.split_at_checked(len).ok_or(Wrong)?;
    *rest = tail;
    if !coded {
        return Ok(text.to_vec());
    }
    let mut plain = Vec::new();
    httlib_huffman::decode(text, &mut plain, httlib_huffman::DecoderSpeed::OneBit)
        .map_err(|_| Wrong)?;
    let mut again = Vec::new();
    httlib_huffman::encode(&plain, &mut again).map_err(|_| Wrong)?;
    if again == text { Ok(plain) } else { Err(Wrong) }
}
