//! The arena: memory that is taken bit by bit and given back at once.

#[cfg(not(test))]
use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

mod lists;
#[cfg(test)]
use tests::heap::{alloc, dealloc};

pub(crate) use lists::{Open, Pile};

/// Chunks are aligned for everything that a message holds; larger alignments are padded for.
const CHUNK_ALIGN: usize = 16;
/// The first chunk at least: one small message with its lists, and a size that allocators serve from their free lists.
const FIRST_CHUNK: usize = 1024;
/// The first chunk at most, where the size of the input suggests it: a message need not hold lists at all.
const FIRST_CHUNK_MAX: usize = 64 << 10;
/// From how many bytes on a copy is placed in its cache line as its source is. Processors then copy a quarter faster, as
/// no line straddles two; below, that is not worth a line's room.
const LARGE_COPY: usize = 4 << 10;
/// What processors read and write memory by.
const CACHE_LINE: usize = 64;
/// What a reset keeps by default: enough for messages that come often, little beside a connection's buffers.
const RETAINED: usize = 1 << 20;

/// Memory for messages: handed out upwards from chunks, taken back all at once.
///
/// ```text
///  chunk  | handed out ......... | window, free | behind a budget | long lists |
///         ^                      ^              ^                 ^
///         start                  next           end               ceiling
/// ```
///
/// An allocation aligns `next` and moves it. A chunk that is full stays until the reset, and the next one is twice as
/// large (1 KiB at least). [`reset`](Self::reset) replaces several chunks by one of their total size, up to
/// [`retained_bytes`](Self::with_retained), so that an arena in a loop soon allocates nothing.
///
/// Only `Copy` types go in, so nothing is ever dropped. What comes out borrows the arena, so that nothing outlives a
/// reset:
///
/// ```compile_fail,E0502
/// let mut arena = grpc_arena::Arena::new();
/// let name = arena.alloc_str("kept");
/// arena.reset();
/// println!("{name}");
/// ```
///
/// nor the arena:
///
/// ```compile_fail,E0597
/// let name = {
///     let arena = grpc_arena::Arena::new();
///     arena.alloc_str("kept")
/// };
/// println!("{name}");
/// ```
pub struct Arena {
    /// The next free byte; with `end`, null or within (or one past) the last chunk, `next <= end`.
    next: Cell<*mut u8>,
    /// The end of what may be handed out without asking: the chunk's, or where the budget is spent.
    end: Cell<*mut u8>,
    /// The first byte of what was handed out at the end of the last chunk, or the chunk's end; `end` at least.
    ceiling: Cell<*mut u8>,
    /// How much may be handed out beyond `end`.
    beyond: Cell<usize>,
    /// Whether a [`Pile`] is under way.
    piling: Cell<bool>,
    /// What [`reset`](Self::reset) refills the allowance to.
    budget: usize,
    retained: usize,
    /// The size of the input that was decoded last, as a hint at the size of the first chunk.
    input: Cell<usize>,
    /// The chunk that `next` lies in.
    last: Cell<Option<Chunk>>,
}

/// One allocation from the heap, by the header that it begins with.
// Invariant: points to a header at the start of `size` bytes, allocated by `add_chunk` and not yet freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk(NonNull<Header>);

/// ```text
///  chunk  | header | handed out .. | free .. |
///         |<---------- size --------------->|
/// ```
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Header {
    before: Option<Chunk>,
    size: usize,
}

/// The arena's budget is spent, or the heap has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaFull;

impl fmt::Display for ArenaFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arena's budget is spent")
    }
}

impl core::error::Error for ArenaFull {}

impl Arena {
    /// An empty arena without a budget; takes its first chunk when something is allocated.
    pub const fn new() -> Self {
        Self::with_budget(usize::MAX)
    }

    /// An empty arena that hands out at most `bytes`, padding included, between two resets.
    pub const fn with_budget(bytes: usize) -> Self {
        Self {
            next: Cell::new(core::ptr::null_mut()),
            end: Cell::new(core::ptr::null_mut()),
            ceiling: Cell::new(core::ptr::null_mut()),
            beyond: Cell::new(bytes),
            piling: Cell::new(false),
            budget: bytes,
            retained: RETAINED,
            input: Cell::new(0),
            last: Cell::new(None),
        }
    }

    /// An arena without a budget whose first chunk holds `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let arena = Self::new();
        // A failure shows at the first allocation, which asks again.
        let _ = arena.add_chunk(bytes.saturating_add(size_of::<Header>()), usize::MAX);
        arena
    }

    /// Sets how many bytes [`reset`](Self::reset) keeps at most; 1 MiB by default. A lone chunk of no more stays; of
    /// others nothing is kept below 1 KiB.
    ///
    /// Messages that need more than this pay for a heap allocation each time.
    #[must_use]
    pub const fn with_retained(mut self, bytes: usize) -> Self {
        self.retained = bytes;
        self
    }

    /// Takes everything back, and keeps one chunk of at most the retained size.
    pub fn reset(&mut self) {
        self.piling.set(false);
        let Some(last) = self.last.get() else {
            self.beyond.set(self.budget);
            return;
        };
        if last.header().before.is_none() && last.header().size <= self.retained {
            self.beyond.set(self.budget);
            self.next.set(last.start());
            self.open_window(last);
            return;
        }
        let total = self.heap_bytes();
        self.release();
        // Of a chunk smaller than the first ones would be, nothing but more chunks comes.
        if self.retained >= FIRST_CHUNK {
            // On failure the arena is empty, which the next allocation sees.
            let _ = self.add_chunk(total.min(self.retained), self.budget);
        }
    }

    /// Takes everything back and gives all memory to the heap.
    pub fn shrink(&mut self) {
        self.release();
    }

    /// How many bytes of the heap the arena holds.
    pub fn heap_bytes(&self) -> usize {
        self.chunks().map(|chunk| chunk.header().size).sum()
    }

    /// The chunks, the last first.
    fn chunks(&self) -> impl Iterator<Item = Chunk> {
        core::iter::successors(self.last.get(), |chunk| chunk.header().before)
    }

    /// How many bytes were handed out since the last reset, padding for alignment included.
    pub fn used_bytes(&self) -> usize {
        self.budget - self.remaining()
    }

    /// How many bytes may still be handed out before the budget is spent.
    pub fn remaining(&self) -> usize {
        self.window() + self.beyond.get()
    }

    /// Moves a value in.
    ///
    /// # Panics
    /// When the budget is spent; [`try_alloc`](Self::try_alloc) says so instead.
    #[inline]
    #[allow(clippy::mut_from_ref)] // each call returns memory of its own
    pub fn alloc<T: Copy>(&self, value: T) -> &mut T {
        self.try_alloc(value).expect("the arena's budget is spent")
    }

    /// Copies a slice in.
    ///
    /// # Panics
    /// When the budget is spent; [`try_alloc_slice`](Self::try_alloc_slice) says so instead.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn alloc_slice<T: Copy>(&self, values: &[T]) -> &mut [T] {
        self.try_alloc_slice(values).expect("the arena's budget is spent")
    }

    /// Copies a string in.
    ///
    /// # Panics
    /// When the budget is spent; [`try_alloc_str`](Self::try_alloc_str) says so instead.
    #[inline]
    pub fn alloc_str(&self, text: &str) -> &str {
        self.try_alloc_str(text).expect("the arena's budget is spent")
    }

    /// Moves a value in.
    ///
    /// # Errors
    /// When the budget is spent.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn try_alloc<T: Copy>(&self, value: T) -> Result<&mut T, ArenaFull> {
        let place = self.take(Layout::new::<T>())?.cast::<T>();
        // SAFETY: `take` returns memory of this layout that nothing else refers to, valid until the next reset,
        // which needs `&mut self` and so outlives no borrow of `self`. It is written before it is referred to. No foreign
        // code runs between, here or in `take`: a copy of a `Copy` type calls nothing.
        unsafe {
            place.write(value);
            Ok(&mut *place.as_ptr())
        }
    }

    /// Copies a slice in.
    ///
    /// # Errors
    /// When the budget is spent.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn try_alloc_slice<T: Copy>(&self, values: &[T]) -> Result<&mut [T], ArenaFull> {
        let place = self.take_for_copy(values)?;
        // SAFETY: as in `try_alloc`; fresh memory cannot overlap `values`, and holds `values.len()` elements.
        unsafe {
            place.copy_from_nonoverlapping(NonNull::from(values).cast::<T>(), values.len());
            Ok(core::slice::from_raw_parts_mut(place.as_ptr(), values.len()))
        }
    }

    /// Copies a string in.
    ///
    /// # Errors
    /// When the budget is spent.
    #[inline]
    pub fn try_alloc_str(&self, text: &str) -> Result<&str, ArenaFull> {
        let bytes = self.try_alloc_slice(text.as_bytes())?;
        // SAFETY: these are the bytes of `text`.
        Ok(unsafe { core::str::from_utf8_unchecked(bytes) })
    }

    /// Fresh memory for a copy of `values`, valid and unaliased until the next reset.
    #[inline]
    fn take_for_copy<T: Copy>(&self, values: &[T]) -> Result<NonNull<T>, ArenaFull> {
        let layout = Layout::for_value(values);
        if layout.size() >= LARGE_COPY && layout.align() <= CACHE_LINE {
            return self.take_alike(layout, values.as_ptr().addr()).map(NonNull::cast);
        }
        self.take(layout).map(NonNull::cast)
    }

    /// Fresh memory of this layout that lies in its cache line as `address`, a multiple of the alignment, does in its
    /// own; anywhere, when that is more than the budget holds. Takes room for any pad, so that what fits a budget does
    /// not depend on addresses.
    fn take_alike(&self, layout: Layout, address: usize) -> Result<NonNull<u8>, ArenaFull> {
        let roomy = Layout::from_size_align(layout.size() + (CACHE_LINE - 1), layout.align());
        let Some(place) = roomy.ok().and_then(|roomy| self.take(roomy).ok()) else {
            return self.take(layout);
        };
        let pad = address.wrapping_sub(place.addr().get()) % CACHE_LINE;
        // SAFETY: less than a line in front of the size, all of which was taken. Both addresses are multiples of the
        // alignment, which divides a line, so the pad is one, too.
        Ok(unsafe { place.add(pad) })
    }

    /// Fresh memory of this layout, valid and unaliased until the next reset.
    #[inline]
    pub(crate) fn take(&self, layout: Layout) -> Result<NonNull<u8>, ArenaFull> {
        let next = self.next.get();
        let pad = next.align_offset(layout.align());
        match pad.checked_add(layout.size()) {
            Some(need) if need <= self.window() => {
                // SAFETY: `need` bytes lie between `next` and `end`, which are within one chunk; when both are
                // null, `need` is 0.
                let (place, after) = unsafe { (next.add(pad), next.add(need)) };
                self.next.set(after);
                match NonNull::new(place) {
                    Some(place) => Ok(place),
                    None => Ok(NonNull::without_provenance(dangling(layout))),
                }
            }
            _ => self.take_from_new_chunk(layout),
        }
    }

    /// Grows the memory that `take` returned last from `old` to `new` bytes without moving it, when it lies at the
    /// end of what was handed out and the window has room.
    ///
    /// `place` and `old` must be what the arena handed out. Of all of it only the last in its chunk ends at `next`: a
    /// chunk's header lies between `next` and whatever is in another chunk.
    #[inline]
    pub(crate) fn extend_in_place(&self, place: NonNull<u8>, old: usize, new: usize) -> bool {
        let next = self.next.get();
        let grow = new - old;
        if place.as_ptr() as usize + old == next as usize && grow <= self.window() {
            // SAFETY: `grow` bytes lie between `next` and `end`.
            self.next.set(unsafe { next.add(grow) });
            return true;
        }
        false
    }

    /// Gives back the end of the memory that `take` returned last, if nothing was taken behind it.
    ///
    /// Any safe caller of [`ArenaVec::into_slice`] does this at any time: between an `open` and its `close`, while a pile
    /// is under way, within a narrowed window. `place` and `old` must be what the arena handed out.
    #[inline]
    pub(crate) fn give_back_tail(&self, place: NonNull<u8>, old: usize, new: usize) {
        let next = self.next.get();
        if old > new && place.as_ptr() as usize + old == next as usize {
            // SAFETY: the bytes from `new` to `old` were handed out from this chunk, so `next` stays within it.
            self.next.set(unsafe { next.sub(old - new) });
        }
    }

    /// Takes the whole window, to be written to as a list of unknown length, until [`Open::close`] gives back what the
    /// list does not need.
    ///
    /// Foreign code may use the arena meanwhile: as the window is taken, what it takes comes from another chunk, and it
    /// has no memory before the window to give back, because `next` lies at the window's end.
    #[inline(always)]
    pub(crate) fn open<T: Copy>(&self) -> Open<'_, T> {
        let (next, end) = (self.next.get(), self.end.get());
        self.next.set(end);
        let pad = next.align_offset(align_of::<T>());
        let window = end as usize - next as usize;
        match NonNull::new(next.wrapping_add(pad)) {
            Some(start) if pad <= window && size_of::<T>() > 0 => Open {
                arena: self,
                next,
                end,
                start: start.cast(),
                room: (window - pad) / size_of::<T>(),
            },
            _ => Open { arena: self, next, end, start: NonNull::dangling(), room: 0 },
        }
    }

    /// A list at the upper end of the window, for elements whose number is not known and between which others are taken.
    #[inline]
    pub(crate) fn pile<T: Copy>(&self) -> Pile<'_, T> {
        let end = self.end.get();
        let floor = end.wrapping_sub(end as usize % align_of::<T>()).cast::<T>();
        let within = self.piling.replace(true);
        Pile { arena: self, chunk: self.last.get(), end, floor, top: floor, len: 0, within }
    }

    /// Lowers what may still be handed out to `bytes`, until [`widen`](Self::widen), for input of `input` bytes.
    #[inline]
    pub(crate) fn narrow(&self, bytes: usize, input: usize) -> Narrowed {
        self.input.set(input);
        let (window, beyond) = (self.window(), self.beyond.get());
        let narrowed = Narrowed {
            window,
            beyond,
            to: bytes,
            end: self.end.get(),
            chunk: self.last.get(),
            piling: self.piling.get(),
        };
        let inside = window.min(bytes);
        if inside < window {
            // SAFETY: no more than the window lies behind `next`.
            self.end.set(unsafe { self.next.get().add(inside) });
        }
        self.beyond.set(beyond.min(bytes - inside));
        narrowed
    }

    /// [`narrow`](Self::narrow)s until the guard is dropped, which a panic of foreign code does, too.
    #[inline]
    pub(crate) fn narrow_within(&self, bytes: usize, input: usize) -> NarrowGuard<'_> {
        NarrowGuard { arena: self, narrowed: self.narrow(bytes, input) }
    }

    /// Undoes [`narrow`](Self::narrow): all that was not taken since is free again.
    #[inline]
    pub(crate) fn widen(&self, narrowed: &Narrowed) {
        // A pile that met a failure was not finished.
        self.piling.set(narrowed.piling);
        if self.last.get() == narrowed.chunk && self.end.get() == narrowed.end {
            // All that was taken came from the window, which still ends where it did.
            self.beyond.set(narrowed.beyond);
        } else {
            self.widen_window(narrowed);
        }
    }

    #[cold]
    #[inline(never)]
    fn widen_window(&self, narrowed: &Narrowed) {
        let before = narrowed.before();
        // Less may have been found than is there now, when something was given back that had been taken before.
        let taken = before.min(narrowed.to).saturating_sub(self.remaining());
        let left = before - taken;
        let ceiling = self.ceiling.get();
        let end = match self.last.get() {
            // Beyond the end that was found may lie what an open list or a pile holds; below it, what was handed out
            // there meanwhile. Room between the two is left until the reset.
            last if last == narrowed.chunk => narrowed.end.min(ceiling),
            _ => ceiling,
        };
        let window = (end as usize - self.next.get() as usize).min(left);
        // SAFETY: within the chunk that `next` lies in.
        self.end.set(unsafe { self.next.get().add(window) });
        self.beyond.set(left - window);
    }

    fn window(&self) -> usize {
        self.end.get() as usize - self.next.get() as usize
    }

    /// Moves as much as the budget allows from `beyond` to the window, which is empty and ends at most where `chunk` does.
    fn open_window(&self, chunk: Chunk) {
        self.ceiling.set(chunk.end());
        let room = chunk.end() as usize - self.next.get() as usize;
        let window = room.min(self.beyond.get());
        // SAFETY: `next` lies in the last chunk, `room` bytes before its end.
        self.end.set(unsafe { self.next.get().add(window) });
        self.beyond.set(self.beyond.get() - window);
    }

    #[cold]
    #[inline(never)]
    fn take_from_new_chunk(&self, layout: Layout) -> Result<NonNull<u8>, ArenaFull> {
        let remaining = self.remaining();
        // Room for the padding of alignments above the chunk's own. It counts as handed out, so without it in the budget
        // there might be a chunk more, and nothing in it.
        let padding = layout.align().saturating_sub(CHUNK_ALIGN);
        let need = layout.size().checked_add(padding).ok_or(ArenaFull)?;
        if need > remaining {
            return Err(ArenaFull);
        }
        let need = need.checked_add(size_of::<Header>()).ok_or(ArenaFull)?;
        let size = match self.last.get() {
            Some(last) => (2 * last.header().size).max(FIRST_CHUNK),
            // Messages take about twice their encoded size; so that one decode asks the heap once.
            None => self.input.get().saturating_mul(2).clamp(FIRST_CHUNK, FIRST_CHUNK_MAX),
        };
        // A chunk larger than the budget would be memory that nobody may use.
        let size = size.min(remaining.saturating_add(size_of::<Header>())).max(need);
        self.add_chunk(size, remaining)?;
        self.take_within_window(layout)
    }

    /// The second try, in a chunk that was made to fit; fails when padding exceeds the budget.
    fn take_within_window(&self, layout: Layout) -> Result<NonNull<u8>, ArenaFull> {
        let need = self.next.get().align_offset(layout.align()) + layout.size();
        if need > self.window() { Err(ArenaFull) } else { self.take(layout) }
    }

    /// Adds a chunk of `size` bytes, the header included, and opens the window on it, with `remaining` bytes of the budget
    /// left.
    fn add_chunk(&self, size: usize, remaining: usize) -> Result<(), ArenaFull> {
        let size = size.max(size_of::<Header>());
        let layout = Layout::from_size_align(size, CHUNK_ALIGN).map_err(|_| ArenaFull)?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(ArenaFull)?.cast::<Header>();
        // SAFETY: fresh memory, aligned and large enough for a header.
        unsafe { start.write(Header { before: self.last.get(), size }) };
        let chunk = Chunk(start);
        self.last.set(Some(chunk));
        self.next.set(chunk.start());
        self.beyond.set(remaining);
        self.open_window(chunk);
        Ok(())
    }

    /// Frees all chunks.
    fn release(&mut self) {
        self.next.set(core::ptr::null_mut());
        self.end.set(core::ptr::null_mut());
        self.ceiling.set(core::ptr::null_mut());
        self.beyond.set(self.budget);
        let mut last = self.last.take();
        while let Some(chunk) = last {
            let Header { before, size } = *chunk.header();
            last = before;
            // SAFETY: the layout that `add_chunk` took, which was valid then; `&mut self` proves that nothing borrows the
            // chunk, and no copy of `chunk` is kept.
            unsafe {
                let layout = Layout::from_size_align_unchecked(size, CHUNK_ALIGN);
                dealloc(chunk.0.as_ptr().cast(), layout);
            }
        }
    }
}

/// What [`Arena::narrow`] found, and what it was asked for.
pub(crate) struct Narrowed {
    window: usize,
    beyond: usize,
    to: usize,
    end: *mut u8,
    chunk: Option<Chunk>,
    piling: bool,
}

/// Undoes [`Arena::narrow`] when it is dropped.
pub(crate) struct NarrowGuard<'a> {
    arena: &'a Arena,
    narrowed: Narrowed,
}

impl Drop for NarrowGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.arena.widen(&self.narrowed);
    }
}

impl Narrowed {
    /// What could be handed out before.
    fn before(&self) -> usize {
        self.window + self.beyond
    }
}

/// An address for memory of no size, aligned as asked.
fn dangling(layout: Layout) -> core::num::NonZeroUsize {
    core::num::NonZeroUsize::new(layout.align()).expect("an alignment is never zero")
}

impl Chunk {
    fn header(&self) -> &Header {
        // SAFETY: the invariant; headers are not written to once they are there.
        unsafe { self.0.as_ref() }
    }

    /// The first byte behind the header.
    fn start(self) -> *mut u8 {
        // SAFETY: a chunk has room for its header.
        unsafe { self.0.add(1).cast().as_ptr() }
    }

    fn end(self) -> *mut u8 {
        // SAFETY: one past the allocation of this size.
        unsafe { self.0.cast::<u8>().as_ptr().add(self.header().size) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.release();
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("used_bytes", &self.used_bytes())
            .field("heap_bytes", &self.heap_bytes())
            .finish()
    }
}

// SAFETY: the arena owns its chunks, and code that moves it holds no borrow of it; values in it are never touched by the
// arena itself, not even dropped.
unsafe impl Send for Arena {}

#[cfg(test)]
mod tests;
