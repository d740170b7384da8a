//! Deliberate bugs, one at a time, that the simulator must detect (mutation testing of the oracles).
//!
//! This is `planted` of `grpc-proto` in the copy of the sources that `faults.patch` is applied to, and nowhere else.

use core::sync::atomic::{AtomicU8, Ordering};

macro_rules! bugs {
    ($($bug:ident => $text:literal;)*) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug { $(#[doc = $text] $bug,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug),*];

            /// What it does, behind the file that it is in.
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
    ReservationLeak => "session/receive_budget: a call that ends early keeps its part of the assembly budget";
    SendBudgetLeak => "session/send_budget: a queue that was dropped keeps its part of the send budget";
    WakeupLost => "session/writing: only the writer in the first slot is told of room";
    EvictionLate => "hpack/table: an entry more than fits stays in the table";
    SizeUpdateLost => "hpack/encoder: a smaller table is used without having been announced";
    PrefixSplit => "call/framing: a prefix that is cut after its fourth byte loses its length";
    MessageCut => "call/framing: a message that comes in pieces loses its last byte";
    MessageLimit => "call/framing: a message of exactly the limit is refused";
    PoolDirty => "queue: a buffer that is used again keeps what was in it";
    TrailersTwice => "session/transmit: trailers are sent twice behind a message";
    EarlyReset => "session/transmit: an early answer is reset before all of it was sent";
    OpenOneMore => "session/transmit: one stream more than the peer allows is opened";
    CancelLeavesQueue => "session/lifecycle: a call that is cancelled before it was sent stays in the queue";
    GoAwayTooFar => "session/shutdown: GOAWAY also ends the last stream that the peer serves";
    DeadlineLate => "session/pending_events: deadlines are a millisecond late";
    AckTwice => "session/control_queue: SETTINGS are acknowledged twice";
    WindowOpensSilently => "session/control_frames: a stream that a WINDOW_UPDATE opens from zero is not served";
    ContinuationLimit => "session/field_blocks: one CONTINUATION more than the limit passes";
    HeadOfBefore => "session/decode_memo: the head of an answer that differs from the last one in its values alone keeps those";
    PingIgnored => "session/control_queue: a PING is not answered";
    ViolatedKept => "session/transmit: a stream that is reset for a rule keeps its slot";
    IdleLeaves => "session/timeouts: a server whose connection has no calls drains it, whatever its limits";
    StreamLimit => "session/headers: one stream more than the limit is accepted";
    EmptyDataLimit => "session/guard: one empty DATA frame fewer than the limit passes";
    ResetsUncounted => "session/guard: resets take no tokens";
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
    ForgottenLowered => "session/recently_closed: the highest identifier among forgotten streams is overwritten by a lower one";
    DrainedEarly => "session/shutdown: a connection counts as drained before its last GOAWAY was pulled";
    RunsCounted => "session/guard: the reset of a call that ran takes a token";
    LineKept => "session/reading: a message that completes within the room for padding still wants its reservation";
    TemplateReused => "call/template: a head takes the place of one that still waits to be sent";
    TimeoutRestarts => "service/client: a timeout counts from the latest poll instead of the first";
    TurnLost => "service/queue: a call that was woken and then dropped does not pass its turn on";
    CompressionOff => "service/server: compression that one call turns off stays off for the next in its place";
    BombPasses => "service/compression: a message may be larger than the limit when decompressed";
    PaceLost => "service/dialer: a connection that was lost is opened again without a pause";
}

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

/// Whether the fault of this name is planted.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}
