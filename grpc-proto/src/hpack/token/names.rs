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
pub(super) static PLAIN: Names = Names::new(0x7786_89bf, {
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
pub(super) static CODED: Names = Names::new(0x0037_5c0d, {
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
    multiplier: u32,
    /// A free slot holds `Other`, whose name is empty and so equals no hashed name.
    slots: [Token; 1 << SLOT_BITS],
    /// By the numbers of their tokens.
    names: [Name; COUNT],
}

impl Names {
    const fn new(multiplier: u32, names: [Name; COUNT]) -> Names {
        let mut slots = [Token::Other; 1 << SLOT_BITS];
        let mut i = 0;
        while i < KNOWN.len() {
            assert!(KNOWN[i] as usize == FIRST_KNOWN + i, "KNOWN is in the order of the enum");
            let name = names[FIRST_KNOWN + i];
            assert!(name.len >= 2, "every known name is hashed");
            let slot = slot_of(multiplier, &name.text, name.len);
            assert!(
                matches!(slots[slot], Token::Other),
                "two names in one slot: change the multiplier"
            );
            slots[slot] = KNOWN[i];
            i += 1;
        }
        Names { multiplier, slots, names }
    }

    #[inline]
    pub(super) fn name(&self, token: Token) -> &Name {
        &self.names[token as usize]
    }

    /// The token whose name is the first `len` bytes of `text`.
    #[inline]
    pub(super) fn find(&self, text: &[u8; LONGEST], len: usize) -> Option<Token> {
        if !(2..=LONGEST).contains(&len) {
            return None;
        }
        let token = self.slots[slot_of(self.multiplier, text, len)];
        self.name(token).is(text, len).then_some(token)
    }
}

impl Name {
    /// Whether this is the first `len` bytes of `text`, without a branch for each length.
    #[inline]
    fn is(&self, text: &[u8; LONGEST], len: usize) -> bool {
        if self.len != len {
            return false;
        }
        let (ours, theirs, mask) = (words(&self.text), words(text), MASKS[len]);
        let differs = |i: usize| (ours[i] ^ theirs[i]) & mask[i];
        differs(0) | differs(1) | differs(2) | differs(3) == 0
    }
}

#[inline]
fn words(bytes: &[u8; LONGEST]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    [words[0], words[1], words[2], words[3]].map(u64::from_le_bytes)
}

/// For each length, which bits of four words belong to a text that long.
static MASKS: [[u64; 4]; LONGEST + 1] = {
    let mut masks = [[0; 4]; LONGEST + 1];
    let mut len = 0;
    while len <= LONGEST {
        let mut at = 0;
        while at < len {
            masks[len][at / 8] |= 0xff << (8 * (at % 8));
            at += 1;
        }
        len += 1;
    }
    masks
};

/// The slot of a name of at least two bytes, made of its length and four of its bytes.
#[inline]
const fn slot_of(multiplier: u32, name: &[u8; LONGEST], len: usize) -> usize {
    let key = name[0] as u32
        | (name[len / 2 % LONGEST] as u32) << 8
        | (name[(len - 2) % LONGEST] as u32) << 16
        | (name[(len - 1) % LONGEST] as u32) << 24;
    let key = key ^ (len as u32).wrapping_mul(0x0101_0101);
    (key.wrapping_mul(multiplier) >> (32 - SLOT_BITS)) as usize
}
