//! An allocator that counts what each thread holds of the heap, and how often it takes from it.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(more: usize, less: usize) {
    HELD.set((HELD.get() + more).saturating_sub(less));
    PEAK.set(PEAK.get().max(HELD.get()));
    TAKEN.set(TAKEN.get() + u64::from(more > 0));
}

// SAFETY: everything is the system allocator's; the counters are plain cells without destructors.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's contract is that of the system allocator.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's contract is that of the system allocator.
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.dealloc(place, layout) }
    }

    // SAFETY: the caller's contract is that of the system allocator.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: passed on unchanged, under the contract of our own caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes that this thread holds.
pub fn held() -> usize {
    HELD.get()
}

/// Forgets the peak; returns what is held.
pub fn reset_peak() -> usize {
    PEAK.set(HELD.get());
    HELD.get()
}

/// The most that was held since the last reset.
pub fn peak() -> usize {
    PEAK.get()
}

/// How often memory was taken.
pub fn taken() -> u64 {
    TAKEN.get()
}
