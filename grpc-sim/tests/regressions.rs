//! Scenarios that failed once, and a fixed set of seeds.

use std::path::Path;

use grpc_sim::{Enumerator, Hash, Scenario, Seeded, catch, generate};

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

/// The choices that come first, each way: swarms, shapes and small applications over them.
#[test]
fn the_first_worlds_of_the_enumerator_are_clean() {
    let mut all = Enumerator::new();
    let mut worlds = 0;
    loop {
        let scenario = generate(&mut all);
        let report = catch(&scenario, false);
        assert_eq!(report.failure, None, "{scenario:?}");
        worlds += 1;
        if !all.advance() || worlds == 1000 {
            break;
        }
    }
    assert_eq!(worlds, 1000);
}
