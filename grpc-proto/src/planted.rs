//! Faults to be planted one at a time, which tests of the tests must find. Nothing of this exists
//! without the feature `planted`: [`is`] is then a constant `false`.

macro_rules! bugs {
    ($($bug:ident => $text:literal;)*) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[cfg_attr(not(feature = "planted"), allow(dead_code, unreachable_pub))]
        pub enum Bug { $(#[doc = $text] $bug,)* }

        #[cfg(feature = "planted")]
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug),*];

            /// What it does.
            pub const fn text(self) -> &'static str {
                match self { $(Bug::$bug => $text,)* }
            }
        }
    };
}

bugs! {
    CreditTwice => "flow: a receiver forgets the credit that it has given and gives it again";
    ShiftUpOnly => "flow: a smaller initial window does not shrink the windows of open streams";
    SkippedNotReleased => "session/receive: DATA of a stream that is over keeps its connection credit";
    ReservationLeak => "session/budgets: a call that ends early keeps its part of the assembly budget";
    SendBudgetLeak => "session/budgets: a queue that was dropped keeps its part of the send budget";
    WakeupLost => "session/budgets: only the writer in the first slot is told of room";
    EvictionLate => "hpack/table: an entry more than fits stays in the table";
    SizeUpdateLost => "hpack/encoder: a smaller table is used without having been announced";
    PrefixSplit => "call/framing: a prefix that is cut after its fourth byte loses its length";
    MessageCut => "call/framing: a message that comes in pieces loses its last byte";
    MessageLimit => "call/framing: a message of exactly the limit is refused";
    PoolDirty => "queue: a buffer that is used again keeps what was in it";
    TrailersTwice => "session/transmit: trailers are sent twice behind a message";
    EarlyReset => "session/transmit: an early answer is reset before all of it was sent";
    OpenOneMore => "session/transmit: one stream more than the peer allows is opened";
    CancelLeavesQueue => "session/slots: a call that is cancelled before it was sent stays in the queue";
    GoAwayTooFar => "session/end: GOAWAY also ends the last stream that the peer serves";
    DeadlineLate => "session/end: deadlines are a millisecond late";
    AckTwice => "session/frames: SETTINGS are acknowledged twice";
    WindowOpensSilently => "session/frames: a stream that a WINDOW_UPDATE opens from zero is not served";
    ContinuationLimit => "session/blocks: one CONTINUATION more than the limit passes";
    HeadOfBefore => "session/decode_memo: the head of an answer that differs from the last one in its values alone keeps those";
    PingIgnored => "session/frames: a PING is not answered";
    ViolatedKept => "session/transmit: a stream that is reset for a rule keeps its slot";
    IdleLeaves => "session/time: a server whose connection has no calls drains it, whatever its limits";
    StreamLimit => "session/blocks: one stream more than the limit is accepted";
    EmptyDataLimit => "session/receive: one empty DATA frame fewer than the limit passes";
    ResetsUncounted => "session/frames: resets take no tokens";
    EscapeLost => "status: a byte behind an escape is lost";
    ArenaKept => "service/pool: an arena goes back to its pool without being reset";
    BatchOverwritten => "service/inbox: messages that came meanwhile are lost when a batch is given back";
    SinkAsleep => "service/server: a sink is not told of room while messages wait for its handler";
    TrailersKept => "service/server: trailers stay in a call's place for the next call";
    HandlerSpared => "service/server: the handler of a call that is over goes on";
    ParkedAsleep => "service/wake: a call that is woken while its connection goes to sleep is not run";
    SurplusAsleep => "service/client: calls that wait for room in line for a stream are not told of it";
    ReceiverAsleep => "service/client: an end that comes while the receiver waits does not wake it";
    RestLost => "service/drive: what a short write has left over is lost";
    FullWaits => "service/drive: an endpoint that stopped for want of room waits for a write, though there is room";
    ClosedSpins => "service/drive: a connection that is closed goes on looking at its timer";
    TimerOnce => "service/drive: a timer that was early is not set again";
    ForgottenLowered => "session/slots: the highest identifier among forgotten streams is overwritten by a lower one";
    DrainedEarly => "session/end: a connection counts as drained before its last GOAWAY was pulled";
    RunsCounted => "session/frames: the reset of a call that ran takes a token";
    LineKept => "session/verbs: a message that completes within the room for padding still wants its reservation";
    TemplateReused => "call/template: a head takes the place of one that still waits to be sent";
    TimeoutRestarts => "service/client: a timeout counts from the latest poll instead of the first";
    TurnLost => "service/queue: a call that was woken and then dropped does not pass its turn on";
    CompressionOff => "service/server: compression that one call turns off stays off for the next in its place";
    BombPasses => "service/compression: a message may be larger than the limit when decompressed";
    PaceLost => "service/dialer: a connection that was lost is opened again without a pause";
}

#[cfg(feature = "planted")]
mod switch {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    const NONE: u8 = u8::MAX;
    static PLANTED: AtomicU8 = AtomicU8::new(NONE);

    /// Plants a fault for the whole process, or takes it out again.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(NONE, |bug| bug as u8), Ordering::SeqCst);
    }

    /// Whether the fault is planted.
    #[inline]
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

/// Whether the fault is planted.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
