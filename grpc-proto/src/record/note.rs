//! What a recording says of an event: enough to tell two of them apart, not what they hold.

use super::parts::EventKind;
use super::wire::Fnv;
use crate::http2::{ConnectionError, Foreign};
use crate::metadata::Metadata;
use crate::{CallKey, Message, Reason, Status};

/// An event in a recording.
#[derive(Debug)]
pub struct Note {
    pub(super) kind: EventKind,
    pub(super) call: Option<CallKey>,
    /// Bytes of a message, or the number of a code.
    pub(super) size: u64,
    pub(super) digest: u64,
}

impl Note {
    pub(crate) fn new(kind: EventKind, call: Option<CallKey>, size: u64, digest: Digest) -> Self {
        Note { kind, call, size, digest: digest.value() }
    }

    pub(crate) fn message(call: CallKey, message: &Message<'_>) -> Self {
        let digest = Digest::new().number(message.compressed.into()).bytes(message.as_bytes());
        Note::new(EventKind::Message, Some(call), message.len() as u64, digest)
    }
}

/// The hash of what an event holds. Parts have their lengths before them, so that none runs into the next.
pub(crate) struct Digest(Fnv);

impl Digest {
    pub(crate) const fn new() -> Self {
        Digest(Fnv::new())
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.add(&number.to_le_bytes());
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.number(bytes.len() as u64);
        this.0.add(bytes);
        this
    }

    pub(crate) fn metadata(self, metadata: &Metadata) -> Self {
        metadata.fields().iter().fold(self, |digest, field| {
            digest.bytes(field.name).bytes(field.value).number(field.flags.is_sensitive().into())
        })
    }

    pub(crate) fn status(self, status: &Status) -> Self {
        self.number(status.code().number().into())
            .bytes(status.message().as_bytes())
            .bytes(status.details())
    }

    pub(crate) fn reason(self, reason: &Reason) -> Self {
        match reason {
            Reason::Reset(code) => self.number(1).number(code.0.into()),
            Reason::Deadline => self.number(2),
            Reason::PeerMisbehaved(rule) => self.number(3).bytes(rule.rule().as_bytes()),
            Reason::Connection(error) => self.number(4).error(error),
            Reason::GoAway(code) => self.number(5).number(code.0.into()),
            Reason::NeverSent(error) => self.number(6).error(error),
            Reason::MessageFlags => self.number(7),
            Reason::CompressedWithoutEncoding => self.number(8),
            Reason::MessageTooLarge => self.number(9),
            Reason::MessageTruncated => self.number(10),
            Reason::BinaryMetadata => self.number(11),
        }
    }

    pub(crate) fn error(self, error: &ConnectionError) -> Self {
        match error {
            ConnectionError::PeerMisbehaved(rule) => self.number(1).bytes(rule.rule().as_bytes()),
            ConnectionError::Compression(_) => self.number(2),
            ConnectionError::Closed(code) => {
                self.number(3).number(code.map_or(u64::MAX, |code| code.0.into()))
            }
            ConnectionError::TimedOut(what) => self.number(4).bytes(what.as_str().as_bytes()),
            ConnectionError::ClosedByUs(code) => self.number(5).number(code.0.into()),
            ConnectionError::Drained => self.number(6),
            ConnectionError::NotHttp2(Foreign::Http1(status)) => {
                self.number(7).number(status.unwrap_or(0).into())
            }
            ConnectionError::NotHttp2(Foreign::Tls) => self.number(8),
        }
    }

    pub(super) fn value(&self) -> u64 {
        self.0.0
    }
}
