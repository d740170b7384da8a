//! Hostile clients of the world's servers, and hostile servers that channels with the limits of the world's clients find.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use grpc_proto::http2::Side;
use grpc_service::client::BidiStream;
use grpc_service::server::BidiCall;
use grpc_service::{Arena, Channel, ChannelOptions, Cx, Host, Method, Sink, Status};

use super::caller::race;
use super::part::generated::WorldClient;
use super::part::{Part, part};
use super::{SETTLED_BY, Stage, address, options, pool_limits};
use crate::adversary::{self, Attacker};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{LinkPlan, PipePlan, config_of};

/// The messages that victims send are those of a call of this number.
const ATTACK: usize = 1 << 21;
/// How often an attack is looked at: each has ended when a stalled stream or a silent connection has.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Stage {
    /// An attack, from the start of the world to its end: it must meet its defence.
    pub(super) async fn attack(self: Rc<Self>, index: usize) {
        let plan = &self.scenario.attacks[index];
        self.sleep_us(plan.at_us).await;
        if let Some(link) = self.begin_attack(index) {
            let over = |attacker: &mut Attacker| attacker.is_over();
            for _ in 0..SETTLED_BY.as_secs() / 2 {
                Host::timer(&self.sim, self.now() + LOOK_EVERY).await;
                if self.sim.with_attacker(link, over) == Some(true) {
                    break;
                }
            }
            if let Some(text) = self.sim.victim_keeps_calls(link) {
                self.sim.fail(Oracle::Memory, text);
            }
            match self.sim.with_attacker(link, |attacker| attacker.judge()) {
                Some(Ok((mark, rule))) => {
                    self.reach(match mark {
                        Mark::AttackRepelled => Mark::ServiceRepelled,
                        Mark::AttackTolerated => Mark::ServiceTolerated,
                        other => other,
                    });
                    rule.into_iter().for_each(|rule| self.marks.borrow_mut().reach_rule(rule));
                }
                Some(Err(text)) => self.sim.fail(Oracle::Isolation, text),
                None => {}
            }
            self.sim.end_attack(link);
        }
        self.note_over();
    }

    fn begin_attack(self: &Rc<Self>, index: usize) -> Option<usize> {
        let plan = &self.scenario.attacks[index];
        let victim = adversary::victim(&plan.script);
        let at = |link: &LinkPlan| match victim {
            Side::Server => link.server,
            Side::Client => link.client,
        };
        let links = &self.scenario.links;
        let link = links.iter().position(|link| at(link) == plan.target).unwrap_or(0);
        let target = usize::from(at(links.get(link)?));
        let knobs = match victim {
            Side::Server => &self.scenario.servers[target],
            Side::Client => &self.scenario.clients[target],
        };
        let attacker =
            Attacker::new(&plan.script, plan.over, config_of(knobs).limits(), self.now())?;
        let pipe = PipePlan { cut: plan.cut, delay_us: 10, ..PipePlan::default() };
        if victim == Side::Server {
            let server = self.sim.server(&address(link))?;
            return Some(self.sim.attack_server(attacker, &server, pipe));
        }
        let options = options(knobs, ChannelOptions::new).pool_limits(pool_limits(knobs));
        let (channel, connection) = Channel::new("sim", &options, self.sim.host());
        let link = self.sim.attack_client(attacker, connection, pipe);
        self.sim.spawn(Box::pin(Rc::clone(self).call_attacker(link, channel)));
        Some(link)
    }

    /// The victim makes two calls, the second of which must be served.
    async fn call_attacker(self: Rc<Self>, link: usize, channel: Channel) {
        let world = WorldClient::new(channel);
        for n in 0..2 {
            match world.attack().await {
                Ok(stream) => {
                    self.sim.spawn(Box::pin(Rc::clone(&self).hear_attacker(link, n, stream)));
                }
                Err(error) => {
                    let status = error.status();
                    self.sim.with_attacker(link, |attacker| attacker.on_status(n, status));
                }
            }
        }
    }

    /// One of the two calls: one message, nothing after it, and what becomes of that.
    async fn hear_attacker<M>(self: Rc<Self>, link: usize, n: usize, stream: BidiStream<M>)
    where
        M: Method<Request = Part<'static>, Response = Part<'static>>,
    {
        let (mut sending, mut receiving) = stream.split();
        let asks = async {
            let arena = Arena::new();
            let hello = part(ATTACK, true, n, 5, &arena);
            // Whether it leaves changes nothing about the attack.
            let _ = self.waits(sending.send(&hello)).await;
            pending().await
        };
        let hears = async {
            let mut arena = Arena::new();
            loop {
                match receiving.next(&mut arena).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::OK,
                    Err(error) => return error.into_status(),
                }
            }
        };
        if let Some(status) = race(hears, asks).await {
            self.sim.note(&[41, n as u64], || format!("attacked call {n} ends: {status:?}"));
            self.sim.with_attacker(link, |attacker| attacker.on_status(n, &status));
        }
    }
}

/// A call that an attack is about: takes what comes.
pub(super) struct Attacked {
    /// Whether it is answered at once, and never over for its handler.
    pub(super) stalls: bool,
}

impl BidiCall<Part<'static>, Part<'static>> for Attacked {
    async fn on_message<'a>(
        &self,
        _cx: &Cx<'a>,
        _message: Part<'a>,
        _out: &mut Sink<'_, Part<'static>>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn finish(&self, _cx: &Cx<'_>, _out: &mut Sink<'_, Part<'static>>) -> Result<(), Status> {
        if self.stalls { pending().await } else { Ok(()) }
    }

    async fn run(&self, _cx: &Cx<'_>, out: &mut Sink<'_, Part<'static>>) -> Result<(), Status> {
        if !self.stalls {
            return Ok(());
        }
        let arena = Arena::new();
        out.send(&part(ATTACK, false, 0, 5, &arena)).await
    }
}
