//! Progress of a write that takes long: what the peer's system acknowledges meanwhile.

use std::time::Duration;

use grpc_proto::Instant;

/// Bytes that count as progress: the core's own least progress (docs/limits.md).
const LEAST: usize = 128;
/// The first look comes so long after the write was found to be slow, or after progress; each one after it as long after
/// the last as all the time before.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// Watches one connection's slow write for progress.
///
/// A write completes when the local socket buffer has room, which a system reports late: only when a third of the buffer is
/// free, on Linux, and buffers grow to megabytes. A peer that reads 10 KB a second may take minutes for that. What its
/// system has acknowledged tells earlier that it reads. Looks are rare: between two of them at most as much time passes as
/// the peer had already been silent, so that progress is noticed at the latest after twice the time that it took, and a
/// silent peer of a minute costs a dozen of looks.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The least that was unacknowledged since the last progress.
    mark: usize,
    gap: Duration,
    next: Instant,
}

impl Progress {
    /// Nothing is watched.
    pub const fn new() -> Self {
        Self { mark: 0, gap: FIRST_LOOK, next: Instant::NEVER }
    }

    /// Begins to watch, unless that has begun: a write is under way, and more output waits behind it.
    ///
    /// `unacknowledged` returns how many bytes were written that the peer's system has not acknowledged (`SIOCOUTQ` on
    /// Linux), or `None` if that is not known; nothing is watched then.
    pub fn watch(&mut self, unacknowledged: impl FnOnce() -> Option<usize>, now: Instant) {
        if self.next == Instant::NEVER
            && let Some(bytes) = unacknowledged()
        {
            self.begin(bytes, now);
        }
    }

    fn begin(&mut self, unacknowledged: usize, now: Instant) {
        *self = Self { mark: unacknowledged, gap: FIRST_LOOK, next: now + FIRST_LOOK };
    }

    /// Ends the watch: the write has completed.
    pub fn rest(&mut self) {
        self.next = Instant::NEVER;
    }

    /// When to look next; [`Instant::NEVER`] if nothing is watched.
    pub fn next_look(&self) -> Instant {
        self.next
    }

    /// Looks, and returns whether at least 128 bytes were acknowledged since the watch began or since the last progress.
    ///
    /// Call it at [`next_look`](Self::next_look), and before the endpoint is driven at its
    /// [`poll_timeout`](crate::Endpoint::poll_timeout), which may give the peer up.
    pub fn look(&mut self, unacknowledged: impl FnOnce() -> Option<usize>, now: Instant) -> bool {
        if self.next == Instant::NEVER {
            return false;
        }
        let Some(bytes) = unacknowledged() else {
            self.rest();
            return false;
        };
        if bytes + LEAST <= self.mark {
            self.begin(bytes, now);
            return true;
        }
        // More than before: a part of the write has moved into the socket buffer.
        self.mark = if bytes > self.mark { bytes } else { self.mark };
        if now >= self.next {
            self.gap *= 2;
            self.next = now + self.gap;
        }
        false
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn bytes_that_the_peer_acknowledges_are_progress_from_128_on() {
        let mut progress = Progress::new();
        assert!(!progress.look(|| Some(0), at(0)), "nothing is watched");
        progress.watch(|| Some(10_000), at(0));
        assert!(!progress.look(|| Some(9_873), at(10)));
        assert!(progress.look(|| Some(9_872), at(20)), "bytes add up between looks");
        assert!(!progress.look(|| Some(9_872), at(30)), "each byte counts once");
        progress.rest();
        assert_eq!(progress.next_look(), Instant::NEVER);
    }

    #[test]
    fn bytes_that_move_into_the_socket_buffer_hide_no_progress_that_follows() {
        let mut progress = Progress::new();
        progress.watch(|| Some(1_000), at(0));
        assert!(!progress.look(|| Some(5_000), at(10)));
        assert!(progress.look(|| Some(4_800), at(20)));
    }

    #[test]
    fn a_silent_minute_costs_a_dozen_looks() {
        let mut progress = Progress::new();
        progress.watch(|| Some(1_000), at(0));
        let mut looks = 0;
        while progress.next_look() < at(60_000) {
            let now = progress.next_look();
            assert!(!progress.look(|| Some(1_000), now));
            looks += 1;
        }
        assert_eq!(looks, 12);
    }

    #[test]
    fn a_transport_that_cannot_tell_is_not_watched() {
        let mut progress = Progress::new();
        progress.watch(|| None, at(0));
        assert_eq!(progress.next_look(), Instant::NEVER);
        progress.watch(|| Some(1_000), at(0));
        assert!(!progress.look(|| None, at(10)));
        assert_eq!(progress.next_look(), Instant::NEVER);
    }
}
