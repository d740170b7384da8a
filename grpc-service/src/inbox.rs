//! Messages that have arrived and wait to be decoded.

use std::collections::VecDeque;

use grpc_proto::record::Recorder;
use grpc_proto::{Message, MessageBuf, Payload, Role};

use crate::pool::Pool;

/// Memory that the place of a call keeps from one call to the next; more goes back to the thread's pool.
const KEPT: usize = 4 << 10;

/// The messages of one call, in order.
///
/// ```text
///   driver ──> filling: [bytes side by side] + queue ──(when reading is empty)──> reading ──> decoded where it lies
/// ```
///
/// A message that lay whole in the input is copied once, behind the one before it, so that a burst of small messages
/// costs no allocation each; one that the core assembled is adopted as it is. What may wait here is bounded by the
/// call's flow-control window, because credit returns only when a message is done with.
#[derive(Default)]
pub(crate) struct Inbox {
    filling: Batch,
    reading: Batch,
}

/// Messages that arrived one after the other, and the bytes of those that were copied.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    queue: VecDeque<Arrived>,
}

/// One message of a [`Batch`].
pub(crate) struct Arrived {
    body: Body,
    wire_len: u32,
    compressed: bool,
}

enum Body {
    /// In the batch's bytes.
    Copied {
        start: usize,
        len: usize,
    },
    Assembled(MessageBuf),
}

impl Inbox {
    /// Takes a message out of the receive buffer.
    pub(crate) fn push(&mut self, message: Message<'_>, pool: &Pool) {
        let Batch { bytes, queue } = &mut self.filling;
        let (wire_len, compressed) = (message.wire_len(), message.compressed);
        let body = match message.payload {
            Payload::Borrowed(borrowed) => {
                if bytes.capacity() == 0 && !borrowed.is_empty() {
                    *bytes = pool.buffer();
                }
                let start = bytes.len();
                bytes.extend_from_slice(borrowed);
                Body::Copied { start, len: borrowed.len() }
            }
            Payload::Assembled(buf) => Body::Assembled(buf),
        };
        queue.push_back(Arrived { body, wire_len, compressed });
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.filling.queue.len() + self.reading.queue.len()
    }

    /// Whether no message waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch to read from; `None` if no message waits.
    pub(crate) fn reading(&mut self) -> Option<&mut Batch> {
        if self.reading.queue.is_empty() {
            self.reading.bytes.clear();
            std::mem::swap(&mut self.reading, &mut self.filling);
        }
        if self.reading.queue.is_empty() { None } else { Some(&mut self.reading) }
    }

    /// The bytes of a message that was popped last from [`reading`](Self::reading).
    pub(crate) fn bytes<'a>(&'a self, message: &'a Arrived) -> &'a [u8] {
        self.reading.bytes(message)
    }

    /// Moves out what waits, for a reader that keeps it while more arrives; `None` if no message does.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        self.reading().map(std::mem::take)
    }

    /// Takes the memory of a batch back that was read.
    pub(crate) fn give_back(&mut self, batch: Batch) {
        if self.reading.queue.is_empty() && batch.queue.is_empty() {
            if planted!(BatchOverwritten) {
                self.filling.queue.clear();
            }
            self.reading = batch;
        }
    }

    /// Drops what waits, and gives memory back that is more than the next call is likely to need.
    pub(crate) fn clear<R: Role>(&mut self, connection: &mut Recorder<R>, pool: &Pool) {
        for batch in [&mut self.filling, &mut self.reading] {
            if batch.queue.is_empty() && batch.bytes.capacity() <= KEPT {
                batch.bytes.clear();
                continue;
            }
            for message in batch.queue.drain(..) {
                message.recycle(connection);
            }
            batch.bytes.clear();
            if batch.bytes.capacity() > KEPT {
                pool.give_buffer(std::mem::take(&mut batch.bytes));
            }
            batch.queue.shrink_to(KEPT / size_of::<Arrived>());
        }
    }
}

impl Batch {
    /// The next message; its bytes stay in the batch.
    pub(crate) fn pop(&mut self) -> Option<Arrived> {
        self.queue.pop_front()
    }

    /// The bytes of a message of this batch.
    pub(crate) fn bytes<'a>(&'a self, message: &'a Arrived) -> &'a [u8] {
        match &message.body {
            Body::Copied { start, len } => &self.bytes[*start..*start + *len],
            Body::Assembled(buf) => buf,
        }
    }
}

impl Arrived {
    /// What is to be granted when the message is done with.
    pub(crate) fn wire_len(&self) -> u32 {
        self.wire_len
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Gives an assembled buffer back to the core.
    pub(crate) fn recycle<R: Role>(self, connection: &mut Recorder<R>) {
        if let Body::Assembled(buf) = self.body {
            connection.recycle(buf);
        }
    }
}
