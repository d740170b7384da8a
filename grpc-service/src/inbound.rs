//! A message that has arrived and waits to be decoded.

use grpc_proto::{Connection, Message, MessageBuf, Payload};

use crate::pool::Pool;

/// One message, out of the receive buffer.
///
/// A message that lay whole in the input is copied once, into a buffer of the thread's pool; one that the core
/// assembled is adopted as it is.
pub(crate) struct Inbound {
    bytes: Bytes,
    wire_len: u32,
    compressed: bool,
}

enum Bytes {
    Copied(Vec<u8>),
    Assembled(MessageBuf),
}

impl Inbound {
    pub(crate) fn new(message: Message<'_>, pool: &Pool) -> Self {
        let (wire_len, compressed) = (message.wire_len(), message.compressed);
        let bytes = match message.payload {
            Payload::Borrowed([]) => Bytes::Copied(Vec::new()),
            Payload::Borrowed(bytes) => {
                let mut buffer = pool.buffer();
                buffer.extend_from_slice(bytes);
                Bytes::Copied(buffer)
            }
            Payload::Assembled(buf) => Bytes::Assembled(buf),
        };
        Self { bytes, wire_len, compressed }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Copied(buffer) => buffer,
            Bytes::Assembled(buf) => buf,
        }
    }

    /// What is to be granted when the message is consumed.
    pub(crate) fn wire_len(&self) -> u32 {
        self.wire_len
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Gives the memory back to where it came from.
    pub(crate) fn recycle<R: grpc_proto::Role>(self, connection: &mut Connection<R>, pool: &Pool) {
        match self.bytes {
            Bytes::Copied(buffer) => pool.give_buffer(buffer),
            Bytes::Assembled(buf) => connection.recycle(buf),
        }
    }
}
