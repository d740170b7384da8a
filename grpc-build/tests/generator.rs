//! What users of the generator see: errors that point at the place, output that does not change, the plugin.

use std::path::{Path, PathBuf};

use grpc_build::{Config, Error};

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("grpc-build-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn compile(&self, config: &mut Config, protos: &[&Path]) -> Result<(), Error> {
        config.out_dir(self.0.join("out")).compile_protos(protos, &[&self.0])
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join("out").join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_wrong_schema_is_reported_with_file_and_line() {
    let folder = Folder::new("errors");
    let cases = [
        ("syntax = \"proto3\";\nmessage A {\n  int32 a = ;\n}\n", 3),
        ("syntax = \"proto3\";\nmessage A {\n  Missing a = 1;\n}\n", 3),
        ("syntax = \"proto3\";\nmessage A {\n  int32 a = 1;\n  int32 b = 1;\n}\n", 4),
        ("syntax = \"proto3\";\nimport \"nowhere.proto\";\n", 2),
    ];
    for (text, line) in cases {
        let proto = folder.write("wrong.proto", text);
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert_eq!((error.file(), error.line()), (Some("wrong.proto"), Some(line)), "{error}");
        assert!(error.to_string().starts_with(&format!("wrong.proto:{line}: ")), "{error}");
    }
    // This one the parser lets pass.
    let two = "syntax = \"proto2\";\npackage two;\nenum Closed { ONE = 1; }\n";
    folder.write("two.proto", two);
    let three =
        "syntax = \"proto3\";\nimport \"two.proto\";\nmessage A {\n  two.Closed closed = 1;\n}\n";
    let proto = folder.write("three.proto", three);
    let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
    assert_eq!((error.file(), error.line()), (Some("three.proto"), Some(4)), "{error}");
}

#[test]
fn output_is_the_same_from_run_to_run() {
    let folder = Folder::new("stable");
    let text = "syntax = \"proto3\";\npackage a.b;\nmessage M { map<string, M> m = 1; oneof o { int32 x = 2; M y = 3; } }\n";
    let proto = folder.write("m.proto", text);
    let mut made = (0..3).map(|_| {
        folder.compile(Config::new().include_file("mod.rs"), &[&proto]).unwrap();
        (folder.read("a.b.rs"), folder.read("mod.rs"))
    });
    let first = made.next().unwrap();
    assert!(made.all(|again| again == first));
    assert!(first.1.contains("pub mod a {") && first.1.contains("pub mod b {"));
}

#[test]
fn external_types_are_referred_to_and_not_generated() {
    let folder = Folder::new("extern");
    folder.write(
        "common.proto",
        "syntax = \"proto3\";\npackage common;\nmessage Money { int64 units = 1; }\n",
    );
    let text = "syntax = \"proto3\";\npackage shop;\nimport \"common.proto\";\nmessage Cart { common.Money total = 1; }\n";
    let proto = folder.write("shop.proto", text);
    let mut config = Config::new();
    config
        .extern_path(".common", "::prices::proto")
        .attribute(".shop.Cart", "#[doc(alias = \"basket\")]");
    folder.compile(&mut config, &[&proto]).unwrap();
    let made = folder.read("shop.rs");
    assert!(made.contains("::prices::proto::Money<'a>"), "{made}");
    assert!(made.contains("#[doc(alias = \"basket\")]"), "{made}");
}

#[test]
fn comments_become_documentation_and_deprecation_an_attribute() {
    let folder = Folder::new("docs");
    let text = "syntax = \"proto3\";\n// Says hello.\nmessage M {\n  // To <whom>.\n  string name = 1 [deprecated = true];\n}\n";
    let proto = folder.write("docs.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("/// Says hello.") && made.contains("/// To \\<whom\\>."), "{made}");
    assert!(made.contains("#[deprecated]\n    pub name: &'a str"), "{made}");
}

#[test]
fn the_plugin_answers_what_is_no_request_with_an_error() {
    assert!(grpc_build::run_plugin(&[0xff]).unwrap_err().message().contains("does not decode"));
    let answer = grpc_build::run_plugin(&[0x12, 0x03, b'x', b'=', b'y']).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("the option `x=y` is not known"), "{text}");
}
