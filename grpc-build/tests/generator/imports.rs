//! Files that are imported and not listed.

use grpc_build::Config;

use crate::Folder;

/// Whether there is a file of this name among what was generated.
fn made(folder: &Folder, name: &str) -> bool {
    folder.0.join("out").join(name).exists()
}

/// Writes the file `{name}.proto` of the package `name`.
fn package(folder: &Folder, name: &str, text: &str) -> std::path::PathBuf {
    let head = format!("syntax = \"proto2\";\npackage {name};\n");
    folder.write(&format!("{name}.proto"), &(head + text))
}

#[test]
fn imports_whose_types_are_used_are_generated_too_however_far_away() {
    let folder = Folder::new("imports");
    package(&folder, "field", "message M {}\nmessage Unused {}\n");
    package(&folder, "value", "enum E { A = 0; }\n");
    package(
        &folder,
        "method",
        "import \"far.proto\";\nmessage M { optional far.Outer.Inner far = 1; }\n",
    );
    package(&folder, "far", "message Outer { message Inner {} }\n");
    package(&folder, "extended", "message M { extensions 4 to 9; }\n");
    package(&folder, "nothing", "message M {}\n");
    let proto = package(
        &folder,
        "it",
        "import \"field.proto\";\nimport \"value.proto\";\nimport \"method.proto\";\n\
        import \"extended.proto\";\nimport \"nothing.proto\";\n\
        message A { message B { repeated field.M m = 1; } map<int32, value.E> map = 1; }\n\
        extend extended.M { optional int32 more = 4; }\n\
        service S { rpc Get(A) returns (method.M); }\n",
    );
    folder.compile(Config::new().include_file("all.rs"), &[&proto]).unwrap();
    let all = folder.read("all.rs");
    for name in ["field", "value", "method", "far", "extended"] {
        assert!(made(&folder, &format!("{name}.rs")), "{name}");
        assert!(all.contains(&format!("pub mod {name} {{")), "{all}");
    }
    assert!(folder.read("field.rs").contains("pub struct Unused<'a>"), "a file is taken whole");
    assert!(!made(&folder, "nothing.rs"));
}

#[test]
fn imports_that_no_code_refers_to_are_not_generated() {
    let folder = Folder::new("imports-unused");
    package(&folder, "lists", "message M { repeated int32 n = 1; }\n");
    package(
        &folder,
        "rules",
        "import \"lists.proto\";\nmessage Rule { optional lists.M m = 1; }\n",
    );
    package(
        &folder,
        "annotations",
        "import \"rules.proto\";\nimport \"google/protobuf/descriptor.proto\";\n\
        extend google.protobuf.MethodOptions { optional rules.Rule http = 50001; }\n",
    );
    package(
        &folder,
        "common",
        "import \"lists.proto\";\nmessage Money { optional lists.M m = 1; }\n",
    );
    let proto = package(
        &folder,
        "it",
        "import \"annotations.proto\";\nimport \"rules.proto\";\nimport \"common.proto\";\n\
        import \"google/protobuf/descriptor.proto\";\nimport \"google/protobuf/any.proto\";\n\
        extend google.protobuf.FieldOptions { optional rules.Rule own = 50001; }\n\
        message A { optional common.Money money = 1; optional google.protobuf.Any any = 2; }\n\
        service S { rpc Get(A) returns (A) { option (annotations.http) = {}; } }\n",
    );
    folder.compile(Config::new().extern_path(".common", "::prices"), &[&proto]).unwrap();
    assert!(folder.read("it.rs").contains("::prices::Money<'a>"));
    for name in ["annotations", "rules", "lists", "common", "google.protobuf"] {
        assert!(!made(&folder, &format!("{name}.rs")), "{name}");
    }
}

#[test]
fn what_only_a_service_refers_to_is_generated_with_services_alone() {
    let folder = Folder::new("imports-services");
    package(&folder, "common", "message Money {}\n");
    let proto = package(
        &folder,
        "it",
        "import \"common.proto\";\nmessage A {}\nservice S { rpc Get(A) returns (common.Money); }\n",
    );
    folder.compile(Config::new().services(false), &[&proto]).unwrap();
    assert!(!made(&folder, "common.rs"));
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    assert!(made(&folder, "common.rs"));
}

#[test]
fn a_descriptor_set_may_hold_a_file_several_times() {
    let folder = Folder::new("concatenated");
    package(&folder, "common", "message Money {}\nenum E { A = 1; }\n");
    let text = "import \"common.proto\";\nmessage M { optional common.Money m = 1; }\n\
        service S { rpc Get(M) returns (common.Money); }\n";
    let proto = package(&folder, "it", text);
    let set = folder.0.join("it.bin");
    folder.compile(Config::new().file_descriptor_set(&set), &[&proto]).unwrap();
    let once = (folder.read("it.rs"), folder.read("common.rs"));
    let set = std::fs::read(set).unwrap();
    let twice = [&set[..], &set].concat();
    Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&twice).unwrap();
    assert!((folder.read("it.rs"), folder.read("common.rs")) == once);
}
