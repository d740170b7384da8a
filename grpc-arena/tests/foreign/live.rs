//! Every slice that was handed out: aligned, apart from all others, and as it was written.

use std::collections::BTreeMap;

/// A slice and what it held when it was handed out.
struct Slice {
    end: usize,
    what: &'static str,
    is_intact: Box<dyn Fn() -> bool>,
}

/// The slices that are in use.
#[derive(Default)]
pub(crate) struct Live(BTreeMap<usize, Slice>);

impl Live {
    /// Adds a slice; one that is there already, by the same address and length, is the same memory by right.
    pub(crate) fn add<T: Copy + PartialEq + 'static>(
        &mut self,
        what: &'static str,
        slice: &'static [T],
    ) {
        let start = slice.as_ptr().addr();
        let end = start + size_of_val(slice);
        assert_eq!(start % align_of::<T>(), 0, "{what} is not aligned");
        if start == end || self.0.get(&start).is_some_and(|old| old.end == end && old.what == what)
        {
            return;
        }
        self.assert_apart(what, start, end);
        let copy = slice.to_vec();
        let is_intact = Box::new(move || slice == copy);
        self.0.insert(start, Slice { end, what, is_intact });
    }

    /// Asserts that nothing that is in use lies in `start..end`.
    pub(crate) fn assert_apart(&self, what: &'static str, start: usize, end: usize) {
        if let Some((other, slice)) = self.0.range(..end).next_back() {
            assert!(
                slice.end <= start,
                "{what} {start:#x}..{end:#x} lies over {} {other:#x}..{:#x}",
                slice.what,
                slice.end,
            );
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Asserts that all slices hold what they held.
    pub(crate) fn check(&self) {
        for (start, slice) in &self.0 {
            assert!((slice.is_intact)(), "{} at {start:#x} has changed", slice.what);
        }
    }
}
