//! Length-prefixed messages out of DATA, however they are cut (PROTOCOL-HTTP2, "Length-Prefixed-Message").
//!
//! ```text
//!  +-------+-----------------+----------------------
//!  | flags | length (32, BE) |  length bytes ...
//!  +-------+-----------------+----------------------
//! ```

use alloc::vec::Vec;

use super::message::{MessageBuf, PREFIX};
use super::reason::Reason;
use crate::planted::{self, Bug};

/// Where in the messages of a call we are.
#[derive(Debug, Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX],
    /// Bytes of `prefix` that are there; all of them while a message is assembled.
    have: u8,
    /// Bytes of the message that are missing.
    missing: u32,
    buf: Vec<u8>,
}

/// A prefix that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) compressed: bool,
    pub(super) len: u32,
}

impl Prefix {
    /// Reads a prefix; the rules are those of a receiver with this limit.
    #[inline]
    pub(super) fn parse(
        bytes: [u8; PREFIX],
        limit: u32,
        may_compress: bool,
    ) -> Result<Self, Reason> {
        let [flags, a, b, c, d] = bytes;
        let len = u32::from_be_bytes([a, b, c, d]);
        if flags > 1 {
            return Err(Reason::MessageFlags);
        }
        if flags == 1 && !may_compress {
            return Err(Reason::CompressedWithoutEncoding);
        }
        if len > limit || (len == limit && planted::is(Bug::MessageLimit)) {
            return Err(Reason::MessageTooLarge);
        }
        Ok(Prefix { compressed: flags == 1, len })
    }
}

impl Framing {
    /// Whether no part of a message is held.
    #[inline]
    pub(super) fn is_between(&self) -> bool {
        self.have == 0
    }

    /// Whether a message is being assembled.
    pub(super) fn is_assembling(&self) -> bool {
        usize::from(self.have) == PREFIX
    }

    /// Adds to a prefix that came in pieces; returns how many bytes it took, and the prefix once it is whole.
    pub(super) fn add_prefix(&mut self, data: &[u8]) -> (usize, Option<[u8; PREFIX]>) {
        let have = usize::from(self.have);
        let part = data.len().min(PREFIX - have);
        self.prefix[have..have + part].copy_from_slice(&data[..part]);
        if have == PREFIX - 1 && planted::is(Bug::PrefixSplit) {
            self.prefix[PREFIX - 1] = 0;
        }
        self.have += part as u8;
        (part, self.is_assembling().then_some(self.prefix))
    }

    /// Begins to assemble a message.
    pub(super) fn begin(&mut self, prefix: Prefix, mut buf: Vec<u8>) {
        // What is small is allocated at once; beyond that, memory follows the bytes and not the claim.
        const AT_ONCE: usize = 16 << 10;
        buf.reserve((prefix.len as usize).min(AT_ONCE));
        self.prefix[0] = u8::from(prefix.compressed);
        self.have = PREFIX as u8;
        self.missing = prefix.len;
        self.buf = buf;
    }

    /// Bytes that are missing of the message that is being assembled.
    #[inline]
    pub(super) fn missing(&self) -> usize {
        self.missing as usize
    }

    /// Adds to the message; at most [`Framing::missing`] bytes.
    ///
    /// `window` tells how much of a message the peer may have sent by now.
    #[inline]
    pub(super) fn add(&mut self, data: &[u8], window: impl FnOnce() -> usize) {
        let len = self.buf.len();
        if len + data.len() > self.buf.capacity() {
            // Doubling, but never beyond what the message needs or the peer's window lets come.
            let most = (len + self.missing()).min(window()).saturating_sub(len);
            let more = self.buf.capacity().min(most).max(data.len());
            self.buf.reserve_exact(more);
        }
        self.buf.extend_from_slice(data);
        self.missing -= data.len() as u32;
    }

    /// The message, now that nothing is missing.
    pub(super) fn finish(&mut self) -> (MessageBuf, bool) {
        debug_assert_eq!(self.missing, 0);
        self.have = 0;
        if planted::is(Bug::MessageCut) {
            self.buf.pop();
        }
        (MessageBuf::from(core::mem::take(&mut self.buf)), self.prefix[0] == 1)
    }

    /// Forgets whatever is held and returns its buffer.
    pub(super) fn reset(&mut self) -> Vec<u8> {
        self.have = 0;
        self.missing = 0;
        core::mem::take(&mut self.buf)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.buf.capacity()
    }
}
