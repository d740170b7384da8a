//! Output that waits for the transport, owned by the caller.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

/// Bytes to be written, in order: small frames side by side in one buffer, large payloads by handle.
///
/// ```text
///   head:     [SETTINGS][HEADERS][DATA hdr + small payload][DATA hdr]          [HEADERS]
///   segments:  ---------------- Head(0..n) -------------------------  Payload   Head(n..m)
/// ```
///
/// The caller owns it: it moves whole into a completion-based write, comes back and is filled again
/// with its memory kept. Buffers that a connection lent go back to it when it fills the same one again. Only the caller tracks partial writes, through [`Transmit::advance`].
#[derive(Debug, Default)]
pub struct Transmit {
    head: Vec<u8>,
    segments: Vec<Segment>,
    /// End of the part of `head` that `segments` already name.
    named: usize,
    /// Bytes of all segments, and how many of them are written.
    len: usize,
    sent: usize,
    /// Lent buffers that are written.
    spent: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Segment {
    Head(Range<usize>),
    Payload(Bytes),
    /// A buffer of the connection's, from some place on.
    Lent(Vec<u8>, usize),
}

/// Payloads from this size travel by handle; below it a copy costs less than another I/O vector.
pub(crate) const BY_HANDLE: usize = 4096;

impl Transmit {
    /// An empty one; allocates nothing.
    pub const fn new() -> Self {
        Transmit {
            head: Vec::new(),
            segments: Vec::new(),
            named: 0,
            len: 0,
            sent: 0,
            spent: Vec::new(),
        }
    }

    /// Bytes that are still to be written.
    pub fn len(&self) -> usize {
        self.len + (self.head.len() - self.named) - self.sent
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unwritten bytes as slices, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.sent;
        let named = self.segments.iter().map(|segment| match segment {
            Segment::Head(range) => &self.head[range.clone()],
            Segment::Payload(bytes) => &bytes[..],
            Segment::Lent(buffer, start) => &buffer[*start..],
        });
        named.chain(core::iter::once(&self.head[self.named..])).filter_map(move |slice| {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            let rest = &slice[skipped..];
            (!rest.is_empty()).then_some(rest)
        })
    }

    /// Notes that `bytes` were written; once all are, the memory is ready for reuse.
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.len(), "more written than there was");
        self.sent += bytes;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops whatever was not written and keeps the memory.
    pub fn clear(&mut self) {
        self.head.clear();
        for segment in self.segments.drain(..) {
            if let Segment::Lent(buffer, _) = segment {
                self.spent.push(buffer);
            }
        }
        (self.named, self.len, self.sent) = (0, 0, 0);
    }

    /// Gives memory above `bytes` back.
    pub fn shrink(&mut self, bytes: usize) {
        self.head.shrink_to(bytes);
        self.segments.shrink_to(bytes / size_of::<Segment>());
        self.spent = Vec::new();
    }

    /// Heap bytes held, payload handles not counted.
    pub fn heap_bytes(&self) -> usize {
        let lent = |segment: &Segment| match segment {
            Segment::Lent(buffer, _) => buffer.capacity(),
            Segment::Head(_) | Segment::Payload(_) => 0,
        };
        self.head.capacity()
            + self.segments.capacity() * size_of::<Segment>()
            + self.segments.iter().map(lent).sum::<usize>()
            + self.spent.capacity() * size_of::<Vec<u8>>()
            + self.spent.iter().map(Vec::capacity).sum::<usize>()
    }

    /// Lets `write` append bytes behind everything else, for a layer between the connection and the transport.
    ///
    /// # Panics
    /// If `write` shortens the buffer.
    pub fn append_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.head.len();
        let result = write(&mut self.head);
        assert!(self.head.len() >= before, "bytes that are queued were removed");
        result
    }

    /// Where frames are written.
    #[inline]
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Appends a payload without copying it, after all that `head` holds by now.
    pub(crate) fn push_payload(&mut self, payload: Bytes) {
        self.name_head();
        self.len += payload.len();
        self.segments.push(Segment::Payload(payload));
    }

    /// Appends a buffer from `start` on without copying it; it comes back from
    /// [`take_spent`](Self::take_spent) when it is written.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>, start: usize) {
        self.name_head();
        self.len += buffer.len() - start;
        self.segments.push(Segment::Lent(buffer, start));
    }

    /// Lent buffers that are written.
    #[inline]
    pub(crate) fn take_spent(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.spent.drain(..)
    }

    /// Makes a segment of what `head` holds beyond the last one.
    fn name_head(&mut self) {
        if self.named < self.head.len() {
            self.segments.push(Segment::Head(self.named..self.head.len()));
            self.len += self.head.len() - self.named;
            self.named = self.head.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_their_order_over_any_partial_write() {
        let build = || {
            let mut out = Transmit::new();
            out.head().extend(b"ab");
            out.push_payload(Bytes::from_static(b"cde"));
            out.lend(b"-f".to_vec(), 1);
            out.head().extend(b"gh");
            out
        };
        for cut in 0..=8 {
            let mut out = build();
            let whole: Vec<u8> = out.chunks().flatten().copied().collect();
            assert_eq!(whole, b"abcdefgh");
            out.advance(cut);
            let rest: Vec<u8> = out.chunks().flatten().copied().collect();
            assert_eq!(rest, &b"abcdefgh"[cut..]);
            assert_eq!(out.len(), 8 - cut);
        }
    }

    #[test]
    fn a_lent_buffer_comes_back_when_all_is_written_and_not_before() {
        let mut out = Transmit::new();
        out.lend(b"abc".to_vec(), 0);
        out.head().extend(b"d");
        out.advance(3);
        assert_eq!(out.take_spent().count(), 0);
        out.advance(1);
        assert_eq!(out.take_spent().collect::<Vec<_>>(), [b"abc"]);
    }

    #[test]
    fn every_part_of_its_memory_is_told_and_given_back() {
        let mut out = Transmit::new();
        for _ in 0..50 {
            out.head().push(b'x');
            out.lend(alloc::vec![0; 100], 0);
        }
        let segments = out.segments.capacity() * size_of::<Segment>();
        let held = out.head.capacity() + segments + 50 * 100;
        assert_eq!(out.heap_bytes(), held);
        out.advance(out.len());
        let spent = out.spent.capacity() * size_of::<Vec<u8>>() + 50 * 100;
        assert!(out.spent.capacity() >= 50);
        assert_eq!(out.heap_bytes(), out.head.capacity() + segments + spent);
        out.shrink(10 * size_of::<Segment>());
        assert_eq!(out.segments.capacity(), 10);
        out.shrink(0);
        assert_eq!(out.heap_bytes(), 0);
    }
}
