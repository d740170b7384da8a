use alloc::vec;

use proptest::prelude::*;

use super::tables::Code;
use super::*;

/// The tree of the code: for each inner node the two nodes below it, or symbols counted from `LEAF`.
struct Tree(Vec<[usize; 2]>);

const LEAF: usize = 1000;

impl Tree {
    fn new() -> Self {
        let mut nodes = vec![[0; 2]];
        for (symbol, code) in CODES.iter().enumerate() {
            let mut node = 0;
            for bit in (0..code.bits).rev().map(|shift| (code.code >> shift & 1) as usize) {
                let below = nodes[node][bit];
                assert!(below < LEAF, "no code starts with another");
                if below == 0 {
                    nodes[node][bit] = nodes.len();
                    nodes.push([0; 2]);
                }
                node = nodes[node][bit];
            }
            // The node just made is no inner one.
            nodes.pop();
            let above = nodes.iter_mut().flatten().find(|below| **below == node).unwrap();
            *above = LEAF + symbol;
        }
        Tree(nodes)
    }

    /// What a string stands for, one bit at a time.
    fn decode(&self, coded: &[u8]) -> Result<Vec<u8>, HuffmanError> {
        let mut text = Vec::new();
        let (mut node, mut bits, mut ones) = (0, 0, true);
        for at in 0..coded.len() * 8 {
            let bit = coded[at / 8] >> (7 - at % 8) & 1;
            node = self.0[node][usize::from(bit)];
            bits += 1;
            ones &= bit == 1;
            match node.checked_sub(LEAF) {
                Some(256) => return Err(HuffmanError::EndOfString),
                Some(byte) => {
                    text.push(byte as u8);
                    (node, bits, ones) = (0, 0, true);
                }
                None => {}
            }
        }
        match (ones, bits) {
            (false, _) => Err(HuffmanError::PaddingNotOnes),
            (true, 8..) => Err(HuffmanError::PaddingTooLong),
            (true, _) => Ok(text),
        }
    }
}

/// What `coded` decodes to, whatever follows it.
fn decode_alone(coded: &[u8]) -> Result<(Vec<u8>, bool), HuffmanError> {
    let most = max_decoded_len(coded.len());
    let mut found = Vec::new();
    for follows in [&[][..], &[0xff; 3], &[0xff; 9], &[0; 9], &[0x1c; 9]] {
        let source = [coded, follows].concat();
        let mut text = vec![0; most + 8];
        let decoded = decode(&source, coded.len(), &mut text);
        let len = decoded_len(&source, coded.len());
        assert_eq!(len, decoded.map(|decoded| decoded.len as usize), "{coded:02x?}");
        found.push(decoded.map(|decoded| {
            text.truncate(decoded.len as usize);
            (text, decoded.line_or_nul)
        }));
    }
    assert!(found.iter().all(|one| *one == found[0]), "{coded:02x?}: {found:?}");
    found.swap_remove(0)
}

fn check(tree: &Tree, coded: &[u8]) {
    let wanted = tree.decode(coded).map(|text| {
        let line_or_nul = text.iter().any(|byte| b"\0\r\n".contains(byte));
        (text, line_or_nul)
    });
    assert_eq!(decode_alone(coded), wanted, "{coded:02x?}");
}

fn bits(codes: &[Code]) -> (Vec<u8>, usize) {
    let (mut bytes, mut at) = (Vec::new(), 0);
    for code in codes {
        for bit in (0..code.bits).rev() {
            if at % 8 == 0 {
                bytes.push(0);
            }
            bytes[at / 8] |= ((code.code >> bit & 1) as u8) << (7 - at % 8);
            at += 1;
        }
    }
    (bytes, at)
}

#[test]
fn the_codes_are_those_of_appendix_b() {
    let code = |symbol: usize| (CODES[symbol].code, CODES[symbol].bits);
    assert_eq!(code(0), (0x1ff8, 13));
    assert_eq!(code(1), (0x7f_ffd8, 23));
    assert_eq!(code(10), (0x3fff_fffc, 30));
    assert_eq!(code(usize::from(b' ')), (0x14, 6));
    assert_eq!(code(usize::from(b'0')), (0x0, 5));
    assert_eq!(code(usize::from(b'\\')), (0x7fff0, 19));
    assert_eq!(code(usize::from(b'z')), (0x7b, 7));
    assert_eq!(code(127), (0xfff_fffc, 28));
    assert_eq!(code(128), (0xf_ffe6, 20));
    assert_eq!(code(249), (0xfff_fffe, 28));
    assert_eq!(code(255), (0x3ff_ffee, 26));
    assert_eq!(code(256), (0x3fff_ffff, 30));
}

/// A string leaves a decoder in one of 256 inner nodes of the code's tree. This visits each of them,
/// by the codes' own prefixes, and has every byte follow: the whole transition table.
#[test]
fn every_byte_in_every_state_decodes_as_the_code_says() {
    let tree = Tree::new();
    let mut states = 0;
    // An inner node, and the bits that lead there.
    let mut nodes = vec![(0, Code { code: 0, bits: 0 })];
    while let Some((node, prefix)) = nodes.pop() {
        states += 1;
        for (bit, &below) in tree.0[node].iter().enumerate().filter(|(_, below)| **below < LEAF) {
            let code = prefix.code << 1 | bit as u32;
            nodes.push((below, Code { code, bits: prefix.bits + 1 }));
        }
        // The prefix has to end at a byte's end: as many digits of five and symbols of six bits
        // ahead of it as that takes.
        let five = CODES[usize::from(b'0')];
        let six = CODES[usize::from(b'%')];
        let ahead = (0..8)
            .map(|fives| vec![five; fives])
            .chain((0..8).map(|sixes| vec![six; sixes]))
            .chain((1..8).map(|fives| [vec![five; fives], vec![six]].concat()))
            .find(|ahead| {
                let held: usize = ahead.iter().map(|code| usize::from(code.bits)).sum();
                (held + usize::from(prefix.bits)).is_multiple_of(8)
            })
            .unwrap();
        let (start, len) = bits(&[ahead, vec![prefix]].concat());
        assert_eq!(len % 8, 0);
        check(&tree, &start);
        for byte in 0..=255 {
            let coded = [&start[..], &[byte]].concat();
            check(&tree, &coded);
            // Once more with the string going on, so that the byte is not met by the last lookups.
            check(&tree, &[&coded[..], &[0x9f; 8]].concat());
        }
    }
    assert_eq!(states, 256);
}

#[test]
fn every_padding_after_every_symbol_is_judged() {
    let tree = Tree::new();
    for symbol in 0..=255u8 {
        let code = CODES[usize::from(symbol)];
        for ahead in 0..4 {
            let codes = [vec![CODES[usize::from(b'a')]; ahead], vec![code]].concat();
            let (start, len) = bits(&codes);
            let padding = start.len() * 8 - len;
            for fill in 0..1u32 << padding {
                let mut coded = start.clone();
                *coded.last_mut().unwrap() |= fill as u8;
                check(&tree, &coded);
                for more in
                    [&[0xff][..], &[0x00], &[0xff; 4], &[0xff, 0xff, 0xff, 0xfc], &[0xff; 9]]
                {
                    check(&tree, &[&coded[..], more].concat());
                }
            }
        }
    }
}

#[test]
fn all_strings_up_to_two_bytes_decode_as_the_code_says() {
    let tree = Tree::new();
    check(&tree, &[]);
    for first in 0..=255 {
        check(&tree, &[first]);
        for second in 0..=255 {
            check(&tree, &[first, second]);
        }
    }
}

#[test]
fn every_pair_of_symbols_comes_back() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            let text = [first, second, b'e', first];
            let mut coded = Vec::new();
            assert!(encode(&text, 4 * text.len(), &mut coded));
            assert_eq!(coded.len(), encoded_len(&text));
            assert_eq!(decode_alone(&coded).unwrap().0, text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_text_comes_back(text: Vec<u8>) {
        let mut coded = b"before".to_vec();
        assert!(encode(&text, 4 * text.len(), &mut coded));
        let len = encoded_len(&text);
        prop_assert_eq!(coded.len(), 6 + len);
        let mut exactly = b"before".to_vec();
        prop_assert!(encode(&text, len, &mut exactly));
        prop_assert_eq!(&exactly, &coded);
        if len > 0 {
            prop_assert!(!encode(&text, len - 1, &mut exactly));
            prop_assert_eq!(&exactly, &coded);
        }
        check(&Tree::new(), &coded[6..]);
        prop_assert_eq!(decode_alone(&coded[6..]).unwrap().0, text);
    }

    #[test]
    fn any_string_is_judged_as_the_code_says(coded: Vec<u8>) {
        check(&Tree::new(), &coded);
    }
}

#[test]
fn five_bits_are_the_shortest_code() {
    assert_eq!([0, 1, 5, 8, 10].map(max_decoded_len), [0, 1, 8, 12, 16]);
}
