//! How the last streams that are gone were closed: it decides what a frame means that comes late.

use alloc::vec::Vec;

use crate::http2::state::Cause;

/// Streams that are remembered.
const REMEMBERED: usize = 64;

/// The last 64 streams that were closed, and why.
#[derive(Debug, Default)]
pub(super) struct RecentlyClosed {
    /// Once it is full, a ring.
    streams: Vec<(u32, Cause)>,
    /// The oldest in a ring that is full.
    next: usize,
    /// The highest identifier that was dropped from the ring.
    forgotten: u32,
}

impl RecentlyClosed {
    /// Remembers a stream; the oldest one makes way.
    #[inline]
    pub(super) fn add(&mut self, id: u32, cause: Cause) {
        if self.streams.len() < REMEMBERED {
            self.streams.push((id, cause));
        } else {
            self.forgotten = self.forgotten.max(self.streams[self.next].0);
            self.streams[self.next] = (id, cause);
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// Remembers a stream once: in the place that it has already, if it has one.
    pub(super) fn set(&mut self, id: u32, cause: Cause) {
        match self.streams.iter_mut().find(|(closed, _)| *closed == id) {
            Some(entry) => entry.1 = cause,
            None => self.add(id, cause),
        }
    }

    /// How a stream was closed; `newest` is the highest identifier that the peer has used.
    pub(super) fn cause_of(&self, id: u32, newest: u32) -> Cause {
        match self.streams.iter().find(|(closed, _)| *closed == id) {
            Some(&(_, cause)) => cause,
            // Above what was forgotten, every stream that was ever used is known.
            None if id > self.forgotten && id <= newest => Cause::Skipped,
            None => Cause::Forgotten,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.streams.capacity() * size_of::<(u32, Cause)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_streams_are_known_and_older_ones_forgotten() {
        let mut closed = RecentlyClosed::default();
        for id in (1..=131).step_by(2) {
            closed.add(id, Cause::Ended);
        }
        // 66 streams: 1 and 3 were dropped.
        assert_eq!(closed.cause_of(3, 200), Cause::Forgotten);
        assert_eq!(closed.cause_of(5, 200), Cause::Ended);
        assert_eq!(closed.cause_of(131, 200), Cause::Ended);
        assert_eq!(closed.cause_of(133, 200), Cause::Skipped, "a higher one was used");
        assert_eq!(closed.cause_of(133, 131), Cause::Forgotten, "none that is known of");
    }

    #[test]
    fn a_stream_that_is_closed_again_keeps_its_place() {
        let mut closed = RecentlyClosed::default();
        closed.set(1, Cause::ResetByPeer);
        closed.set(1, Cause::ResetByUs);
        assert_eq!(closed.streams, [(1, Cause::ResetByUs)]);
    }
}
