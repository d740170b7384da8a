//! What input may cost, and what a refusal says.

use grpc_arena::codec::UnknownFields;
use grpc_arena::{Arena, DecodeError, DecodeLimits, DecodeRule, Schema};
use tests::messages::messages::three::{Everything, everything};
use tests::messages::messages::two::{Legacy, Outer, Rating};

fn decode<M: Schema>(bytes: &[u8]) -> Result<usize, DecodeError> {
    let arena = Arena::new();
    M::decode(bytes, &arena, &DecodeLimits::DEFAULT).map(|_| arena.used_bytes())
}

fn everything(bytes: &[u8]) -> DecodeError {
    decode::<Everything<'static>>(bytes).expect_err("the bytes break a rule")
}

/// `levels` messages in field 2 of `Inner`, one within the other.
fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..levels {
        let mut len = bytes.len();
        let mut outer = vec![18];
        while len >= 0x80 {
            outer.push(len as u8 | 0x80);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn a_hundred_levels_decode_and_one_more_does_not() {
    assert!(decode::<everything::Inner<'static>>(&nested(100)).is_ok());
    let error = decode::<everything::Inner<'static>>(&nested(101)).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::Depth);
}

#[test]
fn unknown_groups_count_as_levels_too() {
    let groups = |levels| [vec![0x0b; levels], vec![0x0c; levels]].concat();
    assert!(decode::<Everything<'static>>(&groups(100)).is_ok());
    assert_eq!(everything(&groups(101)).rule(), &DecodeRule::Depth);
    assert_eq!(
        everything(&vec![0x0b; 1 << 20]).rule(),
        &DecodeRule::Depth,
        "however many are opened"
    );
    // Known messages and unknown groups share the hundred.
    let inner = |levels| {
        let mut bytes = vec![0x8a, 0x01, 2 * levels as u8];
        bytes.extend(groups(levels));
        bytes
    };
    assert!(decode::<Everything<'static>>(&inner(99 / 2)).is_ok());
    let limits = DecodeLimits::DEFAULT.with_depth(10);
    let arena = Arena::new();
    assert!(<Everything<'static> as Schema>::decode(&inner(9), &arena, &limits).is_ok());
    let error = <Everything<'static> as Schema>::decode(&inner(10), &arena, &limits).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::Depth);
}

#[test]
fn small_input_cannot_take_more_of_the_arena_than_the_limit() {
    // A million empty submessages of two bytes each in field 39.
    let bytes = [0xba, 0x02, 0x00].repeat(1 << 20);
    let limits = DecodeLimits::DEFAULT.with_arena_bytes(1 << 20);
    let arena = Arena::new();
    let error = <Everything<'static> as Schema>::decode(&bytes, &arena, &limits).unwrap_err();
    assert_eq!((error.rule(), error.path().last()), (&DecodeRule::ArenaBudget, Some("inners")));
    assert!(arena.heap_bytes() <= 2 << 20, "{}", arena.heap_bytes());
    let budget = Arena::with_budget(1 << 20);
    let error = <Everything<'static> as Schema>::decode(&bytes, &budget, &DecodeLimits::DEFAULT)
        .unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::ArenaBudget);
}

#[test]
fn unknown_fields_are_kept_up_to_the_limit() {
    let limits = DecodeLimits::DEFAULT.with_unknown_fields(10);
    let arena = Arena::new();
    let bytes = [0x80, 0x7d, 0x05].repeat(11);
    assert!(<Everything<'static> as Schema>::decode(&bytes[..30], &arena, &limits).is_ok());
    let error = <Everything<'static> as Schema>::decode(&bytes, &arena, &limits).unwrap_err();
    assert_eq!((error.rule(), error.offset()), (&DecodeRule::UnknownFields, 30));
}

#[test]
fn entries_of_maps_that_are_kept_as_unknown_fields_count_as_such() {
    let limits = DecodeLimits::DEFAULT.with_unknown_fields(10);
    let arena = Arena::new();
    // Field 11, whose enum names no 9.
    let entry = [0x5a, 0x05, 0x0a, 0x01, b'a', 0x10, 0x09];
    let bytes = |count| [&[0x08, 0x01][..], &entry.repeat(count)].concat();
    let ten = bytes(10);
    let legacy = <Legacy<'static> as Schema>::decode(&ten, &arena, &limits).unwrap();
    assert_eq!(legacy.unknown.fields().count(), 10);
    let eleven = bytes(11);
    let error = <Legacy<'static> as Schema>::decode(&eleven, &arena, &limits).unwrap_err();
    assert_eq!(error.rule(), &DecodeRule::UnknownFields);
    let at = 2 + 10 * entry.len();
    assert!((at..at + entry.len()).contains(&error.offset()), "{error}");
}

#[test]
fn lists_in_many_pieces_cost_linear_memory() {
    // Fields 31 and 36 and an unknown one by turns, so that no element follows one of its own kind.
    let bytes = [0xf8, 0x01, 0x05, 0xa2, 0x02, 0x00, 0x80, 0x7d, 0x05].repeat(100_000);
    let used = decode::<Everything<'static>>(&bytes).unwrap();
    assert!(used < 4 * 100_000 * (4 + 16 + 16), "{used}");
}

#[test]
fn an_error_names_rule_path_and_offset() {
    let cases: &[(&[u8], DecodeRule, &str, usize)] = &[
        (
            &[0x72, 0x02, 0xff, 0xff],
            DecodeRule::InvalidUtf8,
            "messages.three.Everything.a_string",
            2,
        ),
        (
            &[0x8a, 0x01, 0x04, 0x72, 0x02, 0xff, 0xff],
            DecodeRule::InvalidUtf8,
            "messages.three.Everything.inner.a_string",
            5,
        ),
        (
            &[0x18, 0x01, 0x72, 0x05, b'a'],
            DecodeRule::Truncated,
            "messages.three.Everything.a_string",
            3,
        ),
        (&[0x18], DecodeRule::Truncated, "messages.three.Everything.an_int32", 1),
        (&[0x18, 0x80], DecodeRule::Truncated, "messages.three.Everything.an_int32", 1),
        (
            &[0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
            DecodeRule::VarintTooLong,
            "messages.three.Everything.an_int32",
            1,
        ),
        (&[0x00, 0x01], DecodeRule::FieldNumber, "messages.three.Everything", 0),
        (&[0x07], DecodeRule::FieldNumber, "messages.three.Everything", 0),
        (&[0x1e, 0x01], DecodeRule::WireType, "messages.three.Everything.an_int32", 1),
        (&[0x0c], DecodeRule::EndGroup, "messages.three.Everything", 0),
        (&[0xc3, 0x3e, 0xcc, 0x3e], DecodeRule::EndGroup, "messages.three.Everything.legacy", 2),
        (&[0xc3, 0x3e], DecodeRule::GroupNotClosed, "messages.three.Everything.legacy", 2),
        (
            &[0x8a, 0x02, 0x03, 1, 2, 3],
            DecodeRule::PackedLength,
            "messages.three.Everything.fixed32s",
            2,
        ),
        (
            &[0xff, 0xff, 0xff, 0xff, 0x7f, 0x01],
            DecodeRule::VarintTooLong,
            "messages.three.Everything",
            0,
        ),
        (
            &[0xc2, 0x3e, 0x00],
            DecodeRule::MissingRequired,
            "messages.three.Everything.legacy.id",
            0,
        ),
    ];
    for (bytes, rule, path, offset) in cases {
        let error = everything(bytes);
        let found = error.path().collect::<Vec<_>>().join(".");
        assert_eq!(
            (error.rule(), found.as_str(), error.offset()),
            (rule, *path, *offset),
            "{bytes:x?}: {error}"
        );
    }
}

/// A `Legacy` of `content` within as many groups 12, `single`, whose field 2 holds the next one.
fn in_groups(levels: usize, content: &[u8]) -> Vec<u8> {
    (0..levels).fold(content.to_vec(), |inner, _| {
        let mut bytes = vec![0x63, 0x12];
        let mut len = inner.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend(inner);
        bytes.push(0x64);
        bytes
    })
}

#[test]
fn the_path_leads_through_open_groups_and_past_closed_ones() {
    let path = |bytes: &[u8]| {
        let error = decode::<Legacy<'static>>(bytes).expect_err("the bytes break a rule");
        (error.rule().clone(), error.path().collect::<Vec<_>>().join("."), error.offset())
    };
    let (utf8, end) = (DecodeRule::InvalidUtf8, DecodeRule::EndGroup);
    let broken = [0x12, 0x01, 0xff];
    let in_two = "messages.two.Legacy.single.legacy.single.legacy.name".to_owned();
    assert_eq!(path(&in_groups(2, &broken)), (utf8.clone(), in_two, 8));
    // Behind a group that holds a broken-looking name in a field of its own.
    let many = [&[0x6b, 0x0a, 0x01, b'a', 0x12, 0x02, 0x08, 0x01, 0x6c][..], &broken].concat();
    assert_eq!(path(&many), (utf8.clone(), "messages.two.Legacy.name".to_owned(), 11));
    // An end that is another group's, in the second of two.
    let wrong = [0x6b, 0x6c, 0x6b, 0x64];
    assert_eq!(path(&wrong), (end, "messages.two.Legacy.many".to_owned(), 3));
    // Within a group within an unknown one there are no names.
    let unknown = [&[0xf3, 0x7d, 0x63][..], &[0x0c]].concat();
    assert_eq!(path(&unknown).1, "messages.two.Legacy");
}

#[test]
fn an_error_s_offset_lies_in_the_input() {
    // The entries of a map that fit the budget, but not what sorting so many takes.
    let entries = (0..100u8).rev().flat_map(|key| [0x9a, 0x03, 0x05, 0x0a, 0x01, key, 0x10, 1]);
    let bytes = entries.collect::<Vec<_>>();
    let limits = DecodeLimits::DEFAULT.with_arena_bytes(3000);
    let arena = Arena::new();
    let error = <Everything<'static> as Schema>::decode(&bytes, &arena, &limits).unwrap_err();
    assert_eq!((error.rule(), error.offset()), (&DecodeRule::ArenaBudget, bytes.len()));
}

#[test]
fn an_extension_s_errors_count_through_all_spans() {
    let spans: [&[u8]; 2] = [&[0xa0, 0x06, 0x01], &[0xa0, 0x06, 0x02, 0xa0, 0x06, 0x80]];
    let message =
        Legacy { id: Some(1), unknown: UnknownFields::from_spans(&spans), ..Legacy::EMPTY };
    let arena = Arena::new();
    let error = Rating::of(&message, &arena, &DecodeLimits::DEFAULT).unwrap_err();
    assert_eq!((error.rule(), error.offset()), (&DecodeRule::Truncated, 3 + 5));
    // The limits hold for all of them together, and the field 1 is unknown to an extension.
    let limits = DecodeLimits::DEFAULT.with_unknown_fields(1);
    let spans: [&[u8]; 2] = [&[0xa0, 0x06, 0x01, 0x08, 0x01], &[0x08, 0x01]];
    let message =
        Legacy { id: Some(1), unknown: UnknownFields::from_spans(&spans), ..Legacy::EMPTY };
    let error = Rating::of(&message, &arena, &limits).unwrap_err();
    assert_eq!((error.rule(), error.offset()), (&DecodeRule::UnknownFields, 5));
}

#[test]
fn a_submessage_that_comes_again_and_again_with_a_list_doubles_no_list() {
    // Field 1, `legacy`, with an `id` and one of `numbers`, which is taken over each time.
    let bytes = [0x0a, 0x04, 0x08, 0x01, 0x48, 0x05].repeat(1000);
    let used = decode::<Outer<'static>>(&bytes).unwrap();
    let lists = 4 * 1000 * 1001 / 2;
    assert!(used < lists + 1000 * (size_of::<Legacy<'static>>() + 100), "{used}");
}

#[test]
fn a_required_field_may_be_missing_nowhere() {
    let missing = |bytes: &[u8]| {
        let error = decode::<Outer<'static>>(bytes).unwrap_err();
        assert_eq!(error.rule(), &DecodeRule::MissingRequired);
        error.path().collect::<Vec<_>>().join(".")
    };
    assert_eq!(missing(&[10, 0]), "messages.two.Outer.legacy.id");
    assert_eq!(missing(&[18, 2, 8, 1, 18, 0]), "messages.two.Outer.legacies.id");
    assert_eq!(missing(&[26, 2, 8, 1]), "messages.two.Outer.by_number.id");
    assert!(decode::<Outer<'static>>(&[10, 2, 8, 1]).is_ok());
    // It may come in a second occurrence of the same submessage.
    assert!(decode::<Outer<'static>>(&[10, 2, 18, 0, 10, 2, 8, 1]).is_ok());
    assert!(decode::<Legacy<'static>>(&[]).is_err());
}

#[test]
fn a_message_cut_short_anywhere_is_refused_or_shorter_but_never_a_panic() {
    let bytes = [
        &[0x18, 0x96, 0x01, 0x72, 0x03, b'a', b'b', b'c'][..],
        &[0xfa, 0x01, 0x03, 1, 2, 3, 0xba, 0x02, 0x02, 0x18, 0x01],
        &[0x9a, 0x03, 0x05, 0x0a, 0x01, b'k', 0x10, 0x01],
    ]
    .concat();
    let whole = (0..=bytes.len())
        .filter(|&cut| decode::<Everything<'static>>(&bytes[..cut]).is_ok())
        .count();
    assert_eq!(whole, 6, "only between fields");
}
