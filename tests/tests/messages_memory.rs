//! What decoding and encoding take from the heap, and from the arena.

use grpc_arena::codec::Map;
use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};
use tests::counting::{Counting, taken};
use tests::messages::messages::three::{Color, Everything, everything};
use tests::messages::messages::two::{Legacy, Outer, legacy};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    out
}

/// A message with lists, maps, submessages and text, `depth` levels deep.
fn grow<'a>(depth: usize, arena: &'a Arena) -> Everything<'a> {
    let inners = (0..depth).map(|n| grow(n, arena)).collect::<Vec<_>>();
    let counts = (0..depth).map(|n| (arena.alloc_str(&format!("key {n}")), n as i32));
    Everything {
        a_string: arena.alloc_str(&"text ".repeat(depth)),
        some_bytes: &[1, 2, 3],
        int32s: arena.alloc_slice(&vec![1000; depth]),
        doubles: arena.alloc_slice(&vec![0.5; depth]),
        strings: arena.alloc_slice(&["one", "zwölf"]),
        colors: &[Color::RED, Color::BLUE],
        expanded: &[1, 2, 3],
        counts: Map::collect_in(counts, arena),
        inners: arena.alloc_slice(&inners),
        inner: Some(arena.alloc(Everything { a_bool: true, ..Everything::EMPTY })),
        choice: Some(everything::Choice::Message(
            arena.alloc(Everything { a_float: 1.0, ..Everything::EMPTY }),
        )),
        ..Everything::EMPTY
    }
}

/// The sizes of all structs and slices that decoding a message of [`grow`] puts into the arena.
fn footprint(message: &Everything<'_>) -> usize {
    let mut size = size_of_val(message.int32s)
        + size_of_val(message.doubles)
        + size_of_val(message.strings)
        + size_of_val(message.colors)
        + size_of_val(message.expanded)
        + size_of_val(message.counts.entries())
        + size_of_val(message.inners);
    size += message.inners.iter().map(footprint).sum::<usize>();
    size += message.inner.map_or(0, |inner| size_of_val(inner) + footprint(inner));
    if let Some(everything::Choice::Message(inner)) = message.choice {
        size += size_of_val(inner) + footprint(inner);
    }
    size
}

#[test]
fn a_warm_arena_and_warm_buffers_take_nothing_from_the_heap() {
    let source = Arena::new();
    let message = grow(7, &source);
    let bytes = encode(&message);
    let (mut arena, mut cache, mut out) = (Arena::new(), SizeCache::new(), Vec::new());
    let mut counts = Vec::with_capacity(8);
    for _ in 0..8 {
        let before = taken();
        let read = <Everything<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT)
            .unwrap();
        out.clear();
        let len = read.encoded_len(&mut cache);
        out.reserve(len);
        read.encode(&mut cache, &mut out);
        arena.reset();
        counts.push(taken() - before);
    }
    assert_eq!(out, bytes);
    assert!(counts[0] > 0 && counts[3..] == [0; 5], "{counts:?}");
}

#[test]
fn groups_take_nothing_from_the_heap_either_once_the_arena_is_warm() {
    let within = [Legacy { id: Some(1), ..Legacy::EMPTY }; 3];
    let many = [legacy::Many { text: Some("text"), within: &within, ..legacy::Many::EMPTY }; 200];
    let bytes = encode(&Legacy { id: Some(1), many: &many, ..Legacy::EMPTY });
    let mut arena = Arena::new();
    let mut counts = Vec::with_capacity(8);
    for _ in 0..8 {
        let before = taken();
        let read =
            <Legacy<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT).unwrap();
        assert_eq!(read.many.len(), 200);
        arena.reset();
        counts.push(taken() - before);
    }
    assert!(counts[0] > 0 && counts[4..] == [0; 4], "{counts:?}");
    let decoded = size_of_val(&many) + 200 * size_of_val(&within);
    <Legacy<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT).unwrap();
    assert!(arena.used_bytes() * 100 <= decoded * 105, "{} for {decoded}", arena.used_bytes());
}

#[test]
fn the_arena_holds_little_more_than_the_structs_and_slices() {
    let source = Arena::new();
    for depth in [1, 4, 8] {
        let message = grow(depth, &source);
        let bytes = encode(&message);
        let mut arena = Arena::new();
        for _ in 0..3 {
            arena.reset();
            <Everything<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT)
                .unwrap();
        }
        let (used, decoded) = (arena.used_bytes(), footprint(&message));
        assert!(used * 100 <= decoded * 105, "{used} bytes for {decoded}");
    }
}

#[test]
fn a_refused_message_leaves_the_arena_as_usable_as_before() {
    let arena = Arena::with_budget(1 << 20);
    let bytes =
        encode(&Outer { legacy: Some(&Legacy { id: Some(1), ..Legacy::EMPTY }), ..Outer::EMPTY });
    for cut in 0..bytes.len() {
        let _ = <Outer<'static> as Schema>::decode(&bytes[..cut], &arena, &DecodeLimits::DEFAULT);
    }
    let read = <Outer<'static> as Schema>::decode(&bytes, &arena, &DecodeLimits::DEFAULT).unwrap();
    assert_eq!(read.legacy.and_then(|legacy| legacy.id), Some(1));
    assert!(arena.remaining() > (1 << 20) - 100 * 1024);
}
