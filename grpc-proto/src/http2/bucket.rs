//! A token bucket over the caller's time.

use crate::time::Instant;

/// Allows a burst, then a rate.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    tokens: u32,
    burst: u32,
    /// Nanoseconds that one token takes to come back.
    refill_ns: u64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A rate of zero counts as one, and one above 10⁹ as that: a token a nanosecond.
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let refill_ns = (1_000_000_000 / u64::from(per_second.max(1))).max(1);
        TokenBucket { tokens: burst, burst, refill_ns, filled_at: now }
    }

    /// Takes one token; `false` if there is none.
    #[must_use]
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.as_nanos().saturating_sub(self.filled_at.as_nanos());
        let earned = elapsed / self.refill_ns;
        if earned > 0 {
            self.tokens = (u64::from(self.tokens) + earned).min(u64::from(self.burst)) as u32;
            self.filled_at =
                Instant::from_nanos(self.filled_at.as_nanos() + earned * self.refill_ns);
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_passes_the_next_does_not_and_time_refills() {
        let mut bucket = TokenBucket::new(3, 10, Instant::ZERO);
        for _ in 0..3 {
            assert!(bucket.take(Instant::ZERO));
        }
        assert!(!bucket.take(Instant::from_millis(99)));
        assert!(bucket.take(Instant::from_millis(100)));
        assert!(!bucket.take(Instant::from_millis(199)));
        assert!(bucket.take(Instant::from_millis(10_000)));
    }

    #[test]
    fn each_token_comes_back_after_its_time_and_no_time_is_lost() {
        for (per_second, nanos) in [(1, 1_000_000_000), (33, 30_303_030), (1000, 1_000_000)] {
            // Looked at in steps that are no multiple of a token's time.
            let mut bucket = TokenBucket::new(1, per_second, Instant::from_nanos(5));
            assert!(bucket.take(Instant::from_nanos(5)));
            for n in 1..20 {
                let due = 5 + n * nanos;
                assert!(!bucket.take(Instant::from_nanos(due - nanos / 3)), "{n} of {per_second}");
                assert!(!bucket.take(Instant::from_nanos(due - 1)), "{n} of {per_second}");
                assert!(bucket.take(Instant::from_nanos(due)), "{n} of {per_second}");
            }
        }
    }

    #[test]
    fn a_rate_above_any_clock_is_no_limit() {
        for per_second in [1_000_000_000, 1_000_000_001, u32::MAX] {
            let mut bucket = TokenBucket::new(2, per_second, Instant::ZERO);
            for at in 0..100 {
                assert!(bucket.take(Instant::from_nanos(at)), "{at} of {per_second}");
            }
        }
    }

    #[test]
    fn a_rest_brings_back_the_burst_and_not_more() {
        let mut bucket = TokenBucket::new(5, 1, Instant::ZERO);
        for at in [0, 1_000_000] {
            let taken = (0..10).filter(|_| bucket.take(Instant::from_millis(at))).count();
            assert_eq!(taken, 5);
        }
        // Two of three that were earned while one was left.
        let mut bucket = TokenBucket::new(5, 1, Instant::ZERO);
        (0..4).for_each(|_| assert!(bucket.take(Instant::ZERO)));
        let taken = (0..10).filter(|_| bucket.take(Instant::from_millis(2_500))).count();
        assert_eq!(taken, 3);
    }
}
