//! Buffers that the kernel reads from and writes to while an operation is in flight.

use std::io;

use grpc_proto::Transmit;
use monoio::BufResult;
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::{AsyncReadRent, AsyncWriteRent};

/// Where a connection's receive buffer begins, and what it may grow to.
///
/// An idle connection holds one of the small size; one whose reads fill it gets up to the large one, because every
/// message that a read cuts costs a copy.
const READ_MIN: usize = 4 << 10;
const READ_MAX: usize = 64 << 10;
/// Reads in a row that leave three quarters of the buffer empty before it shrinks.
const SMALL_READS: u32 = 64;
/// The most slices that one write takes; the kernel's own limit is 1024.
const MAX_SLICES: usize = 64;

/// Output on its way: a [`Transmit`] that moves whole into a write and comes back.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) transmit: Transmit,
    /// The unwritten slices of `transmit`, made anew for each write.
    slices: Vec<libc::iovec>,
}

impl Outgoing {
    /// Points the slices at what is unwritten.
    fn prepare(&mut self) {
        self.slices.clear();
        let chunks = self.transmit.chunks().take(MAX_SLICES);
        self.slices.extend(chunks.map(|chunk| libc::iovec {
            iov_base: chunk.as_ptr().cast_mut().cast(),
            iov_len: chunk.len(),
        }));
    }
}

// SAFETY: the pointer is that of the first slice, made by `prepare` right before the write. It points into heap memory
// of `transmit`, which does not move with it and which nothing changes while the kernel owns this value.
unsafe impl IoBuf for Outgoing {
    fn read_ptr(&self) -> *const u8 {
        self.slices.first().map_or(std::ptr::dangling(), |slice| slice.iov_base.cast())
    }

    fn bytes_init(&self) -> usize {
        self.slices.first().map_or(0, |slice| slice.iov_len)
    }
}

// SAFETY: as above, for all slices; their array is heap memory too.
unsafe impl IoVecBuf for Outgoing {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.slices.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.slices.len()
    }
}

/// Writes some of `out`; half and buffer come back with the result.
pub(crate) async fn send<W: AsyncWriteRent>(
    mut half: W,
    mut out: Outgoing,
) -> (W, io::Result<usize>, Outgoing) {
    out.prepare();
    let (result, out): BufResult<usize, Outgoing> =
        if out.slices.len() > 1 { half.writev(out).await } else { half.write(out).await };
    (half, result, out)
}

/// A connection's receive buffer, which sizes itself by what the reads bring.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    /// How much of it was consumed.
    taken: usize,
    small_reads: u32,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(READ_MIN), taken: 0, small_reads: 0 }
    }

    /// Moves the buffer out, into a read.
    pub(crate) fn take(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        let taken = std::mem::take(&mut self.taken);
        Self { bytes, taken, small_reads: self.small_reads }
    }

    /// What is not consumed.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Notes that all but `left` bytes are consumed.
    pub(crate) fn keep(&mut self, left: usize) {
        self.taken = self.bytes.len() - left;
    }

    fn resize(&mut self) {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        self.small_reads = if len * 4 > capacity { 0 } else { self.small_reads + 1 };
        self.bytes.clear();
        self.taken = 0;
        if len == capacity && capacity < READ_MAX {
            self.bytes = Vec::with_capacity(capacity * 4);
        } else if self.small_reads >= SMALL_READS && capacity > READ_MIN {
            self.bytes = Vec::with_capacity(capacity / 4);
            self.small_reads = 0;
        }
    }
}

/// Reads into the empty buffer; half and buffer come back with the result.
pub(crate) async fn receive<R: AsyncReadRent>(
    mut half: R,
    mut buffer: ReadBuffer,
) -> (R, io::Result<usize>, ReadBuffer) {
    debug_assert!(buffer.rest().is_empty(), "input must be consumed before more is read");
    buffer.resize();
    let bytes = std::mem::take(&mut buffer.bytes);
    let (result, bytes) = half.read(bytes).await;
    buffer.bytes = bytes;
    if result.is_err() {
        buffer.bytes.clear();
    }
    (half, result, buffer)
}
