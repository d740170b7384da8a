//! What the loop needs of a transport, and what may stop it.

use std::future::Future;
use std::io;
use std::task::Context;

use grpc_proto::Transmit;

/// A byte stream whose two directions can be under way at the same time.
///
/// An operation owns its half and its buffer from start to completion, as completion-based I/O (io_uring) demands.
/// Over readiness (epoll) the same operations wait until they can be done at once.
pub trait Transport {
    /// The half that is read from.
    type Reader: ReadHalf;
    /// The half that is written to.
    type Writer: WriteHalf;
    /// Ends the transport from beside the halves.
    type Closer: Close;

    /// Takes the transport apart.
    fn split(self) -> (Self::Reader, Self::Writer, Self::Closer);
}

/// The half of a [`Transport`] that is read from.
pub trait ReadHalf: Sized {
    /// Reads at least a byte into `buffer`, which comes empty and has room.
    ///
    /// On `Ok(n)` the first `n` bytes of the returned buffer are what was read, and its length is at least `n`: the loop
    /// truncates the buffer to `n`. `Ok(0)` is the end of input, and so is an error. The transport may return another buffer
    /// than it was given. An error of the kind [`Interrupted`](io::ErrorKind::Interrupted) means that nothing was read, and the
    /// loop reads again.
    ///
    /// The future is polled until it completes and never dropped before, but with the whole loop.
    fn read(self, buffer: Vec<u8>) -> impl Future<Output = (Self, io::Result<usize>, Vec<u8>)>;
}

/// The half of a [`Transport`] that is written to.
pub trait WriteHalf: Sized {
    /// Writes at least a byte of `out`, which is not empty and comes back as it went: the loop advances it by what
    /// was written. Zero bytes, or an error, mean that no output can be delivered any more.
    ///
    /// The future is polled until it completes and never dropped before, but with the whole loop.
    fn write(self, out: Transmit) -> impl Future<Output = (Self, io::Result<usize>, Transmit)>;

    /// Closes this direction behind all that was written: the peer reads the end. The loop calls it once, when no write is
    /// under way, and still reads.
    ///
    /// A socket shuts its sending side down (`shutdown(SHUT_WR)`); a TLS layer writes `close_notify` first. An error means
    /// that the peer is gone: the loop does not wait for it.
    ///
    /// The future is polled until it completes and never dropped before, but with the whole loop. [`Close::close`] must
    /// complete it too: the loop gives the peer a bounded time to take the last bytes.
    fn close(self) -> impl Future<Output = (Self, io::Result<()>)>;
}

/// Ends a [`Transport`], or interrupts it, while its halves may be under way.
pub trait Close {
    /// Nothing is read or written any more, and what is under way completes, with whatever result.
    ///
    /// Completion-based sockets are shut down in both directions, which completes their operations. On readiness sockets
    /// `shutdown(SHUT_RDWR)` does the same, because a socket that was shut down is readable and writable; a transport that
    /// waits for something else than the socket must wake its operations itself. The descriptor stays open until the halves
    /// are dropped, which is when the loop returns.
    fn close(&mut self);

    /// Completes a read that is under way and has brought nothing with an error of the kind
    /// [`Interrupted`](io::ErrorKind::Interrupted), and never loses bytes: a read that has brought some completes with them.
    ///
    /// The loop asks for it when a connection has fallen idle whose read holds a buffer of more than 2 KiB, at most once a read.
    /// By default nothing happens, and the buffer stays until something comes.
    fn interrupt_read(&mut self) {}

    /// Bytes that were written and that the peer's system has not acknowledged, if that is known (`SIOCOUTQ`).
    ///
    /// It is asked while a write is slow: a peer that reads slowly differs in it from one that does not read. Without it only
    /// a completed write is progress.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }
}

/// How far a connection is to be ended, as decided outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serve.
    Run,
    /// Finish the calls in flight, then close (GOAWAY).
    Drain,
    /// Close now.
    Abort,
}

/// Decides from outside when a connection ends; `()` never does.
pub trait Orders {
    /// The phase that is wanted. A phase that is lower than one before has no effect.
    ///
    /// The waker of `cx` is woken when the answer changes. It is the task's own waker, and the one of the latest call counts:
    /// keep that one alone, in place of the one before. The loop asks in each turn, so that an implementation that compares
    /// with [`Waker::will_wake`](std::task::Waker::will_wake) clones a waker once a connection.
    fn poll_phase(&self, cx: &Context<'_>) -> Phase;
}

impl Orders for () {
    fn poll_phase(&self, _: &Context<'_>) -> Phase {
        Phase::Run
    }
}
