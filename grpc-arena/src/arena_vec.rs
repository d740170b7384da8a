//! A list that grows in an arena.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::{Arena, ArenaFull};

/// A list that grows in an arena and becomes a plain slice.
///
/// While nothing else is allocated it grows in place; else it doubles, and what it leaves behind is at most as large as
/// what it holds. For building the lists of a message that is to be sent.
///
/// ```
/// use grpc_arena::{Arena, ArenaVec};
/// let arena = Arena::new();
/// let mut squares = ArenaVec::new_in(&arena);
/// for n in 0..4u32 {
///     squares.push(n * n);
/// }
/// assert_eq!(squares.into_slice(), [0, 1, 4, 9]);
/// ```
pub struct ArenaVec<'a, T> {
    arena: &'a Arena,
    /// Memory of the arena for `capacity` elements, of which the first `len` are initialised; nothing else refers to it.
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    owns: PhantomData<&'a mut [T]>,
}

impl<'a, T: Copy> ArenaVec<'a, T> {
    /// An empty list; takes no memory yet.
    pub const fn new_in(arena: &'a Arena) -> Self {
        Self { arena, start: NonNull::dangling(), len: 0, capacity: 0, owns: PhantomData }
    }

    /// A list of elements that the arena holds already, and which may grow behind them.
    ///
    /// # Safety
    /// `start` must be memory of the arena, as it was handed out and not reborrowed as a slice, since growing in place
    /// writes behind it; it begins with `len` initialised elements that nothing else refers to.
    pub(crate) const unsafe fn from_raw(start: NonNull<T>, len: usize, arena: &'a Arena) -> Self {
        Self { arena, start, len, capacity: len, owns: PhantomData }
    }

    /// An empty list with room for `capacity` elements.
    ///
    /// # Panics
    /// When the arena's budget is spent.
    pub fn with_capacity_in(capacity: usize, arena: &'a Arena) -> Self {
        let mut list = Self::new_in(arena);
        list.try_reserve_exact(capacity).expect("the arena's budget is spent");
        list
    }

    /// Appends an element.
    ///
    /// # Panics
    /// When the arena's budget is spent; [`try_push`](Self::try_push) says so instead.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.try_push(value).expect("the arena's budget is spent");
    }

    /// Appends an element.
    ///
    /// # Errors
    /// When the arena's budget is spent; the list is then unchanged.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), ArenaFull> {
        if self.len == self.capacity {
            self.grow(1)?;
        }
        // SAFETY: `len < capacity`, and the memory is this list's alone.
        unsafe { self.start.add(self.len).write(value) };
        self.len += 1;
        Ok(())
    }

    /// Makes room for exactly `more` elements beyond the present ones.
    ///
    /// # Errors
    /// When the arena's budget is spent; the list is then unchanged.
    pub fn try_reserve_exact(&mut self, more: usize) -> Result<(), ArenaFull> {
        if more <= self.capacity - self.len {
            return Ok(());
        }
        let capacity = self.len.checked_add(more).ok_or(ArenaFull)?;
        let layout = Layout::array::<T>(capacity).map_err(|_| ArenaFull)?;
        let held = self.capacity * size_of::<T>();
        if self.capacity > 0 && self.arena.extend_in_place(self.start.cast(), held, layout.size()) {
            self.capacity = capacity;
            return Ok(());
        }
        let start = self.arena.take(layout)?.cast::<T>();
        // SAFETY: fresh memory for `capacity >= len` elements, of which `len` are initialised at the old place.
        unsafe { start.copy_from_nonoverlapping(self.start, self.len) };
        self.start = start;
        self.capacity = capacity;
        Ok(())
    }

    /// Makes room for `more` elements and, beyond them, for as many as there are.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), ArenaFull> {
        // Four elements to begin with, as most lists are short; when that is too much, what is needed must do.
        let ample = self.len.max(more).max(4);
        self.try_reserve_exact(ample).or_else(|_| self.try_reserve_exact(more))
    }

    /// The list as a slice that lives as long as the arena is borrowed; gives back what it has not used when it can.
    pub fn into_slice(self) -> &'a mut [T] {
        let (held, used) = (self.capacity * size_of::<T>(), self.len * size_of::<T>());
        self.arena.give_back_tail(self.start.cast(), held, used);
        // SAFETY: `len` initialised elements that nothing else refers to, valid for `'a`; or a dangling start and no
        // element. What was given back lies behind them.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Deref for ArenaVec<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements are initialised.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for ArenaVec<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `len` elements are initialised, and `&mut self` is the only way to them.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Extend<T> for ArenaVec<'_, T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl<T: fmt::Debug> fmt::Debug for ArenaVec<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn alone_it_grows_in_place_and_leaves_nothing_behind() {
        let arena = Arena::with_capacity(1 << 16);
        let mut list = ArenaVec::new_in(&arena);
        list.extend(0..1000u32);
        let list = list.into_slice();
        assert_eq!(list, (0..1000).collect::<Vec<_>>());
        assert_eq!(arena.used_bytes(), 4000);
    }

    #[test]
    fn two_that_grow_in_turns_keep_their_elements() {
        let arena = Arena::new();
        let (mut even, mut odd) = (ArenaVec::new_in(&arena), ArenaVec::new_in(&arena));
        for n in 0..500u16 {
            even.push(2 * n);
            odd.push(2 * n + 1);
        }
        assert!(even.iter().copied().eq((0..500).map(|n| 2 * n)));
        assert!(odd.into_slice().iter().copied().eq((0..500).map(|n| 2 * n + 1)));
        assert!(arena.used_bytes() < 2 * 2 * 2 * 1000);
    }

    #[test]
    fn a_spent_budget_leaves_it_unchanged() {
        let arena = Arena::with_budget(40);
        let mut list = ArenaVec::new_in(&arena);
        let pushed = (0..20u64).take_while(|&n| list.try_push(n).is_ok()).count();
        assert_eq!(pushed, 5);
        assert_eq!(*list, [0, 1, 2, 3, 4]);
    }
}
