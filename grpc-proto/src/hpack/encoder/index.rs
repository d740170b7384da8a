//! Finding entries of the encoder's dynamic table.

use alloc::vec::Vec;

use crate::hpack::table::Table;
use crate::hpack::token::{self, Token};

/// The most entries that one search looks at. Names and values may come from elsewhere and be chosen
/// to collide; a search that gives up costs a few bytes on the wire, no more.
const MAX_STEPS: u32 = 16;

/// Finds entries by name and value, and by name, in chains of equal hashes.
///
/// ```text
/// heads   [ newest entry of the chain | … ]        half for fields, half for names
/// links   [ hashes, next older entry of each chain | … ]    one for each entry, a ring
/// ```
///
/// The table evicts its oldest entry first and a chain runs from newer to older, so whatever was
/// evicted hangs at the end of chains: nothing is ever unlinked, a search ends where an entry is gone.
#[derive(Debug)]
pub(super) struct Index {
    /// The newest entry of each known name.
    by_token: [u32; token::COUNT],
    heads: Vec<u32>,
    links: Vec<Link>,
}

/// What an entry is found by; entries are given by their numbers in the table.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    field_hash: u32,
    older_field: u32,
    name_hash: u32,
    older_name: u32,
}

/// The hashes of one field.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    pub(super) name: u32,
    pub(super) field: u32,
}

impl Hashes {
    /// Hashes a field; one whose name has a token has its name hashed by that alone.
    #[inline]
    pub(super) fn of(token: Token, name: &[u8], value: &[u8]) -> Self {
        let name = if token.name().is_some() { token as u64 } else { hash(NAME_SEED, name) };
        Hashes { name: name as u32, field: hash(name, value) as u32 }
    }
}

impl Index {
    pub(super) const fn new() -> Self {
        Index { by_token: [0; token::COUNT], heads: Vec::new(), links: Vec::new() }
    }

    /// The newest entry with the name of `token`, which has one, as the number of newer ones.
    #[inline]
    pub(super) fn newest_of(&self, token: Token, table: &Table) -> Option<u32> {
        let age = table.age_of(self.by_token[token as usize])?;
        // Numbers wrap around, so an old one may have come to mean another entry.
        (table.entry(age)?.token == token).then_some(age)
    }

    /// The newest entry with this name, whichever its value.
    #[inline]
    pub(super) fn find_name(&self, hashes: Hashes, name: &[u8], table: &Table) -> Option<u32> {
        self.find(Chain::Names, hashes.name, table, |age| {
            table.entry(age).is_some_and(|entry| table.is_name(entry, name))
        })
    }

    /// The newest entry that is exactly `name` and `value`.
    #[inline]
    pub(super) fn find_field(
        &self,
        hashes: Hashes,
        name: &[u8],
        value: &[u8],
        table: &Table,
    ) -> Option<u32> {
        self.find(Chain::Fields, hashes.field, table, |age| {
            table
                .entry(age)
                .is_some_and(|entry| table.is_value(entry, value) && table.is_name(entry, name))
        })
    }

    /// Takes in the newest entry of the table.
    pub(super) fn insert(&mut self, token: Token, hashes: Hashes, table: &Table) {
        let newest = table.newest();
        if token.name().is_some() {
            self.by_token[token as usize] = newest;
        }
        if table.len() as usize > self.links.len() {
            self.grow(table);
        }
        self.link(newest, hashes);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.heads.capacity() * size_of::<u32>() + self.links.capacity() * size_of::<Link>()
    }

    /// Follows a chain from its newest entry.
    #[inline]
    fn find(
        &self,
        chain: Chain,
        hash: u32,
        table: &Table,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut number = *self.heads.get(self.head_of(chain, hash))?;
        for _ in 0..MAX_STEPS {
            let age = table.age_of(number)?;
            let link = &self.links[number as usize & (self.links.len() - 1)];
            let (link_hash, older) = match chain {
                Chain::Fields => (link.field_hash, link.older_field),
                Chain::Names => (link.name_hash, link.older_name),
            };
            if link_hash == hash && is_it(age) {
                return Some(age);
            }
            number = older;
        }
        None
    }

    #[inline]
    fn link(&mut self, number: u32, hashes: Hashes) {
        let field_head = self.head_of(Chain::Fields, hashes.field);
        let name_head = self.head_of(Chain::Names, hashes.name);
        let slot = number as usize & (self.links.len() - 1);
        self.links[slot] = Link {
            field_hash: hashes.field,
            older_field: core::mem::replace(&mut self.heads[field_head], number),
            name_hash: hashes.name,
            older_name: core::mem::replace(&mut self.heads[name_head], number),
        };
    }

    /// Doubles both tables and links the entries anew, but for the newest.
    #[cold]
    fn grow(&mut self, table: &Table) {
        let old = core::mem::take(&mut self.links);
        let slots = (old.len() * 2).max(16);
        self.links = alloc::vec![Link::default(); slots];
        // A number that no entry has: the one before the oldest.
        let nobody = table.newest().wrapping_sub(table.len());
        self.heads = alloc::vec![nobody; slots * 2];
        for age in (1..table.len()).rev() {
            let number = table.newest().wrapping_sub(age);
            let link = old[number as usize & (old.len() - 1)];
            self.link(number, Hashes { name: link.name_hash, field: link.field_hash });
        }
    }

    #[inline]
    fn head_of(&self, chain: Chain, hash: u32) -> usize {
        let half = self.heads.len() / 2;
        let within = hash as usize & half.wrapping_sub(1);
        match chain {
            Chain::Fields => within,
            Chain::Names => half + within,
        }
    }
}

#[derive(Clone, Copy)]
enum Chain {
    Fields,
    Names,
}

const NAME_SEED: u64 = 0x2545_f491_4f6c_dd1d;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const OTHER: u64 = 0xd6e8_feb8_6659_fd93;

/// Mixes sixteen bytes at a time. No defence against chosen collisions: `MAX_STEPS` is.
#[inline]
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (pairs, rest) = bytes.as_chunks::<16>();
    for pair in pairs {
        state = mix(state ^ first_word(pair), OTHER ^ last_word(pair));
    }
    match rest.len() {
        0 => state,
        // Two words that overlap, of this string's end; eight bytes or more lie in it.
        8.. => mix(state ^ first_word(rest), OTHER ^ last_word(bytes)),
        _ => match bytes.last_chunk::<8>() {
            Some(last) => mix(state ^ u64::from_le_bytes(*last), OTHER),
            None => {
                mix(state ^ rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), OTHER)
            }
        },
    }
}

#[inline]
fn first_word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Both halves of a product of 128 bits: each bit of either factor reaches every bit of the result.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ MULTIPLIER) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::hpack::list::FieldFlags;

    /// What is hashed badly is still found, or sent as a literal: only counting shows it.
    #[test]
    fn strings_that_differ_in_one_bit_hash_apart() {
        for len in [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 40] {
            let base = alloc::vec![b'a'; len];
            let mut seen = BTreeSet::from([hash(NAME_SEED, &base) as u32]);
            for bit in 0..8 * len {
                let mut other = base.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(hash(NAME_SEED, &other) as u32), "bit {bit} of {len} bytes");
            }
            assert!(seen.insert(hash(NAME_SEED + 1, &base) as u32), "the seed, {len} bytes");
        }
        let lengths: BTreeSet<_> = (0..64).map(|len| hash(NAME_SEED, &[0; 64][..len])).collect();
        assert_eq!(lengths.len(), 64);
    }

    /// Two strings of eight bytes with one hash of 32 bits, of which a hundred thousand suffice.
    fn colliding(hash_of: impl Fn(&[u8]) -> u32) -> ([u8; 8], [u8; 8]) {
        let mut seen = BTreeMap::new();
        for number in 0_u64.. {
            let mut text = *b"x-aaaaaa";
            (0..6).for_each(|i| text[2 + i] += (number >> (4 * i) & 15) as u8);
            if let Some(other) = seen.insert(hash_of(&text), text) {
                return (other, text);
            }
        }
        unreachable!("more strings than hashes")
    }

    #[test]
    fn an_entry_is_not_found_by_another_name_or_value_with_the_same_hash() {
        let with = |name: &[u8], value: &[u8]| {
            let mut table = Table::new(4096);
            let mut index = Index::new();
            let text = [name, value].concat();
            table.insert(Token::Other, FieldFlags::NONE, &text, name.len());
            index.insert(Token::Other, Hashes::of(Token::Other, name, value), &table);
            (table, index)
        };
        let hashes = |name: &[u8], value: &[u8]| Hashes::of(Token::Other, name, value);

        let (one, other) = colliding(|name| hashes(name, b"").name);
        let (table, index) = with(&one, b"v");
        assert_eq!(index.find_name(hashes(&one, b"v"), &one, &table), Some(0));
        assert_eq!(index.find_name(hashes(&other, b"v"), &other, &table), None);

        let (one, other) = colliding(|value| hashes(b"x-name", value).field);
        let (table, index) = with(b"x-name", &one);
        let find =
            |value: &[u8]| index.find_field(hashes(b"x-name", value), b"x-name", value, &table);
        assert_eq!(find(&one), Some(0));
        assert_eq!(find(&other), None);
    }
}
