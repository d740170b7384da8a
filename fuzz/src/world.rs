//! The simulator on the fuzzer's tape: every choice of a world is a few of its bytes.

use grpc_sim::scenario::{Cut, PipePlan};
use grpc_sim::{Scenario, Tape, generate, run};

/// Runs the world that `data` describes, no larger than lets many run in a second.
pub fn check(data: &[u8]) {
    let mut scenario = generate(&mut Tape::new(data));
    make_small(&mut scenario);
    let report = run(&scenario, false);
    assert_eq!(report.failure, None, "{scenario:?}");
}

/// Most calls, and most bytes of all their messages together.
const CALLS: usize = 6;
const BYTES: u32 = 40_000;
/// Most bytes where each may be an event of its own.
const CUT_BYTES: u32 = 400;

/// Campaigns try large worlds. Here a small change of a small world is worth more: what takes time is bytes that
/// arrive one by one, and calls that only wait for one another.
fn make_small(scenario: &mut Scenario) {
    scenario.calls.truncate(CALLS);
    scenario.attacks.truncate(1);
    let fine = |pipe: &PipePlan| {
        let cut = matches!(pipe.cut, Cut::Every(0..=100) | Cut::Random(0..=100));
        cut || [pipe.buffer, pipe.receive_max, pipe.write_max]
            .iter()
            .any(|&most| 0 < most && most < 500)
    };
    let is_fine = scenario.links.iter().any(|link| fine(&link.up) || fine(&link.down));
    let mut left = if is_fine { CUT_BYTES } else { BYTES };
    for call in &mut scenario.calls {
        for size in call.requests.iter_mut().chain(&mut call.responses) {
            *size = (*size).min(left);
            left -= *size;
        }
    }
}
