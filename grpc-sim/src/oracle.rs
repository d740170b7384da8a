//! What must hold in every world, by name.

use std::fmt;

/// A rule that a run broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// Messages received are a prefix of those sent, and equal to them when the status is OK.
    Prefix,
    /// Every call ends exactly once, with a status that the server's or a fault explains.
    OneEnd,
    /// Windows are conserved: what a sender may send is what its receiver lets it, less what is under way.
    Windows,
    /// HPACK tables agree at rest.
    Tables,
    /// Memory stays under the formula, and goes back at rest.
    Memory,
    /// Work stays under a constant a byte.
    Work,
    /// The independent wire monitor agrees.
    Wire,
    /// A call is settled by its deadline.
    Deadline,
    /// An attack on one connection does not fail another, and meets its defence.
    Isolation,
    /// The same seed gives the same trace hash.
    Repeatable,
    /// Once the faults are healed, every call ends.
    Liveness,
    /// Polling everything at rest changes nothing.
    MissedWakeup,
    /// Nothing panics.
    Panic,
    /// What is planned can happen.
    Plan,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Oracle; 14] = [
        Oracle::Prefix,
        Oracle::OneEnd,
        Oracle::Windows,
        Oracle::Tables,
        Oracle::Memory,
        Oracle::Work,
        Oracle::Wire,
        Oracle::Deadline,
        Oracle::Isolation,
        Oracle::Repeatable,
        Oracle::Liveness,
        Oracle::MissedWakeup,
        Oracle::Panic,
        Oracle::Plan,
    ];
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Oracle::Prefix => "prefix",
            Oracle::OneEnd => "one-end",
            Oracle::Windows => "windows",
            Oracle::Tables => "tables",
            Oracle::Memory => "memory",
            Oracle::Work => "work",
            Oracle::Wire => "wire",
            Oracle::Deadline => "deadline",
            Oracle::Isolation => "isolation",
            Oracle::Repeatable => "repeatable",
            Oracle::Liveness => "liveness",
            Oracle::MissedWakeup => "missed-wakeup",
            Oracle::Panic => "panic",
            Oracle::Plan => "plan",
        })
    }
}

/// How a run failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The rule.
    pub oracle: Oracle,
    /// What broke it.
    pub text: String,
    /// When, in virtual time.
    pub at_ns: u64,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] at {} µs: {}", self.oracle, self.at_ns / 1000, self.text)
    }
}
