//! The Huffman code of strings (RFC 7541 §5.2).
//!
//! The code is canonical: its 257 lengths determine it, so those are all that is written down and
//! the compiler derives the tables.

mod tables;

use alloc::vec::Vec;

use tables::{CODES, Code, LONG_CODES, LOOKUP, LOOKUP_BITS};

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

/// What is known of a decoded string without looking at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// How many bytes it has.
    pub(super) len: u32,
    /// Whether NUL, CR or LF occurs.
    pub(super) line_or_nul: bool,
}

/// The most bytes that `len` coded ones can stand for: the shortest code has five bits.
#[inline]
pub(super) const fn max_decoded_len(len: usize) -> usize {
    len * 8 / 5
}

/// Writes to the start of `out` what the first `len` bytes of `source` stand for. What follows them there
/// does not matter, but lets them be read in whole words; `out` has room for the most that they can stand
/// for and eight bytes more, since words are stored whole.
///
/// ```text
///   source  |<-- a window of 56 bits or more, complemented -->|
///            [12 bits][12 bits][12 bits][12 bits]
///               |        |        |        |      at most two symbols each
///   out      [ up to eight bytes ], stored at once
/// ```
///
/// The window is complemented because what lies beyond the end has to read as ones, the padding,
/// and shifting brings in zeros. Ones alone are no code of up to twelve bits, so a lookup never takes
/// padding for a symbol.
pub(super) fn decode(source: &[u8], len: usize, out: &mut [u8]) -> Result<Decoded, HuffmanError> {
    decode_with(source, len, |word, at| {
        let at = at as usize;
        out[at..at + 8].copy_from_slice(&word.to_le_bytes());
    })
}

/// How many bytes the first `len` of `source` stand for, without storing them.
pub(super) fn decoded_len(source: &[u8], len: usize) -> Result<usize, HuffmanError> {
    decode_with(source, len, |_, _| {}).map(|decoded| decoded.len as usize)
}

/// Hands the decoded bytes to `store`, a few in the low bytes of a word, with the number of those before.
#[inline(always)]
fn decode_with(
    source: &[u8],
    len: usize,
    mut store: impl FnMut(u64, u32),
) -> Result<Decoded, HuffmanError> {
    let (mut bits, mut decoded, mut line_or_nul) = (Bits::new(source, len), 0, false);
    loop {
        let mut met_long = false;
        // Padding lies in the last 64-bit words only; what is before them is text.
        while !met_long && bits.refill_whole() {
            let found = bits.look_up();
            store(found.word, decoded);
            decoded += found.count();
            met_long = found.met_long;
        }
        while !met_long {
            bits.refill();
            let found = bits.look_up();
            store(found.word, decoded);
            decoded += found.count();
            let left = bits.left();
            if bits.window == 0 && (0..8).contains(&left) {
                return Ok(Decoded { len: decoded, line_or_nul });
            }
            // More ones than may pad count as a long code. A symbol may have taken some from beyond the end.
            met_long = found.met_long || left < 0;
        }
        bits.refill();
        let (symbol, code_bits) = long_symbol(!bits.window);
        bits.window <<= code_bits;
        bits.held -= code_bits;
        if bits.left() < 0 {
            return Err(classify_overrun(source, len));
        }
        let Ok(byte) = u8::try_from(symbol) else { return Err(HuffmanError::EndOfString) };
        line_or_nul |= matches!(byte, 0 | b'\r' | b'\n');
        store(u64::from(byte), decoded);
        decoded += 1;
    }
}

/// What four lookups in a row found.
struct Found {
    /// The symbols, the first in the lowest byte.
    word: u64,
    /// The lengths of their codes in the low byte, of the symbols themselves in the next one.
    lengths: u32,
    /// Whether the last of the lookups met a code too long for it.
    met_long: bool,
}

impl Found {
    #[inline(always)]
    fn count(&self) -> u32 {
        u32::from(self.lengths as u16 >> 11)
    }
}

/// A reader of the bits of a string, with ones without end after its last byte.
struct Bits<'s> {
    source: &'s [u8],
    len: usize,
    /// The complement of the next bits, left-aligned. Below the `held` ones there may be bits that the next
    /// refill brings again.
    window: u64,
    held: u32,
    /// The byte that the window takes in next; goes beyond the end.
    next: usize,
}

impl<'s> Bits<'s> {
    #[inline(always)]
    fn new(source: &'s [u8], len: usize) -> Self {
        Bits { source, len, window: 0, held: 0, next: 0 }
    }

    /// Fills the window up to 56 bits or more, if eight bytes of the string follow. Which bytes to load was
    /// settled by the last refill, so the load does not wait for the lookups in between.
    #[inline(always)]
    fn refill_whole(&mut self) -> bool {
        let end = self.next + 8;
        if end > self.len {
            return false;
        }
        let Some(word) = self.source.get(self.next..end).and_then(<[u8]>::first_chunk::<8>) else {
            return false;
        };
        self.take_in(!u64::from_be_bytes(*word));
        true
    }

    /// Fills the window likewise, wherever the string ends.
    #[inline(always)]
    fn refill(&mut self) {
        let next = self.next;
        let word = match self.source.get(next..next + 8).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) => u64::from_be_bytes(*word),
            None => last_word(self.source, next),
        };
        let left = self.len.saturating_sub(next).min(8) as u32;
        self.take_in(!word & u64::MAX.checked_shl(64 - 8 * left).unwrap_or(0));
    }

    #[inline(always)]
    fn take_in(&mut self, complement: u64) {
        self.window |= complement >> self.held;
        self.next += ((63 - self.held) / 8) as usize;
        self.held |= 56;
    }

    /// Takes the codes that lead the window. A lookup that meets a longer code takes nothing, so the ones
    /// after it meet it as well.
    #[inline(always)]
    fn look_up(&mut self) -> Found {
        let (mut word, mut lengths, mut last) = (0, 0u32, 0);
        for _ in 0..4 {
            last = LOOKUP[(self.window >> (64 - LOOKUP_BITS)) as usize];
            // The symbols above the lengths add up to nothing that matters, and carry upwards only.
            word |= u64::from(last >> 16).wrapping_shl(lengths >> 8);
            lengths = lengths.wrapping_add(last);
            self.window <<= last & 0x3f;
        }
        self.held -= lengths & 0xff;
        Found { word, lengths, met_long: last == 0 }
    }

    /// How many bits of the string were not taken; below zero, how many were taken beyond its end.
    #[inline(always)]
    fn left(&self) -> isize {
        let taken = self.next as isize * 8 - self.held as isize;
        self.len as isize * 8 - taken
    }
}

/// The bytes from `at` on, fewer than eight, left-aligned.
#[inline]
fn last_word(source: &[u8], at: usize) -> u64 {
    let left = source.len().saturating_sub(at);
    let word = match source.last_chunk::<8>() {
        // Loads of whole words, where a copy of single bytes would have the load wait for stores.
        Some(word) => u64::from_be_bytes(*word),
        None => short_word(source),
    };
    // The bytes before `at` leave at the top. Nothing is left of a word shifted by all its bits.
    word.checked_shl(64 - 8 * left as u32).unwrap_or(0)
}

/// Fewer than eight bytes, right-aligned.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let first = u64::from(u32::from_be_bytes(*first));
            let last = u64::from(u32::from_be_bytes(*last));
            // Where the two overlap they agree.
            first << (8 * (bytes.len() - 4)) | last
        }
        _ => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
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
fn classify_overrun(source: &[u8], len: usize) -> HuffmanError {
    let mut bits = Bits::new(source, len);
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

/// The code of a short text with its padding, left-aligned in 32 bytes, and its length in bytes.
pub(super) const fn code_of(text: &[u8]) -> ([u8; 32], usize) {
    let (mut coded, mut at) = ([0; 32], 0);
    let mut i = 0;
    while i < text.len() {
        let Code { code, bits } = CODES[text[i] as usize];
        let mut bit = bits;
        while bit > 0 {
            bit -= 1;
            coded[at / 8] |= ((code >> bit & 1) as u8) << (7 - at % 8);
            at += 1;
        }
        i += 1;
    }
    while at % 8 != 0 {
        coded[at / 8] |= 1 << (7 - at % 8);
        at += 1;
    }
    (coded, at / 8)
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
