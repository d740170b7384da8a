//! Hostile peers: scripts of attacks on a server or a client, each with a limit to stay below or go past.
//!
//! Nothing here is shared with the encoder under test: frames and field blocks are written by hand.

mod either;
mod lists;
mod scripts;
mod servers;
mod writer;

use std::collections::BTreeSet;
use std::time::Duration;

use grpc_proto::http2::Side;
use grpc_proto::{
    CallKey, Code, ConnectionError, ErrorCode, Instant, Limits, Reason, Status, TimedOut, Violation,
};

use crate::marks::{Mark, Marks};
use writer::Writer;

/// The call that the attack is about, and the one that must be served all the same.
const ATTACKED: u32 = 1;
const PROBE: u32 = 3;
/// The script of a client that is silent from the beginning.
const SENDS_NOTHING: &str = "sends-nothing";
/// What the network and a loop take in between.
const SLACK: Duration = Duration::from_millis(20);
/// How often a call is tried again that the server refuses without a cause.
const MOST_REFUSALS: u32 = 4;

/// The names of the scripts of hostile clients.
pub(crate) fn clients() -> impl Iterator<Item = &'static str> {
    let own = scripts::NAMES.iter().chain(either::NAMES).copied();
    own.chain(lists::names(lists::REQUESTS))
}

/// The names of the scripts of hostile servers.
pub(crate) fn servers() -> impl Iterator<Item = &'static str> {
    let own = servers::NAMES.iter().chain(either::NAMES_OF_SERVERS).copied();
    own.chain(lists::names(lists::RESPONSES)).chain(lists::names(lists::TRAILERS))
}

/// Who is attacked by the script of this name.
pub(crate) fn victim(name: &str) -> Side {
    if servers().any(|script| script == name) { Side::Client } else { Side::Server }
}

/// What the defence must do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expected {
    /// The connection ends, because of this rule.
    Ends(Violation),
    /// The connection ends because a field block does not decode.
    EndsCompression,
    /// The connection ends because this did not come in that time; or the acknowledgement of its SETTINGS, if that has
    /// less time, or as much.
    TimesOut(TimedOut, Duration),
    /// The connection ends because of this rule, or serves on: it depends on how the bytes arrive.
    MayEnd(Violation),
    /// The stream is reset with this code, and the connection serves on.
    Resets(u32),
    /// The stream is reset because of this rule, and the connection serves on.
    Breaks(Violation),
    /// The stream is reset because of this rule when its time has come, and the connection serves on.
    Stalls(Violation),
    /// The connection serves on.
    Serves,
}

/// A hostile client or server.
#[derive(Debug)]
pub(crate) struct Attacker {
    name: String,
    victim: Side,
    expected: Expected,
    pending: Vec<u8>,
    sent: usize,
    pub(crate) rx: Vec<u8>,
    pub(crate) eof: bool,
    /// The stream on which a well-behaved call is tried after the attack.
    probe: u32,
    probed: bool,
    /// Probes that were refused although the attack holds fewer streams open than the limit.
    refused: u32,
    served: bool,
    /// Streams that neither end has ended yet.
    held: BTreeSet<u32>,
    /// The victim's limit of streams.
    most_streams: usize,
    reset: Option<u32>,
    error: Option<ConnectionError>,
    began: Instant,
    ended: Instant,
    /// How long the victim waits for the acknowledgement of its SETTINGS, from the beginning.
    ack_timeout: Duration,
    /// How long a server that is attacked holds its SETTINGS back, and when they came.
    hold: Duration,
    settings_at: Option<Instant>,
    /// Calls of the client that is attacked, and how the first one ended.
    pub(crate) calls: Vec<CallKey>,
    reason: Option<Reason>,
    /// The client is past its preface, and the calls that the attack is about have come.
    greeted: bool,
    seen: u32,
    /// The victim went away by itself: whatever comes of the attack is fine.
    pub(crate) excused: bool,
    /// The call whose answer the hostile client never lets through.
    pub(crate) stalled: Option<CallKey>,
}

impl Attacker {
    /// `None` if there is no such script.
    pub(crate) fn new(name: &str, over: i8, limits: &Limits, now: Instant) -> Option<Self> {
        let victim = victim(name);
        let mut writer = Writer::default();
        let expected = match victim {
            Side::Server => scripts::write(name, over, limits, &mut writer)?,
            Side::Client => {
                writer = Writer::of_server();
                servers::write(name, over, limits, &mut writer)?
            }
        };
        // A server holds nothing open: it is called.
        let held = if victim == Side::Server { writer.open_streams() } else { BTreeSet::new() };
        let probe = if victim == Side::Server { writer.next_stream() } else { PROBE };
        // The acknowledgement is waited for from when SETTINGS are sent, which is when three bytes have come, or at the end of
        // the hold.
        let sends_nothing = name == SENDS_NOTHING;
        let held_ack = if sends_nothing { limits.settings_hold } else { Duration::ZERO };
        Some(Attacker {
            name: format!("{name}{over:+}"),
            victim,
            expected,
            pending: writer.into_bytes(),
            sent: 0,
            rx: Vec::new(),
            eof: false,
            probe,
            probed: false,
            refused: 0,
            served: false,
            held,
            most_streams: limits.max_concurrent_streams as usize,
            reset: None,
            error: None,
            began: now,
            ended: now,
            ack_timeout: limits.settings_ack_timeout + held_ack,
            hold: limits.settings_hold,
            settings_at: None,
            calls: Vec::new(),
            reason: None,
            greeted: victim == Side::Server,
            seen: 0,
            excused: false,
            stalled: None,
        })
    }

    /// The script, and how far it stays from the limit.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The end that is attacked.
    pub(crate) fn victim(&self) -> Side {
        self.victim
    }

    /// What is to be written next.
    pub(crate) fn pending(&self) -> &[u8] {
        // A server has nothing to break before it was called.
        let called = self.seen >= PROBE || (self.excused && self.seen >= ATTACKED);
        match self.victim {
            Side::Client if !called => &[],
            _ => &self.pending[self.sent..],
        }
    }

    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// Reads what the victim has said, and tries a well-behaved call once the attack is over.
    pub(crate) fn act(&mut self, now: Instant) {
        const PREFACE: usize = 24;
        if !self.greeted && self.rx.len() >= PREFACE {
            self.rx.drain(..PREFACE);
            self.greeted = true;
        }
        while self.greeted
            && let Some(header) = self.rx.first_chunk::<9>()
        {
            let len =
                usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            if self.rx.len() < 9 + len {
                break;
            }
            let code = self.rx[9..9 + len].first_chunk().map(|code| u32::from_be_bytes(*code));
            let by_server = self.victim == Side::Server;
            let silent = matches!(self.expected, Expected::TimesOut(..));
            match kind {
                // Who waits for long, as for a stream that stalls, shows signs of life.
                6 if !silent && flags & 1 == 0 => {
                    let payload = self.rx[9..9 + len].to_vec();
                    let mut writer = Writer::bare();
                    writer.frame(6, 1, 0, &payload);
                    self.pending.extend(writer.into_bytes());
                }
                4 if flags & 1 == 0 => self.settings_at = self.settings_at.or(Some(now)),
                1 if !by_server => self.seen = self.seen.max(stream),
                1 if stream == self.probe && flags & 1 != 0 => self.served = true,
                3 if by_server && stream == self.probe && code == Some(7) => self.on_refusal(),
                3 if stream == ATTACKED => self.reset = self.reset.or(code),
                _ => {}
            }
            if by_server && (kind == 3 || kind <= 1 && flags & 1 != 0) {
                self.held.remove(&stream);
            }
            self.rx.drain(..9 + len);
        }
        let silent = matches!(self.expected, Expected::TimesOut(..));
        let waits = matches!(self.expected, Expected::Stalls(_)) && self.reset.is_none();
        let all_sent = self.sent == self.pending.len();
        if all_sent && !self.probed && !silent && !waits {
            self.probed = true;
            let mut writer = Writer::bare();
            match self.victim {
                Side::Server => {
                    writer.request(self.probe, true);
                    self.held.insert(self.probe);
                }
                Side::Client => {
                    writer.response(self.probe, false);
                    writer.trailers(self.probe);
                    writer.reset(ATTACKED);
                }
            }
            self.pending = writer.into_bytes();
            self.sent = 0;
        }
    }

    /// The server has refused the well-behaved call: as it should if the attack holds as many streams open as may be. If
    /// not, those of before may only have been about to leave, and the call is tried again.
    fn on_refusal(&mut self) {
        self.held.remove(&self.probe);
        if self.held.len() >= self.most_streams {
            self.served = true;
        } else if self.refused < MOST_REFUSALS {
            self.refused += 1;
            self.probe += 2;
            self.probed = false;
        }
    }

    /// Calls that the victim may still hold for the attacker, once it is at rest.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The victim's limits leave nothing to attack.
    pub(crate) fn expect_service(&mut self) {
        self.expected = Expected::Serves;
    }

    /// How the victim's connection has ended, unless it drained.
    pub(crate) fn hear_end(
        &mut self,
        error: Option<&ConnectionError>,
        now: Instant,
        marks: &mut Marks,
    ) {
        let Some(error) = error else { return };
        match error {
            ConnectionError::PeerMisbehaved(rule) => marks.reach_rule(*rule),
            ConnectionError::Compression(_) => marks.reach_rule(Violation::Compression),
            _ => {}
        }
        self.on_error(error, now);
    }

    pub(crate) fn on_error(&mut self, error: &ConnectionError, now: Instant) {
        if !self.served {
            self.error = Some(error.clone());
            self.ended = now;
        }
    }

    /// A call of the attacked client has ended.
    pub(crate) fn on_outcome(&mut self, key: CallKey, code: Code, reason: Option<Reason>) {
        match self.calls.iter().position(|&call| call == key) {
            Some(0) => self.reason = reason,
            Some(_) => self.served |= code == Code::Ok,
            None => {}
        }
    }

    /// The same through the dispatch layer, where the status is all that is told: call `n` has ended with it.
    pub(crate) fn on_status(&mut self, n: usize, status: &Status) {
        match n {
            0 => {
                let rules = Violation::ALL.iter().map(|&rule| Reason::PeerMisbehaved(rule));
                self.reason = rules.into_iter().find(|reason| reason.to_status() == *status);
            }
            _ => self.served |= status.is_ok(),
        }
        // What was never sent cannot be attacked.
        self.excused |= self.seen < [ATTACKED, PROBE][n];
    }

    /// Whether nothing more comes of it.
    pub(crate) fn is_over(&self) -> bool {
        self.error.is_some() || self.served || self.eof
    }

    /// Whether the victim did what it should: the mark, and the rule that was broken.
    pub(crate) fn judge(&self) -> Result<(Mark, Option<Violation>), String> {
        let tolerated = Ok((Mark::AttackTolerated, None));
        let cut_short = Ok((Mark::AttackCutShort, None));
        let name = &self.name;
        let unexpected = || {
            Err(format!(
                "{name}: expected {:?}, the connection ended with {:?}, served {}, reset {:?}, {:?}",
                self.expected, self.error, self.served, self.reset, self.reason
            ))
        };
        match (&self.expected, &self.error) {
            (
                Expected::Ends(rule) | Expected::MayEnd(rule),
                Some(ConnectionError::PeerMisbehaved(broken)),
            ) if rule == broken => match rule {
                Violation::Http1Request => self.judge_answer(),
                _ => Ok((Mark::AttackRepelled, None)),
            },
            // Another limit of the same kind was in the way first.
            (Expected::Ends(rule), Some(ConnectionError::PeerMisbehaved(broken)))
                if rule.code() == ErrorCode::ENHANCE_YOUR_CALM && broken.code() == rule.code() =>
            {
                Ok((Mark::AttackRepelled, None))
            }
            // A PRIORITY of a wrong length ends the connection at once where its stream is closed already, as one that was
            // refused is (RFC 9113 §6.3).
            (
                Expected::Ends(Violation::TooManyResets),
                Some(ConnectionError::PeerMisbehaved(Violation::FrameLength)),
            ) if name.starts_with("made-you-reset-priority") => Ok((Mark::AttackRepelled, None)),
            (Expected::EndsCompression, Some(ConnectionError::Compression(_))) => {
                Ok((Mark::AttackRepelled, None))
            }
            (Expected::TimesOut(what, span), Some(ConnectionError::TimedOut(came)))
                if self.is_timely(*what, *span, *came) =>
            {
                self.judge_hold(*span)
            }
            (Expected::Serves | Expected::MayEnd(_), None) if self.served => tolerated,
            (Expected::Resets(code), None) if self.served && self.reset == Some(*code) => tolerated,
            (Expected::Breaks(rule) | Expected::Stalls(rule), None)
                if self.served && self.broke(*rule) =>
            {
                Ok((Mark::AttackTolerated, Some(*rule)))
            }
            // A drain of the world's may end it before the attack does.
            (
                _,
                Some(
                    ConnectionError::Drained
                    | ConnectionError::Closed(_)
                    | ConnectionError::TimedOut(TimedOut::Drain),
                ),
            ) => cut_short,
            (_, None) if self.eof => cut_short,
            _ if self.excused => cut_short,
            _ => unexpected(),
        }
    }

    /// A client of HTTP/1 gets an answer that it can read: no frame stands before it, unless SETTINGS are not held back.
    fn judge_answer(&self) -> Result<(Mark, Option<Violation>), String> {
        let answered = self.rx.starts_with(b"HTTP/1.1 505 ");
        if self.hold.is_zero() || self.rx.is_empty() {
            return Ok((Mark::AttackRepelled, None));
        }
        if !answered || self.settings_at.is_some() {
            let (name, rx) = (&self.name, self.rx.escape_ascii());
            return Err(format!("{name}: the answer of HTTP/1 is not alone: {rx}"));
        }
        Ok((Mark::Http1Answered, None))
    }

    /// A client that sends nothing gets SETTINGS when their hold is over, if no other timer ends the connection before.
    fn judge_hold(&self, span: Duration) -> Result<(Mark, Option<Violation>), String> {
        let sends_nothing = self.name.starts_with(SENDS_NOTHING);
        if !sends_nothing || self.hold.is_zero() || self.hold >= span.min(self.ack_timeout) {
            return Ok((Mark::AttackRepelled, None));
        }
        match self.settings_at.map(|at| at - self.began) {
            Some(after) if after >= self.hold && after <= self.hold + SLACK => {
                Ok((Mark::SettingsAfterHold, None))
            }
            after => Err(format!(
                "{}: SETTINGS are held for {:?} and came after {after:?}",
                self.name, self.hold
            )),
        }
    }

    /// Whether the connection ended for what came too late, and when it was too late.
    fn is_timely(&self, what: TimedOut, span: Duration, came: TimedOut) -> bool {
        let acknowledged = self.ack_timeout;
        let right = match came {
            TimedOut::SettingsAck => acknowledged <= span,
            _ => came == what && span <= acknowledged,
        };
        let took = self.ended - self.began;
        right && took >= span.min(acknowledged) && took <= span.min(acknowledged) + SLACK
    }

    /// Whether the attacked call ended by a rule: a client says which, a server shows its code.
    fn broke(&self, rule: Violation) -> bool {
        match self.victim {
            Side::Client => self.reason == Some(Reason::PeerMisbehaved(rule)),
            Side::Server => self.reset == Some(rule.code().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::catch;
    use crate::scenario::{AttackPlan, Cut, Layer, LinkPlan, Scenario};

    fn world(layer: Layer, script: &str, over: i8) -> Scenario {
        let script = script.to_owned();
        Scenario {
            layer,
            clients: vec![Default::default()],
            servers: vec![Default::default()],
            links: vec![LinkPlan::default()],
            attacks: vec![AttackPlan { at_us: 0, target: 0, script, over, cut: Cut::Whole }],
            ..Scenario::default()
        }
    }

    #[test]
    fn every_attack_meets_its_defence_at_the_core_and_through_the_dispatch_layer() {
        let met = [
            (Layer::Core, [Mark::AttackRepelled, Mark::AttackTolerated]),
            (Layer::Services, [Mark::ServiceRepelled, Mark::ServiceTolerated]),
        ];
        // What a client of HTTP/1 gets, and one that is silent.
        let answers = [Mark::Http1Answered, Mark::SettingsAfterHold];
        for (layer, marks) in met {
            let mut cut_short = Vec::new();
            for script in clients().chain(servers()) {
                for over in [-1, 0, 1] {
                    let report = catch(&world(layer, script, over), false);
                    assert_eq!(report.failure, None, "{script}{over:+}, {layer:?}");
                    if !marks.iter().chain(&answers).any(|&mark| report.marks.has(mark as usize)) {
                        cut_short.push(format!("{script}{over:+}"));
                    }
                }
            }
            // A client that says that it goes away is not served any more.
            assert_eq!(cut_short, ["goaway-raised-1"], "{layer:?}");
        }
    }
}
