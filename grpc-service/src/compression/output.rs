//! Where decompressed bytes go: memory follows what really comes, and stops at the limit.

use super::Broken;

/// What is reserved first, and the least by which it grows.
const STEP: usize = 4 << 10;

/// A buffer that grows up to a limit.
pub(super) struct Output<'v> {
    pub(super) bytes: &'v mut Vec<u8>,
    limit: usize,
}

#[cfg_attr(
    not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
    allow(dead_code) // for codecs that were not compiled in
)]
impl<'v> Output<'v> {
    pub(super) fn new(bytes: &'v mut Vec<u8>, limit: usize) -> Self {
        Self { bytes, limit }
    }

    /// Makes room for at least one more byte, doubling; fails at the limit.
    ///
    /// One byte beyond the limit is room still, so that a message of just the limit can meet its end.
    pub(super) fn grow(&mut self) -> Result<(), Broken> {
        let len = self.bytes.len();
        if len < self.bytes.capacity() {
            return Ok(());
        }
        let left = (self.limit + 1).saturating_sub(len);
        if left == 0 {
            return Err(Broken::TooLarge);
        }
        self.bytes.reserve_exact(len.max(STEP).min(left));
        Ok(())
    }

    /// Fails if there is more than the limit: a buffer may have had more room from the start.
    pub(super) fn check(&self) -> Result<(), Broken> {
        if self.bytes.len() > self.limit { Err(Broken::TooLarge) } else { Ok(()) }
    }
}
