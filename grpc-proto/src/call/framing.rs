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

/// By how much the buffer of a message grows when it is full.
const GROWTH: usize = 4;
/// It takes all the memory that it may ever need where that is at most so many times what it has.
const TO_THE_END: usize = 16;

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
        if len > limit {
            return Err(Reason::MessageTooLarge);
        }
        Ok(Prefix { compressed: flags == 1, len })
    }
}

impl Framing {
    /// The bytes and the number of the messages that lie whole at the front of `data`, up to the first that is against
    /// the rules of [`Prefix::parse`].
    #[inline]
    pub(super) fn whole(data: &[u8], limit: u32, may_compress: bool) -> (usize, usize) {
        let (mut rest, mut count) = (data, 0);
        while let Some((prefix, body)) = rest.split_first_chunk::<PREFIX>()
            && let Ok(prefix) = Prefix::parse(*prefix, limit, may_compress)
            && let Some(after) = body.get(prefix.len as usize..)
        {
            (rest, count) = (after, count + 1);
        }
        (data.len() - rest.len(), count)
    }

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
            // Fourfold or to the end, but never beyond what the message needs or the peer's window lets come. All growth
            // together copies a third of a large message at most, where doubling could copy more than all of it.
            let most = (len + self.missing()).min(window()).saturating_sub(len);
            let more = if most <= TO_THE_END * self.buf.capacity() {
                most
            } else {
                (GROWTH - 1) * self.buf.capacity()
            };
            self.buf.reserve_exact(more.max(data.len()));
        }
        self.buf.extend_from_slice(data);
        self.missing -= data.len() as u32;
    }

    /// The message, now that nothing is missing.
    pub(super) fn finish(&mut self) -> (MessageBuf, bool) {
        debug_assert_eq!(self.missing, 0);
        self.have = 0;
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

    /// Memory beyond the bytes that have come.
    #[inline]
    pub(super) fn spare(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message after another through one framing, each in pieces of any length: what comes out is what went in.
    #[test]
    fn a_message_in_pieces_keeps_its_bytes_and_its_flag() {
        let mut framing = Framing::default();
        for len in 0..12usize {
            for compressed in [false, true] {
                for piece in 1..len + PREFIX {
                    let text: Vec<u8> = (0..len as u8).collect();
                    let [.., c, d] = (len as u32).to_be_bytes();
                    let wire = [&[u8::from(compressed), 0, 0, c, d][..], &text].concat();
                    let (mut prefix, mut rest) = (None, &wire[..]);
                    let mut taken = 0;
                    while prefix.is_none() {
                        assert_eq!(framing.is_between(), taken == 0);
                        assert!(!framing.is_assembling());
                        let data = &rest[..piece.min(rest.len())];
                        let (part, found) = framing.add_prefix(data);
                        assert_eq!(part, data.len().min(PREFIX - taken));
                        (taken, prefix, rest) = (taken + part, found, &rest[part..]);
                    }
                    let prefix = Prefix::parse(prefix.unwrap(), 100, true).unwrap();
                    assert_eq!(prefix, Prefix { compressed, len: len as u32 });
                    framing.begin(prefix, Vec::new());
                    assert!(framing.is_assembling() && !framing.is_between());
                    while framing.missing() > 0 {
                        assert_eq!(framing.missing(), rest.len());
                        let (data, after) = rest.split_at(piece.min(rest.len()));
                        framing.add(data, || 1000);
                        rest = after;
                    }
                    let (buf, flag) = framing.finish();
                    assert_eq!((&buf[..], flag), (&text[..], compressed));
                    assert!(framing.is_between());
                }
            }
        }
    }

    #[test]
    fn a_prefix_is_refused_by_the_first_rule_that_it_breaks() {
        let parse = |flags, len: u32, may_compress| {
            let [a, b, c, d] = len.to_be_bytes();
            Prefix::parse([flags, a, b, c, d], 0x01_02_03_04, may_compress)
        };
        let ok = |compressed, len| Ok(Prefix { compressed, len });
        assert_eq!(parse(0, 0, false), ok(false, 0));
        assert_eq!(parse(0, 0x01_02_03_04, false), ok(false, 0x01_02_03_04));
        assert_eq!(parse(0, 0x01_02_03_05, false), Err(Reason::MessageTooLarge));
        assert_eq!(parse(1, 7, true), ok(true, 7));
        assert_eq!(parse(1, u32::MAX, false), Err(Reason::CompressedWithoutEncoding));
        assert_eq!(parse(2, 7, true), Err(Reason::MessageFlags));
        assert_eq!(parse(255, 7, false), Err(Reason::MessageFlags));
    }

    #[test]
    fn a_run_of_whole_messages_ends_at_what_is_split_or_against_the_rules() {
        let good = [&[0, 0, 0, 0, 2, 7, 8][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 1, 9]].concat();
        let ends = [0, 7, 12, 18];
        for len in 0..=good.len() {
            let whole = ends.iter().filter(|&&end| end <= len).count() - 1;
            assert_eq!(Framing::whole(&good[..len], 2, true), (ends[whole], whole));
        }
        // The third is compressed, and then each is too long.
        assert_eq!(Framing::whole(&good, 2, false), (12, 2));
        assert_eq!(Framing::whole(&good, 1, true), (0, 0));
        for bad in [2, 255] {
            let bytes = [&good[..7], &[bad, 0, 0, 0, 0]].concat();
            assert_eq!(Framing::whole(&bytes, 2, true), (7, 1));
        }
    }

    /// At once at most 16 KiB, then fourfold or all, within the message and the window; what arrives always fits.
    #[test]
    fn memory_follows_the_bytes_within_the_message_and_the_window() {
        let message = |len| Prefix { compressed: false, len };
        for (len, capacity) in [(0, 0), (100, 100), (16 << 10, 16 << 10), (1 << 20, 16 << 10)] {
            let mut framing = Framing::default();
            framing.begin(message(len), Vec::new());
            assert_eq!(framing.heap_bytes(), capacity);
        }
        let mut framing = Framing::default();
        framing.begin(message(100_000), Vec::new());
        let mut held = Vec::new();
        for _ in 0..10 {
            framing.add(&[7; 10_000], || 60_000);
            held.push(framing.heap_bytes());
        }
        // 16 KiB, the window, and beyond it what comes.
        let wanted = [16_384, 60_000, 60_000, 60_000, 60_000, 60_000, 70_000, 80_000, 90_000];
        assert_eq!(held[..9], wanted);
        assert_eq!(held[9], 100_000);
        // The end of the message bounds it too.
        let mut framing = Framing::default();
        framing.begin(message(20_000), Vec::new());
        framing.add(&[7; 10_000], || 1 << 20);
        framing.add(&[7; 6_385], || 1 << 20);
        assert_eq!(framing.heap_bytes(), 20_000);
        assert_eq!(framing.reset().len(), 16_385);
        assert!(framing.is_between());
        assert_eq!((framing.missing(), framing.heap_bytes()), (0, 0));
    }

    /// Bytes that growth has to move while a message of `len` bytes comes in frames of 16 KiB.
    fn moved_by_growth(len: usize) -> usize {
        let mut framing = Framing::default();
        framing.begin(Prefix { compressed: false, len: len as u32 }, Vec::new());
        let (mut moved, mut come) = (0, 0);
        while framing.missing() > 0 {
            let part = framing.missing().min((16 << 10) - 9);
            let before = framing.heap_bytes();
            framing.add(&[7; 16 << 10][..part], || usize::MAX);
            moved += if framing.heap_bytes() == before { 0 } else { come };
            come += part;
            let most = (1 + TO_THE_END) * come.max(16 << 10);
            assert!(framing.heap_bytes() <= most.min(len.max(16 << 10)));
        }
        assert_eq!(framing.heap_bytes(), len, "no memory beyond the message");
        moved
    }

    #[test]
    fn growth_moves_at_most_a_third_of_a_large_message() {
        for len in [64 << 10, 100_000, 300_000, 1 << 20, (1 << 20) + 4, 4 << 20] {
            let moved = moved_by_growth(len);
            assert!(moved <= len / 3, "{moved} of {len}");
        }
    }
}
