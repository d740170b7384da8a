//! Random foreign code at every place where there may be some: it takes memory, lets lists grow, gives their ends back,
//! collects maps, decodes, encodes, and panics, within any of these and without. Every slice that is in use is checked to
//! lie apart from all others, to be aligned, and to hold what was written to it.
//!
//! A step is one thing that foreign code does. As many are taken as `TORTURE_STEPS` says, by default 100,000; from the
//! seed `TORTURE_SEED`, by default 1.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use grpc_arena::codec::{self, Map};
use grpc_arena::{Arena, ArenaVec, DecodeLimits};

use crate::hook::{self, At};
use crate::kinds::{Key, Node};
use crate::live::Live;

/// Steps between two arenas.
const ROUND: usize = 2000;
/// How deep foreign code runs within foreign code.
const DEPTH: usize = 4;
/// Where foreign code panics.
struct Panicked;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Wide([u8; 64]);

/// A list under way, and what it should hold.
struct Growing<T: 'static>(ArenaVec<'static, T>, Vec<T>);

impl<T: Copy + PartialEq + std::fmt::Debug + 'static> Growing<T> {
    fn new(capacity: usize, arena: &'static Arena) -> Option<Self> {
        let mut list = ArenaVec::new_in(arena);
        list.try_reserve_exact(capacity).ok()?;
        Some(Self(list, Vec::new()))
    }

    fn push(&mut self, value: T) {
        if self.0.try_push(value).is_ok() {
            self.1.push(value);
        }
        assert_eq!(*self.0, self.1, "a list under way has changed");
    }

    fn finish(self, what: &'static str, world: &mut World) {
        let list: &'static [T] = self.0.into_slice();
        assert_eq!(list, self.1, "a list has changed as it became a slice");
        world.live.add(what, list);
    }
}

struct World {
    random: u64,
    arena: &'static Arena,
    live: Live,
    bytes: Vec<Growing<u8>>,
    words: Vec<Growing<u64>>,
    wide: Vec<Growing<Wide>>,
    input: &'static [Box<[u8]>],
    left: usize,
    depth: usize,
    done: Done,
}

/// What came of the steps, so that none of it is missed.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    steps: usize,
    given_back: usize,
    decoded: usize,
    refused: usize,
    panics: usize,
    slices: usize,
    deepest: usize,
}

thread_local! { static WORLD: RefCell<Option<World>> = const { RefCell::new(None) }; }

/// Runs `change` on the world, which is not there while foreign code runs within foreign code.
fn world<T>(change: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| change(world.as_mut().expect("the world is there")))
}

impl World {
    /// A number below `limit` (SplitMix64).
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }

    /// Takes one step out of those left; false when there is none, or the code runs too deep.
    fn may_step(&mut self) -> bool {
        if self.left == 0 || self.depth >= DEPTH {
            return false;
        }
        self.left -= 1;
        self.done.steps += 1;
        self.done.deepest = self.done.deepest.max(self.depth);
        true
    }

    fn allocate(&mut self) {
        let (arena, fill, len) = (self.arena, self.below(256) as u8, self.below(300));
        match self.below(5) {
            0 => {
                _ = arena
                    .try_alloc(fill)
                    .map(|place| self.live.add("a byte", std::slice::from_ref(place)))
            }
            1 => {
                let place = arena.try_alloc(u64::from(fill) << 32 | 1);
                _ = place.map(|place| self.live.add("a word", std::slice::from_ref(place)));
            }
            2 => {
                let place = arena.try_alloc(Wide([fill; 64]));
                _ = place.map(|place| self.live.add("a wide value", std::slice::from_ref(place)));
            }
            3 => {
                let large = vec![fill; if len < 10 { 5000 } else { len }];
                _ = arena.try_alloc_slice(&large).map(|place| self.live.add("a slice", place));
            }
            _ => {
                let text = "a text".repeat(len % 20);
                _ = arena.try_alloc_str(&text).map(|text| self.live.add("a text", text.as_bytes()));
            }
        }
    }

    fn grow(&mut self) {
        let (fill, which, kind) = (self.below(256) as u8, self.below(4), self.below(3));
        let capacity = if self.below(2) == 0 { 0 } else { self.below(200) };
        fn one<T: Copy + PartialEq + std::fmt::Debug>(
            lists: &mut Vec<Growing<T>>,
            (which, capacity, value): (usize, usize, T),
            arena: &'static Arena,
        ) {
            match lists.get_mut(which) {
                Some(list) => (0..=capacity % 9).for_each(|_| list.push(value)),
                None => lists.extend(Growing::new(capacity, arena)),
            }
        }
        match kind {
            0 => one(&mut self.bytes, (which, capacity, fill), self.arena),
            1 => one(&mut self.words, (which, capacity, fill.into()), self.arena),
            _ => one(&mut self.wide, (which, capacity % 5, Wide([fill; 64])), self.arena),
        }
    }

    /// A list becomes a slice, or is dropped.
    fn give_back(&mut self) {
        let (which, drops) = (self.below(4), self.below(5) == 0);
        match self.below(3) {
            0 if which < self.bytes.len() && drops => drop(self.bytes.swap_remove(which)),
            0 if which < self.bytes.len() => {
                self.bytes.swap_remove(which).finish("a list of bytes", self);
            }
            1 if which < self.words.len() => {
                self.words.swap_remove(which).finish("a list of words", self);
            }
            2 if which < self.wide.len() => {
                self.wide.swap_remove(which).finish("a list of wide values", self);
            }
            _ => return,
        }
        self.done.given_back += 1;
    }

    /// Everything that is in use is what and where it was.
    fn check(&mut self) {
        self.live.check();
        self.done.slices += self.live.len();
        fn lists<T: Copy + PartialEq + std::fmt::Debug>(lists: &[Growing<T>], live: &Live) {
            for Growing(list, expected) in lists {
                assert_eq!(**list, *expected, "a list under way has changed");
                if let [first, ..] = &**list {
                    let start = std::ptr::from_ref(first).addr();
                    live.assert_apart("a list under way", start, start + size_of_val(&**list));
                }
            }
        }
        lists(&self.bytes, &self.live);
        lists(&self.words, &self.live);
        lists(&self.wide, &self.live);
    }
}

/// What foreign code does wherever it runs.
fn misbehave(at: At) {
    // Most calls come from the codec in great numbers.
    if at != At::Iterator && world(|world| world.below(3)) > 0 {
        return;
    }
    step();
}

fn step() {
    if !world(World::may_step) {
        return;
    }
    match world(|world| world.below(32)) {
        0..8 => world(World::allocate),
        8..17 => world(World::grow),
        17..25 => world(World::give_back),
        25..28 => within(decode),
        28 => within(encode),
        29 => within(collect),
        30 => {
            // As foreign code that catches what it calls.
            let caught = catch_unwind(AssertUnwindSafe(|| within(decode)));
            world(|world| world.done.panics += usize::from(caught.is_err()));
        }
        _ => {
            if world(|world| world.depth > 0 && world.below(3) == 0) {
                resume_unwind(Box::new(Panicked));
            }
        }
    }
}

/// Runs what calls foreign code, one level deeper.
fn within(what: fn()) {
    struct Deeper;
    impl Drop for Deeper {
        fn drop(&mut self) {
            world(|world| world.depth -= 1);
        }
    }
    world(|world| world.depth += 1);
    let deeper = Deeper;
    hook::with_or_without(misbehave, what);
    drop(deeper);
}

fn decode() {
    let (arena, bytes, limits) = world(|world| {
        let at = world.below(world.input.len());
        let limit = if world.below(4) == 0 { world.below(3000) } else { 1 << 20 };
        (world.arena, &*world.input[at], DecodeLimits::DEFAULT.with_arena_bytes(limit))
    });
    let node = codec::decode::<Node<'static>>(bytes, arena, &limits);
    world(|world| match node {
        Ok(node) => {
            node.track(&mut world.live);
            world.done.decoded += 1;
        }
        Err(_) => world.done.refused += 1,
    });
}

fn encode() {
    let (arena, bytes) =
        world(|world| (world.arena, &*world.input[world.below(world.input.len())]));
    let Ok(node) = codec::decode::<Node<'static>>(bytes, arena, &DecodeLimits::DEFAULT) else {
        return;
    };
    world(|world| node.track(&mut world.live));
    if let Ok(bytes) = codec::encode_in(&node, arena) {
        world(|world| world.live.add("an encoded message", bytes));
    }
}

fn collect() {
    let (arena, len) = world(|world| (world.arena, world.below(40)));
    let entries = (0..len).map(|_| {
        hook::run(At::Iterator);
        (Key(world(|world| world.below(30)) as u32), world(|world| world.below(1000)) as u64)
    });
    if let Ok(map) = Map::try_collect_in(entries, arena) {
        let keys = map.entries().iter().map(|(key, _)| key.0);
        assert!(keys.is_sorted_by(|a, b| a < b));
        world(|world| world.live.add("collected entries", map.entries()));
    }
}

/// Fields of a [`Node`], mostly as an encoder would write them.
fn fields(world: &mut World, depth: usize, out: &mut Vec<u8>) {
    for _ in 0..world.below(5) {
        let run = 1 + world.below(6);
        match world.below(if depth == 0 { 7 } else { 12 }) {
            0 => (0..run).for_each(|n| out.extend([8, n as u8])),
            1 => delimited(10, out, |out| out.extend((0..run).map(|n| n as u8))),
            2 => (0..run).for_each(|n| out.extend([16, n as u8])),
            3 => delimited(18, out, |out| out.extend((0..run).map(|n| n as u8))),
            4 => (0..run).for_each(|n| delimited(26, out, |out| out.resize(out.len() + n, b'w'))),
            5 => (0..run).for_each(|_| {
                let key = world.below(9) as u8;
                delimited(34, out, |out| out.extend([8, key, 0x12, 1, b'v']));
            }),
            6 => (0..run).for_each(|_| {
                let (key, value) = (world.below(9) as u8, world.below(9) as u8);
                delimited(42, out, |out| out.extend([8, key, 16, value]));
            }),
            7 => (0..run).for_each(|_| delimited(50, out, |out| fields(world, depth - 1, out))),
            8 => (0..run).for_each(|_| {
                out.push(59);
                fields(world, depth - 1, out);
                out.push(60);
            }),
            9 => delimited(66, out, |out| fields(world, depth - 1, out)),
            10 => {
                out.push(75);
                fields(world, depth - 1, out);
                out.push(76);
            }
            _ => (0..run).for_each(|n| {
                delimited(82, out, |out| {
                    out.extend([8, n as u8 % 3]);
                    delimited(18, out, |out| fields(world, depth - 1, out));
                });
            }),
        }
        if world.below(20) == 0 {
            out.extend([120, 1]);
        }
    }
}

/// A field with a length in front.
fn delimited(tag: u8, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    value(&mut bytes);
    out.push(tag);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(bytes);
}

/// Messages, some of them broken.
fn inputs(world: &mut World) -> Box<[Box<[u8]>]> {
    let inputs = (0..64).map(|n| {
        let mut bytes = Vec::new();
        fields(world, 3, &mut bytes);
        if n % 8 == 0 && !bytes.is_empty() {
            let at = world.below(bytes.len());
            bytes[at] ^= 1 << world.below(8);
        }
        bytes.into()
    });
    inputs.collect()
}

/// One arena, from its first byte on, with everything that is done to it.
fn round(seed: u64, steps: usize) -> Done {
    let capacity = [0, 100, 1000, 5000, 1 << 16][seed as usize % 5];
    let arena = if seed.is_multiple_of(7) {
        Arena::with_budget(200_000)
    } else {
        Arena::with_capacity(capacity)
    };
    let arena = NonNull::from(Box::leak(Box::new(arena)));
    let mut world_of_round = World {
        random: seed,
        // SAFETY: valid up to the end of this function, and nothing that borrows it is left there: the world is dropped,
        // and with it all lists and all that is known of slices.
        arena: unsafe { arena.as_ref() },
        live: Live::default(),
        bytes: Vec::new(),
        words: Vec::new(),
        wide: Vec::new(),
        input: &[],
        left: steps,
        depth: 0,
        done: Done::default(),
    };
    let input = NonNull::from(Box::leak(Box::new(inputs(&mut world_of_round))));
    // SAFETY: as above.
    world_of_round.input = unsafe { input.as_ref() };
    WORLD.set(Some(world_of_round));
    while world(|world| world.left) > 0 {
        let caught = catch_unwind(AssertUnwindSafe(step));
        if let Err(panic) = caught {
            // A failed assertion is no panic of foreign code.
            if !panic.is::<Panicked>() {
                resume_unwind(panic);
            }
            world(|world| world.done.panics += 1);
        }
        if world(|world| world.left.is_multiple_of(64)) {
            world(World::check);
        }
    }
    world(World::check);
    let done = WORLD.take().map(|world| world.done);
    // SAFETY: both came from boxes, and nothing borrows them any more.
    unsafe {
        drop(Box::from_raw(input.as_ptr()));
        drop(Box::from_raw(arena.as_ptr()));
    }
    done.expect("the world is there")
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_foreign_code_is_never_handed_memory_that_is_in_use() {
    let (steps, seed) = (setting("TORTURE_STEPS", 100_000) as usize, setting("TORTURE_SEED", 1));
    let mut all = Done::default();
    for round_at in 0..steps.div_ceil(ROUND) {
        let seed = seed + round_at as u64;
        let done = catch_unwind(|| round(seed, ROUND));
        let done = done.unwrap_or_else(|panic| {
            eprintln!("to be had again with TORTURE_SEED={seed} TORTURE_STEPS={ROUND}");
            resume_unwind(panic)
        });
        all = Done {
            steps: all.steps + done.steps,
            given_back: all.given_back + done.given_back,
            decoded: all.decoded + done.decoded,
            refused: all.refused + done.refused,
            panics: all.panics + done.panics,
            slices: all.slices + done.slices,
            deepest: all.deepest.max(done.deepest),
        };
    }
    println!("{all:?}");
    let least = all.steps / 100;
    assert!(all.given_back > least && all.decoded > least && all.panics > least / 10, "{all:?}");
    assert_eq!(all.deepest, DEPTH - 1, "{all:?}");
}
