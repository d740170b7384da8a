//! Compression in worlds of services: what ends agree on, and what must have come of it at the other end.

use grpc_service::{Compression, Encoding};

use super::Stage;
use super::part::{BESIDE, is_repetitive};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{Coding, Knob, Knobs, limits_of};
use crate::world::app::REPEATED;

/// A body of so many bytes that repeat themselves is shorter when it is compressed, whatever stands beside it.
const SHORTER: u32 = 2 * BESIDE;

/// How an end with these knobs compresses.
pub(super) fn compression(knobs: &Knobs) -> Compression {
    let Some(&sent) = knobs.get(&Knob::Compress) else { return Compression::none() };
    let mut compression = Compression::none().accept_all();
    if let Some(&level) = knobs.get(&Knob::CompressLevel) {
        let level_of =
            |compression: Compression, &encoding| compression.level(encoding, level as i32);
        compression = Encoding::ALL.iter().fold(compression, level_of);
    }
    if let Some(&bytes) = knobs.get(&Knob::CompressAtLeast) {
        compression = compression.at_least(bytes as usize);
    }
    match encoding(sent) {
        Some(encoding) => compression.send(encoding),
        None => compression,
    }
}

fn encoding(knob: u64) -> Option<Encoding> {
    match knob {
        0 => None,
        1 => Some(Encoding::Gzip),
        _ => Some(Encoding::Deflate),
    }
}

impl Stage {
    /// The knobs of the client and the server of a call.
    fn ends_of(&self, n: usize) -> (&Knobs, &Knobs) {
        let link = &self.scenario.links[usize::from(self.scenario.calls[n].link)];
        let client = &self.scenario.clients[usize::from(link.client)];
        (client, &self.scenario.servers[usize::from(link.server)])
    }

    /// Whether both ends of a link know of compression.
    pub(super) fn compresses(&self, link: usize) -> bool {
        let link = &self.scenario.links[link];
        let client = &self.scenario.clients[usize::from(link.client)];
        let server = &self.scenario.servers[usize::from(link.server)];
        [client, server].iter().all(|knobs| knobs.contains_key(&Knob::Compress))
    }

    /// What the requests, or the responses, of a call may be compressed with.
    pub(super) fn encoding_of(&self, n: usize, up: bool) -> Option<Encoding> {
        let plan = &self.scenario.calls[n];
        if !self.compresses(usize::from(plan.link)) {
            return None;
        }
        let (client, server) = self.ends_of(n);
        match plan.coding {
            _ if !up => encoding(server[&Knob::Compress]),
            Coding::Channel => encoding(client[&Knob::Compress]),
            Coding::Gzip => Some(Encoding::Gzip),
            Coding::Deflate => Some(Encoding::Deflate),
            Coding::Identity => None,
        }
    }

    /// Whether the sender of a message has asked for it to be left as it is.
    pub(super) fn is_left_plain(&self, n: usize, up: bool, index: usize) -> bool {
        let plan = &self.scenario.calls[n];
        let asks = match up {
            // A call with one request has nothing to ask with.
            true => plan.plain_requests && plan.method.streams().0,
            false => plan.plain_responses,
        };
        asks && index.is_multiple_of(2)
    }

    /// Holds against the rules whether a message of `len` bytes came compressed, and that it may be received at all.
    pub(super) fn judge_coding(&self, n: usize, up: bool, index: usize, len: u32, came: bool) {
        let (client, server) = self.ends_of(n);
        let (sender, receiver) = if up { (client, server) } else { (server, client) };
        let name = if up { "request" } else { "response" };
        if len > limits_of(receiver).max_receive_message {
            let text = format!("{name} {index} of call {n} has {len} bytes, more than may come");
            return self.sim.fail(Oracle::Prefix, text);
        }
        let (encoding, plain) = (self.encoding_of(n, up), self.is_left_plain(n, up, index));
        let least = sender.get(&Knob::CompressAtLeast).map_or(1024, |&bytes| bytes);
        let shrinks = (SHORTER..REPEATED as u32).contains(&len) && is_repetitive(n, up, index);
        let gains = shrinks && u64::from(len) >= least;
        let expected = match encoding {
            None => Some(false),
            Some(_) if plain => Some(false),
            Some(_) => gains.then_some(true),
        };
        if expected.is_some_and(|expected| expected != came) {
            let text =
                format!("{name} {index} of call {n} came compressed: {came}, with {encoding:?}");
            return self.sim.fail(Oracle::Prefix, text);
        }
        match encoding {
            Some(_) if plain && gains => self.reach(Mark::LeftPlain),
            Some(Encoding::Gzip) if came => self.reach(Mark::CompressedGzip),
            Some(_) if came => self.reach(Mark::CompressedDeflate),
            _ => {}
        }
    }
}
