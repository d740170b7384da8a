//! The heap that the arena's tests have: the system's, or chunks that lie against each other.

use core::alloc::Layout;
use std::cell::Cell;
use std::vec::Vec;

std::thread_local! {
    /// Where the next chunk comes from, if they are to lie against each other.
    static SLAB: Cell<Option<Slab>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Slab {
    start: *mut u8,
    len: usize,
    used: usize,
    /// Whether each chunk lies behind the one before, or in front of it.
    upwards: bool,
}

/// Runs `body` with chunks of this thread lying against each other, one behind another or one in front of another.
pub(crate) fn with_adjacent_chunks(upwards: bool, body: impl FnOnce()) {
    // As aligned as chunks are.
    let mut memory = std::vec![0u128; 1 << 16];
    let start = memory.as_mut_ptr().cast();
    let len = memory.len() * size_of::<u128>();
    SLAB.set(Some(Slab { start, len, used: 0, upwards }));
    body();
    SLAB.set(None);
}

/// Memory of this layout.
///
/// # Safety
/// As for [`std::alloc::alloc`].
pub(crate) unsafe fn alloc(layout: Layout) -> *mut u8 {
    if let Some(slab) = SLAB.get() {
        let size = layout.size().next_multiple_of(16);
        if slab.used + size <= slab.len {
            let used = slab.used + size;
            SLAB.set(Some(Slab { used, ..slab }));
            // The end of what is a multiple of 16 touches what follows.
            let at = if slab.upwards { slab.used } else { slab.len - used };
            return slab.start.wrapping_add(at);
        }
    }
    // SAFETY: the caller's word.
    unsafe { std::alloc::alloc(layout) }
}

/// Takes memory back.
///
/// # Safety
/// As for [`std::alloc::dealloc`].
pub(crate) unsafe fn dealloc(place: *mut u8, layout: Layout) {
    let of_slab =
        |slab: Slab| (slab.start.addr()..slab.start.addr() + slab.len).contains(&place.addr());
    if !SLAB.get().is_some_and(of_slab) {
        // SAFETY: the caller's word; it came from `alloc` above, and from no slab.
        unsafe { std::alloc::dealloc(place, layout) };
    }
}

#[test]
fn chunks_lie_against_each_other_when_they_are_to() {
    for upwards in [false, true] {
        with_adjacent_chunks(upwards, || {
            let layout = Layout::from_size_align(1024, 16).unwrap();
            // SAFETY: the layout has a size.
            let places: Vec<_> = (0..3).map(|_| unsafe { alloc(layout) }.addr()).collect();
            assert!(places.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1024));
            assert_eq!(places.is_sorted(), upwards);
        });
    }
}
