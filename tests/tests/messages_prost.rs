//! The same bytes before our decoder and prost's: the same verdict, values and re-encoding.
//!
//! The messages of prost are derived on structs written by hand; they have the fields of `messages.three.Everything`
//! that both treat alike, and a test checks that prost's own encoding says so.

use std::collections::BTreeMap;

use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};
use proptest::prelude::*;
use prost::Message as _;
use tests::messages::messages::three::{Everything as Ours, everything};

#[derive(Clone, PartialEq, prost::Message)]
struct Inner {
    #[prost(int32, tag = "1")]
    value: i32,
    #[prost(message, optional, boxed, tag = "2")]
    next: Option<Box<Inner>>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Choice {
    #[prost(int32, tag = "61")]
    Number(i32),
    #[prost(string, tag = "62")]
    Text(String),
    #[prost(message, tag = "63")]
    Message(Box<Theirs>),
    #[prost(int32, tag = "64")]
    Shade(i32),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Theirs {
    #[prost(double, tag = "1")]
    a_double: f64,
    #[prost(float, tag = "2")]
    a_float: f32,
    #[prost(int32, tag = "3")]
    an_int32: i32,
    #[prost(int64, tag = "4")]
    an_int64: i64,
    #[prost(uint32, tag = "5")]
    a_uint32: u32,
    #[prost(uint64, tag = "6")]
    a_uint64: u64,
    #[prost(sint32, tag = "7")]
    a_sint32: i32,
    #[prost(sint64, tag = "8")]
    a_sint64: i64,
    #[prost(fixed32, tag = "9")]
    a_fixed32: u32,
    #[prost(fixed64, tag = "10")]
    a_fixed64: u64,
    #[prost(sfixed32, tag = "11")]
    an_sfixed32: i32,
    #[prost(sfixed64, tag = "12")]
    an_sfixed64: i64,
    #[prost(bool, tag = "13")]
    a_bool: bool,
    #[prost(string, tag = "14")]
    a_string: String,
    #[prost(bytes = "vec", tag = "15")]
    some_bytes: Vec<u8>,
    #[prost(int32, tag = "16")]
    color: i32,
    #[prost(message, optional, boxed, tag = "17")]
    inner: Option<Box<Theirs>>,
    #[prost(int32, optional, tag = "21")]
    maybe_int32: Option<i32>,
    #[prost(string, optional, tag = "22")]
    maybe_string: Option<String>,
    #[prost(bytes = "vec", optional, tag = "23")]
    maybe_bytes: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "24")]
    maybe_color: Option<i32>,
    #[prost(double, optional, tag = "25")]
    maybe_double: Option<f64>,
    #[prost(int32, repeated, tag = "31")]
    int32s: Vec<i32>,
    #[prost(sint64, repeated, tag = "32")]
    sint64s: Vec<i64>,
    #[prost(fixed32, repeated, tag = "33")]
    fixed32s: Vec<u32>,
    #[prost(double, repeated, tag = "34")]
    doubles: Vec<f64>,
    #[prost(bool, repeated, tag = "35")]
    bools: Vec<bool>,
    #[prost(string, repeated, tag = "36")]
    strings: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "37")]
    blobs: Vec<Vec<u8>>,
    #[prost(int32, repeated, tag = "38")]
    colors: Vec<i32>,
    #[prost(message, repeated, tag = "39")]
    inners: Vec<Theirs>,
    #[prost(int32, repeated, packed = "false", tag = "40")]
    expanded: Vec<i32>,
    #[prost(btree_map = "string, int32", tag = "51")]
    counts: BTreeMap<String, i32>,
    #[prost(btree_map = "int64, string", tag = "52")]
    names: BTreeMap<i64, String>,
    #[prost(btree_map = "bool, message", tag = "53")]
    inner_by_bool: BTreeMap<bool, Inner>,
    #[prost(btree_map = "fixed32, int32", tag = "54")]
    color_by_fixed: BTreeMap<u32, i32>,
    #[prost(btree_map = "string, bytes", tag = "55")]
    blob_by_name: BTreeMap<String, Vec<u8>>,
    #[prost(oneof = "Choice", tags = "61, 62, 63, 64")]
    choice: Option<Choice>,
}

const OURS_ALONE: [&str; 5] = ["at", "lasting", "anything", "old", "legacy"];

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), len);
    out
}

/// Both decode, or neither does. Where nothing is unknown to either, the encodings are the same bytes; prost writes
/// the zeros in a map's entries not at all, so ours goes through prost once more.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let arena = Arena::new();
    let ours = <Ours<'static> as Schema>::decode(bytes, &arena, &DecodeLimits::DEFAULT);
    let theirs = Theirs::decode(bytes);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => {
            let again = Theirs::decode(&encode(ours)[..]);
            prop_assert!(again.is_ok(), "{:?} of {:?}", again, ours);
            let again = again.unwrap_or_default();
            prop_assert_eq!(again.encode_to_vec(), theirs.encode_to_vec(), "{:?}", ours);
            let back = theirs.encode_to_vec();
            let reread = <Ours<'static> as Schema>::decode(&back, &arena, &DecodeLimits::DEFAULT);
            prop_assert!(reread.is_ok());
        }
        (Err(_), Err(_)) => {}
        // A known number with another wire type is a field that is not known, says the specification; prost refuses.
        (Ok(_), Err(theirs)) if theirs.to_string().contains("invalid wire type") => {}
        // It reads a map's field as an entry whatever its wire type is.
        (Ok(ours), Err(_)) if has_odd_map(ours) => {}
        (Err(_), Ok(_)) if may_have_odd_map(bytes) => {}
        // Fields that prost's side leaves out are not decoded there.
        (Err(ours), Ok(_)) if ours.path().any(|name| OURS_ALONE.contains(&name)) => {}
        _ => prop_assert!(false, "ours: {ours:?}; theirs: {theirs:?}"),
    }
    Ok(())
}

/// Whether two bytes look like the tag of a map's number with another wire type than an entry's.
fn may_have_odd_map(bytes: &[u8]) -> bool {
    let is_odd = |low: u8, high: u8| {
        let tag = u32::from(low & 0x7f) | u32::from(high) << 7;
        low >= 0x80 && (51..56).contains(&(tag >> 3)) && tag & 7 != 2
    };
    bytes.windows(2).any(|pair| is_odd(pair[0], pair[1]))
}

#[test]
fn a_maps_number_with_another_wire_type_is_an_unknown_field_to_us_and_an_entry_to_prost() {
    // Number 51 as a fixed32 of four bytes, which prost takes for an entry of two bytes (key "") and then nothing.
    let bytes = [0x9d, 0x03, 0x02, 0x0a, 0x00, 0xff];
    assert!(may_have_odd_map(&bytes));
    let arena = Arena::new();
    let ours = <Ours<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT);
    assert!(ours.is_ok_and(|ours| has_odd_map(&ours)));
    assert!(Theirs::decode(&bytes[..5]).is_ok_and(|theirs| theirs.counts.len() == 1));
    assert!(agree(&bytes[..5]).is_ok() && agree(&bytes).is_ok());
    assert!(!may_have_odd_map(&[0x9a, 0x03, 0x02, 0x0a, 0x00]), "an entry as it should be");
}

/// Whether a map's number came with another wire type, here or within.
fn has_odd_map(message: &Ours<'_>) -> bool {
    let chosen = match message.choice {
        Some(everything::Choice::Message(chosen)) => Some(chosen),
        _ => None,
    };
    message.unknown.fields().any(|(tag, _)| (51..56).contains(&(tag >> 3)))
        || message.inners.iter().chain(message.inner).chain(chosen).any(has_odd_map)
}

fn inner() -> impl Strategy<Value = Inner> {
    (any::<i32>(), proptest::option::of(any::<i32>())).prop_map(|(value, next)| Inner {
        value,
        next: next.map(|value| Box::new(Inner { value, next: None })),
    })
}

/// Random messages of prost, some levels deep.
fn theirs() -> impl Strategy<Value = Theirs> {
    let numbers =
        (any::<f64>(), any::<f32>(), any::<i32>(), any::<i64>(), any::<u32>(), any::<u64>());
    let text = (
        any::<String>(),
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::option::of(any::<String>()),
    );
    let lists = (
        proptest::collection::vec(any::<i32>(), 0..9),
        proptest::collection::vec(any::<i64>(), 0..9),
        proptest::collection::vec(any::<bool>(), 0..9),
        proptest::collection::vec(".{0,40}", 0..6),
        proptest::collection::vec(any::<f64>(), 0..9),
    );
    let maps = (
        proptest::collection::btree_map(".{0,12}", any::<i32>(), 0..30),
        proptest::collection::btree_map(any::<i64>(), ".{0,12}", 0..5),
        proptest::collection::btree_map(any::<bool>(), inner(), 0..3),
        proptest::collection::btree_map(any::<u32>(), any::<i32>(), 0..5),
    );
    let leaf = (numbers, text, lists, maps, any::<Option<i32>>(), 0..3).prop_map(
        |(numbers, text, lists, maps, maybe, which)| Theirs {
            a_double: numbers.0,
            a_float: numbers.1,
            an_int32: numbers.2,
            an_int64: numbers.3,
            a_uint32: numbers.4,
            a_uint64: numbers.5,
            a_sint32: numbers.2,
            a_sint64: numbers.3,
            a_fixed32: numbers.4,
            a_fixed64: numbers.5,
            an_sfixed32: numbers.2,
            an_sfixed64: numbers.3,
            a_bool: numbers.2 > 0,
            a_string: text.0,
            some_bytes: text.1.clone(),
            maybe_string: text.2.clone(),
            maybe_bytes: text.2.as_ref().map(|_| text.1.clone()),
            maybe_int32: maybe,
            maybe_color: maybe,
            color: maybe.unwrap_or_default(),
            int32s: lists.0.clone(),
            expanded: lists.0.clone(),
            colors: lists.0,
            sint64s: lists.1,
            bools: lists.2,
            blobs: lists.3.iter().map(|text: &String| text.clone().into_bytes()).collect(),
            blob_by_name: lists
                .3
                .iter()
                .map(|text| (text.clone(), text.clone().into_bytes()))
                .collect(),
            strings: lists.3,
            doubles: lists.4,
            counts: maps.0,
            names: maps.1,
            inner_by_bool: maps.2,
            color_by_fixed: maps.3,
            choice: match which {
                0 => None,
                1 => Some(Choice::Number(numbers.2)),
                _ => text.2.map(Choice::Text),
            },
            ..Theirs::default()
        },
    );
    leaf.prop_recursive(2, 6, 3, |leaf| {
        (leaf.clone(), proptest::collection::vec(leaf.clone(), 0..3), proptest::option::of(leaf))
            .prop_map(|(mut outer, inners, choice)| {
                outer.inner = inners.first().cloned().map(Box::new);
                outer.inners = inners;
                if let Some(message) = choice {
                    outer.choice = Some(Choice::Message(Box::new(message)));
                }
                outer
            })
    })
}

/// Bytes that look like fields more often than chance would make them.
fn fieldlike() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![1u32..18, 21u32..26, 31u32..41, 51u32..56, 61u32..65, 1u32..2000];
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        any::<u8>().prop_map(|len| vec![len % 8, 8, 1, 16, 2, 24, 3, 32, 4]),
        Just(vec![0x80; 11]),
    ];
    proptest::collection::vec((number, 0u32..8, value), 0..20).prop_map(|fields| {
        let mut bytes = Vec::new();
        for (number, wire, value) in fields {
            prost::encoding::encode_varint(u64::from(number << 3 | wire), &mut bytes);
            bytes.extend(value);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_messages_are_the_same_to_both(theirs in theirs()) {
        let bytes = theirs.encode_to_vec();
        agree(&bytes)?;
        let arena = Arena::new();
        let ours = <Ours<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT);
        let ours = ours.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(ours.unknown.is_empty(), "every field is known: {:?}", ours.unknown);
        prop_assert_eq!(ours.int32s, &theirs.int32s[..]);
        prop_assert_eq!(ours.strings, &theirs.strings[..]);
        prop_assert_eq!(ours.counts.len(), theirs.counts.len());
        for (key, value) in &theirs.counts {
            prop_assert_eq!(ours.counts.get(key.as_str()), Some(value));
        }
        prop_assert_eq!(ours.a_uint64, theirs.a_uint64);
    }

    #[test]
    fn mutated_messages_get_the_same_verdict(
        theirs in theirs(), edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = theirs.encode_to_vec();
        if !bytes.is_empty() {
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        agree(&bytes)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes_get_the_same_verdict(bytes: Vec<u8>) {
        agree(&bytes)?;
    }

    #[test]
    fn random_fields_get_the_same_verdict(bytes in fieldlike()) {
        agree(&bytes)?;
    }
}
