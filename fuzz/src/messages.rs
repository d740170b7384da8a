//! The decoder of messages beside prost's: both must accept the same bytes, with the same values.

use std::collections::BTreeMap;

use grpc_arena::{Arena, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};
use prost::Message as _;

/// Generated from `proto/message.proto`.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/fuzz.rs"));
}

use generated::{Everything as Ours, everything};

/// Heap that one message may take: far more than its bytes, so that only multiplying inputs are refused.
const BUDGET_A_BYTE: usize = 256;

#[derive(Clone, PartialEq, prost::Oneof)]
enum Choice {
    #[prost(int64, tag = "16")]
    Chosen(i64),
    #[prost(string, tag = "17")]
    Named(String),
    #[prost(message, tag = "18")]
    Nested(Box<Theirs>),
}

/// The same schema, by hand.
#[derive(Clone, PartialEq, prost::Message)]
struct Theirs {
    #[prost(int32, tag = "1")]
    number: i32,
    #[prost(sint64, tag = "2")]
    zigzag: i64,
    #[prost(uint64, tag = "3")]
    large: u64,
    #[prost(fixed32, tag = "4")]
    fixed: u32,
    #[prost(double, tag = "5")]
    real: f64,
    #[prost(bool, tag = "6")]
    flag: bool,
    #[prost(string, tag = "7")]
    text: String,
    #[prost(bytes = "vec", tag = "8")]
    blob: Vec<u8>,
    #[prost(int32, optional, tag = "9")]
    maybe: Option<i32>,
    #[prost(int32, repeated, tag = "10")]
    packed: Vec<i32>,
    #[prost(string, repeated, tag = "11")]
    texts: Vec<String>,
    #[prost(fixed64, repeated, tag = "12")]
    fixeds: Vec<u64>,
    #[prost(message, optional, boxed, tag = "13")]
    inner: Option<Box<Theirs>>,
    #[prost(message, repeated, tag = "14")]
    inners: Vec<Theirs>,
    #[prost(btree_map = "string, int32", tag = "15")]
    counts: BTreeMap<String, i32>,
    #[prost(oneof = "Choice", tags = "16, 17, 18")]
    choice: Option<Choice>,
    #[prost(sint32, repeated, packed = "false", tag = "19")]
    expanded: Vec<i32>,
    #[prost(uint32, tag = "20")]
    small: u32,
    #[prost(sint32, tag = "21")]
    swing: i32,
    #[prost(sfixed32, tag = "22")]
    signed: i32,
    #[prost(sfixed64, tag = "23")]
    wide: i64,
    #[prost(float, tag = "24")]
    single: f32,
    #[prost(enumeration = "Kind", tag = "25")]
    kind: i32,
    #[prost(bool, repeated, tag = "26")]
    flags: Vec<bool>,
    #[prost(enumeration = "Kind", repeated, tag = "27")]
    kinds: Vec<i32>,
    #[prost(float, repeated, tag = "28")]
    singles: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "29")]
    blobs: Vec<Vec<u8>>,
    #[prost(btree_map = "sint64, message", tag = "30")]
    tree: BTreeMap<i64, Theirs>,
    #[prost(btree_map = "bool, bytes", tag = "31")]
    pair: BTreeMap<bool, Vec<u8>>,
    #[prost(string, optional, tag = "32")]
    label: Option<String>,
    #[prost(enumeration = "Kind", optional, tag = "33")]
    sort: Option<i32>,
    #[prost(uint64, repeated, tag = "34")]
    larges: Vec<u64>,
    #[prost(btree_map = "fixed32, enumeration(Kind)", tag = "35")]
    sorts: BTreeMap<u32, i32>,
    #[prost(int64, tag = "2048")]
    far: i64,
    #[prost(bool, tag = "536870911")]
    farthest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    None = 0,
    One = 1,
    Negative = -1,
}

/// Reads `data` with both.
pub fn check(data: &[u8]) {
    beside_prost(data);
    limited(data);
}

/// Limits refuse by their own rules, or change nothing; an arena that was used before is as good as a new one.
fn limited(data: &[u8]) {
    let few = data.len() as u32 % 7;
    let limits =
        DecodeLimits::DEFAULT.with_depth(few).with_unknown_fields(few).with_arena_bytes(512 << few);
    let mut arena = Arena::with_budget(1 << 16);
    let plain = Arena::new();
    let whole = <Ours<'static> as Schema>::decode(data, &plain, &DecodeLimits::DEFAULT);
    for _ in 0..2 {
        match (<Ours<'static> as Schema>::decode(data, &arena, &limits), &whole) {
            (Ok(ours), Ok(whole)) => assert_eq!(encode(&ours), encode(whole)),
            (Ok(ours), Err(error)) => panic!("{ours:?} although {error}"),
            (Err(error), Ok(_)) => {
                let rule = error.rule();
                let of_a_limit = matches!(
                    rule,
                    DecodeRule::Depth | DecodeRule::ArenaBudget | DecodeRule::UnknownFields
                );
                assert!(of_a_limit, "{rule:?} of what decodes without limits");
            }
            (Err(_), Err(_)) => {}
        }
        arena.reset();
        assert_eq!(arena.used_bytes(), 0);
    }
}

fn beside_prost(data: &[u8]) {
    let arena = Arena::new();
    let ours = <Ours<'static> as Schema>::decode(data, &arena, &DecodeLimits::DEFAULT);
    let held = arena.heap_bytes();
    assert!(held <= (1 << 16) + BUDGET_A_BYTE * data.len(), "{held} bytes for {}", data.len());
    match (&ours, Theirs::decode(data)) {
        // Prost reads a map's field as an entry with any wire type; ours reads it as an unknown field.
        (Ok(ours), _) if has_odd_map(ours) => {}
        (Ok(ours), Ok(theirs)) => {
            let again =
                Theirs::decode(&encode(ours)[..]).expect("what was decoded is encoded well");
            // By their bytes, so that a NaN is itself.
            assert_eq!(again.encode_to_vec(), theirs.encode_to_vec(), "{ours:?}");
            let back = theirs.encode_to_vec();
            let reread = <Ours<'static> as Schema>::decode(&back, &arena, &DecodeLimits::DEFAULT);
            assert!(reread.is_ok(), "{reread:?}");
        }
        (Err(_), Err(_)) => {}
        // By the specification, a known number with another wire type is an unknown field; prost refuses it.
        (Ok(_), Err(theirs)) if theirs.to_string().contains("invalid wire type") => {}
        // Prost even reads a map's field as an entry if it ends a group that was never opened.
        (Err(_), Ok(theirs)) if has_entries(&theirs) => {}
        (ours, theirs) => panic!("ours: {ours:?}; theirs: {theirs:?}"),
    }
}

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), len, "the length is told before");
    out
}

/// Whether the map's number came with another wire type, here or within.
fn has_odd_map(message: &Ours<'_>) -> bool {
    let chosen = match message.choice {
        Some(everything::Choice::Nested(chosen)) => Some(chosen),
        _ => None,
    };
    let values = message.tree.iter().map(|(_, value)| value);
    message.unknown.fields().any(|(tag, _)| matches!(tag >> 3, 15 | 30 | 31 | 35))
        || message.inners.iter().chain(message.inner).chain(chosen).chain(values).any(has_odd_map)
}

fn has_entries(message: &Theirs) -> bool {
    let chosen = match &message.choice {
        Some(Choice::Nested(chosen)) => Some(&**chosen),
        _ => None,
    };
    let within = message.inners.iter().chain(message.inner.as_deref()).chain(chosen);
    let maps = message.counts.len() + message.tree.len() + message.pair.len() + message.sorts.len();
    maps > 0 || within.into_iter().any(has_entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds of the corpus: `cargo test --no-default-features -- --ignored` writes them.
    #[test]
    #[ignore = "writes the committed seeds"]
    fn write_seeds() {
        let leaf = Theirs {
            number: -1,
            zigzag: i64::MIN,
            large: u64::MAX,
            fixed: 7,
            real: 0.5,
            flag: true,
            text: "Rügen".into(),
            blob: vec![0, 255],
            maybe: Some(0),
            packed: vec![0, 1, -1, 300],
            texts: vec![String::new(), "two".into()],
            fixeds: vec![1, u64::MAX],
            counts: [("a".to_owned(), 1), (String::new(), 0)].into(),
            expanded: vec![0, -64, 64],
            small: 5,
            swing: -5,
            signed: i32::MIN,
            wide: i64::MAX,
            single: -0.0,
            kind: -1,
            flags: vec![true, false],
            kinds: vec![0, 1, -1, 7],
            singles: vec![f32::NAN, 1.5],
            blobs: vec![vec![], vec![1, 2]],
            tree: [(-3, Theirs { far: 9, ..Theirs::default() }), (0, Theirs::default())].into(),
            pair: [(true, vec![1]), (false, vec![])].into(),
            label: Some(String::new()),
            sort: Some(0),
            larges: vec![1 << 35, 0],
            sorts: [(7, 1), (0, 0)].into(),
            far: -1,
            farthest: true,
            ..Theirs::default()
        };
        let with = |choice| Theirs { choice: Some(choice), ..leaf.clone() };
        let deep = (0..30).fold(leaf.clone(), |inner, n| Theirs {
            inner: (n % 2 == 0).then(|| Box::new(inner.clone())),
            inners: if n % 2 == 1 { vec![inner] } else { Vec::new() },
            ..Theirs::default()
        });
        let seeds = [
            leaf.clone(),
            with(Choice::Chosen(-5)),
            with(Choice::Named("named".into())),
            with(Choice::Nested(Box::new(leaf.clone()))),
            deep,
            Theirs::default(),
        ];
        for (n, seed) in seeds.iter().enumerate() {
            let path = format!("{}/seeds/messages/{n}", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, seed.encode_to_vec()).unwrap();
        }
    }
}
