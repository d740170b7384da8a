//! tokio's sockets as a transport of the loop in `grpc-service`.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use grpc_proto::Transmit;
use grpc_service::drive::{Close, ReadHalf, Transport, WriteHalf};
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};

/// The most slices that one write takes; the kernel's own limit is 1024.
const MAX_SLICES: usize = 64;

/// A stream of tokio that can be read from and written to at the same time.
#[allow(async_fn_in_trait)] // everything here stays on its thread
pub trait Stream: AsFd + AsRawFd {
    /// Waits until there is something to read.
    async fn readable(&self) -> io::Result<()>;
    /// Reads into the room of `buffer`, if there is something to read.
    fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize>;
    /// Waits until there is room to write.
    async fn writable(&self) -> io::Result<()>;
    /// Writes as much as there is room for.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            async fn readable(&self) -> io::Result<()> {
                <$stream>::readable(self).await
            }

            fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
                self.try_read_buf(buffer)
            }

            async fn writable(&self) -> io::Result<()> {
                <$stream>::writable(self).await
            }

            fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                self.try_write_vectored(slices)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// A stream of tokio as a [`Transport`], for the loop of [`drive`](grpc_service::drive::drive).
pub struct Socket<S>(S);

impl<S> Socket<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: Stream> Transport for Socket<S> {
    type Reader = Reader<S>;
    type Writer = Writer<S>;
    type Closer = Closer<S>;

    fn split(self) -> (Reader<S>, Writer<S>, Closer<S>) {
        let (stream, interrupted) = (Rc::new(self.0), Rc::default());
        let reader = Reader { stream: Rc::clone(&stream), interrupted: Rc::clone(&interrupted) };
        (reader, Writer { stream: Rc::clone(&stream) }, Closer { stream, interrupted })
    }
}

/// The half of a [`Socket`] that is read from.
pub struct Reader<S> {
    stream: Rc<S>,
    interrupted: Rc<Cell<bool>>,
}

impl<S: Stream> ReadHalf for Reader<S> {
    async fn read(self, mut buffer: Vec<u8>) -> (Self, io::Result<usize>, Vec<u8>) {
        self.interrupted.set(false);
        let result = loop {
            match self.stream.try_read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read,
            }
            let mut readable = pin!(self.stream.readable());
            // The loop polls again in the turn in which it interrupts, so that nobody has to be woken.
            let waited = poll_fn(|cx| match readable.as_mut().poll(cx) {
                Poll::Pending if self.interrupted.get() => {
                    Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
                }
                polled => polled,
            });
            if let Err(error) = waited.await {
                break Err(error);
            }
        };
        (self, result, buffer)
    }
}

/// The half of a [`Socket`] that is written to.
pub struct Writer<S> {
    stream: Rc<S>,
}

impl<S: Stream> WriteHalf for Writer<S> {
    async fn write(self, out: Transmit) -> (Self, io::Result<usize>, Transmit) {
        let result = loop {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(out.chunks()) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            match self.stream.try_write(&slices[..count]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => break written,
            }
            if let Err(error) = self.stream.writable().await {
                break Err(error);
            }
        };
        (self, result, out)
    }

    async fn close(self) -> (Self, io::Result<()>) {
        let result = SockRef::from(&*self.stream).shutdown(Shutdown::Write);
        (self, result)
    }
}

/// Shuts a [`Socket`] down while its halves may be under way.
pub struct Closer<S> {
    stream: Rc<S>,
    interrupted: Rc<Cell<bool>>,
}

impl<S: Stream> Close for Closer<S> {
    fn close(&mut self) {
        // An error means that the peer is gone. What is under way finds the socket ready.
        let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Both);
    }

    fn interrupt_read(&mut self) {
        self.interrupted.set(true);
    }

    fn unacknowledged(&self) -> Option<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: SIOCOUTQ, which Linux also calls TIOCOUTQ, writes one int to the address that it is given, which is that
        // of a local variable; the stream holds its descriptor open.
        let result =
            unsafe { libc::ioctl(self.stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 { usize::try_from(bytes).ok() } else { None }
    }
}

impl<S> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}
