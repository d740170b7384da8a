//! Every limit and timer of a connection, each with its default and what it costs.

use core::fmt;
use core::time::Duration;

use crate::http2::flow::MAX_WINDOW;

/// The limits of one connection; plain data with defaults, turned into a [`Config`] by [`Config::new`].
///
/// Sizes are in bytes. Start from [`Limits::default`] and change what you need:
///
/// ```
/// use grpc_proto::{Config, Limits};
///
/// let mut limits = Limits::default();
/// limits.max_concurrent_streams = 1000;
/// let config = Config::new(limits)?;
/// # Ok::<(), grpc_proto::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Streams that the peer may have open at once: SETTINGS_MAX_CONCURRENT_STREAMS. Default 100.
    ///
    /// Each costs one stream record, one field list and up to a base window of assembly. A slot is
    /// held until the application lets go of the call, so handlers never exceed this number either.
    pub max_concurrent_streams: u32,
    /// Base receive window of a stream: SETTINGS_INITIAL_WINDOW_SIZE. Default 65,535.
    ///
    /// What a stream may hold of unread bytes without a reservation from `assembly_budget`. Below 5 each
    /// stream is opened that far by a WINDOW_UPDATE, or no message could say how long it is.
    pub stream_window: u32,
    /// Receive window of the connection, opened by a WINDOW_UPDATE after SETTINGS. Default 1 MiB.
    ///
    /// Credit returns as bytes are parsed, so this bounds what is on the wire, not memory.
    pub connection_window: u32,
    /// What both windows may grow to where they hold a fast peer up: at or below `stream_window` they are fixed.
    /// Default 0.
    ///
    /// PINGs measure what arrives within a round trip; a window that is most of it doubles, up to this. They follow
    /// DATA, at most one at a time, and rest up to ten seconds while nothing changes. Each stream may then hold this
    /// much of a message in place of a base window, so 100 streams and 1 MiB can cost 94 MiB more.
    pub max_window: u32,
    /// Largest frame payload that we accept: SETTINGS_MAX_FRAME_SIZE. Default 16,384.
    pub max_frame_size: u32,
    /// Size of the HPACK decoder's dynamic table: SETTINGS_HEADER_TABLE_SIZE. Default 4096.
    pub header_table_size: u32,
    /// Cap on the HPACK encoder's dynamic table, whatever the peer allows. Default 4096.
    pub encoder_table_size: u32,
    /// Largest field list, name + value + 32 a field: SETTINGS_MAX_HEADER_LIST_SIZE. Default 16 KiB.
    pub max_header_list_size: u32,
    /// Most fields in one list. Default 128: a field of one wire byte costs a record in memory.
    pub max_header_fields: u32,
    /// Most CONTINUATION frames in one field block, empty ones too. Default 8.
    ///
    /// Where a list of `max_header_list_size` takes more frames of `max_frame_size`, so many and a quarter more may come.
    pub max_continuations: u32,
    /// Largest message that is accepted, as it stands on the wire. Default 4 MiB.
    ///
    /// A longer one ends its call with RESOURCE_EXHAUSTED before a byte of it is stored.
    pub max_receive_message: u32,
    /// Largest message that is sent, without its prefix. Default 2³¹ − 1 − 5.
    pub max_send_message: u32,
    /// Memory for messages that exceed the base window, over all calls. Default 8 MiB.
    ///
    /// A call reserves the excess of its message whole, first come first served, before its window
    /// opens that far. At least one largest message must fit, or it could never arrive. The room that a
    /// window has beside its message, 1 KiB for the padding of the last frames, is not taken from here.
    pub assembly_budget: u32,
    /// What one call may queue for sending before [`crate::SendError::Full`]. Default 64 KiB.
    ///
    /// An empty queue accepts one message of any allowed size.
    pub send_mark: u32,
    /// What all calls of a connection together may queue beyond `send_mark` each. Default 16 MiB.
    pub send_budget: u32,
    /// Calls that a client may have in line for a stream. Default 1024.
    ///
    /// Every call stands there until the next pull of output, whatever the peer allows, and longer while the peer's
    /// stream limit is reached: so many can be opened between two pulls.
    pub max_queued_calls: u32,
    /// Bytes that one pull of [`crate::Connection::poll_transmit`] aims at. Default 64 KiB.
    ///
    /// Frames are made late: what is not pulled can still be cancelled.
    pub transmit_budget: u32,
    /// New requests handed out between two pulls of output. Default 32.
    pub opens_per_transmit: u32,
    /// Replies (SETTINGS and PING acknowledgements) that may wait for a pull. Default 64.
    ///
    /// At the mark, input is left unread until output has been pulled.
    pub max_pending_replies: u32,
    /// Entries of one SETTINGS frame. Default 32.
    pub max_settings_entries: u32,
    /// Empty DATA frames without END_STREAM in a row, over the connection. Default 100.
    pub max_empty_data: u32,
    /// Burst of streams that the peer resets before the application had a turn to run them, or that are refused or reset for
    /// the peer's errors. Default 1000.
    pub reset_burst: u32,
    /// Resets a second that refill the burst, at least 1. Default 33.
    pub reset_rate: u32,
    /// Whether stream credit waits for [`crate::Connection::grant`]. Default false.
    ///
    /// Automatic credit returns when a message is handed out. With manual credit a slow consumer
    /// slows its peer: at most a base window of unread bytes a call.
    pub manual_credit: bool,
    /// Memory kept for reuse between messages, over all pools. Default 1 MiB.
    ///
    /// Trimmed to nothing `trim_after` the last call has ended.
    pub pool_bytes: u32,
    /// Quiet time after which an idle connection gives its pooled memory back. Default 1 s.
    pub trim_after: Duration,

    /// Server: time that its SETTINGS are held back while less than three bytes of the client have come. Default 50 ms; zero
    /// holds nothing.
    ///
    /// A client of HTTP/2 speaks first (RFC 9113 §3.4) and waits for nothing. A client of HTTP/1.1 gets the answer 505 alone and
    /// can read it. One that has sent nothing by then gets SETTINGS, which `settings_ack_timeout` counts from.
    pub settings_hold: Duration,
    /// Server: time for the client's preface. Default 10 s.
    pub preface_timeout: Duration,
    /// Time for the peer's first SETTINGS after its preface. Default 10 s.
    pub settings_timeout: Duration,
    /// Time for the acknowledgement of our SETTINGS. Default 10 s.
    pub settings_ack_timeout: Duration,
    /// Time without any call after which the connection drains. Default none.
    pub max_idle: Option<Duration>,
    /// Age at which a connection drains, with ±10 % jitter. Default none.
    pub max_age: Option<Duration>,
    /// Time between the start of a drain and its hard end. Default none: calls end by themselves.
    pub drain_grace: Option<Duration>,
    /// Time that queued output of a call may wait for the peer's window, or creep through it at less than 128 bytes, and
    /// that output, or input that is left for want of it, may wait for a pull. Default 60 s.
    pub send_stall_timeout: Duration,
    /// Time that a message may take from its first byte to its last without progress, which is 128 bytes. Default 60 s.
    pub progress_timeout: Duration,
    /// Time without input after which a PING is sent. Default: none for clients, 2 h for servers.
    ///
    /// Clients clamp it to at least 10 s.
    pub keepalive: Option<Duration>,
    /// Time for the PING's acknowledgement. Default 20 s.
    pub keepalive_timeout: Duration,
    /// Client: send keepalive PINGs without any call too. Default false.
    pub keepalive_without_calls: bool,
    /// Server: least time between PINGs that a client may take. Default 5 min.
    ///
    /// More than two PINGs that come sooner end the connection with `too_many_pings`; with zero none does.
    pub min_ping_interval: Duration,
}

impl Limits {
    /// CONTINUATION frames of one block: `max_continuations`, and more where a list of `max_header_list_size` takes more.
    pub(crate) const fn continuations(&self) -> u32 {
        let fitting = (self.max_header_list_size / self.max_frame_size).saturating_add(1);
        let padded = fitting.saturating_add(fitting / 4);
        if padded > self.max_continuations { padded } else { self.max_continuations }
    }

    /// What a stream may hold of one message without a part of the assembly budget.
    const fn largest_window(&self) -> u64 {
        // A window that has grown holds no more than one message.
        let message = self.max_receive_message.saturating_add(5);
        let grown = if self.max_window < message { self.max_window } else { message };
        let window = if self.stream_window > grown { self.stream_window } else { grown };
        if window > 65_535 { window as u64 } else { 65_535 }
    }

    /// The most heap memory in bytes that a peer can make one connection hold for what it receives.
    ///
    /// What the application queues for sending comes on top (at most `max_concurrent_streams` ×
    /// `send_mark` + `send_budget` and two messages), and so do messages and metadata that were handed
    /// out and are still held, or were handed out as [`crate::Payload::Assembled`]. The terms are
    /// explained in `docs/limits.md`; tests hold the allocator's count against it under each attack.
    pub const fn memory_bound(&self) -> u64 {
        const fn max(a: u32, b: u32) -> u64 {
            if a > b { a as u64 } else { b as u64 }
        }
        // Vectors grow by doubling.
        const SLACK: u64 = 2;
        let list = self.max_header_list_size as u64;
        let frame = self.max_frame_size as u64;
        let tables = SLACK * max(self.header_table_size, 4096) + 3 * self.encoder_table_size as u64;
        let gathering = SLACK * (frame + 2 * list + frame);
        let record = SLACK * STREAM_RECORD + list + self.largest_window() + 1;
        let replies = SLACK * 17 * self.max_pending_replies as u64;
        SESSION
            + tables
            + gathering
            + SLACK * list
            + replies
            + self.max_concurrent_streams as u64 * record
            + self.assembly_budget as u64
            + self.pool_bytes as u64
    }
}

impl Limits {
    /// What of [`memory_bound`](Self::memory_bound) is not in [`Usage`](crate::Usage), for programs that share memory among
    /// connections: the session, tables, blocks that arrive in pieces, records of streams, and what is kept for reuse.
    pub const fn fixed_bound(&self) -> u64 {
        const SLACK: u64 = 2;
        // Lists that are kept: one in each direction for each stream, of 4 KiB at most, and no more than 256.
        let lists = 2 * self.max_concurrent_streams as u64;
        let lists = (if lists < 256 { lists } else { 256 }) * (4 << 10);
        // Streams hold list and window, and share the budget.
        let mut shared = self.max_concurrent_streams as u64 * self.max_header_list_size as u64;
        shared += self.max_concurrent_streams as u64 * (self.largest_window() + 1);
        shared += self.assembly_budget as u64;
        self.memory_bound() - shared + lists + SLACK * self.max_header_list_size as u64
    }
}

/// The most fields of a list: their places are kept in 16 bits.
const MAX_FIELDS: u32 = u16::MAX as u32 - 1;
/// What a connection holds whatever happens: memos of heads, the record of recently closed streams, its own control frames.
const SESSION: u64 = 128 << 10;
/// What a stream takes in all tables: its records, its places in queues and in the table of identifiers.
const STREAM_RECORD: u64 =
    (size_of::<crate::http2::stream::Stream>() + size_of::<crate::call::Call>() + 128) as u64;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_concurrent_streams: 100,
            stream_window: 65_535,
            connection_window: 1 << 20,
            max_window: 0,
            max_frame_size: 16_384,
            header_table_size: 4096,
            encoder_table_size: 4096,
            max_header_list_size: 16 << 10,
            max_header_fields: 128,
            max_continuations: 8,
            max_receive_message: 4 << 20,
            max_send_message: MAX_WINDOW - 5,
            assembly_budget: 8 << 20,
            send_mark: 64 << 10,
            send_budget: 16 << 20,
            max_queued_calls: 1024,
            transmit_budget: 64 << 10,
            opens_per_transmit: 32,
            max_pending_replies: 64,
            max_settings_entries: 32,
            max_empty_data: 100,
            reset_burst: 1000,
            reset_rate: 33,
            manual_credit: false,
            pool_bytes: 1 << 20,
            trim_after: Duration::from_secs(1),
            settings_hold: Duration::from_millis(50),
            preface_timeout: Duration::from_secs(10),
            settings_timeout: Duration::from_secs(10),
            settings_ack_timeout: Duration::from_secs(10),
            max_idle: None,
            max_age: None,
            drain_grace: None,
            send_stall_timeout: Duration::from_secs(60),
            progress_timeout: Duration::from_secs(60),
            keepalive: None,
            keepalive_timeout: Duration::from_secs(20),
            keepalive_without_calls: false,
            min_ping_interval: Duration::from_secs(300),
        }
    }
}

/// Checked [`Limits`], shared by any number of connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    limits: Limits,
}

impl Config {
    /// Checks `limits` against the ranges of RFC 9113 §6.5.2 and against each other.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn new(limits: Limits) -> Result<Self, ConfigError> {
        if limits.stream_window > MAX_WINDOW {
            return Err(ConfigError::StreamWindowTooLarge);
        }
        if limits.max_window > MAX_WINDOW {
            return Err(ConfigError::MaxWindowTooLarge);
        }
        if limits.send_budget > MAX_WINDOW {
            return Err(ConfigError::SendBudgetTooLarge);
        }
        if limits.max_header_fields > MAX_FIELDS {
            return Err(ConfigError::TooManyHeaderFields);
        }
        if !(65_535..=MAX_WINDOW).contains(&limits.connection_window) {
            return Err(ConfigError::ConnectionWindowOutOfRange);
        }
        if !(16_384..=(1 << 24) - 1).contains(&limits.max_frame_size) {
            return Err(ConfigError::FrameSizeOutOfRange);
        }
        if limits.max_send_message > MAX_WINDOW - 5 || limits.max_receive_message > MAX_WINDOW - 5 {
            return Err(ConfigError::MessageTooLarge);
        }
        let largest = u64::from(limits.max_receive_message) + 5;
        if largest > u64::from(limits.stream_window) + u64::from(limits.assembly_budget) {
            return Err(ConfigError::AssemblyBudgetBelowMessage);
        }
        let numbers = [
            limits.opens_per_transmit,
            limits.max_pending_replies,
            limits.transmit_budget,
            limits.max_queued_calls,
            limits.send_mark,
        ];
        let times = [
            limits.preface_timeout,
            limits.settings_timeout,
            limits.settings_ack_timeout,
            limits.send_stall_timeout,
            limits.progress_timeout,
            limits.keepalive.unwrap_or(Duration::MAX),
            limits.keepalive_timeout,
        ];
        if numbers.contains(&0) || times.contains(&Duration::ZERO) {
            return Err(ConfigError::ZeroWouldStall);
        }
        Ok(Config { limits })
    }

    /// The same limits for a connection that is known to be HTTP/2, by ALPN say (RFC 9113 §3.2): a server's SETTINGS are not
    /// held back ([`Limits::settings_hold`] is zero).
    #[must_use]
    pub fn known_http2(&self) -> Self {
        let mut limits = self.limits.clone();
        limits.settings_hold = Duration::ZERO;
        Config { limits }
    }

    /// The limits that were checked.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// A rule that a set of [`Limits`] breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `stream_window` exceeds 2³¹ − 1 (RFC 9113 §6.5.2).
    StreamWindowTooLarge,
    /// `max_window` exceeds 2³¹ − 1 (RFC 9113 §6.9.1).
    MaxWindowTooLarge,
    /// `connection_window` is below 65,535, where it starts and cannot shrink, or exceeds 2³¹ − 1.
    ConnectionWindowOutOfRange,
    /// `max_frame_size` is not within 16,384 to 16,777,215 (RFC 9113 §6.5.2).
    FrameSizeOutOfRange,
    /// A message limit exceeds what one flow-control window can ever carry.
    MessageTooLarge,
    /// `stream_window + assembly_budget` cannot hold one message of `max_receive_message` and its prefix.
    AssemblyBudgetBelowMessage,
    /// `send_budget` exceeds 2³¹ − 1.
    SendBudgetTooLarge,
    /// `max_header_fields` exceeds 65,534.
    TooManyHeaderFields,
    /// A limit of zero under which the connection could never make progress.
    ZeroWouldStall,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::StreamWindowTooLarge => "stream_window exceeds 2147483647; choose at most that",
            ConfigError::MaxWindowTooLarge => "max_window exceeds 2147483647; choose at most that",
            ConfigError::SendBudgetTooLarge => "send_budget exceeds 2147483647; choose at most that",
            ConfigError::TooManyHeaderFields => "max_header_fields exceeds 65534; choose at most that",
            ConfigError::ConnectionWindowOutOfRange => {
                "connection_window must lie within 65535 and 2147483647"
            }
            ConfigError::FrameSizeOutOfRange => "max_frame_size must lie within 16384 and 16777215",
            ConfigError::MessageTooLarge => "a message limit exceeds 2147483642 bytes",
            ConfigError::AssemblyBudgetBelowMessage => {
                "stream_window + assembly_budget is below max_receive_message + 5: raise assembly_budget"
            }
            ConfigError::ZeroWouldStall => {
                "one of these is zero and must not be: opens_per_transmit, max_pending_replies, transmit_budget, \
                 max_queued_calls, send_mark, preface_timeout, settings_timeout, settings_ack_timeout, \
                 send_stall_timeout, progress_timeout, keepalive, keepalive_timeout"
            }
        })
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_under_which_nothing_could_go_on_is_refused() {
        let zeros: [fn(&mut Limits); 12] = [
            |limits| limits.opens_per_transmit = 0,
            |limits| limits.max_pending_replies = 0,
            |limits| limits.transmit_budget = 0,
            |limits| limits.max_queued_calls = 0,
            |limits| limits.send_mark = 0,
            |limits| limits.preface_timeout = Duration::ZERO,
            |limits| limits.settings_timeout = Duration::ZERO,
            |limits| limits.settings_ack_timeout = Duration::ZERO,
            |limits| limits.send_stall_timeout = Duration::ZERO,
            |limits| limits.progress_timeout = Duration::ZERO,
            |limits| limits.keepalive = Some(Duration::ZERO),
            |limits| limits.keepalive_timeout = Duration::ZERO,
        ];
        for zero in zeros {
            let mut limits = Limits::default();
            zero(&mut limits);
            assert_eq!(Config::new(limits), Err(ConfigError::ZeroWouldStall));
        }
    }

    #[test]
    fn a_connection_that_is_known_to_be_http2_differs_in_the_hold_alone() {
        let mut limits = Limits { max_empty_data: 7, ..Limits::default() };
        let known = Config::new(limits.clone()).unwrap().known_http2();
        assert_ne!(known.limits(), &limits);
        limits.settings_hold = Duration::ZERO;
        assert_eq!(known.limits(), &limits);
    }

    #[test]
    fn sizes_that_the_accounts_could_not_hold_are_refused() {
        let with = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            Config::new(limits).err()
        };
        assert_eq!(with(|limits| limits.max_window = MAX_WINDOW), None);
        let growing = ConfigError::MaxWindowTooLarge;
        assert_eq!(with(|limits| limits.max_window = MAX_WINDOW + 1), Some(growing));
        assert_eq!(with(|limits| limits.send_budget = MAX_WINDOW), None);
        let budget = ConfigError::SendBudgetTooLarge;
        assert_eq!(with(|limits| limits.send_budget = MAX_WINDOW + 1), Some(budget));
        assert_eq!(with(|limits| limits.max_header_fields = 65_534), None);
        let fields = ConfigError::TooManyHeaderFields;
        assert_eq!(with(|limits| limits.max_header_fields = 65_535), Some(fields));
    }

    #[test]
    fn a_refusal_names_the_limit_to_be_changed() {
        for (error, name) in [
            (ConfigError::StreamWindowTooLarge, "stream_window"),
            (ConfigError::MaxWindowTooLarge, "max_window"),
            (ConfigError::ConnectionWindowOutOfRange, "connection_window"),
            (ConfigError::FrameSizeOutOfRange, "max_frame_size"),
            (ConfigError::MessageTooLarge, "message limit"),
            (ConfigError::AssemblyBudgetBelowMessage, "assembly_budget"),
            (ConfigError::SendBudgetTooLarge, "send_budget"),
            (ConfigError::TooManyHeaderFields, "max_header_fields"),
            (ConfigError::ZeroWouldStall, "keepalive_timeout"),
        ] {
            let text = alloc::string::ToString::to_string(&error);
            assert!(text.contains(name), "{error:?}: {text}");
        }
    }

    #[test]
    fn an_age_without_end_is_none() {
        for entropy in [0, 1, 2, u64::MAX] {
            let limits = Limits { max_age: Some(Duration::MAX), ..Limits::default() };
            let config = Config::new(limits).unwrap();
            let session = crate::http2::Session::new(
                crate::http2::Side::Server,
                &config,
                entropy,
                crate::Instant::from_millis(1),
            );
            assert!(session.poll_timeout() > Some(crate::Instant::from_millis(1)));
        }
    }
}
