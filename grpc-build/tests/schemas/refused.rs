//! Broken files and the errors for them. `tests/schemas/run.sh` asserts that protoc refuses them too.

use crate::{Memory, compile, compile_text, files, folder};

/// The errors stand in `broken/errors.txt`; with `UPDATE_GOLDEN=1` in the environment they are written there, to be read.
#[test]
fn broken_files_are_refused_with_the_errors_that_are_kept() {
    let folder = folder("broken");
    let broken = files(&folder);
    assert!(broken.len() >= 80, "{} files", broken.len());
    let mut made = String::new();
    for (name, text) in broken {
        let sources = Memory::imported().with(&name, text);
        let error = compile(&[&name], &sources).expect_err(&name);
        assert!(error.to_string().contains("; "), "{error}: what to write is missing");
        made.push_str(&format!("{error}\n"));
    }
    let kept = folder.join("errors.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&kept, &made).unwrap();
    }
    let kept = std::fs::read_to_string(kept).unwrap();
    for (made, kept) in made.lines().zip(kept.lines()) {
        assert_eq!(made, kept);
    }
    assert_eq!(made.lines().count(), kept.lines().count());
}

#[test]
fn columns_count_characters_from_one() {
    let error =
        compile_text("syntax = \"proto3\";\n/* \u{e9}\u{e9} */ message M { int32 a = ; }\n");
    let error = error.unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(2), Some(32)), "{error}");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        format!("syntax = \"proto3\";\n{}{}", "message M {".repeat(depth), "}".repeat(depth))
    };
    compile_text(nested(31)).unwrap();
    let error = compile_text(nested(32)).unwrap_err();
    assert!(error.message().contains("31 deep"), "{error}");
    compile_text(nested(100_000)).unwrap_err();

    let option = "extend google.protobuf.FileOptions { O o = 50000; }\nmessage O { O o = 1; }\n";
    let head =
        format!("syntax = \"proto3\";\nimport \"google/protobuf/descriptor.proto\";\n{option}");
    let value = |depth: usize| {
        format!("{head}option (o) = {}{};\n", "{ o ".repeat(depth) + "{", "}".repeat(depth + 1))
    };
    compile_text(value(60)).unwrap();
    let error = compile_text(value(100_000)).unwrap_err();
    assert!(error.message().contains("64 deep"), "{error}");
    let name = format!("{head}option (o){} = {{}};\n", ".o".repeat(100_000));
    let error = compile_text(name).unwrap_err();
    assert!(error.message().contains("64 parts"), "{error}");
}

#[test]
fn long_chains_of_imports_are_no_recursion() {
    let mut sources = Memory::default().with("0.proto", "syntax = \"proto3\";\n");
    for i in 1..600 {
        let text = format!("syntax = \"proto3\";\nimport \"{}.proto\";\n", i - 1);
        sources = sources.with(&format!("{i}.proto"), text);
    }
    let compiled = compile(&["599.proto"], &sources).unwrap();
    assert_eq!(compiled.files.len(), 600);
    assert_eq!(compiled.files[0].0, "0.proto");
}

/// protoc takes this one, and writes a descriptor set that does not decode.
#[test]
fn a_default_of_a_string_that_is_not_utf8_is_refused() {
    let file = |kind: &str| {
        format!(
            "syntax = \"proto2\";\nmessage M {{ optional {kind} f = 1 [default = \"\\xff\"]; }}\n"
        )
    };
    let error = compile_text(file("string")).unwrap_err();
    assert!(error.message().contains("not UTF-8; write it in UTF-8"), "{error}");
    assert!(compile_text(file("bytes")).is_ok());
}
