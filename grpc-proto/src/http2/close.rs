//! Why connections end, as a fixed set of reasons, and how often each did.

use core::fmt;
use core::ops::AddAssign;

use super::session::{ConnectionError, Foreign, TimedOut};
use super::violation::Violation;

/// Why a connection ended, without what differs from peer to peer: one counter of [`CloseCounts`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer broke this rule. A field block that does not decode is [`Violation::Compression`].
    Violation(Violation),
    /// The peer did not do this in time.
    TimedOut(TimedOut),
    /// The peer speaks HTTP/1: a server that a client of ours met. A client of HTTP/1 at our server has broken the rule
    /// [`Violation::Http1Request`].
    NotHttp2Http1,
    /// The peer speaks TLS where none is spoken.
    NotHttp2Tls,
    /// The transport ended without a GOAWAY from the peer.
    Closed,
    /// The peer said GOAWAY; then the transport ended, or no call was left.
    PeerGoAway,
    /// The application closed the connection at once.
    ClosedByUs,
    /// The application drained the connection.
    Drained,
    /// The connection drained after [`Limits::max_idle`](crate::Limits::max_idle).
    MaxIdle,
    /// The connection drained after [`Limits::max_age`](crate::Limits::max_age).
    MaxAge,
    /// The program dropped the connection before any end.
    Dropped,
    /// The program closed the connection because it held most of what several may receive together.
    ReceiveBudget,
    /// The program closed the connection because it had queued most of what several may send together.
    SendBudget,
}

/// Those without an argument, in the order of their counters.
const PLAIN: [CloseReason; 11] = [
    CloseReason::NotHttp2Http1,
    CloseReason::NotHttp2Tls,
    CloseReason::Closed,
    CloseReason::PeerGoAway,
    CloseReason::ClosedByUs,
    CloseReason::Drained,
    CloseReason::MaxIdle,
    CloseReason::MaxAge,
    CloseReason::Dropped,
    CloseReason::ReceiveBudget,
    CloseReason::SendBudget,
];

impl CloseReason {
    /// How many there are.
    pub const COUNT: usize = Violation::ALL.len() + TimedOut::ALL.len() + PLAIN.len();

    /// Every reason, in a fixed order: rules, times, and the rest.
    pub fn all() -> impl Iterator<Item = CloseReason> {
        let rules = Violation::ALL.iter().map(|&rule| CloseReason::Violation(rule));
        let times = TimedOut::ALL.iter().map(|&what| CloseReason::TimedOut(what));
        rules.chain(times).chain(PLAIN)
    }

    /// A name that stays, for metrics: that of the variant, without the word `Violation`, such as `TooManyPings`,
    /// `TimedOutKeepalive` or `Drained`.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Violation(rule) => rule.name(),
            CloseReason::TimedOut(TimedOut::Preface) => "TimedOutPreface",
            CloseReason::TimedOut(TimedOut::Settings) => "TimedOutSettings",
            CloseReason::TimedOut(TimedOut::SettingsAck) => "TimedOutSettingsAck",
            CloseReason::TimedOut(TimedOut::Keepalive) => "TimedOutKeepalive",
            CloseReason::TimedOut(TimedOut::Window) => "TimedOutWindow",
            CloseReason::TimedOut(TimedOut::Backlog) => "TimedOutBacklog",
            CloseReason::TimedOut(TimedOut::Drain) => "TimedOutDrain",
            CloseReason::NotHttp2Http1 => "NotHttp2Http1",
            CloseReason::NotHttp2Tls => "NotHttp2Tls",
            CloseReason::Closed => "Closed",
            CloseReason::PeerGoAway => "PeerGoAway",
            CloseReason::ClosedByUs => "ClosedByUs",
            CloseReason::Drained => "Drained",
            CloseReason::MaxIdle => "MaxIdle",
            CloseReason::MaxAge => "MaxAge",
            CloseReason::Dropped => "Dropped",
            CloseReason::ReceiveBudget => "ReceiveBudget",
            CloseReason::SendBudget => "SendBudget",
        }
    }

    /// Its place in [`all`](Self::all).
    const fn index(self) -> usize {
        let times = Violation::ALL.len();
        let plain = times + TimedOut::ALL.len();
        match self {
            CloseReason::Violation(rule) => rule as usize,
            CloseReason::TimedOut(what) => times + what as usize,
            CloseReason::NotHttp2Http1 => plain,
            CloseReason::NotHttp2Tls => plain + 1,
            CloseReason::Closed => plain + 2,
            CloseReason::PeerGoAway => plain + 3,
            CloseReason::ClosedByUs => plain + 4,
            CloseReason::Drained => plain + 5,
            CloseReason::MaxIdle => plain + 6,
            CloseReason::MaxAge => plain + 7,
            CloseReason::Dropped => plain + 8,
            CloseReason::ReceiveBudget => plain + 9,
            CloseReason::SendBudget => plain + 10,
        }
    }
}

impl From<&ConnectionError> for CloseReason {
    /// The reason of an error; only [`Session::close_reason`](super::Session::close_reason) knows that of a drain.
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::PeerMisbehaved(rule) => CloseReason::Violation(*rule),
            ConnectionError::Compression(_) => CloseReason::Violation(Violation::Compression),
            ConnectionError::NotHttp2(Foreign::Http1(_)) => CloseReason::NotHttp2Http1,
            ConnectionError::NotHttp2(Foreign::Tls) => CloseReason::NotHttp2Tls,
            ConnectionError::Closed(None) => CloseReason::Closed,
            ConnectionError::Closed(Some(_)) => CloseReason::PeerGoAway,
            ConnectionError::TimedOut(what) => CloseReason::TimedOut(*what),
            ConnectionError::ClosedByUs(_) => CloseReason::ClosedByUs,
            ConnectionError::Drained => CloseReason::Drained,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many connections ended for each reason: a fixed array, which is copied and added up without memory of its own.
///
/// ```
/// use grpc_proto::{CloseCounts, CloseReason, TimedOut};
///
/// let mut counts = CloseCounts::default();
/// counts.add(CloseReason::Drained);
/// counts.add(CloseReason::TimedOut(TimedOut::Keepalive));
/// assert_eq!((counts.get(CloseReason::Drained), counts.total()), (1, 2));
/// for (reason, count) in counts.iter() {
///     println!("connections_closed{{reason=\"{}\"}} {count}", reason.name());
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CloseCounts([u64; CloseReason::COUNT]);

impl CloseCounts {
    /// Counts one connection.
    pub const fn add(&mut self, reason: CloseReason) {
        self.0[reason.index()] += 1;
    }

    /// How many ended for this reason.
    pub const fn get(&self, reason: CloseReason) -> u64 {
        self.0[reason.index()]
    }

    /// How many ended.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, those that were never met too, in the order of [`CloseReason::all`].
    pub fn iter(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        CloseReason::all().zip(self.0)
    }
}

impl Default for CloseCounts {
    fn default() -> Self {
        CloseCounts([0; CloseReason::COUNT])
    }
}

impl AddAssign for CloseCounts {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl fmt::Debug for CloseCounts {
    /// Those that were met.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = self.iter().filter(|&(_, count)| count > 0);
        f.debug_map().entries(met.map(|(reason, count)| (reason.name(), count))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;

    use crate::hpack::DecodeError;
    use crate::http2::ErrorCode;

    #[test]
    fn every_reason_has_a_counter_and_a_name_of_its_own() {
        let names: BTreeSet<_> = CloseReason::all().map(CloseReason::name).collect();
        assert_eq!(
            (names.len(), CloseReason::all().count()),
            (CloseReason::COUNT, CloseReason::COUNT)
        );
        for (place, reason) in CloseReason::all().enumerate() {
            let mut counts = CloseCounts::default();
            counts.add(reason);
            counts.add(reason);
            let found = counts.iter().position(|(_, count)| count == 2);
            assert_eq!((reason.index(), found), (place, Some(place)), "{reason}");
            assert_eq!((counts.get(reason), counts.total()), (2, 2));
            assert!(reason.name().bytes().all(|byte| byte.is_ascii_alphanumeric()), "{reason}");
        }
    }

    #[test]
    fn counts_add_up_reason_by_reason() {
        let mut sum = CloseCounts::default();
        for (n, reason) in CloseReason::all().enumerate() {
            let mut counts = CloseCounts::default();
            (0..n).for_each(|_| counts.add(reason));
            sum += counts;
        }
        assert!(sum.iter().enumerate().all(|(n, (_, count))| count == n as u64), "{sum:?}");
        let mut one = CloseCounts::default();
        one.add(CloseReason::MaxAge);
        assert_eq!(format!("{one:?}"), "{\"MaxAge\": 1}");
    }

    #[test]
    fn each_error_has_its_reason() {
        for (error, name) in [
            (ConnectionError::PeerMisbehaved(Violation::TooManyPings), "TooManyPings"),
            (ConnectionError::Compression(DecodeError::IntegerOverflow), "Compression"),
            (ConnectionError::NotHttp2(Foreign::Http1(Some(400))), "NotHttp2Http1"),
            (ConnectionError::NotHttp2(Foreign::Tls), "NotHttp2Tls"),
            (ConnectionError::Closed(None), "Closed"),
            (ConnectionError::Closed(Some(ErrorCode::NO_ERROR)), "PeerGoAway"),
            (ConnectionError::TimedOut(TimedOut::Window), "TimedOutWindow"),
            (ConnectionError::ClosedByUs(ErrorCode::CANCEL), "ClosedByUs"),
            (ConnectionError::Drained, "Drained"),
        ] {
            assert_eq!(CloseReason::from(&error).name(), name);
        }
        for &what in TimedOut::ALL {
            let name = CloseReason::from(&ConnectionError::TimedOut(what)).name();
            assert_eq!(name, format!("TimedOut{what:?}"));
        }
        for &rule in Violation::ALL {
            let name = CloseReason::from(&ConnectionError::PeerMisbehaved(rule)).name();
            assert_eq!(name, format!("{rule:?}"));
        }
    }
}
