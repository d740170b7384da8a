//! How long to wait between attempts to connect (gRPC's connection-backoff document).

use std::time::Duration;

/// How a channel paces its attempts to connect; the defaults are those of gRPC's connection-backoff document.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// From the start of an attempt to the start of the next, after one that succeeded or the first that fails. Default
    /// 1 s.
    pub initial: Duration,
    /// What that grows by with each failure. Default 1.6.
    pub multiplier: f64,
    /// The part by which it is longer or shorter at random, so that clients do not come back all at once. Default 0.2.
    pub jitter: f64,
    /// What it grows to. Default 120 s.
    pub max: Duration,
    /// The least that an attempt may take before it is given up. Default 20 s.
    pub attempt_timeout: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            multiplier: 1.6,
            jitter: 0.2,
            max: Duration::from_secs(120),
            attempt_timeout: Duration::from_secs(20),
        }
    }
}

impl Backoff {
    /// The time between attempts after so many failures in a row, one at least.
    pub(crate) fn delay(&self, failures: u32, entropy: u64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        let max = self.max.as_secs_f64();
        // `min` would make the longest wait of what is no number, as nothing times a power beyond all bounds.
        let base = if grown > max { max } else { grown };
        // Fifty-three bits are what the number has room for: evenly from -1 to 1.
        let chance = (entropy >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let jittered = base * (1.0 + self.jitter * chance);
        // Settings that make no sense, such as a negative multiplier, mean no wait rather than a panic.
        Duration::try_from_secs_f64(jittered).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule 37.
    #[test]
    fn rule_37_delays_grow_by_1_6_to_120_s_and_vary_by_a_fifth() {
        let backoff = Backoff::default();
        let mut expected = 1.0;
        for failures in 1..100 {
            for (entropy, factor) in [(0, 0.8), (u64::MAX / 2, 1.0), (u64::MAX, 1.2)] {
                let delay = backoff.delay(failures, entropy).as_secs_f64();
                assert!((delay / (expected * factor) - 1.0).abs() < 1e-9, "{failures}: {delay}");
            }
            expected = f64::min(expected * 1.6, 120.0);
        }
        assert_eq!(expected, 120.0);
        assert!(backoff.delay(u32::MAX, 0) >= Duration::from_secs(90));
    }

    #[test]
    fn settings_that_make_no_sense_mean_no_wait() {
        for multiplier in [-1e300, f64::NAN] {
            let backoff = Backoff { multiplier, ..Backoff::default() };
            assert_eq!(backoff.delay(2, u64::MAX), Duration::ZERO, "{multiplier}");
        }
        let jumping = Backoff { multiplier: f64::INFINITY, jitter: 0.0, ..Backoff::default() };
        assert_eq!(jumping.delay(2, u64::MAX), jumping.max);
        let endless = Backoff { jitter: f64::NAN, max: Duration::MAX, ..Backoff::default() };
        assert_eq!(endless.delay(u32::MAX, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn who_does_not_want_to_wait_never_waits() {
        let backoff = Backoff { initial: Duration::ZERO, ..Backoff::default() };
        for failures in [0, 1, 2, 1510, 1511, 1512, u32::MAX] {
            assert_eq!(backoff.delay(failures, u64::MAX), Duration::ZERO, "{failures}");
        }
    }
}
