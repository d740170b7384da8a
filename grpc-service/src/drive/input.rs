//! A connection's receive buffer, which sizes itself by what the reads bring.

/// Where a receive buffer begins, and what it may grow to.
///
/// One whose reads fill it gets up to the large size, because every message that a read cuts costs a copy. A read that
/// is under way keeps its buffer, so that of an idle connection is interrupted, and begins again with a small one.
const READ_MIN: usize = 2 << 10;
const READ_MAX: usize = 64 << 10;
/// Reads in a row that leave three quarters of the buffer empty before it shrinks.
const SMALL_READS: u32 = 64;

/// What was read and is not consumed; its memory is away while a read is in flight.
pub(super) struct Input {
    bytes: Vec<u8>,
    /// How much of it was consumed.
    taken: usize,
    small_reads: u32,
    /// Capacity of the buffer that is away.
    lent: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(READ_MIN), taken: 0, small_reads: 0, lent: 0 }
    }

    /// What is not consumed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// What is not consumed, for an endpoint that may overwrite it.
    pub(super) fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    /// Notes that all but `left` bytes are consumed.
    pub(super) fn keep(&mut self, left: usize) {
        self.taken = self.bytes.len() - left;
    }

    /// Moves the buffer out, empty and of a size that suits the last reads, once all is consumed.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        debug_assert!(self.rest().is_empty(), "input must be consumed before more is read");
        let mut bytes = std::mem::take(&mut self.bytes);
        let (len, capacity) = (bytes.len(), bytes.capacity());
        self.small_reads = if len * 4 > capacity { 0 } else { self.small_reads + 1 };
        self.taken = 0;
        bytes.clear();
        if len == capacity && capacity < READ_MAX {
            bytes = Vec::with_capacity((capacity * 4).min(READ_MAX));
        } else if self.small_reads >= SMALL_READS && capacity > READ_MIN {
            bytes = Vec::with_capacity((capacity / 4).max(READ_MIN));
            self.small_reads = 0;
        }
        self.lent = bytes.capacity();
        bytes
    }

    /// Whether the buffer that is away is larger than an idle connection needs.
    pub(super) fn has_lent_much(&self) -> bool {
        self.lent > READ_MIN
    }

    /// Takes the buffer of a read back that was interrupted and brought nothing: the next one is small.
    pub(super) fn begin_small(&mut self) {
        *self = Self::new();
    }

    /// Takes the buffer back with what was read.
    pub(super) fn give_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        (self.taken, self.lent) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &mut Input, bytes: impl Fn(usize) -> usize) -> usize {
        let mut buffer = input.lend();
        let capacity = buffer.capacity();
        buffer.resize(bytes(capacity), 7);
        input.give_back(buffer);
        input.keep(0);
        capacity
    }

    #[test]
    fn a_buffer_grows_while_reads_fill_it_and_shrinks_after_many_small_ones() {
        let mut input = Input::new();
        let grown: Vec<usize> = (0..5).map(|_| read(&mut input, |room| room)).collect();
        assert_eq!(grown, [2 << 10, 8 << 10, 32 << 10, 64 << 10, 64 << 10]);
        let small: Vec<usize> = (0..300).map(|_| read(&mut input, |_| 1)).collect();
        // Full reads have to be forgotten first, then 64 small ones come for each step.
        assert_eq!(small.iter().filter(|&&room| room == 64 << 10).count(), 64);
        assert_eq!(small.last(), Some(&(2 << 10)));
    }

    #[test]
    fn what_is_not_consumed_stays() {
        let mut input = Input::new();
        let mut buffer = input.lend();
        buffer.extend_from_slice(b"abcdef");
        input.give_back(buffer);
        assert_eq!(input.rest(), b"abcdef");
        input.keep(2);
        assert_eq!(input.rest(), b"ef");
        input.keep(0);
        assert_eq!(input.lend().len(), 0);
    }
}
