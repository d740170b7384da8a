//! The command line: what it refuses, and what it leaves behind.

use std::path::Path;
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grpc-sim")).args(args).output().expect("it was built")
}

#[test]
fn an_option_that_is_not_known_is_refused_with_those_that_are() {
    let refused = [
        (&["campaign", "--seeds=3"][..], "--seeds=3 is none of --seeds, --first"),
        (&["campaign", "3"], "3 is none of --seeds"),
        (&["campaign", "--seeds"], "--seeds takes a value"),
        (&["run", "1", "--time-line"], "--time-line is none of --timeline"),
        (&["shrink", "1", "small.json", "more"], "shrink takes other arguments"),
    ];
    for (args, text) in refused {
        let output = sim(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(text), "{args:?}: {said}");
    }
}

#[test]
fn a_campaign_makes_the_directory_that_it_keeps_failures_in() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept/in/here");
    let _ = std::fs::remove_dir_all(&dir);
    let output = sim(&["campaign", "--seeds", "2", "--keep", dir.to_str().expect("a text")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.is_dir());
}
