//! The decoder of messages beside prost's: the same verdict over the same bytes, and the same values.

use std::collections::BTreeMap;

use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};
use prost::Message as _;

/// Generated from `proto/message.proto`.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/fuzz.rs"));
}

use generated::{Everything as Ours, everything};

/// Heap that one message may take: far more than its bytes say, so that only what multiplies is refused.
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
}

/// Reads `data` with both.
pub fn check(data: &[u8]) {
    let arena = Arena::new();
    let ours = <Ours<'static> as Schema>::decode(data, &arena, &DecodeLimits::DEFAULT);
    let held = arena.heap_bytes();
    assert!(held <= (1 << 16) + BUDGET_A_BYTE * data.len(), "{held} bytes for {}", data.len());
    match (&ours, Theirs::decode(data)) {
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
        // A known number with another wire type is a field that is not known, says the specification; prost refuses.
        (Ok(_), Err(theirs)) if theirs.to_string().contains("invalid wire type") => {}
        // It reads a map's field as an entry whatever its wire type is.
        (Ok(ours), Err(_)) if has_odd_map(ours) => {}
        // Even one that ends a group that nobody opened.
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
    message.unknown.fields().any(|(tag, _)| tag >> 3 == 15)
        || message.inners.iter().chain(message.inner).chain(chosen).any(has_odd_map)
}

fn has_entries(message: &Theirs) -> bool {
    let chosen = match &message.choice {
        Some(Choice::Nested(chosen)) => Some(&**chosen),
        _ => None,
    };
    let within = message.inners.iter().chain(message.inner.as_deref()).chain(chosen);
    !message.counts.is_empty() || within.into_iter().any(has_entries)
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
