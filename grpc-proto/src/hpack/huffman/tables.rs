//! The tables of the Huffman code, derived from its lengths (RFC 7541 appendix B).

/// How many symbols there are: 256 bytes and EOS.
const SYMBOLS: usize = 257;

/// A symbol's code in the low bits, and its length.
#[derive(Clone, Copy)]
pub(super) struct Code {
    pub(super) code: u32,
    pub(super) bits: u8,
}

/// The code of each symbol.
pub(super) static CODES: [Code; SYMBOLS] = CODE_TABLE;

/// The symbols in the order of their codes.
pub(super) static SORTED: [u16; SYMBOLS] = ORDER;

/// How many bits a lookup sees. Twelve hold two symbols of the commonest text and all codes of
/// letters, digits and most punctuation; the table takes 16 KiB, of which text touches a part.
pub(super) const LOOKUP_BITS: u32 = 12;

/// What the next bits say, by their *complement*; zero when a code longer than a lookup starts there,
/// else one symbol or two.
///
/// ```text
///   [ second symbol | first symbol | 8 for each symbol | bits of their codes ]   a byte each
/// ```
pub(super) static LOOKUP: [u32; 1 << LOOKUP_BITS] = {
    let mut table = [0; 1 << LOOKUP_BITS];
    let mut index = 0;
    while index < table.len() {
        let bits = (!index as u64) << (64 - LOOKUP_BITS);
        let (mut symbols, mut symbol_bits, mut taken) = (0, 0, 0);
        while symbol_bits < 16 {
            let (symbol, code_bits) = symbol(bits << taken);
            // Bits shifted in are no part of a code, so a code that needs them is not there.
            if taken + code_bits > LOOKUP_BITS {
                break;
            }
            symbols |= (symbol as u32) << symbol_bits;
            symbol_bits += 8;
            taken += code_bits;
        }
        table[index] = symbols << 16 | symbol_bits << 8 | taken;
        index += 1;
    }
    table
};

/// The codes of one length; bounds are left-aligned in 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) code_bits: u32,
    /// The lowest code.
    pub(super) first: u32,
    /// The highest code, and ones below it.
    pub(super) last: u32,
    /// Where its first symbol stands in `SORTED`.
    pub(super) offset: u16,
}

/// The groups whose codes are too long for a lookup.
pub(super) static LONG_CODES: [Group; GROUPS - SHORT_GROUPS] = {
    let mut long = [ALL_CODES[SHORT_GROUPS]; GROUPS - SHORT_GROUPS];
    let mut i = 0;
    while i < long.len() {
        long[i] = ALL_CODES[SHORT_GROUPS + i];
        i += 1;
    }
    long
};

/// The symbol whose code leads `bits`, and the length of its code.
pub(super) const fn symbol(bits: u64) -> (u16, u32) {
    let top = (bits >> 32) as u32;
    let mut i = 0;
    while top > ALL_CODES[i].last {
        i += 1;
    }
    let group = ALL_CODES[i];
    let nth = (top - group.first) >> (32 - group.code_bits);
    (ORDER[group.offset as usize + nth as usize], group.code_bits)
}

const SHORT_GROUPS: usize = {
    let mut count = 0;
    while ALL_CODES[count].code_bits <= LOOKUP_BITS {
        count += 1;
    }
    count
};

const GROUPS: usize = {
    let mut count = 0;
    let mut bits = 1;
    while bits <= 32 {
        count += (count_of(bits) > 0) as usize;
        bits += 1;
    }
    count
};

const ALL_CODES: [Group; GROUPS] = {
    let mut groups = [Group { code_bits: 0, first: 0, last: 0, offset: 0 }; GROUPS];
    let mut i = 0;
    let mut offset = 0;
    let mut next = 0u64;
    let mut bits = 1;
    while bits <= 32 {
        let count = count_of(bits);
        if count > 0 {
            let first = next;
            next += (count as u64) << (32 - bits);
            groups[i] =
                Group { code_bits: bits, first: first as u32, last: (next - 1) as u32, offset };
            offset += count;
            i += 1;
        }
        bits += 1;
    }
    assert!(next == 1 << 32, "the code is complete: every string of bits starts with a symbol");
    groups
};

const fn count_of(bits: u32) -> u16 {
    let mut count = 0;
    let mut symbol = 0;
    while symbol < SYMBOLS {
        count += (LENGTHS[symbol] as u32 == bits) as u16;
        symbol += 1;
    }
    count
}

/// The symbols by length, and among equals by number: what makes a code canonical.
const ORDER: [u16; SYMBOLS] = {
    let mut order = [0; SYMBOLS];
    let mut at = 0;
    let mut bits = 1;
    while bits <= 32 {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == bits {
                order[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    order
};

const CODE_TABLE: [Code; SYMBOLS] = {
    let mut codes = [Code { code: 0, bits: 0 }; SYMBOLS];
    let mut next = 0u32;
    let mut i = 0;
    while i < SYMBOLS {
        let symbol = ORDER[i] as usize;
        let bits = LENGTHS[symbol];
        if i > 0 {
            next = (next + 1) << (bits - LENGTHS[ORDER[i - 1] as usize]);
        }
        codes[symbol] = Code { code: next, bits };
        i += 1;
    }
    codes
};

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
