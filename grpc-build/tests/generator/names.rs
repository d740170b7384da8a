//! Names that go wrong without help.

use grpc_build::Config;

use crate::Folder;

#[test]
fn packages_that_would_be_one_module_are_reported() {
    let folder = Folder::new("packages");
    let one = folder.write("one.proto", "syntax = \"proto3\";\npackage a.fooBar;\nmessage A {}\n");
    let two = folder.write("two.proto", "syntax = \"proto3\";\npackage a.foo_bar;\nmessage B {}\n");
    let error = folder.compile(&mut Config::new(), &[&one, &two]).unwrap_err();
    let text = "two.proto:2: the packages `a.fooBar` and `a.foo_bar` are one module in Rust";
    assert_eq!(error.to_string(), text);
}

/// The module of `a.B` would be that of the package, if there were one.
#[test]
fn a_module_is_renamed_only_for_a_package_that_is_generated() {
    let folder = Folder::new("modules");
    let text = "syntax = \"proto3\";\npackage a.b;\nmessage C {}\n";
    let inner = folder.write("inner.proto", text);
    let text = "syntax = \"proto3\";\npackage a;\nimport \"inner.proto\";\nmessage B { enum C { D = 0; } }\n";
    let outer = folder.write("outer.proto", text);
    folder.compile(&mut Config::new(), &[&outer]).unwrap();
    assert!(folder.read("a.rs").contains("pub mod b {"));
    folder.compile(&mut Config::new(), &[&outer, &inner]).unwrap();
    assert!(folder.read("a.rs").contains("pub mod b_ {"));
}
