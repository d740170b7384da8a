//! What input may cost, and what a refusal says.

use grpc_arena::{Arena, DecodeError, DecodeLimits, DecodeRule, Schema};
use tests::messages::messages::three::{Everything, everything};
use tests::messages::messages::two::{Legacy, Outer};

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
