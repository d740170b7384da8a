//! The simulator on the fuzzer's tape: every choice of a world is a few of its bytes.

use grpc_sim::{Tape, generate, run};

/// Runs the world that `data` describes.
pub fn check(data: &[u8]) {
    let scenario = generate(&mut Tape::new(data));
    let report = run(&scenario, false);
    assert_eq!(report.failure, None, "{scenario:?}");
}
