//! A field that tells how much time is left: its value is written when its header section leaves.
//!
//! A stream may wait long for its turn, so a value that was written when the stream was opened would be wrong. The layer
//! above says which field that is and how it is written; HTTP/2 itself has none.

use core::time::Duration;

use crate::hpack::Token;

/// The field of a protocol over HTTP/2 that tells how much time is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LateField {
    /// Its name.
    pub(crate) token: Token,
    /// Its value when so much time is left.
    pub(crate) value: fn(Duration) -> LateValue,
}

/// A short value, held in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LateValue {
    text: [u8; LateValue::MOST],
    len: u8,
}

impl LateValue {
    /// The longest value, in bytes.
    pub(crate) const MOST: usize = 15;

    /// Copies a value of at most [`LateValue::MOST`] bytes; more are cut off.
    #[inline]
    pub(crate) fn new(value: &[u8]) -> Self {
        debug_assert!(value.len() <= Self::MOST);
        let len = value.len().min(Self::MOST);
        let mut text = [0; Self::MOST];
        text[..len].copy_from_slice(&value[..len]);
        LateValue { text, len: len as u8 }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}
