//! What users of the generator see: errors that point at the place, output that does not change, the plugin.

mod editions;
mod imports;
mod merged;
mod names;
mod refused;
mod settings;
mod sources;
mod well_known;

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

    /// Whether an error points at this line of this file, by a path that an editor opens.
    fn blames(&self, error: &Error, name: &str, line: u32) -> bool {
        error.file().map(Path::new) == Some(&self.0.join(name)) && error.line() == Some(line)
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
        ("syntax = \"proto3\";\nmessage A {\n  int32 a = ;\n}\n", 3, 13),
        ("syntax = \"proto3\";\nmessage A {\n  Missing a = 1;\n}\n", 3, 3),
        ("syntax = \"proto3\";\nmessage A {\n  int32 a = 1;\n  int32 b = 1;\n}\n", 4, 13),
        ("syntax = \"proto3\";\nimport \"nowhere.proto\";\n", 2, 8),
    ];
    for (text, line, column) in cases {
        let proto = folder.write("wrong.proto", text);
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert!(folder.blames(&error, "wrong.proto", line), "{error}");
        let place = format!("{}:{line}:{column}: ", proto.display());
        assert_eq!(error.column(), Some(column), "{error}");
        assert!(error.to_string().starts_with(&place), "{error}");
    }
    let two = "syntax = \"proto2\";\npackage two;\nenum Closed { ONE = 1; }\n";
    folder.write("two.proto", two);
    let three =
        "syntax = \"proto3\";\nimport \"two.proto\";\nmessage A {\n  two.Closed closed = 1;\n}\n";
    let proto = folder.write("three.proto", three);
    let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
    assert!(folder.blames(&error, "three.proto", 4), "{error}");
}

/// A MessageSet from line 2 to 5, and `more` from line 6 on.
fn with_set(more: &str) -> String {
    let set =
        "message Set {\n  option message_set_wire_format = true;\n  extensions 4 to max;\n}\n";
    format!("syntax = \"proto2\";\n{set}{more}")
}

#[test]
fn extensions_of_a_message_set_are_written_as_items_and_others_as_fields() {
    let folder = Folder::new("sets");
    let plain = "message Plain { extensions 4 to max; }\nmessage M {}\n";
    let text =
        with_set(plain) + "extend Set { optional M a = 5; }\nextend Plain { optional M b = 5; }\n";
    let proto = folder.write("sets.proto", &text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert_eq!(made.matches("__codec::write_message_set_item(5, ").count(), 1, "{made}");
    assert_eq!(made.matches("__codec::write_message(42, ").count(), 1, "{made}");
}

#[test]
fn what_a_message_set_cannot_hold_is_reported_with_file_and_line() {
    let folder = Folder::new("set-errors");
    let optional = "an extension of a MessageSet is an optional message";
    let cases = [
        ("extend Set {\n  optional int32 a = 5;\n}\n", 7, optional),
        ("message M {}\nextend Set {\n  repeated M a = 5;\n}\n", 8, optional),
        ("message N {\n  extend Set {\n    optional group A = 5 {}\n  }\n}\n", 8, optional),
        ("extend Set {\n  optional bytes a = 5;\n}\n", 7, optional),
        (
            "message Own {\n  option message_set_wire_format = true;\n  extensions 4 to max;\n  optional int32 a = 1;\n}\n",
            9,
            "has extensions and no fields",
        ),
        ("message M {}\nextend Set {\n  optional M a = 2147483647;\n}\n", 8, "number 2147483647"),
        ("message M {}\nextend Set {\n  optional M a = 3;\n}\n", 8, "has no extension number 3"),
    ];
    for (text, line, what) in cases {
        let proto = folder.write("wrong.proto", &with_set(text));
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert!(folder.blames(&error, "wrong.proto", line), "{error}");
        assert!(error.message().contains(what), "{error}");
    }
}

/// The descriptors of messages `Set`, a MessageSet or none, and `M`, and of an extension of `Set` by `M`.
fn set_extended_at(message_set: bool, number: u32) -> Vec<u8> {
    fn part(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }
    let mut varint = Vec::new();
    let mut left = number;
    while left >= 0x80 {
        varint.push(left as u8 | 0x80);
        left >>= 7;
    }
    varint.push(left as u8);
    let set = [part(0x0a, b"Set"), part(0x3a, &[0x08, message_set.into()])].concat();
    let extension = [
        &part(0x0a, b"a")[..],
        &part(0x12, b".Set"),
        &[0x18],
        &varint,
        &[0x20, 1, 0x28, 11], // optional, a message
        &part(0x32, b".M"),
    ];
    let file = [
        part(0x0a, b"set.proto"),
        part(0x22, &set),
        part(0x22, &part(0x0a, b"M")),
        part(0x3a, &extension.concat()),
    ];
    part(0x0a, &file.concat())
}

#[test]
fn numbers_above_those_of_fields_are_for_extensions_of_message_sets_alone() {
    let folder = Folder::new("set-numbers");
    let compile = |message_set, number| {
        let set = set_extended_at(message_set, number);
        Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set)
    };
    for (message_set, last) in [(true, (1 << 31) - 2), (false, (1 << 29) - 1)] {
        compile(message_set, last).unwrap();
        assert!(folder.read("_.rs").contains("pub struct A<'a>"));
        for number in [0, last + 1] {
            let error = compile(message_set, number).unwrap_err();
            assert_eq!(error.to_string(), "set.proto: the number of the field `a` is out of range");
        }
    }
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
fn what_is_deprecated_in_a_service_is_so_for_those_who_call() {
    let folder = Folder::new("deprecated");
    let text = "syntax = \"proto3\";\nmessage M {}\nservice S {\n  option deprecated = true;\n  \
        rpc Get(M) returns (M) {\n    option deprecated = true;\n  }\n}\n";
    let proto = folder.write("old.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    let before = |item: &str| made.split(item).next().unwrap().rsplit("\n///").next().unwrap();
    assert!(before("pub struct SClient").contains("#[deprecated]"), "{made}");
    assert!(before("pub fn get<'r, 'a>(").contains("#[deprecated]"), "{made}");
    assert!(!before("pub trait S:").contains("#[deprecated]"), "{made}");
    assert!(!before("async fn get<'a>(").contains("#[deprecated]"), "{made}");
}

#[test]
fn the_plugin_answers_what_is_no_request_with_an_error() {
    assert!(grpc_build::run_plugin(&[0xff]).unwrap_err().message().contains("does not decode"));
    let answer = grpc_build::run_plugin(&[0x12, 0x03, b'x', b'=', b'y']).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("the option `x=y` is not known"), "{text}");
}

#[test]
fn a_default_beyond_its_type_is_infinite() {
    let folder = Folder::new("infinite");
    let text = "syntax = \"proto2\";\nmessage M {\n  optional float a = 1 [default = 1e40];\n  \
        optional float b = 2 [default = -1e40];\n  optional double c = 3 [default = 1e400];\n  \
        optional float d = 4 [default = 1.5e38];\n  optional float e = 5 [default = nan];\n}\n";
    let proto = folder.write("it.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    for value in ["f32::INFINITY", "f32::NEG_INFINITY", "f64::INFINITY", "1.5e38f32", "f32::NAN"] {
        assert_eq!(made.matches(&format!("None => {value},")).count(), 1, "{value}: {made}");
    }
}

#[test]
fn comments_cannot_break_the_build() {
    let folder = Folder::new("odd-comments");
    let text = "syntax = \"proto3\";\n// One\rtwo.\r\n// \u{202e}Turned\u{2066} round\u{2069}.\r\nmessage M {}\n";
    let proto = folder.write("it.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert!(!made.contains(['\r', '\u{202e}', '\u{2066}', '\u{2069}']), "{made:?}");
    assert!(made.contains("/// One\n/// two.\n/// Turned round.\n"), "{made}");
}

#[test]
fn a_service_without_methods_uses_all_that_it_is_given() {
    let folder = Folder::new("idle");
    let proto = folder.write("it.proto", "syntax = \"proto3\";\nservice Idle {}\n");
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("let _ = (routes, service);"), "{made}");
}

#[test]
fn a_method_says_its_path_its_kind_and_its_idempotency() {
    let folder = Folder::new("descriptors-of-methods");
    let text = "syntax = \"proto3\";\npackage a.b;\nmessage M {}\nservice Store {\n\
        rpc Get(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }\n\
        rpc Put(stream M) returns (M) { option idempotency_level = IDEMPOTENT; }\n\
        rpc List(M) returns (stream M);\n\
        rpc Sync(stream M) returns (stream M) { option idempotency_level = IDEMPOTENCY_UNKNOWN; }\n}\n";
    let proto = folder.write("it.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made: String = folder.read("a.b.rs").split_whitespace().collect();
    for (name, kind, level) in [
        ("Get", "Unary", ".with_idempotency(::grpc_service::Idempotency::NoSideEffects)"),
        ("Put", "ClientStreaming", ".with_idempotency(::grpc_service::Idempotency::Idempotent)"),
        ("List", "ServerStreaming", ""),
        ("Sync", "Bidi", ""),
    ] {
        let descriptor = format!("\"/a.b.Store/{name}\",::grpc_service::Kind::{kind}");
        let at = made.find(&descriptor).unwrap_or_else(|| panic!("{descriptor} in {made}"));
        let rest = made[at + descriptor.len()..].trim_start_matches(',').trim_start_matches(')');
        assert!(rest.starts_with(level), "{name}: {}", &rest[..100]);
        assert_eq!(rest.starts_with(".with_idempotency"), !level.is_empty(), "{name}");
    }
    assert!(made.contains("pubconstMETHODS:&[::grpc_service::MethodDescriptor]"), "{made}");
}
