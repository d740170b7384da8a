//! monoio's sockets as a transport of the loop in `grpc-service`.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use grpc_proto::Transmit;
use grpc_service::drive::{Close, ReadHalf, Transport, WriteHalf};
use monoio::BufResult;
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Split, Splitable};
use nix::sys::socket::{Shutdown, shutdown};

/// The most slices that one write takes; the kernel's own limit is 1024.
const MAX_SLICES: usize = 64;

/// A stream of monoio's.
pub(crate) struct Socket<S>(pub(crate) S);

impl<S> Transport for Socket<S>
where
    S: AsyncReadRent + AsyncWriteRent + Split + AsRawFd,
{
    type Reader = Reader<S>;
    type Writer = Writer<S>;
    type Closer = Closer;

    fn split(self) -> (Reader<S>, Writer<S>, Closer) {
        let fd = self.0.as_raw_fd();
        let (reader, writer) = self.0.into_split();
        (Reader(reader), Writer { half: writer, slices: Vec::new() }, Closer(fd))
    }
}

pub(crate) struct Reader<S>(OwnedReadHalf<S>);

impl<S: AsyncReadRent> ReadHalf for Reader<S> {
    async fn read(mut self, buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
        let (result, buffer) = self.0.read(buffer).await;
        (self, result, buffer)
    }
}

pub(crate) struct Writer<S: AsyncWriteRent> {
    half: OwnedWriteHalf<S>,
    /// Memory for the slices of the next write.
    slices: Vec<libc::iovec>,
}

impl<S: AsyncWriteRent> WriteHalf for Writer<S> {
    async fn write(mut self, transmit: Transmit) -> (Self, io::Result<usize>, Transmit) {
        let out = Outgoing::new(transmit, std::mem::take(&mut self.slices));
        let (result, out): BufResult<usize, Outgoing> = match out.slices.len() {
            0 | 1 => self.half.write(out).await,
            _ => self.half.writev(out).await,
        };
        self.slices = out.slices;
        (self, result, out.transmit)
    }
}

/// Shuts the socket down while its halves may be with the kernel. The writing half, which lives as long as the loop, owns
/// the descriptor.
pub(crate) struct Closer(RawFd);

impl Close for Closer {
    fn close_write(&mut self) {
        // An error means that the peer is gone.
        let _ = shutdown(self.0, Shutdown::Write);
    }

    fn close(&mut self) {
        let _ = shutdown(self.0, Shutdown::Both);
    }
}

/// Output on its way: a [`Transmit`] that moves whole into a write and comes back.
struct Outgoing {
    transmit: Transmit,
    /// The unwritten slices of `transmit`.
    slices: Vec<libc::iovec>,
}

impl Outgoing {
    fn new(transmit: Transmit, mut slices: Vec<libc::iovec>) -> Self {
        slices.clear();
        let chunks = transmit.chunks().take(MAX_SLICES);
        slices.extend(chunks.map(|chunk| libc::iovec {
            iov_base: chunk.as_ptr().cast_mut().cast(),
            iov_len: chunk.len(),
        }));
        Self { transmit, slices }
    }
}

// SAFETY: the pointer is that of the first slice, which points into heap memory of `transmit` that does not move with it
// and that nothing changes while this value lives: the transmit comes out again only when the write is over.
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
