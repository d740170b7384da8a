//! Messages that have arrived and wait to be decoded.

use std::collections::VecDeque;

use grpc_proto::record::Recorder;
use grpc_proto::{Message, MessageBuf, Messages, Payload, Role};

use crate::pool::Pool;

/// Memory that the place of a call keeps from one call to the next; more goes back to the thread's pool.
pub(crate) const KEPT: usize = 4 << 10;
/// The same, for handles of messages that the core assembled.
const KEPT_BUFS: usize = KEPT / size_of::<MessageBuf>();

/// What stands before each message in the bytes of a batch: flags and the length, as on the wire.
const HEAD: usize = 5;
const COMPRESSED: u8 = 1;
/// The message itself is among those that the core assembled.
const ASSEMBLED: u8 = 2;

/// The messages of one call, in order.
///
/// ```text
///   driver ──> filling ──(when reading is empty)──> reading ──> decoded where it lies
///
///   a batch:  [head, bytes][head, bytes][head]...  and what was assembled, in order
/// ```
///
/// A message that lay whole in the input is copied once, behind the one before it, so that a burst of small messages
/// costs no allocation each; one that the core assembled is adopted as it is. A message takes no more here than its
/// length on the wire, so that what may wait is bounded by the call's flow-control window, however small the messages
/// are: credit returns only when one is done with.
#[derive(Default)]
pub(crate) struct Inbox {
    filling: Batch,
    reading: Batch,
}

/// Messages that arrived one after the other.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where the next message's head is.
    at: usize,
    /// Messages from there on.
    count: usize,
    assembled: VecDeque<MessageBuf>,
}

/// One message of a [`Batch`].
pub(crate) struct Arrived {
    body: Body,
    wire_len: u32,
    compressed: bool,
}

/// A message that came alone, with the memory that it lies in.
pub(crate) struct Only {
    bytes: Vec<u8>,
    compressed: bool,
    /// The core assembled it; otherwise its head stands before it.
    assembled: bool,
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
        let batch = &mut self.filling;
        let compressed = if message.compressed { COMPRESSED } else { 0 };
        let [a, b, c, d] = (message.len() as u32).to_be_bytes();
        match message.payload {
            Payload::Borrowed(borrowed) => {
                if batch.bytes.capacity() == 0 {
                    batch.bytes = pool.buffer();
                }
                batch.bytes.extend_from_slice(&[compressed, a, b, c, d]);
                batch.bytes.extend_from_slice(borrowed);
            }
            Payload::Assembled(buf) => {
                batch.bytes.extend_from_slice(&[compressed | ASSEMBLED, a, b, c, d]);
                batch.assembled.push_back(buf);
            }
        }
        batch.count += 1;
    }

    /// Takes messages out of the receive buffer that lie whole beside each other: what stands before each on the wire is
    /// what stands before it here.
    pub(crate) fn append(&mut self, messages: Messages<'_>, pool: &Pool) {
        if messages.is_empty() {
            return;
        }
        let batch = &mut self.filling;
        if batch.bytes.capacity() == 0 {
            batch.bytes = pool.buffer();
        }
        batch.bytes.extend_from_slice(messages.as_bytes());
        batch.count += messages.len();
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.filling.count + self.reading.count
    }

    /// Whether no message waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes that are held for messages.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.filling.heap_bytes() + self.reading.heap_bytes()
    }

    /// The batch to read from; `None` if no message waits.
    pub(crate) fn reading(&mut self) -> Option<&mut Batch> {
        if self.reading.count == 0 {
            self.reading.empty();
            std::mem::swap(&mut self.reading, &mut self.filling);
        }
        if self.reading.count == 0 { None } else { Some(&mut self.reading) }
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
        if self.reading.count == 0 && batch.count == 0 {
            self.reading = batch;
        }
    }

    /// Moves out the message of a call that gets one only, and has got it; `None` if no message waits.
    pub(crate) fn take_only(&mut self) -> Option<Only> {
        let batch = &mut self.filling;
        let flags = *batch.bytes.first()?;
        let assembled = flags & ASSEMBLED != 0;
        let bytes = if assembled {
            batch.assembled.pop_front()?.into_vec()
        } else {
            std::mem::take(&mut batch.bytes)
        };
        batch.count = 0;
        Some(Only { bytes, compressed: flags & COMPRESSED != 0, assembled })
    }

    /// Takes the memory of such a message back, once that is done with.
    pub(crate) fn give_back_only(&mut self, only: Only) {
        if only.assembled {
            // Goes back to the core when the inbox is cleared.
            self.filling.assembled.push_back(MessageBuf::from(only.bytes));
        } else {
            self.filling.bytes = only.bytes;
        }
    }

    /// Drops what waits, and gives memory back that is more than the next call is likely to need.
    pub(crate) fn clear<R: Role>(&mut self, connection: &mut Recorder<R>, pool: &Pool) {
        for batch in [&mut self.filling, &mut self.reading] {
            // A call whose messages were all read, and not assembled in numbers, has nothing but lengths to set.
            while let Some(buf) = batch.assembled.pop_front() {
                connection.recycle(buf);
            }
            batch.empty();
            if batch.bytes.capacity() > KEPT {
                pool.give_buffer(std::mem::take(&mut batch.bytes));
            }
            if batch.assembled.capacity() > KEPT_BUFS {
                batch.assembled.shrink_to(KEPT_BUFS);
            }
        }
    }
}

impl Batch {
    /// The next message; its bytes stay in the batch.
    pub(crate) fn pop(&mut self) -> Option<Arrived> {
        let &[flags, a, b, c, d] = self.bytes.get(self.at..)?.first_chunk()?;
        let len = u32::from_be_bytes([a, b, c, d]);
        let start = self.at + HEAD;
        let body = if flags & ASSEMBLED == 0 {
            self.at = start + len as usize;
            Body::Copied { start, len: len as usize }
        } else {
            self.at = start;
            Body::Assembled(self.assembled.pop_front()?)
        };
        self.count -= 1;
        Some(Arrived { body, wire_len: len + HEAD as u32, compressed: flags & COMPRESSED != 0 })
    }

    /// The bytes of a message of this batch.
    pub(crate) fn bytes<'a>(&'a self, message: &'a Arrived) -> &'a [u8] {
        match &message.body {
            Body::Copied { start, len } => &self.bytes[*start..*start + *len],
            Body::Assembled(buf) => buf,
        }
    }

    /// Forgets every message, and keeps the memory.
    fn empty(&mut self) {
        self.bytes.clear();
        if !self.assembled.is_empty() {
            self.assembled.clear();
        }
        (self.at, self.count) = (0, 0);
    }

    fn heap_bytes(&self) -> usize {
        let assembled: usize = self.assembled.iter().map(|buf| buf.len()).sum();
        let slots = self.assembled.capacity() * size_of::<MessageBuf>();
        self.bytes.capacity() + slots + assembled
    }
}

impl Only {
    /// The message, and whether it is compressed.
    pub(crate) fn bytes(&self) -> (&[u8], bool) {
        let head = if self.assembled { 0 } else { HEAD };
        (&self.bytes[head..], self.compressed)
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

    /// Whether the core assembled it, in a buffer that it takes back.
    pub(crate) fn is_assembled(&self) -> bool {
        matches!(self.body, Body::Assembled(_))
    }

    /// Gives an assembled buffer back to the core.
    pub(crate) fn recycle<R: Role>(self, connection: &mut Recorder<R>) {
        if let Body::Assembled(buf) = self.body {
            connection.recycle(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::{Codecs, Compression};
    use crate::pool::PoolLimits;

    fn pool() -> Pool {
        Pool::new(PoolLimits::default(), Codecs::new(Compression::none()))
    }

    fn message(bytes: &[u8], compressed: bool) -> Message<'_> {
        Message { payload: Payload::Borrowed(bytes), compressed }
    }

    #[test]
    fn messages_come_out_as_they_went_in_while_more_arrive() {
        let (mut inbox, pool, bytes) = (Inbox::default(), pool(), [7; 300]);
        let pushed = |n: usize| message(&bytes[..n * 37 % 300], n.is_multiple_of(3));
        let (mut next, mut read) = (0, 0);
        for batch in 0..20 {
            for _ in 0..batch {
                inbox.push(pushed(next), &pool);
                next += 1;
            }
            assert_eq!(inbox.len(), next - read);
            let Some(mut taken) = inbox.take() else { continue };
            inbox.push(pushed(next), &pool);
            next += 1;
            while let Some(arrived) = taken.pop() {
                let expected = pushed(read);
                assert_eq!(taken.bytes(&arrived), expected.as_bytes());
                assert_eq!(arrived.is_compressed(), expected.compressed);
                assert_eq!(arrived.wire_len(), expected.wire_len());
                read += 1;
            }
            inbox.give_back(taken);
        }
        assert_eq!((inbox.len(), next - read), (1, 1));
    }

    #[test]
    fn a_window_of_empty_messages_takes_twice_the_window_at_most() {
        let (mut inbox, pool) = (Inbox::default(), pool());
        let messages = 65_535 / HEAD;
        (0..messages).for_each(|_| inbox.push(message(&[], false), &pool));
        assert_eq!(inbox.len(), messages);
        let held = inbox.heap_bytes();
        assert!((messages * HEAD..=2 * 65_536).contains(&held), "{held}");
    }
}
