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
///   coded   |<-- a window of 56 bits or more, complemented -->|
///            [12 bits][12 bits][12 bits][12 bits]
///               |        |        |        |      at most two symbols each
///   out      [ up to eight bytes ], stored at once
/// ```
///
/// The window is complemented because what lies beyond the end has to read as ones, the padding,
/// and shifting brings in zeros. Ones alone are no code of up to twelve bits, so a lookup never takes
/// padding for a symbol.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<Decoded, HuffmanError> {
    // Eight more than can be needed, since words are stored whole.
    let mut at = out.len();
    out.resize(at + max_decoded_len(coded.len()) + 8, 0);
    let buf = &mut out[..];
    let decoded = decode_with(coded, |word, count| {
        buf[at..at + 8].copy_from_slice(&word.to_le_bytes());
        at += count;
    });
    out.truncate(at);
    decoded
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
    let mut bits = Bits::new(coded);
    let mut line_or_nul = false;
    loop {
        bits.refill();
        let mut word = 0;
        // The lengths of codes in the low byte, of symbols in the next one.
        let mut lengths = 0;
        let mut last = 0;
        // A lookup that meets a longer code takes nothing, so the ones after it meet it as well.
        for _ in 0..4 {
            last = LOOKUP[(bits.window >> (64 - LOOKUP_BITS)) as usize];
            word |= u64::from(last >> 16) << (lengths >> 8);
            lengths += last & 0xffff;
            bits.window <<= last & 0x3f;
        }
        bits.held -= lengths & 0xff;
        store(word, (lengths >> 11) as usize);

        let stopped = last == 0;
        let left = bits.left();
        if left <= 0 || (stopped && left < 8) {
            return match (left, bits.window) {
                (0.., 0) => Ok(Decoded { line_or_nul }),
                (0.., _) => Err(HuffmanError::PaddingNotOnes),
                _ => Err(classify_overrun(coded)),
            };
        }
        if stopped {
            bits.refill();
            let (symbol, code_bits) = long_symbol(!bits.window);
            bits.window <<= code_bits;
            bits.held -= code_bits;
            if bits.left() < 0 {
                return Err(classify_overrun(coded));
            }
            let Ok(byte) = u8::try_from(symbol) else { return Err(HuffmanError::EndOfString) };
            line_or_nul |= matches!(byte, 0 | b'\r' | b'\n');
            store(u64::from(byte), 1);
        }
    }
}

/// A reader of bits, with ones without end after the last byte.
struct Bits<'c> {
    coded: &'c [u8],
    /// The complement of the next bits, left-aligned; zeros below the `held` ones.
    window: u64,
    held: u32,
    /// The byte that the window takes in next; goes beyond the end.
    next: usize,
}

impl<'c> Bits<'c> {
    #[inline(always)]
    fn new(coded: &'c [u8]) -> Self {
        Bits { coded, window: 0, held: 0, next: 0 }
    }

    /// Fills the window up to 56 bits or more. Which bytes to load was settled by the last refill, so
    /// the load does not wait for the lookups in between.
    #[inline(always)]
    fn refill(&mut self) {
        self.window |= complement_at(self.coded, self.next) >> self.held;
        self.next += ((63 - self.held) / 8) as usize;
        self.held |= 56;
    }

    /// How many bits of the string were not taken; below zero, how many were taken beyond its end.
    #[inline(always)]
    fn left(&self) -> isize {
        let taken = self.next as isize * 8 - self.held as isize;
        self.coded.len() as isize * 8 - taken
    }
}

/// The complement of the eight bytes at `at`, the first on top; zeros for those beyond the end.
#[inline(always)]
fn complement_at(coded: &[u8], at: usize) -> u64 {
    if let Some(word) = coded.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        return !u64::from_be_bytes(*word);
    }
    let left = coded.len().saturating_sub(at);
    let word = match coded.last_chunk::<8>() {
        // Loads of whole words, where a copy of single bytes would have the load wait for stores.
        Some(word) => !u64::from_be_bytes(*word),
        None => short_complement(coded),
    };
    // The bytes before `at` leave at the top. Nothing is left of a word shifted by all its bits.
    word.checked_shl(64 - 8 * left as u32).unwrap_or(0)
}

/// The complement of fewer than eight bytes, right-aligned.
#[inline(always)]
fn short_complement(coded: &[u8]) -> u64 {
    match (coded.first_chunk::<4>(), coded.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let first = u64::from(!u32::from_be_bytes(*first));
            let last = u64::from(!u32::from_be_bytes(*last));
            // Where the two overlap they agree.
            first << (8 * (coded.len() - 4)) | last
        }
        _ => coded.iter().fold(0, |word, &byte| word << 8 | u64::from(!byte)),
    }
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
    let mut bits = Bits::new(coded);
    loop {
        bits.refill();
        let (left, window) = (bits.left(), bits.window);
        let (_, code_bits) = tables::symbol(!window);
        bits.window <<= code_bits;
        bits.held -= code_bits;
        if bits.left() < 0 {
            // What is left is padding.
            let ones = window.leading_zeros() as isize >= left;
            return if ones { HuffmanError::PaddingTooLong } else { HuffmanError::PaddingNotOnes };
        }
    }
}

/// How many bytes `text` takes when coded.
#[inline]
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(CODES[byte as usize].bits)).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`, padded with ones, if it takes no more than `room` bytes; else appends
/// nothing and returns `false`.
pub(super) fn encode(text: &[u8], room: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // Eight more than can be needed, since words are stored whole.
    out.resize(start + room + 8, 0);
    let mut writer = Writer { out: &mut out[start..], at: 0, bits: 0, held: 0 };
    let len = writer.put_text(text).map_or(usize::MAX, |()| writer.at);
    let fits = len <= room;
    out.truncate(if fits { start + len } else { start });
    fits
}

/// Collects bits and stores whole words, of which only the bytes that are complete count.
struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    /// The low `held` bits, fewer than eight between calls, are still to be stored.
    bits: u64,
    held: u32,
}

impl Writer<'_> {
    /// The most bits at once: with up to seven held, less than a word.
    const MOST: u32 = 56;

    /// Puts the code of `text` and padding; `None` if there is no room for it.
    #[inline(always)]
    fn put_text(&mut self, text: &[u8]) -> Option<()> {
        let (quads, rest) = text.as_chunks::<4>();
        for quad in quads {
            let [a, b, c, d] = quad.map(|byte| CODES[byte as usize]);
            let low_bits = u32::from(c.bits + d.bits);
            let all_bits = u32::from(a.bits + b.bits) + low_bits;
            // Text has five to eight bits a symbol, so this hardly ever fails.
            if all_bits <= Self::MOST {
                let high = u64::from(a.code) << b.bits | u64::from(b.code);
                let low = u64::from(c.code) << d.bits | u64::from(d.code);
                self.put(high << low_bits | low, all_bits)?;
            } else {
                for code in [a, b, c, d] {
                    self.put(u64::from(code.code), u32::from(code.bits))?;
                }
            }
        }
        for &byte in rest {
            let code = CODES[byte as usize];
            self.put(u64::from(code.code), u32::from(code.bits))?;
        }
        let padding = (8 - self.held) % 8;
        self.put((1 << padding) - 1, padding)
    }

    #[inline(always)]
    fn put(&mut self, bits: u64, count: u32) -> Option<()> {
        self.bits = self.bits << count | bits;
        self.held += count;
        // Two shifts, since with no bits held it is a whole word's.
        let word = self.bits << 1 << (63 - self.held);
        *self.out.get_mut(self.at..)?.first_chunk_mut::<8>()? = word.to_be_bytes();
        self.at += (self.held / 8) as usize;
        self.held %= 8;
        Some(())
    }
}

#[cfg(test)]
mod tests;
