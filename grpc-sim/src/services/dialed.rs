//! Channels that connect by themselves: each attempt is counted, and none comes before its time.

use std::rc::{Rc, Weak};
use std::time::Duration;

use grpc_proto::{Code, Status};
use grpc_service::{Backoff, Channel, ClientConnection, ConnectError, Connector, LocalFuture};

use super::{Stage, address};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::Knob;

/// How a call's status begins for which there was no connection.
const NO_CONNECTION: &str = "no connection to ";

impl Stage {
    fn backoff(&self, link: usize) -> Backoff {
        let knobs = &self.scenario.clients[usize::from(self.scenario.links[link].client)];
        let mut backoff = Backoff::default();
        if let Some(&ms) = knobs.get(&Knob::BackoffMs) {
            backoff.initial = Duration::from_millis(ms);
            backoff.max = Duration::from_secs(1);
        }
        backoff
    }

    /// The channel of a link that connects by itself, and the first of its connections that a call may go out on.
    pub(super) fn dialed(self: &Rc<Self>, link: usize) -> (u64, Channel) {
        let state = &mut self.links.borrow_mut()[link];
        if state.channel.is_none() {
            let options = self.channel_options(link).backoff(self.backoff(link));
            let door = Rc::new(Door { stage: Rc::downgrade(self), link });
            state.channel = Some((0, Channel::to(&address(link), &options, self.sim.host(), door)));
        }
        let (_, channel) = state.channel.as_ref().expect("made above or earlier");
        (state.connections.max(1), channel.clone())
    }

    /// An attempt begins; its number.
    fn knock(&self, link: usize) -> u64 {
        let (now, backoff) = (self.now(), self.backoff(link));
        let state = &mut self.links.borrow_mut()[link];
        state.connections += 1;
        let number = state.connections;
        state.blamed.begin(number, now);
        state.leaving.begin(number, now);
        if number > 1 {
            self.reach(Mark::DialedAgain);
        }
        // Those that end before the server's SETTINGS have come have failed too, which only the channel knows.
        let least = least_pause(backoff, state.failures.saturating_sub(1));
        if let Some(before) = state.knocked.replace(now)
            && now < before + least
        {
            let text = format!("link {link} was dialed {:?} after the last time", now - before);
            self.sim.fail(Oracle::Work, text);
        }
        number
    }

    /// An attempt has come to its end.
    fn knocked(&self, link: usize, number: u64, failed: bool) {
        let state = &mut self.links.borrow_mut()[link];
        if failed {
            state.refused = state.refused.max(number);
            state.failures += 1;
            state.failed += 1;
            return self.reach(Mark::ConnectRefused);
        }
        state.failures = 0;
        self.reach(Mark::Dialed);
        if std::mem::take(&mut state.restarted) {
            self.reach(Mark::Restarted);
        }
    }

    /// Marks what a call has met that goes through such a channel, and what it may not meet.
    pub(super) fn mark_dialed(&self, n: usize, status: &Status) -> Result<(), (Oracle, String)> {
        let plan = &self.scenario.calls[n];
        let link = usize::from(plan.link);
        if !self.scenario.links[link].dialed {
            return Ok(());
        }
        let failed_since = {
            let before = self.calls.borrow()[n].failed_before;
            self.links.borrow()[link].failed > before
        };
        let unconnected =
            status.code() == Code::Unavailable && status.message().starts_with(NO_CONNECTION);
        if unconnected && plan.wait_for_ready {
            return Err((Oracle::OneEnd, "it waits for a connection".into()));
        }
        if unconnected {
            self.reach(Mark::DialFailed);
        } else if failed_since && status.is_ok() {
            self.reach(Mark::DialAwaited);
        }
        Ok(())
    }
}

/// From the beginning of an attempt to the next one, after so many failures before it, at the least.
fn least_pause(backoff: Backoff, failures: u32) -> Duration {
    let grown = backoff.initial.as_secs_f64() * backoff.multiplier.powi(failures as i32);
    let least = grown.min(backoff.max.as_secs_f64()) * (1.0 - backoff.jitter);
    // What rounds to a nanosecond less is no sooner.
    Duration::from_secs_f64(least).saturating_sub(Duration::from_nanos(1))
}

/// Where a channel knocks.
struct Door {
    /// What the stage holds holds this.
    stage: Weak<Stage>,
    link: usize,
}

impl Connector for Door {
    fn connect(
        &self,
        address: &str,
        connection: ClientConnection,
    ) -> LocalFuture<Result<(), ConnectError>> {
        let Some(stage) = self.stage.upgrade() else {
            return Box::pin(async { Err(ConnectError::new("the world is gone")) });
        };
        let (link, number) = (self.link, stage.knock(self.link));
        let connecting = stage.sim.connect(address, connection);
        let stage = Weak::clone(&self.stage);
        Box::pin(async move {
            let connected = connecting.await;
            if let Some(stage) = stage.upgrade() {
                stage.knocked(link, number, connected.is_err());
            }
            connected
        })
    }
}
