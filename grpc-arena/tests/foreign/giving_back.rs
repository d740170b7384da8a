//! One route each to memory that is given back, taken or lost to a panic while something else is under way.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use grpc_arena::codec::{self, Context, Cursor, Frame, Map, Open, UnknownFields};
use grpc_arena::{Arena, ArenaVec, DecodeLimits, SizeCache};

use crate::hook::{self, At};
use crate::kinds::{Key, Named, Node, Number, Wide};
use crate::live::Live;

const NUMBERS: &[u8] = &[8, 1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7, 8, 8];
const PACKED: &[u8] = &[10, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const CLOSED: &[u8] = &[16, 1, 16, 3, 16, 2, 18, 4, 4, 5, 6, 7];
const WORDS: &[u8] = b"\x1a\x02ab\x1a\x02cd\x1a\x02ef\x1a\x02gh";
const MAP: &[u8] = b"\x22\x05\x08\x03\x12\x01c\x22\x05\x08\x01\x12\x01a\x22\x05\x08\x02\x12\x01b";
const KINDS: &[u8] = &[42, 4, 8, 1, 16, 1, 42, 4, 8, 2, 16, 2, 42, 4, 8, 3, 16, 3];
const NODES: &[u8] = &[50, 4, 8, 1, 8, 2, 50, 0, 50, 4, 8, 3, 8, 4];
const GROUPS: &[u8] = &[59, 8, 1, 8, 2, 60, 59, 60, 59, 8, 3, 8, 4, 60];

/// A list with room for more, at the end of what was handed out.
fn held(arena: &'static Arena) -> ArenaVec<'static, u8> {
    let mut list = ArenaVec::with_capacity_in(512, arena);
    list.push(7);
    list
}

fn decode(bytes: &'static [u8], arena: &'static Arena) -> Node<'static> {
    codec::decode(bytes, arena, &DecodeLimits::DEFAULT).unwrap()
}

/// What was decoded, and what is handed out from then on, lie apart and stay as they are.
fn check(arena: &'static Arena, mut live: Live, node: &Node<'static>) {
    node.track(&mut live);
    for fill in 0..100 {
        live.add("a fresh slice", arena.alloc_slice(&[fill; 100]));
    }
    live.check();
}

/// Decodes `bytes`, and in the `nth` call of `at` gives back the rest of a list that was there before.
fn decode_giving_back(at: At, nth: usize, bytes: &'static [u8]) {
    let expected = decode(bytes, hook::arena(4096));
    for room in [600, 4096, 1 << 16] {
        let arena = hook::arena(room);
        let (mut list, mut calls) = (Some(held(arena)), 0);
        let give_back = move |here| {
            calls += usize::from(here == at);
            if calls == nth
                && let Some(list) = list.take()
            {
                assert_eq!(list.into_slice(), [7]);
            }
        };
        let node = hook::with(give_back, || decode(bytes, arena));
        assert_eq!(node, expected);
        check(arena, Live::default(), &node);
    }
}

#[test]
fn an_open_enum_gives_back_while_its_list_is_read() {
    for nth in 1..=8 {
        decode_giving_back(At::OpenEnum, nth, NUMBERS);
    }
}

#[test]
fn an_open_enum_gives_back_while_its_packed_list_is_read() {
    for nth in 1..=8 {
        decode_giving_back(At::OpenEnum, nth, PACKED);
    }
}

#[test]
fn a_closed_enum_gives_back_while_its_list_is_read() {
    for nth in 1..=7 {
        decode_giving_back(At::ClosedEnum, nth, CLOSED);
    }
}

#[test]
fn a_string_leaf_gives_back_while_its_list_is_read() {
    for nth in 1..=8 {
        decode_giving_back(At::Leaf, nth, WORDS);
    }
}

#[test]
fn a_key_gives_back_while_its_map_is_read() {
    for nth in 1..=3 {
        decode_giving_back(At::Key, nth, MAP);
    }
}

#[test]
fn a_value_gives_back_while_its_map_is_read() {
    for nth in 1..=6 {
        decode_giving_back(At::Leaf, nth, MAP);
    }
}

#[test]
fn a_closed_enum_gives_back_while_a_map_of_it_is_read() {
    for nth in 1..=6 {
        decode_giving_back(At::ClosedEnum, nth, KINDS);
    }
}

#[test]
fn a_rank_gives_back_while_a_map_is_sorted() {
    for nth in 1..=6 {
        decode_giving_back(At::Rank, nth, MAP);
    }
}

#[test]
fn a_message_gives_back_while_a_list_of_it_is_read() {
    for nth in 1..=9 {
        decode_giving_back(At::Merge, nth, NODES);
    }
}

#[test]
fn a_message_gives_back_while_groups_of_it_are_read() {
    for nth in 1..=9 {
        decode_giving_back(At::Merge, nth, GROUPS);
    }
}

#[test]
fn a_list_within_groups_is_open_while_memory_is_given_back() {
    for nth in 1..=4 {
        decode_giving_back(At::OpenEnum, nth, GROUPS);
    }
}

#[test]
fn a_decode_within_a_leaf_keeps_groups_where_memory_was_given_back() {
    let arena = hook::arena(4096);
    let (mut list, live) = (Some(held(arena)), Rc::new(RefCell::new(Live::default())));
    let tracked = Rc::clone(&live);
    let within = move |here| {
        if here == At::OpenEnum
            && let Some(list) = list.take()
        {
            list.into_slice();
            for bytes in [GROUPS, PACKED, GROUPS, NUMBERS] {
                decode(bytes, arena).track(&mut tracked.borrow_mut());
            }
        }
    };
    let node = hook::with(within, || decode(NUMBERS, arena));
    check(arena, live.take(), &node);
}

#[test]
fn an_enum_takes_a_chunk_and_gives_it_back_while_its_list_is_read() {
    for nth in 1..=8 {
        let arena = hook::arena(4096);
        let live = Rc::new(RefCell::new(Live::default()));
        let (tracked, mut calls) = (Rc::clone(&live), 0);
        let take = move |here| {
            calls += usize::from(here == At::OpenEnum);
            if calls == nth {
                calls += 100;
                let mut list = ArenaVec::with_capacity_in(5000, arena);
                list.extend([1u8; 100]);
                tracked.borrow_mut().add("a list in a chunk of its own", list.into_slice());
                tracked.borrow_mut().add("a slice behind it", arena.alloc_slice(&[2u8; 100]));
            }
        };
        let node = hook::with(take, || decode(NUMBERS, arena));
        assert_eq!(node.numbers.len(), 8);
        check(arena, live.take(), &node);
    }
}

#[test]
fn a_list_that_is_read_without_a_decode_is_taken_all_the_same() {
    let arena = hook::arena(4096);
    let mut list = Some(held(arena));
    let mut numbers: &[Number] = &[];
    hook::with(
        move |_| {
            if let Some(list) = list.take() {
                list.into_slice();
            }
        },
        || {
            let mut cx = Context::new(&[], arena, &DecodeLimits::DEFAULT);
            let (to, frame) = (&mut numbers, &mut Frame::new());
            codec::repeated::<Open<Number>>(Cursor::new(&NUMBERS[1..]), &mut cx, 8, to, frame);
        },
    );
    let node = Node { numbers, ..Node::default() };
    check(arena, Live::default(), &node);
}

#[test]
fn elements_of_any_size_lie_apart_from_what_comes_after_them() {
    fn read<const N: usize>() {
        let arena = hook::arena(4096);
        arena.alloc(1u8);
        let (mut held, mut lists) = (Some(held(arena)), Live::default());
        let mut list: &[[u64; N]] = &[];
        hook::with(
            move |_| {
                if let Some(list) = held.take() {
                    list.into_slice();
                }
            },
            || {
                let mut cx = Context::new(&[], arena, &DecodeLimits::DEFAULT);
                let cursor = Cursor::new(&PACKED[1..]);
                codec::packed::<Wide<N>>(cursor, &mut cx, &mut list, &mut Frame::new());
            },
        );
        assert_eq!(list.len(), 8);
        lists.add("wide elements", list);
        check(arena, lists, &Node::default());
    }
    read::<0>();
    read::<1>();
    read::<7>();
    read::<100>();
}

#[test]
fn the_order_of_keys_takes_and_gives_back_while_a_map_is_sorted() {
    for nth in [1, 2, 50, 100, 150] {
        let arena = hook::arena(1 << 14);
        let live = Rc::new(RefCell::new(Live::default()));
        let (tracked, mut calls, mut list) = (Rc::clone(&live), 0, Some(held(arena)));
        let order = move |here| {
            calls += usize::from(here == At::Order);
            if calls == nth {
                tracked.borrow_mut().add("a slice", arena.alloc_slice(&[1u8; 50]));
                list.take().map(ArenaVec::into_slice);
                let mut other = held(arena);
                other.push(8);
                tracked.borrow_mut().add("a list", other.into_slice());
            }
        };
        let entries = || (0..100u32).rev().map(|n| (Key(n / 2), n));
        let map = hook::with(order, || Map::collect_in(entries(), arena));
        assert!(map.iter().map(|(key, value)| (key.0, *value)).eq((0..50).map(|n| (n, 2 * n))));
        let mut live = live.take();
        live.add("entries", map.entries());
        check(arena, live, &Node::default());
    }
}

#[test]
fn an_iterator_lies_about_its_size_and_uses_the_arena_between_entries() {
    struct Liar(u32, usize, &'static Arena, Rc<RefCell<Live>>);

    impl Iterator for Liar {
        type Item = (Key, u32);

        fn next(&mut self) -> Option<(Key, u32)> {
            hook::run(At::Iterator);
            self.3.borrow_mut().add("a slice", self.2.alloc_slice(&[self.0; 3]));
            held(self.2).into_slice();
            self.0 = self.0.checked_sub(1)?;
            Some((Key(self.0), self.0))
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            held(self.2).into_slice();
            (self.1, Some(0))
        }
    }

    for lie in [0, 1, 10, 1000, usize::MAX] {
        let (arena, live) = (hook::arena(1000), Rc::new(RefCell::new(Live::default())));
        let liar = Liar(40, lie, arena, Rc::clone(&live));
        let map = hook::with(|_| {}, || Map::try_collect_in(liar, arena).unwrap());
        assert_eq!(map.len(), 40);
        let mut list = ArenaVec::new_in(arena);
        list.extend(Liar(40, lie, arena, Rc::clone(&live)).map(|(_, n)| n));
        assert_eq!(list.len(), 40);
        live.borrow_mut().add("a list", list.into_slice());
        live.borrow_mut().add("entries", map.entries());
        check(arena, live.take(), &Node::default());
    }
}

#[test]
fn a_message_uses_the_arena_that_it_is_encoded_into() {
    let node = decode([NODES, GROUPS, MAP, PACKED].concat().leak(), hook::arena(4096));
    let mut expected = Vec::new();
    let mut cache = SizeCache::new();
    codec::encoded_len(&node, &mut cache);
    codec::encode(&node, &mut cache, &mut expected);
    for room in [100, 600, 4096] {
        let (arena, live) = (hook::arena(room), Rc::new(RefCell::new(Live::default())));
        let (tracked, mut list) = (Rc::clone(&live), Some(held(arena)));
        let take = move |_| {
            list.take().map(ArenaVec::into_slice);
            tracked.borrow_mut().add("a slice", arena.alloc_slice(&[9u8; 20]));
            list = Some(held(arena));
        };
        let bytes = hook::with(take, || codec::encode_in(&node, arena).unwrap());
        assert_eq!(bytes, expected);
        let fields = hook::with(|_| {}, || codec::extend(UnknownFields::EMPTY, &node, arena));
        let mut live = live.take();
        live.add("an encoded message", bytes);
        live.add("spans", fields.unwrap().spans());
        check(arena, live, &Node::default());
    }
}

#[test]
fn a_leaf_goes_on_in_the_context_of_another_arena() {
    for bytes in [NUMBERS, PACKED, WORDS, MAP, NODES, GROUPS, CLOSED] {
        let (one, other) = (hook::arena(4096), hook::arena(4096));
        let mut swapped = Context::new(bytes, other, &DecodeLimits::DEFAULT);
        let mut cx = Context::new(bytes, one, &DecodeLimits::DEFAULT);
        let mut node = Node::default();
        for cut in 0..4 {
            // As a leaf may do by `mem::swap` of what it was given.
            std::mem::swap(&mut cx, &mut swapped);
            codec::Message::merge(&mut node, Cursor::new(bytes), &mut cx, 0);
            held(if cut % 2 == 0 { one } else { other }).into_slice();
        }
        check(one, Live::default(), &node);
        check(other, Live::default(), &node);
    }
}

#[test]
fn what_a_panic_leaves_behind_is_handed_out_to_nobody() {
    let all = [NUMBERS, PACKED, CLOSED, WORDS, MAP, KINDS, NODES, GROUPS].concat().leak();
    for nth in 1..80 {
        let (arena, mut live) = (hook::arena(4096), Live::default());
        let before = decode(all, arena);
        before.track(&mut live);
        let (mut list, mut calls) = (Some(held(arena)), 0);
        let panics = move |_| {
            calls += 1;
            if calls == nth {
                list.take().map(ArenaVec::into_slice);
                resume_unwind(Box::new(nth));
            }
        };
        let caught =
            hook::with(panics, || catch_unwind(AssertUnwindSafe(|| decode(all, arena))).is_err());
        assert!(caught, "{nth}");
        let after = decode(all, arena);
        assert_eq!(after, before);
        check(arena, live, &after);
    }
}

#[test]
fn a_panic_that_a_message_catches_ends_its_list_alone() {
    for nth in 1..20 {
        let (arena, mut calls) = (hook::arena(4096), 0);
        let live = Rc::new(RefCell::new(Live::default()));
        let tracked = Rc::clone(&live);
        // The hook is foreign code of an outer message; the decode within it panics, in whatever it has under way.
        let catches = move |here| {
            calls += 1;
            if here == At::Merge && calls < 10 {
                let mut reads = 0;
                let caught = hook::with(
                    move |_| {
                        reads += 1;
                        if reads == nth {
                            resume_unwind(Box::new(nth));
                        }
                    },
                    || catch_unwind(AssertUnwindSafe(|| decode(GROUPS, arena))),
                );
                if let Ok(node) = caught {
                    node.track(&mut tracked.borrow_mut());
                }
                tracked.borrow_mut().add("a slice", arena.alloc_slice(&[3u8; 10]));
            }
        };
        let node = hook::with(catches, || decode(GROUPS, arena));
        assert_eq!(node.groups.len(), 3);
        check(arena, live.take(), &node);
    }
}

#[test]
fn a_panic_in_a_decode_restores_what_its_limit_withheld() {
    let arena = Arena::with_budget(100_000);
    let (mut calls, bytes) = (0, [NODES, GROUPS].concat());
    let limits = DecodeLimits::DEFAULT.with_arena_bytes(5000);
    let panics = move |here| {
        calls += usize::from(here == At::Merge);
        if calls == 6 {
            resume_unwind(Box::new(calls));
        }
    };
    let caught = hook::with(panics, || {
        catch_unwind(AssertUnwindSafe(|| {
            codec::decode::<Node<'_>>(&bytes, &arena, &limits).is_ok()
        }))
    });
    assert!(caught.is_err());
    assert!(arena.remaining() > 95_000 - 5000, "{} are left", arena.remaining());
    let named = codec::decode::<Node<'_>>(CLOSED, &arena, &limits).unwrap().named;
    assert_eq!(named, [1, 2, 4, 5, 7].map(Named));
}
