//! Messages as they come in: one contiguous slice each, borrowed where possible.

use alloc::vec::Vec;
use core::ops::Deref;

/// Bytes of a length-prefixed message's prefix: one of flags, four of length.
pub(crate) const PREFIX: usize = 5;

/// A message that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'i> {
    /// Its bytes, without the prefix.
    pub payload: Payload<'i>,
    /// Whether the bytes are compressed with the call's `grpc-encoding`.
    pub compressed: bool,
}

/// Where a message's bytes are.
///
/// Two payloads are equal if their bytes are: how the input was cut makes no difference.
#[derive(Debug)]
pub enum Payload<'i> {
    /// Whole within the input: nothing was copied.
    Borrowed(&'i [u8]),
    /// Gathered from several pieces of input, once.
    Assembled(MessageBuf),
}

impl Message<'_> {
    /// The message's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Borrowed(bytes) => bytes,
            Payload::Assembled(buf) => buf,
        }
    }

    /// Length of the message without its prefix.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message has no bytes, which is valid.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the message took of the stream's window: its length and its prefix. To be passed to
    /// [`crate::Connection::grant`] under manual credit.
    #[inline]
    pub fn wire_len(&self) -> u32 {
        (self.len() + PREFIX) as u32
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Payload<'_> {}

impl AsRef<[u8]> for Payload<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Assembled(buf) => buf,
        }
    }
}

/// A buffer that holds one message; give it back with [`crate::Connection::recycle`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MessageBuf(Vec<u8>);

impl MessageBuf {
    /// The buffer as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for MessageBuf {
    fn from(bytes: Vec<u8>) -> Self {
        MessageBuf(bytes)
    }
}

impl Deref for MessageBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::vec;

    #[test]
    fn a_message_is_its_bytes_however_it_came() {
        let borrowed = |bytes| Message { payload: Payload::Borrowed(bytes), compressed: false };
        let assembled = |bytes: &[u8]| Message {
            payload: Payload::Assembled(MessageBuf::from(bytes.to_vec())),
            compressed: false,
        };
        for bytes in [&b""[..], b"a", b"abc"] {
            for message in [borrowed(bytes), assembled(bytes)] {
                assert_eq!(message.as_bytes(), bytes);
                assert_eq!(message.payload.as_ref(), bytes);
                assert_eq!((message.len(), message.is_empty()), (bytes.len(), bytes.is_empty()));
                assert_eq!(message.wire_len() as usize, bytes.len() + 5);
                assert_eq!(message, borrowed(bytes));
                assert_eq!(message, assembled(bytes));
                assert_ne!(message, borrowed(b"other"));
                assert_ne!(message, assembled(b"other"));
                assert_ne!(message, Message { compressed: true, ..borrowed(bytes) });
            }
        }
        let buf = MessageBuf::from(vec![1, 2]);
        assert_eq!(buf[..], [1, 2]);
        assert_eq!(buf.into_vec(), [1, 2]);
    }
}
