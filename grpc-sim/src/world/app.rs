//! What both applications agree on: the bytes of each message, metadata, texts.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use grpc_arena::{Encode, SizeCache};
use grpc_proto::record::Recorder;
use grpc_proto::{CallKey, Instant, Metadata, Role, SendError, Status};

use crate::entropy::mix;
use crate::scenario::{CallPlan, SendMode};

/// Length of the pool that messages are cut out of; no message of a scenario is longer.
const POOL: usize = 8 << 20;
const STARTS: u64 = 4096;
/// The same of messages that can be compressed.
pub(crate) const REPEATED: usize = 64 << 10;

fn pool() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let words = (0..(POOL as u64 + STARTS) / 8).map(|n| mix(0x5eed, n));
        words.flat_map(u64::to_le_bytes).collect()
    })
}

/// Message `index` of a call in one direction: different from its neighbours, and free to make.
pub(crate) fn message(call: usize, up: bool, index: usize, len: u32) -> &'static [u8] {
    let start = mix(call as u64 * 2 + u64::from(up), index as u64) % STARTS;
    &pool()[start as usize..][..(len as usize).min(POOL)]
}

fn repeated() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    // Each eight bytes come often enough for any codec to find them.
    BYTES.get_or_init(|| {
        let words = (0..(REPEATED as u64 + STARTS) / 8).map(|n| mix(0x4e9ea7, n / 64));
        words.flat_map(u64::to_le_bytes).collect()
    })
}

/// As [`message`], of bytes that get fewer when they are compressed, and shorter than [`REPEATED`].
pub(crate) fn repetitive(call: usize, up: bool, index: usize, len: u32) -> &'static [u8] {
    let start = mix(call as u64 * 2 + u64::from(up), index as u64) % STARTS;
    &repeated()[start as usize..][..(len as usize).min(REPEATED)]
}

/// The path of a call.
pub(crate) fn path(plan: &CallPlan) -> Cow<'static, str> {
    match plan.path {
        0 => "/sim.World/Call".into(),
        other => format!("/sim.World/Call{other}").into(),
    }
}

/// The name of the field that says which call of the scenario it is.
pub(crate) const CALL: &str = "sim-call";

/// Metadata of a kind: 0 has none, the others differ in number, size, repetition and binary values.
pub(crate) fn metadata(kind: u8, call: usize) -> Metadata {
    let mut metadata = Metadata::new();
    let mut add = |name: &str, value: &str| {
        metadata.append(name, value).expect("names and values of the model are valid");
    };
    match kind {
        0 => {}
        1 => add("x-one", "1"),
        2 => {
            // Repeats over calls: worth an entry of the table.
            add("x-tenant", "somebody");
            add("x-region", "somewhere");
        }
        3 => add("x-call", &call.to_string()),
        4 => {
            for n in 0..12 {
                add(&format!("x-many-{n}"), &"v".repeat(n + call % 7));
            }
        }
        5 => add("x-long", "long ".repeat(60).trim()),
        6 => {
            for value in ["a", "b", "a"] {
                add("x-again", value);
            }
            add("authorization", "secret");
        }
        9 => {
            // Another value of the same length for each call, as a trace id is.
            add("x-tenant", "somebody");
            add("x-trace", &format!("{:016x}", mix(0x7ace, call as u64)));
        }
        8 => {
            // More than one frame holds, and nothing that Huffman codes shorten.
            for n in 0..9u64 {
                let value: Vec<u8> = (0..1700).map(|at| mix(n + call as u64, at) as u8).collect();
                metadata.append_bin(&format!("x-wide-{n}-bin"), &value).expect("as above");
            }
        }
        _ => {
            for n in 0..40 {
                let value = [n as u8, call as u8, 0, 255];
                metadata.append_bin(&format!("x-{n}-bin"), &value[..n % 5]).expect("as above");
            }
        }
    }
    metadata
}

/// Whether a deadline may have passed at the server, which knows it as `grpc-timeout` can say it, rounded down.
pub(crate) fn is_near(deadline: Instant, now: Instant) -> bool {
    deadline <= now + Duration::from_millis(1)
}

/// Whether a server that hears of a call `now` has `told` its handler the deadline that the client has: later by the time
/// that the call has taken, and sooner by less than the unit in which its timeout was told.
pub(crate) fn same_deadline(
    started: Instant,
    own: Option<Instant>,
    reported: Option<Instant>,
    now: Instant,
) -> bool {
    let (Some(own), Some(reported)) = (own, reported) else {
        return own.is_none() && reported.is_none();
    };
    // Eight digits: a unit of a microsecond below 100 s, and so on.
    let unit = match (own - started).as_millis() {
        ..100 => Duration::ZERO,
        100..100_000 => Duration::from_micros(1),
        _ => Duration::from_millis(1),
    };
    own <= reported + unit && reported <= own + (now - started)
}

/// What the head of a call's answer carries.
pub(crate) fn head_metadata(plan: &CallPlan, call: usize) -> Metadata {
    metadata(if plan.headers { plan.metadata } else { 0 }, call)
}

/// Whether `got` has the entries of `sent`, in order, and nothing else but the model's own field.
pub(crate) fn same_metadata(sent: &Metadata, got: &Metadata) -> bool {
    let got = got.iter().filter(|field| field.name != CALL.as_bytes());
    let own = |name: &[u8]| !matches!(name, b"user-agent" | b"te" | b"content-type" | b"host");
    let got = got.filter(|field| own(field.name)).map(|field| (field.name, field.value));
    sent.iter().map(|field| (field.name, field.value)).eq(got)
}

/// Whether `got` is what arrives of the status that a handler `gave`: where lists are small, perhaps without its details
/// and the end of its message.
pub(crate) fn same_status(gave: &Status, got: &Status, small_lists: bool) -> bool {
    let shortened = gave.code() == got.code()
        && gave.message().starts_with(got.message())
        && got.details().is_empty();
    gave == got || small_lists && shortened
}

/// The status that a handler gives.
pub(crate) fn status(plan: &CallPlan, call: usize) -> Status {
    let code = grpc_proto::Code::from_number(u32::from(plan.status));
    match code.unwrap_or(grpc_proto::Code::Unknown) {
        grpc_proto::Code::Ok => Status::OK,
        code => {
            let status = Status::new(code, format!("the status of call {call}: 100 % ü\n"));
            match plan.details {
                0 => status,
                len => status.with_details(message(call, false, 0xde7a, len.into()).to_vec()),
            }
        }
    }
}

/// A message of the model, to be encoded where it leaves from.
struct Plain(&'static [u8]);

impl Encode for Plain {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// Hands a message of the model to a connection, in one of the ways that there are.
pub(crate) fn send<R: Role>(
    connection: &mut Recorder<R>,
    key: CallKey,
    mode: SendMode,
    message: &'static [u8],
) -> Result<(), SendError> {
    match mode {
        SendMode::Handles => connection.send_encoded(key, Bytes::from_static(message), false),
        SendMode::Encode => connection.send(key, &Plain(message)),
        SendMode::CompressedHandles => {
            connection.send_encoded(key, Bytes::from_static(message), true)
        }
        SendMode::CompressedBytes => connection.send_compressed(key, message),
    }
}
