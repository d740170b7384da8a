//! Scenarios that failed once, and a fixed set of seeds.

use std::path::Path;

use grpc_sim::{Concern, Entropy, Enumerator, Hash, Scenario, Seeded, catch, generate};

#[test]
fn scenarios_that_failed_once_are_clean() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} files in {}", files.len(), dir.display());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario: Scenario = serde_json::from_str(&text).unwrap();
        let report = catch(&scenario, false);
        assert_eq!(report.failure, None, "{}", file.display());
    }
}

/// Nobody listens until the last of several faults is over, whichever came last.
#[test]
fn a_short_fault_ends_no_longer_one_that_came_before_it() {
    for fault in [r#""refuse":{"link":0"#, r#""crash":{"server":0"#] {
        let at = |at_us: u32, for_us: u32| {
            format!(r#"{{"at_us":{at_us},"fault":{{{fault},"for_us":{for_us}}}}}}}"#)
        };
        let text = format!(
            r#"{{"clients":[{{}}],"servers":[{{}}],"links":[{{"client":0,"server":0}}],
                "calls":[{{"at_us":10000,"deadline_us":500000,"requests":[1],"responses":[1]}}],
                "faults":[{},{}]}}"#,
            at(0, 1_000_000),
            at(5000, 1),
        );
        let scenario: Scenario = serde_json::from_str(&text).unwrap();
        let report = catch(&scenario, false);
        assert_eq!((report.failure, report.calls_ok), (None, 0), "{fault}");
    }
}

/// Debug and release builds run the same worlds: `campaign` prints a hash over them in both.
#[test]
fn fixed_seeds_are_clean_and_twice_the_same() {
    let mut hashes = [Hash::default(); 2];
    for seed in 0..150 {
        let scenario = generate(&mut Seeded::new(seed));
        for hash in &mut hashes {
            let report = catch(&scenario, false);
            assert_eq!(report.failure, None, "seed {seed}");
            hash.number(report.trace.hash());
        }
    }
    assert_eq!(hashes[0], hashes[1]);
}

/// Every combination of parts that a world may use; what they draw comes from a seed, if anybody looks at it.
struct EverySwarm {
    swarms: Enumerator,
    rest: Option<Seeded>,
}

impl Entropy for EverySwarm {
    fn below(&mut self, concern: Concern, bound: u64) -> u64 {
        match concern {
            Concern::Swarm => self.swarms.below(concern, bound),
            _ => self.rest.as_mut().map_or(0, |rest| rest.below(concern, bound)),
        }
    }
}

/// An enumerator over all choices would never come to the first of them: the last one moves first.
#[test]
fn worlds_of_swarms_from_all_over_the_enumerator_are_clean() {
    // A prime, so that those that are looked at do not have the last choices in common.
    const EVERY: u64 = 1009;
    let (mut all, mut layers) = (Enumerator::new(), [0; 3]);
    for swarm in 0.. {
        let looked = swarm % EVERY == 0;
        let mut entropy = EverySwarm { swarms: all, rest: looked.then(|| Seeded::new(swarm)) };
        let scenario = generate(&mut entropy);
        all = entropy.swarms;
        if looked {
            layers[scenario.layer as usize] += 1;
            let report = catch(&scenario, false);
            assert_eq!(report.failure, None, "swarm {swarm}: {scenario:?}");
        }
        if !all.advance() {
            break;
        }
    }
    assert!(layers.iter().all(|&worlds| worlds >= 30), "{layers:?}");
}
