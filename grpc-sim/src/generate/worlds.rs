//! Worlds that are about one thing, which a world of independent draws hardly ever comes to.

use super::{Draw, ends, least_assembly_budget};
use crate::scenario::*;

/// What a world is about, where it is about one thing.
pub(super) fn particular(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    let services = scenario.layer != Layer::Core;
    match (draw.below(40), services) {
        (0, _) => early_ends(draw, scenario),
        (1, _) => storm(draw, scenario),
        (2, false) => padding_room(draw, scenario),
        (3..6, false) => heads(draw, scenario),
        (2..6, true) => line(draw, scenario),
        (6..10, true) => compressed(draw, scenario),
        (10..14, true) => dialed(draw, scenario),
        _ => {}
    }
}

/// Has everything happen on the first link, over a network without narrow places, and without other limits or faults.
fn plain(draw: &mut Draw<'_>, scenario: &mut Scenario, delays_us: &[u32]) {
    scenario.faults.clear();
    scenario.attacks.clear();
    scenario.calls.clear();
    let cut = draw.pick(&[Cut::Whole, Cut::Frames, Cut::Random(3000)]);
    let pipe = PipePlan { cut, delay_us: draw.pick(delays_us), ..PipePlan::default() };
    (scenario.links[0].up, scenario.links[0].down) = (pipe.clone(), pipe);
    let (client, server) = ends(scenario, 0);
    client.clear();
    server.clear();
}

/// More streams than an end remembers are over before their clients know, which go on sending. They do not end in the
/// order of their identifiers.
fn early_ends(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    plain(draw, scenario, &[5000, 20_000]);
    let calls = draw.within(100, 150);
    ends(scenario, 0).1.insert(Knob::MaxConcurrentStreams, draw.pick(&[150, 1000]));
    for n in 0..calls {
        let requests = draw.within(3, 6);
        let answers = draw.below(3);
        scenario.calls.push(CallPlan {
            // The first one connects.
            at_us: if n == 0 { 0 } else { 100_000 + draw.below(3000) as u32 },
            method: draw.pick(&[Method::Talk, Method::Gather]),
            requests: (0..requests).map(|_| draw.skewed(200) as u32).collect(),
            pace_us: draw.within(500, 5000) as u32,
            responses: (0..answers).map(|_| draw.skewed(100) as u32).collect(),
            respond: Respond::PerRequest,
            server_think_us: draw.skewed(3000) as u32,
            headers: draw.one_in(3),
            ending: Ending::Early,
            status: draw.within(1, 16) as u8,
            ..CallPlan::default()
        });
    }
}

/// Hundreds of calls of an honest client are given up after their headers have come, or end by short deadlines, beside
/// calls that must be served.
fn storm(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    plain(draw, scenario, &[50, 1000]);
    let (_, server) = ends(scenario, 0);
    server.insert(Knob::MaxConcurrentStreams, 1000);
    if draw.below(2) == 0 {
        // What has run takes no token.
        server.insert(Knob::ResetBurst, draw.pick(&[3, 20]));
    }
    let cancels = draw.below(2) == 0;
    for n in 0..draw.within(150, 220) {
        let mut call = CallPlan {
            at_us: if n == 0 { 0 } else { 10_000 + draw.below(40_000) as u32 },
            method: Method::Spread,
            requests: vec![draw.skewed(100) as u32],
            responses: vec![draw.skewed(100) as u32],
            headers: true,
            ..CallPlan::default()
        };
        match draw.below(8) {
            0 => {
                call.method =
                    draw.pick(&[Method::One, Method::Gather, Method::Spread, Method::Talk]);
                call.headers = draw.below(2) == 0;
            }
            1 if cancels => (call.deadline_us, call.ending) = (short(draw), Ending::Never),
            2.. if !cancels => (call.deadline_us, call.ending) = (short(draw), Ending::Never),
            _ => {
                call.cancel = Some(CancelPlan::AfterMessages(0));
                call.ending = Ending::Never;
            }
        }
        scenario.calls.push(call);
    }
}

fn short(draw: &mut Draw<'_>) -> Option<u32> {
    Some(draw.within(SHORT_US.into(), 20_000) as u32)
}

/// Messages little larger than the window stand in line for their reservation, and come without it, while large ones
/// that their handlers keep have taken the budget.
///
/// The first message of a stream opens its window, which then stays open by the room for padding where that is more. The
/// next ones leave together, and fill the window of the connection: the one that is cut there stands in line for its rest.
fn padding_room(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    plain(draw, scenario, &[1000, 5000]);
    let window = draw.pick(&[100, 500]);
    let largest = draw.within(20_000, 40_000) as u32;
    let (_, server) = ends(scenario, 0);
    server.insert(Knob::StreamWindow, window);
    server.insert(Knob::MaxWindow, window);
    server.insert(Knob::ConnectionWindow, 65_535);
    server.insert(Knob::MaxReceiveMessage, largest.into());
    server.insert(Knob::ManualCredit, 1);
    server.insert(Knob::AssemblyBudget, least_assembly_budget(server) + draw.pick(&[0, 100]));
    let pace_us = draw.within(30_000, 60_000) as u32;
    for n in 0..draw.within(76, 90) {
        let takes_all = n % 30 == 1;
        let size = |draw: &mut Draw<'_>| match takes_all {
            true => largest - draw.skewed(400) as u32,
            false => draw.within(900, 1019) as u32,
        };
        scenario.calls.push(CallPlan {
            at_us: if n == 0 { 0 } else { 50_000 },
            requests: (0..if takes_all { 8 } else { 4 }).map(|_| size(draw)).collect(),
            pace_us: if takes_all { draw.within(1000, 10_000) as u32 } else { pace_us },
            responses: vec![0],
            server_think_us: if takes_all { draw.within(5000, 30_000) as u32 } else { 0 },
            ..CallPlan::default()
        });
    }
}

/// Calls of more methods than a client remembers the heads of stand in line for a stream.
fn heads(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    let link = draw.below(scenario.links.len() as u64) as u16;
    ends(scenario, link).1.insert(Knob::MaxConcurrentStreams, draw.pick(&[1, 2, 4]));
    ends(scenario, link).0.remove(&Knob::MaxQueuedCalls);
    let at_us = draw.skewed(5000) as u32;
    for _ in 0..draw.within(10, 20) {
        let mut call = CallPlan {
            link,
            at_us: at_us + draw.below(3) as u32,
            requests: vec![draw.skewed(100) as u32],
            responses: vec![draw.skewed(100) as u32],
            send: draw.pick(&[SendMode::Handles, SendMode::CompressedBytes]),
            metadata: draw.pick(&[0, 0, 1, 3]),
            ..CallPlan::default()
        };
        if draw.one_in(4) {
            call.deadline_us = Some(draw.skewed(50_000) as u32);
        }
        scenario.calls.push(call);
    }
    for call in &mut scenario.calls {
        call.path = draw.within(1, 14) as u8;
    }
}

/// More calls than may stand in line for a stream, of which most end there: by a timeout, or because they are dropped,
/// some in the very turn that they have waited for.
fn line(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    plain(draw, scenario, &[50, 1000, 5000]);
    let (client, server) = ends(scenario, 0);
    client.insert(Knob::MaxQueuedCalls, draw.pick(&[1, 2]));
    server.insert(Knob::MaxConcurrentStreams, draw.pick(&[1, 2]));
    let away_us = draw.within(20_000, 60_000) as u32;
    let calls = draw.within(8, 20);
    let patient = draw.within(1, calls - 1);
    for n in 0..calls {
        let mut call = CallPlan {
            at_us: if n == 0 { 0 } else { 15_000 + draw.below(3) as u32 },
            method: draw.pick(&[Method::One, Method::Gather, Method::Spread, Method::Talk]),
            requests: vec![draw.skewed(100) as u32],
            responses: vec![draw.skewed(100) as u32],
            ending: draw.pick(&[Ending::Never, Ending::AfterEnd]),
            ..CallPlan::default()
        };
        if n == patient {
            call.ending = Ending::AfterEnd;
        } else if n == 0 || draw.below(2) == 0 {
            call.timeout = true;
            call.deadline_us = Some(draw.within(15_000, 80_000) as u32);
        } else {
            call.cancel = Some(CancelPlan::AfterUs(away_us));
        }
        scenario.calls.push(call);
    }
}

/// Messages are compressed, each call as it likes, and some are larger than the receiver's limit when they are not.
fn compressed(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    for knobs in scenario.clients.iter_mut().chain(&mut scenario.servers) {
        knobs.insert(Knob::Compress, draw.below(3));
        if draw.below(2) == 0 {
            knobs.insert(Knob::CompressLevel, draw.pick(&[1, 9]));
        }
        knobs.insert(Knob::CompressAtLeast, draw.pick(&[0, 100, 1024]));
    }
    let large = draw.one_in(3);
    for call in &mut scenario.calls {
        use Coding::*;
        call.coding = draw.pick(&[Channel, Channel, Gzip, Deflate, Identity]);
        call.plain_requests = draw.below(3) == 0;
        call.plain_responses = draw.below(3) == 0;
        for size in call.requests.iter_mut().chain(&mut call.responses).take(4) {
            if draw.below(2) == 0 {
                *size = draw.within(300, 2000) as u32;
            }
            if large && draw.below(6) == 0 {
                *size = 30_000;
            }
        }
    }
    if large {
        let (client, server) = ends(scenario, 0);
        for knobs in [client, server] {
            if draw.below(2) == 0 {
                knobs.insert(Knob::MaxReceiveMessage, 3000);
                knobs.insert(Knob::AssemblyBudget, least_assembly_budget(knobs) + 10_000);
            }
        }
    }
}

/// Channels connect by themselves, through refused, lost and drained connections.
fn dialed(draw: &mut Draw<'_>, scenario: &mut Scenario) {
    for client in &mut scenario.clients {
        client.insert(Knob::BackoffMs, draw.pick(&[1, 20, 300]));
    }
    for knobs in scenario.clients.iter_mut().chain(&mut scenario.servers) {
        // A connection that goes before it is there is none that a call could wait for.
        let early = [
            Knob::MaxAgeMs,
            Knob::MaxIdleMs,
            Knob::PrefaceTimeoutMs,
            Knob::SettingsTimeoutMs,
            Knob::SettingsAckTimeoutMs,
        ];
        knobs.retain(|knob, _| !early.contains(knob));
    }
    let links = scenario.links.len() as u64;
    scenario.links.iter_mut().for_each(|link| link.dialed = true);
    for call in &mut scenario.calls {
        call.wait_for_ready = draw.below(2) == 0;
        if draw.below(2) == 0 {
            call.at_us = draw.skewed(400_000) as u32;
        }
    }
    for _ in 0..draw.below(4) {
        let link = draw.below(links) as u16;
        let server = scenario.links[usize::from(link)].server;
        let for_us = draw.skewed(100_000) as u32;
        let fault = match draw.below(5) {
            0 | 1 => Fault::Refuse { link, for_us },
            2 => Fault::Reset { link },
            3 => Fault::Drain { server },
            _ => Fault::Crash { server, for_us },
        };
        scenario.faults.push(FaultPlan { at_us: draw.skewed(200_000) as u32, fault });
    }
}
