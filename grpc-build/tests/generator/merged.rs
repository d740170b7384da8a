//! What generated code does: it is compiled in here, as it was generated for `kept/merged.proto`.

#[allow(unreachable_pub, missing_docs, dead_code, clippy::all)]
mod code {
    include!("kept/merged.rs");
}

use std::path::Path;

use code::{Leaf, Node, node};
use grpc_arena::{Arena, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};
use grpc_build::Config;
use proptest::prelude::*;

use crate::Folder;

/// `UPDATE_KEPT=1` writes the file anew.
#[test]
fn the_code_that_is_tested_is_what_the_generator_makes() {
    let folder = Folder::new("merged");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generator/kept");
    let proto = kept.join("merged.proto");
    Config::new().out_dir(folder.0.join("out")).compile_protos(&[&proto], &[&kept]).unwrap();
    let made = folder.read("merged.rs");
    let file = kept.join("merged.rs");
    if std::env::var_os("UPDATE_KEPT").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    assert!(std::fs::read_to_string(file).unwrap() == made, "write it anew by UPDATE_KEPT=1");
}

fn decode<'a>(bytes: &'a [u8], arena: &'a Arena) -> Result<Node<'a>, grpc_arena::DecodeError> {
    <Node<'static> as Schema>::decode(bytes, arena, &DecodeLimits::DEFAULT)
}

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    out
}

/// Fields of a message of `1: int32, 2: repeated int32, 3: string`, the first of which has to be there.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        (0u8..0x80).prop_map(|value| vec![8, value]),
        proptest::collection::vec(0u8..0x80, 0..4).prop_map(|list| [
            &[18, list.len() as u8][..],
            &list
        ]
        .concat()),
        (0u8..0x80).prop_map(|value| vec![16, value]),
        "[a-z]{0,5}".prop_map(|text| [&[26, text.len() as u8][..], text.as_bytes()].concat()),
    ];
    proptest::collection::vec(field, 0..4).prop_map(|fields| fields.concat())
}

/// The field with this number and content, as a message or as a group.
fn field(number: u8, is_group: bool, content: &[u8]) -> Vec<u8> {
    match is_group {
        true => [&[number << 3 | 3], content, &[number << 3 | 4]].concat(),
        false => [&[number << 3 | 2, content.len() as u8], content].concat(),
    }
}

/// Every place of one message or group that the fields of [`content`] fit.
const SINGULAR: [(u8, bool); 4] = [(1, true), (2, true), (3, false), (6, false)];

proptest! {
    /// The rule for every singular message and group: what comes in pieces is what would have come in one.
    #[test]
    fn a_singular_message_or_group_that_comes_again_is_merged(
        pieces in proptest::collection::vec(content(), 1..5), within: bool,
    ) {
        let (arena, id) = (Arena::new(), [8, 5]);
        for (number, is_group) in SINGULAR {
            // The first has what is required, and so has all of them.
            let whole = [&id[..], &pieces.concat()].concat();
            let mut whole = field(number, is_group, &whole);
            let mut split = field(number, is_group, &id);
            for piece in &pieces {
                split.extend(field(number, is_group, piece));
            }
            if within {
                // In a message that comes in pieces itself, cut between its fields.
                let (first, rest) = split.split_at(field(number, is_group, &id).len());
                split = [field(11, false, first), field(11, false, rest)].concat();
                whole = field(11, false, &whole);
            }
            let (whole, split) = (decode(&whole, &arena).unwrap(), decode(&split, &arena).unwrap());
            prop_assert_eq!(split, whole, "field {}", number);
            prop_assert_eq!(encode(&split), encode(&whole));
        }
    }

    /// Of a oneof the last member that came counts, merged with what came of it since another one did.
    #[test]
    fn a_member_of_a_oneof_gives_way_to_another_and_begins_anew(
        pieces in proptest::collection::vec((0usize..3, content()), 1..6),
    ) {
        let (arena, id) = (Arena::new(), [8, 5]);
        let bytes = |number: usize, content: &[u8]| match number {
            0 => field(2, true, content),
            1 => field(3, false, &[&id[..], content].concat()),
            _ => vec![4 << 3, 7],
        };
        let all = pieces.iter().flat_map(|(which, content)| bytes(*which, content));
        let all = all.collect::<Vec<_>>();
        let (last, _) = pieces[pieces.len() - 1];
        let run = pieces.iter().rev().take_while(|(which, _)| *which == last).count();
        let contents = pieces[pieces.len() - run..].iter().map(|(_, content)| {
            if last == 1 { [&id[..], content].concat() } else { content.clone() }
        });
        let expected = bytes(last, &contents.collect::<Vec<_>>().concat());
        prop_assert_eq!(decode(&all, &arena).unwrap(), decode(&expected, &arena).unwrap());
    }
}

/// A place for a message of this content.
type Place = dyn Fn(&[u8]) -> Vec<u8>;

/// Every place where a message with a `required` field can be, and the path that an error names.
#[test]
fn a_required_field_is_missed_wherever_its_message_is() {
    let places: [(&str, &Place); 8] = [
        ("merged.Node.leaf.id", &|content| field(3, false, content)),
        ("merged.Node.strict.id", &|content| field(5, true, content)),
        ("merged.Node.one.id", &|content| field(6, false, content)),
        ("merged.Node.all.id", &|content| field(7, false, content)),
        ("merged.Node.by_id.id", &|content| field(8, false, &field(2, false, content))),
        ("merged.Node.many.id", &|content| field(9, true, content)),
        ("merged.Node.only.id", &|content| field(10, true, content)),
        ("merged.Node.within.leaf.id", &|content| field(11, false, &field(3, false, content))),
    ];
    let arena = Arena::new();
    for (path, place) in places {
        assert!(decode(&place(&[8, 0]), &arena).is_ok(), "{path}");
        // Also behind one that has it, and with what is unknown in place of it.
        let behind = [place(&[8, 1]), place(&[])].concat();
        let is_merged = !["all", "many", "by_id"].iter().any(|name| path.contains(name));
        assert_eq!(decode(&behind, &arena).is_ok(), is_merged, "{path}");
        for bytes in [place(&[]), place(&[120, 1])] {
            let error = decode(&bytes, &arena).unwrap_err();
            assert_eq!(*error.rule(), DecodeRule::MissingRequired, "{path}");
            assert!(error.to_string().starts_with(&format!("{path}:")), "{error} and not {path}");
        }
    }
}

#[test]
fn what_is_merged_is_what_the_fields_say() {
    let arena = Arena::new();
    let split = [field(2, true, &[8, 1, 16, 1]), field(2, true, &[16, 2, 26, 1, b'n'])].concat();
    let node = decode(&split, &arena).unwrap();
    let Some(node::Choice::Member(member)) = node.choice else { panic!("{node:?}") };
    assert_eq!((member.value, member.numbers, member.name), (Some(1), &[1, 2][..], Some("n")));
    let split = [field(6, false, &[8, 1, 16, 1]), field(6, false, &[8, 2, 16, 2])].concat();
    let leaf: &Leaf<'_> = decode(&split, &arena).unwrap().one.unwrap();
    assert_eq!((leaf.id, leaf.numbers), (Some(2), &[1, 2][..]));
}
