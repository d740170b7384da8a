//! Payload that waits to become DATA frames of one stream.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::transmit::{BY_HANDLE, Transmit};

/// Bytes in order: our own buffers, which small messages share, and handles of the application's.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Bytes of the front chunk that are sent.
    front_sent: usize,
    len: usize,
    /// Whether foreign code has removed queued bytes; see [`BadWrite::Lost`].
    lost: bool,
}

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadWrite {
    /// Another number of bytes was written than was announced; the queue is as it was.
    Length,
    /// Bytes of earlier messages were removed: the queue is empty, and its stream cannot go on.
    Lost,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Bytes),
    /// A message of the application's behind its prefix.
    Framed([u8; PREFIX], Bytes),
    /// A buffer of ours that leaves in parts by handle, and is freed with the last of them.
    Parted(Bytes),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Own(bytes) => bytes.len(),
            Chunk::Shared(bytes) | Chunk::Parted(bytes) => bytes.len(),
            Chunk::Framed(prefix, bytes) => prefix.len() + bytes.len(),
        }
    }
}

/// Bytes before a message.
const PREFIX: usize = 5;
/// Messages below this are copied to the one before: a handle of its own would cost as much memory.
const WORTH_A_HANDLE: usize = 256;

impl Chunk {
    /// Makes a buffer of ours one whose parts need no copy, where the pool could not keep it afterwards: a smaller
    /// buffer is worth more to the pool than the copy costs.
    fn part_by_handle(&mut self, part: usize, pool: &BufferPool) {
        if let Chunk::Own(buffer) = self
            && part >= BY_HANDLE
            && buffer.capacity() > pool.limit
        {
            *self = Chunk::Parted(Bytes::from(core::mem::take(buffer)));
        }
    }

    /// Appends a part of the chunk to `out`.
    fn put(&self, range: Range<usize>, out: &mut Transmit) {
        match self {
            Chunk::Own(bytes) => out.head().extend_from_slice(&bytes[range]),
            Chunk::Shared(bytes) | Chunk::Parted(bytes) => put_payload(bytes.slice(range), out),
            Chunk::Framed(prefix, bytes) => {
                let (start, end) = (range.start.min(PREFIX), range.end.min(PREFIX));
                out.head().extend_from_slice(&prefix[start..end]);
                let range = range.start.max(PREFIX) - PREFIX..range.end.max(PREFIX) - PREFIX;
                put_payload(bytes.slice(range), out);
            }
        }
    }

    /// Moves what follows the first `start` bytes to `out`.
    fn put_rest(self, start: usize, out: &mut Transmit) {
        match self {
            Chunk::Shared(bytes) if start == 0 => put_payload(bytes, out),
            Chunk::Framed(prefix, bytes) if start == 0 => {
                out.head().extend_from_slice(&prefix);
                put_payload(bytes, out);
            }
            chunk => chunk.put(start..chunk.len(), out),
        }
    }
}

/// Appends a payload by handle where that is worth it.
#[inline]
fn put_payload(payload: Bytes, out: &mut Transmit) {
    if payload.len() >= BY_HANDLE {
        out.push_payload(payload);
    } else {
        out.head().extend_from_slice(&payload);
    }
}

/// Own chunks take further messages up to this size; the next message then starts another one.
const SHARE: usize = 32 << 10;

impl SendQueue {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are queued, and those that have left and whose memory stays until the rest of their chunk has.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.len + self.front_sent
    }

    /// Whether the stream cannot go on because queued bytes are gone.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Lets `write` append `len` bytes to a buffer, from `pool` if none is open.
    ///
    /// `write` is foreign code. Where it panics, or appends another number of bytes, what it has appended is removed.
    ///
    /// # Errors
    /// [`BadWrite`].
    pub(crate) fn append(
        &mut self,
        len: usize,
        pool: &mut BufferPool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), BadWrite> {
        let shares = match self.chunks.back() {
            Some(Chunk::Own(buffer)) => buffer.len() + len <= SHARE,
            _ => false,
        };
        if !shares {
            self.chunks.push_back(Chunk::Own(pool.take(len)));
        }
        let mut undo = Undo { before: 0, queue: self };
        let Some(buffer) = undo.buffer() else { return Err(BadWrite::Lost) };
        let before = buffer.len();
        if before + len > SHARE {
            // Nothing else will share it: doubling would only make it too large to be lent to a message that is received.
            buffer.reserve_exact(len);
        } else {
            buffer.reserve(len);
        }
        undo.before = before;
        let Some(buffer) = undo.buffer() else { return Err(BadWrite::Lost) };
        write(buffer);
        if buffer.len() != before + len {
            drop(undo);
            return Err(if self.lost { BadWrite::Lost } else { BadWrite::Length });
        }
        core::mem::forget(undo);
        self.len += len;
        Ok(())
    }

    /// Appends a payload by handle.
    pub(crate) fn append_shared(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.len += payload.len();
            self.chunks.push_back(Chunk::Shared(payload));
        }
    }

    /// Appends a message by handle behind its prefix, or copies it where that is cheaper.
    pub(crate) fn append_framed(
        &mut self,
        prefix: [u8; PREFIX],
        payload: Bytes,
        pool: &mut BufferPool,
    ) {
        if payload.len() < WORTH_A_HANDLE && !self.chunks.is_empty() {
            let appended = self.append(PREFIX + payload.len(), pool, |out| {
                out.extend_from_slice(&prefix);
                out.extend_from_slice(&payload);
            });
            return debug_assert_eq!(appended, Ok(()), "as many bytes as were announced");
        }
        self.len += PREFIX + payload.len();
        self.chunks.push_back(Chunk::Framed(prefix, payload));
    }

    /// Moves `len` bytes to `out`, which holds the frame header already.
    pub(crate) fn pull(&mut self, mut len: usize, out: &mut Transmit, pool: &mut BufferPool) {
        debug_assert!(len <= self.len);
        self.len -= len;
        while len > 0 {
            let Some(chunk) = self.chunks.front_mut() else { return };
            let available = chunk.len() - self.front_sent;
            let part = len.min(available);
            len -= part;
            let start = core::mem::take(&mut self.front_sent);
            if part < available {
                chunk.part_by_handle(part, pool);
                chunk.put(start..start + part, out);
                self.front_sent = start + part;
                return;
            }
            match self.chunks.pop_front() {
                Some(Chunk::Own(buffer)) if part >= BY_HANDLE => out.lend(buffer, start),
                Some(Chunk::Own(buffer)) => {
                    out.head().extend_from_slice(&buffer[start..]);
                    pool.give(buffer);
                }
                Some(chunk) => chunk.put_rest(start, out),
                None => return,
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        while let Some(chunk) = self.chunks.pop_front() {
            if let Chunk::Own(buffer) = chunk {
                pool.give(buffer);
            }
        }
        (self.front_sent, self.len, self.lost) = (0, 0, false);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let own = |chunk: &Chunk| match chunk {
            Chunk::Own(buffer) => buffer.capacity(),
            Chunk::Parted(bytes) => bytes.len(),
            Chunk::Shared(_) | Chunk::Framed(..) => 0,
        };
        self.chunks.capacity() * size_of::<Chunk>() + self.chunks.iter().map(own).sum::<usize>()
    }
}

/// Removes what was appended to the last buffer when foreign code does not come to a good end.
struct Undo<'q> {
    queue: &'q mut SendQueue,
    /// The length of the buffer before.
    before: usize,
}

impl Undo<'_> {
    #[inline]
    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match self.queue.chunks.back_mut() {
            Some(Chunk::Own(buffer)) => Some(buffer),
            _ => None,
        }
    }
}

impl Drop for Undo<'_> {
    #[cold]
    fn drop(&mut self) {
        let before = self.before;
        match self.buffer() {
            Some(buffer) if before > 0 && buffer.len() >= before => buffer.truncate(before),
            Some(_) if before == 0 => drop(self.queue.chunks.pop_back()),
            _ => {
                self.queue.chunks.clear();
                (self.queue.front_sent, self.queue.len, self.queue.lost) = (0, 0, true);
            }
        }
    }
}

/// Buffers kept for reuse, bounded in bytes.
#[derive(Debug)]
pub(crate) struct BufferPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    held: usize,
    limit: usize,
}

/// Buffers above this are kept apart, so that small messages do not sit in large buffers.
const SMALL: usize = 64 << 10;

/// Large buffers that are looked at for one that is not too large.
const LOOKED_AT: usize = 16;

impl BufferPool {
    pub(crate) const fn new(limit: usize) -> Self {
        BufferPool { small: Vec::new(), large: Vec::new(), held: 0, limit }
    }

    /// An empty buffer for `len` bytes, with memory if there was one of that class.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let class = if len <= SMALL { &mut self.small } else { &mut self.large };
        match class.pop() {
            Some(buffer) => {
                self.held -= buffer.capacity();
                buffer
            }
            None => Vec::new(),
        }
    }

    /// As [`take`](BufferPool::take), but with no more memory than `most`, or that of a small buffer.
    pub(crate) fn take_within(&mut self, len: usize, most: usize) -> Vec<u8> {
        if len > SMALL {
            let last = self.large.len().saturating_sub(LOOKED_AT);
            let fits = |buffer: &Vec<u8>| buffer.capacity() <= most;
            if let Some(at) = self.large[last..].iter().rposition(fits) {
                let buffer = self.large.swap_remove(last + at);
                self.held -= buffer.capacity();
                return buffer;
            }
        }
        self.take(len.min(SMALL))
    }

    /// Keeps a buffer for later, or frees it where that would exceed the limit.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.held + buffer.capacity() <= self.limit {
            buffer.clear();
            self.held += buffer.capacity();
            let class = if buffer.capacity() <= SMALL { &mut self.small } else { &mut self.large };
            class.push(buffer);
        }
    }

    /// Frees everything.
    pub(crate) fn shrink(&mut self) {
        self.small = Vec::new();
        self.large = Vec::new();
        self.held = 0;
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.held + (self.small.capacity() + self.large.capacity()) * size_of::<Vec<u8>>()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    use alloc::vec;
    use proptest::prelude::*;

    /// All bytes of `out`, and how many of its slices there are.
    fn written(out: &Transmit) -> (Vec<u8>, usize) {
        (out.chunks().flatten().copied().collect(), out.chunks().count())
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Own(usize),
        /// Foreign code announces so many bytes, writes so many others, and panics or not.
        Bad(usize, usize, bool),
        Shared(usize),
        Framed(usize),
        Pull(usize),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = || prop_oneof![0usize..10, 250usize..260, 4090usize..4100, 9000usize..40_000];
        proptest::collection::vec(
            prop_oneof![
                4 => len().prop_map(Step::Own),
                3 => (len(), len(), any::<bool>()).prop_map(|(len, other, panics)| Step::Bad(len, other, panics)),
                2 => len().prop_map(Step::Shared),
                4 => len().prop_map(Step::Framed),
                6 => (0usize..1000).prop_map(Step::Pull),
                1 => Just(Step::Clear),
            ],
            1..30,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_pulled_is_what_was_appended_in_order(steps in steps()) {
            let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(1 << 20));
            let (mut model, mut next) = (Vec::new(), 0u8);
            for step in steps {
                let mut bytes = |len: usize| -> Vec<u8> {
                    (0..len).map(|_| { next = next.wrapping_add(1); next }).collect()
                };
                match step {
                    Step::Own(len) => {
                        let bytes = bytes(len);
                        queue.append(len, &mut pool, |out| out.extend_from_slice(&bytes)).unwrap();
                        model.extend(bytes);
                    }
                    Step::Bad(len, other, panics) => {
                        let bad = || {
                            queue.append(len, &mut pool, |out| {
                                out.resize(out.len() + other, 99);
                                if panics || other == len {
                                    std::panic::resume_unwind(std::boxed::Box::new(()));
                                }
                            })
                        };
                        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(bad)) {
                            Ok(appended) => prop_assert_eq!(appended, Err(BadWrite::Length)),
                            Err(_) => prop_assert!(panics || other == len),
                        }
                    }
                    Step::Shared(len) => {
                        let bytes = bytes(len);
                        queue.append_shared(bytes.clone().into());
                        model.extend(bytes);
                    }
                    Step::Framed(len) => {
                        let prefix: [u8; PREFIX] = bytes(PREFIX).try_into().unwrap();
                        let bytes = bytes(len);
                        queue.append_framed(prefix, bytes.clone().into(), &mut pool);
                        model.extend(prefix);
                        model.extend(bytes);
                    }
                    Step::Pull(thousandths) => {
                        let len = model.len() * thousandths / 999;
                        let len = len.min(model.len());
                        let mut out = Transmit::new();
                        queue.pull(len, &mut out, &mut pool);
                        let pulled: Vec<u8> = model.drain(..len).collect();
                        prop_assert_eq!(written(&out).0, pulled);
                    }
                    Step::Clear => {
                        queue.clear(&mut pool);
                        model.clear();
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn own_messages_share_a_buffer_up_to_32_kib() {
        for (first, second, buffers) in [(20_000, 12_768, 1), (20_000, 12_769, 2), (0, 1, 1)] {
            let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(0));
            for len in [first, second] {
                queue.append(len, &mut pool, |out| out.resize(out.len() + len, 7)).unwrap();
            }
            assert_eq!(queue.chunks.len(), buffers, "{first} and {second}");
        }
    }

    #[test]
    fn a_small_message_is_copied_behind_another_and_a_large_one_keeps_its_handle() {
        for (len, chunks) in [(255, 1), (256, 2)] {
            let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(0));
            queue.append(1, &mut pool, |out| out.push(7)).unwrap();
            queue.append_framed([0; PREFIX], vec![7; len].into(), &mut pool);
            assert_eq!(queue.chunks.len(), chunks, "{len}");
        }
        // With nothing before it there is no buffer to share.
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(0));
        queue.append_framed([0; PREFIX], vec![7; 1].into(), &mut pool);
        assert!(matches!(queue.chunks[0], Chunk::Framed(..)));
    }

    #[test]
    fn payload_travels_without_a_copy_from_4096_bytes_on() {
        let slices = |len: usize, kind: u8| {
            let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(1 << 20));
            let bytes = vec![7; len];
            match kind {
                0 => queue.append(len, &mut pool, |out| out.extend_from_slice(&bytes)).unwrap(),
                1 => queue.append_shared(bytes.into()),
                _ => queue.append_framed([7; PREFIX], bytes.into(), &mut pool),
            }
            let mut out = Transmit::new();
            out.head().push(7);
            queue.pull(queue.len(), &mut out, &mut pool);
            let (bytes, slices) = written(&out);
            assert!(bytes.iter().all(|byte| *byte == 7));
            // A buffer that was copied is free at once, one that is lent comes back later.
            let kept = pool.held > 0;
            assert_eq!(kept, kind == 0 && len < BY_HANDLE);
            slices
        };
        for kind in 0..3 {
            assert_eq!((slices(4095, kind), slices(4096, kind)), (1, 2));
        }
    }

    /// Bytes that are copied while a message of `len` bytes leaves in frames, beside a pool that keeps `limit` bytes.
    fn copied(len: usize, limit: usize) -> usize {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(limit));
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        queue.append(len, &mut pool, |out| out.extend_from_slice(&bytes)).unwrap();
        let (mut copied, mut sent) = (0, Vec::new());
        while !queue.is_empty() {
            let mut out = Transmit::new();
            assert!(queue.heap_bytes() >= len);
            queue.pull(queue.len().min(16 << 10), &mut out, &mut pool);
            copied += out.head().len();
            sent.extend(written(&out).0);
        }
        assert_eq!(sent, bytes);
        assert_eq!(pool.held, if len <= limit { len } else { 0 });
        copied
    }

    #[test]
    fn a_message_that_the_pool_cannot_keep_leaves_in_frames_without_a_copy() {
        let len = (1 << 20) + 9;
        assert_eq!(copied(len, len - 1), 9, "only what is too short for a handle");
        assert_eq!(copied(len, 0), 9);
        assert!(copied(100_000, 0) < BY_HANDLE);
    }

    #[test]
    fn a_buffer_that_is_too_large_is_passed_over_for_one_that_is_not() {
        let mut pool = BufferPool::new(1 << 20);
        for capacity in [100_000, 200_000, 300_000, 10] {
            pool.give(Vec::with_capacity(capacity));
        }
        let lent: Vec<_> = [200_000, 150_000, 150_000]
            .map(|most| pool.take_within(90_000, most).capacity())
            .into();
        assert_eq!(lent, [200_000, 100_000, 10], "a small one where none fits");
        assert_eq!(pool.held, 300_000);
        assert_eq!(pool.take_within(10, 0).capacity(), 0, "small ones are for all");
    }

    #[test]
    fn a_message_that_nothing_will_share_takes_no_more_memory_than_it_has_bytes() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::new(1 << 20));
        pool.give(Vec::with_capacity(100_000));
        queue.append(100_005, &mut pool, |out| out.resize(100_005, 1)).unwrap();
        let Some(Chunk::Own(buffer)) = queue.chunks.back() else { panic!("{queue:?}") };
        assert_eq!(buffer.capacity(), 100_005);
    }

    #[test]
    fn buffers_are_kept_up_to_the_limit_and_by_their_size() {
        let mut pool = BufferPool::new(2 * SMALL + 1501);
        pool.give(Vec::new());
        assert_eq!(pool.heap_bytes(), 0, "what has no memory is not kept");
        for capacity in [SMALL, SMALL + 1, 1000] {
            let mut buffer = Vec::with_capacity(capacity);
            buffer.push(7);
            pool.give(buffer);
        }
        assert_eq!(pool.held, 2 * SMALL + 1 + 1000);
        // More than the limit is freed, what just fills it is kept.
        let left = 500;
        pool.give(Vec::with_capacity(left + 1));
        assert_eq!(pool.held, 2 * SMALL + 1 + 1000);
        pool.give(Vec::with_capacity(left));
        assert_eq!(pool.held, 2 * SMALL + 1501);
        let large = pool.take(SMALL + 1);
        assert_eq!((large.capacity(), large.len()), (SMALL + 1, 0));
        assert_eq!(pool.take(SMALL + 1).capacity(), 0, "no small buffer in its place");
        let small: Vec<_> = (0..4).map(|_| pool.take(SMALL).capacity()).collect();
        assert_eq!(small, [left, 1000, SMALL, 0]);
        assert_eq!(pool.held, 0);
        pool.give(Vec::with_capacity(10));
        pool.shrink();
        assert_eq!(pool.heap_bytes(), 0);
    }
}
