use std::vec::Vec;

use proptest::prelude::*;

use super::*;

pub(crate) mod heap;
mod provenance;

#[test]
fn an_empty_arena_holds_no_memory() {
    let arena = Arena::new();
    assert_eq!((arena.heap_bytes(), arena.used_bytes()), (0, 0));
    assert_eq!(arena.alloc_slice::<u64>(&[]).as_ptr() as usize % align_of::<u64>(), 0);
    assert_eq!(arena.alloc_str(""), "");
    assert_eq!(arena.heap_bytes(), 0);
}

#[test]
fn a_reset_coalesces_the_chunks_into_one() {
    let mut arena = Arena::new();
    for _ in 0..100 {
        arena.alloc_slice(&[7u8; 1000]);
    }
    assert!(arena.chunks().count() > 1);
    let held = arena.heap_bytes();
    arena.reset();
    assert_eq!((arena.chunks().count(), arena.used_bytes()), (1, 0));
    assert_eq!(arena.heap_bytes(), held);
    let kept = arena.last.get();
    for _ in 0..100 {
        arena.alloc_slice(&[7u8; 1000]);
    }
    arena.reset();
    assert_eq!(arena.last.get(), kept, "the chunk was replaced although it sufficed");
}

#[test]
fn a_reset_keeps_no_more_than_the_retained_size() {
    let mut arena = Arena::new().with_retained(10_000);
    arena.alloc_slice(&[1u8; 100_000]);
    assert!(arena.heap_bytes() >= 100_000);
    arena.reset();
    assert!(arena.heap_bytes() < 11_000, "{}", arena.heap_bytes());
    arena.shrink();
    assert_eq!(arena.heap_bytes(), 0);
}

#[test]
fn an_arena_that_keeps_less_than_a_chunk_keeps_nothing_and_begins_as_a_fresh_one() {
    for retained in [0, FIRST_CHUNK - 1] {
        let mut arena = Arena::new().with_retained(retained);
        arena.alloc_slice(&[1u8; 5000]);
        arena.reset();
        assert_eq!(arena.heap_bytes(), 0);
        arena.alloc(1u8);
        assert_eq!(arena.heap_bytes(), FIRST_CHUNK);
    }
}

#[test]
fn a_reset_restores_the_budget_of_an_arena_without_a_chunk() {
    let mut arena = Arena::with_budget(1000);
    // As a panic leaves it between the two.
    let _ = arena.narrow(10, 0);
    assert_eq!(arena.remaining(), 10);
    arena.reset();
    assert_eq!(arena.remaining(), 1000);
}

#[test]
fn a_large_alignment_that_the_budget_has_no_room_for_takes_no_chunk() {
    #[derive(Clone, Copy)]
    #[repr(align(256))]
    struct Wide(#[expect(dead_code, reason = "takes room")] [u8; 256]);
    let arena = Arena::with_budget(300);
    for _ in 0..10 {
        assert!(arena.try_alloc(Wide([0; 256])).is_err());
    }
    assert_eq!(arena.heap_bytes(), 0);
    let arena = Arena::with_budget(600);
    assert_eq!(core::ptr::from_ref(arena.alloc(Wide([0; 256]))).addr() % 256, 0);
}

#[test]
fn a_large_copy_lies_in_its_cache_line_as_its_source_does() {
    let source = std::vec![7u8; LARGE_COPY + CACHE_LINE];
    for shift in 0..CACHE_LINE {
        let values = &source[shift..][..LARGE_COPY];
        let arena = Arena::with_budget(LARGE_COPY + CACHE_LINE - 1);
        let copy = arena.alloc_slice(values);
        assert_eq!((copy.as_ptr().addr() - values.as_ptr().addr()) % CACHE_LINE, 0);
        assert_eq!(copy, values);
        assert!(arena.used_bytes() < LARGE_COPY + CACHE_LINE);
        let tight = Arena::with_budget(LARGE_COPY);
        assert_eq!(tight.alloc_slice(values), values, "where there is no room to choose");
        assert_eq!(tight.remaining(), 0);
    }
}

#[test]
fn what_a_large_copy_takes_does_not_depend_on_addresses() {
    let source = std::vec![7u8; LARGE_COPY + CACHE_LINE];
    for budget in LARGE_COPY..LARGE_COPY + 3 * CACHE_LINE {
        let outcomes = (0..CACHE_LINE).map(|shift| {
            let arena = Arena::with_budget(budget);
            let whole = arena.try_alloc_slice(&source[shift..][..LARGE_COPY]).is_ok();
            let words = (0..4).filter(|_| arena.try_alloc(5u64).is_ok()).count();
            (whole, words, arena.used_bytes(), arena.heap_bytes())
        });
        let outcomes = outcomes.collect::<Vec<_>>();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{budget}: {outcomes:?}");
    }
}

#[test]
fn chunks_double_from_the_first_one_s_size_on_however_small_the_capacity() {
    for capacity in [0, 1, 100] {
        let arena = Arena::with_capacity(capacity);
        let small = arena.heap_bytes();
        for _ in 0..FIRST_CHUNK / 16 {
            arena.alloc(1u64);
        }
        assert_eq!(arena.heap_bytes(), small + FIRST_CHUNK);
    }
}

#[test]
fn a_lone_chunk_within_the_retained_size_stays_however_small() {
    let mut arena = Arena::with_capacity(100).with_retained(200);
    arena.alloc(1u64);
    let held = arena.heap_bytes();
    arena.reset();
    assert_eq!(arena.heap_bytes(), held);
}

#[test]
fn a_budget_bounds_what_is_handed_out_until_the_reset() {
    let mut arena = Arena::with_budget(100);
    for _ in 0..2 {
        assert_eq!(arena.alloc_slice(&[1u8; 60]), [1; 60]);
        assert_eq!(arena.try_alloc_slice(&[1u8; 41]), Err(ArenaFull));
        assert_eq!(arena.alloc_slice(&[2u8; 40]), [2; 40]);
        assert_eq!(arena.try_alloc(0u8), Err(ArenaFull));
        assert_eq!((arena.remaining(), arena.used_bytes()), (0, 100));
        assert!(arena.heap_bytes() < 400);
        arena.reset();
    }
}

#[test]
fn a_narrowed_arena_recovers_what_was_not_taken() {
    let arena = Arena::with_budget(1000);
    arena.alloc_slice(&[0u8; 100]);
    let narrowed = arena.narrow(50, 0);
    assert_eq!((narrowed.before(), arena.remaining()), (900, 50));
    arena.alloc_slice(&[0u8; 30]);
    assert_eq!(arena.try_alloc_slice(&[0u8; 21]), Err(ArenaFull));
    arena.widen(&narrowed);
    assert_eq!((arena.remaining(), arena.used_bytes()), (870, 130));
    arena.alloc_slice(&[0u8; 870]);
    assert_eq!(arena.remaining(), 0);
}

#[test]
fn a_size_that_cannot_exist_is_refused() {
    let arena = Arena::new();
    assert_eq!(
        arena.take(Layout::from_size_align(isize::MAX as usize - 15, 1).unwrap()),
        Err(ArenaFull)
    );
    assert_eq!(arena.alloc(5u8), &5);
}

#[test]
fn piles_within_piles_end_up_as_lists_and_leave_nothing_behind() {
    for capacity in [100, 1 << 16] {
        let arena = Arena::with_capacity(capacity);
        let mut lists = Vec::new();
        let mut outer = arena.pile::<u64>();
        for n in 0..20u64 {
            let Some(slot) = outer.push(n) else { break };
            *slot += 100;
            let mut inner = arena.pile::<u16>();
            while inner.len() < 5 && inner.push(n as u16).is_some() {}
            let (len, room) = (inner.len(), inner.room().unwrap());
            // SAFETY: `room` is for all elements, which are then initialised.
            lists.push(unsafe {
                inner.finish(room);
                core::slice::from_raw_parts(room.as_ptr(), len)
            });
        }
        let (len, room) = (outer.len(), outer.room().unwrap());
        // SAFETY: as above.
        let outer = unsafe {
            outer.finish(room);
            core::slice::from_raw_parts(room.as_ptr(), len)
        };
        assert!(len > 0 && outer.iter().copied().eq((0..len as u64).map(|n| n + 100)));
        assert!(
            lists.iter().enumerate().all(|(n, list)| list.iter().all(|&m| usize::from(m) == n))
        );
        if capacity > 1000 {
            assert_eq!((len, arena.used_bytes()), (20, 20 * 8 + 20 * 5 * 2));
        }
    }
}

#[test]
fn a_pile_that_lies_in_no_other_stays_where_it_is() {
    let mut arena = Arena::with_capacity(1000);
    for _ in 0..2 {
        let mut outer = arena.pile::<u64>();
        outer.push(1).unwrap();
        let mut inner = arena.pile::<u32>();
        inner.push(10).unwrap();
        assert!(inner.keep().is_none(), "more elements of the outer one come beside it");
        let room = inner.room().unwrap();
        // SAFETY: `room` is for all elements.
        unsafe { inner.finish(room) };
        outer.push(2).unwrap();
        assert_eq!(outer.keep().unwrap(), [1, 2]);
        let next = arena.alloc_slice(&[3u8; 900]);
        assert_eq!((next.len(), arena.used_bytes()), (900, 900 + 16 + 4));
        arena.reset();
        assert_eq!(arena.remaining(), usize::MAX);
    }
}

#[test]
fn what_stays_at_the_end_is_not_handed_out_again_when_a_narrowed_arena_is_widened() {
    for to in [100, 5000] {
        let arena = Arena::with_capacity(1000);
        let before = arena.remaining();
        let narrowed = arena.narrow(to, 0);
        let mut pile = arena.pile::<u8>();
        while pile.len() < 50 && pile.push(7).is_some() {}
        let kept = pile.keep().unwrap();
        arena.widen(&narrowed);
        assert_eq!(arena.remaining(), before - 50);
        let rest = (0..100).map(|_| arena.alloc_slice(&[8u8; 20])).collect::<Vec<_>>();
        assert!(kept == [7; 50] && rest.iter().all(|&&mut ref list| list == [8; 20]));
    }
}

#[test]
fn a_decode_within_an_open_list_takes_none_of_its_memory() {
    let arena = Arena::with_capacity(1000);
    let open = arena.open::<u8>();
    let narrowed = arena.narrow(10, 0);
    let taken = arena.alloc([7u8; 10]);
    arena.widen(&narrowed);
    let later = arena.alloc([8u8; 100]);
    // SAFETY: within the room.
    let list = unsafe {
        open.start().write_bytes(1, 500);
        open.close(500)
    };
    assert_eq!((*taken, *later, list), ([7; 10], [8; 100], &mut [1; 500][..]));
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Wide([u8; 64]);

#[derive(Clone, Copy, Debug)]
enum Step {
    Byte(u8),
    Word(u64),
    Wide(u8),
    Slice(u8, usize),
    Narrow(usize, usize),
    /// A decode under a limit: a pile of so many elements, an allocation of so many bytes and a pile beside each, and
    /// what becomes of it.
    Pile(usize, usize, usize, Fate),
    Reset,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Stays,
    IsCopied,
    Fails,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Byte),
        4 => any::<u64>().prop_map(Step::Word),
        2 => any::<u8>().prop_map(Step::Wide),
        4 => (any::<u8>(), 0usize..3000).prop_map(|(fill, len)| Step::Slice(fill, len)),
        2 => (0usize..5000, 0usize..3000).prop_map(|(to, len)| Step::Narrow(to, len)),
        2 => (
            prop_oneof![0usize..5000, Just(100_000)], 0usize..200, 0usize..40,
            prop_oneof![Just(Fate::Stays), Just(Fate::IsCopied), Just(Fate::Fails)],
        ).prop_map(|(to, len, beside, fate)| Step::Pile(to, len, beside, fate)),
        1 => Just(Step::Reset),
    ]
}

/// What was written, where, and how to find it unchanged.
struct Live {
    at: usize,
    bytes: Vec<u8>,
}

fn note(live: &mut Vec<Live>, bytes: &[u8]) {
    live.push(Live { at: bytes.as_ptr() as usize, bytes: bytes.to_vec() });
}

/// A list as a decoder makes it: kept where it is if it may be, else copied; whether it came to be.
fn end(mut pile: Pile<'_, u32>, fate: Fate, live: &mut Vec<Live>) -> bool {
    let list = match fate {
        Fate::Fails => return false,
        Fate::Stays => pile.keep().map(|list| &*list),
        Fate::IsCopied => None,
    };
    let list = list.or_else(|| {
        let (len, room) = (pile.len(), pile.room().ok()?);
        // SAFETY: `room` is for all elements, which are then initialised.
        Some(unsafe {
            pile.finish(room);
            core::slice::from_raw_parts(room.as_ptr(), len)
        })
    });
    let Some(list) = list else { return false };
    let bytes = list.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
    live.push(Live { at: list.as_ptr().addr(), bytes });
    true
}

/// Whether the whole of it fits.
fn pile_up(arena: &Arena, len: usize, beside: usize, fate: Fate, live: &mut Vec<Live>) -> bool {
    let mut outer = arena.pile();
    for n in 0..len {
        if outer.push(n as u32).is_none() {
            break;
        }
        if beside > 0 {
            let Ok(place) = arena.try_alloc_slice(&std::vec![5u8; beside]) else { return false };
            note(live, place);
            let mut inner = arena.pile();
            while inner.len() < beside % 4 && inner.push(6).is_some() {}
            if inner.len() > 0 && !end(inner, Fate::Stays, live) {
                return false;
            }
        }
    }
    let before = live.len();
    let whole = end(outer, fate, live);
    if whole && let Some(list) = live.get(before) {
        let (values, _) = list.bytes.as_chunks();
        assert!(values.iter().enumerate().all(|(n, value)| u32::from_ne_bytes(*value) == n as u32));
    }
    whole
}

proptest! {
    #[test]
    fn allocations_are_aligned_disjoint_and_keep_their_content(
        steps in proptest::collection::vec(step(), 1..200), budget in 0usize..100_000,
    ) {
        let mut arena = Arena::with_budget(budget).with_retained(20_000);
        let mut live = Vec::new();
        for step in steps {
            let used = arena.used_bytes();
            match step {
                Step::Byte(value) => if let Ok(place) = arena.try_alloc(value) {
                    note(&mut live, core::slice::from_ref(place));
                },
                Step::Word(value) => if let Ok(place) = arena.try_alloc(value) {
                    prop_assert_eq!(core::ptr::from_ref(place) as usize % align_of::<u64>(), 0);
                    live.push(Live { at: core::ptr::from_ref(place) as usize, bytes: place.to_ne_bytes().to_vec() });
                },
                Step::Wide(fill) => if let Ok(place) = arena.try_alloc(Wide([fill; 64])) {
                    prop_assert_eq!(core::ptr::from_ref(place) as usize % 64, 0);
                    note(&mut live, &place.0);
                },
                Step::Slice(fill, len) => if let Ok(place) = arena.try_alloc_slice(&std::vec![fill; len]) {
                    note(&mut live, place);
                },
                Step::Narrow(to, len) => {
                    let narrowed = arena.narrow(to, 0);
                    let result = arena.try_alloc_slice(&std::vec![9u8; len]).map(|place| note(&mut live, place));
                    prop_assert!(result.is_err() || len <= to);
                    arena.widen(&narrowed);
                    prop_assert_eq!(arena.remaining(), narrowed.before() - if result.is_ok() { len } else { 0 });
                }
                Step::Pile(to, len, beside, fate) => {
                    let narrowed = arena.narrow(to, 0);
                    pile_up(&arena, len, beside, fate, &mut live);
                    arena.widen(&narrowed);
                    prop_assert!(narrowed.before() - arena.remaining() <= to);
                }
                Step::Reset => {
                    live.clear();
                    arena.reset();
                    prop_assert_eq!(arena.used_bytes(), 0);
                    prop_assert!(arena.heap_bytes() <= 20_000);
                    continue;
                }
            }
            prop_assert!(arena.used_bytes() >= used && arena.used_bytes() <= budget);
        }
        live.sort_by_key(|live| live.at);
        for pair in live.windows(2) {
            prop_assert!(pair[0].bytes.is_empty() || pair[1].bytes.is_empty()
                || pair[0].at + pair[0].bytes.len() <= pair[1].at);
        }
        for live in live.iter().filter(|live| !live.bytes.is_empty()) {
            let chunk = arena.chunks().find(|chunk| {
                (chunk.start() as usize..chunk.end() as usize).contains(&live.at)
            });
            let chunk = chunk.expect("an allocation lies in a chunk");
            let offset = live.at - chunk.start() as usize;
            // SAFETY: within the chunk, and written when it was handed out.
            let found = unsafe {
                core::slice::from_raw_parts(chunk.start().add(offset), live.bytes.len())
            };
            prop_assert_eq!(found, &live.bytes[..]);
        }
    }
}
