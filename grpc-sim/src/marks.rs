//! Branches that some seed should reach: a limit that no seed ever hits is a hole in the simulator.

use grpc_proto::Violation;

macro_rules! marks {
    ($($mark:ident => $text:literal;)*) => {
        /// A branch worth reaching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has its text beside it")]
        pub enum Mark { $(#[doc = $text] $mark,)* }

        const TEXTS: &[&str] = &[$($text),*];
    };
}

marks! {
    CallOk => "a call ended with OK";
    CallFailed => "a call ended with another status of its server";
    TrailersOnly => "an answer without messages or headers";
    Cancelled => "a client cancelled its call";
    HandlerCancelled => "a handler was told that its call is over";
    DeadlineAtClient => "a deadline passed at the client";
    DeadlineAtServer => "a deadline passed at the server";
    DeadlineWhileWaiting => "a deadline passed before the call was sent";
    Unavailable => "a call ended with UNAVAILABLE";
    NeverSent => "a call ended without having been sent";
    Refused => "a call was refused unseen";
    TooLarge => "a message exceeded the receiver's limit";
    BudgetWaited => "a message waited for the assembly budget";
    SendTooLarge => "a message exceeded the sender's limit";
    SendFull => "a send was refused for want of room";
    Writable => "a refused send was invited again";
    Assembled => "a message arrived in pieces";
    Borrowed => "a message was handed out where it lay";
    EmptyMessage => "an empty message arrived";
    LargeMessage => "a message larger than the base window arrived";
    Backlogged => "input was left until output was pulled";
    QueuedCall => "a call waited for the peer's stream limit";
    TooManyCalls => "a call was refused at the limit of queued calls";
    Continuation => "a field block took CONTINUATION";
    NegativeWindow => "a send window was below zero";
    ConnectionFull => "the connection's send window was exhausted";
    StreamFull => "a stream's send window was exhausted";
    WindowGrew => "a window grew with what a round trip carried";
    GoAway => "a client heard GOAWAY";
    Drained => "a connection was drained to its end";
    ConnectionLost => "a connection was lost with calls on it";
    TimedOut => "a connection timed out";
    Keepalive => "a server was asked for a sign of life";
    Reconnected => "a client connected again";
    ConnectRefused => "a connection was refused";
    Crashed => "a server crashed with calls on it";
    HeldAfterCancel => "a handler lived on after its call";
    ShortWrite => "the network took a part of a write";
    BackPressure => "the network took none of a write";
    Frozen => "one end had no turns for a while";
    HalfClosed => "one end closed in the midst of things";
    Trimmed => "an idle connection gave its memory back";
    ForgottenData => "late DATA came for a stream whose end 64 others had followed";
    PaddingRoom => "a message came in the room for padding, without the reservation that it waited for";
    HeadsAwaited => "a head was written while all remembered heads waited to be sent";
    QueuedCancelled => "a call was cancelled in line for a stream";
    QueuedDeadline => "a deadline passed in line for a stream";
    CancelStorm => "a hundred calls of one connection were cancelled after their headers";
    DeadlineStorm => "a hundred deadlines passed on one connection";
    AttackRepelled => "an attack ended its connection";
    AttackTolerated => "an attacker below the limit was served";
    AttackCutShort => "an attacked end went away by itself before the attack was over";
    SettingsAfterHold => "a client that sent nothing got SETTINGS when their hold was over";
    Http1Answered => "a client of HTTP/1 got its answer and no frame";
    OneAnswered => "services: a call of one request and one response ended with OK";
    Gathered => "services: a call with a stream of requests ended with OK";
    Spread => "services: a call with a stream of responses ended with OK";
    Talked => "services: a call with streams in both directions ended with OK";
    HandlerFailed => "services: a call ended with the error of its handler";
    HandlerPanicked => "services: a handler panicked";
    HandlerDropped => "services: a handler was dropped where it waited";
    StreamDropped => "services: a client dropped its call midway";
    CalledBack => "services: a handler made a call of its own";
    Met => "services: a handler woke another one";
    SinkWaited => "services: a handler waited for room";
    SenderWaited => "services: a client waited for room";
    ServiceDeadline => "services: a deadline passed";
    ServiceUnavailable => "services: a call ended with UNAVAILABLE";
    ServiceTooLarge => "services: a message exceeded a limit";
    ServiceSendTooLarge => "services: a message exceeded the sender's limit";
    ServiceRepelled => "services: an attack ended its connection";
    ServiceTolerated => "services: an attacker below the limit was served";
    Restarted => "services: a server came back with another identity";
    LineTimeout => "services: a timeout passed in line for a stream";
    LineDropped => "services: a call was dropped in line for a stream";
    TurnDropped => "services: a call was dropped in its turn";
    ServiceStorm => "services: a hundred calls were dropped after their headers";
    Dialed => "channel: it connected by itself";
    DialedAgain => "channel: it connected again";
    DialFailed => "channel: a call failed for want of a connection";
    DialAwaited => "channel: a call waited until an attempt after a failed one had succeeded";
    CompressedGzip => "compression: a message came in gzip";
    CompressedDeflate => "compression: a message came in deflate";
    LeftPlain => "compression: a message was left as it is at the wish of its sender";
    Bomb => "compression: a message exceeded the limit when decompressed";
    Adapter => "adapter: its loop drove a connection";
    CompletedInPlace => "adapter: an operation completed when it was begun";
    CompletedShort => "adapter: a write took a part of what there was";
    ClosedInFlight => "adapter: a connection was closed under a read";
}

/// Which marks a run reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u64; 4]);

impl Marks {
    /// How the names of those begin that stand for a rule.
    pub const RULES: &str = "rule broken: ";

    /// Marks in the order of their names: the simulator's own, then each rule that a peer can break.
    pub fn names() -> impl Iterator<Item = String> {
        let own = TEXTS.iter().map(|text| (*text).to_owned());
        own.chain(Violation::ALL.iter().map(|rule| format!("{}{rule:?}", Marks::RULES)))
    }

    pub(crate) fn reach(&mut self, mark: Mark) {
        self.set(mark as usize);
    }

    pub(crate) fn reach_rule(&mut self, rule: Violation) {
        if let Some(at) = Violation::ALL.iter().position(|&other| other == rule) {
            self.set(TEXTS.len() + at);
        }
    }

    /// Reaches what another run has.
    pub(crate) fn merge(&mut self, other: &Marks) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Whether the mark of this place in [`names`](Self::names) was reached.
    pub fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }
}
