//! The known names, and perfect hashes that find them: plain and in Huffman's code.

use super::{COUNT, FIRST_KNOWN, KNOWN, NAMES, Token};
use crate::hpack::huffman;

/// A known name is at most as long as this, and so is its code.
pub(in crate::hpack) const LONGEST: usize = 32;

/// A name, or the code of one, and zeros: one copy of a constant size takes all of it.
#[derive(Clone, Copy)]
pub(in crate::hpack) struct Name {
    pub(in crate::hpack) text: [u8; LONGEST],
    pub(in crate::hpack) len: usize,
}

/// The known names as they are.
pub(super) static PLAIN: Names = Names::new(0x557d_5da4_6be3_9fdb, {
    let mut names = [NO_NAME; COUNT];
    let mut token = FIRST_KNOWN;
    while token < COUNT {
        let name = NAMES[token].as_bytes();
        names[token].text.split_at_mut(name.len()).0.copy_from_slice(name);
        names[token].len = name.len();
        token += 1;
    }
    names
});

/// The known names as Huffman codes them (RFC 7541 §5.2).
pub(super) static CODED: Names = Names::new(0xad6b_4d7f_b66c_1b49, {
    let mut names = [NO_NAME; COUNT];
    let mut token = FIRST_KNOWN;
    while token < COUNT {
        let (text, len) = huffman::code_of(NAMES[token].as_bytes());
        names[token] = Name { text, len };
        token += 1;
    }
    names
});

const NO_NAME: Name = Name { text: [0; LONGEST], len: 0 };

const SLOT_BITS: u32 = 8;

/// A perfect hash: no two names have one slot, which the compiler checks.
pub(super) struct Names {
    /// Found by trial.
    multiplier: u64,
    /// A free slot holds `Other`, whose name is empty and so equals no hashed name.
    slots: [Token; 1 << SLOT_BITS],
    /// By the numbers of their tokens.
    names: [Name; COUNT],
    /// Likewise, what is compared of them first.
    ends: [Ends; COUNT],
}

impl Names {
    const fn new(multiplier: u64, names: [Name; COUNT]) -> Names {
        let mut slots = [Token::Other; 1 << SLOT_BITS];
        let mut ends = [Ends { first: 0, last: 0 }; COUNT];
        let mut i = 0;
        while i < KNOWN.len() {
            assert!(KNOWN[i] as usize == FIRST_KNOWN + i, "KNOWN is in the order of the enum");
            let Name { text, len } = names[FIRST_KNOWN + i];
            let Some(found) = Ends::of(text.split_at(len).0) else {
                panic!("every known name is hashed")
            };
            let slot = found.slot(multiplier, len);
            assert!(
                matches!(slots[slot], Token::Other),
                "two names in one slot: change the multiplier"
            );
            slots[slot] = KNOWN[i];
            ends[FIRST_KNOWN + i] = found;
            i += 1;
        }
        Names { multiplier, slots, names, ends }
    }

    #[inline]
    pub(super) fn name(&self, token: Token) -> &Name {
        &self.names[token as usize]
    }

    /// The token whose name is `text`.
    #[inline]
    pub(super) fn find(&self, text: &[u8]) -> Option<Token> {
        let ends = Ends::of(text)?;
        let token = self.slots[ends.slot(self.multiplier, text.len())];
        let name = self.name(token);
        let same = name.len == text.len()
            && self.ends[token as usize] == ends
            && (text.len() <= 16 || name.text[..name.len] == *text);
        same.then_some(token)
    }
}

/// The first bytes of a text and the last: eight of each, or four or two where there are fewer. They are all
/// of a text of up to sixteen bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
}

impl Ends {
    /// The ends of a text that has at least two bytes.
    #[inline]
    const fn of(text: &[u8]) -> Option<Ends> {
        if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            Some(Ends { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) })
        } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            Some(Ends { first: first as u64, last: last as u64 })
        } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            let (first, last) = (u16::from_le_bytes(*first), u16::from_le_bytes(*last));
            Some(Ends { first: first as u64, last: last as u64 })
        } else {
            None
        }
    }

    #[inline]
    const fn slot(self, multiplier: u64, len: usize) -> usize {
        let key = (self.first ^ self.last.rotate_left(25)).wrapping_add(len as u64);
        (key.wrapping_mul(multiplier) >> (64 - SLOT_BITS)) as usize
    }
}
