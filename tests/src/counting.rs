//! An allocator that counts, for each thread, the bytes that live, the most that ever did, and how often some were taken.
//!
//! The tests of other crates take this file in by its path: a dependency would go round in a circle.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with counters.
///
/// ```ignore
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
/// ```
pub struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

fn note(bytes: isize, taken: u64) {
    // A thread that is being torn down has nothing left to measure.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
        let _ = TAKEN.try_with(|count| count.set(count.get() + taken));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator; the counters are plain cells.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's contract is that of the system's allocator.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's contract is that of the system's allocator.
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(-(layout.size() as isize), 0);
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.dealloc(place, layout) }
    }

    // SAFETY: the caller's contract is that of the system's allocator.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize, 1);
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes that live on this thread's account.
pub fn live() -> isize {
    LIVE.get()
}

/// Forgets the peak.
pub fn reset_peak() {
    PEAK.set(LIVE.get());
}

/// The most bytes that lived since the last reset.
pub fn peak() -> isize {
    PEAK.get()
}

/// How often this thread has taken memory.
pub fn taken() -> u64 {
    TAKEN.get()
}
