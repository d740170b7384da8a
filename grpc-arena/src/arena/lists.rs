//! Lists that are under way in an arena: at the free end of its chunk, or at the other one.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{Arena, Chunk};
use crate::{ArenaFull, ArenaVec};

/// A list at the free end of an arena's chunk; see [`Arena::open`].
pub(crate) struct Open<'a, T> {
    pub(super) arena: &'a Arena,
    // Invariant: `next..end` was the window when this was made, and is handed out to this list since: `next` of the arena
    // lies at `end`, or in another chunk. No safe call changes that before `close`: with an empty window every
    // allocation of at least one byte takes another chunk, a pile finds no room, a nested `open` gets no room, a nested
    // `narrow` and `widen` leave the window empty, and `give_back_tail` gives back only a list that ends at `next`, of
    // which there is none, as the bytes before `end` belong to this list. After a panic the window stays taken until the
    // reset. `start` has room for `room` elements in `next..end`, or is dangling and `room` is 0.
    pub(super) next: *mut u8,
    pub(super) end: *mut u8,
    pub(super) start: NonNull<T>,
    pub(super) room: usize,
}

impl<'a, T: Copy> Open<'a, T> {
    #[inline(always)]
    pub(crate) fn start(&self) -> NonNull<T> {
        self.start
    }

    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Takes the first `len` elements, and gives back the rest.
    ///
    /// # Safety
    /// So many are initialised, and no more than there is room for.
    #[inline(always)]
    pub(crate) unsafe fn close(self, len: usize) -> &'a mut [T] {
        let start = self.start;
        // SAFETY: the caller's word.
        unsafe { self.take(len) };
        // SAFETY: initialised by the caller's word, and nobody else's by the invariant.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// [`close`](Self::close) for a list that may grow further.
    ///
    /// # Safety
    /// As for [`close`](Self::close).
    #[inline(always)]
    pub(crate) unsafe fn close_to_grow(self, len: usize) -> ArenaVec<'a, T> {
        let (arena, start) = (self.arena, self.start);
        // SAFETY: the caller's word.
        unsafe { self.take(len) };
        // SAFETY: initialised by the caller's word, nobody else's by the invariant, and as `open` made it.
        unsafe { ArenaVec::from_raw(start, len, arena) }
    }

    /// Makes the first `len` elements handed out.
    ///
    /// # Safety
    /// As for [`close`](Self::close).
    #[inline(always)]
    unsafe fn take(self, len: usize) {
        // Else something was taken meanwhile and the window is one on another chunk: the rest of this one stays unused.
        // No two chunks share such an address: `next` lies behind a header, and `end` does not lie before one.
        if self.arena.next.get() == self.end {
            let after = match len {
                0 => self.next,
                // SAFETY: within the window by the caller's word.
                _ => unsafe { self.start.add(len).as_ptr().cast() },
            };
            self.arena.next.set(after);
        }
    }
}

/// A list that grows downwards from the end of an arena's window; see [`Arena::pile`].
///
/// ```text
///  | handed out | window, free | last .. second, first | free again at the end |
///               ^ next         ^ top                   ^ floor                 ^ end
/// ```
///
/// Piles within a pile lie below it and are finished before it. One that lies within no other may stay where it is.
pub(crate) struct Pile<'a, T> {
    pub(super) arena: &'a Arena,
    // Invariant: `top..floor` are `len` initialised elements, or dangling and `len` is 0; the arena hands out none of
    // it, as its window ended at `top` when that was last moved, and in its chunk only ever ends lower until `finish`.
    // Foreign code runs between two elements: what it takes lies below `top`, what it gives back lowers `next`, what it
    // narrows it widens up to `top` at most, its piles lie below and stay there only where this is no pile's outer one.
    // A panic leaves the elements where they are, as memory that is free once the decode around it widens the window.
    pub(super) chunk: Option<Chunk>,
    pub(super) end: *mut u8,
    pub(super) floor: *mut T,
    pub(super) top: *mut T,
    pub(super) len: usize,
    /// Whether this lies within another pile.
    pub(super) within: bool,
}

impl<'a, T: Copy> Pile<'a, T> {
    /// Whether the window is still the one that this pile's elements were cut from.
    #[inline]
    fn is_on_top(&self) -> bool {
        let cut_at = if self.len == 0 { self.end } else { self.top.cast() };
        self.arena.end.get() == cut_at && self.arena.last.get() == self.chunk
    }

    /// Adds an element, which may be changed until the next is added; `None` when there is no room, or the window has
    /// moved on to another chunk.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> Option<&mut T> {
        let next = self.arena.next.get() as usize;
        if !self.is_on_top()
            || size_of::<T>() == 0
            || (self.top as usize).saturating_sub(next) < size_of::<T>()
        {
            return None;
        }
        // SAFETY: so many bytes lie between `next` and `top`, in one chunk, aligned as `floor` is; they belong to this
        // pile from here on, as the window now ends before them. Whether the window is still the pile's is asked each
        // time, as foreign code has run since.
        unsafe {
            self.top = self.top.sub(1);
            self.top.write(value);
            self.arena.end.set(self.top.cast());
            self.len += 1;
            Some(&mut *self.top)
        }
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements in the order in which they were added, where they are; nothing, and nothing done, when more elements
    /// of another pile are to come beside them.
    pub(crate) fn keep(&mut self) -> Option<&'a mut [T]> {
        if self.within || self.len == 0 || !self.is_on_top() {
            return None;
        }
        self.arena.ceiling.set(self.top.cast());
        self.arena.piling.set(false);
        let len = core::mem::take(&mut self.len);
        // SAFETY: the invariant; from here on they are handed out, as they lie between the ceiling and the chunk's end.
        let list = unsafe { core::slice::from_raw_parts_mut(self.top, len) };
        list.reverse();
        Some(list)
    }

    /// Copies the elements to `room` in the order in which they were added, and gives their memory back.
    ///
    /// # Safety
    /// There must be room for all of them, outside of the pile.
    pub(crate) unsafe fn finish(self, room: NonNull<T>) {
        self.arena.piling.set(self.within);
        for i in 0..self.len {
            // SAFETY: the `i`th lies `i + 1` below the floor; there is room by the caller's word.
            unsafe { room.add(i).write(self.floor.sub(i + 1).read()) };
        }
        if self.is_on_top() {
            self.arena.end.set(self.end);
        } else {
            // The window is one on another chunk; what the pile held of the budget comes back.
            let held = self.len * size_of::<T>();
            self.arena.beyond.set(self.arena.beyond.get() + held);
        }
    }

    /// Room for all elements below the pile.
    pub(crate) fn room(&self) -> Result<NonNull<T>, ArenaFull> {
        let layout = Layout::array::<T>(self.len).map_err(|_| ArenaFull)?;
        self.arena.take(layout).map(NonNull::cast)
    }
}
