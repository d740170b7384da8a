//! Where the files of a schema are found, and what they are called.

use std::process::Command;

use grpc_build::Config;

use crate::Folder;

/// `protoc` names a file by what is left of its path behind the first include that it lies in.
#[test]
fn the_files_that_protoc_was_asked_for_are_generated_however_their_paths_are_written() {
    // The rest of the project needs none, so it may be missing.
    if !Command::new("protoc").arg("--version").output().is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: there is no protoc");
        return;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    let absolute = format!("{here}/tests/./generator/sources.proto");
    let near = "tests/generator/sources.proto";
    let cases: [(&[&str], &str); 9] = [
        (&["./tests/generator"], near),
        (&["tests/generator/"], "./tests//generator/sources.proto"),
        (&["tests/generator"], "sources.proto"),
        (&[".", "tests/generator"], near),
        (&["tests/generator", "."], near),
        (&[".", "tests/generator"], "./tests/./generator/sources.proto"),
        (&["..", "tests/.."], "tests/../tests/generator/sources.proto"),
        (&["src", here], &absolute),
        (&["..", "tests/generator"], near),
    ];
    for (includes, proto) in cases {
        let folder = Folder::new("sources");
        let mut config = Config::new();
        config.protoc("protoc").out_dir(folder.0.join("out"));
        config.compile_protos(&[proto], includes).unwrap();
        assert!(folder.read("sources.rs").contains("pub struct Found"), "{includes:?} {proto}");
    }
}

#[test]
fn a_file_that_is_not_among_the_descriptors_is_reported() {
    let answer = grpc_build::run_plugin(&[0x0a, 7, b'a', b'.', b'p', b'r', b'o', b't', b'o']);
    let text = String::from_utf8_lossy(&answer.unwrap()).into_owned();
    assert!(text.contains("a.proto: the file was asked for and is not among the descriptors"));
}
