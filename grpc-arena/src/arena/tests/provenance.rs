//! A model of the arena in which a pointer is a chunk and an offset in it, so that no two chunks ever share a pointer.
//!
//! What Miri would check is checked against the model: each pointer that the arena hands out or keeps is one into the
//! chunk that the model says it derives from. The chunks lie against each other, where addresses alone would say that the
//! end of one is the beginning of another.

use core::alloc::Layout;

use proptest::prelude::*;

use super::*;

/// A pointer: which chunk it derives from, and how far it lies behind the chunk's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pointer {
    chunk: usize,
    offset: usize,
}

/// Memory that was handed out and may still grow or shrink.
#[derive(Clone, Copy, Debug)]
struct Region {
    start: Pointer,
    len: usize,
    place: NonNull<u8>,
}

struct Model<'a> {
    arena: &'a Arena,
    random: u64,
    /// The chunks in the order in which they were taken; the last is the one that the offsets below are of.
    chunks: Vec<Chunk>,
    next: usize,
    end: usize,
    ceiling: usize,
    regions: Vec<Region>,
    /// Where the arena would have met another chunk's memory, had it compared addresses.
    touching: usize,
}

impl<'a> Model<'a> {
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % limit
    }

    fn last(&self) -> usize {
        self.chunks.len() - 1
    }

    /// The address that a pointer of the model has.
    fn address(&self, pointer: Pointer) -> usize {
        self.chunks[pointer.chunk].0.as_ptr().addr() + pointer.offset
    }

    /// A chunk was taken: the window is all of it that the budget allows.
    fn take_chunk(&mut self) {
        let chunk = self.arena.last.get().unwrap();
        assert_ne!(self.chunks.last(), Some(&chunk), "no chunk was taken");
        self.chunks.push(chunk);
        (self.next, self.ceiling) = (size_of::<Header>(), chunk.header().size);
        self.end = self.arena.end.get().addr() - chunk.0.as_ptr().addr();
        assert!((self.next..=self.ceiling).contains(&self.end), "the window leaves its chunk");
    }

    /// The arena keeps the pointers that the model has.
    fn check(&self) {
        assert_eq!(self.arena.last.get(), self.chunks.last().copied());
        for (what, found, offset) in [
            ("next", &self.arena.next, self.next),
            ("end", &self.arena.end, self.end),
            ("ceiling", &self.arena.ceiling, self.ceiling),
        ] {
            let expected = self.address(Pointer { chunk: self.last(), offset });
            assert_eq!(found.get().addr(), expected, "{what} is not where the model has it");
        }
        assert!(self.next <= self.end && self.end <= self.ceiling);
        assert!(self.ceiling <= self.chunks[self.last()].header().size);
    }

    /// The offset of the first place from `next` on that is so aligned.
    fn aligned(&self, align: usize) -> usize {
        let address = self.address(Pointer { chunk: self.last(), offset: self.next });
        self.next + address.next_multiple_of(align) - address
    }

    fn take(&mut self, layout: Layout) {
        let Ok(place) = self.arena.take(layout) else {
            // Under a limit, which this model does not count: nothing else has changed.
            return;
        };
        if self.aligned(layout.align()) + layout.size() > self.end {
            self.take_chunk();
        }
        let offset = self.aligned(layout.align());
        let start = Pointer { chunk: self.last(), offset };
        assert_eq!(place.addr().get(), self.address(start));
        assert!(offset + layout.size() <= self.end, "memory leaves its chunk's window");
        self.next = offset + layout.size();
        if layout.size() > 0 {
            self.regions.push(Region { start, len: layout.size(), place });
        }
    }

    /// Whether the region is the last that was handed out of the last chunk.
    fn is_at_end(&mut self, region: Region) -> bool {
        let end =
            self.address(Pointer { offset: region.start.offset + region.len, ..region.start });
        let next = Pointer { chunk: self.last(), offset: self.next };
        let at_end =
            region.start.chunk == next.chunk && region.start.offset + region.len == self.next;
        self.touching +=
            usize::from(!at_end && end.abs_diff(self.address(next)) <= size_of::<Header>());
        at_end
    }

    fn grow_or_shrink(&mut self) {
        if self.regions.is_empty() {
            return;
        }
        let which = self.regions.len() - 1 - self.below(self.regions.len().min(4));
        let (region, by) = (self.regions[which], self.below(100));
        let at_end = self.is_at_end(region);
        if self.below(2) == 0 {
            let grows = self.arena.extend_in_place(region.place, region.len, region.len + by);
            assert_eq!(grows, at_end && self.next + by <= self.end);
            if grows {
                self.regions[which].len += by;
                self.next += by;
            }
        } else {
            // As a list that becomes a slice, which neither grows nor shrinks again.
            let len = region.len - by.min(region.len);
            self.arena.give_back_tail(region.place, region.len, len);
            self.next -= if at_end { region.len - len } else { 0 };
            self.regions.swap_remove(which);
        }
    }

    /// A list of unknown length, with other things between its elements.
    fn open(&mut self, depth: usize) {
        let open = self.arena.open::<u64>();
        let (chunk, next, end) = (self.last(), self.next, self.end);
        let first = self.aligned(align_of::<u64>());
        assert_eq!(open.room(), (end.saturating_sub(first)) / size_of::<u64>());
        self.next = end;
        let filled = self.below(open.room().min(50) + 1);
        for n in 0..filled {
            // SAFETY: within the room.
            unsafe { open.start().add(n).write(n as u64) };
            if n % 8 == 0 {
                self.steps(depth + 1, 2);
            }
        }
        if self.last() == chunk {
            assert_eq!((self.next, self.end), (end, end), "the list's memory was handed out");
            self.next = if filled == 0 { next } else { first + filled * size_of::<u64>() };
        }
        // SAFETY: so many were written.
        let list = unsafe { open.close(filled) };
        assert!(list.iter().copied().eq(0..filled as u64));
        if filled > 0 {
            let expected = Pointer { chunk, offset: first };
            assert_eq!(list.as_ptr().addr(), self.address(expected));
        }
    }

    /// A list from the end of the window downwards, with other things between its elements.
    fn pile(&mut self, depth: usize) {
        let mut pile = self.arena.pile::<u64>();
        let (chunk, end) = (self.last(), self.end);
        let address = self.address(Pointer { chunk, offset: end });
        let floor = end - address % align_of::<u64>();
        let (mut top, mut len) = (floor, 0);
        for n in 0..self.below(12) as u64 {
            let cut_at = if len == 0 { end } else { top };
            let fits = self.last() == chunk
                && self.end == cut_at
                && top.saturating_sub(self.next) >= size_of::<u64>();
            let pushed = pile.push(n).is_some();
            assert_eq!(pushed, fits, "an element was cut from a window that is not the pile's");
            if !pushed {
                break;
            }
            top -= size_of::<u64>();
            (self.end, len) = (top, len + 1);
            self.steps(depth + 1, 2);
        }
        let on_top = self.last() == chunk && self.end == if len == 0 { end } else { top };
        if let Some(list) = pile.keep() {
            assert!(on_top && len > 0);
            self.ceiling = top;
            assert_eq!(list.as_ptr().addr(), self.address(Pointer { chunk, offset: top }));
            assert!(list.iter().copied().eq(0..len));
            return;
        }
        let mut room = std::vec![0u64; len as usize];
        // SAFETY: room for all, outside of the arena.
        unsafe { pile.finish(NonNull::from(&mut room[..]).cast()) };
        assert!(room.iter().copied().eq(0..len));
        if on_top {
            self.end = end;
        }
    }

    /// A decode under a limit, and other things within.
    fn narrow(&mut self, depth: usize) {
        let to = self.below(3000);
        let narrowed = self.arena.narrow_within(to, 0);
        let (chunk, end) = (self.last(), self.end);
        self.end = end.min(self.next + to);
        self.check();
        self.steps(depth + 1, 6);
        drop(narrowed);
        let highest = if self.last() == chunk { end.min(self.ceiling) } else { self.ceiling };
        // How far the window opens is up to what is left of the limits around it.
        self.end = self.arena.end.get().addr() - self.chunks[self.last()].0.as_ptr().addr();
        assert!((self.next..=highest).contains(&self.end), "the window was opened too far");
    }

    fn steps(&mut self, depth: usize, most: usize) {
        for _ in 0..self.below(most + 1) {
            let align = 1 << self.below(8);
            match self.below(if depth < 4 { 10 } else { 6 }) {
                0..3 => {
                    let size = if self.below(20) == 0 { 2000 } else { self.below(100) };
                    self.take(Layout::from_size_align(size, align).unwrap());
                }
                3..6 => self.grow_or_shrink(),
                6 | 7 => self.open(depth),
                8 => self.pile(depth),
                _ => self.narrow(depth),
            }
            self.check();
        }
    }
}

/// Returns how often addresses alone would have been ambiguous.
fn run(seed: u64, capacity: usize, upwards: bool) -> usize {
    let mut touching = 0;
    heap::with_adjacent_chunks(upwards, || {
        let arena = Arena::with_capacity(capacity);
        let mut model = Model {
            arena: &arena,
            random: seed,
            chunks: Vec::new(),
            next: 0,
            end: 0,
            ceiling: 0,
            regions: Vec::new(),
            touching: 0,
        };
        model.take_chunk();
        model.check();
        (0..20).for_each(|_| model.steps(0, 10));
        touching = model.touching;
    });
    touching
}

proptest! {
    #[test]
    fn each_pointer_derives_from_the_chunk_that_the_model_says(
        seed: u64, capacity in 1usize..2000, upwards: bool,
    ) {
        run(seed, capacity, upwards);
    }
}

#[test]
fn the_model_meets_chunks_that_touch() {
    let touching: usize = (0..500).map(|seed| run(seed, 1024 - 16, seed % 2 == 0)).sum();
    assert!(touching > 0);
}
