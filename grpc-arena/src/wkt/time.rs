//! `Timestamp` and `Duration`, to and from the standard library's.

use core::fmt;

use super::{Duration, Timestamp};

const NANOS_PER_SECOND: i32 = 1_000_000_000;
/// The years 1 to 9999, in seconds since 1970: what the type allows.
const TIMESTAMP_SECONDS: core::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Ten thousand years either way: what the type allows.
const DURATION_SECONDS: i64 = 315_576_000_000;

/// A time that the other type cannot express, or that the schema forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is out of range")
    }
}

impl core::error::Error for OutOfRange {}

impl Duration<'_> {
    /// Of so many seconds and nanoseconds, which must have the same sign.
    ///
    /// # Errors
    /// When they have not, or are more than ten thousand years or a second.
    pub fn of(seconds: i64, nanos: i32) -> Result<Self, OutOfRange> {
        let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
        if !one_sign
            || seconds.unsigned_abs() > DURATION_SECONDS as u64
            || nanos.unsigned_abs() >= NANOS_PER_SECOND.unsigned_abs()
        {
            return Err(OutOfRange);
        }
        Ok(Self { seconds, nanos, ..Self::EMPTY })
    }
}

impl TryFrom<core::time::Duration> for Duration<'_> {
    type Error = OutOfRange;

    fn try_from(time: core::time::Duration) -> Result<Self, OutOfRange> {
        let seconds = i64::try_from(time.as_secs()).map_err(|_| OutOfRange)?;
        Self::of(seconds, time.subsec_nanos().cast_signed())
    }
}

impl TryFrom<Duration<'_>> for core::time::Duration {
    type Error = OutOfRange;

    /// A negative duration is out of range.
    fn try_from(time: Duration<'_>) -> Result<Self, OutOfRange> {
        let valid = Duration::of(time.seconds, time.nanos)?;
        let seconds = u64::try_from(valid.seconds).map_err(|_| OutOfRange)?;
        let nanos = u32::try_from(valid.nanos).map_err(|_| OutOfRange)?;
        Ok(Self::new(seconds, nanos))
    }
}

impl Timestamp<'_> {
    /// So many seconds since 1970, and nanoseconds that count forwards from there.
    ///
    /// # Errors
    /// Outside of the years 1 to 9999, or when the nanoseconds are negative or a second or more.
    pub fn of(seconds: i64, nanos: i32) -> Result<Self, OutOfRange> {
        if !TIMESTAMP_SECONDS.contains(&seconds) || !(0..NANOS_PER_SECOND).contains(&nanos) {
            return Err(OutOfRange);
        }
        Ok(Self { seconds, nanos, ..Self::EMPTY })
    }
}

#[cfg(feature = "std")]
mod system_time {
    use std::time::{Duration, SystemTime};

    use super::{NANOS_PER_SECOND, OutOfRange, Timestamp};

    impl TryFrom<SystemTime> for Timestamp<'_> {
        type Error = OutOfRange;

        fn try_from(time: SystemTime) -> Result<Self, OutOfRange> {
            let seconds = |time: Duration| i64::try_from(time.as_secs()).map_err(|_| OutOfRange);
            match time.duration_since(SystemTime::UNIX_EPOCH) {
                Ok(since) => Self::of(seconds(since)?, since.subsec_nanos().cast_signed()),
                Err(error) => {
                    let before = error.duration();
                    let nanos = before.subsec_nanos().cast_signed();
                    // The nanoseconds count forwards, from one second earlier if there are any.
                    match nanos {
                        0 => Self::of(-seconds(before)?, 0),
                        _ => Self::of(-seconds(before)? - 1, NANOS_PER_SECOND - nanos),
                    }
                }
            }
        }
    }

    impl TryFrom<Timestamp<'_>> for SystemTime {
        type Error = OutOfRange;

        fn try_from(time: Timestamp<'_>) -> Result<Self, OutOfRange> {
            let valid = Timestamp::of(time.seconds, time.nanos)?;
            let seconds = Duration::from_secs(valid.seconds.unsigned_abs());
            let nanos = Duration::from_nanos(u64::from(valid.nanos.unsigned_abs()));
            let whole = if valid.seconds < 0 {
                Self::UNIX_EPOCH.checked_sub(seconds)
            } else {
                Self::UNIX_EPOCH.checked_add(seconds)
            };
            whole.and_then(|whole| whole.checked_add(nanos)).ok_or(OutOfRange)
        }
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn a_time_comes_back_from_the_system_s_clock_and_its_own(
                seconds in super::super::TIMESTAMP_SECONDS, nanos in 0..NANOS_PER_SECOND,
            ) {
                let at = Timestamp::of(seconds, nanos).unwrap();
                let time = SystemTime::try_from(at).unwrap();
                prop_assert_eq!(Timestamp::try_from(time), Ok(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_convert_within_their_range() {
        let std = core::time::Duration::new(5, 7);
        assert_eq!(Duration::try_from(std), Duration::of(5, 7));
        assert_eq!(core::time::Duration::try_from(Duration::of(5, 7).unwrap()), Ok(std));
        assert_eq!(core::time::Duration::try_from(Duration::of(-1, -7).unwrap()), Err(OutOfRange));
        assert_eq!(Duration::try_from(core::time::Duration::MAX), Err(OutOfRange));
        assert_eq!(Duration::of(1, -1), Err(OutOfRange));
        assert_eq!(Duration::of(0, NANOS_PER_SECOND), Err(OutOfRange));
        // What a peer can put there, though it has no absolute value.
        assert_eq!(Duration::of(0, i32::MIN), Err(OutOfRange));
    }

    #[test]
    fn a_timestamp_s_nanoseconds_count_forwards() {
        assert!(Timestamp::of(-1, 999_999_999).is_ok());
        assert_eq!(Timestamp::of(0, -1), Err(OutOfRange));
        assert_eq!(Timestamp::of(253_402_300_800, 0), Err(OutOfRange));
    }
}
