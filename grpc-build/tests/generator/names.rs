//! Names that go wrong without help.

use grpc_build::Config;

use crate::Folder;

#[test]
fn packages_that_would_be_one_module_are_reported() {
    let folder = Folder::new("packages");
    let one = folder.write("one.proto", "syntax = \"proto3\";\npackage a.fooBar;\nmessage A {}\n");
    let two = folder.write("two.proto", "syntax = \"proto3\";\npackage a.foo_bar;\nmessage B {}\n");
    let error = folder.compile(&mut Config::new(), &[&one, &two]).unwrap_err();
    let text = "the packages `a.fooBar` and `a.foo_bar` are one module in Rust";
    assert!(folder.blames(&error, "two.proto", 2), "{error}");
    assert_eq!(error.message(), text);
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

/// As docs/messages.md has it.
#[test]
fn values_lose_the_name_of_their_enum_and_oneofs_make_way_for_types() {
    let folder = Folder::new("rules");
    let text = "syntax = \"proto2\";\n\
        enum StatusCode { STATUS_CODE_OK = 0; LOST = 1; STATUS_CODE_2 = 2; }\n\
        enum Both { option deprecated_legacy_json_field_conflicts = true; BOTH_A = 0; a = 1; }\n\
        message M {\n  message Phone {}\n  enum KindOneof { NONE = 0; }\n  enum Kind { ONE = 0; }\n  \
        oneof phone { int32 n = 1; }\n  oneof kind { int32 k = 2; }\n  oneof other { int32 o = 3; }\n  \
        optional int32 unknown = 4;\n}\n";
    let proto = folder.write("it.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    for name in ["Ok = 0,", "Lost = 1,", "StatusCode2 = 2,", "BothA = 0,", "A = 1,"] {
        assert!(made.contains(&format!("\n    {name}")), "{name}: {made}");
    }
    for name in ["PhoneOneof", "KindOneof_", "Other"] {
        assert!(made.contains(&format!("pub enum {name} {{")), "{name}: {made}");
    }
    assert!(made.contains("pub unknown_: "), "{made}");
    let proto3 = text.replacen("proto2", "proto3", 1).replace("optional ", "");
    // To the names in JSON these two are one.
    folder.write("it.proto", &proto3.replace("a = 1", "OTHER = 1"));
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    for name in ["OK", "LOST", "STATUS_CODE_2", "A", "OTHER"] {
        assert!(made.contains(&format!("pub const {name}: Self")), "{name}: {made}");
    }
}

/// By an accessor of their own name, `..M::default()`, `m.clone()` and `m.encode(..)` would be something else.
#[test]
fn accessors_make_way_for_the_methods_of_messages() {
    let folder = Folder::new("accessors");
    let text = "syntax = \"proto2\";\nmessage M {\n  optional string default = 1;\n  optional bool clone = 2;\n  \
        optional bytes decode = 3;\n  optional M encode = 4;\n  optional int32 encoded_len = 5;\n  \
        optional int32 EncodedLen = 6;\n  optional int32 Default_ = 7;\n  repeated int32 sizes = 8;\n}\n";
    let proto = folder.write("it.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    let accessors = made.split("pub const fn ").skip(1).map(|rest| rest.split('(').next().unwrap());
    let expected = ["default__", "clone_", "decode_", "encoded_len__", "encoded_len_", "default_"];
    assert_eq!(accessors.collect::<Vec<_>>(), expected, "{made}");
    for field in ["default", "clone", "decode", "encode", "encoded_len", "encoded_len_", "default_"]
    {
        assert!(made.contains(&format!("pub {field}: ")), "{field}: {made}");
    }
}

/// A field of a descriptor: its tag, its length and its bytes.
fn part(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

/// A set of one file with these parts.
fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    part(0x0a, &[part(0x0a, b"it.proto"), parts.concat()].concat())
}

/// A parser would have refused them; descriptors may come from anywhere.
#[test]
fn names_that_are_none_are_reported() {
    let folder = Folder::new("no-names");
    let message = |inner: &[u8]| part(0x22, &[&part(0x0a, b"M"), inner].concat());
    let named = |name: &str| part(0x0a, name.as_bytes());
    for name in ["", "a-b", "1a", "\u{e4}", "a b", "a.b", "r#a", "'"] {
        let cases = [
            part(0x22, &named(name)),
            part(0x2a, &named(name)),
            part(0x32, &named(name)),
            part(0x3a, &named(name)),
            message(&part(0x12, &named(name))),
            message(&part(0x1a, &named(name))),
            message(&part(0x22, &named(name))),
            message(&part(0x32, &named(name))),
            message(&part(0x42, &named(name))),
            part(0x2a, &[named("E"), part(0x12, &named(name))].concat()),
            part(0x32, &[named("S"), part(0x12, &named(name))].concat()),
        ];
        for case in cases {
            let set = set(&[case]);
            let error = Config::new()
                .out_dir(folder.0.join("out"))
                .compile_descriptor_set(&set)
                .unwrap_err();
            assert_eq!(error.to_string(), format!("it.proto: `{name}` is no name"));
            let request = [part(0x0a, b"it.proto"), part(0x7a, &set[2..])].concat();
            let answer = grpc_build::run_plugin(&request).unwrap();
            assert!(String::from_utf8_lossy(&answer).contains("is no name"));
        }
    }
    for package in [".", "a..b", "a.", "../a", "a.1"] {
        let set = set(&[part(0x12, package.as_bytes())]);
        let error =
            Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set).unwrap_err();
        assert_eq!(error.to_string(), format!("it.proto: `{package}` is no name of a package"));
    }
}

#[test]
fn a_line_beyond_all_numbers_is_no_line() {
    let folder = Folder::new("no-line");
    // The location of the message 0, on line 2^31 - 1 from 0.
    let location = [part(0x0a, &[4, 0]), part(0x12, &[0xff, 0xff, 0xff, 0xff, 7, 0, 0])].concat();
    let set = set(&[part(0x22, &part(0x0a, b"a-b")), part(0x4a, &part(0x0a, &location))]);
    let error =
        Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set).unwrap_err();
    assert_eq!(error.to_string(), "it.proto: `a-b` is no name");
}

/// Whether or not the owner of `a` also compiles a package `a.money`, whose module the name `money` then belongs to.
#[test]
fn other_crates_find_types_whatever_else_their_owner_compiles() {
    let folder = Folder::new("owner");
    let money = "syntax = \"proto3\";\npackage a;\nmessage Money { message Part { enum Of { NONE = 0; } } }\n";
    let money = folder.write("money.proto", money);
    let text = "syntax = \"proto3\";\npackage a.money;\nmessage Wallet {}\n";
    let wallet = folder.write("wallet.proto", text);
    for protos in [&[&*money][..], &[&*money, &*wallet]] {
        folder.compile(&mut Config::new(), protos).unwrap();
        let module = if protos.len() > 1 { "money_" } else { "money" };
        let made = folder.read("a.rs");
        assert!(made.contains(&format!("pub use self::{module} as __in_Money;")), "{made}");
        assert!(made.contains("pub use self::part as __in_Part;"), "{made}");
    }
    let text = "syntax = \"proto3\";\npackage b;\nimport \"money.proto\";\nmessage M { a.Money.Part p = 1; a.Money.Part.Of of = 2; }\n";
    let user = folder.write("user.proto", text);
    folder.compile(Config::new().extern_path(".a", "::owner::a"), &[&user]).unwrap();
    let made = folder.read("b.rs");
    assert!(made.contains("::owner::a::__in_Money::Part<'a>"), "{made}");
    assert!(made.contains("::owner::a::__in_Money::__in_Part::Of"), "{made}");
}

#[test]
fn a_type_in_rusts_style_keeps_its_name_and_others_make_way() {
    let folder = Folder::new("case");
    let one = folder.write(
        "one.proto",
        "syntax = \"proto3\";\npackage a;\nmessage foo_bar { int32 one = 1; }\n",
    );
    let two = folder.write(
        "two.proto",
        "syntax = \"proto3\";\npackage a;\nmessage FooBar { int32 two = 1; }\n",
    );
    let mut made = Vec::new();
    for protos in [[&*one, &*two], [&*two, &*one]] {
        folder.compile(&mut Config::new(), &protos).unwrap();
        let text = folder.read("a.rs");
        assert!(text.contains("pub use self::FooBar_ as __type_foo_bar;"), "{text}");
        let kept = text.split("pub struct FooBar<'a> {").nth(1).unwrap();
        assert!(kept.split('}').next().unwrap().contains("pub two: i32"), "{text}");
        made.push(text);
    }
    let text = "syntax = \"proto3\";\npackage b;\nimport \"one.proto\";\nmessage M { a.foo_bar it = 1; }\n";
    let user = folder.write("user.proto", text);
    folder.compile(Config::new().extern_path(".a", "::owner"), &[&user]).unwrap();
    assert!(folder.read("b.rs").contains("::owner::__type_foo_bar<'a>"));
}

/// `protoc` calls the entry type of a map `_0` by a name that begins with a digit.
#[test]
fn a_map_may_have_a_name_that_makes_its_entry_begin_with_a_digit() {
    fn part(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }
    let field = |name: &[u8], rest: &[u8]| part(0x12, &[&part(0x0a, name), rest].concat());
    let entry = [
        part(0x0a, b"0Entry"),
        field(b"key", &[0x18, 1, 0x20, 1, 0x28, 9]),
        field(b"value", &[0x18, 2, 0x20, 1, 0x28, 5]),
        part(0x3a, &[0x38, 1]),
    ];
    let map = [&[0x18, 1, 0x20, 3, 0x28, 11][..], &part(0x32, b".m.M.0Entry")].concat();
    let message = [part(0x0a, b"M"), field(b"_0", &map), part(0x1a, &entry.concat())];
    let file = [
        part(0x0a, b"m.proto"),
        part(0x12, b"m"),
        part(0x22, &message.concat()),
        part(0x62, b"proto3"),
    ];
    let folder = Folder::new("digits");
    let set = part(0x0a, &file.concat());
    Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set).unwrap();
    let made = folder.read("m.rs");
    assert!(made.contains("pub _0: ::grpc_arena::codec::Map<'a, &'a str, i32>"), "{made}");
}

#[test]
fn blank_lines_of_comments_stay_in_the_documentation() {
    let folder = Folder::new("blank-lines");
    let text = "syntax = \"proto3\";\npackage a;\n\
        /* One.\n\n   Two. */\nmessage Block {}\n\
        /**\n * One.\n *\n * Two.\n */\nmessage Starred {}\n\
        // One.\n//\n// Two.\nmessage Lines {}\n";
    let proto = folder.write("a.proto", text);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("a.rs");
    assert_eq!(made.matches("/// One.\n///\n/// Two.\n").count(), 3, "{made}");
    assert!(!made.contains("/// *"), "{made}");
}
