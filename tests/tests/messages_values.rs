//! What generated messages mean: presence, defaults, merging, unknown fields, extensions.

use grpc_arena::codec::{Map, UnknownFields};
use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
use tests::messages::messages::three::{Color, Everything, Rare, Self_, everything, self_};
use tests::messages::messages::two::{Closed, Legacy, Parent, Rating, Scores, legacy};
use tests::messages::{edition, edition24, options};

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), vec![0xee]);
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), 1 + len, "encode appends exactly what encoded_len said");
    out.split_off(1)
}

fn decode<'a, M: Schema>(bytes: &'a [u8], arena: &'a Arena) -> Result<M::View<'a>, DecodeError> {
    M::decode(bytes, arena, &DecodeLimits::DEFAULT)
}

type AnEverything = Everything<'static>;
type ALegacy = Legacy<'static>;

#[test]
fn a_message_equals_what_was_read_from_it_however_its_extensions_were_added() {
    let arena = Arena::new();
    let mut sent = Legacy { id: Some(1), ..Legacy::EMPTY };
    Rating { value: Some(5), ..Rating::EMPTY }.add_to(&mut sent, &arena).unwrap();
    Scores { value: &[1, -1], ..Scores::EMPTY }.add_to(&mut sent, &arena).unwrap();
    let bytes = encode(&sent);
    let received = decode::<ALegacy>(&bytes, &arena).unwrap();
    assert_ne!(received.unknown.spans().len(), sent.unknown.spans().len());
    assert_eq!(received, sent);
    Rating { value: Some(5), ..Rating::EMPTY }.add_to(&mut sent, &arena).unwrap();
    assert_ne!(received, sent);
}

#[test]
fn each_rare_field_is_written_when_it_alone_is_there() {
    const NONE: Rare<'static> = Rare::EMPTY;
    assert_eq!(encode(&NONE), []);
    // With the tag's two bytes: lengths that protobuf's encoding gives.
    let alone = [
        (Rare { a_double: -0.0, ..NONE }, 10),
        (Rare { a_float: -0.0, ..NONE }, 6),
        (Rare { an_int32: i32::MIN, ..NONE }, 12),
        (Rare { an_int64: 1 << 32, ..NONE }, 7),
        (Rare { a_uint32: 1 << 31, ..NONE }, 7),
        (Rare { a_uint64: 1 << 63, ..NONE }, 12),
        (Rare { a_sint32: -1, ..NONE }, 3),
        (Rare { a_sint64: i64::MIN, ..NONE }, 12),
        (Rare { a_fixed32: 1 << 31, ..NONE }, 6),
        (Rare { a_fixed64: 1 << 63, ..NONE }, 10),
        (Rare { a_bool: true, ..NONE }, 3),
        (Rare { a_string: "a", ..NONE }, 4),
        (Rare { some_bytes: &[0; 128], ..NONE }, 132),
        (Rare { color: Color(i32::MIN), ..NONE }, 12),
        (Rare { int32s: &[0], ..NONE }, 4),
        (Rare { after_a_list: 1, ..NONE }, 3),
    ];
    let arena = Arena::new();
    for (message, len) in alone {
        let bytes = encode(&message);
        assert_eq!(bytes.len(), len, "{message:?}");
        let back = decode::<Rare<'static>>(&bytes, &arena).unwrap();
        // Negative zeros equal positive ones, so the bytes are compared as well.
        assert_eq!((back, encode(&back)), (message, bytes.clone()));
    }
}

#[test]
fn every_kind_of_field_comes_back_as_it_was_sent() {
    let inner = Everything { an_int32: -1, ..Everything::EMPTY };
    let chained = everything::Inner {
        value: 5,
        next: Some(&everything::Inner::EMPTY),
        ..everything::Inner::EMPTY
    };
    let by_bool = [(false, everything::Inner::EMPTY), (true, chained)];
    let by_name = [("k", &b"v"[..])];
    let message = Everything {
        a_double: -0.0,
        a_float: f32::INFINITY,
        an_int32: i32::MIN,
        an_int64: i64::MIN,
        a_uint32: u32::MAX,
        a_uint64: u64::MAX,
        a_sint32: i32::MIN,
        a_sint64: i64::MAX,
        a_fixed32: 1,
        a_fixed64: u64::MAX,
        an_sfixed32: -1,
        an_sfixed64: i64::MIN,
        a_bool: true,
        a_string: "grüße, 世界",
        some_bytes: &[0, 255],
        color: Color::BLUE,
        inner: Some(&inner),
        maybe_int32: Some(0),
        maybe_string: Some(""),
        maybe_bytes: Some(b""),
        maybe_color: Some(Color(77)),
        maybe_double: Some(0.0),
        int32s: &[0, -1, 300, i32::MAX],
        sint64s: &[i64::MIN, 0, 1],
        fixed32s: &[1, 2, 3],
        doubles: &[0.5, f64::MAX],
        bools: &[true, false],
        strings: &["a", "", "b"],
        blobs: &[&b"x"[..], b""],
        colors: &[Color::RED, Color::COLOR_3D],
        inners: &[Everything::EMPTY, inner],
        expanded: &[7, 8],
        counts: Map::from_sorted(&[("a", 1), ("b", -2)]).unwrap(),
        names: Map::from_sorted(&[(-1, "minus"), (2, "two")]).unwrap(),
        inner_by_bool: Map::from_sorted(&by_bool).unwrap(),
        color_by_fixed: Map::from_sorted(&[(9, Color::RED)]).unwrap(),
        blob_by_name: Map::from_sorted(&by_name).unwrap(),
        choice: Some(everything::Choice::Message(&inner)),
        ..Everything::EMPTY
    };
    let bytes = encode(&message);
    let arena = Arena::new();
    let read = decode::<AnEverything>(&bytes, &arena).unwrap();
    assert_eq!(read, message);
    assert_eq!(encode(&read), bytes);
    assert!(read.a_double.is_sign_negative(), "minus zero is a value that counts");
}

#[test]
fn the_empty_message_is_no_bytes() {
    assert_eq!(encode(&Everything::EMPTY), []);
    let arena = Arena::new();
    assert_eq!(decode::<AnEverything>(&[], &arena).unwrap(), Everything::default());
}

#[test]
fn defaults_stand_for_what_is_absent() {
    let absent = Legacy::EMPTY;
    assert_eq!((absent.name, absent.name()), (None, "nobody \"at\" äll"));
    assert_eq!(absent.raw(), [0, 0xff, b'a']);
    assert_eq!((absent.ratio(), absent.big()), (f64::NEG_INFINITY, i64::MIN));
    assert_eq!((absent.closed(), Closed::default()), (Closed::Two, Closed::One));
    let present = Legacy { name: Some(""), closed: Some(Closed::One), ..absent };
    assert_eq!((present.name(), present.closed()), ("", Closed::One));
}

#[test]
fn a_submessage_that_comes_twice_is_merged() {
    let first = Everything {
        an_int32: 1,
        a_string: "kept",
        int32s: &[1],
        inners: &[Everything::EMPTY],
        counts: Map::from_sorted(&[("a", 1), ("b", 1)]).unwrap(),
        choice: Some(everything::Choice::Message(&Everything {
            a_bool: true,
            ..Everything::EMPTY
        })),
        ..Everything::EMPTY
    };
    let second = Everything {
        an_int32: 2,
        int32s: &[2, 3],
        inners: &[Everything { an_int64: 4, ..Everything::EMPTY }],
        counts: Map::from_sorted(&[("b", 2), ("c", 2)]).unwrap(),
        choice: Some(everything::Choice::Message(&Everything { an_int64: 9, ..Everything::EMPTY })),
        ..Everything::EMPTY
    };
    let outer = |inner| Everything { inner: Some(inner), ..Everything::EMPTY };
    let bytes = [encode(&outer(&first)), encode(&outer(&second))].concat();
    let arena = Arena::new();
    let merged = decode::<AnEverything>(&bytes, &arena).unwrap().inner.unwrap();
    assert_eq!((merged.an_int32, merged.a_string, merged.int32s), (2, "kept", &[1, 2, 3][..]));
    assert_eq!(merged.inners.iter().map(|inner| inner.an_int64).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(merged.counts.entries(), [("a", 1), ("b", 2), ("c", 2)]);
    let Some(everything::Choice::Message(message)) = merged.choice else {
        panic!("{:?}", merged.choice)
    };
    assert_eq!((message.a_bool, message.an_int64), (true, 9));
}

#[test]
fn another_member_of_a_oneof_replaces_the_one_before() {
    let one = |choice| encode(&Everything { choice: Some(choice), ..Everything::EMPTY });
    let bytes =
        [one(everything::Choice::Text("gone")), one(everything::Choice::Number(0))].concat();
    let arena = Arena::new();
    let read = decode::<AnEverything>(&bytes, &arena).unwrap();
    assert_eq!(read.choice, Some(everything::Choice::Number(0)));
}

#[test]
fn lists_in_pieces_packed_and_not_are_one_list() {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for n in 0..300i32 {
        // Field 31 as an element, field 36 between, field 31 as a packed list.
        bytes.extend([
            0xf8,
            0x01,
            (n % 100) as u8,
            0xa2,
            0x02,
            0x01,
            b'x',
            0xfa,
            0x01,
            0x02,
            0x01,
            0x02,
        ]);
        expected.extend([n % 100, 1, 2]);
    }
    let arena = Arena::new();
    let read = decode::<AnEverything>(&bytes, &arena).unwrap();
    assert_eq!((read.int32s, read.strings), (&expected[..], &["x"; 300][..]));
    assert!(
        arena.used_bytes() < 4 * (4 * 900 + 16 * 300),
        "lists that grow double: {}",
        arena.used_bytes()
    );
}

#[test]
fn unknown_fields_are_kept_and_written_back() {
    // Field 2000 as a varint, field 1 with the wrong wire type, and a group with a group within.
    let unknown: &[u8] = &[0x80, 0x7d, 0x05, 0x0a, 0x01, b'?', 0x83, 0x7d, 0x0b, 0x0c, 0x84, 0x7d];
    let known = encode(&Everything { an_int32: 3, ..Everything::EMPTY });
    let bytes = [&unknown[..3], &known, &unknown[3..]].concat();
    let arena = Arena::new();
    let read = decode::<AnEverything>(&bytes, &arena).unwrap();
    assert_eq!(read.unknown.spans(), [&unknown[..3], &unknown[3..]], "neighbours are one span");
    assert_eq!(read.unknown.fields().map(|(tag, _)| tag >> 3).collect::<Vec<_>>(), [2000, 1, 2000]);
    assert_eq!(encode(&read), [&known, unknown].concat());
    assert_eq!(UnknownFields::EMPTY.encoded_len(), 0);
}

#[test]
fn a_number_that_a_closed_enum_does_not_name_is_an_unknown_field() {
    let known = Legacy { id: Some(1), ..Legacy::EMPTY };
    let mut bytes = encode(&known);
    // closed = 9; closeds = 1, 9; packed_closeds = [2, 9]; closed_by_name["k"] = 9; chosen = 9.
    bytes.extend([6 << 3, 9, 7 << 3, 1, 7 << 3, 9, 8 << 3 | 2, 2, 2, 9]);
    bytes.extend([11 << 3 | 2, 5, 10, 1, b'k', 16, 9, 14 << 3, 9]);
    let arena = Arena::new();
    let read = decode::<ALegacy>(&bytes, &arena).unwrap();
    assert_eq!((read.closed, read.choice), (None, None));
    assert_eq!((read.closeds, read.packed_closeds), (&[Closed::One][..], &[Closed::Two][..]));
    assert!(read.closed_by_name.is_empty());
    let numbers = read.unknown.fields().map(|(tag, _)| tag >> 3).collect::<Vec<_>>();
    assert_eq!(numbers, [6, 7, 8, 11, 14]);
    let again = encode(&read);
    assert_eq!(decode::<ALegacy>(&again, &arena).unwrap(), read, "and stays one");
}

#[test]
fn groups_come_back_alone_repeated_and_in_a_oneof() {
    let within = [Legacy { id: Some(2), ..Legacy::EMPTY }];
    let many: Vec<_> = (0..100)
        .map(|n| legacy::Many {
            text: Some(["even", "odd"][n % 2]),
            within: &within[..n % 2],
            ..legacy::Many::EMPTY
        })
        .collect();
    let single =
        legacy::Single { value: Some(-1), legacy: Some(&within[0]), ..legacy::Single::EMPTY };
    let message = Legacy {
        id: Some(1),
        single: Some(&single),
        many: &many,
        choice: Some(legacy::Choice::Grouped(&legacy::Grouped {
            value: Some(3),
            ..legacy::Grouped::EMPTY
        })),
        ..Legacy::EMPTY
    };
    let bytes = encode(&message);
    let mut arena = Arena::new();
    for _ in 0..3 {
        assert_eq!(decode::<ALegacy>(&bytes, &arena).unwrap(), message);
        arena.reset();
    }
    let twice = [&bytes[..], &bytes].concat();
    let read = decode::<ALegacy>(&twice, &arena).unwrap();
    assert_eq!(read.many, [&many[..], &many].concat());
}

#[test]
fn extensions_are_read_from_and_added_to_the_fields_that_a_message_does_not_know() {
    let (arena, limits) = (Arena::new(), DecodeLimits::DEFAULT);
    let mut message = Legacy { id: Some(1), ..Legacy::EMPTY };
    assert_eq!(Rating::of(&message, &arena, &limits).unwrap().value(), 7, "the default");
    let parent = Legacy { id: Some(2), name: Some("parent"), ..Legacy::EMPTY };
    Rating { value: Some(-3), ..Rating::EMPTY }.add_to(&mut message, &arena).unwrap();
    Scores { value: &[-1, 1], ..Scores::EMPTY }.add_to(&mut message, &arena).unwrap();
    Parent { value: Some(&parent), ..Parent::EMPTY }.add_to(&mut message, &arena).unwrap();
    legacy::NestedNote { value: Some("note"), ..legacy::NestedNote::EMPTY }
        .add_to(&mut message, &arena)
        .unwrap();
    let bytes = encode(&message);
    let read = decode::<ALegacy>(&bytes, &arena).unwrap();
    assert_eq!(Rating::of(&read, &arena, &limits).unwrap().value, Some(-3));
    assert_eq!(Scores::of(&read, &arena, &limits).unwrap().value, [-1, 1]);
    assert_eq!(Parent::of(&read, &arena, &limits).unwrap().value, Some(&parent));
    assert_eq!(legacy::NestedNote::of(&read, &arena, &limits).unwrap().value(), "note");
}

#[test]
fn names_that_rust_has_other_plans_for_are_escaped() {
    let option = self_::Option {
        string: self_::option::String::DEFAULT,
        option: Some(self_::option::Option::Vec("v")),
        ..self_::Option::EMPTY
    };
    let message = Self_ {
        r#type: "t",
        self_: 1,
        unknown_: Some(2),
        foo_bar: "f",
        option: Some(&option),
        r#match: Some(self_::Match::Crate(true)),
        ..Self_::EMPTY
    };
    let bytes = encode(&message);
    let arena = Arena::new();
    assert_eq!(decode::<Self_<'static>>(&bytes, &arena).unwrap(), message);
}

#[test]
fn an_edition_turns_features_on_and_off_by_field() {
    use edition::{Mixed, Open, Shut};
    let child = Mixed { required: Some(1), ..Mixed::EMPTY };
    let by_name = [("a", child)];
    let message = Mixed {
        implicit: 0,
        explicit: Some(0),
        required: Some(0),
        packed: &[1, 2],
        expanded: &[3, 4],
        delimited: Some(&child),
        prefixed: Some(&child),
        delimiteds: &[child, child],
        by_name: Map::from_sorted(&by_name).unwrap(),
        open: Open(12),
        shut: Some(Shut::One),
        ..Mixed::EMPTY
    };
    let bytes = encode(&message);
    assert_eq!(bytes[..18], [16, 0, 24, 0, 34, 2, 1, 2, 40, 3, 40, 4, 51, 24, 1, 52, 58, 2]);
    let arena = Arena::new();
    assert_eq!(decode::<Mixed<'static>>(&bytes, &arena).unwrap(), message);
    // Mixed { shut: 5 } is unknown, Mixed { open: 5 } is not.
    let read = decode::<Mixed<'static>>(&[24, 0, 88, 5, 80, 5], &arena).unwrap();
    assert_eq!((read.shut, read.open, read.unknown.encoded_len()), (None, Open(5), 2));
}

#[test]
fn edition_2024_adds_styles_and_visibility_that_leave_the_messages_as_they_are() {
    use edition24::{Reading, Unit, reading::Place};
    let place = Place { latitude: Some(54.5), ..Place::EMPTY };
    let nearby = [("north", place)];
    let message = Reading {
        station: Some(""),
        tenths: Some(0),
        history: &[1, 300],
        unit: Some(Unit::CELSIUS),
        place: Some(&place),
        raw: b"",
        nearby: Map::from_sorted(&nearby).unwrap(),
        ..Reading::EMPTY
    };
    let bytes = encode(&message);
    // Presence is explicit unless a field says otherwise, lists are packed, and enums are open.
    assert_eq!(bytes[..12], [10, 0, 16, 0, 26, 3, 1, 172, 2, 32, 1, 43]);
    assert_eq!((bytes[21], bytes[22], bytes.len()), (44, 58, 22 + 2 + 7 + 2 + 9));
    let arena = Arena::new();
    assert_eq!(decode::<Reading<'static>>(&bytes, &arena).unwrap(), message);
    let read = decode::<Reading<'static>>(&[32, 9], &arena).unwrap();
    assert_eq!((read.unit, read.unknown.encoded_len()), (Some(Unit(9)), 0));
    assert!(decode::<Reading<'static>>(&[10, 1, 0xff], &arena).is_err(), "text is verified");
}

#[test]
fn messages_from_descriptors_refer_to_the_well_known_types_that_all_share() {
    use grpc_arena::wkt::{Timestamp, field::Kind};
    let at = Timestamp { seconds: 5, ..Timestamp::EMPTY };
    let kind = Kind::TYPE_BOOL;
    let message = options::Audited { name: "n", at: Some(&at), kind, ..options::Audited::EMPTY };
    let bytes = encode(&message);
    assert_eq!(bytes, [10, 1, b'n', 18, 2, 8, 5, 24, 8]);
    let arena = Arena::new();
    assert_eq!(decode::<options::Audited<'static>>(&bytes, &arena).unwrap(), message);
}

#[test]
fn closed_enums_are_told_from_absent_ones_in_lists_oneofs_and_extensions_of_a_file_without_presence()
 {
    use edition::{FarShut, Mixed, Shut, mixed::Choice};
    let message = Mixed {
        required: Some(0),
        shuts: &[Shut::Zero, Shut::One],
        choice: Some(Choice::OneShut(Shut::Zero)),
        ..Mixed::EMPTY
    };
    let arena = Arena::new();
    let mut extended = message;
    let far = FarShut { value: Some(Shut::Zero), ..FarShut::EMPTY };
    far.add_to(&mut extended, &arena).unwrap();
    let bytes = encode(&extended);
    assert_eq!(bytes, [24, 0, 98, 2, 0, 1, 104, 0, 160, 6, 0]);
    let read = decode::<Mixed<'static>>(&bytes, &arena).unwrap();
    assert_eq!((read.shuts, read.choice), (message.shuts, message.choice));
    let far = FarShut::of(&read, &arena, &DecodeLimits::DEFAULT).unwrap();
    assert_eq!(far.value, Some(Shut::Zero));
}

/// As protobuf's own serializers write them, so that signatures over the bytes hold.
#[test]
fn members_of_a_oneof_are_written_in_the_order_of_their_numbers() {
    use tests::messages::messages::three::{Mixed, mixed::Either};
    let base = Mixed { second: 2, fourth: &[Mixed::EMPTY], ..Mixed::EMPTY };
    let inner = Mixed { either: Some(Either::Late(7)), ..base };
    let cases: [(_, &[u8]); 3] = [
        (Either::Early("x"), &[10, 1, b'x', 16, 2, 34, 0]),
        (Either::Middle(&inner), &[16, 2, 26, 6, 16, 2, 34, 0, 40, 7, 34, 0]),
        (Either::Late(-1), &[16, 2, 34, 0, 40, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
    ];
    for (either, bytes) in cases {
        let message = Mixed { either: Some(either), ..base };
        assert_eq!(encode(&message), bytes, "{message:?}");
        let arena = Arena::new();
        assert_eq!(decode::<Mixed<'static>>(bytes, &arena).unwrap(), message);
    }
}
