//! Scenarios from entropy: each switches off a part of the features and faults and draws its limits too.

mod worlds;

use crate::adversary;
use crate::entropy::{Concern, Draw, Entropy};
use crate::scenario::*;
use crate::services::BESIDE;

/// Which parts of the generator a world uses. Fewer at once go deeper.
struct Swarm {
    deadlines: bool,
    cancels: bool,
    faults: bool,
    attacks: bool,
    odd_limits: bool,
    cuts: bool,
    slow: bool,
    large: bool,
    many_calls: bool,
    odd_endings: bool,
    metadata: bool,
    tiny_streams: bool,
    services: bool,
    adapter: bool,
    alike: bool,
}

impl Swarm {
    fn draw(draw: &mut Draw<'_>) -> Self {
        let mut half = || draw.below(2) == 1;
        Swarm {
            deadlines: half(),
            cancels: half(),
            faults: half(),
            attacks: half() && half(),
            odd_limits: half(),
            cuts: half(),
            slow: half(),
            large: half() && half(),
            many_calls: half() && half(),
            odd_endings: half(),
            metadata: half(),
            tiny_streams: half() && half(),
            services: half(),
            adapter: half(),
            alike: half() && half(),
        }
    }
}

/// Draws a scenario.
pub fn generate(entropy: &mut dyn Entropy) -> Scenario {
    let swarm = Swarm::draw(&mut Draw::new(entropy, Concern::Swarm));
    let mut scenario =
        Scenario { seed: entropy.below(Concern::Shape, 1 << 32), ..Scenario::default() };
    if swarm.services {
        scenario.layer = if swarm.adapter { Layer::Adapter } else { Layer::Services };
    }
    let draw = &mut Draw::new(entropy, Concern::Shape);
    if draw.one_in(4) {
        // Clocks begin anywhere. At the end there is time for all of the world, but not for its longest timers.
        scenario.start_ns =
            draw.pick(&[1, 999_999_999, 1 << 32, 1 << 63, u64::MAX - 5_000_000_000_000]);
    }
    let clients = draw.within(1, 2);
    let servers = draw.within(1, 2);
    scenario.clients = (0..clients).map(|_| knobs(draw, &swarm)).collect();
    scenario.servers = (0..servers).map(|_| knobs(draw, &swarm)).collect();
    for client in 0..clients as u8 {
        for server in 0..servers as u8 {
            if scenario.links.is_empty() || draw.below(2) == 1 {
                let (up, down) = (pipe(draw, &swarm), pipe(draw, &swarm));
                scenario.links.push(LinkPlan { client, server, up, down, ..LinkPlan::default() });
            }
        }
    }
    let draw = &mut Draw::new(entropy, Concern::Application);
    let links = scenario.links.len() as u64;
    let most = if swarm.many_calls { 60 } else { 8 };
    let calls = draw.within(1, most);
    // Bytes for all calls together, so that one world stays short.
    let mut left = match (swarm.large, swarm.cuts) {
        (true, _) => 300_000,
        // Each byte may be an event of its own.
        (false, true) => 4_000,
        (false, false) => 30_000,
    };
    for n in 0..calls {
        let call = call(draw, &swarm, n as u16, links, &mut left);
        scenario.calls.push(call);
    }
    if swarm.alike {
        alike(&mut scenario);
    }
    if swarm.faults {
        let draw = &mut Draw::new(entropy, Concern::Faults);
        for _ in 0..draw.within(1, 4) {
            scenario.faults.push(fault(draw, links, servers));
        }
    }
    if swarm.attacks {
        let draw = &mut Draw::new(entropy, Concern::Adversary);
        let scripts = [
            (adversary::clients().collect::<Vec<_>>(), servers),
            (adversary::servers().collect(), clients),
        ];
        for _ in 0..draw.within(1, 3) {
            let (names, victims) = &scripts[draw.below(2) as usize];
            scenario.attacks.push(AttackPlan {
                at_us: draw.skewed(20_000) as u32,
                target: draw.below(*victims) as u8,
                script: draw.pick(names).to_owned(),
                over: draw.pick(&[-1, 0, 1]),
                cut: draw.pick(&[Cut::Whole, Cut::Random(40), Cut::Frames]),
            });
        }
    }
    if swarm.services {
        let draw = &mut Draw::new(entropy, Concern::Crowd);
        if draw.one_in(3) {
            crowd(draw, &mut scenario);
            // A crowd has windows of its own.
            for knobs in scenario.clients.iter_mut().chain(&mut scenario.servers) {
                let least = least_assembly_budget(knobs);
                if u64::from(limits_of(knobs).assembly_budget) < least {
                    knobs.insert(Knob::AssemblyBudget, least);
                }
            }
        }
    }
    if swarm.odd_limits {
        scarce(&mut Draw::new(entropy, Concern::Limits), &mut scenario);
    }
    worlds::particular(&mut Draw::new(entropy, Concern::Particular), &mut scenario);
    scenario
}

/// Gives all calls the lists of the first one, on its link: what is remembered of them is of use, and may be wrong.
fn alike(scenario: &mut Scenario) {
    let Some((first, others)) = scenario.calls.split_first_mut() else { return };
    first.headers = true;
    for call in others {
        (call.link, call.headers) = (first.link, first.headers);
        (call.metadata, call.trailers) = (first.metadata, first.trailers);
    }
}

/// Has all calls start together where few have room: a call that leaves a queue must wake the next one, and a call
/// that waits for room must be woken, because no later call may come to do it.
fn crowd(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    let link = draw.below(scenario.links.len() as u64) as u16;
    let at_us = draw.skewed(20_000) as u32;
    let pipes = &scenario.links[usize::from(link)];
    // Calls that find no connection make one each: all others come when the first one has it.
    let lead_us = 2 * (pipes.up.delay_us + pipes.down.delay_us) + 100;
    for (n, call) in scenario.calls.iter_mut().enumerate() {
        (call.link, call.at_us, call.after) = (link, at_us + lead_us, None);
        if n == 0 {
            call.at_us = at_us;
        }
    }
    match draw.below(3) {
        0 => scattered(draw, scenario, link),
        1 => flight(draw, scenario, link, lead_us),
        _ => chatter(draw, scenario, link),
    }
}

/// The knobs of a link's client and server.
fn ends(scenario: &mut Scenario, link: u16) -> (&mut Knobs, &mut Knobs) {
    let plan = &scenario.links[usize::from(link)];
    let client = &mut scenario.clients[usize::from(plan.client)];
    (client, &mut scenario.servers[usize::from(plan.server)])
}

/// Most calls are given up, each at its own time.
fn scattered(draw: &mut Draw<'_>, scenario: &mut Scenario, link: u16) {
    let (client, server) = ends(scenario, link);
    client.insert(Knob::MaxQueuedCalls, draw.pick(&[1, 2]));
    server.insert(Knob::MaxConcurrentStreams, draw.pick(&[1, 2, 100]));
    if draw.below(2) == 0 {
        server.insert(Knob::Leases, draw.pick(&[1, 2]));
    }
    let calls = scenario.calls.len() as u64;
    let patient = draw.within(1, 2);
    for call in &mut scenario.calls {
        if draw.below(calls) < patient {
            call.cancel = None;
            continue;
        }
        call.cancel = Some(CancelPlan::AfterUs(draw.skewed(5000) as u32));
        if draw.below(2) == 0 {
            // Nothing else ends it.
            call.ending = Ending::Never;
        }
    }
}

/// All calls but one are given up at once, when all have come to the narrow place: the line for a stream.
fn flight(draw: &mut Draw<'_>, scenario: &mut Scenario, link: u16, lead_us: u32) {
    let (client, server) = ends(scenario, link);
    client.insert(Knob::MaxQueuedCalls, draw.pick(&[1, 2]));
    server.insert(Knob::MaxConcurrentStreams, draw.pick(&[1, 2]));
    let away_us = 2 * lead_us + draw.skewed(10_000) as u32;
    // The first one is in the narrow place.
    let patient = draw.within(1, (scenario.calls.len() as u64).max(2) - 1) as usize;
    for (n, call) in scenario.calls.iter_mut().enumerate() {
        call.deadline_us = None;
        if n == patient {
            call.cancel = None;
            continue;
        }
        call.cancel = Some(CancelPlan::AfterUs(away_us + if n == 0 { lead_us } else { 0 }));
        call.ending = Ending::Never;
    }
}

/// All calls talk in both directions at once, and what is sent waits for room while more comes in.
fn chatter(draw: &mut Draw<'_>, scenario: &mut Scenario, link: u16) {
    let (client, server) = ends(scenario, link);
    server.insert(Knob::SendMark, draw.pick(&[1, 100, 1000]));
    if draw.below(2) == 0 {
        client.insert(Knob::StreamWindow, draw.pick(&[0, 5, 100, 1000]));
    }
    for call in &mut scenario.calls {
        call.method = Method::Talk;
        call.respond = draw.pick(&[Respond::AtOnce, Respond::PerRequest]);
        call.pace_us = 0;
        let messages = draw.within(3, 6) as usize;
        call.requests.resize_with(messages, || draw.skewed(100) as u32);
        call.responses.resize_with(messages, || draw.skewed(1000) as u32);
    }
}

fn knobs(draw: &mut Draw<'_>, swarm: &Swarm) -> Knobs {
    let mut knobs = Knobs::new();
    let mut maybe = |draw: &mut Draw<'_>, knob, values: &[u64]| {
        if draw.below(3) == 0 {
            knobs.insert(knob, draw.pick(values));
        }
    };
    if swarm.services {
        maybe(draw, Knob::Leases, &[1, 2, 3]);
    } else if swarm.slow {
        maybe(draw, Knob::ManualCredit, &[1]);
    }
    if swarm.tiny_streams {
        maybe(draw, Knob::MaxConcurrentStreams, &[1, 2, 3, 1000]);
    }
    maybe(draw, Knob::PullEachEvent, &[1]);
    if !swarm.odd_limits {
        return knobs;
    }
    const MAX: u64 = (1 << 31) - 1;
    maybe(draw, Knob::StreamWindow, &[0, 1, 5, 100, 16_384, 65_536, MAX]);
    maybe(draw, Knob::ConnectionWindow, &[65_535, 65_536, MAX]);
    maybe(draw, Knob::MaxWindow, &[6, 10_000, 100_000, 1 << 20, MAX]);
    maybe(draw, Knob::MaxFrameSize, &[16_384, 16_385, (1 << 24) - 1]);
    maybe(draw, Knob::HeaderTableSize, &[0, 1, 64, 200, 65_536]);
    maybe(draw, Knob::EncoderTableSize, &[0, 1, 64, 200, 65_536]);
    maybe(draw, Knob::MaxHeaderListSize, &[800, 64 << 10, 64 << 10]);
    maybe(draw, Knob::MaxContinuations, &[2, 20]);
    maybe(draw, Knob::MaxReceiveMessage, &[0, 100, 5000, 100_000]);
    // Beyond the least that is possible.
    maybe(draw, Knob::AssemblyBudget, &[0, 2000]);
    maybe(draw, Knob::SendMark, &[1, 5, 100, 5000]);
    maybe(draw, Knob::SendBudget, &[0, 1, 10_000]);
    maybe(draw, Knob::MaxQueuedCalls, &[1, 3]);
    maybe(draw, Knob::TransmitBudget, &[1, 100, 5000]);
    maybe(draw, Knob::OpensPerTransmit, &[1, 2]);
    maybe(draw, Knob::MaxPendingReplies, &[1, 2]);
    maybe(draw, Knob::PoolBytes, &[0, 1000]);
    maybe(draw, Knob::KeepaliveMs, &[10_000]);
    maybe(draw, Knob::KeepaliveWithoutCalls, &[1]);
    maybe(draw, Knob::KeepaliveTimeoutMs, &[1000]);
    maybe(draw, Knob::MinPingIntervalMs, &[0, 5000]);
    maybe(draw, Knob::MaxIdleMs, &[1, 10, 1000]);
    maybe(draw, Knob::MaxAgeMs, &[1, 5, 50]);
    maybe(draw, Knob::DrainGraceMs, &[1, 20, 1000]);
    maybe(draw, Knob::SendStallTimeoutMs, &[500]);
    maybe(draw, Knob::ProgressTimeoutMs, &[500]);
    maybe(draw, Knob::SettingsTimeoutMs, &[50]);
    maybe(draw, Knob::SettingsAckTimeoutMs, &[50]);
    maybe(draw, Knob::PrefaceTimeoutMs, &[50]);
    maybe(draw, Knob::SettingsHoldMs, &[0, 1, 200]);
    // More than our own ends ever send at once.
    maybe(draw, Knob::MaxSettingsEntries, &[8, 100]);
    maybe(draw, Knob::TrimAfterMs, &[0, 1]);
    maybe(draw, Knob::ResetBurst, &[3]);
    if let Some(&beyond) = knobs.get(&Knob::AssemblyBudget) {
        knobs.insert(Knob::AssemblyBudget, least_assembly_budget(&knobs) + beyond);
    }
    knobs
}

/// The smallest assembly budget that is possible with the other limits: what a largest message exceeds its window by.
fn least_assembly_budget(knobs: &Knobs) -> u64 {
    let limits = limits_of(knobs);
    let prefix = 5;
    let largest = u64::from(limits.max_receive_message) + prefix;
    largest.saturating_sub(limits.stream_window.into())
}

/// Limits that only the calls of this world tell how to meet: a message as large as may be, memory for hardly more than
/// one of them, and one that may not be sent.
fn scarce(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    let services = scenario.layer != Layer::Core;
    let mut largest: Vec<u64> = scenario.calls.iter().flat_map(CallPlan::sizes).collect();
    largest.sort_unstable();
    let beside = if services { u64::from(BESIDE) } else { 0 };
    for knobs in scenario.clients.iter_mut().chain(&mut scenario.servers) {
        if draw.one_in(3) {
            let message = largest.last().copied().unwrap_or_default() + beside;
            knobs.insert(Knob::MaxReceiveMessage, message);
            knobs.insert(Knob::StreamWindow, draw.pick(&[0, 100, 1000, 10_000]));
            let beyond = draw.pick(&[0, 100, message / 2]);
            knobs.insert(Knob::AssemblyBudget, least_assembly_budget(knobs) + beyond);
        }
        if !largest.is_empty() && draw.one_in(8) {
            // What an attacked end says stays below.
            let most = (draw.pick(&largest) + beside).max(500) - 1;
            knobs.insert(Knob::MaxSendMessage, most);
        }
        let mut maybe = |draw: &mut Draw<'_>, knob, values: &[u64]| {
            if draw.one_in(4) {
                knobs.insert(knob, draw.pick(values));
            }
        };
        // More than any list of the model has, or as many as only the longest one exceeds.
        maybe(draw, Knob::MaxHeaderFields, &[20, 60, 1000]);
        maybe(draw, Knob::MaxEmptyData, &[1, 3, 1000]);
        // As slow as the default at most: an attack must meet its limit before much of it comes back.
        maybe(draw, Knob::ResetRate, &[1, 20]);
    }
}

fn pipe(draw: &mut Draw<'_>, swarm: &Swarm) -> PipePlan {
    let mut pipe =
        PipePlan { delay_us: draw.pick(&[0, 1, 50, 1000, 20_000]), ..PipePlan::default() };
    if swarm.cuts {
        pipe.cut = match swarm.large {
            true => draw.pick(&[Cut::Whole, Cut::Every(997), Cut::Random(3000), Cut::Frames]),
            false => draw.pick(&[Cut::Every(1), Cut::Every(13), Cut::Random(40), Cut::Frames]),
        };
        pipe.buffer = draw.pick(&[0, 0, 1, 300, 20_000]).max(if swarm.large { 1000 } else { 0 });
        if pipe.delay_us >= 1000 {
            // A byte a round trip takes longer than every timer.
            pipe.buffer = pipe.buffer.max(if pipe.buffer == 0 { 0 } else { 300 });
        }
        pipe.receive_max = draw.pick(&[0, 0, 1, 1000, 20_000]);
        pipe.write_max = draw.pick(&[0, 0, 7, 1000]).max(if swarm.large { 500 } else { 0 });
    }
    if swarm.slow && draw.below(4) == 0 {
        pipe.bandwidth = draw.pick(&[100, 1000, 50_000]);
    }
    pipe
}

fn sizes(draw: &mut Draw<'_>, swarm: &Swarm, left: &mut u64) -> Vec<u32> {
    let count = if draw.below(2) == 0 { 1 } else { draw.below(6) };
    let most = if swarm.large { 200_000 } else { 3000 };
    (0..count)
        .map(|_| {
            let edge = draw.one_in(8);
            let size = match edge {
                true => draw
                    .pick(&[0, 1, 100, 4090, 5000, 16_379, 16_384, 65_530, 65_531, 100_000])
                    .min(most),
                false => draw.skewed(most),
            }
            .min(*left);
            *left -= size;
            size as u32
        })
        .collect()
}

fn call(draw: &mut Draw<'_>, swarm: &Swarm, n: u16, links: u64, left: &mut u64) -> CallPlan {
    let mut call = CallPlan {
        link: draw.below(links) as u16,
        at_us: draw.skewed(20_000) as u32,
        requests: sizes(draw, swarm, left),
        responses: sizes(draw, swarm, left),
        respond: draw.pick(&[Respond::AfterEnd, Respond::AtOnce, Respond::PerRequest]),
        headers: draw.below(3) == 0,
        ..CallPlan::default()
    };
    if swarm.services {
        call.method = draw.pick(&[Method::One, Method::Gather, Method::Spread, Method::Talk]);
        call.calls_back = draw.below(6) == 0;
        call.meets = draw.below(4) == 0;
    }
    if n > 0 && draw.below(4) == 0 {
        call.after = Some(draw.below(u64::from(n)) as u16);
    }
    if draw.below(3) == 0 {
        call.status = draw.below(17) as u8;
        if draw.below(3) == 0 {
            call.details = draw.pick(&[1, 2, 3, 100, 700, 20_000]);
        }
    }
    if !swarm.services && draw.below(2) == 0 {
        use SendMode::*;
        call.send = draw.pick(&[Encode, CompressedHandles, CompressedBytes]);
    }
    if swarm.deadlines && draw.below(2) == 0 {
        call.deadline_us = Some(draw.skewed(200_000) as u32);
    }
    if swarm.cancels && draw.below(3) == 0 {
        call.cancel = Some(match draw.below(3) {
            0 => CancelPlan::AfterUs(draw.skewed(50_000) as u32),
            1 => CancelPlan::AfterMessages(draw.below(4) as u8),
            _ => CancelPlan::AfterSent(draw.below(4) as u8),
        });
    }
    if swarm.metadata {
        call.metadata = draw.below(10) as u8;
        call.trailers = draw.below(10) as u8;
    }
    if swarm.slow {
        call.pace_us = draw.skewed(5000) as u32;
        call.client_think_us = draw.skewed(5000) as u32;
        call.server_think_us = draw.skewed(5000) as u32;
    }
    if swarm.odd_endings {
        call.ending = draw.pick(&[Ending::AfterEnd, Ending::Early, Ending::Abandon]);
        call.hold_us = draw.skewed(20_000) as u32;
        let ends =
            call.deadline_us.is_some() || matches!(call.cancel, Some(CancelPlan::AfterUs(_)));
        if ends && draw.below(4) == 0 {
            call.ending = Ending::Never;
            if call.deadline_us.is_some() && draw.below(4) == 0 {
                // Long enough for the keepalive of an end that hears nothing.
                call.deadline_us = Some(25_000_000);
            }
        }
    }
    call
}

fn fault(draw: &mut Draw<'_>, links: u64, servers: u64) -> FaultPlan {
    let link = draw.below(links) as u16;
    let server = draw.below(servers) as u8;
    let up = draw.below(2) == 1;
    let for_us = draw.skewed(100_000) as u32;
    let fault = match draw.below(11) {
        0 => Fault::Stall { link, up, for_us },
        1 => Fault::Partition { link, for_us: for_us * if draw.one_in(8) { 900 } else { 1 } },
        2 => Fault::Clog { link, bandwidth: draw.pick(&[1, 20, 500]), for_us },
        3 => Fault::Reset { link },
        4 => Fault::HalfClose { link, up },
        5 => Fault::Refuse { link, for_us },
        6 => Fault::Crash { server, for_us },
        7 => Fault::Drain { server },
        8 => Fault::Leave { link },
        9 => Fault::Freeze {
            link,
            client: up,
            // Longer than a second, for which an end that is late reads on.
            for_us: if draw.one_in(4) { 30 * for_us } else { for_us },
        },
        _ => Fault::Close { link, client: up },
    };
    FaultPlan { at_us: draw.skewed(50_000) as u32, fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Seeded, Tape};

    #[test]
    fn every_end_of_a_generated_world_has_limits_that_are_possible() {
        let check = |scenario: &Scenario, which: u64| {
            assert_eq!(scenario.check(), Ok(()), "{which}: {scenario:?}");
        };
        for seed in 0..2000 {
            check(&generate(&mut Seeded::new(seed)), seed);
            // Tapes as a fuzzer has them: short, and full of equal bytes.
            let bytes = [seed as u8, (seed >> 8) as u8].repeat(seed as usize % 300);
            check(&generate(&mut Tape::new(&bytes)), seed);
        }
    }
}
