//! Hostile peers: scripts of attacks on a server, each with a limit to stay below or go past.
//!
//! Nothing here is shared with the encoder under test: frames and field blocks are written by hand.

mod scripts;
mod writer;

use grpc_proto::{ConnectionError, ErrorCode, Limits, Violation};

use crate::marks::Mark;
pub(crate) use scripts::NAMES;
use writer::Writer;

/// What the defence must do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expected {
    /// The connection ends, because of this rule.
    Ends(Violation),
    /// The connection ends because a field block does not decode.
    EndsCompression,
    /// The connection ends because something did not come in time.
    TimesOut,
    /// The stream is reset with this code, and the connection serves on.
    Resets(u32),
    /// The connection serves on.
    Serves,
}

/// A hostile client.
#[derive(Debug)]
pub(crate) struct Attacker {
    name: String,
    expected: Expected,
    pending: Vec<u8>,
    sent: usize,
    pub(crate) rx: Vec<u8>,
    pub(crate) eof: bool,
    /// The stream on which a well-behaved call is tried after the attack.
    probe: u32,
    probed: bool,
    served: bool,
    reset: Option<u32>,
    error: Option<ConnectionError>,
}

impl Attacker {
    /// `None` if there is no such script.
    pub(crate) fn new(name: &str, over: i8, limits: &Limits) -> Option<Self> {
        let mut writer = Writer::default();
        let expected = scripts::write(name, over, limits, &mut writer)?;
        let probe = writer.next_stream();
        Some(Attacker {
            name: format!("{name}{over:+}"),
            expected,
            pending: writer.into_bytes(),
            sent: 0,
            rx: Vec::new(),
            eof: false,
            probe,
            probed: false,
            served: false,
            reset: None,
            error: None,
        })
    }

    /// What is to be written next.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending[self.sent..]
    }

    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// Reads what the server has said, and tries a well-behaved call once the attack is over.
    pub(crate) fn act(&mut self) {
        while let Some(header) = self.rx.first_chunk::<9>() {
            let len =
                usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            if self.rx.len() < 9 + len {
                break;
            }
            let code = self.rx[9..9 + len].first_chunk().map(|code| u32::from_be_bytes(*code));
            match kind {
                1 if stream == self.probe && flags & 1 != 0 => self.served = true,
                // A limit of one stream refuses the call beside the one that the attack holds open.
                3 if stream == self.probe && code == Some(7) => self.served = true,
                3 => self.reset = self.reset.or(code),
                _ => {}
            }
            self.rx.drain(..9 + len);
        }
        let silent = matches!(self.expected, Expected::TimesOut);
        if self.pending().is_empty() && !self.probed && !silent {
            self.probed = true;
            let mut writer = Writer::bare();
            writer.request(self.probe, true);
            self.pending = writer.into_bytes();
            self.sent = 0;
        }
    }

    pub(crate) fn on_server_error(&mut self, error: &ConnectionError) {
        if !self.served {
            self.error = Some(error.clone());
        }
    }

    /// Whether nothing more comes of it.
    pub(crate) fn is_over(&self) -> bool {
        self.error.is_some() || self.served || self.eof
    }

    /// Whether the server did what it should.
    pub(crate) fn judge(&self) -> Result<Mark, String> {
        let name = &self.name;
        let unexpected = || {
            Err(format!(
                "{name}: expected {:?}, the connection ended with {:?}, served {}, reset {:?}",
                self.expected, self.error, self.served, self.reset
            ))
        };
        match (&self.expected, &self.error) {
            (Expected::Ends(rule), Some(ConnectionError::PeerMisbehaved(broken)))
                if rule == broken =>
            {
                Ok(Mark::AttackRepelled)
            }
            // Another limit of the same kind was in the way first.
            (Expected::Ends(rule), Some(ConnectionError::PeerMisbehaved(broken)))
                if rule.code() == ErrorCode::ENHANCE_YOUR_CALM && broken.code() == rule.code() =>
            {
                Ok(Mark::AttackRepelled)
            }
            (Expected::EndsCompression, Some(ConnectionError::Compression(_)))
            | (Expected::TimesOut, Some(ConnectionError::TimedOut(_))) => Ok(Mark::AttackRepelled),
            (Expected::Serves, None) if self.served => Ok(Mark::AttackTolerated),
            (Expected::Resets(code), None) if self.served && self.reset == Some(*code) => {
                Ok(Mark::AttackTolerated)
            }
            // A drain of the world's may end it before the attack does.
            (_, Some(ConnectionError::Drained | ConnectionError::Closed(_))) => {
                Ok(Mark::AttackTolerated)
            }
            (_, None) if self.eof => Ok(Mark::AttackTolerated),
            _ => unexpected(),
        }
    }
}
