//! Payload that waits to become DATA frames of one stream.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

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
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
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

    /// Moves `len` bytes to `out`, which holds the frame header already.
    pub(crate) fn pull(&mut self, mut len: usize, out: &mut Transmit, pool: &mut BufferPool) {
        debug_assert!(len <= self.len);
        self.len -= len;
        while len > 0 {
            let Some(chunk) = self.chunks.front_mut() else { return };
            let available = chunk.as_slice().len() - self.front_sent;
            let part = len.min(available);
            let range = self.front_sent..self.front_sent + part;
            match chunk {
                Chunk::Shared(bytes) if part >= BY_HANDLE => out.push_payload(bytes.slice(range)),
                chunk => out.head().extend_from_slice(&chunk.as_slice()[range]),
            }
            len -= part;
            self.front_sent += part;
            if part == available {
                self.front_sent = 0;
                if let Some(Chunk::Own(buffer)) = self.chunks.pop_front() {
                    pool.give(buffer);
                }
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
            Chunk::Shared(_) => 0,
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
