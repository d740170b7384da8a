//! Payload that waits to become DATA frames of one stream.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::planted::{self, Bug};
use crate::transmit::{BY_HANDLE, Transmit};

/// Bytes in order: our own buffers, which small messages share, and handles of the application's.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Bytes of the front chunk that are sent.
    front_sent: usize,
    len: usize,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Bytes),
    /// A message of the application's behind its prefix.
    Framed([u8; PREFIX], Bytes),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Own(bytes) => bytes.len(),
            Chunk::Shared(bytes) => bytes.len(),
            Chunk::Framed(prefix, bytes) => prefix.len() + bytes.len(),
        }
    }
}

/// Bytes before a message.
const PREFIX: usize = 5;
/// Messages below this are copied to the one before: a handle of its own would cost as much memory.
const WORTH_A_HANDLE: usize = 256;
impl Chunk {
    /// Appends a part of the chunk to `out`.
    fn put(&self, range: Range<usize>, out: &mut Transmit) {
        match self {
            Chunk::Own(bytes) => out.head().extend_from_slice(&bytes[range]),
            Chunk::Shared(bytes) => put_payload(bytes.slice(range), out),
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

    /// Lets `write` append `len` bytes to a buffer, from `pool` if none is open.
    pub(crate) fn append(
        &mut self,
        len: usize,
        pool: &mut BufferPool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let shares = match self.chunks.back() {
            Some(Chunk::Own(buffer)) => buffer.len() + len <= SHARE,
            _ => false,
        };
        if !shares {
            self.chunks.push_back(Chunk::Own(pool.take(len)));
        }
        let Some(Chunk::Own(buffer)) = self.chunks.back_mut() else { return };
        let before = buffer.len();
        buffer.reserve(len);
        write(buffer);
        self.len += buffer.len() - before;
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
            return self.append(PREFIX + payload.len(), pool, |out| {
                out.extend_from_slice(&prefix);
                out.extend_from_slice(&payload);
            });
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
        (self.front_sent, self.len) = (0, 0);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let own = |chunk: &Chunk| match chunk {
            Chunk::Own(buffer) => buffer.capacity(),
            Chunk::Shared(_) | Chunk::Framed(..) => 0,
        };
        self.chunks.capacity() * size_of::<Chunk>() + self.chunks.iter().map(own).sum::<usize>()
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
        let fits = self.large.last().is_some_and(|buffer| buffer.capacity() <= most);
        self.take(if fits { len } else { len.min(SMALL) })
    }

    /// Keeps a buffer for later, or frees it where that would exceed the limit.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.held + buffer.capacity() <= self.limit {
            if !planted::is(Bug::PoolDirty) {
                buffer.clear();
            }
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
