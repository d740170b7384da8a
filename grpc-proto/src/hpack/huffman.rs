//! The Huffman code of strings (RFC 7541 §5.2).
//!
//! The code is canonical: its 257 lengths determine it, so those are all that is written down and
//! the compiler derives the tables.

mod tables;

use alloc::vec::Vec;

use tables::{CODES, LONG_CODES, LOOKUP, LOOKUP_BITS};

/// Why a string was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HuffmanError {
    /// The code of EOS occurs.
    EndOfString,
    /// More than seven bits follow the last symbol.
    PaddingTooLong,
    /// The bits after the last symbol are not all ones.
    PaddingNotOnes,
}

/// What a decoded string is known to hold without looking at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Whether NUL, CR or LF occurs.
    pub(super) line_or_nul: bool,
}

/// The most bytes that `len` coded ones can stand for: the shortest code has five bits.
#[inline]
pub(super) const fn max_decoded_len(len: usize) -> usize {
    len * 8 / 5
}

/// Appends to `out` what `coded` stands for.
///
/// ```text
///   coded   |<-- a window of 57 bits or more, complemented -->|
///            [12 bits][12 bits][12 bits][12 bits]
///               |        |        |        |      at most two symbols each
///   out      [ up to eight bytes ], stored at once
/// ```
///
/// The window is complemented because what lies beyond the end has to read as ones, the padding,
/// and shifting brings in zeros. Ones alone are no code of up to twelve bits, so a lookup never takes
/// padding for a symbol.
#[inline]
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<Decoded, HuffmanError> {
    // Eight more than can be needed, since words are stored whole.
    out.reserve(max_decoded_len(coded.len()) + 8);
    decode_with(coded, |word, count| {
        let len = out.len();
        out.extend_from_slice(&word.to_le_bytes());
        out.truncate(len + count);
    })
}

/// How many bytes `coded` stands for, without storing them.
pub(super) fn decoded_len(coded: &[u8]) -> Result<usize, HuffmanError> {
    let mut len = 0;
    decode_with(coded, |_, count| len += count)?;
    Ok(len)
}

/// Hands the decoded bytes to `store`, `count` of them in the low bytes of a word.
#[inline(always)]
fn decode_with(coded: &[u8], mut store: impl FnMut(u64, usize)) -> Result<Decoded, HuffmanError> {
    let end = coded.len() * 8;
    let mut at = 0;
    let mut line_or_nul = false;
    while at < end {
        let mut window = window_at(coded, at);
        let mut word = 0;
        let mut word_bits = 0;
        let mut stopped = false;
        // A lookup that meets a longer code takes nothing, so the ones after it meet it as well.
        for _ in 0..4 {
            let entry = LOOKUP[(window >> (64 - LOOKUP_BITS)) as usize];
            word |= u64::from(entry.symbols) << word_bits;
            word_bits += u32::from(entry.symbol_bits);
            window <<= entry.code_bits;
            at += usize::from(entry.code_bits);
            stopped = entry.code_bits == 0;
        }
        store(word, word_bits as usize / 8);
        if stopped || at >= end {
            if at > end {
                return Err(classify_overrun(coded));
            }
            if end - at < 8 {
                return match window_at(coded, at) {
                    0 => Ok(Decoded { line_or_nul }),
                    _ => Err(HuffmanError::PaddingNotOnes),
                };
            }
            let (symbol, code_bits) = long_symbol(!window_at(coded, at));
            at += code_bits as usize;
            if at > end {
                return Err(classify_overrun(coded));
            }
            let Ok(byte) = u8::try_from(symbol) else { return Err(HuffmanError::EndOfString) };
            line_or_nul |= matches!(byte, 0 | b'\r' | b'\n');
            store(u64::from(byte), 1);
        }
    }
    Ok(Decoded { line_or_nul })
}

/// The complement of the bits from `at` on, left-aligned; at least 57 of them, and zeros beyond the
/// end.
#[inline(always)]
fn window_at(coded: &[u8], at: usize) -> u64 {
    let rest = coded.get(at / 8..).unwrap_or(&[]);
    let word = match rest.first_chunk::<8>() {
        Some(word) => *word,
        None => {
            let mut word = [0xff; 8];
            word[..rest.len()].copy_from_slice(rest);
            word
        }
    };
    !u64::from_be_bytes(word) << (at % 8)
}

/// The symbol whose code leads `bits`, and the length of its code; for codes beyond a lookup.
#[cold]
fn long_symbol(bits: u64) -> (u16, u32) {
    let top = (bits >> 32) as u32;
    for group in &LONG_CODES {
        if top <= group.last {
            let nth = (top - group.first) >> (32 - group.code_bits);
            return (tables::SORTED[usize::from(group.offset) + nth as usize], group.code_bits);
        }
    }
    unreachable!("the last group ends with ones alone")
}

/// Names the rule that a string breaks whose last code goes beyond its end.
#[cold]
fn classify_overrun(coded: &[u8]) -> HuffmanError {
    let end = coded.len() * 8;
    let mut at = 0;
    loop {
        let bits = !window_at(coded, at);
        let (_, code_bits) = tables::symbol(bits);
        if at + code_bits as usize > end {
            let ones = (bits.leading_ones() as usize) >= end - at;
            return if ones { HuffmanError::PaddingTooLong } else { HuffmanError::PaddingNotOnes };
        }
        at += code_bits as usize;
    }
}

/// How many bytes `text` takes when coded.
#[inline]
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(tables::CODE_BITS[byte as usize])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`, padded with ones.
#[inline]
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    // The low `held` bits of `bits` wait to be written; before each code fewer than 32.
    let mut bits = 0u64;
    let mut held = 0;
    for &byte in text {
        let code = CODES[byte as usize];
        bits = bits << code.bits | u64::from(code.code);
        held += u32::from(code.bits);
        if held >= 32 {
            held -= 32;
            out.extend_from_slice(&((bits >> held) as u32).to_be_bytes());
        }
    }
    if held > 0 {
        let padded = (bits << 32 | 0xffff_ffff) >> held;
        let bytes = (padded as u32).to_be_bytes();
        out.extend_from_slice(&bytes[..held.div_ceil(8) as usize]);
    }
}

#[cfg(test)]
mod tests;
