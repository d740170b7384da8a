//! monoio's sockets as a transport of the loop in `grpc-service`.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use grpc_proto::Transmit;
use grpc_service::UnixCredentials;
use grpc_service::drive::{Close, ReadHalf, Transport, WriteHalf};
use monoio::BufResult;
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent, Canceller, OwnedReadHalf,
    OwnedWriteHalf, Split, Splitable,
};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Shutdown, getsockopt, shutdown};

/// The most slices that one write takes; the kernel's own limit is 1024.
const MAX_SLICES: usize = 64;

/// The largest buffer of a read that need not be interrupted when its connection falls idle.
const SMALL: usize = 2 << 10;

/// A stream of monoio as a [`Transport`], for the loop of [`drive`](grpc_service::drive::drive).
pub struct Socket<S>(S);

impl<S> Socket<S> {
    /// Wraps a stream whose descriptor is a socket.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S> std::fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl<S> Transport for Socket<S>
where
    S: CancelableAsyncReadRent + AsyncWriteRent + Split + AsRawFd,
{
    type Reader = Reader<S>;
    type Writer = Writer<S>;
    type Closer = Closer;

    fn split(self) -> (Reader<S>, Writer<S>, Closer) {
        let fd = self.0.as_raw_fd();
        let (reader, writer) = self.0.into_split();
        let canceller = Rc::default();
        let reader = Reader { half: reader, canceller: Rc::clone(&canceller) };
        (reader, Writer { half: writer, slices: Vec::new() }, Closer { fd, canceller })
    }
}

/// The process that connected to a Unix socket, as it was then (SO_PEERCRED).
pub(crate) fn credentials(stream: &impl AsRawFd) -> Option<UnixCredentials> {
    let seen = getsockopt(stream.as_raw_fd(), PeerCredentials).ok()?;
    // 0 stands for a process of another namespace of process ids.
    let pid = Some(seen.pid()).filter(|&pid| pid != 0);
    Some(UnixCredentials { pid, uid: seen.uid(), gid: seen.gid() })
}

/// The half of a [`Socket`] that is read from.
pub struct Reader<S> {
    half: OwnedReadHalf<S>,
    canceller: Rc<RefCell<Option<Canceller>>>,
}

impl<S: CancelableAsyncReadRent> ReadHalf for Reader<S> {
    async fn read(mut self, buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
        if buffer.capacity() <= SMALL {
            let (result, buffer) = self.half.read(buffer).await;
            return (self, result, buffer);
        }
        let handle = self.canceller.borrow_mut().get_or_insert_with(Canceller::new).handle();
        let (result, buffer) = self.half.cancelable_read(buffer, handle).await;
        let result = result.map_err(|error| match error.raw_os_error() {
            Some(libc::ECANCELED) => io::ErrorKind::Interrupted.into(),
            _ => error,
        });
        (self, result, buffer)
    }
}

/// The half of a [`Socket`] that is written to.
pub struct Writer<S: AsyncWriteRent> {
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

    async fn close(mut self) -> (Self, io::Result<()>) {
        let result = self.half.shutdown().await;
        (self, result)
    }
}

/// Shuts a [`Socket`] down while its halves may be with the kernel. The writing half, which lives as long as the loop, owns
/// the descriptor.
pub struct Closer {
    fd: RawFd,
    /// Interrupts large reads, once there was one.
    canceller: Rc<RefCell<Option<Canceller>>>,
}

impl Close for Closer {
    fn close(&mut self) {
        // An error means that the peer is gone.
        let _ = shutdown(self.fd, Shutdown::Both);
    }

    fn interrupt_read(&mut self) {
        let canceller = self.canceller.borrow_mut().take();
        // The read is awaited: on io_uring it may have brought bytes meanwhile, and completes with them.
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
    }

    fn unacknowledged(&self) -> Option<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: SIOCOUTQ, which Linux also calls TIOCOUTQ, writes one int to the address that it is given, which is that
        // of a local variable. The descriptor is open as long as the loop, which owns the writing half and this value.
        let result = unsafe { libc::ioctl(self.fd, libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 { usize::try_from(bytes).ok() } else { None }
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
