//! A scenario: everything that happens to a world, as plain data.
//!
//! The generator draws one from a seed; shrinking deletes from it; a regression file holds one as
//! JSON. Running one draws nothing more: what only has to differ (cuts, ties) is mixed from `seed`.

use std::collections::BTreeMap;
use std::time::Duration;

use grpc_proto::{Config, ConfigError, Limits};
use serde::{Deserialize, Serialize};

/// Deadlines from this on are no shorter than the time that a request takes on its way, where nothing is narrow.
pub(crate) const SHORT_US: u32 = 2000;

/// Everything that happens to a world.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Decides ties between events of the same time, cuts, and the entropy of connections.
    pub seed: u64,
    /// What the clock shows when the world begins, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_ns: u64,
    /// What runs on the network: the core with a model of both applications, or services.
    #[serde(skip_serializing_if = "Layer::is_core")]
    pub layer: Layer,
    /// Limits of each client; what is missing is the default.
    pub clients: Vec<Knobs>,
    /// Limits of each server.
    pub servers: Vec<Knobs>,
    /// Pairs of a client and a server, and the network between them.
    pub links: Vec<LinkPlan>,
    /// Calls.
    pub calls: Vec<CallPlan>,
    /// Faults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultPlan>,
    /// Hostile peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<AttackPlan>,
}

/// What runs on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Connections of the core, with a model of both applications.
    #[default]
    Core,
    /// Generated handlers and stubs, through the dispatch layer.
    Services,
    /// The same, with the loop that adapters run between them and the network.
    Adapter,
}

impl Layer {
    fn is_core(&self) -> bool {
        *self == Layer::Core
    }
}

/// Limits that differ from the default.
pub type Knobs = BTreeMap<Knob, u64>;

/// A field of [`Limits`], or a habit of the simulated adapter. Spans are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the field of `Limits` with its name")]
pub enum Knob {
    MaxConcurrentStreams,
    StreamWindow,
    ConnectionWindow,
    MaxWindow,
    MaxFrameSize,
    HeaderTableSize,
    EncoderTableSize,
    MaxHeaderListSize,
    MaxHeaderFields,
    MaxContinuations,
    MaxReceiveMessage,
    MaxSendMessage,
    AssemblyBudget,
    SendMark,
    SendBudget,
    MaxQueuedCalls,
    TransmitBudget,
    OpensPerTransmit,
    MaxPendingReplies,
    MaxSettingsEntries,
    MaxEmptyData,
    ResetBurst,
    ResetRate,
    PoolBytes,
    ManualCredit,
    KeepaliveWithoutCalls,
    PrefaceTimeoutMs,
    SettingsTimeoutMs,
    SettingsAckTimeoutMs,
    SettingsHoldMs,
    SendStallTimeoutMs,
    ProgressTimeoutMs,
    KeepaliveTimeoutMs,
    MinPingIntervalMs,
    TrimAfterMs,
    MaxIdleMs,
    MaxAgeMs,
    DrainGraceMs,
    KeepaliveMs,
    /// Services: how many arenas may be leased at once.
    Leases,
    /// Adapter: whether output is pulled after each event instead of after all of them.
    PullEachEvent,
    /// Services: what messages are sent in: 0 is nothing, 1 gzip, 2 deflate. Both are accepted; without it neither is.
    Compress,
    /// Services: the level of that.
    CompressLevel,
    /// Services: fewer bytes are sent as they are.
    CompressAtLeast,
    /// Services: the first pause between attempts of a channel that connects by itself.
    BackoffMs,
}

impl Knob {
    fn set(self, limits: &mut Limits, value: u64) {
        let small = value as u32;
        let span = Duration::from_millis(value);
        match self {
            Knob::MaxConcurrentStreams => limits.max_concurrent_streams = small,
            Knob::StreamWindow => limits.stream_window = small,
            Knob::ConnectionWindow => limits.connection_window = small,
            Knob::MaxWindow => limits.max_window = small,
            Knob::MaxFrameSize => limits.max_frame_size = small,
            Knob::HeaderTableSize => limits.header_table_size = small,
            Knob::EncoderTableSize => limits.encoder_table_size = small,
            Knob::MaxHeaderListSize => limits.max_header_list_size = small,
            Knob::MaxHeaderFields => limits.max_header_fields = small,
            Knob::MaxContinuations => limits.max_continuations = small,
            Knob::MaxReceiveMessage => limits.max_receive_message = small,
            Knob::MaxSendMessage => limits.max_send_message = small,
            Knob::AssemblyBudget => limits.assembly_budget = small,
            Knob::SendMark => limits.send_mark = small,
            Knob::SendBudget => limits.send_budget = small,
            Knob::MaxQueuedCalls => limits.max_queued_calls = small,
            Knob::TransmitBudget => limits.transmit_budget = small,
            Knob::OpensPerTransmit => limits.opens_per_transmit = small,
            Knob::MaxPendingReplies => limits.max_pending_replies = small,
            Knob::MaxSettingsEntries => limits.max_settings_entries = small,
            Knob::MaxEmptyData => limits.max_empty_data = small,
            Knob::ResetBurst => limits.reset_burst = small,
            Knob::ResetRate => limits.reset_rate = small,
            Knob::PoolBytes => limits.pool_bytes = small,
            Knob::ManualCredit => limits.manual_credit = value != 0,
            Knob::KeepaliveWithoutCalls => limits.keepalive_without_calls = value != 0,
            Knob::PrefaceTimeoutMs => limits.preface_timeout = span,
            Knob::SettingsTimeoutMs => limits.settings_timeout = span,
            Knob::SettingsAckTimeoutMs => limits.settings_ack_timeout = span,
            Knob::SettingsHoldMs => limits.settings_hold = span,
            Knob::SendStallTimeoutMs => limits.send_stall_timeout = span,
            Knob::ProgressTimeoutMs => limits.progress_timeout = span,
            Knob::KeepaliveTimeoutMs => limits.keepalive_timeout = span,
            Knob::MinPingIntervalMs => limits.min_ping_interval = span,
            Knob::TrimAfterMs => limits.trim_after = span,
            Knob::MaxIdleMs => limits.max_idle = Some(span),
            Knob::MaxAgeMs => limits.max_age = Some(span),
            Knob::DrainGraceMs => limits.drain_grace = Some(span),
            Knob::KeepaliveMs => limits.keepalive = Some(span),
            Knob::Leases
            | Knob::PullEachEvent
            | Knob::Compress
            | Knob::CompressLevel
            | Knob::CompressAtLeast
            | Knob::BackoffMs => {}
        }
    }
}

/// The configuration that some knobs make; see [`Scenario::check`].
pub(crate) fn config_of(knobs: &Knobs) -> Config {
    Config::new(limits_of(knobs)).expect("a scenario's limits are possible")
}

/// The limits that some knobs make, possible or not.
pub(crate) fn limits_of(knobs: &Knobs) -> Limits {
    let mut limits = Limits::default();
    for (&knob, &value) in knobs {
        knob.set(&mut limits, value);
    }
    limits
}

/// A client, a server, and the network between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkPlan {
    /// Index of the client.
    pub client: u8,
    /// Index of the server.
    pub server: u8,
    /// Services: whether the client's channel connects by itself, and again.
    #[serde(skip_serializing_if = "is_false")]
    pub dialed: bool,
    /// From client to server.
    pub up: PipePlan,
    /// From server to client.
    pub down: PipePlan,
}

/// One direction of the network. Zero switches a bound off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipePlan {
    /// How writes are cut into segments.
    pub cut: Cut,
    /// Time from write to delivery.
    pub delay_us: u32,
    /// Bytes a millisecond.
    pub bandwidth: u32,
    /// Bytes under way before the writer is pushed back.
    pub buffer: u32,
    /// Bytes that the reader lets lie before the network is pushed back.
    pub receive_max: u32,
    /// Most bytes that one write takes.
    pub write_max: u32,
}

/// How writes are cut into segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// All at once.
    #[default]
    Whole,
    /// After so many bytes.
    Every(u32),
    /// After one to so many bytes.
    Random(u32),
    /// Before, at or after the end of each frame by one byte.
    Frames,
}

/// One call, and what both ends do with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallPlan {
    /// Index of the link.
    pub link: u16,
    /// Services: which kind of call it is.
    #[serde(skip_serializing_if = "Method::is_talk")]
    pub method: Method,
    /// Services: whether its handler makes a call of its own before it answers.
    #[serde(skip_serializing_if = "is_false")]
    pub calls_back: bool,
    /// Services: whether its handler waits for another one that does, for a while.
    #[serde(skip_serializing_if = "is_false")]
    pub meets: bool,
    /// Core: which of its service's methods it is.
    #[serde(skip_serializing_if = "is_zero")]
    pub path: u8,
    /// Services: what its requests are compressed with.
    #[serde(skip_serializing_if = "is_zero")]
    pub coding: Coding,
    /// Services: whether every second request, from the first on, is sent as it is.
    #[serde(skip_serializing_if = "is_false")]
    pub plain_requests: bool,
    /// Services: whether every second response, from the first on, is sent as it is.
    #[serde(skip_serializing_if = "is_false")]
    pub plain_responses: bool,
    /// Services: whether its deadline is a timeout, which counts from the first poll.
    #[serde(skip_serializing_if = "is_false")]
    pub timeout: bool,
    /// Services: whether it waits for a connection where the channel connects by itself.
    #[serde(skip_serializing_if = "is_false")]
    pub wait_for_ready: bool,
    /// When it starts.
    pub at_us: u32,
    /// It starts when this call has ended, `at_us` after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u16>,
    /// Its deadline, from its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_us: Option<u32>,
    /// Which metadata it carries, see the application model; 0 is none.
    pub metadata: u8,
    /// Sizes of the messages that the client sends.
    pub requests: Vec<u32>,
    /// Time between them; 0 sends as fast as there is room.
    pub pace_us: u32,
    /// When the client gives up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelPlan>,
    /// Time that the client takes for each message before it grants its credit.
    pub client_think_us: u32,
    /// Core: how both ends send their messages.
    #[serde(skip_serializing_if = "is_zero")]
    pub send: SendMode,
    /// Sizes of the messages that the server sends.
    pub responses: Vec<u32>,
    /// When it sends them.
    pub respond: Respond,
    /// Time that the server takes for each message before it grants its credit.
    pub server_think_us: u32,
    /// Whether the server sends headers before anything else.
    pub headers: bool,
    /// How the handler ends.
    pub ending: Ending,
    /// The code of its status.
    pub status: u8,
    /// Bytes of its details, unless it is OK.
    #[serde(skip_serializing_if = "is_zero")]
    pub details: u16,
    /// Which metadata the trailers carry.
    pub trailers: u8,
    /// Time that the handler lives on after its call was cancelled.
    pub hold_us: u32,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The methods of the simulated service, one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One request, one response.
    One,
    /// A stream of requests, one response.
    Gather,
    /// One request, a stream of responses.
    Spread,
    /// Streams in both directions.
    #[default]
    Talk,
}

impl Method {
    fn is_talk(&self) -> bool {
        *self == Method::Talk
    }

    /// Whether requests, and responses, are a stream.
    pub(crate) fn streams(self) -> (bool, bool) {
        match self {
            Method::One => (false, false),
            Method::Gather => (true, false),
            Method::Spread => (false, true),
            Method::Talk => (true, true),
        }
    }
}

/// What the requests of a call are compressed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the encoding with its name")]
pub enum Coding {
    /// With what its channel compresses all calls.
    #[default]
    Channel,
    Gzip,
    Deflate,
    /// With nothing.
    Identity,
}

/// When a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelPlan {
    /// So long after the start.
    AfterUs(u32),
    /// When so many messages have come; 0 is when the headers have.
    AfterMessages(u8),
    /// When so many messages were sent.
    AfterSent(u8),
}

/// How messages are handed to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendMode {
    /// As handles of bytes that are encoded.
    #[default]
    Handles,
    /// To be encoded where they leave from.
    Encode,
    /// As handles of bytes that are said to be compressed.
    CompressedHandles,
    /// As bytes that are said to be compressed, to be copied.
    CompressedBytes,
}

impl SendMode {
    pub(crate) fn encoding(self) -> Option<&'static str> {
        match self {
            SendMode::Handles | SendMode::Encode => None,
            SendMode::CompressedHandles | SendMode::CompressedBytes => Some("gzip"),
        }
    }
}

/// When a server sends its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Respond {
    /// When the client has sent all of its own.
    #[default]
    AfterEnd,
    /// As soon as the call is there.
    AtOnce,
    /// One for each message that comes, the rest after the last.
    PerRequest,
}

/// How a handler ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With its status, when the client has sent all of its messages and it has sent its own.
    #[default]
    AfterEnd,
    /// With its status, as soon as it has sent its own messages.
    Early,
    /// By letting go of the call without a status.
    Abandon,
    /// Not by itself, for so long that a deadline or a cancellation comes before.
    Never,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// When it happens.
    pub at_us: u32,
    /// What happens.
    pub fault: Fault,
}

/// What can go wrong, or be done by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// One direction of a link delivers nothing for a while.
    Stall {
        /// The link.
        link: u16,
        /// From client to server, or back.
        up: bool,
        /// For how long.
        for_us: u32,
    },
    /// Both directions of a link do.
    Partition {
        /// The link.
        link: u16,
        /// For how long.
        for_us: u32,
    },
    /// A link's bandwidth falls to so many bytes a millisecond.
    Clog {
        /// The link.
        link: u16,
        /// Bytes a millisecond.
        bandwidth: u32,
        /// For how long.
        for_us: u32,
    },
    /// The connection is reset.
    Reset {
        /// The link.
        link: u16,
    },
    /// One end closes its direction in the midst of things.
    HalfClose {
        /// The link.
        link: u16,
        /// From client to server, or back.
        up: bool,
    },
    /// New connections are refused for a while.
    Refuse {
        /// The link.
        link: u16,
        /// For how long.
        for_us: u32,
    },
    /// The server is gone with all it knew, and comes back.
    Crash {
        /// The server.
        server: u8,
        /// For how long.
        for_us: u32,
    },
    /// The server drains all its connections.
    Drain {
        /// The server.
        server: u8,
    },
    /// The client drains the link's connection.
    Leave {
        /// The link.
        link: u16,
    },
    /// Core: one end gets no turns for a while, as a process that is not scheduled: then everything is there at once.
    Freeze {
        /// The link.
        link: u16,
        /// The client, or the server.
        client: bool,
        /// For how long.
        for_us: u32,
    },
    /// One end closes abruptly, with GOAWAY.
    Close {
        /// The link.
        link: u16,
        /// The client, or the server.
        client: bool,
    },
}

impl Fault {
    /// The link that it is about.
    pub(crate) fn link(&mut self) -> Option<&mut u16> {
        match self {
            Fault::Stall { link, .. }
            | Fault::Partition { link, .. }
            | Fault::Clog { link, .. }
            | Fault::Reset { link }
            | Fault::HalfClose { link, .. }
            | Fault::Refuse { link, .. }
            | Fault::Leave { link }
            | Fault::Freeze { link, .. }
            | Fault::Close { link, .. } => Some(link),
            Fault::Crash { .. } | Fault::Drain { .. } => None,
        }
    }

    /// The server that it is about.
    pub(crate) fn server(&mut self) -> Option<&mut u8> {
        match self {
            Fault::Crash { server, .. } | Fault::Drain { server } => Some(server),
            _ => None,
        }
    }

    /// How long it lasts, in microseconds.
    pub(crate) fn span(&mut self) -> Option<&mut u32> {
        match self {
            Fault::Stall { for_us, .. }
            | Fault::Partition { for_us, .. }
            | Fault::Clog { for_us, .. }
            | Fault::Refuse { for_us, .. }
            | Fault::Freeze { for_us, .. }
            | Fault::Crash { for_us, .. } => Some(for_us),
            _ => None,
        }
    }
}

/// A hostile peer beside the calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackPlan {
    /// When it connects.
    pub at_us: u32,
    /// The server, or the client that it waits for.
    pub target: u8,
    /// Index into the adversary's scripts.
    pub script: String,
    /// How far it stays from the limit: below 0 it stays under it, from 0 on it goes past.
    pub over: i8,
    /// The network between.
    #[serde(default)]
    pub cut: Cut,
}

impl Scenario {
    /// How much happens: calls, messages, what is out of the ordinary about a call, faults, attacks.
    pub fn operations(&self) -> usize {
        let calls: usize = self.calls.iter().map(CallPlan::operations).sum();
        calls + self.faults.len() + self.attacks.len()
    }

    /// Whether the limits of every end are possible: a world does not run with others.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ends = self.clients.iter().chain(&self.servers);
        ends.map(limits_of).try_for_each(|limits| Config::new(limits).map(drop))
    }

    /// The limits of both ends of a link.
    fn ends(&self, link: usize) -> (&Knobs, &Knobs) {
        let plan = &self.links[link];
        (&self.clients[usize::from(plan.client)], &self.servers[usize::from(plan.server)])
    }

    /// Whether either end of a link has one of these limits.
    pub(crate) fn has_knob(&self, link: usize, knobs: &[Knob]) -> bool {
        let (client, server) = self.ends(link);
        knobs.iter().any(|knob| client.contains_key(knob) || server.contains_key(knob))
    }

    /// Whether the network takes a few bytes a round trip: even an honest peer then misses timers.
    fn crawls(&self, link: usize) -> bool {
        let link = &self.links[link];
        let slow = |pipe: &PipePlan| pipe.buffer > 0 && pipe.buffer < 1000 && pipe.delay_us >= 1000;
        slow(&link.up) || slow(&link.down)
    }

    /// Whether a timer of either end may end calls without a fault.
    pub(crate) fn is_slow(&self, link: usize) -> bool {
        self.crawls(link)
            || self.has_knob(link, &[Knob::SendStallTimeoutMs, Knob::ProgressTimeoutMs])
    }

    /// Whether a call of a link may be reset before it has run, or is refused: what takes a token of the server's.
    ///
    /// A client that cancels when the headers have come does so after that. Where the network has no narrow places, so
    /// does one whose deadline is no shorter than the time that a request takes.
    pub(crate) fn takes_reset_tokens(&self, link: usize) -> bool {
        let streams = limits_of(self.ends(link).1).max_concurrent_streams;
        let plan = &self.links[link];
        let is_wide = |pipe: &PipePlan| {
            [pipe.bandwidth, pipe.buffer, pipe.receive_max, pipe.write_max] == [0; 4]
                && pipe.delay_us < SHORT_US
        };
        let is_wide = is_wide(&plan.up) && is_wide(&plan.down) && self.faults.is_empty();
        self.is_slow(link)
            || self.calls.len() > streams as usize
            || self.calls.iter().enumerate().any(|(n, call)| {
                let gives_up = !matches!(call.cancel, None | Some(CancelPlan::AfterMessages(_)));
                let ends = call.deadline_us.is_some_and(|us| us < SHORT_US || !is_wide);
                gives_up || ends || self.has_small_lists(n)
            })
    }

    /// Whether either end of a link may end its connections by itself.
    pub(crate) fn is_restless(&self, link: usize) -> bool {
        self.crawls(link)
            || self.has_knob(
                link,
                &[
                    Knob::MaxIdleMs,
                    Knob::MaxAgeMs,
                    Knob::PrefaceTimeoutMs,
                    Knob::SettingsTimeoutMs,
                    Knob::SettingsAckTimeoutMs,
                ],
            )
            || self.has_knob(link, &[Knob::ResetBurst]) && self.takes_reset_tokens(link)
            || self.has_knob(link, &[Knob::KeepaliveMs])
                && (self.pings_too_often(link) || self.is_narrow(link))
    }

    /// Whether the client's keepalive is more than the server stands for, which without calls is one PING in two hours.
    pub(crate) fn pings_too_often(&self, link: usize) -> bool {
        const WITHOUT_CALLS: Duration = Duration::from_secs(2 * 60 * 60);
        let (client, server) = self.ends(link);
        let (client, mut least) = (limits_of(client), limits_of(server).min_ping_interval);
        if client.keepalive_without_calls && !least.is_zero() {
            least = least.max(WITHOUT_CALLS);
        }
        client.keepalive.is_some_and(|span| span < least)
    }

    /// Whether a PING may stand behind other bytes for longer than the keepalive waits for its answer.
    fn is_narrow(&self, link: usize) -> bool {
        let link = &self.links[link];
        [&link.up, &link.down].into_iter().any(|pipe| (1..1000).contains(&pipe.bandwidth))
    }

    /// Whether a list of a call may exceed a limit of its receiver.
    pub(crate) fn has_small_lists(&self, call: usize) -> bool {
        let plan = &self.calls[call];
        let lists = [plan.metadata, plan.trailers];
        let long = |kind: &u8| (4..9).contains(kind);
        lists.contains(&8)
            || plan.details > 5000
            || self.has_knob(plan.link.into(), &[Knob::MaxHeaderListSize, Knob::MaxHeaderFields])
                && (lists.iter().any(long) || plan.details > 50)
    }

    /// A number that stands for the whole scenario.
    pub fn fingerprint(&self) -> u64 {
        let text = serde_json::to_string(self).unwrap_or_default();
        let mut hash = crate::trace::Hash::default();
        hash.bytes(text.as_bytes());
        hash.value()
    }
}

impl CallPlan {
    /// Sizes of the requests that a client of services sends: one where the method takes one.
    pub(crate) fn requests_sent(&self) -> Vec<u32> {
        match self.method.streams().0 {
            true => self.requests.clone(),
            false => vec![self.requests.first().copied().unwrap_or_default()],
        }
    }

    /// Sizes of all its messages, in both directions.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.requests.iter().chain(&self.responses).map(|&len| len.into())
    }

    fn operations(&self) -> usize {
        let extra = usize::from(self.cancel.is_some()) + usize::from(self.deadline_us.is_some());
        1 + self.requests.len() + self.responses.len() + extra
    }
}
