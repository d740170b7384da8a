//! What a message under way remembers besides its fields.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::Cursor;
use crate::{Arena, ArenaFull};

/// What decoding one message remembers besides the message: spare room behind lists that came in pieces, and the span
/// of unknown fields that may still grow.
///
/// A list is a plain slice that says nothing about room behind it. Elements that follow each other are counted first
/// and need none; a list whose elements come in several pieces gets an entry here, so that it can double.
#[derive(Debug)]
pub struct Frame<'a> {
    lists: Option<&'a Spare<'a>>,
    /// The cursors before and behind the unknown fields that were met last, if not yet kept.
    pending: Option<(Cursor<'a>, Cursor<'a>)>,
}

/// A list with room behind it. Chained: there are at most as many as the message has repeated fields.
#[derive(Debug)]
struct Spare<'a> {
    state: core::cell::Cell<SpareState>,
    next: Option<&'a Spare<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct SpareState {
    // Invariant: `start` is memory of the arena for `capacity` elements of `element` bytes; what lies behind the first
    // `len` of them is referred to from here alone.
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
    element: usize,
}

impl Default for Frame<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Frame<'a> {
    /// For a message that begins.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { lists: None, pending: None }
    }

    #[inline(always)]
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Grows the pending span to `next` when it ends at `start` in the same input.
    pub(crate) fn extend_pending(&mut self, start: Cursor<'a>, next: Cursor<'a>) -> bool {
        match &mut self.pending {
            // Cursors that agree on both ends are left over from the same bytes.
            Some((_, end)) if end.address() == start.address() && end.len() == start.len() => {
                *end = next;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn set_pending(&mut self, start: Cursor<'a>, next: Cursor<'a>) {
        self.pending = Some((start, next));
    }

    pub(crate) fn take_pending(&mut self) -> &'a [u8] {
        self.pending.take().map_or(&[], |(start, next)| start.until(next))
    }

    /// Appends one element to a list.
    pub(crate) fn push<T: Copy>(
        &mut self,
        arena: &'a Arena,
        list: &mut &'a [T],
        value: T,
    ) -> Result<(), ArenaFull> {
        let room = self.room(arena, list, 1)?;
        // SAFETY: room for one element; no foreign code runs up to the commit, as `T` is `Copy`.
        unsafe { room.write(value) };
        // SAFETY: that one element is initialised.
        unsafe { self.commit(list, room, 1) };
        Ok(())
    }

    /// Makes room for `more` elements behind a list, moving it when need be; returns where they go. To be followed by
    /// [`commit`](Self::commit) on the same list.
    #[cold]
    #[inline(never)]
    pub(crate) fn room<T: Copy>(
        &mut self,
        arena: &'a Arena,
        list: &mut &'a [T],
        more: usize,
    ) -> Result<NonNull<T>, ArenaFull> {
        let len = list.len();
        let total = len.checked_add(more).ok_or(ArenaFull)?;
        let spare = self.find(list);
        if let Some(state) = spare.map(|spare| spare.state.get())
            && total <= state.capacity
        {
            // SAFETY: `len < capacity`.
            return Ok(unsafe { state.start.cast::<T>().add(len) });
        }
        // The first two pieces are as large as they are, from the third on lists double. The second is that of a list
        // taken over, too, of a message that comes again and perhaps again, each time with a list of its own.
        let capacity = if spare.is_none() { total } else { total.max(2 * len) };
        let (start, capacity) = take_list::<T>(arena, capacity)
            .map(|start| (start, capacity))
            .or_else(|_| take_list::<T>(arena, total).map(|start| (start, total)))?;
        // SAFETY: fresh memory for at least `len` elements.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(*list).cast::<T>(), len) };
        // SAFETY: `len` elements are initialised; what is behind them is not referred to.
        *list = unsafe { core::slice::from_raw_parts(start.as_ptr(), len) };
        let state = SpareState { start: start.cast(), len, capacity, element: size_of::<T>() };
        match spare {
            Some(spare) => spare.state.set(state),
            None => {
                let place = arena.take(Layout::new::<Spare<'a>>())?.cast::<Spare<'a>>();
                // SAFETY: fresh memory for one entry, written before it is referred to; it has nothing to drop.
                self.lists = Some(unsafe {
                    place.write(Spare { state: core::cell::Cell::new(state), next: self.lists });
                    &*place.as_ptr()
                });
            }
        }
        // SAFETY: `len < capacity`.
        Ok(unsafe { start.add(len) })
    }

    /// Makes `more` elements at `room` part of the list.
    ///
    /// # Safety
    /// `room` must be what [`room`](Self::room) has just returned for this list and at least as many elements, all of
    /// which are initialised now. Foreign code may have run meanwhile that had neither this frame nor the list.
    pub(crate) unsafe fn commit<T: Copy>(
        &mut self,
        list: &mut &'a [T],
        room: NonNull<T>,
        more: usize,
    ) {
        let len = list.len();
        if let Some(spare) = self.find(list) {
            spare.state.set(SpareState { len: len + more, ..spare.state.get() });
        }
        // SAFETY: `room` lies `len` elements behind the start of the list's memory, of which `len + more` are
        // initialised; nothing writes to them again, as the entry now begins behind them.
        *list = unsafe { core::slice::from_raw_parts(room.as_ptr().sub(len), len + more) };
    }

    /// The entry of a list. One that has been copied and grown elsewhere has none: its length differs.
    fn find<T>(&self, list: &[T]) -> Option<&'a Spare<'a>> {
        let mut entry = self.lists;
        while let Some(spare) = entry {
            let state = spare.state.get();
            if state.start.as_ptr().cast_const() == list.as_ptr().cast()
                && state.len == list.len()
                && state.element == size_of::<T>()
            {
                return Some(spare);
            }
            entry = spare.next;
        }
        None
    }
}

fn take_list<T>(arena: &Arena, len: usize) -> Result<NonNull<T>, ArenaFull> {
    let layout = Layout::array::<T>(len).map_err(|_| ArenaFull)?;
    arena.take(layout).map(NonNull::cast)
}
