//! MessageSets: extensions as Items. The bytes were encoded by protoc 3.21 and by protobuf for Python 7.36 alike; which
//! of several fields count in an Item is what both of them read.

use grpc_arena::codec::UnknownFields;
use grpc_arena::{Arena, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};
use proptest::prelude::*;
use prost::Message as _;
use tests::messages::set::{Note, Set, Stamp, StampOf, note::Remark};

const LIMITS: DecodeLimits = DecodeLimits::DEFAULT;

/// The numbers of the two extensions, as varints.
const REMARK: &[u8] = &[0xf9, 0xbb, 0x5e];
const STAMP_OF: &[u8] = &[0xfe, 0xff, 0xff, 0xff, 0x07];

/// The tag of a field with the number of `Remark`.
const REMARK_FIELD: &[u8] = &[0xca, 0xdf, 0xf3, 0x05];

/// `[remark] { text: "hi" count: -1 }`.
const ONE: &[u8] =
    b"\x0b\x10\xf9\xbb\x5e\x1a\x0f\x0a\x02hi\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0c";

/// `[stamp_of] { at: 300 }`.
const OTHER: &[u8] = b"\x0b\x10\xfe\xff\xff\xff\x07\x1a\x03\x08\xac\x02\x0c";

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), len);
    out
}

fn decode<'a>(bytes: &'a [u8], arena: &'a Arena) -> Set<'a> {
    let set = <Set<'static> as Schema>::decode(bytes, arena, &LIMITS).unwrap();
    assert_eq!(encode(&set), bytes, "what came is written back");
    set
}

/// The remark in these bytes: its text and its count.
fn remark(parts: &[&[u8]]) -> Option<(Option<String>, Option<i32>)> {
    let (bytes, arena) = (parts.concat(), Arena::new());
    let remark = Remark::of(&decode(&bytes, &arena), &arena, &LIMITS).unwrap().value?;
    Some((remark.text.map(str::to_owned), remark.count))
}

/// A varint field of `type_id`, and a `message` with a text or a count.
fn type_id(number: &[u8]) -> Vec<u8> {
    [&[0x10], number].concat()
}
const TEXT: &[u8] = &[0x1a, 3, 0x0a, 1, b'a'];
const COUNT: &[u8] = &[0x1a, 2, 0x10, 5];

#[test]
fn a_set_is_written_as_official_encoders_write_it() {
    let arena = Arena::new();
    let mut set = Set::EMPTY;
    let note = Note { text: Some("hi"), count: Some(-1), ..Note::EMPTY };
    Remark { value: Some(&note), ..Remark::EMPTY }.add_to(&mut set, &arena).unwrap();
    assert_eq!(encode(&set), ONE);
    let stamp = Stamp { at: Some(300), ..Stamp::EMPTY };
    StampOf { value: Some(&stamp), ..StampOf::EMPTY }.add_to(&mut set, &arena).unwrap();
    assert_eq!(encode(&set), [ONE, OTHER].concat());

    let mut inner = Set::EMPTY;
    let note = Note { text: Some("in"), ..Note::EMPTY };
    Remark { value: Some(&note), ..Remark::EMPTY }.add_to(&mut inner, &arena).unwrap();
    let outer = Note { text: Some("out"), set: Some(&inner), ..Note::EMPTY };
    assert_eq!(encode(&outer), b"\x0a\x03out\x1a\x0c\x0b\x10\xf9\xbb\x5e\x1a\x04\x0a\x02in\x0c");

    let mut set = Set::EMPTY;
    Remark { value: Some(&Note::EMPTY), ..Remark::EMPTY }.add_to(&mut set, &arena).unwrap();
    assert_eq!(encode(&set), b"\x0b\x10\xf9\xbb\x5e\x1a\x00\x0c");
}

#[test]
fn each_extension_is_read_out_of_the_set_that_official_encoders_write() {
    let arena = Arena::new();
    for bytes in [[ONE, OTHER].concat(), [OTHER, ONE].concat()] {
        let set = decode(&bytes, &arena);
        let note = Note { text: Some("hi"), count: Some(-1), ..Note::EMPTY };
        assert_eq!(Remark::of(&set, &arena, &LIMITS).unwrap().value, Some(&note));
        let stamp = Stamp { at: Some(300), ..Stamp::EMPTY };
        assert_eq!(StampOf::of(&set, &arena, &LIMITS).unwrap().value, Some(&stamp));
    }
    let set = decode(OTHER, &arena);
    assert_eq!(Remark::of(&set, &arena, &LIMITS).unwrap().value, None);
}

#[test]
fn type_id_and_message_come_in_either_order() {
    let text = Some((Some("a".to_owned()), None));
    assert_eq!(remark(&[&[0x0b], &type_id(REMARK), TEXT, &[0x0c]]), text);
    assert_eq!(remark(&[&[0x0b], TEXT, &type_id(REMARK), &[0x0c]]), text);
    let long_tags = [&[0x8b, 0, 0x90, 0], REMARK, &[0x9a, 0], &TEXT[1..], &[0x8c, 0]];
    assert_eq!(remark(&long_tags), text, "tags longer than they need be");
}

#[test]
fn the_first_type_id_and_the_first_message_of_an_item_count() {
    let text = Some((Some("a".to_owned()), None));
    let (ours, seven) = (&type_id(REMARK)[..], &type_id(&[7])[..]);
    assert_eq!(remark(&[&[0x0b], ours, TEXT, COUNT, &[0x0c]]), text);
    assert_eq!(remark(&[&[0x0b], TEXT, COUNT, ours, &[0x0c]]), text);
    assert_eq!(remark(&[&[0x0b], ours, seven, TEXT, &[0x0c]]), text);
    assert_eq!(remark(&[&[0x0b], ours, TEXT, seven, COUNT, &[0x0c]]), text);
    assert_eq!(remark(&[&[0x0b], seven, ours, TEXT, &[0x0c]]), None);
}

#[test]
fn what_comes_twice_is_merged_in_items_and_in_the_fields_that_others_write() {
    let item = |message: &[u8]| [&[0x0b], &type_id(REMARK)[..], message, &[0x0c]].concat();
    let field = |message: &[u8]| [REMARK_FIELD, &message[1..]].concat();
    let both = Some((Some("a".to_owned()), Some(5)));
    assert_eq!(remark(&[&item(TEXT), OTHER, &item(COUNT)]), both);
    assert_eq!(remark(&[&field(TEXT), &item(COUNT)]), both);
    assert_eq!(remark(&[&item(TEXT), OTHER, &field(COUNT)]), both);
    let later = [0x1a, 3, 0x0a, 1, b'b'];
    assert_eq!(remark(&[&item(TEXT), &item(&later)]), Some((Some("b".to_owned()), None)));
    assert_eq!(remark(&[&field(TEXT)]), Some((Some("a".to_owned()), None)));
}

#[test]
fn an_item_without_type_id_or_message_is_no_extensions_and_stays() {
    let ours = &type_id(REMARK)[..];
    for content in [&[][..], TEXT, ours] {
        assert_eq!(remark(&[&[0x0b], content, &[0x0c]]), None);
    }
    // Either of them with a wire type that is not its own is another field.
    let fixed = [0x15, 0xf9, 0x9d, 0x17, 0x00];
    assert_eq!(remark(&[&[0x0b], &fixed, TEXT, &[0x0c]]), None);
    assert_eq!(remark(&[&[0x0b], ours, &[0x18, 5], &[0x0c]]), None);
    // The extension as a field, with a wire type that is not its own; and an Item that is no group.
    assert_eq!(remark(&[&[0xc8, 0xdf, 0xf3, 0x05, 5]]), None);
    let item = [ours, TEXT].concat();
    assert_eq!(remark(&[&[0x0a, item.len() as u8], &item]), None);
    // And what else is there is passed over, groups included.
    let (junk, text) = (&[0x20, 1, 0x2b, 0x0b, 0x0c, 0x2c][..], Some((Some("a".to_owned()), None)));
    assert_eq!(remark(&[&[0x0b], junk, ours, junk, TEXT, junk, &[0x0c]]), text);
}

#[test]
fn a_type_id_is_a_uint32_and_zero_is_no_extensions() {
    let item = |number: &[u8]| [&[0x0b], &type_id(number)[..], TEXT, &[0x0c]].concat();
    assert_eq!(remark(&[&item(&[0])]), None);
    assert_eq!(remark(&[&item(&[0xff, 0xff, 0xff, 0xff, 0x0f])]), None);
    assert_eq!(remark(&[&item(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")]), None);
    // Of a varint of more than 32 bits the lower half counts.
    assert!(remark(&[&item(&[0xf9, 0xbb, 0xde, 0x80, 0x10])]).is_some());
    let arena = Arena::new();
    let error = <Set<'static> as Schema>::decode(&item(&[0xff; 10]), &arena, &LIMITS).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::VarintTooLong);
}

#[test]
fn broken_items_are_refused_by_the_set_and_a_broken_message_by_its_extension() {
    let item = [&[0x0b], &type_id(REMARK)[..], TEXT].concat();
    let too_long = [&[0x0b], &type_id(REMARK)[..], &[0x1a, 9, 0x0a, 1, b'a', 0x0c]].concat();
    let arena = Arena::new();
    for (bytes, rule) in [
        (&item[..], DecodeRule::GroupNotClosed),
        (&[0x0b], DecodeRule::GroupNotClosed),
        (&[&item[..], &[0x14]].concat(), DecodeRule::EndGroup),
        (&[0x0c], DecodeRule::EndGroup),
        (&[&item[..], &[0x00, 0x0c]].concat(), DecodeRule::FieldNumber),
        (&item[..item.len() - 1], DecodeRule::Truncated),
        (&too_long, DecodeRule::Truncated),
        (&[&item[..], &[0x2e, 0x0c]].concat(), DecodeRule::WireType),
    ] {
        let error = <Set<'static> as Schema>::decode(bytes, &arena, &LIMITS).unwrap_err();
        assert_eq!(error.rule(), &rule, "{bytes:x?}");
        // A set that was put together by hand has been checked by nobody.
        let spans = [bytes];
        let set = Set { unknown: UnknownFields::from_spans(&spans) };
        let error = Remark::of(&set, &arena, &LIMITS).unwrap_err();
        assert_eq!((error.rule(), error.offset() <= bytes.len()), (&rule, true), "{bytes:x?}");
    }
    let broken = [&[0x0b], &type_id(REMARK)[..], &[0x1a, 3, 0x0a, 5, b'a', 0x0c]].concat();
    let set = decode(&broken, &arena);
    let error = Remark::of(&set, &arena, &LIMITS).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::Truncated);
    assert!(error.to_string().starts_with("messages.set.Note.remark: "), "{error}");
    assert_eq!(StampOf::of(&set, &arena, &LIMITS).unwrap().value, None, "not its message");
    // `required` holds in what an Item carries.
    let empty = [&[0x0b], &type_id(STAMP_OF)[..], &[0x1a, 0, 0x0c]].concat();
    let error = StampOf::of(&decode(&empty, &arena), &arena, &LIMITS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "messages.set.stamp_of.stamp_of.at: a required field is missing, at byte 0"
    );
}

#[test]
fn an_item_and_its_message_are_a_level_each() {
    let arena = Arena::new();
    let set = decode(ONE, &arena);
    assert!(Remark::of(&set, &arena, &LIMITS.with_depth(2)).is_ok());
    for depth in [0, 1] {
        let error = Remark::of(&set, &arena, &LIMITS.with_depth(depth)).unwrap_err();
        assert_eq!(error.rule(), &DecodeRule::Depth);
    }
    // Also where the Item is another extension's, and where a group lies in it.
    assert!(StampOf::of(&set, &arena, &LIMITS.with_depth(1)).is_ok());
    let error = StampOf::of(&set, &arena, &LIMITS.with_depth(0)).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::Depth);
    let deep = [&[0x0b], &[0x2b; 99][..], &[0x2c; 99], &[0x0c]].concat();
    let set = decode(&deep, &arena);
    assert_eq!(Remark::of(&set, &arena, &LIMITS).unwrap().value, None);
    let error = Remark::of(&set, &arena, &LIMITS.with_depth(99)).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::Depth);
}

/// A MessageSet as a plain message, for a codec that knows nothing of the format.
#[derive(Clone, PartialEq, prost::Message)]
struct Plain {
    #[prost(group, repeated, tag = "1")]
    item: Vec<Item>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Item {
    #[prost(uint32, required, tag = "2")]
    type_id: u32,
    #[prost(bytes = "vec", required, tag = "3")]
    message: Vec<u8>,
}

/// A part of a set, and what it adds to the remark.
#[derive(Clone, Debug)]
enum Part {
    Item(Vec<Inner>),
    Field(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Inner {
    TypeId(u32),
    Message(Vec<u8>),
    Other,
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Part {
    fn put(&self, out: &mut Vec<u8>) {
        let delimited = |out: &mut Vec<u8>, bytes: &[u8]| {
            varint(out, bytes.len() as u64);
            out.extend(bytes);
        };
        match self {
            Self::Field(bytes) => {
                out.extend(REMARK_FIELD);
                delimited(out, bytes);
            }
            Self::Item(content) => {
                out.push(0x0b);
                for inner in content {
                    match inner {
                        Inner::TypeId(number) => {
                            out.push(0x10);
                            varint(out, u64::from(*number));
                        }
                        Inner::Message(bytes) => {
                            out.push(0x1a);
                            delimited(out, bytes);
                        }
                        Inner::Other => out.extend([0x23, 0x0d, 1, 2, 3, 4, 0x24]),
                    }
                }
                out.push(0x0c);
            }
        }
    }

    /// The message that the part carries for the remark.
    fn remark(&self) -> Option<&[u8]> {
        let content = match self {
            Self::Field(bytes) => return Some(bytes),
            Self::Item(content) => content,
        };
        let type_id = content.iter().find_map(|inner| match inner {
            Inner::TypeId(number) => Some(*number),
            _ => None,
        });
        let message = content.iter().find_map(|inner| match inner {
            Inner::Message(bytes) => Some(&bytes[..]),
            _ => None,
        });
        message.filter(|_| type_id == Some(1_547_769))
    }
}

fn note() -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::option::of("[a-z]{0,9}");
    (text, proptest::option::of(any::<i32>()), proptest::collection::vec(any::<i32>(), 0..4))
        .prop_map(|(text, count, marks)| {
            encode(&Note { text: text.as_deref(), count, marks: &marks, ..Note::EMPTY })
        })
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let inner = prop_oneof![
        3 => Just(Inner::TypeId(1_547_769)),
        1 => any::<u32>().prop_map(Inner::TypeId),
        3 => note().prop_map(Inner::Message),
        1 => Just(Inner::Other),
    ];
    let part = prop_oneof![
        3 => proptest::collection::vec(inner, 0..5).prop_map(Part::Item),
        1 => note().prop_map(Part::Field),
    ];
    proptest::collection::vec(part, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_extension_is_what_its_parts_are_one_behind_the_other(parts in parts()) {
        let (mut bytes, arena) = (Vec::new(), Arena::new());
        parts.iter().for_each(|part| part.put(&mut bytes));
        let read = Remark::of(&decode(&bytes, &arena), &arena, &LIMITS).unwrap().value;
        let messages: Vec<_> = parts.iter().filter_map(Part::remark).collect();
        prop_assert_eq!(read.is_some(), !messages.is_empty());
        // Messages that follow each other in one piece are merged.
        let merged = messages.concat();
        let expected = <Note<'static> as Schema>::decode(&merged, &arena, &LIMITS).unwrap();
        prop_assert_eq!(*read.unwrap_or(&Note::EMPTY), expected);
    }

    #[test]
    fn what_is_added_is_what_a_plain_codec_and_this_one_read(
        text in ".{0,40}", at in any::<i64>(), before in proptest::option::of(any::<i32>()),
    ) {
        let (arena, mut set) = (Arena::new(), Set::EMPTY);
        let before = before.map(|count| Note { count: Some(count), ..Note::EMPTY });
        let note = Note { text: Some(&text), ..Note::EMPTY };
        let stamp = Stamp { at: Some(at), ..Stamp::EMPTY };
        for value in before.iter().chain([&note]) {
            Remark { value: Some(value), ..Remark::EMPTY }.add_to(&mut set, &arena).unwrap();
        }
        StampOf { value: Some(&stamp), ..StampOf::EMPTY }.add_to(&mut set, &arena).unwrap();
        let bytes = encode(&set);
        let item = |type_id, message| Item { type_id, message };
        let mut items: Vec<_> =
            before.iter().chain([&note]).map(|note| item(1_547_769, encode(note))).collect();
        items.push(item(2_147_483_646, encode(&stamp)));
        prop_assert_eq!(Plain::decode(&bytes[..]).unwrap().item, items);
        let read = decode(&bytes, &arena);
        let both = Note { count: before.and_then(|note| note.count), ..note };
        prop_assert_eq!(Remark::of(&read, &arena, &LIMITS).unwrap().value, Some(&both));
        prop_assert_eq!(StampOf::of(&read, &arena, &LIMITS).unwrap().value, Some(&stamp));
    }

    #[test]
    fn bytes_that_make_no_set_make_no_extension_either(
        parts in parts(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        end in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, arena) = (Vec::new(), Arena::new());
        parts.iter().for_each(|part| part.put(&mut bytes));
        for (place, byte) in edits {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        bytes.truncate(end.index(bytes.len() + 1));
        let spans = [&bytes[..]];
        let set = Set { unknown: UnknownFields::from_spans(&spans) };
        let read = Remark::of(&set, &arena, &LIMITS);
        match <Set<'static> as Schema>::decode(&bytes, &arena, &LIMITS) {
            Ok(set) => prop_assert_eq!(Remark::of(&set, &arena, &LIMITS), read),
            Err(_) => prop_assert!(read.is_err()),
        }
    }
}
